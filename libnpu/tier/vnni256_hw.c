/* vnni256_hw.c - the tier vnni256. Compiled with AVX-VNNI enabled: nothing here may run before npu_int8_usable() has
 * looked at the processor. */
#include "libnpu/tier/int8_native.h"

#ifdef __AVXVNNI__
#define VNNI_BITS 256
#include "libnpu/tier/int8_dot_columns.h"
#define UNIT_MORE COLUMN_CHANNELS, false, pack_columns, conv_columns, NULL, NULL
#include "libnpu/tier/int8_native_kernels.h"

static const struct npu_int8_kernels hardware = INT8_KERNELS("vnni256", NPU_CPU_AVX_VNNI | NPU_CPU_AVX2_FMA);

const struct npu_int8_kernels *npu_vnni256_hardware(void)
{
    return &hardware;
}
#else
const struct npu_int8_kernels *npu_vnni256_hardware(void)
{
    return NULL;
}
#endif
