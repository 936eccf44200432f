/* avx2_winograd.h - what the files for Winograd's F(4 x 4, 3 x 3) share: its points, the transform of pixels, products
 * of matrices that lie densely. For files compiled with AVX2 and FMA.
 *
 * The points are 0, +-P, +-Q and infinity: powers of numbers round 1, all exact, so that results are three to four
 * times nearer to the true ones than with the usual 1 and 2.
 */
#ifndef NPU_TIER_AVX2_WINOGRAD_H
#define NPU_TIER_AVX2_WINOGRAD_H

#include "libnpu/tier/avx2_tile.h"

enum { PANEL = NPU_AVX2_PANEL, ROWS = NPU_AVX2_ROWS, IN = 6, OUT = 4, PLACES = IN * IN };

#define P  0.6875f
#define Q  1.375f
#define P2 (P * P)
#define Q2 (Q * Q)

struct tile_at {
    int64_t z, y, x; /* picture, first result line and column */
};

static inline struct tile_at tile_at(const struct npu_avx2_conv *g, int64_t t)
{
    const int64_t wide = (g->ow + OUT - 1) / OUT, high = (g->oh + OUT - 1) / OUT;

    return (struct tile_at){t / wide / high, t / wide % high * OUT, t % wide * OUT};
}

/* The 36 pixels that a tile sees, or zeros outside the picture. */
static inline void tile_sources(const float *x, const struct npu_avx2_conv *g, struct tile_at at, const float *zeros,
                                const float **ret_src)
{
    const int64_t top = at.y - g->pad_top, left = at.x - g->pad_left;

    for (int64_t y = 0; y < IN; y++) {
        const bool inside = top + y >= 0 && top + y < g->h;
        const float *line = x + ((at.z * g->h + (inside ? top + y : 0)) * g->w + left) * g->cin;

        for (int64_t i = 0; i < IN; i++)
            ret_src[y * IN + i] = inside && left + i >= 0 && left + i < g->w ? line + i * g->cin : zeros;
    }
}

/* The line of the picture x [n, high, wide, channels] that tile t begins at, or the end for the tile after the last. */
static inline const float *tile_line(const struct npu_avx2_conv *g, const float *x, int64_t high, int64_t wide,
                                     int64_t channels, int64_t t)
{
    const struct tile_at at = tile_at(g, t);

    return x + (at.z * high + at.y) * wide * channels;
}

/* ---- pixels: B^T d B ---- */
ALWAYS void pixels_1d(const __m256 *d, __m256 *o, int step)
{
    const __m256 p = _mm256_set1_ps(P), q = _mm256_set1_ps(Q), p2 = _mm256_set1_ps(P2), q2 = _mm256_set1_ps(Q2);
    const __m256 both = _mm256_set1_ps(P2 + Q2), all = _mm256_set1_ps(P2 * Q2);
    const __m256 a = _mm256_fnmadd_ps(q2, d[2], d[4]), b = _mm256_fnmadd_ps(q2, d[1], d[3]);
    const __m256 c = _mm256_fnmadd_ps(p2, d[2], d[4]), e = _mm256_fnmadd_ps(p2, d[1], d[3]);

    o[0] = _mm256_fmadd_ps(all, d[0], _mm256_fnmadd_ps(both, d[2], d[4]));
    o[step] = _mm256_fmadd_ps(p, b, a);
    o[2 * step] = _mm256_fnmadd_ps(p, b, a);
    o[3 * step] = _mm256_fmadd_ps(q, e, c);
    o[4 * step] = _mm256_fnmadd_ps(q, e, c);
    o[5 * step] = _mm256_fmadd_ps(all, d[1], _mm256_fnmadd_ps(both, d[3], d[5]));
}

/* Eight channels from k on, `left` of them real. */
ALWAYS void pixels_8(const float *const *src, int64_t k, int64_t left, float *to, int64_t step)
{
    __m256 half[PLACES], d[IN];

    for (int x = 0; x < IN; x++) {
        for (int y = 0; y < IN; y++)
            d[y] = load_some(src[y * IN + x] + k, left);
        pixels_1d(d, half + x, IN);
    }
    for (int y = 0; y < IN; y++) {
        pixels_1d(half + y * IN, d, 1);
        for (int x = 0; x < IN; x++)
            store_some(to + (y * IN + x) * step + k, left, d[x]);
    }
}

/* The tile's pixels, channels k .. end - 1, to to[place * step + channel]. */
static inline void tile_pixels(const float *const *src, int64_t k, int64_t end, float *to, int64_t step)
{
    for (; k + 8 <= end; k += 8)
        pixels_8(src, k, 8, to, step);
    if (k < end)
        pixels_8(src, k, end - k, to, step);
}

/* ---- c[rows][16] = a [rows][len] b [len][16]; the second half of the columns is left out if halves is 1 ---- */
#define DENSE_ROW(i)   const float *a##i = a + (i)*len;
#define DENSE_BEGIN(i) __m256 c##i##0 = _mm256_setzero_ps(), c##i##1 = c##i##0;
#define DENSE_END(i)                                                                                                   \
    if (rows > i) {                                                                                                    \
        _mm256_store_ps(c + (i)*16, c##i##0);                                                                          \
        if (halves > 1)                                                                                                \
            _mm256_store_ps(c + (i)*16 + 8, c##i##1);                                                                  \
    }

ALWAYS void dense_tile(const float *a, int64_t len, const float *b, float *c, const int rows, const int halves)
{
    EACH_ROW(DENSE_ROW)
    EACH_ROW(DENSE_BEGIN)
#pragma GCC unroll 4
    for (int64_t k = 0; k < len; k++, b += 16) {
        const __m256 b0 = _mm256_load_ps(b), b1 = halves > 1 ? _mm256_load_ps(b + 8) : b0;

        EACH_ROW(TILE_MAC)
    }
    EACH_ROW(DENSE_END)
}

ALWAYS void dense_rows(const float *a, int64_t len, const float *b, float *c, int64_t rows, const int halves)
{
    int64_t i = 0;

    for (; i + ROWS <= rows; i += ROWS)
        dense_tile(a + i * len, len, b, c + i * PANEL, ROWS, halves);
    switch (rows - i) {
    case 5:
        dense_tile(a + i * len, len, b, c + i * PANEL, 5, halves);
        break;
    case 4:
        dense_tile(a + i * len, len, b, c + i * PANEL, 4, halves);
        break;
    case 3:
        dense_tile(a + i * len, len, b, c + i * PANEL, 3, halves);
        break;
    case 2:
        dense_tile(a + i * len, len, b, c + i * PANEL, 2, halves);
        break;
    case 1:
        dense_tile(a + i * len, len, b, c + i * PANEL, 1, halves);
        break;
    default:
        break;
    }
}

#endif
