/* avx2_winograd.c - 3 x 3 convolutions of stride 1 by Winograd's F(4 x 4, 3 x 3): a tile of 4 x 4 results takes 36
 * products where it would take 144 (Lavin and Gray, "Fast algorithms for convolutional neural networks", 2015).
 *
 * A unit transforms the 6 x 6 pixels of some tiles into 36 matrices [tiles][cin], multiplies each with its transformed
 * weights, 16 result channels at a time, and transforms the sums back.
 */
#include "libnpu/tier/avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/avx2_kernels.h"
#include "libnpu/tier/avx2_winograd.h"

/* ---- weights: u = G g G^T, packed as [panel][place][cin][16], a panel's columns at a time ---- */
static inline void weights_1d(double (*g)[PANEL], int64_t step, double (*u)[PANEL], int64_t to)
{
    const double p = 1.0 / (2.0 * P2 * (P2 - Q2)), q = 1.0 / (2.0 * Q2 * (Q2 - P2));

    for (int64_t j = 0; j < PANEL; j++) {
        const double a = g[0][j], b = g[step][j], c = g[2 * step][j];

        u[0][j] = a / (P2 * Q2);
        u[to][j] = (a + b * P + c * P2) * p;
        u[2 * to][j] = (a - b * P + c * P2) * p;
        u[3 * to][j] = (a + b * Q + c * Q2) * q;
        u[4 * to][j] = (a - b * Q + c * Q2) * q;
        u[5 * to][j] = c;
    }
}

void npu_avx2_winograd_pack(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_avx2_conv g = {0};
    const float *w;
    int64_t units;

    npu_avx2_fields(c, 2, &g.n, sizeof g);
    w = (const float *)c->p[0] - (g.w_t < 0 ? 8 * (int64_t)g.w_t : 0);
    units = (g.cout + PANEL - 1) / PANEL * g.cin;
    for (int64_t i = units * part / n_parts; i < units * (part + 1) / n_parts; i++) {
        const int64_t p = i / g.cin, k = i % g.cin, columns = at_most(PANEL, g.cout - p * PANEL);
        const float *from = w + k * g.w_k + p * PANEL * g.w_n;
        float *to = (float *)c->p[1] + (p * PLACES * g.cin + k) * PANEL;
        double taps[9][PANEL] = {{0.0}}, half[3 * IN][PANEL], u[PLACES][PANEL];

        for (int64_t t = 0; t < 9; t++)
            for (int64_t j = 0; j < columns; j++)
                taps[t][j] = from[t * g.w_t + j * g.w_n];
        for (int64_t x = 0; x < 3; x++)
            weights_1d(taps + x, 3, half + x, 3);
        for (int64_t y = 0; y < IN; y++)
            weights_1d(half + y * 3, 1, u + y * IN, 1);
        for (int64_t t = 0; t < PLACES; t++)
            for (int64_t j = 0; j < PANEL; j++)
                to[t * g.cin * PANEL + j] = (float)u[t][j];
    }
}

/* ---- results: A^T m A ---- */
ALWAYS void results_1d(const __m256 *m, __m256 *y, int to)
{
    const __m256 s = _mm256_add_ps(m[1], m[2]), t = _mm256_sub_ps(m[1], m[2]);
    const __m256 u = _mm256_add_ps(m[3], m[4]), v = _mm256_sub_ps(m[3], m[4]);

    y[0] = _mm256_add_ps(_mm256_add_ps(m[0], s), u);
    y[to] = _mm256_fmadd_ps(_mm256_set1_ps(Q), v, _mm256_mul_ps(_mm256_set1_ps(P), t));
    y[2 * to] = _mm256_fmadd_ps(_mm256_set1_ps(Q2), u, _mm256_mul_ps(_mm256_set1_ps(P2), s));
    y[3 * to] = _mm256_fmadd_ps(_mm256_set1_ps(Q2 * Q), v, _mm256_fmadd_ps(_mm256_set1_ps(P2 * P), t, m[5]));
}

/* The first of the two transforms of eight channels: sums[place * step] to half[result line][6]. */
ALWAYS void results_half(const float *sums, int64_t step, __m256 *half)
{
    for (int x = 0; x < IN; x++) {
        __m256 m[IN];

        for (int y = 0; y < IN; y++)
            m[y] = _mm256_load_ps(sums + (y * IN + x) * step);
        results_1d(m, half + x, IN);
    }
}

/* Eight channels from n on of a tile: whole, without residual and activation. */
static void results_plain(const struct npu_native_call *c, const struct npu_avx2_conv *g, const struct tile_at *at,
                          int64_t n, const float *sums, int64_t step)
{
    const __m256 b = c->p[2] ? _mm256_loadu_ps((const float *)c->p[2] + n) : _mm256_setzero_ps();
    float *to = (float *)c->p[4] + ((at->z * g->oh + at->y) * g->ow + at->x) * g->cout + n;
    __m256 half[OUT * IN], y[OUT];

    results_half(sums, step, half);
    for (int i = 0; i < OUT; i++, to += (int64_t)g->ow * g->cout) {
        results_1d(half + i * IN, y, 1);
        for (int j = 0; j < OUT; j++)
            _mm256_storeu_ps(to + (int64_t)j * g->cout, _mm256_add_ps(y[j], b));
    }
}

/* The same in general. */
static void results(const struct npu_native_call *c, const struct npu_avx2_conv *g, const struct tile_at *at, int64_t n,
                    const float *sums, int64_t step)
{
    const float *bias = c->p[2], *res = c->p[3];
    const int64_t left = g->cout - n, high = at_most(OUT, g->oh - at->y), wide = at_most(OUT, g->ow - at->x);
    const __m256 b = bias ? load_some(bias + n, left) : _mm256_setzero_ps();
    __m256 half[OUT * IN], y[OUT];

    results_half(sums, step, half);
    for (int64_t i = 0; i < high; i++) {
        results_1d(half + i * IN, y, 1);
        for (int64_t j = 0; j < wide; j++) {
            const int64_t to = ((at->z * g->oh + at->y + i) * g->ow + at->x + j) * g->cout + n;
            __m256 v = _mm256_add_ps(y[j], b);

            if (res)
                v = _mm256_add_ps(v, load_some(res + to, left));
            store_some((float *)c->p[4] + to, left, act8(v, g->act & 255));
        }
    }
}

/* ---- a unit of work ---- */
struct block {
    int64_t first, count;   /* tiles */
    int64_t next;           /* the end of those after them */
    int64_t v_step, m_step; /* from one place to the next */
    float *zeros, *v, *m;
};

static void load_block(const struct npu_native_call *c, const struct npu_avx2_conv *g, const struct block *b)
{
    const float *src[PLACES];

    for (int64_t t = 0; t < b->count; t++) {
        tile_sources(c->p[0], g, tile_at(g, b->first + t), b->zeros, src);
        tile_pixels(src, 0, g->cin, b->v + t * g->cin, b->v_step);
    }
}

static void run_panel(const struct npu_native_call *c, const struct npu_avx2_conv *g, const struct block *b, int64_t p)
{
    const float *u = (const float *)c->p[1] + p * PANEL * PLACES * g->cin;
    const int64_t columns = at_most(PANEL, g->cout - p * PANEL);
    const int64_t panels = (g->cout + PANEL - 1) / PANEL, times = PLACES * panels;
    const float *ahead = tile_line(g, c->p[0], g->h, g->w, g->cin, b->first + b->count);
    const float *end = tile_line(g, c->p[0], g->h, g->w, g->cin, b->next);
    const float *y = tile_line(g, c->p[4], g->oh, g->ow, g->cout, b->first);
    const float *y_end = tile_line(g, c->p[4], g->oh, g->ow, g->cout, b->first + b->count);
    const bool plain = !c->p[3] && (g->act & 255) == NPU_ACT_NONE && columns == PANEL;

    for (int64_t i = 0; i < PLACES; i++, u += g->cin * PANEL) {
        fetch_share(ahead, end, p * PLACES + i, times);
        if (p == 0)
            fetch_share(y, y_end, i, PLACES);
        if (columns > 8)
            dense_rows(b->v + i * b->v_step, g->cin, u, b->m + i * b->m_step, b->count, 2);
        else
            dense_rows(b->v + i * b->v_step, g->cin, u, b->m + i * b->m_step, b->count, 1);
    }
    for (int64_t t = 0; t < b->count; t++) {
        const struct tile_at at = tile_at(g, b->first + t);

        for (int64_t n = 0; n < columns; n += 8)
            (plain && at.y + OUT <= g->oh && at.x + OUT <= g->ow ? results_plain : results)(
                c, g, &at, p * PANEL + n, b->m + t * PANEL + n, b->m_step);
    }
}

void npu_avx2_winograd(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_avx2_conv g = {0};
    int64_t tiles, panels;

    npu_avx2_fields(c, 6, &g.n, sizeof g);
    tiles = npu_avx2_winograd_tiles(&g);
    panels = (g.cout + PANEL - 1) / PANEL;
    for (int64_t unit = part; unit < (int64_t)g.row_units * g.col_units; unit += n_parts) {
        const int64_t ru = unit / g.col_units, cu = unit % g.col_units, end = tiles * (ru + 1) / g.row_units;
        struct block b = {.v_step = npu_avx2_winograd_step(g.mb, g.cin),
                          .m_step = npu_avx2_winograd_step(g.mb, PANEL),
                          .m = (float *)(void *)((char *)c->p[5] + (size_t)unit * npu_avx2_winograd_scratch(&g))};

        b.v = b.m + PLACES * b.m_step;
        b.zeros = b.v + PLACES * b.v_step;
        memset(b.zeros, 0, sizeof(float) * (size_t)g.cin);
        for (b.first = tiles * ru / g.row_units; b.first < end; b.first += g.mb) {
            b.count = at_most(g.mb, end - b.first);
            b.next = at_most(b.first + b.count + g.mb, end);
            load_block(c, &g, &b);
            for (int64_t p = panels * cu / g.col_units; p < panels * (cu + 1) / g.col_units; p++)
                run_panel(c, &g, &b, p);
        }
    }
}
#endif
