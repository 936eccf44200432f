/* builtin.h - the tier "builtin": kernels that a driver brings along (CL_DEVICE_BUILT_IN_KERNELS), where their meaning
 * is published and one of our operations is the same.
 *
 * That is PoCL's pocl.sgemm.local.f32 so far: c[m][n] = a[m][k] b[k][n], f32, packed rows, sizes that are multiples of
 * 16, a work-item a result in groups of 16 x 16 (lib/CL/devices/cuda/builtins.cu of PoCL). Of other names libnpu knows
 * no operation that is the same. Not yet run on hardware: tests have the logic over the product written in OpenCL C and
 * over a fake driver. */
#ifndef NPU_TIER_BUILTIN_H
#define NPU_TIER_BUILTIN_H

#include "libnpu/op.h"

struct npu_dev;
struct npu_matmul_dims;

/* What a launch's source is for a built-in kernel: this and its name. */
#define NPU_BUILTIN_SOURCE "builtin:"

/* "builtin", or "builtin-emulated" with NPU_BUILTIN in the environment: =emulate takes the product written in OpenCL C
 * in the built-in kernel's place, =broken a wrong one, which must not pass. */
const char *npu_builtin_tier(void);

/* Sets traits.builtin if the device (open, not in use yet) lists the kernel, it builds, and its result is exact for
 * small whole numbers. */
void npu_builtin_test(struct npu_dev *d);
/* Why the tier is not there, NULL if it is. buf: room for the text. */
const char *npu_builtin_why_not(struct npu_dev *d, char *buf, size_t size);

/* Adds the launch of a matmul; -EOPNOTSUPP if the tier is not there or the node is more than such a product. */
int npu_builtin_lower(const struct npu_node *n, struct npu_lower *l, const struct npu_matmul_dims *d);

#endif
