/* int8_avx2_narrow.c - the tier avx2-int8: convolutions and products whose weights are narrow, so that x + 128 in
 * unsigned bytes times two neighbours of a column always fits into 16 bits. npu-quantize makes such weights
 * (libnpu/quant_make.c). Compiled with AVX2 enabled.
 */
#include "libnpu/tier/int8_native.h"

#ifdef __AVX2__
#include "libnpu/tier/int8_avx2_kernels.h"
#include "libnpu/tier/int8_avx2_narrow_tile.h"
#include "libnpu/tier/int8_native_kernels.h"

bool npu_int8_avx2_is_narrow(const int8_t *w, int64_t depth, int64_t cout)
{
    for (int64_t k = 0; k + 1 < depth; k += 2, w += 2 * cout) {
        int most = 0;

        for (int64_t j = 0; j < cout; j++) {
            const int a = w[j], b = w[cout + j], sum = a + b < 0 ? -a - b : a + b; /* of unlike signs: harmless */

            most = sum > most ? sum : most;
        }
        if (most > NPU_QUANT_PAIR)
            return false;
    }
    return true;
}

void npu_int8_avx2_narrow_pack(const struct npu_native_call *c, int part, int n_parts)
{
    int8_pack(c, part, n_parts);
}

void npu_int8_avx2_narrow(const struct npu_native_call *c, int part, int n_parts)
{
    int8_conv(c, part, n_parts);
}
#endif
