/* cl_list.h - what discovery needs of OpenCL, without its types. */
#ifndef NPU_DEV_CL_LIST_H
#define NPU_DEV_CL_LIST_H

#include "libnpu/npu.h"

struct cl_found {
    struct npu_dev_info info;
    char pci[16]; /* "0000:00:02.0"; "" if unknown */
};

struct npu_ctx;
struct npu_dev;

/* Loads all drivers into this process (they may crash or hang it) and describes their devices; returns how many. */
int cl_list_devices(struct cl_found *ret_found, int max, int *ret_platforms);
int npu_dev_cl_open(struct npu_ctx *c, const struct npu_dev_info *info, struct npu_dev **ret_dev);
/* For PoCL, before it is loaded. POCL_AFFINITY, if it is not set: each of its threads keeps to one processor, where
 * this process may use all. POCL_CACHE_DIR, where it keeps compiled kernels: where that says already, else below
 * cache_dir (NULL: its default), else, if that can't be written or its disk is full, below TMPDIR or /dev/shm. Damaged
 * files there are removed. Each call is ended by one of cl_release_environment. */
void cl_prepare_environment(const char *cache_dir);
void cl_release_environment(void);
bool cl_is_loaded(void); /* a device was opened in this process before */

#endif
