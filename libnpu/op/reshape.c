/* reshape.c - other dims for the same elements in the same memory. */
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

struct reshape_attr {
    struct npu_shape shape;
};

npu_val npu_reshape(npu_graph *g, npu_val x, int rank, const int64_t *dim)
{
    const struct npu_shape *s = npu_val_shape(g, x);
    struct reshape_attr a = {.shape.rank = rank};
    int64_t known = 1;
    int unknown = -1;

    if (x < 0)
        return x;
    if (!s || rank < 0 || rank > NPU_MAX_DIMS)
        return npu_graph_fail(g, -EINVAL, "reshape: no such value, or a rank of %d", rank);
    for (int i = 0; i < rank; i++) {
        a.shape.dim[i] = dim[i];
        if (dim[i] >= 0)
            known *= dim[i];
        else if (unknown < 0)
            unknown = i;
        else
            return npu_graph_fail(g, -EINVAL, "reshape: more than one dim is negative");
    }
    if (unknown >= 0)
        a.shape.dim[unknown] = known ? npu_shape_elements(s) / known : 0;
    return npu_node_add(g, &npu_op_reshape, &x, 1, &a, sizeof(a));
}

static int reshape_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                         size_t size)
{
    const struct reshape_attr *a = NPU_ATTR(struct reshape_attr, n);

    if (n->n_in != 1)
        return op_why(why, size, "needs 1 input, got %d", n->n_in);
    if (npu_shape_elements(&in[0].shape) != npu_shape_elements(&a->shape))
        return op_why(why, size, "%s has another number of elements than %s", op_shape_text(&in[0].shape),
                      op_shape_text(&a->shape));
    n->n_out = 1;
    n->alias[0] = 0;
    out[0] = (struct npu_tensor_type){in[0].dtype, a->shape};
    return 0;
}

static int reshape_ref(const struct npu_ref_call *c)
{
    size_t size = (size_t)npu_shape_elements(&c->in[0].shape) * npu_dtype_size(c->in[0].dtype);

    if (c->out[0].data != c->in[0].data && size)
        memcpy(c->out[0].data, c->in[0].data, size);
    return 0;
}

static int reshape_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    struct npu_shape s = *npu_val_shape(g, n->in[0]);

    gin[0] = npu_reshape(g, gout[0], s.rank, s.dim);
    return gin[0] < 0 ? gin[0] : 0;
}

static int reshape_lower(const struct npu_node *n, struct npu_lower *l)
{
    return 0;
}

static npu_val reshape_case(npu_graph *g, int index)
{
    npu_val a;

    switch (index) {
    case 0:
        a = npu_reshape(g, op_test_in(g, "a", NPU_F32, OP_DIMS(4, 6)), OP_DIMS(3, -1));
        return npu_scale(g, a, 2, 1);
    case 1:
        a = npu_reshape(g, op_test_in(g, "a", NPU_F32, OP_DIMS(1, 1)), 0, NULL);
        return npu_scale(g, a, 2, 1);
    case 2:
        a = npu_reshape(g, op_test_in(g, "a", NPU_BF16, OP_DIMS(0, 3)), OP_DIMS(7, -1));
        return npu_scale(g, a, 2, 1);
    default:
        return NPU_NONE;
    }
}

const struct npu_op npu_op_reshape = {
    .name = "reshape",
    .shape = reshape_shape,
    .ref = reshape_ref,
    .grad = reshape_backward,
    .lower = reshape_lower,
    .test_case = reshape_case,
    .moves = true,
};
