/* int8_avx2_kernels.h - kernels of the tier avx2-int8 that the other int8 tiers do not have (int8_native.h). */
#ifndef NPU_TIER_INT8_AVX2_KERNELS_H
#define NPU_TIER_INT8_AVX2_KERNELS_H

#include "libnpu/op.h"

npu_native_fn npu_int8_avx2_depthwise_pack, npu_int8_avx2_depthwise;
npu_native_fn npu_int8_avx2_winograd_pack, npu_int8_avx2_winograd;
/* Arguments as those of pack and conv; for weights [depth][cout] that are narrow, with kpad a multiple of 4. */
npu_native_fn npu_int8_avx2_narrow_pack, npu_int8_avx2_narrow;
bool npu_int8_avx2_is_narrow(const int8_t *w, int64_t depth, int64_t cout);

#endif
