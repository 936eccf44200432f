/* quant.h - int8 operations: attributes, geometry and the integer arithmetic that every device does alike
 * (docs/LIBNPU.md, "int8"). */
#ifndef NPU_OP_QUANT_H
#define NPU_OP_QUANT_H

#include "libnpu/op/mat.h"
#include "libnpu/quant.h"

extern const struct npu_op npu_op_quantise, npu_op_dequantise, npu_op_quantise_dynamic;
extern const struct npu_op npu_op_qmatmul, npu_op_qconv2d;

/* quantise and dequantise: scale is the step of dequantise and its reciprocal for quantise. */
struct npu_quantise_attr {
    float scale;
    int32_t zero;
    int32_t dtype; /* dequantise: type of the result */
};

/* qmatmul and qconv2d. */
struct npu_qconv_attr {
    int32_t stride, pad_top, pad_left, pad_bottom, pad_right, groups;
    int32_t act;      /* f32 result: none, relu or relu6 */
    int32_t out_int8; /* else the result is f32 */
    int32_t shift;    /* of the requantise step, 1 .. 62 */
    int32_t res_mul;  /* multiplier of an int8 residual */
    int8_t x_zero, y_zero, res_zero, lo, hi;
};

enum {
    NPU_QCONV_X,
    NPU_QCONV_W,
    NPU_QCONV_BIAS,
    NPU_QCONV_SCALE,
    NPU_QCONV_RANGE,
    NPU_QCONV_RESIDUAL,
    NPU_QCONV_INPUTS
};

/* A product is the 1 x 1 convolution of a picture of one row. */
struct npu_qconv_dims {
    int64_t n, h, w, cin, cout, kh, kw, oh, ow, groups, cing, coutg;
    int64_t stride, pad_top, pad_left;
    int64_t rows, depth; /* results a channel; terms of a sum */
};
struct npu_qconv_dims npu_qconv_dims(const struct npu_qconv_attr *at, const struct npu_shape *x,
                                     const struct npu_shape *w, const struct npu_shape *y);
npu_lower_fn npu_qconv_lower;
/* The picture and what Q_FINISH_PARAMS of kernels/qconv2d.cl lists. */
void npu_qconv_finish_args(struct npu_launch *k, const struct npu_node *n);

/* round(t / 2^shift), halves up; t as large as a 32 x 32 bit product and what is added to it. */
static inline int64_t npu_q_shift(int64_t t, int shift)
{
    return (t + (INT64_C(1) << (shift - 1))) >> shift;
}

static inline int8_t npu_q_clamp(int64_t v, int lo, int hi)
{
    return (int8_t)(v < lo ? lo : v > hi ? hi : v);
}

/* The int8 nearest to x / step, halves to even; NaN gives 127. inv: 1 / step. */
static inline int8_t npu_q_from_f32(float x, float inv, int zero)
{
    return npu_q_clamp((int64_t)rintf(fmaxf(fminf(x * inv, 512.0f), -512.0f)) + zero, -128, 127);
}

/* 1 / x of a step, the same bits everywhere. */
float npu_q_reciprocal(float x);

/* Step, its reciprocal and zero point of a range, in operations that are exact or round the same way everywhere: the
 * reciprocal comes from a whole-number division. */
struct npu_q_range {
    float scale, inv;
    int zero;
};
struct npu_q_range npu_q_range(float lo, float hi);

#endif
