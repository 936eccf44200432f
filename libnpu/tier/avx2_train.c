/* avx2_train.c - simple OpenCL kernels of training as native functions with the same arguments, for f32 tensors: batch
 * norm, gradients, losses, optimisers. The order of sums is given by the arguments alone. */
#include "libnpu/tier/avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/avx2_rows.h"

enum { RUN = 64, COLUMNS = 32 }; /* rows whose sums are added up by themselves; columns walked together */

static inline __m256 rsqrt_of(const float *var, int64_t left, float eps)
{
    const __m256 v = _mm256_add_ps(load_some(var, left), _mm256_set1_ps(eps));

    return _mm256_div_ps(_mm256_set1_ps(1.0f), _mm256_sqrt_ps(v));
}

/* ---- batch norm (kernels/batch_norm.cl): sums over the rows of [rows, c], in parts ---- */
/* Up to COLUMNS columns of a part: with gy the sums of gy (x - shift) and of gy, else of (x - shift)^2 and x - shift.
 */
static inline __attribute__((always_inline)) void pair_sums(const float *x, const float *gy, const float *shift,
                                                            int64_t rows, int64_t c, int64_t n, __m256 *ret_square,
                                                            __m256 *ret_sum)
{
    const int64_t vectors = (n + 7) / 8;
    __m256 from[COLUMNS / 8];

    for (int64_t u = 0; u < COLUMNS / 8; u++) {
        from[u] = u < vectors ? load_some(shift + u * 8, n - u * 8) : _mm256_setzero_ps();
        ret_square[u] = ret_sum[u] = _mm256_setzero_ps();
    }
    for (int64_t r = 0; r < rows; r += RUN) {
        __m256 s[COLUMNS / 8], q[COLUMNS / 8];

        for (int64_t u = 0; u < COLUMNS / 8; u++)
            s[u] = q[u] = _mm256_setzero_ps();
        for (int64_t k = r; k < at_most(r + RUN, rows); k++)
            for (int64_t u = 0; u < vectors; u++) {
                const __m256 d = _mm256_sub_ps(load_some(x + k * c + u * 8, n - u * 8), from[u]);
                const __m256 w = gy ? load_some(gy + k * c + u * 8, n - u * 8) : d;

                s[u] = _mm256_add_ps(s[u], w);
                q[u] = _mm256_fmadd_ps(w, d, q[u]);
            }
        for (int64_t u = 0; u < vectors; u++) {
            ret_square[u] = _mm256_add_ps(ret_square[u], q[u]);
            ret_sum[u] = _mm256_add_ps(ret_sum[u], s[u]);
        }
    }
}

/* The same; loops over vectors unroll where there are usual numbers of columns. */
static void block_sums(const float *x, const float *gy, const float *shift, int64_t rows, int64_t c, int64_t n,
                       __m256 *ret_square, __m256 *ret_sum)
{
#define SUMS(n)                                                                                                        \
    (gy ? pair_sums(x, gy, shift, rows, c, n, ret_square, ret_sum)                                                     \
        : pair_sums(x, NULL, shift, rows, c, n, ret_square, ret_sum))
    if (n >= COLUMNS)
        SUMS(COLUMNS);
    else if (n == 24)
        SUMS(24);
    else if (n == 16)
        SUMS(16);
    else
        pair_sums(x, gy, shift, rows, c, n, ret_square, ret_sum);
#undef SUMS
}

/* x, part, rows, c, parts, len */
static void batch_norm_stats(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t rows = c->arg[2].i, cols = c->arg[3].i, len = c->arg[5].i;
    const struct share s = share_of(c->arg[4].i, 1, part, n_parts);

    for (int64_t p = s.from; p < s.end; p++) {
        const int64_t count = at_most(len, rows - p * len);
        const float *x = (const float *)c->p[0] + p * len * cols;
        float *mean = (float *)c->p[1] + p * 2 * cols;
        const __m256 over = _mm256_set1_ps(1.0f / (float)count);

        for (int64_t j = 0; j < cols; j += COLUMNS) {
            __m256 square[COLUMNS / 8], sum[COLUMNS / 8];

            block_sums(x + j, NULL, x + j, count, cols, cols - j, square, sum);
            for (int64_t u = j; u < at_most(cols, j + COLUMNS); u += 8) {
                const __m256 q = square[(u - j) / 8], t = sum[(u - j) / 8], m = _mm256_mul_ps(t, over);

                store_some(mean + u, cols - u, _mm256_add_ps(load_some(x + u, cols - u), m));
                store_some(mean + cols + u, cols - u, _mm256_max_ps(_mm256_fnmadd_ps(t, m, q), _mm256_setzero_ps()));
            }
        }
    }
}

/* mean, var, part, rows, c, parts, len */
static void batch_norm_merge(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t rows = c->arg[3].i, cols = c->arg[4].i, parts = c->arg[5].i, len = c->arg[6].i;
    const struct share s = share_of(cols, 8, part, n_parts);
    const __m256 all = _mm256_set1_ps((float)at_least(rows, 1));

    for (int64_t j = s.from; j < s.end; j += 8) {
        const int64_t left = cols - j;
        const float *from = (const float *)c->p[2] + j;
        __m256 m = _mm256_setzero_ps(), q = m;

        for (int64_t p = 0; p < parts; p++)
            m = _mm256_fmadd_ps(load_some(from + p * 2 * cols, left),
                                _mm256_set1_ps((float)at_most(len, rows - p * len)), m);
        m = _mm256_div_ps(m, all);
        for (int64_t p = 0; p < parts; p++) {
            const __m256 d = _mm256_sub_ps(load_some(from + p * 2 * cols, left), m);
            const __m256 n = _mm256_set1_ps((float)at_most(len, rows - p * len));

            q = _mm256_add_ps(q, _mm256_fmadd_ps(_mm256_mul_ps(d, d), n, load_some(from + (p * 2 + 1) * cols, left)));
        }
        store_some((float *)c->p[0] + j, left, m);
        store_some((float *)c->p[1] + j, left, _mm256_div_ps(q, all));
    }
}

/* What is done with COLUMNS columns. */
struct columns {
    __m256 shift[COLUMNS / 8], mul[COLUMNS / 8], add[COLUMNS / 8], slope[COLUMNS / 8];
};

/* Rows s of x, or of x and the second tensor, to y: (x - shift) mul + add, or mul (x2 - add - slope (x - shift)). */
static inline __attribute__((always_inline)) void
apply_columns(const struct columns *of, const float *x, const float *x2, float *y, struct share s, int64_t c, int64_t n)
{
    const struct columns by = *of, *const k = &by; /* not changed by what is stored */

    for (int64_t r = s.from; r < s.end; r++)
        for (int64_t u = 0; u < (n + 7) / 8; u++) {
            const int64_t at = r * c + u * 8, left = n - u * 8;
            const __m256 d = _mm256_sub_ps(load_some(x + at, left), k->shift[u]);

            if (x2)
                store_some(
                    y + at, left,
                    _mm256_mul_ps(k->mul[u], _mm256_fnmadd_ps(k->slope[u], d,
                                                              _mm256_sub_ps(load_some(x2 + at, left), k->add[u]))));
            else
                store_some(y + at, left, _mm256_fmadd_ps(d, k->mul[u], k->add[u]));
        }
}

static void apply(const struct columns *k, const float *x, const float *x2, float *y, struct share s, int64_t c,
                  int64_t n)
{
#define APPLY(n) (x2 ? apply_columns(k, x, x2, y, s, c, n) : apply_columns(k, x, NULL, y, s, c, n))
    if (n >= COLUMNS)
        APPLY(COLUMNS);
    else if (n == 24)
        APPLY(24);
    else if (n == 16)
        APPLY(16);
    else
        apply_columns(k, x, x2, y, s, c, n);
#undef APPLY
}

/* x, gamma, beta, mean, var, y, eps, rows, c */
static void batch_norm(const struct npu_native_call *c, int part, int n_parts)
{
    const float *x = c->p[0], *gamma = c->p[1], *beta = c->p[2], *mean = c->p[3], *var = c->p[4];
    const int64_t cols = c->arg[8].i;
    const struct share s = share_of(c->arg[7].i, 1, part, n_parts);

    for (int64_t j = 0; j < cols; j += COLUMNS) {
        struct columns k;

        for (int64_t u = j; u < at_most(cols, j + COLUMNS); u += 8) {
            k.shift[(u - j) / 8] = load_some(mean + u, cols - u);
            k.mul[(u - j) / 8] =
                _mm256_mul_ps(load_some(gamma + u, cols - u), rsqrt_of(var + u, cols - u, c->arg[6].f));
            k.add[(u - j) / 8] = load_some(beta + u, cols - u);
        }
        apply(&k, x + j, NULL, (float *)c->p[5] + j, s, cols, cols - j);
    }
}

/* x, gamma, mean, var, gy, part, eps, rows, c, parts, len */
static void batch_norm_grad_sums(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t rows = c->arg[7].i, cols = c->arg[8].i, len = c->arg[10].i;
    const struct share s = share_of(c->arg[9].i, 1, part, n_parts);

    for (int64_t p = s.from; p < s.end; p++) {
        const float *x = (const float *)c->p[0] + p * len * cols, *gy = (const float *)c->p[4] + p * len * cols;
        float *dg = (float *)c->p[5] + p * 2 * cols;

        for (int64_t j = 0; j < cols; j += COLUMNS) {
            __m256 square[COLUMNS / 8], sum[COLUMNS / 8];

            block_sums(x + j, gy + j, (const float *)c->p[2] + j, at_most(len, rows - p * len), cols, cols - j, square,
                       sum);
            for (int64_t u = j; u < at_most(cols, j + COLUMNS); u += 8) {
                const __m256 rstd = rsqrt_of((const float *)c->p[3] + u, cols - u, c->arg[6].f);

                store_some(dg + u, cols - u, _mm256_mul_ps(square[(u - j) / 8], rstd));
                store_some(dg + cols + u, cols - u, sum[(u - j) / 8]);
            }
        }
    }
}

/* x, gamma, mean, var, gy, gx, dgamma, dbeta, eps, share, rows, c */
static void batch_norm_grad(const struct npu_native_call *c, int part, int n_parts)
{
    const float *x = c->p[0], *gamma = c->p[1], *mean = c->p[2], *var = c->p[3], *dgamma = c->p[6], *dbeta = c->p[7];
    const int64_t cols = c->arg[11].i;
    const struct share s = share_of(c->arg[10].i, 1, part, n_parts);
    const __m256 of_all = _mm256_set1_ps(c->arg[9].f);

    for (int64_t j = 0; j < cols; j += COLUMNS) {
        struct columns k;

        for (int64_t u = j; u < at_most(cols, j + COLUMNS); u += 8) {
            const __m256 rstd = rsqrt_of(var + u, cols - u, c->arg[8].f);

            k.shift[(u - j) / 8] = load_some(mean + u, cols - u);
            k.mul[(u - j) / 8] = _mm256_mul_ps(load_some(gamma + u, cols - u), rstd);
            k.add[(u - j) / 8] = _mm256_mul_ps(of_all, load_some(dbeta + u, cols - u));
            k.slope[(u - j) / 8] = _mm256_mul_ps(_mm256_mul_ps(of_all, rstd), load_some(dgamma + u, cols - u));
        }
        apply(&k, x + j, (const float *)c->p[4] + j, (float *)c->p[5] + j, s, cols, cols - j);
    }
}

/* ---- layer norm (kernels/layer_norm.cl) ---- */
enum { TOGETHER = 4 }; /* rows */

/* Rows of n: gx, and what they add to the sums for gamma and beta, one after the other. */
static inline __attribute__((always_inline)) void layer_norm_grad_rows(const float *x, const float *gamma,
                                                                       const float *gy, float *gx, float *dg, float *db,
                                                                       int64_t n, float eps, int rows)
{
    __m256 mean[TOGETHER], rstd[TOGETHER], a[TOGETHER], b[TOGETHER];

    for (int r = 0; r < rows; r++) {
        npu_avx2_row_stats(x + r * n, n, eps, &mean[r], &rstd[r]);
        a[r] = b[r] = _mm256_setzero_ps();
    }
    for (int64_t j = 0; j < n; j += 8) {
        const __m256 by = load_some(gamma + j, n - j);
        __m256 g = load_some(dg + j, n - j), o = load_some(db + j, n - j);

        for (int r = 0; r < rows; r++) {
            const __m256 xhat = _mm256_mul_ps(_mm256_sub_ps(load_some(x + r * n + j, n - j), mean[r]), rstd[r]);
            const __m256 d = load_some(gy + r * n + j, n - j), t = _mm256_mul_ps(d, by);

            a[r] = _mm256_add_ps(a[r], t);
            b[r] = _mm256_fmadd_ps(t, xhat, b[r]);
            g = _mm256_fmadd_ps(d, xhat, g);
            o = _mm256_add_ps(d, o);
        }
        store_some(dg + j, n - j, g);
        store_some(db + j, n - j, o);
    }
    for (int r = 0; r < rows; r++) {
        const __m256 m1 = _mm256_set1_ps(sum8(a[r]) / (float)n), m2 = _mm256_set1_ps(sum8(b[r]) / (float)n);
        const __m256 m = mean[r], s = rstd[r];

        for (int64_t j = r * n; j < (r + 1) * n; j += 8) {
            const int64_t left = (r + 1) * n - j;
            const __m256 xhat = _mm256_mul_ps(_mm256_sub_ps(load_some(x + j, left), m), s);
            const __m256 t = _mm256_mul_ps(load_some(gy + j, left), load_some(gamma + j - r * n, left));

            store_some(gx + j, left, _mm256_mul_ps(s, _mm256_fnmadd_ps(xhat, m2, _mm256_sub_ps(t, m1))));
        }
    }
}

/* x, gamma, gy, gx, part, eps, rows, c, block, parts */
static void layer_norm_grad(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t rows = c->arg[6].i, n = c->arg[7].i, block = c->arg[8].i;
    const struct share s = share_of(c->arg[9].i, 1, part, n_parts);
    const float *x = c->p[0], *gamma = c->p[1], *gy = c->p[2], eps = c->arg[5].f;
    float *gx = c->p[3];

    for (int64_t p = s.from; p < s.end; p++) {
        const int64_t end = at_most((p + 1) * block, rows);
        float *dg = (float *)c->p[4] + p * 2 * n, *db = dg + n;
        int64_t r = p * block;

        memset(dg, 0, sizeof(float) * (size_t)(2 * n));
        for (; r + TOGETHER <= end; r += TOGETHER)
            layer_norm_grad_rows(x + r * n, gamma, gy + r * n, gx + r * n, dg, db, n, eps, TOGETHER);
        for (; r < end; r++)
            layer_norm_grad_rows(x + r * n, gamma, gy + r * n, gx + r * n, dg, db, n, eps, 1);
    }
}

/* dgamma, dbeta, part, parts, c */
static void layer_norm_sum(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t parts = c->arg[3].i, n = c->arg[4].i;
    const struct share s = share_of(n, 8, part, n_parts);

    for (int64_t j = s.from; j < s.end; j += 8) {
        const float *from = (const float *)c->p[2] + j;
        __m256 a = _mm256_setzero_ps(), b = a;

        for (int64_t p = 0; p < parts; p++) {
            a = _mm256_add_ps(a, load_some(from + p * 2 * n, n - j));
            b = _mm256_add_ps(b, load_some(from + (p * 2 + 1) * n, n - j));
        }
        store_some((float *)c->p[0] + j, n - j, a);
        store_some((float *)c->p[1] + j, n - j, b);
    }
}

/* ---- slopes (kernels/unary.cl): x or y, gy, gx, n ---- */
static __m256 relu_slope(__m256 v, __m256 d)
{
    return _mm256_and_ps(d, _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_GT_OQ));
}
static __m256 relu6_slope(__m256 v, __m256 d)
{
    return relu_slope(v, _mm256_and_ps(d, _mm256_cmp_ps(v, _mm256_set1_ps(6.0f), _CMP_LT_OQ)));
}
static __m256 gelu_slope(__m256 v, __m256 d)
{
    const __m256 one = _mm256_set1_ps(1.0f), two_a = _mm256_set1_ps(1.5957691216f), q = _mm256_mul_ps(v, v);
    const __m256 u = _mm256_mul_ps(two_a, _mm256_mul_ps(v, _mm256_fmadd_ps(q, _mm256_set1_ps(0.044715f), one)));
    const __m256 s = _mm256_div_ps(one, _mm256_add_ps(one, exp8(_mm256_sub_ps(_mm256_setzero_ps(), u))));
    const __m256 w = _mm256_mul_ps(two_a, _mm256_fmadd_ps(q, _mm256_set1_ps(3.0f * 0.044715f), one));
    const __m256 t = _mm256_mul_ps(_mm256_mul_ps(v, s), _mm256_mul_ps(_mm256_sub_ps(one, s), w));

    return _mm256_mul_ps(d, _mm256_add_ps(s, t));
}
static __m256 sigmoid_slope(__m256 v, __m256 d)
{
    return _mm256_mul_ps(d, _mm256_mul_ps(v, _mm256_sub_ps(_mm256_set1_ps(1.0f), v)));
}
static __m256 tanh_slope(__m256 v, __m256 d)
{
    return _mm256_mul_ps(d, _mm256_fnmadd_ps(v, v, _mm256_set1_ps(1.0f)));
}
static __m256 exp_slope(__m256 v, __m256 d)
{
    return _mm256_mul_ps(d, v);
}
static __m256 abs_slope(__m256 v, __m256 d)
{
    const __m256 signed_d = _mm256_xor_ps(d, _mm256_and_ps(v, _mm256_set1_ps(-0.0f)));

    return _mm256_andnot_ps(_mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_EQ_OQ), signed_d);
}

#define SLOPE(name, f)                                                                                                 \
    static void name(const struct npu_native_call *c, int part, int n_parts)                                           \
    {                                                                                                                  \
        const struct share s = share_of(c->arg[3].i, 8, part, n_parts);                                                \
        const float *v = c->p[0], *gy = c->p[1];                                                                       \
        float *gx = c->p[2];                                                                                           \
        int64_t i = s.from;                                                                                            \
                                                                                                                       \
        for (; i + 8 <= s.end; i += 8)                                                                                 \
            _mm256_storeu_ps(gx + i, f(_mm256_loadu_ps(v + i), _mm256_loadu_ps(gy + i)));                              \
        if (i < s.end)                                                                                                 \
            store_some(gx + i, s.end - i, f(load_some(v + i, s.end - i), load_some(gy + i, s.end - i)));               \
    }
SLOPE(all_relu_slope, relu_slope)
SLOPE(all_relu6_slope, relu6_slope)
SLOPE(all_gelu_slope, gelu_slope)
SLOPE(all_sigmoid_slope, sigmoid_slope)
SLOPE(all_tanh_slope, tanh_slope)
SLOPE(all_exp_slope, exp_slope)
SLOPE(all_abs_slope, abs_slope)

/* y, gy, gx, rows, c (kernels/softmax.cl) */
static void softmax_grad(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t n = c->arg[4].i;
    const struct share s = share_of(c->arg[3].i, 1, part, n_parts);

    for (int64_t r = s.from; r < s.end; r++) {
        const float *y = (const float *)c->p[0] + r * n, *gy = (const float *)c->p[1] + r * n;
        __m256 sum = _mm256_setzero_ps();

        for (int64_t j = 0; j < n; j += 8)
            sum = _mm256_fmadd_ps(load_some(y + j, n - j), load_some(gy + j, n - j), sum);
        sum = _mm256_set1_ps(sum8(sum));
        for (int64_t j = 0; j < n; j += 8)
            store_some((float *)c->p[2] + r * n + j, n - j,
                       _mm256_mul_ps(load_some(y + j, n - j), _mm256_sub_ps(load_some(gy + j, n - j), sum)));
    }
}

/* ---- updates (kernels/optim.cl) ---- */
/* p, grad, m, v, lr, step, grad_scale, scaled, beta1, beta2, log_beta1, log_beta2, eps, decay, n */
static void adamw(const struct npu_native_call *c, int part, int n_parts)
{
    const struct share s = share_of(c->arg[14].i, 8, part, n_parts);
    const float step = *(const float *)c->p[5], b1 = c->arg[8].f, b2 = c->arg[9].f;
    const __m256 scale = _mm256_set1_ps(c->arg[7].i ? *(const float *)c->p[6] : 1.0f);
    const __m256 c1 = _mm256_set1_ps(-1.0f / expm1f(step * c->arg[10].f));
    const __m256 c2 = _mm256_set1_ps(-1.0f / expm1f(step * c->arg[11].f));
    const __m256 rate = _mm256_set1_ps(*(const float *)c->p[4]), eps = _mm256_set1_ps(c->arg[12].f);
    const __m256 decay = _mm256_set1_ps(c->arg[13].f);
    const float *grad = c->p[1];
    float *params = c->p[0], *first = c->p[2], *second = c->p[3];

    for (int64_t i = s.from; i < s.end; i += 8) {
        const int64_t left = s.end - i;
        float *p = params + i, *m = first + i, *v = second + i;
        const __m256 g = _mm256_mul_ps(scale, load_some(grad + i, left)), w = load_some(p, left);
        const __m256 a =
            _mm256_fmadd_ps(_mm256_set1_ps(b1), load_some(m, left), _mm256_mul_ps(_mm256_set1_ps(1.0f - b1), g));
        const __m256 b = _mm256_fmadd_ps(_mm256_set1_ps(b2), load_some(v, left),
                                         _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(1.0f - b2), g), g));
        const __m256 under = _mm256_add_ps(_mm256_sqrt_ps(_mm256_mul_ps(b, c2)), eps);
        const __m256 by = _mm256_fmadd_ps(decay, w, _mm256_div_ps(_mm256_mul_ps(a, c1), under));

        store_some(m, left, a);
        store_some(v, left, b);
        store_some(p, left, _mm256_fnmadd_ps(rate, by, w));
    }
}

/* p, grad, v, lr, grad_scale, scaled, momentum, decay, n */
static void sgd(const struct npu_native_call *c, int part, int n_parts)
{
    const struct share s = share_of(c->arg[8].i, 8, part, n_parts);
    const __m256 scale = _mm256_set1_ps(c->arg[5].i ? *(const float *)c->p[4] : 1.0f);
    const __m256 rate = _mm256_set1_ps(*(const float *)c->p[3]), decay = _mm256_set1_ps(c->arg[7].f);
    const __m256 momentum = _mm256_set1_ps(c->arg[6].f);
    const float *grad = c->p[1];
    float *params = c->p[0], *velocity = c->p[2];

    for (int64_t i = s.from; i < s.end; i += 8) {
        const int64_t left = s.end - i;
        float *p = params + i, *v = velocity + i;
        const __m256 w = load_some(p, left);
        const __m256 g = _mm256_fmadd_ps(scale, load_some(grad + i, left), _mm256_mul_ps(decay, w));
        const __m256 a = _mm256_fmadd_ps(momentum, load_some(v, left), g);

        store_some(v, left, a);
        store_some(p, left, _mm256_fnmadd_ps(rate, a, w));
    }
}

/* state, x, keep, take, n */
static void moving_average(const struct npu_native_call *c, int part, int n_parts)
{
    const struct share s = share_of(c->arg[4].i, 8, part, n_parts);
    const __m256 keep = _mm256_set1_ps(c->arg[2].f), take = _mm256_set1_ps(c->arg[3].f);

    for (int64_t i = s.from; i < s.end; i += 8) {
        float *state = (float *)c->p[0] + i;
        const __m256 x = _mm256_mul_ps(take, load_some((const float *)c->p[1] + i, s.end - i));

        store_some(state, s.end - i, _mm256_fmadd_ps(keep, load_some(state, s.end - i), x));
    }
}

/* x, part, first, n, tile_rows, tile_cols: a sum of squares each tile_cols elements */
static void square_part(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t n = c->arg[3].i, len = c->arg[5].i;
    const struct share s = share_of((n + len - 1) / len, 1, part, n_parts);

    for (int64_t p = s.from; p < s.end; p++) {
        const int64_t end = at_most(n, (p + 1) * len);
        __m256 total = _mm256_setzero_ps();

        for (int64_t run = p * len; run < end; run += 2048) {
            __m256 a = _mm256_setzero_ps(), b = a;

            for (int64_t j = run; j < at_most(run + 2048, end); j += 16) {
                const __m256 v = load_some((const float *)c->p[0] + j, end - j);
                const __m256 w =
                    end - j > 8 ? load_some((const float *)c->p[0] + j + 8, end - j - 8) : _mm256_setzero_ps();

                a = _mm256_fmadd_ps(v, v, a);
                b = _mm256_fmadd_ps(w, w, b);
            }
            total = _mm256_add_ps(total, _mm256_add_ps(a, b));
        }
        ((float *)c->p[1])[c->arg[2].i + p] = sum8(total);
    }
}

/* acc, sum, part, has_acc, n */
static void square_sum(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t n = c->arg[4].i;
    __m256 s = _mm256_setzero_ps();

    if (part > 0)
        return;
    for (int64_t i = 0; i < n; i += 8)
        s = _mm256_add_ps(s, load_some((const float *)c->p[2] + i, n - i));
    *(float *)c->p[1] = sum8(s) + (c->arg[3].i ? *(const float *)c->p[0] : 0.0f);
}

/* sum, scale, norm, clip */
static void clip_scale(const struct npu_native_call *c, int part, int n_parts)
{
    const float n = sqrtf(*(const float *)c->p[0]), clip = c->arg[3].f;

    if (part > 0)
        return;
    *(float *)c->p[1] = clip > 0.0f && n > clip ? clip / n : 1.0f;
    *(float *)c->p[2] = n;
}

/* ---- losses (kernels/loss.cl) ---- */
enum { MSE, L1 };

static inline __m256 sigmoid8(__m256 x)
{
    return act8(x, NPU_ACT_SIGMOID);
}

/* What a weight's row gives for columns j ..: 1 without weights. */
static inline __m256 weight_at(const struct npu_native_call *c, const struct npu_arg *view, int64_t row, int64_t j,
                               int64_t left)
{
    const float *w = c->p[2];

    if (!w)
        return _mm256_set1_ps(1.0f);
    w += bcast_base(view, row);
    return view[2].i ? load_some(w + j, left) : _mm256_set1_ps(w[0]);
}

/* log(1 + e^-|a|), one lane after the other */
static __m256 softplus8(__m256 a)
{
    float v[8];

    _mm256_storeu_ps(v, a);
    for (int i = 0; i < 8; i++)
        v[i] = log1pf(expf(-fabsf(v[i])));
    return _mm256_loadu_ps(v);
}

/* x, target, weight, part, kind, weighted, view (14), tile_rows, tile_cols: a pair of sums a tile */
static void loss_part(const struct npu_native_call *c, int part, int n_parts)
{
    const struct npu_arg *view = c->arg + 6;
    const int64_t inner = view[0].i, rows = view[1].i, high = c->arg[20].i, wide = c->arg[21].i;
    const int64_t across = (inner + wide - 1) / wide, all = across * ((rows + high - 1) / high);
    const struct share s = share_of(all, 1, part, n_parts);

    for (int64_t t = s.from; t < s.end; t++) {
        const int64_t from = t % across * wide, end = at_most(inner, from + wide), first = t / across * high;
        float sum = 0.0f, sum_w = 0.0f;

        for (int64_t r = first; r < at_most(rows, first + high); r++) {
            __m256 v = _mm256_setzero_ps(), vw = v;

            for (int64_t j = from; j < end; j += 8) {
                const __m256 a = load_some((const float *)c->p[0] + r * inner + j, end - j);
                const __m256 b = load_some((const float *)c->p[1] + r * inner + j, end - j);
                const __m256 d = _mm256_sub_ps(a, b), real = _mm256_castsi256_ps(first_lanes((int)at_most(8, end - j)));
                const __m256 w = _mm256_and_ps(real, weight_at(c, view, r, j, end - j));
                const __m256 l = c->arg[4].i == MSE ? _mm256_mul_ps(d, d)
                                 : c->arg[4].i == L1
                                     ? _mm256_andnot_ps(_mm256_set1_ps(-0.0f), d)
                                     : _mm256_add_ps(_mm256_fnmadd_ps(a, b, act8(a, NPU_ACT_RELU)), softplus8(a));

                v = _mm256_fmadd_ps(w, l, v);
                vw = _mm256_add_ps(vw, w);
            }
            sum += sum8(v);
            sum_w += sum8(vw);
        }
        ((float *)c->p[3])[2 * t] = sum;
        ((float *)c->p[3])[2 * t + 1] = sum_w;
    }
}

/* loss, inverse, part, parts */
static void loss_sum(const struct npu_native_call *c, int part, int n_parts)
{
    const float *pair = c->p[2];
    float sum = 0.0f, sum_w = 0.0f, inverse;

    if (part > 0)
        return;
    for (int64_t i = 0; i < c->arg[3].i; i++) {
        sum += pair[2 * i];
        sum_w += pair[2 * i + 1];
    }
    inverse = sum_w != 0.0f ? 1.0f / sum_w : 0.0f;
    *(float *)c->p[0] = sum * inverse;
    *(float *)c->p[1] = inverse;
}

/* x, target, weight, inverse, gout, gx, kind, weighted, view */
static void loss_grad(const struct npu_native_call *c, int part, int n_parts)
{
    const struct npu_arg *view = c->arg + 8;
    const int64_t inner = view[0].i;
    const struct share s = share_of(view[1].i, 1, part, n_parts);
    const __m256 scale = _mm256_set1_ps(*(const float *)c->p[3] * *(const float *)c->p[4]), zero = _mm256_setzero_ps();
    const __m256 one = _mm256_set1_ps(1.0f);

    for (int64_t r = s.from; r < s.end; r++)
        for (int64_t j = 0; j < inner; j += 8) {
            const __m256 a = load_some((const float *)c->p[0] + r * inner + j, inner - j);
            const __m256 t = load_some((const float *)c->p[1] + r * inner + j, inner - j), d = _mm256_sub_ps(a, t);
            const __m256 w = weight_at(c, view, r, j, inner - j);
            __m256 l = _mm256_sub_ps(sigmoid8(a), t);

            if (c->arg[6].i == MSE)
                l = _mm256_add_ps(d, d);
            else if (c->arg[6].i == L1)
                l = _mm256_sub_ps(_mm256_and_ps(one, _mm256_cmp_ps(d, zero, _CMP_GT_OQ)),
                                  _mm256_and_ps(one, _mm256_cmp_ps(d, zero, _CMP_LT_OQ)));
            store_some((float *)c->p[5] + r * inner + j, inner - j, _mm256_mul_ps(_mm256_mul_ps(scale, w), l));
        }
}

const struct npu_avx2_plain npu_avx2_train[] = {
    {"batch_norm", "batch_norm_stats", NULL, batch_norm_stats, {NPU_AVX2_PARTS, 2, 0x3, 0x2}},
    {"batch_norm", "batch_norm_merge", NULL, batch_norm_merge, {.by = NPU_AVX2_NOT_CUT}},
    {"batch_norm", "batch_norm", NULL, batch_norm, {NPU_AVX2_ITEMS, 7, 0x21, 0x20}},
    {"batch_norm", "batch_norm_grad_sums", NULL, batch_norm_grad_sums, {NPU_AVX2_PARTS, 7, 0x31, 0x20}},
    {"batch_norm", "batch_norm_grad", NULL, batch_norm_grad, {NPU_AVX2_ITEMS, 10, 0x31, 0x20}},
    {"layer_norm", "layer_norm_grad", NULL, layer_norm_grad, {NPU_AVX2_BLOCKS, 6, 0x1d, 0x18}},
    {"layer_norm", "layer_norm_sum", NULL, layer_norm_sum, {.by = NPU_AVX2_NOT_CUT}},
    {"unary", "unary_grad", "-DKIND=0", all_relu_slope, {NPU_AVX2_EIGHTS, 3, 0x7, 0x4}},
    {"unary", "unary_grad", "-DKIND=1", all_relu6_slope, {NPU_AVX2_EIGHTS, 3, 0x7, 0x4}},
    {"unary", "unary_grad", "-DKIND=2", all_gelu_slope, {NPU_AVX2_EIGHTS, 3, 0x7, 0x4}},
    {"unary", "unary_grad", "-DKIND=3", all_sigmoid_slope, {NPU_AVX2_EIGHTS, 3, 0x7, 0x4}},
    {"unary", "unary_grad", "-DKIND=4", all_tanh_slope, {NPU_AVX2_EIGHTS, 3, 0x7, 0x4}},
    {"unary", "unary_grad", "-DKIND=5", all_exp_slope, {NPU_AVX2_EIGHTS, 3, 0x7, 0x4}},
    {"unary", "unary_grad", "-DKIND=6", all_abs_slope, {NPU_AVX2_EIGHTS, 3, 0x7, 0x4}},
    {"softmax", "softmax_grad", NULL, softmax_grad, {NPU_AVX2_ITEMS, 3, 0x7, 0x4}},
    {"optim", "adamw", NULL, adamw, {NPU_AVX2_EIGHTS, 14, 0xf, 0xd}},
    {"optim", "sgd", NULL, sgd, {NPU_AVX2_EIGHTS, 8, 0x7, 0x5}},
    {"optim", "moving_average", NULL, moving_average, {NPU_AVX2_EIGHTS, 4, 0x3, 0x1}},
    {"optim", "square_part", NULL, square_part, {.by = NPU_AVX2_NOT_CUT}},
    {"optim", "square_sum", NULL, square_sum, {.by = NPU_AVX2_NOT_CUT}},
    {"optim", "clip_scale", NULL, clip_scale, {.by = NPU_AVX2_NOT_CUT}},
    {"loss", "loss_part", NULL, loss_part, {.by = NPU_AVX2_NOT_CUT}},
    {"loss", "loss_sum", NULL, loss_sum, {.by = NPU_AVX2_NOT_CUT}},
    {"loss", "loss_grad", NULL, loss_grad, {.by = NPU_AVX2_NOT_CUT}},
    {.source = NULL},
};
#else
const struct npu_avx2_plain npu_avx2_train[] = {{.source = NULL}};
#endif
