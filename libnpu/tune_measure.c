/* tune_measure.c - times of one node on several tiers: a plan of that node alone for each, run in turns. */
#include <stdlib.h>
#include <sys/resource.h>

#include "libnpu/dev.h"
#include "libnpu/tune.h"

enum { ROUNDS = 7, MIN_ROUNDS = 3, MAX_REPEATS = 16, MAX_INTERRUPTIONS = 3, TRIES = 3 };
#define MAX_BYTES      (256u << 20) /* of the node's tensors: they are held once a candidate */
#define ROUND_NS       200000       /* short kernels are repeated for about so long */
#define CLEARLY_SLOWER 3.0          /* one more round is enough then */

struct racer {
    npu_plan *plan;
    double best_ns; /* of a run */
    double ns[ROUNDS];
    int rounds;
};

struct race {
    struct racer racer[NPU_TUNE_OPTIONS];
    int n;
};

/* A graph of that node alone: what is frozen stays so, hence weights are packed before the times are taken. */
static npu_graph *lonely(const struct npu_graph *g, const struct npu_node *n)
{
    npu_val in[NPU_MAX_IN];
    npu_graph *to;
    size_t bytes = 0;

    if (npu_graph_new(npu_graph_flags(g), &to) < 0)
        return NULL;
    for (int i = 0; i < n->n_in; i++) {
        const struct npu_value *v = npu_value_of(g, n->in[i]);
        char name[16];

        in[i] = NPU_NONE;
        for (int k = 0; k < i; k++)
            if (n->in[k] == n->in[i])
                in[i] = in[k];
        if (!v || in[i] != NPU_NONE)
            continue;
        bytes += npu_type_bytes(&v->type);
        snprintf(name, sizeof name, "in%d", i);
        in[i] = v->frozen ? npu_state(to, name, v->type.dtype, v->type.shape.rank, v->type.shape.dim,
                                      (struct npu_init){NPU_INIT_ZERO, 0})
                          : npu_input(to, name, v->type.dtype, v->type.shape.rank, v->type.shape.dim);
    }
    if (npu_output(to, "out", npu_node_add(to, n->op, in, n->n_in, n->attr, NPU_MAX_ATTR)) == 0) {
        bytes += npu_type_bytes(&npu_value_of(to, to->output[0].val)->type);
        to->node[0]->exact = n->exact;
        to->node[0]->rounds = n->rounds;
        to->widened = g->widened;
    }
    return npu_graph_status(to) == 0 && bytes <= MAX_BYTES ? to : npu_graph_free(to);
}

/* Time of the fastest of `times` runs. */
static int time_runs(npu_plan *p, int times, double *ret_ns)
{
    double best_ns = INFINITY;

    for (int i = 0; i < times; i++) {
        const int64_t start_ns = npu_now_ns();
        int r = npu_plan_run(p);

        if (r < 0)
            return r;
        best_ns = fmin(best_ns, (double)(npu_now_ns() - start_ns));
    }
    *ret_ns = best_ns;
    return 0;
}

/* How often another process took a processor from this one. */
static long interruptions(void)
{
    struct rusage u;

    return getrusage(RUSAGE_SELF, &u) == 0 ? u.ru_nivcsw : 0;
}

static int start(struct race *q, struct npu_dev *d, npu_graph *g, const char *const *tier, int64_t until_ns)
{
    for (int i = 0; i < q->n; i++) {
        struct racer *a = &q->racer[i];
        int r = npu_plan_new_tier(d, g, tier[i], &a->plan);

        if (r == 0)
            r = npu_plan_run(a->plan);
        if (r == 0)
            r = time_runs(a->plan, 1, &a->best_ns);
        if (r < 0)
            return r;
        if (npu_now_ns() > until_ns)
            return -ETIME;
    }
    return 0;
}

/* How many can still win: the others are far slower than the best one so far. */
static int contenders(const struct race *q, double *ret_limit_ns)
{
    double least_ns = INFINITY;
    int n = 0;

    for (int i = 0; i < q->n; i++)
        least_ns = fmin(least_ns, q->racer[i].best_ns);
    for (int i = 0; i < q->n; i++)
        n += q->racer[i].best_ns <= CLEARLY_SLOWER * least_ns;
    *ret_limit_ns = CLEARLY_SLOWER * least_ns;
    return n;
}

static int run_round(struct race *q, int round, double limit_ns)
{
    for (int k = 0; k < q->n; k++) {
        /* every other round backwards, so that none is always the one after the slow one */
        struct racer *a = &q->racer[round % 2 ? q->n - 1 - k : k];
        const int times = (int)fmin(fmax(ROUND_NS / (a->best_ns + 1.0), 1.0), MAX_REPEATS);
        int r;

        if (a->rounds > 0 && a->best_ns > limit_ns)
            continue;
        r = time_runs(a->plan, times, &a->ns[a->rounds]);
        if (r < 0)
            return r;
        a->best_ns = fmin(a->best_ns, a->ns[a->rounds++]);
    }
    return 0;
}

static int run_rounds(struct race *q, int64_t until_ns)
{
    double limit_ns;

    for (int i = 0; i < q->n; i++)
        q->racer[i].rounds = 0;

    for (int round = 0; round < ROUNDS; round++) {
        const int n = contenders(q, &limit_ns);
        double round_ns = 0.0;
        int r;

        if (n == 1 && round > 0)
            return 0;
        for (int i = 0; i < q->n; i++)
            if (round == 0 || q->racer[i].best_ns <= limit_ns)
                round_ns += fmax(q->racer[i].best_ns, ROUND_NS);
        if ((double)npu_now_ns() + round_ns > (double)until_ns)
            return round >= MIN_ROUNDS ? 0 : -ETIME;
        r = run_round(q, round, limit_ns);
        if (r < 0)
            return r;
    }
    return 0;
}

static int by_time(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double typical_ns(struct racer *a)
{
    qsort(a->ns, (size_t)a->rounds, sizeof a->ns[0], by_time);
    return a->rounds < MIN_ROUNDS ? a->best_ns : a->ns[a->rounds / 2];
}

/* Is one's typical time below the others' best? Then it is the first, whatever disturbed them. */
static bool is_clear(struct race *q)
{
    int first = 0;

    for (int i = 1; i < q->n; i++)
        first = typical_ns(&q->racer[i]) < typical_ns(&q->racer[first]) ? i : first;
    for (int i = 0; i < q->n; i++)
        if (i != first && q->racer[i].best_ns <= typical_ns(&q->racer[first]))
            return false;
    return true;
}

/* -EAGAIN: each time that it was tried, other processes took the processors away and no winner was clear. */
static int run_undisturbed(struct race *q, int64_t until_ns)
{
    int r = -EAGAIN;

    for (int i = 0; i < TRIES && r == -EAGAIN; i++) {
        const long before = interruptions();

        r = run_rounds(q, until_ns);
        if ((r == 0 && interruptions() - before > MAX_INTERRUPTIONS && !is_clear(q)) || (r == -ETIME && i > 0))
            r = -EAGAIN;
    }
    return r;
}

int npu_tune_measure(struct npu_dev *d, const struct npu_graph *g, const struct npu_node *n, const char *const *tier,
                     int n_tiers, int64_t until_ns, float *us)
{
    struct race q = {.n = n_tiers};
    npu_graph *alone = lonely(g, n);
    int r = alone ? start(&q, d, alone, tier, until_ns) : -ENOMEM;

    if (r == 0)
        r = run_undisturbed(&q, until_ns);
    for (int i = 0; i < n_tiers; i++) {
        if (r == 0)
            us[i] = (float)fmax(typical_ns(&q.racer[i]) * 1e-3, 1e-3);
        npu_plan_free(q.racer[i].plan);
    }
    npu_graph_free(alone);
    return r;
}
