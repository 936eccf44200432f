/* machine.h - the functional simulator: what each instruction does to the memories, in any order that tokens allow. */
#ifndef NPU_SIM_MACHINE_H
#define NPU_SIM_MACHINE_H

#include "libnpu/sim/config.h"
#include "libnpu/sim/isa.h"

/* valid[i] is 1 once byte i was written: reading another is an error. */
struct sim_memory {
    uint8_t *byte, *valid;
    uint64_t size;
};

struct sim_machine {
    struct sim_config config;
    struct sim_memory mem[SIM_MEMS];
    /* the array's weights as [k][n] with config.cols a row */
    float *weight;
    uint32_t weight_k, weight_n;
    enum npu_dtype weight_dtype; /* NPU_DTYPES: none */
    char error[320];
    int failed; /* the instruction that failed; -1 if none */
};

int sim_machine_new(const struct sim_config *c, uint64_t xm_bytes, struct sim_machine **ret_machine);
struct sim_machine *sim_machine_free(struct sim_machine *m); /* accepts and returns NULL */

/* The host's way to external memory. -EFAULT beyond its end. Reading poison is the host's own affair. */
int sim_machine_write(struct sim_machine *m, uint64_t address, const void *data, size_t size);
int sim_machine_read(const struct sim_machine *m, uint64_t address, void *data, size_t size);
void sim_machine_poison(struct sim_machine *m, enum sim_mem mem, uint64_t from, uint64_t size);

/* Runs a program from its first instruction to halt or its end; on-chip memories are poisoned before. The controller
 * fetches in program order into the buffer; of all units whose next instruction has its tokens a random one goes on.
 * seed decides. Failures name instruction, unit and address in m->error: -EFAULT wild access, -EINVAL an instruction
 * that this machine can't do, -ENODATA poison was read, -EDEADLK tokens that never come or are left over. */
int sim_machine_run(struct sim_machine *m, const struct sim_program *p, uint64_t seed);

/* ---- exec_*.c: the effect of one instruction; the reason of a failure in m->error ---- */
int sim_exec_transfer(struct sim_machine *m, const struct sim_insn *i);
int sim_exec_matrix(struct sim_machine *m, const struct sim_insn *i);
int sim_exec_vector(struct sim_machine *m, const struct sim_insn *i);

/* ---- access.c ---- */
/* The bytes [at, at + size) of a memory for reading or writing; NULL with m->error and *ret_r set: out of range, or
 * poison. Writing makes them valid. */
uint8_t *sim_access(struct sim_machine *m, enum sim_mem mem, int64_t at, int64_t size, bool write, int *ret_r);
/* n elements at byte address at, stride elements apart, as f32. */
int sim_fetch(struct sim_machine *m, uint8_t place, int64_t at, int64_t stride, uint32_t n, float *ret_value);
/* n elements side by side, rounded to nearest even, integers saturated (NaN gives 0). */
int sim_put(struct sim_machine *m, uint8_t place, int64_t at, uint32_t n, const float *value);

#endif
