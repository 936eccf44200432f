/* prelu.c - x where x > 0, else slope x; slope one number or one a channel (last axis); and its gradient. */
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

npu_val npu_prelu(npu_graph *g, npu_val x, npu_val slope)
{
    return npu_node_add(g, &npu_op_prelu, (npu_val[]){x, slope}, 2, NULL, 0);
}

static int check_inputs(const struct npu_tensor_type *in, char *why, size_t size)
{
    const struct npu_shape *s = &in[1].shape;

    if (op_need_float(in, 0, why, size) || op_need_float(in, 1, why, size))
        return -EINVAL;
    if (s->rank != 1 || (s->dim[0] != 1 && s->dim[0] != op_last(&in[0].shape)))
        return op_why(why, size, "slope %s is neither [1] nor the last axis of %s", op_shape_text(s),
                      op_shape_text(&in[0].shape));
    return 0;
}

static int prelu_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                       size_t size)
{
    if (n->n_in != 2)
        return op_why(why, size, "needs x and slope");
    n->n_out = 1;
    out[0] = in[0];
    return check_inputs(in, why, size);
}

static int prelu_ref(const struct npu_ref_call *k)
{
    int64_t n = npu_shape_elements(&k->in[0].shape), c = npu_shape_elements(&k->in[1].shape);

    for (int64_t i = 0; i < n; i++) {
        float x = npu_load(&k->in[0], i);

        npu_store(&k->out[0], i, x > 0 ? x : x * npu_load(&k->in[1], i % c));
    }
    return 0;
}

static int prelu_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    npu_val d = npu_node_add(g, &npu_op_prelu_grad, (npu_val[]){n->in[0], n->in[1], gout[0]}, 3, NULL, 0), t;
    const struct npu_shape *slope = npu_val_shape(g, n->in[1]);
    struct npu_shape wide;

    if (d < 0)
        return d;
    gin[0] = d;
    if (!npu_val_needs_grad(g, n->in[1]))
        return 0;
    t = npu_node_output(g, d, 1); /* the slope's gradient element by element; summed like a broadcast operand's */
    wide = *npu_val_shape(g, t);
    if (!wide.rank) /* a scalar x against [1] */
        t = npu_reshape(g, t, 1, (const int64_t[]){1});
    if (slope->dim[0] == 1 && wide.rank > 1) {
        t = npu_reduce(g, t, NPU_REDUCE_SUM, 0);
        t = npu_reshape(g, t, 1, (const int64_t[]){1});
        gin[1] = npu_cast(g, t, npu_val_dtype(g, n->in[1]));
    } else {
        gin[1] = npu_reduce_like(g, t, n->in[1]);
    }
    return gin[1] < 0 ? gin[1] : 0;
}

static int prelu_launch(const struct npu_node *n, struct npu_lower *l, const char *entry)
{
    struct npu_tensor_type x = npu_lower_type(l, n->in[0]), slope = npu_lower_type(l, n->in[1]);
    int64_t count = npu_shape_elements(&x.shape), each = npu_shape_elements(&slope.shape);
    int64_t inner = each > 1 ? each : count;
    struct npu_launch *k;

    if (!count)
        return 0;
    k = op_launch(l, "prelu", entry);
    for (int i = 0; i < n->n_in; i++)
        npu_launch_val(k, n->in[i]);
    for (int i = 0; i < n->n_out; i++)
        npu_launch_val(k, n->out[i]);
    npu_launch_i32(k, count / inner);
    npu_launch_i32(k, inner);
    npu_launch_i32(k, each > 1);
    op_launch_tiles(l, k, count / inner, inner);
    return 0;
}

static int prelu_lower(const struct npu_node *n, struct npu_lower *l)
{
    return prelu_launch(n, l, "prelu");
}

static const struct {
    enum npu_dtype t;
    int rank;
    int64_t dim[4], slopes;
} prelu_cases[] = {
    {NPU_F32, 4, {2, 3, 5, 11}, 11}, {NPU_F32, 3, {4, 9, 7}, 1},  {NPU_F32, 1, {1}, 1},
    {NPU_F32, 2, {0, 3}, 3},         {NPU_BF16, 2, {33, 24}, 24}, {NPU_F32, 3, {3, 67, 130}, 130},
};
enum { N_CASES = sizeof(prelu_cases) / sizeof(prelu_cases[0]) };

static void case_inputs(npu_graph *g, int index, npu_val *in)
{
    in[0] = op_test_in(g, "a", prelu_cases[index].t, prelu_cases[index].rank, prelu_cases[index].dim);
    in[1] = op_test_param(g, "slope", 1, &prelu_cases[index].slopes);
}

static npu_val prelu_case(npu_graph *g, int index)
{
    npu_val in[2];

    if (index >= N_CASES)
        return NPU_NONE;
    case_inputs(g, index, in);
    return npu_prelu(g, in[0], in[1]);
}

static npu_val prelu_perf(npu_graph *g, int index)
{
    const int64_t c = 32;

    return index ? NPU_NONE
                 : npu_prelu(g, op_test_in(g, "a", NPU_F32, OP_DIMS(16, 64, 64, 32)), op_test_param(g, "slope", 1, &c));
}

const struct npu_op npu_op_prelu = {
    .name = "prelu",
    .shape = prelu_shape,
    .ref = prelu_ref,
    .grad = prelu_backward,
    .lower = prelu_lower,
    .test_case = prelu_case,
    .perf_case = prelu_perf,
    .kinks = true,
};

/* ---- gradient: in {x, slope, gy}, out {gx, f32 gradient of the slope for each element} ---- */

static int prelu_grad_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out,
                            char *why, size_t size)
{
    if (n->n_in != 3 || !op_same_shape(&in[0].shape, &in[2].shape))
        return op_why(why, size, "x %s and gradient %s differ", op_shape_text(&in[0].shape),
                      op_shape_text(&in[2].shape));
    n->n_out = 2;
    out[0] = out[1] = in[0];
    out[1].dtype = NPU_F32;
    return check_inputs(in, why, size) ? -EINVAL : op_need_float(in, 2, why, size);
}

static int prelu_grad_ref(const struct npu_ref_call *k)
{
    int64_t n = npu_shape_elements(&k->in[0].shape), c = npu_shape_elements(&k->in[1].shape);

    for (int64_t i = 0; i < n; i++) {
        float x = npu_load(&k->in[0], i), gy = npu_load(&k->in[2], i);

        npu_store(&k->out[0], i, x > 0 ? gy : gy * npu_load(&k->in[1], i % c));
        npu_store(&k->out[1], i, x > 0 ? 0 : gy * x);
    }
    return 0;
}

static int prelu_grad_lower(const struct npu_node *n, struct npu_lower *l)
{
    return prelu_launch(n, l, "prelu_grad");
}

static npu_val prelu_grad_case(npu_graph *g, int index)
{
    npu_val in[3], d, all[2];

    if (index >= N_CASES)
        return NPU_NONE;
    case_inputs(g, index, in);
    in[2] = op_test_in(g, "b", prelu_cases[index].t, prelu_cases[index].rank, prelu_cases[index].dim);
    d = npu_node_add(g, &npu_op_prelu_grad, in, 3, NULL, 0);
    if (d < 0)
        return d;
    all[0] = npu_cast(g, d, NPU_F32);
    all[1] = npu_node_output(g, d, 1);
    return npu_concat(g, all, 2, 0);
}

const struct npu_op npu_op_prelu_grad = {
    .name = "prelu_grad",
    .shape = prelu_grad_shape,
    .ref = prelu_grad_ref,
    .lower = prelu_grad_lower,
    .test_case = prelu_grad_case,
};
