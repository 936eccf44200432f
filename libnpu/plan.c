/* plan.c - a graph made ready for one device: which nodes run, in which order, with which memory. */
#include "libnpu/plan.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include "libnpu/dev.h"
#include "libnpu/widen.h"

int npu_plan_fail(struct npu_plan *p, int r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(p->error, sizeof p->error, fmt, ap);
    va_end(ap);
    return r;
}

static pthread_mutex_t error_lock = PTHREAD_MUTEX_INITIALIZER;

/* Returns r. */
static int tell_device(struct npu_plan *p, int r)
{
    struct npu_dev *d = p->dev;

    if (p->tier)
        return r;
    pthread_mutex_lock(&error_lock);
    snprintf(d->error, sizeof d->error, "%.60s: %.180s", d->info.id, p->error[0] ? p->error : strerror(-r));
    pthread_mutex_unlock(&error_lock);
    return r;
}

void npu_dev_error(const npu_dev *d, char *buf, size_t size)
{
    pthread_mutex_lock(&error_lock);
    snprintf(buf, size, "%s", d->error);
    pthread_mutex_unlock(&error_lock);
}

int64_t npu_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

const char *npu_plan_error(const npu_plan *p)
{
    return p->error;
}

struct npu_place npu_plan_place(const struct npu_plan *p, npu_val v)
{
    struct npu_place none = {.bank = -1};
    return npu_value_of(p->graph, v) ? p->place[v - 1] : none;
}

/* Leaves out nodes on whose results nothing depends: the rest become steps. */
int npu_plan_choose_steps(struct npu_plan *p)
{
    const npu_graph *g = p->graph;
    bool *used = calloc((size_t)g->n_values + 1, sizeof *used);
    int n = 0;

    p->step = calloc((size_t)g->n_nodes + 1, sizeof p->step[0]);
    if (!used || !p->step) {
        free(used);
        return -ENOMEM;
    }
    for (int i = 0; i < g->n_outputs; i++)
        used[g->output[i].val] = true;
    for (int32_t i = g->n_nodes - 1; i >= 0; i--) {
        const struct npu_node *node = g->node[i];
        bool live = node->op->updates || p->opts.keep_values;

        for (int k = 0; k < node->n_out; k++)
            live |= used[node->out[k]];
        for (int k = 0; live && k < node->n_in; k++)
            used[node->in[k]] = true;
        if (live)
            p->step[n++].node = i;
    }
    free(used);
    p->n_steps = n;
    for (int i = 0; i < n / 2; i++) {
        int32_t t = p->step[i].node;
        p->step[i].node = p->step[n - 1 - i].node;
        p->step[n - 1 - i].node = t;
    }
    for (int i = 0; i < n; i++)
        p->step[i].constant = npu_value_of(g, g->node[p->step[i].node]->out[0])->frozen;
    return 0;
}

static int build(struct npu_plan *p)
{
    int r = npu_widen_choose(p);

    if (r < 0)
        return r;
    p->place = calloc((size_t)p->graph->n_values + 1, sizeof p->place[0]);
    if (!p->place)
        return -ENOMEM;
    for (int32_t i = 0; i < p->graph->n_values; i++)
        p->place[i].bank = -1;
    p->lower.graph = p->graph;
    p->lower.traits = &p->dev->traits;
    r = p->dev->ops->plan_lower(p);
    if (r < 0)
        return r;
    r = npu_plan_place_all(p);
    if (r < 0)
        return r;
    p->stats.nodes = p->n_steps;
    p->stats.launches = p->lower.n_launches;
    return p->dev->ops->plan_build(p);
}

static int plan_new(struct npu_dev *d, struct npu_graph *g, const struct npu_plan_opts *opts, size_t guard,
                    const char *tier, struct npu_plan **ret_plan)
{
    struct npu_plan *p;
    int r;

    if (g->status < 0)
        return g->status;
    p = calloc(1, sizeof *p);
    if (!p)
        return tier ? -ENOMEM : npu_ctx_fail(d->ctx, -ENOMEM, "%s: out of memory", d->info.id);
    p->dev = d;
    p->graph = p->given = g;
    p->tier = tier;
    p->guard = (guard + d->align - 1) & ~(d->align - 1);
    p->params_dirty = true;
    p->fence.plan = p;
    if (opts)
        p->opts = *opts;
    npu_graph_mark_frozen(g);
    d->n_plans++;
    r = build(p);
    if (r < 0) {
        if (!tier)
            npu_ctx_fail(d->ctx, r, "%s: %s", d->info.id, p->error[0] ? p->error : strerror(-r));
        tell_device(p, r);
        npu_plan_free(p);
        return r;
    }
    *ret_plan = p;
    return 0;
}

int npu_plan_new_guarded(struct npu_dev *d, struct npu_graph *g, const struct npu_plan_opts *opts, size_t guard,
                         struct npu_plan **ret_plan)
{
    return plan_new(d, g, opts, guard, NULL, ret_plan);
}

int npu_plan_new_tier(struct npu_dev *d, struct npu_graph *g, const char *tier, struct npu_plan **ret_plan)
{
    return plan_new(d, g, NULL, 0, tier, ret_plan);
}

int npu_plan_new(npu_dev *d, npu_graph *g, const struct npu_plan_opts *opts, npu_plan **ret_plan)
{
    return npu_plan_new_guarded(d, g, opts, 0, ret_plan);
}

npu_plan *npu_plan_free(npu_plan *p)
{
    if (!p)
        return NULL;
    p->dev->ops->plan_free(p);
    p->dev->n_plans--;
    npu_lower_done(&p->lower);
    free(p->bank);
    free(p->place);
    free(p->step);
    free(p->choice);
    if (npu_widen_is(p))
        npu_graph_free(p->graph);
    free(p);
    return NULL;
}

int npu_plan_submit(npu_plan *p, npu_fence **ret_fence)
{
    int r;

    if (p->in_flight)
        return -EBUSY;
    p->submitted_ns = npu_now_ns();
    r = p->dev->ops->submit(p);
    if (r < 0)
        return tell_device(p, r);
    p->in_flight = true;
    p->params_dirty = false;
    *ret_fence = &p->fence;
    return 0;
}

int npu_fence_wait(npu_fence *f, int64_t timeout_ns)
{
    struct npu_plan *p = f->plan;
    int r;

    if (!p->in_flight)
        return 0;
    r = p->dev->ops->wait(p, timeout_ns);
    if (r == -ETIMEDOUT)
        return r;
    p->in_flight = false;
    p->last_run_ms = (double)(npu_now_ns() - p->submitted_ns) * 1e-6;
    p->params_dirty |= r < 0; /* constants may not have been computed */
    return r < 0 ? tell_device(p, r) : r;
}

int npu_plan_run(npu_plan *p)
{
    npu_fence *f;
    int r;

    if (!p->in_flight && p->dev->ops->run) {
        p->submitted_ns = npu_now_ns();
        r = p->dev->ops->run(p);
        if (r != -EOPNOTSUPP) {
            p->params_dirty &= r < 0;
            p->last_run_ms = (double)(npu_now_ns() - p->submitted_ns) * 1e-6;
            return r < 0 ? tell_device(p, r) : r;
        }
    }
    r = npu_plan_submit(p, &f);
    return r < 0 ? r : npu_fence_wait(f, -1);
}

int npu_plan_get_stats(const npu_plan *p, struct npu_plan_stats *ret_stats)
{
    *ret_stats = p->stats;
    ret_stats->last_run_ms = p->last_run_ms;
    return 0;
}
