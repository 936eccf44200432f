/* export_quant.c - int8 operations as ONNX nodes: the same whole numbers as ours, written out. libnpu requantises by a
 * 32-bit multiplier and a shift, which QLinearMatMul and QLinearConv (a float factor) can't say; MatMulInteger,
 * ConvInteger and 64-bit arithmetic behind them do, bit by bit. */
#include "libnpu/onnx/export.h"
#include "libnpu/op/quant.h"
#include "libnpu/plan.h"

void ex_quantise(struct ex *x, const struct npu_node *n)
{
    const struct npu_quantise_attr *a = NPU_ATTR(struct npu_quantise_attr, n);
    bool nchw;
    char *in = ex_either(x, n->in[0], &nchw), *scale = ex_scalar(x, a->scale);

    ex_set(x, n->out[0], ex_node(x, "QuantizeLinear", 3, in, scale, ex_byte(x, OM_INT8, a->zero)), nchw);
}

void ex_dequantise(struct ex *x, const struct npu_node *n)
{
    const struct npu_quantise_attr *a = NPU_ATTR(struct npu_quantise_attr, n);
    bool nchw;
    char *in = ex_either(x, n->in[0], &nchw), *scale = ex_scalar(x, a->scale);
    char *y = ex_node(x, "DequantizeLinear", 3, in, scale, ex_byte(x, OM_INT8, a->zero));

    if (a->dtype != NPU_F32) { /* rounded as the cast does */
        y = ex_node(x, "Cast", 1, y);
        ex_int(x, "to", om_type_of((enum npu_dtype)a->dtype));
        y = ex_node(x, "Cast", 1, y);
        ex_int(x, "to", OM_FLOAT);
    }
    ex_set(x, n->out[0], y, nchw);
}

/* The tensor is uint8 there, more by 128 than ours, and so is its zero point. */
void ex_quantise_dynamic(struct ex *x, const struct npu_node *n)
{
    bool nchw;
    char *q = ex_node(x, "DynamicQuantizeLinear", 1, ex_either(x, n->in[0], &nchw)), *more[2] = {0};
    struct ex_value *e = &x->value[n->out[0] - 1], *range = &x->value[n->out[1] - 1];

    ex_more_outputs(x, 2, more);
    if (x->r < 0)
        return;
    *(nchw ? &e->uint8_nchw : &e->uint8) = q;
    range->step = more[0];
    range->zero = more[1];
}

/* What is multiplied, in one order of axes or the other, and its zero point. */
static char *activations(struct ex *x, const struct npu_node *n, bool nchw, char **ret_zero)
{
    const npu_val q = n->in[NPU_QCONV_X], range = n->in[NPU_QCONV_RANGE];
    struct ex_value *e = &x->value[q - 1];

    if (range == NPU_NONE) {
        *ret_zero = ex_byte(x, OM_INT8, NPU_ATTR(struct npu_qconv_attr, n)->x_zero);
        return nchw ? ex_nchw(x, q) : ex_native(x, q);
    }
    if (!x->value[range - 1].step || (!e->uint8 && !e->uint8_nchw) ||
        npu_value_of(x->g, range)->node != npu_value_of(x->g, q)->node) {
        ex_fail(x, -EOPNOTSUPP,
                "operation %s has no ONNX form with a range that quantise_dynamic did not find for this tensor",
                n->op->name);
        return NULL;
    }
    *ret_zero = x->value[range - 1].zero;
    if (nchw && !e->uint8_nchw) {
        e->uint8_nchw = ex_node(x, "Transpose", 1, e->uint8);
        ex_ints(x, "perm", 4, (int64_t[]){0, 3, 1, 2});
    } else if (!nchw && !e->uint8) {
        e->uint8 = ex_node(x, "Transpose", 1, e->uint8_nchw);
        ex_ints(x, "perm", 4, (int64_t[]){0, 2, 3, 1});
    }
    return nchw ? e->uint8_nchw : e->uint8;
}

/* [C] to meet sums of a product, or of a convolution as [C, 1, 1]; as int64 if wide. */
static char *per_channel(struct ex *x, npu_val v, bool nchw, bool wide)
{
    const struct npu_value *val = npu_value_of(x->g, v);
    const int64_t c = val->type.shape.dim[0];
    const struct npu_shape s = {nchw ? 3 : 1, {c, 1, 1}};
    const int type = om_type_of(val->type.dtype);
    const void *data = ex_raw(x, v);
    char *y;

    if (data && wide) {
        int64_t *whole = om_alloc(x->m, (size_t)c + 1, sizeof *whole);

        for (int64_t i = 0; whole && i < c; i++)
            whole[i] = ((const int32_t *)data)[i];
        return ex_tensor(x, val->name, OM_INT64, &s, whole, (size_t)c * sizeof *whole);
    }
    if (data)
        return ex_tensor(x, val->name, type, &s, data, npu_type_bytes(&val->type));
    y = ex_native(x, v);
    if (nchw)
        y = ex_node(x, "Reshape", 2, y, ex_shape(x, 3, s.dim));
    if (wide) {
        y = ex_node(x, "Cast", 1, y);
        ex_int(x, "to", OM_INT64);
    }
    return y;
}

/* t >> shift, for t of either sign: Div alone would round towards 0. */
static char *shift_right(struct ex *x, char *t, int shift)
{
    char *unit = ex_index(x, INT64_C(1) << shift);
    char *rest = ex_node(x, "Mod", 2, t, unit);

    return ex_node(x, "Div", 2, ex_node(x, "Sub", 2, t, rest), unit);
}

static char *finish_int8(struct ex *x, const struct npu_node *n, char *sum, char *scale, bool nchw)
{
    const struct npu_qconv_attr *a = NPU_ATTR(struct npu_qconv_attr, n);
    const npu_val res = n->in[NPU_QCONV_RESIDUAL];
    char *t = ex_node(x, "Cast", 1, sum), *r;

    ex_int(x, "to", OM_INT64);
    t = ex_node(x, "Mul", 2, t, scale);
    if (res != NPU_NONE) {
        r = ex_node(x, "Cast", 1, nchw ? ex_nchw(x, res) : ex_native(x, res));
        ex_int(x, "to", OM_INT64);
        r = ex_node(x, "Sub", 2, r, ex_index(x, a->res_zero));
        t = ex_node(x, "Add", 2, t, ex_node(x, "Mul", 2, r, ex_index(x, a->res_mul)));
    }
    t = ex_node(x, "Add", 2, t, ex_index(x, INT64_C(1) << (a->shift - 1)));
    t = ex_node(x, "Add", 2, shift_right(x, t, a->shift), ex_index(x, a->y_zero));
    r = ex_index(x, a->lo);
    t = ex_node(x, "Cast", 1, ex_node(x, "Clip", 3, t, r, ex_index(x, a->hi)));
    ex_int(x, "to", OM_INT8);
    return t;
}

static char *finish_float(struct ex *x, const struct npu_node *n, char *sum, char *scale, bool nchw)
{
    const struct npu_qconv_attr *a = NPU_ATTR(struct npu_qconv_attr, n);
    const npu_val bias = n->in[NPU_QCONV_BIAS], range = n->in[NPU_QCONV_RANGE], res = n->in[NPU_QCONV_RESIDUAL];
    char *t = ex_node(x, "Cast", 1, sum);

    ex_int(x, "to", OM_FLOAT);
    if (range != NPU_NONE)
        scale = ex_node(x, "Mul", 2, x->value[range - 1].step, scale);
    t = ex_node(x, "Mul", 2, t, scale);
    if (range != NPU_NONE && bias != NPU_NONE)
        t = ex_node(x, "Add", 2, t, per_channel(x, bias, nchw, false));
    if (res != NPU_NONE)
        t = ex_node(x, "Add", 2, t, nchw ? ex_nchw(x, res) : ex_native(x, res));
    return ex_activation(x, t, (enum npu_act)a->act);
}

/* sum: of the products alone. What else is needed stands in the file before it, so that import has it by then. */
static void finish(struct ex *x, const struct npu_node *n, char *sum, char *scale, char *bias, bool nchw)
{
    if (bias)
        sum = ex_node(x, "Add", 2, sum, bias);
    ex_set(x, n->out[0],
           NPU_ATTR(struct npu_qconv_attr, n)->out_int8 ? finish_int8(x, n, sum, scale, nchw)
                                                        : finish_float(x, n, sum, scale, nchw),
           nchw);
}

/* The operands behind the product, made first: transposes of the residual too. */
static char *prepare(struct ex *x, const struct npu_node *n, bool nchw, char **ret_bias)
{
    const npu_val bias = n->in[NPU_QCONV_BIAS], res = n->in[NPU_QCONV_RESIDUAL];

    *ret_bias = bias != NPU_NONE && n->in[NPU_QCONV_RANGE] == NPU_NONE ? per_channel(x, bias, nchw, false) : NULL;
    if (res != NPU_NONE)
        (void)(nchw ? ex_nchw(x, res) : ex_native(x, res));
    return per_channel(x, n->in[NPU_QCONV_SCALE], nchw, NPU_ATTR(struct npu_qconv_attr, n)->out_int8);
}

void ex_qmatmul(struct ex *x, const struct npu_node *n)
{
    char *zero = NULL, *in = activations(x, n, false, &zero), *bias, *scale = prepare(x, n, false, &bias);
    char *w = ex_native(x, n->in[NPU_QCONV_W]);

    finish(x, n, ex_node(x, "MatMulInteger", 3, in, w, zero), scale, bias, false);
}

/* Weights [kh, kw, cin, cout] as [cout, cin, kh, kw]. */
static char *conv_weight(struct ex *x, npu_val v)
{
    const int64_t *d = npu_val_shape(x->g, v)->dim, hw = d[0] * d[1];
    const struct npu_shape s = {4, {d[3], d[2], d[0], d[1]}};
    const size_t size = (size_t)npu_shape_elements(&s);
    const int8_t *q = ex_raw(x, v);
    int8_t *w;
    char *name;

    if (!q) {
        name = ex_node(x, "Transpose", 1, ex_native(x, v));
        ex_ints(x, "perm", 4, (int64_t[]){3, 2, 0, 1});
        return name;
    }
    w = om_alloc(x->m, 1, size + 1);
    for (int64_t k = 0; w && k < hw; k++)
        for (int64_t i = 0; i < d[2]; i++)
            for (int64_t o = 0; o < d[3]; o++)
                w[(o * d[2] + i) * hw + k] = q[(k * d[2] + i) * d[3] + o];
    return ex_tensor(x, npu_value_of(x->g, v)->name, OM_INT8, &s, w, size);
}

void ex_qconv2d(struct ex *x, const struct npu_node *n)
{
    const struct npu_qconv_attr *a = NPU_ATTR(struct npu_qconv_attr, n);
    const int64_t *w = npu_val_shape(x->g, n->in[NPU_QCONV_W])->dim;
    char *zero = NULL, *in = activations(x, n, true, &zero), *bias, *scale = prepare(x, n, true, &bias);
    char *weight = conv_weight(x, n->in[NPU_QCONV_W]), *sum = ex_node(x, "ConvInteger", 3, in, weight, zero);

    ex_ints(x, "dilations", 2, (int64_t[]){1, 1});
    ex_int(x, "group", a->groups);
    ex_ints(x, "kernel_shape", 2, (int64_t[]){w[0], w[1]});
    ex_ints(x, "pads", 4, (int64_t[]){a->pad_top, a->pad_left, a->pad_bottom, a->pad_right});
    ex_ints(x, "strides", 2, (int64_t[]){a->stride, a->stride});
    finish(x, n, sum, scale, bias, true);
}
