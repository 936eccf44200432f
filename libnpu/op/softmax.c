/* softmax.c - e^x / sum(e^x) over the last axis, and its gradient gx = y (gy - sum(gy y)). */
#include "libnpu/op/exact.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

npu_val npu_softmax(npu_graph *g, npu_val x)
{
    return npu_node_add(g, &npu_op_softmax, &x, 1, NULL, 0);
}

static int softmax_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                         size_t size)
{
    if (n->n_in != 1 || in[0].shape.rank < 1)
        return op_why(why, size, "x needs at least one axis, is %s", op_shape_text(&in[0].shape));
    n->n_out = 1;
    out[0] = in[0];
    return op_need_float(in, 0, why, size);
}

static int softmax_ref(const struct npu_ref_call *k)
{
    int64_t c = op_last(&k->in[0].shape), rows = op_rows(&k->in[0].shape);

    for (int64_t r = 0; c && r < rows; r++) {
        double sum = 0;
        float top = -INFINITY;

        for (int64_t j = 0; j < c; j++)
            top = fmaxf(top, npu_load(&k->in[0], r * c + j));
        for (int64_t j = 0; j < c; j++)
            sum += expf(npu_load(&k->in[0], r * c + j) - top);
        for (int64_t j = 0; j < c; j++)
            npu_store(&k->out[0], r * c + j, (float)(expf(npu_load(&k->in[0], r * c + j) - top) / sum));
    }
    return 0;
}

static int softmax_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    gin[0] = npu_node_add(g, &npu_op_softmax_grad, (npu_val[]){n->out[0], gout[0]}, 2, NULL, 0);
    return gin[0] < 0 ? gin[0] : 0;
}

static int softmax_launch(const struct npu_node *n, struct npu_lower *l, const char *entry)
{
    struct npu_shape s = npu_lower_type(l, n->in[0]).shape;
    int64_t c = op_last(&s), rows = op_rows(&s), want = 4 * (int64_t)npu_lower_traits(l)->compute_units, block;
    struct npu_launch *k;

    if (!c || !rows)
        return 0;
    block = op_is_cpu(l) && c < 4096 ? 4096 / c : 1;
    if (block * want > rows)
        block = op_ceil_div(rows, want);
    k = op_launch(l, "softmax", entry);
    for (int i = 0; i < n->n_in; i++)
        npu_launch_val(k, n->in[i]);
    npu_launch_val(k, n->out[0]);
    npu_launch_i32(k, rows);
    npu_launch_i32(k, c);
    npu_launch_i32(k, block);
    op_launch_items(l, k, op_ceil_div(rows, block));
    return 0;
}

static int softmax_lower(const struct npu_node *n, struct npu_lower *l)
{
    return softmax_launch(n, l, "softmax");
}

static const struct {
    enum npu_dtype t;
    int rank;
    int64_t dim[3];
} softmax_cases[] = {
    {NPU_F32, 2, {3, 7}},   {NPU_F32, 1, {1}},           {NPU_F32, 2, {4, 0}},
    {NPU_BF16, 2, {5, 16}}, {NPU_F32, 3, {3, 197, 197}}, {NPU_F16, 2, {67, 10}},
};
enum { N_CASES = sizeof(softmax_cases) / sizeof(softmax_cases[0]) };

static npu_val softmax_case(npu_graph *g, int index)
{
    npu_val x;

    if (index >= N_CASES)
        return NPU_NONE;
    x = op_test_in(g, "a", softmax_cases[index].t, softmax_cases[index].rank, softmax_cases[index].dim);
    npu_test_range(g, x, -5, 5);
    return npu_softmax(g, x);
}

static npu_val softmax_perf(npu_graph *g, int index)
{
    return index ? NPU_NONE : npu_softmax(g, op_test_in(g, "a", NPU_F32, OP_DIMS(48, 197, 197)));
}

const struct npu_op npu_op_softmax = {
    .name = "softmax",
    .shape = softmax_shape,
    .ref = softmax_ref,
    .grad = softmax_backward,
    .lower = softmax_lower,
    .test_case = softmax_case,
    .perf_case = softmax_perf,
    .exact_ref = npu_exact_softmax_ref,
    .exact_lower = npu_exact_softmax_lower,
};

/* ---- gradient: in {y, gy} ---- */

static int softmax_grad_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out,
                              char *why, size_t size)
{
    if (n->n_in != 2 || in[0].shape.rank < 1 || !op_same_shape(&in[0].shape, &in[1].shape))
        return op_why(why, size, "y %s and gradient %s differ", op_shape_text(&in[0].shape),
                      op_shape_text(&in[1].shape));
    n->n_out = 1;
    out[0] = in[0];
    return op_need_float(in, 0, why, size) ? -EINVAL : op_need_float(in, 1, why, size);
}

static int softmax_grad_ref(const struct npu_ref_call *k)
{
    int64_t c = op_last(&k->in[0].shape), rows = op_rows(&k->in[0].shape);

    for (int64_t r = 0; r < rows; r++) {
        double dot = 0;

        for (int64_t j = 0; j < c; j++)
            dot += npu_load(&k->in[0], r * c + j) * npu_load(&k->in[1], r * c + j);
        for (int64_t j = 0; j < c; j++)
            npu_store(&k->out[0], r * c + j,
                      npu_load(&k->in[0], r * c + j) * (float)(npu_load(&k->in[1], r * c + j) - dot));
    }
    return 0;
}

static int softmax_grad_lower(const struct npu_node *n, struct npu_lower *l)
{
    return softmax_launch(n, l, "softmax_grad");
}

static npu_val softmax_grad_case(npu_graph *g, int index)
{
    npu_val in[2];

    if (index >= N_CASES)
        return NPU_NONE;
    in[0] = op_test_in(g, "a", softmax_cases[index].t, softmax_cases[index].rank, softmax_cases[index].dim);
    in[1] = op_test_in(g, "b", softmax_cases[index].t, softmax_cases[index].rank, softmax_cases[index].dim);
    npu_test_range(g, in[0], 0, 1);
    return npu_node_add(g, &npu_op_softmax_grad, in, 2, NULL, 0);
}

static npu_val softmax_grad_perf(npu_graph *g, int index)
{
    npu_val in[2];

    if (index)
        return NPU_NONE;
    in[0] = op_test_in(g, "a", NPU_F32, OP_DIMS(48, 197, 197));
    in[1] = op_test_in(g, "b", NPU_F32, OP_DIMS(48, 197, 197));
    return npu_node_add(g, &npu_op_softmax_grad, in, 2, NULL, 0);
}

const struct npu_op npu_op_softmax_grad = {
    .name = "softmax_grad",
    .shape = softmax_grad_shape,
    .ref = softmax_grad_ref,
    .lower = softmax_grad_lower,
    .test_case = softmax_grad_case,
    .perf_case = softmax_grad_perf,
    .tol_rel = 1e-5f,
    .tol_abs = 5e-5f,
};
