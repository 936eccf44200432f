/* int8_avx2_emulated.c - the tier avx2-int8 over its block in plain C: for tests. */
#define NPU_PAIR_EMULATED
#include "libnpu/tier/int8_avx2_tile.h"
#include "libnpu/tier/int8_native_kernels.h"

const struct npu_int8_kernels npu_int8_avx2_emulated = INT8_KERNELS("avx2-int8-emulated", 0);
