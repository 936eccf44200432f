/* exact.h - f32 arithmetic of int8 networks to the last bit (docs/LIBNPU.md, "Exact f32"): functions, order of sums.
 *
 * Each operation is rounded once, to nearest even; a product that is added to something is an fma, so that a compiler
 * finds nothing to contract; no function of a mathematical library and no division take place. kernels/exact.clh says
 * the same in OpenCL C, eight numbers at a time.
 */
#ifndef NPU_OP_EXACT_H
#define NPU_OP_EXACT_H

#include "libnpu/op.h"

enum { NPU_X_LANES = 16 }; /* of a sum: element k is added to lane k mod 16 */

static inline int32_t npu_x_bits(float x)
{
    int32_t i;

    memcpy(&i, &x, sizeof i);
    return i;
}

static inline float npu_x_float(int32_t i)
{
    float x;

    memcpy(&x, &i, sizeof x);
    return x;
}

static inline float npu_x_clamp(float x, float lo, float hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* e^x for -87.3 <= x <= 88, of the nearer end elsewhere: Cephes' polynomial, within 2 ulp. */
static inline float npu_x_exp(float x)
{
    const float magic = 12582912.0f; /* 1.5 2^23: what is added to it is rounded to a whole number */
    float t, n, p;

    x = npu_x_clamp(x, -87.3f, 88.0f);
    t = fmaf(x, 1.44269504f, magic);
    n = t - magic;
    x = fmaf(n, -0.693359375f, x);
    x = fmaf(n, 2.12194440e-4f, x);
    p = fmaf(x, 1.9875691500e-4f, 1.3981999507e-3f);
    p = fmaf(p, x, 8.3334519073e-3f);
    p = fmaf(p, x, 4.1665795894e-2f);
    p = fmaf(p, x, 1.6666665459e-1f);
    p = fmaf(p, x, 5.0000001201e-1f);
    p = fmaf(p, x * x, x + 1.0f);
    return npu_x_float((int32_t)((uint32_t)npu_x_bits(p) + ((uint32_t)(npu_x_bits(t) - npu_x_bits(magic)) << 23)));
}

/* 1 / x for 2^-100 <= x <= 2^100, of the nearer end elsewhere: Newton's steps, within 1 ulp. */
static inline float npu_x_recip(float x)
{
    float y;

    x = npu_x_clamp(x, 0x1p-100f, 0x1p100f);
    y = npu_x_float(0x7ef311c3 - npu_x_bits(x));
    for (int i = 0; i < 4; i++)
        y = fmaf(fmaf(-x, y, 1.0f), y, y);
    return y;
}

/* 1 / sqrt(x) in the same range: Newton's steps, within 2 ulp. */
static inline float npu_x_rsqrt(float x)
{
    float y;

    x = npu_x_clamp(x, 0x1p-100f, 0x1p100f);
    y = npu_x_float(0x5f375a86 - (npu_x_bits(x) >> 1));
    for (int i = 0; i < 4; i++)
        y = fmaf(0.5f * fmaf(-(x * y), y, 1.0f), y, y);
    return y;
}

/* 1 + e^-x, at most 1 + e^69 < 2^100 */
static inline float npu_x_logistic(float x)
{
    const float t = -x;

    return 1.0f + npu_x_exp(t > 69.0f ? 69.0f : t);
}

static inline float npu_x_sigmoid(float x)
{
    return npu_x_recip(npu_x_logistic(x));
}

/* x / (1 + e^-u), u = 2 sqrt(2 / pi) (x + 0.044715 x^3): the tanh form */
static inline float npu_x_gelu(float x)
{
    const float d = npu_x_logistic(1.5957691216f * x * fmaf(x * x, 0.044715f, 1.0f)), y = npu_x_recip(d), q = x * y;

    return fmaf(fmaf(-d, q, x), y, q);
}

/* x / 2 + x h, h = erf(x / sqrt(2)) / 2 = x p(x^2) for |x| <= 4.75, where it comes to 0.5: within 6e-6 of GELU. p:
 * least largest error of x^2 p (Lawson's iteration), in t = 2 x^2 / 4.75^2 - 1. */
static inline float npu_x_gelu_erf(float x)
{
    const float c = npu_x_clamp(x, -4.75f, 4.75f), t = fmaf(c * c, 8.8642656803e-02f, -1.0f);
    float p = 1.2805840233e-03f;

    p = fmaf(p, t, -3.7714417558e-03f);
    p = fmaf(p, t, 5.0155199133e-03f);
    p = fmaf(p, t, -7.1681588888e-03f);
    p = fmaf(p, t, 1.3405801728e-02f);
    p = fmaf(p, t, -2.1649900824e-02f);
    p = fmaf(p, t, 3.0402846634e-02f);
    p = fmaf(p, t, -4.0568165481e-02f);
    p = fmaf(p, t, 5.3235255182e-02f);
    p = fmaf(p, t, -7.3667548597e-02f);
    p = fmaf(p, t, 1.4874836802e-01f);
    return fmaf(x, c * p, 0.5f * x);
}

/* Cephes' series where |x| < 0.625, else 1 - 2 / (e^2x + 1) */
static inline float npu_x_tanh(float x)
{
    const float s = x * x;
    float p = -5.70498872745e-3f;

    if (!(s < 0.390625f))
        return fmaf(-2.0f, npu_x_recip(1.0f + npu_x_exp(npu_x_clamp(2.0f * x, -60.0f, 60.0f))), 1.0f);
    p = fmaf(p, s, 2.06390887954e-2f);
    p = fmaf(p, s, -5.37397155531e-2f);
    p = fmaf(p, s, 1.33314422036e-1f);
    p = fmaf(p, s, -3.33332819422e-1f);
    return fmaf(p * s, x, x);
}

/* Activations (enum npu_act) of products. */
static inline float npu_x_act(int act, float x)
{
    switch (act) {
    case NPU_ACT_RELU:
        return x > 0.0f ? x : 0.0f;
    case NPU_ACT_RELU6:
        return x > 0.0f ? (x > 6.0f ? 6.0f : x) : 0.0f;
    case NPU_ACT_GELU:
        return npu_x_gelu(x);
    case NPU_ACT_SIGMOID:
        return npu_x_sigmoid(x);
    default:
        return x;
    }
}

/* The sum of the lanes: 0 and 8, 1 and 9, ...; then of those 0 and 4, ...; 0 and 2, ...; the last two. */
static inline float npu_x_sum(float lane[NPU_X_LANES])
{
    for (int half = NPU_X_LANES / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++)
            lane[k] += lane[k + half];
    return lane[0];
}

/* exact.c: what the operations' tables hold. */
npu_ref_fn npu_exact_matmul_ref, npu_exact_conv2d_ref, npu_exact_attention_ref, npu_exact_layer_norm_ref;
npu_ref_fn npu_exact_softmax_ref, npu_exact_reduce_ref, npu_exact_unary_ref, npu_exact_mean_pool_ref;
npu_ref_fn npu_exact_gelu_erf_ref;
/* exact_lower.c, kernels/exact_*.cl */
npu_lower_fn npu_exact_matmul_lower, npu_exact_conv2d_lower, npu_exact_attention_lower, npu_exact_layer_norm_lower;
npu_lower_fn npu_exact_softmax_lower, npu_exact_reduce_lower, npu_exact_unary_lower, npu_exact_mean_pool_lower;
npu_lower_fn npu_exact_gelu_erf_lower;

#endif
