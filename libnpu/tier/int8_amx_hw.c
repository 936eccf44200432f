/* int8_amx_hw.c - the tier amx-int8 for the tile registers. Compiled with AMX and AVX-512 enabled: nothing here may run
 * before npu_int8_usable() has looked at the processor. */
#include "libnpu/tier/int8_native.h"

#if (defined(__AMX_INT8__) || defined(__AMXINT8__)) && defined(__AVX512BW__)
#include "libnpu/tier/int8_amx_tile.h"
#include "libnpu/tier/int8_native_kernels.h"

static const struct npu_int8_kernels hardware =
    INT8_KERNELS("amx-int8", NPU_CPU_AMX_INT8 | NPU_CPU_AVX512 | NPU_CPU_AVX2_FMA);

const struct npu_int8_kernels *npu_int8_amx_hardware(void)
{
    return &hardware;
}
#else
const struct npu_int8_kernels *npu_int8_amx_hardware(void)
{
    return NULL;
}
#endif
