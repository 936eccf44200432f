/* resident.c - places in unified memory by lifetimes: values whose bytes are moved most often for the time that they
 * take up come first, each at the lowest free place. */
#include "libnpu/sim/resident.h"

#include <stdlib.h>

enum { ALIGN = 64 };

struct item {
    npu_val root;
    int first, last, uses; /* steps, both included; how often it is written or read */
    uint64_t size;         /* rounded up */
    uint32_t at;
};

struct placer {
    const struct npu_plan *p;
    struct item *item; /* by root until they are sorted */
    struct item **placed;
    int n_placed;
};

static void find_uses(const struct placer *q)
{
    const npu_graph *g = q->p->graph;

    for (npu_val v = 0; v <= g->n_values; v++)
        q->item[v] = (struct item){.root = v, .first = -1, .at = SIM_NOT_RESIDENT};
    for (int s = 0; s < q->p->n_steps; s++) {
        const struct npu_node *n = g->node[q->p->step[s].node];

        for (int k = 0; k < n->n_in + n->n_out; k++) {
            const npu_val v = k < n->n_in ? n->in[k] : n->out[k - n->n_in];
            struct item *it = &q->item[v == NPU_NONE ? 0 : npu_value_of(g, v)->root];

            if (it->first < 0)
                it->first = s;
            it->last = s;
            it->uses += k < n->n_in || n->alias[k - n->n_in] < 0;
        }
    }
}

/* A node's result that nothing reads after the run. */
static bool may_stay(const struct npu_plan *p, const struct item *it)
{
    const npu_graph *g = p->graph;
    const struct npu_value *v = npu_value_of(g, it->root);

    if (!v || it->first < 0 || v->root != it->root || v->kind != NPU_VALUE_NODE || v->frozen || v->updated ||
        p->opts.keep_values || npu_type_bytes(&v->type) == 0)
        return false;
    for (int i = 0; i < g->n_outputs; i++)
        if (npu_value_of(g, g->output[i].val)->root == it->root)
            return false;
    return true;
}

static int by_worth(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    const int64_t worth = (int64_t)x->uses * (y->last - y->first + 1) - (int64_t)y->uses * (x->last - x->first + 1);

    if (worth != 0)
        return worth < 0 ? 1 : -1;
    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return (x->root > y->root) - (x->root < y->root);
}

/* The lowest place for it between those that live at the same time; placed ones are sorted by place. */
static bool place(struct placer *q, struct item *it, uint32_t room)
{
    uint64_t at = 0;
    int i;

    for (int k = 0; k < q->n_placed; k++) {
        const struct item *o = q->placed[k];

        if (o->last < it->first || o->first > it->last || o->at + o->size <= at)
            continue;
        if (o->at >= at + it->size)
            break;
        at = o->at + o->size;
    }
    if (at + it->size > room)
        return false;
    it->at = (uint32_t)at;
    for (i = q->n_placed++; i > 0 && q->placed[i - 1]->at > it->at; i--)
        q->placed[i] = q->placed[i - 1];
    q->placed[i] = it;
    return true;
}

static void place_all(struct placer *q, uint32_t from, uint32_t room, struct sim_residence *r)
{
    const npu_graph *g = q->p->graph;

    for (npu_val v = 0; v <= g->n_values; v++)
        q->item[v].size =
            may_stay(q->p, &q->item[v]) ? (npu_type_bytes(&npu_value_of(g, v)->type) + ALIGN - 1) / ALIGN * ALIGN : 0;
    qsort(q->item, (size_t)g->n_values + 1, sizeof q->item[0], by_worth);
    for (npu_val k = 0; k <= g->n_values; k++) {
        struct item *it = &q->item[k];
        const bool there = it->size > 0 && place(q, it, room);

        if (it->size == 0)
            continue;
        *(there ? &r->stay : &r->spilled) += 1;
        *(there ? &r->stay_bytes : &r->spilled_bytes) += npu_type_bytes(&npu_value_of(g, it->root)->type);
        if (there)
            r->at[it->root] = from + it->at;
    }
    for (npu_val v = 1; v <= g->n_values; v++)
        r->at[v] = r->at[npu_value_of(g, v)->root];
}

int sim_residence_make(const struct npu_plan *p, uint32_t from, uint32_t room, struct sim_residence *ret_residence)
{
    const size_t n = (size_t)p->graph->n_values + 1;
    struct placer q = {.p = p, .item = calloc(n, sizeof q.item[0]), .placed = malloc(n * sizeof(struct item *))};
    struct sim_residence r = {.room = room, .at = malloc(n * sizeof r.at[0])};

    if (!q.item || !q.placed || !r.at) {
        free(r.at);
        free(q.item);
        free(q.placed);
        return -ENOMEM;
    }
    for (size_t v = 0; v < n; v++)
        r.at[v] = SIM_NOT_RESIDENT;
    find_uses(&q);
    place_all(&q, from, room, &r);
    free(q.item);
    free(q.placed);
    *ret_residence = r;
    return 0;
}

void sim_residence_free(struct sim_residence *r)
{
    free(r->at);
    memset(r, 0, sizeof *r);
}
