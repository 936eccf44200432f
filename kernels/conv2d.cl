/* conv2d.cl - convolution of NHWC pictures and its gradients. */
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
