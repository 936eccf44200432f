/* exact_avx2_plain.c - kernels/exact_rows.cl, quantise.cl and moves of bytes as native functions with the same
 * arguments: bit by bit what the references say (libnpu/op/exact.c, quantise.c). */
#include "libnpu/tier/exact_avx2.h"

#ifdef __AVX2__
#include "libnpu/op/exact.h"
#include "libnpu/op/quant.h"
#include "libnpu/tier/exact_avx2_kernels.h"
#include "libnpu/tier/exact_avx2_simd.h"

/* ---- rows ---- */
/* R rows of n, each summed in sixteen lanes: the sums of x, or of (x - share of the sum)^2. R is known where these are
 * called, so that the rows' chains run side by side in registers. */
#define ALWAYS static inline __attribute__((always_inline))
enum { ROWS = 4 };

ALWAYS void row_sums(const float *x, int64_t n, const int R, float *ret_sum)
{
    __m256 s[ROWS][2];
    int64_t i = 0;

    for (int r = 0; r < R; r++)
        s[r][0] = s[r][1] = _mm256_setzero_ps();
    for (; i + NPU_X_LANES <= n; i += NPU_X_LANES)
        for (int r = 0; r < R; r++) {
            s[r][0] = _mm256_add_ps(s[r][0], _mm256_loadu_ps(x + r * n + i));
            s[r][1] = _mm256_add_ps(s[r][1], _mm256_loadu_ps(x + r * n + i + 8));
        }
    for (int r = 0; i < n && r < R; r++) {
        s[r][0] = _mm256_add_ps(s[r][0], x_load8(x + r * n + i, n - i));
        s[r][1] = _mm256_add_ps(s[r][1], x_load8(x + r * n + i + 8, n - i - 8));
    }
    for (int r = 0; r < R; r++)
        ret_sum[r] = x_sum16(s[r][0], s[r][1]);
}

ALWAYS void row_squares(const float *x, int64_t n, const int R, const float *sum, float share, float *ret_sum)
{
    const __m256 by = _mm256_set1_ps(-share);
    __m256 s[ROWS][2], whole[ROWS];
    int64_t i = 0;

    for (int r = 0; r < R; r++) {
        s[r][0] = s[r][1] = _mm256_setzero_ps();
        whole[r] = _mm256_set1_ps(sum[r]);
    }
    for (; i + NPU_X_LANES <= n; i += NPU_X_LANES)
        for (int r = 0; r < R; r++) {
            const __m256 d = _mm256_fmadd_ps(whole[r], by, _mm256_loadu_ps(x + r * n + i));
            const __m256 e = _mm256_fmadd_ps(whole[r], by, _mm256_loadu_ps(x + r * n + i + 8));

            s[r][0] = _mm256_fmadd_ps(d, d, s[r][0]);
            s[r][1] = _mm256_fmadd_ps(e, e, s[r][1]);
        }
    for (int r = 0; i < n && r < R; r++)
        for (int h = 0; h < 2; h++) {
            const int64_t left = n - i - 8 * h;
            const __m256 d = x_first8(_mm256_fmadd_ps(whole[r], by, x_load8(x + r * n + i + 8 * h, left)), left);

            s[r][h] = _mm256_fmadd_ps(d, d, s[r][h]);
        }
    for (int r = 0; r < R; r++)
        ret_sum[r] = x_sum16(s[r][0], s[r][1]);
}

struct norm {
    const float *gamma, *beta;
    int64_t n;
    float eps, share;
};

ALWAYS void layer_norm_rows(const struct norm *k, const float *x, float *y, const int R)
{
    float sum[ROWS], square[ROWS];

    row_sums(x, k->n, R, sum);
    row_squares(x, k->n, R, sum, k->share, square);
    for (int r = 0; r < R; r++)
        square[r] = npu_x_rsqrt(fmaf(square[r], k->share, k->eps));
    for (int r = 0; r < R; r++, x += k->n, y += k->n) {
        const __m256 whole = _mm256_set1_ps(sum[r]), by = _mm256_set1_ps(-k->share), inv = _mm256_set1_ps(square[r]);
        int64_t i = 0;

        for (; i + 8 <= k->n; i += 8) {
            const __m256 d = _mm256_mul_ps(_mm256_fmadd_ps(whole, by, _mm256_loadu_ps(x + i)), inv);

            _mm256_storeu_ps(y + i, _mm256_fmadd_ps(d, _mm256_loadu_ps(k->gamma + i), _mm256_loadu_ps(k->beta + i)));
        }
        if (i < k->n) {
            const int64_t left = k->n - i;
            const __m256 d = _mm256_mul_ps(_mm256_fmadd_ps(whole, by, load_some(x + i, left)), inv);

            store_some(y + i, left, _mm256_fmadd_ps(d, load_some(k->gamma + i, left), load_some(k->beta + i, left)));
        }
    }
}

static void layer_norm(const struct npu_native_call *c, int part, int n_parts)
{
    const struct norm k = {c->p[1], c->p[2], c->arg[7].i, c->arg[4].f, c->arg[5].f};
    const struct share s = share_of(c->arg[6].i, 1, part, n_parts);
    const float *x = c->p[0];
    float *y = c->p[3];
    int64_t r = s.from;

    for (; r + ROWS <= s.end; r += ROWS)
        layer_norm_rows(&k, x + r * k.n, y + r * k.n, ROWS);
    for (; r < s.end; r++)
        layer_norm_rows(&k, x + r * k.n, y + r * k.n, 1);
}

static float row_top(const float *x, int64_t n)
{
    __m256 top = _mm256_set1_ps(-INFINITY);

    for (int64_t i = 0; i < n; i += 8) {
        const __m256 m = _mm256_castsi256_ps(first_lanes((int)at_most(8, n - i)));

        top = _mm256_max_ps(_mm256_blendv_ps(top, load_some(x + i, n - i), m), top);
    }
    return max8(top);
}

static void softmax_row(const float *x, float *y, int64_t n)
{
    const __m256 top = _mm256_set1_ps(row_top(x, n));
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, inv;
    int64_t i = 0;

    for (; i + NPU_X_LANES <= n; i += NPU_X_LANES) {
        const __m256 e0 = x_exp8(_mm256_sub_ps(_mm256_loadu_ps(x + i), top));
        const __m256 e1 = x_exp8(_mm256_sub_ps(_mm256_loadu_ps(x + i + 8), top));

        s0 = _mm256_add_ps(s0, e0);
        s1 = _mm256_add_ps(s1, e1);
        _mm256_storeu_ps(y + i, e0);
        _mm256_storeu_ps(y + i + 8, e1);
    }
    for (int64_t left = n - i; left > 0; left -= 8, i += 8) {
        const __m256 e = x_first8(x_exp8(_mm256_sub_ps(load_some(x + i, left), top)), left);

        store_some(y + i, left, e);
        if (i % NPU_X_LANES == 0)
            s0 = _mm256_add_ps(s0, e);
        else
            s1 = _mm256_add_ps(s1, e);
    }
    inv = x_recip8(_mm256_set1_ps(x_sum16(s0, s1)));
    for (i = 0; i < n; i += 8)
        store_some(y + i, n - i, _mm256_mul_ps(load_some(y + i, n - i), inv));
}

static void softmax(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t n = c->arg[3].i;
    const struct share rows = share_of(c->arg[2].i, 1, part, n_parts);

    for (int64_t r = rows.from; r < rows.end; r++)
        softmax_row((const float *)c->p[0] + r * n, (float *)c->p[1] + r * n, n);
}

static void reduce_rows(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t n = c->arg[4].i;
    const struct share s = share_of(c->arg[3].i, 1, part, n_parts);
    float sum;

    for (int64_t r = s.from; r < s.end; r++) {
        row_sums((const float *)c->p[0] + r * n, n, 1, &sum);
        ((float *)c->p[1])[r] = sum * c->arg[2].f;
    }
}

/* x [a, r, b] -> y [a, b]: eight columns, sixteen lanes of each */
static void reduce_cols(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t nr = c->arg[4].i, nb = c->arg[5].i, strips = (nb + 7) / 8;
    const struct share s = share_of(c->arg[3].i * strips, 1, part, n_parts);

    for (int64_t q = s.from; q < s.end; q++) {
        const int64_t j = q % strips * 8, n = nb - j;
        const float *x = (const float *)c->p[0] + q / strips * nr * nb + j;
        __m256 lane[NPU_X_LANES];

        for (int k = 0; k < NPU_X_LANES; k++)
            lane[k] = _mm256_setzero_ps();
        for (int64_t r = 0; r < nr; r++)
            lane[r % NPU_X_LANES] = _mm256_add_ps(lane[r % NPU_X_LANES], load_some(x + r * nb, n));
        for (int half = NPU_X_LANES / 2; half > 0; half /= 2)
            for (int k = 0; k < half; k++)
                lane[k] = _mm256_add_ps(lane[k], lane[k + half]);
        store_some((float *)c->p[1] + q / strips * nb + j, n, _mm256_mul_ps(lane[0], _mm256_set1_ps(c->arg[2].f)));
    }
}

static void mean_pool(const struct npu_native_call *c, int part, int n_parts)
{
    const struct npu_arg *a = c->arg + 2;
    const int64_t h = a[1].i, w = a[2].i, ch = a[3].i, oh = a[4].i, ow = a[5].i;
    const int64_t size = a[6].i, stride = a[7].i, pad = a[8].i;
    const struct share s = share_of(a[0].i * oh * ow, 1, part, n_parts);

    for (int64_t o = s.from; o < s.end; o++) {
        const int64_t top = o / ow % oh * stride - pad, left = o % ow * stride - pad;
        const int64_t y0 = at_least(0, top), y1 = at_most(h, top + size);
        const int64_t x0 = at_least(0, left), x1 = at_most(w, left + size);
        const float *x = (const float *)c->p[0] + o / ow / oh * h * w * ch;
        const __m256 share = _mm256_set1_ps(npu_x_recip((float)((y1 - y0) * (x1 - x0))));

        for (int64_t j = 0; j < ch; j += 8) {
            __m256 v = _mm256_setzero_ps();

            for (int64_t y = y0; y < y1; y++)
                for (int64_t i = x0; i < x1; i++)
                    v = _mm256_add_ps(v, load_some(x + (y * w + i) * ch + j, ch - j));
            store_some((float *)c->p[1] + o * ch + j, ch - j, _mm256_mul_ps(v, share));
        }
    }
}

/* ---- element by element ---- */
#define ELEMENTWISE(name, f)                                                                                           \
    static void name(const struct npu_native_call *c, int part, int n_parts)                                           \
    {                                                                                                                  \
        const struct share s = share_of(c->arg[2].i, 8, part, n_parts);                                                \
                                                                                                                       \
        for (int64_t i = s.from; i < s.end; i += 8)                                                                    \
            store_some((float *)c->p[1] + i, s.end - i, f(load_some((const float *)c->p[0] + i, s.end - i)));          \
    }
ELEMENTWISE(all_relu, x_relu8)
ELEMENTWISE(all_relu6, x_relu68)
ELEMENTWISE(all_gelu, x_gelu8)
ELEMENTWISE(all_sigmoid, x_sigmoid8)
ELEMENTWISE(all_tanh, x_tanh8)
ELEMENTWISE(all_exp, x_exp8)
ELEMENTWISE(all_abs, x_abs8)
ELEMENTWISE(all_gelu_erf, x_gelu_erf8)

void npu_exact_avx2_act(const struct npu_native_call *c, int part, int n_parts)
{
    const struct share s = share_of(c->arg[1].i, 8, part, n_parts);

    for (int64_t i = s.from; i < s.end; i += 8)
        store_some((float *)c->p[0] + i, s.end - i,
                   x_act8(load_some((const float *)c->p[0] + i, s.end - i), c->arg[2].i));
}

/* ---- between f32 and int8 ---- */
static __m256i to_int8(__m256 x, __m256 inv, __m256i zero)
{
    /* NaN becomes 512 */
    const __m256 v = _mm256_min_ps(_mm256_mul_ps(x, inv), _mm256_set1_ps(512.0f));

    return _mm256_add_epi32(_mm256_cvtps_epi32(_mm256_max_ps(v, _mm256_set1_ps(-512.0f))), zero);
}

static void quantise_all(const float *x, int8_t *y, struct share s, float inv, int zero)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7), z = _mm256_set1_epi32(zero);
    const __m256 by = _mm256_set1_ps(inv);
    int64_t i = s.from;

    for (; i + 32 <= s.end; i += 32) {
        const __m256i a =
            _mm256_packs_epi32(to_int8(_mm256_loadu_ps(x + i), by, z), to_int8(_mm256_loadu_ps(x + i + 8), by, z));
        const __m256i b = _mm256_packs_epi32(to_int8(_mm256_loadu_ps(x + i + 16), by, z),
                                             to_int8(_mm256_loadu_ps(x + i + 24), by, z));

        _mm256_storeu_si256((__m256i *)(void *)(y + i), _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), order));
    }
    for (; i < s.end; i++)
        y[i] = npu_q_from_f32(x[i], inv, zero);
}

static void quantise(const struct npu_native_call *c, int part, int n_parts)
{
    quantise_all(c->p[0], c->p[1], share_of(c->arg[4].i, 32, part, n_parts), c->arg[2].f, c->arg[3].i);
}

static void quantise_range(const struct npu_native_call *c, int part, int n_parts)
{
    const float *range = c->p[2];

    quantise_all(c->p[0], c->p[1], share_of(c->arg[3].i, 32, part, n_parts), range[1], (int)range[2]);
}

static void dequantise(const struct npu_native_call *c, int part, int n_parts)
{
    const struct share s = share_of(c->arg[4].i, 8, part, n_parts);
    const int8_t *x = c->p[0];
    const float scale = c->arg[2].f;
    const int zero = c->arg[3].i;

    for (int64_t i = s.from; i < s.end; i++)
        ((float *)c->p[1])[i] = (float)(x[i] - zero) * scale;
}

/* Arguments: x, parts' ranges, elements, elements of a part. */
static void range_parts(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t n = c->arg[2].i, len = c->arg[3].i;
    const struct share s = share_of((n + len - 1) / len, 1, part, n_parts);

    for (int64_t p = s.from; p < s.end; p++) {
        const float *x = (const float *)c->p[0] + p * len;
        const int64_t count = at_most(len, n - p * len);
        __m256 lo = _mm256_setzero_ps(), hi = lo;

        for (int64_t i = 0; i < count; i += 8) { /* NaN leaves what there was */
            const __m256 v = load_some(x + i, count - i);

            lo = _mm256_min_ps(v, lo);
            hi = _mm256_max_ps(v, hi);
        }
        ((float *)c->p[1])[2 * p] = -max8(_mm256_xor_ps(lo, _mm256_set1_ps(-0.0f)));
        ((float *)c->p[1])[2 * p + 1] = max8(hi);
    }
}

static void range_whole(const struct npu_native_call *c, int part, int n_parts)
{
    const float *end = c->p[0];
    float lo = 0.0f, hi = 0.0f, *range = c->p[1];
    struct npu_q_range r;

    if (part > 0)
        return;
    for (int64_t p = 0; p < c->arg[2].i; p++) {
        lo = end[2 * p] < lo ? end[2 * p] : lo;
        hi = end[2 * p + 1] > hi ? end[2 * p + 1] : hi;
    }
    r = npu_q_range(lo, hi);
    range[0] = r.scale;
    range[1] = r.inv;
    range[2] = (float)r.zero;
}

const struct npu_exact_plain npu_exact_plain[] = {
    {"exact_rows", "layer_norm", NULL, "ffff", layer_norm},
    {"exact_rows", "softmax", NULL, "ff", softmax},
    {"exact_rows", "reduce_rows", NULL, "ff", reduce_rows},
    {"exact_rows", "reduce_cols", NULL, "ff", reduce_cols},
    {"exact_rows", "mean_pool", NULL, "ff", mean_pool},
    {"exact_rows", "unary", "-DKIND=0", "ff", all_relu},
    {"exact_rows", "unary", "-DKIND=1", "ff", all_relu6},
    {"exact_rows", "unary", "-DKIND=2", "ff", all_gelu},
    {"exact_rows", "unary", "-DKIND=3", "ff", all_sigmoid},
    {"exact_rows", "unary", "-DKIND=4", "ff", all_tanh},
    {"exact_rows", "unary", "-DKIND=5", "ff", all_exp},
    {"exact_rows", "unary", "-DKIND=6", "ff", all_abs},
    {"exact_rows", "unary", "-DKIND=7", "ff", all_gelu_erf},
    {"quantise", "quantise", NULL, "fb", quantise},
    {"quantise", "dequantise", NULL, "bf", dequantise},
    {"quantise", "range_parts", NULL, "f", range_parts},
    {"quantise", "range_whole", NULL, "f", range_whole},
    {"quantise", "quantise_range", NULL, "fbf", quantise_range},
    {"copy", "copy_rows", NULL, "bb", npu_exact_bytes_copy},
    {"copy", "permute_rows", NULL, "bb", npu_exact_bytes_permute_rows},
    {"copy", "permute_tiles", NULL, "bb", npu_exact_bytes_permute_tiles},
    {"pool", "max_pool", NULL, "bb", npu_exact_bytes_max_pool},
    {NULL, NULL, NULL, NULL, NULL},
};
#else
const struct npu_exact_plain npu_exact_plain[] = {{NULL, NULL, NULL, NULL, NULL}};
#endif
