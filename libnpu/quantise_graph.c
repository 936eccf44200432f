/* quantise_graph.c - a finished f32 graph made int8 or bf16: nodes are added again in their order, with layers replaced
 * and quantise, dequantise and cast nodes where types change. Value handles stay. */
#include <stdlib.h>

#include "libnpu/graph.h"
#include "libnpu/op/conv2d.h"
#include "libnpu/op/matmul.h"
#include "libnpu/op/ops.h"
#include "libnpu/quant.h"

enum { MAX_FORMS = 4 }; /* int8 forms of one value that are kept for its other readers */

/* What there is of a value of the old graph. */
struct form {
    bool is_int8;    /* the value itself is int8 now */
    npu_val plain;   /* float form: itself or a node's result; NPU_NONE: not made yet */
    npu_val dynamic; /* int8 form with its range */
    npu_val range;
    int n_static;
    struct {
        npu_val q;
        float scale;
        int zero;
    } fixed[MAX_FORMS]; /* [0] of an int8 value is itself */
};

struct rewrite {
    npu_graph *g;
    const struct npu_quant_recipe *recipe;
    struct npu_node **old; /* the nodes that were there */
    int32_t n_old;
    struct form *form; /* by old handle */
    bool *used;        /* by layer */
};

/* Puts output k of the last node in the place of an old value, whose handle lives on. */
static void take_handle(npu_graph *g, int k, npu_val old)
{
    struct npu_node *n = g->node[g->n_nodes - 1];
    struct npu_value *to = npu_value_of(g, old), *from = npu_value_of(g, n->out[k]);

    to->type = from->type;
    to->node = from->node;
    to->out_index = k;
    to->root = from->root == n->out[k] ? old : from->root;
    n->out[k] = old;
}

/* Frees the values that the last node's outputs had before they took old handles: they are the last ones. */
static void drop_last(npu_graph *g, int count)
{
    while (count-- > 0)
        free(g->value[--g->n_values]);
}

static bool is_output(const npu_graph *g, npu_val v)
{
    for (int i = 0; i < g->n_outputs; i++)
        if (g->output[i].val == v)
            return true;
    return false;
}

static npu_val float_form(struct rewrite *w, npu_val v)
{
    struct form *f = &w->form[v];

    if (v == NPU_NONE || !f->is_int8)
        return v;
    if (f->plain == NPU_NONE)
        f->plain = npu_dequantise_int8(w->g, v, f->fixed[0].scale, f->fixed[0].zero, NPU_F32);
    return f->plain;
}

static npu_val int8_form(struct rewrite *w, npu_val v, float scale, int zero)
{
    struct form *f = &w->form[v];
    npu_val q, x;

    for (int i = 0; i < f->n_static; i++)
        if (f->fixed[i].scale == scale && f->fixed[i].zero == zero)
            return f->fixed[i].q;
    x = float_form(w, v);
    q = npu_quantise_int8(w->g, x, scale, zero);
    if (q > 0 && f->n_static < MAX_FORMS) {
        f->fixed[f->n_static].q = q;
        f->fixed[f->n_static].scale = scale;
        f->fixed[f->n_static++].zero = zero;
    }
    return q;
}

static npu_val dynamic_form(struct rewrite *w, npu_val v, npu_val *ret_range)
{
    struct form *f = &w->form[v];

    if (f->dynamic == NPU_NONE)
        f->dynamic = npu_quantise_dynamic(w->g, v, &f->range);
    *ret_range = f->range;
    return f->dynamic;
}

static void make_state(npu_graph *g, npu_val v, enum npu_dtype t)
{
    struct npu_value *val = npu_value_of(g, v);

    val->kind = NPU_VALUE_STATE;
    val->type.dtype = t;
    val->needs_grad = false;
    val->init = (struct npu_init){NPU_INIT_ZERO, 0.0f};
}

/* The layer as both operations have it. */
struct layer {
    const struct npu_quant_layer *q;
    npu_val x, w, bias, residual, y;
    enum npu_act act;
    bool conv, residual_last; /* the residual comes after the activation */
    struct npu_qlayer_opts o;
};

static int read_layer(npu_graph *g, const struct npu_node *n, struct layer *l)
{
    const struct npu_value *w = npu_value_of(g, n->in[1]);

    l->conv = n->op == &npu_op_conv2d;
    l->x = n->in[0];
    l->w = n->in[1];
    l->bias = n->in[2];
    l->residual = n->in[3];
    l->y = n->out[0];
    if (l->conv) {
        const struct npu_conv2d_attr *a = NPU_ATTR(struct npu_conv2d_attr, n);

        l->act = (enum npu_act)a->act;
        l->o.stride = a->stride;
        l->o.pad_top = a->pad_top;
        l->o.pad_left = a->pad_left;
        l->o.pad_bottom = a->pad_bottom;
        l->o.pad_right = a->pad_right;
        l->o.groups = a->groups;
    } else {
        const struct npu_matmul_attr *a = NPU_ATTR(struct npu_matmul_attr, n);

        l->act = (enum npu_act)a->act;
        l->residual_last = l->act != NPU_ACT_NONE && l->residual != NPU_NONE;
        if (a->trans_a || a->trans_b || a->scale != 1.0f)
            return npu_graph_fail(g, -EOPNOTSUPP, "%s: a transposed or scaled product has no int8 form", w->name);
    }
    if (w->type.dtype != NPU_F32 || w->type.shape.rank != (l->conv ? 4 : 2) || npu_val_dtype(g, l->x) == NPU_BF16 ||
        npu_val_dtype(g, l->x) == NPU_F16)
        return npu_graph_fail(g, -EOPNOTSUPP, "%s: not f32, or used by two layers", w->name);
    if (l->bias != NPU_NONE &&
        (npu_value_of(g, l->bias)->kind != NPU_VALUE_PARAM || npu_val_dtype(g, l->bias) != NPU_F32))
        return npu_graph_fail(g, -EOPNOTSUPP, "%s: its bias is no parameter of its own", w->name);
    return 0;
}

static int set_int8_result(struct rewrite *w, struct layer *l)
{
    const struct npu_quant_layer *q = l->q;
    const float top = rintf(6.0f / q->y_scale) + (float)q->y_zero;

    if ((l->act != NPU_ACT_NONE && l->act != NPU_ACT_RELU && l->act != NPU_ACT_RELU6) || l->residual_last ||
        is_output(w->g, l->y) || (l->residual != NPU_NONE && !(q->res_scale > 0)))
        return npu_graph_fail(w->g, -EINVAL, "%s: the result can't be int8", q->weight);
    l->o.out_int8 = true;
    l->o.shift = q->shift;
    l->o.y_zero = q->y_zero;
    l->o.lo = l->act == NPU_ACT_NONE ? -128 : q->y_zero;
    l->o.hi = l->act == NPU_ACT_RELU6 && top < 127.0f ? (int)top : 127;
    l->act = NPU_ACT_NONE;
    if (l->residual != NPU_NONE) {
        l->o.residual = int8_form(w, l->residual, q->res_scale, q->res_zero);
        l->o.res_zero = q->res_zero;
        l->o.res_mul = q->res_mul;
    }
    return 0;
}

static int set_operands(struct rewrite *w, struct layer *l, npu_val *ret_x, npu_val *ret_scale)
{
    const struct npu_value *weight = npu_value_of(w->g, l->w);
    const bool dynamic = w->recipe->mode == NPU_QUANT_DYNAMIC;
    const int64_t channels = weight->type.shape.dim[weight->type.shape.rank - 1];
    const size_t len = strlen(weight->name);
    char name[NPU_MAX_NAME];

    if (len <= 7 || strcmp(weight->name + len - 7, ".weight") != 0)
        return npu_graph_fail(w->g, -EINVAL, "%s: a layer's weights must be named <layer>.weight", weight->name);
    snprintf(name, sizeof name, "%.*s.scale", (int)(len - 7), weight->name);
    *ret_x = dynamic ? dynamic_form(w, l->x, &l->o.range) : int8_form(w, l->x, l->q->x_scale, l->q->x_zero);
    l->o.x_zero = l->q->x_zero;
    l->o.bias = l->bias;
    make_state(w->g, l->w, NPU_I8);
    if (l->bias != NPU_NONE)
        make_state(w->g, l->bias, dynamic ? NPU_F32 : NPU_I32);
    *ret_scale = npu_state(w->g, name, l->o.out_int8 ? NPU_I32 : NPU_F32, 1, &channels, (struct npu_init){0});
    return npu_graph_status(w->g);
}

/* Activations that are not exact, and a residual after the activation, are nodes of their own. */
static npu_val finish(npu_graph *g, const struct layer *l, npu_val y)
{
    if (!l->o.out_int8 && l->act != l->o.act)
        y = npu_mat_act_node(g, y, (int)l->act);
    return l->residual_last ? npu_add(g, y, l->residual) : y;
}

static int replace_layer(struct rewrite *w, const struct npu_node *n, const struct npu_quant_layer *q)
{
    struct layer l = {.q = q};
    npu_val x = 0, scale = 0, y;
    int r = read_layer(w->g, n, &l);

    if (r == 0 && w->recipe->mode == NPU_QUANT_STATIC && q->y_scale > 0)
        r = set_int8_result(w, &l);
    if (r == 0 && !l.o.out_int8) {
        l.residual = float_form(w, l.residual);
        l.o.residual = l.residual_last ? NPU_NONE : l.residual;
        l.o.act = l.act == NPU_ACT_RELU || l.act == NPU_ACT_RELU6 ? l.act : NPU_ACT_NONE;
    }
    if (r == 0)
        r = set_operands(w, &l, &x, &scale);
    if (r < 0)
        return r;
    y = (l.conv ? npu_qconv2d : npu_qmatmul)(w->g, x, l.w, scale, &l.o);
    y = finish(w->g, &l, y);
    if (y < 0)
        return y;
    take_handle(w->g, 0, l.y);
    drop_last(w->g, 1);
    if (l.o.out_int8) {
        struct form *f = &w->form[l.y];

        f->is_int8 = true;
        f->n_static = 1;
        f->fixed[0].q = l.y;
        f->fixed[0].scale = q->y_scale;
        f->fixed[0].zero = q->y_zero;
    }
    return 0;
}

static const struct npu_quant_layer *layer_of(struct rewrite *w, const struct npu_node *n)
{
    const struct npu_value *weight = n->n_in > 1 ? npu_value_of(w->g, n->in[1]) : NULL;

    if ((n->op != &npu_op_matmul && n->op != &npu_op_conv2d) || !weight || !weight->name)
        return NULL;
    for (int i = 0; i < w->recipe->n_layers; i++)
        if (strcmp(w->recipe->layer[i].weight, weight->name) == 0) {
            w->used[i] = true;
            return &w->recipe->layer[i];
        }
    return NULL;
}

/* The layer that is all that reads what the node makes, as it is or moved by nodes that leave out nothing; or NULL. */
static const struct npu_quant_layer *reading_layer(struct rewrite *w, const struct npu_node *n)
{
    for (npu_val v = n->out[0];;) {
        const struct npu_node *reader = npu_graph_only_reader(w->g, w->old, w->n_old, v);
        const struct npu_quant_layer *q = reader ? layer_of(w, reader) : NULL;

        if (q)
            return reader->in[0] == v ? q : NULL;
        if (!reader || !reader->op->moves || reader->op == &npu_op_max_pool)
            return NULL;
        v = reader->out[0];
    }
}

/* A node that moves elements, in int8: if they are that already, or if that is what is read of them. 0: not so. */
static int move_int8(struct rewrite *w, const struct npu_node *n)
{
    const struct form *from = &w->form[n->in[0]];
    const struct npu_quant_layer *q = NULL;
    struct form *to = &w->form[n->out[0]];
    npu_val x, y;

    if (!n->op->moves || w->recipe->mode != NPU_QUANT_STATIC || is_output(w->g, n->out[0]))
        return 0;
    if (!from->is_int8 && n->op != &npu_op_max_pool && npu_dtype_is_float(npu_val_dtype(w->g, n->in[0])))
        q = reading_layer(w, n);
    if (!from->is_int8 && !q)
        return 0;
    to->fixed[0].scale = q ? q->x_scale : from->fixed[0].scale;
    to->fixed[0].zero = q ? q->x_zero : from->fixed[0].zero;
    x = q ? int8_form(w, n->in[0], q->x_scale, q->x_zero) : n->in[0];
    y = npu_node_add(w->g, n->op, &x, 1, n->attr, sizeof n->attr);
    if (y < 0)
        return y;
    take_handle(w->g, 0, n->out[0]);
    drop_last(w->g, 1);
    to->is_int8 = true;
    to->n_static = 1;
    to->fixed[0].q = n->out[0];
    return 1;
}

/* The node as it was, on the float forms of its inputs. */
static int keep_node(struct rewrite *w, const struct npu_node *n)
{
    npu_val in[NPU_MAX_IN];
    npu_val y = move_int8(w, n);

    if (y != 0)
        return y < 0 ? y : 0;

    for (int k = 0; k < n->n_in; k++)
        in[k] = float_form(w, n->in[k]);
    y = npu_node_add(w->g, n->op, in, n->n_in, n->attr, sizeof n->attr);
    if (y < 0)
        return y;
    for (int k = 0; k < n->n_out; k++)
        take_handle(w->g, k, n->out[k]);
    drop_last(w->g, n->n_out);
    return 0;
}

static int int8_node(struct rewrite *w, const struct npu_node *n)
{
    const struct npu_quant_layer *q = layer_of(w, n);

    return q ? replace_layer(w, n, q) : keep_node(w, n);
}

/* ---- bf16 ---- */
/* form[].plain of a value is its bf16 form here; an output keeps its own handle for the f32 one. */
static npu_val bf16_form(struct rewrite *w, npu_val v)
{
    struct npu_value *val = npu_value_of(w->g, v);
    struct form *f = &w->form[v];

    if (!val || val->type.dtype != NPU_F32)
        return v;
    if (f->plain == NPU_NONE)
        f->plain = val->kind == NPU_VALUE_INPUT ? npu_cast(w->g, v, NPU_BF16) : v;
    return f->plain;
}

static int bf16_node(struct rewrite *w, const struct npu_node *n)
{
    npu_val in[NPU_MAX_IN];
    npu_val y;

    if ((n->op == &npu_op_matmul || n->op == &npu_op_conv2d) && npu_value_of(w->g, n->in[1])->kind == NPU_VALUE_PARAM &&
        npu_val_dtype(w->g, n->in[1]) == NPU_F32)
        make_state(w->g, n->in[1], NPU_BF16);
    for (int k = 0; k < n->n_in; k++) {
        in[k] = bf16_form(w, n->in[k]);
        /* What is joined has one type: a parameter (the class token of a transformer) takes that of the others. */
        if (n->op == &npu_op_concat && npu_val_dtype(w->g, in[k]) == NPU_F32)
            in[k] = npu_cast(w->g, in[k], NPU_BF16);
    }
    y = npu_node_add(w->g, n->op, in, n->n_in, n->attr, sizeof n->attr);
    if (y < 0)
        return y;
    if (n->n_out == 1 && is_output(w->g, n->out[0]) && npu_val_dtype(w->g, y) != npu_val_dtype(w->g, n->out[0])) {
        w->form[n->out[0]].plain = y;
        y = npu_cast(w->g, y, npu_val_dtype(w->g, n->out[0]));
        if (y < 0)
            return y;
    }
    for (int k = 0; k < n->n_out; k++)
        take_handle(w->g, k, n->out[k]);
    drop_last(w->g, n->n_out);
    return 0;
}

/* ---- the graph ---- */
static int check(npu_graph *g)
{
    bool plain = !(g->flags & NPU_GRAPH_TRAIN) && !g->has_backward;

    for (int32_t i = 0; i < g->n_nodes; i++)
        plain = plain && !g->node[i]->op->updates;
    return plain ? g->status : npu_graph_fail(g, -EOPNOTSUPP, "a training graph can't be quantised");
}

static int rewrite_all(struct rewrite *w)
{
    int r = 0;

    for (int32_t i = 0; i < w->n_old && r >= 0; i++)
        r = w->recipe->mode == NPU_QUANT_BF16 ? bf16_node(w, w->old[i]) : int8_node(w, w->old[i]);
    for (int i = 0; i < w->recipe->n_layers && r >= 0; i++)
        if (!w->used[i])
            r = npu_graph_fail(w->g, -EINVAL, "layer %s is not in the network", w->recipe->layer[i].weight);
    return r < 0 ? r : 0;
}

int npu_graph_quantise(npu_graph *g, const struct npu_quant_recipe *recipe)
{
    struct rewrite w = {.g = g, .recipe = recipe, .old = g->node, .n_old = g->n_nodes};
    int r = check(g);

    if (r < 0)
        return r;
    w.form = calloc((size_t)g->n_values + 1, sizeof *w.form);
    w.used = calloc((size_t)recipe->n_layers + 1, sizeof *w.used);
    if (!w.form || !w.used) {
        r = npu_graph_fail(g, -ENOMEM, "out of memory");
    } else {
        g->node = NULL;
        g->n_nodes = g->cap_nodes = 0;
        g->exact = recipe->mode != NPU_QUANT_BF16;
        r = rewrite_all(&w);
        for (int32_t i = 0; i < w.n_old; i++)
            free(w.old[i]);
        free(w.old);
    }
    free(w.form);
    free(w.used);
    return r;
}
