/* attention_lower.c - launches of attention and its gradient. */
#include "libnpu/op/attention.h"
#include "libnpu/op/util.h"

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

static struct npu_attention_dims lower_dims(const struct npu_node *n, const struct npu_lower *l)
{
    const struct npu_tensor_type qkv = npu_lower_type(l, n->in[0]);

    return npu_attention_dims(n, &qkv.shape);
}

int npu_attention_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_attention_dims d = lower_dims(n, l);

    if (d.batch * d.n * d.d == 0)
        return 0;
    forward_any(n, l, &d);
    return 0;
}

int npu_attention_grad_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_attention_dims d = lower_dims(n, l);

    if (d.batch * d.n * d.d == 0)
        return 0;
    grad_any(n, l, &d);
    return 0;
}
