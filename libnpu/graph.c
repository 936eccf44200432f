/* graph.c - building a graph: values, names, nodes, the first failure. */
#include "libnpu/graph.h"

#include "libnpu/op/matmul.h"

#include <stdarg.h>
#include <stdlib.h>

int npu_graph_new(unsigned flags, npu_graph **ret_graph)
{
    npu_graph *g = calloc(1, sizeof *g);

    if (!g)
        return -ENOMEM;
    g->flags = flags;
    *ret_graph = g;
    return 0;
}

npu_graph *npu_graph_free(npu_graph *g)
{
    if (!g)
        return NULL;
    for (int i = 0; i < g->n_values; i++) {
        free(g->value[i]->name);
        free(g->value[i]);
    }
    for (int i = 0; i < g->n_nodes; i++)
        free(g->node[i]);
    for (int i = 0; i < g->n_outputs; i++)
        free(g->output[i].name);
    free(g->value);
    free(g->node);
    free(g->output);
    free(g);
    return NULL;
}

const char *npu_graph_error(const npu_graph *g)
{
    return g->error;
}

int npu_graph_status(const npu_graph *g)
{
    return g->status;
}

unsigned npu_graph_flags(const npu_graph *g)
{
    return g->flags;
}

int npu_graph_fail(npu_graph *g, int r, const char *fmt, ...)
{
    va_list ap;

    if (g->status < 0)
        return g->status;
    g->status = r;
    va_start(ap, fmt);
    vsnprintf(g->error, sizeof g->error, fmt, ap);
    va_end(ap);
    return r;
}

const struct npu_shape *npu_val_shape(const npu_graph *g, npu_val v)
{
    const struct npu_value *val = npu_value_of(g, v);
    return val ? &val->type.shape : NULL;
}

enum npu_dtype npu_val_dtype(const npu_graph *g, npu_val v)
{
    const struct npu_value *val = npu_value_of(g, v);
    return val ? val->type.dtype : NPU_F32;
}

npu_val npu_graph_find(const npu_graph *g, const char *name)
{
    for (int i = 0; i < g->n_outputs; i++)
        if (strcmp(g->output[i].name, name) == 0)
            return g->output[i].val;
    for (int32_t v = 1; v <= g->n_values; v++)
        if (g->value[v - 1]->name && strcmp(g->value[v - 1]->name, name) == 0)
            return v;
    return -ENOENT;
}

/* Room for one more pointer-sized or larger item in a growing array. */
static int grow(void *array_ptr, int32_t n, int32_t *cap, size_t item)
{
    void *old, *p;
    int32_t want;

    if (n < *cap)
        return 0;
    memcpy(&old, array_ptr, sizeof old);
    want = *cap ? *cap * 2 : 64;
    p = realloc(old, (size_t)want * item);
    if (!p)
        return -ENOMEM;
    memcpy(array_ptr, &p, sizeof p);
    *cap = want;
    /* cppcheck-suppress memleak ; p is in *array_ptr */
    return 0;
}

static npu_val add_value(npu_graph *g, const struct npu_tensor_type *t, enum npu_value_kind kind)
{
    struct npu_value *v;

    if (grow(&g->value, g->n_values, &g->cap_values, sizeof(struct npu_value *)) < 0 || !(v = calloc(1, sizeof *v)))
        return npu_graph_fail(g, -ENOMEM, "out of memory");
    v->type = *t;
    v->kind = kind;
    v->node = -1;
    v->test_lo = -1.0f;
    v->test_hi = 1.0f;
    v->needs_grad = kind == NPU_VALUE_PARAM;
    g->value[g->n_values++] = v;
    v->root = g->n_values;
    return g->n_values;
}

static int check_name(npu_graph *g, const char *name)
{
    if (!name || !name[0] || strlen(name) >= NPU_MAX_NAME)
        return npu_graph_fail(g, -EINVAL, "name \"%.100s\" must have 1 to %d bytes", name ? name : "",
                              NPU_MAX_NAME - 1);
    if (npu_graph_find(g, name) > 0)
        return npu_graph_fail(g, -EEXIST, "name \"%s\" is used twice", name);
    return 0;
}

static npu_val add_named(npu_graph *g, const char *name, enum npu_value_kind kind, enum npu_dtype t, int rank,
                         const int64_t *dim)
{
    struct npu_tensor_type type = {.dtype = t, .shape.rank = rank};
    char text[96], *copy;
    npu_val v;

    if (g->status < 0)
        return g->status;
    if (check_name(g, name) < 0)
        return g->status;
    if (rank < 0 || rank > NPU_MAX_DIMS || npu_dtype_size(t) == 0)
        return npu_graph_fail(g, -EINVAL, "\"%s\": rank %d or type %d is out of range", name, rank, (int)t);
    for (int i = 0; i < rank; i++)
        type.shape.dim[i] = dim[i];
    for (int i = 0; i < rank; i++)
        if (dim[i] < 0)
            return npu_graph_fail(g, -EINVAL, "\"%s\": negative dimension in %s", name,
                                  npu_type_text(&type, text, sizeof text));
    if (npu_shape_elements(&type.shape) > NPU_MAX_ELEMENTS)
        return npu_graph_fail(g, -E2BIG, "\"%s\": %s has too many elements", name,
                              npu_type_text(&type, text, sizeof text));
    copy = strdup(name);
    if (!copy)
        return npu_graph_fail(g, -ENOMEM, "out of memory");
    v = add_value(g, &type, kind);
    if (v < 0)
        free(copy);
    else
        g->value[v - 1]->name = copy;
    return v;
}

npu_val npu_input(npu_graph *g, const char *name, enum npu_dtype t, int rank, const int64_t *dim)
{
    return add_named(g, name, NPU_VALUE_INPUT, t == NPU_F32 ? g->test_storage : t, rank, dim);
}

npu_val npu_param(npu_graph *g, const char *name, int rank, const int64_t *dim, struct npu_init init)
{
    npu_val v = add_named(g, name, NPU_VALUE_PARAM, NPU_F32, rank, dim);

    if (v > 0)
        g->value[v - 1]->init = init;
    return v;
}

npu_val npu_state(npu_graph *g, const char *name, enum npu_dtype t, int rank, const int64_t *dim, struct npu_init init)
{
    npu_val v = add_named(g, name, NPU_VALUE_STATE, t, rank, dim);

    if (v > 0)
        g->value[v - 1]->init = init;
    return v;
}

int npu_output(npu_graph *g, const char *name, npu_val v)
{
    int r;
    char *copy;

    if (g->status < 0)
        return g->status;
    if (v < 0)
        return v;
    if (!npu_value_of(g, v))
        return npu_graph_fail(g, -EINVAL, "output \"%s\": %d is no value", name ? name : "", (int)v);
    r = check_name(g, name);
    if (r < 0)
        return r;
    copy = strdup(name);
    if (!copy || grow(&g->output, g->n_outputs, &g->cap_outputs, sizeof g->output[0]) < 0) {
        free(copy);
        return npu_graph_fail(g, -ENOMEM, "out of memory");
    }
    g->output[g->n_outputs++] = (struct npu_graph_output){copy, v};
    /* cppcheck-suppress memleak ; copy is in the output */
    return 0;
}

/* The outputs as the shape rule left them: sizes, aliases. */
static int check_outputs(npu_graph *g, const struct npu_node *n, const struct npu_tensor_type *in,
                         const struct npu_tensor_type *out)
{
    char text[96];

    if (n->n_out < 1 || n->n_out > NPU_MAX_OUT)
        return npu_graph_fail(g, -EINVAL, "%s: %d outputs", n->op->name, n->n_out);
    for (int i = 0; i < n->n_out; i++) {
        if (out[i].shape.rank < 0 || out[i].shape.rank > NPU_MAX_DIMS || npu_dtype_size(out[i].dtype) == 0)
            return npu_graph_fail(g, -EINVAL, "%s: output %d has no valid type", n->op->name, i);
        if (npu_shape_elements(&out[i].shape) > NPU_MAX_ELEMENTS)
            return npu_graph_fail(g, -E2BIG, "%s: result %s has too many elements", n->op->name,
                                  npu_type_text(&out[i], text, sizeof text));
        if (n->alias[i] < 0)
            continue;
        if (n->alias[i] >= n->n_in || n->in[n->alias[i]] == NPU_NONE ||
            npu_type_bytes(&in[n->alias[i]]) != npu_type_bytes(&out[i]))
            return npu_graph_fail(g, -EINVAL, "%s: output %d can't share memory with input %d", n->op->name, i,
                                  n->alias[i]);
        if (n->op->updates && npu_value_of(g, npu_value_of(g, n->in[n->alias[i]])->root)->kind != NPU_VALUE_PARAM &&
            npu_value_of(g, npu_value_of(g, n->in[n->alias[i]])->root)->kind != NPU_VALUE_STATE)
            return npu_graph_fail(g, -EINVAL, "%s: input %d is updated in place: it must be a parameter or state",
                                  n->op->name, n->alias[i]);
    }
    return 0;
}

static int add_outputs(npu_graph *g, struct npu_node *n, const struct npu_tensor_type *out, bool needs_grad)
{
    for (int i = 0; i < n->n_out; i++) {
        npu_val v = add_value(g, &out[i], NPU_VALUE_NODE);
        struct npu_value *val;

        if (v < 0)
            return v;
        val = npu_value_of(g, v);
        val->node = g->n_nodes - 1;
        val->out_index = i;
        val->needs_grad = needs_grad && npu_dtype_is_float(val->type.dtype) && !n->op->updates;
        if (n->alias[i] >= 0) {
            val->root = npu_value_of(g, n->in[n->alias[i]])->root;
            if (n->op->updates)
                npu_value_of(g, val->root)->updated = true;
        }
        n->out[i] = v;
    }
    return n->out[0];
}

npu_val npu_node_add(npu_graph *g, const struct npu_op *op, const npu_val *in, int n_in, const void *attr,
                     size_t attr_size)
{
    struct npu_tensor_type in_type[NPU_MAX_IN] = {0}, out_type[NPU_MAX_OUT] = {0};
    char why[256] = "bad arguments";
    bool needs_grad = false;
    struct npu_node *n;
    int r;

    if (g->status < 0)
        return g->status;
    if (n_in < 0 || n_in > NPU_MAX_IN || attr_size > NPU_MAX_ATTR)
        return npu_graph_fail(g, -EINVAL, "%s: %d inputs, %zu attribute bytes", op->name, n_in, attr_size);
    if (g->n_nodes >= NPU_MAX_NODES)
        return npu_graph_fail(g, -E2BIG, "%s: more than %d nodes", op->name, NPU_MAX_NODES);
    for (int i = 0; i < n_in; i++) {
        const struct npu_value *v = npu_value_of(g, in[i]);

        if (in[i] < 0)
            return npu_graph_fail(g, in[i], "%s: input %d: %s", op->name, i, strerror(-in[i]));
        if (in[i] != NPU_NONE && !v)
            return npu_graph_fail(g, -EINVAL, "%s: input %d: %d is no value", op->name, i, (int)in[i]);
        if (v) {
            in_type[i] = v->type;
            needs_grad |= v->needs_grad;
        }
    }
    if (grow(&g->node, g->n_nodes, &g->cap_nodes, sizeof(struct npu_node *)) < 0 || !(n = calloc(1, sizeof *n)))
        return npu_graph_fail(g, -ENOMEM, "out of memory");
    n->op = op;
    n->exact = g->exact;
    n->rounds = g->flags & NPU_GRAPH_MIXED;
    n->n_in = n_in;
    n->n_out = 1;
    memset(n->alias, -1, sizeof n->alias);
    if (n_in > 0)
        memcpy(n->in, in, (size_t)n_in * sizeof in[0]);
    if (attr_size > 0)
        memcpy(n->attr, attr, attr_size);
    r = op->shape(n, in_type, out_type, why, sizeof why);
    if (r < 0) {
        r = npu_graph_fail(g, r, "%s (node %d): %s", op->name, (int)g->n_nodes, why);
        free(n);
        return r;
    }
    r = check_outputs(g, n, in_type, out_type);
    if (r < 0) {
        free(n);
        return r;
    }
    g->node[g->n_nodes++] = n;
    return add_outputs(g, n, out_type, needs_grad);
}

npu_val npu_node_output(npu_graph *g, npu_val v, int i)
{
    const struct npu_value *val = npu_value_of(g, v);

    if (g->status < 0)
        return g->status;
    if (!val || val->node < 0 || i < 0 || i >= g->node[val->node]->n_out)
        return npu_graph_fail(g, -EINVAL, "value %d has no output %d", (int)v, i);
    return g->node[val->node]->out[i];
}

bool npu_val_needs_grad(const npu_graph *g, npu_val v)
{
    const struct npu_value *val = npu_value_of(g, v);
    return val && val->needs_grad;
}

void npu_graph_mark_frozen(npu_graph *g)
{
    for (int32_t i = 0; i < g->n_values; i++) {
        struct npu_value *v = g->value[i];
        v->frozen = (v->kind == NPU_VALUE_PARAM || v->kind == NPU_VALUE_STATE) && !v->updated;
    }
    for (int32_t i = 0; i < g->n_nodes; i++) {
        const struct npu_node *n = g->node[i];
        bool frozen = !n->op->updates;

        for (int k = 0; k < n->n_in; k++)
            frozen &= n->in[k] == NPU_NONE || npu_value_of(g, n->in[k])->frozen;
        for (int k = 0; k < n->n_out; k++)
            npu_value_of(g, n->out[k])->frozen = frozen;
    }
}

bool npu_val_is_frozen(const npu_graph *g, npu_val v)
{
    const struct npu_value *val = npu_value_of(g, v);
    return val && val->frozen;
}

void npu_test_range(npu_graph *g, npu_val v, float lo, float hi)
{
    struct npu_value *val = npu_value_of(g, v);

    if (val) {
        val->test_lo = lo;
        val->test_hi = hi;
    }
}

const struct npu_node *npu_graph_only_reader(const npu_graph *g, struct npu_node *const *node, int32_t n_nodes,
                                             npu_val v)
{
    const struct npu_node *only = NULL;

    for (int i = 0; i < g->n_outputs; i++)
        if (g->output[i].val == v)
            return NULL;
    for (int32_t i = 0; i < n_nodes; i++)
        for (int k = 0; k < node[i]->n_in; k++)
            if (node[i]->in[k] == v) {
                if (only)
                    return NULL;
                only = node[i];
            }
    return only;
}

void npu_graph_mark_grads(npu_graph *g)
{
    for (int32_t i = 0; i < g->n_values; i++)
        if (g->value[i]->kind != NPU_VALUE_NODE)
            g->value[i]->needs_grad = g->value[i]->kind == NPU_VALUE_PARAM || g->value[i]->want_grad;
    for (int32_t i = 0; i < g->n_nodes; i++) {
        const struct npu_node *n = g->node[i];
        bool needs = false;

        for (int k = 0; k < n->n_in; k++)
            needs |= npu_val_needs_grad(g, n->in[k]);
        for (int k = 0; k < n->n_out; k++) {
            struct npu_value *v = npu_value_of(g, n->out[k]);
            v->needs_grad = needs && npu_dtype_is_float(v->type.dtype) && !n->op->updates;
        }
    }
}
