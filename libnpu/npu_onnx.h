/* npu_onnx.h - ONNX files in and out of libnpu (libnpu_onnx.a, with libprotobuf-c).
 *
 * Import makes an npu_graph and keeps the values of its parameters; export writes a plan's graph with the values that
 * its parameters have. Convolution networks are NCHW in ONNX and NHWC here: import carries the order of axes along and
 * transposes only where an operation needs another one, export does the same, so a network has transposes at its edges
 * at most. An exported network takes and gives the same arrays as the graph: pictures stay NHWC.
 *
 * Any byte string gives a network or a failure with its reason. message (NPU_ONNX_MESSAGE bytes, may be NULL) names the
 * operation, the node and what is wrong with it.
 */
#ifndef NPU_ONNX_H
#define NPU_ONNX_H

#include "libnpu/npu.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NPU_ONNX_MESSAGE    512
#define NPU_ONNX_OPSET      17 /* what export writes */
#define NPU_ONNX_MIN_OPSET  9  /* what import takes */
#define NPU_ONNX_MAX_OPSET  23
#define NPU_ONNX_IR_VERSION 8

/* The size of a symbolic dimension; name NULL means all that have no entry of their own. */
struct npu_onnx_dim {
    const char *name;
    int64_t size;
};

struct npu_onnx_opts {
    const struct npu_onnx_dim *dims; /* graphs have fixed shapes, so every symbolic dimension needs a size */
    int n_dims;
    bool approximate_gelu;   /* the tanh form in place of the erf form: faster where it is fused; differs by 5e-4 */
    size_t max_file_bytes;   /* 0: 2 GiB - 1, the most that the format has */
    size_t max_memory_bytes; /* that import may allocate; 0: 4 GiB */
    int max_nodes;           /* also initialisers; 0: NPU_MAX_NODES */
};

typedef struct npu_onnx npu_onnx;

/* -EBADMSG no ONNX file, -EOPNOTSUPP something that libnpu has not (named in message), -E2BIG a limit, -EINVAL a
 * network that contradicts itself, and the errors of open and mmap. opts may be NULL. */
int npu_onnx_import(const char *path, const struct npu_onnx_opts *opts, npu_onnx **ret_model, char *message);
int npu_onnx_import_bytes(const void *bytes, size_t size, const struct npu_onnx_opts *opts, npu_onnx **ret_model,
                          char *message);
/* Frees the graph too: plans on it must be gone. Accepts and returns NULL. */
npu_onnx *npu_onnx_free(npu_onnx *m);
/* Belongs to m. Inputs and outputs have the names of the file, parameters those of its initialisers; names longer than
 * NPU_MAX_NAME allows end in a hash. */
npu_graph *npu_onnx_graph(const npu_onnx *m);
const char *npu_onnx_name(const npu_onnx *m); /* of the network, as the file gives it */
/* Names by position; NULL out of range. */
const char *npu_onnx_input(const npu_onnx *m, int index);
const char *npu_onnx_output(const npu_onnx *m, int index);
/* Writes the values of all parameters into a plan of m's graph. Errors of npu_plan_write. */
int npu_onnx_load(const npu_onnx *m, npu_plan *plan);
/* Writes them as a safetensors file that npu_plan_load takes for the same graph. Errors of the file system. */
int npu_onnx_save(const npu_onnx *m, const char *path, char *message);

/* Writes what the outputs of the plan's graph need, with the parameters' present values. name: of the network, for
 * readers. bf16 and f16 values are f32 in the file, rounded where the graph has a cast. -EOPNOTSUPP names an operation
 * of training that ONNX has not. The file is written beside path and renamed. */
int npu_onnx_export(npu_plan *plan, const char *name, const char *path, char *message);
/* The same into memory; the caller frees *ret_bytes. */
int npu_onnx_export_bytes(npu_plan *plan, const char *name, void **ret_bytes, size_t *ret_size, char *message);

/* Prints what a file holds - inputs, outputs, nodes with attributes, initialisers - without asking whether libnpu can
 * run it. json: one object. */
int npu_onnx_print(const char *path, const struct npu_onnx_opts *opts, FILE *out, bool json, char *message);

#ifdef __cplusplus
}
#endif
#endif
