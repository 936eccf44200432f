/* attention_lower.c - launches of attention and its gradient. */
#include "libnpu/op/attention.h"
#include "libnpu/op/util.h"
#include "libnpu/tier/avx2.h"

enum { PART = 32 }; /* as in kernels/attention.cl */

static struct npu_launch *start(struct npu_lower *l, const char *entry, const char *tier)
{
    struct npu_launch *k = op_launch(l, "attention", entry);

    if (k)
        k->tier = tier;
    return k;
}

static void size_args(struct npu_launch *k, const struct npu_attention_dims *d)
{
    npu_launch_i32(k, d->n);
    npu_launch_i32(k, d->heads);
    npu_launch_i32(k, d->dh);
    npu_launch_f32(k, d->scale);
}

/* ---- portable ---- */
static void parts_size(struct npu_launch *k, const struct npu_attention_dims *d)
{
    npu_launch_size(k, (size_t)npu_mat_ceil(d->dh, PART), (size_t)d->heads, (size_t)(d->batch * d->n));
}

static void forward_any(const struct npu_node *n, struct npu_lower *l, const struct npu_attention_dims *d)
{
    struct npu_launch *k = start(l, "attention_any", "portable");

    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    size_args(k, d);
    parts_size(k, d);
}

static void grad_any(const struct npu_node *n, struct npu_lower *l, const struct npu_attention_dims *d)
{
    static const char *const entries[] = {"attention_stats_any", "attention_grad_q_any", "attention_grad_kv_any"};
    const int stats = npu_lower_scratch(l, sizeof(float) * (size_t)(d->batch * d->n * d->heads * 3));

    for (int i = 0; i < 3; i++) {
        struct npu_launch *k = start(l, entries[i], "portable");

        npu_launch_val(k, n->in[0]);
        npu_launch_val(k, n->in[1]);
        npu_launch_buf(k, NPU_ARG_SCRATCH, stats);
        if (i > 0)
            npu_launch_val(k, n->out[0]);
        size_args(k, d);
        if (i > 0)
            parts_size(k, d);
        else
            npu_launch_size(k, (size_t)d->heads, (size_t)(d->batch * d->n), 0);
    }
}

/* ---- register tiles; -EOPNOTSUPP if a head does not fit into local memory ---- */
struct locals {
    size_t bytes[12];
    int n;
};

static bool fits(const struct npu_traits *t, struct locals *s)
{
    size_t sum = 0;

    for (int i = 0; i < s->n; i++) {
        s->bytes[i] *= sizeof(float);
        sum += s->bytes[i] + 128;
    }
    return sum <= t->local_bytes;
}

/* Up to WHOLE keys stay in local memory at once, more come in blocks of KEYS, or of what fits. */
enum { WHOLE = 512, KEYS = 256 };

static struct locals forward_locals(const struct npu_attention_dims *d, const struct npu_mat_tile *tile, int64_t keys,
                                    int64_t queries)
{
    const size_t np = (size_t)npu_mat_round(npu_mat_round(keys, tile->mr), tile->nr);
    const size_t dp = (size_t)npu_mat_round(d->dh, tile->nr), dh = (size_t)d->dh, mr = (size_t)tile->mr;
    const size_t kept = keys < d->n ? (size_t)queries : mr;

    return (struct locals){{np * dp, np * dp, mr * dh, mr * np, kept * dp, kept * 2}, 6};
}

static int forward_cpu(const struct npu_node *n, struct npu_lower *l, const struct npu_attention_dims *d)
{
    const struct npu_traits *t = npu_lower_traits(l);
    const struct npu_mat_tile tile = npu_mat_tile(t);
    int64_t queries = npu_mat_round(d->n, tile.mr), keys = d->n;
    struct locals s = forward_locals(d, &tile, keys, queries);
    struct npu_launch *k;

    if (!npu_mat_blocked(t))
        return -EOPNOTSUPP;
    if (keys > WHOLE || !fits(t, &s)) {
        queries = queries < 96 ? queries : 96;
        keys = keys < KEYS ? keys : KEYS;
        while (s = forward_locals(d, &tile, keys, queries), !fits(t, &s))
            if ((keys /= 2) < tile.nr)
                return -EOPNOTSUPP;
    }
    /* packing K and V again for each part costs about as much as ten queries */
    while (queries > 48 && npu_mat_ceil(d->n, queries) * d->batch * d->heads < 4 * (int64_t)t->compute_units)
        queries = npu_mat_round(queries / 2, tile.mr);
    k = start(l, "attention_cpu", tile.name);
    npu_launch_def(k, "-DW=%d", tile.w);
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    size_args(k, d);
    npu_launch_i32(k, queries);
    npu_launch_i32(k, keys);
    npu_launch_i32(k, npu_mat_round(npu_mat_round(keys, tile.mr), tile.nr));
    npu_launch_i32(k, npu_mat_round(d->dh, tile.nr));
    for (int i = 0; i < s.n; i++)
        npu_mat_local(k, s.bytes[i]);
    npu_launch_size(k, (size_t)npu_mat_ceil(d->n, queries), (size_t)(d->batch * d->heads), 0);
    npu_launch_local(k, 1, 1, 1);
    return 0;
}

static int grad_cpu(const struct npu_node *n, struct npu_lower *l, const struct npu_attention_dims *d)
{
    const struct npu_traits *t = npu_lower_traits(l);
    const struct npu_mat_tile tile = npu_mat_tile(t);
    const int64_t whole = npu_mat_round(d->n, tile.mr), block = whole < 48 ? whole : 48;
    const size_t np = (size_t)npu_mat_round(whole, tile.nr), dp = (size_t)npu_mat_round(d->dh, tile.nr);
    const size_t dh = (size_t)d->dh, mr = (size_t)tile.mr, b = (size_t)block;
    struct locals s = {{np * dh, np * dh, np * dp, b * dp, b * dp, b * np, b * np, np * dp, np * dp, mr * dh, mr * dp},
                       11};
    struct npu_launch *k;

    if (!npu_mat_blocked(t) || !fits(t, &s))
        return -EOPNOTSUPP;
    k = start(l, "attention_grad_cpu", tile.name);
    npu_launch_def(k, "-DW=%d", tile.w);
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->in[1]);
    npu_launch_val(k, n->out[0]);
    size_args(k, d);
    npu_launch_i32(k, block);
    npu_launch_i32(k, (int64_t)np);
    npu_launch_i32(k, (int64_t)dp);
    for (int i = 0; i < s.n; i++)
        npu_mat_local(k, s.bytes[i]);
    npu_launch_size(k, (size_t)(d->batch * d->heads), 0, 0);
    npu_launch_local(k, 1, 1, 1);
    return 0;
}

static struct npu_attention_dims lower_dims(const struct npu_node *n, const struct npu_lower *l)
{
    const struct npu_tensor_type qkv = npu_lower_type(l, n->in[0]);

    return npu_attention_dims(n, &qkv.shape);
}

static int lower_avx2(const struct npu_node *n, struct npu_lower *l, const struct npu_attention_dims *d, bool grad)
{
    const struct npu_avx2_attention a = {
        .batch = (int32_t)d->batch, .n = (int32_t)d->n, .heads = (int32_t)d->heads, .dh = (int32_t)d->dh};

    if (d->batch > INT32_MAX / 2 || d->n > INT32_MAX / 64 || d->d > INT32_MAX / 4)
        return npu_lower_refuse(l, NPU_AVX2_TIER, "too large");
    return grad ? npu_avx2_lower_attention_grad(l, a, n->in, n->out[0], d->scale)
                : npu_avx2_lower_attention(l, a, n->in[0], n->out[0], d->scale);
}

int npu_attention_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_attention_dims d = lower_dims(n, l);

    if (d.batch * d.n * d.d == 0)
        return 0;
    if (lower_avx2(n, l, &d, false) == -EOPNOTSUPP && forward_cpu(n, l, &d) == -EOPNOTSUPP)
        forward_any(n, l, &d);
    return 0;
}

int npu_attention_grad_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_attention_dims d = lower_dims(n, l);

    if (d.batch * d.n * d.d == 0)
        return 0;
    if (lower_avx2(n, l, &d, true) == -EOPNOTSUPP && grad_cpu(n, l, &d) == -EOPNOTSUPP)
        grad_any(n, l, &d);
    return 0;
}
