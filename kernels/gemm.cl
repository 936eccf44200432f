/* gemm.cl - C[m, n] = residual + act(scale sum_k A[m, k] B[k, n] + bias[n]).
 *
 * gemm_cpu: a work-group of one work-item makes mb x (nb NR) of C. It walks K in steps of kc, and in each step panel by panel:
 * NR columns of B lie together as [kc][NR] (zeros past N; this is also where bf16 becomes f32 and B^T becomes B), small enough
 * for the first cache, while the register tile goes down the rows. Panels are packed into local memory, each between the tiles
 * of the one before it, or with PACKED_B lie in global memory: gemm_pack_b has made all of them, [K / kc][N / NR][kc][NR], for
 * weights once, for other factors where many work-groups read them. Rows of A come from the second cache: in place, or with
 * PACK_A from local memory, into which each step copies its part of them. Sums wait in global memory between steps.
 * gemm_pack_b: a work-group packs some panels of a step.
 * gemm_any: a work-item makes 4 x 4 of C, for devices with many threads.
 */
#include "tile.clh"

#if defined(K_gemm_pack_b) || (defined(K_gemm_cpu) && !PACKED_B)
#ifdef K_gemm_pack_b
#define PANELS_SPACE global
#else
#define PANELS_SPACE local
#endif
inline void pack_b(const global T(1) *b, int stride_k, int stride_n, int kn, int nn, PANELS_SPACE float *dst)
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
#endif

#ifdef K_gemm_pack_b
/* `some` panels by a work-group, a few terms of all of them at a time: so rows of B are read on. Tensors are numbered as
 * gemm_cpu's. */
__attribute__((reqd_work_group_size(1, 1, 1))) kernel void
gemm_pack_b(const global T(0) *restrict a, const global T(1) *restrict b, global float *restrict packed, int N, int K, int b_k,
            int b_n, int kc, int some)
{
    const int z = get_group_id(2), k0 = get_group_id(1) * kc, all = (N + NR - 1) / NR, kn = min(kc, K - k0);
    const int first = get_group_id(0) * some, end = min(first + some, all);

    b += (size_t)z * N * K + (size_t)k0 * b_k;
    packed += ((size_t)z * get_num_groups(1) + get_group_id(1)) * all * ((size_t)kc * NR);
    for (int k = 0; k < kn; k += 8)
        for (int p = first; p < end; p++)
            pack_b(b + (size_t)k * b_k + (size_t)p * NR * b_n, b_k, b_n, min(8, kn - k), min(NR, N - p * NR),
                   packed + ((size_t)p * kc + k) * NR);
}
#endif

#ifdef K_gemm_cpu
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

#ifdef __has_builtin
#if __has_builtin(__builtin_prefetch)
#define FETCH(p, cache) __builtin_prefetch(p, 0, 4 - (cache)) /* PoCL's prefetch() does nothing */
#endif
#endif
#ifndef FETCH
#define FETCH(p, cache) prefetch((const global uchar *)(p), (size_t)64)
#endif

/* kn columns of A as rows of lda floats. */
inline void pack_a(const global T(0) *a, int stride_m, int stride_k, int rows, int kn, int lda, local float *dst)
{
    if (stride_k == 1) {
        for (int m = 0; m < rows; m++) {
            const size_t at = (size_t)m * stride_m;
            int k = 0;

            for (; k + W <= kn; k += W)
                VST(LDV(0, W, a, at + k), 0, dst + m * lda + k);
            for (; k < kn; k++)
                dst[m * lda + k] = LD(0, a, at + k);
        }
        return;
    }
    for (int k = 0; k < kn; k++)
        for (int m = 0; m < rows; m++)
            dst[m * lda + k] = LD(0, a, (size_t)m * stride_m + (size_t)k * stride_k);
}

#if PACKED_B
/* Terms from .. from + n - 1 of the next panel come to the second cache. */
inline void prepare(const global T(1) *b, int stride_k, int stride_n, int from, int n, int end, int nn, const global float *next)
{
    for (int i = from * NR; i < (from + n) * NR; i += 16) /* a line of 64 bytes */
        FETCH(next + i, 2);
}
#define PANELS         const global
#define PANEL(p)       (bs + (size_t)(p) * kc * NR)
#define FIRST_PANEL()
#else
/* Packs terms from .. from + n - 1 of the next panel; as many of those after them come to the first cache. */
inline void prepare(const global T(1) *b, int stride_k, int stride_n, int from, int n, int end, int nn, local float *next)
{
    pack_b(b + (size_t)from * stride_k, stride_k, stride_n, n, nn, next + from * NR);
    for (int k = from + n; k < min(from + 2 * n, end); k++)
        FETCH(b + (size_t)k * stride_k, 1);
}
#define PANELS         local
#define PANEL(p)       (bs + (p) % 2 * kc * NR)
#define FIRST_PANEL()  pack_b(bp, b_k, b_n, kn, min(NR, N - n0), bs)
#endif
#if PACK_A
#define ROW_OF_A(i) local const float *a##i = as + (m + i) * lda;
#else
#define ROW_OF_A(i) const global float *a##i = ap + (size_t)min(m + i, rows - 1) * stride_m;
#endif
/* Row pointers are six registers: compilers that see how far apart rows are add that up for each of them and each term. */
#if defined(__clang__) && (defined(__x86_64__) || defined(__aarch64__))
#define HIDE(i) __asm__("" : "+r"(a##i));
#else
#define HIDE(i)
#endif
#define FINISH_ROW(i)                                                                                                  \
    if (m + i < rows)                                                                                                  \
        finish(c##i##0, c##i##1, ((size_t)z * M + m0 + m + i) * N + n0 + p * NR, n0 + p * NR, N - n0 - p * NR, bias, res, c,   \
               scale, act);

__attribute__((reqd_work_group_size(1, 1, 1))) kernel void
gemm_cpu(const global T(0) *restrict a, const global T(1) *restrict b, const global T(2) *restrict bias,
     const global T(3) *restrict res, global T(4) *restrict c, int M, int N, int K, int stride_m, int stride_k, int b_k,
     int b_n, int b_shared, int mb, int nb, int kc, int act, float scale, global float *restrict sums, PANELS float *bs,
     local float *as)
{
    const int z = get_group_id(2), m0 = get_group_id(1) * mb, n0 = get_group_id(0) * nb * NR, all = (N + NR - 1) / NR;
    const int rows = min(mb, M - m0), panels = min(nb, all - n0 / NR), tiles = (rows + MR - 1) / MR, lda = kc + PAD;

    a += (size_t)z * M * K + (size_t)m0 * stride_m;
    b += (b_shared ? 0 : (size_t)z * N * K) + (size_t)n0 * b_n;
    sums += ((z * get_num_groups(1) + get_group_id(1)) * get_num_groups(0) + get_group_id(0)) * ((size_t)mb * nb * NR);
#if PACKED_B
    bs += ((size_t)(b_shared ? 0 : z) * ((K + kc - 1) / kc) * all + n0 / NR) * ((size_t)kc * NR);
#endif
    for (int k0 = 0; k0 < K || k0 == 0; k0 += kc) {
        const int kn = min(kc, K - k0), share = (kn + tiles - 1) / tiles;
        const global T(0) *ap = a + (size_t)k0 * stride_k;
        const global T(1) *bp = b + (size_t)k0 * b_k;

#if PACK_A
        pack_a(ap, stride_m, stride_k, rows, kn, lda, as);
#endif
        FIRST_PANEL();
        for (int p = 0; p < panels; p++) {
            const int end = p + 1 < panels ? kn : 0, nn = min(NR, N - n0 - (p + 1) * NR);
            int ready = 0;

            bp += (size_t)NR * b_n;
            for (int m = 0; m < rows; m += MR) {
                global float *t = sums + (m / MR * panels + p) * (MR * NR);
                PANELS const float *bn = PANEL(p);
                TILE_EACH(ROW_OF_A)
                TILE_EACH(HIDE)
                TILE_ZERO()

                if (ready < end) {
                    prepare(bp, b_k, b_n, ready, min(share, end - ready), end, nn, PANEL(p + 1));
                    ready += share;
                }
                if (k0 > 0)
                    TILE_GET(global, t)
                _Pragma("unroll 4") for (int off_ = 0; off_ < kn; off_++, bn += NR) {
                    const vf b0_ = VLD(0, bn), b1_ = VLD(1, bn);
                    TILE_EACH(TILE_MAC1)
                }
                if (k0 + kc < K) {
                    TILE_PUT(global, t)
                } else {
                    TILE_EACH(FINISH_ROW)
                }
            }
        }
#if PACKED_B
        bs += (size_t)all * kc * NR;
#endif
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
