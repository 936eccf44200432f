/* export_ops.c - operations as ONNX nodes, one function each; products and convolutions are in export_mat.c. */
#include <stdlib.h>

#include "libnpu/onnx/export.h"
#include "libnpu/op/attr.h"
#include "libnpu/op/mat.h"
#include "libnpu/op/quant.h"

static const struct npu_shape *shape_of(const struct ex *x, npu_val v)
{
    return npu_val_shape(x->g, v);
}

char *ex_either(struct ex *x, npu_val v, bool *ret_nchw)
{
    *ret_nchw = ex_prefers_nchw(x, v);
    return *ret_nchw ? ex_nchw(x, v) : ex_native(x, v);
}

/* ---- element by element ---- */
static void unary(struct ex *x, const struct npu_node *n, const char *op)
{
    bool nchw;
    char *in = ex_either(x, n->in[0], &nchw);

    ex_set(x, n->out[0], ex_node(x, op, 1, in), nchw);
}

static void ex_tanh(struct ex *x, const struct npu_node *n)
{
    unary(x, n, "Tanh");
}

static void ex_exp(struct ex *x, const struct npu_node *n)
{
    unary(x, n, "Exp");
}

static void ex_abs(struct ex *x, const struct npu_node *n)
{
    unary(x, n, "Abs");
}

static void ex_erf(struct ex *x, const struct npu_node *n)
{
    unary(x, n, "Erf");
}

static void activation(struct ex *x, const struct npu_node *n, enum npu_act act)
{
    bool nchw;
    char *in = ex_either(x, n->in[0], &nchw);

    ex_set(x, n->out[0], ex_activation(x, in, act), nchw);
}

static void ex_relu(struct ex *x, const struct npu_node *n)
{
    activation(x, n, NPU_ACT_RELU);
}

static void ex_relu6(struct ex *x, const struct npu_node *n)
{
    activation(x, n, NPU_ACT_RELU6);
}

static void ex_gelu(struct ex *x, const struct npu_node *n)
{
    activation(x, n, NPU_ACT_GELU);
}

static void ex_sigmoid(struct ex *x, const struct npu_node *n)
{
    activation(x, n, NPU_ACT_SIGMOID);
}

/* x / 2 (1 + erf(x / sqrt(2))), written as other runtimes look for it. */
static void ex_gelu_erf(struct ex *x, const struct npu_node *n)
{
    bool nchw;
    char *in = ex_either(x, n->in[0], &nchw), *t = ex_node(x, "Div", 2, in, ex_scalar(x, 1.41421356237f));

    t = ex_node(x, "Add", 2, ex_node(x, "Erf", 1, t), ex_scalar(x, 1.0f));
    t = ex_node(x, "Mul", 2, in, t);
    ex_set(x, n->out[0], ex_node(x, "Mul", 2, t, ex_scalar(x, 0.5f)), nchw);
}

static void ex_scale(struct ex *x, const struct npu_node *n)
{
    const struct scale_attr *a = NPU_ATTR(struct scale_attr, n);
    bool nchw;
    char *y = ex_either(x, n->in[0], &nchw);

    if (a->mul != 1.0f || a->add == 0.0f)
        y = ex_node(x, "Mul", 2, y, ex_scalar(x, a->mul));
    if (a->add != 0.0f)
        y = ex_node(x, "Add", 2, y, ex_scalar(x, a->add));
    ex_set(x, n->out[0], y, nchw);
}

static void binary(struct ex *x, const struct npu_node *n, const char *op)
{
    const struct npu_shape *s = shape_of(x, n->in[1]);
    const int kind = npu_value_of(x->g, n->in[1])->kind;
    bool nchw = ex_prefers_nchw(x, n->in[0]);
    char *y = NULL, *in;

    if (nchw && s->rank == 4)
        y = ex_nchw(x, n->in[1]);
    else if (nchw && s->rank == 0)
        y = ex_native(x, n->in[1]);
    else if (nchw && s->rank == 1 && (kind == NPU_VALUE_PARAM || kind == NPU_VALUE_STATE))
        y = ex_channel(x, n->in[1]);
    else
        nchw = false;
    in = nchw ? ex_nchw(x, n->in[0]) : ex_native(x, n->in[0]);
    ex_set(x, n->out[0], ex_node(x, op, 2, in, nchw ? y : ex_native(x, n->in[1])), nchw);
}

static void ex_add(struct ex *x, const struct npu_node *n)
{
    binary(x, n, "Add");
}

static void ex_sub(struct ex *x, const struct npu_node *n)
{
    binary(x, n, "Sub");
}

static void ex_mul(struct ex *x, const struct npu_node *n)
{
    binary(x, n, "Mul");
}

static void ex_prelu(struct ex *x, const struct npu_node *n)
{
    bool nchw = ex_prefers_nchw(x, n->in[0]);
    char *slope = nchw ? ex_channel(x, n->in[1]) : NULL, *in;

    nchw = slope != NULL;
    in = nchw ? ex_nchw(x, n->in[0]) : ex_native(x, n->in[0]);
    ex_set(x, n->out[0], ex_node(x, "PRelu", 2, in, nchw ? slope : ex_native(x, n->in[1])), nchw);
}

/* bf16 and f16 values are f32 in the file: a cast to one of them rounds and comes back. */
static void ex_cast(struct ex *x, const struct npu_node *n)
{
    const enum npu_dtype from = npu_val_dtype(x->g, n->in[0]), to = npu_val_dtype(x->g, n->out[0]);
    bool nchw;
    char *y = ex_either(x, n->in[0], &nchw);

    if (to != NPU_F32) {
        y = ex_node(x, "Cast", 1, y);
        ex_int(x, "to", om_type_of(to));
    }
    if (to != NPU_F32 || !npu_dtype_is_float(from)) {
        y = ex_node(x, "Cast", 1, y);
        ex_int(x, "to", OM_FLOAT);
    }
    ex_set(x, n->out[0], y, nchw);
}

/* ---- norms and softmax ---- */
static void ex_layer_norm(struct ex *x, const struct npu_node *n)
{
    char *in = ex_native(x, n->in[0]), *gamma = ex_native(x, n->in[1]);
    char *y = ex_node(x, "LayerNormalization", 3, in, gamma, ex_native(x, n->in[2]));

    ex_int(x, "axis", -1);
    ex_float(x, "epsilon", NPU_ATTR(struct layer_norm_attr, n)->eps);
    ex_set(x, n->out[0], y, false);
}

/* With fixed statistics it is a factor and a summand for each channel. */
static void ex_batch_norm(struct ex *x, const struct npu_node *n)
{
    const float *p[4] = {0}, eps = NPU_ATTR(struct batch_norm_attr, n)->eps;
    const bool nchw = ex_prefers_nchw(x, n->in[0]);
    const int64_t c = shape_of(x, n->in[1])->dim[0];
    const struct npu_shape s = {nchw ? 3 : 1, {c, 1, 1}};
    const size_t size = sizeof(float) * (size_t)c;
    float *f = om_alloc(x->m, 2, size + 16), *shift = f ? f + c : NULL;
    char *y = nchw ? ex_nchw(x, n->in[0]) : ex_native(x, n->in[0]);

    for (int i = 0; i < 4; i++)
        if (!(p[i] = ex_param(x, n->in[1 + i]))) {
            ex_fail(x, -EOPNOTSUPP, "batch_norm: gamma, beta, mean and var must be parameters or states");
            return;
        }
    for (int64_t i = 0; f && i < c; i++) {
        f[i] = p[0][i] / sqrtf(p[3][i] + eps);
        shift[i] = p[1][i] - p[2][i] * f[i];
    }
    y = ex_node(x, "Mul", 2, y, ex_tensor(x, npu_value_of(x->g, n->in[1])->name, OM_FLOAT, &s, f, size));
    y = ex_node(x, "Add", 2, y, ex_tensor(x, npu_value_of(x->g, n->in[2])->name, OM_FLOAT, &s, shift, size));
    ex_set(x, n->out[0], y, nchw);
}

static void ex_softmax(struct ex *x, const struct npu_node *n)
{
    char *y = ex_node(x, "Softmax", 1, ex_native(x, n->in[0]));

    ex_int(x, "axis", -1);
    ex_set(x, n->out[0], y, false);
}

/* ---- pictures ---- */
static void pool(struct ex *x, const struct npu_node *n, const char *op)
{
    const struct npu_pool_opts *o = NPU_ATTR(struct npu_pool_opts, n);
    char *y = ex_node(x, op, 1, ex_nchw(x, n->in[0]));

    ex_ints(x, "kernel_shape", 2, (int64_t[]){o->kernel, o->kernel});
    ex_ints(x, "pads", 4, (int64_t[]){o->pad, o->pad, o->pad, o->pad});
    ex_ints(x, "strides", 2, (int64_t[]){o->stride, o->stride});
    ex_set(x, n->out[0], y, true);
}

static void ex_max_pool(struct ex *x, const struct npu_node *n)
{
    pool(x, n, "MaxPool");
}

static void ex_mean_pool(struct ex *x, const struct npu_node *n)
{
    pool(x, n, "AveragePool");
}

static void ex_resize(struct ex *x, const struct npu_node *n)
{
    const int64_t *d = shape_of(x, n->out[0])->dim;
    const bool bilinear = NPU_ATTR(struct resize_attr, n)->bilinear;
    char *in = ex_nchw(x, n->in[0]), *size = ex_shape(x, 4, (int64_t[]){d[0], d[3], d[1], d[2]});
    char *y = ex_node(x, "Resize", 4, in, "", "", size);

    ex_string(x, "coordinate_transformation_mode", "half_pixel");
    ex_string(x, "mode", bilinear ? "linear" : "nearest");
    if (!bilinear)
        ex_string(x, "nearest_mode", "round_prefer_ceil");
    ex_set(x, n->out[0], y, true);
}

/* ---- moving elements ---- */
static void ex_reshape(struct ex *x, const struct npu_node *n)
{
    const struct npu_shape *s = shape_of(x, n->out[0]);
    char *in = ex_native(x, n->in[0]);

    ex_set(x, n->out[0], ex_node(x, "Reshape", 2, in, ex_shape(x, s->rank, s->dim)), false);
    if (npu_shape_elements(s) == 0)
        ex_int(x, "allowzero", 1); /* else 0 means: as in the input */
}

static void ex_permute(struct ex *x, const struct npu_node *n)
{
    const struct permute_attr *a = NPU_ATTR(struct permute_attr, n);
    int64_t perm[NPU_MAX_DIMS];
    bool nchw;
    char *y = ex_either(x, n->in[0], &nchw);

    for (int i = 0; i < a->rank; i++)
        perm[i] = nchw ? ex_nchw_axis(a->order[i]) : a->order[i];
    y = ex_node(x, "Transpose", 1, y);
    ex_ints(x, "perm", a->rank, perm);
    ex_set(x, n->out[0], y, false);
}

static void ex_slice(struct ex *x, const struct npu_node *n)
{
    const struct slice_attr *a = NPU_ATTR(struct slice_attr, n);
    bool nchw;
    char *in = ex_either(x, n->in[0], &nchw), *from, *to, *axis;

    from = ex_shape(x, 1, (int64_t[]){a->start});
    to = ex_shape(x, 1, (int64_t[]){a->start + a->size});
    axis = ex_shape(x, 1, (int64_t[]){nchw ? ex_nchw_axis(a->axis) : a->axis});
    ex_set(x, n->out[0], ex_node(x, "Slice", 4, in, from, to, axis), nchw);
}

static void ex_pad(struct ex *x, const struct npu_node *n)
{
    const struct slice_attr *a = NPU_ATTR(struct slice_attr, n);
    const struct npu_shape *s = shape_of(x, n->in[0]);
    int64_t pads[2 * NPU_MAX_DIMS] = {0};
    bool nchw;
    char *in = ex_either(x, n->in[0], &nchw);
    const int axis = nchw ? ex_nchw_axis(a->axis) : a->axis;

    pads[axis] = a->start;
    pads[s->rank + axis] = a->size - a->start - s->dim[a->axis];
    ex_set(x, n->out[0], ex_node(x, "Pad", 2, in, ex_shape(x, 2 * s->rank, pads)), nchw);
}

static void ex_concat(struct ex *x, const struct npu_node *n)
{
    const int axis = NPU_ATTR(struct slice_attr, n)->axis;
    bool nchw = true;
    char *in[NPU_MAX_IN] = {0}, *y;

    for (int i = 0; i < n->n_in; i++)
        nchw &= ex_prefers_nchw(x, n->in[i]);
    for (int i = 0; i < n->n_in; i++)
        in[i] = nchw ? ex_nchw(x, n->in[i]) : ex_native(x, n->in[i]);
    y = ex_node(x, "Concat", n->n_in, in[0], in[1], in[2], in[3], in[4], in[5], in[6], in[7]);
    ex_int(x, "axis", nchw ? ex_nchw_axis(axis) : axis);
    ex_set(x, n->out[0], y, nchw);
}

static void ex_expand(struct ex *x, const struct npu_node *n)
{
    const struct expand_attr *a = NPU_ATTR(struct expand_attr, n);
    char *y = ex_native(x, n->in[0]);

    y = ex_node(x, "Expand", 2, y, ex_shape(x, a->shape.rank, a->shape.dim));
    if (a->mul != 1.0f)
        y = ex_node(x, "Mul", 2, y, ex_scalar(x, a->mul));
    ex_set(x, n->out[0], y, false);
}

/* x [b, n, c], index [b, m]. ONNX has no rows of zeros for an index out of range. */
static void ex_gather_rows(struct ex *x, const struct npu_node *n)
{
    char *in = ex_native(x, n->in[0]), *index = ex_node(x, "Cast", 1, ex_native(x, n->in[1])), *y;

    ex_int(x, "to", OM_INT64);
    index = ex_node(x, "Unsqueeze", 2, index, ex_shape(x, 1, (int64_t[]){2}));
    y = ex_node(x, "GatherND", 2, in, index);
    ex_int(x, "batch_dims", 1);
    ex_set(x, n->out[0], y, false);
}

/* Axes [from, to) go. In NCHW that is all the same to what follows if the axes left keep their order. */
static void ex_reduce(struct ex *x, const struct npu_node *n)
{
    const struct reduce_attr *a = NPU_ATTR(struct reduce_attr, n);
    const bool spatial = a->from <= 1 && a->to >= 3, channel = a->from == 3;
    const bool nchw = ex_prefers_nchw(x, n->in[0]) && (spatial || channel);
    char *in = nchw ? ex_nchw(x, n->in[0]) : ex_native(x, n->in[0]), *y;
    int64_t axes[NPU_MAX_DIMS];
    int count = 0;

    for (int i = 0; i < shape_of(x, n->in[0])->rank; i++) {
        static const int native_axis[4] = {0, 3, 1, 2};
        const int at = nchw ? native_axis[i] : i;

        if (at >= a->from && at < a->to)
            axes[count++] = i;
    }
    if (a->mean) {
        y = ex_node(x, "ReduceMean", 1, in);
        ex_ints(x, "axes", count, axes);
    } else {
        y = ex_node(x, "ReduceSum", 2, in, ex_shape(x, count, axes));
    }
    ex_int(x, "keepdims", 0);
    ex_set(x, n->out[0], y, false);
}

static const struct {
    const struct npu_op *op;
    void (*export)(struct ex *x, const struct npu_node *n);
} table[] = {
    {&npu_op_matmul, ex_matmul},
    {&npu_op_conv2d, ex_conv2d},
    {&npu_op_attention, ex_attention},
    {&npu_op_relu, ex_relu},
    {&npu_op_relu6, ex_relu6},
    {&npu_op_gelu, ex_gelu},
    {&npu_op_gelu_erf, ex_gelu_erf},
    {&npu_op_sigmoid, ex_sigmoid},
    {&npu_op_tanh, ex_tanh},
    {&npu_op_exp, ex_exp},
    {&npu_op_abs, ex_abs},
    {&npu_op_erf, ex_erf},
    {&npu_op_scale, ex_scale},
    {&npu_op_add, ex_add},
    {&npu_op_sub, ex_sub},
    {&npu_op_mul, ex_mul},
    {&npu_op_prelu, ex_prelu},
    {&npu_op_cast, ex_cast},
    {&npu_op_layer_norm, ex_layer_norm},
    {&npu_op_batch_norm, ex_batch_norm},
    {&npu_op_softmax, ex_softmax},
    {&npu_op_max_pool, ex_max_pool},
    {&npu_op_mean_pool, ex_mean_pool},
    {&npu_op_resize, ex_resize},
    {&npu_op_reshape, ex_reshape},
    {&npu_op_permute, ex_permute},
    {&npu_op_slice, ex_slice},
    {&npu_op_pad, ex_pad},
    {&npu_op_concat, ex_concat},
    {&npu_op_expand, ex_expand},
    {&npu_op_gather_rows, ex_gather_rows},
    {&npu_op_reduce, ex_reduce},
    {&npu_op_quantise, ex_quantise},
    {&npu_op_dequantise, ex_dequantise},
    {&npu_op_quantise_dynamic, ex_quantise_dynamic},
    {&npu_op_qmatmul, ex_qmatmul},
    {&npu_op_qconv2d, ex_qconv2d},
};

int ex_op(struct ex *x, const struct npu_node *n)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].op == n->op) {
            table[i].export(x, n);
            return x->r;
        }
    return ex_fail(x, -EOPNOTSUPP, "operation %s has no ONNX form: only networks for use can be exported", n->op->name);
}
