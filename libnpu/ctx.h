/* ctx.h - how a context is kept (internal to libnpu). */
#ifndef NPU_CTX_H
#define NPU_CTX_H

#include "libnpu/npu.h"

struct npu_ctx {
    char error[1024];
    char *cache_dir; /* NULL: none */
    int n_devices;
    struct npu_dev_info device[NPU_MAX_DEVICES];
    char cl_why[512]; /* why there is no OpenCL device, or which drivers failed; "" if all is well */
    int n_open;
};

int npu_ctx_fail(struct npu_ctx *c, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
