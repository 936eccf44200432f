/* npu_info_tiers.h - the tiers of a device as npu-info shows them. */
#ifndef NPU_TOOL_NPU_INFO_TIERS_H
#define NPU_TOOL_NPU_INFO_TIERS_H

#include "libnpu/npu.h"

enum { INFO_MAX_TIERS = 40 };

struct info_tiers {
    int n;
    struct npu_tier_info tier[INFO_MAX_TIERS];
    char note[160]; /* why they are not known; "" if they are */
};

/* Opens the device in a child process, since a driver may crash or hang in the self-tests. Of a device that can't be
 * used nothing is found. */
void info_tiers_find(npu_ctx *c, const struct npu_dev_info *d, struct info_tiers *ret_tiers);

#endif
