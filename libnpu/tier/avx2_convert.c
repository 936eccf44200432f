/* avx2_convert.c - tensors from f32 to bf16 and back: x, y, elements. */
#include "libnpu/tier/avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/avx2_bf16.h"
#include "libnpu/tier/avx2_kernels.h"

void npu_avx2_from_bf16(const struct npu_native_call *c, int part, int n_parts)
{
    const struct share s = share_of(c->arg[2].i, 16, part, n_parts);
    const uint16_t *x = c->p[0];
    float *y = c->p[1];
    int64_t i = s.from;

    for (; i + 8 <= s.end; i += 8)
        _mm256_storeu_ps(y + i, load8_bf16(x + i));
    for (; i < s.end; i++)
        y[i] = npu_bf16_to_f32(x[i]);
}

void npu_avx2_to_bf16(const struct npu_native_call *c, int part, int n_parts)
{
    const struct share s = share_of(c->arg[2].i, 16, part, n_parts);
    const float *x = c->p[0];
    uint16_t *y = c->p[1];
    int64_t i = s.from;

    for (; i + 16 <= s.end; i += 16)
        store16_bf16(y + i, _mm256_loadu_ps(x + i), _mm256_loadu_ps(x + i + 8));
    for (; i < s.end; i++)
        y[i] = npu_f32_to_bf16(x[i]);
}
#endif
