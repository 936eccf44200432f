/* conv2d_lower.c - launches of conv2d and its gradients. */
#include "libnpu/op/conv2d.h"
#include "libnpu/op/util.h"
#include "libnpu/tier/avx2.h"
#include "libnpu/tier/bf16_native.h"

static struct npu_launch *start(struct npu_lower *l, const char *entry, const char *tier)
{
    struct npu_launch *k = op_launch(l, "conv2d", entry);

    if (k)
        k->tier = tier;
    return k;
}

static void geometry(struct npu_launch *k, const struct npu_conv2d_dims *d)
{
    const int64_t v[] = {d->n,  d->h,  d->w,      d->cin,     d->oh,       d->ow,   d->cout,
                         d->kh, d->kw, d->stride, d->pad_top, d->pad_left, d->cing, d->coutg};

    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
        npu_launch_i32(k, v[i]);
}

static struct npu_conv2d_dims lower_dims(const struct npu_node *n, const struct npu_lower *l, npu_val x, npu_val w,
                                         npu_val y)
{
    const struct npu_tensor_type tx = npu_lower_type(l, x), tw = npu_lower_type(l, w), ty = npu_lower_type(l, y);

    return npu_conv2d_dims(NPU_ATTR(struct npu_conv2d_attr, n), &tx.shape, &tw.shape, &ty.shape);
}

/* ---- the register tile, forward and grad_x: pixels are read from src and made in dst ---- */
static bool fits_int32(const struct npu_conv2d_dims *d)
{
    return d->n * d->h * d->w * d->cin < INT32_MAX && d->n * d->oh * d->ow * d->cout < INT32_MAX &&
           d->kh * d->kw * d->cing * d->cout < INT32_MAX;
}

static bool blocked(const struct npu_lower *l, const struct npu_conv2d_dims *d)
{
    return npu_mat_blocked(npu_lower_traits(l)) && fits_int32(d);
}

/* The kernel that reads src and w and makes dst: its values. */
static struct npu_launch *start_gather(const struct npu_node *n, struct npu_lower *l, const char *entry,
                                       const struct npu_mat_tile *tile, bool grad_x)
{
    struct npu_launch *k = start(l, entry, tile->name);

    npu_launch_def(k, "-DW=%d%s", tile->w, grad_x ? " -DGRAD_X" : "");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->in[1]);
    npu_launch_val(k, grad_x ? NPU_NONE : n->in[NPU_CONV_BIAS]);
    npu_launch_val(k, grad_x ? NPU_NONE : n->in[NPU_CONV_RESIDUAL]);
    npu_launch_val(k, n->out[0]);
    return k;
}

static void window(struct npu_launch *k, const struct npu_conv2d_dims *d)
{
    const int64_t v[] = {d->kh, d->kw, d->stride, d->pad_top, d->pad_left};

    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
        npu_launch_i32(k, v[i]);
}

static int gather_cpu(const struct npu_node *n, struct npu_lower *l, const struct npu_conv2d_dims *d, bool grad_x)
{
    const struct npu_traits *t = npu_lower_traits(l);
    const struct npu_mat_tile tile = npu_mat_tile(t);
    const int64_t step = grad_x ? d->stride : 1, phases = step * step;
    const int64_t depth = grad_x ? d->coutg : d->cing, cn = grad_x ? d->cing : d->coutg;
    const int64_t terms = npu_mat_ceil(d->kh, step) * npu_mat_ceil(d->kw, step) * depth;
    const int64_t kc = terms <= 768 ? (terms ? terms : 1) : depth > 384 ? depth : 384;
    const int64_t pixels = d->n * (grad_x ? npu_mat_ceil(d->h, step) * npu_mat_ceil(d->w, step) : d->oh * d->ow);
    struct npu_mat_blocks b = npu_mat_blocks(t, &tile, pixels, cn, phases * d->groups);
    const int64_t v[] = {d->n, d->h, d->w, d->cin, d->oh, d->ow, d->cout};
    const int64_t most = (int64_t)(t->local_bytes / sizeof(float)) / 2;
    struct npu_launch *k;

    while (b.nb > 1 && b.nb * kc * tile.nr > most)
        b.nb = npu_mat_ceil(b.nb, 2);
    if (!blocked(l, d) || kc * (tile.nr + tile.mr) > most)
        return -EOPNOTSUPP;
    k = start_gather(n, l, "conv2d_cpu", &tile, grad_x);
    npu_launch_i32(k, d->n);
    for (int i = 0; i < 6; i++)
        npu_launch_i32(k, v[1 + (grad_x ? (i + 3) % 6 : i)]);
    window(k, d);
    npu_launch_i32(k, depth);
    npu_launch_i32(k, cn);
    npu_launch_i32(k, phases);
    npu_launch_i32(k, b.mb);
    npu_launch_i32(k, b.nb);
    npu_launch_i32(k, kc);
    npu_launch_i32(k, NPU_ATTR(struct npu_conv2d_attr, n)->act);
    npu_mat_local(k, sizeof(float) * (size_t)(b.nb * kc * tile.nr));
    npu_mat_local(k, terms > kc ? sizeof(float) * (size_t)(b.mb * b.nb * tile.nr) : 0);
    npu_mat_local(k, sizeof(float) * (size_t)(tile.mr * kc));
    npu_launch_size(k, (size_t)npu_mat_ceil(cn, b.nb * tile.nr), (size_t)npu_mat_ceil(pixels, b.mb),
                    (size_t)(phases * d->groups));
    npu_launch_local(k, 1, 1, 1);
    return 0;
}

/* ---- grad_w by register tiles ---- */
struct grad_w_plan {
    int64_t rows, cb, nb, shares, blocks;
};

/* blocks 0: local memory is too small. About 128 pixels at a time: with that a tile's columns of xs and its panel of ys
 * stay in the first cache. */
static struct grad_w_plan grad_w_plan(const struct npu_traits *t, const struct npu_mat_tile *tile,
                                      const struct npu_conv2d_dims *d)
{
    const int64_t panels = npu_mat_ceil(d->coutg, tile->nr), taps = d->kh * d->kw;
    const int64_t most = t->local_bytes / sizeof(float) / 2, cols = (d->ow - 1) * d->stride + d->kw;
    struct grad_w_plan p = {
        .cb = taps > 1 ? 32 : 96, .nb = (taps > 1 ? 64 : 192) / tile->nr, .rows = npu_mat_ceil(128, d->ow)};

    if (p.cb > d->cing)
        p.cb = d->cing;
    if (p.nb > panels)
        p.nb = panels;
    if (p.rows > d->oh)
        p.rows = d->oh;
    while (p.rows > 1 && ((p.rows - 1) * d->stride + d->kh) * cols * p.cb > most)
        p.rows--;
    while (p.cb > 1 && ((p.rows - 1) * d->stride + d->kh) * cols * p.cb > most)
        p.cb = npu_mat_ceil(p.cb, 2);
    while (p.nb > 1 && p.nb * p.rows * d->ow * tile->nr > most)
        p.nb = npu_mat_ceil(p.nb, 2);
    if (((p.rows - 1) * d->stride + d->kh) * cols * p.cb > most || p.nb * p.rows * d->ow * tile->nr > most)
        return p;
    p.blocks = npu_mat_ceil(d->cing, p.cb) * npu_mat_ceil(panels, p.nb);
    p.shares = npu_mat_ceil(4 * (int64_t)t->compute_units, p.blocks * d->groups);
    if (p.shares > npu_mat_ceil(d->n * d->oh, p.rows))
        p.shares = npu_mat_ceil(d->n * d->oh, p.rows);
    return p;
}

static void grad_w_sum(struct npu_lower *l, const struct npu_mat_tile *tile, const struct npu_conv2d_dims *d, int part,
                       npu_val gw, int64_t shares, int64_t width)
{
    const int64_t terms = d->kh * d->kw * d->cing;
    struct npu_launch *k = start(l, "conv2d_grad_w_sum", tile->name);

    npu_launch_def(k, "-DW=%d", tile->w);
    npu_launch_buf(k, NPU_ARG_SCRATCH, part);
    npu_launch_val(k, gw);
    npu_launch_i32(k, shares);
    npu_launch_i32(k, terms);
    npu_launch_i32(k, d->groups);
    npu_launch_i32(k, d->coutg);
    npu_launch_i32(k, width);
    npu_launch_size(k, (size_t)terms, 0, 0);
    npu_launch_local(k, 1, 1, 1);
}

int npu_conv2d_grad_w_tiles(struct npu_lower *l, npu_val x, npu_val gy, npu_val gw, const struct npu_conv2d_dims *d,
                            int64_t n_x, int64_t n_y)
{
    const struct npu_mat_tile tile = npu_mat_tile(npu_lower_traits(l));
    const struct grad_w_plan p = grad_w_plan(npu_lower_traits(l), &tile, d);
    const int64_t part_n = d->groups * npu_mat_round(d->coutg, tile.nr);
    const bool direct = p.shares == 1 && part_n == d->cout && npu_lower_type(l, gw).dtype == NPU_F32;
    struct npu_launch *k;
    int part = 0;

    if (p.blocks == 0)
        return -EOPNOTSUPP;
    k = start(l, "conv2d_grad_w_cpu", tile.name);
    npu_launch_def(k, "-DW=%d", tile.w);
    npu_launch_val(k, x);
    npu_launch_val(k, gy);
    if (direct) {
        npu_launch_val(k, gw);
    } else {
        part = npu_lower_scratch(l, sizeof(float) * (size_t)(p.shares * d->kh * d->kw * d->cing * part_n));
        npu_launch_buf(k, NPU_ARG_SCRATCH, part);
    }
    geometry(k, d);
    npu_launch_i32(k, n_x);
    npu_launch_i32(k, n_y);
    npu_launch_i32(k, p.shares);
    npu_launch_i32(k, p.rows);
    npu_launch_i32(k, p.cb);
    npu_launch_i32(k, p.nb);
    npu_mat_local(k, sizeof(float) *
                         (size_t)(((p.rows - 1) * d->stride + d->kh) * ((d->ow - 1) * d->stride + d->kw) * p.cb));
    npu_mat_local(k, sizeof(float) * (size_t)(p.nb * p.rows * d->ow * tile.nr));
    npu_launch_size(k, (size_t)p.blocks, (size_t)p.shares, (size_t)d->groups);
    npu_launch_local(k, 1, 1, 1);
    if (!direct)
        grad_w_sum(l, &tile, d, part, gw, p.shares, npu_mat_round(d->coutg, tile.nr));
    return 0;
}

/* ---- depthwise ---- */
static bool depthwise(const struct npu_conv2d_dims *d)
{
    return d->groups > 1 && d->cing == 1 && d->coutg == 1;
}

/* Rows a work-item takes of `all`, so that there are about `each` shares a compute unit. */
static int64_t share_rows(const struct npu_lower *l, int64_t all, int64_t each)
{
    const int64_t rows = npu_mat_ceil(all, each * npu_lower_traits(l)->compute_units);

    return rows < 1 ? 1 : rows;
}

static void gather_dw(const struct npu_node *n, struct npu_lower *l, const struct npu_conv2d_dims *d, bool grad_x)
{
    const struct npu_mat_tile tile = npu_mat_tile(npu_lower_traits(l));
    const int64_t all = d->n * (grad_x ? d->h : d->oh), rows = share_rows(l, all, 8);
    const int64_t v[] = {d->n, d->h, d->w, d->oh, d->ow};
    struct npu_launch *k = start_gather(n, l, "conv2d_dw_cpu", &tile, grad_x);

    npu_launch_i32(k, d->n);
    for (int i = 0; i < 4; i++)
        npu_launch_i32(k, v[1 + (grad_x ? (i + 2) % 4 : i)]);
    npu_launch_i32(k, d->cin);
    window(k, d);
    npu_launch_i32(k, rows);
    npu_launch_i32(k, NPU_ATTR(struct npu_conv2d_attr, n)->act);
    npu_launch_size(k, (size_t)npu_mat_ceil(all, rows), 0, 0);
    npu_launch_local(k, 1, 1, 1);
}

static void grad_w_dw(const struct npu_node *n, struct npu_lower *l, const struct npu_conv2d_dims *d)
{
    const struct npu_mat_tile tile = npu_mat_tile(npu_lower_traits(l));
    const int64_t all = d->n * d->oh, rows = share_rows(l, all, 4), shares = npu_mat_ceil(all, rows);
    const int64_t width = npu_mat_round(d->cin, tile.w);
    const int64_t v[] = {d->n,  d->h,  d->w,      d->oh,      d->ow,       d->cin,
                         d->kh, d->kw, d->stride, d->pad_top, d->pad_left, rows};
    const struct npu_conv2d_dims sum = {.kh = d->kh, .kw = d->kw, .cing = 1, .groups = 1, .coutg = d->cin};
    const int part = npu_lower_scratch(l, sizeof(float) * (size_t)(shares * d->kh * d->kw * width));
    struct npu_launch *k = start(l, "conv2d_dw_grad_w_cpu", tile.name);

    npu_launch_def(k, "-DW=%d", tile.w);
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->in[1]);
    npu_launch_buf(k, NPU_ARG_SCRATCH, part);
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
        npu_launch_i32(k, v[i]);
    npu_launch_size(k, (size_t)shares, 0, 0);
    npu_launch_local(k, 1, 1, 1);
    grad_w_sum(l, &tile, &sum, part, n->out[0], shares, width);
}

/* ---- bf16 units, where one serves ---- */
/* NPU_BF16_WIDE if f32 factors may be rounded. They are not where Winograd's tiles serve: a quarter of the
 * multiply-adds take less time in f32 than all of them in pairs. */
static int32_t wide_if(const struct npu_node *n, const struct npu_conv2d_dims *d)
{
    const struct npu_avx2_conv g = {.n = (int32_t)d->n,
                                    .cin = (int32_t)d->cin,
                                    .oh = (int32_t)d->oh,
                                    .ow = (int32_t)d->ow,
                                    .cout = (int32_t)d->cout,
                                    .kh = (int32_t)d->kh,
                                    .kw = (int32_t)d->kw,
                                    .stride = (int32_t)d->stride};

    return n->rounds && !npu_avx2_suits_winograd(&g) ? NPU_BF16_WIDE : 0;
}

static int gather_bf16(const struct npu_node *n, struct npu_lower *l, const struct npu_conv2d_dims *d, bool grad_x)
{
    struct npu_bf16_gather g = {.n = (int32_t)d->n,
                                .kh = (int32_t)d->kh,
                                .kw = (int32_t)d->kw,
                                .stride = (int32_t)d->stride,
                                .pad_top = (int32_t)d->pad_top,
                                .pad_left = (int32_t)d->pad_left,
                                .groups = (int32_t)d->groups,
                                .grad_x = grad_x,
                                .types = wide_if(n, d)};

    if (!fits_int32(d) || depthwise(d) || d->cing * d->coutg == 0)
        return -EOPNOTSUPP;
    g.src_h = (int32_t)(grad_x ? d->oh : d->h);
    g.src_w = (int32_t)(grad_x ? d->ow : d->w);
    g.src_c = (int32_t)(grad_x ? d->cout : d->cin);
    g.dst_h = (int32_t)(grad_x ? d->h : d->oh);
    g.dst_w = (int32_t)(grad_x ? d->w : d->ow);
    g.dst_c = (int32_t)(grad_x ? d->cin : d->cout);
    g.depth = (int32_t)(grad_x ? d->coutg : d->cing);
    g.cn = (int32_t)(grad_x ? d->cing : d->coutg);
    g.act = NPU_ATTR(struct npu_conv2d_attr, n)->act;
    return npu_bf16_lower_gather(l, g, n->in[0], n->in[1], grad_x ? NPU_NONE : n->in[NPU_CONV_BIAS],
                                 grad_x ? NPU_NONE : n->in[NPU_CONV_RESIDUAL], n->out[0], 1.0f);
}

static int grad_w_bf16(const struct npu_node *n, struct npu_lower *l, const struct npu_conv2d_dims *d)
{
    const struct npu_bf16_wgrad g = {.n = (int32_t)d->n,
                                     .h = (int32_t)d->h,
                                     .w = (int32_t)d->w,
                                     .cin = (int32_t)d->cin,
                                     .oh = (int32_t)d->oh,
                                     .ow = (int32_t)d->ow,
                                     .cout = (int32_t)d->cout,
                                     .kh = (int32_t)d->kh,
                                     .kw = (int32_t)d->kw,
                                     .stride = (int32_t)d->stride,
                                     .pad_top = (int32_t)d->pad_top,
                                     .pad_left = (int32_t)d->pad_left,
                                     .cing = (int32_t)d->cing,
                                     .coutg = (int32_t)d->coutg,
                                     .groups = (int32_t)d->groups,
                                     .n_x = (int32_t)(d->n * d->h * d->w),
                                     .n_y = (int32_t)(d->n * d->oh * d->ow),
                                     .types = wide_if(n, d)};

    if (!fits_int32(d) || depthwise(d) || d->n * d->oh * d->ow == 0)
        return -EOPNOTSUPP;
    return npu_bf16_lower_wgrad(l, g, n->in[0], n->in[1], n->out[0]);
}

/* ---- native code of the tier avx2 ---- */
static int forward_avx2(const struct npu_node *n, struct npu_lower *l, const struct npu_conv2d_dims *d)
{
    const struct npu_avx2_conv g = {.n = (int32_t)d->n,
                                    .h = (int32_t)d->h,
                                    .w = (int32_t)d->w,
                                    .cin = (int32_t)d->cin,
                                    .oh = (int32_t)d->oh,
                                    .ow = (int32_t)d->ow,
                                    .cout = (int32_t)d->cout,
                                    .kh = (int32_t)d->kh,
                                    .kw = (int32_t)d->kw,
                                    .stride = (int32_t)d->stride,
                                    .pad_top = (int32_t)d->pad_top,
                                    .pad_left = (int32_t)d->pad_left,
                                    .w_k = (int32_t)d->cout,
                                    .w_n = 1,
                                    .w_t = (int32_t)(d->cin * d->cout),
                                    .act = NPU_ATTR(struct npu_conv2d_attr, n)->act};

    if (!fits_int32(d) || d->cin == 0)
        return npu_lower_refuse(l, NPU_AVX2_TIER, "too large, or empty");
    if (depthwise(d))
        return npu_avx2_lower_depthwise(l, g, n->in, n->out[0]);
    if (d->groups > 1)
        return npu_lower_refuse(l, NPU_AVX2_TIER, "groups of several channels");
    return npu_avx2_lower_conv(l, g, n->in, n->out[0], 1.0f);
}

/* Why the tier leaves a gradient to others, NULL if it does not. */
static const char *gradient_refused(const struct npu_conv2d_dims *d)
{
    if (!fits_int32(d) || d->n * d->oh * d->ow == 0 || d->cin * d->cout == 0)
        return "too large, or empty";
    return d->groups > 1 && !depthwise(d) ? "the gradient of a convolution in groups of several channels" : NULL;
}

static struct npu_avx2_grad_x backward(const struct npu_conv2d_dims *d)
{
    return (struct npu_avx2_grad_x){.n = (int32_t)d->n,
                                    .h = (int32_t)d->h,
                                    .w = (int32_t)d->w,
                                    .cin = (int32_t)d->cin,
                                    .oh = (int32_t)d->oh,
                                    .ow = (int32_t)d->ow,
                                    .cout = (int32_t)d->cout,
                                    .kh = (int32_t)d->kh,
                                    .kw = (int32_t)d->kw,
                                    .stride = (int32_t)d->stride,
                                    .pad_top = (int32_t)d->pad_top,
                                    .pad_left = (int32_t)d->pad_left};
}

static int grad_x_avx2(const struct npu_node *n, struct npu_lower *l, const struct npu_conv2d_dims *d)
{
    const char *why = gradient_refused(d);

    if (why)
        return npu_lower_refuse(l, NPU_AVX2_TIER, why);
    return (depthwise(d) ? npu_avx2_lower_depthwise_grad_x : npu_avx2_lower_grad_x)(l, backward(d), n->in[0], n->in[1],
                                                                                    n->out[0]);
}

static int grad_w_avx2(const struct npu_node *n, struct npu_lower *l, const struct npu_conv2d_dims *d)
{
    const char *why = gradient_refused(d);
    const struct npu_avx2_outer g = {.n = (int32_t)d->n,
                                     .h = (int32_t)d->h,
                                     .w = (int32_t)d->w,
                                     .cin = (int32_t)d->cin,
                                     .oh = (int32_t)d->oh,
                                     .ow = (int32_t)d->ow,
                                     .cout = (int32_t)d->cout,
                                     .kh = (int32_t)d->kh,
                                     .kw = (int32_t)d->kw,
                                     .stride = (int32_t)d->stride,
                                     .pad_top = (int32_t)d->pad_top,
                                     .pad_left = (int32_t)d->pad_left,
                                     .groups = 1,
                                     .b_k = (int32_t)d->cout,
                                     .b_n = 1};

    if (why)
        return npu_lower_refuse(l, NPU_AVX2_TIER, why);
    if (depthwise(d))
        return npu_avx2_lower_depthwise_grad_w(l, backward(d), n->in[0], n->in[1], n->out[0]);
    return npu_avx2_lower_grad_w(l, g, n->in[0], n->in[1], n->out[0]);
}

/* ---- conv2d ---- */
static void forward_any(const struct npu_node *n, struct npu_lower *l, const struct npu_conv2d_dims *d)
{
    struct npu_launch *k = start(l, "conv2d_any", "portable");

    for (int i = 0; i < NPU_CONV_INPUTS; i++)
        npu_launch_val(k, n->in[i]);
    npu_launch_val(k, n->out[0]);
    geometry(k, d);
    npu_launch_i32(k, NPU_ATTR(struct npu_conv2d_attr, n)->act);
    npu_launch_size(k, (size_t)d->cout, (size_t)d->ow, (size_t)(d->oh * d->n));
}

int npu_conv2d_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_conv2d_dims d = lower_dims(n, l, n->in[NPU_CONV_X], n->in[NPU_CONV_W], n->out[0]);

    if (d.n * d.oh * d.ow * d.cout == 0)
        return 0;
    if (gather_bf16(n, l, &d, false) == 0 || forward_avx2(n, l, &d) == 0)
        return 0;
    if (blocked(l, &d) && depthwise(&d))
        gather_dw(n, l, &d, false);
    else if (gather_cpu(n, l, &d, false) < 0)
        forward_any(n, l, &d);
    return 0;
}

/* ---- gradients ---- */
static void grad_any(const struct npu_node *n, struct npu_lower *l, const struct npu_conv2d_dims *d, const char *entry,
                     int64_t gx, int64_t gy, int64_t gz)
{
    struct npu_launch *k = start(l, entry, "portable");

    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->in[1]);
    npu_launch_val(k, n->out[0]);
    geometry(k, d);
    npu_launch_size(k, (size_t)gx, (size_t)gy, (size_t)gz);
}

int npu_conv2d_grad_x_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_conv2d_dims d = lower_dims(n, l, n->out[0], n->in[1], n->in[0]);

    if (d.n * d.h * d.w * d.cin == 0)
        return 0;
    if (gather_bf16(n, l, &d, true) == 0 || grad_x_avx2(n, l, &d) == 0)
        return 0;
    if (blocked(l, &d) && depthwise(&d))
        gather_dw(n, l, &d, true);
    else if (gather_cpu(n, l, &d, true) < 0)
        grad_any(n, l, &d, "conv2d_grad_x_any", d.cin, d.w, d.h * d.n);
    return 0;
}

int npu_conv2d_grad_w_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_conv2d_dims d = lower_dims(n, l, n->in[0], n->out[0], n->in[1]);

    if (d.kh * d.kw * d.cing * d.cout == 0)
        return 0;
    if (grad_w_bf16(n, l, &d) == 0 || grad_w_avx2(n, l, &d) == 0)
        return 0;
    if (blocked(l, &d) && d.n * d.oh * d.ow > 0 && depthwise(&d))
        grad_w_dw(n, l, &d);
    else if (!blocked(l, &d) || d.n * d.oh * d.ow == 0 ||
             npu_conv2d_grad_w_tiles(l, n->in[0], n->in[1], n->out[0], &d, d.n * d.h * d.w, d.n * d.oh * d.ow) < 0)
        grad_any(n, l, &d, "conv2d_grad_w_any", d.cout, d.cing, d.kh * d.kw);
    return 0;
}
