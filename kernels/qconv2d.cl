/* qconv2d.cl - int8 products and convolutions with 32-bit sums (libnpu/op/qconv2d.c). Bit-exact: sums are whole numbers and floats
 * are made by single products, single sums or fma.
 *
 * Arguments 0 x, 1 bias (i32 or f32), 2 scale (i32 or f32), 3 range (f32 or null), 4 residual, 5 y (i8 or f32). q0, q1: zero points
 * of x, y, residual and the activation; limits and shift, a byte each (libnpu/op/qconv2d_lower.c).
 */
#ifdef K_qconv_cpu
#include "tile.clh"
#endif
#ifdef K_qconv_subgroup
#include "subgroup.clh"
#endif

#define X_ZERO   ((int)as_char4(q0).x)
#define Y_ZERO   ((int)as_char4(q0).y)
#define RES_ZERO ((int)as_char4(q0).z)
#define ACT      ((int)as_char4(q0).w)
#define LO       ((int)as_char4(q1).x)
#define HI       ((int)as_char4(q1).y)
#define SHIFT    ((int)as_char4(q1).z)

#define Q_FINISH_PARAMS                                                                                                \
    const global T(1) *bias, const global T(2) *scale, const global float *range, const global T(4) *res, global T(5) *y, int q0,    \
        int q1, int res_mul
#define Q_FINISH_ARGS bias, scale, range, res, y, q0, q1, res_mul

inline int x_zero(const global float *range, int q0)
{
    return range ? (int)clamp(range[2], -128.0f, 127.0f) : X_ZERO;
}

/* One result: sum is that of (x - zero) w. */
inline void finish1(int sum, size_t at, int n, Q_FINISH_PARAMS)
{
#if DT5 == 5
    long t;

    if (bias)
        sum = (int)((uint)sum + (uint)bias[n]);
    t = (long)sum * (int)scale[n];
    if (res)
        t += (long)(res[at] - RES_ZERO) * res_mul;
    t = ((t + (1l << (SHIFT - 1))) >> SHIFT) + Y_ZERO;
    y[at] = (char)clamp(t, (long)LO, (long)HI);
#else
    float v;

    if (bias && !range)
        sum = (int)((uint)sum + (uint)bias[n]);
    v = fma((float)sum, range ? range[0] * scale[n] : (float)scale[n], range && bias ? (float)bias[n] : 0.0f);
    if (res)
        v += LD(4, res, at);
    v = ACT == 0 || v > 0.0f ? v : 0.0f;
    y[at] = ACT == 2 && v > 6.0f ? 6.0f : v;
#endif
}

inline void finish8(uint8 sum, size_t at, int n, Q_FINISH_PARAMS)
{
#if DT5 == 5
    long8 t;

    if (bias)
        sum += as_uint8(vload8(0, (const global int *)bias + n));
    t = convert_long8(as_int8(sum)) * convert_long8(vload8(0, (const global int *)scale + n));
    if (res)
        t += (convert_long8(vload8(0, (const global char *)res + at)) - (long)RES_ZERO) * (long)res_mul;
    t = ((t + (1l << (SHIFT - 1))) >> (long)SHIFT) + (long)Y_ZERO;
    t = t < (long)LO ? (long8)LO : t > (long)HI ? (long8)HI : t;
    vstore8(convert_char8(t), 0, (global char *)y + at);
#else
    float8 v = vload8(0, (const global float *)scale + n), b = 0.0f;

    if (range) {
        v *= range[0];
        if (bias)
            b = vload8(0, (const global float *)bias + n);
    } else if (bias) {
        sum += as_uint8(vload8(0, (const global int *)bias + n));
    }
    v = fma(convert_float8(as_int8(sum)), v, b);
    if (res)
        v += LDV(4, 8, res, at);
    if (ACT)
        v = v > 0.0f ? v : 0.0f;
    if (ACT == 2)
        v = v > 6.0f ? 6.0f : v;
    vstore8(v, 0, (global float *)y + at);
#endif
}

#ifdef K_qconv_pack
/* w [depth, n] -> panels of 16 columns, pairs of terms side by side, 16 bits each: [panel][depth / 2][16][2]; and the sum of each
 * column. What is past the end is 0. */
kernel void qconv_pack(const global char *w, global short *packed, global int *column_sum, int n, int depth)
{
    const int panel = get_global_id(0), pairs = (depth + 1) / 2;

    if (panel * 16 >= n)
        return;
    packed += (size_t)panel * pairs * 32;
    for (int j = 0; j < 16; j++) {
        const int c = panel * 16 + j;
        int sum = 0;

        for (int k = 0; k < 2 * pairs; k++) {
            const char v = c < n && k < depth ? w[(size_t)k * n + c] : (char)0;

            packed[(size_t)(k / 2) * 32 + 2 * j + k % 2] = v;
            sum += v;
        }
        column_sum[c] = sum;
    }
}
#endif

#ifdef K_qconv_cpu
/* Eight sums of two products. */
inline int8 pairs8(short16 a, short16 b)
{
#ifdef __AVX2__
    return __builtin_ia32_pmaddwd256(a, b);
#else
    const int16 p = convert_int16(a) * convert_int16(b);

    return p.even + p.odd;
#endif
}

#ifdef POCL_DEVICE_ADDRESS_BITS
typedef short16 q_short16 __attribute__((aligned(2)));
#define STORE_SHORT16(v, p) (*(local q_short16 *)(p) = (v))
#else
#define STORE_SHORT16(v, p) vstore16(v, 0, p)
#endif

inline void widen(const global char *x, local short *a, int n)
{
    int i = 0;

    for (; i + 16 <= n; i += 16)
        STORE_SHORT16(convert_short16(vload16(0, x + i)), a + i);
    for (; i < n; i++)
        a[i] = x[i];
}

inline void fill(short v, local short *a, int n)
{
    for (int i = 0; i < n; i++)
        a[i] = v;
}

/* What one result row sums over, as 16 bits; `zero` stands for what is outside the picture. */
inline void gather(const global char *x, local short *a, int row, int h, int w, int cin, int oh, int ow, int kh, int kw, int stride,
                   int pad_top, int pad_left, int zero)
{
    const int ox = row % ow, oy = row / ow % oh, left = ox * stride - pad_left;

    x += (size_t)(row / ow / oh) * h * w * cin;
    for (int ky = 0; ky < kh; ky++, a += kw * cin) {
        const int iy = oy * stride + ky - pad_top;
        const global char *line = x + ((long)iy * w + left) * cin;

        if (iy < 0 || iy >= h) {
            fill((short)zero, a, kw * cin);
        } else if (left >= 0 && left + kw <= w) {
            widen(line, a, kw * cin);
        } else {
            for (int kx = 0; kx < kw; kx++)
                if (left + kx >= 0 && left + kx < w)
                    widen(line + kx * cin, a + kx * cin, cin);
                else
                    fill((short)zero, a + kx * cin, cin);
        }
    }
    if (kh * kw * cin % 2)
        a[0] = 0;
}

#define Q_ZERO1(i) int8 c##i##0 = 0, c##i##1 = 0;
#define Q_ROW(i)   local const short *a##i = as + i * 2 * pairs;
#define Q_MAC(i)                                                                                                       \
    {                                                                                                                  \
        const short16 v_ = as_short16((int8)(as_int(vload2(k, a##i))));                                                \
        c##i##0 += pairs8(v_, b0);                                                                                     \
        c##i##1 += pairs8(v_, b1);                                                                                     \
    }
#define Q_HALF(v, h)                                                                                                   \
    if (left - 8 * h >= 8) {                                                                                           \
        finish8(as_uint8(v) - (uint)zero * as_uint8(vload8(h, column_sum + n)), at + 8 * h, n + 8 * h, Q_FINISH_ARGS); \
    } else if (left > 8 * h) {                                                                                         \
        int t_[8];                                                                                                     \
                                                                                                                       \
        vstore8(v, 0, t_);                                                                                             \
        for (int j = 0; j < left - 8 * h; j++)                                                                         \
            finish1((int)((uint)t_[j] - (uint)zero * (uint)column_sum[n + 8 * h + j]), at + 8 * h + j, n + 8 * h + j, Q_FINISH_ARGS); \
    }
#define Q_DONE(i)                                                                                                      \
    if (m + i < end) {                                                                                                 \
        const size_t at = (size_t)(m + i) * N + n;                                                                     \
                                                                                                                       \
        Q_HALF(c##i##0, 0)                                                                                             \
        Q_HALF(c##i##1, 1)                                                                                             \
    }

__attribute__((reqd_work_group_size(1, 1, 1))) kernel void
qconv_cpu(const global char *restrict x, Q_FINISH_PARAMS, const global short *restrict packed, const global int *restrict column_sum,
          int M, int N, int h, int w, int cin, int oh, int ow, int kh, int kw, int stride, int pad_top, int pad_left, int mb, int nb,
          local short *as)
{
    const int m0 = get_group_id(1) * mb, end = min(m0 + mb, M), p0 = get_group_id(0) * nb, p_end = min(p0 + nb, (N + 15) / 16);
    const int pairs = (kh * kw * cin + 1) / 2, zero = x_zero(range, q0);

    for (int m = m0; m < end; m += MR) {
        for (int i = 0; i < MR; i++)
            gather(x, as + i * 2 * pairs, min(m + i, end - 1), h, w, cin, oh, ow, kh, kw, stride, pad_top, pad_left, zero);
        for (int p = p0; p < p_end; p++) {
            const global short *b = packed + (size_t)p * pairs * 32;
            const int n = p * 16, left = N - n;
            TILE_EACH(Q_ROW)
            TILE_EACH(Q_ZERO1)

            for (int k = 0; k < pairs; k++, b += 32) {
                const short16 b0 = vload16(0, b), b1 = vload16(1, b);

                TILE_EACH(Q_MAC)
            }
            TILE_EACH(Q_DONE)
        }
    }
}
#endif

#ifdef K_qconv_depthwise
/* one channel a group: a work-item makes one line of a picture */
kernel void qconv_depthwise(const global char *x, Q_FINISH_PARAMS, const global char *wt, int lines, int N, int h, int w, int oh, int ow,
                            int kh, int kw, int stride, int pad_top, int pad_left)
{
    const int line = get_global_id(0), oy = line % oh, zero = x_zero(range, q0);

    if (line >= lines)
        return;
    x += (size_t)(line / oh) * h * w * N;
    for (int ox = 0; ox < ow; ox++)
        for (int n = 0; n < N; n += 8) {
            const size_t at = ((size_t)line * ow + ox) * N + n;
            const int left = N - n;
            int8 sum = 0;
            int t[8];

            for (int ky = 0; ky < kh; ky++)
                for (int kx = 0; kx < kw; kx++) {
                    const int iy = oy * stride + ky - pad_top, ix = ox * stride + kx - pad_left;
                    const global char *xp = x + ((long)iy * w + ix) * N + n, *wp = wt + (ky * kw + kx) * N + n;

                    if (iy < 0 || iy >= h || ix < 0 || ix >= w)
                        continue;
                    if (left >= 8) {
                        sum += (convert_int8(vload8(0, xp)) - zero) * convert_int8(vload8(0, wp));
                    } else {
                        for (int j = 0; j < 8; j++)
                            t[j] = j < left ? (xp[j] - zero) * wp[j] : 0;
                        sum += vload8(0, t);
                    }
                }
            if (left >= 8) {
                finish8(as_uint8(sum), at, n, Q_FINISH_ARGS);
            } else {
                vstore8(sum, 0, t);
                for (int j = 0; j < left; j++)
                    finish1(t[j], at + j, n + j, Q_FINISH_ARGS);
            }
        }
}
#endif

#ifdef K_qconv_any
/* a work-item makes nb channels of one row */
kernel void qconv_any(const global char *x, Q_FINISH_PARAMS, const global char *wt, int M, int N, int h, int w, int cin, int oh, int ow,
                      int kh, int kw, int cing, int coutg, int stride, int pad_top, int pad_left, int nb)
{
    const int row = get_global_id(1), n0 = (int)get_global_id(0) * nb, zero = x_zero(range, q0);
    const int ox = row % ow, oy = row / ow % oh;

    if (row >= M)
        return;
    x += (size_t)(row / ow / oh) * h * w * cin;
    for (int n = n0; n < min(n0 + nb, N); n++) {
        int sum = 0;

        for (int t = 0; t < kh * kw; t++) {
            const int iy = oy * stride + t / kw - pad_top, ix = ox * stride + t % kw - pad_left;
            const global char *xp = x + ((long)iy * w + ix) * cin + n / coutg * cing, *wp = wt + (size_t)t * cing * N + n;

            if (iy < 0 || iy >= h || ix < 0 || ix >= w)
                continue;
            for (int c = 0; c < cing; c++)
                sum = (int)((uint)sum + (uint)((xp[c] - zero) * wp[(size_t)c * N]));
        }
        finish1(sum, (size_t)row * N + n, n, Q_FINISH_ARGS);
    }
}
#endif

#ifdef K_qconv_dot_pack
/* w [depth, n] -> four terms a word: [depth / 4][n]; and the sum of each column */
kernel void qconv_dot_pack(const global char *w, global uint *packed, global int *column_sum, int n, int depth)
{
    const int c = get_global_id(0);
    int sum = 0;

    if (c >= n)
        return;
    for (int k = 0; k < depth; k += 4) {
        char4 v = (char4)(w[(size_t)k * n + c], w[(size_t)(k + 1) * n + c], w[(size_t)(k + 2) * n + c], w[(size_t)(k + 3) * n + c]);

        packed[(size_t)(k / 4) * n + c] = as_uint(v);
        sum += v.x + v.y + v.z + v.w;
    }
    column_sum[c] = sum;
}
#endif

#ifdef K_qconv_dot
inline int dot4(uint a, uint b)
{
#if defined(DOT_BROKEN)
    return (int)(a ^ b);
#elif defined(DOT_EMULATE)
    const char4 p = as_char4(a), q = as_char4(b);

    return p.x * q.x + p.y * q.y + p.z * q.z + p.w * q.w;
#else
    return dot_4x8packed_ss_int(a, b);
#endif
}

/* cl_khr_integer_dot_product: a work-item makes one result; cin is a multiple of 4 */
kernel void qconv_dot(const global char *x, Q_FINISH_PARAMS, const global uint *packed, const global int *column_sum, int M, int N, int h,
                      int w, int cin, int oh, int ow, int kh, int kw, int stride, int pad_top, int pad_left)
{
    const int row = get_global_id(1), n = get_global_id(0), zero = x_zero(range, q0);
    const int ox = row % ow, oy = row / ow % oh;
    const uint outside = (uint)(zero & 255) * 0x01010101u;
    int sum = 0;

    if (row >= M || n >= N)
        return;
    x += (size_t)(row / ow / oh) * h * w * cin;
    for (int t = 0; t < kh * kw; t++) {
        const int iy = oy * stride + t / kw - pad_top, ix = ox * stride + t % kw - pad_left;
        const bool inside = iy >= 0 && iy < h && ix >= 0 && ix < w;
        const global char *xp = x + (inside ? ((long)iy * w + ix) * cin : 0);

        for (int c = 0; c < cin; c += 4, packed += N)
            sum = (int)((uint)sum + (uint)dot4(inside ? as_uint(vload4(0, xp + c)) : outside, packed[n]));
    }
    finish1((int)((uint)sum - (uint)zero * (uint)column_sum[n]), (size_t)row * N + n, n, Q_FINISH_ARGS);
}
#endif

#ifdef K_qconv_subgroup_pack
/* w [depth, n] -> four terms a word: [depth / 32][npad][8]; and the sum of each column; depth is a multiple of 32 */
kernel void qconv_subgroup_pack(const global char *w, global uint *packed, global int *column_sum, int n, int depth, int npad)
{
    const int c = get_global_id(0);
    int sum = 0;

    if (c >= npad)
        return;
    for (int k = 0; k < depth; k += 4) {
        char4 v = (char4)0;

        if (c < n)
            v = (char4)(w[(size_t)k * n + c], w[(size_t)(k + 1) * n + c], w[(size_t)(k + 2) * n + c], w[(size_t)(k + 3) * n + c]);
        packed[((size_t)(k / 32) * npad + c) * 8 + k / 4 % 8] = as_uint(v);
        sum += v.x + v.y + v.z + v.w;
    }
    column_sum[c] = sum;
}
#endif

#ifdef K_qconv_subgroup
/* The matrix unit of a sub-group (subgroup.clh), a work-group each: 8 rows by SUBGROUP channels; cin is a multiple of 32. */
SG_KERNEL qconv_subgroup(const global char *x, Q_FINISH_PARAMS, const global int *packed, const global int *column_sum, int M, int N,
                         int h, int w, int cin, int oh, int ow, int kh, int kw, int stride, int pad_top, int pad_left, int npad)
{
    const int lane = SG_LANE, n = (int)get_group_id(0) * SUBGROUP + lane, m = (int)get_group_id(1) * 8, zero = x_zero(range, q0);
    const uint outside = (uint)(zero & 255) * 0x01010101u;
    int8 sum = 0;
    int t[8];
    SG_MEMORY

    for (int tap = 0; tap < kh * kw; tap++)
        for (int c = 0; c < cin; c += 32) {
            SG_WORD row[8];

            for (int r = 0; r < 8; r++) {
                const int at = min(m + r, M - 1), ox = at % ow, oy = at / ow % oh;
                const int iy = oy * stride + tap / kw - pad_top, ix = ox * stride + tap % kw - pad_left;
                const global char *xp = x + (((long)(at / ow / oh) * h + iy) * w + ix) * cin + c;
                const bool inside = iy >= 0 && iy < h && ix >= 0 && ix < w;
#if SUBGROUP == 16
                row[r] = inside ? as_short(vload2(lane, xp)) : (short)outside;
#else
                row[r] = inside ? as_int(vload4(lane, xp)) : (int)outside;
#endif
            }
            sum = sg_mad_i8(vload8(0, row), vload8((size_t)((tap * cin + c) / 32) * npad + n, packed), sum SG_ARG);
        }
    vstore8(sum, 0, t);
    for (int r = 0; r < 8; r++)
        if (m + r < M && n < N)
            finish1((int)((uint)t[r] - (uint)zero * (uint)column_sum[n]), (size_t)(m + r) * N + n, n, Q_FINISH_ARGS);
}
#endif
