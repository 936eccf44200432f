/* subgroup_gemm.cl - C[m, n] = residual + act(scale sum_k A[m, k] B[k, n] + bias[n]) by the matrix unit of a sub-group
 * (subgroup.clh). A work-group is one sub-group.
 *
 * subgroup_gemm: A and B are bf16 or f16; B is packed: [k / 16][n][8 words of two terms]. A group makes 32 x SUBGROUP of C.
 * subgroup_gemm4: any float types. A group makes 16 x 16 of C, a lane rows 4 (l / 4) + i and columns 4 (l % 4) + j.
 */
#include "tile.clh"
#include "subgroup.clh"

#ifdef K_subgroup_pack
kernel void subgroup_pack(const global T(0) *b, global uint *packed, int N, int K, int b_k, int b_n, int npad)
{
    const int n = get_global_id(0), k = (int)get_global_id(1) * 16;
    const global ushort *w = (const global ushort *)b + (size_t)n * b_n;

    for (int i = 0; i < 8; i++) {
        const int lo = k + 2 * i, hi = lo + 1;

        packed[((size_t)get_global_id(1) * npad + n) * 8 + i] =
            (n < N && lo < K ? (uint)w[(size_t)lo * b_k] : 0u) | (n < N && hi < K ? (uint)w[(size_t)hi * b_k] << 16 : 0u);
    }
}
#endif

#if defined(K_subgroup_gemm) || defined(K_subgroup_gemm4)
inline void finish(float v, int m, int n, int M, int N, const global T(1) *bias, const global T(2) *res, global T(3) *c, float scale,
                   int act)
{
    const size_t at = (size_t)m * N + n;

    if (m >= M || n >= N)
        return;
    v *= scale;
    if (bias)
        v += LD(1, bias, n);
    v = tile_act((vf)v, act).s0;
    if (res)
        v += LD(2, res, at);
    ST(3, c, at, v);
}
#endif

#ifdef K_subgroup_gemm
/* Terms k .. k + 15 of eight rows from m on; rows past the end are the last one, terms past the end 0. */
inline SG_A load_rows(const global ushort *a, int m, int k, int M, int K, int lane)
{
    SG_WORD row[8];

    for (int r = 0; r < 8; r++) {
        const global ushort *at = a + (size_t)min(m + r, M - 1) * K;
#if SUBGROUP == 16
        row[r] = k + lane < K ? (short)at[k + lane] : (short)0;
#else
        const int lo = k + 2 * lane;

        row[r] = (int)((lo < K ? (uint)at[lo] : 0u) | (lo + 1 < K ? (uint)at[lo + 1] << 16 : 0u));
#endif
    }
    return vload8(0, row);
}

SG_KERNEL subgroup_gemm(const global T(0) *a, const global T(1) *bias, const global T(2) *res, global T(3) *c,
                        const global int *packed, int M, int N, int K, int npad, int act, float scale)
{
    const int lane = SG_LANE, n = (int)get_group_id(0) * SUBGROUP + lane, m = (int)get_group_id(1) * 32;
    float8 sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    SG_MEMORY

    for (int k = 0; k < K; k += 16) {
        const int8 b = vload8((size_t)(k / 16) * npad + n, packed);

        for (int t = 0; t < 4; t++)
            sum[t] = sg_mad(load_rows((const global ushort *)a, m + 8 * t, k, M, K, lane), b, sum[t] SG_ARG);
    }
    for (int t = 0; t < 4; t++) {
        float v[8];

        vstore8(sum[t], 0, v);
        for (int r = 0; r < 8; r++)
            finish(v[r], m + 8 * t + r, n, M, N, bias, res, c, scale, act);
    }
}
#endif

#ifdef K_subgroup_gemm4
SG_KERNEL subgroup_gemm4(const global T(0) *a, const global T(1) *bias, const global T(2) *res, global T(3) *c,
                         const global T(4) *b, int M, int N, int K, int b_k, int b_n, int act, float scale)
{
    const int lane = SG_LANE, x = lane % 4, y = lane / 4;
    const int m = (int)get_group_id(1) * 16 + 4 * y, n = (int)get_group_id(0) * 16 + 4 * x;
    float sum[4][4] = {{0.0f}};
    SG_MEMORY

    for (int k = 0; k < K; k += 4) {
        float av[4], bv[4];

        for (int i = 0; i < 4; i++) {
            av[i] = k + x < K ? LD(0, a, (size_t)min(m + i, M - 1) * K + k + x) : 0.0f;
            bv[i] = k + y < K ? LD(4, b, (size_t)(k + y) * b_k + (size_t)min(n + i, N - 1) * b_n) : 0.0f;
        }
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 4; j++)
                sum[i][j] = sg_mad4(av[i], bv[j], sum[i][j] SG_ARG);
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            finish(sum[i][j], m + i, n + j, M, N, bias, res, c, scale, act);
}
#endif
