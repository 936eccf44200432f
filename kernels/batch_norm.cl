/* batch_norm.cl - batch norm over all but the last axis, its statistics and gradient (libnpu/op/batch_norm.c).
 *
 * x is [rows, c]. Sums over rows are made in parts of `len` rows, in runs of RUN rows, whose sums are added to the part's;
 * 32 columns are walked together where there are as many: whole cache lines and independent sums. */
#define RUN 64

/* Adds to two sums of a part, or starts them. */
inline void add_sums(global float *a, global float *b, int n, bool start, float8 s, float8 q)
{
    npu_stf8(a, 0, n, start ? s : s + npu_ldf8(a, 0, n));
    npu_stf8(b, 0, n, start ? q : q + npu_ldf8(b, 0, n));
}

#ifdef K_batch_norm_stats
/* part [parts, 2, c]: mean and sum of squared distances from it, from sums shifted by the part's first row */
kernel void batch_norm_stats(const global T(0) *x, global float *part, int rows, int c, int parts, int len, TILE_PARAMS)
{
    TILE_ROWS(p, parts)
    {
        int from = p * len, to = min(from + len, rows), j0 = (int)get_global_id(0) * tile_cols;
        int j1 = min(j0 + tile_cols, c);
        global float *sum = part + (size_t)p * 2 * c, *sq = sum + c;
        float n = to - from;

        for (int r = from; r < to; r += RUN) {
            int end = min(r + RUN, to), j = j0;

            for (; j + 32 <= j1; j += 32) {
                float8 shift[4], s[4], q[4];

                for (int u = 0; u < 4; u++) {
                    shift[u] = LDV(0, 8, x, (size_t)from * c + j + 8 * u);
                    s[u] = q[u] = 0.0f;
                }
                for (int k = r; k < end; k++)
                    for (int u = 0; u < 4; u++) {
                        float8 d = LDV(0, 8, x, (size_t)k * c + j + 8 * u) - shift[u];

                        s[u] += d;
                        q[u] += d * d;
                    }
                for (int u = 0; u < 4; u++)
                    add_sums(sum + j + 8 * u, sq + j + 8 * u, 8, r == from, s[u], q[u]);
            }
            for (; j < j1; j += 8) {
                float8 shift = LD8(0, x, (size_t)from * c + j, j1 - j), s = 0.0f, q = 0.0f;

                for (int k = r; k < end; k++) {
                    float8 d = LD8(0, x, (size_t)k * c + j, j1 - j) - shift;

                    s += d;
                    q += d * d;
                }
                add_sums(sum + j, sq + j, j1 - j, r == from, s, q);
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
        int from = p * len, to = min(from + len, rows), j0 = (int)get_global_id(0) * tile_cols;
        int j1 = min(j0 + tile_cols, c);
        global float *dg = part + (size_t)p * 2 * c, *db = dg + c;

        for (int r = from; r < to; r += RUN) {
            int end = min(r + RUN, to), j = j0;

            for (; j + 32 <= j1; j += 32) {
                float8 m[4], s[4], q[4];

                for (int u = 0; u < 4; u++) {
                    m[u] = vload8(0, mean + j + 8 * u);
                    s[u] = q[u] = 0.0f;
                }
                for (int k = r; k < end; k++)
                    for (int u = 0; u < 4; u++) {
                        size_t i = (size_t)k * c + j + 8 * u;
                        float8 d = LDV(4, 8, gy, i);

                        s[u] += d;
                        q[u] += d * (LDV(0, 8, x, i) - m[u]);
                    }
                for (int u = 0; u < 4; u++)
                    add_sums(dg + j + 8 * u, db + j + 8 * u, 8, r == from,
                             q[u] / sqrt(vload8(0, var + j + 8 * u) + eps), s[u]);
            }
            for (; j < j1; j += 8) {
                float8 m = npu_ldf8(mean, j, j1 - j), s = 0.0f, q = 0.0f;

                for (int k = r; k < end; k++) {
                    size_t i = (size_t)k * c + j;
                    float8 d = LD8(4, gy, i, j1 - j);

                    s += d;
                    q += d * (LD8(0, x, i, j1 - j) - m);
                }
                add_sums(dg + j, db + j, j1 - j, r == from, q / sqrt(npu_ldf8(var, j, j1 - j) + eps), s);
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
