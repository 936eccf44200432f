/* registry.c - all operations, one a line. */
#include "libnpu/op/mat.h"
#include "libnpu/op/ops.h"

/* clang-format off */
const struct npu_op *const npu_all_ops[] = {
    &npu_op_scale,
    &npu_op_relu,
    &npu_op_relu6,
    &npu_op_gelu,
    &npu_op_sigmoid,
    &npu_op_tanh,
    &npu_op_exp,
    &npu_op_abs,
    &npu_op_unary_grad,
    &npu_op_add,
    &npu_op_sub,
    &npu_op_mul,
    &npu_op_expand,
    &npu_op_reduce,
    &npu_op_cast,
    &npu_op_reshape,
    &npu_op_permute,
    &npu_op_slice,
    &npu_op_pad,
    &npu_op_concat,
    &npu_op_matmul,
    &npu_op_conv2d,
    &npu_op_conv2d_grad_x,
    &npu_op_conv2d_grad_w,
    &npu_op_attention,
    &npu_op_attention_grad,
    NULL,
};
/* clang-format on */
