/* amx_hw.c - the kernels of amx_kernels.h for the tile registers. Compiled with AMX and AVX-512 enabled: nothing here
 * may run before npu_amx_usable() has looked at the processor. */
#include "libnpu/tier/amx.h"

#if (defined(__AMX_BF16__) || defined(__AMXBF16__)) && defined(__AVX512BW__)
#include "libnpu/tier/amx_kernels.h"

static const struct npu_amx_kernels hardware = AMX_KERNELS("amx-bf16");

const struct npu_amx_kernels *npu_amx_hardware(void)
{
    return &hardware;
}
#else
const struct npu_amx_kernels *npu_amx_hardware(void)
{
    return NULL;
}
#endif
