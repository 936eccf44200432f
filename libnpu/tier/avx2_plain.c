/* avx2_plain.c - simple OpenCL kernels as native functions with the same arguments, for f32 tensors: so that
 * nothing of a network needs OpenCL. */
#include "libnpu/tier/avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/avx2_simd.h"

/* ---- broadcasting ---- */
/* y, or y times x: one row of z; kind < 0: no x */
static void binary_row(const float *x, const float *y, float *z, int64_t n, bool step, int kind, float mul)
{
    for (int64_t j = 0; j < n; j += 8) {
        const int64_t left = n - j;
        const __m256 b = step ? load_some(y + j, left) : _mm256_set1_ps(y[0]);
        const __m256 a = kind < 0 ? _mm256_set1_ps(mul) : load_some(x + j, left);

        store_some(z + j, left,
                   kind == 0   ? _mm256_add_ps(a, b)
                   : kind == 1 ? _mm256_sub_ps(a, b)
                               : _mm256_mul_ps(a, b));
    }
}

static void broadcast(const struct npu_arg *a, const float *x, const float *y, float *z, int kind, float mul, int part,
                      int n_parts)
{
    const int64_t inner = a[0].i, rows = a[1].i, step = a[2].i;
    const struct share in = rows == 1 ? share_of(inner, 8, part, n_parts) : (struct share){0, inner};
    const struct share r = rows == 1 ? (struct share){0, 1} : share_of(rows, 1, part, n_parts);

    for (int64_t row = r.from; row < r.end; row++)
        binary_row(x ? x + row * inner + in.from : NULL, y + bcast_base(a, row) + in.from * step,
                   z + row * inner + in.from, in.end - in.from, step, kind, mul);
}

static void binary(const struct npu_native_call *c, int part, int n_parts)
{
    broadcast(c->arg + 4, c->p[0], c->p[1], c->p[2], c->arg[3].i, 1.0f, part, n_parts);
}
static void expand(const struct npu_native_call *c, int part, int n_parts)
{
    broadcast(c->arg + 3, NULL, c->p[0], c->p[1], -1, c->arg[2].f, part, n_parts);
}

/* ---- element by element ---- */
/* tanh(x) = 1 - 2 / (e^2x + 1), but its series near 0, where that cancels (kernels/unary.cl) */
static __m256 tanh8(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0f), s = _mm256_mul_ps(x, x);
    const __m256 e = _mm256_add_ps(exp8(_mm256_add_ps(x, x)), one);
    const __m256 big = _mm256_sub_ps(one, _mm256_div_ps(_mm256_set1_ps(2.0f), e));
    __m256 p = _mm256_set1_ps(-5.70498872745e-3f);

    p = _mm256_fmadd_ps(p, s, _mm256_set1_ps(2.06390887954e-2f));
    p = _mm256_fmadd_ps(p, s, _mm256_set1_ps(-5.37397155531e-2f));
    p = _mm256_fmadd_ps(p, s, _mm256_set1_ps(1.33314422036e-1f));
    p = _mm256_fmadd_ps(p, s, _mm256_set1_ps(-3.33332819422e-1f));
    p = _mm256_fmadd_ps(_mm256_mul_ps(p, s), x, x);
    return _mm256_blendv_ps(big, p, _mm256_cmp_ps(s, _mm256_set1_ps(0.390625f), _CMP_LT_OQ));
}

/* Abramowitz and Stegun 7.1.26, and the series near 0 (kernels/erf.cl) */
static __m256 erf8(__m256 x)
{
    const __m256 sign = _mm256_and_ps(x, _mm256_set1_ps(-0.0f)), a = _mm256_xor_ps(x, sign);
    const __m256 one = _mm256_set1_ps(1.0f), s = _mm256_mul_ps(x, x);
    const __m256 t = _mm256_div_ps(one, _mm256_fmadd_ps(_mm256_set1_ps(0.3275911f), a, one));
    __m256 p = _mm256_set1_ps(1.061405429f), near;

    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(-1.453152027f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(1.421413741f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(-0.284496736f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(0.254829592f));
    p = _mm256_mul_ps(p, t);
    p = _mm256_or_ps(_mm256_fnmadd_ps(p, exp8(_mm256_sub_ps(_mm256_setzero_ps(), s)), one), sign);
    near = _mm256_fnmadd_ps(s, _mm256_set1_ps(0.112837917f), _mm256_set1_ps(0.376126389f));
    near = _mm256_mul_ps(x, _mm256_fnmadd_ps(s, near, _mm256_set1_ps(1.12837916710f)));
    return _mm256_blendv_ps(p, near, _mm256_cmp_ps(s, _mm256_set1_ps(1e-2f), _CMP_LT_OQ));
}

static __m256 gelu_erf8(__m256 x)
{
    const __m256 e = erf8(_mm256_mul_ps(x, _mm256_set1_ps(0.70710678118f)));

    return _mm256_mul_ps(_mm256_mul_ps(x, _mm256_set1_ps(0.5f)), _mm256_add_ps(e, _mm256_set1_ps(1.0f)));
}
static __m256 abs8(__m256 x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}
static __m256 relu8(__m256 x)
{
    return act8(x, NPU_ACT_RELU);
}
static __m256 relu68(__m256 x)
{
    return act8(x, NPU_ACT_RELU6);
}
static __m256 gelu8(__m256 x)
{
    return act8(x, NPU_ACT_GELU);
}
static __m256 sigmoid8(__m256 x)
{
    return act8(x, NPU_ACT_SIGMOID);
}

#define ELEMENTWISE(name, f)                                                                                           \
    static void name(const struct npu_native_call *c, int part, int n_parts)                                           \
    {                                                                                                                  \
        const struct share s = share_of(c->arg[2].i, 8, part, n_parts);                                                \
        const float *x = c->p[0];                                                                                      \
        float *y = c->p[1];                                                                                            \
        int64_t i = s.from;                                                                                            \
                                                                                                                       \
        for (; i + 8 <= s.end; i += 8)                                                                                 \
            _mm256_storeu_ps(y + i, f(_mm256_loadu_ps(x + i)));                                                        \
        if (i < s.end)                                                                                                 \
            store_some(y + i, s.end - i, f(load_some(x + i, s.end - i)));                                              \
    }
ELEMENTWISE(all_relu, relu8)
ELEMENTWISE(all_relu6, relu68)
ELEMENTWISE(all_gelu, gelu8)
ELEMENTWISE(all_sigmoid, sigmoid8)
ELEMENTWISE(all_tanh, tanh8)
ELEMENTWISE(all_exp, exp8)
ELEMENTWISE(all_abs, abs8)
ELEMENTWISE(all_erf, erf8)
ELEMENTWISE(all_gelu_erf, gelu_erf8)

static void scale(const struct npu_native_call *c, int part, int n_parts)
{
    const struct share s = share_of(c->arg[4].i, 8, part, n_parts);
    const __m256 mul = _mm256_set1_ps(c->arg[2].f), add = _mm256_set1_ps(c->arg[3].f);
    const float *x = c->p[0];
    float *y = c->p[1];

    for (int64_t i = s.from; i < s.end; i += 8)
        store_some(y + i, s.end - i, _mm256_fmadd_ps(mul, load_some(x + i, s.end - i), add));
}

/* ---- moves ---- */
static void copy_rows(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t at = c->arg[2].i, x_stride = c->arg[3].i, to = c->arg[4].i, y_stride = c->arg[5].i;
    const int64_t len = c->arg[7].i;
    const struct share s = share_of(c->arg[6].i, 1, part, n_parts);

    for (int64_t r = s.from; r < s.end; r++)
        memmove((float *)c->p[1] + r * y_stride + to, (const float *)c->p[0] + r * x_stride + at,
                sizeof(float) * (size_t)len);
}

static void pad_rows(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t len = c->arg[2].i, to = c->arg[3].i, y_len = c->arg[4].i;
    const struct share s = share_of(c->arg[5].i, 1, part, n_parts);

    for (int64_t r = s.from; r < s.end; r++) {
        float *y = (float *)c->p[1] + r * y_len;

        memset(y, 0, sizeof(float) * (size_t)to);
        if (len > 0)
            memcpy(y + to, (const float *)c->p[0] + r * len, sizeof(float) * (size_t)len);
        memset(y + to + len, 0, sizeof(float) * (size_t)(y_len - to - len));
    }
}

static void permute_rows(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t inner = c->arg[2].i;
    const struct share s = share_of(c->arg[3].i, 1, part, n_parts);

    for (int64_t r = s.from; r < s.end; r++)
        memcpy((float *)c->p[1] + r * inner, (const float *)c->p[0] + bcast_base(c->arg + 2, r),
               sizeof(float) * (size_t)inner);
}

/* The last axis of x, q, and the one that becomes last are walked in tiles; arguments as in kernels/copy.cl. */
static void permute_tiles(const struct npu_native_call *c, int part, int n_parts)
{
    enum { TILE = 16 };
    const struct npu_arg *a = c->arg + 2;
    const int64_t n0 = a[0].i, s0 = a[1].i, nq = a[2].i, oq = a[3].i, tiles_q = (nq + TILE - 1) / TILE;
    const struct share s = share_of(a[4].i * tiles_q, 1, part, n_parts);

    for (int64_t t = s.from; t < s.end; t++) {
        const int64_t q = t % tiles_q * TILE, q_end = at_most(q + TILE, nq);
        const float *x = c->p[0];
        float *y = c->p[1];
        int64_t k = t / tiles_q;

        for (int i = 0; i < 4; i++) { /* size, step in x, step in y of an outer axis */
            const struct npu_arg *outer = a + 5 + 3 * (ptrdiff_t)i;
            const int64_t at = i < 3 ? k % outer[0].i : k;

            x += at * outer[1].i;
            y += at * outer[2].i;
            k /= outer[0].i;
        }
        for (int64_t i = 0; i < n0; i += TILE)
            for (int64_t b = q; b < q_end; b++)
                for (int64_t e = i; e < at_most(i + TILE, n0); e++)
                    y[b * oq + e] = x[e * s0 + b];
    }
}

/* ---- sums over the middle of [a, r, b]: arguments mul, a, r, b, parts, len from 2 on (kernels/reduce.cl) ---- */
static float row_sum(const float *x, int64_t n)
{
    __m256 s[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};

    for (int64_t i = 0; i < n; i += 8)
        s[i / 8 % 4] = _mm256_add_ps(s[i / 8 % 4], load_some(x + i, n - i));
    return sum8(_mm256_add_ps(_mm256_add_ps(s[0], s[1]), _mm256_add_ps(s[2], s[3])));
}

/* Of n <= WIDE columns of [rows, nb]: even rows and odd rows, then both. */
enum { WIDE = 32 };
static inline __attribute__((always_inline)) void column_sums(const float *x, float *y, int64_t rows, int64_t nb,
                                                              int64_t n, __m256 mul)
{
    __m256 a[WIDE / 8], b[WIDE / 8];
    const int64_t vectors = (n + 7) / 8;
    int64_t r = 0;

    for (int64_t u = 0; u < vectors; u++)
        a[u] = b[u] = _mm256_setzero_ps();
    for (; r + 1 < rows; r += 2)
        for (int64_t u = 0; u < vectors; u++) {
            a[u] = _mm256_add_ps(a[u], load_some(x + r * nb + u * 8, n - u * 8));
            b[u] = _mm256_add_ps(b[u], load_some(x + (r + 1) * nb + u * 8, n - u * 8));
        }
    for (int64_t u = 0; u < vectors; u++) {
        if (r < rows)
            a[u] = _mm256_add_ps(a[u], load_some(x + r * nb + u * 8, n - u * 8));
        store_some(y + u * 8, n - u * 8, _mm256_mul_ps(mul, _mm256_add_ps(a[u], b[u])));
    }
}

static void sums(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t nr = c->arg[4].i, nb = c->arg[5].i, cut = c->arg[6].i, len = c->arg[7].i;
    const struct share s = share_of(c->arg[3].i * cut, 1, part, n_parts);
    const __m256 mul = _mm256_set1_ps(c->arg[2].f);

    for (int64_t q = s.from; q < s.end; q++) {
        const int64_t at = q % cut * len, rows = at_most(len, nr - at);
        const float *x = (const float *)c->p[0] + (q / cut * nr + at) * nb;
        float *y = (float *)c->p[1] + q * nb;

        if (nb == 1) {
            y[0] = c->arg[2].f * row_sum(x, rows);
            continue;
        }
        for (int64_t j = 0; j < nb;) {
            const int64_t n = nb - j >= WIDE ? WIDE : at_most(8, nb - j);

            if (n == WIDE)
                column_sums(x + j, y + j, rows, nb, WIDE, mul);
            else
                column_sums(x + j, y + j, rows, nb, n, mul);
            j += n;
        }
    }
}

static void final_sums(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t cut = c->arg[4].i, nb = c->arg[5].i;
    const struct share s = share_of(c->arg[3].i, 1, part, n_parts);

    for (int64_t q = s.from; q < s.end; q++)
        for (int64_t j = 0; j < nb; j += 8) {
            const float *x = (const float *)c->p[0] + q * cut * nb + j;
            __m256 sum = _mm256_setzero_ps();

            for (int64_t p = 0; p < cut; p++)
                sum = _mm256_add_ps(sum, load_some(x + p * nb, nb - j));
            store_some((float *)c->p[1] + q * nb + j, nb - j, _mm256_mul_ps(_mm256_set1_ps(c->arg[2].f), sum));
        }
}

/* ---- pictures ---- */
static inline __attribute__((always_inline)) void pool(const struct npu_native_call *c, int part, int n_parts, bool max)
{
    const struct npu_arg *a = c->arg + 2;
    const int64_t h = a[1].i, w = a[2].i, ch = a[3].i, oh = a[4].i, ow = a[5].i;
    const int64_t kernel = a[6].i, stride = a[7].i, pad = a[8].i;
    const struct share s = share_of(a[0].i * oh * ow, 1, part, n_parts);

    for (int64_t o = s.from; o < s.end; o++) {
        const int64_t top = o / ow % oh * stride - pad, left = o % ow * stride - pad;
        const int64_t y0 = at_least(0, top), y1 = at_most(h, top + kernel);
        const int64_t x0 = at_least(0, left), x1 = at_most(w, left + kernel);
        const float *x = (const float *)c->p[0] + o / ow / oh * h * w * ch;
        const __m256 count = _mm256_set1_ps((float)((y1 - y0) * (x1 - x0)));

        for (int64_t j = 0; j < ch; j += 8) {
            __m256 v = _mm256_set1_ps(max ? -INFINITY : 0.0f);

            for (int64_t y = y0; y < y1; y++)
                for (int64_t i = x0; i < x1; i++) {
                    const __m256 t = load_some(x + (y * w + i) * ch + j, ch - j);

                    v = max ? _mm256_max_ps(t, v) : _mm256_add_ps(v, t);
                }
            store_some((float *)c->p[1] + o * ch + j, ch - j, max ? v : _mm256_div_ps(v, count));
        }
    }
}

static void max_pool(const struct npu_native_call *c, int part, int n_parts)
{
    pool(c, part, n_parts, true);
}
static void mean_pool(const struct npu_native_call *c, int part, int n_parts)
{
    pool(c, part, n_parts, false);
}

static float tap(int64_t o, int64_t in, int64_t out, bool bilinear, int64_t *ret_first)
{
    const int64_t t = at_least((2 * o + 1) * in - (bilinear ? out : 0), 0), first = t / (2 * out);

    *ret_first = first;
    return bilinear ? (float)(t - first * 2 * out) / (float)(2 * out) : 0.0f;
}

static __m256 mix(__m256 a, __m256 b, float share)
{
    return _mm256_fmadd_ps(_mm256_set1_ps(share), b, _mm256_mul_ps(_mm256_set1_ps(1.0f - share), a));
}

static void resize(const struct npu_native_call *c, int part, int n_parts)
{
    const struct npu_arg *a = c->arg + 2;
    const int64_t h = a[1].i, w = a[2].i, oh = a[3].i, ow = a[4].i, ch = a[5].i;
    const bool bilinear = a[6].i;
    const struct share s = share_of(a[0].i * oh * ow, 1, part, n_parts);

    for (int64_t o = s.from; o < s.end; o++) {
        int64_t iy, ix;
        const float fy = tap(o / ow % oh, h, oh, bilinear, &iy), fx = tap(o % ow, w, ow, bilinear, &ix);
        const int64_t x0 = at_most(ix, w - 1), x1 = at_most(ix + 1, w - 1);
        const float *above = (const float *)c->p[0] + (o / ow / oh * h + at_most(iy, h - 1)) * w * ch;
        const float *below = (const float *)c->p[0] + (o / ow / oh * h + at_most(iy + 1, h - 1)) * w * ch;
        float *y = (float *)c->p[1] + o * ch;

        if (!bilinear) {
            memcpy(y, above + x0 * ch, sizeof(float) * (size_t)ch);
            continue;
        }
        for (int64_t j = 0; j < ch; j += 8) {
            const int64_t n = ch - j;
            const __m256 up = mix(load_some(above + x0 * ch + j, n), load_some(above + x1 * ch + j, n), fx);
            const __m256 low = mix(load_some(below + x0 * ch + j, n), load_some(below + x1 * ch + j, n), fx);

            store_some(y + j, n, mix(up, low, fy));
        }
    }
}

/* ---- rows ---- */
static void softmax(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t n = c->arg[3].i;
    const struct share s = share_of(c->arg[2].i, 1, part, n_parts);

    for (int64_t r = s.from; r < s.end; r++) {
        const float *x = (const float *)c->p[0] + r * n;
        float *y = (float *)c->p[1] + r * n;
        float top = -INFINITY;
        __m256 sum = _mm256_setzero_ps(), inv;

        for (int64_t i = 0; i < n; i++)
            top = x[i] > top ? x[i] : top;
        for (int64_t i = 0; i < n; i += 8) {
            __m256 v = exp8(_mm256_sub_ps(load_some(x + i, n - i), _mm256_set1_ps(top)));

            if (n - i < 8)
                v = _mm256_and_ps(v, _mm256_castsi256_ps(first_lanes((int)(n - i))));
            sum = _mm256_add_ps(sum, v);
            store_some(y + i, n - i, v);
        }
        inv = _mm256_set1_ps(1.0f / sum8(sum));
        for (int64_t i = 0; i < n; i += 8)
            store_some(y + i, n - i, _mm256_mul_ps(inv, load_some(y + i, n - i)));
    }
}

static void prelu(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t inner = c->arg[4].i, each = c->arg[5].i;
    const struct share s = share_of(c->arg[3].i, 1, part, n_parts);

    for (int64_t r = s.from; r < s.end; r++)
        for (int64_t j = 0; j < inner; j += 8) {
            const __m256 v = load_some((const float *)c->p[0] + r * inner + j, inner - j);
            const float *slope = c->p[1];
            const __m256 low = _mm256_mul_ps(v, each ? load_some(slope + j, inner - j) : _mm256_set1_ps(slope[0]));

            store_some((float *)c->p[2] + r * inner + j, inner - j,
                       _mm256_blendv_ps(low, v, _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_GT_OQ)));
        }
}

const struct npu_avx2_plain npu_avx2_plain[] = {
    {"binary", "binary", NULL, binary, {NPU_AVX2_VIEW, 4, 0x5, 0x4}},
    {"binary", "expand", NULL, expand, {.by = NPU_AVX2_NOT_CUT}},
    {"unary", "unary", "-DKIND=0", all_relu, {NPU_AVX2_EIGHTS, 2, 0x3, 0x2}},
    {"unary", "unary", "-DKIND=1", all_relu6, {NPU_AVX2_EIGHTS, 2, 0x3, 0x2}},
    {"unary", "unary", "-DKIND=2", all_gelu, {NPU_AVX2_EIGHTS, 2, 0x3, 0x2}},
    {"unary", "unary", "-DKIND=3", all_sigmoid, {NPU_AVX2_EIGHTS, 2, 0x3, 0x2}},
    {"unary", "unary", "-DKIND=4", all_tanh, {NPU_AVX2_EIGHTS, 2, 0x3, 0x2}},
    {"unary", "unary", "-DKIND=5", all_exp, {NPU_AVX2_EIGHTS, 2, 0x3, 0x2}},
    {"unary", "unary", "-DKIND=6", all_abs, {NPU_AVX2_EIGHTS, 2, 0x3, 0x2}},
    {"erf", "erf_all", NULL, all_erf, {NPU_AVX2_EIGHTS, 2, 0x3, 0x2}},
    {"erf", "gelu_erf", NULL, all_gelu_erf, {NPU_AVX2_EIGHTS, 2, 0x3, 0x2}},
    {"scale", "scale", NULL, scale, {NPU_AVX2_EIGHTS, 4, 0x3, 0x2}},
    {"copy", "copy_rows", NULL, copy_rows, {.by = NPU_AVX2_NOT_CUT}},
    {"copy", "pad_rows", NULL, pad_rows, {.by = NPU_AVX2_NOT_CUT}},
    {"copy", "permute_rows", NULL, permute_rows, {.by = NPU_AVX2_NOT_CUT}},
    {"copy", "permute_tiles", NULL, permute_tiles, {.by = NPU_AVX2_NOT_CUT}},
    {"reduce", "reduce_rows", NULL, sums, {.by = NPU_AVX2_NOT_CUT}},
    {"reduce", "reduce_rows_part", NULL, sums, {.by = NPU_AVX2_NOT_CUT}},
    {"reduce", "reduce_cols", NULL, sums, {.by = NPU_AVX2_NOT_CUT}},
    {"reduce", "reduce_cols_part", NULL, sums, {.by = NPU_AVX2_NOT_CUT}},
    {"reduce", "reduce_final", NULL, final_sums, {.by = NPU_AVX2_NOT_CUT}},
    {"pool", "max_pool", NULL, max_pool, {.by = NPU_AVX2_NOT_CUT}},
    {"pool", "mean_pool", NULL, mean_pool, {.by = NPU_AVX2_NOT_CUT}},
    {"resize", "resize", NULL, resize, {.by = NPU_AVX2_NOT_CUT}},
    {"softmax", "softmax", NULL, softmax, {.by = NPU_AVX2_NOT_CUT}},
    {"prelu", "prelu", NULL, prelu, {.by = NPU_AVX2_NOT_CUT}},
    {.source = NULL},
};
#else
const struct npu_avx2_plain npu_avx2_plain[] = {{.source = NULL}};
#endif
