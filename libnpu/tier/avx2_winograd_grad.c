/* avx2_winograd_grad.c - the gradient of the weights of 3 x 3 convolutions of stride 1 by Winograd's tiles:
 * G^T (sum over tiles of (B^T d B) (A y A^T)) G, with d the 6 x 6 pixels of a tile and y the gradients of its results.
 */
#include "libnpu/tier/avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/avx2_kernels.h"
#include "libnpu/tier/avx2_winograd.h"

/* ---- the result's gradient: A y A^T ---- */
ALWAYS void gradient_1d(const __m256 *y, __m256 *w, int to)
{
    const __m256 p = _mm256_set1_ps(P), q = _mm256_set1_ps(Q), p2 = _mm256_set1_ps(P2), q2 = _mm256_set1_ps(Q2);
    const __m256 even_p = _mm256_fmadd_ps(p2, y[2], y[0]), even_q = _mm256_fmadd_ps(q2, y[2], y[0]);
    const __m256 odd_p = _mm256_mul_ps(p, _mm256_fmadd_ps(p2, y[3], y[1]));
    const __m256 odd_q = _mm256_mul_ps(q, _mm256_fmadd_ps(q2, y[3], y[1]));

    w[0] = y[0];
    w[to] = _mm256_add_ps(even_p, odd_p);
    w[2 * to] = _mm256_sub_ps(even_p, odd_p);
    w[3 * to] = _mm256_add_ps(even_q, odd_q);
    w[4 * to] = _mm256_sub_ps(even_q, odd_q);
    w[5 * to] = y[3];
}

/* Eight channels of a tile from gy on, `left` of them real; high x wide of its 4 x 4 places lie in the picture. */
ALWAYS void gradients_8(const float *gy, int64_t line, int64_t pixel, int64_t high, int64_t wide, int64_t left,
                        float *to, int64_t step)
{
    __m256 half[IN * OUT], y[OUT], w[IN];

    for (int x = 0; x < OUT; x++) {
        for (int i = 0; i < OUT; i++)
            y[i] = i < high && x < wide ? load_some(gy + i * line + x * pixel, left) : _mm256_setzero_ps();
        gradient_1d(y, half + x, OUT);
    }
    for (int i = 0; i < IN; i++) {
        gradient_1d(half + i * OUT, w, 1);
        for (int x = 0; x < IN; x++)
            _mm256_store_ps(to + (i * IN + x) * step, w[x]);
    }
}

/* A tile as a row of columns of 36 matrices: to[place][panel][mb][16]. */
static void gradients(const float *gy, const struct npu_avx2_conv *g, const struct tile_at *at, float *to, int64_t step)
{
    const int64_t line = (int64_t)g->ow * g->cout, high = at_most(OUT, g->oh - at->y),
                  wide = at_most(OUT, g->ow - at->x);

    gy += ((at->z * g->oh + at->y) * g->ow + at->x) * g->cout;
    for (int64_t n = 0; n < g->cout; n += 8) {
        float *row = to + n / PANEL * g->mb * PANEL + n % PANEL;

        if (high == OUT && wide == OUT && n + 8 <= g->cout)
            gradients_8(gy + n, line, g->cout, OUT, OUT, 8, row, step);
        else
            gradients_8(gy + n, line, g->cout, high, wide, g->cout - n, row, step);
    }
}

/* ---- sums of products ---- */
struct block {
    int64_t end, next;      /* tiles after these, and after the next ones */
    int64_t k, k_end;       /* channels of the picture */
    int64_t v_step, w_step; /* from one place to the next */
    float *v, *w, *zeros;
};

/* Adds the products of `count` tiles to sums[place][panel][strip of 6 channels][6][16], or starts them. */
static void add_products(const struct npu_native_call *c, const struct npu_avx2_conv *g, const struct block *b,
                         int64_t count, bool add, float *sums)
{
    const float *x = tile_line(g, c->p[0], g->h, g->w, g->cin, b->end);
    const float *x_end = tile_line(g, c->p[0], g->h, g->w, g->cin, b->next);
    const float *y = tile_line(g, c->p[1], g->oh, g->ow, g->cout, b->end);
    const float *y_end = tile_line(g, c->p[1], g->oh, g->ow, g->cout, b->next);
    const int64_t panels = (g->cout + PANEL - 1) / PANEL, strips = (g->cin + ROWS - 1) / ROWS;

    for (int64_t i = 0; i < PLACES; i++)
        for (int64_t p = 0; p < panels; p++) {
            fetch_share(x, x_end, i * panels + p, PLACES * panels);
            fetch_share(y, y_end, i * panels + p, PLACES * panels);
            for (int64_t k = b->k; k < b->k_end; k += ROWS) {
                const struct outer_job j = {.a = b->v + i * b->v_step + k,
                                            .ld = g->cin,
                                            .len = count,
                                            .b = b->w + i * b->w_step + p * g->mb * PANEL,
                                            .acc = sums + ((i * panels + p) * strips + k / ROWS) * ROWS * PANEL,
                                            .add = add};

                outer_for(at_most(ROWS, b->k_end - k), at_most(PANEL, g->cout - p * PANEL))(&j);
            }
        }
}

/* A share of the tiles, and a part of the picture's channels. */
static void run_unit(const struct npu_native_call *c, const struct npu_avx2_conv *g, struct block *b, int64_t share)
{
    const int64_t tiles = npu_avx2_winograd_tiles(g), end = tiles * (share + 1) / g->row_units;
    const int64_t from = tiles * share / g->row_units;
    float *sums = (float *)c->p[2] + share * (int64_t)npu_avx2_winograd_sums_floats(g);
    const float *src[PLACES];

    for (int64_t first = from; first < end; first += g->mb) {
        const int64_t count = at_most(g->mb, end - first);

        for (int64_t t = 0; t < count; t++) {
            const struct tile_at at = tile_at(g, first + t);

            tile_sources(c->p[0], g, at, b->zeros, src);
            tile_pixels(src, b->k, b->k_end, b->v + t * g->cin, b->v_step);
            gradients(c->p[1], g, &at, b->w + t * PANEL, b->w_step);
        }
        b->end = first + count;
        b->next = at_most(b->end + g->mb, end);
        add_products(c, g, b, count, first > from, sums);
    }
}

void npu_avx2_winograd_sums(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_avx2_conv g = {0};
    struct block b;

    npu_avx2_fields(c, 4, &g.n, sizeof g);
    b.v_step = npu_avx2_winograd_step(g.mb, g.cin);
    b.w_step = npu_avx2_winograd_step(g.mb, (g.cout + PANEL - 1) / PANEL * PANEL);
    b.w = (float *)(void *)((char *)c->p[3] + (size_t)part * npu_avx2_winograd_sums_scratch(&g));
    b.v = b.w + PLACES * b.w_step;
    b.zeros = b.v + PLACES * b.v_step;
    memset(b.zeros, 0, sizeof(float) * (size_t)g.cin);
    for (int64_t u = part; u < (int64_t)g.row_units * g.col_units; u += n_parts) {
        const struct share k = share_of(g.cin, ROWS, (int)(u % g.col_units), g.col_units);

        b.k = k.from;
        b.k_end = k.end;
        run_unit(c, &g, &b, u / g.col_units);
    }
}

/* ---- the sums to taps: G^T u G ---- */
ALWAYS void taps_1d(const __m256 *u, int step, __m256 *g, int to)
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
