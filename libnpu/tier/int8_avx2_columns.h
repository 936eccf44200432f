/* int8_avx2_columns.h - sums of 3 x 3 taps by VPMADDWD: the upper two rows of a column lie side by side in 16 bits, the
 * lower one beside nothing. Packed weights: [6][npad][2], pairs of the three columns' upper rows, then the lower ones.
 */
#include <immintrin.h>

#include "libnpu/tier/int8_depthwise.h"

enum { COLUMN_CHANNELS = 16, COLUMN_LANES = 8 };

struct column {
    __m256i upper, lower;
};

static inline __attribute__((always_inline)) struct column column_at(const struct line *l, int64_t n, int64_t ix)
{
    const struct rows at = rows_at(l, n, ix);
    const __m128i top = _mm_loadl_epi64((const __m128i *)(const void *)at.top),
                  mid = _mm_loadl_epi64((const __m128i *)(const void *)at.mid),
                  low = _mm_loadl_epi64((const __m128i *)(const void *)at.low);

    return (struct column){_mm256_cvtepi8_epi16(_mm_unpacklo_epi8(top, mid)), _mm256_cvtepi8_epi32(low)};
}

static inline __m256i add_column(struct column c, __m256i upper, __m256i lower)
{
    return _mm256_add_epi32(_mm256_madd_epi16(c.upper, upper), _mm256_madd_epi16(c.lower, lower));
}

/* Eight channels. */
static inline __attribute__((always_inline)) void sum_lanes(const struct line *l, int64_t n, int64_t ix,
                                                            const int16_t *w, int64_t npad, const int stride,
                                                            int64_t count, int32_t *to)
{
    struct column left = column_at(l, n, ix), mid = left;
    __m256i k[6];

    for (int t = 0; t < 6; t++)
        k[t] = finish_load(w + 2 * t * npad);
    if (stride == 1)
        mid = column_at(l, n, ix + 1);
    for (int64_t i = 0; i < count; i++, ix += stride) {
        __m256i sum = add_column(left, k[0], k[3]);
        struct column right;

        if (stride == 2)
            mid = column_at(l, n, ix + 1);
        right = column_at(l, n, ix + 2);
        sum = _mm256_add_epi32(sum, add_column(mid, k[1], k[4]));
        sum = _mm256_add_epi32(sum, add_column(right, k[2], k[5]));
        _mm256_storeu_si256((__m256i *)(void *)(to + i * COLUMN_CHANNELS), sum);
        left = stride == 1 ? mid : right;
        mid = right;
    }
}

static inline __attribute__((always_inline)) void sum_columns(const struct line *l, int64_t n, int64_t ix,
                                                              const void *w, int64_t npad, const int stride,
                                                              int64_t count, int32_t *to)
{
    for (int64_t i = 0; i < COLUMN_CHANNELS; i += COLUMN_LANES)
        sum_lanes(l, n + i, ix, (const int16_t *)w + 2 * (n + i), npad, stride, count, to + i);
}
