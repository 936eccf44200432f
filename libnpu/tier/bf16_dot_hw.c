/* bf16_dot_hw.c - the tier avx512-bf16. Compiled with AVX-512 BF16 enabled: nothing here may run before
 * npu_bf16_usable() has looked at the processor. */
#include "libnpu/tier/bf16_native.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__)
#include "libnpu/tier/bf16_dot_tile.h"
#include "libnpu/tier/bf16_native_kernels.h"

static const struct npu_bf16_kernels hardware =
    BF16_KERNELS("avx512-bf16", NPU_CPU_AVX512_BF16 | NPU_CPU_AVX512 | NPU_CPU_AVX2_FMA);

const struct npu_bf16_kernels *npu_bf16_dot_hardware(void)
{
    return &hardware;
}
#else
const struct npu_bf16_kernels *npu_bf16_dot_hardware(void)
{
    return NULL;
}
#endif
