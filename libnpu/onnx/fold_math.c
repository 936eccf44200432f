/* fold_math.c - arithmetic on what is known while importing. */
#include "libnpu/onnx/import.h"

int oi_broadcast(const struct npu_shape *a, const struct npu_shape *b, struct npu_shape *ret_s)
{
    struct npu_shape s = {.rank = a->rank > b->rank ? a->rank : b->rank};

    for (int i = 1; i <= s.rank; i++) {
        const int64_t p = i <= a->rank ? a->dim[a->rank - i] : 1, q = i <= b->rank ? b->dim[b->rank - i] : 1;

        if (p != q && p != 1 && q != 1)
            return -EINVAL;
        s.dim[s.rank - i] = p == 1 ? q : p;
    }
    *ret_s = s;
    return 0;
}

enum math { ADD, SUB, MUL, DIV, MOD, POW, EQUAL, MIN, MAX, NEG, SQRT, FLOOR, CEIL, RECIPROCAL, EXP, WHERE, MATHS };

static const struct {
    const char *name;
    int inputs;
} maths[MATHS] = {
    {"Add", 2}, {"Sub", 2}, {"Mul", 2},  {"Div", 2},   {"Mod", 2},  {"Pow", 2},        {"Equal", 2}, {"Min", 2},
    {"Max", 2}, {"Neg", 1}, {"Sqrt", 1}, {"Floor", 1}, {"Ceil", 1}, {"Reciprocal", 1}, {"Exp", 1},   {"Where", 3},
};

static int64_t whole(enum math k, int64_t a, int64_t b, int64_t c)
{
    switch (k) {
    case ADD:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case SUB:
        return (int64_t)((uint64_t)a - (uint64_t)b);
    case MUL:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    case DIV:
        return b == 0 ? 0 : b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
    case MOD: /* the sign of b */
        return b == 0 || b == -1 ? 0 : a % b != 0 && (a < 0) != (b < 0) ? a % b + b : a % b;
    case EQUAL:
        return a == b;
    case MIN:
        return a < b ? a : b;
    case MAX:
        return a > b ? a : b;
    case NEG:
        return (int64_t)(0 - (uint64_t)a);
    case WHERE:
        return a ? b : c;
    default:
        return a;
    }
}

static float real(enum math k, float a, float b)
{
    switch (k) {
    case ADD:
        return a + b;
    case SUB:
        return a - b;
    case MUL:
        return a * b;
    case DIV:
        return a / b;
    case MOD:
        return fmodf(a, b);
    case POW:
        return powf(a, b);
    case MIN:
        return fminf(a, b);
    case MAX:
        return fmaxf(a, b);
    case NEG:
        return -a;
    case SQRT:
        return sqrtf(a);
    case FLOOR:
        return floorf(a);
    case CEIL:
        return ceilf(a);
    case RECIPROCAL:
        return 1.0f / a;
    default:
        return expf(a);
    }
}

/* c with the shape s, each element of its own. */
static const struct oi_const *spread(struct oi *im, const struct oi_const *c, const struct npu_shape *s)
{
    int64_t stride[NPU_MAX_DIMS], to[NPU_MAX_DIMS] = {0};
    struct oi_value v = {.name = ""};

    oi_strides(&c->shape, stride);
    for (int i = 0; i < c->shape.rank; i++)
        to[s->rank - c->shape.rank + i] = c->shape.dim[i] == 1 ? 0 : stride[i];
    return oi_fold_strided(im, &v, c, s, 0, to) < 0 ? NULL : v.c;
}

static int compute(struct oi *im, struct oi_node *n, enum math k)
{
    const struct oi_const *in[3] = {0};
    struct npu_shape s = {0};
    struct oi_const *to = oi_alloc(im, 1, sizeof *to);
    const int last = maths[k].inputs - 1;
    int64_t count, *i;
    float *f;

    for (int j = 0; j <= last; j++) {
        if (!(in[j] = oi_constant(im, n->in[j])) || oi_broadcast(&s, &in[j]->shape, &s) < 0)
            return oi_fail(im, -EINVAL, "the constants do not broadcast");
    }
    for (int j = 0; j <= last; j++)
        if (in[j]->is_int != (in[last]->is_int || (k == WHERE && j == 0)))
            return 0;
    if (k == MOD && in[last]->is_int == (oi_int(n, "fmod", 0) != 0)) /* the sign of a: of floats only, here */
        return 0;
    if (in[last]->is_int && k >= POW && k != EQUAL && k != MIN && k != MAX && k != NEG && k != WHERE)
        return 0;
    for (int j = 0; j <= last; j++)
        if (!(in[j] = spread(im, in[j], &s)))
            return -E2BIG;
    count = npu_shape_elements(&s);
    i = oi_alloc(im, (size_t)count + 1, sizeof *i);
    f = oi_alloc(im, (size_t)count + 1, sizeof *f);
    if (!to || !i || !f)
        return -E2BIG;
    *to = (struct oi_const){k == EQUAL || in[last]->is_int, s, f, i};
    for (int64_t e = 0; e < count; e++)
        if (in[last]->is_int)
            // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): each of maths has an input or more
            i[e] = whole(k, in[0]->i[e], last ? in[1]->i[e] : 0, last == 2 ? in[2]->i[e] : 0);
        else if (k == EQUAL)
            i[e] = in[0]->f[e] == in[1]->f[e];
        else
            f[e] = k == WHERE ? (in[0]->i[e] ? in[1]->f[e] : in[2]->f[e])
                              // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): as above
                              : real(k, in[0]->f[e], last ? in[1]->f[e] : 0.0f);
    if (to->is_int)
        to->f = NULL;
    else
        to->i = NULL;
    return oi_set_const(im, n->out[0], to) < 0 ? -E2BIG : 1;
}

static int range(struct oi *im, struct oi_node *n)
{
    int64_t v[3], count, *i;
    struct oi_const *c;

    for (int k = 0; k < 3; k++)
        if (oi_numbers(im, n->in[k], 1, &v[k]) != 1)
            return oi_fail(im, -EOPNOTSUPP, "start, limit and delta must be whole numbers");
    if (v[2] == 0 || v[0] > INT32_MAX || v[0] < INT32_MIN || v[1] > INT32_MAX || v[1] < INT32_MIN || v[2] > INT32_MAX ||
        v[2] < INT32_MIN)
        return oi_fail(im, -EINVAL, "start, limit or delta is out of range");
    count = v[2] > 0 ? (v[1] - v[0] + v[2] - 1) / v[2] : (v[0] - v[1] - v[2] - 1) / -v[2];
    count = count < 0 ? 0 : count;
    if (count > OI_MAX_FOLD)
        return oi_fail(im, -E2BIG, "%lld numbers", (long long)count);
    c = oi_alloc(im, 1, sizeof *c);
    i = oi_alloc(im, (size_t)count + 1, sizeof *i);
    if (!c || !i)
        return -E2BIG;
    for (int64_t e = 0; e < count; e++)
        i[e] = v[0] + e * v[2];
    *c = (struct oi_const){.is_int = true, .shape = {1, {count}}, .i = i};
    return oi_set_const(im, n->out[0], c) < 0 ? -E2BIG : 1;
}

int oi_fold_math(struct oi *im, struct oi_node *n)
{
    if (oi_is(n, "Range") && n->n_in == 3 && n->in[1] && n->in[2])
        return range(im, n);
    for (int k = 0; k < MATHS; k++) {
        bool whole_inputs = oi_is(n, maths[k].name) && n->n_in == maths[k].inputs;

        for (int j = 0; whole_inputs && j < n->n_in; j++)
            whole_inputs = n->in[j] != NULL;
        if (whole_inputs)
            return compute(im, n, (enum math)k);
    }
    return 0;
}
