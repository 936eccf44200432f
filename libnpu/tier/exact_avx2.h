/* exact_avx2.h - the tier "exact-avx2": f32 operations of int8 networks, and steps between f32 and int8, as native
 * launches on x86 CPUs with AVX2 and FMA: bit by bit what libnpu/op/exact.h says.
 *
 * Products are those of the tier avx2 (avx2.h), whose sums are the chains that are asked for, without Winograd's tiles.
 */
#ifndef NPU_TIER_EXACT_AVX2_H
#define NPU_TIER_EXACT_AVX2_H

#include "libnpu/tier/avx2.h"

#define NPU_EXACT_AVX2_TIER "exact-avx2"

struct npu_exact_attention {
    int32_t batch, n, heads, dh, query_units;
};
size_t npu_exact_attention_scratch(const struct npu_exact_attention *a); /* bytes a part */

/* Arguments: attention: qkv, y, scratch, fields, scale. act: y, elements, enum npu_act; in place. grouped, one channel
 * a group: x, weights, bias, residual, y, fields of npu_avx2_conv. */
struct npu_exact_kernels {
    npu_native_fn *attention, *act, *grouped;
};
const struct npu_exact_kernels *npu_exact_avx2_kernels(void); /* NULL where this build has none */

/* Kernels of kernels/<source>.cl as native functions with the same arguments; the last has no source. */
struct npu_exact_plain {
    const char *source, *entry, *def; /* def: a build option that must be among the launch's, or NULL */
    const char *types;                /* of the tensors among the arguments, a letter each: f f32, b int8 */
    npu_native_fn *fn;
};
extern const struct npu_exact_plain npu_exact_plain[];

/* The kernels may run on such a device: those of the tier avx2 may, and these passed their self-test. */
const struct npu_exact_kernels *npu_exact_avx2_for(const struct npu_traits *t);
/* Odd shapes through all kernels against the C references: 0, -EIO if a bit differs, -ENOMEM. */
int npu_exact_avx2_self_test(const struct npu_exact_kernels *k, const struct npu_exact_plain *plain);

/* ---- launches; -EOPNOTSUPP if the tier does not serve the node ---- */
/* in: x, weights, bias, residual; g without its shares. groups: one channel a group. */
int npu_exact_avx2_lower_product(struct npu_lower *l, struct npu_avx2_conv g, const npu_val in[4], npu_val out,
                                 float scale, bool grouped);
int npu_exact_avx2_lower_attention(struct npu_lower *l, struct npu_exact_attention a, npu_val qkv, npu_val out,
                                   float scale);
/* Where an inference graph has native int8 or exact products (or NPU_MAT_NATIVE=all is in the environment): makes
 * launches of simple kernels native ones. */
void npu_exact_avx2_take_over(const struct npu_lower *l, struct npu_launch *launch, int n);
/* Is there a native form of this launch? */
bool npu_exact_avx2_would_take(const struct npu_lower *l, const struct npu_launch *k);

#endif
