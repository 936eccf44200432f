/* discover.h - looking for devices (internal to libnpu). */
#ifndef NPU_DISCOVER_H
#define NPU_DISCOVER_H

#include "libnpu/dev/cl_list.h"

/* What was found out about OpenCL drivers besides their devices. */
struct cl_search {
    int platforms;
    char why[512]; /* why there is no device, or which drivers failed; "" if all is well */
};

/* OpenCL devices; returns how many or a failure. Drivers that crash or hang are left out, also later on when a device
 * is opened. */
int npu_find_cl(struct cl_found *ret_found, int max, struct cl_search *ret_search);

/* ---- discover_icd.c: the files that name OpenCL drivers ---- */
#define NPU_MAX_ICDS 16

struct npu_icd {
    char file[256];    /* /etc/OpenCL/vendors/intel.icd; "" if the library was named itself */
    char library[256]; /* libigdrcl.so */
    bool harmful;      /* it crashes or hangs who loads it */
    int platforms;     /* it offers; -1 as long as it was not asked */
    char why_not[200]; /* it can't be used; "" if it can */
};

/* What the loader will load, as its environment variables say; returns how many. */
int npu_icd_list(struct npu_icd *ret_icd, int max);
/* Loads each by itself in a child process and asks it for its devices: fills the verdicts. */
void npu_icd_check(struct npu_icd *icd, int n);
/* Makes the loader, which must not have been loaded yet, take only those that are not harmful. */
int npu_icd_leave_out_harmful(const struct npu_icd *icd, int n);
/* "intel.icd crashed (signal 11) ...; x.icd ..." of those that can't be used. */
void npu_icd_text(const struct npu_icd *icd, int n, char *buf, size_t size);

/* ---- discover_nodes.c ---- */
struct npu_node_found {
    struct npu_dev_info info; /* not usable by itself; why_not says why */
    char pci[16];
    bool accel;      /* else a render node */
    bool accessible; /* this user may open it */
    bool joined;     /* an OpenCL device stands for it */
};
int npu_find_nodes(struct npu_node_found *ret_found, int max);
/* Pairs OpenCL devices with nodes by PCI address, or where there is one of each. Several drivers may offer one device:
 * each of them gets its node. */
void npu_join_nodes(struct cl_found *cl, int n_cl, struct npu_node_found *node, int n_nodes);

/* ---- probe.c ---- */
/* Runs a probe in a child process: fills an answer of `size` bytes, which the child sees as it is before, or gives up.
 * 0, -ETIMEDOUT, -EPIPE (it ended without an answer; *ret_signal says of what, 0 if of its own) or another failure. */
int npu_probe_ms(void); /* how long a driver may take: NPU_PROBE_MS or 10 s */
typedef void npu_probe_fn(void *answer);
int npu_probe(npu_probe_fn *f, void *answer, size_t size, int timeout_ms, int *ret_signal);

#endif
