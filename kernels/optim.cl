/* optim.cl - adamw, sgd, moving averages in place (libnpu/op/update.c); sums of squares and their clip (sum_squares.c). */

#ifdef K_adamw
kernel void adamw(global float *p, const global T(1) *grad, global float *m, global float *v, const global float *lr,
                  const global float *step, const global float *grad_scale, int scaled, float beta1, float beta2,
                  float log_beta1, float log_beta2, float eps, float decay, NPU_SPAN_ARGS)
{
    float scale = scaled ? *grad_scale : 1.0f, c1 = -1.0f / expm1(*step * log_beta1), rate = *lr;
    float c2 = -1.0f / expm1(*step * log_beta2);

    NPU_SPAN8(i)
    {
        float8 g = scale * LD8(1, grad, i, i_n), w = npu_ldf8(p, i, i_n);
        float8 a = beta1 * npu_ldf8(m, i, i_n) + (1.0f - beta1) * g;
        float8 b = beta2 * npu_ldf8(v, i, i_n) + (1.0f - beta2) * g * g;

        npu_stf8(m, i, i_n, a);
        npu_stf8(v, i, i_n, b);
        npu_stf8(p, i, i_n, w - rate * (a * c1 / (sqrt(b * c2) + eps) + decay * w));
    }
}
#endif

#ifdef K_sgd
kernel void sgd(global float *p, const global T(1) *grad, global float *v, const global float *lr,
                const global float *grad_scale, int scaled, float momentum, float decay, NPU_SPAN_ARGS)
{
    float scale = scaled ? *grad_scale : 1.0f, rate = *lr;

    NPU_SPAN8(i)
    {
        float8 w = npu_ldf8(p, i, i_n);
        float8 a = momentum * npu_ldf8(v, i, i_n) + scale * LD8(1, grad, i, i_n) + decay * w;

        npu_stf8(v, i, i_n, a);
        npu_stf8(p, i, i_n, w - rate * a);
    }
}
#endif

#ifdef K_moving_average
kernel void moving_average(global float *state, const global float *x, float keep, float take, NPU_SPAN_ARGS)
{
    NPU_SPAN8(i)
        npu_stf8(state, i, i_n, keep * npu_ldf8(state, i, i_n) + take * npu_ldf8(x, i, i_n));
}
#endif

#ifdef K_square_part
/* each work-item's share of the sum of squares */
kernel void square_part(const global T(0) *x, global float *part, int first, int n, TILE_PARAMS)
{
    float8 total = 0.0f, s = 0.0f;

    TILE_ROWS(row, 1)
    TILE_COLS(j, n)
    {
        float8 v = LD8(0, x, j, j_n);

        s += v * v;
        if ((j & 1023) == 0) {
            total += s;
            s = 0.0f;
        }
    }
    part[first + get_global_id(1) * get_global_size(0) + get_global_id(0)] = npu_sum8(total + s);
}
#endif

#ifdef K_square_sum
kernel void square_sum(const global float *acc, global float *sum, const global float *part, int has_acc, int n)
{
    float8 s = 0.0f;

    if (get_global_id(0) > 0)
        return;
    for (int i = 0; i < n; i += 8)
        s += npu_ldf8(part, i, n - i);
    *sum = npu_sum8(s) + (has_acc ? *acc : 0.0f);
}
#endif

#ifdef K_clip_scale
kernel void clip_scale(const global float *sum, global float *scale, global float *norm, float clip)
{
    float n = sqrt(*sum);

    if (get_global_id(0) > 0)
        return;
    *scale = clip > 0.0f && n > clip ? clip / n : 1.0f;
    *norm = n;
}
#endif
