/* avx2_outer.c - sums over rows of outer products: products whose first factor is transposed, and gradients of weights.
 *
 * A unit has some strips of 6 rows of the result and some panels of 16 columns. It takes BLOCK rows of both factors at
 * a time and copies them: those of the second as panels, those of the first as strips, each side by side in the order
 * in which it is read. A line of a convolution's window is one piece in the picture, so that a line of taps is as good
 * as one tap; where it has few terms, the whole window is. The order of the sums depends on sizes alone, not on units
 * or threads.
 */
#include "libnpu/tier/avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/avx2_kernels.h"
#include "libnpu/tier/avx2_lines.h"
#include "libnpu/tier/avx2_tile.h"

#define TERMS_ROW(i) const float *a##i = rows > i ? a + at[i] : NULL;

enum { PANEL = NPU_AVX2_PANEL, STRIP = NPU_AVX2_ROWS, BLOCK = NPU_AVX2_OUTER_ROWS, TILE_FLOATS = STRIP * PANEL };

struct unit {
    const struct npu_native_call *c;
    const struct npu_avx2_outer *g;
    int64_t taps, len, strips_a_tap; /* lines of the window, and their terms */
    int64_t z, share, strip, strip_end, panel, panel_end;
    float *a, *b, *acc; /* [strip][NPU_AVX2_OUTER_STRIP], [BLOCK][16], [panel][strip][6][16] */
    float scale;
    float *line; /* terms of a line that reaches beyond the picture, 8 to spare */
};

/* The unit's strips of a tap: of `count` rows that begin `step` floats apart, from row i of the block on. What follows
 * a row may be read too, if there is room before `end_of_x`. */
static void spread(const struct unit *u, const float *row, int64_t step, int64_t tap, int64_t i, int64_t count,
                   const float *end_of_x)
{
    const int64_t from = at_least(u->strip, tap * u->strips_a_tap);
    const int64_t end = at_most(u->strip_end, (tap + 1) * u->strips_a_tap), at = (from - tap * u->strips_a_tap) * STRIP;
    const bool room = end_of_x - (row + (count - 1) * step + u->len) >= 8;
    const int64_t whole = room ? end : from + at_most(end - from, (u->len - at + STRIP - 8) / STRIP); /* 8 to read */
    float *to = u->a + (from - u->strip) * NPU_AVX2_OUTER_STRIP + i * 8;

    for (row += at; count > 0; count--, row += step, to += 8) {
        const float *x = row;
        float *p = to;
        int64_t s = from;

        for (; s < whole; s++, x += STRIP, p += NPU_AVX2_OUTER_STRIP)
            _mm256_store_ps(p, _mm256_loadu_ps(x));
        for (; s < end; s++, x += STRIP, p += NPU_AVX2_OUTER_STRIP)
            _mm256_store_ps(p, load_some(x, row - at + u->len - x));
    }
}

/* The same of one pixel whose line reaches beyond the picture: x points where its first column would lie. */
static void spread_edge(const struct unit *u, const float *x, int64_t left, int64_t tap, int64_t i)
{
    const struct npu_avx2_outer *g = u->g;
    const int64_t from = at_most(g->kw, at_least(0, -left)), end = at_most(g->kw, g->w - left);

    memset(u->line, 0, sizeof(float) * (size_t)(u->len + 8));
    for (int64_t k = from * g->cin; k < end * g->cin; k++)
        u->line[k] = x[k];
    spread(u, u->line, 0, tap, i, 1, u->line + u->len + 8);
}

/* Line `tap` of the windows of `run` pixels from (y, ox) of picture z on. */
static void load_run(const struct unit *u, int64_t z, int64_t y, int64_t ox, int64_t run, int64_t tap, int64_t i)
{
    const struct npu_avx2_outer *g = u->g;
    const int64_t line = y * g->stride - g->pad_top + tap, left = ox * g->stride - g->pad_left;
    const bool inside = line >= 0 && line < g->h;
    const float *x = (const float *)u->c->p[0] + ((z * g->h + (inside ? line : 0)) * g->w + left) * g->cin;
    const float *end_of_x = (const float *)u->c->p[0] + (int64_t)g->n * g->h * g->w * g->cin;
    const int64_t room = g->w - g->kw - left; /* columns that the first window can move to the right */
    const int64_t from = left < 0 ? at_most(run, (g->stride - 1 - left) / g->stride) : 0;
    const int64_t end = room < 0 ? from : at_least(from, at_most(run, room / g->stride + 1));

    if (!inside) {
        memset(u->line, 0, sizeof(float) * (size_t)(u->len + 8));
        spread(u, u->line, 0, tap, i, run, u->line + u->len + 8);
        return;
    }
    for (int64_t j = 0; j < run; j++)
        if (j == from && j < end) {
            spread(u, x + j * g->stride * g->cin, (int64_t)g->stride * g->cin, tap, i + j, end - j, end_of_x);
            j = end - 1;
        } else {
            spread_edge(u, x + j * g->stride * g->cin, left + j * g->stride, tap, i + j);
        }
}

/* The first factor's rows k .. k + count - 1 as strips. */
static void load_strips(const struct unit *u, int64_t k, int64_t count)
{
    const struct npu_avx2_outer *g = u->g;
    const int64_t pictures = g->n / g->groups;

    for (int64_t i = 0, run; i < count; i += run) {
        const int64_t ox = (k + i) % g->ow, line = (k + i) / g->ow;

        run = at_most(g->ow - ox, count - i);
        for (int64_t t = u->strip / u->strips_a_tap; t * u->strips_a_tap < u->strip_end; t++)
            load_run(u, u->z * pictures + line / g->oh, line % g->oh, ox, run, t, i);
    }
}

static void load_panel(const struct unit *u, int64_t p, int64_t k, int64_t count)
{
    const struct npu_avx2_outer *g = u->g;
    const int64_t columns = at_most(PANEL, g->cout - p * PANEL);
    const float *b = (const float *)u->c->p[1] + u->z * g->b_z + k * g->b_k + p * PANEL * g->b_n;

    if (g->b_n == 1 && columns == PANEL) {
        for (int64_t i = 0; i < count; i++, b += g->b_k) {
            _mm256_store_ps(u->b + i * PANEL, _mm256_loadu_ps(b));
            _mm256_store_ps(u->b + i * PANEL + 8, _mm256_loadu_ps(b + 8));
        }
        return;
    }
    for (int64_t i = 0; i < count; i++, b += g->b_k)
        for (int64_t j = 0; j < PANEL; j++)
            u->b[i * PANEL + j] = j < columns ? b[j * g->b_n] : 0.0f;
}

/* ---- windows of few terms: one tap of all of them ---- */
static bool few_terms(const struct npu_avx2_outer *g)
{
    return (int64_t)g->kh * g->kw * g->cin <= NPU_AVX2_LINES_TERMS && g->kw > 1;
}

/* acc[rows][16] += sum over k < count of a[at[i] + k * step] * b[k * ld] */
ALWAYS void terms_tile(const float *a, const int64_t *at, int64_t step, const float *b, int64_t ld, int64_t count,
                       float *acc, const int rows)
{
    enum { halves = 2 };
    const struct tile_job all = {.acc = acc, .add = true}, *const j = &all;

    EACH_ROW(TILE_BEGIN)
    EACH_ROW(TERMS_ROW)
#pragma GCC unroll 2
    for (int64_t n = 0, k = 0; n < count; n++, k += step, b += ld) {
        const __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);

        EACH_ROW(TILE_MAC)
    }
    EACH_ROW(TILE_END)
}

static void terms_rows(const float *a, const int64_t *at, int64_t step, const float *b, int64_t ld, int64_t count,
                       float *acc, int64_t rows)
{
    for (int64_t i = 0, n; i < rows; i += n) {
        n = rows - i >= STRIP ? STRIP : rows - i >= 3 ? 3 : 1;
        if (n == STRIP)
            terms_tile(a, at + i, step, b, ld, count, acc + i * PANEL, STRIP);
        else if (n == 3)
            terms_tile(a, at + i, step, b, ld, count, acc + i * PANEL, 3);
        else
            terms_tile(a, at + i, step, b, ld, count, acc + i * PANEL, 1);
    }
}

/* A run of neighbours, rows k .. k + run - 1, into the sums. */
static void add_lines(const struct unit *u, const struct lines *l, int64_t k, int64_t run)
{
    const struct npu_avx2_outer *g = u->g;
    const int64_t z = u->z * (g->n / g->groups) + k / g->ow / g->oh, line = l->kw * l->cin, step = g->stride * g->cin;
    float copy[NPU_AVX2_LINES_FLOATS], *acc = u->acc;
    int64_t at[NPU_AVX2_LINES_TERMS];

    lines_copy(l, u->c->p[0], z, k / g->ow % g->oh, k % g->ow, run, copy);
    for (int64_t i = 0; i < u->len; i++)
        at[i] = i / line * lines_step(l, run) + i % line;
    for (int64_t p = u->panel; p < u->panel_end; p++) {
        const bool whole = g->b_n == 1 && g->cout - p * PANEL >= PANEL;
        const float *b = whole ? (const float *)u->c->p[1] + u->z * g->b_z + k * g->b_k + p * PANEL : u->b;

        if (!whole)
            load_panel(u, p, k, run);
        for (int64_t s = u->strip; s < u->strip_end; s++, acc += TILE_FLOATS)
            terms_rows(copy, at + s * STRIP, step, b, whole ? g->b_k : PANEL, run, acc,
                       at_most(STRIP, u->len - s * STRIP));
    }
}

static void add_all_lines(const struct unit *u, int64_t from, int64_t end)
{
    const struct npu_avx2_outer *g = u->g;
    const struct lines l = {g->h, g->w, g->cin, g->kh, g->kw, g->stride, g->pad_top, g->pad_left};
    const int64_t tiles = (u->strip_end - u->strip) * (u->panel_end - u->panel), most = at_most(BLOCK, lines_most(&l));

    memset(u->acc, 0, sizeof(float) * (size_t)(tiles * TILE_FLOATS));
    for (int64_t k = from, run; k < end; k += run) {
        run = at_most(most, at_most(g->ow - k % g->ow, end - k));
        add_lines(u, &l, k, run);
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

static void finish_tile(const struct unit *u, int64_t p, int64_t s, const float *acc)
{
    const struct npu_avx2_outer *g = u->g;
    const int64_t size = u->taps * u->len * g->cout;
    const int64_t at = s % u->strips_a_tap * STRIP, m = s / u->strips_a_tap * u->len + at;
    const int64_t rows = at_most(STRIP, u->len - at);

    if (!u->c->p[2] && !u->c->p[3] && g->act == NPU_ACT_NONE && g->shares == 1 && g->cout - p * PANEL >= PANEL) {
        float *y = (float *)u->c->p[4] + u->z * size + m * g->cout + p * PANEL;
        const __m256 scale = _mm256_set1_ps(u->scale);

        for (int64_t i = 0; i < rows; i++, y += g->cout, acc += PANEL) {
            _mm256_storeu_ps(y, _mm256_mul_ps(_mm256_load_ps(acc), scale));
            _mm256_storeu_ps(y + 8, _mm256_mul_ps(_mm256_load_ps(acc + 8), scale));
        }
        return;
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t n = p * PANEL; n < at_most(g->cout, p * PANEL + PANEL); n += 8) {
            const float *sum = acc + i * PANEL + (n - p * PANEL);
            const int64_t to = u->z * size + (m + i) * g->cout + n;

            if (g->shares > 1)
                store_some((float *)u->c->p[5] + u->share * g->groups * size + to, g->cout - n, _mm256_load_ps(sum));
            else
                finish_8(u, sum, to, n, u->scale);
        }
}

static void finish(const struct unit *u)
{
    const float *acc = u->acc;

    for (int64_t p = u->panel; p < u->panel_end; p++)
        for (int64_t s = u->strip; s < u->strip_end; s++, acc += TILE_FLOATS)
            finish_tile(u, p, s, acc);
}

/* Rows of the panel after p, or of the first one of the next block, are fetched while strip s is computed. */
static void fetch_panel(const struct unit *u, int64_t p, int64_t s, int64_t k, int64_t count, int64_t end)
{
    const struct npu_avx2_outer *g = u->g;
    const int64_t i = s - u->strip, n = u->strip_end - u->strip, next = p + 1 < u->panel_end ? p + 1 : u->panel;
    const int64_t first = next > p ? k : k + count, rows = next > p ? count : at_most(BLOCK, end - k - count);
    const float *b = (const float *)u->c->p[1] + u->z * g->b_z + first * g->b_k + next * PANEL;

    for (int64_t r = rows * i / n; r < rows * (i + 1) / n && g->b_n == 1; r++)
        _mm_prefetch((const char *)(b + r * g->b_k), _MM_HINT_T0);
}

/* Rows k .. k + count - 1, of those until end, into the sums, which the last rows finish. */
static void add_block(const struct unit *u, int64_t k, int64_t count, int64_t from, int64_t end)
{
    const bool last = k + count == end, alone = last && k == from;
    float *acc = u->acc;

    load_strips(u, k, count);
    for (int64_t p = u->panel; p < u->panel_end; p++) {
        load_panel(u, p, k, count);
        for (int64_t s = u->strip; s < u->strip_end; s++, acc += alone ? 0 : TILE_FLOATS) {
            const int64_t at = s % u->strips_a_tap * STRIP;
            const struct outer_job j = {.a = u->a + (s - u->strip) * NPU_AVX2_OUTER_STRIP,
                                        .ld = 8,
                                        .len = count,
                                        .b = u->b,
                                        .acc = acc,
                                        .add = k > from};

            fetch_panel(u, p, s, k, count, end);
            outer_for(at_most(STRIP, u->len - at), at_most(PANEL, u->g->cout - p * PANEL))(&j);
            if (last)
                finish_tile(u, p, s, acc);
        }
    }
}

static void run_unit(struct unit *u, char *scratch)
{
    const struct npu_avx2_outer *g = u->g;
    const int64_t rows = (int64_t)g->n / g->groups * g->oh * g->ow;
    const int64_t from = rows * u->share / g->shares, end = rows * (u->share + 1) / g->shares;

    u->b = (float *)(void *)scratch;
    u->acc = u->b + (int64_t)BLOCK * PANEL;
    u->a = u->acc + (u->strip_end - u->strip) * (u->panel_end - u->panel) * TILE_FLOATS;
    u->line = u->a + (u->strip_end - u->strip) * NPU_AVX2_OUTER_STRIP;
    if (few_terms(g) || from == end) {
        add_all_lines(u, from, end);
        finish(u);
        return;
    }
    for (int64_t k = from; k < end; k += BLOCK)
        add_block(u, k, at_most(BLOCK, end - k), from, end);
}

void npu_avx2_outer(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_avx2_outer g = {0};
    int64_t strips, panels, all;

    npu_avx2_fields(c, 7, &g.n, sizeof g);
    struct unit u = {.c = c, .g = &g, .scale = c->arg[7 + sizeof g / sizeof(int32_t)].f};
    u.taps = few_terms(&g) ? 1 : g.kh;
    u.len = (few_terms(&g) ? g.kh : 1) * (int64_t)g.kw * g.cin;
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
        run_unit(&u, (char *)c->p[6] + (size_t)part * npu_avx2_outer_scratch(&g));
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
