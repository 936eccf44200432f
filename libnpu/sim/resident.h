/* resident.h - which results of a plan stay in unified memory from their maker to their last reader. */
#ifndef NPU_SIM_RESIDENT_H
#define NPU_SIM_RESIDENT_H

#include "libnpu/plan.h"

#define SIM_NOT_RESIDENT UINT32_MAX

struct sim_residence {
    uint32_t room;     /* bytes kept for them, behind those for tiles */
    uint32_t *at;      /* by value handle: where in unified memory the value's root lies, or SIM_NOT_RESIDENT */
    int stay, spilled; /* values that lie there; that could but for want of room */
    uint64_t stay_bytes, spilled_bytes; /* of these, without rounding */
};

/* Places results of nodes in the bytes [from, from + room) of unified memory, none over another one that lives. Left to
 * external memory are inputs, weights, outputs, what outlives a run, and what does not fit. -ENOMEM. */
int sim_residence_make(const struct npu_plan *p, uint32_t from, uint32_t room, struct sim_residence *ret_residence);
void sim_residence_free(struct sim_residence *r);

#endif
