/* avx2_pack.h - columns of 16 side by side, from rows or from columns. For files compiled with AVX2 and FMA. */
#ifndef NPU_TIER_AVX2_PACK_H
#define NPU_TIER_AVX2_PACK_H

#include "libnpu/tier/avx2_simd.h"

/* Eight rows of eight, in their places. */
static inline void transpose(__m256 r[8])
{
    __m256 t[8];

    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; k++) {
            r[i + 2 * k] = _mm256_shuffle_ps(t[i + k], t[i + 2 + k], 0x44);
            r[i + 2 * k + 1] = _mm256_shuffle_ps(t[i + k], t[i + 2 + k], 0xee);
        }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
    for (int i = 0; i < 8; i++)
        r[i] = t[i];
}

/* Eight rows, `ld` apart, columns 0 .. 7: to[column * 16 + row]. */
static inline void transpose_whole(const float *x, int64_t ld, float *to)
{
    __m256 r[8];

    for (int i = 0; i < 8; i++)
        r[i] = _mm256_loadu_ps(x + i * ld);
    transpose(r);
    for (int i = 0; i < 8; i++)
        _mm256_storeu_ps(to + (ptrdiff_t)i * 16, r[i]);
}

/* Eight rows (NULL: zeros), columns at .. at + count - 1 (at most 8): to[column * 16 + row]. */
static inline void transpose_8(const float *const *row, int64_t at, int64_t count, float *to)
{
    __m256 r[8];

    for (int i = 0; i < 8; i++)
        r[i] = row[i] ? load_some(row[i] + at, count) : _mm256_setzero_ps();
    transpose(r);
    for (int i = 0; i < 8; i++)
        if (i < count)
            _mm256_storeu_ps(to + (ptrdiff_t)i * 16, r[i]);
}

/* to[k][16] = x[j ld + k] for j < columns, else 0; k < terms */
static inline void pack_turned(const float *x, int64_t ld, int64_t columns, int64_t terms, float *to)
{
    const float *row[16];
    int64_t done = 0;

    for (; columns >= 16 && done + 8 <= terms; done += 8) {
        transpose_whole(x + done, ld, to + done * 16);
        transpose_whole(x + 8 * ld + done, ld, to + done * 16 + 8);
    }
    for (int64_t j = 0; j < 16; j++)
        row[j] = j < columns ? x + j * ld : NULL;
    for (int64_t k = done; k < terms; k += 8)
        for (int64_t j = 0; j < 16; j += 8)
            transpose_8(row + j, k, at_most(8, terms - k), to + k * 16 + j);
}

/* to[k][16] = x[k ld + j] for j < columns, else 0; k < terms */
static inline void pack_straight(const float *x, int64_t ld, int64_t columns, int64_t terms, float *to)
{
    if (columns >= 16) {
        for (int64_t k = 0; k < terms; k++, x += ld, to += 16) {
            _mm256_storeu_ps(to, _mm256_loadu_ps(x));
            _mm256_storeu_ps(to + 8, _mm256_loadu_ps(x + 8));
        }
        return;
    }
    for (int64_t k = 0; k < terms; k++, x += ld, to += 16) {
        _mm256_storeu_ps(to, load_some(x, columns));
        _mm256_storeu_ps(to + 8, columns > 8 ? load_some(x + 8, columns - 8) : _mm256_setzero_ps());
    }
}

#endif
