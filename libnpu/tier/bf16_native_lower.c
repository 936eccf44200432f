/* bf16_native_lower.c - launches of the native bf16 tiers. */
#include "libnpu/tier/bf16_native.h"
#include "libnpu/tier/divide.h"

enum { STEP_PIXELS = 512, ROWS_BYTES = 512 << 10 };
enum { SRC, WEIGHTS, BIAS, RESIDUAL, DST };

static int64_t round_up(int64_t v, int64_t to)
{
    return (v + to - 1) / to * to;
}

static int64_t clamp_rows(int64_t v, int64_t lo, int64_t hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

static void push_fields(struct npu_launch *k, const int32_t *v, size_t size)
{
    for (size_t i = 0; i < size / sizeof *v; i++)
        npu_launch_i32(k, v[i]);
}

static struct npu_launch *native_launch(struct npu_lower *l, const struct npu_bf16_kernels *a, npu_native_fn *fn)
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
static bool is_f32(const struct npu_lower *l, npu_val v)
{
    return npu_lower_type(l, v).dtype == NPU_F32;
}
static bool is_ok(const struct npu_lower *l, npu_val v)
{
    return v == NPU_NONE || is_f32(l, v) || is_bf16(l, v);
}

/* Is a block worth its padding and the packing of the weights? f32 is rounded for each tap anew, and in pieces where
 * channels are no whole steps, so more columns must share it. Tests want to see every shape. */
static bool pays(const struct npu_bf16_kernels *a, const struct npu_bf16_gather *g, int64_t terms, bool packed_once)
{
    const int64_t pixels = (int64_t)g->n * g->dst_h * g->dst_w;
    const int32_t least = !(g->types & NPU_BF16_WIDE) ? 12 : g->kh * g->kw > 1 && g->depth % 32 ? 32 : 24;

    return a->need == 0 ||
           (terms >= 24 && g->cn >= least && pixels >= (packed_once ? a->rows / 4 : (int64_t)a->rows * 2));
}

/* Result pixels of a phase at a time and shares of the columns. */
static void divide_work(const struct npu_bf16_kernels *a, struct npu_bf16_gather *g)
{
    const int64_t phases = g->grad_x ? g->stride * g->stride : 1, times = phases * g->groups,
                  pixels = ((int64_t)g->n * g->dst_h * g->dst_w + phases - 1) / phases;
    const struct npu_divide d = {pixels, times, g->npad / 32, a->rows, 32, g->parts, 3.0, 0.6};
    int64_t most = NPU_BF16_MOST_ROWS;

    while (most > 32 && (most * g->kpad * 2 > ROWS_BYTES || most - 32 >= pixels))
        most -= 32;
    g->mb = (int32_t)most;
    npu_divide(&d, most, 32, &g->mb, &g->slices);
    g->parts = npu_divide_parts(g->parts, (pixels + g->mb - 1) / g->mb * g->slices * times);
}

static int64_t terms_of(const struct npu_bf16_gather *g)
{
    const int64_t step = g->grad_x ? g->stride : 1;

    return (g->kh + step - 1) / step * ((g->kw + step - 1) / step) * g->depth;
}

static void gather_launches(struct npu_lower *l, const struct npu_bf16_kernels *a, const struct npu_bf16_gather *g,
                            const npu_val *val, float scale)
{
    const bool keep = npu_val_is_frozen(npu_lower_graph(l), val[WEIGHTS]);
    const enum npu_arg_kind kind = keep ? NPU_ARG_PACKED : NPU_ARG_SCRATCH;
    const size_t bytes = npu_bf16_gather_packed(g);
    const int packed = keep ? npu_lower_packed(l, bytes) : npu_lower_scratch(l, bytes);
    const int scratch = npu_lower_scratch(l, npu_bf16_gather_scratch(g) * (size_t)g->parts);
    struct npu_launch *k = native_launch(l, a, a->pack);

    npu_launch_val(k, val[WEIGHTS]);
    npu_launch_buf(k, kind, packed);
    push_fields(k, &g->n, sizeof *g);
    if (k)
        k->on_params = keep;
    k = native_launch(l, a, a->gather);
    npu_launch_val(k, val[SRC]);
    npu_launch_buf(k, kind, packed);
    npu_launch_val(k, val[BIAS]);
    npu_launch_val(k, val[RESIDUAL]);
    npu_launch_val(k, val[DST]);
    npu_launch_buf(k, NPU_ARG_SCRATCH, scratch);
    push_fields(k, &g->n, sizeof *g);
    npu_launch_f32(k, scale);
    if (k)
        k->parts = g->parts;
}

int npu_bf16_lower_gather(struct npu_lower *l, struct npu_bf16_gather g, npu_val src, npu_val w, npu_val bias,
                          npu_val residual, npu_val dst, float scale)
{
    const npu_val val[] = {[SRC] = src, [WEIGHTS] = w, [BIAS] = bias, [RESIDUAL] = residual, [DST] = dst};
    const bool wide = (g.types & NPU_BF16_WIDE) && is_f32(l, src) && is_f32(l, w);
    const int64_t terms = terms_of(&g);
    const struct npu_bf16_kernels *a;

    g.kpad = (int32_t)round_up(terms, 32);
    g.npad = (int32_t)round_up(g.cn, 32);
    g.parts = npu_lower_traits(l)->compute_units;
    g.types = (int32_t)(npu_lower_type(l, dst).dtype | npu_lower_type(l, bias).dtype << 8 |
                        npu_lower_type(l, residual).dtype << 16 | (wide ? NPU_BF16_WIDE : 0));
    for (int i = 0; (a = npu_bf16_kernels(i)); i++) {
        if (!npu_lower_tier(l, a->tier) || !npu_bf16_usable(a, npu_lower_traits(l)))
            continue;
        if (!wide && (!is_bf16(l, src) || !is_bf16(l, w))) {
            npu_lower_refuse(l, a->tier, "operands are not bf16");
        } else if (!is_ok(l, bias) || !is_ok(l, residual) || !is_ok(l, dst)) {
            npu_lower_refuse(l, a->tier, "bias, residual or result is neither f32 nor bf16");
        } else if (!pays(a, &g, terms, npu_val_is_frozen(npu_lower_graph(l), w))) {
            npu_lower_refuse(l, a->tier, "too small for blocks");
        } else {
            divide_work(a, &g);
            gather_launches(l, a, &g, val, scale);
            return 0;
        }
    }
    return -EOPNOTSUPP;
}

static void wgrad_launches(struct npu_lower *l, const struct npu_bf16_kernels *a, const struct npu_bf16_wgrad *g,
                           npu_val x, npu_val gy, npu_val dw)
{
    const struct npu_bf16_wgrad_sizes s = npu_bf16_wgrad_sizes(g);
    const int part = npu_lower_scratch(l, sizeof(float) * s.part * (size_t)(g->shares * g->groups));
    const int scratch = npu_lower_scratch(l, s.scratch * (size_t)g->parts);
    struct npu_launch *k = native_launch(l, a, a->wgrad);

    npu_launch_val(k, x);
    npu_launch_val(k, gy);
    npu_launch_buf(k, NPU_ARG_SCRATCH, part);
    npu_launch_buf(k, NPU_ARG_SCRATCH, scratch);
    push_fields(k, &g->n, sizeof *g);
    k = native_launch(l, a, a->sum);
    npu_launch_buf(k, NPU_ARG_SCRATCH, part);
    npu_launch_val(k, dw);
    push_fields(k, &g->n, sizeof *g);
}

/* Shares of all rows and, in a share, steps of about STEP_PIXELS: as even as can be, since all take as long as the
 * largest. */
static void divide_rows(struct npu_bf16_wgrad *g)
{
    const int64_t all = (int64_t)g->n * g->oh, most = clamp_rows((STEP_PIXELS + g->ow - 1) / g->ow, 1, g->oh);
    int64_t span, steps;

    g->shares = (int32_t)clamp_rows((g->parts + g->groups - 1) / g->groups, 1, (all + most - 1) / most);
    span = clamp_rows((all + g->shares - 1) / g->shares, 1, g->oh);
    steps = (span + most - 1) / most;
    g->rows = (int32_t)((span + steps - 1) / steps);
}

int npu_bf16_lower_wgrad(struct npu_lower *l, struct npu_bf16_wgrad g, npu_val x, npu_val gy, npu_val dw)
{
    const bool wide = (g.types & NPU_BF16_WIDE) && is_f32(l, x) && is_f32(l, gy);
    const struct npu_bf16_kernels *a;

    g.parts = npu_lower_traits(l)->compute_units;
    g.types = (int32_t)npu_lower_type(l, dw).dtype | (wide ? NPU_BF16_WIDE : 0);
    divide_rows(&g);
    for (int i = 0; (a = npu_bf16_kernels(i)); i++) {
        if (!npu_lower_tier(l, a->tier) || !npu_bf16_usable(a, npu_lower_traits(l)))
            continue;
        if ((!wide && (!is_bf16(l, x) || !is_bf16(l, gy))) || !is_ok(l, dw)) {
            npu_lower_refuse(l, a->tier, "operands are not bf16");
        } else if (wide && a->need && (g.cing < 12 || g.coutg < 24)) {
            npu_lower_refuse(l, a->tier, "too small for blocks");
        } else {
            wgrad_launches(l, a, &g, x, gy, dw);
            return 0;
        }
    }
    return -EOPNOTSUPP;
}
