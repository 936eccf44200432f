/* binary.c - add, sub, mul with y broadcast to x from the right. */
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

enum binary_kind { BINARY_ADD, BINARY_SUB, BINARY_MUL };

struct binary_attr {
    int kind;
};

static int binary_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                        size_t size)
{
    struct op_bcast b;

    if (n->n_in != 2)
        return op_why(why, size, "needs 2 inputs, got %d", n->n_in);
    if (op_need_float(in, 0, why, size) || op_need_float(in, 1, why, size))
        return -EINVAL;
    if (op_bcast_make(&in[0].shape, &in[1].shape, &b))
        return op_why(why, size, "%s does not broadcast to %s", op_shape_text(&in[1].shape),
                      op_shape_text(&in[0].shape));
    n->n_out = 1;
    out[0] = in[0];
    return 0;
}

static int binary_ref(const struct npu_ref_call *c)
{
    int kind = NPU_ATTR(struct binary_attr, c->node)->kind;
    float bx[OP_ROW], by[OP_ROW], z[OP_ROW];
    struct op_bcast b;
    int r = op_bcast_make(&c->in[0].shape, &c->in[1].shape, &b);

    if (r < 0)
        return r;
    for (int64_t row = 0; row < b.rows; row++) {
        int64_t base = op_bcast_base(&b, row);

        for (int64_t j = 0; j < b.inner; j += OP_ROW) {
            int64_t m = b.inner - j < OP_ROW ? b.inner - j : OP_ROW;
            const float *x = op_get(&c->in[0], row * b.inner + j, m, bx);
            const float *y = op_get(&c->in[1], base + j * b.step, b.step ? m : 1, by);

            for (int64_t k = 0; k < m; k++) {
                float v = y[k * b.step];

                z[k] = kind == BINARY_ADD ? x[k] + v : kind == BINARY_SUB ? x[k] - v : x[k] * v;
            }
            op_put(&c->out[0], row * b.inner + j, m, z);
        }
    }
    return 0;
}

static int binary_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    int kind = NPU_ATTR(struct binary_attr, n)->kind;
    npu_val x = n->in[0], y = n->in[1], t = gout[0];

    if (npu_val_needs_grad(g, x))
        gin[0] = kind == BINARY_MUL ? npu_mul(g, t, y) : t;
    if (npu_val_needs_grad(g, y)) {
        if (kind == BINARY_MUL)
            t = npu_mul(g, t, x);
        t = npu_reduce_like(g, t, y);
        gin[1] = kind == BINARY_SUB ? npu_scale(g, t, -1, 0) : t;
    }
    return gin[0] < 0 ? gin[0] : gin[1] < 0 ? gin[1] : 0;
}

static int binary_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_tensor_type x = npu_lower_type(l, n->in[0]), y = npu_lower_type(l, n->in[1]);
    struct npu_launch *k;
    struct op_bcast b;
    int r = op_bcast_make(&x.shape, &y.shape, &b);

    if (r < 0)
        return r;
    if (!npu_shape_elements(&x.shape))
        return 0;
    k = op_launch(l, "binary", "binary");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->in[1]);
    npu_launch_val(k, n->out[0]);
    npu_launch_i32(k, NPU_ATTR(struct binary_attr, n)->kind);
    op_bcast_args(k, &b);
    op_launch_tiles(l, k, b.rows, b.inner);
    return 0;
}

static npu_val binary_case(npu_graph *g, int index, npu_val (*build)(npu_graph *, npu_val, npu_val))
{
    static const struct {
        enum npu_dtype tx, ty;
        int rx;
        int64_t dx[6];
        int ry;
        int64_t dy[6];
    } t[] = {
        {NPU_F32, NPU_F32, 3, {3, 5, 7}, 3, {3, 5, 7}},                   /* same */
        {NPU_F32, NPU_F32, 2, {4, 9}, 0, {0}},                            /* scalar */
        {NPU_F32, NPU_F32, 0, {0}, 0, {0}},                               /* one element */
        {NPU_F32, NPU_F32, 2, {0, 5}, 1, {5}},                            /* empty */
        {NPU_F32, NPU_F32, 4, {2, 5, 3, 19}, 1, {19}},                    /* last axis */
        {NPU_BF16, NPU_F32, 3, {4, 37, 24}, 3, {4, 1, 24}},               /* [B,1,C] */
        {NPU_F32, NPU_BF16, 3, {3, 6, 33}, 3, {3, 6, 1}},                 /* a number a row */
        {NPU_F32, NPU_F32, 5, {2, 3, 4, 5, 3}, 4, {3, 1, 5, 1}},          /* mixed */
        {NPU_F16, NPU_F16, 2, {5, 17}, 2, {1, 17}},                       /* half */
        {NPU_F32, NPU_F32, 3, {3, 67, 131}, 2, {67, 131}},                /* position codes; several groups */
        {NPU_F32, NPU_F32, 6, {2, 3, 2, 2, 3, 2}, 6, {2, 1, 2, 1, 3, 1}}, /* all six dims */
    };
    npu_val a, b;

    if (index >= (int)(sizeof(t) / sizeof(t[0])))
        return NPU_NONE;
    a = op_test_in(g, "a", t[index].tx, t[index].rx, t[index].dx);
    b = op_test_in(g, "b", t[index].ty, t[index].ry, t[index].dy);
    return build(g, a, b);
}

/* Residuals, biases, position codes, channel gates, a scalar. */
static npu_val binary_perf(npu_graph *g, int index, npu_val (*build)(npu_graph *, npu_val, npu_val))
{
    static const int64_t d[][2][4] = {
        {{16, 1, 197, 192}, {16, 1, 197, 192}}, {{16, 1, 197, 192}, {1, 1, 1, 192}},  {{16, 64, 64, 32}, {1, 1, 1, 32}},
        {{16, 1, 197, 192}, {1, 1, 197, 192}},  {{16, 1, 197, 192}, {16, 1, 1, 192}}, {{16, 64, 64, 32}, {1, 1, 1, 1}},
    };

    if (index >= (int)(sizeof(d) / sizeof(d[0])))
        return NPU_NONE;
    return build(g, op_test_in(g, "a", NPU_F32, 4, d[index][0]), op_test_in(g, "b", NPU_F32, 4, d[index][1]));
}

#define BINARY(NAME, KIND)                                                                                             \
    npu_val npu_##NAME(npu_graph *g, npu_val x, npu_val y)                                                             \
    {                                                                                                                  \
        return npu_node_add(g, &npu_op_##NAME, (npu_val[]){x, y}, 2, &(struct binary_attr){KIND},                      \
                            sizeof(struct binary_attr));                                                               \
    }                                                                                                                  \
    static npu_val NAME##_case(npu_graph *g, int index)                                                                \
    {                                                                                                                  \
        return binary_case(g, index, npu_##NAME);                                                                      \
    }                                                                                                                  \
    static npu_val NAME##_perf(npu_graph *g, int index)                                                                \
    {                                                                                                                  \
        return binary_perf(g, index, npu_##NAME);                                                                      \
    }                                                                                                                  \
    const struct npu_op npu_op_##NAME = {                                                                              \
        .name = #NAME,                                                                                                 \
        .shape = binary_shape,                                                                                         \
        .ref = binary_ref,                                                                                             \
        .grad = binary_backward,                                                                                       \
        .lower = binary_lower,                                                                                         \
        .exact = true,                                                                                                 \
        .elementwise = true,                                                                                           \
        .test_case = NAME##_case,                                                                                      \
        .perf_case = NAME##_perf,                                                                                      \
    }

BINARY(add, BINARY_ADD);
BINARY(sub, BINARY_SUB);
BINARY(mul, BINARY_MUL);
