/* bf16_gather.h - the gather product of the bf16 tiers: rows of terms are gathered from the source, 32 result pixels
 * and 32 columns are a block (bf16_native_kernels.h).
 */
#ifndef NPU_TIER_BF16_GATHER_H
#define NPU_TIER_BF16_GATHER_H

#include "libnpu/tier/bf16_results.h"

/* ---- geometry of a phase (kernels/conv2d.cl has the formulas' explanation) ---- */
struct phase {
    int64_t h, w, step, off_y, off_x, taps_y, taps_x, dst_step, dst_y, dst_x;
    int64_t w_base, w_y, w_x, w_d, w_n;
};

static struct phase phase_of(const struct npu_bf16_gather *g, int64_t phase, int64_t group)
{
    const int64_t s = g->stride, cn = g->cn, src_c = g->src_c, py = phase / s, px = phase % s;
    struct phase p = {.h = g->dst_h,
                      .w = g->dst_w,
                      .step = s,
                      .off_y = -g->pad_top,
                      .off_x = -g->pad_left,
                      .taps_y = g->kh,
                      .taps_x = g->kw,
                      .dst_step = 1};

    p.w_d = g->w_d ? g->w_d : g->dst_c;
    p.w_n = g->w_n ? g->w_n : 1;
    p.w_x = g->depth * p.w_d;
    p.w_y = g->kw * p.w_x;
    p.w_base = group * cn;
    if (g->grad_x) {
        const int64_t ky = (py + g->pad_top) % s, kx = (px + g->pad_left) % s;

        p.dst_step = s;
        p.dst_y = py;
        p.dst_x = px;
        p.h = (g->dst_h - py + s - 1) / s;
        p.w = (g->dst_w - px + s - 1) / s;
        p.step = 1;
        p.taps_y = at_least(0, (g->kh - ky + s - 1) / s);
        p.taps_x = at_least(0, (g->kw - kx + s - 1) / s);
        p.off_y = (py + g->pad_top - ky) / s - (p.taps_y - 1);
        p.off_x = (px + g->pad_left - kx) / s - (p.taps_x - 1);
        p.w_d = 1;
        p.w_n = src_c;
        p.w_x = -s * cn * src_c;
        p.w_y = -s * g->kw * cn * src_c;
        p.w_base = ((ky + s * (p.taps_y - 1)) * g->kw + kx + s * (p.taps_x - 1)) * cn * src_c + group * g->depth;
    }
    return p;
}

/* ---- weights ---- */
/* Where the term k of a phase stands in the weights, column n0. */
struct term {
    int64_t first, d, x, y;
};

static inline int64_t term_at(const struct phase *p, const struct term *t)
{
    return t->first + t->y * p->w_y + t->x * p->w_x + t->d * p->w_d;
}

static inline void term_next(const struct npu_bf16_gather *g, const struct phase *p, struct term *t, int64_t n)
{
    t->d += n;
    if (t->d == g->depth) {
        t->d = 0;
        if (++t->x == p->taps_x) {
            t->x = 0;
            t->y++;
        }
    }
}

/* Two terms of `cols` columns as a row of pairs; hi < 0: zeros. */
static inline void pack_pair(const bf16 *w, int64_t lo, int64_t hi, int64_t step, int64_t cols, uint32_t *row)
{
    if (step == 1) {
        pair_up(w + lo, hi < 0 ? no_pixel : w + hi, cols, row);
        return;
    }
    for (int64_t j = 0; j < cols; j++)
        row[j] = (uint32_t)w[lo + j * step] | (uint32_t)(hi < 0 ? 0 : w[hi + j * step]) << 16;
}

static inline void pack_wide_pair(const float *w, int64_t lo, int64_t hi, int64_t step, int64_t cols, uint32_t *row)
{
    if (step == 1) {
        pair_some(w, lo, hi, cols, true, row);
        return;
    }
    for (int64_t j = 0; j < cols; j++)
        row[j] = (uint32_t)to_bf16(w[lo + j * step]) | (uint32_t)(hi < 0 ? 0 : to_bf16(w[hi + j * step])) << 16;
}

/* Weights to [phase][group][npad / 16][kpad / 32] tiles; a unit of work is a column of tiles. */
static void pack_columns(const struct npu_bf16_gather *g, const struct phase *p, const void *w, int64_t n0, bf16 *to)
{
    const int64_t cols = clamp64(g->cn - n0, 0, 16), terms = p->taps_y * p->taps_x * g->depth;
    const bool wide = g->types & NPU_BF16_WIDE;
    struct term t = {.first = p->w_base + n0 * p->w_n};

    memset(to, 0, sizeof(bf16) * (size_t)g->kpad * 16);
    for (int64_t k = 0; k < terms && cols > 0;) {
        uint32_t *row = (uint32_t *)(void *)(to + k * 16);
        const int64_t lo = term_at(p, &t);
        int64_t hi = -1;

        if (p->w_d == 1 && cols == 16 && k % 32 == 0 && t.d + 32 <= g->depth) { /* 32 terms side by side */
            dwords r[16];

            for (int64_t j = 0; j < 16; j++)
                if (wide)
                    round32((const float *)w + lo + j * p->w_n, (bf16 *)(void *)&r[j]);
                else
                    memcpy(&r[j], (const bf16 *)w + lo + j * p->w_n, sizeof r[j]);
            transpose(r);
            memcpy(row, r, sizeof r);
            term_next(g, p, &t, 32);
            k += 32;
            continue;
        }
        term_next(g, p, &t, 1);
        if (k + 1 < terms) {
            hi = term_at(p, &t);
            term_next(g, p, &t, 1);
        }
        if (wide)
            pack_wide_pair(w, lo, hi, p->w_n, cols, row);
        else
            pack_pair(w, lo, hi, p->w_n, cols, row);
        k += 2;
    }
}

static void gather_pack(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_bf16_gather g = {0};
    int64_t panels, units;

    read_fields(c, 2, &g.n, sizeof g);
    panels = g.npad / 16;
    units = (g.grad_x ? g.stride * g.stride : 1) * g.groups * panels;
    for (int64_t u = part; u < units; u += n_parts) {
        const struct phase p = phase_of(&g, u / panels / g.groups, u / panels % g.groups);

        pack_columns(&g, &p, c->p[0], u % panels * 16, (bf16 *)c->p[1] + u * g.kpad * 16);
    }
}

/* 32 terms, or fewer. */
static inline __attribute__((always_inline)) void put_some(bf16 *to, const void *src, int64_t at, const int64_t n,
                                                           const bool wide)
{
    if (!wide) {
        memcpy(to, (const bf16 *)src + at, sizeof(bf16) * (size_t)n);
        return;
    }
    if (n == 32)
        round32((const float *)src + at, to);
    else if (n == 16)
        round16((const float *)src + at, to);
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = to_bf16(((const float *)src)[at + i]);
}

/* len terms from k on of a row in tiles [kpad / 32][16][32]: those of src from `at` on; src NULL: zeros. wide: src is
 * f32. */
static inline __attribute__((always_inline)) void put(bf16 *row, int64_t k, const void *src, int64_t at, int64_t len,
                                                      const bool wide)
{
    if (src && k % 32 == 0)
        for (bf16 *to = row + k / 32 * NPU_BF16_TILE; len >= 32; len -= 32, k += 32, at += 32, to += NPU_BF16_TILE)
            put_some(to, src, at, 32, wide);
    while (len > 0) {
        bf16 *to = row + k / 32 * NPU_BF16_TILE + k % 32;
        const int64_t n = at_most(len, 32 - k % 32);

        if (!src)
            memset(to, 0, sizeof(bf16) * (size_t)n);
        else if (n == 32)
            put_some(to, src, at, 32, wide);
        else if (n == 16)
            put_some(to, src, at, 16, wide);
        else
            put_some(to, src, at, n, wide);
        at += n;
        k += n;
        len -= n;
    }
}

/* Steps of 32 terms: phases of a gradient differ in their taps. */
static inline int64_t steps_of(const struct npu_bf16_gather *g, const struct phase *p)
{
    return (p->taps_y * p->taps_x * g->depth + 31) / 32;
}

/* One result pixel's terms, of channels from `channel` on. */
static inline __attribute__((always_inline)) void put_terms(const struct npu_bf16_gather *g, const struct phase *p,
                                                            const void *src, int64_t channel, int64_t z, int64_t sy,
                                                            int64_t sx, bf16 *row, const bool wide)
{
    const bool whole = g->depth == g->src_c; /* taps of a row are one run */
    const int64_t taps = whole ? p->taps_x : 1;
    int64_t k = 0;

    for (int64_t ky = 0; ky < p->taps_y; ky++)
        for (int64_t kx = 0; kx < p->taps_x; kx += taps) {
            const bool in = sy + ky >= 0 && sy + ky < g->src_h;
            const int64_t x = sx + kx, to = in ? clamp64(g->src_w - x, 0, taps) : 0,
                          from = at_most(to, clamp64(-x, 0, taps));

            put(row, k, NULL, 0, from * g->depth, wide);
            if (to > from)
                put(row, k + from * g->depth, src,
                    ((z * g->src_h + sy + ky) * g->src_w + x + from) * g->src_c + channel, (to - from) * g->depth,
                    wide);
            put(row, k + to * g->depth, NULL, 0, (taps - to) * g->depth, wide);
            k += taps * g->depth;
        }
    put(row, k, NULL, 0, steps_of(g, p) * 32 - k, wide);
}

/* A pixel's terms where all its taps are inside the picture: pieces of the source, those of one tile's row each. */
struct piece {
    int64_t from;  /* elements behind the first tap's */
    int32_t to, n; /* element of the row; 32, 16 or fewer */
};
enum { MOST_PIECES = 256 };
struct pieces {
    int64_t terms;
    int n; /* -1: too many for this list, whose use is with short ones */
    struct piece piece[MOST_PIECES];
};

static void add_run(struct pieces *s, int64_t from, int64_t len)
{
    for (int64_t n; len > 0; len -= n, from += n, s->terms += n) {
        const int64_t left = 32 - s->terms % 32;

        n = left == 32 && len >= 32 ? 32 : left >= 16 && len >= 16 ? 16 : at_most(left, at_most(len, 15));
        if (s->n == MOST_PIECES)
            s->n = -1;
        if (s->n >= 0)
            s->piece[s->n++] =
                (struct piece){from, (int32_t)(s->terms / 32 * NPU_BF16_TILE + s->terms % 32), (int32_t)n};
    }
}

static void find_pieces(const struct npu_bf16_gather *g, const struct phase *p, struct pieces *ret)
{
    const bool whole = g->depth == g->src_c; /* taps of a row are one run */
    const int64_t taps = whole ? p->taps_x : 1;

    ret->n = 0;
    ret->terms = 0;
    for (int64_t ky = 0; ky < p->taps_y; ky++)
        for (int64_t kx = 0; kx < p->taps_x; kx += taps)
            add_run(ret, (ky * g->src_w + kx) * g->src_c, taps * g->depth);
}

static inline __attribute__((always_inline)) void put_pieces(const struct pieces *s, int64_t steps, const void *src,
                                                             int64_t at, bf16 *row, const bool wide)
{
    for (int i = 0; i < s->n; i++) {
        const struct piece *p = &s->piece[i];

        if (p->n == 32)
            put_some(row + p->to, src, at + p->from, 32, wide);
        else if (p->n == 16)
            put_some(row + p->to, src, at + p->from, 16, wide);
        else
            put_some(row + p->to, src, at + p->from, p->n, wide);
    }
    put(row, s->terms, NULL, 0, steps * 32 - s->terms, wide);
}

static inline __attribute__((always_inline)) void put_pixel(const struct npu_bf16_gather *g, const struct phase *p,
                                                            const struct pieces *s, const void *src, int64_t channel,
                                                            int64_t z, int64_t sy, int64_t sx, bf16 *row,
                                                            const bool wide)
{
    if (s->n >= 0 && sy >= 0 && sy + p->taps_y <= g->src_h && sx >= 0 && sx + p->taps_x <= g->src_w)
        put_pieces(s, steps_of(g, p), src, ((z * g->src_h + sy) * g->src_w + sx) * g->src_c + channel, row, wide);
    else
        put_terms(g, p, src, channel, z, sy, sx, row, wide);
}

/* e^x, the same polynomial as kernels/tile.clh; written so that compilers make vectors of it */
static inline float exp_fast(float x)
{
    const float magic = 12582912.0f;
    float t, n, p;
    int32_t ti, pi, mi;

    x = x < -87.3f ? -87.3f : x;
    x = x > 88.0f ? 88.0f : x;
    t = x * 1.44269504f + magic;
    n = t - magic;
    x = x - n * 0.693359375f;
    x = x + n * 2.12194440e-4f;
    p = x * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * x + 8.3334519073e-3f;
    p = p * x + 4.1665795894e-2f;
    p = p * x + 1.6666665459e-1f;
    p = p * x + 5.0000001201e-1f;
    p = p * (x * x) + x + 1.0f;
    memcpy(&ti, &t, 4);
    memcpy(&mi, &magic, 4);
    memcpy(&pi, &p, 4);
    pi = (int32_t)((uint32_t)pi + ((uint32_t)(ti - mi) << 23));
    memcpy(&p, &pi, 4);
    return p;
}

static inline void act_row(float *v, int act)
{
    switch (act) {
    case NPU_ACT_RELU:
        for (int i = 0; i < BLOCK; i++)
            v[i] = v[i] > 0.0f ? v[i] : 0.0f;
        break;
    case NPU_ACT_RELU6:
        for (int i = 0; i < BLOCK; i++)
            v[i] = v[i] > 6.0f ? 6.0f : v[i] > 0.0f ? v[i] : 0.0f;
        break;
    case NPU_ACT_GELU:
        for (int i = 0; i < BLOCK; i++)
            v[i] = v[i] / (1.0f + exp_fast(-1.5957691216f * v[i] * (1.0f + 0.044715f * v[i] * v[i])));
        break;
    case NPU_ACT_SIGMOID:
        for (int i = 0; i < BLOCK; i++)
            v[i] = 1.0f / (1.0f + exp_fast(-v[i]));
        break;
    default:
        break;
    }
}

/* n results of a row, at element `at`. Compiled for n = BLOCK apart, which makes vectors of all of it. */
static inline __attribute__((always_inline)) void finish_columns(const struct npu_native_call *c,
                                                                 const struct npu_bf16_gather *g, float *v, int64_t at,
                                                                 int64_t col, const int n, float scale)
{
    const bool after = g->act & 256;
    const int res = g->types >> 16 & 255;
    bf16 half[BLOCK];

    if (scale != 1.0f)
        for (int i = 0; i < BLOCK; i++)
            v[i] *= scale;
    if (c->p[2])
        add_values(v, c->p[2], g->types >> 8 & 255, col, n);
    if (c->p[3] && !after)
        add_values(v, c->p[3], res, at, n);
    act_row(v, g->act & 255);
    if (c->p[3] && after)
        add_values(v, c->p[3], res, at, n);
    if ((g->types & 255) == NPU_F32) {
        memcpy((float *)c->p[4] + at, v, sizeof(float) * (size_t)n);
        return;
    }
    round32(v, half);
    memcpy((bf16 *)c->p[4] + at, half, sizeof(bf16) * (size_t)n);
}

static inline void finish_row(const struct npu_native_call *c, const struct npu_bf16_gather *g, float *v, int64_t at,
                              int64_t col, int n, float scale)
{
    if (n == BLOCK)
        finish_columns(c, g, v, at, col, BLOCK, scale);
    else
        finish_columns(c, g, v, at, col, n, scale);
}

/* Is nothing added to sums but a bias and a residual of the results' type? */
static inline bool only_added(const struct npu_native_call *c, const struct npu_bf16_gather *g, float scale)
{
    return (g->act & 255) == NPU_ACT_NONE && scale == 1.0f && (!c->p[3] || (g->types >> 16 & 255) == (g->types & 255));
}

/* Rows of a block: pixels at[0 .. rows - 1], BLOCK columns from `col` on; rows that are not wanted go to `spare`. */
static void find_results(const struct npu_native_call *c, const struct npu_bf16_gather *g, const int64_t *at,
                         int64_t rows, int64_t col, char *spare, struct bf16_results *ret)
{
    const int64_t size = (g->types & 255) == NPU_F32 ? 4 : 2;

    ret->half = size == 2;
    ret->residual = c->p[3];
    memset(ret->bias, 0, sizeof ret->bias);
    if (c->p[2])
        add_values(ret->bias, c->p[2], g->types >> 8 & 255, col, BLOCK);
    for (int64_t r = 0; r < BLOCK; r++) {
        const int64_t to = r < rows ? (at[r] * g->dst_c + col) * size : 0;

        ret->row[r] = r < rows ? (char *)c->p[4] + to : spare;
        ret->more[r] = r < rows && c->p[3] ? (const char *)c->p[3] + to : spare;
    }
}

/* A block of 32 rows of terms from a0 and a1 on and the packed columns at w. */
struct gather_block {
    const bf16 *a0, *a1, *w;
    int64_t a_ld, a_step, w_ld, steps; /* elements */
    const int64_t *at;                 /* result pixels */
    int64_t rows, col;
    int cols;
};

static void run_block(const struct npu_native_call *c, const struct npu_bf16_gather *g, const struct gather_block *b,
                      float scale)
{
    const char *a0 = (const char *)b->a0, *a1 = (const char *)b->a1;
    const size_t ld = sizeof(bf16) * (size_t)b->a_ld, step = sizeof(bf16) * (size_t)b->a_step;
    float sums[BLOCK][BLOCK] __attribute__((aligned(64)));

    if (b->cols == BLOCK && only_added(c, g, scale)) {
        struct bf16_results to;

        find_results(c, g, b->at, b->rows, b->col, (char *)sums, &to);
        unit_results(a0, a1, ld, step, b->w, b->w + b->w_ld, b->steps, b->rows, &to);
    } else {
        unit_block(a0, a1, ld, step, b->w, b->w + b->w_ld, b->steps, b->rows, sums[0], BLOCK, false,
                   &(struct ahead){.bytes = 0});
        for (int64_t r = 0; r < b->rows; r++)
            finish_row(c, g, sums[r], b->at[r] * g->dst_c + b->col, b->col, b->cols, scale);
    }
}

/* Is a row of terms a piece of the source as it stands there? */
static inline bool in_place(const struct npu_bf16_gather *g)
{
    return !(g->types & NPU_BF16_WIDE) && g->kh == 1 && g->kw == 1 && g->stride == 1 && g->pad_top == 0 &&
           g->pad_left == 0 && g->depth % 32 == 0 && !g->grad_x && g->dst_h == g->src_h && g->dst_w == g->src_w;
}

/* The terms of result pixels m0 + i to rows, from i = first on, the last one's until the block is full; at[i]: where
 * the results of each stand, in pixels. */
static void gather_rows(const struct npu_native_call *c, const struct npu_bf16_gather *g, const struct phase *p,
                        const struct pieces *s, int64_t group, int64_t m0, int64_t mn, int64_t first, bf16 *rows,
                        int64_t *at)
{
    const int64_t tile_row = (int64_t)g->kpad / 32 * NPU_BF16_TILE, channel = group * g->depth;
    int64_t z = m0 / p->w / p->h, y = m0 / p->w % p->h, x = m0 % p->w;

    for (int64_t i = 0; i < (mn + BLOCK - 1) / BLOCK * BLOCK; i++) {
        const int64_t sy = y * p->step + p->off_y, sx = x * p->step + p->off_x;
        bf16 *row = rows + i / 16 * tile_row + i % 16 * 32;

        if (i >= first && (g->types & NPU_BF16_WIDE))
            put_pixel(g, p, s, c->p[0], channel, z, sy, sx, row, true);
        else if (i >= first)
            put_pixel(g, p, s, c->p[0], channel, z, sy, sx, row, false);
        at[i] = (z * g->dst_h + y * p->dst_step + p->dst_y) * g->dst_w + x * p->dst_step + p->dst_x;
        if (i >= mn - 1)
            continue;
        if (++x == p->w) {
            x = 0;
            if (++y == p->h) {
                y = 0;
                z++;
            }
        }
    }
}

/* Result pixels m0 .. m0 + mn - 1, columns of slice `slice` of one phase and group. */
static void gather_unit(const struct npu_native_call *c, const struct npu_bf16_gather *g, const struct phase *p,
                        const struct pieces *s, int64_t group, const bf16 *packed, int64_t m0, int64_t mn,
                        int64_t slice, bf16 *rows, float scale)
{
    const int64_t steps = steps_of(g, p), blocks = g->npad / BLOCK, tile_row = (int64_t)g->kpad / 32 * NPU_BF16_TILE;
    const int64_t b0 = blocks * slice / g->slices, b1 = blocks * (slice + 1) / g->slices;
    const int64_t placed = in_place(g) ? mn / BLOCK * BLOCK : 0;
    const bf16 *source = (const bf16 *)c->p[0] + m0 * g->src_c + group * g->depth;
    int64_t at[NPU_BF16_MOST_ROWS];

    gather_rows(c, g, p, s, group, m0, mn, placed, rows, at);
    for (int64_t n = b0; n < b1; n++)
        for (int64_t i = 0; i < mn; i += BLOCK) {
            const bool here = i < placed;
            const bf16 *a = here ? source + i * g->src_c : rows + i / 16 * tile_row;
            const struct gather_block b = {.a0 = a,
                                           .a1 = a + (here ? 16 * g->src_c : tile_row),
                                           .w = packed + n * 2 * tile_row,
                                           .a_ld = here ? g->src_c : 32,
                                           .a_step = here ? 32 : NPU_BF16_TILE,
                                           .w_ld = tile_row,
                                           .steps = steps,
                                           .at = at + i,
                                           .rows = at_most(BLOCK, mn - i),
                                           .col = group * g->cn + n * BLOCK,
                                           .cols = (int)at_most(BLOCK, g->cn - n * BLOCK)};

            run_block(c, g, &b, scale);
        }
}

static void gather_run(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_bf16_gather g = {0};
    int64_t unit = 0;
    bf16 *rows;

    read_fields(c, 6, &g.n, sizeof g);
    n_parts = (int)at_most(n_parts, g.parts);
    if (part >= n_parts)
        return;
    rows = (bf16 *)((char *)c->p[5] + (size_t)part * npu_bf16_gather_scratch(&g));
    unit_begin();
    for (int64_t ph = 0; ph < (g.grad_x ? g.stride * g.stride : 1); ph++)
        for (int64_t group = 0; group < g.groups; group++) {
            const struct phase p = phase_of(&g, ph, group);
            const bf16 *packed = (const bf16 *)c->p[1] + (ph * g.groups + group) * g.npad * g.kpad;
            const int64_t total = g.n * p.h * p.w;
            struct pieces pieces;

            find_pieces(&g, &p, &pieces);
            for (int64_t m = 0; m < total; m += g.mb)
                for (int64_t s = 0; s < g.slices; s++)
                    if (unit++ % n_parts == part)
                        gather_unit(c, &g, &p, &pieces, group, packed, m, at_most(g.mb, total - m), s, rows,
                                    c->arg[6 + sizeof g / 4].f);
        }
    unit_end();
}

#endif
