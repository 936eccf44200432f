/* pool.cl - max and mean pooling of NHWC pictures and their gradients (libnpu/op/pool.c).
 *
 * A row of a tile is a pixel, its columns are channels. */
#define POOL_PARAMS int nb, int h, int w, int c, int oh, int ow, int size, int stride, int pad

#if defined(K_max_pool) || defined(K_mean_pool)
#ifdef K_max_pool
kernel void max_pool
#else
kernel void mean_pool
#endif
    (const global T(0) *x, global T(1) *y, POOL_PARAMS, TILE_PARAMS)
{
    TILE_ROWS(row, nb * oh * ow)
    {
        int ox = row % ow * stride - pad, oy = row / ow % oh * stride - pad, b = row / ow / oh;
        int x0 = max(ox, 0), x1 = min(ox + size, w), y0 = max(oy, 0), y1 = min(oy + size, h);

        TILE_COLS(j, c)
        {
#ifdef K_max_pool
            float8 v = -INFINITY;
#else
            float8 v = 0.0f;
#endif
            for (int iy = y0; iy < y1; iy++)
                for (int ix = x0; ix < x1; ix++) {
                    float8 t = LD8(0, x, ((size_t)(b * h + iy) * w + ix) * c + j, j_n);
#ifdef K_max_pool
                    v = fmax(v, t);
#else
                    v += t;
#endif
                }
#ifdef K_mean_pool
            v /= (float)((y1 - y0) * (x1 - x0));
#endif
            ST8(1, y, (size_t)row * c + j, j_n, v);
        }
    }
}
#endif

/* The windows that cover element i: first .. last of n. */
inline int first_window(int i, int size, int stride, int pad)
{
    return max(0, (i + pad - size + stride) / stride);
}
inline int last_window(int i, int stride, int pad, int n)
{
    return min(n - 1, (i + pad) / stride);
}

#ifdef K_max_pool_grad
/* An element gets a window's gradient if it is the maximum and none before it in the window is. */
kernel void max_pool_grad(const global T(0) *x, const global T(1) *y, const global T(2) *gy, global T(3) *gx, POOL_PARAMS,
                          TILE_PARAMS)
{
    TILE_ROWS(row, nb * h * w)
    {
        int ix = row % w, iy = row / w % h, b = row / w / h;
        int wy1 = last_window(iy, stride, pad, oh), wx1 = last_window(ix, stride, pad, ow);

        TILE_COLS(j, c)
        {
            float8 v = LD8(0, x, (size_t)row * c + j, j_n), s = 0.0f;

            for (int wy = first_window(iy, size, stride, pad); wy <= wy1; wy++)
                for (int wx = first_window(ix, size, stride, pad); wx <= wx1; wx++) {
                    size_t o = ((size_t)(b * oh + wy) * ow + wx) * c + j;
                    float8 top = LD8(1, y, o, j_n);
                    int8 mine = v == top;
                    int x0 = max(wx * stride - pad, 0), x1 = min(wx * stride - pad + size, w);

                    if (!any(mine))
                        continue;
                    for (int py = max(wy * stride - pad, 0); py <= iy; py++)
                        for (int px = x0; px < (py < iy ? x1 : ix); px++)
                            mine &= LD8(0, x, ((size_t)(b * h + py) * w + px) * c + j, j_n) != top;
                    s += (mine) ? LD8(2, gy, o, j_n) : (float8)0.0f;
                }
            ST8(3, gx, (size_t)row * c + j, j_n, s);
        }
    }
}
#endif

#ifdef K_mean_pool_grad
kernel void mean_pool_grad(const global T(0) *gy, global T(1) *gx, POOL_PARAMS, TILE_PARAMS)
{
    TILE_ROWS(row, nb * h * w)
    {
        int ix = row % w, iy = row / w % h, b = row / w / h;
        int wy1 = last_window(iy, stride, pad, oh), wx1 = last_window(ix, stride, pad, ow);

        TILE_COLS(j, c)
        {
            float8 s = 0.0f;

            for (int wy = first_window(iy, size, stride, pad); wy <= wy1; wy++)
                for (int wx = first_window(ix, size, stride, pad); wx <= wx1; wx++) {
                    int rows = min(wy * stride - pad + size, h) - max(wy * stride - pad, 0);
                    int cols = min(wx * stride - pad + size, w) - max(wx * stride - pad, 0);

                    s += LD8(0, gy, ((size_t)(b * oh + wy) * ow + wx) * c + j, j_n) * (1.0f / (float)(rows * cols));
                }
            ST8(1, gx, (size_t)row * c + j, j_n, s);
        }
    }
}
#endif
