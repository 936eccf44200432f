/* gather.c - gather_rows: rows of x [b, n, c] by index [b, m]; the gradient adds rows back, in index order. */
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

struct gather_attr {
    int64_t n; /* gradient: rows of x */
};

npu_val npu_gather_rows(npu_graph *g, npu_val x, npu_val index)
{
    return npu_node_add(g, &npu_op_gather_rows, (npu_val[]){x, index}, 2, NULL, 0);
}

static int check_inputs(const struct npu_tensor_type *in, char *why, size_t size)
{
    const struct npu_shape *x = &in[0].shape, *index = &in[1].shape;

    if (x->rank != 3)
        return op_why(why, size, "x must be [b, n, c], is %s", op_shape_text(x));
    if (in[1].dtype != NPU_I32 || index->rank != 2 || index->dim[0] != x->dim[0])
        return op_why(why, size, "index is %s %s, needs i32 [%lld, m]", npu_dtype_name(in[1].dtype),
                      op_shape_text(index), (long long)x->dim[0]);
    return 0;
}

static int gather_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                        size_t size)
{
    if (n->n_in != 2)
        return op_why(why, size, "needs x and index");
    n->n_out = 1;
    out[0] = in[0];
    out[0].shape.dim[1] = in[1].shape.dim[1];
    return check_inputs(in, why, size);
}

static int gather_ref(const struct npu_ref_call *k)
{
    int64_t n = k->in[0].shape.dim[1], c = k->in[0].shape.dim[2], m = k->in[1].shape.dim[1];
    int64_t rows = npu_shape_elements(&k->in[1].shape);
    size_t size = (size_t)c * npu_dtype_size(k->in[0].dtype);
    const int32_t *index = k->in[1].data;

    for (int64_t r = 0; size && r < rows; r++) {
        char *to = (char *)k->out[0].data + (size_t)r * size;

        if (index[r] >= 0 && index[r] < n)
            memcpy(to, (const char *)k->in[0].data + (size_t)(r / m * n + index[r]) * size, size);
        else
            memset(to, 0, size);
    }
    return 0;
}

static int gather_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    struct gather_attr a = {npu_val_shape(g, n->in[0])->dim[1]};

    gin[0] = npu_node_add(g, &npu_op_gather_rows_grad, (npu_val[]){gout[0], n->in[1]}, 2, &a, sizeof(a));
    return gin[0] < 0 ? gin[0] : 0;
}

static int gather_launch(const struct npu_node *node, struct npu_lower *l, const char *entry, int64_t b, int64_t n,
                         int64_t m, int64_t c, bool grad)
{
    int64_t rows = b * (grad ? n : m);
    struct npu_launch *k;

    if (!rows || !c)
        return 0;
    k = op_launch(l, "copy", entry);
    npu_launch_val(k, node->in[0]);
    npu_launch_val(k, node->in[1]);
    npu_launch_val(k, node->out[0]);
    npu_launch_i32(k, rows);
    npu_launch_i32(k, n);
    npu_launch_i32(k, m);
    npu_launch_i32(k, c);
    op_launch_tiles(l, k, rows, c);
    return 0;
}

static int gather_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_shape x = npu_lower_type(l, n->in[0]).shape, index = npu_lower_type(l, n->in[1]).shape;

    return gather_launch(n, l, "gather_rows", x.dim[0], x.dim[1], index.dim[1], x.dim[2], false);
}

static const struct {
    enum npu_dtype t;
    int64_t b, n, m, c;
} gather_cases[] = {
    {NPU_F32, 2, 7, 4, 5},    {NPU_F32, 1, 1, 1, 1},     {NPU_F32, 2, 5, 0, 3}, {NPU_F32, 2, 0, 3, 3},
    {NPU_BF16, 3, 9, 20, 24}, {NPU_F32, 4, 49, 37, 131}, {NPU_U8, 2, 5, 3, 17},
};
enum { N_CASES = sizeof(gather_cases) / sizeof(gather_cases[0]) };

/* Indices repeat and some are out of range. */
static npu_val case_index(npu_graph *g, int i)
{
    npu_val v = op_test_in(g, "b", NPU_I32, OP_DIMS(gather_cases[i].b, gather_cases[i].m));

    npu_test_range(g, v, -1, (float)gather_cases[i].n + 1);
    return v;
}

static npu_val gather_case(npu_graph *g, int i)
{
    if (i >= N_CASES)
        return NPU_NONE;
    return npu_gather_rows(
        g, op_test_in(g, "a", gather_cases[i].t, OP_DIMS(gather_cases[i].b, gather_cases[i].n, gather_cases[i].c)),
        case_index(g, i));
}

const struct npu_op npu_op_gather_rows = {
    .name = "gather_rows",
    .shape = gather_shape,
    .ref = gather_ref,
    .grad = gather_backward,
    .lower = gather_lower,
    .test_case = gather_case,
};

/* ---- gradient: in {gy [b, m, c], index} -> gx [b, n, c] ---- */

static int gather_grad_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out,
                             char *why, size_t size)
{
    if (n->n_in != 2 || check_inputs(in, why, size))
        return n->n_in != 2 ? op_why(why, size, "needs a gradient and index") : -EINVAL;
    if (in[0].shape.dim[1] != in[1].shape.dim[1])
        return op_why(why, size, "gradient %s and index %s differ", op_shape_text(&in[0].shape),
                      op_shape_text(&in[1].shape));
    n->n_out = 1;
    out[0] = in[0];
    out[0].shape.dim[1] = NPU_ATTR(struct gather_attr, n)->n;
    return op_need_float(in, 0, why, size);
}

static int gather_grad_ref(const struct npu_ref_call *k)
{
    int64_t n = k->out[0].shape.dim[1], c = k->out[0].shape.dim[2], m = k->in[1].shape.dim[1];
    int64_t rows = k->out[0].shape.dim[0] * n;
    const int32_t *index = k->in[1].data;

    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < c; j++) {
            float sum = 0;

            for (int64_t i = 0; i < m; i++)
                if (index[r / n * m + i] == r % n)
                    sum += npu_load(&k->in[0], (r / n * m + i) * c + j);
            npu_store(&k->out[0], r * c + j, sum);
        }
    return 0;
}

static int gather_grad_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_shape gy = npu_lower_type(l, n->in[0]).shape;

    return gather_launch(n, l, "gather_rows_grad", gy.dim[0], NPU_ATTR(struct gather_attr, n)->n, gy.dim[1], gy.dim[2],
                         true);
}

static npu_val gather_grad_case(npu_graph *g, int i)
{
    npu_val in[2];

    if (i >= N_CASES - 1)
        return NPU_NONE;
    in[0] = op_test_in(g, "a", gather_cases[i].t, OP_DIMS(gather_cases[i].b, gather_cases[i].m, gather_cases[i].c));
    in[1] = case_index(g, i);
    return npu_node_add(g, &npu_op_gather_rows_grad, in, 2, &(struct gather_attr){gather_cases[i].n},
                        sizeof(struct gather_attr));
}

static npu_val gather_rows_grad_perf(npu_graph *g, int index)
{
    npu_val in[2];

    if (index)
        return NPU_NONE;
    in[0] = op_test_in(g, "a", NPU_F32, OP_DIMS(16, 49, 192));
    in[1] = op_test_in(g, "b", NPU_I32, OP_DIMS(16, 49));
    npu_test_range(g, in[1], 0, 196);
    return npu_node_add(g, &npu_op_gather_rows_grad, in, 2, &(struct gather_attr){196}, sizeof(struct gather_attr));
}

const struct npu_op npu_op_gather_rows_grad = {
    .name = "gather_rows_grad",
    .shape = gather_grad_shape,
    .ref = gather_grad_ref,
    .lower = gather_grad_lower,
    .test_case = gather_grad_case,
    .perf_case = gather_rows_grad_perf,
};
