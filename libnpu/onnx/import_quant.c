/* import_quant.c - int8: QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear, and products of whole numbers with
 * what export writes behind them (export_quant.c). */
#include "libnpu/onnx/import.h"
#include "libnpu/quant.h"

/* ---- scales and zero points ---- */
/* One whole number that is known; 0 if x is left out. */
static int whole_number(struct oi *im, struct oi_value *x, const char *what, int64_t *ret_i)
{
    const struct oi_const *c = oi_constant(im, x);

    if (x && (!c || !c->is_int || npu_shape_elements(&c->shape) != 1))
        return oi_fail(im, -EOPNOTSUPP, "input %s must be one constant whole number", what);
    *ret_i = x ? c->i[0] : 0;
    return 0;
}

/* The zero point of a whole tensor as that of an int8 tensor. */
static int read_zero(struct oi *im, struct oi_value *z, const char *what, bool is_uint8, int *ret_zero)
{
    int64_t zero = 0;

    if (whole_number(im, z, what, &zero) < 0)
        return -EOPNOTSUPP;
    zero -= is_uint8 ? 128 : 0;
    if (zero < -128 || zero > 127)
        return oi_fail(im, -EINVAL, "input %s is no number of its type", what);
    *ret_zero = (int)zero;
    return 0;
}

static int read_scale(struct oi *im, struct oi_node *n, const char *what, float *ret_scale)
{
    const struct oi_const *c = oi_constant(im, n->in[1]);

    if (!c || c->is_int || npu_shape_elements(&c->shape) != 1)
        return oi_fail(im, -EOPNOTSUPP, "input %s must be one constant number where the tensor is computed", what);
    *ret_scale = c->f[0];
    return 0;
}

static int import_quantise(struct oi *im, struct oi_node *n)
{
    struct oi_value *x = n->in[0], *z = n->n_in > 2 ? n->in[2] : NULL;
    const int type = !z ? OM_UINT8 : z->tensor ? z->tensor->type : 0;
    float scale = 0.0f;
    int zero = 0;

    if (type != OM_UINT8 && type != OM_INT8)
        return oi_fail(im, -EOPNOTSUPP, "input y_zero_point must be a constant of type int8 or uint8");
    if (read_scale(im, n, "y_scale", &scale) < 0 || read_zero(im, z, "y_zero_point", type == OM_UINT8, &zero) < 0)
        return -EOPNOTSUPP;
    n->out[0]->kind = type == OM_UINT8 ? OI_UINT8 : OI_PLAIN;
    return oi_set(im, n->out[0], npu_quantise_int8(im->g, x->v, scale, zero), x->perm);
}

/* Weights: (q - zero) scale, with one of each for the whole tensor or for each place along an axis. */
static int dequantise_constant(struct oi *im, struct oi_node *n)
{
    const struct oi_const *q = oi_constant(im, n->in[0]), *s = oi_constant(im, n->in[1]);
    const struct oi_const *z = n->n_in > 2 ? oi_constant(im, n->in[2]) : NULL;
    struct oi_const *to = oi_alloc(im, 1, sizeof *to);
    int64_t inner = 1, count, steps = s ? npu_shape_elements(&s->shape) : 0;
    int axis = 0;
    float *f;

    if (im->failed || !to)
        return -E2BIG;
    if (!q || !q->is_int || !s || s->is_int || s->shape.rank > 1 || (n->n_in > 2 && n->in[2] && !z) ||
        (z && (!z->is_int || npu_shape_elements(&z->shape) != steps)))
        return oi_fail(im, -EOPNOTSUPP, "x must be of whole numbers, x_scale and x_zero_point constants of one shape");
    if (steps != 1) {
        if (oi_axis(im, n, 1, q->shape.rank, &axis) < 0)
            return -EINVAL;
        if (q->shape.dim[axis] != steps)
            return oi_fail(im, -EINVAL, "x_scale has %lld numbers for %lld along axis %d", (long long)steps,
                           (long long)q->shape.dim[axis], axis);
        for (int i = axis + 1; i < q->shape.rank; i++)
            inner *= q->shape.dim[i];
    }
    count = npu_shape_elements(&q->shape);
    f = oi_alloc(im, (size_t)count + 1, sizeof *f);
    for (int64_t i = 0; f && i < count; i++) {
        const int64_t k = steps == 1 ? 0 : i / inner % steps;

        f[i] = (float)((double)q->i[i] - (z ? (double)z->i[k] : 0.0)) * s->f[k];
    }
    *to = (struct oi_const){.shape = q->shape, .f = f};
    return f ? oi_set_const(im, n->out[0], to) : -E2BIG;
}

static int import_dequantise(struct oi *im, struct oi_node *n)
{
    struct oi_value *x = n->in[0], *z = n->n_in > 2 ? n->in[2] : NULL;
    const bool is_uint8 = x->kind == OI_UINT8;
    float scale = 0.0f;
    int zero = 0;

    if (oi_is_known(x))
        return dequantise_constant(im, n);
    if (npu_val_dtype(im->g, x->v) != NPU_I8 || (x->kind != OI_PLAIN && !is_uint8))
        return oi_fail(im, -EOPNOTSUPP, "a computed input must be int8, or uint8 of a QuantizeLinear");
    if (z && z->tensor && (z->tensor->type == OM_UINT8) != is_uint8)
        return oi_fail(im, -EINVAL, "input x_zero_point must have the type of x");
    if (read_scale(im, n, "x_scale", &scale) < 0 || read_zero(im, z, "x_zero_point", is_uint8, &zero) < 0)
        return -EOPNOTSUPP;
    return oi_set(im, n->out[0], npu_dequantise_int8(im->g, x->v, scale, zero, NPU_F32), x->perm);
}

static int import_quantise_dynamic(struct oi *im, struct oi_node *n)
{
    npu_val range = NPU_NONE, q = npu_quantise_dynamic(im->g, n->in[0]->v, &range);

    if (oi_set(im, n->out[0], q, n->in[0]->perm) < 0)
        return -EINVAL;
    n->out[0]->kind = OI_UINT8;
    n->out[0]->range = range;
    for (int i = 1; i < n->n_out; i++)
        if (n->out[i]) {
            n->out[i]->kind = i == 1 ? OI_STEP : OI_ZERO;
            n->out[i]->v = range;
            n->out[i]->defined = true;
        }
    return 0;
}

/* ---- products ---- */
struct whole {
    struct oi_value *out; /* how far the nodes behind the product are taken in */
    struct npu_shape s;   /* of the sums, in the file's order */
    const int *perm;      /* and how the result's axes lie */
    int channel;          /* the file's axis of output channels */
    npu_val x, w, scale;
    struct npu_qlayer_opts o;
};

static struct oi_value *other(const struct oi_node *u, const struct oi_value *x)
{
    return u->n_in != 2 ? NULL : u->in[0] == x ? u->in[1] : u->in[1] == x ? u->in[0] : NULL;
}

static struct oi_node *next(const struct whole *p, const char *op)
{
    struct oi_node *u = oi_only_user(p->out, op);

    return u && u->n_in >= 1 ? u : NULL;
}

static void take(struct whole *p, struct oi_node *u)
{
    u->done = true;
    p->out = u->out[0];
}

/* x, one number for each channel, as type t [channels]; NPU_NONE if it is not that. */
static npu_val per_channel(struct oi *im, const struct whole *p, struct oi_value *x, enum npu_dtype t)
{
    const struct npu_shape s = {1, {p->s.dim[p->channel]}};
    const struct oi_const *c = oi_constant(im, x);
    const int back = p->s.rank - p->channel;
    npu_val v;

    if (!x || !x->defined || x->kind != OI_PLAIN || x->shape.rank < back || x->shape.rank > p->s.rank ||
        x->shape.dim[x->shape.rank - back] != s.dim[0] || npu_shape_elements(&x->shape) != s.dim[0])
        return NPU_NONE;
    if (c && c->is_int == (t == NPU_F32))
        return NPU_NONE;
    if (c)
        return t == NPU_F32 ? oi_param(im, x, &s, c->f) : oi_state(im, x, t, &s, c->i);
    if (npu_val_dtype(im->g, x->v) != t)
        return NPU_NONE;
    v = oi_native(im, x);
    return v < 0 || x->shape.rank == 1 ? v : npu_reshape(im->g, v, 1, s.dim);
}

static npu_val weights(struct oi *im, struct oi_value *x, const int *perm)
{
    const struct oi_const *c = oi_constant(im, x);
    int64_t stride[NPU_MAX_DIMS], to[NPU_MAX_DIMS];
    struct npu_shape s = x->shape;
    struct oi_value moved = {.name = x->name, .hash = x->hash};

    if (!c)
        return im->failed ? -E2BIG : oi_layout(im, x, perm);
    if (!c->is_int)
        return oi_fail(im, -EINVAL, "the weights must be int8");
    oi_strides(&c->shape, stride);
    for (int i = 0; i < s.rank; i++) {
        s.dim[perm[i]] = c->shape.dim[i];
        to[perm[i]] = stride[i];
    }
    if (oi_fold_strided(im, &moved, c, &s, 0, to) < 0)
        return -E2BIG;
    return oi_state(im, x, NPU_I8, &s, moved.c->i);
}

static int read_operands(struct oi *im, struct oi_node *n, struct whole *p, const int *x_perm, const int *w_perm)
{
    struct oi_value *x = n->in[0], *z = n->n_in > 2 ? n->in[2] : NULL, *wz = n->n_in > 3 ? n->in[3] : NULL;
    const struct oi_const *c = oi_constant(im, wz);
    const bool found = z && z->kind == OI_ZERO;

    if (oi_is_known(x) || npu_val_dtype(im->g, x->v) != NPU_I8 || n->in[1]->kind != OI_PLAIN)
        return oi_fail(im, -EOPNOTSUPP, "input 0 must be computed, int8 or uint8 of a QuantizeLinear, weights int8");
    if (wz && (!c || !c->is_int))
        return oi_fail(im, -EOPNOTSUPP, "the zero point of the weights must be a constant 0");
    for (int64_t i = 0; c && i < npu_shape_elements(&c->shape); i++)
        if (c->i[i] != 0)
            return oi_fail(im, -EOPNOTSUPP, "the zero point of the weights is %lld; only 0 is supported",
                           (long long)c->i[i]);
    if (found && (x->kind != OI_UINT8 || x->range != z->v))
        return oi_fail(im, -EOPNOTSUPP, "the zero point is that of another tensor");
    if (found)
        p->o.range = z->v;
    else if (read_zero(im, z, "zero_point", x->kind == OI_UINT8, &p->o.x_zero) < 0)
        return -EOPNOTSUPP;
    p->x = oi_layout(im, x, x_perm);
    p->w = p->x < 0 ? p->x : weights(im, n->in[1], w_perm);
    return p->w < 0 ? (int)p->w : 0;
}

static int not_ours(struct oi *im, const struct whole *p)
{
    return oi_fail(im, -EOPNOTSUPP, "what follows at \"%.100s\" is not what libnpu does with sums of int8 products",
                   p->out->name);
}

/* Mul by the scales - times the step found at run time -, bias, residual, activation. */
static int finish_float(struct oi *im, struct whole *p)
{
    struct oi_node *u = next(p, "Mul");
    struct oi_value *m = u ? other(u, p->out) : NULL;
    enum npu_act act;

    if (m && p->o.range != NPU_NONE) {
        struct oi_node *v = m->maker;
        const bool fits = v && !v->done && oi_is(v, "Mul") && v->n_in == 2 && m->n_users == 1 && v->in[0] &&
                          v->in[0]->kind == OI_STEP && v->in[0]->v == p->o.range;

        m = fits ? v->in[1] : NULL;
        if (fits)
            v->done = true;
    }
    p->scale = m ? per_channel(im, p, m, NPU_F32) : NPU_NONE;
    if (p->scale <= 0)
        return not_ours(im, p);
    take(p, u);
    if (p->o.range != NPU_NONE && (u = next(p, "Add"))) {
        p->o.bias = per_channel(im, p, other(u, p->out), NPU_F32);
        if (p->o.bias > 0)
            take(p, u);
    }
    p->o.residual = oi_take_residual(im, &p->out, &p->s, p->perm);
    u = next(p, NULL);
    act = u ? oi_fusable_act(im, u) : NPU_ACT_NONE;
    if (act == NPU_ACT_RELU || act == NPU_ACT_RELU6) {
        p->o.act = act;
        take(p, u);
    }
    return im->failed ? -EINVAL : 0;
}

/* The next node is op(out, number). */
static bool with_number(struct oi *im, struct whole *p, const char *op, int64_t *ret_i)
{
    struct oi_node *u = next(p, op);
    struct oi_value *y = u ? other(u, p->out) : NULL;

    if (!u || !oi_is_known(y) || npu_shape_elements(&y->shape) != 1 || u->in[0] != p->out ||
        whole_number(im, y, "number", ret_i) < 0)
        return false;
    take(p, u);
    return true;
}

static bool cast_to(const struct oi_node *u, int type)
{
    return u && oi_is(u, "Cast") && oi_int(u, "to", 0) == type;
}

/* Add of (Cast(residual) - zero) mul. */
static int take_int8_residual(struct oi *im, struct whole *p)
{
    struct oi_node *sum = next(p, "Add"), *mul, *sub, *cast;
    struct oi_value *y = sum ? other(sum, p->out) : NULL;
    int64_t zero = 0, factor = 0;

    if (!y || oi_is_known(y))
        return 0;
    mul = y->maker;
    sub = mul && oi_is(mul, "Mul") && mul->n_in == 2 && mul->in[0] ? mul->in[0]->maker : NULL;
    cast = sub && oi_is(sub, "Sub") && sub->n_in == 2 && sub->in[0] ? sub->in[0]->maker : NULL;
    if (!cast_to(cast, OM_INT64) || cast->n_in != 1 || mul->done || sub->done || cast->done || y->n_users != 1 ||
        mul->in[0]->n_users != 1 || sub->in[0]->n_users != 1)
        return not_ours(im, p);
    if (!mul->in[1] || !sub->in[1] || whole_number(im, sub->in[1], "zero point", &zero) < 0 ||
        whole_number(im, mul->in[1], "multiplier", &factor) < 0)
        return not_ours(im, p);
    y = cast->in[0];
    if (!y || !y->defined || oi_is_known(y) || y->kind != OI_PLAIN || npu_val_dtype(im->g, y->v) != NPU_I8 ||
        zero < -128 || zero > 127 || factor < INT32_MIN || factor > INT32_MAX)
        return not_ours(im, p);
    p->o.residual = oi_layout(im, y, p->perm);
    p->o.res_zero = (int)zero;
    p->o.res_mul = (int32_t)factor;
    mul->done = sub->done = cast->done = true;
    take(p, sum);
    return p->o.residual < 0 ? (int)p->o.residual : 0;
}

/* A node with one output that nothing has taken yet. */
static bool is_new(const struct oi_node *u)
{
    return u && !u->done && u->n_out == 1 && u->out[0];
}

/* t - Mod(t, 2^shift), by Div made t >> shift. */
static bool take_shift(struct oi *im, struct whole *p, int64_t unit)
{
    struct oi_value *t = p->out;
    struct oi_node *sub = NULL, *mod = NULL;
    int64_t by = 0;

    for (int i = 0; i < t->n_users && t->n_users == 2 && !t->is_output; i++) {
        sub = oi_is(t->user[i], "Sub") ? t->user[i] : sub;
        mod = oi_is(t->user[i], "Mod") ? t->user[i] : mod;
    }
    if (!is_new(sub) || !is_new(mod) || sub->n_in != 2 || sub->in[0] != t || mod->n_in != 2 || mod->in[0] != t ||
        !mod->in[1] || oi_int(mod, "fmod", 0) || sub->in[1] != mod->out[0] || sub->in[1]->n_users != 1 ||
        whole_number(im, mod->in[1], "divisor", &by) < 0 || by != unit)
        return false;
    mod->done = true;
    take(p, sub);
    return with_number(im, p, "Div", &by) && by == unit;
}

/* Everything of libnpu's requantisation, in 64 bits as there. */
static int finish_int8(struct oi *im, struct whole *p)
{
    struct oi_node *u = next(p, "Mul");
    int64_t half = 0, zero = 0, lo = 0, hi = 0;

    p->scale = u ? per_channel(im, p, other(u, p->out), NPU_I32) : NPU_NONE;
    if (p->scale <= 0 || p->o.range != NPU_NONE)
        return not_ours(im, p);
    take(p, u);
    if (take_int8_residual(im, p) < 0)
        return -EOPNOTSUPP;
    if (!with_number(im, p, "Add", &half) || half < 1 || half > INT64_C(1) << 61 || (half & (half - 1)) != 0 ||
        !take_shift(im, p, 2 * half) || !with_number(im, p, "Add", &zero) || zero < -128 || zero > 127)
        return not_ours(im, p);
    u = next(p, "Clip");
    if (!u || u->n_in != 3 || !oi_is_known(u->in[1]) || !oi_is_known(u->in[2]) ||
        whole_number(im, u->in[1], "min", &lo) < 0 || whole_number(im, u->in[2], "max", &hi) < 0 || lo < -128 ||
        hi > 127 || lo > hi)
        return not_ours(im, p);
    take(p, u);
    u = next(p, "Cast");
    if (!cast_to(u, OM_INT8))
        return not_ours(im, p);
    take(p, u);
    p->o.out_int8 = true;
    p->o.shift = __builtin_ctzll((unsigned long long)half) + 1;
    p->o.y_zero = (int)zero;
    p->o.lo = (int)lo;
    p->o.hi = (int)hi;
    return 0;
}

/* Bias in units of the sum, then the one or the other. */
static int finish(struct oi *im, struct whole *p)
{
    struct oi_node *u = next(p, "Add");

    if (u && p->o.range == NPU_NONE) {
        p->o.bias = per_channel(im, p, other(u, p->out), NPU_I32);
        if (p->o.bias <= 0)
            return not_ours(im, p);
        take(p, u);
    }
    u = next(p, "Cast");
    if (!cast_to(u, OM_FLOAT) && !cast_to(u, OM_INT64))
        return not_ours(im, p);
    take(p, u);
    return cast_to(u, OM_FLOAT) ? finish_float(im, p) : finish_int8(im, p);
}

static int import_matmul_integer(struct oi *im, struct oi_node *n)
{
    static const int identity[NPU_MAX_DIMS] = {0, 1, 2, 3, 4, 5};
    struct whole p = {.out = n->out[0], .s = n->in[0]->shape, .perm = identity, .channel = n->in[0]->shape.rank - 1};

    if (p.s.rank < 1 || n->in[1]->shape.rank != 2 || n->in[1]->shape.dim[0] != p.s.dim[p.s.rank - 1])
        return oi_fail(im, -EINVAL, "only [.., K] times [K, N] is supported");
    p.s.dim[p.channel] = n->in[1]->shape.dim[1];
    if (read_operands(im, n, &p, identity, identity) < 0 || finish(im, &p) < 0)
        return -EOPNOTSUPP;
    return oi_set(im, p.out, npu_qmatmul(im->g, p.x, p.w, p.scale, &p.o), NULL);
}

static int import_conv_integer(struct oi *im, struct oi_node *n)
{
    struct whole p = {.out = n->out[0], .perm = oi_nhwc, .channel = 1};
    const int64_t group = oi_int(n, "group", 1);
    struct oi_conv c = {0};

    if (oi_conv_attrs(im, n, &c) < 0)
        return -EOPNOTSUPP;
    if (c.dilation[0] != 1 || c.dilation[1] != 1)
        return oi_fail(im, -EOPNOTSUPP, "attribute dilations = [%lld, %lld] is not supported for int8",
                       (long long)c.dilation[0], (long long)c.dilation[1]);
    if (group < 1 || group > 65535 || !oi_conv_result(n, &c, &p.s))
        return oi_fail(im, -EINVAL, "group %lld, or the kernel is larger than the padded picture", (long long)group);
    p.o.stride = (int)c.stride[0];
    p.o.pad_top = (int)c.pads[0];
    p.o.pad_left = (int)c.pads[1];
    p.o.pad_bottom = (int)c.pads[2];
    p.o.pad_right = (int)c.pads[3];
    p.o.groups = (int)group;
    if (read_operands(im, n, &p, oi_nhwc, oi_hwio) < 0 || finish(im, &p) < 0)
        return -EOPNOTSUPP;
    return oi_set(im, p.out, npu_qconv2d(im->g, p.x, p.w, p.scale, &p.o), oi_nhwc);
}

const struct oi_op oi_quant_ops[] = {
    {"QuantizeLinear", "axis saturate", 2, 3, 1, import_quantise, false},
    {"DequantizeLinear", "axis", 2, 3, 1, import_dequantise, true},
    {"DynamicQuantizeLinear", "", 1, 1, 3, import_quantise_dynamic, false},
    {"MatMulInteger", "", 2, 4, 1, import_matmul_integer, false},
    {"ConvInteger", "auto_pad dilations group kernel_shape pads strides", 2, 4, 1, import_conv_integer, false},
    {0},
};
