/* int8_avx2_hw.c - the tier avx2-int8. Compiled with AVX2 enabled: nothing here may run before npu_int8_usable() has
 * looked at the processor. */
#include "libnpu/tier/int8_native.h"

#ifdef __AVX2__
#define UNIT_MORE                                                                                                      \
    npu_int8_avx2_depthwise_pack, npu_int8_avx2_depthwise, npu_int8_avx2_winograd_pack, npu_int8_avx2_winograd
#include "libnpu/tier/int8_avx2_kernels.h"
#include "libnpu/tier/int8_avx2_tile.h"
#include "libnpu/tier/int8_native_kernels.h"

static const struct npu_int8_kernels hardware = INT8_KERNELS("avx2-int8", NPU_CPU_AVX2_FMA);

const struct npu_int8_kernels *npu_int8_avx2_hardware(void)
{
    return &hardware;
}
#else
const struct npu_int8_kernels *npu_int8_avx2_hardware(void)
{
    return NULL;
}
#endif
