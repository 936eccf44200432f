/* conv2d.h - attributes and geometry of conv2d, conv2d_grad_x and conv2d_grad_w, for references and lowering. */
#ifndef NPU_OP_CONV2D_H
#define NPU_OP_CONV2D_H

#include "libnpu/op/mat.h"

/* One struct for the three operations; grad_x and grad_w take the sizes that their inputs do not tell from x_h, x_w,
 * kh, kw. */
struct npu_conv2d_attr {
    int32_t stride, pad_top, pad_left, pad_bottom, pad_right, groups;
    int32_t act;
    int32_t x_h, x_w;  /* grad_x: picture size of the result */
    int32_t kh, kw;    /* grad_w: kernel size of the result */
    int32_t out_dtype; /* grad_x, grad_w: type of the result */
};

enum { NPU_CONV_X, NPU_CONV_W, NPU_CONV_BIAS, NPU_CONV_RESIDUAL, NPU_CONV_INPUTS };
/* grad_x: {gradient of y, w}; grad_w: {x, gradient of y} */

/* x [n, h, w, cin], weights [kh, kw, cing, cout], y [n, oh, ow, cout]; coutg = cout / groups */
struct npu_conv2d_dims {
    int64_t n, h, w, cin, cout, kh, kw, oh, ow, groups, cing, coutg;
    int64_t stride, pad_top, pad_left;
};
struct npu_conv2d_dims npu_conv2d_dims(const struct npu_conv2d_attr *at, const struct npu_shape *x,
                                       const struct npu_shape *w, const struct npu_shape *y);

npu_ref_fn npu_conv2d_ref, npu_conv2d_grad_x_ref, npu_conv2d_grad_w_ref;
size_t npu_conv2d_scratch(const struct npu_node *n, const struct npu_tensor_type *in);
size_t npu_conv2d_grad_x_scratch(const struct npu_node *n, const struct npu_tensor_type *in);
size_t npu_conv2d_grad_w_scratch(const struct npu_node *n, const struct npu_tensor_type *in);

/* gw [kh, kw, cing, cout] = sum over pixels of x gy by register tiles; CPUs only. n_x, n_y: pixels of x and gy, fewer
 * than n h w and n oh ow where the last row is short. x, gy, gw: values; sizes that are not empty.
 * -EOPNOTSUPP if it does not fit into local memory. */
int npu_conv2d_grad_w_tiles(struct npu_lower *l, npu_val x, npu_val gy, npu_val gw, const struct npu_conv2d_dims *d,
                            int64_t n_x, int64_t n_y);

npu_lower_fn npu_conv2d_lower, npu_conv2d_grad_x_lower, npu_conv2d_grad_w_lower;

#endif
