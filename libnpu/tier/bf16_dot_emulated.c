/* bf16_dot_emulated.c - the tier avx512-bf16 over its dot product in plain C: for tests. */
#define NPU_DOT_EMULATED
#include "libnpu/tier/bf16_dot_tile.h"
#include "libnpu/tier/bf16_native_kernels.h"

const struct npu_bf16_kernels npu_bf16_dot_emulated = BF16_KERNELS("avx512-bf16-emulated", 0);
