/* bf16_wgrad.h - the weight gradient of the bf16 tiers.
 *
 * x of some rows is kept transposed, planes[stride^2][c16][ld] (pixels equal modulo the stride), so that the tile of a
 * tap and 16 channels is 16 rows of a plane from the tap's shift on, read in place. gy stands in the same pixel order
 * with zeros where a row of a plane is longer than one of y.
 */
#ifndef NPU_TIER_BF16_WGRAD_H
#define NPU_TIER_BF16_WGRAD_H

#include "libnpu/tier/bf16_convert.h"

/* at[q]: where pixel q of plane (py, px) stands in x for rows of y from oy on; -1: outside the picture. */
static void find_plane(const struct npu_bf16_wgrad *g, const struct npu_bf16_wgrad_sizes *s, int64_t z, int64_t oy,
                       int64_t py, int64_t px, int32_t *at)
{
    int64_t iy = oy * g->stride - g->pad_top + py;

    for (int64_t q = 0; q < s->pixels; iy += g->stride) {
        const int64_t end = at_most(q + s->wp, s->pixels), row = (z * g->h + iy) * g->w;
        int64_t ix = px - g->pad_left;

        for (; q < end; q++, ix += g->stride) {
            const bool inside = iy >= 0 && iy < g->h && ix >= 0 && ix < g->w && row + ix < g->n_x;

            at[q] = inside ? (int32_t)(row + ix) : -1;
        }
    }
}

/* Pixels outside, their channels inside: so memory is read in its order. */
static inline __attribute__((always_inline)) void load_planes(const struct npu_bf16_wgrad *g,
                                                              const struct npu_bf16_wgrad_sizes *s, const void *x,
                                                              int64_t z, int64_t oy, int64_t group, bf16 *planes,
                                                              int32_t *at, const bool wide)
{
    for (int64_t plane = 0; plane < g->stride * g->stride; plane++) {
        find_plane(g, s, z, oy, plane / g->stride, plane % g->stride, at);
        for (int64_t q = 0; q < s->pixels; q += 32)
            for (int64_t c = 0; c < s->c16; c += 16) {
                const int64_t n = at_most(16, g->cing - c), from = group * g->cing + c;
                dwords r[16];

                for (int64_t i = 0; i < 16; i++) {
                    const int64_t lo = at[q + 2 * i], hi = at[q + 2 * i + 1];

                    pair_some(x, lo < 0 ? -1 : lo * g->cin + from, hi < 0 ? -1 : hi * g->cin + from, n, wide,
                              (uint32_t *)&r[i]);
                }
                transpose(r);
                for (int64_t i = 0; i < 16; i++)
                    memcpy(planes + (plane * s->c16 + c + i) * s->ld + q, &r[i], sizeof r[i]);
            }
    }
}

/* at[k]: where the term k of `count` rows of gy from y on (rows of all pictures) stands; -1: nowhere. */
static void find_gradient(const struct npu_bf16_wgrad *g, const struct npu_bf16_wgrad_sizes *s, int64_t y,
                          int64_t count, int32_t *at)
{
    int64_t row = y * g->ow;

    for (int64_t k = 0; k < s->kl; row += g->ow) {
        const int64_t last = row < (y + count) * g->ow ? at_most(row + g->ow, g->n_y) : row,
                      end = at_most(k + s->wp, s->kl);

        for (int64_t pixel = row; k < end; k++, pixel++)
            at[k] = pixel < last ? (int32_t)pixel : -1;
    }
}

/* These rows as tiles [npad / 16][kl / 32]. */
static inline __attribute__((always_inline)) void load_gradient(const struct npu_bf16_wgrad *g,
                                                                const struct npu_bf16_wgrad_sizes *s, const void *gy,
                                                                int64_t group, bf16 *tiles, const int32_t *at,
                                                                const bool wide)
{
    for (int64_t k = 0; k < s->kl; k += 2)
        for (int64_t o = 0; o < s->npad; o += 16) {
            const int64_t from = group * g->coutg + o, lo = o < g->coutg ? at[k] : -1,
                          hi = o < g->coutg ? at[k + 1] : -1;

            pair_some(gy, lo < 0 ? -1 : lo * g->cout + from, hi < 0 ? -1 : hi * g->cout + from,
                      clamp64(g->coutg - o, 0, 16), wide, (uint32_t *)(void *)(tiles + o / 16 * s->tile_ld + k * 16));
        }
}

/* Rows of x from oy on as planes, `count` rows of gy from y on as tiles. */
static void load_step(const struct npu_bf16_wgrad *g, const struct npu_bf16_wgrad_sizes *s, const void *x,
                      const void *gy, int64_t y, int64_t count, int64_t group, bf16 *planes, bf16 *tiles, int32_t *at)
{
    const bool wide = g->types & NPU_BF16_WIDE;

    if (wide)
        load_planes(g, s, x, y / g->oh, y % g->oh, group, planes, at, true);
    else
        load_planes(g, s, x, y / g->oh, y % g->oh, group, planes, at, false);
    find_gradient(g, s, y, count, at);
    if (wide)
        load_gradient(g, s, gy, group, tiles, at, true);
    else
        load_gradient(g, s, gy, group, tiles, at, false);
}

/* Rows of gy of the step that begins with row y, of one picture. */
static int64_t rows_of(const struct npu_bf16_wgrad *g, int64_t y, int64_t y1)
{
    return at_most(at_most(g->rows, g->oh - y % g->oh), y1 - y);
}

/* Where the pixels of rows y on of gy (`count` of them, in one picture) begin and end in x, in bytes. */
static void source_of(const struct npu_bf16_wgrad *g, int64_t y, int64_t count, int64_t *ret_from, int64_t *ret_end)
{
    const int64_t first = y % g->oh * g->stride - g->pad_top, last = first + (count - 1) * g->stride + g->kh;
    const int64_t row = y / g->oh * g->h, line = (int64_t)g->cin * (g->types & NPU_BF16_WIDE ? 4 : 2);

    *ret_from = at_most((row + clamp64(first, 0, g->h)) * g->w, g->n_x) * line;
    *ret_end = at_most((row + clamp64(last, 0, g->h)) * g->w, g->n_x) * line;
}

/* Share i of `times` of the bytes from .. end - 1 of x. */
static void source_ahead(const void *x, int64_t from, int64_t end, int64_t i, int64_t times, struct ahead *ret_ahead)
{
    const int64_t rows = times * AHEAD_ROWS, lines = (end - from + AHEAD_LINE - 1) / AHEAD_LINE;
    const int64_t bytes = (lines + rows - 1) / rows * AHEAD_LINE, first = from + i * AHEAD_ROWS * bytes;

    ret_ahead->bytes = first < end ? bytes : 0;
    for (int64_t r = 0; r < AHEAD_ROWS; r++)
        ret_ahead->row[r] = (const char *)x + at_most(first + r * bytes, end);
}

/* The sums of a step; meanwhile bytes from .. end - 1 of x come into the cache, for the next. */
static void add_step(const struct npu_bf16_wgrad *g, const struct npu_bf16_wgrad_sizes *s, const bf16 *planes,
                     const bf16 *tiles, float *part, bool add, const void *x, int64_t from, int64_t end)
{
    const int64_t blocks_c = s->c16 / 16, taps = (int64_t)g->kh * g->kw * blocks_c, columns = s->npad / BLOCK;
    struct ahead ahead;

    for (int64_t m = 0; m < s->m_tiles; m += 2) {
        const char *a[2];

        for (int64_t i = 0; i < 2; i++) {
            const int64_t t = at_most(m + i, taps - 1), ky = t / blocks_c / g->kw, kx = t / blocks_c % g->kw;
            const int64_t plane = ky % g->stride * g->stride + kx % g->stride;

            a[i] = (const char *)(planes + (plane * s->c16 + t % blocks_c * 16) * s->ld + ky / g->stride * s->wp +
                                  kx / g->stride);
        }
        for (int64_t o = 0; o < columns; o++) {
            source_ahead(x, from, end, m / 2 * columns + o, s->m_tiles / 2 * columns, &ahead);
            unit_block(a[0], a[1], sizeof(bf16) * (size_t)s->ld, ROW_BYTES, tiles + o * 2 * s->tile_ld,
                       tiles + (o * 2 + 1) * s->tile_ld, s->kl / 32, at_most(BLOCK, (taps - m) * 16),
                       part + m * 16 * s->npad + o * BLOCK, (size_t)s->npad, add, &ahead);
        }
    }
}

static void wgrad_share(const struct npu_bf16_wgrad *g, const struct npu_bf16_wgrad_sizes *s, const void *x,
                        const void *gy, int64_t y0, int64_t y1, int64_t group, bf16 *planes, float *part)
{
    bf16 *tiles = planes + g->stride * g->stride * s->c16 * s->ld;
    int32_t *at = (int32_t *)(void *)(tiles + s->npad / 16 * s->tile_ld);

    for (int64_t y = y0, next; y < y1; y = next) {
        int64_t from = 0, end = 0;

        next = y + rows_of(g, y, y1);
        if (next < y1 && g->groups == 1)
            source_of(g, next, rows_of(g, next, y1), &from, &end);
        load_step(g, s, x, gy, y, next - y, group, planes, tiles, at);
        add_step(g, s, planes, tiles, part, y > y0, x, from, end);
    }
    if (y0 >= y1)
        memset(part, 0, sizeof(float) * s->part);
}

static void wgrad_run(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_bf16_wgrad_sizes s;
    struct npu_bf16_wgrad g = {0};
    int64_t per;
    bf16 *planes;

    read_fields(c, 4, &g.n, sizeof g);
    n_parts = (int)at_most(n_parts, g.parts);
    if (part >= n_parts)
        return;
    s = npu_bf16_wgrad_sizes(&g);
    planes = (bf16 *)((char *)c->p[3] + (size_t)part * s.scratch);
    per = ((int64_t)g.n * g.oh + g.shares - 1) / g.shares;
    unit_begin();
    for (int64_t u = part; u < (int64_t)g.shares * g.groups; u += n_parts) {
        const int64_t share = u % g.shares, group = u / g.shares;

        wgrad_share(&g, &s, c->p[0], c->p[1], share * per, at_most((share + 1) * per, (int64_t)g.n * g.oh), group,
                    planes, (float *)c->p[2] + (size_t)u * s.part);
    }
    unit_end();
}

/* dW [kh, kw, cing, cout] = sum of the shares, in order */
static void wgrad_sum(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_bf16_wgrad_sizes s;
    struct npu_bf16_wgrad g = {0};

    read_fields(c, 2, &g.n, sizeof g);
    s = npu_bf16_wgrad_sizes(&g);
    for (int64_t row = part; row < (int64_t)g.kh * g.kw * g.cing; row += n_parts)
        for (int64_t group = 0; group < g.groups; group++) {
            const int64_t m = row / g.cing * s.c16 + row % g.cing, at = row * g.cout + group * g.coutg;
            const float *p = (const float *)c->p[0] + (size_t)(group * g.shares) * s.part + m * s.npad;

            for (int64_t o = 0; o < g.coutg; o += BLOCK) {
                const int64_t n = at_most(BLOCK, g.coutg - o);
                float sum[BLOCK] = {0};

                for (int64_t i = 0; i < g.shares; i++) /* columns up to npad are there */
                    add_values(sum, p + (size_t)i * s.part + o, NPU_F32, 0, BLOCK);
                if ((g.types & 255) == NPU_F32) {
                    memcpy((float *)c->p[1] + at + o, sum, sizeof(float) * (size_t)n);
                } else {
                    bf16 half[BLOCK];

                    round32(sum, half);
                    memcpy((bf16 *)c->p[1] + at + o, half, sizeof(bf16) * (size_t)n);
                }
            }
        }
}

#endif
