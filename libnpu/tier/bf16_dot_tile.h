/* bf16_dot_tile.h - blocks of sums by VDPBF16PS, or the same in plain C where NPU_DOT_EMULATED is defined.
 *
 * A lane adds a pair of products to its sum: first c = a1 b1 + c, then c = a0 b0 + c. Both are f32, fused, rounded to
 * nearest even; denormal operands, sums and results are zeros of their sign, whatever MXCSR says (Intel SDM volume 2).
 * So a sum of n products of normal numbers, in any order, is off by at most n 2^-24 of the sum of their sizes (to first
 * order), and n 2^-126; products with a factor below 2^-126 are lost.
 *
 * Eight rows by two vectors of 16 columns are enough sums to hide the instruction's latency.
 */
#ifndef NPU_TIER_BF16_DOT_TILE_H
#define NPU_TIER_BF16_DOT_TILE_H

#ifndef NPU_DOT_EMULATED
#include "libnpu/tier/bf16_dot_round.h"
#endif
#include "libnpu/tier/bf16_results.h"

enum { DOT_LANES = 16, DOT_PAIRS = 16, DOT_ROWS = 8 };

#ifdef NPU_DOT_EMULATED
#include <math.h>

typedef struct {
    float lane[DOT_LANES];
} dot_sums;
typedef struct {
    uint32_t pair[DOT_LANES]; /* the first term in the lower half */
} dot_terms;

static inline dot_sums dot_zero(void)
{
    return (dot_sums){{0}};
}
static inline dot_sums dot_load(const float *p)
{
    dot_sums v;

    memcpy(&v, p, sizeof v);
    return v;
}
static inline void dot_store(float *p, dot_sums v)
{
    memcpy(p, &v, sizeof v);
}
static inline dot_terms dot_terms_at(const void *p)
{
    dot_terms v;

    memcpy(&v, p, sizeof v);
    return v;
}
static inline dot_terms dot_spread(const void *p)
{
    dot_terms v;

    for (int i = 0; i < DOT_LANES; i++)
        memcpy(&v.pair[i], p, sizeof v.pair[i]);
    return v;
}

/* The f32 of these bits; denormals are zero. */
static inline float dot_value(uint32_t bits)
{
    float f;

    bits &= bits & 0x7f800000u ? 0xffffffffu : 0x80000000u;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* a b + c. The product is exact in f64, and the sum, rounded to the 53 bits of f64 and then to the 24 of f32, is what
 * it is when rounded once, since 53 >= 2 * 24 + 2 (S. Figueroa, When is double rounding innocuous?, 1995). What rounds
 * to less than 2^-126 with 24 bits becomes zero. */
static inline float dot_fma(float a, float b, float c)
{
    const double v = (double)a * (double)b + (double)c;
    const float f = (float)v;

    return fabs(v) < 0x1p-126 - 0x1p-151 ? copysignf(0.0f, f) : f;
}

static inline dot_sums dot_add(dot_sums c, dot_terms b, dot_terms a)
{
    for (int i = 0; i < DOT_LANES; i++) {
        uint32_t bits;
        float sum;

        memcpy(&bits, &c.lane[i], sizeof bits);
        sum = dot_fma(dot_value(a.pair[i] & 0xffff0000u), dot_value(b.pair[i] & 0xffff0000u), dot_value(bits));
        c.lane[i] = dot_fma(dot_value(a.pair[i] << 16), dot_value(b.pair[i] << 16), sum);
    }
    return c;
}

/* Row i of a block's results. */
static inline void dot_result(const struct bf16_results *to, int64_t i, dot_sums c0, dot_sums c1, bool half)
{
    float v[BLOCK];

    (void)half;
    dot_store(v, c0);
    dot_store(v + DOT_LANES, c1);
    results_row(to, i, v);
}
#else
#include <immintrin.h>

typedef __m512 dot_sums;
typedef __m512bh dot_terms;
#define dot_zero()       _mm512_setzero_ps()
#define dot_load(p)      _mm512_loadu_ps(p)
#define dot_store(p, v)  _mm512_storeu_ps(p, v)
#define dot_terms_at(p)  ((__m512bh)_mm512_loadu_si512(p))
#define dot_add(c, b, a) _mm512_dpbf16_ps(c, b, a)
static inline dot_terms dot_spread(const void *p)
{
    int32_t u;

    memcpy(&u, p, sizeof u);
    return (__m512bh)_mm512_set1_epi32(u);
}

/* Row i of a block's results, `half`: to->half, known to the compiler. */
static inline __attribute__((always_inline)) void dot_result(const struct bf16_results *to, int64_t i, dot_sums c0,
                                                             dot_sums c1, const bool half)
{
    c0 = _mm512_add_ps(c0, dot_load(to->bias));
    c1 = _mm512_add_ps(c1, dot_load(to->bias + DOT_LANES));
    if (half) {
        if (to->residual) {
            const __m512i more = _mm512_loadu_si512(to->more[i]);

            c0 = _mm512_add_ps(
                c0, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(more)), 16)));
            c1 = _mm512_add_ps(c1, _mm512_castsi512_ps(_mm512_slli_epi32(
                                       _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(more, 1)), 16)));
        }
        _mm512_storeu_si512(to->row[i], (__m512i)_mm512_cvtne2ps_pbh(c1, c0));
    } else {
        if (to->residual) {
            c0 = _mm512_add_ps(c0, dot_load(to->more[i]));
            c1 = _mm512_add_ps(c1, dot_load(to->more[i] + sizeof c0));
        }
        dot_store(to->row[i], c0);
        dot_store(to->row[i] + sizeof c0, c1);
    }
}
#endif

#define UNIT_ROWS    DOT_ROWS
#define unit_begin() ((void)0)
#define unit_end()   ((void)0)

#define DOT_EACH(F)  F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7)
#define DOT_BEGIN(i) dot_sums c##i##_0 = dot_zero(), c##i##_1 = dot_zero();
#define DOT_LOAD(i)                                                                                                    \
    if (rows > i) {                                                                                                    \
        c##i##_0 = dot_load(c + i * ldc);                                                                              \
        c##i##_1 = dot_load(c + i * ldc + DOT_LANES);                                                                  \
    }
#define DOT_MAC(i)                                                                                                     \
    if (rows > i) {                                                                                                    \
        const dot_terms v = dot_spread(a + i * a_ld + 4 * (size_t)p);                                                  \
        c##i##_0 = dot_add(c##i##_0, w0, v);                                                                           \
        c##i##_1 = dot_add(c##i##_1, w1, v);                                                                           \
    }
#define DOT_RESULT(i)                                                                                                  \
    if (rows > i)                                                                                                      \
        dot_result(to, row + i, c##i##_0, c##i##_1, end == DOT_HALF);
#define DOT_END(i)                                                                                                     \
    if (rows > i) {                                                                                                    \
        dot_store(c + i * ldc, c##i##_0);                                                                              \
        dot_store(c + i * ldc + DOT_LANES, c##i##_1);                                                                  \
    }

enum dot_end { DOT_SUMS, DOT_F32, DOT_HALF };

/* `rows` rows of sums to c, or of results in f32 or bf16 to those of `to` from `row` on. */
static inline __attribute__((always_inline)) void
dot_block(const char *a, size_t a_ld, size_t a_step, const uint16_t *b0, const uint16_t *b1, int64_t n, const int rows,
          float *c, size_t ldc, bool add, const struct bf16_results *to, int64_t row, const enum dot_end end)
{
    DOT_EACH(DOT_BEGIN)

    if (add) {
        DOT_EACH(DOT_LOAD)
    }
    for (int64_t k = 0; k < n; k++) {
        for (int p = 0; p < DOT_PAIRS; p++) {
            const dot_terms w0 = dot_terms_at(b0 + 2 * DOT_LANES * p), w1 = dot_terms_at(b1 + 2 * DOT_LANES * p);

            DOT_EACH(DOT_MAC)
        }
        a += a_step;
        b0 += NPU_BF16_TILE;
        b1 += NPU_BF16_TILE;
    }
    if (end == DOT_SUMS) {
        DOT_EACH(DOT_END)
    } else {
        DOT_EACH(DOT_RESULT)
    }
}

/* By themselves: inlined, the sums lose registers to what is round them. Return how many rows were made. */
static __attribute__((noinline)) int dot_rows(const char *a, size_t a_ld, size_t a_step, const uint16_t *b0,
                                              const uint16_t *b1, int64_t n, int64_t rows, float *c, size_t ldc,
                                              bool add)
{
    if (rows > 4) {
        dot_block(a, a_ld, a_step, b0, b1, n, 8, c, ldc, add, NULL, 0, DOT_SUMS);
        return 8;
    }
    if (rows > 1) {
        dot_block(a, a_ld, a_step, b0, b1, n, 4, c, ldc, add, NULL, 0, DOT_SUMS);
        return 4;
    }
    dot_block(a, a_ld, a_step, b0, b1, n, 1, c, ldc, add, NULL, 0, DOT_SUMS);
    return 1;
}

static inline __attribute__((always_inline)) int dot_results_as(const char *a, size_t a_ld, size_t a_step,
                                                                const uint16_t *b0, const uint16_t *b1, int64_t n,
                                                                int64_t rows, const struct bf16_results *to,
                                                                int64_t row, const enum dot_end end)
{
    if (rows > 4) {
        dot_block(a, a_ld, a_step, b0, b1, n, 8, NULL, 0, false, to, row, end);
        return 8;
    }
    if (rows > 1) {
        dot_block(a, a_ld, a_step, b0, b1, n, 4, NULL, 0, false, to, row, end);
        return 4;
    }
    dot_block(a, a_ld, a_step, b0, b1, n, 1, NULL, 0, false, to, row, end);
    return 1;
}

static __attribute__((noinline)) int dot_results(const char *a, size_t a_ld, size_t a_step, const uint16_t *b0,
                                                 const uint16_t *b1, int64_t n, int64_t rows,
                                                 const struct bf16_results *to, int64_t row)
{
    return dot_results_as(a, a_ld, a_step, b0, b1, n, rows, to, row, DOT_F32);
}

static __attribute__((noinline)) int dot_results_half(const char *a, size_t a_ld, size_t a_step, const uint16_t *b0,
                                                      const uint16_t *b1, int64_t n, int64_t rows,
                                                      const struct bf16_results *to, int64_t row)
{
    return dot_results_as(a, a_ld, a_step, b0, b1, n, rows, to, row, DOT_HALF);
}

/* c[32][32] (ldc floats a row) = or, if `add`, += a b over n steps of 32 terms. a0, a1: 16 rows each, a_ld bytes apart,
 * a_step bytes a step; b0, b1: packed tiles of 16 columns. Of the results only `rows` are wanted; `ahead` has as many.
 */
static inline void unit_block(const char *a0, const char *a1, size_t a_ld, size_t a_step, const uint16_t *b0,
                              const uint16_t *b1, int64_t n, int64_t rows, float *c, size_t ldc, bool add,
                              const struct ahead *ahead)
{
    for (int64_t i = 0; i < rows;) {
        const char *a = i < 16 ? a0 + (size_t)i * a_ld : a1 + (size_t)(i - 16) * a_ld;

        fetch_rows(ahead, i, at_most(rows, i + DOT_ROWS));
        i += dot_rows(a, a_ld, a_step, b0, b1, n, rows - i, c + (size_t)i * ldc, ldc, add);
    }
}

/* The same to results. Rows of `to` beyond `rows` may be written to. */
static inline void unit_results(const char *a0, const char *a1, size_t a_ld, size_t a_step, const uint16_t *b0,
                                const uint16_t *b1, int64_t n, int64_t rows, const struct bf16_results *to)
{
    for (int64_t i = 0; i < rows;) {
        const char *a = i < 16 ? a0 + (size_t)i * a_ld : a1 + (size_t)(i - 16) * a_ld;

        fetch_results(to, i, at_most(rows, i + DOT_ROWS));
        i += (to->half ? dot_results_half : dot_results)(a, a_ld, a_step, b0, b1, n, rows - i, to, i);
    }
}

#endif
