/* report.h - where the time of a plan on the simulated NPU goes: a table of its layers, and a picture. */
#ifndef NPU_SIM_REPORT_H
#define NPU_SIM_REPORT_H

#include "libnpu/plan.h"
#include "libnpu/sim/counters.h"
#include "libnpu/sim/resident.h"

/* A step of the plan that has instructions. Layers overlap: one's loads begin before the one before it has ended. */
struct sim_layer {
    const char *op;
    char name[NPU_MAX_NAME];
    int first, n;             /* instructions */
    uint64_t begin, end;      /* cycles: its first instruction begins, its last one ends */
    uint64_t taken;           /* by how much it moves the end of all layers so far */
    struct sim_counters work; /* cycles and stall are 0 */
};

struct sim_report {
    const struct sim_config *config;
    const struct sim_program *program;
    const struct sim_residence *residence;
    struct sim_span *span; /* of each instruction */
    struct sim_layer *layer;
    int n_layers;
    struct sim_counters total;
};

/* -EOPNOTSUPP if the plan is not on a simulated NPU. Holds while the plan does. */
int sim_report_make(const struct npu_plan *p, struct sim_report *ret_report);
void sim_report_free(struct sim_report *r);

/* Multiplications done as a share of those that the array could have done in these cycles. */
double sim_utilisation(const struct sim_config *c, uint64_t products, uint64_t cycles);

int sim_report_print(const struct sim_report *r, FILE *out, bool json); /* -EIO */
/* An SVG: a row a unit and a row a layer, time to the right. */
int sim_report_timeline(const struct sim_report *r, const char *title, FILE *out);

#endif
