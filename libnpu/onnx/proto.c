/* proto.c - an om_model from and to the bytes of a file. All of protobuf is here. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libnpu/onnx/model.h"
#include "onnx.pb-c.h" /* made from onnx.proto */

/* ---- reading ---- */

/* Memory for the unpacked message: counted, so that a small file of many empty messages can't take all there is. */
struct budget {
    size_t used, max;
    bool starved; /* the system refused memory before max was reached */
};

static void *budget_alloc(void *data, size_t size)
{
    struct budget *b = data;
    size_t *p;

    if (size > b->max - b->used)
        return NULL;
    p = om_large(malloc(size + 16), size);
    if (!p) {
        b->starved = true;
        return NULL;
    }
    b->used += size;
    *p = size;
    return (char *)p + 16;
}

static void budget_free(void *data, void *p)
{
    struct budget *b = data;
    size_t *start;

    if (!p)
        return;
    start = (size_t *)(void *)((char *)p - 16);
    b->used -= *start;
    free(start);
}

struct message {
    struct budget budget;
    ProtobufCAllocator allocator;
    Onnx__ModelProto *model;
};

static void message_free(struct message *msg)
{
    if (msg && msg->model)
        onnx__model_proto__free_unpacked(msg->model, &msg->allocator);
    free(msg);
}

struct om_model *om_free(struct om_model *m)
{
    if (!m)
        return NULL;
    om_free_chunks(m);
    message_free(m->message);
    free(m);
    return NULL;
}

static int no_memory(char *message)
{
    return om_say(message, -E2BIG, "the model takes more memory than the limit");
}

/* Elements of the type-specific field that stands in for raw_data, brought into raw form. */
static int gather_elements(struct om_model *m, const Onnx__TensorProto *p, struct om_tensor *t)
{
    const size_t size = om_type_size(t->type);
    const size_t n = t->type == OM_FLOAT    ? p->n_float_data
                     : t->type == OM_INT64  ? p->n_int64_data
                     : t->type == OM_DOUBLE ? p->n_double_data
                                            : p->n_int32_data;
    unsigned char *to = om_alloc(m, n + 1, size);

    if (!to)
        return -E2BIG;
    for (size_t i = 0; i < n; i++) {
        const int32_t narrow =
            t->type == OM_FLOAT || t->type == OM_INT64 || t->type == OM_DOUBLE ? 0 : p->int32_data[i];

        if (t->type == OM_FLOAT)
            memcpy(to + i * size, &p->float_data[i], size);
        else if (t->type == OM_INT64)
            memcpy(to + i * size, &p->int64_data[i], size);
        else if (t->type == OM_DOUBLE)
            memcpy(to + i * size, &p->double_data[i], size);
        else if (size == 4)
            memcpy(to + i * size, &narrow, 4);
        else if (size == 2)
            memcpy(to + i * size, &(uint16_t){(uint16_t)narrow}, 2);
        else
            to[i] = (unsigned char)narrow;
    }
    t->data = to;
    t->size = n * size;
    return 0;
}

static int read_tensor(struct om_model *m, const Onnx__TensorProto *p, struct om_tensor *t, char *message)
{
    int64_t n;

    if (!p)
        return om_say(message, -EBADMSG, "an attribute has no tensor");
    *t = (struct om_tensor){.name = p->name, .type = p->data_type, .shape.rank = (int)p->n_dims};
    if (p->data_location != 0 || p->n_external_data > 0)
        return om_say(
            message, -EOPNOTSUPP,
            "tensor \"%.100s\" lies in another file (external data): export the model with its weights inside",
            p->name);
    if (p->n_dims > NPU_MAX_DIMS)
        return om_say(message, -E2BIG, "tensor \"%.100s\" has %zu dims; %d are the most", p->name, p->n_dims,
                      NPU_MAX_DIMS);
    for (size_t i = 0; i < p->n_dims; i++) {
        t->shape.dim[i] = p->dims[i];
        if (p->dims[i] < 0)
            return om_say(message, -EBADMSG, "tensor \"%.100s\" has a negative dim", p->name);
    }
    if (!om_type_size(t->type))
        return om_say(message, -EOPNOTSUPP, "tensor \"%.100s\" has element type %d, which is not supported", p->name,
                      t->type);
    n = npu_shape_elements(&t->shape);
    if (n > NPU_MAX_ELEMENTS)
        return om_say(message, -E2BIG, "tensor \"%.100s\" has too many elements", p->name);
    t->data = p->raw_data.data;
    t->size = p->raw_data.len;
    if (!t->size && gather_elements(m, p, t) < 0)
        return no_memory(message);
    if (t->size != (size_t)n * om_type_size(t->type))
        return om_say(message, -EBADMSG, "tensor \"%.100s\" has %zu bytes of data; its shape needs %zu", p->name,
                      t->size, (size_t)n * om_type_size(t->type));
    return 0;
}

static int read_attr(struct om_model *m, const Onnx__AttributeProto *p, struct om_attr *a, char *message)
{
    static const int64_t none;
    struct om_tensor *t;
    char *s;

    *a = (struct om_attr){.name = p->name, .kind = p->type, .f = p->f, .i = p->i, .s = "", .ints = &none};
    a->n_ints = (int)p->n_ints;
    if (p->n_ints)
        a->ints = p->ints;
    if (p->n_ints > NPU_MAX_NODES)
        return om_say(message, -E2BIG, "attribute \"%.100s\" has %zu numbers", p->name, p->n_ints);
    if (!a->kind) /* files of the first version of the format do not say */
        a->kind = p->t ? OM_ATTR_TENSOR : p->n_ints ? OM_ATTR_INTS : p->s.len ? OM_ATTR_STRING : OM_ATTR_INT;
    if (a->kind == OM_ATTR_TENSOR) {
        a->t = t = om_alloc(m, 1, sizeof *t);
        return t ? read_tensor(m, p->t, t, message) : no_memory(message);
    }
    if (a->kind != OM_ATTR_STRING)
        return 0;
    a->s = s = om_alloc(m, p->s.len + 1, 1);
    if (s && p->s.len)
        memcpy(s, p->s.data, p->s.len);
    return s ? 0 : no_memory(message);
}

static int read_node(struct om_model *m, const Onnx__NodeProto *p, struct om_node *n, char *message)
{
    *n = (struct om_node){.op = p->op_type, .name = p->name, .domain = p->domain};
    if (p->n_input > NPU_MAX_NODES || p->n_output > NPU_MAX_NODES || p->n_attribute > 256)
        return om_say(message, -E2BIG, "%.60s node \"%.100s\": too many inputs, outputs or attributes", p->op_type,
                      p->name);
    n->n_in = (int)p->n_input;
    n->n_out = (int)p->n_output;
    n->n_attr = (int)p->n_attribute;
    n->in = (const char **)p->input;
    n->out = (const char **)p->output;
    n->attr = om_alloc(m, p->n_attribute, sizeof *n->attr);
    if (!n->attr)
        return no_memory(message);
    for (size_t i = 0; i < p->n_attribute; i++) {
        int r = read_attr(m, p->attribute[i], &n->attr[i], message);

        if (r < 0)
            return r;
    }
    return 0;
}

static int read_value(const Onnx__ValueInfoProto *p, struct om_value *v, char *message)
{
    const Onnx__TypeProto__Tensor *t = p->type ? p->type->tensor_type : NULL;

    *v = (struct om_value){.name = p->name, .type = t ? t->elem_type : 0, .rank = -1};
    if (!t || !t->shape)
        return 0;
    if (t->shape->n_dim > NPU_MAX_DIMS)
        return om_say(message, -E2BIG, "\"%.100s\" has %zu dims; %d are the most", p->name, t->shape->n_dim,
                      NPU_MAX_DIMS);
    v->rank = (int)t->shape->n_dim;
    for (int i = 0; i < v->rank; i++) {
        const Onnx__TensorShapeProto__Dimension *d = t->shape->dim[i];
        const bool known = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && d->dim_value >= 0;

        v->dim[i] = known ? d->dim_value : -1;
        v->dim_name[i] = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM ? d->dim_param : "";
    }
    return 0;
}

static int read_values(struct om_model *m, size_t n, Onnx__ValueInfoProto *const *p, struct om_value **ret_value,
                       int *ret_n, char *message)
{
    *ret_value = om_alloc(m, n, sizeof **ret_value);
    *ret_n = (int)n;
    if (!*ret_value)
        return no_memory(message);
    for (size_t i = 0; i < n; i++) {
        int r = read_value(p[i], &(*ret_value)[i], message);

        if (r < 0)
            return r;
    }
    return 0;
}

static int read_graph(struct om_model *m, const Onnx__GraphProto *g, size_t max, char *message)
{
    int r;

    if (g->n_node > max || g->n_initializer > max || g->n_input > max || g->n_output > max)
        return om_say(message, -E2BIG, "%zu nodes, %zu initialisers, %zu inputs, %zu outputs: more than %zu", g->n_node,
                      g->n_initializer, g->n_input, g->n_output, max);
    m->name = g->name;
    m->node = om_alloc(m, g->n_node, sizeof *m->node);
    m->tensor = om_alloc(m, g->n_initializer, sizeof *m->tensor);
    if (!m->node || !m->tensor)
        return no_memory(message);
    r = read_values(m, g->n_input, g->input, &m->input, &m->n_inputs, message);
    if (r == 0)
        r = read_values(m, g->n_output, g->output, &m->output, &m->n_outputs, message);
    for (; r == 0 && (size_t)m->n_tensors < g->n_initializer; m->n_tensors++)
        r = read_tensor(m, g->initializer[m->n_tensors], &m->tensor[m->n_tensors], message);
    for (; r == 0 && (size_t)m->n_nodes < g->n_node; m->n_nodes++)
        r = read_node(m, g->node[m->n_nodes], &m->node[m->n_nodes], message);
    return r;
}

static int read_model(struct om_model *m, const Onnx__ModelProto *p, size_t max, char *message)
{
    if (!p->graph)
        return om_say(message, -EBADMSG, "not an ONNX file: there is no graph in it");
    m->ir_version = p->ir_version;
    m->producer = p->producer_name;
    for (size_t i = 0; i < p->n_opset_import; i++)
        if (!p->opset_import[i]->domain[0] || strcmp(p->opset_import[i]->domain, "ai.onnx") == 0)
            m->opset = p->opset_import[i]->version;
    return read_graph(m, p->graph, max, message);
}

int om_parse(const void *bytes, size_t size, const struct npu_onnx_opts *opts, struct om_model **ret_model,
             char *message)
{
    const size_t max = opts && opts->max_memory_bytes ? opts->max_memory_bytes : (size_t)4 << 30;
    const int nodes = opts && opts->max_nodes > 0 ? opts->max_nodes : NPU_MAX_NODES;
    struct om_model *m = om_new(max);
    struct message *msg = calloc(1, sizeof *msg);
    int r;

    if (!m || !msg) {
        free(msg);
        om_free(m);
        return om_say(message, -ENOMEM, "out of memory");
    }
    m->message = msg;
    msg->budget.max = max;
    msg->allocator = (ProtobufCAllocator){budget_alloc, budget_free, &msg->budget};
    msg->model = onnx__model_proto__unpack(&msg->allocator, size, bytes);
    if (!msg->model && msg->budget.starved)
        r = om_say(message, -ENOMEM, "out of memory");
    else if (!msg->model)
        r = om_say(message, -EBADMSG, "not an ONNX file: damaged, cut short, or larger unpacked than the limit");
    else
        r = read_model(m, msg->model, (size_t)nodes, message);
    if (r < 0 && m->starved)
        r = om_say(message, -ENOMEM, "out of memory");
    if (r < 0)
        om_free(m);
    else
        *ret_model = m;
    return r;
}
