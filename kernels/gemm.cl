/* gemm.cl - C[m, n] = residual + act(scale sum_k A[m, k] B[k, n] + bias[n]).
 *
 * gemm_cpu: a work-group of one work-item makes mb x (nb NR) of C. It walks K in steps of kc; for each step it packs its columns
 * of B into local memory as panels [nb][kc][NR] (zeros past N; this is also where bf16 becomes f32 and B^T becomes B) and runs
 * the register tile over its rows. Sums wait in local memory between steps. A is read in place if it is f32, else tile by tile
 * through local memory.
 * gemm_any: a work-item makes 4 x 4 of C, for devices with many threads.
 */
#include "tile.clh"

#ifdef K_gemm_cpu
inline void pack_b(const global T(1) *b, int stride_k, int stride_n, int kn, int nn, local float *dst)
{
    if (nn == NR && stride_n == 1) {
        for (int k = 0; k < kn; k++) {
            VST(LDV(1, W, b, (size_t)k * stride_k), 2 * k, dst);
            VST(LDV(1, W, b, (size_t)k * stride_k + W), 2 * k + 1, dst);
        }
        return;
    }
    for (int k = 0; k < kn; k++)
        for (int n = 0; n < NR; n++)
            dst[k * NR + n] = n < nn ? LD(1, b, (size_t)k * stride_k + (size_t)n * stride_n) : 0.0f;
}

/* One row of the tile: columns n .. n + count - 1 of row m. */
inline void finish(vf v0, vf v1, size_t at, int n, int count, const global T(2) *bias, const global T(3) *res,
                   global T(4) *c, float scale, int act)
{
    for (int h = 0; h < 2; h++) {
        vf v = (h ? v1 : v0) * scale;
        const int left = count - h * W;

        at += h * W;
        n += h * W;
        if (left >= W) {
            if (bias)
                v += LDV(2, W, bias, n);
            v = tile_act(v, act);
            if (res)
                v += LDV(3, W, res, at);
            STV(4, W, c, at, v);
        } else if (left > 0) {
            float t[W];
            VST(v, 0, t);
            for (int j = 0; j < left; j++) {
                float x = t[j];

                if (bias)
                    x += LD(2, bias, n + j);
                x = tile_act((vf)x, act).s0;
                if (res)
                    x += LD(3, res, at + j);
                ST(4, c, at + j, x);
            }
        }
    }
}

#if DT0 == 0
#define ROW_OF_A(i) const global float *a##i = ap + (size_t)min(m + i, rows - 1) * stride_m;
#else
#define ROW_OF_A(i) local const float *a##i = as + i * kc;
#endif
#define FINISH_ROW(i)                                                                                                  \
    if (m + i < rows)                                                                                                  \
        finish(c##i##0, c##i##1, ((size_t)z * M + m0 + m + i) * N + n0 + p * NR, n0 + p * NR, N - n0 - p * NR, bias, res, c,   \
               scale, act);

__attribute__((reqd_work_group_size(1, 1, 1))) kernel void
gemm_cpu(const global T(0) *restrict a, const global T(1) *restrict b, const global T(2) *restrict bias,
     const global T(3) *restrict res, global T(4) *restrict c, int M, int N, int K, int stride_m, int stride_k, int b_k,
     int b_n, int b_shared, int mb, int nb, int kc, int act, float scale, local float *bs, local float *cs, local float *as)
{
    const int z = get_group_id(2), m0 = get_group_id(1) * mb, n0 = get_group_id(0) * nb * NR;
    const int rows = min(mb, M - m0), panels = min(nb, (N - n0 + NR - 1) / NR);

    a += (size_t)z * M * K + (size_t)m0 * stride_m;
    b += (b_shared ? 0 : (size_t)z * N * K) + (size_t)n0 * b_n;
    for (int k0 = 0; k0 < K || k0 == 0; k0 += kc) {
        const int kn = min(kc, K - k0);
        const global T(0) *ap = a + (size_t)k0 * stride_k;

        for (int p = 0; p < panels; p++)
            pack_b(b + (size_t)k0 * b_k + (size_t)p * NR * b_n, b_k, b_n, kn, min(NR, N - n0 - p * NR), bs + p * kc * NR);
        for (int m = 0; m < rows; m += MR) {
#if DT0 != 0
            for (int i = 0; i < MR; i++) {
                const size_t at = (size_t)min(m + i, rows - 1) * stride_m;
                int k = 0;
                if (stride_k == 1)
                    for (; k + W <= kn; k += W)
                        VST(LDV(0, W, ap, at + k), 0, as + i * kc + k);
                for (; k < kn; k++)
                    as[i * kc + k] = LD(0, ap, at + (size_t)k * stride_k);
            }
            const int step = 1;
#else
            const int step = stride_k;
#endif
            TILE_EACH(ROW_OF_A)
            for (int p = 0; p < panels; p++) {
                local const float *bp = bs + p * kc * NR;
                local float *t = cs + (m / MR * panels + p) * (MR * NR);
                TILE_ZERO()

                if (k0 > 0)
                    TILE_GET(local, t)
                TILE_RUN(0, step, kn, bp, NR)
                if (k0 + kc < K) {
                    TILE_PUT(local, t)
                } else {
                    TILE_EACH(FINISH_ROW)
                }
            }
        }
    }
}
#endif

#ifdef K_gemm_any
kernel void gemm_any(const global T(0) *restrict a, const global T(1) *restrict b, const global T(2) *restrict bias,
                     const global T(3) *restrict res, global T(4) *restrict c, int M, int N, int K, int stride_m, int stride_k,
                     int b_k, int b_n, int b_shared, int act, float scale)
{
    const int z = get_global_id(2), m = get_global_id(1) * 4, n = get_global_id(0) * 4;
    float sum[4][4] = {{0.0f}};

    if (m >= M || n >= N)
        return;
    a += (size_t)z * M * K;
    b += b_shared ? 0 : (size_t)z * N * K;
    for (int k = 0; k < K; k++) {
        float av[4], bv[4];
        for (int i = 0; i < 4; i++) {
            av[i] = LD(0, a, (size_t)min(m + i, M - 1) * stride_m + (size_t)k * stride_k);
            bv[i] = LD(1, b, (size_t)k * b_k + (size_t)min(n + i, N - 1) * b_n);
        }
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 4; j++)
                sum[i][j] = fma(av[i], bv[j], sum[i][j]);
    }
    for (int i = 0; i < 4 && m + i < M; i++)
        for (int j = 0; j < 4 && n + j < N; j++) {
            const size_t at = ((size_t)z * M + m + i) * N + n + j;
            float v = sum[i][j] * scale;

            if (bias)
                v += LD(2, bias, n + j);
            v = tile_act((vf)v, act).s0;
            if (res)
                v += LD(3, res, at);
            ST(4, c, at, v);
        }
}
#endif
