/* export_mat.c - products, convolutions, attention and activations as ONNX nodes. */
#include "libnpu/onnx/export.h"
#include "libnpu/op/attention.h"
#include "libnpu/op/conv2d.h"
#include "libnpu/op/matmul.h"

/* 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), written as other runtimes look for it. */
static char *gelu(struct ex *x, char *in)
{
    char *t = ex_node(x, "Pow", 2, in, ex_scalar(x, 3.0f));

    t = ex_node(x, "Mul", 2, t, ex_scalar(x, 0.044715f));
    t = ex_node(x, "Add", 2, in, t);
    t = ex_node(x, "Mul", 2, t, ex_scalar(x, 0.7978845608f));
    t = ex_node(x, "Tanh", 1, t);
    t = ex_node(x, "Add", 2, t, ex_scalar(x, 1.0f));
    return ex_node(x, "Mul", 2, ex_node(x, "Mul", 2, in, ex_scalar(x, 0.5f)), t);
}

char *ex_activation(struct ex *x, char *name, enum npu_act act)
{
    char *low;

    switch (act) {
    case NPU_ACT_RELU:
        return ex_node(x, "Relu", 1, name);
    case NPU_ACT_RELU6:
        low = ex_scalar(x, 0.0f);
        return ex_node(x, "Clip", 3, name, low, ex_scalar(x, 6.0f));
    case NPU_ACT_GELU:
        return gelu(x, name);
    case NPU_ACT_SIGMOID:
        return ex_node(x, "Sigmoid", 1, name);
    default:
        return name;
    }
}

/* The last two axes of v the other way round; of a parameter in the file already. */
static char *transposed(struct ex *x, npu_val v)
{
    const struct npu_value *val = npu_value_of(x->g, v);
    const struct npu_shape *s = &val->type.shape;
    const float *f = s->rank == 2 ? ex_param(x, v) : NULL;
    int64_t perm[NPU_MAX_DIMS];
    char *name;

    if (f) {
        const struct npu_shape t = {2, {s->dim[1], s->dim[0]}};
        const size_t size = sizeof(float) * (size_t)(s->dim[0] * s->dim[1]);
        float *w = om_alloc(x->m, 1, size + 1);

        for (int64_t i = 0; w && i < s->dim[0]; i++)
            for (int64_t j = 0; j < s->dim[1]; j++)
                w[j * s->dim[0] + i] = f[i * s->dim[1] + j];
        return ex_tensor(x, val->name, OM_FLOAT, &t, w, size);
    }
    for (int i = 0; i < s->rank; i++)
        perm[i] = i < s->rank - 2 ? i : 2 * s->rank - 3 - i;
    name = ex_node(x, "Transpose", 1, ex_native(x, v));
    ex_ints(x, "perm", s->rank, perm);
    return name;
}

void ex_matmul(struct ex *x, const struct npu_node *n)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);
    const npu_val bias = n->in[NPU_MATMUL_BIAS], residual = n->in[NPU_MATMUL_RESIDUAL];
    char *a = at->trans_a ? transposed(x, n->in[NPU_MATMUL_A]) : ex_native(x, n->in[NPU_MATMUL_A]);
    char *b = at->trans_b ? transposed(x, n->in[NPU_MATMUL_B]) : ex_native(x, n->in[NPU_MATMUL_B]);
    char *y = ex_node(x, "MatMul", 2, a, b);

    if (at->scale != 1.0f)
        y = ex_node(x, "Mul", 2, y, ex_scalar(x, at->scale));
    if (bias != NPU_NONE)
        y = ex_node(x, "Add", 2, y, ex_native(x, bias));
    y = ex_activation(x, y, (enum npu_act)at->act);
    if (residual != NPU_NONE)
        y = ex_node(x, "Add", 2, y, ex_native(x, residual));
    ex_set(x, n->out[0], y, false);
}

/* Weights [kh, kw, cin, cout] as [cout, cin, kh, kw]. */
static char *conv_weight(struct ex *x, npu_val v)
{
    static const int64_t perm[4] = {3, 2, 0, 1};
    const struct npu_value *val = npu_value_of(x->g, v);
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a convolution has weights
    const int64_t *d = val->type.shape.dim, hw = d[0] * d[1];
    const struct npu_shape s = {4, {d[3], d[2], d[0], d[1]}};
    const float *f = ex_param(x, v);
    const size_t size = sizeof(float) * (size_t)npu_shape_elements(&s);
    float *w;
    char *name;

    if (!f) {
        name = ex_node(x, "Transpose", 1, ex_native(x, v));
        ex_ints(x, "perm", 4, perm);
        return name;
    }
    w = om_alloc(x->m, 1, size + 1);
    for (int64_t k = 0; w && k < hw; k++)
        for (int64_t i = 0; i < d[2]; i++)
            for (int64_t o = 0; o < d[3]; o++)
                w[(o * d[2] + i) * hw + k] = f[(k * d[2] + i) * d[3] + o];
    return ex_tensor(x, val->name, OM_FLOAT, &s, w, size);
}

void ex_conv2d(struct ex *x, const struct npu_node *n)
{
    const struct npu_conv2d_attr *at = NPU_ATTR(struct npu_conv2d_attr, n);
    const int64_t *w = npu_val_shape(x->g, n->in[NPU_CONV_W])->dim;
    const npu_val bias = n->in[NPU_CONV_BIAS], residual = n->in[NPU_CONV_RESIDUAL];
    char *in = ex_nchw(x, n->in[NPU_CONV_X]), *weight = conv_weight(x, n->in[NPU_CONV_W]), *y;

    y = bias == NPU_NONE ? ex_node(x, "Conv", 2, in, weight) : ex_node(x, "Conv", 3, in, weight, ex_native(x, bias));
    ex_ints(x, "dilations", 2, (int64_t[]){1, 1});
    ex_int(x, "group", at->groups);
    ex_ints(x, "kernel_shape", 2, (int64_t[]){w[0], w[1]});
    ex_ints(x, "pads", 4, (int64_t[]){at->pad_top, at->pad_left, at->pad_bottom, at->pad_right});
    ex_ints(x, "strides", 2, (int64_t[]){at->stride, at->stride});
    if (residual != NPU_NONE)
        y = ex_node(x, "Add", 2, y, ex_nchw(x, residual));
    ex_set(x, n->out[0], ex_activation(x, y, (enum npu_act)at->act), true);
}

/* qkv [b, n, 3 d] -> [3, b, heads, n, d / heads] -> softmax(q k^T / sqrt(d / heads)) v. */
void ex_attention(struct ex *x, const struct npu_node *n)
{
    const struct npu_attention_dims d = npu_attention_dims(n, npu_val_shape(x->g, n->in[0]));
    char *t = ex_native(x, n->in[0]), *part[3], *scores;

    t = ex_node(x, "Reshape", 2, t, ex_shape(x, 5, (int64_t[]){d.batch, d.n, 3, d.heads, d.dh}));
    t = ex_node(x, "Transpose", 1, t);
    ex_ints(x, "perm", 5, (int64_t[]){2, 0, 3, 1, 4});
    for (int i = 0; i < 3; i++) {
        part[i] = ex_node(x, "Gather", 2, t, ex_index(x, i));
        ex_int(x, "axis", 0);
    }
    part[1] = ex_node(x, "Transpose", 1, part[1]);
    ex_ints(x, "perm", 4, (int64_t[]){0, 1, 3, 2});
    scores = ex_node(x, "MatMul", 2, part[0], part[1]);
    scores = ex_node(x, "Mul", 2, scores, ex_scalar(x, d.scale));
    scores = ex_node(x, "Softmax", 1, scores);
    ex_int(x, "axis", -1);
    t = ex_node(x, "MatMul", 2, scores, part[2]);
    t = ex_node(x, "Transpose", 1, t);
    ex_ints(x, "perm", 4, (int64_t[]){0, 2, 1, 3});
    t = ex_node(x, "Reshape", 2, t, ex_shape(x, 3, (int64_t[]){d.batch, d.n, d.d}));
    ex_set(x, n->out[0], t, false);
}
