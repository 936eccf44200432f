/* unary.c - y = f(x) element by element: relu, relu6, gelu, sigmoid, tanh, exp, abs; and gx = gy f'.
 *
 * The gradient is computed from y where f' is a function of y (then x need not be kept), from x for gelu and abs.
 */
#include "libnpu/op/attr.h"
#include "libnpu/op/exact.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

#define GELU_A 0.7978845608f /* sqrt(2 / pi) */
#define GELU_B 0.044715f

static float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

static float unary(int kind, float x)
{
    switch (kind) {
    case UNARY_RELU:
        return x > 0 ? x : 0;
    case UNARY_RELU6:
        return x > 0 ? (x < 6 ? x : 6) : 0;
    case UNARY_GELU: /* 0.5 (1 + tanh(u)) = sigmoid(2 u) */
        return x * sigmoid(2 * GELU_A * (x + GELU_B * x * x * x));
    case UNARY_SIGMOID:
        return sigmoid(x);
    case UNARY_TANH:
        return tanhf(x);
    case UNARY_EXP:
        return expf(x);
    default:
        return fabsf(x);
    }
}

/* f' from y, or from x for gelu and abs. */
static float unary_slope(int kind, float v)
{
    float s;

    switch (kind) {
    case UNARY_RELU:
        return v > 0;
    case UNARY_RELU6:
        return v > 0 && v < 6;
    case UNARY_GELU:
        s = sigmoid(2 * GELU_A * (v + GELU_B * v * v * v));
        return s + v * s * (1 - s) * 2 * GELU_A * (1 + 3 * GELU_B * v * v);
    case UNARY_SIGMOID:
        return v * (1 - v);
    case UNARY_TANH:
        return 1 - v * v;
    case UNARY_EXP:
        return v;
    default:
        return (v > 0) - (v < 0);
    }
}

static int unary_ref(const struct npu_ref_call *c)
{
    int kind = NPU_ATTR(struct unary_attr, c->node)->kind;
    int64_t n = npu_shape_elements(&c->in[0].shape);
    float x[OP_ROW], y[OP_ROW];

    for (int64_t i = 0; i < n; i += OP_ROW) {
        int64_t m = n - i < OP_ROW ? n - i : OP_ROW;
        const float *v = op_get(&c->in[0], i, m, x);

        for (int64_t k = 0; k < m; k++)
            y[k] = unary(kind, v[k]);
        op_put(&c->out[0], i, m, y);
    }
    return 0;
}

static int unary_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    int kind = NPU_ATTR(struct unary_attr, n)->kind;
    npu_val in[2] = {kind == UNARY_GELU || kind == UNARY_ABS ? n->in[0] : n->out[0], gout[0]};

    gin[0] = npu_node_add(g, &npu_op_unary_grad, in, 2, &(struct unary_attr){kind}, sizeof(struct unary_attr));
    return gin[0] < 0 ? gin[0] : 0;
}

static int unary_launch(const struct npu_node *n, struct npu_lower *l, const char *entry)
{
    struct npu_tensor_type t = npu_lower_type(l, n->out[0]);
    int64_t count = npu_shape_elements(&t.shape);
    struct npu_launch *k;

    if (!count)
        return 0;
    k = op_launch(l, "unary", entry);
    for (int i = 0; i < n->n_in; i++)
        npu_launch_val(k, n->in[i]);
    npu_launch_val(k, n->out[0]);
    npu_launch_def(k, "-DKIND=%d", NPU_ATTR(struct unary_attr, n)->kind);
    npu_launch_span(k, npu_lower_traits(l), count, 8);
    return 0;
}

static int unary_lower(const struct npu_node *n, struct npu_lower *l)
{
    return unary_launch(n, l, "unary");
}

static npu_val unary_case(npu_graph *g, int index, npu_val (*build)(npu_graph *, npu_val))
{
    npu_val a;

    switch (index) {
    case 0:
        a = op_test_in(g, "a", NPU_F32, OP_DIMS(3, 7));
        npu_test_range(g, a, -8, 8);
        return build(g, a);
    case 1:
        return build(g, op_test_in(g, "a", NPU_F32, 0, NULL));
    case 2:
        return build(g, op_test_in(g, "a", NPU_F32, OP_DIMS(4, 0, 3)));
    case 3:
        a = op_test_in(g, "a", NPU_BF16, OP_DIMS(5, 13));
        npu_test_range(g, a, -4, 4);
        return build(g, a);
    case 4:
        return build(g, op_test_in(g, "a", NPU_F16, OP_DIMS(2, 16)));
    case 5:
        a = op_test_in(g, "a", NPU_F32, OP_DIMS(2, 33, 127));
        npu_test_range(g, a, -30, 30);
        return build(g, a);
    default:
        return NPU_NONE;
    }
}

static npu_val unary_perf(npu_graph *g, int index, npu_val (*build)(npu_graph *, npu_val))
{
    return index ? NPU_NONE : build(g, op_test_in(g, "a", NPU_F32, OP_DIMS(16, 197, 768)));
}

#define UNARY(NAME, KIND, KINKS)                                                                                       \
    npu_val npu_##NAME(npu_graph *g, npu_val x)                                                                        \
    {                                                                                                                  \
        return npu_node_add(g, &npu_op_##NAME, &x, 1, &(struct unary_attr){KIND}, sizeof(struct unary_attr));          \
    }                                                                                                                  \
    static npu_val NAME##_case(npu_graph *g, int index)                                                                \
    {                                                                                                                  \
        return unary_case(g, index, npu_##NAME);                                                                       \
    }                                                                                                                  \
    static npu_val NAME##_perf(npu_graph *g, int index)                                                                \
    {                                                                                                                  \
        return unary_perf(g, index, npu_##NAME);                                                                       \
    }                                                                                                                  \
    const struct npu_op npu_op_##NAME = {                                                                              \
        .name = #NAME,                                                                                                 \
        .shape = op_unary_shape,                                                                                       \
        .ref = unary_ref,                                                                                              \
        .grad = unary_backward,                                                                                        \
        .lower = unary_lower,                                                                                          \
        .elementwise = true,                                                                                           \
        .test_case = NAME##_case,                                                                                      \
        .perf_case = NAME##_perf,                                                                                      \
        .exact_ref = npu_exact_unary_ref,                                                                              \
        .exact_lower = npu_exact_unary_lower,                                                                          \
        .kinks = KINKS,                                                                                                \
    }

UNARY(relu, UNARY_RELU, true);
UNARY(relu6, UNARY_RELU6, true);
UNARY(gelu, UNARY_GELU, false);
UNARY(sigmoid, UNARY_SIGMOID, false);
UNARY(tanh, UNARY_TANH, false);
UNARY(exp, UNARY_EXP, false);
UNARY(abs, UNARY_ABS, true);

/* ---- gradient: in {x or y, gy} ---- */

static int unary_grad_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out,
                            char *why, size_t size)
{
    if (n->n_in != 2 || !op_same_shape(&in[0].shape, &in[1].shape))
        return op_why(why, size, "value %s and gradient %s differ", op_shape_text(&in[0].shape),
                      op_shape_text(&in[1].shape));
    n->n_out = 1;
    out[0] = in[0];
    return op_need_float(in, 0, why, size) ? -EINVAL : op_need_float(in, 1, why, size);
}

static int unary_grad_ref(const struct npu_ref_call *c)
{
    int kind = NPU_ATTR(struct unary_attr, c->node)->kind;
    int64_t n = npu_shape_elements(&c->in[0].shape);
    float x[OP_ROW], y[OP_ROW], z[OP_ROW];

    for (int64_t i = 0; i < n; i += OP_ROW) {
        int64_t m = n - i < OP_ROW ? n - i : OP_ROW;
        const float *v = op_get(&c->in[0], i, m, x), *gy = op_get(&c->in[1], i, m, y);

        for (int64_t k = 0; k < m; k++)
            z[k] = gy[k] * unary_slope(kind, v[k]);
        op_put(&c->out[0], i, m, z);
    }
    return 0;
}

static int unary_grad_lower(const struct npu_node *n, struct npu_lower *l)
{
    return unary_launch(n, l, "unary_grad");
}

/* Every kind, f32 of more than a work-group and bf16. */
static npu_val unary_grad_case(npu_graph *g, int index)
{
    npu_val in[2];
    int kind = index / 2;

    if (kind > UNARY_ABS)
        return NPU_NONE;
    in[0] = op_test_in(g, "a", index % 2 ? NPU_BF16 : NPU_F32, index % 2 ? 1 : 3,
                       index % 2 ? (int64_t[]){77} : (int64_t[]){3, 9, 101});
    in[1] = op_test_in(g, "b", index % 2 ? NPU_BF16 : NPU_F32, index % 2 ? 1 : 3,
                       index % 2 ? (int64_t[]){77} : (int64_t[]){3, 9, 101});
    npu_test_range(g, in[0], -7, 7);
    return npu_node_add(g, &npu_op_unary_grad, in, 2, &(struct unary_attr){kind}, sizeof(struct unary_attr));
}

static npu_val unary_grad_perf(npu_graph *g, int index)
{
    npu_val in[2];

    if (index > UNARY_GELU)
        return NPU_NONE;
    in[0] = op_test_in(g, "a", NPU_F32, OP_DIMS(16, 197, 768));
    in[1] = op_test_in(g, "b", NPU_F32, OP_DIMS(16, 197, 768));
    return npu_node_add(g, &npu_op_unary_grad, in, 2, &(struct unary_attr){index}, sizeof(struct unary_attr));
}

const struct npu_op npu_op_unary_grad = {
    .name = "unary_grad",
    .shape = unary_grad_shape,
    .ref = unary_grad_ref,
    .lower = unary_grad_lower,
    .elementwise = true,
    .test_case = unary_grad_case,
    .perf_case = unary_grad_perf,
};
