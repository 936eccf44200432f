/* bf16_amx_emulated.c - the tier amx-bf16 over tile registers in plain C: for tests. */
#define NPU_AMX_EMULATED
#include "libnpu/tier/bf16_amx_tile.h"
#include "libnpu/tier/bf16_native_kernels.h"

const struct npu_bf16_kernels npu_bf16_amx_emulated = BF16_KERNELS("amx-bf16-emulated", 0);
