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

enum {
    PAD = 16,                   /* floats between rows of copies of A */
    LEAST_LOCAL_BYTES = 1 << 14 /* that gemm_cpu works with */
};

/* How gemm_cpu of kernels/gemm.cl shares a product out. */
struct blocks {
    int64_t mb, nb, kc; /* rows, panels of columns and terms at a time */
    bool pack;          /* copies of A's rows: they are not f32 or not rows, or too many for the second cache */
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Some blocks a unit, for those that begin late; few where each has copies of its own. None of them less than 10 us. */
static int64_t blocks_wanted(const struct npu_traits *t, const struct npu_matmul_dims *d, bool pack)
{
    const double ops = 2.0 * (double)d->m * (double)d->n * (double)d->k * (double)d->batch;
    const int64_t most = ops < 1e15 ? (int64_t)(ops * 1e-6) + 1 : INT32_MAX,
                  want = t->compute_units > 1 ? (pack ? 6 : 8) * (int64_t)t->compute_units : 1;

    return least(want, most);
}

static struct blocks choose_blocks(const struct npu_traits *t, const struct npu_mat_tile *tile,
                                   const struct npu_matmul_dims *d, bool plain_rows)
{
    enum { IN_PLACE_BYTES = 3 << 19, ROWS_IN_PLACE = 264, ROWS_PACKED = 180, FEWEST_ROWS = 48 };
    const int64_t floats = (int64_t)(t->local_bytes / sizeof(float)), panels = npu_mat_ceil(d->n, tile->nr);
    const int64_t terms = floats / (4 * tile->nr); /* two panels of them take half of local memory */
    const int64_t one = least(terms, 512), some = least(terms, 384), steps = d->k <= one ? 1 : npu_mat_ceil(d->k, some);
    struct blocks b = {.kc = d->k < 1 ? 1 : npu_mat_ceil(d->k, steps),
                       .pack = !plain_rows || d->m * d->k * (int64_t)sizeof(float) > IN_PLACE_BYTES};
    const int64_t want = blocks_wanted(t, d, b.pack), room = (floats - 2 * b.kc * tile->nr) / (b.kc + PAD);
    const int64_t most = b.pack ? least(room, ROWS_PACKED) : ROWS_IN_PLACE;
    int64_t rows = npu_mat_ceil(d->m, most / tile->mr * tile->mr);

    while (rows * panels * d->batch < want && npu_mat_ceil(d->m, 2 * rows) >= FEWEST_ROWS)
        rows *= 2;
    b.mb = npu_mat_round(npu_mat_ceil(d->m, rows), tile->mr);
    rows = npu_mat_ceil(d->m, b.mb) * d->batch;
    b.nb = rows < want ? npu_mat_ceil(panels, npu_mat_ceil(want, rows)) : panels;
    return b;
}

/* Does gemm_pack_b pack the second factor? Weights once; others where that costs less than doing it in each block. */
static bool packs_apart(const struct npu_matmul_dims *d, const struct blocks *b, bool frozen)
{
    if (frozen)
        return d->k > 0;
    return npu_mat_ceil(d->m, b->mb) > 3 && (double)d->batch * (double)d->m * (double)d->n * (double)d->k > 5e7;
}

/* Returns the handle of the panels. */
static int lower_pack_b(const struct npu_node *n, struct npu_lower *l, const struct npu_matmul_dims *d,
                        const struct npu_mat_tile *tile, int64_t kc, enum npu_arg_kind kind)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);
    const int64_t panels = npu_mat_ceil(d->n, tile->nr), steps = npu_mat_ceil(d->k, kc),
                  times = d->shared_b ? 1 : d->batch;
    const int64_t some = npu_mat_ceil(panels, 4 * npu_lower_traits(l)->compute_units);
    const size_t bytes = sizeof(float) * (size_t)(times * steps * panels * kc * tile->nr);
    const int packed = kind == NPU_ARG_PACKED ? npu_lower_packed(l, bytes) : npu_lower_scratch(l, bytes);
    struct npu_launch *k = op_launch(l, "gemm", "gemm_pack_b");

    npu_launch_def(k, "-DW=%d", tile->w);
    npu_launch_val(k, n->in[NPU_MATMUL_A]);
    npu_launch_val(k, n->in[NPU_MATMUL_B]);
    npu_launch_buf(k, kind, packed);
    npu_launch_i32(k, d->n);
    npu_launch_i32(k, d->k);
    npu_launch_i32(k, at->trans_b ? 1 : d->n);
    npu_launch_i32(k, at->trans_b ? d->k : 1);
    npu_launch_i32(k, kc);
    npu_launch_i32(k, some);
    npu_launch_size(k, (size_t)npu_mat_ceil(panels, some), (size_t)steps, (size_t)times);
    npu_launch_local(k, 1, 1, 1);
    if (k)
        k->on_params = kind == NPU_ARG_PACKED;
    return packed;
}

static void lower_cpu(const struct npu_node *n, struct npu_lower *l, const struct npu_matmul_dims *d)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);
    const struct npu_traits *t = npu_lower_traits(l);
    const struct npu_mat_tile tile = npu_mat_tile(t);
    const bool rows = npu_lower_type(l, n->in[NPU_MATMUL_A]).dtype == NPU_F32 && !at->trans_a;
    const struct blocks b = choose_blocks(t, &tile, d, rows);
    const int64_t across = npu_mat_ceil(d->n, b.nb * tile.nr), down = npu_mat_ceil(d->m, b.mb);
    const int64_t sums = b.kc < d->k ? d->batch * across * down * b.mb * b.nb * tile.nr : 1;
    const bool frozen = npu_val_is_frozen(npu_lower_graph(l), n->in[NPU_MATMUL_B]), apart = packs_apart(d, &b, frozen);
    const enum npu_arg_kind kind = frozen ? NPU_ARG_PACKED : NPU_ARG_SCRATCH;
    const int packed = apart ? lower_pack_b(n, l, d, &tile, b.kc, kind) : 0;
    struct npu_launch *k = op_launch(l, "gemm", "gemm_cpu");

    npu_launch_def(k, "-DW=%d -DPAD=%d -DPACK_A=%d -DPACKED_B=%d", tile.w, PAD, b.pack, apart);
    common_args(k, n, d);
    npu_launch_i32(k, b.mb);
    npu_launch_i32(k, b.nb);
    npu_launch_i32(k, b.kc);
    npu_launch_i32(k, at->act);
    npu_launch_f32(k, at->scale);
    npu_launch_buf(k, NPU_ARG_SCRATCH, npu_lower_scratch(l, sizeof(float) * (size_t)sums));
    if (apart)
        npu_launch_buf(k, kind, packed);
    else
        npu_mat_local(k, sizeof(float) * (size_t)((b.nb > 1 ? 2 : 1) * b.kc * tile.nr));
    npu_mat_local(k, b.pack ? sizeof(float) * (size_t)(b.mb * (b.kc + PAD)) : 0);
    npu_launch_size(k, (size_t)across, (size_t)down, (size_t)d->batch);
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

/* bf16 units, where one serves: operands that are bf16 or stand for it, one product. */
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
                                          .types = n->rounds ? NPU_BF16_WIDE : 0,
                                          .act = at->act | 256};

        return npu_bf16_lower_gather(l, g, in[NPU_MATMUL_A], in[NPU_MATMUL_B], in[NPU_MATMUL_BIAS],
                                     in[NPU_MATMUL_RESIDUAL], n->out[0], at->scale);
    }
    if (plain(n) && !at->trans_b) {
        const int32_t w = d->k < 32 ? (int32_t)d->k : 32, h = (int32_t)npu_mat_ceil(d->k, w); /* terms in rows of 32 */
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
                                         .n_y = (int32_t)d->k,
                                         .types = n->rounds ? NPU_BF16_WIDE : 0};

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
    const struct npu_traits *t = npu_lower_traits(l);

    if (d.batch == 0 || d.m == 0 || d.n == 0)
        return 0;
    if (npu_builtin_lower(n, l, &d) == 0 || npu_subgroup_lower(n, l, &d) == 0 || lower_bf16(n, l, &d) == 0 ||
        lower_avx2(n, l, &d) == 0)
        return 0;
    if (!npu_mat_blocked(t) || t->local_bytes < LEAST_LOCAL_BYTES)
        lower_any(n, l, &d);
    else if (!is_tall(n, &d) || lower_tall(n, l, &d) < 0)
        lower_cpu(n, l, &d);
    return 0;
}
