/* int8_avx2_depthwise.c - the tier avx2-int8: int8 convolutions with one channel a group. Two taps of a channel lie
 * side by side, as VPMADDWD wants them; taps outside of the picture read a row of zero points.
 *
 * Weights are packed as [taps / 2][npad][2] in 16 bits. Those of 3 x 3 taps go by columns, so that what was widened for
 * one result serves the next ones: pairs are the upper two taps of each column, then the lower one and nothing.
 * Compiled with AVX2 enabled.
 */
#include "libnpu/tier/int8_native.h"

#ifdef __AVX2__
#include "libnpu/tier/int8_avx2_kernels.h"
#include "libnpu/tier/int8_finish.h"

enum { LANES = 16 };

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void read_fields(const struct npu_native_call *c, int first, struct npu_int8_conv *g)
{
    int32_t *to = &g->n;

    for (size_t i = 0; i < sizeof *g / sizeof *to; i++)
        to[i] = c->arg[first + (int)i].i;
}

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

struct job {
    const struct npu_int8_conv *g;
    const struct npu_qconv_attr *a;
    const int8_t *x, *zeros; /* zeros: npad of the zero point */
    const int16_t *w;
    int32_t *sums; /* [mb][npad] */
};

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
static inline __attribute__((always_inline)) void sum_block(const struct job *j, const int8_t *const *tap, int64_t step,
                                                            int64_t count, int64_t n, const int64_t taps,
                                                            const int64_t width, int32_t *to)
{
    const int64_t npad = j->g->npad;
    const int16_t *w = j->w + 2 * n;
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
static __attribute__((noinline)) void sum_run(const struct job *j, const int8_t *const *tap, int64_t step,
                                              int64_t count, int32_t *to)
{
    const struct npu_int8_conv *g = j->g;

    if (g->cout < LANES) {
        sum_block(j, tap, step, count, 0, g->kpad, g->cout, to);
        return;
    }
    for (int64_t n = 0; n < g->cout; n += LANES)
        if (g->kpad == 10) /* 3 x 3 */
            sum_block(j, tap, step, count, least(n, g->cout - LANES), 10, LANES, to);
        else
            sum_block(j, tap, step, count, least(n, g->cout - LANES), g->kpad, LANES, to);
}

/* Pixels ox .. ox + count - 1 of line `line`: one by one where windows reach beyond the picture. */
static void sum_pixels(const struct job *j, int64_t line, int64_t ox, int64_t count)
{
    const struct npu_int8_conv *g = j->g;
    const int64_t stride = j->a->stride, top = line % g->oh * stride - j->a->pad_top;
    const int8_t *x = j->x + line / g->oh * g->h * g->w * g->cin, *tap[NPU_INT8_TAPS + 1];

    for (int64_t i = 0, run; i < count; i += run) {
        const int64_t left = (ox + i) * stride - j->a->pad_left;
        const bool inside = top >= 0 && top + g->kh <= g->h && left >= 0 && left + g->kw <= g->w;

        run = inside ? least(count - i, (g->w - g->kw - left) / stride + 1) : 1;
        for (int64_t ky = 0, t = 0; ky < g->kh; ky++)
            for (int64_t kx = 0; kx < g->kw; kx++, t++) {
                const int64_t iy = top + ky, ix = left + kx;

                tap[t] = iy < 0 || iy >= g->h || ix < 0 || ix >= g->w ? j->zeros : x + (iy * g->w + ix) * g->cin;
            }
        if (g->kpad > g->kh * g->kw)
            tap[g->kpad - 1] = tap[0]; /* its weights are 0 */
        sum_run(j, tap, stride * g->cin, run, j->sums + i * g->npad);
    }
}

/* ---- 3 x 3 taps ---- */
enum { COLUMN_LANES = 8, COLUMN_PIXELS = 64 };

/* Three rows of eight channels. */
struct rows {
    const int8_t *top, *mid, *low;
};

/* The upper two rows of a column side by side, and the lower one, in 16 bits. */
struct column {
    __m256i upper, lower;
};

static inline __attribute__((always_inline)) struct column column_of(struct rows at)
{
    const __m128i top = _mm_loadl_epi64((const __m128i *)(const void *)at.top),
                  mid = _mm_loadl_epi64((const __m128i *)(const void *)at.mid),
                  low = _mm_loadl_epi64((const __m128i *)(const void *)at.low);

    return (struct column){_mm256_cvtepi8_epi16(_mm_unpacklo_epi8(top, mid)), _mm256_cvtepi8_epi32(low)};
}

/* A line of results: the three lines that it reads. Those outside of the picture are zero points, with a step of 0. */
struct line {
    struct rows from;      /* of column 0 */
    int64_t top, mid, low; /* steps from column to column */
    const int8_t *zeros;
    int64_t w;
};

static inline __attribute__((always_inline)) struct column column_at(const struct line *l, int64_t n, int64_t ix)
{
    const int8_t *zeros = l->zeros + n;

    if ((uint64_t)ix >= (uint64_t)l->w)
        return column_of((struct rows){zeros, zeros, zeros});
    return column_of(
        (struct rows){l->from.top + n + ix * l->top, l->from.mid + n + ix * l->mid, l->from.low + n + ix * l->low});
}

static inline __m256i add_column(struct column c, __m256i upper, __m256i lower)
{
    return _mm256_add_epi32(_mm256_madd_epi16(c.upper, upper), _mm256_madd_epi16(c.lower, lower));
}

/* Eight channels from n on of `count` pixels, the first of which begins at column ix, LANES sums from one to the next.
 * w: their packed weights. */
static inline __attribute__((always_inline)) void sum_columns(const struct line *l, int64_t n, int64_t ix,
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
        _mm256_storeu_si256((__m256i *)(void *)(to + i * LANES), sum);
        left = stride == 1 ? mid : right;
        mid = right;
    }
}

static struct line line_of(const struct job *j, int64_t line)
{
    const struct npu_int8_conv *g = j->g;
    const int64_t top = line % g->oh * j->a->stride - j->a->pad_top;
    const int8_t *x = j->x + line / g->oh * g->h * g->w * g->cin, *row[3];
    int64_t step[3];

    for (int r = 0; r < 3; r++) {
        const bool in = top + r >= 0 && top + r < g->h;

        step[r] = in ? g->cin : 0;
        row[r] = in ? x + (top + r) * g->w * g->cin : j->zeros;
    }
    return (struct line){{row[0], row[1], row[2]}, step[0], step[1], step[2], j->zeros, g->w};
}

/* One line of results, some pixels and sixteen channels at a time. */
static inline __attribute__((always_inline)) void
line_by_columns(const struct job *j, const struct finish *f, const uint32_t *offset, int64_t line, const int stride)
{
    const struct npu_int8_conv *g = j->g;
    const struct line l = line_of(j, line);
    int32_t sums[COLUMN_PIXELS][LANES] __attribute__((aligned(64)));

    for (int64_t ox = 0; ox < g->ow; ox += COLUMN_PIXELS)
        for (int64_t n = 0; n < g->cout; n += LANES) {
            const int64_t from = least(n, g->cout - LANES), count = least(COLUMN_PIXELS, g->ow - ox);

            for (int64_t i = 0; i < LANES; i += COLUMN_LANES)
                sum_columns(&l, from + i, ox * stride - j->a->pad_left, j->w + 2 * (from + i), g->npad, stride, count,
                            sums[0] + i);
            finish_rows(f, sums[0] + (n - from), LANES, offset + n, line * g->ow + ox, count, n,
                        least(LANES, g->cout - n));
        }
}

static __attribute__((noinline)) void line_of_stride_1(const struct job *j, const struct finish *f,
                                                       const uint32_t *offset, int64_t line)
{
    line_by_columns(j, f, offset, line, 1);
}

static __attribute__((noinline)) void line_of_stride_2(const struct job *j, const struct finish *f,
                                                       const uint32_t *offset, int64_t line)
{
    line_by_columns(j, f, offset, line, 2);
}

static void line_by_pixels(const struct job *j, const struct finish *f, const uint32_t *offset, int64_t line)
{
    const struct npu_int8_conv *g = j->g;

    for (int64_t ox = 0; ox < g->ow; ox += g->mb) {
        const int64_t count = least(g->mb, g->ow - ox);

        sum_pixels(j, line, ox, count);
        finish_rows(f, j->sums, g->npad, offset, line * g->ow + ox, count, 0, g->cout);
    }
}

/* Arguments as those of conv; scratch of a part: offsets, sums, a row of zero points. */
void npu_int8_avx2_depthwise(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_int8_conv g;
    struct finish f;
    struct job j;
    uint32_t *offset;
    int64_t lines;
    int zero;

    read_fields(c, 9, &g);
    n_parts = (int)least(n_parts, g.parts);
    if (part >= n_parts)
        return;
    f = finish_of(c, &g, 0, &zero);
    offset = (uint32_t *)(void *)((char *)c->p[8] + (size_t)part * npu_int8_depthwise_scratch(&g));
    j = (struct job){&g, f.a, c->p[0], NULL, c->p[1], (int32_t *)offset + g.npad};
    j.zeros = (const int8_t *)(j.sums + (int64_t)g.mb * g.npad);
    memset(j.sums + (int64_t)g.mb * g.npad, zero, (size_t)g.npad);
    finish_offsets(&f, 0, g.cout, offset);
    lines = (int64_t)g.n * g.oh;
    for (int64_t line = lines * part / n_parts; line < lines * (part + 1) / n_parts; line++)
        (!npu_int8_goes_by_columns(&g) ? line_by_pixels
         : f.a->stride == 2            ? line_of_stride_2
                                       : line_of_stride_1)(&j, &f, offset, line);
}
#endif
