/* machine.c - controller, fetch buffer and units: fetches in order, lets ready units go on in a random order. */
#include "libnpu/sim/machine.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "libnpu/rng.h"

static int memory_new(struct sim_memory *t, uint64_t size)
{
    t->size = size;
    t->byte = calloc(1, (size_t)size + 1);
    t->valid = calloc(1, (size_t)size + 1);
    return t->byte && t->valid ? 0 : -ENOMEM;
}

int sim_machine_new(const struct sim_config *c, uint64_t xm_bytes, struct sim_machine **ret_machine)
{
    const uint64_t size[SIM_MEMS] = {xm_bytes, c->wm, c->im, c->acc, c->um};
    struct sim_machine *m = calloc(1, sizeof *m);
    int r = m && xm_bytes <= SIM_MAX_EXTERNAL ? 0 : -ENOMEM;

    if (r == 0) {
        m->config = *c;
        m->weight = calloc((size_t)c->rows * (size_t)c->cols, sizeof m->weight[0]);
        r = m->weight ? 0 : -ENOMEM;
    }
    for (int k = 0; r == 0 && k < SIM_MEMS; k++)
        r = memory_new(&m->mem[k], size[k]);
    if (r < 0)
        sim_machine_free(m);
    else
        *ret_machine = m;
    return r;
}

struct sim_machine *sim_machine_free(struct sim_machine *m)
{
    if (!m)
        return NULL;
    for (int k = 0; k < SIM_MEMS; k++) {
        free(m->mem[k].byte);
        free(m->mem[k].valid);
    }
    free(m->weight);
    free(m);
    return NULL;
}

static bool in_xm(const struct sim_machine *m, uint64_t address, size_t size)
{
    return address <= m->mem[SIM_XM].size && size <= m->mem[SIM_XM].size - address;
}

int sim_machine_write(struct sim_machine *m, uint64_t address, const void *data, size_t size)
{
    if (!in_xm(m, address, size))
        return -EFAULT;
    memcpy(m->mem[SIM_XM].byte + address, data, size);
    memset(m->mem[SIM_XM].valid + address, 1, size);
    return 0;
}

int sim_machine_read(const struct sim_machine *m, uint64_t address, void *data, size_t size)
{
    if (!in_xm(m, address, size))
        return -EFAULT;
    memcpy(data, m->mem[SIM_XM].byte + address, size);
    return 0;
}

void sim_machine_poison(struct sim_machine *m, enum sim_mem mem, uint64_t from, uint64_t size)
{
    memset(m->mem[mem].byte + from, 0xff, (size_t)size);
    memset(m->mem[mem].valid + from, 0, (size_t)size);
}

/* ---- running ---- */
struct run {
    struct sim_machine *m;
    const struct sim_program *p;
    int *queue[SIM_UNITS]; /* fetched instructions of a unit, as a ring of ib */
    int head[SIM_UNITS], count[SIM_UNITS];
    int fetched, waiting; /* next instruction to fetch; how many are in queues */
    bool halted;
    uint32_t token[SIM_UNITS][SIM_UNITS]; /* [from][to] */
    uint64_t random, drawn;
    unsigned order[SIM_UNITS]; /* who goes first among the ready, until it is shuffled again */
    unsigned calm;             /* after how many instructions that is, in the mean */
};

static uint64_t next_random(struct run *q)
{
    return npu_rng_u64(q->random, q->drawn++);
}

/* Puts "instruction 7 (load, unit load): " before the reason. */
static int blame(struct run *q, int index, int r)
{
    const struct sim_insn *i = &q->p->insn[index];
    const unsigned u = i->op < SIM_OPS ? sim_insn_unit(i) : SIM_UNITS;
    char reason[200];

    q->m->failed = index;
    snprintf(reason, sizeof reason, "%.199s", q->m->error);
    snprintf(q->m->error, sizeof q->m->error, "instruction %d (%s, unit %s): %s", index,
             i->op < SIM_OPS ? sim_ops[i->op].name : "?", u < SIM_UNITS ? sim_unit_names[u] : "controller", reason);
    return r;
}

static int fetch(struct run *q)
{
    const int ib = q->m->config.ib;

    while (!q->halted && q->fetched < q->p->n && q->waiting < ib) {
        const struct sim_insn *i = &q->p->insn[q->fetched];
        unsigned u;
        int r = sim_insn_check(i, q->m->error, sizeof q->m->error);

        if (r < 0)
            return blame(q, q->fetched, r);
        u = sim_insn_unit(i);
        if (u == SIM_UNITS) {
            q->halted = true;
            break;
        }
        q->queue[u][(q->head[u] + q->count[u]++) % ib] = q->fetched++;
        q->waiting++;
    }
    return 0;
}

static bool is_ready(const struct run *q, unsigned u)
{
    const struct sim_insn *i;

    if (q->count[u] == 0)
        return false;
    i = &q->p->insn[q->queue[u][q->head[u]]];
    for (int v = 0; v < SIM_UNITS; v++)
        if (i->wait >> v & 1 && q->token[v][u] == 0)
            return false;
    return true;
}

static int deadlock(struct run *q)
{
    for (unsigned u = 0; u < SIM_UNITS; u++)
        for (unsigned v = 0; v < SIM_UNITS && q->count[u] > 0; v++) {
            int index = q->queue[u][q->head[u]];

            if (q->p->insn[index].wait >> v & 1 && q->token[v][u] == 0) {
                snprintf(q->m->error, sizeof q->m->error, "waits for ever for a token of unit %s", sim_unit_names[v]);
                return blame(q, index, -EDEADLK);
            }
        }
    return -EDEADLK;
}

static int execute(struct run *q, unsigned u)
{
    const int index = q->queue[u][q->head[u]];
    const struct sim_insn *i = &q->p->insn[index];
    int r = 0;

    q->head[u] = (q->head[u] + 1) % q->m->config.ib;
    q->count[u]--;
    q->waiting--;
    for (int v = 0; v < SIM_UNITS; v++)
        q->token[v][u] -= i->wait >> v & 1;
    if (i->op != SIM_OP_NOP)
        r = u == SIM_MATRIX   ? sim_exec_matrix(q->m, i)
            : u == SIM_VECTOR ? sim_exec_vector(q->m, i)
                              : sim_exec_transfer(q->m, i);
    for (int v = 0; v < SIM_UNITS; v++)
        q->token[u][v] += i->signal >> v & 1;
    return r < 0 ? blame(q, index, r) : 0;
}

static int left_over(struct run *q)
{
    for (int u = 0; u < SIM_UNITS; u++)
        for (int v = 0; v < SIM_UNITS; v++)
            if (q->token[u][v]) {
                snprintf(q->m->error, sizeof q->m->error, "%u tokens of unit %s for unit %s are left over",
                         q->token[u][v], sim_unit_names[u], sim_unit_names[v]);
                return -EDEADLK;
            }
    return 0;
}

/* Now and then another order: units run ahead of others as far as they can, and fall behind as far. */
static void shuffle(struct run *q)
{
    if (next_random(q) % q->calm)
        return;
    for (unsigned k = SIM_UNITS - 1; k > 0; k--) {
        unsigned other = next_random(q) % (k + 1), t = q->order[k];

        q->order[k] = q->order[other];
        q->order[other] = t;
    }
}

static int run(struct run *q)
{
    for (;;) {
        unsigned k = 0;
        int r = fetch(q);

        if (r < 0)
            return r;
        if (q->waiting == 0)
            return left_over(q);
        shuffle(q);
        while (k < SIM_UNITS && !is_ready(q, q->order[k]))
            k++;
        r = k == SIM_UNITS ? deadlock(q) : execute(q, q->order[k]);
        if (r < 0)
            return r;
    }
}

int sim_machine_run(struct sim_machine *m, const struct sim_program *p, uint64_t seed)
{
    struct run q = {.m = m, .p = p, .random = seed};
    int *queues = malloc((size_t)m->config.ib * SIM_UNITS * sizeof(int)), r;

    if (!queues)
        return -ENOMEM;
    for (unsigned u = 0; u < SIM_UNITS; u++)
        q.order[u] = u;
    for (int u = 0; u < SIM_UNITS; u++)
        q.queue[u] = queues + (size_t)u * (size_t)m->config.ib;
    q.calm = 4u << next_random(&q) % 4 * 2; /* 4, 16, 64 or 256 */
    m->error[0] = '\0';
    m->failed = -1;
    m->weight_dtype = NPU_DTYPES;
    m->weight_k = m->weight_n = 0;
    for (int k = SIM_WM; k < SIM_MEMS; k++)
        sim_machine_poison(m, k, 0, m->mem[k].size);
    r = run(&q);
    free(queues);
    return r;
}
