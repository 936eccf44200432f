/* fuse.c - nodes of a file that are one operation here: GELU written out, activations behind products. */
#include "libnpu/onnx/import.h"

bool oi_is(const struct oi_node *n, const char *op)
{
    return strcmp(n->p->op, op) == 0;
}

struct oi_node *oi_only_user(const struct oi_value *x, const char *op)
{
    struct oi_node *u = x && !x->is_output && x->n_users == 1 ? x->user[0] : NULL;

    if (!u || u->done || u->n_out != 1 || !u->out[0] || (op && !oi_is(u, op)))
        return NULL;
    return !u->p->domain[0] || strcmp(u->p->domain, "ai.onnx") == 0 ? u : NULL;
}

static bool near(float a, float b)
{
    return fabsf(a - b) <= 1e-4f * fabsf(b);
}

enum npu_act oi_fusable_act(struct oi *im, const struct oi_node *u)
{
    float lo = 1.0f, hi = 0.0f;

    if (oi_is(u, "Relu"))
        return NPU_ACT_RELU;
    if (oi_is(u, "Sigmoid"))
        return NPU_ACT_SIGMOID;
    if (oi_is(u, "Gelu"))
        return strcmp(oi_string(u, "approximate", "none"), "tanh") == 0 || (im->opts && im->opts->approximate_gelu)
                   ? NPU_ACT_GELU
                   : NPU_ACT_NONE;
    if (!oi_is(u, "Clip"))
        return NPU_ACT_NONE;
    lo = oi_float(u, "min", lo);
    hi = oi_float(u, "max", hi);
    if (u->n_in > 2)
        (void)(oi_number(im, u->in[1], &lo) && oi_number(im, u->in[2], &hi));
    return lo == 0.0f && hi == 6.0f ? NPU_ACT_RELU6 : NPU_ACT_NONE;
}

/* ---- GELU ---- */
enum { MAX_CHAIN = 12 };
struct chain {
    struct oi_node *node[MAX_CHAIN];
    int n;
};

static void add(struct chain *c, struct oi_node *n)
{
    if (c->n < MAX_CHAIN)
        c->node[c->n++] = n;
}

/* The other input of a two-input node; NULL if x is not one of them. */
static struct oi_value *other(const struct oi_node *n, const struct oi_value *x)
{
    return n->n_in != 2 ? NULL : n->in[0] == x ? n->in[1] : n->in[1] == x ? n->in[0] : NULL;
}

/* The node that makes x is `op` and x has this one use: the node, remembered in c. */
static struct oi_node *made_by(struct chain *c, const struct oi_value *x, const char *op)
{
    struct oi_node *n = x ? x->maker : NULL;

    if (!n || n->done || !oi_is(n, op) || x->n_users != 1 || x->is_output)
        return NULL;
    add(c, n);
    return n;
}

/* x = op(y, number) or, for what commutes, op(number, y): y. */
static struct oi_value *with_number(struct oi *im, struct chain *c, const struct oi_value *x, const char *op, float f)
{
    struct oi_node *n = made_by(c, x, op);
    float have;

    if (!n || n->n_in != 2)
        return NULL;
    if (oi_number(im, n->in[1], &have) && near(have, f))
        return n->in[0];
    return strcmp(op, "Pow") != 0 && strcmp(op, "Div") != 0 && oi_number(im, n->in[0], &have) && near(have, f)
               ? n->in[1]
               : NULL;
}

/* sqrt(2 / pi) (x + 0.044715 x^3): x, or NULL. */
static struct oi_value *tanh_argument(struct oi *im, struct chain *c, struct oi_value *i)
{
    struct oi_value *sum = with_number(im, c, i, "Mul", 0.7978845608f), *x = NULL;
    struct oi_node *s = made_by(c, sum, "Add"), *cube;

    for (int k = 0; s && s->n_in == 2 && k < 2 && !x; k++) {
        const struct chain before = *c;
        struct oi_value *p = with_number(im, c, s->in[k], "Mul", 0.044715f);

        x = p ? with_number(im, c, p, "Pow", 3.0f) : NULL;
        if (p && !x && (cube = made_by(c, p, "Mul")) && cube->n_in == 2) {
            struct oi_node *square = made_by(c, cube->in[0], "Mul");

            x = cube->in[1];
            if (!square || square->n_in != 2 || square->in[0] != x || square->in[1] != x)
                x = NULL;
        }
        if (x != s->in[1 - k])
            x = NULL;
        if (!x)
            *c = before;
    }
    return x;
}

/* The node that ends x / 2 (1 + t), where t is made by the node `anchor`; NULL if it is something else. */
static struct oi_node *gelu_end(struct oi *im, struct chain *c, struct oi_node *anchor, struct oi_value *x)
{
    struct oi_node *a = oi_only_user(anchor->out[0], "Add"), *u, *v;
    float f = 0.0f;

    if (!a || !other(a, anchor->out[0]) || !oi_number(im, other(a, anchor->out[0]), &f) || f != 1.0f)
        return NULL;
    add(c, a);
    u = oi_only_user(a->out[0], "Mul");
    if (!u || !other(u, a->out[0]))
        return NULL;
    if (with_number(im, c, other(u, a->out[0]), "Mul", 0.5f) == x)
        return u;
    v = oi_only_user(u->out[0], "Mul");
    if (!v || !other(v, u->out[0]))
        return NULL;
    add(c, u);
    if (other(u, a->out[0]) == x && oi_number(im, other(v, u->out[0]), &f) && near(f, 0.5f))
        return v;
    if (other(v, u->out[0]) == x && oi_number(im, other(u, a->out[0]), &f) && near(f, 0.5f))
        return v;
    return NULL;
}

/* The last node becomes Gelu(x); the others are done with. */
static int replace(struct oi *im, struct chain *c, struct oi_node *end, struct oi_value *x, bool tanh_form)
{
    struct om_node *p = oi_alloc(im, 1, sizeof *p);
    struct om_attr *a = oi_alloc(im, 1, sizeof *a);

    if (!p || !a)
        return -E2BIG;
    *a = (struct om_attr){.name = "approximate", .kind = OM_ATTR_STRING, .s = tanh_form ? "tanh" : "none"};
    *p = *end->p;
    p->op = "Gelu";
    p->attr = a;
    p->n_attr = 1;
    for (int i = 0; i < c->n; i++)
        c->node[i]->done = true;
    end->p = p;
    end->op = oi_find_op("Gelu");
    end->in[0] = x;
    end->n_in = 1;
    return 0;
}

int oi_find_gelu(struct oi *im)
{
    for (int i = 0; i < im->n_nodes; i++) {
        struct oi_node *n = &im->node[i], *end = NULL;
        const bool tanh_form = oi_is(n, "Tanh");
        struct chain c = {.node = {n}, .n = 1};
        struct oi_value *x;

        if (n->done || n->n_in != 1 || n->n_out != 1 || !n->in[0] || !n->out[0] || (!tanh_form && !oi_is(n, "Erf")))
            continue;
        if (tanh_form)
            x = tanh_argument(im, &c, n->in[0]);
        else if (!(x = with_number(im, &c, n->in[0], "Div", 1.41421356f))) {
            c.n = 1;
            x = with_number(im, &c, n->in[0], "Mul", 0.70710678f);
        }
        end = x ? gelu_end(im, &c, n, x) : NULL;
        if (end && c.n < MAX_CHAIN && replace(im, &c, end, x, tanh_form) < 0)
            return -E2BIG;
        if (im->failed)
            return -EINVAL;
    }
    return 0;
}
