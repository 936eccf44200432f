// Reader of safetensors files: https://github.com/huggingface/safetensors#format
#pragma once

#include <stddef.h>
#include <stdint.h>

struct tensors; // a mapped file

#define TENSORS_MAX_DIMS 4

struct tensor {
    char dtype[8]; // "F32", "F16", "I32"
    int dims;
    size_t shape[TENSORS_MAX_DIMS];
    size_t count; // elements
    const void *data;
};

// -errno of open/map; -EBADMSG for a malformed or truncated file.
int tensors_open(const char *path, struct tensors **ret_tensors);
// Accepts NULL; returns NULL. Tensors of the file become invalid.
struct tensors *tensors_close(struct tensors *t);
// -ENOENT; -EBADMSG when its bytes lie outside the file or the shape does not match them.
int tensors_find(const struct tensors *t, const char *name, struct tensor *ret_tensor);
// A copy as floats from F32 or F16, malloc'ed, the caller's; the count must be `count` (-EBADMSG otherwise).
int tensors_floats(const struct tensors *t, const char *name, size_t count, float **ret_floats);
// The same for I32.
int tensors_ints(const struct tensors *t, const char *name, size_t count, int32_t **ret_ints);
// The text of an entry of __metadata__, or NULL; lives as long as the file is open.
const char *tensors_note(const struct tensors *t, const char *name);
// IEEE 754 binary16 to float.
float float_from_half(uint16_t h);
