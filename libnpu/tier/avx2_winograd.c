/* avx2_winograd.c - 3 x 3 convolutions of stride 1 by Winograd's F(4 x 4, 3 x 3): a tile of 4 x 4 results takes 36
 * products where it would take 144 (Lavin and Gray, "Fast algorithms for convolutional neural networks", 2015).
 *
 * The points are 0, +-P, +-Q and infinity: powers of numbers round 1, all exact, so that results are three to four
 * times nearer to the true ones than with the usual 1 and 2.
 *
 * A unit transforms the 6 x 6 pixels of some tiles into 36 matrices [tiles][cin], multiplies each with its transformed
 * weights, 16 result channels at a time, and transforms the sums back.
 */
#include "libnpu/tier/avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/avx2_kernels.h"
#include "libnpu/tier/avx2_tile.h"

enum { PANEL = NPU_AVX2_PANEL, ROWS = NPU_AVX2_ROWS, IN = 6, OUT = 4, PLACES = IN * IN };

#define P  0.6875f
#define Q  1.375f
#define P2 (P * P)
#define Q2 (Q * Q)

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

/* ---- pixels: B^T d B ---- */
static inline void pixels_1d(const __m256 *d, int step, __m256 *o)
{
    const __m256 p = _mm256_set1_ps(P), q = _mm256_set1_ps(Q), p2 = _mm256_set1_ps(P2), q2 = _mm256_set1_ps(Q2);
    const __m256 both = _mm256_set1_ps(P2 + Q2), all = _mm256_set1_ps(P2 * Q2);
    const __m256 d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    const __m256 a = _mm256_fnmadd_ps(q2, d2, d4), b = _mm256_fnmadd_ps(q2, d1, d3);
    const __m256 c = _mm256_fnmadd_ps(p2, d2, d4), e = _mm256_fnmadd_ps(p2, d1, d3);

    o[0] = _mm256_fmadd_ps(all, d0, _mm256_fnmadd_ps(both, d2, d4));
    o[step] = _mm256_fmadd_ps(p, b, a);
    o[2 * step] = _mm256_fnmadd_ps(p, b, a);
    o[3 * step] = _mm256_fmadd_ps(q, e, c);
    o[4 * step] = _mm256_fnmadd_ps(q, e, c);
    o[5 * step] = _mm256_fmadd_ps(all, d1, _mm256_fnmadd_ps(both, d3, d5));
}

/* The tile's pixels, eight channels at a time, to to[place * step + channel]. */
static void pixels(const float *const *src, int64_t cin, float *to, int64_t step)
{
    for (int64_t k = 0; k < cin; k += 8) {
        const int64_t left = cin - k;
        __m256 d[PLACES];

        for (int i = 0; i < PLACES; i++)
            d[i] = load_some(src[i] + k, left);
        for (int x = 0; x < IN; x++)
            pixels_1d(d + x, IN, d + x);
        for (int y = 0; y < IN; y++)
            pixels_1d(d + y * IN, 1, d + y * IN);
        for (int i = 0; i < PLACES; i++)
            store_some(to + i * step + k, left, d[i]);
    }
}

/* ---- results: A^T m A ---- */
static inline void results_1d(const __m256 *m, int step, __m256 *y, int to)
{
    const __m256 s = _mm256_add_ps(m[step], m[2 * step]), t = _mm256_sub_ps(m[step], m[2 * step]);
    const __m256 u = _mm256_add_ps(m[3 * step], m[4 * step]), v = _mm256_sub_ps(m[3 * step], m[4 * step]);

    y[0] = _mm256_add_ps(_mm256_add_ps(m[0], s), u);
    y[to] = _mm256_fmadd_ps(_mm256_set1_ps(Q), v, _mm256_mul_ps(_mm256_set1_ps(P), t));
    y[2 * to] = _mm256_fmadd_ps(_mm256_set1_ps(Q2), u, _mm256_mul_ps(_mm256_set1_ps(P2), s));
    y[3 * to] = _mm256_fmadd_ps(_mm256_set1_ps(Q2 * Q), v, _mm256_fmadd_ps(_mm256_set1_ps(P2 * P), t, m[5 * step]));
}

struct tile_at {
    int64_t z, y, x; /* picture, first result line and column */
};

static struct tile_at tile_at(const struct npu_avx2_conv *g, int64_t t)
{
    const int64_t wide = (g->ow + OUT - 1) / OUT, high = (g->oh + OUT - 1) / OUT;

    return (struct tile_at){t / wide / high, t / wide % high * OUT, t % wide * OUT};
}

/* Eight channels from n on of a tile: sums[place * step]. */
static void results(const struct npu_native_call *c, const struct npu_avx2_conv *g, struct tile_at at, int64_t n,
                    const float *sums, int64_t step)
{
    const float *bias = c->p[2], *res = c->p[3];
    const int64_t left = g->cout - n, high = at_most(OUT, g->oh - at.y), wide = at_most(OUT, g->ow - at.x);
    const __m256 b = bias ? load_some(bias + n, left) : _mm256_setzero_ps();
    __m256 m[PLACES], half[OUT * IN], y[OUT * OUT];

    for (int i = 0; i < PLACES; i++)
        m[i] = _mm256_load_ps(sums + i * step);
    for (int x = 0; x < IN; x++)
        results_1d(m + x, IN, half + x, IN);
    for (int i = 0; i < OUT; i++)
        results_1d(half + i * IN, 1, y + i * OUT, 1);
    for (int64_t i = 0; i < high; i++)
        for (int64_t j = 0; j < wide; j++) {
            const int64_t to = ((at.z * g->oh + at.y + i) * g->ow + at.x + j) * g->cout + n;
            __m256 v = _mm256_add_ps(y[i * OUT + j], b);

            if (res)
                v = _mm256_add_ps(v, load_some(res + to, left));
            store_some((float *)c->p[4] + to, left, act8(v, g->act & 255));
        }
}

/* ---- a unit of work ---- */
struct block {
    int64_t first, count; /* tiles */
    float *zeros, *v, *m;
};

/* The 36 pixels that a tile sees, or zeros outside the picture. */
static void sources(const float *x, const struct npu_avx2_conv *g, struct tile_at at, const float *zeros,
                    const float **ret_src)
{
    for (int64_t i = 0; i < PLACES; i++) {
        const int64_t y = at.y - g->pad_top + i / IN, px = at.x - g->pad_left + i % IN;

        ret_src[i] = y < 0 || y >= g->h || px < 0 || px >= g->w ? zeros : x + ((at.z * g->h + y) * g->w + px) * g->cin;
    }
}

static void load_block(const struct npu_native_call *c, const struct npu_avx2_conv *g, const struct block *b)
{
    const float *src[PLACES];

    for (int64_t t = 0; t < b->count; t++) {
        sources(c->p[0], g, tile_at(g, b->first + t), b->zeros, src);
        pixels(src, g->cin, b->v + t * g->cin, g->mb * (int64_t)g->cin);
    }
}

static void run_panel(const struct npu_native_call *c, const struct npu_avx2_conv *g, const struct block *b, int64_t p)
{
    const float *u = (const float *)c->p[1] + p * PANEL * PLACES * g->cin;
    const int64_t columns = at_most(PANEL, g->cout - p * PANEL), step = (int64_t)g->mb * PANEL;

    for (int64_t i = 0; i < PLACES; i++)
        for (int64_t t = 0; t < b->count; t += ROWS) {
            const int64_t rows = at_most(ROWS, b->count - t);
            const float *row[ROWS];
            const struct tile_job j = {.row = row,
                                       .ld = ROWS,
                                       .taps = 1,
                                       .len = g->cin,
                                       .b = u + i * g->cin * PANEL,
                                       .acc = b->m + i * step + t * PANEL};

            for (int64_t r = 0; r < rows; r++)
                row[r] = b->v + (i * g->mb + t + r) * g->cin;
            tile_for(rows, columns)(&j);
        }
    for (int64_t t = 0; t < b->count; t++)
        for (int64_t h = 0; h * 8 < columns; h++)
            results(c, g, tile_at(g, b->first + t), p * PANEL + h * 8, b->m + t * PANEL + h * 8, step);
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
        struct block b = {.m = (float *)(void *)((char *)c->p[5] + (size_t)unit * npu_avx2_winograd_scratch(&g))};

        b.v = b.m + (int64_t)PLACES * g.mb * PANEL;
        b.zeros = b.v + (int64_t)PLACES * g.mb * g.cin;
        memset(b.zeros, 0, sizeof(float) * (size_t)g.cin);
        for (b.first = tiles * ru / g.row_units; b.first < end; b.first += g.mb) {
            b.count = at_most(g.mb, end - b.first);
            load_block(c, &g, &b);
            for (int64_t p = panels * cu / g.col_units; p < panels * (cu + 1) / g.col_units; p++)
                run_panel(c, &g, &b, p);
        }
    }
}

/* ---- the gradient of the weights: G^T (sum over tiles of (B^T d B) (A y A^T)) G ---- */
static inline void gradient_1d(const __m256 *y, int step, __m256 *w, int to)
{
    const __m256 p = _mm256_set1_ps(P), q = _mm256_set1_ps(Q);
    const __m256 y0 = y[0], y1 = y[step], y2 = y[2 * step], y3 = y[3 * step];
    const __m256 even_p = _mm256_fmadd_ps(_mm256_set1_ps(P2), y2, y0);
    const __m256 even_q = _mm256_fmadd_ps(_mm256_set1_ps(Q2), y2, y0);
    const __m256 odd_p = _mm256_mul_ps(p, _mm256_fmadd_ps(_mm256_set1_ps(P2), y3, y1));
    const __m256 odd_q = _mm256_mul_ps(q, _mm256_fmadd_ps(_mm256_set1_ps(Q2), y3, y1));

    w[0] = y0;
    w[to] = _mm256_add_ps(even_p, odd_p);
    w[2 * to] = _mm256_sub_ps(even_p, odd_p);
    w[3 * to] = _mm256_add_ps(even_q, odd_q);
    w[4 * to] = _mm256_sub_ps(even_q, odd_q);
    w[5 * to] = y3;
}

/* The result's gradient of a tile as columns of 36 matrices: to[place][panel][step][16], row t. */
static void gradients(const float *gy, const struct npu_avx2_conv *g, struct tile_at at, int64_t t, int64_t step,
                      float *to)
{
    const int64_t panels = (g->cout + PANEL - 1) / PANEL;

    for (int64_t n = 0; n < g->cout; n += 8) {
        __m256 y[OUT * OUT], half[IN * OUT], w[PLACES];

        for (int64_t i = 0; i < OUT * OUT; i++) {
            const int64_t oy = at.y + i / OUT, ox = at.x + i % OUT;

            y[i] = oy < g->oh && ox < g->ow
                       ? load_some(gy + ((at.z * g->oh + oy) * g->ow + ox) * g->cout + n, g->cout - n)
                       : _mm256_setzero_ps();
        }
        for (int x = 0; x < OUT; x++)
            gradient_1d(y + x, OUT, half + x, OUT);
        for (int i = 0; i < IN; i++)
            gradient_1d(half + i * OUT, 1, w + i * IN, 1);
        for (int64_t i = 0; i < PLACES; i++)
            _mm256_store_ps(to + ((i * panels + n / PANEL) * step + t) * PANEL + n % PANEL, w[i]);
    }
}

/* Adds the products of `count` tiles to sums[place][panel][strip of 6 channels][6][16], or starts them. */
static void add_products(const struct npu_avx2_conv *g, const float *v, const float *w, int64_t count, bool first,
                         float *sums)
{
    const int64_t panels = (g->cout + PANEL - 1) / PANEL;
    const float *row[NPU_AVX2_WINOGRAD_TILES];

    for (int64_t i = 0; i < PLACES; i++) {
        for (int64_t t = 0; t < count; t++)
            row[t] = v + (i * g->mb + t) * g->cin;
        for (int64_t p = 0; p < panels; p++)
            for (int64_t k = 0; k < g->cin; k += ROWS, sums += ROWS * PANEL) {
                const struct outer_job j = {.row = row,
                                            .at = k,
                                            .len = count,
                                            .b = w + (i * panels + p) * g->mb * PANEL,
                                            .acc = sums,
                                            .add = !first};

                outer_for(at_most(ROWS, g->cin - k), at_most(PANEL, g->cout - p * PANEL))(&j);
            }
    }
}

void npu_avx2_winograd_sums(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_avx2_conv g = {0};
    const float *src[PLACES];
    int64_t tiles;
    float *v, *w, *zeros;

    npu_avx2_fields(c, 4, &g.n, sizeof g);
    tiles = npu_avx2_winograd_tiles(&g);
    w = (float *)(void *)((char *)c->p[3] + (size_t)part * npu_avx2_winograd_sums_scratch(&g));
    v = w + (int64_t)PLACES * ((g.cout + PANEL - 1) / PANEL) * g.mb * PANEL;
    zeros = v + (int64_t)PLACES * g.mb * g.cin;
    memset(zeros, 0, sizeof(float) * (size_t)g.cin);
    for (int64_t s = part; s < g.row_units; s += n_parts) {
        const int64_t from = tiles * s / g.row_units, end = tiles * (s + 1) / g.row_units;

        for (int64_t first = from; first < end; first += g.mb) {
            const int64_t count = at_most(g.mb, end - first);

            for (int64_t t = 0; t < count; t++) {
                sources(c->p[0], &g, tile_at(&g, first + t), zeros, src);
                pixels(src, g.cin, v + t * g.cin, g.mb * (int64_t)g.cin);
                gradients(c->p[1], &g, tile_at(&g, first + t), t, g.mb, w);
            }
            add_products(&g, v, w, count, first == from,
                         (float *)c->p[2] + s * (int64_t)npu_avx2_winograd_sums_floats(&g));
        }
    }
}

static inline void taps_1d(const __m256 *u, int step, __m256 *g, int to)
{
    const __m256 p = _mm256_set1_ps((float)(1.0 / (2.0 * P2 * (P2 - Q2))));
    const __m256 q = _mm256_set1_ps((float)(1.0 / (2.0 * Q2 * (Q2 - P2))));
    const __m256 sum_p = _mm256_mul_ps(p, _mm256_add_ps(u[step], u[2 * step]));
    const __m256 sum_q = _mm256_mul_ps(q, _mm256_add_ps(u[3 * step], u[4 * step]));
    const __m256 odd_p = _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(P), p), _mm256_sub_ps(u[step], u[2 * step]));
    const __m256 odd_q = _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(Q), q), _mm256_sub_ps(u[3 * step], u[4 * step]));

    g[0] = _mm256_fmadd_ps(_mm256_set1_ps((float)(1.0 / (P2 * Q2))), u[0], _mm256_add_ps(sum_p, sum_q));
    g[to] = _mm256_add_ps(odd_p, odd_q);
    g[2 * to] = _mm256_fmadd_ps(_mm256_set1_ps(P2), sum_p, _mm256_fmadd_ps(_mm256_set1_ps(Q2), sum_q, u[5 * step]));
}

/* sums of shares, gradient, shares, cin, cout */
void npu_avx2_winograd_gw(const struct npu_native_call *c, int part, int n_parts)
{
    const struct npu_avx2_conv g = {.cin = c->arg[3].i, .cout = c->arg[4].i};
    const int64_t panels = (g.cout + PANEL - 1) / PANEL, strips = (g.cin + ROWS - 1) / ROWS;
    const int64_t vectors = (g.cout + 7) / 8, all = g.cin * vectors, each = (int64_t)npu_avx2_winograd_sums_floats(&g);

    for (int64_t i = all * part / n_parts; i < all * (part + 1) / n_parts; i++) {
        const int64_t k = i / vectors, n = i % vectors * 8;
        const float *from =
            (const float *)c->p[0] + (n / PANEL * strips + k / ROWS) * ROWS * PANEL + k % ROWS * PANEL + n % PANEL;
        __m256 u[PLACES], half[3 * IN], taps[9];

        for (int64_t t = 0; t < PLACES; t++, from += panels * strips * ROWS * PANEL) {
            u[t] = _mm256_load_ps(from);
            for (int64_t s = 1; s < c->arg[2].i; s++)
                u[t] = _mm256_add_ps(u[t], _mm256_load_ps(from + s * each));
        }
        for (int x = 0; x < IN; x++)
            taps_1d(u + x, IN, half + x, IN);
        for (int y = 0; y < 3; y++)
            taps_1d(half + y * IN, 1, taps + y * 3, 1);
        for (int64_t t = 0; t < 9; t++)
            store_some((float *)c->p[1] + (t * g.cin + k) * g.cout + n, g.cout - n, taps[t]);
    }
}
#endif
