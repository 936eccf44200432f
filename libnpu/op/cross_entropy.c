/* cross_entropy.c - mean of -log softmax(x)[target] over the rows whose target is a class; and its gradient.
 *
 * x [..., C], target [...] i32: a class or negative = ignored. out {loss, 1 / rows counted (0 if none)}.
 */
#include "libnpu/op/loss.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

npu_val npu_cross_entropy(npu_graph *g, npu_val x, npu_val target)
{
    return npu_node_add(g, &npu_op_cross_entropy, (npu_val[]){x, target}, 2, NULL, 0);
}

static int check_inputs(const struct npu_tensor_type *in, char *why, size_t size)
{
    struct npu_shape s = in[0].shape;

    if (s.rank < 1 || s.dim[s.rank - 1] < 1)
        return op_why(why, size, "x %s has no classes on its last axis", op_shape_text(&s));
    s.dim[--s.rank] = 0;
    if (in[1].dtype != NPU_I32 || !op_same_shape(&s, &in[1].shape))
        return op_why(why, size, "target is %s %s, needs i32 %s", npu_dtype_name(in[1].dtype),
                      op_shape_text(&in[1].shape), op_shape_text(&s));
    return op_need_float(in, 0, why, size);
}

static int entropy_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                         size_t size)
{
    if (n->n_in != 2)
        return op_why(why, size, "needs x and target");
    n->n_out = 2;
    out[0] = out[1] = (struct npu_tensor_type){.dtype = NPU_F32};
    return check_inputs(in, why, size);
}

/* log(sum(exp(row))) */
static double log_sum_exp(const struct npu_tensor *x, int64_t at, int64_t c)
{
    double sum = 0, top = -INFINITY;

    for (int64_t j = 0; j < c; j++)
        top = fmax(top, npu_load(x, at + j));
    for (int64_t j = 0; j < c; j++)
        sum += exp(npu_load(x, at + j) - top);
    return top + log(sum); // cppcheck-suppress invalidFunctionArg ; at least one term is exp(0)
}

static int entropy_ref(const struct npu_ref_call *k)
{
    int64_t c = op_last(&k->in[0].shape), rows = op_rows(&k->in[0].shape), n = 0;
    const int32_t *target = k->in[1].data;
    double sum = 0;

    for (int64_t r = 0; r < rows; r++) {
        if (target[r] < 0 || target[r] >= c)
            continue;
        sum += log_sum_exp(&k->in[0], r * c, c) - npu_load(&k->in[0], r * c + target[r]);
        n++;
    }
    npu_store(&k->out[0], 0, n ? (float)(sum / (double)n) : 0);
    npu_store(&k->out[1], 0, n ? 1 / (float)n : 0);
    return 0;
}

static int entropy_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    npu_val in[4] = {n->in[0], n->in[1], n->out[1], gout[0]};

    if (npu_val_needs_grad(g, n->in[0]))
        gin[0] = npu_node_add(g, &npu_op_cross_entropy_grad, in, 4, NULL, 0);
    return gin[0] < 0 ? gin[0] : 0;
}

static int64_t row_block(const struct npu_lower *l, int64_t rows, int64_t c)
{
    int64_t want = 4 * (int64_t)npu_lower_traits(l)->compute_units, block = c < 2048 ? 2048 / c : 1;

    return rows > want * block ? block : op_ceil_div(rows, want);
}

static int entropy_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_shape s = npu_lower_type(l, n->in[0]).shape;
    int64_t c = op_last(&s), rows = op_rows(&s), block = rows ? row_block(l, rows, c) : 1,
            parts = op_ceil_div(rows, block);
    struct npu_launch *k;
    int buf = npu_lower_scratch(l, 2 * sizeof(float) * (size_t)(parts + 64));

    if (buf < 0)
        return buf;
    if (rows) {
        k = op_launch(l, "loss", "entropy_part");
        npu_launch_val(k, n->in[0]);
        npu_launch_val(k, n->in[1]);
        npu_launch_buf(k, NPU_ARG_SCRATCH, buf);
        npu_launch_i32(k, rows);
        npu_launch_i32(k, c);
        npu_launch_i32(k, block);
        op_launch_items(l, k, parts);
    }
    op_loss_sum(l, n, buf, parts);
    return 0;
}

static const struct {
    enum npu_dtype t;
    int rank;
    int64_t dim[3];
} entropy_cases[] = {
    {NPU_F32, 2, {5, 7}}, {NPU_F32, 1, {3}},          {NPU_F32, 2, {0, 4}},
    {NPU_F32, 2, {6, 1}}, {NPU_F32, 3, {3, 300, 19}}, {NPU_BF16, 2, {17, 40}},
};
enum { N_CASES = sizeof(entropy_cases) / sizeof(entropy_cases[0]) };

static void case_inputs(npu_graph *g, int index, npu_val *in)
{
    in[0] = op_test_in(g, "a", entropy_cases[index].t, entropy_cases[index].rank, entropy_cases[index].dim);
    npu_test_range(g, in[0], -4, 4);
    in[1] = op_test_in(g, "b", NPU_I32, entropy_cases[index].rank - 1, entropy_cases[index].dim);
    npu_test_range(g, in[1], -2, (float)entropy_cases[index].dim[entropy_cases[index].rank - 1]);
}

static npu_val entropy_case(npu_graph *g, int index)
{
    npu_val in[2];

    if (index >= N_CASES)
        return NPU_NONE;
    case_inputs(g, index, in);
    return npu_cross_entropy(g, in[0], in[1]);
}

const struct npu_op npu_op_cross_entropy = {
    .name = "cross_entropy",
    .shape = entropy_shape,
    .ref = entropy_ref,
    .grad = entropy_backward,
    .lower = entropy_lower,
    .test_case = entropy_case,
};

/* ---- gradient: in {x, target, 1 / rows counted, gradient of the loss} ---- */

static int entropy_grad_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out,
                              char *why, size_t size)
{
    if (op_loss_grad_check(n, in, 4, "1 / rows", why, size))
        return -EINVAL;
    n->n_out = 1;
    out[0] = in[0];
    return check_inputs(in, why, size);
}

static int entropy_grad_ref(const struct npu_ref_call *k)
{
    int64_t c = op_last(&k->in[0].shape), rows = op_rows(&k->in[0].shape);
    float scale = npu_load(&k->in[2], 0) * npu_load(&k->in[3], 0);
    const int32_t *target = k->in[1].data;

    for (int64_t r = 0; r < rows; r++) {
        double lse = log_sum_exp(&k->in[0], r * c, c);
        bool counts = target[r] >= 0 && target[r] < c;

        for (int64_t j = 0; j < c; j++) {
            float p = (float)exp(npu_load(&k->in[0], r * c + j) - lse);

            npu_store(&k->out[0], r * c + j, counts ? scale * (p - (j == target[r])) : 0);
        }
    }
    return 0;
}

static int entropy_grad_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_shape s = npu_lower_type(l, n->in[0]).shape;
    int64_t c = op_last(&s), rows = op_rows(&s), block;
    struct npu_launch *k;

    if (!rows)
        return 0;
    block = row_block(l, rows, c);
    k = op_launch(l, "loss", "entropy_grad");
    for (int i = 0; i < 4; i++)
        npu_launch_val(k, n->in[i]);
    npu_launch_val(k, n->out[0]);
    npu_launch_i32(k, rows);
    npu_launch_i32(k, c);
    npu_launch_i32(k, block);
    op_launch_items(l, k, op_ceil_div(rows, block));
    return 0;
}

static npu_val entropy_grad_case(npu_graph *g, int index)
{
    npu_val in[4];

    if (index >= N_CASES)
        return NPU_NONE;
    case_inputs(g, index, in);
    in[2] = op_test_state(g, "c", 0, NULL, -1, 1);
    in[3] = op_test_state(g, "d", 0, NULL, -1, 1);
    return npu_node_add(g, &npu_op_cross_entropy_grad, in, 4, NULL, 0);
}

const struct npu_op npu_op_cross_entropy_grad = {
    .name = "cross_entropy_grad",
    .shape = entropy_grad_shape,
    .ref = entropy_grad_ref,
    .lower = entropy_grad_lower,
    .test_case = entropy_grad_case,
};
