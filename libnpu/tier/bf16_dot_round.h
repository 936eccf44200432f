/* bf16_dot_round.h - rounding by AVX-512 BF16, for bf16_convert.h: to nearest even; denormal numbers become zeros.
 */
#ifndef NPU_TIER_BF16_DOT_ROUND_H
#define NPU_TIER_BF16_DOT_ROUND_H

#include <immintrin.h>

#define UNIT_ROUND32(from, to)                                                                                         \
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps((from) + 16), _mm512_loadu_ps(from)))
#define UNIT_ROUND16(from, to)                                                                                         \
    _mm256_storeu_si256((__m256i *)(void *)(to), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from)))
static inline __m512i dot_rounded(const float *p)
{
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(p)));
}
#define UNIT_ROUND_PAIRS16(lo, hi, pair)                                                                               \
    _mm512_storeu_si512(pair, _mm512_or_si512(dot_rounded(lo), _mm512_slli_epi32(dot_rounded(hi), 16)))

#endif
