/* exact_avx2_lower.c - launches of the tier exact-avx2, and whether it serves here. */
#include <pthread.h>
#include <stdlib.h>

#include "libnpu/tier/avx2_lower.h"
#include "libnpu/tier/exact_avx2.h"

/* ---- choice ---- */
static bool passed;

static void test_hardware(void)
{
    const struct npu_exact_kernels *k = npu_exact_avx2_kernels();

    passed = k && npu_exact_avx2_self_test(k, npu_exact_plain) == 0;
}

const struct npu_exact_kernels *npu_exact_avx2_for(const struct npu_traits *t)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (!npu_avx2_for(t))
        return NULL;
    pthread_once(&once, test_hardware);
    return passed ? npu_exact_avx2_kernels() : NULL;
}

static const struct npu_exact_kernels *usable(struct npu_lower *l, const npu_val *v, int n)
{
    if (!npu_lower_tier(l, NPU_EXACT_AVX2_TIER))
        return NULL;
    for (int i = 0; i < n; i++)
        if (v[i] != NPU_NONE && npu_lower_type(l, v[i]).dtype != NPU_F32) {
            npu_lower_refuse(l, NPU_EXACT_AVX2_TIER, "tensors are not f32");
            return NULL;
        }
    return npu_exact_avx2_for(npu_lower_traits(l));
}

static struct npu_launch *launch(struct npu_lower *l, npu_native_fn *fn, int64_t parts)
{
    struct npu_launch *k = npu_lower_launch(l, "", NPU_EXACT_AVX2_TIER);

    if (k) {
        k->native = fn;
        k->tier = NPU_EXACT_AVX2_TIER;
        k->parts = (int)clamp(parts, 1, 1024);
    }
    return k;
}

/* ---- products ---- */
static int lower_grouped(struct npu_lower *l, const struct npu_exact_kernels *e, const struct npu_avx2_conv *g,
                         const npu_val in[4], npu_val out)
{
    const double work = (double)g->n * g->oh * g->ow * g->cin * g->kh * g->kw;
    struct npu_launch *k = launch(l, e->grouped, npu_avx2_shares(l, work, 1e5));

    for (int i = 0; i < 4; i++)
        npu_launch_val(k, in[i]);
    npu_launch_val(k, out);
    npu_avx2_push_fields(k, &g->n, sizeof *g);
    return 0;
}

/* The activation as a launch of its own, in place. */
static void lower_act(struct npu_lower *l, const struct npu_exact_kernels *e, npu_val out, int act)
{
    const struct npu_tensor_type t = npu_lower_type(l, out);
    const int64_t n = npu_shape_elements(&t.shape);
    struct npu_launch *k = launch(l, e->act, npu_avx2_shares(l, (double)n, 8192));

    npu_launch_val(k, out);
    npu_launch_i32(k, n);
    npu_launch_i32(k, act);
}

int npu_exact_avx2_lower_product(struct npu_lower *l, struct npu_avx2_conv g, const npu_val in[4], npu_val out,
                                 float scale, bool grouped)
{
    const npu_val all[] = {in[0], in[1], in[2], in[3], out};
    const struct npu_exact_kernels *e = usable(l, all, 5);
    const struct npu_avx2_kernels *a = npu_avx2_kernels();
    const bool keep = e && npu_val_is_frozen(npu_lower_graph(l), in[1]);
    const enum npu_arg_kind kind = keep ? NPU_ARG_PACKED : NPU_ARG_SCRATCH;
    const int act = g.act & 255;
    struct npu_launch *k;
    size_t size;
    int packed, scratch;

    if (!e)
        return -EOPNOTSUPP;
    if (grouped)
        return lower_grouped(l, e, &g, in, out);
    if (act > NPU_ACT_RELU6 && in[3] != NPU_NONE)
        return npu_lower_refuse(l, NPU_EXACT_AVX2_TIER, "a residual with this activation");
    if (act > NPU_ACT_RELU6)
        g.act = NPU_ACT_NONE;
    npu_avx2_divide_conv(l, &g);
    if ((int64_t)g.row_units * g.col_units > 1024)
        return npu_lower_refuse(l, NPU_EXACT_AVX2_TIER, "too many products");
    size = sizeof(float) * (size_t)(g.kh * g.kw) * (size_t)g.cin * (size_t)(g.w_z ? g.n : 1) *
               (size_t)(ceil_div(g.cout, NPU_AVX2_PANEL) * NPU_AVX2_PANEL) +
           64;
    packed = keep ? npu_lower_packed(l, size) : npu_lower_scratch(l, size);
    scratch = npu_lower_scratch(l, npu_avx2_conv_scratch(&g) * (size_t)(g.row_units * g.col_units));
    k = launch(l, a->pack, npu_avx2_shares(l, (double)size / sizeof(float), 2e4));
    npu_launch_val(k, in[1]);
    npu_launch_buf(k, kind, packed);
    npu_avx2_push_fields(k, &g.n, sizeof g);
    if (k)
        k->on_params = keep;
    k = launch(l, a->conv, (int64_t)g.row_units * g.col_units);
    npu_launch_val(k, in[0]);
    npu_launch_buf(k, kind, packed);
    npu_launch_val(k, in[2]);
    npu_launch_val(k, in[3]);
    npu_launch_val(k, out);
    npu_launch_buf(k, NPU_ARG_SCRATCH, scratch);
    npu_avx2_push_fields(k, &g.n, sizeof g);
    npu_launch_f32(k, scale);
    if (act > NPU_ACT_RELU6)
        lower_act(l, e, out, act);
    return 0;
}

/* ---- attention ---- */
size_t npu_exact_attention_scratch(const struct npu_exact_attention *a)
{
    const size_t n = (size_t)a->n, dh = (size_t)a->dh, np = (n + NPU_AVX2_PANEL - 1) / NPU_AVX2_PANEL * NPU_AVX2_PANEL;
    const size_t dp = (dh + NPU_AVX2_PANEL - 1) / NPU_AVX2_PANEL * NPU_AVX2_PANEL;

    return ((NPU_AVX2_ROWS * np + np * dh + dp * n) * sizeof(float) + 63) / 64 * 64;
}

/* Shares of a head's queries: those with which the busiest thread has least to do. A share packs the head's keys and
 * values, which costs about as much as a tile of queries. */
static int32_t query_shares(const struct npu_lower *l, const struct npu_exact_attention *a, int64_t heads)
{
    const int64_t tiles = ceil_div(a->n, NPU_AVX2_ROWS), units = npu_lower_traits(l)->compute_units;
    int64_t best = INT64_MAX;
    int32_t shares = 1;

    for (int32_t s = 1; s <= clamp(tiles / 4, 1, 64); s++) {
        const int64_t work = ceil_div(heads * s, units) * (ceil_div(tiles, s) + 1);

        if (work < best) {
            best = work;
            shares = s;
        }
    }
    return shares;
}

int npu_exact_avx2_lower_attention(struct npu_lower *l, struct npu_exact_attention a, npu_val qkv, npu_val out,
                                   float scale)
{
    const struct npu_exact_kernels *e = usable(l, (npu_val[]){qkv, out}, 2);
    const int64_t heads = (int64_t)a.batch * a.heads;
    struct npu_launch *k;
    int64_t want, parts;
    int scratch;

    if (!e)
        return -EOPNOTSUPP;
    if (heads > INT32_MAX / 64)
        return npu_lower_refuse(l, NPU_EXACT_AVX2_TIER, "too many heads");
    want = npu_avx2_shares(l, 4.0 * (double)heads * a.n * a.n * a.dh, 5e5);
    a.query_units = want == 1 ? 1 : query_shares(l, &a, heads);
    parts = clamp(heads * a.query_units, 1, want);
    scratch = npu_lower_scratch(l, npu_exact_attention_scratch(&a) * (size_t)parts);
    k = launch(l, e->attention, parts);
    npu_launch_val(k, qkv);
    npu_launch_val(k, out);
    npu_launch_buf(k, NPU_ARG_SCRATCH, scratch);
    npu_avx2_push_fields(k, &a.batch, sizeof a);
    npu_launch_f32(k, scale);
    return 0;
}

/* ---- simple kernels ---- */
static char letter(enum npu_dtype t)
{
    return t == NPU_F32 ? 'f' : t == NPU_I8 ? 'b' : '?';
}

/* Are the tensors of these types? *ret_work: elements of the largest. NULL: all f32. */
static bool fits(const struct npu_lower *l, const struct npu_launch *k, const char *types, int64_t *ret_work)
{
    size_t n = 0;

    *ret_work = 0;
    for (int i = 0; i < k->n_args; i++) {
        struct npu_tensor_type t;
        int64_t size;

        if (k->arg[i].kind != NPU_ARG_VAL)
            continue;
        t = npu_lower_type(l, k->arg[i].val);
        size = npu_shape_elements(&t.shape);
        if (k->arg[i].val == NPU_NONE || letter(t.dtype) != (types ? types[n] : 'f'))
            return false;
        n++;
        *ret_work = size > *ret_work ? size : *ret_work;
    }
    return !types || types[n] == '\0';
}

static bool matches(const struct npu_launch *k, const char *source, const char *entry, const char *def)
{
    return strcmp(source, k->source) == 0 && strcmp(entry, k->entry) == 0 && (!def || strstr(k->defs, def));
}

static npu_native_fn *native_form(const struct npu_lower *l, const struct npu_launch *k, int64_t *ret_work)
{
    for (const struct npu_exact_plain *p = npu_exact_plain; p->source; p++)
        if (matches(k, p->source, p->entry, p->def) && fits(l, k, p->types, ret_work))
            return p->fn;
    for (const struct npu_avx2_plain *p = npu_avx2_plain; p->source; p++)
        if (matches(k, p->source, p->entry, p->def) && fits(l, k, NULL, ret_work))
            return p->fn;
    return NULL;
}

static bool is_ours(const struct npu_launch *k)
{
    return k->native && k->tier && (strcmp(k->tier, NPU_EXACT_AVX2_TIER) == 0 || strcmp(k->tier, "avx2-int8") == 0);
}

bool npu_exact_avx2_would_take(const struct npu_lower *l, const struct npu_launch *k)
{
    int64_t work;

    return !k->native && k->source && npu_exact_avx2_for(npu_lower_traits(l)) && native_form(l, k, &work);
}

void npu_exact_avx2_take_over(const struct npu_lower *l, struct npu_launch *launch, int n)
{
    const char *native = getenv("NPU_MAT_NATIVE");
    bool wanted = native && strcmp(native, "all") == 0;

    for (int i = 0; i < n && !wanted; i++)
        wanted = is_ours(&launch[i]);
    if (!wanted || (npu_graph_flags(npu_lower_graph(l)) & NPU_GRAPH_TRAIN) || !npu_exact_avx2_for(npu_lower_traits(l)))
        return;
    for (int i = 0; i < n; i++) {
        struct npu_launch *k = &launch[i];
        int64_t work;

        if (k->native || !k->source)
            continue;
        k->native = native_form(l, k, &work);
        if (k->native) {
            k->tier = NPU_EXACT_AVX2_TIER;
            k->parts = (int)npu_avx2_shares(l, (double)work, 16384);
        }
    }
}
