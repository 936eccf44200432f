/* loss.c - mse, l1, bce_logits: sum(w l(x, target)) / sum(w), and their gradient.
 *
 * in {x, target, weight or none}, out {loss, 1 / sum(w) (0 if that sum is 0)}; the second one serves the gradient.
 */
#include "libnpu/op/loss.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

enum loss_kind { LOSS_MSE, LOSS_L1, LOSS_BCE };

struct loss_attr {
    int kind;
};

static float loss(int kind, float x, float t)
{
    switch (kind) {
    case LOSS_MSE:
        return (x - t) * (x - t);
    case LOSS_L1:
        return fabsf(x - t);
    default: /* -t log(s(x)) - (1 - t) log(1 - s(x)) without overflow */
        return (x > 0 ? x : 0) - x * t + log1pf(expf(-fabsf(x)));
    }
}

static float loss_slope(int kind, float x, float t)
{
    switch (kind) {
    case LOSS_MSE:
        return 2 * (x - t);
    case LOSS_L1:
        return (float)((x > t) - (x < t));
    default:
        return 1 / (1 + expf(-x)) - t;
    }
}

/* in[0] x, in[1] target, in[2] weight */
static int check_inputs(const struct npu_node *n, const struct npu_tensor_type *in, char *why, size_t size)
{
    struct op_bcast b;

    if (op_need_float(in, 0, why, size) || op_need_float(in, 1, why, size))
        return -EINVAL;
    if (!op_same_shape(&in[0].shape, &in[1].shape))
        return op_why(why, size, "x %s and target %s differ", op_shape_text(&in[0].shape), op_shape_text(&in[1].shape));
    if (n->in[2] == NPU_NONE)
        return 0;
    if (op_need_float(in, 2, why, size))
        return -EINVAL;
    if (op_bcast_make(&in[0].shape, &in[2].shape, &b))
        return op_why(why, size, "weight %s does not broadcast to %s", op_shape_text(&in[2].shape),
                      op_shape_text(&in[0].shape));
    return 0;
}

static int loss_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                      size_t size)
{
    if (n->n_in != 3)
        return op_why(why, size, "needs x, target and weight or none");
    n->n_out = 2;
    out[0] = out[1] = (struct npu_tensor_type){.dtype = NPU_F32};
    return check_inputs(n, in, why, size);
}

/* How the weight lies against x; without one like a scalar. */
static struct op_bcast weight_view(const struct npu_shape *x, const struct npu_shape *w)
{
    struct op_bcast b = {0};

    (void)op_bcast_make(x, w, &b); /* checked by the shape rule */
    return b;
}

static int loss_ref(const struct npu_ref_call *c)
{
    int kind = NPU_ATTR(struct loss_attr, c->node)->kind;
    struct op_bcast b = weight_view(&c->in[0].shape, &c->in[2].shape);
    double sum = 0, weights = 0;

    for (int64_t row = 0; row < b.rows; row++) {
        int64_t base = op_bcast_base(&b, row);

        for (int64_t j = 0; j < b.inner; j++) {
            int64_t i = row * b.inner + j;
            float w = c->in[2].data ? npu_load(&c->in[2], base + j * b.step) : 1;

            sum += w * loss(kind, npu_load(&c->in[0], i), npu_load(&c->in[1], i));
            weights += w;
        }
    }
    weights = weights != 0 ? 1 / weights : 0;
    npu_store(&c->out[0], 0, (float)(sum * weights));
    npu_store(&c->out[1], 0, (float)weights);
    return 0;
}

static int loss_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    npu_val in[5] = {n->in[0], n->in[1], n->in[2], n->out[1], gout[0]};

    if (npu_val_needs_grad(g, n->in[0]))
        gin[0] = npu_node_add(g, &npu_op_loss_grad, in, 5, n->attr, sizeof(struct loss_attr));
    return gin[0] < 0 ? gin[0] : 0;
}

void op_loss_sum(struct npu_lower *l, const struct npu_node *n, int buf, int64_t parts)
{
    struct npu_launch *k = op_launch(l, "loss", "loss_sum");

    npu_launch_val(k, n->out[0]);
    npu_launch_val(k, n->out[1]);
    npu_launch_buf(k, NPU_ARG_SCRATCH, buf);
    npu_launch_i32(k, parts);
    npu_launch_size(k, 1, 0, 0);
}

static int loss_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_tensor_type x = npu_lower_type(l, n->in[0]), w = npu_lower_type(l, n->in[2]);
    struct op_bcast b = weight_view(&x.shape, &w.shape);
    int64_t parts = 0;
    struct npu_launch *k;
    int buf;

    /* an upper bound: the work-items are known only once the launch has its size */
    buf = npu_lower_scratch(l, 2 * sizeof(float) * (size_t)(8192 + op_ceil_div(npu_shape_elements(&x.shape), 1024)));
    if (buf < 0)
        return buf;
    if (npu_shape_elements(&x.shape)) {
        k = op_launch(l, "loss", "loss_part");
        for (int i = 0; i < 3; i++)
            npu_launch_val(k, n->in[i]);
        npu_launch_buf(k, NPU_ARG_SCRATCH, buf);
        npu_launch_i32(k, NPU_ATTR(struct loss_attr, n)->kind);
        npu_launch_i32(k, n->in[2] != NPU_NONE);
        op_bcast_args(k, &b);
        parts = op_launch_sums(l, k, b.rows, b.inner);
    }
    op_loss_sum(l, n, buf, parts);
    return 0;
}

static const struct {
    enum npu_dtype t;
    int rank;
    int64_t dim[4];
    int w_rank; /* -1: no weight */
    int64_t w_dim[4];
} loss_cases[] = {
    {NPU_F32, 2, {3, 7}, -1, {0}},         {NPU_F32, 0, {0}, 0, {0}},           {NPU_F32, 2, {0, 3}, -1, {0}},
    {NPU_F32, 3, {4, 5, 9}, 3, {4, 1, 9}}, {NPU_F32, 2, {67, 301}, 2, {67, 1}}, {NPU_BF16, 2, {9, 33}, 1, {33}},
    {NPU_F32, 4, {2, 3, 40, 50}, -1, {0}},
};
enum { N_CASES = sizeof(loss_cases) / sizeof(loss_cases[0]) };

static void case_inputs(npu_graph *g, int index, npu_val *in)
{
    in[0] = op_test_in(g, "a", loss_cases[index].t, loss_cases[index].rank, loss_cases[index].dim);
    npu_test_range(g, in[0], -3, 3);
    in[1] = op_test_in(g, "b", loss_cases[index].t, loss_cases[index].rank, loss_cases[index].dim);
    npu_test_range(g, in[1], 0, 1);
    in[2] = NPU_NONE;
    if (loss_cases[index].w_rank < 0)
        return;
    in[2] = op_test_in(g, "c", NPU_F32, loss_cases[index].w_rank, loss_cases[index].w_dim);
    npu_test_range(g, in[2], 0, 1);
}

static npu_val loss_case(npu_graph *g, int index, npu_val (*build)(npu_graph *, npu_val, npu_val, npu_val))
{
    npu_val in[3];

    if (index >= N_CASES)
        return NPU_NONE;
    case_inputs(g, index, in);
    return build(g, in[0], in[1], in[2]);
}

/* Patches, all or by a mask of tokens. */
static npu_val loss_perf(npu_graph *g, int index, npu_val (*build)(npu_graph *, npu_val, npu_val, npu_val))
{
    npu_val x, t;

    if (index > 1)
        return NPU_NONE;
    x = op_test_in(g, "a", NPU_F32, OP_DIMS(16, 196, 768));
    t = op_test_in(g, "b", NPU_F32, OP_DIMS(16, 196, 768));
    return build(g, x, t, index ? op_test_in(g, "c", NPU_F32, OP_DIMS(16, 196, 1)) : NPU_NONE);
}

#define LOSS(NAME, KIND, KINKS)                                                                                        \
    npu_val npu_##NAME(npu_graph *g, npu_val x, npu_val target, npu_val weight)                                        \
    {                                                                                                                  \
        return npu_node_add(g, &npu_op_##NAME, (npu_val[]){x, target, weight}, 3, &(struct loss_attr){KIND},           \
                            sizeof(struct loss_attr));                                                                 \
    }                                                                                                                  \
    static npu_val NAME##_case(npu_graph *g, int index)                                                                \
    {                                                                                                                  \
        return loss_case(g, index, npu_##NAME);                                                                        \
    }                                                                                                                  \
    static npu_val NAME##_perf(npu_graph *g, int index)                                                                \
    {                                                                                                                  \
        return loss_perf(g, index, npu_##NAME);                                                                        \
    }                                                                                                                  \
    const struct npu_op npu_op_##NAME = {                                                                              \
        .name = #NAME,                                                                                                 \
        .shape = loss_shape,                                                                                           \
        .ref = loss_ref,                                                                                               \
        .grad = loss_backward,                                                                                         \
        .lower = loss_lower,                                                                                           \
        .test_case = NAME##_case,                                                                                      \
        .perf_case = NAME##_perf,                                                                                      \
        .kinks = KINKS,                                                                                                \
    }

LOSS(mse, LOSS_MSE, false);
LOSS(l1, LOSS_L1, true);
LOSS(bce_logits, LOSS_BCE, false);

/* ---- gradient: in {x, target, weight or none, 1 / sum(w), gradient of the loss} ---- */

int op_loss_grad_check(const struct npu_node *n, const struct npu_tensor_type *in, int want, const char *weights,
                       char *why, size_t size)
{
    if (n->n_in != want)
        return op_why(why, size, "needs %d inputs, got %d", want, n->n_in);
    if (op_need_f32(in, want - 2, weights, 0, NULL, why, size))
        return -EINVAL;
    return op_need_f32(in, want - 1, "the gradient of the loss", 0, NULL, why, size);
}

static int loss_grad_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                           size_t size)
{
    if (op_loss_grad_check(n, in, 5, "1 / sum of weights", why, size))
        return -EINVAL;
    n->n_out = 1;
    out[0] = in[0];
    return check_inputs(n, in, why, size);
}

static int loss_grad_ref(const struct npu_ref_call *c)
{
    int kind = NPU_ATTR(struct loss_attr, c->node)->kind;
    struct op_bcast b = weight_view(&c->in[0].shape, &c->in[2].shape);
    float scale = npu_load(&c->in[3], 0) * npu_load(&c->in[4], 0);

    if (!npu_shape_elements(&c->in[0].shape))
        return 0;
    for (int64_t row = 0; row < b.rows; row++) {
        int64_t base = op_bcast_base(&b, row);

        for (int64_t j = 0; j < b.inner; j++) {
            int64_t i = row * b.inner + j;
            float w = c->in[2].data ? npu_load(&c->in[2], base + j * b.step) : 1;

            npu_store(&c->out[0], i, scale * w * loss_slope(kind, npu_load(&c->in[0], i), npu_load(&c->in[1], i)));
        }
    }
    return 0;
}

static int loss_grad_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_tensor_type x = npu_lower_type(l, n->in[0]), w = npu_lower_type(l, n->in[2]);
    struct op_bcast b = weight_view(&x.shape, &w.shape);
    struct npu_launch *k;

    if (!npu_shape_elements(&x.shape))
        return 0;
    k = op_launch(l, "loss", "loss_grad");
    for (int i = 0; i < 5; i++)
        npu_launch_val(k, n->in[i]);
    npu_launch_val(k, n->out[0]);
    npu_launch_i32(k, NPU_ATTR(struct loss_attr, n)->kind);
    npu_launch_i32(k, n->in[2] != NPU_NONE);
    op_bcast_args(k, &b);
    op_launch_tiles(l, k, b.rows, b.inner);
    return 0;
}

static npu_val loss_grad_case(npu_graph *g, int index)
{
    npu_val in[5];

    if (index >= 3 * N_CASES)
        return NPU_NONE;
    case_inputs(g, index / 3, in);
    in[3] = op_test_state(g, "d", 0, NULL, -1, 1);
    in[4] = op_test_state(g, "e", 0, NULL, -1, 1);
    return npu_node_add(g, &npu_op_loss_grad, in, 5, &(struct loss_attr){index % 3}, sizeof(struct loss_attr));
}

const struct npu_op npu_op_loss_grad = {
    .name = "loss_grad",
    .shape = loss_grad_shape,
    .ref = loss_grad_ref,
    .lower = loss_grad_lower,
    .test_case = loss_grad_case,
};
