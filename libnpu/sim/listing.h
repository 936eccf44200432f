/* listing.h - the programs of a plan on the simulated NPU, for whoever runs them elsewhere (docs/NPU-ISA.md, "A back
 * end for a board"). */
#ifndef NPU_SIM_LISTING_H
#define NPU_SIM_LISTING_H

#include "libnpu/plan.h"

/* Writes the program that makes the constants after a parameter was written, or that of each run, as text: bytes of
 * external memory, where inputs, parameters, states and outputs lie in it, then the instructions under the names of
 * their operations. sim_assemble makes the plan's bytes of it. title: one line. -EOPNOTSUPP if the plan is not on a
 * simulated NPU, -EIO. */
int sim_listing_text(const struct npu_plan *p, const char *title, bool setup, FILE *out);
/* The instructions alone, as sim_binary_read takes them. Failures alike. */
int sim_listing_binary(const struct npu_plan *p, bool setup, FILE *out);

#endif
