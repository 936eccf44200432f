/* exact_rows.cl - layer norm, softmax, sums, functions of one element and mean pooling in int8 networks: bit by bit what
 * libnpu/op/exact.c says. A work-item has `block` rows. */
#include "exact.clh"

/* the second eight of sixteen elements, if there are any */
#define LD8_HIGH(k, p, i, n) ((n) > 8 ? LD8(k, p, (i) + 8, (n)-8) : (float8)0.0f)

#ifdef K_layer_norm
kernel void layer_norm(const global T(0) *x, const global float *gamma, const global float *beta, global T(3) *y, float eps,
                       float share, int rows, int c, int block)
{
    int row = (int)get_global_id(0) * block, end = min(row + block, rows);

    for (; row < end; row++) {
        const size_t i = (size_t)row * c;
        float8 a = 0.0f, b = 0.0f, inv;
        float sum;

        for (int j = 0; j < c; j += 16) {
            a += LD8(0, x, i + j, c - j);
            b += LD8_HIGH(0, x, i + j, c - j);
        }
        sum = x_sum(a, b);
        a = b = 0.0f;
        for (int j = 0; j < c; j += 16) {
            const float8 d = x_first(fma((float8)sum, (float8)-share, LD8(0, x, i + j, c - j)), c - j),
                         e = x_first(fma((float8)sum, (float8)-share, LD8_HIGH(0, x, i + j, c - j)), c - j - 8);

            a = fma(d, d, a);
            b = fma(e, e, b);
        }
        inv = x_rsqrt((float8)fma(x_sum(a, b), share, eps));
        for (int j = 0; j < c; j += 8)
            ST8(3, y, i + j, c - j,
                fma(fma((float8)sum, (float8)-share, LD8(0, x, i + j, c - j)) * inv, npu_ldf8(gamma, j, c - j),
                    npu_ldf8(beta, j, c - j)));
    }
}
#endif

#ifdef K_softmax
kernel void softmax(const global T(0) *x, global T(1) *y, int rows, int c, int block)
{
    int row = (int)get_global_id(0) * block, end = min(row + block, rows);

    for (; row < end; row++) {
        const size_t i = (size_t)row * c;
        float8 a = 0.0f, b = 0.0f, inv;
        float top = LD(0, x, i);

        for (int j = 1; j < c; j++)
            top = LD(0, x, i + j) > top ? LD(0, x, i + j) : top;
        for (int j = 0; j < c; j += 16) {
            a += x_first(x_exp(LD8(0, x, i + j, c - j) - top), c - j);
            b += x_first(x_exp(LD8_HIGH(0, x, i + j, c - j) - top), c - j - 8);
        }
        inv = x_recip((float8)x_sum(a, b));
        for (int j = 0; j < c; j += 8)
            ST8(1, y, i + j, c - j, x_exp(LD8(0, x, i + j, c - j) - top) * inv);
    }
}
#endif

#ifdef K_reduce_rows
/* x [rows, c] -> y [rows] */
kernel void reduce_rows(const global T(0) *x, global T(1) *y, float share, int rows, int c, int block)
{
    int row = (int)get_global_id(0) * block, end = min(row + block, rows);

    for (; row < end; row++) {
        const size_t i = (size_t)row * c;
        float8 a = 0.0f, b = 0.0f;

        for (int j = 0; j < c; j += 16) {
            a += LD8(0, x, i + j, c - j);
            b += LD8_HIGH(0, x, i + j, c - j);
        }
        ST(1, y, row, x_sum(a, b) * share);
    }
}
#endif

#ifdef K_reduce_cols
/* the lane that begins at element `from` */
inline float8 one_lane(const global T(0) *x, size_t i, int from, int r, int nb, int n)
{
    float8 v = 0.0f;

    for (int k = from; k < r; k += 16)
        v += LD8(0, x, i + (size_t)k * nb, n);
    return v;
}

inline float8 two_lanes(const global T(0) *x, size_t i, int from, int r, int nb, int n)
{
    return one_lane(x, i, from, r, nb, n) + one_lane(x, i, from + 8, r, nb, n);
}

inline float8 four_lanes(const global T(0) *x, size_t i, int from, int r, int nb, int n)
{
    return two_lanes(x, i, from, r, nb, n) + two_lanes(x, i, from + 4, r, nb, n);
}

/* x [na, r, nb] -> y [na, nb] */
kernel void reduce_cols(const global T(0) *x, global T(1) *y, float share, int na, int r, int nb, TILE_PARAMS)
{
    TILE_ROWS(a, na)
    TILE_COLS(j, nb)
    {
        const size_t i = (size_t)a * r * nb + j;
        const float8 even = four_lanes(x, i, 0, r, nb, j_n) + four_lanes(x, i, 2, r, nb, j_n),
                     odd = four_lanes(x, i, 1, r, nb, j_n) + four_lanes(x, i, 3, r, nb, j_n);

        ST8(1, y, (size_t)a * nb + j, j_n, (even + odd) * share);
    }
}
#endif

#ifdef K_unary
/* KIND: enum unary_kind */
inline float8 unary8(float8 v)
{
#if KIND == 0
    return x_act(v, 1);
#elif KIND == 1
    return x_act(v, 2);
#elif KIND == 2
    return x_gelu(v);
#elif KIND == 3
    return x_sigmoid(v);
#elif KIND == 4
    return x_tanh(v);
#elif KIND == 5
    return x_exp(v);
#elif KIND == 7
    return x_gelu_erf(v);
#else
    return fabs(v);
#endif
}

kernel void unary(const global T(0) *x, global T(1) *y, NPU_SPAN_ARGS)
{
    NPU_SPAN8(i)
        ST8(1, y, i, i_n, unary8(LD8(0, x, i, i_n)));
}
#endif

#ifdef K_mean_pool
kernel void mean_pool(const global T(0) *x, global T(1) *y, int nb, int h, int w, int c, int oh, int ow, int size, int stride,
                      int pad, TILE_PARAMS)
{
    TILE_ROWS(row, nb * oh * ow)
    {
        int ox = row % ow * stride - pad, oy = row / ow % oh * stride - pad, b = row / ow / oh;
        int x0 = max(ox, 0), x1 = min(ox + size, w), y0 = max(oy, 0), y1 = min(oy + size, h);
        const float8 share = x_recip((float8)((y1 - y0) * (x1 - x0)));

        TILE_COLS(j, c)
        {
            float8 v = 0.0f;

            for (int iy = y0; iy < y1; iy++)
                for (int ix = x0; ix < x1; ix++)
                    v += LD8(0, x, ((size_t)(b * h + iy) * w + ix) * c + j, j_n);
            ST8(1, y, (size_t)row * c + j, j_n, v * share);
        }
    }
}
#endif
