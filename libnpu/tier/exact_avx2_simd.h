/* exact_avx2_simd.h - libnpu/op/exact.h eight numbers at a time. For files compiled with AVX2, FMA and without
 * contraction. */
#ifndef NPU_TIER_EXACT_AVX2_SIMD_H
#define NPU_TIER_EXACT_AVX2_SIMD_H

#include "libnpu/tier/avx2_simd.h"

/* NaN stays NaN: of two operands, one of them NaN, the instructions give the second. */
static inline __m256 x_clamp8(__m256 x, float lo, float hi)
{
    return _mm256_min_ps(_mm256_set1_ps(hi), _mm256_max_ps(_mm256_set1_ps(lo), x));
}

static inline __m256 x_exp8(__m256 x)
{
    const __m256 magic = _mm256_set1_ps(12582912.0f);
    __m256i shift;
    __m256 t, n, p;

    x = x_clamp8(x, -87.3f, 88.0f);
    t = _mm256_fmadd_ps(x, _mm256_set1_ps(1.44269504f), magic);
    n = _mm256_sub_ps(t, magic);
    x = _mm256_fmadd_ps(n, _mm256_set1_ps(-0.693359375f), x);
    x = _mm256_fmadd_ps(n, _mm256_set1_ps(2.12194440e-4f), x);
    p = _mm256_fmadd_ps(x, _mm256_set1_ps(1.9875691500e-4f), _mm256_set1_ps(1.3981999507e-3f));
    p = _mm256_fmadd_ps(p, x, _mm256_set1_ps(8.3334519073e-3f));
    p = _mm256_fmadd_ps(p, x, _mm256_set1_ps(4.1665795894e-2f));
    p = _mm256_fmadd_ps(p, x, _mm256_set1_ps(1.6666665459e-1f));
    p = _mm256_fmadd_ps(p, x, _mm256_set1_ps(5.0000001201e-1f));
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(x, x), _mm256_add_ps(x, _mm256_set1_ps(1.0f)));
    shift = _mm256_slli_epi32(_mm256_sub_epi32(_mm256_castps_si256(t), _mm256_castps_si256(magic)), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), shift));
}

static inline __m256 x_recip8(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    __m256 y;

    x = x_clamp8(x, 0x1p-100f, 0x1p100f);
    y = _mm256_castsi256_ps(_mm256_sub_epi32(_mm256_set1_epi32(0x7ef311c3), _mm256_castps_si256(x)));
    for (int i = 0; i < 4; i++)
        y = _mm256_fmadd_ps(_mm256_fnmadd_ps(x, y, one), y, y);
    return y;
}

static inline __m256 x_logistic8(__m256 x)
{
    const __m256 t = _mm256_xor_ps(x, _mm256_set1_ps(-0.0f));

    return _mm256_add_ps(_mm256_set1_ps(1.0f), x_exp8(_mm256_min_ps(_mm256_set1_ps(69.0f), t)));
}

static inline __m256 x_sigmoid8(__m256 x)
{
    return x_recip8(x_logistic8(x));
}

static inline __m256 x_gelu8(__m256 x)
{
    const __m256 f = _mm256_fmadd_ps(_mm256_mul_ps(x, x), _mm256_set1_ps(0.044715f), _mm256_set1_ps(1.0f));
    const __m256 d = x_logistic8(_mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(1.5957691216f), x), f));
    const __m256 y = x_recip8(d), q = _mm256_mul_ps(x, y);

    return _mm256_fmadd_ps(_mm256_fnmadd_ps(d, q, x), y, q);
}

static inline __m256 x_gelu_erf8(__m256 x)
{
    const __m256 c = x_clamp8(x, -4.75f, 4.75f);
    const __m256 t = _mm256_fmadd_ps(_mm256_mul_ps(c, c), _mm256_set1_ps(8.8642656803e-02f), _mm256_set1_ps(-1.0f));
    __m256 p = _mm256_set1_ps(1.2805840233e-03f);

    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(-3.7714417558e-03f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(5.0155199133e-03f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(-7.1681588888e-03f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(1.3405801728e-02f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(-2.1649900824e-02f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(3.0402846634e-02f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(-4.0568165481e-02f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(5.3235255182e-02f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(-7.3667548597e-02f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(1.4874836802e-01f));
    return _mm256_fmadd_ps(x, _mm256_mul_ps(c, p), _mm256_mul_ps(_mm256_set1_ps(0.5f), x));
}

static inline __m256 x_tanh8(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0f), s = _mm256_mul_ps(x, x);
    const __m256 e = x_exp8(x_clamp8(_mm256_mul_ps(_mm256_set1_ps(2.0f), x), -60.0f, 60.0f));
    const __m256 far = _mm256_fmadd_ps(_mm256_set1_ps(-2.0f), x_recip8(_mm256_add_ps(one, e)), one);
    __m256 p = _mm256_set1_ps(-5.70498872745e-3f);

    p = _mm256_fmadd_ps(p, s, _mm256_set1_ps(2.06390887954e-2f));
    p = _mm256_fmadd_ps(p, s, _mm256_set1_ps(-5.37397155531e-2f));
    p = _mm256_fmadd_ps(p, s, _mm256_set1_ps(1.33314422036e-1f));
    p = _mm256_fmadd_ps(p, s, _mm256_set1_ps(-3.33332819422e-1f));
    p = _mm256_fmadd_ps(_mm256_mul_ps(p, s), x, x);
    return _mm256_blendv_ps(far, p, _mm256_cmp_ps(s, _mm256_set1_ps(0.390625f), _CMP_LT_OQ));
}

static inline __m256 x_relu8(__m256 x)
{
    return _mm256_max_ps(x, _mm256_setzero_ps());
}
static inline __m256 x_relu68(__m256 x)
{
    return _mm256_min_ps(_mm256_max_ps(x, _mm256_setzero_ps()), _mm256_set1_ps(6.0f));
}
static inline __m256 x_abs8(__m256 x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

/* enum npu_act */
static inline __m256 x_act8(__m256 x, int act)
{
    switch (act) {
    case NPU_ACT_RELU:
        return x_relu8(x);
    case NPU_ACT_RELU6:
        return x_relu68(x);
    case NPU_ACT_GELU:
        return x_gelu8(x);
    case NPU_ACT_SIGMOID:
        return x_sigmoid8(x);
    default:
        return x;
    }
}

/* v where fewer than n elements count, else 0 */
static inline __m256 x_first8(__m256 v, int64_t n)
{
    return n >= 8 ? v : _mm256_and_ps(v, _mm256_castsi256_ps(first_lanes((int)at_least(n, 0))));
}

/* Elements, or 0 from the nth on; n may be negative. */
static inline __m256 x_load8(const float *p, int64_t n)
{
    return n <= 0 ? _mm256_setzero_ps() : load_some(p, n);
}

/* Lanes 0 to 7 and 8 to 15 of a sum. */
static inline float x_sum16(__m256 a, __m256 b)
{
    return sum8(_mm256_add_ps(a, b));
}

#endif
