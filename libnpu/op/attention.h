/* attention.h - attributes and geometry of attention and its gradient, for the lowering. */
#ifndef NPU_OP_ATTENTION_H
#define NPU_OP_ATTENTION_H

#include "libnpu/op/mat.h"

struct npu_attention_attr {
    int32_t heads;
};

/* qkv [batch, n, 3 * heads * dh] */
struct npu_attention_dims {
    int64_t batch, n, heads, dh, d;
    float scale; /* 1 / sqrt(dh) */
};
struct npu_attention_dims npu_attention_dims(const struct npu_node *n, const struct npu_shape *qkv);

npu_lower_fn npu_attention_lower, npu_attention_grad_lower;

#endif
