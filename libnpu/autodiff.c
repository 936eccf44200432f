/* autodiff.c - backward as a rewrite: nodes that compute gradients are added to the same graph. */
#include <stdlib.h>

#include "libnpu/graph.h"

struct backward {
    npu_graph *g;
    npu_val *grad; /* by value handle of the forward graph */
    int32_t n_values;
};

int npu_graph_want_grad(npu_graph *g, npu_val v)
{
    struct npu_value *val = npu_value_of(g, v);

    if (g->status < 0)
        return g->status;
    if (v < 0)
        return v;
    if (!val || val->kind != NPU_VALUE_INPUT || !npu_dtype_is_float(val->type.dtype))
        return npu_graph_fail(g, -EINVAL, "want_grad: value %d is no input of a float type", (int)v);
    val->want_grad = true;
    npu_graph_mark_grads(g);
    return 0;
}

npu_val npu_graph_grad(const npu_graph *g, npu_val v)
{
    const struct npu_value *val = npu_value_of(g, v);

    return val && val->grad != NPU_NONE ? val->grad : -ENOENT;
}

static bool same_type(const struct npu_tensor_type *a, const struct npu_tensor_type *b)
{
    if (a->dtype != b->dtype || a->shape.rank != b->shape.rank)
        return false;
    return a->shape.rank == 0 ||
           memcmp(a->shape.dim, b->shape.dim, (size_t)a->shape.rank * sizeof a->shape.dim[0]) == 0;
}

/* Adds d to the gradient of v. */
static int accumulate(struct backward *b, const struct npu_op *op, npu_val v, npu_val d)
{
    const struct npu_value *val = npu_value_of(b->g, v), *dv = npu_value_of(b->g, d);
    char have[96], want[96];

    if (d < 0)
        return d;
    if (!dv || !same_type(&val->type, &dv->type))
        return npu_graph_fail(b->g, -EINVAL, "%s: its backward gives %s for an input of %s", op->name,
                              dv ? npu_type_text(&dv->type, have, sizeof have) : "nothing",
                              npu_type_text(&val->type, want, sizeof want));
    b->grad[v] = b->grad[v] == NPU_NONE ? d : npu_add(b->g, b->grad[v], d);
    return b->grad[v] < 0 ? b->grad[v] : 0;
}

static int node_backward(struct backward *b, const struct npu_node *n)
{
    npu_val gout[NPU_MAX_OUT] = {0}, gin[NPU_MAX_IN] = {0};
    bool any_out = false, any_in = false;
    int r;

    for (int k = 0; k < n->n_out; k++) {
        gout[k] = b->grad[n->out[k]];
        any_out |= gout[k] != NPU_NONE;
    }
    for (int k = 0; k < n->n_in; k++)
        any_in |= npu_val_needs_grad(b->g, n->in[k]);
    if (!any_out || !any_in)
        return 0;
    if (!n->op->grad)
        return npu_graph_fail(b->g, -EOPNOTSUPP, "operation %s has no backward", n->op->name);
    r = n->op->grad(b->g, n, gout, gin);
    if (r < 0)
        return npu_graph_fail(b->g, r, "operation %s: backward: %s", n->op->name, strerror(-r));
    for (int k = 0; k < n->n_in; k++) {
        if (gin[k] == NPU_NONE || (gin[k] > 0 && !npu_val_needs_grad(b->g, n->in[k])))
            continue;
        r = accumulate(b, n->op, n->in[k], gin[k]);
        if (r < 0)
            return r;
    }
    return 0;
}

static int run_backward(struct backward *b, npu_val loss)
{
    npu_graph *g = b->g;
    int32_t last = npu_value_of(g, loss)->node;
    int r = 0;

    b->grad[loss] = npu_scale(g, loss, 0.0f, 1.0f); /* d loss / d loss */
    if (b->grad[loss] < 0)
        return b->grad[loss];
    for (int32_t i = last; i >= 0 && r >= 0; i--)
        r = node_backward(b, g->node[i]);
    if (r < 0)
        return r;
    for (npu_val v = 1; v <= b->n_values; v++)
        npu_value_of(g, v)->grad = b->grad[v];
    return g->status;
}

int npu_graph_backward(npu_graph *g, npu_val loss)
{
    const struct npu_value *val = npu_value_of(g, loss);
    struct backward b = {.g = g, .n_values = g->n_values};
    int r;

    if (g->status < 0)
        return g->status;
    if (loss < 0)
        return loss;
    if (g->has_backward)
        return npu_graph_fail(g, -EALREADY, "backward: the graph has its gradients already");
    if (!val || val->node < 0 || val->type.dtype != NPU_F32 || npu_shape_elements(&val->type.shape) != 1)
        return npu_graph_fail(g, -EINVAL, "backward: the loss must be one computed f32 number");
    npu_graph_mark_grads(g);
    b.grad = calloc((size_t)g->n_values + 1, sizeof b.grad[0]);
    if (!b.grad)
        return npu_graph_fail(g, -ENOMEM, "out of memory");
    g->has_backward = true;
    r = run_backward(&b, loss);
    free(b.grad);
    return r;
}
