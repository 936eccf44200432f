/* avx2_depthwise_grad_lower.c - launches of the tier avx2 for gradients of convolutions with one channel a group. */
#include "libnpu/tier/avx2_lower.h"

enum { MAX_COLUMNS = 7, SHARE = 1 << 18 }; /* taps of a row; multiply-adds that are worth a share of their own */

static const struct npu_avx2_kernels *usable(struct npu_lower *l, const struct npu_avx2_grad_x *g, const npu_val v[3])
{
    const struct npu_avx2_kernels *a = npu_avx2_usable(l, v, 3);

    if (!a || (g->kw <= MAX_COLUMNS && g->kh * g->kw <= NPU_AVX2_TAPS))
        return a;
    npu_lower_refuse(l, NPU_AVX2_TIER, "the window is too large");
    return NULL;
}

static double work_of(const struct npu_avx2_grad_x *g)
{
    return (double)g->n * g->oh * g->ow * g->kh * g->kw * g->cin;
}

int npu_avx2_lower_depthwise_grad_x(struct npu_lower *l, struct npu_avx2_grad_x g, npu_val gy, npu_val w, npu_val out)
{
    const npu_val all[] = {gy, w, out};
    const struct npu_avx2_kernels *a = usable(l, &g, all);
    struct npu_launch *k;

    if (!a)
        return -EOPNOTSUPP;
    k = npu_avx2_launch(l, a->depthwise_grad_x, clamp(npu_avx2_shares(l, work_of(&g), 1e5), 1, (int64_t)g.n * g.h));
    for (int i = 0; i < 3; i++)
        npu_launch_val(k, all[i]);
    npu_avx2_push_fields(k, &g.n, sizeof g);
    return 0;
}

/* Shares by sizes alone, so that a result does not depend on the number of threads. */
int npu_avx2_lower_depthwise_grad_w(struct npu_lower *l, struct npu_avx2_grad_x g, npu_val x, npu_val gy, npu_val out)
{
    const npu_val all[] = {x, gy, out};
    const struct npu_avx2_kernels *a = usable(l, &g, all);
    const int64_t size = (int64_t)g.kh * g.kw * g.cin, lines = (int64_t)g.n * g.oh;
    struct npu_launch *k;
    int sums;

    if (!a)
        return -EOPNOTSUPP;
    g.row_units = (int32_t)clamp(lines, 1, clamp((int64_t)(work_of(&g) / SHARE), 1, 16));
    sums = npu_lower_scratch(l, sizeof(float) * (size_t)(g.row_units * size));
    k = npu_avx2_launch(l, a->depthwise_grad_w, clamp(npu_avx2_shares(l, work_of(&g), 1e5), 1, g.row_units));
    npu_launch_val(k, x);
    npu_launch_val(k, gy);
    npu_launch_buf(k, NPU_ARG_SCRATCH, sums);
    npu_avx2_push_fields(k, &g.n, sizeof g);
    k = npu_avx2_launch(l, a->outer_sum, npu_avx2_shares(l, (double)(size * g.row_units), 2e4));
    npu_launch_buf(k, NPU_ARG_SCRATCH, sums);
    npu_launch_val(k, out);
    npu_launch_i32(k, g.row_units);
    npu_launch_i32(k, size);
    npu_launch_f32(k, 1.0f);
    return 0;
}
