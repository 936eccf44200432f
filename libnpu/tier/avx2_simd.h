/* avx2_simd.h - eight floats at a time: masks for tails, e^x, activations. For files compiled with AVX2 and FMA. */
#ifndef NPU_TIER_AVX2_SIMD_H
#define NPU_TIER_AVX2_SIMD_H

#include <immintrin.h>

#include "libnpu/tier/avx2.h"

static inline int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

struct share {
    int64_t from, end;
};
/* The part's share of n, in steps of `step`. */
static inline struct share share_of(int64_t n, int64_t step, int part, int n_parts)
{
    const int64_t steps = (n + step - 1) / step;

    return (struct share){at_most(n, steps * part / n_parts * step), at_most(n, steps * (part + 1) / n_parts * step)};
}

/* Fetches the i-th of `times` shares of the floats from .. end - 1 into the second cache, while other work goes on. */
static inline void fetch_share(const float *from, const float *end, int64_t i, int64_t times)
{
    const int64_t size = at_least(0, end - from);

    for (int64_t at = size * i / times / 16 * 16; at < size * (i + 1) / times; at += 16)
        _mm_prefetch((const char *)(from + at), _MM_HINT_T1);
}

/* Where the operand that is broadcast has its row for `row` of the other: a points at the arguments inner, rows, step,
 * n_outer, d0..4, s0..4 (op_bcast_args). */
static inline int64_t bcast_base(const struct npu_arg *a, int64_t row)
{
    int64_t at = 0;

    for (int i = 0; i < a[3].i; i++) {
        at += row % a[4 + i].i * a[9 + i].i;
        row /= a[4 + i].i;
    }
    return at;
}

/* The first n of eight lanes. */
static inline __m256i first_lanes(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* n >= 8: all eight; the others are 0. */
static inline __m256 load_some(const float *p, int64_t n)
{
    return n >= 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, first_lanes((int)n));
}
static inline void store_some(float *p, int64_t n, __m256 v)
{
    if (n >= 8)
        _mm256_storeu_ps(p, v);
    else
        _mm256_maskstore_ps(p, first_lanes((int)n), v);
}

static inline float sum8(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline float max8(__m256 v)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* e^x as in kernels/tile.clh: within 2 ulp; 0 below -87.3. */
static inline __m256 exp8(__m256 x)
{
    const __m256 magic = _mm256_set1_ps(12582912.0f);
    __m256 t, n, p;

    x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-87.3f)), _mm256_set1_ps(88.0f));
    t = _mm256_fmadd_ps(x, _mm256_set1_ps(1.44269504f), magic);
    n = _mm256_sub_ps(t, magic);
    x = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
    x = _mm256_fmadd_ps(n, _mm256_set1_ps(2.12194440e-4f), x);
    p = _mm256_fmadd_ps(x, _mm256_set1_ps(1.9875691500e-4f), _mm256_set1_ps(1.3981999507e-3f));
    p = _mm256_fmadd_ps(p, x, _mm256_set1_ps(8.3334519073e-3f));
    p = _mm256_fmadd_ps(p, x, _mm256_set1_ps(4.1665795894e-2f));
    p = _mm256_fmadd_ps(p, x, _mm256_set1_ps(1.6666665459e-1f));
    p = _mm256_fmadd_ps(p, x, _mm256_set1_ps(5.0000001201e-1f));
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(x, x), _mm256_add_ps(x, _mm256_set1_ps(1.0f)));
    return _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_castps_si256(p),
                         _mm256_slli_epi32(_mm256_sub_epi32(_mm256_castps_si256(t), _mm256_castps_si256(magic)), 23)));
}

/* enum npu_act */
static inline __m256 act8(__m256 x, int act)
{
    const __m256 one = _mm256_set1_ps(1.0f), zero = _mm256_setzero_ps();
    __m256 u;

    switch (act) {
    case NPU_ACT_RELU:
        return _mm256_max_ps(x, zero);
    case NPU_ACT_RELU6:
        return _mm256_min_ps(_mm256_max_ps(x, zero), _mm256_set1_ps(6.0f));
    case NPU_ACT_GELU: /* 0.5 (1 + tanh u) = 1 / (1 + e^-2u) */
        u = _mm256_fmadd_ps(_mm256_mul_ps(x, x), _mm256_set1_ps(0.044715f), one);
        u = _mm256_mul_ps(_mm256_mul_ps(x, _mm256_set1_ps(-1.5957691216f)), u);
        return _mm256_div_ps(x, _mm256_add_ps(one, exp8(u)));
    case NPU_ACT_SIGMOID:
        return _mm256_div_ps(one, _mm256_add_ps(one, exp8(_mm256_sub_ps(zero, x))));
    default:
        return x;
    }
}

#endif
