/* proto_write.c - the bytes of a file from an om_model. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libnpu/onnx/model.h"
#include "onnx.pb-c.h" /* made from onnx.proto */

/* Messages are built in an om_model of their own, which is freed as a whole; one failed allocation is remembered. */
struct pack {
    struct om_model *memory;
    bool failed;
};

static void *get(struct pack *p, size_t n, size_t size)
{
    void *a = om_alloc(p->memory, n + 1, size);

    p->failed |= !a;
    return a;
}

/* Texts are only read when packed. */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void put_tensor(struct pack *p, const struct om_tensor *t, Onnx__TensorProto *to)
{
    onnx__tensor_proto__init(to);
    to->name = text(t->name);
    to->data_type = t->type;
    to->n_dims = (size_t)t->shape.rank;
    to->dims = get(p, to->n_dims, sizeof to->dims[0]);
    if (to->dims)
        memcpy(to->dims, t->shape.dim, to->n_dims * sizeof to->dims[0]);
    to->raw_data.len = t->size;
    to->raw_data.data = (uint8_t *)(uintptr_t)t->data;
}

static void put_attr(struct pack *p, const struct om_attr *a, Onnx__AttributeProto *to)
{
    onnx__attribute_proto__init(to);
    to->name = text(a->name);
    to->type = a->kind;
    to->f = a->f;
    to->i = a->i;
    if (a->kind == OM_ATTR_STRING) {
        to->s.len = strlen(a->s);
        to->s.data = (uint8_t *)text(a->s);
    }
    if (a->kind == OM_ATTR_INTS) {
        to->n_ints = (size_t)a->n_ints;
        to->ints = (int64_t *)(uintptr_t)a->ints;
    }
    if (a->kind == OM_ATTR_TENSOR && (to->t = get(p, 1, sizeof *to->t)))
        put_tensor(p, a->t, to->t);
}

static void put_node(struct pack *p, const struct om_node *n, Onnx__NodeProto *to)
{
    Onnx__AttributeProto *a = get(p, (size_t)n->n_attr, sizeof *a);

    onnx__node_proto__init(to);
    to->op_type = text(n->op);
    to->name = text(n->name);
    to->domain = text(n->domain);
    to->n_input = (size_t)n->n_in;
    to->input = (char **)n->in;
    to->n_output = (size_t)n->n_out;
    to->output = (char **)n->out;
    to->n_attribute = (size_t)n->n_attr;
    to->attribute = get(p, to->n_attribute, sizeof to->attribute[0]);
    for (int i = 0; a && to->attribute && i < n->n_attr; i++) {
        to->attribute[i] = &a[i];
        put_attr(p, &n->attr[i], &a[i]);
    }
}

static void put_value(struct pack *p, const struct om_value *v, Onnx__ValueInfoProto *to)
{
    Onnx__TypeProto *type = get(p, 1, sizeof *type);
    Onnx__TypeProto__Tensor *tensor = get(p, 1, sizeof *tensor);
    Onnx__TensorShapeProto *shape = get(p, 1, sizeof *shape);
    Onnx__TensorShapeProto__Dimension *dim = get(p, (size_t)v->rank, sizeof *dim);

    onnx__value_info_proto__init(to);
    to->name = text(v->name);
    if (!type || !tensor || !shape || !dim)
        return;
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(tensor);
    onnx__tensor_shape_proto__init(shape);
    to->type = type;
    type->tensor_type = tensor;
    tensor->elem_type = v->type;
    tensor->shape = shape;
    shape->n_dim = (size_t)v->rank;
    shape->dim = get(p, shape->n_dim, sizeof shape->dim[0]);
    for (int i = 0; shape->dim && i < v->rank; i++) {
        onnx__tensor_shape_proto__dimension__init(&dim[i]);
        dim[i].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        dim[i].dim_value = v->dim[i];
        shape->dim[i] = &dim[i];
    }
}

/* to: pointers to `count` messages, each made by put from one of from. */
#define PUT_ALL(p, put, from, count, to)                                                                               \
    do {                                                                                                               \
        void *all = get(p, (size_t)(count), sizeof **(to));                                                            \
        (to) = get(p, (size_t)(count), sizeof *(to));                                                                  \
        for (int i = 0; all && (to) && i < (count); i++) {                                                             \
            (to)[i] = (void *)((char *)all + (size_t)i * sizeof **(to));                                               \
            put(p, &(from)[i], (to)[i]);                                                                               \
        }                                                                                                              \
    } while (0)

static void put_graph(struct pack *p, const struct om_model *m, Onnx__GraphProto *g)
{
    onnx__graph_proto__init(g);
    g->name = text(m->name);
    g->n_node = (size_t)m->n_nodes;
    g->n_initializer = (size_t)m->n_tensors;
    g->n_input = (size_t)m->n_inputs;
    g->n_output = (size_t)m->n_outputs;
    PUT_ALL(p, put_node, m->node, m->n_nodes, g->node);
    PUT_ALL(p, put_tensor, m->tensor, m->n_tensors, g->initializer);
    PUT_ALL(p, put_value, m->input, m->n_inputs, g->input);
    PUT_ALL(p, put_value, m->output, m->n_outputs, g->output);
}

static int pack_model(const Onnx__ModelProto *model, void **ret_bytes, size_t *ret_size, char *message)
{
    const size_t size = onnx__model_proto__get_packed_size(model);
    void *bytes;

    if (size > INT32_MAX)
        return om_say(message, -E2BIG, "%zu bytes: more than the 2 GiB that an ONNX file may have", size);
    bytes = malloc(size + 1);
    if (!bytes)
        return om_say(message, -ENOMEM, "out of memory");
    onnx__model_proto__pack(model, bytes);
    *ret_bytes = bytes;
    *ret_size = size;
    return 0;
}

int om_pack(const struct om_model *m, void **ret_bytes, size_t *ret_size, char *message)
{
    struct pack p = {om_new(SIZE_MAX), false};
    Onnx__OperatorSetIdProto opset = ONNX__OPERATOR_SET_ID_PROTO__INIT, *opsets[1] = {&opset};
    Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
    Onnx__GraphProto graph;
    int r;

    if (!p.memory)
        return om_say(message, -ENOMEM, "out of memory");
    put_graph(&p, m, &graph);
    opset.version = m->opset;
    model.ir_version = m->ir_version;
    model.producer_name = text(m->producer);
    model.n_opset_import = 1;
    model.opset_import = opsets;
    model.graph = &graph;
    r = p.failed ? om_say(message, -ENOMEM, "out of memory") : pack_model(&model, ret_bytes, ret_size, message);
    om_free(p.memory);
    return r;
}
