/* discover.h - looking for devices (internal to libnpu). */
#ifndef NPU_DISCOVER_H
#define NPU_DISCOVER_H

#include "libnpu/dev/cl_list.h"

/* OpenCL devices; returns how many or a failure. why gets a text if there is none. */
int npu_find_cl(struct cl_found *ret_found, int max, char *why, size_t why_size);

#endif
