/* avx2_outer.c - sums over rows of outer products: products whose first factor is transposed, and gradients of weights.
 *
 * A unit has some strips of 6 rows of the result and some panels of 16 columns. It takes ROWS_AT_ONCE rows of both
 * factors at a time: those of the second as panels side by side; those of the first through pointers, one a tap, so
 * that a picture is taken in place; or copied, where their distance would put them all into the same lines of the first
 * cache, or where they have few channels. The order of the sums depends on sizes alone, not on units or threads.
 */
#include "libnpu/tier/avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/avx2_kernels.h"
#include "libnpu/tier/avx2_tile.h"

enum { PANEL = NPU_AVX2_PANEL, STRIP = NPU_AVX2_ROWS, BLOCK = NPU_AVX2_OUTER_ROWS, TILE_FLOATS = STRIP * PANEL };

struct unit {
    const struct npu_native_call *c;
    const struct npu_avx2_outer *g;
    int64_t taps, len, strips_a_tap; /* len: results of a tap, along the first axis */
    int64_t z, share, strip, strip_end, panel, panel_end;
    int64_t ld;        /* of the copies */
    const float **row; /* [taps of the unit][BLOCK] */
    float *zeros, *copy, *b, *acc;
};

/* The pixels under tap t of rows k .. k + count - 1. */
static void point(const struct unit *u, int64_t t, int64_t k, int64_t count, const float **row)
{
    const struct npu_avx2_outer *g = u->g;
    const int64_t pictures = g->n / g->groups;
    const float *x0 = u->c->p[0];

    for (int64_t i = 0, run; i < count; i += run) {
        const int64_t ox = (k + i) % g->ow, oy = (k + i) / g->ow % g->oh, z = u->z * pictures + (k + i) / g->ow / g->oh;
        const int64_t y = oy * g->stride - g->pad_top + t / g->kw, x = ox * g->stride - g->pad_left + t % g->kw;
        const int64_t line = (z * g->h + y) * g->w;

        run = at_most(g->ow - ox, count - i);
        for (int64_t j = 0; j < run; j++) {
            const int64_t at = x + j * g->stride;

            row[i + j] = y < 0 || y >= g->h || at < 0 || at >= g->w ? u->zeros : x0 + (line + at) * g->cin;
        }
    }
}

/* All taps of `run` pixels of a line of results side by side. */
static void copy_taps(const struct unit *u, int64_t k, int64_t run, float *to)
{
    const struct npu_avx2_outer *g = u->g;
    const int64_t ox = k % g->ow, oy = k / g->ow % g->oh, z = u->z * (g->n / g->groups) + k / g->ow / g->oh;

    for (int64_t t = 0; t < (int64_t)g->kh * g->kw; t++, to += g->cin) {
        const int64_t y = oy * g->stride - g->pad_top + t / g->kw, x = ox * g->stride - g->pad_left + t % g->kw;
        /* pixels of the run that lie inside the picture */
        const bool beyond = y < 0 || y >= g->h;
        const int64_t from = beyond ? run : at_most(run, x < 0 ? (g->stride - 1 - x) / g->stride : 0);
        const int64_t end = beyond || x >= g->w ? from : at_least(from, at_most(run, (g->w - 1 - x) / g->stride + 1));
        const float *line = (const float *)u->c->p[0] + (beyond ? 0 : (z * g->h + y) * g->w * g->cin);

        for (int64_t j = 0; j < run; j++) {
            const float *pixel = j < from || j >= end ? u->zeros : line + (x + j * g->stride) * g->cin;

            to[j * u->ld] = pixel[0];
            for (int64_t c = 1; c < g->cin; c++)
                to[j * u->ld + c] = pixel[c];
        }
    }
}

static void fill_copies(const struct unit *u, int64_t k, int64_t count)
{
    const struct npu_avx2_outer *g = u->g;
    const int64_t from = u->strip * STRIP, len = at_most(g->cin, u->strip_end * STRIP) - from;

    if (g->kh * g->kw > 1)
        for (int64_t i = 0, run; i < count; i += run) {
            run = at_most(g->ow - (k + i) % g->ow, count - i);
            copy_taps(u, k + i, run, u->copy + i * u->ld);
        }
    else
        point(u, 0, k, count, u->row);
    for (int64_t i = 0; i < count; i++) {
        float *to = u->copy + i * u->ld;

        for (int64_t j = 0; g->kh * g->kw == 1 && j < len; j += 8)
            store_some(to + j, len - j, load_some(u->row[i] + from + j, len - j));
        u->row[i] = to;
    }
}

static void load_panel(const struct unit *u, int64_t p, int64_t k, int64_t count)
{
    const struct npu_avx2_outer *g = u->g;
    const int64_t columns = at_most(PANEL, g->cout - p * PANEL);
    const float *b = (const float *)u->c->p[1] + u->z * g->b_z + k * g->b_k + p * PANEL * g->b_n;

    for (int64_t i = 0; i < count; i++, b += g->b_k) {
        float *to = u->b + i * PANEL;

        if (g->b_n == 1) {
            _mm256_store_ps(to, load_some(b, columns));
            _mm256_store_ps(to + 8, columns > 8 ? load_some(b + 8, columns - 8) : _mm256_setzero_ps());
            continue;
        }
        for (int64_t j = 0; j < PANEL; j++)
            to[j] = j < columns ? b[j * g->b_n] : 0.0f;
    }
}

/* Rows k .. k + count - 1 into the sums. */
static void add_block(const struct unit *u, int64_t k, int64_t count, bool first)
{
    const struct npu_avx2_outer *g = u->g;
    const int64_t tap = u->strip / u->strips_a_tap, from = g->copy && g->kh * g->kw == 1 ? u->strip * STRIP : 0;
    float *acc = u->acc;

    if (g->copy)
        fill_copies(u, k, count);
    else
        for (int64_t t = tap; t * u->strips_a_tap < u->strip_end; t++)
            point(u, t, k, count, u->row + (t - tap) * BLOCK);
    for (int64_t p = u->panel; p < u->panel_end; p++) {
        load_panel(u, p, k, count);
        for (int64_t s = u->strip; s < u->strip_end; s++, acc += TILE_FLOATS) {
            const int64_t t = s / u->strips_a_tap, at = s % u->strips_a_tap * STRIP;
            const struct outer_job j = {
                .row = u->row + (t - tap) * BLOCK, .at = at - from, .len = count, .b = u->b, .acc = acc, .add = !first};

            outer_for(at_most(STRIP, u->len - at), at_most(PANEL, g->cout - p * PANEL))(&j);
        }
    }
}

/* Eight columns from n on of a row of sums to the result, which `at` is the place of. */
static inline void finish_8(const struct unit *u, const float *acc, int64_t at, int64_t n, float scale)
{
    const float *bias = u->c->p[2], *res = u->c->p[3];
    const int64_t left = u->g->cout - n;
    __m256 v = _mm256_mul_ps(_mm256_load_ps(acc), _mm256_set1_ps(scale));

    if (bias)
        v = _mm256_add_ps(v, load_some(bias + n, left));
    v = act8(v, u->g->act);
    if (res)
        v = _mm256_add_ps(v, load_some(res + at, left));
    store_some((float *)u->c->p[4] + at, left, v);
}

static void finish(const struct unit *u, float scale)
{
    const struct npu_avx2_outer *g = u->g;
    const int64_t size = u->taps * u->len * g->cout;
    const float *acc = u->acc;

    for (int64_t p = u->panel; p < u->panel_end; p++)
        for (int64_t s = u->strip; s < u->strip_end; s++, acc += TILE_FLOATS) {
            const int64_t at = s % u->strips_a_tap * STRIP, m = s / u->strips_a_tap * u->len + at;

            for (int64_t i = 0; i < at_most(STRIP, u->len - at); i++)
                for (int64_t n = p * PANEL; n < at_most(g->cout, p * PANEL + PANEL); n += 8) {
                    const float *sum = acc + i * PANEL + (n - p * PANEL);
                    const int64_t to = u->z * size + (m + i) * g->cout + n;

                    if (g->shares > 1)
                        store_some((float *)u->c->p[5] + u->share * g->groups * size + to, g->cout - n,
                                   _mm256_load_ps(sum));
                    else
                        finish_8(u, sum, to, n, scale);
                }
        }
}

static void run_unit(struct unit *u, char *scratch, float scale)
{
    const struct npu_avx2_outer *g = u->g;
    const int64_t rows = (int64_t)g->n / g->groups * g->oh * g->ow;
    const int64_t from = rows * u->share / g->shares, end = rows * (u->share + 1) / g->shares;
    const int64_t own = at_most(u->len, (u->strip_end - u->strip) * STRIP);

    u->ld = ((g->kh * g->kw > 1 ? u->len : own) + 7) / 8 * 8 + 8;
    u->b = (float *)(void *)scratch;
    u->acc = u->b + (int64_t)BLOCK * PANEL;
    u->copy = u->acc + (u->strip_end - u->strip) * (u->panel_end - u->panel) * TILE_FLOATS;
    u->zeros = u->copy + (g->copy ? BLOCK * u->ld : 0);
    u->row = (const float **)(void *)(u->zeros + (g->cin + 15) / 16 * 16);
    memset(u->zeros, 0, sizeof(float) * (size_t)g->cin);
    for (int64_t k = from; k < end; k += BLOCK)
        add_block(u, k, at_most(BLOCK, end - k), k == from);
    finish(u, scale);
}

void npu_avx2_outer(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_avx2_outer g = {0};
    int64_t strips, panels, all;

    npu_avx2_fields(c, 7, &g.n, sizeof g);
    struct unit u = {.c = c, .g = &g};
    u.taps = g.copy ? 1 : (int64_t)g.kh * g.kw;
    u.len = g.copy ? (int64_t)g.kh * g.kw * g.cin : g.cin;
    u.strips_a_tap = (u.len + STRIP - 1) / STRIP;
    strips = u.taps * u.strips_a_tap;
    panels = (g.cout + PANEL - 1) / PANEL;
    all = (int64_t)g.groups * g.shares * g.row_units * g.col_units;
    for (int64_t i = part; i < all; i += n_parts) {
        const int64_t cu = i % g.col_units, ru = i / g.col_units % g.row_units;

        u.share = i / g.col_units / g.row_units % g.shares;
        u.z = i / g.col_units / g.row_units / g.shares;
        u.strip = strips * ru / g.row_units;
        u.strip_end = strips * (ru + 1) / g.row_units;
        u.panel = panels * cu / g.col_units;
        u.panel_end = panels * (cu + 1) / g.col_units;
        run_unit(&u, (char *)c->p[6] + (size_t)part * npu_avx2_outer_scratch(&g),
                 c->arg[7 + sizeof g / sizeof(int32_t)].f);
    }
}

void npu_avx2_outer_sum(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t shares = c->arg[2].i, size = c->arg[3].i, steps = (size + 7) / 8;
    const __m256 scale = _mm256_set1_ps(c->arg[4].f);
    const float *x = c->p[0];

    for (int64_t i = steps * part / n_parts * 8; i < at_most(size, steps * (part + 1) / n_parts * 8); i += 8) {
        __m256 v = load_some(x + i, size - i);

        for (int64_t s = 1; s < shares; s++)
            v = _mm256_add_ps(v, load_some(x + s * size + i, size - i));
        store_some((float *)c->p[1] + i, size - i, _mm256_mul_ps(v, scale));
    }
}
#endif
