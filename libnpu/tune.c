/* tune.c - the tiers of a plan's nodes: candidates from the lowering, verdicts from the table, else from the clock. */
#include "libnpu/tune.h"

#include <pthread.h>
#include <stdlib.h>

#include "libnpu/dev.h"
#include "libnpu/tier/exact_avx2.h"
#include "libnpu/tier/tier.h"
#include "libnpu/widen.h"

/* A class is measured when it is met first; what did not work out then must cost later starts little or nothing. */
enum { FIRST_MS = 2000, AGAIN_MS = 100, MAX_MS = 600000 };
#define MIN_WORK  65536.0 /* multiply-adds of a node worth a measurement */
#define DRIVER_US 100.0   /* what submitting to a driver and waiting for it costs a run, about */
#define MARGIN    0.95f   /* a tier must be so much faster than the default one */

struct tuning {
    struct npu_plan *p;
    struct npu_tune *t;
    struct npu_lower lower; /* to try lowerings on */
    const char *asked;      /* NPU_TIER */
    bool off;               /* NPU_TUNE=0: default order */
    bool native;            /* in the default order the plan needs no driver */
    int64_t until_ns[3];    /* by enum npu_tune_put_off */
};

struct pending {
    int step;
    double work;
};

/* Training takes the default order: a run that goes on from a checkpoint must round like the one before it. */
static void set_budget(struct tuning *u)
{
    const char *e = getenv("NPU_TUNE");
    char *end = NULL;
    const long asked = e ? strtol(e, &end, 10) : 0;
    const bool train = u->p->graph->flags & NPU_GRAPH_TRAIN, said = e && end != e && !*end;
    const long ms = asked < MAX_MS ? asked : MAX_MS;
    const int64_t now_ns = npu_now_ns();

    u->off = train || (said && ms <= 0);
    u->until_ns[NPU_TUNE_NEW] = now_ns + (said ? ms : FIRST_MS) * (int64_t)1000000;
    u->until_ns[NPU_TUNE_BUSY] = now_ns + (said ? ms : AGAIN_MS) * (int64_t)1000000;
    u->until_ns[NPU_TUNE_LATE] = now_ns + (said ? ms : 0) * (int64_t)1000000;
}

/* Position of a tier in the list "a,b,c"; -1: not in it. */
static int position(const char *list, const char *tier)
{
    const size_t n = strlen(tier);

    for (int i = 0; list && *list; i++) {
        const size_t k = strcspn(list, ",");

        if (k == n && memcmp(list, tier, n) == 0)
            return i;
        list += k + (list[k] == ',');
    }
    return -1;
}

/* The tier that a node gets if only `only` may serve (NULL: all may), NULL if none; *ret_refused: why not that one. */
static const char *try_lower(struct tuning *u, const struct npu_node *n, const char *only, const char **ret_refused)
{
    struct npu_lower *l = &u->lower;
    char why[256] = "";
    const char *tier = NULL;
    int first = 0, r;

    l->n_launches = l->n_bufs = 0;
    l->only = only;
    l->refused = NULL;
    r = npu_lower_node(l, n, 0, &first, why, sizeof why);
    for (int i = first; r == 0 && i < l->n_launches; i++)
        if (l->launch[i].tier && (!tier || !l->launch[i].on_params))
            tier = l->launch[i].tier;
    *ret_refused = l->refused;
    return tier;
}

static void add_option(struct npu_choice *c, const char *tier, const char *refused)
{
    if (c->n < NPU_TUNE_OPTIONS)
        c->option[c->n++] = (struct npu_tier_option){.tier = tier, .refused = refused};
}

/* Are all launches native that try_lower made, or will they be where others are? */
static bool all_native(const struct tuning *u)
{
    for (int i = 0; i < u->lower.n_launches; i++)
        if (!u->lower.launch[i].native && !npu_exact_avx2_would_take(&u->lower, &u->lower.launch[i]))
            return false;
    return true;
}

/* Candidates, the default one first, and tiers that this device has but that don't come into question for this node. A
 * plan without driver is worth more than OpenCL code of no wider vectors: building that takes a second, it was never
 * the faster one by far, and with it each run costs DRIVER_US more. */
static void list_options(struct tuning *u, const struct npu_node *n, struct npu_choice *c)
{
    const struct npu_traits *t = &u->p->dev->traits;
    const char *refused, *usual = try_lower(u, n, NULL, &refused), *name;

    if (!usual)
        return;
    add_option(c, usual, NULL);
    for (int i = 0; (name = npu_tier_name(i)); i++) {
        const char *got;

        if (strcmp(name, usual) == 0 || (!npu_tier_competes(t, name) && position(u->asked, name) < 0))
            continue;
        got = try_lower(u, n, name, &refused);
        if (got && strcmp(got, name) == 0)
            add_option(c, name,
                       u->native && position(u->asked, name) < 0 && !all_native(u) && !npu_tier_may_beat(name, usual)
                           ? "not measured, as the plan needs no driver"
                           : NULL);
        else if (refused)
            add_option(c, name, refused);
    }
}

static int candidates(const struct npu_choice *c, const char **ret_tier, int *ret_index)
{
    int n = 0;

    for (int i = 0; i < c->n; i++)
        if (!c->option[i].refused) {
            ret_tier[n] = c->option[i].tier;
            ret_index[n++] = i;
        }
    return n;
}

/* The class with the candidates' names; false if it does not fit. */
static bool full_class(struct tuning *u, int step, struct npu_tune_class *k)
{
    const struct npu_choice *c = &u->p->choice[step];
    size_t at;

    if (npu_tune_class(u->p->graph, u->p->graph->node[u->p->step[step].node], u->p->dev->traits.compute_units, k) < 0)
        return false;
    at = strlen(k->text);
    for (int i = 0; i < c->n && at < sizeof k->text; i++)
        if (!c->option[i].refused)
            at += (size_t)snprintf(k->text + at, sizeof k->text - at, " %s", c->option[i].tier);
    return at < sizeof k->text;
}

static void take(struct npu_choice *c, const struct npu_tune_verdict *v, enum npu_choice_why why)
{
    const char *tier[NPU_TUNE_OPTIONS];
    int index[NPU_TUNE_OPTIONS];

    if (candidates(c, tier, index) != v->n || v->taken >= v->n)
        return;
    for (int i = 0; i < v->n; i++)
        c->option[index[i]].us = v->us[i];
    c->taken = index[v->taken];
    c->why = why;
}

/* True if the step wants to be measured. */
static bool decide(struct tuning *u, int step, double *ret_work)
{
    struct npu_choice *c = &u->p->choice[step];
    const char *tier[NPU_TUNE_OPTIONS];
    int index[NPU_TUNE_OPTIONS], best = -1, n;
    const struct npu_tune_verdict *v;
    struct npu_tune_class k;

    if (npu_tune_class(u->p->graph, u->p->graph->node[u->p->step[step].node], 1, &k) < 0)
        return false;
    list_options(u, u->p->graph->node[u->p->step[step].node], c);
    n = candidates(c, tier, index);
    c->why = n < 2 ? NPU_CHOICE_ONLY : NPU_CHOICE_ORDER;
    for (int i = 0; i < n && u->asked; i++) {
        const int at = position(u->asked, tier[i]);

        if (at >= 0 && (best < 0 || at < best)) {
            best = at;
            c->taken = index[i];
            c->why = NPU_CHOICE_ASKED;
        }
    }
    if (n < 2 || u->asked || u->off || !full_class(u, step, &k) || k.work < MIN_WORK)
        return false;
    v = npu_tune_find(u->t, k.text);
    if (v)
        take(c, v, NPU_CHOICE_KNOWN);
    *ret_work = k.work;
    return !v;
}

/* Takes the class's verdict, after a measurement if there is none. What can't be measured now is noted with the reason:
 * the kernels of a class that came too late may not even be built yet, so it waits until someone gives it time. */
static void measure(struct tuning *u, int step)
{
    struct npu_choice *c = &u->p->choice[step];
    const struct npu_node *n = u->p->graph->node[u->p->step[step].node];
    struct npu_tune_verdict v = {0};
    const struct npu_tune_verdict *known;
    const char *tier[NPU_TUNE_OPTIONS];
    int index[NPU_TUNE_OPTIONS];
    enum npu_tune_put_off before;
    struct npu_tune_class k;
    bool tried;
    int r = -ETIME;

    if (!full_class(u, step, &k))
        return;
    known = npu_tune_find(u->t, k.text);
    if (known) { /* another step of this plan has that class */
        take(c, known, NPU_CHOICE_MEASURED);
        return;
    }
    before = npu_tune_put_off(u->t, k.text);
    v.n = candidates(c, tier, index);
    tried = npu_now_ns() < u->until_ns[before];
    if (tried)
        r = npu_tune_measure(u->p->dev, u->p->graph, n, tier, v.n, u->until_ns[before], v.us);
    if (r < 0) {
        const enum npu_tune_put_off now =
            tried || before == NPU_TUNE_NEW ? r == -EAGAIN ? NPU_TUNE_BUSY : NPU_TUNE_LATE : before;

        c->why = now == NPU_TUNE_BUSY ? NPU_CHOICE_BUSY : NPU_CHOICE_LATE;
        if (now != before)
            npu_tune_set_put_off(u->t, k.text, now);
        return;
    }
    for (int i = 1; i < v.n; i++)
        if (v.us[i] < (v.taken ? v.us[v.taken] : MARGIN * v.us[0]))
            v.taken = i;
    snprintf(v.class_text, sizeof v.class_text, "%s", k.text);
    if (npu_tune_add(u->t, &v) == 0)
        take(c, &v, NPU_CHOICE_MEASURED);
}

/* A plan of native launches alone runs without the driver. Single nodes that were faster by the driver are worth its
 * cost only if they save more together. */
static void keep_native(struct tuning *u)
{
    struct npu_plan *p = u->p;
    const char *refused;
    double saved_us = 0.0;

    if (!u->native)
        return;
    for (int pass = 0; pass < 2 && saved_us < DRIVER_US; pass++)
        for (int s = 0; s < p->n_steps; s++) {
            struct npu_choice *c = &p->choice[s];

            if (c->taken == 0 || c->why == NPU_CHOICE_ASKED)
                continue;
            try_lower(u, p->graph->node[p->step[s].node], c->option[c->taken].tier, &refused);
            if (all_native(u))
                continue;
            if (pass == 0)
                saved_us += (double)(c->option[0].us - c->option[c->taken].us);
            else {
                c->taken = 0;
                c->why = NPU_CHOICE_NATIVE;
            }
        }
}

static int more_work(const void *a, const void *b)
{
    const struct pending *x = a, *y = b;

    if (x->work != y->work)
        return x->work < y->work ? 1 : -1;
    return (x->step > y->step) - (x->step < y->step);
}

static int choose(struct tuning *u, struct pending *pending)
{
    struct npu_plan *p = u->p;
    int n = 0, native;

    set_budget(u);
    native = npu_native_alone(p, &u->lower);
    if (native < 0)
        return native;
    u->native = native;
    for (int s = 0; s < p->n_steps; s++)
        if (decide(u, s, &pending[n].work))
            pending[n++].step = s;
    qsort(pending, (size_t)n, sizeof *pending, more_work);
    for (int i = 0; i < n; i++)
        measure(u, pending[i].step);
    if (n > 0)
        npu_tune_save(u->t);
    keep_native(u);
    for (int s = 0; s < p->n_steps; s++) {
        const struct npu_choice *c = &p->choice[s];

        /* the default one, if asked for by name, could also be what a tier that was not listed gives */
        if (c->n > 0 && (c->taken > 0 || c->why == NPU_CHOICE_ASKED))
            p->step[s].tier = c->option[c->taken].tier;
    }
    return 0;
}

int npu_tune_plan(struct npu_plan *p, const char *identity)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* one measures at a time */
    struct tuning u = {.p = p, .lower = {.graph = p->graph, .traits = &p->dev->traits}, .asked = getenv("NPU_TIER")};
    struct pending *pending;
    int r = -ENOMEM;

    for (int s = 0; s < p->n_steps; s++)
        p->step[s].tier = p->tier;
    if (p->tier)
        return 0;
    p->choice = calloc((size_t)p->n_steps + 1, sizeof p->choice[0]);
    pending = calloc((size_t)p->n_steps + 1, sizeof *pending);
    if (!p->choice || !pending) {
        free(pending);
        return -ENOMEM;
    }
    pthread_mutex_lock(&lock);
    if (!p->dev->tune)
        p->dev->tune = npu_tune_new(p->dev->ctx->cache_dir, identity, p->dev->traits.compute_units);
    u.t = p->dev->tune;
    if (u.t)
        r = choose(&u, pending);
    pthread_mutex_unlock(&lock);
    npu_lower_done(&u.lower);
    free(pending);
    return r;
}

const char *npu_choice_why_text(enum npu_choice_why w)
{
    static const char *const text[] = {
        [NPU_CHOICE_ONLY] = "only",
        [NPU_CHOICE_ORDER] = "default order",
        [NPU_CHOICE_LATE] = "default order, as there was no time to measure",
        [NPU_CHOICE_BUSY] = "default order, as others used the processors",
        [NPU_CHOICE_MEASURED] = "measured",
        [NPU_CHOICE_KNOWN] = "measured before",
        [NPU_CHOICE_ASKED] = "NPU_TIER",
        [NPU_CHOICE_NATIVE] = "so that the plan needs no driver",
    };

    return text[w];
}

const char *npu_choice_text(const struct npu_choice *c, char *buf, size_t size)
{
    const char *tier[NPU_TUNE_OPTIONS];
    int index[NPU_TUNE_OPTIONS], n = candidates(c, tier, index);
    size_t at = 0;

    buf[0] = '\0';
    if (n > 1 || c->why == NPU_CHOICE_ASKED)
        at += (size_t)snprintf(buf, size, "%s:", npu_choice_why_text(c->why));
    for (int i = 0; i < n && at > 0 && at < size; i++) {
        const float us = c->option[index[i]].us;

        at += (size_t)snprintf(buf + at, size - at, us > 0 ? "%s %s %.1f us" : "%s %s", i ? "," : "", tier[i],
                               (double)us);
    }
    for (int i = 0; i < c->n && at < size; i++)
        if (c->option[i].refused)
            at += (size_t)snprintf(buf + at, size - at, "%s%s: %s", at ? "; " : "", c->option[i].tier,
                                   c->option[i].refused);
    return buf;
}
