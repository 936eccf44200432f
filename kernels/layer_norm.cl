/* layer_norm.cl - layer norm over the last axis and its gradient (libnpu/op/layer_norm.c). A work-item has `block` rows. */

/* mean and 1 / sqrt(var + eps) of the row at i */
inline float2 row_stats(const global T(0) *x, size_t i, int c, float eps)
{
    float8 a = 0.0f, b = 0.0f;
    float mean, var;
    int j = 0;

    for (; j + 16 <= c; j += 16) {
        a += LDV(0, 8, x, i + j);
        b += LDV(0, 8, x, i + j + 8);
    }
    for (; j < c; j += 8)
        a += LD8(0, x, i + j, c - j);
    mean = npu_sum8(a + b) / c;
    a = 0.0f;
    b = 0.0f;
    for (j = 0; j + 16 <= c; j += 16) {
        float8 d = LDV(0, 8, x, i + j) - mean, e = LDV(0, 8, x, i + j + 8) - mean;

        a += d * d;
        b += e * e;
    }
    for (; j + 8 <= c; j += 8) {
        float8 d = LDV(0, 8, x, i + j) - mean;

        a += d * d;
    }
    var = npu_sum8(a + b);
    for (; j < c; j++) {
        float d = LD(0, x, i + j) - mean;

        var += d * d;
    }
    return (float2)(mean, 1.0f / sqrt(var / c + eps));
}

#ifdef K_layer_norm
kernel void layer_norm(const global T(0) *x, const global float *gamma, const global float *beta, global T(3) *y,
                       float eps, int rows, int c, int block)
{
    int row = (int)get_global_id(0) * block, end = min(row + block, rows);

    for (; row < end; row++) {
        size_t i = (size_t)row * c;
        float2 s = row_stats(x, i, c, eps);

        for (int j = 0; j < c; j += 8)
            ST8(3, y, i + j, c - j,
                (LD8(0, x, i + j, c - j) - s.x) * s.y * npu_ldf8(gamma, j, c - j) + npu_ldf8(beta, j, c - j));
    }
}
#endif

#ifdef K_layer_norm_grad
/* part [parts, 2, c]: this block's sums for gamma and beta */
kernel void layer_norm_grad(const global T(0) *x, const global float *gamma, const global T(2) *gy, global T(3) *gx,
                            global float *part, float eps, int rows, int c, int block, int parts)
{
    int p = (int)get_global_id(0), row = p * block, end = min(row + block, rows);
    global float *dg = part + (size_t)p * 2 * c, *db = dg + c;

    if (p >= parts)
        return;
    for (int j = 0; j < 2 * c; j++)
        dg[j] = 0.0f;
    for (; row < end; row++) {
        size_t i = (size_t)row * c;
        float2 s = row_stats(x, i, c, eps);
        float8 a = 0.0f, b = 0.0f;
        float m1, m2;

        for (int j = 0; j < c; j += 8) {
            float8 xhat = (LD8(0, x, i + j, c - j) - s.x) * s.y, d = LD8(2, gy, i + j, c - j);
            float8 t = d * npu_ldf8(gamma, j, c - j);

            a += t;
            b += t * xhat;
            npu_stf8(dg, j, c - j, npu_ldf8(dg, j, c - j) + d * xhat);
            npu_stf8(db, j, c - j, npu_ldf8(db, j, c - j) + d);
        }
        m1 = npu_sum8(a) / c;
        m2 = npu_sum8(b) / c;
        for (int j = 0; j < c; j += 8) {
            float8 xhat = (LD8(0, x, i + j, c - j) - s.x) * s.y;
            float8 t = LD8(2, gy, i + j, c - j) * npu_ldf8(gamma, j, c - j);

            ST8(3, gx, i + j, c - j, s.y * (t - m1 - xhat * m2));
        }
    }
}
#endif

#ifdef K_layer_norm_sum
kernel void layer_norm_sum(global float *dgamma, global float *dbeta, const global float *part, int parts, int c,
                           TILE_PARAMS)
{
    TILE_ROWS(row, 1)
    TILE_COLS(j, c)
    {
        float8 a = 0.0f, b = 0.0f;

        for (int p = 0; p < parts; p++) {
            a += npu_ldf8(part, (size_t)p * 2 * c + j, j_n);
            b += npu_ldf8(part, (size_t)p * 2 * c + c + j, j_n);
        }
        npu_stf8(dgamma, j, j_n, a);
        npu_stf8(dbeta, j, j_n, b);
    }
}
#endif
