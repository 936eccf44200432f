/* batch_norm.cl - batch norm over all but the last axis, its statistics and gradient (libnpu/op/batch_norm.c).
 *
 * x is [rows, c]. Sums over rows are made in parts of `len` rows, in runs of RUN rows: a run's tile stays in the cache while
 * it is walked 8 columns at a time. */
#define RUN 64

#ifdef K_batch_norm_stats
/* part [parts, 2, c]: mean and sum of squared distances from it, from sums shifted by the part's first row */
kernel void batch_norm_stats(const global T(0) *x, global float *part, int rows, int c, int parts, int len, TILE_PARAMS)
{
    TILE_ROWS(p, parts)
    {
        int from = p * len, to = min(from + len, rows);
        global float *sum = part + (size_t)p * 2 * c, *sq = sum + c;
        float n = to - from;

        for (int r = from; r < to; r += RUN) {
            TILE_COLS(j, c)
            {
                float8 shift = LD8(0, x, (size_t)from * c + j, j_n), s = 0.0f, q = 0.0f;

                for (int k = r; k < min(r + RUN, to); k++) {
                    float8 d = LD8(0, x, (size_t)k * c + j, j_n) - shift;

                    s += d;
                    q += d * d;
                }
                npu_stf8(sum, j, j_n, r == from ? s : s + npu_ldf8(sum, j, j_n));
                npu_stf8(sq, j, j_n, r == from ? q : q + npu_ldf8(sq, j, j_n));
            }
        }
        TILE_COLS(j, c)
        {
            float8 s = npu_ldf8(sum, j, j_n), q = npu_ldf8(sq, j, j_n);

            npu_stf8(sum, j, j_n, LD8(0, x, (size_t)from * c + j, j_n) + s / n);
            npu_stf8(sq, j, j_n, fmax(q - s * s / n, 0.0f));
        }
    }
}
#endif

#ifdef K_batch_norm_merge
/* Chan, Golub and LeVeque 1979: means and squared distances of parts together */
kernel void batch_norm_merge(global float *mean, global float *var, const global float *part, int rows, int c, int parts,
                             int len, TILE_PARAMS)
{
    TILE_ROWS(row, 1)
    TILE_COLS(j, c)
    {
        float8 m = 0.0f, q = 0.0f;

        for (int p = 0; p < parts; p++)
            m += npu_ldf8(part, (size_t)p * 2 * c + j, j_n) * (float)min(len, rows - p * len);
        m /= (float)max(rows, 1);
        for (int p = 0; p < parts; p++) {
            float8 d = npu_ldf8(part, (size_t)p * 2 * c + j, j_n) - m;

            q += npu_ldf8(part, (size_t)p * 2 * c + c + j, j_n) + d * d * (float)min(len, rows - p * len);
        }
        npu_stf8(mean, j, j_n, m);
        npu_stf8(var, j, j_n, q / (float)max(rows, 1));
    }
}
#endif

#ifdef K_batch_norm
kernel void batch_norm(const global T(0) *x, const global float *gamma, const global float *beta,
                       const global float *mean, const global float *var, global T(5) *y, float eps, int rows, int c,
                       TILE_PARAMS)
{
    int from = (int)get_global_id(1) * tile_rows, to = min(from + tile_rows, rows);

    TILE_COLS(j, c)
    {
        float8 a = npu_ldf8(gamma, j, j_n) / sqrt(npu_ldf8(var, j, j_n) + eps);
        float8 m = npu_ldf8(mean, j, j_n), b = npu_ldf8(beta, j, j_n);

        for (int r = from; r < to; r++) {
            size_t i = (size_t)r * c + j;

            ST8(5, y, i, j_n, (LD8(0, x, i, j_n) - m) * a + b);
        }
    }
}
#endif

#ifdef K_batch_norm_grad_sums
/* part [parts, 2, c]: sums for gamma and beta */
kernel void batch_norm_grad_sums(const global T(0) *x, const global float *gamma, const global float *mean,
                                 const global float *var, const global T(4) *gy, global float *part, float eps, int rows,
                                 int c, int parts, int len, TILE_PARAMS)
{
    TILE_ROWS(p, parts)
    {
        int from = p * len, to = min(from + len, rows);
        global float *dg = part + (size_t)p * 2 * c, *db = dg + c;

        for (int r = from; r < to; r += RUN) {
            TILE_COLS(j, c)
            {
                float8 m = npu_ldf8(mean, j, j_n), s = 0.0f, q = 0.0f;

                for (int k = r; k < min(r + RUN, to); k++) {
                    size_t i = (size_t)k * c + j;
                    float8 d = LD8(4, gy, i, j_n);

                    s += d;
                    q += d * (LD8(0, x, i, j_n) - m);
                }
                q /= sqrt(npu_ldf8(var, j, j_n) + eps);
                npu_stf8(dg, j, j_n, r == from ? q : q + npu_ldf8(dg, j, j_n));
                npu_stf8(db, j, j_n, r == from ? s : s + npu_ldf8(db, j, j_n));
            }
        }
    }
}
#endif

#ifdef K_batch_norm_grad
/* gx = gamma rstd (gy - share (dbeta + xhat dgamma)); share is 1 / rows, or 0 where the statistics are constants */
kernel void batch_norm_grad(const global T(0) *x, const global float *gamma, const global float *mean,
                            const global float *var, const global T(4) *gy, global T(5) *gx, const global float *dgamma,
                            const global float *dbeta, float eps, float share, int rows, int c, TILE_PARAMS)
{
    int from = (int)get_global_id(1) * tile_rows, to = min(from + tile_rows, rows);

    TILE_COLS(j, c)
    {
        float8 rstd = 1.0f / sqrt(npu_ldf8(var, j, j_n) + eps), a = npu_ldf8(gamma, j, j_n) * rstd;
        float8 m = npu_ldf8(mean, j, j_n), b = share * npu_ldf8(dbeta, j, j_n);
        float8 d = share * rstd * npu_ldf8(dgamma, j, j_n);

        for (int r = from; r < to; r++) {
            size_t i = (size_t)r * c + j;

            ST8(5, gx, i, j_n, a * (LD8(4, gy, i, j_n) - b - d * (LD8(0, x, i, j_n) - m)));
        }
    }
}
#endif
