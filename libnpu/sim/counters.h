/* counters.h - how long a program takes on a machine, in cycles, and what it moves. Independent of the data. */
#ifndef NPU_SIM_COUNTERS_H
#define NPU_SIM_COUNTERS_H

#include "libnpu/sim/config.h"
#include "libnpu/sim/isa.h"

struct sim_span {
    uint64_t begin, end; /* cycles; the tokens are sent at `end` */
};

struct sim_counters {
    uint64_t cycles;           /* from the first fetch to the last end */
    uint64_t busy[SIM_UNITS];  /* cycles in which the unit works: transfers, streamed rows, vector steps */
    uint64_t read, written;    /* bytes over the bus, whole bursts; without instructions */
    uint64_t fetched;          /* bytes of instructions */
    uint64_t products;         /* multiplications of the array */
    uint64_t stall[SIM_UNITS]; /* cycles in which the unit has a fetched instruction that waits for tokens */
};

/* Work of one instruction without regard to others: fills busy (one unit), read, written, fetched, products. */
void sim_count(const struct sim_config *c, const struct sim_insn *i, struct sim_counters *ret_work);

/* Runs the clock: ret_span has p->n elements or is NULL. The program must pass sim_tokens_check: -EDEADLK if not. */
int sim_time(const struct sim_config *c, const struct sim_program *p, struct sim_span *ret_span,
             struct sim_counters *ret_counters);

#endif
