/* avx2_lower.h - what the files that describe launches of the tier share. */
#ifndef NPU_TIER_AVX2_LOWER_H
#define NPU_TIER_AVX2_LOWER_H

#include "libnpu/tier/avx2.h"

static inline int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}
static inline int64_t clamp(int64_t v, int64_t lo, int64_t hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

/* Fields of a struct of int32_t as arguments. */
void npu_avx2_push_fields(struct npu_launch *k, const int32_t *v, size_t size);
/* A launch of `parts` parts, at least one, at most 1024; NULL as npu_lower_launch. */
struct npu_launch *npu_avx2_launch(struct npu_lower *l, npu_native_fn *fn, int64_t parts);
/* The kernels, or NULL if another tier is asked for or a value is not f32. */
const struct npu_avx2_kernels *npu_avx2_usable(struct npu_lower *l, const npu_val *v, int n);
/* Shares for `work` operations: one thread takes all at once, several get a few shares each, none with less than
 * `least`. */
int64_t npu_avx2_shares(const struct npu_lower *l, double work, double least);
/* Are weights that change packed for few rows too? In training: it costs less than a plan that needs the driver. */
bool npu_avx2_packs_any(const struct npu_lower *l);
enum { NPU_AVX2_MANY_TILES = 32 }; /* worth transforming weights that change with each run */

#endif
