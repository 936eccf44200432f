/* conv2d_lower.c - launches of conv2d and its gradients. */
#include "libnpu/op/conv2d.h"
#include "libnpu/op/util.h"

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
    grad_any(n, l, &d, "conv2d_grad_x_any", d.cin, d.w, d.h * d.n);
    return 0;
}

int npu_conv2d_grad_w_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_conv2d_dims d = lower_dims(n, l, n->in[0], n->out[0], n->in[1]);

    if (d.kh * d.kw * d.cing * d.cout == 0)
        return 0;
    grad_any(n, l, &d, "conv2d_grad_w_any", d.cout, d.cing, d.kh * d.kw);
    return 0;
}
