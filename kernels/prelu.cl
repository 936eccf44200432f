/* prelu.cl - x where x > 0, else slope x; its gradient (libnpu/op/prelu.c). each: a slope for each column, else one. */
inline float8 slopes(const global T(1) *slope, int each, int j, int n)
{
    if (each)
        return LD8(1, slope, j, n);
    return (float8)LD(1, slope, 0);
}

#ifdef K_prelu
kernel void prelu(const global T(0) *x, const global T(1) *slope, global T(2) *y, int rows, int inner, int each,
                  TILE_PARAMS)
{
    TILE_ROWS(row, rows)
    TILE_COLS(j, inner)
    {
        size_t i = (size_t)row * inner + j;
        float8 v = LD8(0, x, i, j_n);

        ST8(2, y, i, j_n, ((v > 0.0f) ? v : v * slopes(slope, each, j, j_n)));
    }
}
#endif

#ifdef K_prelu_grad
kernel void prelu_grad(const global T(0) *x, const global T(1) *slope, const global T(2) *gy, global T(3) *gx,
                       global float *gs, int rows, int inner, int each, TILE_PARAMS)
{
    TILE_ROWS(row, rows)
    TILE_COLS(j, inner)
    {
        size_t i = (size_t)row * inner + j;
        float8 v = LD8(0, x, i, j_n), d = LD8(2, gy, i, j_n);

        ST8(3, gx, i, j_n, ((v > 0.0f) ? d : d * slopes(slope, each, j, j_n)));
        npu_stf8(gs, i, j_n, ((v > 0.0f) ? (float8)0.0f : d * v));
    }
}
#endif
