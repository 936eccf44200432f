/* reduce.cl - sums over the middle of [a, r, b] (libnpu/op/reduce.c).
 *
 * Part p of a sum is its elements p * len .. (p + 1) * len. The partial kernels write f32 [a, parts, b], the others the
 * result. */
#define SUM_PARAMS float mul, int na, int nr, int nb, int parts, int len

/* 32 columns together in runs of 64 rows; the rest by 8 */
inline void sum_cols32(const global T(0) *x, size_t i, int step, int rows, float8 *ret)
{
    float8 t0 = 0.0f, t1 = 0.0f, t2 = 0.0f, t3 = 0.0f;

    for (int r = 0; r < rows; r += 64) {
        float8 a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;

        for (int k = r; k < min(r + 64, rows); k++, i += step) {
            a += LDV(0, 8, x, i);
            b += LDV(0, 8, x, i + 8);
            c += LDV(0, 8, x, i + 16);
            d += LDV(0, 8, x, i + 24);
        }
        t0 += a;
        t1 += b;
        t2 += c;
        t3 += d;
    }
    ret[0] = t0;
    ret[1] = t1;
    ret[2] = t2;
    ret[3] = t3;
}

inline float8 sum_cols8(const global T(0) *x, size_t i, int step, int rows, int n)
{
    float8 s = 0.0f;

    for (int r = 0; r < rows; r += 64) {
        float8 a = 0.0f;

        for (int k = r; k < min(r + 64, rows); k++, i += step)
            a += LD8(0, x, i, n);
        s += a;
    }
    return s;
}

/* in runs of 1024: sums of sums keep their digits */
inline float sum_row(const global T(0) *x, size_t i, int count)
{
    float8 total = 0.0f;
    int k = 0;

    while (k + 32 <= count) {
        float8 a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;

        for (int end = min(k + 1024, count); k + 32 <= end; k += 32) {
            a += LDV(0, 8, x, i + k);
            b += LDV(0, 8, x, i + k + 8);
            c += LDV(0, 8, x, i + k + 16);
            d += LDV(0, 8, x, i + k + 24);
        }
        total += (a + b) + (c + d);
    }
    for (; k < count; k += 8)
        total += LD8(0, x, i + k, count - k);
    return npu_sum8(total);
}

#if defined(K_reduce_rows) || defined(K_reduce_cols)
#define OUT_T           T(1)
#define OUT(p, i, v)     ST(1, p, i, v)
#define OUT8(p, i, n, v) ST8(1, p, i, n, v)
#else
#define OUT_T           float
#define OUT(p, i, v)     ((p)[i] = (v))
#define OUT8(p, i, n, v) npu_stf8(p, i, n, v)
#endif

#if defined(K_reduce_rows) || defined(K_reduce_rows_part)
#ifdef K_reduce_rows
kernel void reduce_rows
#else
kernel void reduce_rows_part
#endif
    (const global T(0) *x, global OUT_T *y, SUM_PARAMS, int block)
{
    int first = (int)get_global_id(0) * block;

    for (int i = first; i < min(first + block, na * parts); i++) {
        int at = i % parts * len;

        OUT(y, i, mul * sum_row(x, (size_t)(i / parts) * nr + at, min(len, nr - at)));
    }
}
#endif

#if defined(K_reduce_cols) || defined(K_reduce_cols_part)
#ifdef K_reduce_cols
kernel void reduce_cols
#else
kernel void reduce_cols_part
#endif
    (const global T(0) *x, global OUT_T *y, SUM_PARAMS, TILE_PARAMS)
{
    TILE_ROWS(q, na * parts)
    {
        int at = q % parts * len, j = (int)get_global_id(0) * tile_cols, end = min(j + tile_cols, nb);
        size_t i = ((size_t)(q / parts) * nr + at) * nb, o = (size_t)q * nb;

        for (; j + 32 <= end; j += 32) {
            float8 s[4];

            sum_cols32(x, i + j, nb, min(len, nr - at), s);
            for (int k = 0; k < 4; k++)
                OUT8(y, o + j + 8 * k, 8, mul * s[k]);
        }
        for (; j < end; j += 8)
            OUT8(y, o + j, end - j, mul * sum_cols8(x, i + j, nb, min(len, nr - at), end - j));
    }
}
#endif

#ifdef K_reduce_final
kernel void reduce_final(const global float *part, global T(0) *y, float mul, int na, int parts, int nb, TILE_PARAMS)
{
    TILE_ROWS(a, na)
    TILE_COLS(j, nb)
    {
        float8 s = 0.0f, t = 0.0f;
        size_t i = (size_t)a * parts * nb + j;

        for (int p = 0; p + 1 < parts; p += 2) {
            s += npu_ldf8(part, i + (size_t)p * nb, j_n);
            t += npu_ldf8(part, i + (size_t)(p + 1) * nb, j_n);
        }
        if (parts & 1)
            s += npu_ldf8(part, i + (size_t)(parts - 1) * nb, j_n);
        ST8(0, y, (size_t)a * nb + j, j_n, mul * (s + t));
    }
}
#endif
