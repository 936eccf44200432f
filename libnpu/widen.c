/* widen.c - a bf16 graph as the f32 graph that it stands for: nodes are copied in their order, with casts where bf16
 * comes in and goes out. */
#include "libnpu/widen.h"

#include <stdlib.h>

#include "libnpu/op/attr.h"
#include "libnpu/op/matmul.h"
#include "libnpu/op/ops.h"

struct widening {
    const npu_graph *g;
    npu_graph *to;
    npu_val *form; /* by handle: what stands for the value now; NPU_NONE: a cast that is still to be made */
};

static bool is_output(const npu_graph *g, npu_val v)
{
    for (int i = 0; i < g->n_outputs; i++)
        if (g->output[i].val == v)
            return true;
    return false;
}

static enum npu_dtype dtype(const npu_graph *g, npu_val v)
{
    return npu_value_of(g, v)->type.dtype;
}

static bool is_bf16(const npu_graph *g, npu_val v)
{
    return v != NPU_NONE && dtype(g, v) == NPU_BF16;
}

/* Each old value gets at most one new one, each of these a cast. */
static int copy_values(struct widening *x)
{
    const npu_graph *g = x->g;
    npu_graph *to = x->to;

    to->cap_values = 2 * g->n_values + 1;
    to->cap_nodes = g->n_nodes + g->n_values + 1;
    to->cap_outputs = g->n_outputs + 1;
    to->value = calloc((size_t)to->cap_values, sizeof(struct npu_value *));
    to->node = calloc((size_t)to->cap_nodes, sizeof(struct npu_node *));
    to->output = calloc((size_t)to->cap_outputs, sizeof to->output[0]);
    if (!to->value || !to->node || !to->output)
        return -ENOMEM;
    for (int32_t i = 0; i < g->n_values; i++) {
        struct npu_value *v = malloc(sizeof *v);

        if (!v)
            return -ENOMEM;
        *v = *g->value[i];
        v->node = -1;
        v->root = i + 1;
        v->name = NULL;
        to->value[to->n_values++] = v;
        if (g->value[i]->name && !(v->name = strdup(g->value[i]->name)))
            return -ENOMEM;
    }
    for (int i = 0; i < g->n_outputs; i++) {
        struct npu_graph_output *o = &to->output[i];

        o->val = g->output[i].val;
        o->name = strdup(g->output[i].name);
        if (!o->name)
            return -ENOMEM;
        to->n_outputs++;
    }
    return 0;
}

/* The f32 value that an old bf16 one has beside itself. */
static int add_f32(struct widening *x, npu_val like, npu_val *ret_v)
{
    struct npu_value *v = calloc(1, sizeof *v);

    if (!v)
        return -ENOMEM;
    v->type = npu_value_of(x->g, like)->type;
    v->type.dtype = NPU_F32;
    v->kind = NPU_VALUE_NODE;
    x->to->value[x->to->n_values++] = v;
    v->root = *ret_v = x->to->n_values;
    return 0;
}

static int add_node(struct widening *x, const struct npu_node *n)
{
    struct npu_node *copy = malloc(sizeof *copy);

    if (!copy)
        return -ENOMEM;
    *copy = *n;
    x->to->node[x->to->n_nodes++] = copy;
    for (int k = 0; k < n->n_out; k++) {
        struct npu_value *v = npu_value_of(x->to, n->out[k]);

        v->node = x->to->n_nodes - 1;
        v->out_index = k;
        v->root = n->alias[k] < 0 ? n->out[k] : npu_value_of(x->to, n->in[n->alias[k]])->root;
    }
    return 0;
}

static int add_cast(struct widening *x, npu_val from, npu_val to)
{
    const struct cast_attr attr = {(int)dtype(x->to, to)};
    struct npu_node n = {.op = &npu_op_cast, .n_in = 1, .n_out = 1, .in = {from}, .out = {to}};

    memset(n.alias, -1, sizeof n.alias);
    memcpy(n.attr, &attr, sizeof attr);
    return add_node(x, &n);
}

static int form_of(struct widening *x, npu_val v, npu_val *ret_form)
{
    int r = 0;

    if (v != NPU_NONE && x->form[v] == NPU_NONE) {
        r = add_f32(x, v, &x->form[v]);
        if (r == 0)
            r = add_cast(x, v, x->form[v]);
    }
    *ret_form = v == NPU_NONE ? NPU_NONE : x->form[v];
    return r;
}

/* Casts between f32 and bf16 are nothing now, except where they make an output. */
static int widen_cast(struct widening *x, npu_val from, npu_val to)
{
    x->form[to] = from;
    return is_output(x->g, to) ? add_cast(x, from, to) : 0;
}

/* Does the node write its result as bf16 itself? A product with frozen weights does, if nothing else reads it. */
static bool writes_bf16(const struct widening *x, const struct npu_node *n)
{
    const npu_graph *g = x->g;

    if (n->op != &npu_op_matmul || NPU_ATTR(struct npu_matmul_attr, n)->trans_a ||
        !npu_val_is_frozen(g, n->in[NPU_MATMUL_B]))
        return false;
    for (int32_t i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->node[i]->n_in; k++)
            if (g->node[i]->in[k] == n->out[0])
                return false;
    return true;
}

static int widen_node(struct widening *x, const struct npu_node *n)
{
    struct npu_node copy = *n;
    int r = 0;

    copy.rounds = n->n_in > 1 && is_bf16(x->g, n->in[0]) && is_bf16(x->g, n->in[1]);
    for (int k = 0; k < n->n_in && r == 0; k++)
        r = form_of(x, n->in[k], &copy.in[k]);
    if (r < 0)
        return r;
    if (n->op == &npu_op_cast && dtype(x->to, copy.in[0]) == NPU_F32 && dtype(x->g, n->out[0]) != NPU_F16)
        return widen_cast(x, copy.in[0], n->out[0]);
    for (int k = 0; k < n->n_out && r == 0; k++) {
        const npu_val v = n->out[k];

        if (dtype(x->g, v) != NPU_BF16)
            continue;
        if (is_output(x->g, v) && writes_bf16(x, n))
            continue;
        if (is_output(x->g, v))
            r = add_f32(x, v, &copy.out[k]);
        else
            npu_value_of(x->to, v)->type.dtype = NPU_F32;
        x->form[v] = copy.out[k];
    }
    if (r == 0)
        r = add_node(x, &copy);
    for (int k = 0; k < n->n_out && r == 0; k++)
        if (copy.out[k] != n->out[k])
            r = add_cast(x, copy.out[k], n->out[k]);
    return r;
}

static int widen_all(struct widening *x)
{
    int r = copy_values(x);

    for (npu_val v = 1; v <= x->g->n_values && r == 0; v++)
        x->form[v] = dtype(x->g, v) == NPU_BF16 ? NPU_NONE : v;
    for (int32_t i = 0; i < x->g->n_nodes && r == 0; i++)
        r = widen_node(x, x->g->node[i]);
    return r;
}

int npu_widen(const npu_graph *g, npu_graph **ret_graph)
{
    struct widening x = {.g = g};
    bool any = false;
    int r;

    for (npu_val v = 1; v <= g->n_values && !any; v++)
        any = dtype(g, v) == NPU_BF16;
    *ret_graph = NULL;
    if (!any)
        return 0;
    r = npu_graph_new(g->flags, &x.to);
    if (r < 0)
        return r;
    x.to->widened = true;
    x.form = calloc((size_t)g->n_values + 1, sizeof x.form[0]);
    r = x.form ? widen_all(&x) : -ENOMEM;
    free(x.form);
    if (r < 0) {
        npu_graph_free(x.to);
        return r;
    }
    npu_graph_mark_frozen(x.to);
    *ret_graph = x.to;
    return 0;
}
