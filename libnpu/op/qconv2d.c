/* qconv2d.c - products and convolutions of int8 tensors with 32-bit sums: builders, shapes, C reference, test cases.
 * Launches: qconv2d_lower.c, kernels/qconv2d.cl. Arithmetic: docs/LIBNPU.md, "int8". */
#include "libnpu/op/quant.h"
#include "libnpu/op/util.h"

struct npu_qconv_dims npu_qconv_dims(const struct npu_qconv_attr *at, const struct npu_shape *x,
                                     const struct npu_shape *w, const struct npu_shape *y)
{
    struct npu_qconv_dims d = {.n = 1, .h = 1, .kh = 1, .kw = 1, .oh = 1, .groups = 1, .stride = 1};

    if (w->rank == 2) {
        d.w = d.ow = op_rows(x);
        d.cin = d.cing = w->dim[0];
        d.cout = d.coutg = w->dim[1];
    } else {
        d = (struct npu_qconv_dims){.n = x->dim[0],
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
                                    .pad_left = at->pad_left};
    }
    d.rows = d.n * d.oh * d.ow;
    d.depth = d.kh * d.kw * d.cing;
    return d;
}

/* ---- shape rules ---- */
static int check_operand(const struct npu_node *n, const struct npu_tensor_type *in, int i, const char *name,
                         enum npu_dtype t, int64_t channels, char *why, size_t size)
{
    char text[96];

    if (in[i].dtype == t && in[i].shape.rank == 1 && in[i].shape.dim[0] == channels)
        return 0;
    return op_why(why, size, "%s is %s, needs %s [%lld]", name,
                  n->in[i] == NPU_NONE ? "missing" : npu_mat_dims(&in[i].shape, text), npu_dtype_name(t),
                  (long long)channels);
}

static int check_attr(const struct npu_node *n, char *why, size_t size)
{
    const struct npu_qconv_attr *a = NPU_ATTR(struct npu_qconv_attr, n);

    if (a->out_int8 && (a->shift < 1 || a->shift > 62 || a->lo > a->hi))
        return op_why(why, size, "shift %d or limits %d..%d are out of range", a->shift, a->lo, a->hi);
    if (a->out_int8 && n->in[NPU_QCONV_RANGE] != NPU_NONE)
        return op_why(why, size, "a range found at run time needs an f32 result");
    if (!a->out_int8 && a->act != NPU_ACT_NONE && a->act != NPU_ACT_RELU && a->act != NPU_ACT_RELU6)
        return op_why(why, size, "activation %d is not exact: make it a node of its own", a->act);
    return 0;
}

/* Everything but the geometry; y's shape is known. */
static int check_rest(const struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out,
                      int64_t channels, int64_t depth, char *why, size_t size)
{
    const struct npu_qconv_attr *a = NPU_ATTR(struct npu_qconv_attr, n);
    const bool dynamic = n->in[NPU_QCONV_RANGE] != NPU_NONE;
    int r = check_attr(n, why, size);

    out->dtype = a->out_int8 ? NPU_I8 : NPU_F32;
    if (r == 0 && depth > NPU_QUANT_MAX_DEPTH)
        r = op_why(why, size, "sums of %lld terms, %d at most", (long long)depth, NPU_QUANT_MAX_DEPTH);
    if (r == 0)
        r = check_operand(n, in, NPU_QCONV_SCALE, "scale", a->out_int8 ? NPU_I32 : NPU_F32, channels, why, size);
    if (r == 0 && n->in[NPU_QCONV_BIAS] != NPU_NONE)
        r = check_operand(n, in, NPU_QCONV_BIAS, "bias", dynamic ? NPU_F32 : NPU_I32, channels, why, size);
    if (r == 0 && dynamic)
        r = check_operand(n, in, NPU_QCONV_RANGE, "range", NPU_F32, 3, why, size);
    if (r < 0 || n->in[NPU_QCONV_RESIDUAL] == NPU_NONE)
        return r;
    if (!op_same_shape(&in[NPU_QCONV_RESIDUAL].shape, &out->shape) ||
        (a->out_int8 ? in[NPU_QCONV_RESIDUAL].dtype != NPU_I8 : !op_is_float(in[NPU_QCONV_RESIDUAL].dtype)))
        return op_why(why, size, "residual %s %s for a result %s %s", npu_dtype_name(in[NPU_QCONV_RESIDUAL].dtype),
                      op_shape_text(&in[NPU_QCONV_RESIDUAL].shape), npu_dtype_name(out->dtype),
                      op_shape_text(&out->shape));
    return 0;
}

static int need_int8(const struct npu_tensor_type *in, char *why, size_t size)
{
    for (int i = NPU_QCONV_X; i <= NPU_QCONV_W; i++)
        if (in[i].dtype != NPU_I8)
            return op_why(why, size, "%s is %s, not i8", i == NPU_QCONV_X ? "x" : "w", npu_dtype_name(in[i].dtype));
    return 0;
}

static int qmatmul_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                         size_t size)
{
    const struct npu_shape *x = &in[NPU_QCONV_X].shape, *w = &in[NPU_QCONV_W].shape;

    if (n->n_in != NPU_QCONV_INPUTS || x->rank < 1 || w->rank != 2 || x->dim[x->rank - 1] != w->dim[0])
        return op_why(why, size, "x %s and w %s do not fit", op_shape_text(x), op_shape_text(w));
    out[0].shape = *x;
    out[0].shape.dim[x->rank - 1] = w->dim[1];
    return need_int8(in, why, size) < 0 ? -EINVAL : check_rest(n, in, out, w->dim[1], w->dim[0], why, size);
}

static bool result_size(const struct npu_qconv_attr *a, const int64_t *x, const int64_t *w, int64_t *oh, int64_t *ow)
{
    const int64_t h = x[1] + a->pad_top + a->pad_bottom, v = x[2] + a->pad_left + a->pad_right;

    if (a->stride < 1 || a->groups < 1 || a->pad_top < 0 || a->pad_left < 0 || a->pad_bottom < 0 || a->pad_right < 0 ||
        w[0] < 1 || w[1] < 1 || w[3] % a->groups || w[2] * a->groups != x[3] || h < w[0] || v < w[1])
        return false;
    *oh = (h - w[0]) / a->stride + 1;
    *ow = (v - w[1]) / a->stride + 1;
    return true;
}

static int qconv2d_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                         size_t size)
{
    const struct npu_qconv_attr *a = NPU_ATTR(struct npu_qconv_attr, n);
    const struct npu_shape *x = &in[NPU_QCONV_X].shape, *w = &in[NPU_QCONV_W].shape;
    int64_t oh, ow;

    if (n->n_in != NPU_QCONV_INPUTS || x->rank != 4 || w->rank != 4 || !result_size(a, x->dim, w->dim, &oh, &ow))
        return op_why(why, size, "x %s and weights %s do not fit (stride %d, padding %d %d %d %d, groups %d)",
                      op_shape_text(x), op_shape_text(w), a->stride, a->pad_top, a->pad_left, a->pad_bottom,
                      a->pad_right, a->groups);
    out[0].shape = (struct npu_shape){4, {x->dim[0], oh, ow, w->dim[3]}};
    return need_int8(in, why, size) < 0
               ? -EINVAL
               : check_rest(n, in, out, w->dim[3], w->dim[0] * w->dim[1] * w->dim[2], why, size);
}

/* ---- builders ---- */
static npu_val add(npu_graph *g, const struct npu_op *op, npu_val x, npu_val w, npu_val scale,
                   const struct npu_qlayer_opts *o)
{
    const npu_val in[NPU_QCONV_INPUTS] = {x, w, o->bias, scale, o->range, o->residual};
    const struct npu_qconv_attr a = {
        .stride = o->stride ? o->stride : 1,
        .pad_top = o->pad_top,
        .pad_left = o->pad_left,
        .pad_bottom = o->pad_bottom,
        .pad_right = o->pad_right,
        .groups = o->groups ? o->groups : 1,
        .act = (int)o->act,
        .out_int8 = o->out_int8,
        .shift = o->shift,
        .res_mul = o->res_mul,
        .x_zero = (int8_t)o->x_zero,
        .y_zero = (int8_t)o->y_zero,
        .res_zero = (int8_t)o->res_zero,
        .lo = (int8_t)o->lo,
        .hi = (int8_t)o->hi,
    };

    if (o->x_zero != a.x_zero || o->y_zero != a.y_zero || o->res_zero != a.res_zero || o->lo != a.lo || o->hi != a.hi)
        return npu_graph_fail(g, -EINVAL, "%s: a zero point or limit is no 8-bit number", op->name);
    return npu_node_add(g, op, in, NPU_QCONV_INPUTS, &a, sizeof a);
}

npu_val npu_qmatmul(npu_graph *g, npu_val x, npu_val w, npu_val scale, const struct npu_qlayer_opts *o)
{
    return add(g, &npu_op_qmatmul, x, w, scale, o);
}

npu_val npu_qconv2d(npu_graph *g, npu_val x, npu_val w, npu_val scale, const struct npu_qlayer_opts *o)
{
    return add(g, &npu_op_qconv2d, x, w, scale, o);
}

/* ---- reference ---- */
/* The sums of one pixel, modulo 2^32. */
static void sum_pixel(const struct npu_qconv_dims *d, const int8_t *x, const int8_t *w, int zero, int64_t row,
                      uint32_t *sum)
{
    const int64_t n = row / (d->oh * d->ow), oy = row / d->ow % d->oh, ox = row % d->ow;

    for (int64_t t = 0; t < d->kh * d->kw; t++) {
        const int64_t iy = oy * d->stride + t / d->kw - d->pad_top, ix = ox * d->stride + t % d->kw - d->pad_left;

        if (iy < 0 || iy >= d->h || ix < 0 || ix >= d->w)
            continue;
        for (int64_t c = 0; c < d->cin; c++) {
            const int64_t first = c / d->cing * d->coutg;
            const int v = x[((n * d->h + iy) * d->w + ix) * d->cin + c] - zero;
            const int8_t *wr = w + (t * d->cing + c % d->cing) * d->cout;

            for (int64_t k = first; k < first + d->coutg; k++)
                sum[k] += (uint32_t)(v * wr[k]);
        }
    }
}

static void finish_int8(const struct npu_ref_call *c, int64_t at, int64_t channels, const uint32_t *sum)
{
    const struct npu_qconv_attr *a = NPU_ATTR(struct npu_qconv_attr, c->node);
    const int32_t *mul = c->in[NPU_QCONV_SCALE].data;
    const int8_t *res = c->in[NPU_QCONV_RESIDUAL].data;

    for (int64_t k = 0; k < channels; k++) {
        int64_t t = (int64_t)(int32_t)sum[k] * mul[k];

        if (res)
            t += (int64_t)(res[at + k] - a->res_zero) * a->res_mul;
        ((int8_t *)c->out[0].data)[at + k] = npu_q_clamp(npu_q_shift(t, a->shift) + a->y_zero, a->lo, a->hi);
    }
}

static void finish_f32(const struct npu_ref_call *c, int64_t at, int64_t channels, const uint32_t *sum)
{
    const struct npu_qconv_attr *a = NPU_ATTR(struct npu_qconv_attr, c->node);
    const float *scale = c->in[NPU_QCONV_SCALE].data, *range = c->in[NPU_QCONV_RANGE].data;
    const float *bias = range ? c->in[NPU_QCONV_BIAS].data : NULL;
    const float step = range ? range[0] : 1.0f;

    for (int64_t k = 0; k < channels; k++) {
        float v = fmaf((float)(int32_t)sum[k], step * scale[k], bias ? bias[k] : 0.0f);

        if (c->in[NPU_QCONV_RESIDUAL].data)
            v += npu_load(&c->in[NPU_QCONV_RESIDUAL], at + k);
        ((float *)c->out[0].data)[at + k] = npu_mat_act(a->act, v);
    }
}

static int qconv_ref(const struct npu_ref_call *c)
{
    const struct npu_qconv_attr *a = NPU_ATTR(struct npu_qconv_attr, c->node);
    const struct npu_qconv_dims d =
        npu_qconv_dims(a, &c->in[NPU_QCONV_X].shape, &c->in[NPU_QCONV_W].shape, &c->out[0].shape);
    const float *range = c->in[NPU_QCONV_RANGE].data;
    const int32_t *bias = range ? NULL : c->in[NPU_QCONV_BIAS].data;
    const int zero = range ? npu_q_clamp((int64_t)fminf(fmaxf(range[2], -128.0f), 127.0f), -128, 127) : a->x_zero;
    uint32_t *sum = c->scratch;

    for (int64_t row = 0; row < d.rows && d.cout > 0; row++) {
        for (int64_t k = 0; k < d.cout; k++)
            sum[k] = bias ? (uint32_t)bias[k] : 0;
        sum_pixel(&d, c->in[NPU_QCONV_X].data, c->in[NPU_QCONV_W].data, zero, row, sum);
        if (a->out_int8)
            finish_int8(c, row * d.cout, d.cout, sum);
        else
            finish_f32(c, row * d.cout, d.cout, sum);
    }
    return 0;
}

static size_t qconv_scratch(const struct npu_node *n, const struct npu_tensor_type *in)
{
    const struct npu_shape *x = &in[NPU_QCONV_X].shape, *w = &in[NPU_QCONV_W].shape;

    for (int i = 0; i < x->rank - 1; i++)
        if (x->dim[i] == 0) /* no pixels, no sums */
            return 0;
    return (size_t)w->dim[w->rank - 1] * sizeof(uint32_t);
}

/* ---- tests ---- */
enum how { TO_INT8, TO_F32, DYNAMIC };
struct q_case {
    int n, h, w, cin, cout, kh, kw, stride, pt, pl, pb, pr, groups;
    bool bias, res;
    enum how how;
    enum npu_act act;
    int x_zero, y_zero, shift;
    bool wild; /* sums, multipliers and biases as large as they get */
};

static npu_val operand(npu_graph *g, const char *name, enum npu_dtype t, int64_t n, float lo, float hi)
{
    npu_val v = t == NPU_F32 ? op_test_state(g, name, 1, &n, lo, hi) : npu_input(g, name, t, 1, &n);

    npu_test_range(g, v, lo, hi);
    return v;
}

static npu_val tensor(npu_graph *g, const char *name, enum npu_dtype t, int rank, const int64_t *dim)
{
    npu_val v = npu_input(g, name, t, rank, dim);

    if (t == NPU_I8)
        npu_test_range(g, v, -128, 128);
    return v;
}

static npu_val build(npu_graph *g, const struct q_case *c, npu_val x, npu_val w, int rank, const int64_t *y)
{
    const bool to_int8 = c->how == TO_INT8, dynamic = c->how == DYNAMIC;
    const float wide = c->wild ? 2e9f : 30000.0f;
    struct npu_qlayer_opts o = {.stride = c->stride,
                                .pad_top = c->pt,
                                .pad_left = c->pl,
                                .pad_bottom = c->pb,
                                .pad_right = c->pr,
                                .groups = c->groups,
                                .x_zero = dynamic ? 0 : c->x_zero,
                                .out_int8 = to_int8,
                                .shift = c->shift,
                                .y_zero = c->y_zero,
                                .lo = c->act ? c->y_zero : -128,
                                .hi = c->act == NPU_ACT_RELU6 ? 100 : 127,
                                .res_zero = 3,
                                .res_mul = c->wild ? INT32_MAX : 1 << (c->shift > 1 ? c->shift - 1 : 1),
                                .act = to_int8 ? NPU_ACT_NONE : c->act};
    npu_val scale = to_int8 ? operand(g, "scale", NPU_I32, c->cout, c->wild ? -2147483648.0f : 1.0f,
                                      c->wild ? 2147483648.0f : (float)(1 << (c->shift > 8 ? c->shift - 8 : 1)))
                            : operand(g, "scale", NPU_F32, c->cout, 0.001f, 0.01f);

    if (c->bias)
        o.bias =
            dynamic ? operand(g, "bias", NPU_F32, c->cout, -3, 3) : operand(g, "bias", NPU_I32, c->cout, -wide, wide);
    if (dynamic) /* scale, its reciprocal, zero point: all the same whole number; the reciprocal plays no part */
        o.range = operand(g, "range", NPU_F32, 3, (float)c->x_zero, (float)c->x_zero);
    if (c->res)
        o.residual = tensor(g, "residual", to_int8 ? NPU_I8 : NPU_F32, rank, y);
    return rank == 4 && c->kh ? npu_qconv2d(g, x, w, scale, &o) : npu_qmatmul(g, x, w, scale, &o);
}

static const struct q_case mat_cases[] = {
    /* n, rows, 0, K, N */
    {1, 1, 0, 1, 1, .how = TO_INT8, .shift = 8},
    {1, 7, 0, 5, 3, .how = TO_INT8, .bias = true, .shift = 20, .x_zero = -3, .y_zero = 5},
    {2, 48, 0, 128, 384, .how = TO_F32, .bias = true, .x_zero = 17},
    {2, 48, 0, 256, 128, .how = TO_F32, .bias = true, .res = true, .x_zero = -128},
    {1, 31, 0, 129, 65, .how = TO_INT8, .bias = true, .res = true, .act = NPU_ACT_RELU, .shift = 21, .x_zero = 127},
    {1, 13, 0, 1031, 37, .how = TO_INT8, .bias = true, .act = NPU_ACT_RELU6, .shift = 23, .x_zero = 1, .y_zero = -90},
    {3, 5, 0, 33, 17, .how = DYNAMIC, .bias = true, .res = true, .x_zero = 9},
    {1, 61, 0, 64, 48, .how = DYNAMIC, .act = NPU_ACT_RELU, .x_zero = -60},
    {1, 0, 0, 8, 4, .how = TO_F32},
    {1, 4, 0, 0, 4, .how = TO_INT8, .bias = true, .shift = 12},
    {1, 4, 0, 8, 0, .how = TO_F32},
    {1, 19, 0, 40, 23, .how = TO_INT8, .bias = true, .res = true, .shift = 62, .wild = true, .x_zero = -128},
    {1, 19, 0, 40, 23, .how = TO_INT8, .bias = true, .res = true, .shift = 1, .wild = true, .x_zero = 127},
    {1, 9, 0, 65536, 3, .how = TO_F32, .bias = true, .wild = true, .x_zero = 127},
};

static npu_val qmatmul_case(npu_graph *g, int index)
{
    struct q_case c;
    npu_val x, w;

    if ((size_t)index >= sizeof mat_cases / sizeof mat_cases[0])
        return NPU_NONE;
    c = mat_cases[index];
    x = tensor(g, "x", NPU_I8, 3, (int64_t[]){c.n, c.h, c.cin});
    w = tensor(g, "w", NPU_I8, 2, (int64_t[]){c.cin, c.cout});
    return build(g, &c, x, w, 3, (int64_t[]){c.n, c.h, c.cout});
}

static const struct q_case conv_cases[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, .how = TO_INT8, .shift = 7},
    {2, 8, 8, 4, 16, 3, 3, 1, 1, 1, 1, 1, 1, .bias = true, .res = true, .act = NPU_ACT_RELU, .shift = 19,
     .x_zero = -128, .y_zero = -128},
    {1, 9, 7, 3, 10, 3, 3, 2, 1, 1, 1, 1, 1, .bias = true, .act = NPU_ACT_RELU6, .shift = 18, .x_zero = 40},
    {1, 11, 13, 5, 7, 5, 3, 2, 2, 0, 1, 2, 1, .how = TO_F32, .bias = true, .act = NPU_ACT_RELU, .x_zero = -5},
    {2, 7, 5, 9, 20, 1, 1, 2, 0, 0, 0, 0, 1, .how = DYNAMIC, .bias = true, .x_zero = 33},
    {1, 16, 16, 3, 24, 4, 4, 4, 0, 0, 0, 0, 1, .how = TO_F32, .x_zero = 1},
    {1, 9, 9, 8, 12, 3, 3, 1, 1, 1, 1, 1, 4, .bias = true, .res = true, .shift = 17, .x_zero = -7, .y_zero = 9},
    {2, 9, 8, 6, 12, 3, 3, 2, 1, 1, 1, 1, 6, .how = TO_F32, .bias = true, .res = true, .act = NPU_ACT_RELU6},
    {2, 9, 8, 19, 19, 3, 3, 1, 1, 1, 1, 1, 19, .bias = true, .act = NPU_ACT_RELU6, .shift = 16, .x_zero = 11,
     .y_zero = -4},
    {1, 10, 9, 32, 32, 5, 5, 2, 2, 2, 2, 2, 32, .how = DYNAMIC, .bias = true, .res = true, .x_zero = -100},
    {1, 1, 40, 33, 34, 1, 7, 1, 0, 3, 0, 3, 1, .bias = true, .shift = 22, .x_zero = 100},
    {0, 4, 4, 3, 4, 3, 3, 1, 1, 1, 1, 1, 1, .bias = true, .shift = 15},
    {1, 4, 4, 3, 0, 3, 3, 1, 1, 1, 1, 1, 1, .how = TO_F32},
    {1, 5, 5, 300, 6, 3, 3, 1, 1, 1, 1, 1, 1, .how = DYNAMIC, .act = NPU_ACT_RELU, .x_zero = -128},
    {3, 17, 19, 32, 33, 3, 3, 1, 1, 1, 1, 1, 1, .bias = true, .shift = 21, .x_zero = -128, .y_zero = -128},
    {1, 9, 9, 8, 12, 3, 3, 1, 1, 1, 1, 1, 2, .bias = true, .res = true, .shift = 62, .wild = true, .x_zero = 127},
    {2, 9, 9, 16, 24, 3, 3, 2, 1, 1, 1, 1, 1, .how = TO_F32, .bias = true, .wild = true, .x_zero = -128},
};

static const struct q_case perf_cases[] = {
    {16, 64, 64, 32, 32, 3, 3, 1, 1, 1, 1, 1, 1, .bias = true, .shift = 20},
    {16, 16, 16, 128, 128, 3, 3, 1, 1, 1, 1, 1, 1, .bias = true, .shift = 20},
    {16, 32, 32, 64, 64, 1, 1, 1, 0, 0, 0, 0, 1, .bias = true, .shift = 20},
    {1, 56, 56, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, .bias = true, .shift = 20},
};

static npu_val conv_of(npu_graph *g, const struct q_case *c)
{
    const int64_t y[4] = {c->n, (c->h + c->pt + c->pb - c->kh) / c->stride + 1,
                          (c->w + c->pl + c->pr - c->kw) / c->stride + 1, c->cout};
    npu_val x = tensor(g, "x", NPU_I8, 4, (int64_t[]){c->n, c->h, c->w, c->cin});
    npu_val w = tensor(g, "w", NPU_I8, 4, (int64_t[]){c->kh, c->kw, c->cin / c->groups, c->cout});

    return build(g, c, x, w, 4, y);
}

static npu_val qconv2d_case(npu_graph *g, int index)
{
    return (size_t)index < sizeof conv_cases / sizeof conv_cases[0] ? conv_of(g, &conv_cases[index]) : NPU_NONE;
}

static npu_val qconv2d_perf(npu_graph *g, int index)
{
    return (size_t)index < sizeof perf_cases / sizeof perf_cases[0] ? conv_of(g, &perf_cases[index]) : NPU_NONE;
}

static npu_val qmatmul_perf(npu_graph *g, int index)
{
    static const struct q_case t[] = {
        {1, 96, 0, 128, 384, .how = TO_F32, .bias = true},
        {1, 1024, 0, 1024, 1024, .how = TO_F32, .bias = true},
        {16, 197, 0, 192, 768, .how = TO_INT8, .bias = true, .shift = 20},
    };
    npu_val x, w;

    if ((size_t)index >= sizeof t / sizeof t[0])
        return NPU_NONE;
    x = tensor(g, "x", NPU_I8, 3, (int64_t[]){t[index].n, t[index].h, t[index].cin});
    w = tensor(g, "w", NPU_I8, 2, (int64_t[]){t[index].cin, t[index].cout});
    return build(g, &t[index], x, w, 3, (int64_t[]){t[index].n, t[index].h, t[index].cout});
}

static double qconv_flops(const struct npu_node *n, const struct npu_tensor_type *in, const struct npu_tensor_type *out)
{
    const struct npu_qconv_dims d = npu_qconv_dims(NPU_ATTR(struct npu_qconv_attr, n), &in[NPU_QCONV_X].shape,
                                                   &in[NPU_QCONV_W].shape, &out[0].shape);

    return 2.0 * (double)d.rows * (double)d.cout * (double)d.depth;
}

const struct npu_op npu_op_qmatmul = {
    .name = "qmatmul",
    .shape = qmatmul_shape,
    .ref = qconv_ref,
    .lower = npu_qconv_lower,
    .test_case = qmatmul_case,
    .exact = true,
    .ref_scratch = qconv_scratch,
    .flops = qconv_flops,
    .perf_case = qmatmul_perf,
};

const struct npu_op npu_op_qconv2d = {
    .name = "qconv2d",
    .shape = qconv2d_shape,
    .ref = qconv_ref,
    .lower = npu_qconv_lower,
    .test_case = qconv2d_case,
    .exact = true,
    .ref_scratch = qconv_scratch,
    .flops = qconv_flops,
    .perf_case = qconv2d_perf,
};
