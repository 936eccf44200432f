/* tokens.c - order between units: finds the tokens that a program needs, and checks those that it has.
 *
 * Both walk the program once and keep for each unit what it knows to be done: clock[v] = all of v's instructions below
 * this index. A token brings what its sender knew. An instruction must know every instruction of another unit before it
 * with which it conflicts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libnpu/sim/isa.h"

struct clock {
    int done[SIM_UNITS];
};

struct access {
    struct sim_range range[SIM_MAX_RANGES];
    int n;
};

struct walk {
    const struct sim_program *p;
    struct access *access;
    struct clock *at; /* what is done when instruction i is done */
    struct clock unit[SIM_UNITS];
    int *list[SIM_UNITS], count[SIM_UNITS]; /* the instructions of each unit so far */
    int *sent[SIM_UNITS][SIM_UNITS];        /* check: who sent the k-th token from u to v */
    int n_sent[SIM_UNITS][SIM_UNITS], n_taken[SIM_UNITS][SIM_UNITS];
};

static void done(struct walk *w)
{
    free(w->access);
    free(w->at);
    for (int u = 0; u < SIM_UNITS; u++) {
        free(w->list[u]);
        for (int v = 0; v < SIM_UNITS; v++)
            free(w->sent[u][v]);
    }
}

static int start(struct walk *w, const struct sim_program *p, bool check)
{
    const size_t n = (size_t)p->n + 1;
    bool ok;

    memset(w, 0, sizeof *w);
    w->p = p;
    w->access = malloc(n * sizeof w->access[0]);
    w->at = calloc(n, sizeof w->at[0]);
    ok = w->access && w->at;
    for (int u = 0; u < SIM_UNITS; u++) {
        w->list[u] = malloc(n * sizeof(int));
        ok = ok && w->list[u];
        for (int v = 0; check && v < SIM_UNITS; v++) {
            w->sent[u][v] = malloc(n * sizeof(int));
            ok = ok && w->sent[u][v];
        }
    }
    for (int i = 0; ok && i < p->n; i++)
        w->access[i].n = sim_insn_ranges(&p->insn[i], w->access[i].range);
    return ok ? 0 : -ENOMEM;
}

static bool conflict(const struct access *a, const struct access *b)
{
    for (int i = 0; i < a->n; i++)
        for (int k = 0; k < b->n; k++) {
            const struct sim_range *x = &a->range[i], *y = &b->range[k];

            if (x->mem == y->mem && (x->write || y->write) && x->lo < y->hi && y->lo < x->hi)
                return true;
        }
    return false;
}

/* The last instruction of unit v that i conflicts with and that c does not know to be done; -1 if there is none. */
static int last_conflict(const struct walk *w, int i, unsigned v, const struct clock *c)
{
    for (int k = w->count[v] - 1; k >= 0 && w->list[v][k] >= c->done[v]; k--)
        if (conflict(&w->access[i], &w->access[w->list[v][k]]))
            return w->list[v][k];
    return -1;
}

static void merge(struct clock *c, const struct clock *other)
{
    for (int v = 0; v < SIM_UNITS; v++)
        if (other->done[v] > c->done[v])
            c->done[v] = other->done[v];
}

static void advance(struct walk *w, int i, unsigned u)
{
    w->unit[u].done[u] = i + 1;
    w->at[i] = w->unit[u];
    w->list[u][w->count[u]++] = i;
}

int sim_tokens_insert(struct sim_program *p)
{
    struct walk w;
    int r = start(&w, p, false);

    for (int i = 0; r == 0 && i < p->n; i++)
        p->insn[i].wait = p->insn[i].signal = 0;
    for (int i = 0; r == 0 && i < p->n; i++) {
        const unsigned u = sim_insn_unit(&p->insn[i]);
        int need[SIM_UNITS];

        if (u == SIM_UNITS)
            continue;
        for (unsigned v = 0; v < SIM_UNITS; v++)
            need[v] = v == u ? -1 : last_conflict(&w, i, v, &w.unit[u]);
        for (unsigned v = 0; v < SIM_UNITS; v++) {
            bool implied = need[v] < 0;

            for (unsigned x = 0; x < SIM_UNITS; x++)
                implied |= x != v && need[x] >= 0 && need[v] >= 0 && w.at[need[x]].done[v] > need[v];
            if (implied)
                continue;
            p->insn[need[v]].signal |= (uint8_t)(1u << u);
            p->insn[i].wait |= (uint8_t)(1u << v);
            merge(&w.unit[u], &w.at[need[v]]);
        }
        advance(&w, i, u);
    }
    done(&w);
    return r;
}

static const char *name_of(const struct sim_program *p, int i)
{
    return sim_ops[p->insn[i].op].name;
}

static int take_tokens(struct walk *w, int i, unsigned u, char *why, size_t size)
{
    for (unsigned v = 0; v < SIM_UNITS; v++) {
        if (!(w->p->insn[i].wait >> v & 1))
            continue;
        if (w->n_taken[v][u] == w->n_sent[v][u]) {
            snprintf(why, size,
                     "instruction %d (%s, unit %s) waits for a token of unit %s that nothing before it sends", i,
                     name_of(w->p, i), sim_unit_names[u], sim_unit_names[v]);
            return -EDEADLK;
        }
        merge(&w->unit[u], &w->at[w->sent[v][u][w->n_taken[v][u]++]]);
    }
    return 0;
}

static int check_conflicts(const struct walk *w, int i, unsigned u, char *why, size_t size)
{
    for (unsigned v = 0; v < SIM_UNITS; v++) {
        int j = v == u ? -1 : last_conflict(w, i, v, &w->unit[u]);

        if (j < 0)
            continue;
        snprintf(why, size,
                 "instruction %d (%s, unit %s) and instruction %d (%s, unit %s) use the same memory, and no "
                 "token orders them",
                 i, name_of(w->p, i), sim_unit_names[u], j, name_of(w->p, j), sim_unit_names[v]);
        return -EINVAL;
    }
    return 0;
}

static int check_left_over(const struct walk *w, char *why, size_t size)
{
    for (int u = 0; u < SIM_UNITS; u++)
        for (int v = 0; v < SIM_UNITS; v++)
            if (w->n_taken[u][v] != w->n_sent[u][v]) {
                snprintf(why, size, "%d tokens of unit %s for unit %s are left over, the last of instruction %d",
                         w->n_sent[u][v] - w->n_taken[u][v], sim_unit_names[u], sim_unit_names[v],
                         w->sent[u][v][w->n_sent[u][v] - 1]);
                return -EDEADLK;
            }
    return 0;
}

int sim_tokens_check(const struct sim_program *p, char *why, size_t size)
{
    struct walk w;
    int r = start(&w, p, true);

    for (int i = 0; r == 0 && i < p->n; i++) {
        const unsigned u = sim_insn_unit(&p->insn[i]);

        if (u == SIM_UNITS)
            continue;
        r = take_tokens(&w, i, u, why, size);
        if (r == 0)
            r = check_conflicts(&w, i, u, why, size);
        advance(&w, i, u);
        for (unsigned v = 0; v < SIM_UNITS; v++)
            if (p->insn[i].signal >> v & 1)
                w.sent[u][v][w.n_sent[u][v]++] = i;
    }
    if (r == 0)
        r = check_left_over(&w, why, size);
    done(&w);
    return r;
}
