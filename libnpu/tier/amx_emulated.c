/* amx_emulated.c - the kernels of amx_kernels.h over tile registers in plain C: for tests. */
#define NPU_AMX_EMULATED
#include "libnpu/tier/amx_kernels.h"

const struct npu_amx_kernels npu_amx_emulated = AMX_KERNELS("amx-bf16-emulated");
