/* ops_diff.h - gradients against finite differences of the reference's forward (npu-ops grad). */
#ifndef NPU_TOOL_OPS_DIFF_H
#define NPU_TOOL_OPS_DIFF_H

#include <stdarg.h>

#include "libnpu/tool/ops.h"

struct ops_diff {
    npu_plan *ref; /* of the graph, on the reference, with keep_values */
    npu_val y;     /* f32, n_y elements; the loss is sum(proj y) */
    const float *proj;
    int64_t n_y;
    double eps;     /* relative rounding of the coarsest type between x and y */
    float step;     /* the largest one for single elements */
    bool kinks;     /* y is not differentiable everywhere: single elements, in places without a kink */
    int met, tried; /* elements so compared, and all that were looked at for it; counted up */
    char why[600];  /* of a failure */
};

/* Writes the reason; returns -EBADE. */
int ops_diff_fail(struct ops_diff *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* grad[n], the gradient of the loss in the leaf x (f32) with all leaves as ops_fill has them, against differences.
 *
 * Without kinks: along random directions and in single elements, extrapolated from two steps (Richardson).
 * With kinks: in single elements, half of them where grad is not 0, each at the largest of some steps at which the
 * differences to either side agree. Elements without such a step are left out; at least three of four must have one,
 * and of 8 or more some must have a slope.
 * 0, or -EBADE where they differ or can't be compared. */
int ops_diff_check(struct ops_diff *d, npu_val x, const float *grad, int64_t n);

#endif
