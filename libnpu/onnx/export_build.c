/* export_build.c - nodes, attributes, initialisers and the two orders of axes of an exported model. */
#include <stdarg.h>
#include <stdlib.h>

#include "libnpu/onnx/export.h"
#include "libnpu/plan.h"

static const int64_t to_nchw[4] = {0, 3, 1, 2}, to_nhwc[4] = {0, 2, 3, 1};

int ex_fail(struct ex *x, int r, const char *fmt, ...)
{
    char text[NPU_ONNX_MESSAGE];
    va_list ap;

    if (x->r < 0)
        return x->r;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return x->r = om_say(x->message, r, "%s", text);
}

/* Zeroed memory of the model; the exporter's failure if there is none. */
static void *get(struct ex *x, size_t n, size_t size)
{
    void *p = om_alloc(x->m, n, size);

    if (!p)
        ex_fail(x, -ENOMEM, "out of memory");
    return p;
}

/* Room for one more item; a larger array is a new one, the old stays with the model's memory. */
static void *one_more(struct ex *x, void *array, int n, int *cap, size_t item)
{
    void *p = array;

    if (n < *cap)
        return array;
    *cap = *cap ? *cap * 2 : 64;
    p = get(x, (size_t)*cap, item);
    if (p && n > 0)
        memcpy(p, array, (size_t)n * item);
    return p;
}

char *ex_name(struct ex *x, const char *kind, int *counter)
{
    char *name;

    do
        name = om_text(x->m, "%s.%d", kind, (*counter)++);
    while (name && npu_graph_find(x->g, name) > 0);
    if (!name)
        ex_fail(x, -ENOMEM, "out of memory");
    return name;
}

char *ex_node(struct ex *x, const char *op, int n_in, ...)
{
    struct om_node *n;
    va_list ap;
    bool good;

    if (x->r < 0)
        return NULL;
    x->m->node = one_more(x, x->m->node, x->m->n_nodes, &x->m->cap_nodes, sizeof *n);
    if (!x->m->node)
        return NULL;
    n = &x->m->node[x->m->n_nodes];
    *n = (struct om_node){.op = op, .n_in = n_in, .n_out = 1, .domain = ""};
    n->in = get(x, (size_t)n_in, sizeof *n->in);
    n->out = get(x, 1, sizeof *n->out);
    n->attr = get(x, 8, sizeof *n->attr);
    n->name = om_text(x->m, "%s.%d", op, x->m->n_nodes);
    good = n->in && n->out && n->attr && n->name;
    va_start(ap, n_in);
    for (int i = 0; i < n_in; i++) {
        const char *in = va_arg(ap, char *);

        if (good)
            n->in[i] = in;
        good &= in != NULL;
    }
    va_end(ap);
    if (!good || !(n->out[0] = ex_name(x, "value", &x->n_results)))
        return NULL;
    x->m->n_nodes++;
    return (char *)(uintptr_t)n->out[0];
}

void ex_more_outputs(struct ex *x, int count, char **ret_name)
{
    struct om_node *n = x->r < 0 ? NULL : &x->m->node[x->m->n_nodes - 1];
    const char **out = n ? get(x, (size_t)(1 + count), sizeof *out) : NULL;

    if (!out)
        return;
    out[0] = n->out[0];
    n->out = out;
    for (int i = 0; i < count && (ret_name[i] = ex_name(x, "value", &x->n_results)); i++)
        out[n->n_out++] = ret_name[i];
}

static struct om_attr *add_attr(struct ex *x, const char *name, int kind)
{
    struct om_node *n;
    struct om_attr *a;

    if (x->r < 0)
        return NULL;
    n = &x->m->node[x->m->n_nodes - 1];
    a = &n->attr[n->n_attr++]; /* 8 are more than any node of ours has */
    *a = (struct om_attr){.name = name, .kind = kind};
    return a;
}

void ex_int(struct ex *x, const char *name, int64_t i)
{
    struct om_attr *a = add_attr(x, name, OM_ATTR_INT);

    if (a)
        a->i = i;
}

void ex_ints(struct ex *x, const char *name, int n, const int64_t *i)
{
    struct om_attr *a = add_attr(x, name, OM_ATTR_INTS);
    int64_t *copy = a ? get(x, (size_t)n, sizeof *copy) : NULL;

    if (!copy)
        return;
    memcpy(copy, i, (size_t)n * sizeof *copy);
    a->ints = copy;
    a->n_ints = n;
}

void ex_float(struct ex *x, const char *name, float f)
{
    struct om_attr *a = add_attr(x, name, OM_ATTR_FLOAT);

    if (a)
        a->f = f;
}

void ex_string(struct ex *x, const char *name, const char *s)
{
    struct om_attr *a = add_attr(x, name, OM_ATTR_STRING);

    if (a)
        a->s = s;
}

/* ---- initialisers ---- */
static bool is_taken(const struct ex *x, const char *name)
{
    for (int i = 0; i < x->m->n_tensors; i++)
        if (strcmp(x->m->tensor[i].name, name) == 0)
            return true;
    return false;
}

char *ex_tensor(struct ex *x, const char *name, int type, const struct npu_shape *s, const void *data, size_t size)
{
    char *own = om_text(x->m, "%s", name);

    for (int i = 2; own && is_taken(x, own); i++)
        own = om_text(x->m, "%.*s.%d", NPU_MAX_NAME - 12, name, i);
    if (!own)
        ex_fail(x, -ENOMEM, "out of memory");
    if (x->r < 0 || !data)
        return NULL;
    x->m->tensor = one_more(x, x->m->tensor, x->m->n_tensors, &x->m->cap_tensors, sizeof x->m->tensor[0]);
    if (!x->m->tensor)
        return NULL;
    x->m->tensor[x->m->n_tensors++] = (struct om_tensor){own, type, *s, data, size};
    return own;
}

static char *numbers(struct ex *x, int type, int rank, int n, const void *data, size_t size)
{
    const struct npu_shape s = {rank, {n}};
    char *name = ex_name(x, "const", &x->n_constants);
    void *copy = name ? get(x, size + 1, 1) : NULL;

    return copy ? ex_tensor(x, name, type, &s, memcpy(copy, data, size), size) : NULL;
}

char *ex_scalar(struct ex *x, float f)
{
    return numbers(x, OM_FLOAT, 0, 0, &f, sizeof f);
}

char *ex_index(struct ex *x, int64_t i)
{
    return numbers(x, OM_INT64, 0, 0, &i, sizeof i);
}

char *ex_byte(struct ex *x, int type, int i)
{
    const unsigned char byte = (unsigned char)i;

    return numbers(x, type, 0, 0, &byte, 1);
}

char *ex_shape(struct ex *x, int n, const int64_t *dim)
{
    return numbers(x, OM_INT64, 1, n, dim, (size_t)n * sizeof *dim);
}

/* ---- values ---- */
void ex_set(struct ex *x, npu_val v, char *name, bool nchw)
{
    if (x->r < 0)
        return;
    if (nchw)
        x->value[v - 1].nchw = name;
    else
        x->value[v - 1].native = name;
}

const float *ex_param(struct ex *x, npu_val v)
{
    const struct npu_value *val = npu_value_of(x->g, v);
    struct npu_tensor t;
    int64_t n;
    float *f;
    int r;

    if (x->r < 0 || !val || (val->kind != NPU_VALUE_PARAM && val->kind != NPU_VALUE_STATE))
        return NULL;
    t = (struct npu_tensor){.dtype = val->type.dtype, .shape = val->type.shape};
    n = npu_shape_elements(&t.shape);
    t.data = get(x, (size_t)n + 1, sizeof(float));
    f = t.dtype == NPU_F32 ? t.data : get(x, (size_t)n + 1, sizeof *f);
    if (!t.data || !f)
        return NULL;
    r = npu_plan_read_val(x->plan, v, t.data, npu_type_bytes(&val->type));
    if (r < 0) {
        ex_fail(x, r, "\"%s\" can't be read: %.300s", val->name, npu_plan_error(x->plan));
        return NULL;
    }
    for (int64_t i = 0; f != t.data && i < n; i++)
        f[i] = npu_load(&t, i);
    return f;
}

void *ex_raw(struct ex *x, npu_val v)
{
    const struct npu_value *val = npu_value_of(x->g, v);
    const size_t size = val ? npu_type_bytes(&val->type) : 0;
    void *p;
    int r;

    if (x->r < 0 || !val || (val->kind != NPU_VALUE_PARAM && val->kind != NPU_VALUE_STATE) ||
        !(p = get(x, size + 1, 1)))
        return NULL;
    r = npu_plan_read_val(x->plan, v, p, size);
    if (r < 0)
        ex_fail(x, r, "\"%s\" can't be read: %.300s", val->name, npu_plan_error(x->plan));
    return r < 0 ? NULL : p;
}

static char *param_native(struct ex *x, npu_val v)
{
    const struct npu_value *val = npu_value_of(x->g, v);
    const bool is_float = npu_dtype_is_float(val->type.dtype);
    const size_t n = (size_t)npu_shape_elements(&val->type.shape);
    const void *data = is_float ? ex_param(x, v) : ex_raw(x, v);

    return data ? ex_tensor(x, val->name, is_float ? OM_FLOAT : om_type_of(val->type.dtype), &val->type.shape, data,
                            is_float ? n * sizeof(float) : npu_type_bytes(&val->type))
                : NULL;
}

/* A uint8 result of quantise_dynamic as int8: less by 128, exactly. */
static char *less_128(struct ex *x, struct ex_value *e)
{
    char *one = ex_scalar(x, 1.0f), *q = e->uint8 ? e->uint8 : e->uint8_nchw;

    q = ex_node(x, "DequantizeLinear", 3, q, one, ex_byte(x, OM_UINT8, 128));
    return ex_node(x, "QuantizeLinear", 3, q, one, ex_byte(x, OM_INT8, 0));
}

char *ex_native(struct ex *x, npu_val v)
{
    const struct npu_value *val = npu_value_of(x->g, v);
    struct ex_value *e;

    if (x->r < 0 || !val)
        return NULL;
    e = &x->value[v - 1];
    if (e->step) {
        ex_fail(x, -EOPNOTSUPP, "a range of operation quantise_dynamic has no ONNX form by itself");
        return NULL;
    }
    if (!e->native && !e->nchw && (e->uint8 || e->uint8_nchw))
        ex_set(x, v, less_128(x, e), !e->uint8);
    if (!e->native && e->nchw) {
        e->native = ex_node(x, "Transpose", 1, e->nchw);
        ex_ints(x, "perm", 4, to_nhwc);
    } else if (!e->native && (val->kind == NPU_VALUE_PARAM || val->kind == NPU_VALUE_STATE)) {
        e->native = param_native(x, v);
    }
    if (!e->native)
        ex_fail(x, -EINVAL, "value %d is used before it is made", (int)v);
    return e->native;
}

char *ex_nchw(struct ex *x, npu_val v)
{
    struct ex_value *e;

    if (x->r < 0 || !npu_value_of(x->g, v))
        return NULL;
    e = &x->value[v - 1];
    if (!e->nchw) {
        e->nchw = ex_node(x, "Transpose", 1, ex_native(x, v));
        ex_ints(x, "perm", 4, to_nchw);
    }
    return e->nchw;
}

bool ex_prefers_nchw(const struct ex *x, npu_val v)
{
    return npu_value_of(x->g, v) && x->value[v - 1].nchw && !x->value[v - 1].native;
}

char *ex_channel(struct ex *x, npu_val v)
{
    const struct npu_value *val = npu_value_of(x->g, v);
    const float *f;
    struct npu_shape s;

    if (!val || val->type.shape.rank != 1)
        return NULL;
    f = ex_param(x, v);
    s = (struct npu_shape){3, {val->type.shape.dim[0], 1, 1}};
    return f ? ex_tensor(x, val->name, OM_FLOAT, &s, f, (size_t)s.dim[0] * sizeof *f) : NULL;
}
