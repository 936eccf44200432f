/* export.h - what the parts of the exporter share. */
#ifndef NPU_ONNX_EXPORT_H
#define NPU_ONNX_EXPORT_H

#include "libnpu/graph.h"
#include "libnpu/onnx/model.h"
#include "libnpu/op/ops.h"

/* A value of the graph under the names that it has in the file: in its own order of axes, and for pictures
 * [n, h, w, c] also as NCHW. NULL: not made yet. Names have room for NPU_MAX_NAME bytes and are shared by all who use
 * them, so an output can be given its name at the end. */
struct ex_value {
    char *native, *nchw;
    char *uint8, *uint8_nchw; /* result of quantise_dynamic as the file has it: uint8, more by 128 */
    char *step, *zero;        /* its range: scale and zero point (uint8) */
    bool needed;
};

struct ex {
    npu_plan *plan;
    npu_graph *g;
    struct om_model *m;
    struct ex_value *value; /* value[v - 1] */
    int n_results, n_constants;
    char *message;
    int r; /* first failure */
};

int ex_fail(struct ex *x, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
char *ex_name(struct ex *x, const char *kind, int *counter); /* one that the graph does not have */

/* Appends a node and returns the name of its result; "" leaves an input out. */
char *ex_node(struct ex *x, const char *op, int n_in, ...);
/* Of the node appended last. */
void ex_more_outputs(struct ex *x, int count, char **ret_name);
void ex_int(struct ex *x, const char *name, int64_t i);
void ex_ints(struct ex *x, const char *name, int n, const int64_t *i);
void ex_float(struct ex *x, const char *name, float f);
void ex_string(struct ex *x, const char *name, const char *s);

/* Initialisers: numbers, and a tensor under this name or one like it if that is taken. */
char *ex_scalar(struct ex *x, float f);
char *ex_index(struct ex *x, int64_t i);
char *ex_byte(struct ex *x, int type, int i); /* int8 or uint8 */
char *ex_shape(struct ex *x, int n, const int64_t *dim);
char *ex_tensor(struct ex *x, const char *name, int type, const struct npu_shape *s, const void *data, size_t size);

/* Names of a value in one order of axes or the other, with a transpose or an initialiser if need be. NULL after a
 * failure. */
char *ex_native(struct ex *x, npu_val v);
char *ex_nchw(struct ex *x, npu_val v);
/* The value is at hand as NCHW only, so work on it goes on in that order. */
bool ex_prefers_nchw(const struct ex *x, npu_val v);
/* Where axis a of [n, h, w, c] is in NCHW. */
static inline int ex_nchw_axis(int a)
{
    return a == 0 ? 0 : a == 3 ? 1 : a + 1;
}
/* Says that name is the result v of the node being exported. */
void ex_set(struct ex *x, npu_val v, char *name, bool nchw);
/* A parameter or state of the graph, and its values now (memory of the model); NULL if v is none or reading fails. */
const float *ex_param(struct ex *x, npu_val v);
/* The elements of a parameter or state as they are (memory of the model); NULL if v is none or reading fails. */
void *ex_raw(struct ex *x, npu_val v);
/* v in the order of axes it has; *ret_nchw says which. */
char *ex_either(struct ex *x, npu_val v, bool *ret_nchw);
/* A parameter [C] or [1] to meet a picture in NCHW: [C, 1, 1]. NULL: v is none. */
char *ex_channel(struct ex *x, npu_val v);

/* x through an activation of libnpu. */
char *ex_activation(struct ex *x, char *name, enum npu_act act);

/* export_mat.c */
void ex_matmul(struct ex *x, const struct npu_node *n);
void ex_conv2d(struct ex *x, const struct npu_node *n);
void ex_attention(struct ex *x, const struct npu_node *n);
/* export_quant.c */
void ex_quantise(struct ex *x, const struct npu_node *n);
void ex_dequantise(struct ex *x, const struct npu_node *n);
void ex_quantise_dynamic(struct ex *x, const struct npu_node *n);
void ex_qmatmul(struct ex *x, const struct npu_node *n);
void ex_qconv2d(struct ex *x, const struct npu_node *n);
/* export_ops.c: all others. -EOPNOTSUPP: no such operation in ONNX. */
int ex_op(struct ex *x, const struct npu_node *n);

#endif
