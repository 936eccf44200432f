/* exact_avx2_kernels.h - the kernels of the tier by name (exact_avx2.h says what their arguments are). */
#ifndef NPU_TIER_EXACT_AVX2_KERNELS_H
#define NPU_TIER_EXACT_AVX2_KERNELS_H

#include "libnpu/tier/exact_avx2.h"

npu_native_fn npu_exact_avx2_attention, npu_exact_avx2_act, npu_exact_avx2_grouped;
/* Of int8 elements, in npu_exact_plain. */
npu_native_fn npu_exact_bytes_copy, npu_exact_bytes_permute_rows, npu_exact_bytes_permute_tiles,
    npu_exact_bytes_max_pool;

#endif
