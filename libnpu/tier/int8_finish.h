/* int8_finish.h - from 32-bit sums of int8 products to results: bias, zero points, multiplier, residual, activation
 * (docs/LIBNPU.md, "int8"). Compiled with AVX2: eight results at a time, to the same bits.
 */
#ifndef NPU_TIER_INT8_FINISH_H
#define NPU_TIER_INT8_FINISH_H

#include "libnpu/tier/int8_native.h"

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

/* What eight columns have in common; shift >= 32, so that the high halves of the products do. */
struct finish8 {
    __m256i add, mul, mul_odd, half, res_zero, res_mul;
    __m128i shift;
};

static inline struct finish8 finish8_of(const struct finish *f, const uint32_t *offset, int64_t col)
{
    const struct npu_qconv_attr *a = f->a;
    const __m256i mul = finish_load((const int32_t *)f->scale + col);

    return (struct finish8){.add = finish_load(offset),
                            .mul = mul,
                            .mul_odd = _mm256_srli_epi64(mul, 32),
                            .half = _mm256_set1_epi64x(INT64_C(1) << (a->shift - 1)),
                            .res_zero = _mm256_set1_epi32(a->res_zero),
                            .res_mul = _mm256_set1_epi32(a->res_mul),
                            .shift = _mm_cvtsi32_si128(a->shift - 32)};
}

/* Eight sums, times their multipliers, shifted: before the zero point. res: of the residual, or NULL. */
static inline __m256i finish8_sums(const struct finish8 *k, const int32_t *raw, const int8_t *res)
{
    const __m256i s = _mm256_add_epi32(finish_load(raw), k->add);
    __m256i even = _mm256_add_epi64(_mm256_mul_epi32(s, k->mul), k->half);
    __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(s, 32), k->mul_odd), k->half);

    if (res) {
        const __m128i q = _mm_loadl_epi64((const __m128i *)(const void *)res);
        const __m256i r = _mm256_sub_epi32(_mm256_cvtepi8_epi32(q), k->res_zero);

        even = _mm256_add_epi64(even, _mm256_mul_epi32(r, k->res_mul));
        odd = _mm256_add_epi64(odd, _mm256_mul_epi32(_mm256_srli_epi64(r, 32), k->res_mul));
    }
    return _mm256_sra_epi32(_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa), k->shift);
}

/* Rows of eight or, if `both`, sixteen int8 results, ld sums from row to row. */
static inline __attribute__((always_inline)) void finish_int8_rows(const struct finish *f, const int32_t *raw,
                                                                   int64_t ld, const uint32_t *offset, int64_t at,
                                                                   int64_t col, int64_t rows, const bool both)
{
    const struct finish8 low = finish8_of(f, offset, col);
    const struct finish8 high = both ? finish8_of(f, offset + 8, col + 8) : low;
    const __m256i y_zero = _mm256_set1_epi16(f->a->y_zero);
    const __m128i lo = _mm_set1_epi8(f->a->lo), hi = _mm_set1_epi8(f->a->hi);

    for (int64_t i = 0; i < rows; i++, raw += ld, at += f->g->cout) {
        const int8_t *res = f->res ? (const int8_t *)f->res + at : NULL;
        const __m256i a = finish8_sums(&low, raw, res);
        const __m256i b = both ? finish8_sums(&high, raw + 8, res ? res + 8 : NULL) : a;
        const __m256i t = _mm256_adds_epi16(_mm256_packs_epi32(a, b), y_zero), q = _mm256_packs_epi16(t, t);
        __m128i y = _mm_unpacklo_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
        __m128i *to = (__m128i *)(void *)((int8_t *)f->y + at);

        y = _mm_min_epi8(_mm_max_epi8(y, lo), hi);
        if (both)
            _mm_storeu_si128(to, y);
        else
            _mm_storel_epi64(to, y);
    }
}

static inline __m256 finish_residual8(const struct finish *f, int64_t at)
{
    const __m128i *half = (const __m128i *)(const void *)((const uint16_t *)f->res + at);

    if (f->g->res_type == NPU_F32)
        return _mm256_loadu_ps((const float *)f->res + at);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(half)), 16));
}

static inline void finish_f32_rows(const struct finish *f, const int32_t *raw, int64_t ld, const uint32_t *offset,
                                   int64_t at, int64_t col, int64_t rows)
{
    const __m256 step = _mm256_set1_ps(f->range ? f->range[0] : 1.0f), zero = _mm256_setzero_ps();
    const __m256 scale = _mm256_mul_ps(step, _mm256_loadu_ps((const float *)f->scale + col));
    const __m256 bias = f->range && f->bias ? _mm256_loadu_ps((const float *)f->bias + col) : zero;
    const __m256 top = _mm256_set1_ps(f->a->act == NPU_ACT_RELU6 ? 6.0f : INFINITY);
    const __m256i add = finish_load(offset);

    for (int64_t i = 0; i < rows; i++, raw += ld, at += f->g->cout) {
        __m256 v = _mm256_cvtepi32_ps(_mm256_add_epi32(finish_load(raw), add));

        v = _mm256_fmadd_ps(v, scale, bias);
        if (f->res)
            v = _mm256_add_ps(v, finish_residual8(f, at));
        if (f->a->act != NPU_ACT_NONE)
            v = _mm256_min_ps(_mm256_max_ps(v, zero), top);
        _mm256_storeu_ps((float *)f->y + at, v);
    }
}
#endif

/* `rows` rows from result row m on, n columns from col on, of sums with ld from row to row; ld >= n rounded up to 8. */
static inline void finish_rows(const struct finish *f, const int32_t *raw, int64_t ld, const uint32_t *offset,
                               int64_t m, int64_t rows, int64_t col, int64_t n)
{
    int64_t j = 0;

#ifdef __AVX2__
    for (; j + 16 <= n && f->a->out_int8 && f->a->shift >= 32; j += 16)
        finish_int8_rows(f, raw + j, ld, offset + j, m * f->g->cout + col + j, col + j, rows, true);
    for (; j + 8 <= n && (!f->a->out_int8 || f->a->shift >= 32); j += 8)
        if (f->a->out_int8)
            finish_int8_rows(f, raw + j, ld, offset + j, m * f->g->cout + col + j, col + j, rows, false);
        else
            finish_f32_rows(f, raw + j, ld, offset + j, m * f->g->cout + col + j, col + j, rows);
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
