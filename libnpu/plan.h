/* plan.h - how a plan is kept (internal to libnpu). */
#ifndef NPU_PLAN_H
#define NPU_PLAN_H

#include "libnpu/lower.h"

struct npu_fence {
    struct npu_plan *plan;
};

struct npu_step {
    int32_t node;
    bool constant;                /* computed from frozen values only: runs when a parameter was written */
    int first_launch, n_launches; /* in plan->lower.launch */
    const char *tier;             /* the only one that may serve; NULL: the first that can */
    double ms_sum;                /* if profiled */
    uint64_t runs;
};

struct npu_bank {
    size_t size;
    bool persistent;
};

struct npu_plan {
    struct npu_dev *dev;
    struct npu_graph *graph; /* what is computed: the given one, or the plan's own in its place (widen.h) */
    struct npu_graph *given;
    struct npu_plan_opts opts;
    size_t guard; /* bytes of guard before and after every placement (tests) */
    char error[512];
    struct npu_place *place; /* place[v - 1]; values without memory have bank -1 */
    int n_steps;
    struct npu_step *step;
    const char *tier;          /* for all steps: this one and nothing measured; NULL: chosen */
    struct npu_choice *choice; /* one a step (tune.h); NULL: the device has no tiers */
    struct npu_bank *bank;
    int n_banks;
    struct npu_lower lower;
    struct npu_fence fence;
    bool in_flight, params_dirty;
    double last_run_ms;
    int64_t submitted_ns;
    struct npu_plan_stats stats;
    void *dev_plan; /* the device's own */
};

/* Fills p->step with the nodes of p->graph that are needed. 0 or -ENOMEM. */
int npu_plan_choose_steps(struct npu_plan *p);
/* The first name among a node's outputs and parameters, "" if there is none: what a reader would look for. */
void npu_node_name(const npu_graph *g, const struct npu_node *n, char *buf, size_t size);

int npu_plan_fail(struct npu_plan *p, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int64_t npu_now_ns(void);                                             /* CLOCK_MONOTONIC */
struct npu_place npu_plan_place(const struct npu_plan *p, npu_val v); /* of the value's memory; bank -1 if none */

/* npu_plan_new with guard bytes round every placement (a multiple of 64; 0 = none). */
int npu_plan_new_guarded(struct npu_dev *d, struct npu_graph *g, const struct npu_plan_opts *opts, size_t guard,
                         struct npu_plan **ret_plan);
/* npu_plan_new whose nodes take this tier (static text) where they can. A failure is not told to device and context. */
int npu_plan_new_tier(struct npu_dev *d, struct npu_graph *g, const char *tier, struct npu_plan **ret_plan);
/* Fills all memory with NaN (0xff bytes), the guards with 0xa5; before inputs are written. */
int npu_plan_poison(struct npu_plan *p);
/* -EFAULT if a guard was overwritten; npu_plan_error names the value. */
int npu_plan_check_guards(struct npu_plan *p);

/* place.c: gives every value, scratch and packed buffer its place. */
int npu_plan_place_all(struct npu_plan *p);

#endif
