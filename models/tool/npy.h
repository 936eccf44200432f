/* npy.h - NumPy's files of one array each, as tensors (format: numpy.lib.format, version 1 to 3, C order). */
#ifndef NPU_TOOL_NPY_H
#define NPU_TOOL_NPY_H

#include "libnpu/op.h"

/* Reads a file into a tensor of type t and shape s: the file must have the shape; float types take f4, the others their
 * own type. data has room for the tensor. On failure a negative errno with the reason in why. */
int npy_read(const char *path, const struct npu_tensor *t, char *why, size_t why_size);
/* Writes it; bf16 and f16 as f4. -errno. */
int npy_write(const char *path, const struct npu_tensor *t);

/* A tensor of a value's type and shape with zeroed memory of its own; data NULL if there is none left. */
struct npu_tensor npy_tensor_of(const npu_graph *g, npu_val v);
/* -1 to 1; whole numbers from 0 to 255, or 127 for i8. */
void npy_fill_random(const struct npu_tensor *t, uint64_t key);
/* folder/name.npy, malloc'ed; what can't be in a file's name becomes "_". */
char *npy_array_path(const char *folder, const char *name);

#endif
