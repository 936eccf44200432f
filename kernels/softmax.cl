/* softmax.cl - softmax over the last axis and its gradient (libnpu/op/softmax.c). A work-item has `block` rows. */
#define LANE ((int8)(0, 1, 2, 3, 4, 5, 6, 7))

#ifdef K_softmax
kernel void softmax(const global T(0) *x, global T(1) *y, int rows, int c, int block)
{
    int first = (int)get_global_id(0) * block;

    for (int row = first; row < min(first + block, rows); row++) {
        size_t i = (size_t)row * c;
        float8 top = -INFINITY, sum = 0.0f;
        float t, inv;

        for (int j = 0; j + 8 <= c; j += 8)
            top = fmax(top, LDV(0, 8, x, i + j));
        t = npu_max8(top);
        for (int j = c & ~7; j < c; j++)
            t = fmax(t, LD(0, x, i + j));
#if DT1 == 0
        /* e^x is kept in y while the sum is made */
        for (int j = 0; j < c; j += 8) {
            float8 e = npu_exp8(LD8(0, x, i + j, c - j) - t);

            sum += (LANE < c - j) ? e : (float8)0.0f;
            ST8(1, y, i + j, c - j, e);
        }
        inv = 1.0f / npu_sum8(sum);
        for (int j = 0; j < c; j += 8)
            ST8(1, y, i + j, c - j, inv * LD8(1, y, i + j, c - j));
#else
        for (int j = 0; j < c; j += 8)
            sum += (LANE < c - j) ? npu_exp8(LD8(0, x, i + j, c - j) - t) : (float8)0.0f;
        inv = 1.0f / npu_sum8(sum);
        for (int j = 0; j < c; j += 8)
            ST8(1, y, i + j, c - j, inv * npu_exp8(LD8(0, x, i + j, c - j) - t));
#endif
    }
}
#endif

#ifdef K_softmax_grad
kernel void softmax_grad(const global T(0) *y, const global T(1) *gy, global T(2) *gx, int rows, int c, int block)
{
    int first = (int)get_global_id(0) * block;

    for (int row = first; row < min(first + block, rows); row++) {
        size_t i = (size_t)row * c;
        float8 s = 0.0f;
        float dot;

        for (int j = 0; j < c; j += 8)
            s += LD8(0, y, i + j, c - j) * LD8(1, gy, i + j, c - j);
        dot = npu_sum8(s);
        for (int j = 0; j < c; j += 8)
            ST8(2, gx, i + j, c - j, LD8(0, y, i + j, c - j) * (LD8(1, gy, i + j, c - j) - dot));
    }
}
#endif
