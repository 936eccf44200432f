/* quant_make.c - from an f32 network and the ranges of its values to int8: which layers, which scales, and the weight
 * file. */
#include <stdlib.h>

#include "libnpu/op/conv2d.h"
#include "libnpu/op/matmul.h"
#include "libnpu/plan.h"
#include "libnpu/quant.h"
#include "libnpu/safetensors.h"

/* ---- which layers ---- */
/* Layers that make an output stay f32, as regressions lose most there, but for large products: classifiers. */
#define CLASSIFIER_MACS 0x1p18

/* The value behind views. */
static npu_val behind(const npu_graph *g, npu_val v)
{
    return v == NPU_NONE ? v : npu_value_of(g, v)->root;
}

static bool is_output(const npu_graph *g, npu_val v)
{
    for (int i = 0; i < g->n_outputs; i++)
        if (behind(g, g->output[i].val) == behind(g, v))
            return true;
    return false;
}

static double macs_of(const npu_graph *g, const struct npu_node *n)
{
    const struct npu_shape *w = npu_val_shape(g, n->in[1]);
    const double weights = (double)npu_shape_elements(w), channels = (double)w->dim[w->rank - 1];

    return channels > 0 ? weights * (double)npu_shape_elements(npu_val_shape(g, n->out[0])) / channels : 0;
}

static bool is_kept(const struct npu_quant_settings *s, const char *weight, size_t len)
{
    for (int i = 0; s->keep && s->keep[i]; i++)
        if (strlen(s->keep[i]) == len && strncmp(s->keep[i], weight, len) == 0)
            return true;
    return false;
}

static bool is_layer(const npu_graph *g, const struct npu_node *n, const struct npu_quant_settings *s)
{
    const struct npu_value *w;
    size_t len;

    if (n->op != &npu_op_matmul && n->op != &npu_op_conv2d)
        return false;
    w = npu_value_of(g, n->in[1]);
    len = w->name ? strlen(w->name) : 0;
    if (w->kind != NPU_VALUE_PARAM || len <= 7 || strcmp(w->name + len - 7, ".weight") != 0 ||
        w->type.shape.rank != (n->op == &npu_op_conv2d ? 4 : 2) || is_kept(s, w->name, len - 7))
        return false;
    if (n->op == &npu_op_matmul) {
        const struct npu_matmul_attr *a = NPU_ATTR(struct npu_matmul_attr, n);

        if (a->trans_a || a->trans_b || a->scale != 1.0f)
            return false;
    }
    if (n->in[2] != NPU_NONE && npu_value_of(g, n->in[2])->kind != NPU_VALUE_PARAM)
        return false;
    if (is_output(g, n->out[0]) && (n->op != &npu_op_matmul || macs_of(g, n) < CLASSIFIER_MACS))
        return false;
    return npu_value_of(g, behind(g, n->in[0]))->kind != NPU_VALUE_INPUT && macs_of(g, n) >= (double)s->min_macs &&
           w->type.shape.dim[0] > 0;
}

static bool is_read_by_layer(const npu_graph *g, npu_val v, const struct npu_quant_settings *s)
{
    for (int32_t i = 0; i < g->n_nodes; i++)
        if (g->node[i]->in[0] == v && is_layer(g, g->node[i], s))
            return true;
    return false;
}

/* Can the node's result be stored as int8? */
static bool may_be_int8(const npu_graph *g, const struct npu_node *n, const struct npu_quant_settings *s)
{
    const int act =
        n->op == &npu_op_conv2d ? NPU_ATTR(struct npu_conv2d_attr, n)->act : NPU_ATTR(struct npu_matmul_attr, n)->act;

    return s->mode == NPU_QUANT_STATIC && (act == NPU_ACT_NONE || act == NPU_ACT_RELU || act == NPU_ACT_RELU6) &&
           (n->op != &npu_op_matmul || n->in[3] == NPU_NONE) && !is_output(g, n->out[0]);
}

/* Does a layer add v to its own result, which is int8? */
static bool is_residual_of_layer(const npu_graph *g, npu_val v, const struct npu_quant_settings *s)
{
    for (int32_t i = 0; i < g->n_nodes; i++) {
        const struct npu_node *n = g->node[i];

        if (n->in[3] == v && is_layer(g, n, s) && may_be_int8(g, n, s) && is_read_by_layer(g, n->out[0], s))
            return true;
    }
    return false;
}

/* The node's result, or what nodes that only choose or move elements make of it, which a layer reads as int8: its range
 * is what has to be stored. NPU_NONE: the result can't be int8, or no layer reads it. */
static npu_val int8_result(const npu_graph *g, const struct npu_node *n, const struct npu_quant_settings *s)
{
    if (!may_be_int8(g, n, s))
        return NPU_NONE;
    for (npu_val v = n->out[0];;) {
        const struct npu_node *reader;

        if (is_read_by_layer(g, v, s) || is_residual_of_layer(g, v, s))
            return v;
        reader = npu_graph_only_reader(g, g->node, g->n_nodes, v);
        if (!reader || !reader->op->moves || is_output(g, reader->out[0]))
            return NPU_NONE;
        v = reader->out[0];
    }
}

static int set_scale(npu_graph *g, const struct npu_node *n, const struct npu_quant_range *range, npu_val v,
                     float *ret_scale, int *ret_zero)
{
    const char *name = npu_value_of(g, n->in[1])->name;
    const float lo = fminf(range[v].lo, 0.0f), hi = fmaxf(range[v].hi, 0.0f);

    if (!(range[v].lo <= range[v].hi) || !isfinite(lo) || !isfinite(hi))
        return npu_graph_fail(g, -ENODATA, "%s: what it reads or makes has no known range", name);
    *ret_scale = fmaxf((hi - lo) / 255.0f, 1e-12f);
    *ret_zero = (int)fmaxf(fminf(-128.0f - rintf(lo / *ret_scale), 127.0f), -128.0f);
    return 0;
}

static int choose_layer(npu_graph *g, const struct npu_node *n, const struct npu_quant_settings *s,
                        const struct npu_quant_range *range, struct npu_quant_layer *l)
{
    npu_val y;
    int r = 0;

    snprintf(l->weight, sizeof l->weight, "%s", npu_value_of(g, n->in[1])->name);
    if (s->mode != NPU_QUANT_STATIC)
        return 0;
    r = set_scale(g, n, range, n->in[0], &l->x_scale, &l->x_zero);
    y = int8_result(g, n, s);
    if (r == 0 && y != NPU_NONE) {
        r = set_scale(g, n, range, y, &l->y_scale, &l->y_zero);
        if (r == 0 && n->in[3] != NPU_NONE)
            r = set_scale(g, n, range, n->in[3], &l->res_scale, &l->res_zero);
    }
    return r;
}

int npu_quant_choose(npu_graph *g, const struct npu_quant_settings *s, const struct npu_quant_range *range,
                     struct npu_quant_recipe **ret_recipe)
{
    struct npu_quant_recipe *q = calloc(1, sizeof *q + NPU_QUANT_MAX_LAYERS * sizeof q->layer[0]);
    int r = g->status;

    if (!q)
        return -ENOMEM;
    q->mode = s->mode;
    for (int32_t i = 0; i < g->n_nodes && r == 0 && s->mode != NPU_QUANT_BF16; i++) {
        if (!is_layer(g, g->node[i], s))
            continue;
        if (q->n_layers == NPU_QUANT_MAX_LAYERS)
            r = npu_graph_fail(g, -E2BIG, "more than %d layers", NPU_QUANT_MAX_LAYERS);
        else
            r = choose_layer(g, g->node[i], s, range, &q->layer[q->n_layers++]);
    }
    if (r < 0) {
        free(q);
        return r;
    }
    *ret_recipe = q;
    return 0;
}

/* ---- weights ---- */
struct maker {
    npu_plan *p;
    const struct npu_quant_settings *s;
    struct npu_quant_recipe *recipe;
    struct st_source *t; /* room for two a value */
    char (*name)[NPU_MAX_NAME];
    int n;
};

/* All of a parameter or state as it is in the plan; NULL: failed. */
static void *read_value(const struct maker *m, npu_val v)
{
    const size_t size = npu_type_bytes(&npu_value_of(m->p->graph, v)->type);
    void *data = malloc(size + 1);

    if (data && npu_plan_read_val(m->p, v, data, size) == 0)
        return data;
    free(data);
    return NULL;
}

static void put(struct maker *m, const char *name, enum npu_dtype t, const struct npu_shape *shape, void *data)
{
    snprintf(m->name[m->n], NPU_MAX_NAME, "%s", name);
    m->t[m->n] = (struct st_source){m->name[m->n], t, *shape, data};
    m->n++;
}

static double clamp(double v, double lo, double hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

/* May two neighbours of a column add up to more than NPU_QUANT_PAIR? Products with AVX2 sum them in 16 bits; Winograd's
 * tiles and convolutions with one channel a group do not, so their weights keep all their bits. */
static bool has_wide_pairs(const struct maker *m, const struct npu_node *n, const struct npu_shape *w)
{
    const struct npu_conv2d_attr *a = (const struct npu_conv2d_attr *)(const void *)n->attr;

    return m->s->wide || (w->rank == 4 && (w->dim[2] == 1 || (w->dim[0] == 3 && w->dim[1] == 3 && a->stride == 1)));
}

/* The step of channel c of w [depth, n]: its largest weight is 127, its largest pair of neighbours, if they matter,
 * NPU_QUANT_PAIR, also when both are rounded: where both go up, their sum was less than that by as much. */
static double step_of(const float *w, int64_t depth, int64_t n, int64_t c, bool wide_pairs)
{
    double most = 0, pair = 0;

    for (int64_t k = 0; k < depth; k++) {
        most = fmax(most, fabs((double)w[k * n + c]));
        if (k % 2 == 1)
            pair = fmax(pair, fabs((double)w[k * n + c] + (double)w[(k - 1) * n + c]));
    }
    return fmax(most / 127, wide_pairs ? 0 : pair / NPU_QUANT_PAIR);
}

/* w [depth, n] f32 -> symmetric int8, -127 .. 127; step[n] of each channel. */
static void quantise_weights(const float *w, int64_t depth, int64_t n, bool per_tensor, bool wide_pairs, int8_t *q,
                             double *step)
{
    double most = 0;

    for (int64_t c = 0; c < n; c++) {
        step[c] = fmax(step_of(w, depth, n, c, wide_pairs), 1e-12 / 127);
        most = fmax(most, step[c]);
    }
    for (int64_t c = 0; c < n && per_tensor; c++)
        step[c] = most;
    for (int64_t i = 0; i < depth * n; i++)
        q[i] = (int8_t)clamp(rint((double)w[i] / step[i % n]), -127, 127);
}

/* The multipliers of an int8 result: as many bits as fit for the largest of them. */
static void set_multipliers(struct npu_quant_layer *l, const double *step, int64_t n, int32_t *mul)
{
    double most = l->res_scale > 0 ? (double)l->res_scale / (double)l->y_scale : 0;
    int e;

    for (int64_t c = 0; c < n; c++)
        most = fmax(most, (double)l->x_scale * step[c] / (double)l->y_scale);
    frexp(most, &e); /* most < 2^e */
    l->shift = (int)clamp(31 - e, 1, 62);
    for (int64_t c = 0; c < n; c++)
        mul[c] = (int32_t)clamp(rint(ldexp((double)l->x_scale * step[c] / (double)l->y_scale, l->shift)), 0, INT32_MAX);
    l->res_mul = (int32_t)clamp(rint(ldexp((double)l->res_scale / (double)l->y_scale, l->shift)), 0, INT32_MAX);
}

static void *make_bias(const struct maker *m, const struct npu_quant_layer *l, const float *bias, const double *step,
                       int64_t n)
{
    int32_t *b = malloc((size_t)n * sizeof *b + 1);

    for (int64_t c = 0; b && c < n; c++) {
        if (m->s->mode == NPU_QUANT_DYNAMIC)
            memcpy(&b[c], &bias[c], sizeof b[c]);
        else
            b[c] = (int32_t)clamp(rint((double)bias[c] / ((double)l->x_scale * step[c])), -0x1p30, 0x1p30);
    }
    return b;
}

static int make_layer(struct maker *m, const struct npu_node *node, struct npu_quant_layer *l)
{
    const struct npu_value *w = npu_value_of(m->p->graph, node->in[1]), *b = npu_value_of(m->p->graph, node->in[2]);
    const struct npu_shape *shape = &w->type.shape;
    const int64_t n = shape->dim[shape->rank - 1], depth = npu_shape_elements(shape) / (n > 0 ? n : 1);
    const struct npu_shape channels = {1, {n}};
    float *f = read_value(m, node->in[1]), *bias = b ? read_value(m, node->in[2]) : NULL;
    double *step = calloc((size_t)n + 1, sizeof *step);
    int8_t *q = malloc((size_t)(depth * n) + 1);
    int32_t *scale = calloc((size_t)n + 1, sizeof *scale);
    void *qbias = NULL;
    char name[NPU_MAX_NAME];
    int r = f && step && q && scale && (!b || bias) ? 0 : -ENOMEM;

    if (r == 0) {
        quantise_weights(f, depth, n, m->s->per_tensor, has_wide_pairs(m, node, shape), q, step);
        qbias = b ? make_bias(m, l, bias, step, n) : NULL;
        if (l->y_scale > 0)
            set_multipliers(l, step, n, scale);
        for (int64_t c = 0; c < n && !(l->y_scale > 0); c++) {
            const float s = (float)(m->s->mode == NPU_QUANT_DYNAMIC ? step[c] : (double)l->x_scale * step[c]);

            memcpy(&scale[c], &s, sizeof s);
        }
        r = b && !qbias ? -ENOMEM : 0;
    }
    free(f);
    free(bias);
    free(step);
    if (r < 0) {
        free(q);
        free(scale);
        return r;
    }
    snprintf(name, sizeof name, "%.*s.scale", (int)(strlen(w->name) - 7), w->name);
    put(m, w->name, NPU_I8, shape, q);
    put(m, name, l->y_scale > 0 ? NPU_I32 : NPU_F32, &channels, scale);
    if (b)
        put(m, b->name, m->s->mode == NPU_QUANT_DYNAMIC ? NPU_F32 : NPU_I32, &b->type.shape, qbias);
    return 0;
}

static bool is_made(const struct maker *m, const char *name)
{
    for (int i = 0; i < m->n; i++)
        if (strcmp(m->name[i], name) == 0)
            return true;
    return false;
}

static bool is_weight(const npu_graph *g, npu_val v)
{
    for (int32_t i = 0; i < g->n_nodes; i++)
        if ((g->node[i]->op == &npu_op_matmul || g->node[i]->op == &npu_op_conv2d) && g->node[i]->in[1] == v)
            return true;
    return false;
}

static int make_layers(struct maker *m)
{
    const npu_graph *g = m->p->graph;
    int r = 0;

    for (int i = 0; i < m->recipe->n_layers && r == 0; i++) {
        struct npu_quant_layer *l = &m->recipe->layer[i];

        r = -ENOENT;
        for (int32_t k = 0; k < g->n_nodes && r == -ENOENT; k++) {
            const struct npu_value *w = g->node[k]->n_in > 1 ? npu_value_of(g, g->node[k]->in[1]) : NULL;

            if (w && w->name && strcmp(w->name, l->weight) == 0)
                r = make_layer(m, g->node[k], l);
        }
    }
    return r;
}

/* Everything that is not int8 as it is; weights as bf16 where the network becomes that. */
static int make_rest(struct maker *m)
{
    const npu_graph *g = m->p->graph;

    for (npu_val v = 1; v <= g->n_values; v++) {
        const struct npu_value *val = npu_value_of(g, v);
        const int64_t n = npu_shape_elements(&val->type.shape);
        struct npu_tensor t = {.dtype = NPU_BF16};
        void *data;

        if ((val->kind != NPU_VALUE_PARAM && val->kind != NPU_VALUE_STATE) || is_made(m, val->name))
            continue;
        data = read_value(m, v);
        if (!data)
            return -ENOMEM;
        t.data = data; /* halves behind what was read already */
        if (m->s->mode == NPU_QUANT_BF16 && val->type.dtype == NPU_F32 && is_weight(g, v)) {
            for (int64_t i = 0; i < n; i++)
                npu_store(&t, i, ((const float *)data)[i]);
            put(m, val->name, NPU_BF16, &val->type.shape, data);
        } else {
            put(m, val->name, val->type.dtype, &val->type.shape, data);
        }
    }
    return 0;
}

static int write_file(const struct maker *m, const char *path, const char *const *metadata)
{
    const char *all[64];
    char *text = NULL;
    int n = 0, r = npu_quant_print(m->recipe, &text);

    for (; metadata && metadata[n] && metadata[n + 1] && n < 60; n += 2) {
        all[n] = metadata[n];
        all[n + 1] = metadata[n + 1];
    }
    all[n] = NPU_QUANT_KEY;
    all[n + 1] = text;
    all[n + 2] = NULL;
    if (r == 0)
        r = st_write(path, m->t, m->n, all);
    free(text);
    return r;
}

int npu_quant_save(npu_plan *f32, const struct npu_quant_settings *s, struct npu_quant_recipe *recipe, const char *path,
                   const char *const *metadata)
{
    struct maker m = {.p = f32, .s = s, .recipe = recipe};
    const size_t room = 2 * (size_t)f32->graph->n_values + 2;
    int r = -ENOMEM;

    m.t = calloc(room, sizeof *m.t);
    m.name = calloc(room, sizeof *m.name);
    if (m.t && m.name)
        r = make_layers(&m);
    if (r == 0)
        r = make_rest(&m);
    if (r == 0)
        r = write_file(&m, path, metadata);
    for (int i = 0; i < m.n; i++)
        free((void *)(uintptr_t)m.t[i].data);
    free(m.t);
    free(m.name);
    return r;
}
