/* discover.h - looking for devices (internal to libnpu). */
#ifndef NPU_DISCOVER_H
#define NPU_DISCOVER_H

#include "libnpu/dev/cl_list.h"

/* OpenCL devices; returns how many or a failure. why gets a text if there is none. */
int npu_find_cl(struct cl_found *ret_found, int max, char *why, size_t why_size);

struct npu_node_found {
    struct npu_dev_info info; /* not usable by itself; why_not says why */
    char pci[16];
    bool accel;  /* else a render node */
    bool joined; /* an OpenCL device stands for it */
};
int npu_find_nodes(struct npu_node_found *ret_found, int max);
/* Pairs OpenCL devices with nodes by PCI address, or where there is one of each. */
void npu_join_nodes(struct cl_found *cl, int n_cl, struct npu_node_found *node, int n_nodes);

/* Runs a probe in a child process: fills an answer of `size` bytes or gives up. 0, -ETIMEDOUT, -EPIPE (it died:
 * *ret_signal) or another failure. */
typedef void npu_probe_fn(void *answer);
int npu_probe(npu_probe_fn *f, void *answer, size_t size, int timeout_ms, int *ret_signal);

#endif
