/* ops.h - what the sub-commands of npu-ops share. */
#ifndef NPU_TOOL_OPS_H
#define NPU_TOOL_OPS_H

#include "libnpu/graph.h"
#include "libnpu/plan.h"

struct ops {
    const char *command, *only_op;
    bool json;
    bool f32_only; /* leave out the cases again in bf16 */
    npu_ctx *ctx;
    npu_dev *dev, *ref;
    int passed, failed, skipped;
    bool first; /* no JSON object was printed yet */
};

/* One test case: the graph, its result, and the leaves (inputs, parameters, states). */
struct ops_case {
    const struct npu_op *op;
    int index;
    enum npu_dtype storage;
    npu_graph *g;
    npu_val result;
    bool exact; /* built as part of an int8 network: to the last bit */
};

enum ops_verdict { OPS_PASS, OPS_FAIL, OPS_SKIP };

/* Builds a case; 0, 1 past the last one, or a failure (reason in npu_graph_error of *ret_case->g, to be freed). */
int ops_case_build(const struct npu_op *op, npu_case_fn *make, int index, enum npu_dtype storage, unsigned flags,
                   struct ops_case *ret_case);
/* "matmul case 3 bf16 [2,3] f32" */
const char *ops_case_text(const struct ops_case *c, char *buf, size_t size);
/* Fills all leaves of a plan: values drawn from their test range, the same at every call. */
int ops_fill(struct npu_plan *p);
/* The value as f32; NULL on failure; *ret_n elements. */
float *ops_read(struct npu_plan *p, npu_val v, int64_t *ret_n);
/* Counts and prints one verdict. */
void ops_report(struct ops *o, enum ops_verdict v, const struct ops_case *c, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The sub-commands, for one operation. */
void ops_test(struct ops *o, const struct npu_op *op);
void ops_grad(struct ops *o, const struct npu_op *op);
void ops_perf(struct ops *o, const struct npu_op *op);
void ops_support(struct ops *o, const struct npu_op *op);

#endif
