/* int8_amx_emulated.c - the tier amx-int8 over tile registers in plain C: for tests. */
#define NPU_AMX_EMULATED
#include "libnpu/tier/int8_amx_tile.h"
#include "libnpu/tier/int8_native_kernels.h"

const struct npu_int8_kernels npu_int8_amx_emulated = INT8_KERNELS("amx-int8-emulated", 0);
