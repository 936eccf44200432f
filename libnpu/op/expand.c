/* expand.c - a tensor repeated over broadcast dims and multiplied by a number: the gradient of a reduction. */
#include "libnpu/op/attr.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

npu_val npu_expand_mul(npu_graph *g, npu_val x, const struct npu_shape *shape, float mul)
{
    struct expand_attr a = {*shape, mul};

    return npu_node_add(g, &npu_op_expand, &x, 1, &a, sizeof(a));
}

npu_val npu_expand(npu_graph *g, npu_val x, const struct npu_shape *shape)
{
    return npu_expand_mul(g, x, shape, 1);
}

static int expand_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                        size_t size)
{
    const struct expand_attr *a = NPU_ATTR(struct expand_attr, n);
    struct op_bcast b;

    if (n->n_in != 1)
        return op_why(why, size, "needs 1 input, got %d", n->n_in);
    if (op_bcast_make(&a->shape, &in[0].shape, &b))
        return op_why(why, size, "%s does not broadcast to %s", op_shape_text(&in[0].shape), op_shape_text(&a->shape));
    n->n_out = 1;
    out[0] = (struct npu_tensor_type){in[0].dtype, a->shape};
    return op_need_float(in, 0, why, size);
}

static int expand_ref(const struct npu_ref_call *c)
{
    float mul = NPU_ATTR(struct expand_attr, c->node)->mul;
    struct op_bcast b;
    int r = op_bcast_make(&c->out[0].shape, &c->in[0].shape, &b);

    if (r < 0 || !npu_shape_elements(&c->out[0].shape))
        return r;
    for (int64_t row = 0; row < b.rows; row++)
        for (int64_t j = 0; j < b.inner; j++)
            npu_store(&c->out[0], row * b.inner + j, mul * npu_load(&c->in[0], op_bcast_base(&b, row) + j * b.step));
    return 0;
}

static int expand_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    float mul = NPU_ATTR(struct expand_attr, n)->mul;

    gin[0] = npu_reduce_like(g, gout[0], n->in[0]);
    if (mul != 1)
        gin[0] = npu_scale(g, gin[0], mul, 0);
    return gin[0] < 0 ? gin[0] : 0;
}

static int expand_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_tensor_type x = npu_lower_type(l, n->out[0]), y = npu_lower_type(l, n->in[0]);
    struct npu_launch *k;
    struct op_bcast b;
    int r = op_bcast_make(&x.shape, &y.shape, &b);

    if (r < 0)
        return r;
    if (!npu_shape_elements(&x.shape))
        return 0;
    k = op_launch(l, "binary", "expand");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    npu_launch_f32(k, NPU_ATTR(struct expand_attr, n)->mul);
    op_bcast_args(k, &b);
    op_launch_tiles(l, k, b.rows, b.inner);
    return 0;
}

static npu_val expand_case(npu_graph *g, int index)
{
    switch (index) {
    case 0:
        return npu_expand_mul(g, op_test_in(g, "a", NPU_F32, OP_DIMS(3, 1, 5)), &(struct npu_shape){4, {2, 3, 7, 5}},
                              0.25f);
    case 1:
        return npu_expand(g, op_test_in(g, "a", NPU_BF16, 0, NULL), &(struct npu_shape){3, {3, 41, 67}});
    case 2:
        return npu_expand(g, op_test_in(g, "a", NPU_F32, OP_DIMS(2, 1)), &(struct npu_shape){2, {2, 0}});
    case 3:
        return npu_expand(g, op_test_in(g, "a", NPU_F16, OP_DIMS(1, 9, 1)), &(struct npu_shape){3, {5, 9, 13}});
    default:
        return NPU_NONE;
    }
}

static npu_val expand_perf(npu_graph *g, int index)
{
    if (index)
        return NPU_NONE;
    return npu_expand(g, op_test_in(g, "a", NPU_F32, OP_DIMS(16, 1, 192)), &(struct npu_shape){3, {16, 197, 192}});
}

const struct npu_op npu_op_expand = {
    .name = "expand",
    .shape = expand_shape,
    .ref = expand_ref,
    .grad = expand_backward,
    .lower = expand_lower,
    .test_case = expand_case,
    .perf_case = expand_perf,
};
