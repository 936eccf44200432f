/* avx2_attention.c - softmax(q k^T) v for one head and a share of the queries at a time; scores of six queries wait in
 * the first cache. */
#include "libnpu/tier/avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/ahead.h"
#include "libnpu/tier/avx2_kernels.h"
#include "libnpu/tier/avx2_pack.h"
#include "libnpu/tier/avx2_tile.h"

enum { PANEL = NPU_AVX2_PANEL, ROWS = NPU_AVX2_ROWS, BLOCK = ROWS * PANEL };

struct head {
    int64_t n, dh, d, key_panels, value_panels;
    float scale;
    const float *q, *k, *v; /* rows of 3 d */
    float *out;             /* rows of d */
    float *keys;            /* [key_panels][dh][16] */
    float *values;          /* [value_panels][16 key_panels][16] */
    float *scores;          /* [key_panels][6][16] */
    const float **row;      /* of the scores: [key_panels][6] */
};

static void pack(const struct head *h)
{
    const int64_t stride = 3 * h->d, keys = h->key_panels * PANEL;

    for (int64_t j = 0; j < h->n; j += PANEL)
        pack_turned(h->k + j * stride, stride, h->n - j, h->dh, h->keys + j * h->dh);
    for (int64_t p = 0; p < h->value_panels; p++) {
        float *to = h->values + p * keys * PANEL;

        pack_straight(h->v + p * PANEL, stride, h->dh - p * PANEL, h->n, to);
        memset(to + h->n * PANEL, 0, sizeof(float) * (size_t)((keys - h->n) * PANEL));
    }
}

/* What comes after n gets no weight. */
static void end_rows(const struct head *h, int64_t rows)
{
    const __m256 none = _mm256_set1_ps(-INFINITY);
    const int64_t left = h->n - (h->key_panels - 1) * PANEL;
    float *last = h->scores + (h->key_panels - 1) * BLOCK;

    for (int64_t i = 0; i < rows * 2 && left < PANEL; i++) {
        const __m256i real = first_lanes((int)at_most(8, at_least(0, left - i % 2 * 8)));

        _mm256_store_ps(last + i * 8, _mm256_blendv_ps(none, _mm256_load_ps(last + i * 8), _mm256_castsi256_ps(real)));
    }
}

/* Scores to e^(scale (score - largest of the row)) and 1 / their sum, step by step for all rows, so that rows do not
 * wait for each other's sums. */
static void softmax_rows(const struct head *h, int64_t rows, float *ret_norm)
{
    const __m256 scale = _mm256_set1_ps(h->scale);
    float largest[ROWS];

    end_rows(h, rows);
    for (int64_t i = 0; i < rows; i++) {
        const float *s = h->scores + i * PANEL;
        __m256 top = _mm256_load_ps(s);

        for (int64_t p = 0; p < h->key_panels; p++)
            top = _mm256_max_ps(top, _mm256_max_ps(_mm256_load_ps(s + p * BLOCK), _mm256_load_ps(s + p * BLOCK + 8)));
        largest[i] = max8(top) * h->scale;
    }
    for (int64_t i = 0; i < rows; i++) {
        const __m256 most = _mm256_set1_ps(largest[i]);
        __m256 sum = _mm256_setzero_ps();

        for (int64_t p = 0; p < h->key_panels; p++)
            for (int64_t e = 0; e < 2; e++) {
                float *at = h->scores + p * BLOCK + i * PANEL + e * 8;
                const __m256 v = exp8(_mm256_fmsub_ps(_mm256_load_ps(at), scale, most));

                _mm256_store_ps(at, v);
                sum = _mm256_add_ps(sum, v);
            }
        ret_norm[i] = 1.0f / sum8(sum);
    }
}

/* Queries m .. m + rows - 1, those of `next` come into the cache. */
static void queries(const struct head *h, int64_t m, int64_t rows, const struct head *next)
{
    const int64_t stride = 3 * h->d;
    const float *q[ROWS];
    float norm[ROWS];
    _Alignas(32) float acc[BLOCK];

    fetch_floats(next->q + m * stride, stride, rows, h->dh);
    fetch_floats(next->k + m * stride, stride, rows, h->dh);
    for (int64_t i = 0; i < rows; i++)
        q[i] = h->q + (m + i) * stride;
    for (int64_t p = 0; p < h->key_panels; p++) {
        const struct tile_job j = {.row = q,
                                   .ld = ROWS,
                                   .taps = 1,
                                   .len = h->dh,
                                   .b = h->keys + p * h->dh * PANEL,
                                   .acc = h->scores + p * BLOCK};

        tile_for(rows, PANEL)(&j);
    }
    fetch_floats(next->v + m * stride, stride, rows, h->dh);
    fetch_floats(next->out + m * h->d, h->d, rows, h->dh);
    softmax_rows(h, rows, norm);
    for (int64_t p = 0; p < h->value_panels; p++) {
        const int64_t columns = at_most(PANEL, h->dh - p * PANEL);
        const struct tile_job j = {.row = h->row,
                                   .ld = ROWS,
                                   .taps = h->key_panels,
                                   .len = PANEL,
                                   .b = h->values + p * h->key_panels * PANEL * PANEL,
                                   .acc = acc};

        tile_for(rows, columns)(&j);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t e = 0; e * 8 < columns; e++)
                store_some(h->out + (m + i) * h->d + p * PANEL + e * 8, columns - e * 8,
                           _mm256_mul_ps(_mm256_load_ps(acc + i * PANEL + e * 8), _mm256_set1_ps(norm[i])));
    }
}

static struct head head_of(const struct npu_native_call *c, const struct npu_avx2_attention *a, int64_t unit, int part)
{
    const int64_t head = unit / a->query_units % a->heads, z = unit / a->query_units / a->heads;
    const int64_t d = (int64_t)a->heads * a->dh;
    const float *x = (const float *)c->p[0] + z * a->n * 3 * d + head * a->dh;
    struct head h = {.n = a->n,
                     .dh = a->dh,
                     .d = d,
                     .key_panels = (a->n + PANEL - 1) / PANEL,
                     .value_panels = (a->dh + PANEL - 1) / PANEL,
                     .scale = c->arg[3 + sizeof *a / sizeof(int32_t)].f,
                     .q = x,
                     .k = x + d,
                     .v = x + 2 * d,
                     .out = (float *)c->p[1] + z * a->n * d + head * a->dh,
                     .keys = (float *)(void *)((char *)c->p[2] + (size_t)part * npu_avx2_attention_scratch(a))};

    h.values = h.keys + h.key_panels * PANEL * h.dh;
    h.scores = h.values + h.key_panels * PANEL * h.value_panels * PANEL;
    h.row = (const float **)(void *)(h.scores + h.key_panels * BLOCK);
    return h;
}

void npu_avx2_attention_run(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_avx2_attention a = {0};
    int64_t units;

    npu_avx2_fields(c, 3, &a.batch, sizeof a);
    units = (int64_t)a.batch * a.heads * a.query_units;
    for (int64_t u = part; u < units; u += n_parts) {
        const int64_t share = u % a.query_units, tiles = (a.n + ROWS - 1) / ROWS,
                      end = at_most(a.n, tiles * (share + 1) / a.query_units * ROWS);
        const struct head h = head_of(c, &a, u, part), next = head_of(c, &a, at_most(u + n_parts, units - 1), part);

        for (int64_t i = 0; i < h.key_panels * ROWS; i++)
            h.row[i] = h.scores + i * PANEL;
        pack(&h);
        for (int64_t m = tiles * share / a.query_units * ROWS; m < end; m += ROWS)
            queries(&h, m, at_most(ROWS, end - m), &next);
    }
}
#endif
