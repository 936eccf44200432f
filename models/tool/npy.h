/* npy.h - NumPy's files of one array each, as tensors (format: numpy.lib.format, version 1 to 3, C order). */
#ifndef NPU_TOOL_NPY_H
#define NPU_TOOL_NPY_H

#include "libnpu/op.h"

/* Reads a file into a tensor of type t and shape s: the file must have the shape; float types take f4, the others their
 * own type. data has room for the tensor. On failure a negative errno with the reason in why. */
int npy_read(const char *path, const struct npu_tensor *t, char *why, size_t why_size);
/* Writes it; bf16 and f16 as f4. -errno. */
int npy_write(const char *path, const struct npu_tensor *t);

#endif
