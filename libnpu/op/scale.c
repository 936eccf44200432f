/* scale.c - y = mul * x + add, rounded once. The pattern for element-wise operations. */
#include "libnpu/op/attr.h"

static int scale_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                       size_t why_size)
{
    if (in[0].dtype != NPU_F32 && in[0].dtype != NPU_BF16 && in[0].dtype != NPU_F16) {
        snprintf(why, why_size, "x must be f32, bf16 or f16, not %s", npu_dtype_name(in[0].dtype));
        return -EINVAL;
    }
    out[0] = in[0];
    return 0;
}

static int scale_ref(const struct npu_ref_call *c)
{
    const struct scale_attr *a = NPU_ATTR(struct scale_attr, c->node);
    int64_t n = npu_shape_elements(&c->out[0].shape);

    for (int64_t i = 0; i < n; i++)
        npu_store(&c->out[0], i, fmaf(a->mul, npu_load(&c->in[0], i), a->add));
    return 0;
}

static int scale_grad(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    const struct scale_attr *a = NPU_ATTR(struct scale_attr, n);

    if (npu_val_needs_grad(g, n->in[0]))
        gin[0] = npu_scale(g, gout[0], a->mul, 0.0f);
    return 0;
}

static int scale_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct scale_attr *a = NPU_ATTR(struct scale_attr, n);
    const struct npu_traits *t = npu_lower_traits(l);
    struct npu_tensor_type x = npu_lower_type(l, n->in[0]);
    int w = t->vec_f32 < 4 ? 4 : t->vec_f32;
    struct npu_launch *k;

    if (npu_shape_elements(&x.shape) == 0)
        return 0;
    k = npu_lower_launch(l, "scale", "scale");
    npu_launch_def(k, "-DW=%d", w);
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    npu_launch_f32(k, a->mul);
    npu_launch_f32(k, a->add);
    npu_launch_span(k, t, npu_shape_elements(&x.shape), w);
    return 0;
}

static npu_val scale_case(npu_graph *g, int index)
{
    static const struct {
        int rank;
        int64_t dim[3];
        float mul, add;
    } cases[] = {
        {2, {3, 5}, 2.0f, -1.0f}, {0, {0}, 0.5f, 0.0f},           {1, {1}, -1.0f, 3.0f},
        {2, {0, 4}, 2.0f, 1.0f},  {3, {7, 33, 129}, 1.5f, 0.25f}, {2, {512, 1000}, 0.0f, 1.0f},
    };

    if ((size_t)index >= sizeof cases / sizeof cases[0])
        return NPU_NONE;
    return npu_scale(g, npu_input(g, "a", NPU_F32, cases[index].rank, cases[index].dim), cases[index].mul,
                     cases[index].add);
}

const struct npu_op npu_op_scale = {
    .name = "scale",
    .shape = scale_shape,
    .ref = scale_ref,
    .grad = scale_grad,
    .lower = scale_lower,
    .test_case = scale_case,
    .elementwise = true,
    .exact = true,
};

npu_val npu_scale(npu_graph *g, npu_val x, float mul, float add)
{
    struct scale_attr a = {mul, add};

    return npu_node_add(g, &npu_op_scale, &x, 1, &a, sizeof a);
}
