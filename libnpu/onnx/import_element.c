/* import_element.c - operations element by element, norms and softmax. */
#include "libnpu/onnx/import.h"

/* ---- one input ---- */
static int import_unary(struct oi *im, struct oi_node *n)
{
    static const struct {
        const char *op;
        npu_val (*build)(npu_graph *g, npu_val x);
    } table[] = {{"Relu", npu_relu}, {"Sigmoid", npu_sigmoid}, {"Tanh", npu_tanh},
                 {"Exp", npu_exp},   {"Abs", npu_abs},         {"Erf", npu_erf}};

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (oi_is(n, table[i].op))
            return oi_set(im, n->out[0], table[i].build(im->g, n->in[0]->v), n->in[0]->perm);
    return oi_set(im, n->out[0], npu_scale(im->g, n->in[0]->v, -1.0f, 0.0f), n->in[0]->perm); /* Neg */
}

static int import_gelu(struct oi *im, struct oi_node *n)
{
    const char *form = oi_string(n, "approximate", "none");
    const bool tanh_form = strcmp(form, "tanh") == 0;
    const npu_val x = n->in[0]->v;

    if (!tanh_form && strcmp(form, "none") != 0)
        return oi_fail(im, -EOPNOTSUPP, "attribute approximate = %.40s is not supported", form);
    return oi_set(im, n->out[0],
                  tanh_form || (im->opts && im->opts->approximate_gelu) ? npu_gelu(im->g, x) : npu_gelu_erf(im->g, x),
                  n->in[0]->perm);
}

/* x into [lo, hi]: relu6 of x moved and stretched, since that is the two-sided limit we have. */
static npu_val limit(npu_graph *g, npu_val x, float lo, float hi)
{
    const float span = (hi - lo) / 6.0f;

    if (lo == 0.0f && hi == 6.0f)
        return npu_relu6(g, x);
    return npu_scale(g, npu_relu6(g, npu_scale(g, x, 1.0f / span, -lo / span)), span, lo);
}

static int clip_bound(struct oi *im, struct oi_node *n, const char *name, int input, float *value)
{
    *value = oi_float(n, name, *value);
    if (input < n->n_in && n->in[input] && !oi_number(im, n->in[input], value))
        return oi_fail(im, -EOPNOTSUPP, "input %s must be a constant number", name);
    return 0;
}

static int import_clip(struct oi *im, struct oi_node *n)
{
    const npu_val x = n->in[0]->v;
    float lo = -INFINITY, hi = INFINITY;
    npu_val v;

    if (clip_bound(im, n, "min", 1, &lo) < 0 || clip_bound(im, n, "max", 2, &hi) < 0)
        return -EOPNOTSUPP;
    if (lo < -3e38f && hi > 3e38f)
        return oi_alias(im, n->out[0], n->in[0]);
    if (!(lo < hi))
        return oi_fail(im, -EOPNOTSUPP, "min %g and max %g are not supported", (double)lo, (double)hi);
    if (hi > 3e38f)
        v = lo == 0.0f ? npu_relu(im->g, x) : npu_scale(im->g, npu_relu(im->g, npu_scale(im->g, x, 1, -lo)), 1, lo);
    else if (lo < -3e38f)
        v = npu_scale(im->g, npu_relu(im->g, npu_scale(im->g, x, -1, hi)), -1, hi);
    else
        v = limit(im->g, x, lo, hi);
    return oi_set(im, n->out[0], v, n->in[0]->perm);
}

/* limit(alpha x + beta, 0, 1); HardSwish is x times that with 1/6 and 1/2. */
static int import_hard_sigmoid(struct oi *im, struct oi_node *n)
{
    const bool swish = oi_is(n, "HardSwish");
    const float alpha = swish ? 1.0f / 6.0f : oi_float(n, "alpha", 0.2f);
    const float beta = swish ? 0.5f : oi_float(n, "beta", 0.5f);
    const npu_val x = n->in[0]->v;
    npu_val v = npu_scale(im->g, npu_relu6(im->g, npu_scale(im->g, x, 6 * alpha, 6 * beta)), 1.0f / 6.0f, 0);

    return oi_set(im, n->out[0], swish ? npu_mul(im->g, x, v) : v, n->in[0]->perm);
}

static int import_leaky_relu(struct oi *im, struct oi_node *n)
{
    const float alpha = oi_float(n, "alpha", 0.01f);
    const npu_val slope = oi_param(im, n->out[0], &(struct npu_shape){1, {1}}, &alpha);

    return slope < 0 ? slope : oi_set(im, n->out[0], npu_prelu(im->g, n->in[0]->v, slope), n->in[0]->perm);
}

/* slope: one number, or one for each place along one axis. */
static int import_prelu(struct oi *im, struct oi_node *n)
{
    struct oi_value *x = n->in[0];
    const struct oi_const *c = oi_constant(im, n->in[1]);
    int perm[NPU_MAX_DIMS], axis = x->shape.rank - 1;
    struct npu_shape s = {1, {1}};
    npu_val v, slope;

    if (!c || c->is_int || x->shape.rank < 1 || c->shape.rank > x->shape.rank)
        return oi_fail(im, -EOPNOTSUPP, "input slope must be a constant of the rank of x at most");
    for (int i = 0; i < c->shape.rank; i++)
        if (c->shape.dim[i] != 1) {
            axis = x->shape.rank - c->shape.rank + i;
            s.dim[0] = c->shape.dim[i];
        }
    if (npu_shape_elements(&c->shape) != s.dim[0])
        return oi_fail(im, -EOPNOTSUPP, "input slope varies along more than one axis");
    v = oi_layout_last(im, x, axis, perm);
    slope = oi_param(im, n->in[1], &s, c->f);
    if (v < 0 || slope < 0)
        return -EINVAL;
    return oi_set(im, n->out[0], npu_prelu(im->g, v, slope), perm);
}

static int import_cast(struct oi *im, struct oi_node *n)
{
    static const enum npu_dtype floats[] = {NPU_F32, NPU_F16, NPU_BF16};
    struct oi_value *x = n->in[0];
    const int to = (int)oi_int(n, "to", 0);
    const enum npu_dtype from = npu_val_dtype(im->g, x->v);

    for (int i = 0; i < 3; i++)
        if (om_type_of(floats[i]) == to || (to == OM_DOUBLE && i == 0))
            return from == floats[i] ? oi_alias(im, n->out[0], x)
                                     : oi_set(im, n->out[0], npu_cast(im->g, x->v, floats[i]), x->perm);
    if ((to == OM_INT64 || to == OM_INT32) && !npu_dtype_is_float(from))
        return oi_alias(im, n->out[0], x); /* indices stay i32 here */
    return oi_fail(im, -EOPNOTSUPP, "attribute to = %d (%s) of a computed value is not supported", to,
                   om_type_name(to));
}

/* ---- two inputs ---- */
/* x (fewer dims or dims of 1) to meet `big`, in its order of axes. A constant loses the dims of 1 in front. */
static npu_val operand(struct oi *im, struct oi_value *x, const struct oi_value *big)
{
    const struct oi_const *c = oi_constant(im, x);
    const int rank = big->shape.rank, lead = rank - x->shape.rank;
    struct oi_const wide;
    struct oi_value v = {.name = x->name, .hash = x->hash};
    int64_t stride[NPU_MAX_DIMS], to[NPU_MAX_DIMS];
    struct npu_shape s = {.rank = rank};
    int drop = 0;

    if (oi_identity(big->perm, rank))
        return oi_native(im, x);
    for (int i = 0; i < rank; i++)
        s.dim[i] = i < lead ? 1 : x->shape.dim[i - lead];
    if (!c) {
        if (lead == 0)
            return oi_layout(im, x, big->perm);
        return oi_set(im, &v, npu_reshape(im->g, oi_native(im, x), rank, s.dim), NULL) < 0
                   ? -EINVAL
                   : oi_layout(im, &v, big->perm);
    }
    wide = *c;
    wide.shape = s;
    oi_strides(&s, stride);
    for (int i = 0; i < rank; i++) {
        s.dim[big->perm[i]] = wide.shape.dim[i];
        to[big->perm[i]] = stride[i];
    }
    if (c->is_int || oi_fold_strided(im, &v, &wide, &s, 0, to) < 0)
        return oi_fail(im, -EOPNOTSUPP, "constant \"%.100s\" must be of floats", x->name);
    while (drop < rank - 1 && s.dim[drop] == 1)
        drop++;
    s.rank = rank - drop;
    memmove(s.dim, s.dim + drop, (size_t)s.rank * sizeof *s.dim);
    return oi_param(im, x, &s, v.c->f);
}

/* x + c, x - c, c - x, x * c, x / c, and x * c + d where the next node adds d. */
static int with_number(struct oi *im, struct oi_node *n, struct oi_value *x, float c, bool first)
{
    float mul = 1.0f, add = 0.0f, d;
    struct oi_node *u = NULL;

    if (oi_is(n, "Add"))
        add = c;
    else if (oi_is(n, "Sub"))
        first ? (void)(mul = -1.0f, add = c) : (void)(add = -c);
    else if (oi_is(n, "Mul"))
        mul = c;
    else if (first)
        return oi_fail(im, -EOPNOTSUPP, "division by a computed value is not supported");
    else
        mul = 1.0f / c;
    if (add == 0.0f && (u = oi_only_user(n->out[0], "Add")) &&
        (oi_number(im, u->in[0], &d) || oi_number(im, u->in[1], &d)) &&
        (oi_is_known(u->in[0]) ? u->in[0] : u->in[1])->shape.rank <= x->shape.rank) {
        u->done = true;
        return oi_set(im, u->out[0], npu_scale(im->g, x->v, mul, d), x->perm);
    }
    return oi_set(im, n->out[0], npu_scale(im->g, x->v, mul, add), x->perm);
}

/* 1 / c for division by a constant tensor. */
static struct oi_value *reciprocal(struct oi *im, struct oi_value *x)
{
    const struct oi_const *c = oi_constant(im, x);
    const size_t n = c ? (size_t)npu_shape_elements(&c->shape) : 0;
    struct oi_value *y = oi_new_value(im);
    struct oi_const *to = oi_alloc(im, 1, sizeof *to);
    float *f = oi_alloc(im, n + 1, sizeof *f);

    if (!c || c->is_int || !y || !to || !f) {
        oi_fail(im, -EOPNOTSUPP, "division by a computed value is not supported");
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        f[i] = 1.0f / c->f[i];
    *to = (struct oi_const){.shape = c->shape, .f = f};
    y->name = x->name;
    y->hash = x->hash;
    return oi_set_const(im, y, to) < 0 ? NULL : y;
}

static bool has_shape(const struct oi_value *x, const struct npu_shape *s)
{
    return x->shape.rank == s->rank && memcmp(x->shape.dim, s->dim, (size_t)s->rank * sizeof *s->dim) == 0;
}

static int import_binary(struct oi *im, struct oi_node *n)
{
    struct oi_value *a = n->in[0], *b = n->in[1], *big, *small, wide = {.name = ""};
    struct npu_shape s;
    npu_val v;
    float c;

    if (oi_number(im, a, &c) && a->shape.rank <= b->shape.rank)
        return with_number(im, n, b, c, true);
    if (oi_number(im, b, &c) && b->shape.rank <= a->shape.rank)
        return with_number(im, n, a, c, false);
    if (oi_is(n, "Div") && !(b = reciprocal(im, b)))
        return -EOPNOTSUPP;
    if (oi_broadcast(&a->shape, &b->shape, &s) < 0 || npu_shape_elements(&s) > NPU_MAX_ELEMENTS)
        return oi_fail(im, -EINVAL, "the inputs do not broadcast");
    big = has_shape(a, &s) && (!oi_is_known(a) || !has_shape(b, &s)) ? a : has_shape(b, &s) ? b : NULL;
    if (!big || oi_is_known(big)) { /* both grow, or a constant is the larger one */
        struct oi_value *x = big ? big : a;
        const npu_val native = oi_native(im, x);

        if (native < 0 || oi_set(im, &wide, has_shape(x, &s) ? native : npu_expand(im->g, native, &s), NULL) < 0)
            return -EINVAL;
        small = x == a ? b : a;
        big = &wide;
    } else {
        small = big == a ? b : a;
    }
    v = operand(im, small, big);
    if (v < 0)
        return v;
    if (oi_is(n, "Add"))
        v = npu_add(im->g, big->v, v);
    else if (!oi_is(n, "Sub"))
        v = npu_mul(im->g, big->v, v);
    else if (small == b)
        v = npu_sub(im->g, big->v, v);
    else
        v = npu_scale(im->g, npu_sub(im->g, big->v, v), -1.0f, 0.0f);
    return oi_set(im, n->out[0], v, big->perm);
}

static int import_pow(struct oi *im, struct oi_node *n)
{
    const npu_val x = n->in[0]->v;
    float e = 0.0f;

    if (!oi_number(im, n->in[1], &e) || (e != 1.0f && e != 2.0f && e != 3.0f))
        return oi_fail(im, -EOPNOTSUPP, "only the exponents 1, 2 and 3 are supported, not %g", (double)e);
    if (e == 1.0f)
        return oi_alias(im, n->out[0], n->in[0]);
    return oi_set(im, n->out[0], npu_mul(im->g, x, e == 2.0f ? x : npu_mul(im->g, x, x)), n->in[0]->perm);
}

/* ---- along an axis ---- */
static int import_softmax(struct oi *im, struct oi_node *n)
{
    int perm[NPU_MAX_DIMS], axis, r = oi_axis(im, n, im->m->opset < 13 ? 1 : -1, n->in[0]->shape.rank, &axis);
    npu_val v;

    if (r < 0)
        return r;
    if (im->m->opset < 13 && axis != n->in[0]->shape.rank - 1)
        return oi_fail(im, -EOPNOTSUPP, "attribute axis = %d is not supported before opset 13", axis);
    v = oi_layout_last(im, n->in[0], axis, perm);
    return v < 0 ? v : oi_set(im, n->out[0], npu_softmax(im->g, v), perm);
}

static int import_layer_norm(struct oi *im, struct oi_node *n)
{
    const int rank = n->in[0]->shape.rank;
    int perm[NPU_MAX_DIMS], axis, r = oi_axis(im, n, -1, rank, &axis);
    const struct oi_const *gamma = oi_constant(im, n->in[1]), *beta = n->n_in > 2 ? oi_constant(im, n->in[2]) : NULL;
    struct npu_shape s = {1, {0}};
    npu_val v, g, b;
    float *zeros;

    if (r < 0)
        return r;
    s.dim[0] = n->in[0]->shape.dim[axis];
    if (oi_int(n, "stash_type", OM_FLOAT) != OM_FLOAT)
        return oi_fail(im, -EOPNOTSUPP, "attribute stash_type = %lld is not supported",
                       (long long)oi_int(n, "stash_type", OM_FLOAT));
    if (axis != rank - 1)
        return oi_fail(im, -EOPNOTSUPP, "attribute axis = %d: only the last axis of %d is supported", axis, rank);
    if (!gamma || gamma->is_int || npu_shape_elements(&gamma->shape) != s.dim[0] ||
        (beta && (beta->is_int || npu_shape_elements(&beta->shape) != s.dim[0])) || (n->n_in > 2 && n->in[2] && !beta))
        return oi_fail(im, -EOPNOTSUPP, "scale and bias must be constants of the last axis's size");
    zeros = beta ? NULL : oi_alloc(im, (size_t)s.dim[0] + 1, sizeof *zeros);
    v = oi_layout_last(im, n->in[0], axis, perm);
    g = oi_param(im, n->in[1], &s, gamma->f);
    b = im->failed ? -EINVAL : oi_param(im, beta ? n->in[2] : n->out[0], &s, beta ? beta->f : zeros);
    if (v < 0 || g < 0 || b < 0)
        return -EINVAL;
    return oi_set(im, n->out[0], npu_layer_norm(im->g, v, g, b, oi_float(n, "epsilon", 1e-5f)), perm);
}

/* On its own; behind a convolution it is in that one's weights. */
static int import_batch_norm(struct oi *im, struct oi_node *n)
{
    struct oi_value *x = n->in[0];
    int perm[NPU_MAX_DIMS];
    npu_val v, p[4];

    if (oi_int(n, "training_mode", 0) || !oi_int(n, "spatial", 1))
        return oi_fail(im, -EOPNOTSUPP, "attributes training_mode = 1 and spatial = 0 are not supported");
    if (x->shape.rank < 2)
        return oi_fail(im, -EOPNOTSUPP, "the input has rank %d", x->shape.rank);
    v = oi_layout_last(im, x, 1, perm);
    for (int i = 0; i < 4; i++) {
        const struct oi_const *c = oi_constant(im, n->in[1 + i]);

        if (!c || c->is_int || c->shape.rank != 1 || c->shape.dim[0] != x->shape.dim[1])
            return oi_fail(im, -EOPNOTSUPP, "scale, bias, mean and variance must be constants [%lld]",
                           (long long)x->shape.dim[1]);
        p[i] = oi_native(im, n->in[1 + i]);
        if (p[i] < 0)
            return p[i];
    }
    if (v < 0)
        return v;
    v = npu_batch_norm(im->g, v, p[0], p[1], p[2], p[3], oi_float(n, "epsilon", 1e-5f), 0.0f, false);
    return oi_set(im, n->out[0], v, perm);
}

const struct oi_op oi_element_ops[] = {
    {"Relu", "", 1, 1, 1, import_unary, false},
    {"Sigmoid", "", 1, 1, 1, import_unary, false},
    {"Tanh", "", 1, 1, 1, import_unary, false},
    {"Exp", "", 1, 1, 1, import_unary, false},
    {"Abs", "", 1, 1, 1, import_unary, false},
    {"Erf", "", 1, 1, 1, import_unary, false},
    {"Neg", "", 1, 1, 1, import_unary, false},
    {"Gelu", "approximate", 1, 1, 1, import_gelu, false},
    {"Clip", "min max", 1, 3, 1, import_clip, false},
    {"HardSigmoid", "alpha beta", 1, 1, 1, import_hard_sigmoid, false},
    {"HardSwish", "", 1, 1, 1, import_hard_sigmoid, false},
    {"LeakyRelu", "alpha", 1, 1, 1, import_leaky_relu, false},
    {"PRelu", "", 2, 2, 1, import_prelu, false},
    {"Cast", "to saturate", 1, 1, 1, import_cast, false},
    {"Add", "", 2, 2, 1, import_binary, true},
    {"Sub", "", 2, 2, 1, import_binary, true},
    {"Mul", "", 2, 2, 1, import_binary, true},
    {"Div", "", 2, 2, 1, import_binary, true},
    {"Pow", "", 2, 2, 1, import_pow, false},
    {"Softmax", "axis", 1, 1, 1, import_softmax, false},
    {"LayerNormalization", "axis epsilon stash_type", 2, 3, 1, import_layer_norm, false},
    {"BatchNormalization", "epsilon momentum training_mode spatial", 5, 5, 1, import_batch_norm, false},
    {0},
};
