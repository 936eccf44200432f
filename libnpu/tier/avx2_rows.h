/* avx2_rows.h - mean and deviation of a row, for layer norm and its gradient. */
#ifndef NPU_TIER_AVX2_ROWS_H
#define NPU_TIER_AVX2_ROWS_H

#include "libnpu/tier/avx2_simd.h"

/* Mean and 1 / sqrt(var + eps) of a row. */
static inline void npu_avx2_row_stats(const float *x, int64_t n, float eps, __m256 *ret_mean, __m256 *ret_rstd)
{
    __m256 a = _mm256_setzero_ps(), b = a, m;
    int64_t i = 0;

    for (; i + 16 <= n; i += 16) {
        a = _mm256_add_ps(a, _mm256_loadu_ps(x + i));
        b = _mm256_add_ps(b, _mm256_loadu_ps(x + i + 8));
    }
    for (; i < n; i += 8)
        a = _mm256_add_ps(a, load_some(x + i, n - i));
    m = _mm256_set1_ps(sum8(_mm256_add_ps(a, b)) / (float)n);
    a = b = _mm256_setzero_ps();
    for (i = 0; i + 16 <= n; i += 16) {
        const __m256 v = _mm256_sub_ps(_mm256_loadu_ps(x + i), m), w = _mm256_sub_ps(_mm256_loadu_ps(x + i + 8), m);

        a = _mm256_fmadd_ps(v, v, a);
        b = _mm256_fmadd_ps(w, w, b);
    }
    for (; i < n; i += 8) {
        const __m256 real = _mm256_castsi256_ps(first_lanes((int)at_most(8, n - i)));
        const __m256 v = _mm256_and_ps(real, _mm256_sub_ps(load_some(x + i, n - i), m));

        a = _mm256_fmadd_ps(v, v, a);
    }
    *ret_mean = m;
    *ret_rstd = _mm256_set1_ps(1.0f / sqrtf(sum8(_mm256_add_ps(a, b)) / (float)n + eps));
}

#endif
