/* subgroup.h - the tiers "subgroup-...": products by the matrix units of GPUs through OpenCL extensions, kernels in
 * kernels/subgroup_gemm.cl and qconv2d.cl. Not yet run on hardware: tests have the logic over a product written out in
 * OpenCL C. */
#ifndef NPU_TIER_SUBGROUP_H
#define NPU_TIER_SUBGROUP_H

#include "libnpu/op.h"

struct npu_dev;
struct npu_matmul_dims;
struct npu_qconv_dims;

struct npu_subgroup_way {
    const char *tier;
    unsigned bit;          /* of npu_traits.subgroup */
    int lanes, columns;    /* of a sub-group; of the results of one product (SUBGROUP of kernels/subgroup.clh) */
    const char *extension; /* that must be advertised */
};
/* Way i, best first; NULL past the last. With NPU_SUBGROUP in the environment (below) their names end in "-emulated".
 */
const struct npu_subgroup_way *npu_subgroup_way(int i);

/* Sets traits.subgroup to the ways that the device (open, not in use yet) advertises, that compile and whose results on
 * odd shapes are within bounds of the C reference. NPU_SUBGROUP=emulate in the environment takes plain OpenCL C in an
 * extension's place, =broken a wrong one, which must not pass. */
void npu_subgroup_test(struct npu_dev *d);
/* Why the tier of that name is not there, NULL if it is. buf: room for the text. */
const char *npu_subgroup_why_not(struct npu_dev *d, const char *tier, char *buf, size_t size);

/* Add the launches of a matmul, of a qmatmul or qconv2d; -EOPNOTSUPP if no such tier serves the node. */
int npu_subgroup_lower(const struct npu_node *n, struct npu_lower *l, const struct npu_matmul_dims *d);
int npu_subgroup_lower_int8(const struct npu_node *n, struct npu_lower *l, const struct npu_qconv_dims *d);

#endif
