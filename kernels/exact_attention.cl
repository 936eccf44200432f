/* exact_attention.cl - attention in int8 networks: bit by bit what libnpu/op/exact.c says. qkv [batch, n, 3 d]. */
#include "exact.clh"

#define SIZES int n, int heads, int dh, float scale

#ifdef K_exact_heads
#define UP(v, to) (((v) + (to)-1) / (to) * (to))

/* Four rows a, `depth` numbers each, times b [depth, step] in 16 columns. */
inline void tile(const local float *a, int row, const local float *b, int step, int depth, float8 *c)
{
    float8 c00 = 0.0f, c01 = 0.0f, c10 = 0.0f, c11 = 0.0f, c20 = 0.0f, c21 = 0.0f, c30 = 0.0f, c31 = 0.0f;

    for (int k = 0; k < depth; k++, b += step) {
        const float8 b0 = vload8(0, b), b1 = vload8(1, b);
        const float8 a0 = a[k], a1 = a[row + k], a2 = a[2 * row + k], a3 = a[3 * row + k];

        c00 = fma(a0, b0, c00);
        c01 = fma(a0, b1, c01);
        c10 = fma(a1, b0, c10);
        c11 = fma(a1, b1, c11);
        c20 = fma(a2, b0, c20);
        c21 = fma(a2, b1, c21);
        c30 = fma(a3, b0, c30);
        c31 = fma(a3, b1, c31);
    }
    c[0] = c00, c[1] = c01, c[2] = c10, c[3] = c11, c[4] = c20, c[5] = c21, c[6] = c30, c[7] = c31;
}

/* Scores to exponentials, in place; e has UP(n, 16) numbers. Returns 1 / their sum. */
inline float exponentials(local float *e, int n, float scale)
{
    float8 a = 0.0f, b = 0.0f, most = -INFINITY;
    float top;

    for (int j = 0; j < n; j += 8) {
        const float8 v = vload8(0, e + j);

        most = X_LANE < n - j ? (v > most ? v : most) : most;
    }
    top = npu_max8(most) * -scale;
    for (int j = 0; j < n; j += 16) {
        const float8 u = x_first(x_exp(fma(vload8(0, e + j), (float8)scale, (float8)top)), n - j),
                     v = x_first(x_exp(fma(vload8(1, e + j), (float8)scale, (float8)top)), n - j - 8);

        vstore8(u, 0, e + j);
        vstore8(v, 1, e + j);
        a += u;
        b += v;
    }
    return x_recip((float8)x_sum(a, b)).s0;
}

/* A work-item has a block of queries of one head. kt [dh][UP(n, 16)], v [n][UP(dh, 16)], q [4][dh], e [4][UP(n, 16)] */
__attribute__((reqd_work_group_size(1, 1, 1))) kernel void
exact_heads(const global T(0) *x, global T(1) *y, SIZES, int block, local float *kt, local float *v, local float *q, local float *e)
{
    const int head = get_group_id(1) % heads, d = heads * dh, first = get_group_id(0) * block, end = min(first + block, n);
    const int np = UP(n, 16), dp = UP(dh, 16);
    const size_t base = (size_t)(get_group_id(1) / heads) * n;
    float8 c[8];

    for (int j = 0; j < np; j++)
        for (int i = 0; i < dh; i++)
            kt[i * np + j] = j < n ? LD(0, x, (base + j) * 3 * d + d + head * dh + i) : 0.0f;
    for (int j = 0; j < n; j++)
        for (int i = 0; i < dp; i += 8)
            vstore8(i < dh ? LD8(0, x, (base + j) * 3 * d + 2 * d + head * dh + i, dh - i) : (float8)0.0f, 0, v + j * dp + i);
    for (int m = first; m < end; m += 4) {
        float inv[4];

        for (int r = 0; r < 4; r++)
            for (int i = 0; i < dh; i++)
                q[r * dh + i] = LD(0, x, (base + min(m + r, end - 1)) * 3 * d + head * dh + i);
        for (int j = 0; j < np; j += 16) {
            tile(q, dh, kt + j, np, dh, c);
            for (int r = 0; r < 4; r++) {
                vstore8(c[2 * r], 0, e + r * np + j);
                vstore8(c[2 * r + 1], 1, e + r * np + j);
            }
        }
        for (int r = 0; r < 4; r++)
            inv[r] = exponentials(e + r * np, n, scale);
        for (int i = 0; i < dh; i += 16) {
            tile(e, np, v + i, dp, n, c);
            for (int r = 0; r < min(4, end - m); r++) {
                const size_t at = (base + m + r) * d + head * dh + i;

                ST8(1, y, at, dh - i, c[2 * r] * inv[r]);
                if (dh - i > 8)
                    ST8(1, y, at + 8, dh - i - 8, c[2 * r + 1] * inv[r]);
            }
        }
    }
}
#endif

#ifdef K_exact_queries
/* One query after the other, for sizes that no local memory holds; e: n floats a work-item. */
kernel void exact_queries(const global T(0) *x, global T(1) *y, SIZES, int queries, int items, global float *e)
{
    const int d = heads * dh;

    e += (size_t)get_global_id(0) * n;
    for (int at = get_global_id(0); at < queries; at += items) {
        const int row = at / heads, head = at % heads;
        const size_t q = (size_t)row * 3 * d + head * dh, k = (size_t)(row / n * n) * 3 * d + d + head * dh;
        float8 a = 0.0f, b = 0.0f;
        float top = -INFINITY, inv;

        for (int j = 0; j < n; j++) {
            float s = 0.0f;

            for (int i = 0; i < dh; i++)
                s = fma(LD(0, x, q + i), LD(0, x, k + (size_t)j * 3 * d + i), s);
            top = s > top ? s : top;
            e[j] = s;
        }
        top *= -scale;
        for (int j = 0; j < n; j += 16) {
            const float8 u = x_first(x_exp(fma(npu_ldf8(e, j, n - j), (float8)scale, (float8)top)), n - j);

            npu_stf8(e, j, n - j, u);
            a += u;
            if (n - j > 8) {
                const float8 w = x_first(x_exp(fma(npu_ldf8(e, j + 8, n - j - 8), (float8)scale, (float8)top)), n - j - 8);

                npu_stf8(e, j + 8, n - j - 8, w);
                b += w;
            }
        }
        inv = x_recip((float8)x_sum(a, b)).s0;
        for (int i = 0; i < dh; i++) {
            float s = 0.0f;

            for (int j = 0; j < n; j++)
                s = fma(e[j], LD(0, x, k + d + (size_t)j * 3 * d + i), s);
            ST(1, y, (size_t)row * d + head * dh + i, s * inv);
        }
    }
}
#endif
