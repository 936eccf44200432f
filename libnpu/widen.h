/* widen.h - bf16 where the processor computes f32 (internal to libnpu).
 *
 * Processors have native code for f32, and for bf16 at most products, on a unit for it; the rest would be OpenCL. There
 * a plan of a bf16 graph is that of the graph in f32: inputs, parameters, states and outputs stay bf16 and are
 * converted where they are read and written; what lies between is f32. Products may still be a bf16 unit's, which
 * rounds their factors (libnpu/tier/bf16_native.h); others are not rounded. It costs no more time than f32, and its
 * memory.
 */
#ifndef NPU_WIDEN_H
#define NPU_WIDEN_H

#include "libnpu/plan.h"

/* Sets p->graph and p->steps: the caller's graph, or the plan's own in f32 if that is to be computed in its place,
 * which it is if it then needs no driver. 0 or -ENOMEM. */
int npu_widen_choose(struct npu_plan *p);
bool npu_widen_is(const struct npu_plan *p); /* is p->graph the plan's own? */
/* A copy of the graph for inference in which bf16 results are f32: its handles of values are g's, more follow. NULL
 * where nothing is bf16. 0 or -ENOMEM. */
int npu_widen(const npu_graph *g, npu_graph **ret_graph);
/* A native launch for a cast in such a copy; -EOPNOTSUPP: another graph, or other types. */
int npu_widen_lower_cast(struct npu_lower *l, npu_val x, npu_val y);

/* Would the plan's steps have native launches alone, in the default order? 1, 0 or -ENOMEM. l: to try lowerings on;
 * l->launch is what the plan would have. */
int npu_native_alone(const struct npu_plan *p, struct npu_lower *l);

#endif
