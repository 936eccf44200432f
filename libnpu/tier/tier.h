/* tier.h - the names of all tiers in their default order, and what a device may use for one of them. */
#ifndef NPU_TIER_TIER_H
#define NPU_TIER_TIER_H

#include "libnpu/op.h"

/* Tier i in the default order, best first; NULL past the last. */
const char *npu_tier_name(int i);
/* Is the tier worth a measurement on such a device (where it can serve at all)? The device's own vector width and the
 * next one are; a narrower one and the portable kernels on CPUs are not. */
bool npu_tier_competes(const struct npu_traits *t, const char *tier);
/* Could this OpenCL tier be the faster one where that native tier serves? Only if its vectors are wider. */
bool npu_tier_may_beat(const char *tier, const char *native);
/* The device's traits without what would let a better tier than `only` in. Native tiers ask npu_lower_tier. */
struct npu_traits npu_tier_traits(const struct npu_traits *t, const char *only);

#endif
