/* exact_avx2_attention.c - attention in int8 networks as libnpu/op/exact.c says: scores and results are chains over the
 * head's size and over the keys, six queries by sixteen columns at a time.
 */
#include "libnpu/tier/exact_avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/exact_avx2_kernels.h"
#include "libnpu/tier/exact_avx2_simd.h"

enum { PANEL = NPU_AVX2_PANEL, ROWS = NPU_AVX2_ROWS };

struct job {
    const struct npu_exact_attention *a;
    float scale;
    const float *q, *k, *v; /* of the head: rows with `step` from one to the next */
    float *y;
    int64_t step, d, np, dp; /* np, dp: keys and the head's size in whole panels */
    float *keys;             /* [np / 16][dh][16] */
    float *values;           /* [dp / 16][n][16] */
    float *e;                /* [6][np] */
};

/* ---- packing ---- */
/* Eight rows of eight, turned round: to[j 16 + i] = from[i step + j]. */
static inline void turn8(const float *from, int64_t step, float *to)
{
    __m256 r[8], s[8];

    for (int i = 0; i < 8; i++)
        r[i] = _mm256_loadu_ps(from + i * step);
    for (int i = 0; i < 8; i += 2) {
        s[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        s[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int h = 0; h < 2; h++) {
            r[i + 2 * h] = _mm256_shuffle_ps(s[i + h], s[i + 2 + h], 0x44);
            r[i + 2 * h + 1] = _mm256_shuffle_ps(s[i + h], s[i + 2 + h], 0xee);
        }
    for (int i = 0; i < 4; i++) {
        _mm256_store_ps(to + i * PANEL, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_store_ps(to + (i + 4) * PANEL, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

static void pack_keys(const struct job *j)
{
    const int64_t n = j->a->n, dh = j->a->dh;

    for (int64_t k = 0; k < j->np; k += 8) {
        const float *from = j->k + k * j->step;
        float *to = j->keys + k / PANEL * dh * PANEL + k % PANEL;
        const int64_t whole = k + 8 <= n ? dh / 8 * 8 : 0;

        for (int64_t i = 0; i < whole; i += 8)
            turn8(from + i, j->step, to + i * PANEL);
        for (int64_t i = whole; i < dh; i++)
            for (int64_t r = 0; r < 8; r++)
                to[i * PANEL + r] = k + r < n ? from[r * j->step + i] : 0.0f;
    }
}

static void pack_values(const struct job *j)
{
    for (int64_t i = 0; i < j->dp; i += PANEL) {
        const int64_t left = j->a->dh - i;
        float *to = j->values + i * j->a->n;

        for (int64_t k = 0; k < j->a->n; k++, to += PANEL) {
            _mm256_store_ps(to, x_load8(j->v + k * j->step + i, left));
            _mm256_store_ps(to + 8, x_load8(j->v + k * j->step + i + 8, left - 8));
        }
    }
}

/* ---- blocks of six rows by sixteen columns ---- */
#define ALWAYS        static inline __attribute__((always_inline))
#define EACH_ROW(F)   F(0) F(1) F(2) F(3) F(4) F(5)
#define BLOCK_ROW(i)  const float *x##i = rows > i ? x + i * ldx : x;
#define BLOCK_ZERO(i) __m256 c##i##0 = _mm256_setzero_ps(), c##i##1 = c##i##0;
#define BLOCK_FMA(i)                                                                                                   \
    if (rows > i) {                                                                                                    \
        const __m256 v = _mm256_broadcast_ss(x##i + k);                                                                \
        c##i##0 = _mm256_fmadd_ps(v, b0, c##i##0);                                                                     \
        c##i##1 = _mm256_fmadd_ps(v, b1, c##i##1);                                                                     \
    }
#define BLOCK_PUT(i)                                                                                                   \
    if (rows > i) {                                                                                                    \
        _mm256_store_ps(to + i * ld, c##i##0);                                                                         \
        _mm256_store_ps(to + i * ld + 8, c##i##1);                                                                     \
    }

/* to[i ld + c] = sum over k of x[i ldx + k] b[16 k + c], as a chain */
ALWAYS void block(const float *x, int64_t ldx, const float *b, int64_t terms, float *to, int64_t ld, const int rows)
{
    EACH_ROW(BLOCK_ROW)
    EACH_ROW(BLOCK_ZERO)

#pragma GCC unroll 4
    for (int64_t k = 0; k < terms; k++, b += PANEL) {
        const __m256 b0 = _mm256_load_ps(b), b1 = _mm256_load_ps(b + 8);

        EACH_ROW(BLOCK_FMA)
    }
    EACH_ROW(BLOCK_PUT)
}

static __attribute__((noinline)) void block6(const float *x, int64_t ldx, const float *b, int64_t terms, float *to,
                                             int64_t ld)
{
    block(x, ldx, b, terms, to, ld, 6);
}

static void block_rows(const float *x, int64_t ldx, const float *b, int64_t terms, float *to, int64_t ld, int64_t rows)
{
    switch (rows) {
    case 1:
        block(x, ldx, b, terms, to, ld, 1);
        break;
    case 2:
        block(x, ldx, b, terms, to, ld, 2);
        break;
    case 3:
        block(x, ldx, b, terms, to, ld, 3);
        break;
    case 4:
        block(x, ldx, b, terms, to, ld, 4);
        break;
    case 5:
        block(x, ldx, b, terms, to, ld, 5);
        break;
    default:
        block6(x, ldx, b, terms, to, ld);
    }
}

/* ---- softmax ---- */
/* Scores to exponentials, in place; returns 1 / their sum in all lanes. e: whole panels. */
static __m256 exponentials(float *e, int64_t n, float scale)
{
    const int64_t whole = n / PANEL * PANEL, left = n - whole;
    const __m256 by = _mm256_set1_ps(scale), none = _mm256_set1_ps(-INFINITY);
    const __m256 real0 = _mm256_castsi256_ps(first_lanes((int)at_most(8, left)));
    const __m256 real1 = _mm256_castsi256_ps(first_lanes((int)at_least(0, left - 8)));
    __m256 sum0 = _mm256_setzero_ps(), sum1 = sum0, most0 = none, most1 = none, top;

    for (int64_t k = 0; k < whole; k += PANEL) {
        most0 = _mm256_max_ps(_mm256_load_ps(e + k), most0);
        most1 = _mm256_max_ps(_mm256_load_ps(e + k + 8), most1);
    }
    if (left > 0) {
        most0 = _mm256_max_ps(_mm256_blendv_ps(none, _mm256_load_ps(e + whole), real0), most0);
        most1 = _mm256_max_ps(_mm256_blendv_ps(none, _mm256_load_ps(e + whole + 8), real1), most1);
    }
    top = _mm256_set1_ps(max8(_mm256_max_ps(most0, most1)) * -scale);
    for (int64_t k = 0; k < whole; k += PANEL) {
        const __m256 v0 = x_exp8(_mm256_fmadd_ps(_mm256_load_ps(e + k), by, top));
        const __m256 v1 = x_exp8(_mm256_fmadd_ps(_mm256_load_ps(e + k + 8), by, top));

        _mm256_store_ps(e + k, v0);
        _mm256_store_ps(e + k + 8, v1);
        sum0 = _mm256_add_ps(sum0, v0);
        sum1 = _mm256_add_ps(sum1, v1);
    }
    if (left > 0) {
        const __m256 v0 = x_exp8(_mm256_fmadd_ps(_mm256_load_ps(e + whole), by, top));
        const __m256 v1 = x_exp8(_mm256_fmadd_ps(_mm256_load_ps(e + whole + 8), by, top));

        _mm256_store_ps(e + whole, v0);
        _mm256_store_ps(e + whole + 8, v1);
        sum0 = _mm256_add_ps(sum0, _mm256_and_ps(v0, real0));
        sum1 = _mm256_add_ps(sum1, _mm256_and_ps(v1, real1));
    }
    return x_recip8(_mm256_set1_ps(x_sum16(sum0, sum1)));
}

/* Queries m .. m + rows - 1. */
static void attend(const struct job *j, int64_t m, int64_t rows)
{
    const int64_t n = j->a->n, dh = j->a->dh;
    _Alignas(32) float acc[ROWS * PANEL];
    __m256 inv[ROWS];

    for (int64_t k = 0; k < j->np; k += PANEL)
        block_rows(j->q + m * j->step, j->step, j->keys + k * dh, dh, j->e + k, j->np, rows);
    for (int64_t r = 0; r < rows; r++)
        inv[r] = exponentials(j->e + r * j->np, n, j->scale);
    for (int64_t i = 0; i < dh; i += PANEL) {
        float *y = j->y + m * j->d + i;

        block_rows(j->e, j->np, j->values + i * n, n, acc, PANEL, rows);
        for (int64_t r = 0; r < rows; r++, y += j->d) {
            store_some(y, dh - i, _mm256_mul_ps(_mm256_load_ps(acc + r * PANEL), inv[r]));
            if (dh - i > 8)
                store_some(y + 8, dh - i - 8, _mm256_mul_ps(_mm256_load_ps(acc + r * PANEL + 8), inv[r]));
        }
    }
}

void npu_exact_avx2_attention(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_exact_attention a = {0};
    const int64_t first = 3;

    npu_avx2_fields(c, (int)first, &a.batch, sizeof a);
    for (int64_t u = part; u < (int64_t)a.batch * a.heads * a.query_units; u += n_parts) {
        const int64_t d = (int64_t)a.heads * a.dh, at = u / a.query_units / a.heads * a.n * d;
        const int64_t head = u / a.query_units % a.heads, unit = u % a.query_units;
        const int64_t tiles = (a.n + ROWS - 1) / ROWS, end = at_most(a.n, tiles * (unit + 1) / a.query_units * ROWS);
        const float *x = (const float *)c->p[0] + 3 * at + head * a.dh;
        struct job j = {.a = &a,
                        .scale = c->arg[first + (int64_t)(sizeof a / sizeof(int32_t))].f,
                        .q = x,
                        .k = x + d,
                        .v = x + 2 * d,
                        .y = (float *)c->p[1] + at + head * a.dh,
                        .step = 3 * d,
                        .d = d,
                        .np = (a.n + PANEL - 1) / PANEL * PANEL,
                        .dp = (a.dh + PANEL - 1) / PANEL * PANEL,
                        .e = (float *)(void *)((char *)c->p[2] + (size_t)part * npu_exact_attention_scratch(&a))};

        j.keys = j.e + ROWS * j.np;
        j.values = j.keys + j.np * a.dh;
        pack_keys(&j);
        pack_values(&j);
        for (int64_t m = tiles * unit / a.query_units * ROWS; m < end; m += ROWS)
            attend(&j, m, at_most(ROWS, end - m));
    }
}
#endif
