/* int8_dot_columns.h - sums of 3 x 3 taps by VPDPBUSD: the three rows of a column lie side by side in unsigned bytes,
 * so that a dot product is a column of one channel; the fourth byte has no weight. Packed weights: [3][npad][4].
 * Vectors have 256 bits for both tiers, which leaves fewer channels over.
 */
#include "libnpu/tier/int8_depthwise.h"
#include "libnpu/tier/int8_dot_tile.h"

enum { COLUMN_CHANNELS = 32, COLUMN_VECTORS = 4 };

static void pack_columns(const struct npu_native_call *c, int part, int n_parts)
{
    const int8_t *w = c->p[0];
    int8_t *to = c->p[1];
    int32_t *sum = c->p[2];
    struct npu_int8_conv g;

    read_fields(c, 3, &g);
    for (int64_t j = (int64_t)g.npad * part / n_parts; j < (int64_t)g.npad * (part + 1) / n_parts; j++) {
        sum[j] = 0;
        for (int64_t kx = 0; kx < 3; kx++)
            for (int64_t ky = 0; ky < 4; ky++) {
                const int8_t v = ky < 3 && j < g.cout ? w[(ky * 3 + kx) * g.cout + j] : 0;

                to[(kx * g.npad + j) * 4 + ky] = v;
                sum[j] += v;
            }
    }
}

#ifdef NPU_VNNI_EMULATED
static void sum_columns(const struct line *l, int64_t n, int64_t ix, const void *w, int64_t npad, const int stride,
                        int64_t count, int32_t *to)
{
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j < COLUMN_CHANNELS; j++) {
            int32_t sum = 0;

            for (int64_t kx = 0; kx < 3; kx++) {
                const struct rows at = rows_at(l, n + j, ix + i * stride + kx);
                const int8_t *k = (const int8_t *)w + (kx * npad + n + j) * 4;

                sum += (*at.top + 128) * k[0] + (*at.mid + 128) * k[1] + (*at.low + 128) * k[2];
            }
            to[i * COLUMN_CHANNELS + j] = sum;
        }
}
#else
static inline __attribute__((always_inline)) __m256i column_dp(__m256i c, __m256i a, __m256i b)
{
#if VNNI_BITS == 512
    __asm__("vpdpbusd %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
    return c;
#else
    return vnni_dp(c, a, b);
#endif
}

/* Eight channels a vector. */
struct column {
    __m256i v[COLUMN_VECTORS];
};

/* x + 128 of 32 channels, groups of four in an order that the steps below turn into theirs. */
static inline __attribute__((always_inline)) __m256i row_of(const int8_t *p)
{
    const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    const __m256i v = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)p), _mm256_set1_epi8(-128));

    return _mm256_permutevar8x32_epi32(v, order);
}

static inline __attribute__((always_inline)) struct column column_at(const struct line *l, int64_t n, int64_t ix)
{
    const struct rows at = rows_at(l, n, ix);
    const __m256i top = row_of(at.top), mid = row_of(at.mid), low = row_of(at.low);
    const __m256i upper_a = _mm256_unpacklo_epi8(top, mid), upper_b = _mm256_unpackhi_epi8(top, mid);
    const __m256i lower_a = _mm256_unpacklo_epi8(low, low), lower_b = _mm256_unpackhi_epi8(low, low);

    return (struct column){{_mm256_unpacklo_epi16(upper_a, lower_a), _mm256_unpackhi_epi16(upper_a, lower_a),
                            _mm256_unpacklo_epi16(upper_b, lower_b), _mm256_unpackhi_epi16(upper_b, lower_b)}};
}

static inline __attribute__((always_inline)) void sum_columns(const struct line *l, int64_t n, int64_t ix,
                                                              const void *w, int64_t npad, const int stride,
                                                              int64_t count, int32_t *to)
{
    struct column left = column_at(l, n, ix), mid = left, k[3];

    for (int64_t kx = 0; kx < 3; kx++)
        for (int v = 0; v < COLUMN_VECTORS; v++)
            k[kx].v[v] = finish_load((const int8_t *)w + (kx * npad + n + 8 * v) * 4);
    if (stride == 1)
        mid = column_at(l, n, ix + 1);
#pragma GCC unroll 3
    for (int64_t i = 0; i < count; i++, ix += stride) {
        struct column right;

        if (stride == 2)
            mid = column_at(l, n, ix + 1);
        right = column_at(l, n, ix + 2);
        for (int v = 0; v < COLUMN_VECTORS; v++) {
            __m256i sum = column_dp(_mm256_setzero_si256(), left.v[v], k[0].v[v]);

            sum = column_dp(column_dp(sum, mid.v[v], k[1].v[v]), right.v[v], k[2].v[v]);
            _mm256_storeu_si256((__m256i *)(void *)(to + i * COLUMN_CHANNELS + (ptrdiff_t)8 * v), sum);
        }
        left = stride == 1 ? mid : right;
        mid = right;
    }
}
#endif

#include "libnpu/tier/int8_columns.h"

static void conv_columns(const struct npu_native_call *c, int part, int n_parts)
{
    struct depthwise d;

    if (depthwise_begin(c, part, n_parts, 128, &d))
        depthwise_by_columns(&d);
}
