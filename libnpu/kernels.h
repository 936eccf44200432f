/* kernels.h - the text of kernels/<name>.cl, embedded at build time (see module.mk). */
#ifndef NPU_KERNELS_H
#define NPU_KERNELS_H

struct npu_kernel_source {
    const char *name; /* "scale", "lib" */
    const char *text; /* ends with NUL */
};

/* Ended by a NULL name. */
extern const struct npu_kernel_source npu_kernel_sources[];

#endif
