/* avx2_lower.c - launches of the tier avx2. */
#include <stdlib.h>

#include "libnpu/graph.h"
#include "libnpu/tier/avx2_lower.h"

void npu_avx2_push_fields(struct npu_launch *k, const int32_t *v, size_t size)
{
    for (size_t i = 0; i < size / sizeof *v; i++)
        npu_launch_i32(k, v[i]);
}

struct npu_launch *npu_avx2_launch(struct npu_lower *l, npu_native_fn *fn, int64_t parts)
{
    struct npu_launch *k = npu_lower_launch(l, "", NPU_AVX2_TIER);

    if (k) {
        k->native = fn;
        k->tier = NPU_AVX2_TIER;
        k->parts = (int)clamp(parts, 1, 1024);
    }
    return k;
}

const struct npu_avx2_kernels *npu_avx2_usable(struct npu_lower *l, const npu_val *v, int n)
{
    const struct npu_avx2_kernels *k = npu_avx2_for(npu_lower_traits(l));

    if (!k || !npu_lower_tier(l, NPU_AVX2_TIER))
        return NULL;
    for (int i = 0; i < n; i++)
        if (v[i] != NPU_NONE && npu_lower_type(l, v[i]).dtype != NPU_F32) {
            npu_lower_refuse(l, NPU_AVX2_TIER, "tensors are not f32");
            return NULL;
        }
    return k;
}

int64_t npu_avx2_shares(const struct npu_lower *l, double work, double least)
{
    const int64_t units = npu_lower_traits(l)->compute_units;

    return units <= 1 ? 1 : clamp((int64_t)(work / least), 1, 4 * units);
}

bool npu_avx2_packs_any(const struct npu_lower *l)
{
    return npu_graph_flags(npu_lower_graph(l)) & NPU_GRAPH_TRAIN;
}

void npu_avx2_divide_conv(const struct npu_lower *l, struct npu_avx2_conv *g)
{
    const int64_t pixels = (int64_t)g->n * g->oh * g->ow, terms = (int64_t)g->kh * g->kw * g->cin;
    const int64_t panels = ceil_div(g->cout, NPU_AVX2_PANEL), groups = g->w_z ? g->n : 1;
    const int64_t want = npu_avx2_shares(l, 2.0 * (double)pixels * (double)terms * (double)g->cout, 3e5);

    g->row_units = (int32_t)(clamp(pixels / groups / 48, 1, ceil_div(want, groups)) * groups);
    g->col_units = (int32_t)clamp(ceil_div(want, g->row_units), 1, panels);
    g->mb = (int32_t)clamp(98304 / (terms + 1) / NPU_AVX2_ROWS * NPU_AVX2_ROWS, 24, 96);
}

/* Winograd's way: worth its transforms where tiles are many and not mostly beyond the picture, and its weights, four
 * times as many, are not too large to be read for few tiles. */
bool npu_avx2_suits_winograd(const struct npu_avx2_conv *g)
{
    const int64_t tiles = npu_avx2_winograd_tiles(g), pixels = (int64_t)g->n * g->oh * g->ow;

    return g->kh == 3 && g->kw == 3 && g->stride == 1 && g->cin >= 16 && g->cout >= 16 && tiles >= 9 &&
           tiles * 4 * 16 < pixels * 11 * 2 && (int64_t)g->cin * g->cout <= 256 * 512;
}

static int lower_winograd(struct npu_lower *l, const struct npu_avx2_kernels *a, struct npu_avx2_conv g,
                          const npu_val in[4], npu_val out, bool keep)
{
    const enum npu_arg_kind kind = keep ? NPU_ARG_PACKED : NPU_ARG_SCRATCH;
    const int64_t tiles = npu_avx2_winograd_tiles(&g), panels = ceil_div(g.cout, NPU_AVX2_PANEL);
    const size_t floats = (size_t)(36 * (int64_t)g.cin * panels * NPU_AVX2_PANEL);
    const int64_t want = npu_avx2_shares(l, 72.0 * (double)tiles * (double)g.cin * (double)g.cout, 1e6);
    const int packed =
        keep ? npu_lower_packed(l, floats * sizeof(float)) : npu_lower_scratch(l, floats * sizeof(float));
    struct npu_launch *k;
    int scratch;

    g.mb = (int32_t)clamp(2048 / g.cin / NPU_AVX2_ROWS * NPU_AVX2_ROWS, 24, 36);
    g.row_units = (int32_t)clamp(tiles / 24, 1, want);
    g.col_units = (int32_t)clamp(ceil_div(want, g.row_units), 1, panels);
    scratch = npu_lower_scratch(l, npu_avx2_winograd_scratch(&g) * (size_t)(g.row_units * g.col_units));
    k = npu_avx2_launch(l, a->winograd_pack, npu_avx2_shares(l, (double)floats, 2e4));
    npu_launch_val(k, in[1]);
    npu_launch_buf(k, kind, packed);
    npu_avx2_push_fields(k, &g.n, sizeof g);
    if (k)
        k->on_params = keep;
    k = npu_avx2_launch(l, a->winograd, (int64_t)g.row_units * g.col_units);
    npu_launch_val(k, in[0]);
    npu_launch_buf(k, kind, packed);
    for (int i = 2; i < 4; i++)
        npu_launch_val(k, in[i]);
    npu_launch_val(k, out);
    npu_launch_buf(k, NPU_ARG_SCRATCH, scratch);
    npu_avx2_push_fields(k, &g.n, sizeof g);
    return 0;
}

int npu_avx2_lower_conv(struct npu_lower *l, struct npu_avx2_conv g, const npu_val in[4], npu_val out, float scale)
{
    const npu_val all[] = {in[0], in[1], in[2], in[3], out};
    const bool bf16 = npu_lower_type(l, out).dtype == NPU_BF16;
    const struct npu_avx2_kernels *a = npu_avx2_usable(l, all, bf16 ? 4 : 5);
    const bool keep = a && npu_val_is_frozen(npu_lower_graph(l), in[1]);
    const size_t size = sizeof(float) * (size_t)(g.kh * g.kw) * (size_t)g.cin *
                        (size_t)(ceil_div(g.cout, NPU_AVX2_PANEL) * NPU_AVX2_PANEL) * (size_t)(g.w_z ? g.n : 1);
    const enum npu_arg_kind kind = keep ? NPU_ARG_PACKED : NPU_ARG_SCRATCH;
    struct npu_launch *k;
    int packed, scratch;

    if (!a)
        return -EOPNOTSUPP;
    g.act |= bf16 ? NPU_AVX2_BF16_RESULT : 0;
    if (npu_avx2_suits_winograd(&g) && !bf16 && (keep || npu_avx2_winograd_tiles(&g) >= NPU_AVX2_MANY_TILES))
        return lower_winograd(l, a, g, in, out, keep);
    if (!keep && !npu_avx2_packs_any(l) && (g.w_z ? 1 : (int64_t)g.n) * g.oh * g.ow < 24)
        return npu_lower_refuse(l, NPU_AVX2_TIER, "too few rows to pack weights that change");
    npu_avx2_divide_conv(l, &g);
    if ((int64_t)g.row_units * g.col_units > 1024)
        return npu_lower_refuse(l, NPU_AVX2_TIER, "too many products");
    packed = keep ? npu_lower_packed(l, size) : npu_lower_scratch(l, size);
    scratch = npu_lower_scratch(l, npu_avx2_conv_scratch(&g) * (size_t)(g.row_units * g.col_units));
    k = npu_avx2_launch(l, a->pack, npu_avx2_shares(l, (double)size / sizeof(float), 2e4));
    npu_launch_val(k, in[1]);
    npu_launch_buf(k, kind, packed);
    npu_avx2_push_fields(k, &g.n, sizeof g);
    if (k)
        k->on_params = keep;
    k = npu_avx2_launch(l, a->conv, (int64_t)g.row_units * g.col_units);
    npu_launch_val(k, in[0]);
    npu_launch_buf(k, kind, packed);
    npu_launch_val(k, in[2]);
    npu_launch_val(k, in[3]);
    npu_launch_val(k, out);
    npu_launch_buf(k, NPU_ARG_SCRATCH, scratch);
    npu_avx2_push_fields(k, &g.n, sizeof g);
    npu_launch_f32(k, scale);
    return 0;
}

int npu_avx2_lower_depthwise(struct npu_lower *l, struct npu_avx2_conv g, const npu_val in[4], npu_val out)
{
    const npu_val all[] = {in[0], in[1], in[2], in[3], out};
    const struct npu_avx2_kernels *a = npu_avx2_usable(l, all, 5);
    const int64_t lines = (int64_t)g.n * g.oh, work = lines * g.ow * g.cin * g.kh * g.kw;
    struct npu_launch *k;

    if (!a)
        return -EOPNOTSUPP;
    if ((int64_t)g.kh * g.kw > NPU_AVX2_TAPS)
        return npu_lower_refuse(l, NPU_AVX2_TIER, "the window is too large");
    k = npu_avx2_launch(l, a->depthwise, clamp(npu_avx2_shares(l, (double)work, 1e5), 1, lines));
    for (int i = 0; i < 5; i++)
        npu_launch_val(k, all[i]);
    npu_avx2_push_fields(k, &g.n, sizeof g);
    return 0;
}

int npu_avx2_lower_attention(struct npu_lower *l, struct npu_avx2_attention a, npu_val qkv, npu_val out, float scale)
{
    const struct npu_avx2_kernels *kernels = npu_avx2_usable(l, (npu_val[]){qkv, out}, 2);
    const int64_t heads = (int64_t)a.batch * a.heads;
    struct npu_launch *k;
    int64_t want, parts;
    int scratch;

    if (!kernels)
        return -EOPNOTSUPP;
    if (heads > INT32_MAX / 64)
        return npu_lower_refuse(l, NPU_AVX2_TIER, "too many heads");
    want = npu_avx2_shares(l, 4.0 * (double)heads * a.n * a.n * a.dh, 5e5);
    a.query_units = heads >= want ? 1 : (int32_t)clamp(ceil_div(want, heads), 1, ceil_div(a.n, 48));
    parts = clamp(heads * a.query_units, 1, want);
    scratch = npu_lower_scratch(l, npu_avx2_attention_scratch(&a) * (size_t)parts);
    k = npu_avx2_launch(l, kernels->attention, parts);
    npu_launch_val(k, qkv);
    npu_launch_val(k, out);
    npu_launch_buf(k, NPU_ARG_SCRATCH, scratch);
    npu_avx2_push_fields(k, &a.batch, sizeof a);
    npu_launch_f32(k, scale);
    return 0;
}

int npu_avx2_lower_layer_norm(struct npu_lower *l, const npu_val in[3], npu_val out, float eps)
{
    const npu_val all[] = {in[0], in[1], in[2], out};
    const struct npu_avx2_kernels *a = npu_avx2_usable(l, all, 4);
    const struct npu_tensor_type x = npu_lower_type(l, out);
    const int64_t n = x.shape.rank ? x.shape.dim[x.shape.rank - 1] : 1, size = npu_shape_elements(&x.shape);
    struct npu_launch *k;

    if (!a || n == 0)
        return -EOPNOTSUPP;
    k = npu_avx2_launch(l, a->layer_norm, npu_avx2_shares(l, (double)size, 8192));
    for (int i = 0; i < 4; i++)
        npu_launch_val(k, all[i]);
    npu_launch_i32(k, size / n);
    npu_launch_i32(k, n);
    npu_launch_f32(k, eps);
    return 0;
}

/* Can the launch be this function: the same kernel, all tensors f32 (or absent, if they may be)? *ret_work: elements of
 * the largest. */
static bool serves(const struct npu_lower *l, const struct npu_launch *k, const struct npu_avx2_plain *p, bool optional,
                   int64_t *ret_work)
{
    int64_t most = 0;

    if (strcmp(p->source, k->source) != 0 || strcmp(p->entry, k->entry) != 0 || (p->def && !strstr(k->defs, p->def)))
        return false;
    for (int i = 0; i < k->n_args; i++)
        if (k->arg[i].kind == NPU_ARG_VAL && !(optional && k->arg[i].val == NPU_NONE)) {
            const struct npu_tensor_type t = npu_lower_type(l, k->arg[i].val);
            const int64_t n = npu_shape_elements(&t.shape);

            if (k->arg[i].val == NPU_NONE || t.dtype != NPU_F32)
                return false;
            most = n > most ? n : most;
        }
    *ret_work = most;
    return true;
}

static struct npu_cut cut_of(const struct npu_launch *k, const struct npu_avx2_cut *c)
{
    const struct npu_arg *a = k->arg + c->arg;
    struct npu_cut cut = {.split = c->split, .written = c->written};

    switch (c->by) {
    case NPU_AVX2_ITEMS:
        cut.units = a[0].i;
        break;
    case NPU_AVX2_EIGHTS:
        cut.units = a[0].i % 8 == 0 ? a[0].i / 8 : 0;
        break;
    case NPU_AVX2_PARTS:
    case NPU_AVX2_BLOCKS:
        cut.units = (int64_t)a[2].i * a[3].i == a[0].i ? a[c->by == NPU_AVX2_PARTS ? 2 : 3].i : 0;
        break;
    case NPU_AVX2_VIEW: /* inner, rows, step: of one row the inner elements are divided */
        cut.units = a[1].i > 1 ? a[1].i : a[0].i % 8 == 0 ? a[0].i / 8 : 0;
        if (a[1].i == 1 && a[2].i)
            cut.split |= 1 << 1; /* the other operand is of the same shape */
        break;
    default:
        break;
    }
    return cut;
}

static void take_over(const struct npu_lower *l, struct npu_launch *k)
{
    static const struct npu_avx2_plain *const table[] = {npu_avx2_plain, npu_avx2_train};
    int64_t work;

    if (k->native || !k->source)
        return;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        for (const struct npu_avx2_plain *p = table[i]; p->source; p++)
            if (serves(l, k, p, i == 1, &work)) {
                k->native = p->fn;
                k->tier = NPU_AVX2_TIER;
                k->cut = cut_of(k, &p->cut);
                k->parts = (int)npu_avx2_shares(l, (double)work, 16384);
                return;
            }
}

void npu_avx2_take_over(const struct npu_lower *l, struct npu_launch *launch, int n)
{
    const char *native = getenv("NPU_MAT_NATIVE");
    bool wanted = native && strcmp(native, "all") == 0;

    for (int i = 0; i < n && !wanted; i++)
        wanted = launch[i].native && launch[i].tier &&
                 (npu_lower_graph(l)->widened || strcmp(launch[i].tier, NPU_AVX2_TIER) == 0);
    if (!wanted || !npu_avx2_for(npu_lower_traits(l)))
        return;
    for (int i = 0; i < n; i++)
        take_over(l, &launch[i]);
}
