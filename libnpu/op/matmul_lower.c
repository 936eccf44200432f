/* matmul_lower.c - launches of matmul: the register-blocked kernel on CPUs, the portable one elsewhere. */
#include "libnpu/op/conv2d.h"
#include "libnpu/op/matmul.h"
#include "libnpu/op/util.h"
#include "libnpu/tier/avx2.h"
#include "libnpu/tier/bf16_native.h"
#include "libnpu/tier/builtin.h"
#include "libnpu/tier/subgroup.h"

static void common_args(struct npu_launch *k, const struct npu_node *n, const struct npu_matmul_dims *d)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);

    for (int i = 0; i < NPU_MATMUL_INPUTS; i++)
        npu_launch_val(k, n->in[i]);
    npu_launch_val(k, n->out[0]);
    npu_launch_i32(k, d->m);
    npu_launch_i32(k, d->n);
    npu_launch_i32(k, d->k);
    npu_launch_i32(k, at->trans_a ? 1 : d->k);
    npu_launch_i32(k, at->trans_a ? d->m : 1);
    npu_launch_i32(k, at->trans_b ? 1 : d->n);
    npu_launch_i32(k, at->trans_b ? d->k : 1);
    npu_launch_i32(k, d->shared_b);
}

static void lower_any(const struct npu_node *n, struct npu_lower *l, const struct npu_matmul_dims *d)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);
    struct npu_launch *k = op_launch(l, "gemm", "gemm_any");

    common_args(k, n, d);
    npu_launch_i32(k, at->act);
    npu_launch_f32(k, at->scale);
    npu_launch_size(k, (size_t)npu_mat_ceil(d->n, 4), (size_t)npu_mat_ceil(d->m, 4), (size_t)d->batch);
    if (k)
        k->tier = "portable";
}

static void lower_cpu(const struct npu_node *n, struct npu_lower *l, const struct npu_matmul_dims *d)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);
    const struct npu_traits *t = npu_lower_traits(l);
    const struct npu_mat_tile tile = npu_mat_tile(t);
    /* one step holds K as long as a panel stays near the first cache */
    const int64_t kc = d->k < 1 ? 1 : d->k <= 384 ? d->k : 256;
    struct npu_mat_blocks b = npu_mat_blocks(t, &tile, d->m, d->n, d->batch);
    struct npu_launch *k = op_launch(l, "gemm", "gemm_cpu");

    npu_launch_def(k, "-DW=%d", tile.w);
    common_args(k, n, d);
    npu_launch_i32(k, b.mb);
    npu_launch_i32(k, b.nb);
    npu_launch_i32(k, kc);
    npu_launch_i32(k, at->act);
    npu_launch_f32(k, at->scale);
    npu_mat_local(k, sizeof(float) * (size_t)(b.nb * kc * tile.nr));
    npu_mat_local(k, kc < d->k ? sizeof(float) * (size_t)(b.mb * b.nb * tile.nr) : 0);
    npu_mat_local(k,
                  npu_lower_type(l, n->in[NPU_MATMUL_A]).dtype == NPU_F32 ? 0 : sizeof(float) * (size_t)(tile.mr * kc));
    npu_launch_size(k, (size_t)npu_mat_ceil(d->n, b.nb * tile.nr), (size_t)npu_mat_ceil(d->m, b.mb), (size_t)d->batch);
    npu_launch_local(k, 1, 1, 1);
    if (k)
        k->tier = tile.name;
}

/* A^T B of two tall matrices (a weight gradient) is the grad_w of a 1 x 1 convolution over k pixels: it can share k
 * out. */
static bool plain(const struct npu_node *n)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);

    return at->scale == 1.0f && at->act == NPU_ACT_NONE && n->in[NPU_MATMUL_BIAS] == NPU_NONE &&
           n->in[NPU_MATMUL_RESIDUAL] == NPU_NONE;
}

static bool is_tall(const struct npu_node *n, const struct npu_matmul_dims *d)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);

    return at->trans_a && !at->trans_b && d->batch == 1 && d->k >= 512 && plain(n) && d->k * d->m < INT32_MAX &&
           d->k * d->n < INT32_MAX && d->m * d->n < INT32_MAX;
}

static int lower_tall(const struct npu_node *n, struct npu_lower *l, const struct npu_matmul_dims *d)
{
    const int64_t w = 128, h = npu_mat_ceil(d->k, w);
    const struct npu_conv2d_dims c = {.n = 1,
                                      .h = h,
                                      .w = w,
                                      .cin = d->m,
                                      .cout = d->n,
                                      .kh = 1,
                                      .kw = 1,
                                      .oh = h,
                                      .ow = w,
                                      .groups = 1,
                                      .cing = d->m,
                                      .coutg = d->n,
                                      .stride = 1};

    return npu_conv2d_grad_w_tiles(l, n->in[NPU_MATMUL_A], n->in[NPU_MATMUL_B], n->out[0], &c, d->k, d->k);
}

/* bf16 units, where one serves: bf16 operands, one product. */
static int lower_bf16(const struct npu_node *n, struct npu_lower *l, const struct npu_matmul_dims *d)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);
    const npu_val *in = n->in;

    if (d->batch != 1 || d->k == 0 || d->m > INT32_MAX / 2 || d->k > INT32_MAX / 2 || d->n > INT32_MAX / 2)
        return -EOPNOTSUPP;
    if (!at->trans_a) {
        const struct npu_bf16_gather g = {.n = 1,
                                          .src_h = 1,
                                          .src_w = (int32_t)d->m,
                                          .src_c = (int32_t)d->k,
                                          .dst_h = 1,
                                          .dst_w = (int32_t)d->m,
                                          .dst_c = (int32_t)d->n,
                                          .kh = 1,
                                          .kw = 1,
                                          .stride = 1,
                                          .depth = (int32_t)d->k,
                                          .cn = (int32_t)d->n,
                                          .groups = 1,
                                          .w_d = at->trans_b ? 1 : (int32_t)d->n,
                                          .w_n = at->trans_b ? (int32_t)d->k : 1,
                                          .act = at->act | 256};

        return npu_bf16_lower_gather(l, g, in[NPU_MATMUL_A], in[NPU_MATMUL_B], in[NPU_MATMUL_BIAS],
                                     in[NPU_MATMUL_RESIDUAL], n->out[0], at->scale);
    }
    if (plain(n) && !at->trans_b) {
        const int32_t w = d->k < 512 ? (int32_t)d->k : 512, h = (int32_t)npu_mat_ceil(d->k, w);
        const struct npu_bf16_wgrad g = {.n = 1,
                                         .h = h,
                                         .w = w,
                                         .cin = (int32_t)d->m,
                                         .oh = h,
                                         .ow = w,
                                         .cout = (int32_t)d->n,
                                         .kh = 1,
                                         .kw = 1,
                                         .stride = 1,
                                         .cing = (int32_t)d->m,
                                         .coutg = (int32_t)d->n,
                                         .groups = 1,
                                         .n_x = (int32_t)d->k,
                                         .n_y = (int32_t)d->k};

        return npu_bf16_lower_wgrad(l, g, in[NPU_MATMUL_A], in[NPU_MATMUL_B], n->out[0]);
    }
    return -EOPNOTSUPP;
}

/* A^T B in native code: sums of outer products. */
static int lower_avx2_outer(const struct npu_node *n, struct npu_lower *l, const struct npu_matmul_dims *d)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);
    const struct npu_avx2_outer g = {.n = (int32_t)d->batch,
                                     .h = 1,
                                     .w = (int32_t)d->k,
                                     .cin = (int32_t)d->m,
                                     .oh = 1,
                                     .ow = (int32_t)d->k,
                                     .cout = (int32_t)d->n,
                                     .kh = 1,
                                     .kw = 1,
                                     .stride = 1,
                                     .groups = (int32_t)d->batch,
                                     .b_k = at->trans_b ? 1 : (int32_t)d->n,
                                     .b_n = at->trans_b ? (int32_t)d->k : 1,
                                     .b_z = d->shared_b ? 0 : (int32_t)(d->k * d->n),
                                     .act = at->act};

    return npu_avx2_lower_outer(l, g, n->in, n->out[0], at->scale);
}

/* Products in native code. */
static int lower_avx2(const struct npu_node *n, struct npu_lower *l, const struct npu_matmul_dims *d)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);
    const struct npu_avx2_conv g = {.n = (int32_t)d->batch,
                                    .h = 1,
                                    .w = (int32_t)d->m,
                                    .cin = (int32_t)d->k,
                                    .oh = 1,
                                    .ow = (int32_t)d->m,
                                    .cout = (int32_t)d->n,
                                    .kh = 1,
                                    .kw = 1,
                                    .stride = 1,
                                    .w_k = at->trans_b ? 1 : (int32_t)d->n,
                                    .w_n = at->trans_b ? (int32_t)d->k : 1,
                                    .w_z = d->batch > 1 && !d->shared_b ? (int32_t)(d->k * d->n) : 0,
                                    .act = at->act | 256};

    if (d->batch > INT32_MAX / 2 || d->k * d->n > INT32_MAX || d->m > INT32_MAX / 2 || d->k > INT32_MAX / 2 ||
        d->n > INT32_MAX / 2)
        return npu_lower_refuse(l, NPU_AVX2_TIER, "too large");
    if (at->trans_a && (d->k == 0 || d->batch * d->m * d->n > INT32_MAX))
        return npu_lower_refuse(l, NPU_AVX2_TIER, "the first factor is transposed, and empty or too large");
    if (at->trans_a)
        return lower_avx2_outer(n, l, d);
    return npu_avx2_lower_conv(l, g, n->in, n->out[0], at->scale);
}

int npu_matmul_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_tensor_type a = npu_lower_type(l, n->in[NPU_MATMUL_A]), b = npu_lower_type(l, n->in[NPU_MATMUL_B]);
    const struct npu_matmul_dims d = npu_matmul_dims(NPU_ATTR(struct npu_matmul_attr, n), &a.shape, &b.shape);

    if (d.batch == 0 || d.m == 0 || d.n == 0)
        return 0;
    if (npu_builtin_lower(n, l, &d) == 0 || npu_subgroup_lower(n, l, &d) == 0 || lower_bf16(n, l, &d) == 0 ||
        lower_avx2(n, l, &d) == 0)
        return 0;
    if (!npu_mat_blocked(npu_lower_traits(l)))
        lower_any(n, l, &d);
    else if (!is_tall(n, &d) || lower_tall(n, l, &d) < 0)
        lower_cpu(n, l, &d);
    return 0;
}
