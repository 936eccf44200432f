/* widen_plan.c - which plans compute a bf16 graph in f32, and the conversions at its ends. */
#include <stdlib.h>

#include "libnpu/dev.h"
#include "libnpu/tier/avx2_lower.h"
#include "libnpu/tier/bf16_native.h"
#include "libnpu/tier/exact_avx2.h"
#include "libnpu/widen.h"

/* Graphs for training round as they are written, those that are exact too; who asks for a tier by name gets it. */
static bool may_widen(const struct npu_plan *p)
{
    const npu_graph *g = p->graph;

    if (p->tier || p->opts.keep_values || g->has_backward || (g->flags & NPU_GRAPH_TRAIN) || getenv("NPU_TIER") ||
        !npu_avx2_for(&p->dev->traits))
        return false;
    for (int32_t i = 0; i < g->n_nodes; i++)
        if (g->node[i]->exact || g->node[i]->op->updates)
            return false;
    return true;
}

int npu_native_alone(const struct npu_plan *p, struct npu_lower *l)
{
    char why[256] = "";
    int first, r = 0;

    l->n_launches = l->n_bufs = 0;
    l->only = NULL;
    for (int s = 0; s < p->n_steps && r == 0; s++)
        r = npu_lower_node(l, p->graph->node[p->step[s].node], s, &first, why, sizeof why);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    npu_avx2_take_over(l, l->launch, l->n_launches);
    npu_exact_avx2_take_over(l, l->launch, l->n_launches);
    for (int i = 0; i < l->n_launches; i++)
        if (!l->launch[i].native)
            return 0;
    return 1;
}

bool npu_widen_is(const struct npu_plan *p)
{
    return p->graph != p->given;
}

/* Has the plan's graph native launches alone, and one of them, of which a tier tells, worth it? 1, 0 or -ENOMEM. Casts
 * alone, or a single sum, gain nothing: then bf16 stays what the graph says. */
static int is_native(const struct npu_plan *p)
{
    struct npu_lower l = {.graph = p->graph, .traits = &p->dev->traits};
    int r = npu_native_alone(p, &l);
    bool found = false;

    for (int i = 0; i < l.n_launches && !found; i++)
        found = l.launch[i].tier != NULL;
    npu_lower_done(&l);
    return r > 0 ? found : r;
}

static int take_graph(struct npu_plan *p, npu_graph *g)
{
    if (npu_widen_is(p))
        npu_graph_free(p->graph);
    free(p->step);
    p->step = NULL;
    p->n_steps = 0;
    p->graph = g;
    return npu_plan_choose_steps(p);
}

int npu_widen_choose(struct npu_plan *p)
{
    npu_graph *wide = NULL;
    int r = take_graph(p, p->given);

    if (r < 0 || !may_widen(p))
        return r;
    if (npu_bf16_any(&p->dev->traits) && (r = is_native(p)) != 0) /* products alone, on a unit for bf16 */
        return r < 0 ? r : 0;
    r = npu_widen(p->given, &wide);
    if (r < 0 || !wide)
        return r;
    r = take_graph(p, wide);
    if (r == 0)
        r = is_native(p);
    return r < 0 ? r : r > 0 ? 0 : take_graph(p, p->given);
}

/* ---- conversions ---- */
/* x, y, elements */
static void f32_to_f32(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t n = c->arg[2].i, begin = n * part / n_parts, end = n * (part + 1) / n_parts;

    memmove((float *)c->p[1] + begin, (const float *)c->p[0] + begin, (size_t)(end - begin) * sizeof(float));
}

int npu_widen_lower_cast(struct npu_lower *l, npu_val x, npu_val y)
{
    const struct npu_avx2_kernels *a = npu_avx2_for(npu_lower_traits(l));
    const struct npu_tensor_type from = npu_lower_type(l, x), to = npu_lower_type(l, y);
    const int64_t n = npu_shape_elements(&to.shape);
    npu_native_fn *fn = NULL;
    struct npu_launch *k;

    if (!l->graph->widened || !a)
        return -EOPNOTSUPP;
    if (from.dtype == NPU_BF16 && to.dtype == NPU_F32)
        fn = a->from_bf16;
    else if (from.dtype == NPU_F32 && to.dtype == NPU_BF16)
        fn = a->to_bf16;
    else if (from.dtype == NPU_F32 && to.dtype == NPU_F32)
        fn = f32_to_f32;
    if (!fn)
        return -EOPNOTSUPP;
    k = npu_avx2_launch(l, fn, npu_avx2_shares(l, (double)n, 16384));
    if (k)
        k->tier = NULL; /* it is no reason to take the tier */
    npu_launch_val(k, x);
    npu_launch_val(k, y);
    npu_launch_i32(k, n);
    return 0;
}
