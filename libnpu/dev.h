/* dev.h - the table behind which each kind of device stands (internal to libnpu).
 *
 * A plan is made in this order: plan_lower (what memory does each step want besides its values), then the plan places
 * all memory into banks, then plan_build (allocate the banks, zeroed, and make everything ready to run).
 */
#ifndef NPU_DEV_H
#define NPU_DEV_H

#include "libnpu/ctx.h"
#include "libnpu/plan.h"

struct npu_tune;

struct npu_dev_ops {
    const char *name;
    /* Fills p->lower by npu_lower_node for each step, or only buffers. p->error tells the reason of a failure. */
    int (*plan_lower)(struct npu_plan *p);
    int (*plan_build)(struct npu_plan *p);
    void (*plan_free)(struct npu_plan *p); /* waits for what is in flight; also after a failed plan_build */
    /* Whole ranges, complete on return; never while a submission is in flight. */
    int (*write)(struct npu_plan *p, struct npu_place at, const void *data);
    int (*read)(struct npu_plan *p, struct npu_place at, void *data);
    /* Starts a run; constant steps and on_params launches only if p->params_dirty. */
    int (*submit)(struct npu_plan *p);
    /* 0 when done, the run's failure, or -ETIMEDOUT. Called only while in flight. */
    int (*wait)(struct npu_plan *p, int64_t timeout_ns);
    /* NULL, or the whole run at once on the calling thread; -EOPNOTSUPP if this plan needs submit and wait. */
    int (*run)(struct npu_plan *p);
    void (*close)(struct npu_dev *d);
};

struct npu_dev {
    const struct npu_dev_ops *ops;
    struct npu_ctx *ctx;
    struct npu_dev_info info;
    struct npu_traits traits;
    size_t align;    /* of every placement, a power of two */
    size_t max_bank; /* largest single allocation */
    int n_plans;
    struct npu_tune *tune; /* verdicts on tiers; NULL as long as none was needed */
    char error[256];       /* npu_dev_error; under a lock of plan.c */
};

/* A device that runs the C references, one after the other, in npu_plan_submit itself. */
int npu_dev_ref_open(struct npu_ctx *c, const struct npu_dev_info *info, struct npu_dev **ret_dev);
void npu_dev_ref_info(struct npu_dev_info *ret_info);
extern const struct npu_dev_ops npu_dev_ref_ops;

#endif
