/* erf.c - y = erf(x), and GELU in its exact form y = x / 2 (1 + erf(x / sqrt(2))) (Hendrycks and Gimpel 2016), as
 * networks trained elsewhere have it. Kernels take formula 7.1.26 of Abramowitz and Stegun, whose error is
 * below 1.5e-7; in int8 networks GELU is what exact.h says.
 */
#include "libnpu/op/exact.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

enum erf_kind { ERF_PLAIN, ERF_GELU };

struct erf_attr {
    int kind;
};

#define SQRT_HALF      0.70710678118f
#define TWO_BY_SQRT_PI 1.12837916710f

static int erf_ref(const struct npu_ref_call *c)
{
    const bool gelu = NPU_ATTR(struct erf_attr, c->node)->kind == ERF_GELU;
    const int64_t n = npu_shape_elements(&c->in[0].shape);

    for (int64_t i = 0; i < n; i++) {
        const float x = npu_load(&c->in[0], i);

        npu_store(&c->out[0], i, gelu ? 0.5f * x * (1.0f + erff(SQRT_HALF * x)) : erff(x));
    }
    return 0;
}

/* erf' = 2 / sqrt(pi) exp(-x^2); gelu' = 1/2 (1 + erf(u)) + x / 2 erf'(u) / sqrt(2) with u = x / sqrt(2) */
static int erf_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    const npu_val x = n->in[0];
    const bool gelu = NPU_ATTR(struct erf_attr, n)->kind == ERF_GELU;
    const npu_val bell = npu_exp(g, npu_scale(g, npu_mul(g, x, x), gelu ? -0.5f : -1.0f, 0));
    npu_val slope;

    if (gelu) {
        slope = npu_scale(g, npu_erf(g, npu_scale(g, x, SQRT_HALF, 0)), 0.5f, 0.5f);
        slope = npu_add(g, slope, npu_scale(g, npu_mul(g, x, bell), 0.5f * SQRT_HALF * TWO_BY_SQRT_PI, 0));
    } else {
        slope = npu_scale(g, bell, TWO_BY_SQRT_PI, 0);
    }
    gin[0] = npu_mul(g, gout[0], slope);
    return gin[0] < 0 ? gin[0] : 0;
}

static int erf_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_tensor_type t = npu_lower_type(l, n->out[0]);
    const int64_t count = npu_shape_elements(&t.shape);
    struct npu_launch *k;

    if (!count)
        return 0;
    k = op_launch(l, "erf", NPU_ATTR(struct erf_attr, n)->kind == ERF_GELU ? "gelu_erf" : "erf_all");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    npu_launch_span(k, npu_lower_traits(l), count, 8);
    return 0;
}

static npu_val erf_case(npu_graph *g, int index, npu_val (*build)(npu_graph *, npu_val))
{
    static const struct {
        enum npu_dtype type;
        int rank;
        int64_t dim[3];
        float range;
    } t[] = {
        {NPU_F32, 2, {3, 7}, 4},   {NPU_F32, 0, {0}, 1},  {NPU_F32, 3, {4, 0, 3}, 1},
        {NPU_BF16, 2, {5, 13}, 4}, {NPU_F16, 1, {33}, 2}, {NPU_F32, 3, {2, 33, 127}, 20},
    };
    npu_val a;

    if ((size_t)index >= sizeof t / sizeof t[0])
        return NPU_NONE;
    a = op_test_in(g, "a", t[index].type, t[index].rank, t[index].dim);
    npu_test_range(g, a, -t[index].range, t[index].range);
    return build(g, a);
}

static npu_val erf_node(npu_graph *g, const struct npu_op *op, npu_val x, int kind)
{
    return npu_node_add(g, op, &x, 1, &(struct erf_attr){kind}, sizeof(struct erf_attr));
}

npu_val npu_erf(npu_graph *g, npu_val x)
{
    return erf_node(g, &npu_op_erf, x, ERF_PLAIN);
}

npu_val npu_gelu_erf(npu_graph *g, npu_val x)
{
    return erf_node(g, &npu_op_gelu_erf, x, ERF_GELU);
}

static npu_val plain_case(npu_graph *g, int index)
{
    return erf_case(g, index, npu_erf);
}

static npu_val gelu_case(npu_graph *g, int index)
{
    return erf_case(g, index, npu_gelu_erf);
}

const struct npu_op npu_op_erf = {
    .name = "erf",
    .shape = op_unary_shape,
    .ref = erf_ref,
    .grad = erf_backward,
    .lower = erf_lower,
    .elementwise = true,
    .test_case = plain_case,
};

const struct npu_op npu_op_gelu_erf = {
    .name = "gelu_erf",
    .shape = op_unary_shape,
    .ref = erf_ref,
    .grad = erf_backward,
    .lower = erf_lower,
    .exact_ref = npu_exact_gelu_erf_ref,
    .exact_lower = npu_exact_gelu_erf_lower,
    .elementwise = true,
    .test_case = gelu_case,
};
