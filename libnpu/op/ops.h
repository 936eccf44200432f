/* ops.h - the operations' tables and the builders that are not public: gradients, optimisers, helpers of the training
 * graph. */
#ifndef NPU_OP_OPS_H
#define NPU_OP_OPS_H

#include "libnpu/op.h"

extern const struct npu_op npu_op_relu, npu_op_relu6, npu_op_gelu, npu_op_sigmoid, npu_op_tanh, npu_op_exp, npu_op_abs;
extern const struct npu_op npu_op_erf, npu_op_gelu_erf;
extern const struct npu_op npu_op_unary_grad, npu_op_scale, npu_op_prelu, npu_op_prelu_grad;
extern const struct npu_op npu_op_add, npu_op_sub, npu_op_mul, npu_op_reduce, npu_op_expand, npu_op_cast;
extern const struct npu_op npu_op_reshape, npu_op_permute, npu_op_slice, npu_op_pad, npu_op_concat;
extern const struct npu_op npu_op_gather_rows, npu_op_gather_rows_grad;
extern const struct npu_op npu_op_layer_norm, npu_op_layer_norm_grad;
extern const struct npu_op npu_op_batch_norm, npu_op_batch_norm_train, npu_op_batch_norm_grad, npu_op_moving_average;
extern const struct npu_op npu_op_softmax, npu_op_softmax_grad;
extern const struct npu_op npu_op_max_pool, npu_op_max_pool_grad, npu_op_mean_pool, npu_op_mean_pool_grad;
extern const struct npu_op npu_op_resize, npu_op_resize_grad;
extern const struct npu_op npu_op_mse, npu_op_l1, npu_op_bce_logits, npu_op_loss_grad;
extern const struct npu_op npu_op_cross_entropy, npu_op_cross_entropy_grad;
extern const struct npu_op npu_op_sum_squares, npu_op_clip_scale, npu_op_adamw, npu_op_sgd;

/* npu_reduce with a storage type of the result of its own (f32 sums of bf16 values). */
npu_val npu_reduce_as(npu_graph *g, npu_val x, enum npu_reduce_kind k, unsigned axes, enum npu_dtype t);
/* Sums x over the dims in which `like` is broadcast (right-aligned); the result has like's shape and type: the gradient
 * of a broadcast operand. */
npu_val npu_reduce_like(npu_graph *g, npu_val x, npu_val like);
/* x repeated to `shape` (broadcast from the right), with x's type. */
npu_val npu_expand(npu_graph *g, npu_val x, const struct npu_shape *shape);
npu_val npu_expand_mul(npu_graph *g, npu_val x, const struct npu_shape *shape, float mul); /* and multiplied by mul */
/* Zeros around x on one axis: `before` of them first, then x, up to `total`. */
npu_val npu_pad_axis(npu_graph *g, npu_val x, int axis, int64_t before, int64_t total);

/* state = (1 - rate) state + rate mul x, in place; state is f32 (a state), x f32 of its shape. */
npu_val npu_moving_average(npu_graph *g, npu_val state, npu_val x, float rate, float mul);

/* Sum of the squares of all elements of x[0..n-1] -> f32 scalar, for the global gradient norm. Any n >= 1. */
npu_val npu_sum_squares(npu_graph *g, const npu_val *x, int n);
/* sum of squares (f32 scalar) -> f32 scalar min(1, clip / norm), 1 if clip is 0; *ret_norm (may be NULL): sqrt of it.
 */
npu_val npu_clip_scale(npu_graph *g, npu_val sum_squares, float clip, npu_val *ret_norm);

/* One parameter's update in place: param, m, v are read and written. lr, step (from 1), grad_scale: f32 scalars;
 * grad_scale may be NPU_NONE (1). All f32 but grad, which may be any float type. Decoupled weight decay (Loshchilov and
 * Hutter 2019). Returns the new param value. */
struct npu_adamw_step {
    float beta1, beta2, eps, weight_decay;
};
npu_val npu_adamw(npu_graph *g, npu_val param, npu_val grad, npu_val m, npu_val v, npu_val lr, npu_val step,
                  npu_val grad_scale, const struct npu_adamw_step *o);
/* v = momentum v + grad_scale grad + weight_decay param; param -= lr v. Same conventions. */
npu_val npu_sgd(npu_graph *g, npu_val param, npu_val grad, npu_val v, npu_val lr, npu_val grad_scale, float momentum,
                float weight_decay);

#endif
