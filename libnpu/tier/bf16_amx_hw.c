/* bf16_amx_hw.c - the tier amx-bf16 for the tile registers. Compiled with AMX and AVX-512 enabled: nothing here may run
 * before npu_bf16_usable() has looked at the processor. */
#include "libnpu/tier/bf16_native.h"

#if (defined(__AMX_BF16__) || defined(__AMXBF16__)) && defined(__AVX512BW__)
#include "libnpu/tier/bf16_amx_tile.h"
#include "libnpu/tier/bf16_native_kernels.h"

static const struct npu_bf16_kernels hardware =
    BF16_KERNELS("amx-bf16", NPU_CPU_AMX_BF16 | NPU_CPU_AVX512 | NPU_CPU_AVX2_FMA);

const struct npu_bf16_kernels *npu_bf16_amx_hardware(void)
{
    return &hardware;
}
#else
const struct npu_bf16_kernels *npu_bf16_amx_hardware(void)
{
    return NULL;
}
#endif
