/* int8_native_lower.c - launches of the native int8 tiers. */
#include "libnpu/tier/int8_native.h"

static bool fits_int32(const struct npu_qconv_dims *d)
{
    return d->n * d->h * d->w * d->cin < INT32_MAX && d->rows * d->cout < INT32_MAX && d->depth * d->cout < INT32_MAX;
}

/* Are blocks worth their padding? Tests want to see every shape. */
static bool pays(const struct npu_int8_kernels *k, const struct npu_qconv_dims *d)
{
    return k->need == 0 || (d->rows >= (k->k_step == 2 ? 1 : 4) && d->cout >= 4 && d->depth >= k->k_step / 2);
}

static struct npu_launch *native_launch(struct npu_lower *l, const struct npu_int8_kernels *a, npu_native_fn *fn)
{
    struct npu_launch *k = npu_lower_launch(l, "", a->tier);

    if (k) {
        k->native = fn;
        k->tier = a->tier;
    }
    return k;
}

static void push_fields(struct npu_launch *k, const struct npu_int8_conv *g)
{
    const int32_t *v = &g->n;

    for (size_t i = 0; i < sizeof *g / sizeof *v; i++)
        npu_launch_i32(k, v[i]);
}

static void launches(const struct npu_node *n, struct npu_lower *l, const struct npu_int8_kernels *a,
                     const struct npu_int8_conv *g, enum npu_int8_way way)
{
    const bool keep = npu_val_is_frozen(npu_lower_graph(l), n->in[NPU_QCONV_W]);
    const enum npu_arg_kind kind = keep ? NPU_ARG_PACKED : NPU_ARG_SCRATCH;
    const size_t bytes = npu_int8_packed_bytes(g, way) + 64, sum_bytes = sizeof(int32_t) * (size_t)g->npad;
    const int packed = keep ? npu_lower_packed(l, bytes) : npu_lower_scratch(l, bytes);
    const int sum = keep ? npu_lower_packed(l, sum_bytes) : npu_lower_scratch(l, sum_bytes);
    const int scratch = npu_lower_scratch(l, npu_int8_scratch_bytes(g, a, way) * (size_t)g->parts);
    npu_native_fn *const pack[] = {a->pack, a->depthwise_pack, a->winograd_pack};
    npu_native_fn *const conv[] = {a->conv, a->depthwise, a->winograd};
    struct npu_launch *k = native_launch(l, a, pack[way]);

    npu_launch_val(k, n->in[NPU_QCONV_W]);
    npu_launch_buf(k, kind, packed);
    npu_launch_buf(k, kind, sum);
    push_fields(k, g);
    if (k)
        k->on_params = keep;
    k = native_launch(l, a, conv[way]);
    npu_launch_val(k, n->in[NPU_QCONV_X]);
    npu_launch_buf(k, kind, packed);
    npu_launch_buf(k, kind, sum);
    npu_launch_val(k, n->in[NPU_QCONV_BIAS]);
    npu_launch_val(k, n->in[NPU_QCONV_SCALE]);
    npu_launch_val(k, n->in[NPU_QCONV_RANGE]);
    npu_launch_val(k, n->in[NPU_QCONV_RESIDUAL]);
    npu_launch_val(k, n->out[0]);
    npu_launch_buf(k, NPU_ARG_SCRATCH, scratch);
    push_fields(k, g);
    if (k)
        k->parts = g->parts;
}

int npu_int8_lower(const struct npu_node *n, struct npu_lower *l, const struct npu_qconv_dims *d)
{
    const struct npu_traits *t = npu_lower_traits(l);
    const enum npu_dtype res = npu_lower_type(l, n->in[NPU_QCONV_RESIDUAL]).dtype;
    const bool keep = npu_val_is_frozen(npu_lower_graph(l), n->in[NPU_QCONV_W]);
    const struct npu_int8_kernels *k;

    for (int i = 0; (k = npu_int8_kernels(i)); i++) {
        if (!npu_lower_tier(l, k->tier) || !npu_int8_usable(k, t, NULL, 0))
            continue;
        if (d->groups != 1 && !npu_int8_suits_depthwise(k, d)) {
            npu_lower_refuse(l, k->tier, "channels are in groups");
        } else if (!fits_int32(d)) {
            npu_lower_refuse(l, k->tier, "tensors of 2^31 elements");
        } else if (n->in[NPU_QCONV_RESIDUAL] != NPU_NONE && res == NPU_F16) {
            npu_lower_refuse(l, k->tier, "residual is f16");
        } else if (d->groups == 1 && !pays(k, d)) {
            npu_lower_refuse(l, k->tier, "too small for blocks");
        } else {
            const enum npu_int8_way way = d->groups > 1                           ? NPU_INT8_DEPTHWISE
                                          : keep && npu_int8_suits_winograd(k, d) ? NPU_INT8_WINOGRAD
                                                                                  : NPU_INT8_PLAIN;
            const struct npu_int8_conv g = npu_int8_fields(k, d, res, t->compute_units, way);

            launches(n, l, k, &g, way);
            return 0;
        }
    }
    return -EOPNOTSUPP;
}
