/* exact_avx2_attention.c - attention in int8 networks as libnpu/op/exact.c says: scores and results are chains over the
 * head's size and over the keys, six queries by sixteen columns at a time. */
#include "libnpu/tier/exact_avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/avx2_tile.h"
#include "libnpu/tier/exact_avx2_kernels.h"
#include "libnpu/tier/exact_avx2_simd.h"

enum { PANEL = NPU_AVX2_PANEL, ROWS = NPU_AVX2_ROWS };

struct job {
    const struct npu_exact_attention *a;
    float scale;
    const float *qkv; /* of the picture */
    float *y;
    int64_t head, np, dp; /* keys and the head's size in whole panels */
    float *keys;          /* [np / 16][dh][16] */
    float *values;        /* [dp / 16][n][16] */
    float *e;             /* [6][np] */
};

static void pack(const struct job *j)
{
    const int64_t n = j->a->n, dh = j->a->dh, d = j->a->heads * dh, step = 3 * d;
    const float *key = j->qkv + d + j->head * dh, *value = key + d;

    for (int64_t k = 0; k < j->np; k++)
        for (int64_t i = 0; i < dh; i++)
            j->keys[(k / PANEL * dh + i) * PANEL + k % PANEL] = k < n ? key[k * step + i] : 0.0f;
    for (int64_t k = 0; k < n; k++)
        for (int64_t i = 0; i < j->dp; i++)
            j->values[(i / PANEL * n + k) * PANEL + i % PANEL] = i < dh ? value[k * step + i] : 0.0f;
}

/* Scores to exponentials, in place; returns 1 / their sum in all lanes. */
static __m256 exponentials(float *e, int64_t n, float scale)
{
    const __m256 by = _mm256_set1_ps(scale);
    __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()}, most = _mm256_set1_ps(-INFINITY), top;

    for (int64_t k = 0; k < n; k += 8) {
        const __m256 v = _mm256_load_ps(e + k), m = _mm256_castsi256_ps(first_lanes((int)at_most(8, n - k)));

        most = _mm256_max_ps(_mm256_blendv_ps(most, v, m), most);
    }
    top = _mm256_set1_ps(max8(most) * -scale);
    for (int64_t k = 0; k < n; k += 8) {
        const __m256 v = x_first8(x_exp8(_mm256_fmadd_ps(_mm256_load_ps(e + k), by, top)), n - k);

        _mm256_store_ps(e + k, v);
        sum[k / 8 % 2] = _mm256_add_ps(sum[k / 8 % 2], v);
    }
    return x_recip8(_mm256_set1_ps(x_sum16(sum[0], sum[1])));
}

/* Queries m .. m + rows - 1. */
static void attend(const struct job *j, int64_t m, int64_t rows)
{
    const int64_t n = j->a->n, dh = j->a->dh, d = j->a->heads * dh;
    _Alignas(32) float acc[ROWS * PANEL];
    const float *q[ROWS], *e[ROWS];
    struct tile_job t = {.row = q, .ld = ROWS, .taps = 1, .len = dh, .acc = acc};
    __m256 inv[ROWS];

    for (int64_t r = 0; r < rows; r++) {
        q[r] = j->qkv + (m + r) * 3 * d + j->head * dh;
        e[r] = j->e + r * j->np;
    }
    for (int64_t k = 0; k < j->np; k += PANEL) {
        t.b = j->keys + k * dh;
        tile_for(rows, at_most(PANEL, n - k))(&t);
        for (int64_t r = 0; r < rows; r++)
            memcpy(j->e + r * j->np + k, acc + r * PANEL, PANEL * sizeof(float));
    }
    for (int64_t r = 0; r < rows; r++)
        inv[r] = exponentials(j->e + r * j->np, n, j->scale);
    t = (struct tile_job){.row = e, .ld = ROWS, .taps = 1, .len = n, .acc = acc};
    for (int64_t i = 0; i < dh; i += PANEL) {
        t.b = j->values + i * n;
        tile_for(rows, at_most(PANEL, dh - i))(&t);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t h = 0; h < at_most(PANEL, dh - i); h += 8)
                store_some(j->y + (m + r) * d + j->head * dh + i + h, dh - i - h,
                           _mm256_mul_ps(_mm256_load_ps(acc + r * PANEL + h), inv[r]));
    }
}

void npu_exact_avx2_attention(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_exact_attention a = {0};
    const int64_t first = 3;

    npu_avx2_fields(c, (int)first, &a.batch, sizeof a);
    for (int64_t u = part; u < (int64_t)a.batch * a.heads * a.query_units; u += n_parts) {
        const int64_t z = u / a.query_units / a.heads, at = z * a.n * a.heads * a.dh, unit = u % a.query_units;
        struct job j = {.a = &a,
                        .scale = c->arg[first + (int64_t)(sizeof a / sizeof(int32_t))].f,
                        .qkv = (const float *)c->p[0] + 3 * at,
                        .y = (float *)c->p[1] + at,
                        .head = u / a.query_units % a.heads,
                        .np = (a.n + PANEL - 1) / PANEL * PANEL,
                        .dp = (a.dh + PANEL - 1) / PANEL * PANEL,
                        .e = (float *)(void *)((char *)c->p[2] + (size_t)part * npu_exact_attention_scratch(&a))};
        const int64_t end = a.n * (unit + 1) / a.query_units;

        j.keys = j.e + ROWS * j.np;
        j.values = j.keys + j.np * a.dh;
        pack(&j);
        for (int64_t m = a.n * unit / a.query_units; m < end; m += ROWS)
            attend(&j, m, at_most(ROWS, end - m));
    }
}
#endif
