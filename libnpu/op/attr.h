/* attr.h - attributes of the operations that more than their own file reads (export). */
#ifndef NPU_OP_ATTR_H
#define NPU_OP_ATTR_H

#include "libnpu/op.h"

struct scale_attr {
    float mul, add;
};

enum unary_kind {
    UNARY_RELU,
    UNARY_RELU6,
    UNARY_GELU,
    UNARY_SIGMOID,
    UNARY_TANH,
    UNARY_EXP,
    UNARY_ABS,
    UNARY_GELU_ERF, /* in int8 networks (exact.h); else erf.c */
};

struct unary_attr {
    int kind;
};

struct cast_attr {
    int dtype;
};

struct expand_attr {
    struct npu_shape shape;
    float mul;
};

struct layer_norm_attr {
    float eps;
};

struct batch_norm_attr {
    float eps;
    int frozen; /* gradient: mean and var are constants */
};

struct permute_attr {
    int order[NPU_MAX_DIMS];
    int rank;
};

struct reduce_attr {
    int from, to; /* axes [from, to) are summed away */
    int mean;
    int dtype;
};

struct resize_attr {
    int64_t h, w; /* of the result; of x in the gradient */
    int bilinear;
};

struct slice_attr {
    int axis;
    int64_t start, size; /* pad: zeros before, size of the result's axis */
};

#endif
