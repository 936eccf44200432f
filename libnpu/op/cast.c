/* cast.c - another storage type: floats from anything, rounding to nearest even. */
#include "libnpu/op/attr.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"
#include "libnpu/widen.h"

npu_val npu_cast(npu_graph *g, npu_val x, enum npu_dtype t)
{
    if (x > 0 && npu_val_shape(g, x) && npu_val_dtype(g, x) == t)
        return x;
    return npu_node_add(g, &npu_op_cast, &x, 1, &(struct cast_attr){(int)t}, sizeof(struct cast_attr));
}

static int cast_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                      size_t size)
{
    enum npu_dtype t = (enum npu_dtype)NPU_ATTR(struct cast_attr, n)->dtype;

    if (n->n_in != 1)
        return op_why(why, size, "needs 1 input, got %d", n->n_in);
    if (!op_is_float(t))
        return op_why(why, size, "the result type %s is none of f32, bf16, f16", npu_dtype_name(t));
    n->n_out = 1;
    out[0] = in[0];
    out[0].dtype = t;
    return 0;
}

static int cast_ref(const struct npu_ref_call *c)
{
    int64_t n = npu_shape_elements(&c->in[0].shape);

    for (int64_t i = 0; i < n; i++)
        npu_store(&c->out[0], i, npu_load(&c->in[0], i));
    return 0;
}

static int cast_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    gin[0] = npu_cast(g, gout[0], npu_val_dtype(g, n->in[0]));
    return gin[0] < 0 ? gin[0] : 0;
}

static int cast_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_tensor_type t = npu_lower_type(l, n->in[0]);
    int64_t count = npu_shape_elements(&t.shape);
    struct npu_launch *k;

    if (!count || npu_widen_lower_cast(l, n->in[0], n->out[0]) == 0)
        return 0;
    k = op_launch(l, "copy", "cast");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    npu_launch_span(k, npu_lower_traits(l), count, 8);
    return 0;
}

static npu_val cast_case(npu_graph *g, int index)
{
    static const struct {
        enum npu_dtype from, to;
        int rank;
        int64_t dim[2];
        float lo, hi;
    } t[] = {
        {NPU_F32, NPU_BF16, 2, {13, 7}, -100, 100},   {NPU_F32, NPU_F16, 2, {3, 1001}, -100, 100},
        {NPU_BF16, NPU_F32, 0, {0}, -1, 1},           {NPU_F16, NPU_F32, 1, {77}, -1, 1},
        {NPU_U8, NPU_F32, 2, {67, 43}, 0, 256},       {NPU_I8, NPU_BF16, 1, {9}, -128, 128},
        {NPU_I32, NPU_F32, 2, {5, 3}, -70000, 70000}, {NPU_F32, NPU_BF16, 2, {4, 0}, 0, 1},
        {NPU_F32, NPU_F16, 1, {999}, -1e-4f, 1e-4f},  {NPU_F16, NPU_F32, 1, {999}, -1e-4f, 1e-4f}, /* f16 denormals */
    };
    npu_val a;

    if (index >= (int)(sizeof(t) / sizeof(t[0])))
        return NPU_NONE;
    a = op_test_in(g, "a", t[index].from, t[index].rank, t[index].dim);
    npu_test_range(g, a, t[index].lo, t[index].hi);
    return npu_cast(g, a, t[index].to);
}

static npu_val cast_perf(npu_graph *g, int index)
{
    npu_val a;

    if (index > 1)
        return NPU_NONE;
    a = op_test_in(g, "a", index ? NPU_U8 : NPU_F32, OP_DIMS(16, 197, 768));
    return npu_cast(g, a, npu_val_dtype(g, a) == NPU_F32 ? NPU_BF16 : NPU_F32);
}

const struct npu_op npu_op_cast = {
    .name = "cast",
    .shape = cast_shape,
    .ref = cast_ref,
    .grad = cast_backward,
    .lower = cast_lower,
    .elementwise = true,
    .test_case = cast_case,
    .perf_case = cast_perf,
};
