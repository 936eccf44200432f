/* place.c - where every value lives: lifetimes, in-place results, best fit by decreasing size.
 *
 * Values that must survive a run (inputs, parameters, states, constants) and packed buffers lie one after the other in
 * persistent banks. All else shares the arena: sorted by size, each item goes into the smallest gap that is free for
 * its whole lifetime (greedy by size, as in Pisarchyk and Lee, "Efficient memory management for deep neural net
 * inference", 2020).
 */
#include <stdlib.h>

#include "libnpu/dev.h"

struct item {
    size_t size;     /* with guards, aligned */
    int first, last; /* steps, both included */
    struct npu_place *dst;
    struct npu_place at;
};

struct placer {
    struct npu_plan *p;
    size_t align;
    struct item *item;
    int n_items;
    struct item **placed; /* arena items by bank, then offset */
    int n_placed;
};

static size_t padded(const struct placer *q, size_t size)
{
    return (size + 2 * q->p->guard + q->align - 1) & ~(q->align - 1);
}

static int add_bank(struct npu_plan *p, bool persistent)
{
    struct npu_bank *b = realloc(p->bank, (size_t)(p->n_banks + 1) * sizeof *b);

    if (!b)
        return -ENOMEM;
    p->bank = b;
    p->bank[p->n_banks] = (struct npu_bank){.persistent = persistent};
    return p->n_banks++;
}

static int too_large(struct npu_plan *p, size_t size)
{
    return npu_plan_fail(p, -ENOMEM, "a tensor of %zu bytes: device %s allows %zu at once; use a smaller batch", size,
                         p->dev->info.id, p->dev->max_bank);
}

static int place_persistent(struct placer *q, struct npu_place *dst, size_t size)
{
    struct npu_plan *p = q->p;
    size_t need = padded(q, size);
    int b = p->n_banks - 1;

    if (need > p->dev->max_bank)
        return too_large(p, size);
    if (b < 0 || !p->bank[b].persistent || p->bank[b].size + need > p->dev->max_bank) {
        b = add_bank(p, true);
        if (b < 0)
            return b;
    }
    *dst = (struct npu_place){b, p->bank[b].size + p->guard, size};
    p->bank[b].size += need;
    p->stats.persistent_bytes += need;
    return 0;
}

static int by_size(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return (x->first > y->first) - (x->first < y->first);
}

/* Finds the smallest gap of bank b that fits it (or the end of the bank); returns the gap's waste, SIZE_MAX - 1 for the
 * end, SIZE_MAX if there is no room. */
static size_t best_gap(const struct placer *q, const struct item *it, int b, size_t *ret_offset)
{
    size_t end = 0, best = SIZE_MAX, limit = q->p->dev->max_bank;

    for (int i = 0; i < q->n_placed; i++) {
        const struct item *o = q->placed[i];

        if (o->at.bank != b || o->last < it->first || o->first > it->last)
            continue;
        if (o->at.offset >= end + it->size && o->at.offset - end - it->size < best) {
            best = o->at.offset - end - it->size;
            *ret_offset = end;
        }
        if (o->at.offset + o->size > end)
            end = o->at.offset + o->size;
    }
    if (best == SIZE_MAX && end + it->size <= limit) {
        *ret_offset = end;
        return SIZE_MAX - 1;
    }
    return best;
}

static int place_arena(struct placer *q, struct item *it, int first_bank)
{
    struct npu_plan *p = q->p;
    size_t best = SIZE_MAX, offset = 0;
    int bank = -1, i;

    if (it->size > p->dev->max_bank)
        return too_large(p, it->size);
    for (int b = first_bank; b < p->n_banks && best != 0; b++) {
        size_t at = 0, waste = best_gap(q, it, b, &at);

        if (waste < best) {
            best = waste;
            bank = b;
            offset = at;
        }
    }
    if (bank < 0) {
        bank = add_bank(p, false);
        if (bank < 0)
            return bank;
    }
    it->at = (struct npu_place){bank, offset, it->size};
    *it->dst = (struct npu_place){bank, offset + p->guard, it->dst->size};
    if (offset + it->size > p->bank[bank].size)
        p->bank[bank].size = offset + it->size;
    for (i = q->n_placed++; i > 0; i--) {
        const struct item *o = q->placed[i - 1];

        if (o->at.bank < bank || (o->at.bank == bank && o->at.offset <= offset))
            break;
        q->placed[i] = q->placed[i - 1];
    }
    q->placed[i] = it;
    return 0;
}

/* First and last step that touches each root's memory; n_steps for what is read after the run. */
static void find_lifetimes(const struct npu_plan *p, int *first, int *last)
{
    const npu_graph *g = p->graph;

    for (int32_t v = 0; v <= g->n_values; v++)
        first[v] = last[v] = -1;
    for (int s = 0; s < p->n_steps; s++) {
        const struct npu_node *n = g->node[p->step[s].node];

        for (int k = 0; k < n->n_in + n->n_out; k++) {
            npu_val v = k < n->n_in ? n->in[k] : n->out[k - n->n_in];
            npu_val root = v == NPU_NONE ? 0 : npu_value_of(g, v)->root;

            if (first[root] < 0)
                first[root] = s;
            last[root] = s;
        }
    }
    for (int i = 0; i < g->n_outputs; i++)
        last[npu_value_of(g, g->output[i].val)->root] = p->n_steps;
}

static bool is_persistent(const struct npu_plan *p, npu_val root)
{
    const struct npu_value *v = npu_value_of(p->graph, root);
    return p->opts.keep_values || v->kind != NPU_VALUE_NODE || v->frozen;
}

/* owner[v]: the root in whose place v's root lies, after in-place results were merged. */
static void merge_in_place(const struct npu_plan *p, int *last, npu_val *owner)
{
    const npu_graph *g = p->graph;

    for (int32_t v = 1; v <= g->n_values; v++)
        owner[v] = npu_value_of(g, v)->root;
    for (int s = 0; s < p->n_steps; s++) {
        const struct npu_node *n = g->node[p->step[s].node];
        npu_val out = n->out[0], into = NPU_NONE;

        if (!n->op->elementwise || n->alias[0] >= 0 || is_persistent(p, out))
            continue;
        for (int k = 0; k < n->n_in; k++) {
            const struct npu_value *v = npu_value_of(g, n->in[k]);
            npu_val o = v ? owner[v->root] : NPU_NONE;

            if (!v || is_persistent(p, o) || last[o] != s ||
                npu_type_bytes(&v->type) != npu_type_bytes(&npu_value_of(g, out)->type) ||
                npu_dtype_size(v->type.dtype) != npu_dtype_size(npu_value_of(g, out)->type.dtype))
                continue;
            into = o;
            break;
        }
        for (int k = 0; into != NPU_NONE && k < n->n_in; k++) /* the same memory in another role: leave it */
            if (n->in[k] != NPU_NONE && owner[npu_value_of(g, n->in[k])->root] == into &&
                npu_type_bytes(&npu_value_of(g, n->in[k])->type) != npu_type_bytes(&npu_value_of(g, out)->type))
                into = NPU_NONE;
        if (into == NPU_NONE)
            continue;
        owner[out] = into;
        last[into] = last[out];
    }
    for (int32_t v = 1; v <= g->n_values; v++)
        owner[v] = owner[npu_value_of(g, v)->root];
}

static void add_item(struct placer *q, struct npu_place *dst, int first, int last)
{
    q->item[q->n_items++] = (struct item){.size = padded(q, dst->size), .first = first, .last = last, .dst = dst};
}

static int place_values(struct placer *q, const int *first, const int *last, const npu_val *owner)
{
    struct npu_plan *p = q->p;
    const npu_graph *g = p->graph;
    int r;

    for (npu_val v = 1; v <= g->n_values; v++) {
        const struct npu_value *val = npu_value_of(g, v);
        struct npu_place *dst = &p->place[v - 1];

        if (val->root != v || (first[v] < 0 && last[v] < 0 && val->kind == NPU_VALUE_NODE))
            continue;
        dst->size = npu_type_bytes(&val->type);
        p->stats.sum_of_values_bytes += dst->size;
        if (val->kind == NPU_VALUE_PARAM || val->kind == NPU_VALUE_STATE)
            p->stats.sum_of_params_bytes += dst->size;
        if (owner[v] != v)
            continue;
        if (is_persistent(p, v)) {
            r = place_persistent(q, dst, dst->size);
            if (r < 0)
                return r;
        } else {
            add_item(q, dst, first[v], last[v]);
        }
    }
    for (int i = 0; i < p->lower.n_bufs; i++) {
        struct npu_buf *b = &p->lower.buf[i];

        b->place.size = b->size;
        if (b->packed || p->opts.keep_values) { /* kept: sentinels around it hold to the end */
            r = place_persistent(q, &b->place, b->size);
            if (r < 0)
                return r;
        } else {
            add_item(q, &b->place, b->step, b->step);
        }
    }
    return 0;
}

static int place_all(struct placer *q, int *first, int *last, npu_val *owner)
{
    struct npu_plan *p = q->p;
    int r, first_bank;

    find_lifetimes(p, first, last);
    merge_in_place(p, last, owner);
    r = place_values(q, first, last, owner);
    if (r < 0)
        return r;
    first_bank = p->n_banks;
    qsort(q->item, (size_t)q->n_items, sizeof q->item[0], by_size);
    for (int i = 0; i < q->n_items; i++) {
        r = place_arena(q, &q->item[i], first_bank);
        if (r < 0)
            return r;
    }
    for (int b = first_bank; b < p->n_banks; b++)
        p->stats.arena_bytes += p->bank[b].size;
    for (npu_val v = 1; v <= p->graph->n_values; v++)
        if (owner[v] != v && p->place[owner[v] - 1].bank >= 0) {
            p->place[v - 1] = p->place[owner[v] - 1];
            p->place[v - 1].size = npu_type_bytes(&npu_value_of(p->graph, v)->type);
        }
    return 0;
}

int npu_plan_place_all(struct npu_plan *p)
{
    size_t n = (size_t)p->graph->n_values + 1, n_items = n + (size_t)p->lower.n_bufs;
    struct placer q = {.p = p, .align = p->dev->align};
    int *first = calloc(n, sizeof *first), *last = calloc(n, sizeof *last), r = -ENOMEM;
    npu_val *owner = calloc(n, sizeof *owner);

    q.item = calloc(n_items, sizeof q.item[0]);
    q.placed = malloc(n_items * sizeof(struct item *));
    if (first && last && owner && q.item && q.placed)
        r = place_all(&q, first, last, owner);
    free(first);
    free(last);
    free(owner);
    free(q.item);
    free(q.placed);
    return r;
}
