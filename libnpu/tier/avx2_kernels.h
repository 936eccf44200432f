/* avx2_kernels.h - the kernels of the tier by name (avx2.h says what their arguments are). */
#ifndef NPU_TIER_AVX2_KERNELS_H
#define NPU_TIER_AVX2_KERNELS_H

#include "libnpu/tier/avx2.h"

npu_native_fn npu_avx2_pack, npu_avx2_conv_run, npu_avx2_depthwise;
npu_native_fn npu_avx2_winograd_pack, npu_avx2_winograd;
npu_native_fn npu_avx2_attention_run, npu_avx2_attention_grad, npu_avx2_layer_norm;
npu_native_fn npu_avx2_outer, npu_avx2_outer_sum, npu_avx2_grad_x_pack, npu_avx2_grad_x;
npu_native_fn npu_avx2_winograd_sums, npu_avx2_winograd_gw;
npu_native_fn npu_avx2_depthwise_grad_x, npu_avx2_depthwise_grad_w;
npu_native_fn npu_avx2_from_bf16, npu_avx2_to_bf16;

#endif
