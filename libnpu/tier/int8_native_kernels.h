/* int8_native_kernels.h - int8 convolutions over a unit that the including file describes before:
 *
 *   UNIT_ROWS, UNIT_COLS, UNIT_K   rows and columns of a block (16 or 32), terms that kpad is a multiple of
 *   UNIT_TERM                      uint8_t or int16_t: how rows hold their terms
 *   UNIT_UNSIGNED                  1: the unit wants rows as x + 128 in unsigned bytes
 *   UNIT_GROUP                     terms of a column that lie side by side in packed weights
 *   UNIT_STEP                      most terms that a block takes at a time; a multiple of UNIT_K
 *   UNIT_PUT16(to, from)           sixteen terms from bytes (optional)
 *   unit_begin(), unit_end()       round the work of a thread
 *   unit_block(a, lda, b, panel, terms, rows, add, c)  c[rows][UNIT_COLS] (+)= rows a times panels b; units may
 *                                  compute all UNIT_ROWS, and add only if UNIT_STEP is below NPU_QUANT_MAX_DEPTH
 *
 * Weights are packed as panels of 16 columns: [npad / 16][kpad / UNIT_GROUP][16][UNIT_GROUP].
 */
#include "libnpu/tier/int8_finish.h"

enum { PANEL = 16 };

/* ---- weights ---- */
static void int8_pack(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_int8_conv g;
    int64_t depth;

    read_fields(c, 3, &g);
    depth = (int64_t)g.kh * g.kw * g.cin;
    for (int64_t p = part; p < g.npad / PANEL; p += n_parts) {
        const int8_t *w = (const int8_t *)c->p[0] + p * PANEL;
        int8_t *to = (int8_t *)c->p[1] + p * g.kpad * PANEL;
        const int64_t cols = least(PANEL, g.cout - p * PANEL);
        int32_t *sum = (int32_t *)c->p[2] + p * PANEL;

        memset(to, 0, (size_t)g.kpad * PANEL);
        memset(sum, 0, sizeof *sum * PANEL);
        for (int64_t k = 0; k < depth; k++)
            for (int64_t j = 0; j < cols; j++) {
                to[k / UNIT_GROUP * UNIT_GROUP * PANEL + UNIT_GROUP * j + k % UNIT_GROUP] = w[k * g.cout + j];
                sum[j] += w[k * g.cout + j];
            }
    }
}

/* ---- rows ---- */
#define TERM(x) ((UNIT_TERM)(UNIT_UNSIGNED ? (x) ^ 0x80 : (x)))

/* May write up to fifteen terms more, and reads nothing at or behind `end`. */
static inline void put(UNIT_TERM *to, const int8_t *from, int64_t n, const int8_t *end)
{
    int64_t i = 0;

#ifdef UNIT_PUT16
    for (; i < n && end - from >= i + 16; i += 16)
        UNIT_PUT16(to + i, from + i);
#endif
    for (; i < n; i++)
        to[i] = TERM(from[i]);
}

static inline void put_zero(UNIT_TERM *to, int zero, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = TERM(zero);
}

#ifdef UNIT_PUT16
/* All kernel rows, where the window and sixteen bytes at the end of each are inside; false where not. */
static inline bool gather_inside(const struct npu_int8_conv *g, const int8_t *x, const int8_t *end, int64_t top,
                                 int64_t left, UNIT_TERM *to)
{
    const int64_t run = (int64_t)g->kw * g->cin, line = (int64_t)g->w * g->cin;
    const int8_t *from;

    if (top < 0 || top + g->kh > g->h || left < 0 || left + g->kw > g->w)
        return false;
    from = x + top * line + left * g->cin;
    if (end - from < (g->kh - 1) * line + (run + 15) / 16 * 16)
        return false;
    for (int64_t ky = 0; ky < g->kh; ky++, to += run, from += line)
        for (int64_t i = 0; i < run; i += 16)
            UNIT_PUT16(to + i, from + i);
    return true;
}
#endif

/* A pixel of the result. */
struct pixel {
    int64_t picture, oy, ox;
};

static struct pixel pixel_of(const struct npu_int8_conv *g, int64_t m)
{
    return (struct pixel){m / g->ow / g->oh, m / g->ow % g->oh, m % g->ow};
}

static inline void go_on(const struct npu_int8_conv *g, struct pixel *p)
{
    if (++p->ox < g->ow)
        return;
    p->ox = 0;
    if (++p->oy < g->oh)
        return;
    p->oy = 0;
    p->picture++;
}

/* What a result sums over; `zero` stands for what is outside the picture. Nothing at or behind x_end is read. */
static inline void gather(const struct npu_int8_conv *g, const struct npu_qconv_attr *a, const int8_t *x,
                          const int8_t *x_end, const struct pixel *p, int zero, UNIT_TERM *to)
{
    const int64_t run = (int64_t)g->kw * g->cin, left = p->ox * a->stride - a->pad_left;
    const UNIT_TERM *row = to;
    int64_t from, in, end;

    x += p->picture * g->h * g->w * g->cin;
#ifdef UNIT_PUT16
    if (gather_inside(g, x, x_end, p->oy * a->stride - a->pad_top, left, to)) {
        for (int64_t k = g->kh * run; k < g->kpad; k++)
            to[k] = 0;
        return;
    }
#endif
    from = least(left < 0 ? -left : 0, g->kw) * g->cin;
    in = least(g->w - left, g->kw);
    end = in * g->cin < from ? from : in * g->cin;
    for (int64_t ky = 0; ky < g->kh; ky++, to += run) {
        const int64_t iy = p->oy * a->stride + ky - a->pad_top;

        if (iy < 0 || iy >= g->h) {
            put_zero(to, zero, run);
            continue;
        }
        put_zero(to, zero, from);
        put(to + from, x + (iy * g->w + left) * g->cin + from, end - from, x_end);
        put_zero(to + end, zero, run - end);
    }
    for (UNIT_TERM *pad_end = to + (g->kpad - (to - row)); to < pad_end; to++)
        *to = 0; /* weights are 0 there */
}

/* Is result row m row m of the input? */
static bool is_product(const struct npu_int8_conv *g, const struct npu_qconv_attr *a)
{
    return g->kh * g->kw == 1 && a->stride <= 1 && g->oh == g->h && g->ow == g->w && a->pad_top + a->pad_left == 0;
}

/* Pixels m .. m + n - 1. */
static void put_pixels(const struct npu_int8_conv *g, const int8_t *x, int64_t m, int64_t n, UNIT_TERM *to)
{
    const int8_t *end = x + (int64_t)g->n * g->h * g->w * g->cin;

    x += m * g->cin;
    if (g->kpad == g->cin) {
        put(to, x, n * g->cin, end);
        return;
    }
    for (int64_t i = 0; i < n; i++, to += g->kpad) {
        put(to, x + i * g->cin, g->cin, end);
        for (int64_t k = g->cin; k < g->kpad; k++)
            to[k] = 0; /* weights are 0 there */
    }
}

/* ---- a unit of work: rows m0 .. m0 + mn - 1, one share of the columns ---- */
static void conv_unit(const struct finish *f, const int8_t *x, const int8_t *packed, UNIT_TERM *rows, int zero,
                      int64_t m0, int64_t mn, int64_t slice)
{
    const struct npu_int8_conv *g = f->g;
    const int64_t blocks = g->npad / UNIT_COLS, b1 = blocks * (slice + 1) / g->slices;
    const int8_t *x_end = x + (int64_t)g->n * g->h * g->w * g->cin;
    struct pixel at = pixel_of(g, m0);
    int32_t sums[NPU_INT8_MOST_ROWS][UNIT_COLS] __attribute__((aligned(64)));
    uint32_t offset[UNIT_COLS];

    if (is_product(g, f->a))
        put_pixels(g, x, m0, mn, rows);
    else
        for (int64_t i = 0; i < mn; i++, go_on(g, &at))
            gather(g, f->a, x, x_end, &at, zero, rows + i * g->kpad);
    for (int64_t b = blocks * slice / g->slices; b < b1; b++) {
        const int8_t *w = packed + b * UNIT_COLS * g->kpad;

        for (int64_t k = 0; k < g->kpad; k += UNIT_STEP)
            for (int64_t i = 0; i < mn; i += UNIT_ROWS)
                unit_block(rows + i * g->kpad + k, (size_t)g->kpad, w + k * PANEL, (size_t)g->kpad * PANEL,
                           least(UNIT_STEP, g->kpad - k), least(UNIT_ROWS, mn - i), k > 0, sums + i);
        finish_offsets(f, b * UNIT_COLS, UNIT_COLS, offset);
        finish_rows(f, sums[0], UNIT_COLS, offset, m0, mn, b * UNIT_COLS, least(UNIT_COLS, g->cout - b * UNIT_COLS));
    }
}

static void int8_conv(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_int8_conv g;
    struct finish f;
    int64_t total, mb_rows, unit = 0;
    UNIT_TERM *rows;
    int zero;

    read_fields(c, 9, &g);
    n_parts = (int)least(n_parts, g.parts);
    if (part >= n_parts)
        return;
    f = finish_of(c, &g, UNIT_UNSIGNED ? 128 : 0, &zero);
    total = (int64_t)g.n * g.oh * g.ow;
    mb_rows = (g.mb + UNIT_ROWS - 1) / UNIT_ROWS * UNIT_ROWS;
    rows = (UNIT_TERM *)c->p[8] + (size_t)part * (size_t)(mb_rows * g.kpad + 64);
    unit_begin();
    for (int64_t m = 0; m < total; m += g.mb)
        for (int64_t s = 0; s < g.slices; s++)
            if (unit++ % n_parts == part)
                conv_unit(&f, c->p[0], c->p[1], rows, zero, m, least(g.mb, total - m), s);
    unit_end();
}

#ifndef UNIT_MORE /* kernels beyond these two */
#define UNIT_MORE 0, false, NULL, NULL, NULL, NULL
#endif
#define INT8_KERNELS(name, need)                                                                                       \
    {                                                                                                                  \
        name, need, UNIT_ROWS, UNIT_K, UNIT_COLS, (int)sizeof(UNIT_TERM), int8_pack, int8_conv, UNIT_MORE              \
    }
