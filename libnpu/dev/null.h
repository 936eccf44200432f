/* null.h - the device that injects faults (internal to libnpu). Options: see dev/null.c. */
#ifndef NPU_DEV_NULL_H
#define NPU_DEV_NULL_H

#include "libnpu/dev.h"

/* Wrong options make it unusable, with why_not. */
void npu_dev_null_info(const char *options, struct npu_dev_info *ret_info);
/* -EINVAL for wrong options; npu_ctx_error names the word. */
int npu_dev_null_open(struct npu_ctx *c, const char *options, struct npu_dev **ret_dev);

#endif
