/* avx2_bf16.h - f32 as bf16, eight or sixteen at a time: to nearest even, NaN stays NaN (npu_f32_to_bf16). */
#ifndef NPU_TIER_AVX2_BF16_H
#define NPU_TIER_AVX2_BF16_H

#include "libnpu/dtype.h"
#include "libnpu/tier/avx2_simd.h"

/* The upper halves of eight words. */
static inline __m256i bf16_words(__m256 v)
{
    const __m256i u = _mm256_castps_si256(v), upper = _mm256_srli_epi32(u, 16);
    const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));

    return _mm256_blendv_epi8(_mm256_srli_epi32(sum, 16), quiet,
                              _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
}

static inline void store16_bf16(uint16_t *p, __m256 v0, __m256 v1)
{
    const __m256i packed = _mm256_packus_epi32(bf16_words(v0), bf16_words(v1));

    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(packed, 0xd8));
}

/* The first n of eight. */
static inline void store_some_bf16(uint16_t *p, int64_t n, __m256 v)
{
    const __m256i words = bf16_words(v);
    const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _Alignas(16) uint16_t some[8];

    if (n >= 8) {
        _mm_storeu_si128((__m128i *)p, packed);
        return;
    }
    _mm_store_si128((__m128i *)some, packed);
    for (int64_t i = 0; i < n; i++)
        p[i] = some[i];
}

static inline __m256 load8_bf16(const uint16_t *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
}

#endif
