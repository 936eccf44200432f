/* exact_avx2_kernels.h - the kernels of the tier by name (exact_avx2.h says what their arguments are). */
#ifndef NPU_TIER_EXACT_AVX2_KERNELS_H
#define NPU_TIER_EXACT_AVX2_KERNELS_H

#include "libnpu/tier/exact_avx2.h"

npu_native_fn npu_exact_avx2_attention, npu_exact_avx2_act, npu_exact_avx2_grouped;

#endif
