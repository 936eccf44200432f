/* cpu.c - detection of matrix and vector units by CPUID. */
#include "libnpu/dev/cpu.h"

#include "libnpu/op.h"

unsigned npu_cpu_features(void)
{
    unsigned f = 0;

#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        f |= NPU_CPU_AVX2_FMA;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        f |= NPU_CPU_AVX512;
#endif
    return f;
}
