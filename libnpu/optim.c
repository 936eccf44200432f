/* optim.c - the update of all parameters as nodes of the graph: AdamW with a global norm limit, SGD with momentum. */
#include <stdlib.h>

#include "libnpu/graph.h"
#include "libnpu/op/ops.h"

/* Parameters with gradients, in the order in which they were made; *ret_n of them. NULL and a status on failure. */
static npu_val *trained(npu_graph *g, const char *what, int *ret_n)
{
    npu_val *v = calloc((size_t)g->n_values + 1, sizeof *v);
    int n = 0;

    if (!v) {
        npu_graph_fail(g, -ENOMEM, "out of memory");
        return NULL;
    }
    for (npu_val i = 1; i <= g->n_values; i++)
        if (npu_value_of(g, i)->kind == NPU_VALUE_PARAM && npu_value_of(g, i)->grad != NPU_NONE)
            v[n++] = i;
    if (n == 0) {
        npu_graph_fail(g, -EINVAL, "%s: no parameter has a gradient: call npu_graph_backward first", what);
        free(v);
        return NULL;
    }
    *ret_n = n;
    return v;
}

/* A zero state of the parameter's shape, "<prefix><param>". */
static npu_val moment(npu_graph *g, const char *prefix, npu_val param)
{
    const struct npu_value *p = npu_value_of(g, param);
    char name[2 * NPU_MAX_NAME];
    npu_val v;

    snprintf(name, sizeof name, "%s%s", prefix, p->name);
    v = npu_state(g, name, NPU_F32, p->type.shape.rank, p->type.shape.dim, (struct npu_init){.kind = NPU_INIT_ZERO});
    if (v > 0)
        npu_value_of(g, v)->moment = true;
    return v;
}

static npu_val scalar_input(npu_graph *g, const char *name)
{
    npu_val v = npu_graph_find(g, name);

    return v > 0 ? v : npu_input(g, name, NPU_F32, 0, NULL);
}

/* The global norm as output "grad_norm"; the factor that limits it. */
static npu_val clip(npu_graph *g, const npu_val *param, int n, float clip_norm)
{
    npu_val *grad = calloc((size_t)n, sizeof *grad), norm = NPU_NONE, scale;

    if (!grad)
        return npu_graph_fail(g, -ENOMEM, "out of memory");
    for (int i = 0; i < n; i++)
        grad[i] = npu_value_of(g, param[i])->grad;
    scale = npu_clip_scale(g, npu_sum_squares(g, grad, n), clip_norm, &norm);
    npu_output(g, "grad_norm", norm);
    free(grad);
    return clip_norm > 0.0f || scale < 0 ? scale : NPU_NONE;
}

int npu_graph_adamw(npu_graph *g, const struct npu_adamw_opts *o)
{
    npu_val *param, scale, lr, step;
    int n;

    if (g->status < 0)
        return g->status;
    if (!(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1 && o->eps > 0 && o->weight_decay >= 0))
        return npu_graph_fail(g, -EINVAL, "adamw: betas must lie in [0, 1), eps above 0, weight_decay not below 0");
    param = trained(g, "adamw", &n);
    if (!param)
        return g->status;
    lr = scalar_input(g, "lr");
    step = scalar_input(g, "step");
    scale = clip(g, param, n, o->clip_norm);
    for (int i = 0; i < n && g->status >= 0; i++) {
        const struct npu_value *p = npu_value_of(g, param[i]);
        struct npu_adamw_step s = {o->beta1, o->beta2, o->eps, p->type.shape.rank >= 2 ? o->weight_decay : 0.0f};
        npu_val m = moment(g, "adamw.m.", param[i]), v = moment(g, "adamw.v.", param[i]);

        npu_adamw(g, param[i], p->grad, m, v, lr, step, scale, &s);
    }
    free(param);
    return g->status;
}

int npu_graph_sgd(npu_graph *g, float momentum, float weight_decay)
{
    npu_val *param, lr;
    int n;

    if (g->status < 0)
        return g->status;
    if (!(momentum >= 0 && momentum < 1 && weight_decay >= 0))
        return npu_graph_fail(g, -EINVAL, "sgd: momentum must lie in [0, 1), weight_decay not below 0");
    param = trained(g, "sgd", &n);
    if (!param)
        return g->status;
    lr = scalar_input(g, "lr");
    for (int i = 0; i < n && g->status >= 0; i++)
        npu_sgd(g, param[i], npu_value_of(g, param[i])->grad, moment(g, "sgd.v.", param[i]), lr, NPU_NONE, momentum,
                weight_decay);
    free(param);
    return g->status;
}
