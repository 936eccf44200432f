/* exact_matrix.cl - f32 products and convolutions in int8 networks: a result's sum is one chain of fma, over kernel rows, kernel
 * columns, channels; libnpu/op/exact.c is the definition. */
#include "exact.clh"

/* DT0 x, DT1 weights, DT2 bias, DT3 residual, DT4 result */
#define FINISH_PARAMS                                                                                                  \
    const global T(2) *bias, const global T(3) *res, global T(4) *y, float scale, int act, int res_first
#define FINISH_ARGS bias, res, y, scale, act, res_first

/* n of eight sums, of which the first is column `col` and result `at` */
inline void finish8(float8 v, size_t at, int col, int n, FINISH_PARAMS)
{
    v = fma(v, (float8)scale, bias ? LD8(2, bias, col, n) : (float8)0.0f);
    if (!res)
        v = x_act(v, act);
    else if (res_first)
        v = x_act(v + LD8(3, res, at, n), act);
    else
        v = x_act(v, act) + LD8(3, res, at, n);
    ST8(4, y, at, n, v);
}

#ifdef K_exact_tile
/* What row `row` of the result sums over, `depth` numbers; outside of the picture 0. */
inline void gather(const global T(0) *x, local float *a, int row, int h, int w, int cin, int oh, int ow, int kh, int kw, int stride,
                   int pad_top, int pad_left)
{
    const int top = row / ow % oh * stride - pad_top, left = row % ow * stride - pad_left;

    x += (size_t)(row / ow / oh) * h * w * cin;
    for (int ky = 0; ky < kh; ky++)
        for (int kx = 0; kx < kw; kx++, a += cin) {
            const int iy = top + ky, ix = left + kx;
            const bool inside = iy >= 0 && iy < h && ix >= 0 && ix < w;
            const size_t at = inside ? ((size_t)iy * w + ix) * cin : 0;

            for (int c = 0; c < cin; c++)
                a[c] = inside ? LD(0, x, at + c) : 0.0f;
        }
}

#define ROW(r)                                                                                                         \
    finish8(c##r##0, (size_t)(m + r) * N + n, n, N - n, FINISH_ARGS);                                                  \
    if (N - n > 8)                                                                                                     \
        finish8(c##r##1, (size_t)(m + r) * N + n + 8, n + 8, N - n - 8, FINISH_ARGS)

/* Four rows by sixteen columns at a time; w [depth, N]. A work-item has `block` rows, as: 4 depth floats. */
__attribute__((reqd_work_group_size(1, 1, 1))) kernel void
exact_tile(const global T(0) *x, const global T(1) *wt, FINISH_PARAMS, int M, int N, int h, int w, int cin, int oh, int ow, int kh,
           int kw, int stride, int pad_top, int pad_left, int block, local float *as)
{
    const int first = get_group_id(0) * block, end = min(first + block, M), depth = kh * kw * cin;

    for (int m = first; m < end; m += 4) {
        for (int r = 0; r < 4; r++)
            gather(x, as + r * depth, min(m + r, end - 1), h, w, cin, oh, ow, kh, kw, stride, pad_top, pad_left);
        for (int n = 0; n < N; n += 16) {
            float8 c00 = 0.0f, c01 = 0.0f, c10 = 0.0f, c11 = 0.0f, c20 = 0.0f, c21 = 0.0f, c30 = 0.0f, c31 = 0.0f;

            for (int k = 0; k < depth; k++) {
                const size_t i = (size_t)k * N + n;
                const float8 b0 = LD8(1, wt, i, N - n), b1 = N - n > 8 ? LD8(1, wt, i + 8, N - n - 8) : (float8)0.0f;
                const float8 a0 = as[k], a1 = as[depth + k], a2 = as[2 * depth + k], a3 = as[3 * depth + k];

                c00 = fma(a0, b0, c00);
                c01 = fma(a0, b1, c01);
                c10 = fma(a1, b0, c10);
                c11 = fma(a1, b1, c11);
                c20 = fma(a2, b0, c20);
                c21 = fma(a2, b1, c21);
                c30 = fma(a3, b0, c30);
                c31 = fma(a3, b1, c31);
            }
            ROW(0);
            if (m + 1 < end) {
                ROW(1);
            }
            if (m + 2 < end) {
                ROW(2);
            }
            if (m + 3 < end) {
                ROW(3);
            }
        }
    }
}
#endif

#ifdef K_exact_any
/* A work-item makes `block` results, one after the other; any strides, any groups. xm, xk, wk, wn: strides of products; a
 * convolution has 0 in xk and takes the sizes of the picture. */
kernel void exact_any(const global T(0) *x, const global T(1) *wt, FINISH_PARAMS, int M, int N, int depth, int h, int w, int cin,
                      int oh, int ow, int kw, int cing, int coutg, int stride, int pad_top, int pad_left, int batch_m, int xm,
                      int xk, int wk, int wn, int wb, int block)
{
    const long first = (long)get_global_id(0) * block, end = min(first + block, (long)M * N);

    for (long at = first; at < end; at++) {
        const int row = (int)(at / N), n = (int)(at % N), left = row % ow * stride - pad_left, top = row / ow % oh * stride - pad_top;
        float sum = 0.0f;

        for (int k = 0; k < depth; k++) {
            size_t i, j;
            bool inside = true;

            if (xk) {
                i = (size_t)(row / batch_m) * batch_m * depth + (size_t)(row % batch_m) * xm + (size_t)k * xk;
                j = (size_t)(row / batch_m) * wb + (size_t)k * wk + (size_t)n * wn;
            } else {
                const int t = k / cing, iy = top + t / kw, ix = left + t % kw;

                inside = iy >= 0 && iy < h && ix >= 0 && ix < w;
                i = inside ? (((size_t)(row / ow / oh) * h + iy) * w + ix) * cin + n / coutg * cing + k % cing : 0;
                j = (size_t)k * N + n;
            }
            sum = fma(inside ? LD(0, x, i) : 0.0f, LD(1, wt, j), sum);
        }
        finish8((float8)sum, at, n, 1, FINISH_ARGS);
    }
}
#endif
