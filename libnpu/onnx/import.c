/* import.c - an ONNX file as a graph with parameters. */
#include "libnpu/onnx/import.h"

#include <stdlib.h>

#include "libnpu/safetensors.h"

const struct oi_op *oi_find_op(const char *name)
{
    static const struct oi_op *const tables[] = {oi_mat_ops,  oi_picture_ops, oi_element_ops,
                                                 oi_move_ops, oi_quant_ops,   oi_fold_ops};

    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const struct oi_op *op = tables[t]; op->name; op++)
            if (strcmp(op->name, name) == 0)
                return op;
    return NULL;
}

/* A name of the file as one of libnpu's. */
static const char *short_name(const struct oi_value *x, char buf[NPU_MAX_NAME])
{
    const size_t n = strlen(x->name);

    if (n < NPU_MAX_NAME)
        return x->name;
    snprintf(buf, NPU_MAX_NAME, "%.70s#%08x", x->name + n - 70, (unsigned)x->hash);
    return buf;
}

static int keep_name(struct oi *im, char **list, int *n, const char *name)
{
    list[*n] = strdup(name);
    if (!list[*n])
        return oi_fail(im, -ENOMEM, "out of memory");
    (*n)++;
    return 0;
}

/* ---- values and nodes ---- */
static int add_initialisers(struct oi *im)
{
    for (int i = 0; i < im->m->n_tensors; i++) {
        const struct om_tensor *t = &im->m->tensor[i];
        struct oi_value *x = oi_lookup(im, t->name, true);

        if (!x)
            return -E2BIG;
        if (x->defined)
            return oi_fail(im, -EINVAL, "initialiser \"%.100s\" is there twice", t->name);
        x->tensor = t;
        x->shape = t->shape;
        x->defined = true;
    }
    return 0;
}

static int64_t symbolic_size(const struct oi *im, const char *name)
{
    int64_t size = -1;

    for (int i = 0; im->opts && i < im->opts->n_dims; i++) {
        const struct npu_onnx_dim *d = &im->opts->dims[i];

        if (d->name && strcmp(d->name, name) == 0)
            return d->size;
        if (!d->name)
            size = d->size;
    }
    return size;
}

static int add_input(struct oi *im, const struct om_value *in)
{
    struct oi_value *x = oi_lookup(im, in->name, true);
    int64_t dim[NPU_MAX_DIMS];
    char buf[NPU_MAX_NAME];
    enum npu_dtype t = 0;

    if (!x)
        return -E2BIG;
    if (x->tensor)
        return 0; /* an initialiser that is listed too */
    if (x->defined)
        return oi_fail(im, -EINVAL, "input \"%.100s\" is there twice", in->name);
    while (t < NPU_DTYPES && om_type_of(t) != in->type)
        t++;
    if (t == NPU_DTYPES || in->rank < 0)
        return oi_fail(im, -EOPNOTSUPP, "input \"%.100s\" of %s%s is not supported", in->name, om_type_name(in->type),
                       in->rank < 0 ? " without a shape" : "");
    for (int i = 0; i < in->rank; i++) {
        dim[i] = in->dim[i] >= 0 ? in->dim[i] : symbolic_size(im, in->dim_name[i]);
        if (dim[i] < 0)
            return oi_fail(im, -EOPNOTSUPP, "input \"%.100s\": dimension %d (\"%.60s\") has no fixed size: give one",
                           in->name, i, in->dim_name[i]);
    }
    if (oi_set(im, x, npu_input(im->g, short_name(x, buf), t, in->rank, dim), NULL) < 0)
        return -EINVAL;
    return keep_name(im, im->out->input, &im->out->n_inputs, short_name(x, buf));
}

static int add_node(struct oi *im, struct oi_node *n, const struct om_node *p)
{
    n->p = p;
    n->op = oi_find_op(p->op);
    n->n_in = p->n_in;
    n->n_out = p->n_out;
    n->in = oi_alloc(im, (size_t)p->n_in + 1, sizeof *n->in);
    n->out = oi_alloc(im, (size_t)p->n_out + 1, sizeof *n->out);
    im->at = n;
    for (int i = 0; n->in && i < p->n_in; i++)
        if (p->in[i][0] && !(n->in[i] = oi_lookup(im, p->in[i], true)))
            return -E2BIG;
    for (int i = 0; n->out && i < p->n_out; i++) {
        if (!p->out[i][0])
            continue;
        if (!(n->out[i] = oi_lookup(im, p->out[i], true)))
            return -E2BIG;
        if (n->out[i]->maker || n->out[i]->defined)
            return oi_fail(im, -EINVAL, "\"%.100s\" is made twice", p->out[i]);
        n->out[i]->maker = n;
    }
    while (n->n_in > 0 && n->in && !n->in[n->n_in - 1]) /* left out at the end */
        n->n_in--;
    return im->failed ? -E2BIG : 0;
}

/* Who takes which value, of nodes that are still to be imported. */
static int link_users(struct oi *im)
{
    struct oi_node **room;
    size_t total = 0;

    for (size_t i = 0; i < im->table_size; i++)
        if (im->table[i])
            im->table[i]->n_users = 0;
    for (int i = 0; i < im->n_nodes; i++)
        for (int k = 0; !im->node[i].done && k < im->node[i].n_in; k++)
            if (im->node[i].in[k]) {
                im->node[i].in[k]->n_users++;
                total++;
            }
    room = oi_alloc(im, total + 1, sizeof *room);
    if (!room)
        return -E2BIG;
    for (size_t i = 0; i < im->table_size; i++)
        if (im->table[i]) {
            im->table[i]->user = room;
            room += im->table[i]->n_users;
            im->table[i]->n_users = 0;
        }
    for (int i = 0; i < im->n_nodes; i++)
        for (int k = 0; !im->node[i].done && k < im->node[i].n_in; k++)
            if (im->node[i].in[k])
                im->node[i].in[k]->user[im->node[i].in[k]->n_users++] = &im->node[i];
    return 0;
}

static int set_up(struct oi *im)
{
    size_t names = (size_t)im->m->n_tensors + (size_t)im->m->n_inputs + (size_t)im->m->n_outputs + 1;
    int r;

    for (int i = 0; i < im->m->n_nodes; i++)
        names += (size_t)im->m->node[i].n_in + (size_t)im->m->node[i].n_out;
    for (im->table_size = 64; im->table_size < 2 * names;)
        im->table_size *= 2;
    im->table = oi_alloc(im, im->table_size, sizeof *im->table);
    im->node = oi_alloc(im, (size_t)im->m->n_nodes, sizeof *im->node);
    im->out->input = calloc((size_t)im->m->n_inputs + 1, sizeof *im->out->input);
    im->out->output = calloc((size_t)im->m->n_outputs + 1, sizeof *im->out->output);
    if (!im->table || !im->node || !im->out->input || !im->out->output)
        return oi_fail(im, -ENOMEM, "out of memory");
    r = add_initialisers(im);
    for (int i = 0; r == 0 && i < im->m->n_inputs; i++)
        r = add_input(im, &im->m->input[i]);
    for (; r == 0 && im->n_nodes < im->m->n_nodes; im->n_nodes++)
        r = add_node(im, &im->node[im->n_nodes], &im->m->node[im->n_nodes]);
    for (int i = 0; r == 0 && i < im->m->n_outputs; i++) {
        struct oi_value *x = oi_lookup(im, im->m->output[i].name, true);

        if (!x)
            return -E2BIG;
        x->is_output = true;
    }
    return r;
}

/* ---- nodes ---- */
/* What can be told of all nodes before any is imported or fused with another. */
static int check_forms(struct oi *im)
{
    int r = 0;

    for (int i = 0; r == 0 && i < im->n_nodes; i++) {
        const struct oi_node *n = im->at = &im->node[i];

        if (n->p->domain[0] && strcmp(n->p->domain, "ai.onnx") != 0)
            return oi_fail(im, -EOPNOTSUPP, "operation %.60s of domain %.60s is not supported", n->p->op, n->p->domain);
        if (!n->op)
            return oi_fail(im, -EOPNOTSUPP, "operation %.60s is not supported", n->p->op);
        r = oi_check_attrs(im, n);
    }
    return r;
}

/* What knows that a uint8 tensor is kept as int8. */
static bool takes_uint8(const struct oi_node *n)
{
    return oi_is(n, "DequantizeLinear") || oi_is(n, "MatMulInteger") || oi_is(n, "ConvInteger") ||
           oi_is(n, "Transpose");
}

static int check_node(struct oi *im, const struct oi_node *n)
{
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && !n->in[i]->defined)
            return oi_fail(im, -EINVAL, "input \"%.100s\" is made by no node before this one", n->in[i]->name);
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && n->in[i]->kind != OI_PLAIN && !takes_uint8(n))
            return oi_fail(im, -EOPNOTSUPP,
                           "input \"%.100s\" is uint8 or a scale found at run time: not supported here",
                           n->in[i]->name);
    if (n->n_out < 1 || !n->out[0])
        return oi_fail(im, -EINVAL, "it has no output");
    return 0;
}

static int import_node(struct oi *im, struct oi_node *n)
{
    struct oi_value *x;
    int r;

    im->at = n;
    r = check_node(im, n);
    if (r == 0)
        r = oi_fold(im, n);
    if (r != 0)
        return r < 0 ? r : 0;
    if (!n->op->import)
        return oi_fail(im, -EOPNOTSUPP, "operation %.60s of a computed value is not supported", n->p->op);
    if (n->n_in < n->op->min_in || n->n_in > n->op->max_in || n->n_out > n->op->max_out)
        return oi_fail(im, -EOPNOTSUPP, "%d inputs and %d outputs; %d to %d and at most %d are supported", n->n_in,
                       n->n_out, n->op->min_in, n->op->max_in, n->op->max_out);
    for (int i = 0; i < n->op->min_in; i++)
        if (!n->in[i])
            return oi_fail(im, -EINVAL, "input %d is missing", i);
    if (oi_is_known(n->in[0]) && !n->op->takes_constants) {
        const npu_val v = oi_native(im, n->in[0]);

        x = v > 0 ? oi_new_value(im) : NULL;
        if (!x || oi_set(im, x, v, NULL) < 0)
            return -EINVAL;
        n->in[0] = x;
    }
    return n->op->import(im, n);
}

static int import_nodes(struct oi *im)
{
    int r = check_forms(im);

    for (int i = 0; r >= 0 && i < im->n_nodes; i++) /* constants first: what is fused is told by them */
        if (oi_is(&im->node[i], "Constant") && im->node[i].n_in == 0) {
            im->at = &im->node[i];
            r = check_node(im, im->at);
            r = r < 0 ? r : oi_fold(im, &im->node[i]);
            im->node[i].done = true;
        }
    if (r >= 0)
        r = link_users(im);
    if (r >= 0)
        r = oi_find_gelu(im);
    if (r >= 0)
        r = link_users(im);
    for (int i = 0; r >= 0 && i < im->n_nodes; i++)
        if (!im->node[i].done)
            r = import_node(im, &im->node[i]);
    im->at = NULL;
    return r < 0 ? r : 0;
}

static int add_outputs(struct oi *im)
{
    for (int i = 0; i < im->m->n_outputs; i++) {
        struct oi_value *x = oi_lookup(im, im->m->output[i].name, true);
        char buf[NPU_MAX_NAME];
        npu_val v;

        if (!x || !x->defined)
            return oi_fail(im, -EINVAL, "output \"%.100s\" is made by no node", im->m->output[i].name);
        if (x->kind != OI_PLAIN)
            return oi_fail(im, -EOPNOTSUPP, "output \"%.100s\" is uint8 or a scale found at run time: not supported",
                           im->m->output[i].name);
        v = oi_native(im, x);
        if (v < 0 || npu_output(im->g, short_name(x, buf), v) < 0)
            return oi_fail(im, -EINVAL, "%s", npu_graph_error(im->g));
        if (keep_name(im, im->out->output, &im->out->n_outputs, short_name(x, buf)) < 0)
            return -ENOMEM;
    }
    return im->m->n_outputs > 0 ? 0 : oi_fail(im, -EINVAL, "the graph has no output");
}

static int import_model(struct oi *im)
{
    int r;

    if (im->m->opset < NPU_ONNX_MIN_OPSET || im->m->opset > NPU_ONNX_MAX_OPSET)
        return oi_fail(im, -EOPNOTSUPP, "operator set %lld is not supported, only %d to %d", (long long)im->m->opset,
                       NPU_ONNX_MIN_OPSET, NPU_ONNX_MAX_OPSET);
    im->out->name = strdup(im->m->name);
    r = im->out->name ? npu_graph_new(0, &im->out->graph) : -ENOMEM;
    if (r < 0)
        return oi_fail(im, r, "out of memory");
    im->g = im->out->graph;
    for (int i = 0; i < im->m->n_nodes; i++) /* an int8 network, as npu_graph_quantise leaves it */
        im->g->exact |=
            strcmp(im->m->node[i].op, "MatMulInteger") == 0 || strcmp(im->m->node[i].op, "ConvInteger") == 0;
    r = set_up(im);
    if (r == 0)
        r = import_nodes(im);
    if (r == 0)
        r = add_outputs(im);
    if (r == 0 && npu_graph_status(im->g) < 0)
        r = oi_fail(im, npu_graph_status(im->g), "%s", npu_graph_error(im->g));
    return r;
}

/* ---- public ---- */
int npu_onnx_import_bytes(const void *bytes, size_t size, const struct npu_onnx_opts *opts, npu_onnx **ret_model,
                          char *message)
{
    struct oi im = {.opts = opts, .message = message};
    int r;

    if (message)
        message[0] = '\0';
    r = om_parse(bytes, size, opts, &im.m, message);
    if (r < 0)
        return r;
    im.out = calloc(1, sizeof *im.out);
    r = im.out ? import_model(&im) : om_say(message, -ENOMEM, "out of memory");
    if (r < 0 && im.m->starved)
        r = om_say(message, -ENOMEM, "out of memory");
    om_free(im.m);
    if (r < 0)
        npu_onnx_free(im.out);
    else
        *ret_model = im.out;
    return r;
}

int npu_onnx_import(const char *path, const struct npu_onnx_opts *opts, npu_onnx **ret_model, char *message)
{
    const size_t max = opts && opts->max_file_bytes ? opts->max_file_bytes : INT32_MAX;
    const void *bytes;
    size_t size;
    int r = om_map(path, max, &bytes, &size, message);

    if (r < 0)
        return r;
    r = npu_onnx_import_bytes(bytes, size, opts, ret_model, message);
    om_unmap(bytes, size);
    return r;
}

npu_onnx *npu_onnx_free(npu_onnx *m)
{
    if (!m)
        return NULL;
    for (int i = 0; i < m->n_params; i++)
        free(m->param[i].data);
    for (int i = 0; i < m->n_inputs; i++)
        free(m->input[i]);
    for (int i = 0; i < m->n_outputs; i++)
        free(m->output[i]);
    free(m->name);
    free(m->param);
    free(m->input);
    free(m->output);
    npu_graph_free(m->graph);
    free(m);
    return NULL;
}

const char *npu_onnx_name(const npu_onnx *m)
{
    return m->name;
}

npu_graph *npu_onnx_graph(const npu_onnx *m)
{
    return m->graph;
}

const char *npu_onnx_input(const npu_onnx *m, int index)
{
    return index >= 0 && index < m->n_inputs ? m->input[index] : NULL;
}

const char *npu_onnx_output(const npu_onnx *m, int index)
{
    return index >= 0 && index < m->n_outputs ? m->output[index] : NULL;
}

int npu_onnx_load(const npu_onnx *m, npu_plan *plan)
{
    int r = 0;

    for (int i = 0; r == 0 && i < m->n_params; i++)
        r = npu_plan_write_val(plan, m->param[i].v, m->param[i].data, m->param[i].size);
    return r;
}

int npu_onnx_save(const npu_onnx *m, const char *path, char *message)
{
    struct st_source *t = calloc((size_t)m->n_params + 1, sizeof *t);
    static const char *const metadata[] = {"format", "libnpu", NULL};
    int r;

    if (!t)
        return om_say(message, -ENOMEM, "out of memory");
    for (int i = 0; i < m->n_params; i++) {
        const struct npu_value *v = npu_value_of(m->graph, m->param[i].v);

        t[i] = (struct st_source){v->name, v->type.dtype, v->type.shape, m->param[i].data};
    }
    r = st_write(path, t, m->n_params, metadata);
    free(t);
    return r < 0 ? om_say(message, r, "%s: %s", path, strerror(-r)) : 0;
}
