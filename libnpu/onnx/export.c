/* export.c - a plan's graph and parameters as an ONNX file. */
#include <stdlib.h>

#include "libnpu/onnx/export.h"
#include "libnpu/plan.h"

/* Values that the outputs need. */
static void mark_needed(struct ex *x)
{
    for (int i = 0; i < x->g->n_outputs; i++)
        x->value[x->g->output[i].val - 1].needed = true;
    for (int i = x->g->n_nodes - 1; i >= 0; i--) {
        const struct npu_node *n = x->g->node[i];
        bool needed = false;

        for (int k = 0; k < n->n_out; k++)
            needed |= x->value[n->out[k] - 1].needed;
        for (int k = 0; needed && k < n->n_in; k++)
            if (n->in[k] != NPU_NONE)
                x->value[n->in[k] - 1].needed = true;
    }
}

static bool is_needed(const struct ex *x, const struct npu_node *n)
{
    for (int k = 0; k < n->n_out; k++)
        if (x->value[n->out[k] - 1].needed)
            return true;
    return false;
}

static struct om_value value_info(const struct ex *x, npu_val v, const char *name)
{
    const struct npu_tensor_type *t = &npu_value_of(x->g, v)->type;
    struct om_value info = {.name = name, .rank = t->shape.rank};

    info.type = npu_dtype_is_float(t->dtype) ? OM_FLOAT : om_type_of(t->dtype);
    memcpy(info.dim, t->shape.dim, sizeof info.dim);
    return info;
}

static void add_inputs(struct ex *x)
{
    x->m->input = om_alloc(x->m, (size_t)x->g->n_values, sizeof x->m->input[0]);
    for (npu_val v = 1; x->m->input && v <= x->g->n_values; v++) {
        const struct npu_value *val = npu_value_of(x->g, v);

        if (val->kind != NPU_VALUE_INPUT)
            continue;
        x->value[v - 1].native = om_text(x->m, "%s", val->name);
        x->m->input[x->m->n_inputs++] = value_info(x, v, val->name);
    }
    if (!x->m->input)
        ex_fail(x, -ENOMEM, "out of memory");
}

/* An output takes over the name of its result; a second output of it, or one that is an input or a parameter, is a
 * copy. */
static void add_outputs(struct ex *x)
{
    x->m->output = om_alloc(x->m, (size_t)x->g->n_outputs, sizeof x->m->output[0]);
    if (!x->m->output)
        ex_fail(x, -ENOMEM, "out of memory");
    for (int i = 0; x->r == 0 && i < x->g->n_outputs; i++) {
        const struct npu_graph_output *o = &x->g->output[i];
        char *name = ex_native(x, o->val);

        if (name && (strncmp(name, "value.", 6) != 0 || npu_graph_find(x->g, name) > 0))
            name = ex_node(x, "Identity", 1, name);
        if (!name)
            return;
        snprintf(name, NPU_MAX_NAME, "%s", o->name);
        x->m->output[x->m->n_outputs++] = value_info(x, o->val, o->name);
    }
}

static int build(struct ex *x, const char *name)
{
    x->m->ir_version = NPU_ONNX_IR_VERSION;
    x->m->opset = NPU_ONNX_OPSET;
    x->m->producer = "libnpu";
    x->m->name = name;
    add_inputs(x);
    mark_needed(x);
    for (int i = 0; x->r == 0 && i < x->g->n_nodes; i++)
        if (is_needed(x, x->g->node[i]))
            ex_op(x, x->g->node[i]);
    if (x->r == 0 && x->g->n_outputs == 0)
        ex_fail(x, -EINVAL, "the graph has no output");
    if (x->r == 0)
        add_outputs(x);
    return x->r;
}

int npu_onnx_export_bytes(npu_plan *plan, const char *name, void **ret_bytes, size_t *ret_size, char *message)
{
    struct ex x = {.plan = plan, .g = plan->given, .m = om_new(SIZE_MAX), .message = message};
    int r;

    if (message)
        message[0] = '\0';
    x.value = calloc((size_t)x.g->n_values + 1, sizeof x.value[0]);
    if (!x.m || !x.value)
        r = om_say(message, -ENOMEM, "out of memory");
    else
        r = build(&x, name);
    if (r == 0)
        r = om_pack(x.m, ret_bytes, ret_size, message);
    free(x.value);
    om_free(x.m);
    return r;
}

int npu_onnx_export(npu_plan *plan, const char *name, const char *path, char *message)
{
    void *bytes;
    size_t size;
    int r = npu_onnx_export_bytes(plan, name, &bytes, &size, message);

    if (r == 0) {
        r = om_write(path, bytes, size, message);
        free(bytes);
    }
    return r;
}
