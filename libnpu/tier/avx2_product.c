/* avx2_product.c - f32 products and convolutions: result pixels times packed weights.
 *
 * A unit takes mb result pixels at a time. For each it keeps a pointer to each line of the window, so the convolution
 * reads its input in place; lines that reach beyond the picture are copied. A panel of 16 columns is walked in steps of
 * terms that fit the first cache, each by all tiles of 6 pixels.
 */
#include "libnpu/tier/avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/avx2_block.h"
#include "libnpu/tier/avx2_kernels.h"
#include "libnpu/tier/avx2_lines.h"
#include "libnpu/tier/avx2_pack.h"
#include "libnpu/tier/avx2_tile.h"

enum { PANEL = NPU_AVX2_PANEL, ROWS = NPU_AVX2_ROWS, STEP_TERMS = 400 };

void npu_avx2_pack(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_avx2_conv g = {0};
    int64_t terms, panels;

    npu_avx2_fields(c, 2, &g.n, sizeof g);
    terms = (int64_t)g.kh * g.kw * g.cin;
    panels = (g.cout + PANEL - 1) / PANEL;
    for (int64_t u = part; u < panels * (g.w_z ? g.n : 1); u += n_parts) {
        const int64_t p = u % panels, cols = at_most(PANEL, g.cout - p * PANEL);
        const float *w = (const float *)c->p[0] + u / panels * g.w_z + p * PANEL * g.w_n;
        float *to = (float *)c->p[1] + u * PANEL * terms;

        if (g.w_n == 1) {
            pack_straight(w, g.w_k, cols, terms, to);
            continue;
        }
        if (g.w_k == 1) {
            pack_turned(w, g.w_n, cols, terms, to);
            continue;
        }
        for (int64_t k = 0; k < terms; k++)
            for (int64_t j = 0; j < PANEL; j++)
                to[k * PANEL + j] = j < cols ? w[k * g.w_k + j * g.w_n] : 0.0f;
    }
}

struct unit {
    const struct npu_native_call *c;
    const struct npu_avx2_conv *g;
    struct npu_avx2_block b;
    float *zeros, *copy; /* a line of zeros, copies of lines */
};

static inline const float *pixel_at(const struct npu_avx2_conv *g, const float *x, int64_t z, int64_t y, int64_t px)
{
    return y < 0 || y >= g->h || px < 0 || px >= g->w ? NULL : x + ((z * g->h + y) * g->w + px) * g->cin;
}

/* A line of a window that reaches beyond the picture to the left or right: x points where its first column would lie.
 */
static void copy_edge(const struct npu_avx2_conv *g, const float *x, int64_t left, float *to)
{
    const int64_t from = at_most(g->kw, at_least(0, -left)) * g->cin, all = (int64_t)g->kw * g->cin;
    const int64_t end = at_least(from, at_most(g->kw, g->w - left) * g->cin);

    for (int64_t i = 0; i < from; i++)
        to[i] = 0.0f;
    for (int64_t i = from; i < end; i++)
        to[i] = x[i];
    for (int64_t i = end; i < all; i++)
        to[i] = 0.0f;
}

/* Line ky of the windows of `run` pixels of a line of results, the block's pixels from i on: where each begins. */
static void point_line(const struct unit *u, int64_t z, int64_t y, int64_t ox, int64_t run, int64_t ky, int64_t i)
{
    const struct npu_avx2_conv *g = u->g;
    const int64_t line = y * g->stride - g->pad_top + ky, left = ox * g->stride - g->pad_left, len = g->kw * g->cin;
    const bool inside = line >= 0 && line < g->h;
    const float *x = (const float *)u->c->p[0] + ((z * g->h + (inside ? line : 0)) * g->w + left) * g->cin;
    const float **row = u->b.row + ky * u->b.ld + i;
    float *copy = u->copy + (i * g->kh + ky) * len;

    for (int64_t j = 0, at = left; j < run; j++, at += g->stride, x += g->stride * g->cin, copy += g->kh * len) {
        row[j] = x;
        if (!inside || at + g->kw <= 0 || at >= g->w) {
            row[j] = u->zeros;
        } else if (at < 0 || at + g->kw > g->w) {
            copy_edge(g, x, at, copy);
            row[j] = copy;
        }
    }
}

static void point(const struct unit *u, int64_t m0, int64_t count)
{
    const struct npu_avx2_conv *g = u->g;

    for (int64_t i = 0, run; i < count; i += run) {
        const int64_t ox = (m0 + i) % g->ow, y = (m0 + i) / g->ow % g->oh, z = (m0 + i) / g->ow / g->oh;

        run = at_most(g->ow - ox, count - i);
        for (int64_t ky = 0; ky < g->kh; ky++)
            point_line(u, z, y, ox, run, ky, i);
        for (int64_t j = i; j < i + run; j++)
            u->b.to[j] = (m0 + j) * g->cout;
    }
}

/* All 16 columns, and no more than a clamp for an activation. */
static void finish_whole(const struct npu_avx2_block *k, const float *acc, int64_t first, int64_t rows, int64_t n0)
{
    const __m256 b0 = k->bias ? _mm256_loadu_ps(k->bias + n0) : _mm256_setzero_ps();
    const __m256 b1 = k->bias ? _mm256_loadu_ps(k->bias + n0 + 8) : _mm256_setzero_ps();
    const __m256 lo = _mm256_setzero_ps(), hi = _mm256_set1_ps((k->act & 255) == NPU_ACT_RELU6 ? 6.0f : INFINITY);
    const __m256 scale = _mm256_set1_ps(k->scale);
    const bool clamp = (k->act & 255) != NPU_ACT_NONE, after = k->act & NPU_AVX2_RES_AFTER;

    for (int64_t i = 0; i < rows; i++) {
        __m256 v0 = _mm256_fmadd_ps(_mm256_load_ps(acc + i * PANEL), scale, b0);
        __m256 v1 = _mm256_fmadd_ps(_mm256_load_ps(acc + i * PANEL + 8), scale, b1);
        const int64_t at = k->to[first + i] + n0;

        if (k->res && !after) {
            v0 = _mm256_add_ps(v0, _mm256_loadu_ps(k->res + at));
            v1 = _mm256_add_ps(v1, _mm256_loadu_ps(k->res + at + 8));
        }
        if (clamp) {
            v0 = _mm256_min_ps(_mm256_max_ps(v0, lo), hi);
            v1 = _mm256_min_ps(_mm256_max_ps(v1, lo), hi);
        }
        if (k->res && after) {
            v0 = _mm256_add_ps(v0, _mm256_loadu_ps(k->res + at));
            v1 = _mm256_add_ps(v1, _mm256_loadu_ps(k->res + at + 8));
        }
        if (k->y16) {
            store16_bf16(k->y16 + at, v0, v1);
        } else {
            _mm256_storeu_ps(k->y + at, v0);
            _mm256_storeu_ps(k->y + at + 8, v1);
        }
    }
}

/* Sums of `rows` pixels from the block's pixel `first` on, 16 columns from n0 on, to the result. */
static void finish(const struct npu_avx2_block *k, const float *acc, int64_t first, int64_t rows, int64_t n0)
{
    const bool after = k->act & NPU_AVX2_RES_AFTER;
    const __m256 scale = _mm256_set1_ps(k->scale);

    if ((k->act & 255) <= NPU_ACT_RELU6 && k->cout - n0 >= PANEL) {
        finish_whole(k, acc, first, rows, n0);
        return;
    }
    for (int64_t h = 0; h < 2; h++) {
        const int64_t n = n0 + h * 8, left = k->cout - n;
        __m256 b;

        if (left <= 0)
            break;
        b = k->bias ? load_some(k->bias + n, left) : _mm256_setzero_ps();
        for (int64_t i = 0; i < rows; i++) {
            const int64_t at = k->to[first + i] + n;
            __m256 v = _mm256_fmadd_ps(_mm256_load_ps(acc + i * PANEL + h * 8), scale, b);

            if (k->res && !after)
                v = _mm256_add_ps(v, load_some(k->res + at, left));
            v = act8(v, k->act & 255);
            if (k->res && after)
                v = _mm256_add_ps(v, load_some(k->res + at, left));
            if (k->y16)
                store_some_bf16(k->y16 + at, left, v);
            else
                store_some(k->y + at, left, v);
        }
    }
}

/* Where the results of the panel from column n on go. */
static struct tile_out out_of(const struct npu_avx2_block *k, int64_t n)
{
    return (struct tile_out){.bias = k->bias ? k->bias + n : NULL,
                             .res = k->res ? k->res + n : NULL,
                             .y = k->y ? k->y + n : NULL,
                             .y16 = k->y16 ? k->y16 + n : NULL,
                             .scale = k->scale};
}

void npu_avx2_block_panel(const struct npu_avx2_block *k, int64_t p, int64_t count)
{
    const int64_t columns = at_most(PANEL, k->cout - p * PANEL), n0 = p * PANEL;
    const int64_t taps = at_least(1, at_most(k->taps, STEP_TERMS / at_least(1, k->len)));
    const int64_t len = k->len > STEP_TERMS ? (k->len + 1) / 2 > STEP_TERMS ? STEP_TERMS : (k->len + 1) / 2 : k->len;
    const int64_t tiles = (count + ROWS - 1) / ROWS, times = tiles * ((k->cout + PANEL - 1) / PANEL);
    const float *b = k->packed + p * PANEL * k->taps * k->len;
    const bool plain = (k->act & 255) == NPU_ACT_NONE && columns == PANEL;
    struct tile_out o = out_of(k, n0);
    _Alignas(32) float acc[NPU_AVX2_BLOCK_ROWS * PANEL];

    for (int64_t t = 0; t < at_least(1, k->taps); t += taps)
        for (int64_t at = 0; at < at_least(1, k->len); at += at_least(1, len)) {
            const bool last = t + taps >= k->taps && at + len >= k->len;

            for (int64_t i = 0; i < count; i += ROWS) {
                const int64_t rows = at_most(ROWS, count - i);
                const struct tile_job j = {.row = k->row + t * k->ld + i,
                                           .ld = k->ld,
                                           .taps = at_most(taps, k->taps - t),
                                           .at = at,
                                           .len = at_most(len, k->len - at),
                                           .b = b + (t * k->len + at) * PANEL,
                                           .acc = acc + i * PANEL,
                                           .add = t + at > 0};

                if (last && plain && rows == ROWS) {
                    o.to = k->to + i;
                    tile_finish(&j, &o);
                } else {
                    tile_for(rows, columns)(&j);
                    if (last)
                        finish(k, j.acc, i, rows, n0);
                }
                if (last)
                    fetch_share(k->ahead, k->ahead_end, p * tiles + i / ROWS, times);
            }
        }
}

/* Where the window of the pixel before m ends, in the picture: what later pixels see that those before do not comes
 * after it. */
static const float *seen_until(const struct npu_avx2_conv *g, const float *x, int64_t m)
{
    const int64_t ox = (m - 1) % g->ow, y = (m - 1) / g->ow % g->oh, z = (m - 1) / g->ow / g->oh;
    const int64_t line = at_most(g->h - 1, at_least(0, y * g->stride - g->pad_top + g->kh - 1));

    return x + ((z * g->h + line) * g->w + at_most(g->w, at_least(0, ox * g->stride - g->pad_left + g->kw))) * g->cin;
}

/* ---- windows of few terms ---- */
#define LINES_ROW(i) const float *a##i = a + (i)*step;

struct lines_job {
    const float *a; /* windows, `step` floats apart; a line is ld floats after the one before */
    int64_t step, ld, kh, len;
    const float *b; /* 16 a term */
};

/* acc[rows][16], or o, = windows `step` floats apart, of kh lines of `len` terms, times packed weights. */
ALWAYS void lines_tile(const struct lines_job *l, int64_t i, const int64_t len, const struct tile_out *o, float *acc,
                       const int rows)
{
    enum { halves = 2 };
    const struct tile_job none = {.acc = acc}, *const j = &none;
    const float *a = l->a + i * l->step, *b = l->b;
    const int64_t step = l->step;

    EACH_ROW(TILE_BEGIN)
    for (int64_t ky = l->kh; ky > 0; ky--, a += l->ld) {
        EACH_ROW(LINES_ROW)
#pragma GCC unroll 4
        for (int64_t k = 0; k < len; k++, b += PANEL) {
            const __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);

            EACH_ROW(TILE_MAC)
        }
    }
    if (o) {
        const __m256 scale = _mm256_set1_ps(o->scale);
        const __m256 b0 = o->bias ? _mm256_loadu_ps(o->bias) : _mm256_setzero_ps();
        const __m256 b1 = o->bias ? _mm256_loadu_ps(o->bias + 8) : _mm256_setzero_ps();

        EACH_ROW(OUT_ROW)
    } else {
        EACH_ROW(TILE_END)
    }
}

static void lines_plain(const struct lines_job *l, int64_t i, const struct tile_out *o)
{
    if (l->len == 3)
        lines_tile(l, i, 3, o, NULL, ROWS);
    else
        lines_tile(l, i, l->len, o, NULL, ROWS);
}

static void lines_rows(const struct lines_job *l, int64_t i, int64_t rows, float *acc)
{
    if (rows == ROWS)
        lines_tile(l, i, l->len, NULL, acc, ROWS);
    else
        for (int64_t r = 0; r < rows; r++)
            lines_tile(l, i + r, l->len, NULL, acc + r * PANEL, 1);
}

static bool few_terms(const struct npu_avx2_conv *g)
{
    return !g->w_z && (int64_t)g->kh * g->kw * g->cin <= NPU_AVX2_LINES_TERMS && g->kw > 1;
}

/* Panel p of `run` pixels, from the block's pixel `first` on. */
static void panel_of_lines(const struct unit *u, struct lines_job *j, int64_t p, int64_t first, int64_t run)
{
    const struct npu_avx2_block *k = &u->b;
    const int64_t n = p * PANEL;
    const bool plain = (k->act & 255) == NPU_ACT_NONE && k->cout - n >= PANEL;
    struct tile_out o = out_of(k, n);
    _Alignas(32) float acc[ROWS * PANEL];

    j->b = k->packed + n * k->taps * k->len;
    for (int64_t i = 0; i < run; i += ROWS) {
        const int64_t rows = at_most(ROWS, run - i);

        if (plain && rows == ROWS) {
            o.to = k->to + first + i;
            lines_plain(j, i, &o);
            continue;
        }
        lines_rows(j, i, rows, acc);
        finish(k, acc, first + i, rows, n);
    }
}

/* Pixels m .. m + count - 1 of all, panels from .. end - 1. */
static void run_lines(const struct unit *u, int64_t m, int64_t count, int64_t from, int64_t end)
{
    const struct npu_avx2_conv *g = u->g;
    const struct lines l = {g->h, g->w, g->cin, g->kh, g->kw, g->stride, g->pad_top, g->pad_left};
    const int64_t most = lines_most(&l);
    float copy[NPU_AVX2_LINES_FLOATS];
    struct lines_job j = {.a = copy, .step = (int64_t)g->stride * g->cin, .kh = g->kh, .len = (int64_t)g->kw * g->cin};

    for (int64_t i = 0; i < count; i++)
        u->b.to[i] = (m + i) * g->cout;
    for (int64_t i = 0, run; i < count; i += run) {
        const int64_t ox = (m + i) % g->ow, line = (m + i) / g->ow;

        run = at_most(most, at_most(g->ow - ox, count - i));
        lines_copy(&l, u->c->p[0], line / g->oh, line % g->oh, ox, run, copy);
        j.ld = lines_step(&l, run);
        for (int64_t p = from; p < end; p++)
            panel_of_lines(u, &j, p, i, run);
    }
}

static void run_unit(const struct npu_native_call *c, const struct npu_avx2_conv *g, int64_t unit, float scale)
{
    /* pictures with weights of their own have row units of their own */
    const int64_t groups = g->w_z ? g->n : 1, each = g->row_units / groups, panels = (g->cout + PANEL - 1) / PANEL;
    const int64_t pixels = (int64_t)g->n * g->oh * g->ow / groups, tiles = (pixels + ROWS - 1) / ROWS;
    const int64_t group = unit / g->col_units / each, ru = unit / g->col_units % each, cu = unit % g->col_units;
    const int64_t end = at_most(pixels, tiles * (ru + 1) / each * ROWS), terms = (int64_t)g->kh * g->kw * g->cin;
    char *scratch = (char *)c->p[5] + (size_t)unit * npu_avx2_conv_scratch(g);
    const bool bf16 = g->act & NPU_AVX2_BF16_RESULT;
    struct unit u = {.c = c, .g = g};

    u.b = (struct npu_avx2_block){.taps = g->kh,
                                  .ld = g->mb,
                                  .len = (int64_t)g->kw * g->cin,
                                  .packed = (const float *)c->p[1] + group * panels * PANEL * terms,
                                  .cout = g->cout,
                                  .bias = c->p[2],
                                  .res = c->p[3],
                                  .y = bf16 ? NULL : c->p[4],
                                  .y16 = bf16 ? c->p[4] : NULL,
                                  .act = g->act,
                                  .scale = scale,
                                  .row = (const float **)(void *)scratch};
    u.b.to = (int64_t *)(void *)(u.b.row + u.b.taps * g->mb);
    u.zeros = (float *)(void *)(u.b.to + g->mb);
    u.copy = u.zeros + (int64_t)g->kw * g->cin;
    memset(u.zeros, 0, sizeof(float) * (size_t)(g->kw * g->cin));
    for (int64_t i = tiles * ru / each * ROWS; i < end; i += g->mb) {
        const int64_t count = at_most(g->mb, end - i), m = group * pixels + i;

        if (few_terms(g)) {
            run_lines(&u, m, count, panels * cu / g->col_units, panels * (cu + 1) / g->col_units);
            continue;
        }
        point(&u, m, count);
        u.b.ahead = seen_until(g, c->p[0], m + count);
        u.b.ahead_end = seen_until(g, c->p[0], m + at_most(count + g->mb, end - i));
        for (int64_t p = panels * cu / g->col_units; p < panels * (cu + 1) / g->col_units; p++)
            npu_avx2_block_panel(&u.b, p, count);
    }
}

void npu_avx2_conv_run(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_avx2_conv g = {0};

    npu_avx2_fields(c, 6, &g.n, sizeof g);
    for (int64_t u = part; u < (int64_t)g.row_units * g.col_units; u += n_parts)
        run_unit(c, &g, u, c->arg[6 + sizeof g / sizeof(int32_t)].f);
}

/* ---- one channel a group ---- */
static inline void dw_finish(const struct npu_native_call *c, const struct npu_avx2_conv *g, int64_t at, int64_t n,
                             int64_t count, __m256 v)
{
    if (c->p[2])
        v = _mm256_add_ps(v, load_some((const float *)c->p[2] + n, count));
    if (c->p[3])
        v = _mm256_add_ps(v, load_some((const float *)c->p[3] + at, count));
    store_some((float *)c->p[4] + at, count, act8(v, g->act & 255));
}

/* One result pixel whose window may reach beyond the picture: the taps inside, for all channels. */
static void dw_edge(const struct npu_native_call *c, const struct npu_avx2_conv *g, int64_t z, int64_t top,
                    int64_t left, int64_t at)
{
    const float *src[NPU_AVX2_TAPS], *w[NPU_AVX2_TAPS];
    int taps = 0;

    for (int64_t t = 0; t < (int64_t)g->kh * g->kw; t++) {
        src[taps] = pixel_at(g, c->p[0], z, top + t / g->kw, left + t % g->kw);
        w[taps] = (const float *)c->p[1] + t * g->cin;
        taps += src[taps] != NULL;
    }
    for (int64_t n = 0; n < g->cin; n += 8) {
        const int64_t count = g->cin - n;
        __m256 sum = _mm256_setzero_ps();

        for (int i = 0; i < taps; i++)
            sum = _mm256_fmadd_ps(load_some(src[i] + n, count), load_some(w[i] + n, count), sum);
        dw_finish(c, g, at + n, n, count, sum);
    }
}

/* Pixels ox .. end - 1 whose 3 x 3 windows lie inside; the nine weights stay in registers. */
static void dw_inner3(const struct npu_native_call *c, const struct npu_avx2_conv *g, const float *src, int64_t at,
                      int64_t n, int64_t pixels)
{
    const float *w = c->p[1];
    const int64_t cin = g->cin, line = g->w * cin, step = g->stride * cin;
    __m256 k[9];

    for (int t = 0; t < 9; t++)
        k[t] = _mm256_loadu_ps(w + t * cin + n);
    for (int64_t i = 0; i < pixels; i++, src += step, at += cin) {
        __m256 a = _mm256_mul_ps(k[0], _mm256_loadu_ps(src)), b = _mm256_mul_ps(k[1], _mm256_loadu_ps(src + cin));

        a = _mm256_fmadd_ps(k[2], _mm256_loadu_ps(src + 2 * cin), a);
        b = _mm256_fmadd_ps(k[3], _mm256_loadu_ps(src + line), b);
        a = _mm256_fmadd_ps(k[4], _mm256_loadu_ps(src + line + cin), a);
        b = _mm256_fmadd_ps(k[5], _mm256_loadu_ps(src + line + 2 * cin), b);
        a = _mm256_fmadd_ps(k[6], _mm256_loadu_ps(src + 2 * line), a);
        b = _mm256_fmadd_ps(k[7], _mm256_loadu_ps(src + 2 * line + cin), b);
        a = _mm256_fmadd_ps(k[8], _mm256_loadu_ps(src + 2 * line + 2 * cin), a);
        dw_finish(c, g, at, n, 8, _mm256_add_ps(a, b));
    }
}

static void dw_line(const struct npu_native_call *c, const struct npu_avx2_conv *g, int64_t z, int64_t oy)
{
    const float *x = c->p[0];
    const int64_t top = oy * g->stride - g->pad_top, cin = g->cin;
    /* pixels whose window lies inside the picture */
    int64_t from = at_most(g->ow, (g->pad_left + g->stride - 1) / g->stride);
    int64_t end = g->w + g->pad_left - g->kw < 0 ? 0 : (g->w + g->pad_left - g->kw) / g->stride + 1;

    end = at_least(from, at_most(g->ow, end));
    if (g->kh != 3 || g->kw != 3 || top < 0 || top + g->kh > g->h)
        from = end = g->ow;
    for (int64_t ox = 0, pixels; ox < g->ow; ox += pixels) {
        const int64_t left = ox * g->stride - g->pad_left, at = ((z * g->oh + oy) * g->ow + ox) * cin;
        int64_t n = 0;

        if (ox < from || ox >= end || cin % 8 != 0) {
            pixels = 1;
            dw_edge(c, g, z, top, left, at);
            continue;
        }
        pixels = at_most(end - ox, at_least(4, 2048 / cin)); /* as many as keep their sources in the first cache */
        for (; n < cin; n += 8)
            dw_inner3(c, g, pixel_at(g, x, z, top, left) + n, at + n, n, pixels);
    }
}

void npu_avx2_depthwise(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_avx2_conv g = {0};
    int64_t lines;

    npu_avx2_fields(c, 5, &g.n, sizeof g);
    lines = (int64_t)g.n * g.oh;
    for (int64_t i = lines * part / n_parts; i < lines * (part + 1) / n_parts; i++)
        dw_line(c, &g, i / g.oh, i % g.oh);
}
#endif
