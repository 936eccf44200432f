/* convert.h - the parts of npu-convert. */
#ifndef NPU_TOOL_CONVERT_H
#define NPU_TOOL_CONVERT_H

#include "libnpu/npu_onnx.h"

enum { CONVERT_MAX_LIST = 32 };

struct convert_args {
    struct npu_onnx_opts onnx;
    struct npu_onnx_dim dims[CONVERT_MAX_LIST];
    const char *device, *model, *out;
    const char *inputs[CONVERT_MAX_LIST]; /* "name=file" or "name=random" */
    int n_inputs, batch;
    uint64_t seed;
    bool json;
};

/* Each prints its failure and returns the exit code. */
int convert_run(const struct convert_args *a, const char *path);
int convert_export_model(const struct convert_args *a, const char *weights, const char *path);
int convert_file(const struct convert_args *a, const char *from, const char *to);
/* A plan of an imported network with its parameters, on a device that is opened here; NULL after it said why not. */
struct convert_plan {
    npu_ctx *ctx;
    npu_dev *dev;
    npu_onnx *model;
    npu_plan *plan;
};
int convert_open(const struct convert_args *a, const char *path, struct convert_plan *ret_plan);
void convert_close(struct convert_plan *p);
int convert_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* 1 */

#endif
