/* safetensors.h - reading and writing safetensors files: 8 bytes little-endian header length, a JSON object
 * {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ..., "__metadata__": {"key": "value"}},
 * then the data. Format: github.com/huggingface/safetensors, README. Any byte string gives tensors within the file or a
 * failure with its reason. Usable without the rest of libnpu's objects.
 */
#ifndef NPU_SAFETENSORS_H
#define NPU_SAFETENSORS_H

#include "libnpu/npu.h"

#define ST_MAX_HEADER   (16u << 20) /* bytes */
#define ST_MAX_TENSORS  65536
#define ST_MAX_METADATA 4096 /* entries */
#define ST_MAX_NAME     256  /* bytes of a name with its NUL */
#define ST_MAX_DEPTH    8

/* Types of the format that we have no enum npu_dtype for keep their size only: F64, I64, I16, U16, U32, U64, BOOL. */
struct st_tensor {
    const char *name;
    char dtype_name[8]; /* as in the file */
    bool has_dtype;     /* dtype is valid */
    enum npu_dtype dtype;
    struct npu_shape shape;
    const void *data; /* inside the mapping; alignment as in the file */
    size_t size;      /* bytes */
};

struct st_file;

/* Maps a file. On failure -errno, -EBADMSG (not a valid safetensors file) or -E2BIG (a limit), the reason in why. The
 * file must not be truncated by others while it is open. */
int st_open(const char *path, struct st_file **ret_file, char *why, size_t why_size);
/* The same over bytes that the caller keeps alive. */
int st_open_bytes(const void *bytes, size_t size, struct st_file **ret_file, char *why, size_t why_size);
struct st_file *st_close(struct st_file *f); /* accepts and returns NULL */
int st_n_tensors(const struct st_file *f);
const struct st_tensor *st_tensor(const struct st_file *f, int index);      /* in name order; NULL out of range */
const struct st_tensor *st_find(const struct st_file *f, const char *name); /* NULL if there is none */
const char *st_metadata(const struct st_file *f, const char *key);          /* NULL if there is none */
/* Elements [first, first + n) as f32 whatever the type; -EOPNOTSUPP for types we don't have, -ERANGE. */
int st_read_f32(const struct st_tensor *t, int64_t first, int64_t n, float *ret_values);

struct st_source {
    const char *name;
    enum npu_dtype dtype;
    struct npu_shape shape;
    const void *data;
};
/* Writes beside the path, fsyncs, renames. metadata: key, value, ..., NULL; may be NULL. -EEXIST: a name twice. */
int st_write(const char *path, const struct st_source *tensor, int n, const char *const *metadata);

#endif
