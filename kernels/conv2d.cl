/* conv2d.cl - convolution of NHWC pictures and its gradients. */
#include "tile.clh"

#ifdef K_conv2d_cpu
/* ---- the register tile over result pixels: a matrix product whose rows of A are found by address ----
 *
 * Forward and (with GRAD_X) the gradient with respect to x are the same gather: result pixel (y, x) of a phase sums taps_y x
 * taps_x source pixels from (y step + off_y, x step + off_x) on, each with `depth` channels. Forward has one phase and step =
 * stride. The gradient has stride^2 phases, the result pixels equal modulo the stride, and step 1; it takes the kernel's taps
 * backwards, every stride-th of them, and reads the weights transposed.
 * Source pixels of neighbouring taps are neighbours in memory, so K falls into runs of contiguous floats: a kernel row each, or
 * a tap each. A tile whose source lies wholly inside the picture is read in place; others, and all if the source is not f32,
 * are first copied into local memory with zeros around them.
 */
struct conv {
    int src_h, src_w, src_c, depth, taps_y, taps_x;
    int h, w, step, off_y, off_x;             /* result pixels of the phase, where their source starts */
    int dst_h, dst_w, dst_step, dst_y, dst_x; /* result pixel (y, x) is pixel (y dst_step + dst_y, ...) of dst */
    int runs, run_len, per_row;               /* per_row: runs a kernel row */
    int w_base, w_y, w_x, w_d, w_n;           /* weight of (tap y, tap x, depth, column) */
};

struct spot {
    int off, y, x, dst; /* source offset and pixel, result pixel */
};

/* The MR pixels from p on; false if a tap of one of them is outside the source. */
inline bool locate(const struct conv *g, int p, int n_pixels, struct spot *at)
{
    int x = p % g->w, y = p / g->w % g->h, z = p / g->w / g->h;
    bool inside = true;

    for (int i = 0; i < MR; i++) {
        const int sy = y * g->step + g->off_y, sx = x * g->step + g->off_x;

        inside = inside && sy >= 0 && sx >= 0 && sy + g->taps_y <= g->src_h && sx + g->taps_x <= g->src_w;
        at[i].y = sy;
        at[i].x = sx;
        at[i].off = ((z * g->src_h + sy) * g->src_w + sx) * g->src_c;
        at[i].dst = (z * g->dst_h + y * g->dst_step + g->dst_y) * g->dst_w + x * g->dst_step + g->dst_x;
        if (p + i + 1 < n_pixels && ++x == g->w) {
            x = 0;
            if (++y == g->h) {
                y = 0;
                z++;
            }
        }
    }
    return inside;
}

/* Runs r0 .. r1 - 1 of one pixel into dst, zeros where the source is outside. */
inline void gather(const struct conv *g, const global T(0) *src, const struct spot *s, int r0, int r1, local float *dst)
{
    const int taps = g->taps_x / g->per_row;

    for (int r = r0; r < r1; r++, dst += g->run_len) {
        const int ky = r / g->per_row, first = r % g->per_row * taps, x = s->x + first;
        const int at = s->off + (ky * g->src_w + first) * g->src_c;
        const bool row = s->y + ky >= 0 && s->y + ky < g->src_h;
        const int to = row ? clamp(g->src_w - x, 0, taps) * g->depth : 0, from = min(to, clamp(-x, 0, taps) * g->depth);
        int j = 0;

        for (; j < from; j++)
            dst[j] = 0.0f;
        for (; j + W <= to; j += W)
            VST(LDV(0, W, src, at + j), 0, dst + j);
        for (; j < to; j++)
            dst[j] = LD(0, src, at + j);
        for (; j < g->run_len; j++)
            dst[j] = 0.0f;
    }
}

/* Terms k0 .. k0 + kn - 1 of columns n .. n + nn - 1 as a panel [kn][NR]. */
inline void pack_w(const struct conv *g, const global T(1) *wt, int n, int nn, int k0, int kn, local float *dst)
{
    int d = k0 % g->depth, x = k0 / g->depth % g->taps_x, y = k0 / g->depth / g->taps_x;

    for (int k = 0; k < kn; k++, dst += NR) {
        const global T(1) *p = wt + (g->w_base + y * g->w_y + x * g->w_x + d * g->w_d + n * g->w_n);

#ifndef GRAD_X
        if (nn == NR) {
            VST(LDV(1, W, p, 0), 0, dst);
            VST(LDV(1, W, p, W), 1, dst);
        } else
#endif
            for (int j = 0; j < NR; j++)
                dst[j] = j < nn ? LD(1, p, j * g->w_n) : 0.0f;
        if (++d == g->depth) {
            d = 0;
            if (++x == g->taps_x) {
                x = 0;
                y++;
            }
        }
    }
}

/* One row of the tile: nn columns at dst[at], channel col on. */
inline void finish(vf v0, vf v1, size_t at, int col, int nn, const global T(2) *bias, const global T(3) *res,
                   global T(4) *dst, int act)
{
    for (int h = 0; h < 2; h++, at += W, col += W, nn -= W) {
        vf v = h ? v1 : v0;

        if (nn >= W) {
            if (bias)
                v += LDV(2, W, bias, col);
            if (res)
                v += LDV(3, W, res, at);
            STV(4, W, dst, at, tile_act(v, act));
        } else if (nn > 0) {
            float t[W];
            VST(v, 0, t);
            for (int j = 0; j < nn; j++) {
                float x = t[j];

                if (bias)
                    x += LD(2, bias, col + j);
                if (res)
                    x += LD(3, res, at + j);
                ST(4, dst, at + j, tile_act((vf)x, act).s0);
            }
        }
    }
}

/* cn: result channels of a group */
inline struct conv phase_of(int phase, int group, int src_h, int src_w, int src_c, int dst_h, int dst_w, int dst_c, int kh,
                            int kw, int stride, int pad_top, int pad_left, int depth, int cn, int kc)
{
    struct conv g = {.src_h = src_h, .src_w = src_w, .src_c = src_c, .depth = depth, .dst_h = dst_h, .dst_w = dst_w};

#ifdef GRAD_X
    const int ky = ((phase / stride) + pad_top) % stride, kx = ((phase % stride) + pad_left) % stride;

    g.dst_step = stride;
    g.dst_y = phase / stride;
    g.dst_x = phase % stride;
    g.h = (dst_h - g.dst_y + stride - 1) / stride;
    g.w = (dst_w - g.dst_x + stride - 1) / stride;
    g.step = 1;
    g.taps_y = max(0, (kh - ky + stride - 1) / stride);
    g.taps_x = max(0, (kw - kx + stride - 1) / stride);
    g.off_y = (g.dst_y + pad_top - ky) / stride - (g.taps_y - 1);
    g.off_x = (g.dst_x + pad_left - kx) / stride - (g.taps_x - 1);
    g.w_y = -stride * kw * cn * src_c;
    g.w_x = -stride * cn * src_c;
    g.w_d = 1;
    g.w_n = src_c;
    g.w_base = ((ky + stride * (g.taps_y - 1)) * kw + kx + stride * (g.taps_x - 1)) * cn * src_c + group * depth;
#else
    g.dst_step = 1;
    g.dst_y = g.dst_x = 0;
    g.h = dst_h;
    g.w = dst_w;
    g.step = stride;
    g.taps_y = kh;
    g.taps_x = kw;
    g.off_y = -pad_top;
    g.off_x = -pad_left;
    g.w_y = kw * depth * dst_c;
    g.w_x = depth * dst_c;
    g.w_d = dst_c;
    g.w_n = 1;
    g.w_base = group * cn;
#endif
    g.per_row = depth == src_c && g.taps_x * depth <= kc ? 1 : g.taps_x;
    g.run_len = g.per_row == 1 ? g.taps_x * depth : depth;
    g.runs = g.taps_y * g.per_row;
    return g;
}

#define ROW_IN_PLACE(i) const global float *a##i = (const global float *)src + at[i].off;
#define ROW_COPIED(i)   local const float *a##i = as + i * kc;
#define FINISH_ROW(i)                                                                                                      if (p + i < end)                                                                                                           finish(c##i##0, c##i##1, (size_t)at[i].dst * dst_c + group * cn + n, group * cn + n, cn - n, bias, res, dst, act);

/* kc: floats of K at a time (at least depth) */
__attribute__((reqd_work_group_size(1, 1, 1))) kernel void
conv2d_cpu(const global T(0) *restrict src, const global T(1) *restrict wt, const global T(2) *restrict bias,
           const global T(3) *restrict res, global T(4) *restrict dst, int n_pictures, int src_h, int src_w, int src_c, int dst_h,
           int dst_w, int dst_c, int kh, int kw, int stride, int pad_top, int pad_left, int depth, int cn, int phases, int mb, int nb,
           int kc, int act, local float *bs, local float *cs, local float *as)
{
    const int group = get_group_id(2) / phases, n0 = get_group_id(0) * nb * NR;
    const struct conv g = phase_of(get_group_id(2) % phases, group, src_h, src_w, src_c, dst_h, dst_w, dst_c, kh, kw, stride,
                                   pad_top, pad_left, depth, cn, kc);
    const int n_pixels = n_pictures * g.h * g.w, first = get_group_id(1) * mb, end = min(first + mb, n_pixels);
    const int panels = min(nb, (cn - n0 + NR - 1) / NR), rb = max(1, kc / max(1, g.run_len));
    struct spot at[MR];

    src += group * depth;
    for (int r = 0; r < g.runs || r == 0; r += rb) {
        const int runs = min(rb, g.runs - r), kn = runs * g.run_len;
        const bool last = r + rb >= g.runs;

        for (int j = 0; j < panels; j++)
            pack_w(&g, wt, n0 + j * NR, min(NR, cn - n0 - j * NR), r * g.run_len, kn, bs + j * kc * NR);
        for (int p = first; p < end; p += MR) {
            const bool copy = !locate(&g, p, n_pixels, at) || DT0 != 0;

            if (copy)
                for (int i = 0; i < MR; i++)
                    gather(&g, src, at + i, r, r + runs, as + i * kc);
            for (int j = 0; j < panels; j++) {
                const int n = n0 + j * NR;
                local const float *b = bs + j * kc * NR;
                local float *t = cs + ((p - first) / MR * panels + j) * (MR * NR);
                TILE_ZERO()

                if (r > 0)
                    TILE_GET(local, t)
                if (copy) {
                    TILE_EACH(ROW_COPIED)
                    TILE_RUN(0, 1, kn, b, NR)
                }
#if DT0 == 0
                else {
                    TILE_EACH(ROW_IN_PLACE)
                    for (int i = r; i < r + runs; i++)
                        TILE_RUN((i / g.per_row * src_w + i % g.per_row) * src_c, 1, g.run_len, b, NR)
                }
#endif
                if (last) {
                    TILE_EACH(FINISH_ROW)
                } else {
                    TILE_PUT(local, t)
                }
            }
        }
    }
}
#endif

#ifdef K_conv2d_grad_w_cpu
/* ---- grad_w: dW[tap, c, o] = sum over pixels of x[pixel + tap, c] gy[pixel, o] ----
 *
 * A work-group makes all taps of cb input channels by nb NR output channels over its share of the rows of y, and writes it to
 * part[share]: a second launch adds the shares in order. It takes `rows` rows of y at a time: the rows of x that these touch
 * go into local memory with zeros around (xs [rows of x][columns][cb]), gy into panels (ys [nb][rows * ow][NR]). Then a tile
 * row is a (tap, channel) at a fixed place in xs and K walks the pixels.
 */
struct patch {
    int h, w, cin, oh, ow, cout, kw, stride, pad_top, pad_left;
    int xs_w, cb;  /* columns of xs, channels */
    int n_x;       /* pixels of x */
};

/* Row iy of picture z, columns from -pad_left on, channels c .. c + cn - 1, into dst [xs_w][cb] */
inline void load_row(const struct patch *g, const global T(0) *x, int z, int iy, int c, int cn, local float *dst)
{
    const bool row = iy >= 0 && iy < g->h;

    for (int i = 0; i < g->xs_w; i++, dst += g->cb) {
        const int ix = i - g->pad_left;
        int j = 0;

        if (row && ix >= 0 && ix < g->w && (z * g->h + iy) * g->w + ix < g->n_x) {
            const global T(0) *p = x + ((size_t)(z * g->h + iy) * g->w + ix) * g->cin + c;

            for (; j + W <= cn; j += W)
                VST(LDV(0, W, p, j), 0, dst + j);
            for (; j < cn; j++)
                dst[j] = LD(0, p, j);
        }
        for (; j < g->cb; j++)
            dst[j] = 0.0f;
    }
}

/* n pixels of gy from pixel on, channels o .. o + on - 1, as a panel */
inline void load_panel(const global T(1) *gy, size_t pixel, int n, int cout, int o, int on, local float *dst)
{
    gy += pixel * cout + o;
    for (int i = 0; i < n; i++, gy += cout, dst += NR) {
        if (on >= NR) {
            VST(LDV(1, W, gy, 0), 0, dst);
            VST(LDV(1, W, gy, W), 1, dst);
        } else {
            for (int j = 0; j < NR; j++)
                dst[j] = j < on ? LD(1, gy, j) : 0.0f;
        }
    }
}

#define ROW_OF_X(i)                                                                                                    \
    const int m##i = min(m + i, terms - 1), t##i = m##i / g.cb;                                                        \
    local const float *a##i = xs + ((t##i / kw) * g.xs_w + t##i % kw) * g.cb + m##i % g.cb;
#define PUT_ROW(i)                                                                                                     \
    if (m + i < terms && m##i % g.cb < cn) {                                                                           \
        global float *to = part + ((size_t)t##i * cing + c0 + m##i % g.cb) * part_n + col;                             \
        if (add) {                                                                                                     \
            c##i##0 += VLD(0, to);                                                                                     \
            c##i##1 += VLD(1, to);                                                                                     \
        }                                                                                                              \
        VST(c##i##0, 0, to);                                                                                           \
        VST(c##i##1, 1, to);                                                                                           \
    }

/* part [shares][kh kw cing][part_n], part_n = groups * coutg rounded up to NR. n_x, n_y: pixels of x and y; where rows are only
 * a way to count (a matrix product) the last one may be short. */
__attribute__((reqd_work_group_size(1, 1, 1))) kernel void
conv2d_grad_w_cpu(const global T(0) *restrict x, const global T(1) *restrict gy, global float *restrict part, int n, int h, int w,
                  int cin, int oh, int ow, int cout, int kh, int kw, int stride, int pad_top, int pad_left, int cing, int coutg,
                  int n_x, int n_y, int shares, int rows, int cb, int nb, local float *xs, local float *ys)
{
    const struct patch g = {h, w, cin, oh, ow, cout, kw, stride, pad_top, pad_left, (ow - 1) * stride + kw, cb, n_x};
    const int blocks_c = (cing + cb - 1) / cb, panels_all = (coutg + NR - 1) / NR;
    const int c0 = get_group_id(0) % blocks_c * cb, p0 = get_group_id(0) / blocks_c * nb;
    const int group = get_group_id(2), share = get_group_id(1), cn = min(cb, cing - c0), panels = min(nb, panels_all - p0);
    const int part_n = get_num_groups(2) * panels_all * NR, terms = kh * kw * cb;
    const int per = (n * oh + shares - 1) / shares, y0 = share * per, y1 = min(y0 + per, n * oh);
    bool add = false;

    part += (size_t)share * kh * kw * cing * part_n;
    for (int y = y0; y < y1 || !add;) {
        const int z = y / oh, oy = y % oh, count = max(0, min(min(rows, oh - oy), y1 - y));
        const int pixels = min(count * ow, n_y - y * ow), xs_row = g.xs_w * cb;

        for (int r = 0; r < (count - 1) * stride + kh && count > 0; r++)
            load_row(&g, x, z, oy * stride - pad_top + r, group * cing + c0, cn, xs + r * xs_row);
        for (int p = 0; p < panels; p++)
            load_panel(gy, (size_t)y * ow, pixels, cout, group * coutg + (p0 + p) * NR, coutg - (p0 + p) * NR,
                       ys + p * rows * ow * NR);
        for (int m = 0; m < terms; m += MR) {
            TILE_EACH(ROW_OF_X)
            for (int p = 0; p < panels; p++) {
                const int col = (group * panels_all + p0 + p) * NR;
                local const float *b = ys + p * rows * ow * NR;
                TILE_ZERO()

                for (int r = 0; r < count; r++)
                    TILE_RUN(r * stride * xs_row, stride * cb, min(ow, pixels - r * ow), b, NR)
                TILE_EACH(PUT_ROW)
            }
        }
        add = true;
        y += max(1, count);
    }
}
#endif

#ifdef K_conv2d_grad_w_sum
/* gw [terms, groups * coutg] = sum of part [shares][terms][groups * width] */
kernel void conv2d_grad_w_sum(const global float *restrict part, global T(0) *restrict gw, int shares, int terms, int groups,
                              int coutg, int width)
{
    const int m = get_global_id(0), part_n = groups * width;

    for (int g = 0; g < groups; g++)
        for (int o = 0; o < coutg; o += W) {
            const global float *p = part + (size_t)m * part_n + g * width + o;
            const size_t to = (size_t)m * groups * coutg + g * coutg + o;
            vf v = VLD(0, p);

            for (int s = 1; s < shares; s++)
                v += VLD(0, p + (size_t)s * terms * part_n);
            if (o + W <= coutg) {
                STV(0, W, gw, to, v);
            } else {
                float t[W];
                VST(v, 0, t);
                for (int j = 0; o + j < coutg; j++)
                    ST(0, gw, to + j, t[j]);
            }
        }
}
#endif

#if defined(K_conv2d_dw_cpu) || defined(K_conv2d_dw_grad_w_cpu)
/* ---- depthwise: vectors of channels ---- */
/* n (at most W count) consecutive elements, zeros behind them */
#define PARTIAL_LOAD(k)                                                                                                \
    inline vf load_some_##k(const global T(k) *p, size_t i, int n)                                                     \
    {                                                                                                                  \
        float t[W];                                                                                                    \
        if (n >= W)                                                                                                    \
            return LDV(k, W, p, i);                                                                                    \
        for (int j = 0; j < W; j++)                                                                                    \
            t[j] = j < n ? LD(k, p, i + j) : 0.0f;                                                                     \
        return VLD(0, t);                                                                                              \
    }
PARTIAL_LOAD(0)
PARTIAL_LOAD(1)
#endif

#ifdef K_conv2d_dw_cpu
PARTIAL_LOAD(2)
PARTIAL_LOAD(3)

/* Taps along one axis: t0 .. t1 - 1; tap t reads source pixel src + t d_src with weight wt + t d_wt. */
struct taps {
    int t0, t1, src, wt;
};
#ifdef GRAD_X
#define D_SRC (-1)
#define D_WT  stride
inline struct taps taps_of(int i, int k, int stride, int pad, int size)
{
    struct taps t;

    t.wt = (i + pad) % stride;
    t.src = (i + pad - t.wt) / stride;
    t.t0 = max(0, t.src - size + 1);
    t.t1 = min((k - t.wt + stride - 1) / stride, t.src + 1);
    return t;
}
#else
#define D_SRC 1
#define D_WT  1
inline struct taps taps_of(int i, int k, int stride, int pad, int size)
{
    struct taps t;

    t.wt = 0;
    t.src = i * stride - pad;
    t.t0 = max(0, -t.src);
    t.t1 = min(k, size - t.src);
    return t;
}
#endif

/* A work-item makes `rows` rows of dst (of n dst_h). With GRAD_X dst is the gradient of x and src that of y. */
kernel void conv2d_dw_cpu(const global T(0) *restrict src, const global T(1) *restrict wt, const global T(2) *restrict bias,
                          const global T(3) *restrict res, global T(4) *restrict dst, int n, int src_h, int src_w, int dst_h,
                          int dst_w, int c, int kh, int kw, int stride, int pad_top, int pad_left, int rows, int act)
{
    const int first = get_global_id(0) * rows, last = min(first + rows, n * dst_h);

    for (int row = first; row < last; row++) {
        const struct taps ty = taps_of(row % dst_h, kh, stride, pad_top, src_h);
        const size_t z = (size_t)(row / dst_h) * src_h;

        for (int x = 0; x < dst_w; x++) {
            const struct taps tx = taps_of(x, kw, stride, pad_left, src_w);
            const size_t to = ((size_t)row * dst_w + x) * c;

            for (int i = 0; i < c; i += W) {
                const int some = c - i;
                vf sum = bias ? load_some_2(bias, i, some) : (vf)0.0f;

                for (int y = ty.t0; y < ty.t1; y++) {
                    const global T(0) *p = src + ((z + ty.src + y * D_SRC) * src_w + tx.src + tx.t0 * D_SRC) * c + i;
                    const global T(1) *q = wt + ((ty.wt + y * D_WT) * kw + tx.wt + tx.t0 * D_WT) * c + i;

                    if (some >= W)
                        for (int t = tx.t0; t < tx.t1; t++, p += D_SRC * c, q += D_WT * c)
                            sum = fma(LDV(0, W, p, 0), LDV(1, W, q, 0), sum);
                    else
                        for (int t = tx.t0; t < tx.t1; t++, p += D_SRC * c, q += D_WT * c)
                            sum = fma(load_some_0(p, 0, some), load_some_1(q, 0, some), sum);
                }
                if (res)
                    sum += load_some_3(res, to + i, some);
                sum = tile_act(sum, act);
                if (some >= W) {
                    STV(4, W, dst, to + i, sum);
                } else {
                    float out[W];
                    VST(sum, 0, out);
                    for (int j = 0; j < some; j++)
                        ST(4, dst, to + i + j, out[j]);
                }
            }
        }
    }
}
#endif

#ifdef K_conv2d_dw_grad_w_cpu
/* part [shares][kh kw][c rounded up to W]: each share's rows of y */
kernel void conv2d_dw_grad_w_cpu(const global T(0) *restrict x, const global T(1) *restrict gy, global float *restrict part,
                                 int n, int h, int w, int oh, int ow, int c, int kh, int kw, int stride, int pad_top,
                                 int pad_left, int rows)
{
    const int first = get_global_id(0) * rows, last = min(first + rows, n * oh), width = (c + W - 1) / W * W;

    part += get_global_id(0) * (size_t)(kh * kw * width);
    for (int i = 0; i < kh * kw * width; i += W)
        VST((vf)0.0f, 0, part + i);
    for (int row = first; row < last; row++)
        for (int i = 0; i < c; i += W)
            for (int tap = 0; tap < kh * kw; tap++) {
                const int iy = row % oh * stride - pad_top + tap / kw, off = tap % kw - pad_left, some = c - i;
                const int x0 = off < 0 ? (-off + stride - 1) / stride : 0, x1 = w - off > 0 ? min(ow, (w - 1 - off) / stride + 1) : 0;
                const global T(0) *px = x + (((size_t)(row / oh) * h + iy) * w + off) * c + i;
                const global T(1) *py = gy + (size_t)row * ow * c + i;
                vf s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
                int ox = x0;

                if (iy < 0 || iy >= h)
                    continue;
                if (some >= W)
                    for (; ox + 4 <= x1; ox += 4) {
                        const size_t a = (size_t)ox * stride * c, b = (size_t)ox * c;
                        s0 = fma(LDV(0, W, px, a), LDV(1, W, py, b), s0);
                        s1 = fma(LDV(0, W, px, a + stride * c), LDV(1, W, py, b + c), s1);
                        s2 = fma(LDV(0, W, px, a + 2 * stride * c), LDV(1, W, py, b + 2 * c), s2);
                        s3 = fma(LDV(0, W, px, a + 3 * stride * c), LDV(1, W, py, b + 3 * c), s3);
                    }
                for (; ox < x1; ox++)
                    s0 = fma(load_some_0(px, (size_t)ox * stride * c, some), load_some_1(py, (size_t)ox * c, some), s0);
                VST(VLD(0, part + tap * width + i) + ((s0 + s1) + (s2 + s3)), 0, part + tap * width + i);
            }
}
#endif

/* ---- portable kernels: a result a work-item ---- */
#define GEOMETRY                                                                                                       \
    int n, int h, int w, int cin, int oh, int ow, int cout, int kh, int kw, int stride, int pad_top, int pad_left,     \
        int cing, int coutg

#ifdef K_conv2d_any
kernel void conv2d_any(const global T(0) *restrict x, const global T(1) *restrict wt, const global T(2) *restrict bias,
                       const global T(3) *restrict res, global T(4) *restrict y, GEOMETRY, int act)
{
    const int o = get_global_id(0), ox = get_global_id(1), oy = get_global_id(2) % oh, z = get_global_id(2) / oh;
    const size_t at = (((size_t)z * oh + oy) * ow + ox) * cout + o;
    float sum = 0.0f;

    for (int ky = 0; ky < kh; ky++)
        for (int kx = 0; kx < kw; kx++) {
            const int iy = oy * stride - pad_top + ky, ix = ox * stride - pad_left + kx;
            const size_t xp = (((size_t)z * h + iy) * w + ix) * cin + o / coutg * cing;

            if (iy >= 0 && iy < h && ix >= 0 && ix < w)
                for (int c = 0; c < cing; c++)
                    sum = fma(LD(0, x, xp + c), LD(1, wt, ((size_t)(ky * kw + kx) * cing + c) * cout + o), sum);
        }
    if (bias)
        sum += LD(2, bias, o);
    if (res)
        sum += LD(3, res, at);
    ST(4, y, at, tile_act((vf)sum, act).s0);
}
#endif

#ifdef K_conv2d_grad_x_any
kernel void conv2d_grad_x_any(const global T(0) *restrict gy, const global T(1) *restrict wt, global T(2) *restrict gx,
                              GEOMETRY)
{
    const int c = get_global_id(0), ix = get_global_id(1), iy = get_global_id(2) % h, z = get_global_id(2) / h;
    const int g = c / cing;
    float sum = 0.0f;

    for (int ky = 0; ky < kh; ky++)
        for (int kx = 0; kx < kw; kx++) {
            const int sy = iy + pad_top - ky, sx = ix + pad_left - kx, oy = sy / stride, ox = sx / stride;
            const size_t yp = (((size_t)z * oh + oy) * ow + ox) * cout + g * coutg;
            const size_t wp = ((size_t)(ky * kw + kx) * cing + c % cing) * cout + g * coutg;

            if (sy >= 0 && sx >= 0 && oy * stride == sy && ox * stride == sx && oy < oh && ox < ow)
                for (int o = 0; o < coutg; o++)
                    sum = fma(LD(0, gy, yp + o), LD(1, wt, wp + o), sum);
        }
    ST(2, gx, (((size_t)z * h + iy) * w + ix) * cin + c, sum);
}
#endif

#ifdef K_conv2d_grad_w_any
kernel void conv2d_grad_w_any(const global T(0) *restrict x, const global T(1) *restrict gy, global T(2) *restrict gw,
                              GEOMETRY)
{
    const int o = get_global_id(0), c = get_global_id(1), tap = get_global_id(2), ky = tap / kw, kx = tap % kw;
    float sum = 0.0f;

    for (int z = 0; z < n; z++)
        for (int oy = 0; oy < oh; oy++) {
            const int iy = oy * stride - pad_top + ky;

            if (iy < 0 || iy >= h)
                continue;
            for (int ox = 0; ox < ow; ox++) {
                const int ix = ox * stride - pad_left + kx;

                if (ix >= 0 && ix < w)
                    sum = fma(LD(0, x, (((size_t)z * h + iy) * w + ix) * cin + o / coutg * cing + c),
                              LD(1, gy, (((size_t)z * oh + oy) * ow + ox) * cout + o), sum);
            }
        }
    ST(2, gw, ((size_t)tap * cing + c) * cout + o, sum);
}
#endif
