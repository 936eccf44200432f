/* avx2_attention_grad.c - the gradient of softmax(q k^T) v, one head at a time, some queries after the other; the
 * scores are computed again. For each block of queries:
 *
 * p = softmax(scale q k^T), g = scale p (gy v^T - mean), mean = p . gy v^T row by row;
 * gq = g k, gk += g^T q, gv += p^T gy.
 */
#include "libnpu/tier/avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/ahead.h"
#include "libnpu/tier/avx2_kernels.h"
#include "libnpu/tier/avx2_pack.h"
#include "libnpu/tier/avx2_tile.h"

enum { PANEL = NPU_AVX2_PANEL, ROWS = NPU_AVX2_ROWS, TILE_FLOATS = ROWS * PANEL, BLOCK = NPU_AVX2_GRAD_QUERIES };

struct head {
    int64_t n, dh, d, np; /* np: n rounded up to panels, as dp below is dh */
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

/* ---- a block of queries ---- */
#define ROW_OF(i) const float *a##i = rows > i ? x + (i)*x_step : NULL;
#define ROW_TO(i)                                                                                                      \
    if (rows > i) {                                                                                                    \
        _mm256_storeu_ps(to + (i)*to_step, c##i##0);                                                                   \
        _mm256_storeu_ps(to + (i)*to_step + 8, c##i##1);                                                               \
    }

/* Six rows by 16 columns. */
static inline void multiply_whole(const float *x, int64_t x_step, int64_t len, const float *b, float *to,
                                  int64_t to_step)
{
    enum { rows = ROWS, halves = 2 };
    const struct tile_job none = {0}, *const j = &none;

    EACH_ROW(TILE_BEGIN)
    EACH_ROW(ROW_OF)
#pragma GCC unroll 4
    for (int64_t k = 0; k < len; k++, b += PANEL) {
        const __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);

        EACH_ROW(TILE_MAC)
    }
    EACH_ROW(ROW_TO)
}

/* to[rows][to_step] = rows of x times packed columns [columns / 16][len][16] */
static void multiply(const float *x, int64_t x_step, int64_t rows, int64_t len, const float *packed, int64_t columns,
                     float *to, int64_t to_step)
{
    const float *row[ROWS];
    int64_t at[ROWS], done = 0;

    for (; rows == ROWS && done + PANEL <= columns; done += PANEL)
        multiply_whole(x, x_step, len, packed + done * len, to + done, to_step);
    for (int64_t i = 0; i < rows; i++) {
        row[i] = x + i * x_step;
        at[i] = i * to_step;
    }
    for (int64_t j = done; j < columns; j += PANEL) {
        const struct tile_job t = {.row = row, .ld = ROWS, .taps = 1, .len = len, .b = packed + j * len};

        tile_to(&t, &(struct tile_out){.to = at, .y = to + j, .scale = 1.0f}, rows, at_most(PANEL, columns - j));
    }
}

/* What comes after n: no score, gradient 0. */
static void end_rows(const struct head *h, float *p, float *g, int64_t rows)
{
    const __m256 none = _mm256_set1_ps(-INFINITY);

    for (int64_t r = 0; r < rows; r++, p += h->np, g += h->np)
        for (int64_t j = h->n / 8 * 8; j < h->np; j += 8) {
            const __m256 real = _mm256_castsi256_ps(first_lanes((int)at_least(0, h->n - j)));

            _mm256_store_ps(p + j, _mm256_blendv_ps(none, _mm256_load_ps(p + j), real));
            _mm256_store_ps(g + j, _mm256_and_ps(_mm256_load_ps(g + j), real));
        }
}

/* Scores in p, gy v^T in g: to the weights and the gradient of the scores, step by step for all rows, so that rows do
 * not wait for each other's sums. */
static void softmax_rows(const struct head *h, float *p, float *g, int64_t rows)
{
    const __m256 scale = _mm256_set1_ps(h->scale);
    float largest[ROWS], over[ROWS], mean[ROWS];

    for (int64_t r = 0; r < rows; r++) {
        __m256 top = _mm256_load_ps(p + r * h->np);

        for (int64_t j = 8; j < h->np; j += 8)
            top = _mm256_max_ps(top, _mm256_load_ps(p + r * h->np + j));
        largest[r] = max8(top) * h->scale;
    }
    for (int64_t r = 0; r < rows; r++) {
        __m256 sum = _mm256_setzero_ps(), m = _mm256_setzero_ps();

        for (int64_t j = r * h->np; j < (r + 1) * h->np; j += 8) {
            const __m256 e = exp8(_mm256_fmsub_ps(_mm256_load_ps(p + j), scale, _mm256_set1_ps(largest[r])));

            _mm256_store_ps(p + j, e);
            sum = _mm256_add_ps(sum, e);
            m = _mm256_fmadd_ps(e, _mm256_load_ps(g + j), m);
        }
        over[r] = 1.0f / sum8(sum);
        mean[r] = sum8(m) * over[r];
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = r * h->np; j < (r + 1) * h->np; j += 8) {
            const __m256 w = _mm256_mul_ps(_mm256_load_ps(p + j), _mm256_set1_ps(over[r]));
            const __m256 d = _mm256_sub_ps(_mm256_load_ps(g + j), _mm256_set1_ps(mean[r]));

            _mm256_store_ps(p + j, w);
            _mm256_store_ps(g + j, _mm256_mul_ps(_mm256_mul_ps(scale, w), d));
        }
}

/* Six keys by 16 columns: sums (if add) and those of the block to the result. */
static inline void keys_whole(const struct outer_job *j, float *to, int64_t to_step)
{
    enum { rows = ROWS, halves = 2 };
    const float *a = j->a, *b = j->b;
    const int64_t len = j->len, ld = j->ld;

    EACH_ROW(TILE_BEGIN)
#pragma GCC unroll 4
    for (int64_t k = 0; k < len; k++, a += ld, b += 16) {
        const __m256 b0 = _mm256_load_ps(b), b1 = _mm256_load_ps(b + 8);

        EACH_ROW(OUTER_MAC)
    }
    EACH_ROW(ROW_TO)
}

struct span {
    int64_t from, count; /* queries */
};

/* sums += weights^T x: weights [count][np], x: rows, `stride` apart; what the last block sums up goes to the result */
static void add_keys(const struct head *h, const float *weights, const float *x, int64_t stride, struct span m,
                     float *sums, float *to)
{
    const bool last = m.from + m.count == h->n;

    for (int64_t c = 0; c < h->dh; c += PANEL) {
        pack_straight(x + m.from * stride + c, stride, h->dh - c, m.count, h->b);
        for (int64_t j = 0; j < h->n; j += ROWS, sums += TILE_FLOATS) {
            const int64_t rows = at_most(ROWS, h->n - j), columns = at_most(PANEL, h->dh - c);
            const struct outer_job t = {
                .a = weights + j, .ld = h->np, .len = m.count, .b = h->b, .acc = sums, .add = m.from > 0};
            float *y = to + j * 3 * h->d + c;

            if (last && rows == ROWS && columns == PANEL) {
                keys_whole(&t, y, 3 * h->d);
                continue;
            }
            outer_for(rows, columns)(&t);
            for (int64_t i = 0; last && i < rows; i++)
                for (int64_t e = 0; e < columns; e += 8)
                    store_some(y + i * 3 * h->d + e, columns - e, _mm256_load_ps(sums + i * PANEL + e));
        }
    }
}

/* Queries m .. m + rows - 1, those of `next` come into the cache. */
static void run_queries(const struct head *h, int64_t m, int64_t rows, float *p, float *g, const struct head *next)
{
    const int64_t stride = 3 * h->d;

    fetch_floats(next->q + m * stride, stride, rows, h->dh);
    fetch_floats(next->k + m * stride, stride, rows, h->dh);
    multiply(h->q + m * stride, stride, rows, h->dh, h->keys, h->np, p, h->np);
    fetch_floats(next->v + m * stride, stride, rows, h->dh);
    fetch_floats(next->gy + m * h->d, h->d, rows, h->dh);
    multiply(h->gy + m * h->d, h->d, rows, h->dh, h->values, h->np, g, h->np);
    fetch_floats(next->gx + m * stride, stride, rows, h->dh);
    fetch_floats(next->gx + h->d + m * stride, stride, rows, h->dh);
    end_rows(h, p, g, rows);
    softmax_rows(h, p, g, rows);
    fetch_floats(next->gx + 2 * h->d + m * stride, stride, rows, h->dh);
    multiply(g, h->np, rows, h->n, h->rows, h->dh, h->gx + m * stride, stride);
}

static void run_head(const struct head *h, const struct head *next)
{
    const int64_t stride = 3 * h->d;

    pack_transposed(h, h->k, stride, h->keys);
    pack_transposed(h, h->v, stride, h->values);
    for (int64_t c = 0; c < h->dh; c += PANEL)
        pack_straight(h->k + c, stride, h->dh - c, h->n, h->rows + c * h->n);
    for (int64_t m = 0; m < h->n; m += BLOCK) {
        const int64_t count = at_most(BLOCK, h->n - m);

        for (int64_t i = 0; i < count; i += ROWS)
            run_queries(h, m + i, at_most(ROWS, count - i), h->p + i * h->np, h->g + i * h->np, next);
        add_keys(h, h->g, h->q, stride, (struct span){m, count}, h->gk, h->gx + h->d);
        add_keys(h, h->p, h->gy, h->d, (struct span){m, count}, h->gv, h->gx + 2 * h->d);
    }
}

static struct head head_of(const struct npu_native_call *c, const struct npu_avx2_attention *a, int64_t unit, int part)
{
    const int64_t d = (int64_t)a->heads * a->dh, z = unit / a->heads, at = unit % a->heads * a->dh;
    const int64_t np = (a->n + PANEL - 1) / PANEL * PANEL, dp = (a->dh + PANEL - 1) / PANEL * PANEL;
    const int64_t sums = dp / PANEL * ((a->n + ROWS - 1) / ROWS) * TILE_FLOATS;
    const float *x = (const float *)c->p[0] + z * a->n * 3 * d + at;
    struct head h = {.n = a->n,
                     .dh = a->dh,
                     .d = d,
                     .np = np,
                     .scale = c->arg[4 + sizeof *a / sizeof(int32_t)].f,
                     .q = x,
                     .k = x + d,
                     .v = x + 2 * d,
                     .gy = (const float *)c->p[1] + z * a->n * d + at,
                     .gx = (float *)c->p[2] + z * a->n * 3 * d + at,
                     .keys = (float *)(void *)((char *)c->p[3] + (size_t)part * npu_avx2_attention_grad_scratch(a))};

    h.values = h.keys + np * h.dh;
    h.rows = h.values + np * h.dh;
    h.p = h.rows + np * dp;
    h.g = h.p + BLOCK * np;
    h.gk = h.g + BLOCK * np;
    h.gv = h.gk + sums;
    h.b = h.gv + sums;
    return h;
}

void npu_avx2_attention_grad(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_avx2_attention a = {0};
    int64_t all;

    npu_avx2_fields(c, 4, &a.batch, sizeof a);
    all = (int64_t)a.batch * a.heads;
    for (int64_t u = part; u < all; u += n_parts) {
        const struct head h = head_of(c, &a, u, part), next = head_of(c, &a, at_most(u + n_parts, all - 1), part);

        run_head(&h, &next);
    }
}
#endif
