/* counters.c - cycles and bytes of a program (docs/NPU-ISA.md, "Time").
 *
 * Units go on in the order of time: of those whose next instruction's tokens have a known time, the one that can begin
 * first begins. So the bus is given away in the order in which it is asked for.
 */
#include "libnpu/sim/counters.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    BURST = 32,   /* bytes that a piece of external memory costs at least, and is rounded up to */
    FILL = 64,    /* bytes that a fill, or a transfer that stays on the chip, writes in a cycle */
    PIPELINE = 8, /* cycles from a vector instruction's last element in to its result out */
    SLOW = 4,     /* times as long: exponentials, divisions, roots */
    WIDE = 4      /* times as long: rows of f32 through the array */
};

static uint64_t ceil_div(uint64_t a, uint64_t b)
{
    return (a + b - 1) / b;
}

/* Axes whose elements lie side by side are one piece. */
static uint64_t bus_bytes(const struct sim_insn *i)
{
    const struct sim_dma *t = &i->dma;
    const uint64_t size = npu_dtype_size(SIM_PLACE_DTYPE(i->type[i->op == SIM_OP_LOAD]));
    uint64_t run = 1, pieces = 1;
    int k = 0;

    for (; k < 4 && (t->n[k] == 1 || t->xs[k] == (int64_t)run); k++)
        run *= t->n[k];
    for (; k < 4; k++)
        pieces *= t->n[k];
    return pieces * ceil_div(run * size, BURST) * BURST;
}

static bool is_slow(const struct sim_insn *i)
{
    return sim_insn_act(i) >= SIM_ACT_GELU || i->op == SIM_OP_DIV || (i->op >= SIM_OP_EXP && i->op <= SIM_OP_RECIP);
}

/* Rows that lie side by side in all operands are one row. */
static uint64_t vector_cycles(const struct sim_config *c, const struct sim_insn *i)
{
    const struct sim_vector *t = &i->vec;
    const bool has_b = sim_op_has_b(i->op) && !(i->flags & SIM_B_IMM), reduces = sim_op_reduces(i->op);
    const bool dense = !reduces && t->ds[0] == (int64_t)t->n0 && t->as[0] == 1 && t->as[1] == (int64_t)t->n0 &&
                       (!has_b || (t->bs[0] == 1 && t->bs[1] == (int64_t)t->n0));
    const uint64_t rows = dense ? t->n2 : (uint64_t)t->n1 * t->n2, row = dense ? (uint64_t)t->n0 * t->n1 : t->n0;

    return rows * ceil_div(row, (uint64_t)c->lanes) * (is_slow(i) ? SLOW : 1);
}

static uint64_t stream_cycles(const struct sim_insn *i)
{
    return (uint64_t)i->mmul.m[0] * i->mmul.m[1] * (SIM_PLACE_DTYPE(i->type[1]) == NPU_F32 ? WIDE : 1);
}

/* A transfer between two places on the chip: the bus has no part in it. */
static bool is_local(const struct sim_insn *i)
{
    return SIM_PLACE_MEM(i->type[i->op == SIM_OP_LOAD]) != SIM_XM;
}

static uint64_t local_cycles(const struct sim_insn *i)
{
    const struct sim_dma *t = &i->dma;
    const uint64_t n = (uint64_t)t->n[0] * t->n[1] * t->n[2] * t->n[3];
    const uint64_t d = npu_dtype_size(SIM_PLACE_DTYPE(i->type[0])), a = npu_dtype_size(SIM_PLACE_DTYPE(i->type[1]));

    return ceil_div(n * (d > a ? d : a), FILL);
}

void sim_count(const struct sim_config *c, const struct sim_insn *i, struct sim_counters *ret_work)
{
    struct sim_counters w = {.fetched = SIM_INSN_BYTES};
    const enum sim_unit u = sim_insn_unit(i);
    const double bytes_per_cycle = c->bytes_per_s / c->clock_hz;
    uint64_t n;

    switch (i->op) {
    case SIM_OP_HALT:
    case SIM_OP_NOP:
        break;
    case SIM_OP_LOAD:
    case SIM_OP_STORE:
        if (is_local(i)) {
            w.busy[u] = local_cycles(i);
            break;
        }
        n = bus_bytes(i);
        *(i->op == SIM_OP_LOAD ? &w.read : &w.written) = n;
        w.busy[u] = (uint64_t)((double)n / bytes_per_cycle) + 1;
        break;
    case SIM_OP_FILL:
        n = (uint64_t)i->fill.n[0] * i->fill.n[1] * i->fill.n[2] * i->fill.n[3];
        w.busy[u] = ceil_div(n * npu_dtype_size(SIM_PLACE_DTYPE(i->type[0])), FILL);
        break;
    case SIM_OP_WLOAD:
        w.busy[u] = 0; /* beside the rows that stream: see start_matrix */
        break;
    case SIM_OP_MMUL:
        w.busy[u] = stream_cycles(i);
        w.products = (uint64_t)i->mmul.m[0] * i->mmul.m[1] * i->mmul.n * i->mmul.count;
        break;
    case SIM_OP_QSCALE:
        w.busy[u] = i->q.n1 * ceil_div(i->q.n0, (uint64_t)c->lanes);
        break;
    default:
        w.busy[u] = vector_cycles(c, i);
    }
    *ret_work = w;
}

/* ---- the clock ---- */
struct unit {
    int *insn, n, next; /* its instructions; the next one */
    uint64_t free;      /* when it can begin another */
};

struct clock {
    const struct sim_config *c;
    const struct sim_program *p;
    struct unit unit[SIM_UNITS];
    uint64_t *sent[SIM_UNITS][SIM_UNITS]; /* when each token from u to v was sent */
    int n_sent[SIM_UNITS][SIM_UNITS], n_taken[SIM_UNITS][SIM_UNITS];
    uint64_t *fetch; /* when each instruction is in the buffer */
    int fetched, started;
    uint64_t bus, weights, stream, last_stream; /* free: bus, shadow weights, array; when the last mmul began */
};

static void fetch_more(struct clock *k, uint64_t now)
{
    const uint64_t each = (uint64_t)(SIM_INSN_BYTES * k->c->clock_hz / k->c->bytes_per_s) + 1;

    while (k->fetched < k->p->n && k->fetched - k->started < k->c->ib) {
        uint64_t last = k->fetched ? k->fetch[k->fetched - 1] : (uint64_t)k->c->latency;

        k->fetch[k->fetched++] = (last > now ? last : now) + each;
    }
}

/* When the next instruction of u can begin, and when it could but for tokens; false if that is not known yet. */
static bool ready(const struct clock *k, unsigned u, uint64_t *ret_at, uint64_t *ret_alone)
{
    const struct unit *t = &k->unit[u];
    const struct sim_insn *i;
    uint64_t at;

    if (t->next == t->n || t->insn[t->next] >= k->fetched)
        return false;
    i = &k->p->insn[t->insn[t->next]];
    at = t->free > k->fetch[t->insn[t->next]] ? t->free : k->fetch[t->insn[t->next]];
    *ret_alone = at;
    for (unsigned v = 0; v < SIM_UNITS; v++) {
        if (!(i->wait >> v & 1))
            continue;
        if (k->n_taken[v][u] == k->n_sent[v][u])
            return false;
        if (k->sent[v][u][k->n_taken[v][u]] > at)
            at = k->sent[v][u][k->n_taken[v][u]];
    }
    *ret_at = at;
    return true;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The array has a second set of weights: wload fills it, a row a cycle, while rows still stream past the first. */
static struct sim_span start_matrix(struct clock *k, const struct sim_insn *i, uint64_t at)
{
    struct sim_span s;

    if (i->op == SIM_OP_WLOAD) {
        s.begin = later(at, later(k->weights, k->last_stream));
        s.end = k->weights = s.begin + i->wload.k;
        k->unit[SIM_MATRIX].free = s.begin + 1;
        return s;
    }
    s.begin = later(at, later(k->weights, k->stream));
    k->last_stream = s.begin;
    k->stream = s.begin + stream_cycles(i);
    s.end = k->stream + (uint64_t)k->c->rows + (uint64_t)k->c->cols;
    k->unit[SIM_MATRIX].free = s.begin + 1;
    return s;
}

static struct sim_span start(struct clock *k, unsigned u, const struct sim_insn *i, uint64_t at)
{
    struct sim_counters w;
    struct sim_span s = {at, at + 1};

    sim_count(k->c, i, &w);
    k->unit[u].free = s.end;
    if (i->op == SIM_OP_NOP)
        return s;
    if (u == SIM_MATRIX)
        return start_matrix(k, i, at);
    if ((i->op == SIM_OP_LOAD || i->op == SIM_OP_STORE) &&
        !is_local(i)) { /* the next request overlaps this one's data */
        s.begin = later(at, k->bus > (uint64_t)k->c->latency ? k->bus - (uint64_t)k->c->latency : 0);
        s.end = k->bus = later(s.begin + (uint64_t)k->c->latency, k->bus) + w.busy[u];
        k->unit[u].free = s.end - (uint64_t)k->c->latency;
        return s;
    }
    s.end = at + w.busy[u] + (u == SIM_VECTOR ? PIPELINE : 0);
    k->unit[u].free = at + w.busy[u];
    return s;
}

static void add_work(struct sim_counters *sum, const struct sim_counters *w)
{
    for (int u = 0; u < SIM_UNITS; u++)
        sum->busy[u] += w->busy[u];
    sum->read += w->read;
    sum->written += w->written;
    sum->fetched += w->fetched;
    sum->products += w->products;
}

/* Begins the next instruction of unit u. */
static void begin(struct clock *k, unsigned u, uint64_t at, uint64_t alone, struct sim_span *ret_span,
                  struct sim_counters *sum)
{
    struct unit *t = &k->unit[u];
    const int index = t->insn[t->next++];
    const struct sim_insn *i = &k->p->insn[index];
    struct sim_span s;
    struct sim_counters w;

    for (unsigned v = 0; v < SIM_UNITS; v++)
        k->n_taken[v][u] += i->wait >> v & 1;
    s = start(k, u, i, at);
    for (unsigned v = 0; v < SIM_UNITS; v++)
        if (i->signal >> v & 1)
            k->sent[u][v][k->n_sent[u][v]++] = s.end;
    sim_count(k->c, i, &w);
    add_work(sum, &w);
    sum->stall[u] += at - alone;
    sum->cycles = later(sum->cycles, s.end);
    if (ret_span)
        ret_span[index] = s;
    k->started++;
    fetch_more(k, s.begin);
}

static int run(struct clock *k, struct sim_span *ret_span, struct sim_counters *sum)
{
    fetch_more(k, 0);
    for (;;) {
        unsigned best = SIM_UNITS;
        uint64_t first = 0, first_alone = 0, left = 0;

        for (unsigned u = 0; u < SIM_UNITS; u++) {
            uint64_t at, alone;

            left += (uint64_t)(k->unit[u].n - k->unit[u].next);
            if (ready(k, u, &at, &alone) && (best == SIM_UNITS || at < first)) {
                best = u;
                first = at;
                first_alone = alone;
            }
        }
        if (best == SIM_UNITS)
            return left ? -EDEADLK : 0;
        begin(k, best, first, first_alone, ret_span, sum);
    }
}

int sim_time(const struct sim_config *c, const struct sim_program *p, struct sim_span *ret_span,
             struct sim_counters *ret_counters)
{
    struct sim_program live = *p;
    struct clock k = {.c = c, .p = &live};
    struct sim_counters sum = {0};
    size_t n = (size_t)p->n + 1;
    int *lists, r = -ENOMEM;
    uint64_t *times;

    live.n = 0;
    while (live.n < p->n && p->insn[live.n].op != SIM_OP_HALT)
        live.n++;
    lists = calloc(n * SIM_UNITS, sizeof *lists);
    times = calloc(n * (SIM_UNITS * SIM_UNITS + 1), sizeof *times);
    if (lists && times) {
        k.fetch = times + n * SIM_UNITS * SIM_UNITS;
        for (unsigned u = 0; u < SIM_UNITS; u++) {
            k.unit[u].insn = lists + n * u;
            for (unsigned v = 0; v < SIM_UNITS; v++)
                k.sent[u][v] = times + n * (u * SIM_UNITS + v);
        }
        for (int i = 0; i < live.n; i++) {
            struct unit *t = &k.unit[sim_insn_unit(&live.insn[i])];

            t->insn[t->n++] = i;
        }
        r = run(&k, ret_span, &sum);
    }
    free(lists);
    free(times);
    if (r == 0)
        *ret_counters = sum;
    return r;
}
