/* import_mat.c - convolutions and matrix products, with what can be fused behind them: batch norm, bias, residual,
 * activation. */
#include "libnpu/onnx/import.h"

/* ---- what follows a product ---- */
static bool same_shape(const struct npu_shape *a, const struct npu_shape *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) == 0;
}

/* u's other input than x. */
static struct oi_value *other(const struct oi_node *u, const struct oi_value *x)
{
    return u->in[0] == x ? u->in[1] : u->in[0];
}

npu_val oi_take_residual(struct oi *im, struct oi_value **out, const struct npu_shape *s, const int *perm)
{
    struct oi_node *u = oi_only_user(*out, "Add");
    struct oi_value *y = u && u->n_in == 2 ? other(u, *out) : NULL;
    npu_val v;

    if (!y || !y->defined || oi_is_known(y) || !same_shape(&y->shape, s) ||
        !npu_dtype_is_float(npu_val_dtype(im->g, y->v)))
        return NPU_NONE;
    v = oi_layout(im, y, perm);
    if (v > 0) {
        u->done = true;
        *out = u->out[0];
    }
    return v;
}

static enum npu_act take_act(struct oi *im, struct oi_value **out)
{
    struct oi_node *u = oi_only_user(*out, NULL);
    const enum npu_act act = u ? oi_fusable_act(im, u) : NPU_ACT_NONE;

    if (act != NPU_ACT_NONE) {
        u->done = true;
        *out = u->out[0];
    }
    return act;
}

/* ---- convolution ---- */
const int oi_hwio[4] = {3, 2, 0, 1};

static void take_norm(struct oi *im, struct oi_conv *c, int64_t channels)
{
    struct oi_node *u = oi_only_user(c->out, "BatchNormalization");
    const struct oi_const *norm[4] = {0};

    if (!u || u->n_in != 5 || oi_int(u, "training_mode", 0) || !oi_int(u, "spatial", 1) || (u->n_out > 1 && u->out[1]))
        return;
    for (int i = 0; i < 4; i++) {
        norm[i] = oi_constant(im, u->in[1 + i]);
        if (!norm[i] || norm[i]->is_int || norm[i]->shape.rank != 1 || norm[i]->shape.dim[0] != channels)
            return;
    }
    memcpy(c->norm, norm, sizeof norm);
    c->eps = oi_float(u, "epsilon", 1e-5f);
    c->out = u->out[0];
    u->done = true;
}

/* The weights as [kh, kw, cin, cout], with gaps for the dilation and the batch norm in them. */
static npu_val conv_weight(struct oi *im, struct oi_value *x, const struct oi_conv *c)
{
    const struct oi_const *w = oi_constant(im, x);
    const int64_t cout = x->shape.dim[0], cin = x->shape.dim[1], kh = c->kernel[0], kw = c->kernel[1];
    const struct npu_shape s = {4, {(kh - 1) * c->dilation[0] + 1, (kw - 1) * c->dilation[1] + 1, cin, cout}};
    float *f;

    if (c->norm[0] == NULL && s.dim[0] == kh && s.dim[1] == kw)
        return oi_layout(im, x, oi_hwio);
    if (!w || w->is_int || npu_shape_elements(&s) > OI_MAX_FOLD)
        return oi_fail(im, -EOPNOTSUPP, "dilated weights must be constants of at most %d elements", OI_MAX_FOLD);
    f = oi_alloc(im, (size_t)npu_shape_elements(&s) + 1, sizeof *f);
    if (!f)
        return -E2BIG;
    for (int64_t o = 0; o < cout; o++) {
        const float gain = c->norm[0] ? c->norm[0]->f[o] / sqrtf(c->norm[3]->f[o] + c->eps) : 1.0f;

        for (int64_t i = 0; i < cin; i++)
            for (int64_t k = 0; k < kh * kw; k++) {
                const int64_t y = k / kw * c->dilation[0], z = k % kw * c->dilation[1];

                f[((y * s.dim[1] + z) * cin + i) * cout + o] = gain * w->f[(o * cin + i) * kh * kw + k];
            }
    }
    return oi_param(im, x, &s, f);
}

/* NPU_NONE if there is neither bias nor batch norm. */
static npu_val conv_bias(struct oi *im, struct oi_node *n, const struct oi_conv *c, int64_t cout)
{
    struct oi_value *x = n->n_in > 2 ? n->in[2] : NULL;
    const struct oi_const *b = oi_constant(im, x);
    const struct npu_shape s = {1, {cout}};
    float *f;

    if (im->failed || (x && (!same_shape(&x->shape, &s) || (b && b->is_int))))
        return oi_fail(im, -EOPNOTSUPP, "input bias must have the shape [%lld]", (long long)cout);
    if (!c->norm[0])
        return x ? oi_native(im, x) : NPU_NONE;
    f = oi_alloc(im, (size_t)cout + 1, sizeof *f);
    for (int64_t o = 0; f && o < cout; o++)
        f[o] = ((b ? b->f[o] : 0.0f) - c->norm[2]->f[o]) * (c->norm[0]->f[o] / sqrtf(c->norm[3]->f[o] + c->eps)) +
               c->norm[1]->f[o];
    return f ? oi_param(im, x ? x : c->out, &s, f) : -E2BIG;
}

int oi_conv_attrs(struct oi *im, struct oi_node *n, struct oi_conv *c)
{
    const struct npu_shape *x = &n->in[0]->shape, *w = &n->in[1]->shape;
    int64_t size[2];

    if (x->rank != 4 || w->rank != 4)
        return oi_fail(im, -EOPNOTSUPP, "input of rank %d, weights of rank %d: only [n, c, h, w] is supported", x->rank,
                       w->rank);
    if (w->dim[2] < 1 || w->dim[3] < 1 || w->dim[2] > 65535 || w->dim[3] > 65535)
        return oi_fail(im, -EINVAL, "weights [%lld, %lld, %lld, %lld]", (long long)w->dim[0], (long long)w->dim[1],
                       (long long)w->dim[2], (long long)w->dim[3]);
    if (oi_ints(im, n, "kernel_shape", 2, 0, 1, 65535, c->kernel) < 0 ||
        oi_ints(im, n, "strides", 2, 1, 1, 65535, c->stride) < 0 ||
        oi_ints(im, n, "dilations", 2, 1, 1, 65535, c->dilation) < 0)
        return -EOPNOTSUPP;
    for (int i = 0; i < 2; i++) {
        if (oi_attr(n, "kernel_shape") && c->kernel[i] != w->dim[2 + i])
            return oi_fail(im, -EINVAL, "attribute kernel_shape contradicts the weights");
        c->kernel[i] = w->dim[2 + i];
        size[i] = (c->kernel[i] - 1) * c->dilation[i] + 1;
    }
    if (c->stride[0] != c->stride[1])
        return oi_fail(im, -EOPNOTSUPP, "attribute strides = [%lld, %lld]: only equal ones are supported",
                       (long long)c->stride[0], (long long)c->stride[1]);
    return oi_pads(im, n, x->dim + 2, size, c->stride, c->pads);
}

bool oi_conv_result(const struct oi_node *n, const struct oi_conv *c, struct npu_shape *ret_s)
{
    const struct npu_shape *x = &n->in[0]->shape, *w = &n->in[1]->shape;

    *ret_s = (struct npu_shape){4, {x->dim[0], w->dim[0]}};
    for (int i = 0; i < 2; i++) {
        const int64_t room = x->dim[2 + i] + c->pads[i] + c->pads[2 + i] - (c->kernel[i] - 1) * c->dilation[i] - 1;

        if (room < 0)
            return false;
        // NOLINTNEXTLINE(clang-analyzer-core.DivideZero): oi_conv_attrs lets strides of 1 to 65535 pass
        ret_s->dim[2 + i] = room / c->stride[0] + 1;
    }
    return true;
}

static int import_conv(struct oi *im, struct oi_node *n)
{
    const int64_t group = oi_int(n, "group", 1);
    struct npu_conv2d_opts o = {0};
    struct oi_conv c = {.out = n->out[0]};
    struct npu_shape s;
    npu_val x, w;

    if (oi_conv_attrs(im, n, &c) < 0)
        return -EOPNOTSUPP;
    if (group < 1 || group > 65535 || !oi_conv_result(n, &c, &s))
        return oi_fail(im, -EINVAL, "group %lld, or the kernel is larger than the padded picture", (long long)group);
    if (oi_is_known(n->in[1]) && (n->n_in < 3 || oi_is_known(n->in[2])))
        take_norm(im, &c, n->in[1]->shape.dim[0]);
    x = oi_layout(im, n->in[0], oi_nhwc);
    w = x < 0 ? x : conv_weight(im, n->in[1], &c);
    o.bias = w < 0 ? w : conv_bias(im, n, &c, s.dim[1]);
    if (o.bias < 0)
        return o.bias;
    o.stride = (int)c.stride[0];
    o.pad_top = (int)c.pads[0];
    o.pad_left = (int)c.pads[1];
    o.pad_bottom = (int)c.pads[2];
    o.pad_right = (int)c.pads[3];
    o.groups = (int)group;
    o.residual = oi_take_residual(im, &c.out, &s, oi_nhwc);
    if (o.residual < 0)
        return o.residual;
    o.act = take_act(im, &c.out);
    return oi_set(im, c.out, npu_conv2d(im->g, x, w, &o), oi_nhwc);
}

/* ---- matrix products ---- */
/* A factor as it lies, if its last two axes are at most swapped; *trans then says so. */
static npu_val factor(struct oi *im, struct oi_value *x, bool *trans)
{
    const int rank = x->shape.rank;
    int swapped[NPU_MAX_DIMS];

    for (int i = 0; i < rank; i++)
        swapped[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
    *trans = !oi_is_known(x) && rank >= 2 && memcmp(x->perm, swapped, (size_t)rank * sizeof *swapped) == 0;
    return *trans ? x->v : oi_native(im, x);
}

/* x repeated so that its leading dims are those of s. */
static npu_val widen(struct oi *im, struct oi_value *x, struct npu_shape s)
{
    const npu_val v = oi_native(im, x);

    memcpy(s.dim + s.rank - 2, x->shape.dim + x->shape.rank - 2, 2 * sizeof *s.dim);
    if (v < 0 || same_shape(&s, &x->shape))
        return v;
    if (npu_shape_elements(&s) > NPU_MAX_ELEMENTS)
        return oi_fail(im, -E2BIG, "the broadcast factor has too many elements");
    return npu_expand(im->g, v, &s);
}

/* Scale, bias, activation and residual behind a product of the shape s; then the product itself. */
static int finish_product(struct oi *im, struct oi_value *out, npu_val a, npu_val b, struct npu_matmul_opts *o,
                          const struct npu_shape *s)
{
    static const int identity[NPU_MAX_DIMS] = {0, 1, 2, 3, 4, 5};
    struct oi_node *u = oi_only_user(out, "Mul");
    float f = 0.0f;

    if (a < 0 || b < 0)
        return oi_fail(im, a < 0 ? a : b, "%s", npu_graph_error(im->g));
    if (o->bias == NPU_NONE && u && (oi_number(im, u->in[0], &f) || oi_number(im, u->in[1], &f)) && f != 0.0f &&
        (oi_is_known(u->in[0]) ? u->in[0] : u->in[1])->shape.rank <= s->rank) {
        o->scale = f * (o->scale == 0.0f ? 1.0f : o->scale);
        u->done = true;
        out = u->out[0];
    }
    u = o->bias == NPU_NONE ? oi_only_user(out, "Add") : NULL;
    if (u && u->n_in == 2 && oi_is_known(other(u, out)) && other(u, out)->shape.rank == 1 &&
        other(u, out)->shape.dim[0] == s->dim[s->rank - 1]) {
        o->bias = oi_native(im, other(u, out));
        if (o->bias < 0)
            return o->bias;
        u->done = true;
        out = u->out[0];
    }
    o->act = take_act(im, &out);
    o->residual = oi_take_residual(im, &out, s, identity);
    return o->residual < 0 ? o->residual : oi_set(im, out, npu_matmul(im->g, a, b, o), NULL);
}

static int import_matmul(struct oi *im, struct oi_node *n)
{
    const struct npu_shape *a = &n->in[0]->shape, *b = &n->in[1]->shape;
    struct npu_shape lead_a = *a, lead_b = *b, s;
    struct npu_matmul_opts o = {0};
    int perm[NPU_MAX_DIMS];
    npu_val va, vb, v;

    if (a->rank < 2 || b->rank < 2)
        return oi_fail(im, -EOPNOTSUPP, "inputs of rank %d and %d; at least 2 is supported", a->rank, b->rank);
    if (a->dim[a->rank - 1] != b->dim[b->rank - 2])
        return oi_fail(im, -EINVAL, "%lld columns times %lld rows", (long long)a->dim[a->rank - 1],
                       (long long)b->dim[b->rank - 2]);
    for (int i = 1; i <= 2; i++)
        lead_a.dim[a->rank - i] = lead_b.dim[b->rank - i] = 1;
    if (oi_broadcast(&lead_a, &lead_b, &s) < 0)
        return oi_fail(im, -EINVAL, "the leading dims do not broadcast");
    if (b->rank == 2 || same_shape(&lead_a, &lead_b)) {
        va = factor(im, n->in[0], &o.trans_a);
        vb = va < 0 ? va : factor(im, n->in[1], &o.trans_b);
    } else {
        va = widen(im, n->in[0], s);
        vb = va < 0 ? va : widen(im, n->in[1], s);
    }
    s.dim[s.rank - 2] = a->dim[a->rank - 2];
    s.dim[s.rank - 1] = b->dim[b->rank - 1];
    v = va > 0 && vb > 0 && !o.trans_a ? oi_find_attention(im, va, vb, o.trans_b, perm) : NPU_NONE;
    if (v != NPU_NONE)
        return oi_set(im, n->out[0], v, perm);
    return im->failed ? -EINVAL : finish_product(im, n->out[0], va, vb, &o, &s);
}

/* beta C as a bias [columns]; NPU_NONE if it is none (or C is left out). */
static npu_val gemm_bias(struct oi *im, struct oi_value *c, float beta, int64_t columns)
{
    const struct oi_const *k = oi_constant(im, c);
    const struct npu_shape s = {1, {columns}};
    float *f;

    if (!k || k->is_int || k->shape.rank < 1 || npu_shape_elements(&k->shape) != columns ||
        k->shape.dim[k->shape.rank - 1] != columns)
        return NPU_NONE;
    if (beta == 1.0f && k->shape.rank == 1)
        return oi_native(im, c);
    f = oi_alloc(im, (size_t)columns + 1, sizeof *f);
    for (int64_t i = 0; f && i < columns; i++)
        f[i] = beta * k->f[i];
    return f ? oi_param(im, c, &s, f) : -E2BIG;
}

static int import_gemm(struct oi *im, struct oi_node *n)
{
    const bool trans_a = oi_int(n, "transA", 0), trans_b = oi_int(n, "transB", 0);
    const float alpha = oi_float(n, "alpha", 1.0f), beta = oi_float(n, "beta", 1.0f);
    const int64_t *a = n->in[0]->shape.dim, *b = n->in[1]->shape.dim;
    struct oi_value *c = n->n_in > 2 && beta != 0.0f ? n->in[2] : NULL, sum = {.name = ""};
    struct npu_shape s = {2, {a[trans_a], b[!trans_b]}};
    struct npu_matmul_opts o = {.scale = alpha};
    npu_val va, vb;
    int r;

    if (n->in[0]->shape.rank != 2 || n->in[1]->shape.rank != 2 || a[!trans_a] != b[trans_b] || alpha == 0.0f)
        return oi_fail(im, -EINVAL, "two matrices that fit (transA, transB) and alpha != 0 are needed");
    va = factor(im, n->in[0], &o.trans_a);
    if (oi_is_known(n->in[1]) && trans_b) {
        vb = oi_layout(im, n->in[1], (const int[]){1, 0}); /* kept as [K, N] */
    } else {
        vb = factor(im, n->in[1], &o.trans_b);
        o.trans_b ^= trans_b;
    }
    o.trans_a ^= trans_a;
    o.bias = c ? gemm_bias(im, c, beta, s.dim[1]) : NPU_NONE;
    if (va < 0 || vb < 0 || o.bias < 0)
        return oi_fail(im, -EINVAL, "%s", npu_graph_error(im->g));
    if (!c || o.bias != NPU_NONE)
        return finish_product(im, n->out[0], va, vb, &o, &s);
    if (beta != 1.0f)
        return oi_fail(im, -EOPNOTSUPP, "attribute beta = %g with this input C is not supported", (double)beta);
    r = oi_set(im, &sum, npu_matmul(im->g, va, vb, &o), NULL);
    if (r < 0 || (vb = oi_native(im, c)) < 0)
        return -EINVAL;
    return oi_set(im, n->out[0], npu_add(im->g, sum.v, vb), NULL);
}

const struct oi_op oi_mat_ops[] = {
    {"Conv", "auto_pad dilations group kernel_shape pads strides", 2, 3, 1, import_conv, false},
    {"MatMul", "", 2, 2, 1, import_matmul, true},
    {"Gemm", "alpha beta transA transB", 2, 3, 1, import_gemm, false},
    {0},
};
