/* resize.cl - pictures to another size and the gradient (libnpu/op/resize.c, whose tap() this repeats). */

/* Where output pixel o lies: *ret_first the first of two input pixels, the share of the second returned. */
inline float tap(int o, int in, int out, int bilinear, int *ret_first)
{
    int t = max((2 * o + 1) * in - (bilinear ? out : 0), 0), first = t / (2 * out);

    *ret_first = first;
    return bilinear ? (float)(t - first * 2 * out) / (float)(2 * out) : 0.0f;
}

#ifdef K_resize
kernel void resize(const global T(0) *x, global T(1) *y, int nb, int h, int w, int oh, int ow, int c, int bilinear,
                   TILE_PARAMS)
{
    TILE_ROWS(row, nb * oh * ow)
    {
        int iy, ix, b = row / ow / oh;
        float fy = tap(row / ow % oh, h, oh, bilinear, &iy), fx = tap(row % ow, w, ow, bilinear, &ix);
        int y0 = min(iy, h - 1), y1 = min(iy + 1, h - 1), x0 = min(ix, w - 1), x1 = min(ix + 1, w - 1);
        size_t a = ((size_t)b * h + y0) * w, d = ((size_t)b * h + y1) * w;

        TILE_COLS(j, c)
        {
            float8 v = LD8(0, x, (a + x0) * c + j, j_n);

            if (bilinear)
                v = (1.0f - fy) * ((1.0f - fx) * v + fx * LD8(0, x, (a + x1) * c + j, j_n)) +
                    fy * ((1.0f - fx) * LD8(0, x, (d + x0) * c + j, j_n) + fx * LD8(0, x, (d + x1) * c + j, j_n));
            ST8(1, y, (size_t)row * c + j, j_n, v);
        }
    }
}
#endif

#ifdef K_resize_grad
#define KEPT 8 /* shares of neighbours that are computed once a pixel */

/* The share of input pixel i in output pixel o. */
inline float share(int o, int i, int in, int out, int bilinear)
{
    int first;
    float f = tap(o, in, out, bilinear, &first);

    return (min(first, in - 1) == i ? 1.0f - f : 0.0f) + (min(first + 1, in - 1) == i ? f : 0.0f);
}

/* Output pixels that may take from input pixel i: t = (2 o + 1) in - out lies in (2 i - 2, 2 i + 2) out, a little widened. */
inline int2 takers(int i, int in, int out)
{
    int2 r = (int2)(((2 * i - 1) * out - 2 * in) / (2 * in), ((2 * i + 3) * out + 2 * in) / (2 * in));

    r = clamp(r, 0, out - 1);
    if (i == 0)
        r.x = 0;
    if (i == in - 1)
        r.y = out - 1;
    return r;
}

/* gy [n, h, w, c] -> gx [n, oh, ow, c]: here h, w are the sides of the forward's result */
kernel void resize_grad(const global T(0) *gy, global T(1) *gx, int nb, int h, int w, int oh, int ow, int c, int bilinear,
                        TILE_PARAMS)
{
    TILE_ROWS(row, nb * oh * ow)
    {
        int ix = row % ow, iy = row / ow % oh, b = row / ow / oh;
        int2 ry = takers(iy, oh, h), rx = takers(ix, ow, w);
        float fy[KEPT], fx[KEPT];

        for (int k = 0; k < min(KEPT, ry.y - ry.x + 1); k++)
            fy[k] = share(ry.x + k, iy, oh, h, bilinear);
        for (int k = 0; k < min(KEPT, rx.y - rx.x + 1); k++)
            fx[k] = share(rx.x + k, ix, ow, w, bilinear);
        TILE_COLS(j, c)
        {
            float8 s = 0.0f;

            for (int y = ry.x; y <= ry.y; y++) {
                float f0 = y - ry.x < KEPT ? fy[y - ry.x] : share(y, iy, oh, h, bilinear);

                if (f0 == 0.0f)
                    continue;
                for (int x = rx.x; x <= rx.y; x++) {
                    float f = f0 * (x - rx.x < KEPT ? fx[x - rx.x] : share(x, ix, ow, w, bilinear));

                    if (f != 0.0f)
                        s += f * LD8(0, gy, ((size_t)(b * h + y) * w + x) * c + j, j_n);
                }
            }
            ST8(1, gx, (size_t)row * c + j, j_n, s);
        }
    }
}
#endif
