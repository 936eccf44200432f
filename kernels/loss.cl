/* loss.cl - mse, l1, bce_logits, cross entropy (libnpu/op/loss.c, cross_entropy.c).
 *
 * Each work-item leaves a pair in part: its sum of w l and its sum of w; loss_sum makes the loss of them. */
#define MSE 0
#define L1  1

#ifdef K_loss_part
kernel void loss_part(const global T(0) *x, const global T(1) *target, const global T(2) *weight, global float *part,
                      int kind, int weighted, BCAST_PARAMS, TILE_PARAMS)
{
    size_t me = get_global_id(1) * get_global_size(0) + get_global_id(0);
    float sum = 0.0f, sum_w = 0.0f;

    TILE_ROWS(row, rows)
    {
        int base = BCAST_BASE(row);
        size_t i = (size_t)row * inner;
        float8 s = 0.0f, sw = 0.0f;

        TILE_COLS(j, inner)
        {
            float8 a = LD8(0, x, i + j, j_n), t = LD8(1, target, i + j, j_n), w = 1.0f, l = a - t;

            if (weighted && step)
                w = LD8(2, weight, base + j, j_n);
            else if (weighted)
                w = LD(2, weight, base);
            w = ((int8)(0, 1, 2, 3, 4, 5, 6, 7) < j_n) ? w : (float8)0.0f;
            if (kind == MSE)
                l *= l;
            else if (kind == L1)
                l = fabs(l);
            else
                l = fmax(a, 0.0f) - a * t + log(1.0f + npu_exp8(-fabs(a)));
            s += w * l;
            sw += w;
        }
        sum += npu_sum8(s);
        sum_w += npu_sum8(sw);
    }
    part[2 * me] = sum;
    part[2 * me + 1] = sum_w;
}
#endif

#ifdef K_loss_sum
kernel void loss_sum(global float *loss, global float *inverse, const global float *part, int parts)
{
    float8 s = 0.0f; /* sums at even places, weights at odd ones */
    float4 t;
    float inv;

    if (get_global_id(0) > 0)
        return;
    for (int i = 0; i < 2 * parts; i += 8)
        s += npu_ldf8(part, i, 2 * parts - i);
    t = s.lo + s.hi;
    inv = t.y + t.w != 0.0f ? 1.0f / (t.y + t.w) : 0.0f;
    *loss = (t.x + t.z) * inv;
    *inverse = inv;
}
#endif

#ifdef K_loss_grad
kernel void loss_grad(const global T(0) *x, const global T(1) *target, const global T(2) *weight,
                      const global float *inverse, const global float *gout, global T(5) *gx, int kind, int weighted,
                      BCAST_PARAMS, TILE_PARAMS)
{
    float scale = *inverse * *gout;

    TILE_ROWS(row, rows)
    {
        int base = BCAST_BASE(row);
        size_t i = (size_t)row * inner;

        TILE_COLS(j, inner)
        {
            float8 a = LD8(0, x, i + j, j_n), t = LD8(1, target, i + j, j_n), w = 1.0f, l = a - t;

            if (weighted && step)
                w = LD8(2, weight, base + j, j_n);
            else if (weighted)
                w = LD(2, weight, base);
            if (kind == MSE)
                l *= 2.0f;
            else if (kind == L1)
                l = (l > 0.0f) ? (float8)1.0f : ((l < 0.0f) ? (float8)-1.0f : (float8)0.0f);
            else
                l = 1.0f / (1.0f + npu_exp8(-a)) - t;
            ST8(5, gx, i + j, j_n, scale * w * l);
        }
    }
}
#endif

/* The top of a row and the sum of e^(x - top): a tail's missing elements count as far below the top. */
inline float2 row_top_sum(const global T(0) *x, size_t i, int c)
{
    float8 top = -INFINITY, s = 0.0f;
    float t;

    for (int j = 0; j + 8 <= c; j += 8)
        top = fmax(top, LDV(0, 8, x, i + j));
    t = npu_max8(top);
    for (int j = c & ~7; j < c; j++)
        t = fmax(t, LD(0, x, i + j));
    for (int j = 0; j < c; j += 8) {
        float8 e = npu_exp8(LD8(0, x, i + j, c - j) - t);

        s += ((int8)(0, 1, 2, 3, 4, 5, 6, 7) < c - j) ? e : (float8)0.0f;
    }
    return (float2)(t, npu_sum8(s));
}

#ifdef K_entropy_part
kernel void entropy_part(const global T(0) *x, const global int *target, global float *part, int rows, int c, int block)
{
    int me = (int)get_global_id(0), end = min(me * block + block, rows);
    float sum = 0.0f, n = 0.0f;

    for (int row = me * block; row < end; row++) {
        size_t i = (size_t)row * c;
        float2 s;

        if (target[row] < 0 || target[row] >= c)
            continue;
        s = row_top_sum(x, i, c);
        sum += s.x - LD(0, x, i + target[row]) + log(s.y);
        n += 1.0f;
    }
    if (me * block < rows) {
        part[2 * me] = sum;
        part[2 * me + 1] = n;
    }
}
#endif

#ifdef K_entropy_grad
kernel void entropy_grad(const global T(0) *x, const global int *target, const global float *inverse,
                         const global float *gout, global T(4) *gx, int rows, int c, int block)
{
    int first = (int)get_global_id(0) * block;

    for (int row = first; row < min(first + block, rows); row++) {
        size_t i = (size_t)row * c;
        int t = target[row];
        float2 s = row_top_sum(x, i, c);
        float scale = t >= 0 && t < c ? *inverse * *gout : 0.0f;

        for (int j = 0; j < c; j += 8) {
            float8 p = npu_exp8(LD8(0, x, i + j, c - j) - s.x) / s.y;

            p = ((int8)(0, 1, 2, 3, 4, 5, 6, 7) + j == t) ? p - 1.0f : p;
            ST8(4, gx, i + j, c - j, scale * p);
        }
    }
}
#endif
