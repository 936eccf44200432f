/* binary.cl - add, sub, mul with broadcasting; expand (libnpu/op/binary.c, expand.c). x is [rows, inner]. */
#define ADD 0
#define SUB 1

#ifdef K_binary
kernel void binary(const global T(0) *x, const global T(1) *y, global T(2) *z, int kind, BCAST_PARAMS, TILE_PARAMS)
{
    TILE_ROWS(row, rows)
    {
        int base = BCAST_BASE(row);
        size_t i = (size_t)row * inner;

        TILE_COLS(j, inner)
        {
            float8 a = LD8(0, x, i + j, j_n), b;

            if (step)
                b = LD8(1, y, base + j, j_n);
            else
                b = LD(1, y, base);
            ST8(2, z, i + j, j_n, kind == ADD ? a + b : kind == SUB ? a - b : a * b);
        }
    }
}
#endif

#ifdef K_expand
kernel void expand(const global T(0) *y, global T(1) *z, float mul, BCAST_PARAMS, TILE_PARAMS)
{
    TILE_ROWS(row, rows)
    {
        int base = BCAST_BASE(row);

        TILE_COLS(j, inner)
        {
            float8 b;

            if (step)
                b = LD8(0, y, base + j, j_n);
            else
                b = LD(0, y, base);
            ST8(1, z, (size_t)row * inner + j, j_n, mul * b);
        }
    }
}
#endif
