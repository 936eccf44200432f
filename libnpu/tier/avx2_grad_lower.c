/* avx2_grad_lower.c - launches of the tier avx2 for gradients. */
#include "libnpu/tier/avx2_lower.h"

/* Memory for sums of shares, at most. */
#define SUMS_BYTES ((int64_t)32 << 20)

/* ---- sums of outer products ---- */
static int64_t strips_of(const struct npu_avx2_outer *g)
{
    return g->kh * ceil_div((int64_t)g->kw * g->cin, NPU_AVX2_ROWS);
}

/* Where the result has few tiles and its sums are long, these are shared out; by sizes alone, so that a result does not
 * depend on the number of threads. */
static void divide_outer(const struct npu_lower *l, struct npu_avx2_outer *g, bool may_share)
{
    const int64_t rows = (int64_t)g->n / g->groups * g->oh * g->ow, taps = (int64_t)g->kh * g->kw;
    const int64_t panels = ceil_div(g->cout, NPU_AVX2_PANEL), strips = strips_of(g);
    const double work = 2.0 * (double)g->groups * (double)rows * (double)(taps * g->cin) * (double)g->cout;
    const int64_t want = npu_avx2_shares(l, work, 1e6), least = ceil_div(strips, 48);
    int64_t times;

    g->shares = may_share && strips * panels < 32 ? (int32_t)clamp(rows / 1024, 1, 16) : 1;
    times = (int64_t)g->groups * g->shares;
    g->col_units = (int32_t)clamp(ceil_div(want, times), 1, ceil_div(panels, 2));
    g->row_units = (int32_t)clamp(ceil_div(want, times * g->col_units), least, strips);
}

static void outer_launches(struct npu_lower *l, const struct npu_avx2_kernels *a, struct npu_avx2_outer g,
                           const npu_val in[4], npu_val out, float scale)
{
    const int64_t size = (int64_t)g.groups * g.kh * g.kw * g.cin * g.cout;
    const int64_t units = (int64_t)g.groups * g.shares * g.row_units * g.col_units;
    const int64_t parts = clamp(units, 1, npu_lower_traits(l)->compute_units <= 1 ? 1 : 1024);
    const int scratch = npu_lower_scratch(l, npu_avx2_outer_scratch(&g) * (size_t)parts);
    const int sums = g.shares > 1 ? npu_lower_scratch(l, sizeof(float) * (size_t)(g.shares * size)) : 0;
    struct npu_launch *k = npu_avx2_launch(l, a->outer, parts);

    for (int i = 0; i < 4; i++)
        npu_launch_val(k, in[i]);
    npu_launch_val(k, out);
    npu_launch_buf(k, NPU_ARG_SCRATCH, g.shares > 1 ? sums : scratch);
    npu_launch_buf(k, NPU_ARG_SCRATCH, scratch);
    npu_avx2_push_fields(k, &g.n, sizeof g);
    npu_launch_f32(k, scale);
    if (g.shares == 1)
        return;
    k = npu_avx2_launch(l, a->outer_sum, npu_avx2_shares(l, (double)(size * g.shares), 2e4));
    npu_launch_buf(k, NPU_ARG_SCRATCH, sums);
    npu_launch_val(k, out);
    npu_launch_i32(k, g.shares);
    npu_launch_i32(k, size);
    npu_launch_f32(k, scale);
}

int npu_avx2_lower_outer(struct npu_lower *l, struct npu_avx2_outer g, const npu_val in[4], npu_val out, float scale)
{
    const npu_val all[] = {in[0], in[1], in[2], in[3], out};
    const struct npu_avx2_kernels *a = npu_avx2_usable(l, all, 5);

    if (!a)
        return -EOPNOTSUPP;
    divide_outer(l, &g, in[2] == NPU_NONE && in[3] == NPU_NONE && g.act == NPU_ACT_NONE);
    outer_launches(l, a, g, in, out, scale);
    return 0;
}

/* ---- gradients of convolutions ---- */
static struct npu_avx2_conv forward_of(const struct npu_avx2_outer *g)
{
    return (struct npu_avx2_conv){.n = g->n,
                                  .h = g->h,
                                  .w = g->w,
                                  .cin = g->cin,
                                  .oh = g->oh,
                                  .ow = g->ow,
                                  .cout = g->cout,
                                  .kh = g->kh,
                                  .kw = g->kw,
                                  .stride = g->stride,
                                  .pad_top = g->pad_top,
                                  .pad_left = g->pad_left};
}

/* Shares by sizes alone, so that a result does not depend on the number of threads; their sums take SUMS_BYTES at most,
 * and few of them, as each is written and read again.
 */
static int32_t winograd_shares(const struct npu_avx2_conv *g)
{
    const int64_t bytes = (int64_t)(npu_avx2_winograd_sums_floats(g) * sizeof(float));
    const int64_t tiles = npu_avx2_winograd_tiles(g), most = clamp(tiles / 256, tiles >= 96 ? 2 : 1, 16);
    int32_t n = 1;

    while (2 * n <= most && 2 * n * bytes <= SUMS_BYTES)
        n *= 2;
    return n;
}

static int grad_w_winograd(struct npu_lower *l, const struct npu_avx2_kernels *a, struct npu_avx2_conv g, npu_val x,
                           npu_val gy, npu_val out)
{
    const size_t floats = npu_avx2_winograd_sums_floats(&g);
    struct npu_launch *k;
    int64_t each, want;
    int sums, scratch;

    g.row_units = winograd_shares(&g);
    /* tiles at a time: their matrices of both factors near the second cache, and all times the same number */
    each = ceil_div(npu_avx2_winograd_tiles(&g), g.row_units);
    g.mb = (int32_t)clamp(786432 / (36 * 4) / (g.cin + g.cout), 12, NPU_AVX2_WINOGRAD_TILES);
    g.mb = (int32_t)ceil_div(each, ceil_div(each, g.mb));
    /* where threads outnumber shares, channels are divided: each part transforms all of gy */
    want = npu_avx2_shares(l, (double)floats * (double)each * g.row_units, 1e6);
    g.col_units = (int32_t)clamp(npu_lower_traits(l)->compute_units / g.row_units, 1, g.cin / 16);
    want = clamp(want, 1, (int64_t)g.row_units * g.col_units);
    sums = npu_lower_scratch(l, floats * sizeof(float) * (size_t)g.row_units);
    scratch = npu_lower_scratch(l, npu_avx2_winograd_sums_scratch(&g) * (size_t)want);
    k = npu_avx2_launch(l, a->winograd_sums, want);
    npu_launch_val(k, x);
    npu_launch_val(k, gy);
    npu_launch_buf(k, NPU_ARG_SCRATCH, sums);
    npu_launch_buf(k, NPU_ARG_SCRATCH, scratch);
    npu_avx2_push_fields(k, &g.n, sizeof g);
    k = npu_avx2_launch(l, a->winograd_gw, npu_avx2_shares(l, (double)floats * g.row_units, 2e4));
    npu_launch_buf(k, NPU_ARG_SCRATCH, sums);
    npu_launch_val(k, out);
    npu_launch_i32(k, g.row_units);
    npu_launch_i32(k, g.cin);
    npu_launch_i32(k, g.cout);
    return 0;
}

int npu_avx2_lower_grad_w(struct npu_lower *l, struct npu_avx2_outer g, npu_val x, npu_val gy, npu_val out)
{
    const npu_val in[] = {x, gy, NPU_NONE, NPU_NONE}, all[] = {x, gy, out};
    const struct npu_avx2_kernels *a = npu_avx2_usable(l, all, 3);
    const struct npu_avx2_conv c = forward_of(&g);

    if (!a)
        return -EOPNOTSUPP;
    if (npu_avx2_suits_winograd(&c) && npu_avx2_winograd_tiles(&c) >= NPU_AVX2_MANY_TILES)
        return grad_w_winograd(l, a, c, x, gy, out);
    return npu_avx2_lower_outer(l, g, in, out, 1.0f);
}

/* A convolution of gy with the taps turned round, for Winograd's tiles. */
static struct npu_avx2_conv turned(const struct npu_avx2_grad_x *g)
{
    return (struct npu_avx2_conv){.n = g->n,
                                  .h = g->oh,
                                  .w = g->ow,
                                  .cin = g->cout,
                                  .oh = g->h,
                                  .ow = g->w,
                                  .cout = g->cin,
                                  .kh = g->kh,
                                  .kw = g->kw,
                                  .stride = g->stride,
                                  .pad_top = g->kh - 1 - g->pad_top,
                                  .pad_left = g->kw - 1 - g->pad_left,
                                  .w_k = 1,
                                  .w_n = g->cout,
                                  .w_t = -g->cin * g->cout};
}

int npu_avx2_lower_grad_x(struct npu_lower *l, struct npu_avx2_grad_x g, npu_val gy, npu_val w, npu_val out)
{
    const npu_val all[] = {gy, w, out};
    const struct npu_avx2_kernels *a = npu_avx2_usable(l, all, 3);
    const struct npu_avx2_conv c = turned(&g);
    const int64_t taps = (int64_t)g.kh * g.kw, phases = (int64_t)g.stride * g.stride;
    const int64_t pixels = ceil_div((int64_t)g.n * g.h * g.w, phases), panels = ceil_div(g.cin, NPU_AVX2_PANEL);
    const size_t floats = (size_t)(taps * g.cout * panels * NPU_AVX2_PANEL);
    const bool keep = a && npu_val_is_frozen(npu_lower_graph(l), w);
    const enum npu_arg_kind kind = keep ? NPU_ARG_PACKED : NPU_ARG_SCRATCH;
    struct npu_launch *k;
    int64_t want, parts;
    int packed, scratch;

    if (!a)
        return -EOPNOTSUPP;
    if (npu_avx2_suits_winograd(&c) && (keep || npu_avx2_winograd_tiles(&c) >= NPU_AVX2_MANY_TILES))
        return npu_avx2_lower_conv(l, c, (const npu_val[]){gy, w, NPU_NONE, NPU_NONE}, out, 1.0f);
    if (g.stride > 8)
        return npu_lower_refuse(l, NPU_AVX2_TIER, "the stride is too large");
    if (!keep && !npu_avx2_packs_any(l) && (int64_t)g.n * g.h * g.w < 24)
        return npu_lower_refuse(l, NPU_AVX2_TIER, "too few rows to pack weights that change");
    want = npu_avx2_shares(l, 2.0 * (double)(g.n * g.oh * g.ow) * (double)(taps * g.cin) * (double)g.cout, 1e6);
    g.row_units = (int32_t)clamp(pixels / 48, 1, ceil_div(want, phases));
    g.col_units = (int32_t)clamp(ceil_div(want, phases * g.row_units), 1, panels);
    g.mb = (int32_t)clamp(98304 / (ceil_div(taps, phases) * g.cout + 1) / NPU_AVX2_ROWS * NPU_AVX2_ROWS, 24, 96);
    parts = clamp(phases * g.row_units * g.col_units, 1, 1024);
    packed = keep ? npu_lower_packed(l, floats * sizeof(float)) : npu_lower_scratch(l, floats * sizeof(float));
    scratch = npu_lower_scratch(l, npu_avx2_grad_x_scratch(&g) * (size_t)parts);
    k = npu_avx2_launch(l, a->grad_x_pack, npu_avx2_shares(l, (double)floats, 2e4));
    npu_launch_val(k, w);
    npu_launch_buf(k, kind, packed);
    npu_avx2_push_fields(k, &g.n, sizeof g);
    if (k)
        k->on_params = keep;
    k = npu_avx2_launch(l, a->grad_x, parts);
    npu_launch_val(k, gy);
    npu_launch_buf(k, kind, packed);
    npu_launch_val(k, out);
    npu_launch_buf(k, NPU_ARG_SCRATCH, scratch);
    npu_avx2_push_fields(k, &g.n, sizeof g);
    return 0;
}

/* ---- attention ---- */
int npu_avx2_lower_attention_grad(struct npu_lower *l, struct npu_avx2_attention a, const npu_val in[2], npu_val out,
                                  float scale)
{
    const npu_val all[] = {in[0], in[1], out};
    const struct npu_avx2_kernels *kernels = npu_avx2_usable(l, all, 3);
    const int64_t heads = (int64_t)a.batch * a.heads;
    struct npu_launch *k;
    int64_t parts;
    int scratch;

    if (!kernels)
        return -EOPNOTSUPP;
    parts = clamp(npu_avx2_shares(l, 10.0 * (double)heads * a.n * a.n * a.dh, 5e5), 1, clamp(heads, 1, 1024));
    scratch = npu_lower_scratch(l, npu_avx2_attention_grad_scratch(&a) * (size_t)parts);
    k = npu_avx2_launch(l, kernels->attention_grad, parts);
    for (int i = 0; i < 3; i++)
        npu_launch_val(k, all[i]);
    npu_launch_buf(k, NPU_ARG_SCRATCH, scratch);
    npu_avx2_push_fields(k, &a.batch, sizeof a);
    npu_launch_f32(k, scale);
    return 0;
}
