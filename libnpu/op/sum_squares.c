/* sum_squares.c - the global norm of gradients and the factor that limits it. */
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

enum { SQUARES_PER_NODE = NPU_MAX_LAUNCHES - 1 }; /* one launch each, one to add up */

/* A chain of nodes: in {sum so far or none, up to SQUARES_PER_NODE tensors}. */
npu_val npu_sum_squares(npu_graph *g, const npu_val *x, int n)
{
    npu_val acc = NPU_NONE;

    if (n < 1)
        return npu_graph_fail(g, -EINVAL, "sum_squares: no tensors");
    for (int i = 0; i < n && acc >= 0; i += SQUARES_PER_NODE) {
        npu_val in[1 + SQUARES_PER_NODE] = {acc};
        int m = n - i < SQUARES_PER_NODE ? n - i : SQUARES_PER_NODE;

        memcpy(&in[1], &x[i], (size_t)m * sizeof(in[0]));
        acc = npu_node_add(g, &npu_op_sum_squares, in, 1 + m, NULL, 0);
    }
    return acc;
}

static int squares_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                         size_t size)
{
    if (n->n_in < 2 || n->n_in > 1 + SQUARES_PER_NODE)
        return op_why(why, size, "%d tensors, can take 1 to %d", n->n_in - 1, SQUARES_PER_NODE);
    if (n->in[0] != NPU_NONE && op_need_f32(in, 0, "the sum so far", 0, NULL, why, size))
        return -EINVAL;
    for (int i = 1; i < n->n_in; i++)
        if (op_need_float(in, i, why, size))
            return -EINVAL;
    n->n_out = 1;
    out[0] = (struct npu_tensor_type){.dtype = NPU_F32};
    return 0;
}

static int squares_ref(const struct npu_ref_call *c)
{
    double sum = c->in[0].data ? *(const float *)c->in[0].data : 0;

    for (int k = 1; k < c->node->n_in; k++)
        for (int64_t i = 0; i < npu_shape_elements(&c->in[k].shape); i++)
            sum += (double)npu_load(&c->in[k], i) * npu_load(&c->in[k], i);
    *(float *)c->out[0].data = (float)sum;
    return 0;
}

static int squares_lower(const struct npu_node *n, struct npu_lower *l)
{
    int64_t parts = 0, count[NPU_MAX_IN], most = 0;
    struct npu_launch *k;
    int buf;

    /* An upper bound: the work-items are known only once a launch has its size. */
    for (int i = 1; i < n->n_in; i++) {
        struct npu_tensor_type t = npu_lower_type(l, n->in[i]);

        count[i] = npu_shape_elements(&t.shape);
        most += op_ceil_div(count[i], 4096) + 8192;
    }
    buf = npu_lower_scratch(l, (size_t)most * sizeof(float));
    if (buf < 0)
        return buf;
    for (int i = 1; i < n->n_in; i++) {
        if (!count[i])
            continue;
        k = op_launch(l, "optim", "square_part");
        npu_launch_val(k, n->in[i]);
        npu_launch_buf(k, NPU_ARG_SCRATCH, buf);
        npu_launch_i32(k, parts);
        npu_launch_i32(k, count[i]);
        parts += op_launch_sums(l, k, 1, count[i]);
    }
    k = op_launch(l, "optim", "square_sum");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    npu_launch_buf(k, NPU_ARG_SCRATCH, buf);
    npu_launch_i32(k, n->in[0] != NPU_NONE);
    npu_launch_i32(k, parts);
    npu_launch_size(k, 1, 0, 0);
    return parts > most ? -EOVERFLOW : 0;
}

static npu_val squares_case(npu_graph *g, int index)
{
    npu_val x[9];

    switch (index) {
    case 0: /* two nodes */
        for (int i = 0; i < 9; i++)
            x[i] = op_test_in(g, (const char[2]){(char)('a' + i)}, NPU_F32, OP_DIMS(i, 5 + i));
        return npu_sum_squares(g, x, 9);
    case 1:
        x[0] = op_test_in(g, "a", NPU_F32, OP_DIMS(3, 40001));
        x[1] = op_test_in(g, "b", NPU_BF16, OP_DIMS(77));
        return npu_sum_squares(g, x, 2);
    case 2:
        x[0] = op_test_in(g, "a", NPU_F32, OP_DIMS(0));
        return npu_sum_squares(g, x, 1);
    default:
        return NPU_NONE;
    }
}

static npu_val sum_squares_perf(npu_graph *g, int index)
{
    npu_val x = index ? NPU_NONE : op_test_in(g, "a", NPU_F32, OP_DIMS(768, 768));

    return index ? NPU_NONE : npu_sum_squares(g, &x, 1);
}

const struct npu_op npu_op_sum_squares = {
    .name = "sum_squares",
    .shape = squares_shape,
    .ref = squares_ref,
    .lower = squares_lower,
    .test_case = squares_case,
    .perf_case = sum_squares_perf,
};

/* ---- clip_scale: in {sum of squares}, out {min(1, clip / norm), norm} ---- */

struct clip_attr {
    float clip;
};

npu_val npu_clip_scale(npu_graph *g, npu_val sum_squares, float clip, npu_val *ret_norm)
{
    npu_val scale =
        npu_node_add(g, &npu_op_clip_scale, &sum_squares, 1, &(struct clip_attr){clip}, sizeof(struct clip_attr));

    if (scale > 0 && ret_norm)
        *ret_norm = npu_node_output(g, scale, 1);
    return scale;
}

static int clip_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                      size_t size)
{
    if (n->n_in != 1 || !(NPU_ATTR(struct clip_attr, n)->clip >= 0))
        return op_why(why, size, "needs one sum of squares and a clip that is not negative");
    n->n_out = 2;
    out[0] = out[1] = in[0];
    return op_need_f32(in, 0, "the sum of squares", 0, NULL, why, size);
}

static int clip_ref(const struct npu_ref_call *c)
{
    float clip = NPU_ATTR(struct clip_attr, c->node)->clip, norm = sqrtf(*(const float *)c->in[0].data);

    *(float *)c->out[0].data = clip > 0 && norm > clip ? clip / norm : 1;
    *(float *)c->out[1].data = norm;
    return 0;
}

static int clip_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_launch *k = op_launch(l, "optim", "clip_scale");

    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    npu_launch_val(k, n->out[1]);
    npu_launch_f32(k, NPU_ATTR(struct clip_attr, n)->clip);
    npu_launch_size(k, 1, 0, 0);
    return 0;
}

static npu_val clip_case(npu_graph *g, int index)
{
    static const float clip[] = {0.5f, 5, 0};
    npu_val a, x[2] = {0};

    if (index >= (int)(sizeof(clip) / sizeof(clip[0])))
        return NPU_NONE;
    a = op_test_state(g, "a", 0, NULL, 1, 9);
    x[0] = npu_clip_scale(g, a, clip[index], &x[1]);
    for (int i = 0; i < 2; i++)
        x[i] = npu_reshape(g, x[i], OP_DIMS(1));
    return npu_concat(g, x, 2, 0);
}

const struct npu_op npu_op_clip_scale = {
    .name = "clip_scale",
    .shape = clip_shape,
    .ref = clip_ref,
    .lower = clip_lower,
    .test_case = clip_case,
};
