/* registry.c - all operations. One line each in both lists. */
#include "libnpu/op.h"

extern const struct npu_op npu_op_scale;

const struct npu_op *const npu_all_ops[] = {
    &npu_op_scale,
    NULL,
};
