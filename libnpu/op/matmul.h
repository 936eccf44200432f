/* matmul.h - the attributes and the geometry of matmul, for its lowering. */
#ifndef NPU_OP_MATMUL_H
#define NPU_OP_MATMUL_H

#include "libnpu/op/mat.h"

struct npu_matmul_attr {
    uint8_t trans_a, trans_b, act, out_f32;
    float scale;
};

enum { NPU_MATMUL_A, NPU_MATMUL_B, NPU_MATMUL_BIAS, NPU_MATMUL_RESIDUAL, NPU_MATMUL_INPUTS };

struct npu_matmul_dims {
    int64_t batch, m, n, k;
    bool shared_b; /* one 2-D b for all of a's batch */
};
/* From types that the shape rule has accepted. */
struct npu_matmul_dims npu_matmul_dims(const struct npu_matmul_attr *at, const struct npu_shape *a,
                                       const struct npu_shape *b);

int npu_matmul_lower(const struct npu_node *n, struct npu_lower *l);

#endif
