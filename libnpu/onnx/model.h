/* model.h - an ONNX model in memory, free of protobuf: what proto.c reads and writes, import.c and export.c work on. */
#ifndef NPU_ONNX_MODEL_H
#define NPU_ONNX_MODEL_H

#include "libnpu/npu_onnx.h"

/* Element types of the format. */
enum {
    OM_FLOAT = 1,
    OM_UINT8 = 2,
    OM_INT8 = 3,
    OM_INT32 = 6,
    OM_INT64 = 7,
    OM_BOOL = 9,
    OM_FLOAT16 = 10,
    OM_DOUBLE = 11,
    OM_BFLOAT16 = 16,
};
const char *om_type_name(int type); /* "float", "int64" ...; "type ?" for the ones we don't have */
size_t om_type_size(int type);      /* 0 for the ones we don't have */
int om_type_of(enum npu_dtype t);

struct om_tensor {
    const char *name;
    int type;
    struct npu_shape shape;
    const void *data; /* little-endian elements; any alignment */
    size_t size;
};

enum om_attr_kind { OM_ATTR_FLOAT = 1, OM_ATTR_INT = 2, OM_ATTR_STRING = 3, OM_ATTR_TENSOR = 4, OM_ATTR_INTS = 7 };

struct om_attr {
    const char *name;
    int kind; /* the format's number; kinds other than those above carry no value */
    float f;
    int64_t i;
    const char *s;
    const int64_t *ints; /* not NULL, also where there are none */
    int n_ints;
    const struct om_tensor *t;
};

struct om_node {
    const char *op, *name, *domain;
    int n_in, n_out, n_attr;
    const char **in, **out; /* "" where an optional one is left out */
    struct om_attr *attr;
};

struct om_value {
    const char *name;
    int type;
    int rank;                           /* -1: the file gives no shape */
    int64_t dim[NPU_MAX_DIMS];          /* -1: symbolic */
    const char *dim_name[NPU_MAX_DIMS]; /* its name, "" if it has none */
};

struct om_chunk;
struct om_model {
    int64_t ir_version, opset;
    const char *producer, *name;
    int n_inputs, n_outputs, n_nodes, n_tensors;
    struct om_value *input, *output;
    struct om_node *node;
    struct om_tensor *tensor;
    /* memory */
    struct om_chunk *chunk;
    size_t memory, max_memory;
    bool starved;  /* the system refused memory; else what failed was max_memory */
    void *message; /* the unpacked protobuf message that names and data lie in; NULL for an exported model */
    int cap_nodes, cap_tensors;
};

/* Writes why into message (may be NULL); returns r. */
int om_say(char *message, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

struct om_model *om_new(size_t max_memory); /* NULL: out of memory */
struct om_model *om_free(struct om_model *m);
/* Zeroed memory that lives as long as the model; NULL if there is none left or max_memory is reached. */
void *om_alloc(struct om_model *m, size_t n, size_t size);
/* Asks for huge pages where p, which may be NULL, has room for some: filling it then faults less. Returns p. */
void *om_large(void *p, size_t size);
void om_free_chunks(struct om_model *m); /* the memory of om_alloc; part of om_free */
char *om_text(struct om_model *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* proto.c */
int om_parse(const void *bytes, size_t size, const struct npu_onnx_opts *opts, struct om_model **ret_model,
             char *message);
int om_pack(const struct om_model *m, void **ret_bytes, size_t *ret_size, char *message);

/* text.c */
void om_print(const struct om_model *m, FILE *out, bool json);

/* file.c */
int om_map(const char *path, size_t max_bytes, const void **ret_bytes, size_t *ret_size, char *message);
void om_unmap(const void *bytes, size_t size);
int om_write(const char *path, const void *bytes, size_t size, char *message);

#endif
