/* int8_avx2_depthwise.c - the tier avx2-int8: int8 convolutions with one channel a group. Two taps of a channel lie
 * side by side, as VPMADDWD wants them; taps outside of the picture read a row of zero points.
 *
 * Weights are packed as [taps / 2][npad][2] in 16 bits. Those of 3 x 3 taps go by columns, so that what was widened for
 * one result serves the next ones: pairs are the upper two taps of each column, then the lower one and nothing.
 * Compiled with AVX2 enabled.
 */
#include "libnpu/tier/int8_native.h"

#ifdef __AVX2__
#include "libnpu/tier/int8_avx2_columns.h"
#include "libnpu/tier/int8_avx2_kernels.h"
#include "libnpu/tier/int8_columns.h"

enum { LANES = 16 };

/* The tap at place t of packed weights; one from `taps` on is none. */
static int64_t tap_at(const struct npu_int8_conv *g, int64_t t)
{
    if (!npu_int8_goes_by_columns(g))
        return t;
    return t < 6 ? t % 2 * 3 + t / 2 : t % 2 ? 9 : t / 2 + 3;
}

/* Arguments: weights, packed, sums of a channel's weights, fields. */
void npu_int8_avx2_depthwise_pack(const struct npu_native_call *c, int part, int n_parts)
{
    const int8_t *w = c->p[0];
    int16_t *to = c->p[1];
    int32_t *sum = c->p[2];
    struct npu_int8_conv g;
    int64_t taps;

    read_fields(c, 3, &g);
    taps = (int64_t)g.kh * g.kw;
    for (int64_t j = (int64_t)g.npad * part / n_parts; j < (int64_t)g.npad * (part + 1) / n_parts; j++) {
        sum[j] = 0;
        for (int64_t t = 0; t < g.kpad; t++) {
            const int64_t tap = tap_at(&g, t);
            const int16_t v = tap < taps && j < g.cout ? w[tap * g.cout + j] : 0;

            to[(t / 2 * g.npad + j) * 2 + t % 2] = v;
            sum[j] += v;
        }
    }
}

/* The first n of sixteen channels, the others 0. */
static inline __m128i channels(const int8_t *p, int64_t n)
{
    int8_t some[LANES] = {0};

    if (n >= LANES)
        return _mm_loadu_si128((const __m128i *)(const void *)p);
    for (int64_t i = 0; i < n; i++)
        some[i] = p[i];
    return _mm_loadu_si128((const __m128i *)(const void *)some);
}

static inline __m256i add_pairs(__m256i sum, __m128i both, __m256i w)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_cvtepi8_epi16(both), w));
}

/* Channels n .. n + width - 1 of `count` pixels, the taps of which are `step` bytes from those of the one before. Where
 * `taps` and `width` are known, the weights stay in registers. */
static inline __attribute__((always_inline)) void sum_block(const struct depthwise *d, const int8_t *const *tap,
                                                            int64_t step, int64_t count, int64_t n, const int64_t taps,
                                                            const int64_t width, int32_t *to)
{
    const int64_t npad = d->g.npad;
    const int16_t *w = (const int16_t *)d->w + 2 * n;
    __m256i k[NPU_INT8_TAPS + 1];

    for (int64_t t = 0; t < taps; t += 2) {
        k[t] = finish_load(w + t * npad);
        k[t + 1] = finish_load(w + t * npad + LANES);
    }
    for (int64_t i = 0; i < count; i++) {
        __m256i low = _mm256_setzero_si256(), high = low;

#pragma GCC unroll 5
        for (int64_t t = 0; t < taps; t += 2) {
            const __m128i a = channels(tap[t] + i * step + n, width), b = channels(tap[t + 1] + i * step + n, width);

            low = add_pairs(low, _mm_unpacklo_epi8(a, b), k[t]);
            high = add_pairs(high, _mm_unpackhi_epi8(a, b), k[t + 1]);
        }
        _mm256_storeu_si256((__m256i *)(void *)(to + i * npad + n), low);
        _mm256_storeu_si256((__m256i *)(void *)(to + i * npad + n + LANES / 2), high);
    }
}

/* All channels; the last block begins sixteen before the end, whatever the one before it has done. */
static __attribute__((noinline)) void sum_run(const struct depthwise *d, const int8_t *const *tap, int64_t step,
                                              int64_t count, int32_t *to)
{
    const struct npu_int8_conv *g = &d->g;

    if (g->cout < LANES) {
        sum_block(d, tap, step, count, 0, g->kpad, g->cout, to);
        return;
    }
    for (int64_t n = 0; n < g->cout; n += LANES)
        if (g->kpad == 10) /* 3 x 3 */
            sum_block(d, tap, step, count, least(n, g->cout - LANES), 10, LANES, to);
        else
            sum_block(d, tap, step, count, least(n, g->cout - LANES), g->kpad, LANES, to);
}

/* Pixels ox .. ox + count - 1 of line `line`: one by one where windows reach beyond the picture. */
static void sum_pixels(const struct depthwise *d, int64_t line, int64_t ox, int64_t count)
{
    const struct npu_int8_conv *g = &d->g;
    const int64_t stride = d->f.a->stride, top = line % g->oh * stride - d->f.a->pad_top;
    const int8_t *x = d->x + line / g->oh * g->h * g->w * g->cin, *tap[NPU_INT8_TAPS + 1];

    for (int64_t i = 0, run; i < count; i += run) {
        const int64_t left = (ox + i) * stride - d->f.a->pad_left;
        const bool inside = top >= 0 && top + g->kh <= g->h && left >= 0 && left + g->kw <= g->w;

        run = inside ? least(count - i, (g->w - g->kw - left) / stride + 1) : 1;
        for (int64_t ky = 0, t = 0; ky < g->kh; ky++)
            for (int64_t kx = 0; kx < g->kw; kx++, t++) {
                const int64_t iy = top + ky, ix = left + kx;

                tap[t] = iy < 0 || iy >= g->h || ix < 0 || ix >= g->w ? d->zeros : x + (iy * g->w + ix) * g->cin;
            }
        if (g->kpad > g->kh * g->kw)
            tap[g->kpad - 1] = tap[0]; /* its weights are 0 */
        sum_run(d, tap, stride * g->cin, run, d->sums + i * g->npad);
    }
}

static void line_by_pixels(const struct depthwise *d, int64_t line)
{
    const struct npu_int8_conv *g = &d->g;

    for (int64_t ox = 0; ox < g->ow; ox += g->mb) {
        const int64_t count = least(g->mb, g->ow - ox);

        sum_pixels(d, line, ox, count);
        finish_rows(&d->f, d->sums, g->npad, d->offset, line * g->ow + ox, count, 0, g->cout);
    }
}

void npu_int8_avx2_depthwise(const struct npu_native_call *c, int part, int n_parts)
{
    struct depthwise d;

    if (!depthwise_begin(c, part, n_parts, 0, &d))
        return;
    if (npu_int8_goes_by_columns(&d.g))
        depthwise_by_columns(&d);
    for (int64_t line = d.from; line < d.end && !npu_int8_goes_by_columns(&d.g); line++)
        line_by_pixels(&d, line);
}
#endif
