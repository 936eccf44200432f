/* copy.cl - moves elements: cast, slice, concat, pad, permute, gather_rows (libnpu/op/cast.c, slice.c, permute.c, gather.c).
 *
 * All but cast move storage units as they are. */
#if DT0 == 2
typedef ushort raw;
#else
typedef T(0) raw;
#endif

inline void copy8(const global raw *x, size_t i, global raw *y, size_t o, int n)
{
    if (n >= 8)
#if DT0 == 1 || DT0 == 2
        NPU_STORE_U16(8, y, o, vload8(0, x + i));
#else
        vstore8(vload8(0, x + i), 0, y + o);
#endif
    else
        for (int k = 0; k < n; k++)
            y[o + k] = x[i + k];
}

#ifdef K_cast
kernel void cast(const global T(0) *x, global T(1) *y, NPU_SPAN_ARGS)
{
    NPU_SPAN8(i)
        ST8(1, y, i, i_n, LD8(0, x, i, i_n));
}
#endif

#ifdef K_copy_rows
kernel void copy_rows(const global raw *x, global raw *y, int at, int x_stride, int to, int y_stride, int rows, int len,
                      TILE_PARAMS)
{
    TILE_ROWS(row, rows)
        TILE_COLS(j, len)
            copy8(x, (size_t)row * x_stride + at + j, y, (size_t)row * y_stride + to + j, j_n);
}
#endif

#ifdef K_pad_rows
kernel void pad_rows(const global raw *x, global raw *y, int len, int to, int y_len, int rows, TILE_PARAMS)
{
    TILE_ROWS(row, rows)
    {
        size_t i = (size_t)row * len, o = (size_t)row * y_len;

        TILE_COLS(j, y_len)
        {
            if (j_n >= 8 && j >= to && j + 8 <= to + len)
                copy8(x, i + j - to, y, o + j, 8);
            else
                for (int k = j; k < min(j + 8, j_end); k++)
                    y[o + k] = k >= to && k < to + len ? x[i + k - to] : (raw)0;
        }
    }
}
#endif

#ifdef K_permute_rows
kernel void permute_rows(const global raw *x, global raw *y, BCAST_PARAMS, TILE_PARAMS)
{
    TILE_ROWS(row, rows)
    {
        int base = BCAST_BASE(row);

        TILE_COLS(j, inner)
            copy8(x, (size_t)base + j, y, (size_t)row * inner + j, j_n);
    }
}
#endif

#ifdef K_permute_tiles
#define TILE 16
/* n0, s0: size and x stride of the last axis of y; nq, oq: size and y stride of the last axis of x */
kernel void permute_tiles(const global raw *x, global raw *y, int n0, int s0, int nq, int oq, int rows, int d1, int s1,
                          int o1, int d2, int s2, int o2, int d3, int s3, int o3, int d4, int s4, int o4, int tiles,
                          int block)
{
    int tiles_q = (nq + TILE - 1) / TILE, tiles_0 = (n0 + TILE - 1) / TILE, first = (int)get_global_id(0) * block;

    for (int t = first; t < min(first + block, tiles); t++) {
        int k = t / tiles_q / tiles_0, i = t / tiles_q % tiles_0 * TILE, q = t % tiles_q * TILE;
        size_t from = (size_t)(k % d1) * s1 + (size_t)(k / d1 % d2) * s2 + (size_t)(k / d1 / d2 % d3) * s3 +
                      (size_t)(k / d1 / d2 / d3) * s4;
        size_t to = (size_t)(k % d1) * o1 + (size_t)(k / d1 % d2) * o2 + (size_t)(k / d1 / d2 % d3) * o3 +
                    (size_t)(k / d1 / d2 / d3) * o4;

        if (i + TILE <= n0 && q + TILE <= nq) { /* whole rows in, whole rows out */
            raw part[TILE][TILE];

            for (int a = 0; a < TILE; a++)
                for (int b = 0; b < TILE; b++)
                    part[b][a] = x[from + (size_t)(i + a) * s0 + q + b];
            for (int b = 0; b < TILE; b++)
                for (int a = 0; a < TILE; a++)
                    y[to + (size_t)(q + b) * oq + i + a] = part[b][a];
            continue;
        }
        for (int b = q; b < min(q + TILE, nq); b++)
            for (int a = i; a < min(i + TILE, n0); a++)
                y[to + (size_t)b * oq + a] = x[from + (size_t)a * s0 + b];
    }
}
#endif

#ifdef K_gather_rows
/* x [b, n, c], index [b, m] -> y [b, m, c] */
kernel void gather_rows(const global raw *x, const global int *index, global raw *y, int rows, int n, int m, int c,
                        TILE_PARAMS)
{
    TILE_ROWS(row, rows)
    {
        int k = index[row];
        size_t i = ((size_t)(row / m) * n + k) * c, o = (size_t)row * c;

        TILE_COLS(j, c)
        {
            if (k >= 0 && k < n)
                copy8(x, i + j, y, o + j, j_n);
            else
                for (int e = j; e < min(j + 8, j_end); e++)
                    y[o + e] = 0;
        }
    }
}
#endif

#ifdef K_gather_rows_grad
/* gy [b, m, c], index [b, m] -> gx [b, n, c]; each row of gx looks for those that came from it and sums them in order */
kernel void gather_rows_grad(const global T(0) *gy, const global int *index, global T(2) *gx, int rows, int n, int m,
                             int c, TILE_PARAMS)
{
    TILE_ROWS(row, rows)
    {
        int k = row % n, first = m, last = -1;
        const global int *at = index + (size_t)(row / n) * m;

        for (int i = 0; i < m; i++)
            if (at[i] == k) {
                first = min(first, i);
                last = i;
            }
        TILE_COLS(j, c)
        {
            float8 s = 0.0f;

            for (int i = first; i <= last; i++)
                if (at[i] == k)
                    s += LD8(0, gy, ((size_t)(row / n) * m + i) * c + j, j_n);
            ST8(2, gx, (size_t)row * c + j, j_n, s);
        }
    }
}
#endif
