/* amx_lower.c - launches of the tier amx-bf16. */
#include "libnpu/tier/amx.h"

enum { STEP_PIXELS = 512, ROWS_BYTES = 512 << 10 };

static int64_t round_up(int64_t v, int64_t to)
{
    return (v + to - 1) / to * to;
}

static void push_fields(struct npu_launch *k, const int32_t *v, size_t size)
{
    for (size_t i = 0; i < size / sizeof *v; i++)
        npu_launch_i32(k, v[i]);
}

static struct npu_launch *native_launch(struct npu_lower *l, const struct npu_amx_kernels *a, npu_native_fn *fn)
{
    struct npu_launch *k = npu_lower_launch(l, "", a->tier);

    if (k) {
        k->native = fn;
        k->tier = a->tier;
    }
    return k;
}

static bool is_bf16(const struct npu_lower *l, npu_val v)
{
    return npu_lower_type(l, v).dtype == NPU_BF16;
}
static bool is_ok(const struct npu_lower *l, npu_val v)
{
    return v == NPU_NONE || npu_lower_type(l, v).dtype == NPU_F32 || is_bf16(l, v);
}

/* Is a tile worth its padding and the packing of the weights? Tests want to see every shape. */
static bool pays(const struct npu_amx_kernels *a, const struct npu_amx_gather *g, int64_t terms, bool packed_once)
{
    const int64_t pixels = (int64_t)g->n * g->dst_h * g->dst_w;

    return a == &npu_amx_emulated || (terms >= 24 && g->cn >= 12 && pixels >= (packed_once ? 8 : 64));
}

/* Result pixels at a time and shares of the columns, so that every thread has something to do. */
static void divide_work(struct npu_amx_gather *g)
{
    const int64_t phases = g->grad_x ? g->stride * g->stride : 1;
    const int64_t pixels = (int64_t)g->n * g->dst_h * g->dst_w / phases * g->groups * phases;

    g->mb = 96;
    while (g->mb > 32 && ((int64_t)g->mb * g->kpad * 2 > ROWS_BYTES || (pixels + g->mb - 1) / g->mb < 2 * g->parts))
        g->mb -= 32;
    g->slices = 1;
    while (g->slices < g->npad / 32 && (pixels + g->mb - 1) / g->mb * g->slices < g->parts)
        g->slices++;
}

int npu_amx_lower_gather(struct npu_lower *l, const struct npu_amx_kernels *a, struct npu_amx_gather g, npu_val src,
                         npu_val w, npu_val bias, npu_val residual, npu_val dst, float scale)
{
    const int64_t step = g.grad_x ? g.stride : 1;
    const int64_t terms = (g.kh + step - 1) / step * ((g.kw + step - 1) / step) * g.depth;
    const bool keep = npu_val_is_frozen(npu_lower_graph(l), w);
    struct npu_launch *k;
    int packed, scratch;

    if (!a || !npu_lower_tier(l, a->tier))
        return -EOPNOTSUPP;
    if (!is_bf16(l, src) || !is_bf16(l, w))
        return npu_lower_refuse(l, a->tier, "operands are not bf16");
    if (!is_ok(l, bias) || !is_ok(l, residual) || !is_ok(l, dst))
        return npu_lower_refuse(l, a->tier, "bias, residual or result is neither f32 nor bf16");
    if (!pays(a, &g, terms, keep))
        return npu_lower_refuse(l, a->tier, "too small for tiles");
    g.kpad = (int32_t)round_up(terms, 32);
    g.npad = (int32_t)round_up(g.cn, 32);
    g.parts = npu_lower_traits(l)->compute_units;
    g.types = (int32_t)(npu_lower_type(l, dst).dtype | npu_lower_type(l, bias).dtype << 8 |
                        npu_lower_type(l, residual).dtype << 16);
    divide_work(&g);
    packed = keep ? npu_lower_packed(l, npu_amx_gather_packed(&g)) : npu_lower_scratch(l, npu_amx_gather_packed(&g));
    scratch = npu_lower_scratch(l, npu_amx_gather_scratch(&g) * (size_t)g.parts);
    k = native_launch(l, a, a->pack);
    npu_launch_val(k, w);
    npu_launch_buf(k, keep ? NPU_ARG_PACKED : NPU_ARG_SCRATCH, packed);
    push_fields(k, &g.n, sizeof g);
    if (k)
        k->on_params = keep;
    k = native_launch(l, a, a->gather);
    npu_launch_val(k, src);
    npu_launch_buf(k, keep ? NPU_ARG_PACKED : NPU_ARG_SCRATCH, packed);
    npu_launch_val(k, bias);
    npu_launch_val(k, residual);
    npu_launch_val(k, dst);
    npu_launch_buf(k, NPU_ARG_SCRATCH, scratch);
    push_fields(k, &g.n, sizeof g);
    npu_launch_f32(k, scale);
    return 0;
}

int npu_amx_lower_wgrad(struct npu_lower *l, const struct npu_amx_kernels *a, struct npu_amx_wgrad g, npu_val x,
                        npu_val gy, npu_val dw)
{
    const int64_t rows = (int64_t)g.n * g.oh;
    struct npu_amx_wgrad_sizes s;
    struct npu_launch *k;
    int part, scratch;

    if (!a || !npu_lower_tier(l, a->tier))
        return -EOPNOTSUPP;
    if (!is_bf16(l, x) || !is_bf16(l, gy) || !is_ok(l, dw))
        return npu_lower_refuse(l, a->tier, "operands are not bf16");
    g.parts = npu_lower_traits(l)->compute_units;
    g.dtype = (int32_t)npu_lower_type(l, dw).dtype;
    g.rows = (int32_t)((STEP_PIXELS + g.ow - 1) / g.ow);
    if (g.rows > g.oh)
        g.rows = g.oh;
    g.shares = (g.parts + g.groups - 1) / g.groups;
    if ((rows + g.rows - 1) / g.rows < g.shares)
        g.shares = (int32_t)((rows + g.rows - 1) / g.rows);
    s = npu_amx_wgrad_sizes(&g);
    part = npu_lower_scratch(l, sizeof(float) * s.part * (size_t)(g.shares * g.groups));
    scratch = npu_lower_scratch(l, s.scratch * (size_t)g.parts);
    k = native_launch(l, a, a->wgrad);
    npu_launch_val(k, x);
    npu_launch_val(k, gy);
    npu_launch_buf(k, NPU_ARG_SCRATCH, part);
    npu_launch_buf(k, NPU_ARG_SCRATCH, scratch);
    push_fields(k, &g.n, sizeof g);
    k = native_launch(l, a, a->sum);
    npu_launch_buf(k, NPU_ARG_SCRATCH, part);
    npu_launch_val(k, dw);
    push_fields(k, &g.n, sizeof g);
    return 0;
}
