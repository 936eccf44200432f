/* conv2d.c - convolution of NHWC pictures and its two gradients: builder, shapes, backward, test cases.
 * References: conv2d_ref.c. Launches: conv2d_lower.c, kernels/conv2d.cl. */
#include "libnpu/op/conv2d.h"
#include "libnpu/op/exact.h"

struct npu_conv2d_dims npu_conv2d_dims(const struct npu_conv2d_attr *at, const struct npu_shape *x,
                                       const struct npu_shape *w, const struct npu_shape *y)
{
    return (struct npu_conv2d_dims){
        .n = x->dim[0],
        .h = x->dim[1],
        .w = x->dim[2],
        .cin = x->dim[3],
        .kh = w->dim[0],
        .kw = w->dim[1],
        .cing = w->dim[2],
        .cout = w->dim[3],
        .oh = y->dim[1],
        .ow = y->dim[2],
        .groups = at->groups,
        .coutg = w->dim[3] / at->groups,
        .stride = at->stride,
        .pad_top = at->pad_top,
        .pad_left = at->pad_left,
    };
}

/* ---- builder ---- */
npu_val npu_conv2d(npu_graph *g, npu_val x, npu_val w, const struct npu_conv2d_opts *opts)
{
    const struct npu_conv2d_opts o = opts ? *opts : (struct npu_conv2d_opts){0};
    const npu_val in[NPU_CONV_INPUTS] = {x, w, o.bias, o.residual};
    struct npu_conv2d_attr at = {
        .stride = o.stride ? o.stride : 1,
        .pad_top = o.pad_top,
        .pad_left = o.pad_left,
        .pad_bottom = o.pad_bottom,
        .pad_right = o.pad_right,
        .groups = o.groups ? o.groups : 1,
        .act = o.act,
    };

    if (!(npu_graph_flags(g) & NPU_GRAPH_TRAIN))
        return npu_node_add(g, &npu_op_conv2d, in, NPU_CONV_INPUTS, &at, sizeof at);
    at.act = NPU_ACT_NONE;
    return npu_mat_act_node(g, npu_node_add(g, &npu_op_conv2d, in, NPU_CONV_INPUTS, &at, sizeof at), o.act);
}

/* ---- shape rules ---- */
/* Sizes of y from x and w; false if anything is out of range. */
static bool result_size(const struct npu_conv2d_attr *at, const int64_t *x, const int64_t *w, int64_t *oh, int64_t *ow)
{
    const int64_t h = x[1] + at->pad_top + at->pad_bottom, v = x[2] + at->pad_left + at->pad_right;

    if (at->stride < 1 || at->groups < 1 || at->pad_top < 0 || at->pad_left < 0 || at->pad_bottom < 0 ||
        at->pad_right < 0 || at->act < 0 || at->act > NPU_ACT_SIGMOID || w[0] < 1 || w[1] < 1)
        return false;
    if (w[3] % at->groups || w[2] * at->groups != x[3] || h < w[0] || v < w[1])
        return false;
    *oh = (h - w[0]) / at->stride + 1;
    *ow = (v - w[1]) / at->stride + 1;
    return true;
}

static int check_float(const struct npu_node *n, const struct npu_tensor_type *in, char *why, size_t why_size)
{
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] != NPU_NONE && !npu_mat_float(in[i].dtype)) {
            snprintf(why, why_size, "input %d is %s, not a float type", i, npu_dtype_name(in[i].dtype));
            return -EINVAL;
        }
    return 0;
}

static int conv2d_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                        size_t why_size)
{
    const struct npu_conv2d_attr *at = NPU_ATTR(struct npu_conv2d_attr, n);
    const struct npu_shape *x = &in[NPU_CONV_X].shape, *w = &in[NPU_CONV_W].shape;
    const struct npu_shape *bias = &in[NPU_CONV_BIAS].shape, *res = &in[NPU_CONV_RESIDUAL].shape;
    char tx[96], tw[96];
    int64_t oh, ow;

    snprintf(why, why_size, "x %s and weights %s do not fit (stride %d, padding %d %d %d %d, groups %d)",
             npu_mat_dims(x, tx), npu_mat_dims(w, tw), at->stride, at->pad_top, at->pad_left, at->pad_bottom,
             at->pad_right, at->groups);
    if (x->rank != 4 || w->rank != 4 || !result_size(at, x->dim, w->dim, &oh, &ow))
        return -EINVAL;
    if (n->in[NPU_CONV_BIAS] != NPU_NONE && (bias->rank != 1 || bias->dim[0] != w->dim[3])) {
        snprintf(why, why_size, "bias %s for %lld channels", npu_mat_dims(bias, tx), (long long)w->dim[3]);
        return -EINVAL;
    }
    out[0].dtype = in[NPU_CONV_X].dtype;
    out[0].shape = (struct npu_shape){4, {x->dim[0], oh, ow, w->dim[3]}};
    if (n->in[NPU_CONV_RESIDUAL] != NPU_NONE &&
        (res->rank != 4 || memcmp(res->dim, out[0].shape.dim, 4 * sizeof res->dim[0]) != 0)) {
        snprintf(why, why_size, "residual %s for a result %s", npu_mat_dims(res, tx), npu_mat_dims(&out[0].shape, tw));
        return -EINVAL;
    }
    return check_float(n, in, why, why_size);
}

/* The common part of both gradients: x and w known, y given. */
static int grad_shape(struct npu_node *n, const struct npu_tensor_type *in, const int64_t *x, const int64_t *w,
                      const struct npu_shape *y, char *why, size_t why_size)
{
    const struct npu_conv2d_attr *at = NPU_ATTR(struct npu_conv2d_attr, n);
    char ty[96];
    int64_t oh, ow;

    snprintf(why, why_size, "the gradient %s does not belong to x [%lld,%lld,%lld,%lld], weights [%lld,%lld,%lld,%lld]",
             npu_mat_dims(y, ty), (long long)x[0], (long long)x[1], (long long)x[2], (long long)x[3], (long long)w[0],
             (long long)w[1], (long long)w[2], (long long)w[3]);
    if (!result_size(at, x, w, &oh, &ow) || y->dim[0] != x[0] || y->dim[1] != oh || y->dim[2] != ow ||
        y->dim[3] != w[3])
        return -EINVAL;
    if (at->out_dtype < 0 || at->out_dtype >= NPU_DTYPES || !npu_mat_float(at->out_dtype))
        return -EINVAL;
    return check_float(n, in, why, why_size);
}

static int grad_x_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                        size_t why_size)
{
    const struct npu_conv2d_attr *at = NPU_ATTR(struct npu_conv2d_attr, n);
    const struct npu_shape *y = &in[0].shape, *w = &in[1].shape;

    if (y->rank != 4 || w->rank != 4 || at->x_h < 0 || at->x_w < 0) {
        snprintf(why, why_size, "inputs of rank %d and %d, not 4", y->rank, w->rank);
        return -EINVAL;
    }
    out[0].dtype = at->out_dtype;
    out[0].shape = (struct npu_shape){4, {y->dim[0], at->x_h, at->x_w, w->dim[2] * at->groups}};
    return grad_shape(n, in, out[0].shape.dim, w->dim, y, why, why_size);
}

static int grad_w_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                        size_t why_size)
{
    const struct npu_conv2d_attr *at = NPU_ATTR(struct npu_conv2d_attr, n);
    const struct npu_shape *x = &in[0].shape, *y = &in[1].shape;

    if (y->rank != 4 || x->rank != 4 || at->groups < 1 || x->dim[3] % at->groups) {
        snprintf(why, why_size, "inputs of rank %d and %d, not 4, or groups %d", x->rank, y->rank, at->groups);
        return -EINVAL;
    }
    out[0].dtype = at->out_dtype;
    out[0].shape = (struct npu_shape){4, {at->kh, at->kw, x->dim[3] / at->groups, y->dim[3]}};
    return grad_shape(n, in, x->dim, out[0].shape.dim, y, why, why_size);
}

/* ---- backward ---- */
static npu_val grad_node(npu_graph *g, const struct npu_op *op, const struct npu_node *n, npu_val a, npu_val b,
                         npu_val like)
{
    struct npu_conv2d_attr at = *NPU_ATTR(struct npu_conv2d_attr, n);
    const struct npu_shape *x = npu_val_shape(g, n->in[NPU_CONV_X]), *w = npu_val_shape(g, n->in[NPU_CONV_W]);

    at.x_h = (int32_t)x->dim[1];
    at.x_w = (int32_t)x->dim[2];
    at.kh = (int32_t)w->dim[0];
    at.kw = (int32_t)w->dim[1];
    at.out_dtype = npu_val_dtype(g, like);
    return npu_node_add(g, op, (npu_val[]){a, b}, 2, &at, sizeof at);
}

static int conv2d_grad(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    const npu_val x = n->in[NPU_CONV_X], w = n->in[NPU_CONV_W], gy = gout[0];
    const npu_val bias = n->in[NPU_CONV_BIAS], res = n->in[NPU_CONV_RESIDUAL];

    if (NPU_ATTR(struct npu_conv2d_attr, n)->act != NPU_ACT_NONE)
        return npu_graph_fail(g, -EOPNOTSUPP,
                              "conv2d: a fused activation has no backward; build the graph with "
                              "NPU_GRAPH_TRAIN");
    if (npu_val_needs_grad(g, x))
        gin[NPU_CONV_X] = grad_node(g, &npu_op_conv2d_grad_x, n, gy, w, x);
    if (npu_val_needs_grad(g, w))
        gin[NPU_CONV_W] = grad_node(g, &npu_op_conv2d_grad_w, n, x, gy, w);
    if (npu_val_needs_grad(g, bias))
        gin[NPU_CONV_BIAS] = npu_mat_bias_grad(g, gy, bias);
    if (npu_val_needs_grad(g, res))
        gin[NPU_CONV_RESIDUAL] = npu_mat_as(g, gy, npu_val_dtype(g, res));
    return npu_graph_status(g);
}

/* ---- tests ---- */
static const struct conv_case {
    int n, h, w, cin, cout, kh, kw, stride, pt, pl, pb, pr, groups;
    bool bias, res;
    int act;
    enum npu_dtype type;
    bool fixed; /* weights are a state: packed once, whatever that takes */
} conv_cases[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, .act = 0},
    {2, 8, 8, 4, 16, 3, 3, 1, 1, 1, 1, 1, 1, .bias = true, .res = true, .act = NPU_ACT_RELU},
    {1, 9, 7, 3, 10, 3, 3, 2, 1, 1, 1, 1, 1, .bias = true, .act = NPU_ACT_RELU6},
    {1, 11, 13, 5, 7, 5, 3, 2, 2, 0, 1, 2, 1, .bias = true, .act = NPU_ACT_GELU},
    {2, 6, 5, 9, 20, 1, 1, 1, 0, 0, 0, 0, 1, .bias = true, .act = NPU_ACT_SIGMOID},
    {2, 7, 5, 9, 20, 1, 1, 2, 0, 0, 0, 0, 1, .act = 0},
    {1, 16, 16, 3, 24, 4, 4, 4, 0, 0, 0, 0, 1, .bias = true},
    {1, 10, 10, 2, 5, 2, 2, 3, 0, 1, 0, 0, 1, .act = 0},
    {1, 9, 9, 8, 12, 3, 3, 1, 1, 1, 1, 1, 4, .bias = true, .res = true},
    {2, 9, 8, 6, 12, 3, 3, 2, 1, 1, 1, 1, 6, .bias = true},
    {2, 9, 8, 19, 19, 3, 3, 1, 1, 1, 1, 1, 19, .bias = true, .act = NPU_ACT_RELU6},
    {1, 10, 9, 32, 32, 5, 5, 2, 2, 2, 2, 2, 32, .bias = true},
    {1, 1, 40, 33, 34, 1, 7, 1, 0, 3, 0, 3, 1, .bias = true},
    {0, 4, 4, 3, 4, 3, 3, 1, 1, 1, 1, 1, 1, .bias = true},
    {1, 4, 4, 3, 0, 3, 3, 1, 1, 1, 1, 1, 1, .act = 0},
    {1, 5, 5, 300, 6, 3, 3, 1, 1, 1, 1, 1, 1, .act = 0},
    {3, 17, 19, 32, 33, 3, 3, 1, 1, 1, 1, 1, 1, .bias = true},
    {1, 3, 2, 2100, 70, 1, 1, 1, 0, 0, 0, 0, 1, .bias = true},
    {1, 9, 7, 3, 10, 3, 3, 2, 1, 1, 1, 1, 1, .bias = true, .act = NPU_ACT_RELU, .type = NPU_BF16},
    {2, 9, 7, 20, 36, 3, 3, 1, 1, 1, 1, 1, 1, .bias = true, .res = true, .type = NPU_BF16},
    {2, 9, 8, 19, 19, 3, 3, 1, 1, 1, 1, 1, 19, .bias = true, .type = NPU_BF16},
    {1, 9, 7, 4, 10, 3, 3, 1, 1, 1, 1, 1, 1, .bias = true, .type = NPU_F16},
    /* the same shapes without kinks: finite differences along directions too */
    {2, 8, 8, 4, 16, 3, 3, 1, 1, 1, 1, 1, 1, .bias = true, .res = true, .act = NPU_ACT_GELU},
    {2, 8, 8, 4, 16, 3, 3, 1, 1, 1, 1, 1, 1, .bias = true, .res = true},
    {1, 9, 7, 3, 10, 3, 3, 2, 1, 1, 1, 1, 1, .bias = true, .act = NPU_ACT_GELU},
    {1, 9, 7, 3, 10, 3, 3, 2, 1, 1, 1, 1, 1, .bias = true},
    {2, 9, 8, 19, 19, 3, 3, 1, 1, 1, 1, 1, 19, .bias = true, .act = NPU_ACT_GELU},
    {2, 9, 8, 19, 19, 3, 3, 2, 0, 1, 2, 1, 19, .bias = true, .res = true, .act = NPU_ACT_SIGMOID},
    {2, 9, 8, 12, 20, 3, 3, 2, 0, 1, 2, 1, 4, .bias = true, .res = true, .act = NPU_ACT_GELU},
    {2, 11, 13, 20, 37, 3, 3, 1, 1, 1, 1, 1, 1, .bias = true, .res = true, .act = NPU_ACT_GELU, .fixed = true},
    {1, 14, 18, 67, 16, 3, 3, 1, 0, 2, 0, 1, 1, .fixed = true},
    {1, 9, 11, 1, 20, 3, 3, 1, 1, 1, 1, 1, 1, .act = 0},
};

static const struct conv_case perf_cases[] = {
    {16, 64, 64, 32, 32, 3, 3, 1, 1, 1, 1, 1, 1, .act = 0},   {16, 64, 64, 32, 64, 3, 3, 2, 1, 1, 1, 1, 1, .act = 0},
    {16, 16, 16, 128, 128, 3, 3, 1, 1, 1, 1, 1, 1, .act = 0}, {16, 32, 32, 64, 64, 1, 1, 1, 0, 0, 0, 0, 1, .act = 0},
    {16, 128, 128, 3, 32, 3, 3, 2, 1, 1, 1, 1, 1, .act = 0},  {16, 64, 64, 32, 32, 3, 3, 1, 1, 1, 1, 1, 32, .act = 0},
    {16, 64, 64, 32, 32, 3, 3, 2, 1, 1, 1, 1, 32, .act = 0},  {1, 56, 56, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, .act = 0},
};

/* index: a test case, or PERF + a perf case */
enum { PERF = 1 << 16 };

static bool conv_case(int index, struct conv_case *c, int64_t *y)
{
    const bool perf = index >= PERF;
    const int count = perf ? sizeof perf_cases / sizeof perf_cases[0] : sizeof conv_cases / sizeof conv_cases[0];

    if (index % PERF >= count)
        return false;
    *c = perf ? perf_cases[index % PERF] : conv_cases[index];
    y[0] = c->n;
    y[1] = (c->h + c->pt + c->pb - c->kh) / c->stride + 1;
    y[2] = (c->w + c->pl + c->pr - c->kw) / c->stride + 1;
    y[3] = c->cout;
    return true;
}

static npu_val conv2d_case(npu_graph *g, int index)
{
    struct npu_conv2d_opts o;
    struct conv_case c;
    int64_t y[4];
    npu_val x, w;

    if (!conv_case(index, &c, y))
        return NPU_NONE;
    x = npu_input(g, "a", c.type, 4, (int64_t[]){c.n, c.h, c.w, c.cin});
    if (c.fixed)
        w = npu_state(g, "b", c.type, 4, (int64_t[]){c.kh, c.kw, c.cin / c.groups, c.cout},
                      (struct npu_init){NPU_INIT_CONST, 0});
    else
        w = npu_input(g, "b", c.type, 4, (int64_t[]){c.kh, c.kw, c.cin / c.groups, c.cout});
    o = (struct npu_conv2d_opts){.stride = c.stride,
                                 .pad_top = c.pt,
                                 .pad_left = c.pl,
                                 .pad_bottom = c.pb,
                                 .pad_right = c.pr,
                                 .groups = c.groups,
                                 .act = c.act};
    if (c.bias)
        o.bias = npu_input(g, "c", NPU_F32, 1, (int64_t[]){c.cout});
    if (c.res)
        o.residual = npu_input(g, "d", c.type, 4, y);
    return npu_conv2d(g, x, w, &o);
}

static npu_val grad_case(npu_graph *g, int index, const struct npu_op *op)
{
    struct npu_conv2d_attr at;
    struct conv_case c;
    int64_t y[4];
    npu_val in[2];

    if (!conv_case(index, &c, y))
        return NPU_NONE;
    at = (struct npu_conv2d_attr){.stride = c.stride,
                                  .pad_top = c.pt,
                                  .pad_left = c.pl,
                                  .pad_bottom = c.pb,
                                  .pad_right = c.pr,
                                  .groups = c.groups,
                                  .x_h = c.h,
                                  .x_w = c.w,
                                  .kh = c.kh,
                                  .kw = c.kw,
                                  .out_dtype = c.type};
    if (op == &npu_op_conv2d_grad_x) {
        in[0] = npu_input(g, "a", c.type, 4, y);
        in[1] = npu_input(g, "b", c.type, 4, (int64_t[]){c.kh, c.kw, c.cin / c.groups, c.cout});
    } else {
        in[0] = npu_input(g, "a", c.type, 4, (int64_t[]){c.n, c.h, c.w, c.cin});
        in[1] = npu_input(g, "b", c.type, 4, y);
    }
    return npu_node_add(g, op, in, 2, &at, sizeof at);
}

static npu_val grad_x_case(npu_graph *g, int index)
{
    return grad_case(g, index, &npu_op_conv2d_grad_x);
}
static npu_val grad_w_case(npu_graph *g, int index)
{
    return grad_case(g, index, &npu_op_conv2d_grad_w);
}

static npu_val conv2d_perf(npu_graph *g, int index)
{
    return conv2d_case(g, index + PERF);
}
static npu_val grad_x_perf(npu_graph *g, int index)
{
    return grad_x_case(g, index + PERF);
}
static npu_val grad_w_perf(npu_graph *g, int index)
{
    return grad_w_case(g, index + PERF);
}

static double flops_of(const struct npu_shape *w, const struct npu_shape *y)
{
    return 2.0 * (double)npu_shape_elements(y) * (double)(w->dim[0] * w->dim[1] * w->dim[2]);
}

static double conv2d_flops(const struct npu_node *n, const struct npu_tensor_type *in,
                           const struct npu_tensor_type *out)
{
    return flops_of(&in[NPU_CONV_W].shape, &out[0].shape);
}

static double grad_x_flops(const struct npu_node *n, const struct npu_tensor_type *in,
                           const struct npu_tensor_type *out)
{
    return flops_of(&in[1].shape, &in[0].shape);
}

static double grad_w_flops(const struct npu_node *n, const struct npu_tensor_type *in,
                           const struct npu_tensor_type *out)
{
    return flops_of(&out[0].shape, &in[1].shape);
}

/* Bounds: sums of at most 2700 terms of size 1 in another order. */
const struct npu_op npu_op_conv2d = {
    .name = "conv2d",
    .shape = conv2d_shape,
    .ref = npu_conv2d_ref,
    .grad = conv2d_grad,
    .lower = npu_conv2d_lower,
    .test_case = conv2d_case,
    .tol_rel = 2e-5f,
    .tol_abs = 1e-4f,
    .ref_scratch = npu_conv2d_scratch,
    .flops = conv2d_flops,
    .perf_case = conv2d_perf,
    .exact_ref = npu_exact_conv2d_ref,
    .exact_lower = npu_exact_conv2d_lower,
};

const struct npu_op npu_op_conv2d_grad_x = {
    .name = "conv2d_grad_x",
    .shape = grad_x_shape,
    .ref = npu_conv2d_grad_x_ref,
    .lower = npu_conv2d_grad_x_lower,
    .test_case = grad_x_case,
    .tol_rel = 2e-5f,
    .tol_abs = 1e-4f,
    .ref_scratch = npu_conv2d_grad_x_scratch,
    .flops = grad_x_flops,
    .perf_case = grad_x_perf,
};

const struct npu_op npu_op_conv2d_grad_w = {
    .name = "conv2d_grad_w",
    .shape = grad_w_shape,
    .ref = npu_conv2d_grad_w_ref,
    .lower = npu_conv2d_grad_w_lower,
    .test_case = grad_w_case,
    .tol_rel = 2e-5f,
    .tol_abs = 1e-4f,
    .ref_scratch = npu_conv2d_grad_w_scratch,
    .flops = grad_w_flops,
    .perf_case = grad_w_perf,
};
