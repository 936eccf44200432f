/* int8_finish.h - from 32-bit sums of int8 products to results: bias, zero points, multiplier, residual, activation
 * (docs/LIBNPU.md, "int8"). Compiled with AVX2: eight results at a time, to the same bits.
 */
#ifndef NPU_TIER_INT8_FINISH_H
#define NPU_TIER_INT8_FINISH_H

#include "libnpu/tier/int8_native.h"

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The fields among a launch's arguments, from `first` on. */
static inline void read_fields(const struct npu_native_call *c, int first, struct npu_int8_conv *g)
{
    int32_t *to = &g->n;

    for (size_t i = 0; i < sizeof *g / sizeof *to; i++)
        to[i] = c->arg[first + (int)i].i;
}

struct finish {
    const struct npu_int8_conv *g;
    const struct npu_qconv_attr *a;
    const int32_t *column_sum;
    const void *bias, *scale, *res;
    const float *range;
    void *y;
    uint32_t offset; /* what each x is short of in the sums: its zero point, and 128 if rows are unsigned */
};

/* Fields from argument `first` on; pointers from p[2] on: column sums, bias, scale, range, residual, y. */
static inline struct finish finish_of(const struct npu_native_call *c, const struct npu_int8_conv *g,
                                      uint32_t beyond_zero, int *ret_zero)
{
    struct finish f = {g, c->attr, c->p[2], c->p[3], c->p[4], c->p[6], c->p[5], c->p[7], 0};

    *ret_zero = f.range ? npu_q_clamp((int64_t)fminf(fmaxf(f.range[2], -128.0f), 127.0f), -128, 127) : f.a->x_zero;
    f.offset = (uint32_t)*ret_zero + beyond_zero;
    return f;
}

static inline void finish_int8(const struct finish *f, const uint32_t *sum, int64_t at, int64_t col, int64_t n)
{
    const struct npu_qconv_attr *a = f->a;
    const int32_t *mul = (const int32_t *)f->scale + col;
    const int8_t *res = f->res ? (const int8_t *)f->res + at : NULL;
    int8_t *y = (int8_t *)f->y + at;
    const int64_t half = INT64_C(1) << (a->shift - 1);

    for (int64_t j = 0; j < n; j++) {
        int64_t t = (int64_t)(int32_t)sum[j] * mul[j];

        if (res)
            t += (int64_t)(res[j] - a->res_zero) * a->res_mul;
        t = ((t + half) >> a->shift) + a->y_zero;
        y[j] = (int8_t)(t < a->lo ? a->lo : t > a->hi ? a->hi : t);
    }
}

static inline float finish_residual(const struct finish *f, int64_t at)
{
    uint32_t u;
    float r;

    if (f->g->res_type == NPU_F32)
        return ((const float *)f->res)[at];
    u = (uint32_t)((const uint16_t *)f->res)[at] << 16;
    memcpy(&r, &u, sizeof r);
    return r;
}

static inline void finish_f32(const struct finish *f, const uint32_t *sum, int64_t at, int64_t col, int64_t n)
{
    const float *scale = (const float *)f->scale + col, step = f->range ? f->range[0] : 1.0f;
    const float *bias = f->range && f->bias ? (const float *)f->bias + col : NULL;
    float *y = (float *)f->y + at;

    for (int64_t j = 0; j < n; j++) {
        float v = fmaf((float)(int32_t)sum[j], step * scale[j], bias ? bias[j] : 0.0f);

        if (f->res)
            v += finish_residual(f, at + j);
        if (f->a->act != NPU_ACT_NONE)
            v = v > 0.0f ? v : 0.0f;
        if (f->a->act == NPU_ACT_RELU6)
            v = v > 6.0f ? 6.0f : v;
        y[j] = v;
    }
}

/* What is added to the raw sums of n columns from col on; columns beyond the last, which pad a panel, have no bias. */
static inline void finish_offsets(const struct finish *f, int64_t col, int64_t n, uint32_t *to)
{
    const int32_t *bias = f->bias && !f->range ? (const int32_t *)f->bias + col : NULL;

    for (int64_t j = 0; j < n; j++)
        to[j] = (bias && col + j < f->g->cout ? (uint32_t)bias[j] : 0u) - f->offset * (uint32_t)f->column_sum[col + j];
}

#ifdef __AVX2__
#include <immintrin.h>

static inline __m256i finish_load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* Shifts where rounding and zero point fit into the high halves of the products; smaller ones take both halves. */
enum { FINISH_HIGH_LEAST = 33, FINISH_HIGH_MOST = 54 };

/* What all results have in common. round: half a unit and the zero point. */
struct finish_all {
    __m256i round, res_zero, res_mul;
    __m128i shift;
};

/* What eight columns have in common. */
struct finish8 {
    __m256i add, mul, mul_odd;
};

static inline __attribute__((always_inline)) struct finish_all finish_all_of(const struct npu_qconv_attr *a,
                                                                             const bool high)
{
    const int64_t round = (INT64_C(1) << (a->shift - 1)) + a->y_zero * (INT64_C(1) << a->shift);

    return (struct finish_all){.round = high ? _mm256_set1_epi32((int32_t)(round >> 32)) : _mm256_set1_epi64x(round),
                               .res_zero = _mm256_set1_epi32(a->res_zero),
                               .res_mul = _mm256_set1_epi32(a->res_mul),
                               .shift = _mm_cvtsi32_si128(high ? a->shift - 32 : a->shift)};
}

static inline struct finish8 finish8_of(const struct finish *f, const uint32_t *offset, int64_t col)
{
    const __m256i mul = finish_load((const int32_t *)f->scale + col);

    return (struct finish8){finish_load(offset), mul, _mm256_srli_epi64(mul, 32)};
}

/* The low (0x88) or high (0xdd) halves of the products of columns 0, 2, 4, 6 and 1, 3, 5, 7. */
#define FINISH_HALVES(even, odd, which)                                                                                \
    _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(even), _mm256_castsi256_ps(odd), which))

/* Eight results before they are clamped; of each four columns in the order 0, 2, 1, 3. res: of the residual, or NULL.
 */
static inline __attribute__((always_inline)) __m256i finish8_sums(const struct finish_all *g, const struct finish8 *k,
                                                                  const int32_t *raw, const int8_t *res,
                                                                  const bool high)
{
    const __m256i s = _mm256_add_epi32(finish_load(raw), k->add);
    __m256i even = _mm256_mul_epi32(s, k->mul), odd = _mm256_mul_epi32(_mm256_srli_epi64(s, 32), k->mul_odd);
    __m256i top, sign, fits;

    if (res) {
        const __m128i q = _mm_loadl_epi64((const __m128i *)(const void *)res);
        const __m256i r = _mm256_sub_epi32(_mm256_cvtepi8_epi32(q), g->res_zero);

        even = _mm256_add_epi64(even, _mm256_mul_epi32(r, g->res_mul));
        odd = _mm256_add_epi64(odd, _mm256_mul_epi32(_mm256_srli_epi64(r, 32), g->res_mul));
    }
    if (high)
        return _mm256_sra_epi32(_mm256_add_epi32(FINISH_HALVES(even, odd, 0xdd), g->round), g->shift);
    even = _mm256_add_epi64(even, g->round);
    odd = _mm256_add_epi64(odd, g->round);
    top = FINISH_HALVES(even, odd, 0xdd);
    sign = _mm256_srai_epi32(top, 31);
    fits = _mm256_cmpeq_epi32(_mm256_sra_epi32(top, _mm_sub_epi32(g->shift, _mm_cvtsi32_si128(1))), sign);
    even = FINISH_HALVES(_mm256_srl_epi64(even, g->shift), _mm256_srl_epi64(odd, g->shift), 0x88);
    return _mm256_blendv_epi8(_mm256_xor_si256(sign, _mm256_set1_epi32(INT32_MAX)), even, fits);
}

/* Rows of eight or, if `both`, sixteen int8 results, ld sums from row to row; two rows at a time. high: by the high
 * halves alone, see above. */
static inline __attribute__((always_inline)) void finish_int8_rows(const struct finish *f, const int32_t *raw,
                                                                   int64_t ld, const uint32_t *offset, int64_t at,
                                                                   int64_t col, int64_t rows, const bool both,
                                                                   const bool high)
{
    const struct finish_all g = finish_all_of(f->a, high);
    const struct finish8 low8 = finish8_of(f, offset, col), high8 = both ? finish8_of(f, offset + 8, col + 8) : low8;
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15)); /* of packed columns */
    const __m256i lo = _mm256_set1_epi8(f->a->lo), hi = _mm256_set1_epi8(f->a->hi);

    for (int64_t i = 0; i < rows; i += 2) {
        __m256i y[2];

        for (int r = 0; r < 2; r++) { /* the last row may come twice */
            const int64_t row = i + r < rows ? i + r : i;
            const int8_t *res = f->res ? (const int8_t *)f->res + at + row * f->g->cout : NULL;
            const __m256i a = finish8_sums(&g, &low8, raw + row * ld, res, high);

            y[r] = _mm256_packs_epi32(a, both ? finish8_sums(&g, &high8, raw + row * ld + 8, res ? res + 8 : NULL, high)
                                              : a);
        }
        y[0] = _mm256_permute4x64_epi64(_mm256_packs_epi16(y[0], y[1]), 0xd8);
        y[0] = _mm256_shuffle_epi8(_mm256_min_epi8(_mm256_max_epi8(y[0], lo), hi), order);
        for (int r = 0; r < 2; r++) {
            const __m128i q = r ? _mm256_extracti128_si256(y[0], 1) : _mm256_castsi256_si128(y[0]);
            __m128i *to = (__m128i *)(void *)((int8_t *)f->y + at + (i + r < rows ? i + r : i) * f->g->cout);

            if (both)
                _mm_storeu_si128(to, q);
            else
                _mm_storel_epi64(to, q);
        }
    }
}

/* All blocks of eight columns of n: how many columns they are. */
static inline __attribute__((always_inline)) int64_t finish_int8_columns(const struct finish *f, const int32_t *raw,
                                                                         int64_t ld, const uint32_t *offset, int64_t at,
                                                                         int64_t col, int64_t rows, int64_t n,
                                                                         const bool high)
{
    int64_t j = 0;

    for (; j + 16 <= n; j += 16)
        finish_int8_rows(f, raw + j, ld, offset + j, at + j, col + j, rows, true, high);
    if (j + 8 <= n) {
        finish_int8_rows(f, raw + j, ld, offset + j, at + j, col + j, rows, false, high);
        j += 8;
    }
    return j;
}

static __attribute__((noinline)) int64_t finish_by_high(const struct finish *f, const int32_t *raw, int64_t ld,
                                                        const uint32_t *offset, int64_t at, int64_t col, int64_t rows,
                                                        int64_t n)
{
    return finish_int8_columns(f, raw, ld, offset, at, col, rows, n, true);
}

static __attribute__((noinline)) int64_t finish_by_both(const struct finish *f, const int32_t *raw, int64_t ld,
                                                        const uint32_t *offset, int64_t at, int64_t col, int64_t rows,
                                                        int64_t n)
{
    return finish_int8_columns(f, raw, ld, offset, at, col, rows, n, false);
}

static inline __m256 finish_residual8(const struct finish *f, int64_t at)
{
    const __m128i *half = (const __m128i *)(const void *)((const uint16_t *)f->res + at);

    if (f->g->res_type == NPU_F32)
        return _mm256_loadu_ps((const float *)f->res + at);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(half)), 16));
}

/* What eight columns of f32 results have in common. */
struct finish8_f32 {
    __m256 scale, bias;
    __m256i add;
};

static inline struct finish8_f32 finish8_f32_of(const struct finish *f, const uint32_t *offset, int64_t col)
{
    const __m256 step = _mm256_set1_ps(f->range ? f->range[0] : 1.0f),
                 scale = _mm256_loadu_ps((const float *)f->scale + col);

    return (struct finish8_f32){
        _mm256_mul_ps(step, scale),
        f->range && f->bias ? _mm256_loadu_ps((const float *)f->bias + col) : _mm256_setzero_ps(), finish_load(offset)};
}

/* more: a residual or an activation */
static inline __attribute__((always_inline)) __m256
finish8_f32_value(const struct finish *f, const struct finish8_f32 *k, const int32_t *raw, int64_t at, const bool more)
{
    const __m256 top = _mm256_set1_ps(f->a->act == NPU_ACT_RELU6 ? 6.0f : INFINITY);
    __m256 v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(finish_load(raw), k->add)), k->scale, k->bias);

    if (more && f->res)
        v = _mm256_add_ps(v, finish_residual8(f, at));
    if (more && f->a->act != NPU_ACT_NONE)
        v = _mm256_min_ps(_mm256_max_ps(v, _mm256_setzero_ps()), top);
    return v;
}

/* Rows of eight or, if `both`, sixteen f32 results, a line of the cache each. */
static inline __attribute__((always_inline)) void finish_f32_rows(const struct finish *f, const int32_t *raw,
                                                                  int64_t ld, const uint32_t *offset, int64_t at,
                                                                  int64_t col, int64_t rows, const bool both,
                                                                  const bool more)
{
    const struct finish8_f32 low = finish8_f32_of(f, offset, col),
                             high = both ? finish8_f32_of(f, offset + 8, col + 8) : low;

    for (int64_t i = 0; i < rows; i++, raw += ld, at += f->g->cout) {
        _mm256_storeu_ps((float *)f->y + at, finish8_f32_value(f, &low, raw, at, more));
        if (both)
            _mm256_storeu_ps((float *)f->y + at + 8, finish8_f32_value(f, &high, raw + 8, at + 8, more));
    }
}

/* All blocks of eight columns of n: how many columns they are. */
static __attribute__((noinline)) int64_t finish_f32_columns(const struct finish *f, const int32_t *raw, int64_t ld,
                                                            const uint32_t *offset, int64_t at, int64_t col,
                                                            int64_t rows, int64_t n)
{
    const bool more = f->res || f->a->act != NPU_ACT_NONE;
    int64_t j = 0;

    for (; j + 16 <= n; j += 16)
        if (more)
            finish_f32_rows(f, raw + j, ld, offset + j, at + j, col + j, rows, true, true);
        else
            finish_f32_rows(f, raw + j, ld, offset + j, at + j, col + j, rows, true, false);
    for (; j + 8 <= n; j += 8)
        finish_f32_rows(f, raw + j, ld, offset + j, at + j, col + j, rows, false, true);
    return j;
}
#endif

/* `rows` rows from result row m on, n columns from col on, of sums with ld from row to row; ld >= n rounded up to 8. */
static inline void finish_rows(const struct finish *f, const int32_t *raw, int64_t ld, const uint32_t *offset,
                               int64_t m, int64_t rows, int64_t col, int64_t n)
{
    int64_t j = 0;

#ifdef __AVX2__
    if (f->a->out_int8 && f->a->shift < FINISH_HIGH_LEAST)
        j = finish_by_both(f, raw, ld, offset, m * f->g->cout + col, col, rows, n);
    else if (f->a->out_int8 && f->a->shift <= FINISH_HIGH_MOST)
        j = finish_by_high(f, raw, ld, offset, m * f->g->cout + col, col, rows, n);
    else if (!f->a->out_int8)
        j = finish_f32_columns(f, raw, ld, offset, m * f->g->cout + col, col, rows, n);
#endif
    for (; j < n; j += 8)
        for (int64_t i = 0, count = n - j < 8 ? n - j : 8; i < rows; i++) {
            const int64_t at = (m + i) * f->g->cout + col + j;
            uint32_t sum[8];

            for (int64_t k = 0; k < count; k++)
                sum[k] = (uint32_t)raw[i * ld + j + k] + offset[j + k];
            if (f->a->out_int8)
                finish_int8(f, sum, at, col + j, count);
            else
                finish_f32(f, sum, at, col + j, count);
        }
}

#endif
