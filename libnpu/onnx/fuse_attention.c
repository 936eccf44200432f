/* fuse_attention.c - self-attention written out, as vision transformers are exported:
 *
 *   Reshape [b, n, 3, heads, size] - Transpose - q, k, v by Gather, Slice or Split - MatMul(q, Transpose k) - Softmax -
 *   MatMul(v) - Transpose - Reshape [b, n, d]
 *
 * with a factor at q, k or their product that comes to 1 / sqrt(size). All of it depends on the first input alone.
 */
#include "libnpu/onnx/import.h"

enum { MAX_CHAIN = 24 };
struct chain {
    struct oi_node *node[MAX_CHAIN];
    int n;
    float scale;
};

/* The only user of x if it is this operation; remembered in c. */
static struct oi_node *next(struct chain *c, const struct oi_value *x, const char *op)
{
    struct oi_node *u = oi_only_user(x, op);

    if (!u || c->n == MAX_CHAIN)
        return NULL;
    c->node[c->n++] = u;
    return u;
}

static struct oi_value *through_factors(struct oi *im, struct chain *c, struct oi_value *x)
{
    for (;;) {
        struct oi_node *u = oi_only_user(x, NULL);
        const bool mul = u && oi_is(u, "Mul");
        float f = 0.0f;

        if (!u || u->n_in != 2 || (!mul && !oi_is(u, "Div")) || c->n == MAX_CHAIN)
            return x;
        if (!oi_number(im, u->in[u->in[0] == x], &f) || (!mul && u->in[0] != x) || f == 0.0f)
            return x;
        c->scale *= mul ? f : 1.0f / f;
        c->node[c->n++] = u;
        x = u->out[0];
    }
}

static struct oi_value *transposed(struct oi *im, struct chain *c, struct oi_value *x, int rank, const int64_t *perm)
{
    struct oi_node *u = x ? next(c, x, "Transpose") : NULL;
    const struct om_attr *a = u ? oi_attr(u, "perm") : NULL;

    if (!a || a->kind != OM_ATTR_INTS || a->n_ints != rank || memcmp(a->ints, perm, (size_t)rank * sizeof *perm) != 0)
        return NULL;
    return u->out[0];
}

/* One of three along the first axis of t: by Gather with one index, or by Slice and Squeeze. Which one, or -1. */
static int one_part(struct oi *im, struct chain *c, struct oi_value *t, struct oi_node *u, const int64_t *d,
                    struct oi_value **ret_part)
{
    int64_t start[NPU_MAX_DIMS], size[NPU_MAX_DIMS], step[NPU_MAX_DIMS];
    const struct npu_shape s = {5, {3, d[0], d[3], d[1], d[4]}};
    struct oi_node *squeeze;
    unsigned mask;
    float f;

    if (u->done || u->n_in < 2 || u->in[0] != t || u->n_out != 1)
        return -1;
    c->node[c->n++] = u;
    *ret_part = u->out[0];
    if (oi_is(u, "Gather") && oi_int(u, "axis", 0) == 0 && oi_number(im, u->in[1], &f) && u->in[1]->shape.rank == 0)
        return f == 0 || f == 1 || f == 2 ? (int)f : -1;
    for (int i = 1; i < u->n_in; i++)
        if (!oi_is_known(u->in[i]))
            return -1;
    squeeze = oi_is(u, "Slice") ? next(c, u->out[0], "Squeeze") : NULL;
    if (!squeeze || oi_axes(im, squeeze, 1, 5, &mask) < 0 || mask != 1 ||
        oi_slice_spans(im, u, &s, start, size, step) < 0 || size[0] != 1)
        return -1;
    for (int i = 1; i < 5; i++)
        if (size[i] != s.dim[i])
            return -1;
    *ret_part = squeeze->out[0];
    return (int)start[0];
}

/* q, k and v along the first axis of t. */
static bool parts(struct oi *im, struct chain *c, struct oi_value *t, const int64_t *d, struct oi_value *ret_part[3])
{
    struct oi_node *split = t->n_users == 1 ? t->user[0] : NULL;

    memset(ret_part, 0, 3 * sizeof *ret_part);
    if (t->is_output || c->n + 6 > MAX_CHAIN)
        return false;
    if (split && oi_is(split, "Split") && split->n_out == 3 && oi_int(split, "axis", 0) == 0 && !split->done) {
        c->node[c->n++] = split;
        for (int i = 0; i < 3; i++) {
            struct oi_node *u = split->out[i] ? next(c, split->out[i], "Squeeze") : NULL;
            unsigned mask;

            if (!u || oi_axes(im, u, 1, 5, &mask) < 0 || mask != 1)
                return false;
            ret_part[i] = u->out[0];
        }
        return true;
    }
    for (int i = 0; t->n_users == 3 && i < 3; i++) {
        struct oi_value *part;
        const int which = one_part(im, c, t, t->user[i], d, &part);

        if (which < 0)
            return false;
        ret_part[which] = part;
    }
    return ret_part[0] && ret_part[1] && ret_part[2];
}

/* [b, n, d] with 0 or -1 where it does not say. */
static bool ends_in(struct oi *im, struct oi_node *u, const int64_t *want)
{
    const struct oi_const *c = u && u->n_in == 2 ? oi_constant(im, u->in[1]) : NULL;

    if (!c || !c->is_int || c->shape.rank != 1 || c->shape.dim[0] != 3)
        return false;
    for (int i = 0; i < 3; i++)
        if (c->i[i] != want[i] && c->i[i] != -1 && !(i < 2 && c->i[i] == 0))
            return false;
    return true;
}

/* Follows the chain; the value that it ends in, or NULL. d: [b, n, 3, heads, size]. */
static struct oi_value *follow(struct oi *im, struct chain *c, struct oi_node *n, const int64_t *d)
{
    struct oi_value *t = transposed(im, c, n->out[0], 5, (const int64_t[]){2, 0, 3, 1, 4}), *part[3], *q, *k, *s;
    struct oi_node *u;
    int64_t axis;

    if (!t || !parts(im, c, t, d, part))
        return NULL;
    q = through_factors(im, c, part[0]);
    k = transposed(im, c, through_factors(im, c, part[1]), 4, (const int64_t[]){0, 1, 3, 2});
    k = k ? through_factors(im, c, k) : NULL;
    u = k ? next(c, q, "MatMul") : NULL;
    if (!u || u->in[0] != q || u->in[1] != k)
        return NULL;
    s = through_factors(im, c, u->out[0]);
    u = next(c, s, "Softmax");
    axis = u ? oi_int(u, "axis", im->m->opset < 13 ? 1 : -1) : 0;
    if (axis != -1 && axis != 3)
        return NULL;
    s = u->out[0];
    u = next(c, s, "MatMul");
    if (!u || u->in[0] != s || u->in[1] != part[2] || part[2]->n_users != 1)
        return NULL;
    t = transposed(im, c, u->out[0], 4, (const int64_t[]){0, 2, 1, 3});
    u = t ? next(c, t, "Reshape") : NULL;
    return u && ends_in(im, u, (const int64_t[]){d[0], d[1], d[3] * d[4]}) ? u->out[0] : NULL;
}

int oi_try_attention(struct oi *im, struct oi_node *n)
{
    const struct npu_shape *from = &n->in[0]->shape;
    struct chain c = {.scale = 1.0f};
    struct npu_shape s;
    struct oi_value *end;
    npu_val v;

    if (oi_reshape_dims(im, n, from, &s) < 0)
        return -EINVAL;
    if (from->rank != 3 || s.dim[0] != from->dim[0] || s.dim[1] != from->dim[1] || s.dim[2] != 3 || s.dim[3] < 1 ||
        s.dim[4] < 1 || s.dim[3] > 65535)
        return 0;
    end = follow(im, &c, n, s.dim);
    if (im->failed)
        return -EINVAL;
    if (!end || fabsf(c.scale * sqrtf((float)s.dim[4]) - 1.0f) > 1e-4f)
        return 0;
    v = oi_native(im, n->in[0]);
    if (v < 0)
        return v;
    for (int i = 0; i < c.n; i++)
        c.node[i]->done = true;
    return oi_set(im, end, npu_attention(im->g, v, (int)s.dim[3]), NULL) < 0 ? -EINVAL : 1;
}
