/* graph.h - how a graph is kept (internal to libnpu). */
#ifndef NPU_GRAPH_H
#define NPU_GRAPH_H

#include "libnpu/op.h"

enum npu_value_kind { NPU_VALUE_INPUT, NPU_VALUE_PARAM, NPU_VALUE_STATE, NPU_VALUE_NODE };

struct npu_value {
    struct npu_tensor_type type;
    enum npu_value_kind kind;
    char *name; /* NULL for a node's result */
    struct npu_init init;
    int32_t node, out_index; /* who makes it; node -1 for inputs, parameters and states */
    npu_val root;            /* the value whose memory this one shares; itself if none */
    npu_val grad;            /* after npu_graph_backward; NPU_NONE = none */
    bool needs_grad, want_grad;
    bool updated; /* a node writes this memory in place (only set for the root) */
    bool frozen;  /* see npu_val_is_frozen; set by npu_graph_mark_frozen */
    bool moment;  /* state of an optimiser */
    float test_lo, test_hi;
};

struct npu_graph_output {
    char *name;
    npu_val val;
};

/* Values and nodes are allocated one by one: pointers to them stay good while a graph grows. */
struct npu_graph {
    unsigned flags;
    int status;
    char error[512];
    int32_t n_values, cap_values; /* value handles are 1 .. n_values */
    struct npu_value **value;     /* value[v - 1] */
    int32_t n_nodes, cap_nodes;
    struct npu_node **node;
    int n_outputs, cap_outputs;
    struct npu_graph_output *output;
    bool has_backward;
    bool widened;                /* a plan's own, in f32 in place of bf16 (widen.h) */
    bool exact;                  /* nodes added from now on are computed to the last bit (struct npu_node) */
    enum npu_dtype test_storage; /* what npu_input makes of f32 (tests of bf16 storage) */
};

static inline struct npu_value *npu_value_of(const npu_graph *g, npu_val v)
{
    return v > 0 && v <= g->n_values ? g->value[v - 1] : NULL;
}

static inline size_t npu_type_bytes(const struct npu_tensor_type *t)
{
    return (size_t)npu_shape_elements(&t->shape) * npu_dtype_size(t->dtype);
}

static inline bool npu_dtype_is_float(enum npu_dtype t)
{
    return t == NPU_F32 || t == NPU_BF16 || t == NPU_F16;
}

/* "[2,3] f32" for messages; returns buf */
const char *npu_type_text(const struct npu_tensor_type *t, char *buf, size_t size);
/* The only one of these nodes that reads v, once; NULL: none, more, or v is an output of the graph. */
const struct npu_node *npu_graph_only_reader(const npu_graph *g, struct npu_node *const *node, int32_t n_nodes,
                                             npu_val v);
/* Recomputes needs_grad of all values (after npu_graph_want_grad). */
void npu_graph_mark_grads(npu_graph *g);
void npu_graph_mark_frozen(npu_graph *g);

#endif
