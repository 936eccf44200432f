/* sim.h - the simulated NPU as a device (internal to libnpu). */
#ifndef NPU_DEV_SIM_H
#define NPU_DEV_SIM_H

#include "libnpu/dev.h"
#include "libnpu/sim/isa.h"
#include "libnpu/sim/machine.h"
#include "libnpu/sim/resident.h"

/* options: the measures (sim/config.h). -EINVAL for wrong ones; npu_ctx_error names the word. */
int npu_dev_sim_open(struct npu_ctx *c, const char *options, struct npu_dev **ret_dev);

/* Instructions [first, end) of a program: those of one step, or those that pack its weights. */
struct sim_section {
    int step, first, end;
    bool packs;
};
struct sim_sections {
    struct sim_section *of; /* in the program's order, all of it */
    int n;
};

/* What a plan on this device became. */
struct sim_plan {
    struct sim_machine *machine;
    uint64_t *bank_at;                 /* where each bank begins in external memory */
    struct sim_residence residence;    /* results that stay in unified memory */
    struct sim_program setup, program; /* what runs when parameters were written; every run */
    struct sim_sections setup_sections, sections;
    int *packed; /* of each step: the buffer of its weights as bf16; -1: none */
    uint64_t runs;
    int status;
};
/* NULL if the plan is not on a simulated NPU. */
const struct sim_plan *npu_plan_sim(const struct npu_plan *p);
const struct sim_config *npu_dev_sim_config(const struct npu_dev *d); /* NULL alike */

#endif
