/* avx2_block.h - some result pixels of a product or a convolution, and what each of them sums up. */
#ifndef NPU_TIER_AVX2_BLOCK_H
#define NPU_TIER_AVX2_BLOCK_H

#include "libnpu/tier/avx2.h"

enum { NPU_AVX2_BLOCK_ROWS = 96 }; /* pixels, at most */

struct npu_avx2_block {
    const float **row; /* [taps][ld] point at `len` terms each */
    int64_t ld, taps, len;
    const float *packed; /* weights as [panel][taps][len][16] */
    int64_t cout;
    const float *bias, *res; /* NULL: none */
    float *y;                /* NULL: the result is bf16, y16 */
    uint16_t *y16;
    int64_t *to; /* where in the result and in res each pixel lies */
    int act;     /* as in npu_avx2_conv */
    float scale;
    const float *ahead, *ahead_end; /* what the next block reads: fetched from far memory meanwhile; or NULL */
};

/* Panel p for all `count` pixels. */
void npu_avx2_block_panel(const struct npu_avx2_block *k, int64_t p, int64_t count);

#endif
