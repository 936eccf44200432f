/* avx2_attention_grad.c - the gradient of softmax(q k^T) v, one head at a time, some queries after the other; the
 * scores are computed again. For each block of queries:
 *
 * p = softmax(scale q k^T), g = scale p (gy v^T - mean), mean = p . gy v^T row by row;
 * gq = g k, gk += g^T q, gv += p^T gy.
 */
#include "libnpu/tier/avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/avx2_kernels.h"
#include "libnpu/tier/avx2_pack.h"
#include "libnpu/tier/avx2_tile.h"

enum { PANEL = NPU_AVX2_PANEL, ROWS = NPU_AVX2_ROWS, TILE_FLOATS = ROWS * PANEL, BLOCK = NPU_AVX2_GRAD_QUERIES };

struct head {
    int64_t n, dh, d, np, dp; /* np, dp: rounded up to panels */
    float scale;
    const float *q, *k, *v, *gy; /* rows of 3 d; gy: of d */
    float *gx;                   /* gradient of q; those of k and v lie d and 2 d after it */
    float *keys, *values;        /* transposed: [np / 16][dh][16] */
    float *rows;                 /* keys as [dp / 16][n][16] */
    float *p, *g;                /* [BLOCK][np] */
    float *gk, *gv;              /* sums: [dp / 16][strips of 6 keys][6][16] */
    float *b;                    /* [BLOCK][16] */
};

/* ---- packing ---- */
/* n rows of dh, `stride` apart, as [np / 16][dh][16]. */
static void pack_transposed(const struct head *h, const float *x, int64_t stride, float *to)
{
    for (int64_t j = 0; j < h->np; j += PANEL)
        pack_turned(x + j * stride, stride, h->n - j, h->dh, to + j * h->dh);
}

/* Columns `panel` .. of `count` rows side by side. */
static void pack_panel(const struct head *h, const float *x, int64_t stride, int64_t panel, int64_t count, float *to)
{
    pack_straight(x + panel * PANEL, stride, h->dh - panel * PANEL, count, to);
}

/* ---- a block of queries ---- */
/* to[rows][to_step] = rows of x times packed columns [columns / 16][len][16] */
static void multiply(const float *x, int64_t x_step, int64_t rows, int64_t len, const float *packed, int64_t columns,
                     float *to, int64_t to_step)
{
    const float *row[ROWS];
    int64_t at[ROWS];

    for (int64_t i = 0; i < rows; i++) {
        row[i] = x + i * x_step;
        at[i] = i * to_step;
    }
    for (int64_t j = 0; j < columns; j += PANEL) {
        const struct tile_job t = {.row = row, .ld = ROWS, .taps = 1, .len = len, .b = packed + j * len};

        tile_to(&t, &(struct tile_out){.to = at, .y = to + j, .scale = 1.0f}, rows, at_most(PANEL, columns - j));
    }
}

/* Scores in p, gy v^T in g: to the weights and the gradient of the scores. What comes after n becomes 0. */
static void softmax_row(const struct head *h, float *p, float *g)
{
    const __m256 none = _mm256_set1_ps(-INFINITY), scale = _mm256_set1_ps(h->scale);
    __m256 top = none, sum = _mm256_setzero_ps(), mean = _mm256_setzero_ps(), largest, over, m;

    for (int64_t j = h->n / 8 * 8; j < h->np; j += 8) {
        const __m256 real = _mm256_castsi256_ps(first_lanes((int)at_least(0, h->n - j)));

        _mm256_store_ps(p + j, _mm256_blendv_ps(none, _mm256_load_ps(p + j), real));
        _mm256_store_ps(g + j, _mm256_and_ps(_mm256_load_ps(g + j), real));
    }
    for (int64_t j = 0; j < h->np; j += 8)
        top = _mm256_max_ps(top, _mm256_load_ps(p + j));
    largest = _mm256_set1_ps(max8(top) * h->scale);
    for (int64_t j = 0; j < h->np; j += 8) {
        const __m256 e = exp8(_mm256_fmsub_ps(_mm256_load_ps(p + j), scale, largest));

        _mm256_store_ps(p + j, e);
        sum = _mm256_add_ps(sum, e);
        mean = _mm256_fmadd_ps(e, _mm256_load_ps(g + j), mean);
    }
    over = _mm256_set1_ps(1.0f / sum8(sum));
    m = _mm256_mul_ps(_mm256_set1_ps(sum8(mean)), over);
    for (int64_t j = 0; j < h->np; j += 8) {
        const __m256 w = _mm256_mul_ps(_mm256_load_ps(p + j), over);

        _mm256_store_ps(p + j, w);
        _mm256_store_ps(g + j, _mm256_mul_ps(_mm256_mul_ps(scale, w), _mm256_sub_ps(_mm256_load_ps(g + j), m)));
    }
}

/* sums += weights^T x: weights [count][np], x: count rows, `stride` apart */
static void add_keys(const struct head *h, const float *weights, const float *x, int64_t stride, int64_t count,
                     bool first, float *sums)
{
    for (int64_t c = 0; c < h->dp / PANEL; c++) {
        pack_panel(h, x, stride, c, count, h->b);
        for (int64_t j = 0; j < h->n; j += ROWS, sums += TILE_FLOATS) {
            const struct outer_job t = {
                .a = weights + j, .ld = h->np, .len = count, .b = h->b, .acc = sums, .add = !first};

            outer_for(at_most(ROWS, h->n - j), at_most(PANEL, h->dh - c * PANEL))(&t);
        }
    }
}

static void store_keys(const struct head *h, const float *sums, float *to)
{
    for (int64_t c = 0; c < h->dh; c += PANEL)
        for (int64_t j = 0; j < h->n; j += ROWS, sums += TILE_FLOATS)
            for (int64_t i = 0; i < at_most(ROWS, h->n - j); i++)
                for (int64_t e = 0; e < at_most(PANEL, h->dh - c); e += 8)
                    store_some(to + (j + i) * 3 * h->d + c + e, h->dh - c - e, _mm256_load_ps(sums + i * PANEL + e));
}

static void run_head(struct head *h)
{
    const int64_t stride = 3 * h->d;

    pack_transposed(h, h->k, stride, h->keys);
    pack_transposed(h, h->v, stride, h->values);
    for (int64_t c = 0; c < h->dp / PANEL; c++)
        pack_panel(h, h->k, stride, c, h->n, h->rows + c * h->n * PANEL);
    for (int64_t m = 0; m < h->n; m += BLOCK) {
        const int64_t count = at_most(BLOCK, h->n - m);

        for (int64_t i = 0; i < count; i += ROWS) {
            const int64_t rows = at_most(ROWS, count - i);
            float *p = h->p + i * h->np, *g = h->g + i * h->np;

            multiply(h->q + (m + i) * stride, stride, rows, h->dh, h->keys, h->np, p, h->np);
            multiply(h->gy + (m + i) * h->d, h->d, rows, h->dh, h->values, h->np, g, h->np);
            for (int64_t r = 0; r < rows; r++)
                softmax_row(h, p + r * h->np, g + r * h->np);
            multiply(g, h->np, rows, h->n, h->rows, h->dh, h->gx + (m + i) * stride, stride);
        }
        add_keys(h, h->g, h->q + m * stride, stride, count, m == 0, h->gk);
        add_keys(h, h->p, h->gy + m * h->d, h->d, count, m == 0, h->gv);
    }
    store_keys(h, h->gk, h->gx + h->d);
    store_keys(h, h->gv, h->gx + 2 * h->d);
}

void npu_avx2_attention_grad(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_avx2_attention a = {0};
    int64_t all;

    npu_avx2_fields(c, 4, &a.batch, sizeof a);
    all = (int64_t)a.batch * a.heads;
    for (int64_t u = part; u < all; u += n_parts) {
        const int64_t d = (int64_t)a.heads * a.dh, z = u / a.heads, at = u % a.heads * a.dh;
        const int64_t np = (a.n + PANEL - 1) / PANEL * PANEL, dp = (a.dh + PANEL - 1) / PANEL * PANEL;
        const int64_t sums = dp / PANEL * ((a.n + ROWS - 1) / ROWS) * TILE_FLOATS;
        const float *x = (const float *)c->p[0] + z * a.n * 3 * d + at;
        struct head h = {.n = a.n,
                         .dh = a.dh,
                         .d = d,
                         .np = np,
                         .dp = dp,
                         .scale = c->arg[4 + sizeof a / sizeof(int32_t)].f,
                         .q = x,
                         .k = x + d,
                         .v = x + 2 * d,
                         .gy = (const float *)c->p[1] + z * a.n * d + at,
                         .gx = (float *)c->p[2] + z * a.n * 3 * d + at,
                         .keys =
                             (float *)(void *)((char *)c->p[3] + (size_t)part * npu_avx2_attention_grad_scratch(&a))};

        h.values = h.keys + np * h.dh;
        h.rows = h.values + np * h.dh;
        h.p = h.rows + np * dp;
        h.g = h.p + BLOCK * np;
        h.gk = h.g + BLOCK * np;
        h.gv = h.gk + sums;
        h.b = h.gv + sums;
        run_head(&h);
    }
}
#endif
