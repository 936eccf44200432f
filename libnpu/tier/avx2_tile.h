/* avx2_tile.h - the register tile of 6 rows by 16 columns of f32 sums: twelve accumulators, two vectors of B, one of A.
 */
#ifndef NPU_TIER_AVX2_TILE_H
#define NPU_TIER_AVX2_TILE_H

#include "libnpu/tier/avx2_bf16.h"

#define ALWAYS static inline __attribute__((always_inline))

/* acc[rows][16] (+)= sum over taps t and terms k < len of row[t * ld + i][at + k] * b[(t len + k) 16]; the second half
 * of the columns is left out if halves is 1. */
struct tile_job {
    const float *const *row;
    int64_t ld, taps, at, len;
    const float *b; /* 16 a term */
    float *acc;
    bool add;
};
typedef void tile_fn(const struct tile_job *j);

#define EACH_ROW(F) F(0) F(1) F(2) F(3) F(4) F(5)
#define TILE_BEGIN(i)                                                                                                  \
    __m256 c##i##0 = _mm256_setzero_ps(), c##i##1 = _mm256_setzero_ps();                                               \
    if (j->add && rows > i) {                                                                                          \
        c##i##0 = _mm256_load_ps(j->acc + i * 16);                                                                     \
        if (halves > 1)                                                                                                \
            c##i##1 = _mm256_load_ps(j->acc + i * 16 + 8);                                                             \
    }
#define TILE_ROW(i) const float *a##i = rows > i ? row[i] + j->at : NULL;
#define TILE_MAC(i)                                                                                                    \
    if (rows > i) {                                                                                                    \
        const __m256 v = _mm256_broadcast_ss(a##i + k);                                                                \
        c##i##0 = _mm256_fmadd_ps(v, b0, c##i##0);                                                                     \
        if (halves > 1)                                                                                                \
            c##i##1 = _mm256_fmadd_ps(v, b1, c##i##1);                                                                 \
    }
#define TILE_END(i)                                                                                                    \
    if (rows > i) {                                                                                                    \
        _mm256_store_ps(j->acc + i * 16, c##i##0);                                                                     \
        if (halves > 1)                                                                                                \
            _mm256_store_ps(j->acc + i * 16 + 8, c##i##1);                                                             \
    }

#define TILE_SUMS                                                                                                      \
    for (int64_t t = j->taps; t > 0; t--, row += j->ld) {                                                              \
        EACH_ROW(TILE_ROW)                                                                                             \
        _Pragma("GCC unroll 4") for (int64_t k = 0; k < len; k++)                                                      \
        {                                                                                                              \
            const __m256 b0 = _mm256_loadu_ps(b), b1 = halves > 1 ? _mm256_loadu_ps(b + 8) : b0;                       \
                                                                                                                       \
            EACH_ROW(TILE_MAC)                                                                                         \
            b += 16;                                                                                                   \
        }                                                                                                              \
    }

ALWAYS void tile_run(const struct tile_job *j, const int rows, const int halves)
{
    const float *const *row = j->row;
    const float *b = j->b;
    const int64_t len = j->len;

    EACH_ROW(TILE_BEGIN)
    TILE_SUMS
    EACH_ROW(TILE_END)
}

#define TILE(r, h)                                                                                                     \
    static void tile_##r##x##h(const struct tile_job *j)                                                               \
    {                                                                                                                  \
        tile_run(j, r, h);                                                                                             \
    }
#define TILES_OF(h) TILE(1, h) TILE(2, h) TILE(3, h) TILE(4, h) TILE(5, h) TILE(6, h)
TILES_OF(1)
TILES_OF(2)

/* Rows 1 .. 6, columns 1 .. 16. */
static inline tile_fn *tile_for(int64_t rows, int64_t columns)
{
    static tile_fn *const fn[2][6] = {{tile_1x1, tile_2x1, tile_3x1, tile_4x1, tile_5x1, tile_6x1},
                                      {tile_1x2, tile_2x2, tile_3x2, tile_4x2, tile_5x2, tile_6x2}};

    return fn[columns > 8][rows - 1];
}

/* ---- a whole tile straight to its result: y[to[i] + 0 .. 15], or y16, = sums * scale + bias + res ---- */
struct tile_out {
    const int64_t *to;       /* of each row */
    const float *bias, *res; /* NULL: none */
    float *y;
    uint16_t *y16; /* not NULL: instead of y, as bf16 */
    float scale;
};

#define OUT_ROW(i)                                                                                                     \
    {                                                                                                                  \
        const int64_t at = o->to[i];                                                                                   \
                                                                                                                       \
        c##i##0 = _mm256_fmadd_ps(c##i##0, scale, b0);                                                                 \
        c##i##1 = _mm256_fmadd_ps(c##i##1, scale, b1);                                                                 \
        if (o->res) {                                                                                                  \
            c##i##0 = _mm256_add_ps(c##i##0, _mm256_loadu_ps(o->res + at));                                            \
            c##i##1 = _mm256_add_ps(c##i##1, _mm256_loadu_ps(o->res + at + 8));                                        \
        }                                                                                                              \
        if (o->y16) {                                                                                                  \
            store16_bf16(o->y16 + at, c##i##0, c##i##1);                                                               \
        } else {                                                                                                       \
            _mm256_storeu_ps(o->y + at, c##i##0);                                                                      \
            _mm256_storeu_ps(o->y + at + 8, c##i##1);                                                                  \
        }                                                                                                              \
    }

static inline void tile_finish(const struct tile_job *j, const struct tile_out *o)
{
    enum { rows = 6, halves = 2 };
    const float *const *row = j->row;
    const float *b = j->b;
    const int64_t len = j->len;
    const __m256 scale = _mm256_set1_ps(o->scale);
    __m256 b0, b1;

    EACH_ROW(TILE_BEGIN)
    TILE_SUMS
    b0 = o->bias ? _mm256_loadu_ps(o->bias) : _mm256_setzero_ps();
    b1 = o->bias ? _mm256_loadu_ps(o->bias + 8) : _mm256_setzero_ps();
    EACH_ROW(OUT_ROW)
}

/* The same for fewer rows or columns; y16 is NULL. */
static __attribute__((noinline)) void tile_part(struct tile_job j, const struct tile_out *o, int64_t rows,
                                                int64_t columns)
{
    _Alignas(32) float acc[6 * 16];

    j.acc = acc;
    tile_for(rows, columns)(&j);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t n = 0; n < columns; n += 8) {
            const __m256 b = o->bias ? load_some(o->bias + n, columns - n) : _mm256_setzero_ps();
            __m256 v = _mm256_fmadd_ps(_mm256_load_ps(acc + i * 16 + n), _mm256_set1_ps(o->scale), b);

            if (o->res)
                v = _mm256_add_ps(v, load_some(o->res + o->to[i] + n, columns - n));
            store_some(o->y + o->to[i] + n, columns - n, v);
        }
}

/* Any tile; y16 is NULL. */
static inline void tile_to(const struct tile_job *j, const struct tile_out *o, int64_t rows, int64_t columns)
{
    if (rows == 6 && columns == 16)
        tile_finish(j, o);
    else
        tile_part(*j, o, rows, columns);
}

/* ---- acc[rows][16] (+)= sum over k < len of a[k ld + i] * b[k 16] ---- */
struct outer_job {
    const float *a;
    int64_t ld, len;
    const float *b;
    float *acc;
    bool add;
};
typedef void outer_fn(const struct outer_job *j);

#define OUTER_MAC(i)                                                                                                   \
    if (rows > i) {                                                                                                    \
        const __m256 v = _mm256_broadcast_ss(a + i);                                                                   \
        c##i##0 = _mm256_fmadd_ps(v, b0, c##i##0);                                                                     \
        if (halves > 1)                                                                                                \
            c##i##1 = _mm256_fmadd_ps(v, b1, c##i##1);                                                                 \
    }

ALWAYS void outer_run(const struct outer_job *j, const int rows, const int halves)
{
    const float *a = j->a, *b = j->b;
    const int64_t len = j->len, ld = j->ld;

    EACH_ROW(TILE_BEGIN)
#pragma GCC unroll 4
    for (int64_t k = 0; k < len; k++, a += ld, b += 16) {
        const __m256 b0 = _mm256_load_ps(b), b1 = halves > 1 ? _mm256_load_ps(b + 8) : b0;

        EACH_ROW(OUTER_MAC)
    }
    EACH_ROW(TILE_END)
}

#define OUTER(r, h)                                                                                                    \
    static inline void outer_##r##x##h(const struct outer_job *j)                                                      \
    {                                                                                                                  \
        outer_run(j, r, h);                                                                                            \
    }
#define OUTERS_OF(h) OUTER(1, h) OUTER(2, h) OUTER(3, h) OUTER(4, h) OUTER(5, h) OUTER(6, h)
OUTERS_OF(1)
OUTERS_OF(2)

static inline outer_fn *outer_for(int64_t rows, int64_t columns)
{
    static outer_fn *const fn[2][6] = {{outer_1x1, outer_2x1, outer_3x1, outer_4x1, outer_5x1, outer_6x1},
                                       {outer_1x2, outer_2x2, outer_3x2, outer_4x2, outer_5x2, outer_6x2}};

    return fn[columns > 8][rows - 1];
}

#endif
