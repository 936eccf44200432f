/* import.h - what the parts of the importer share. */
#ifndef NPU_ONNX_IMPORT_H
#define NPU_ONNX_IMPORT_H

#include "libnpu/graph.h"
#include "libnpu/onnx/model.h"
#include "libnpu/op/ops.h"

#define OI_MAX_FOLD (1 << 26) /* elements of a tensor computed while importing */

/* A tensor known while importing: floats, or whole numbers of any type. */
struct oi_const {
    bool is_int;
    struct npu_shape shape;
    const float *f;
    const int64_t *i;
};

/* A constant that has become a parameter, in one order of axes. */
struct oi_use {
    struct oi_use *next;
    npu_val v;
    int rank;
    int perm[NPU_MAX_DIMS];
};

/* What else a value can be than what it says: a uint8 tensor, whose v is int8 and less by 128; scale and zero point
 * that DynamicQuantizeLinear found, with v the range of npu_quantise_dynamic. Only a few operations take these. */
enum oi_kind { OI_PLAIN, OI_UINT8, OI_STEP, OI_ZERO };

/* A value of the file. If it is computed: libnpu's value with axes in any order, axis i of the file is axis perm[i] of
 * v; so transposes cost nothing until an operation needs another order. */
struct oi_value {
    const char *name;
    uint32_t hash;
    bool defined, is_output;
    const struct om_tensor *tensor; /* initialiser, read when it is first asked for */
    const struct oi_const *c;
    struct oi_use *uses;
    enum oi_kind kind;
    npu_val range;     /* OI_UINT8: found at run time; NPU_NONE: given by the file */
    npu_val v, native; /* native: v in the file's order of axes, once it was needed */
    struct npu_shape shape;
    int perm[NPU_MAX_DIMS];
    struct oi_node *maker, **user; /* the node that makes it, nodes that take it */
    int n_users;
};

struct oi_op;
struct oi_node {
    const struct om_node *p;
    const struct oi_op *op;
    struct oi_value **in, **out; /* NULL where left out */
    int n_in, n_out;
    bool done; /* imported with another one, or left out */
};

struct npu_onnx_param {
    npu_val v;
    void *data;
    size_t size; /* bytes */
};

struct npu_onnx {
    npu_graph *graph;
    char *name;
    struct npu_onnx_param *param;
    int n_params, cap_params;
    char **input, **output;
    int n_inputs, n_outputs;
};

struct oi {
    struct om_model *m;
    const struct npu_onnx_opts *opts;
    npu_onnx *out;
    npu_graph *g;
    struct oi_value **table; /* by hash of the name */
    size_t table_size;
    struct oi_node *node;
    int n_nodes;
    const struct oi_node *at; /* being imported, for messages */
    size_t param_bytes;
    char *message;
    char failed; /* message is written */
};

/* One operation: attributes it understands (words), how many inputs and outputs, and how it is imported. */
struct oi_op {
    const char *name, *attrs;
    int min_in, max_in, max_out;
    int (*import)(struct oi *im, struct oi_node *n);
    bool takes_constants; /* in[0] may be a constant; for the others it becomes a parameter first */
};
const struct oi_op *oi_find_op(const char *name);
/* Products, ops on pictures, ops element by element, ops that move elements, int8,
 * and those that must have constant inputs (no import); each ended by an empty entry. */
extern const struct oi_op oi_mat_ops[], oi_picture_ops[], oi_element_ops[], oi_move_ops[], oi_quant_ops[],
    oi_fold_ops[];

/* "Conv node "x": ..." into the message, the first time; returns r. */
int oi_fail(struct oi *im, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void *oi_alloc(struct oi *im, size_t n, size_t size); /* zeroed, lives as long as the import; NULL after oi_fail */

/* ---- values (import_value.c) ---- */
struct oi_value *oi_lookup(struct oi *im, const char *name, bool make);
struct oi_value *oi_new_value(struct oi *im);                          /* without a name, for the middle of something */
const struct oi_const *oi_constant(struct oi *im, struct oi_value *x); /* NULL: it is computed, or after oi_fail */
/* One number that is known, of any shape: true. */
bool oi_number(struct oi *im, struct oi_value *x, float *ret_f);
/* Whole numbers that are known (rank 0 or 1), at most max: how many, or -EOPNOTSUPP. */
int oi_numbers(struct oi *im, struct oi_value *x, int max, int64_t *ret_i);
bool oi_is_known(const struct oi_value *x); /* without reading it */

static inline bool oi_identity(const int *perm, int rank)
{
    for (int i = 0; i < rank; i++)
        if (perm[i] != i)
            return false;
    return true;
}
extern const int oi_nhwc[4]; /* the order in which pictures are kept: {0, 3, 1, 2} */

/* The value as libnpu has it in this order of axes: permuted if need be; a constant becomes a parameter. Negative after
 * oi_fail. */
npu_val oi_layout(struct oi *im, struct oi_value *x, const int *perm);
npu_val oi_native(struct oi *im, struct oi_value *x);
/* x in an order of axes in which `axis` is the last; *ret_perm is that order. */
npu_val oi_layout_last(struct oi *im, struct oi_value *x, int axis, int *ret_perm);
/* A parameter of the values' own making: name is that of x. data is f32, copied. */
npu_val oi_param(struct oi *im, const struct oi_value *x, const struct npu_shape *s, const float *data);
/* The same of whole numbers: a state of type i8 or i32. */
npu_val oi_state(struct oi *im, const struct oi_value *x, enum npu_dtype t, const struct npu_shape *s,
                 const int64_t *data);
/* Says that out is v, with this order of axes (NULL: as it is). Fails with the graph's error if v is negative. */
int oi_set(struct oi *im, struct oi_value *out, npu_val v, const int *perm);
int oi_set_const(struct oi *im, struct oi_value *out, const struct oi_const *c);
/* out is the same as x. */
int oi_alias(struct oi *im, struct oi_value *out, struct oi_value *x);

/* ---- convolutions, and what follows a product (import_mat.c) ---- */
struct oi_conv {
    struct oi_value *out;
    const struct oi_const *norm[4]; /* scale, bias, mean, variance of a batch norm that follows; NULL: none */
    float eps;
    int64_t kernel[2], stride[2], dilation[2], pads[4];
};
extern const int oi_hwio[4]; /* where the axes of weights [cout, cin, kh, kw] go */
int oi_conv_attrs(struct oi *im, struct oi_node *n, struct oi_conv *c);
/* The result as the file has it: [n, cout, h, w]; false if no window fits. */
bool oi_conv_result(const struct oi_node *n, const struct oi_conv *c, struct npu_shape *ret_s);
/* If the next node adds a computed value of the same shape that is there already: that value, in this order of axes. */
npu_val oi_take_residual(struct oi *im, struct oi_value **out, const struct npu_shape *s, const int *perm);

/* ---- attributes (import_attr.c) ---- */
const struct om_attr *oi_attr(const struct oi_node *n, const char *name);
int64_t oi_int(const struct oi_node *n, const char *name, int64_t otherwise);
float oi_float(const struct oi_node *n, const char *name, float otherwise);
const char *oi_string(const struct oi_node *n, const char *name, const char *otherwise);
/* Exactly n whole numbers in [lo, hi], or `otherwise` for all of them if the attribute is absent. */
int oi_ints(struct oi *im, const struct oi_node *n, const char *name, int count, int64_t otherwise, int64_t lo,
            int64_t hi, int64_t *ret_i);
/* Axes from the attribute or from input `index`; -ENOENT if there are none. *ret_mask: bit a for axis a of rank. */
int oi_axes(struct oi *im, const struct oi_node *n, int index, int rank, unsigned *ret_mask);
/* One axis, counted from the back if negative. */
int oi_axis(struct oi *im, const struct oi_node *n, int64_t otherwise, int rank, int *ret_axis);
/* Pads of a window over [h, w]: top, left, bottom, right, from auto_pad or pads (import_picture.c). */
int oi_pads(struct oi *im, const struct oi_node *n, const int64_t *hw, const int64_t *size, const int64_t *stride,
            int64_t *ret_pads);
int oi_check_attrs(struct oi *im, const struct oi_node *n);

/* ---- constants (fold.c, fold_math.c) ---- */
/* Computes n if all it needs is known. 1: done; 0: not such a node; negative after oi_fail. */
int oi_fold(struct oi *im, struct oi_node *n);
int oi_fold_math(struct oi *im, struct oi_node *n);
/* Elements base + sum of index * stride of c, with another shape, in its order: floats or int64_t, as c has. */
void oi_copy_strided(const struct oi_const *c, const struct npu_shape *s, int64_t base, const int64_t *stride,
                     void *to);
/* The same as a constant of its own. */
int oi_fold_strided(struct oi *im, struct oi_value *out, const struct oi_const *c, const struct npu_shape *s,
                    int64_t base, const int64_t *stride);
void oi_strides(const struct npu_shape *s, int64_t *ret_stride);
/* Starts, sizes and steps along each axis of a Slice; 0 or negative after oi_fail. */
int oi_slice_spans(struct oi *im, struct oi_node *n, const struct npu_shape *s, int64_t *start, int64_t *size,
                   int64_t *step);
/* Dims that a Reshape asks for, with 0 and -1 resolved. */
int oi_reshape_dims(struct oi *im, struct oi_node *n, const struct npu_shape *from, struct npu_shape *ret_s);
/* The shape with axes dropped or put in; Unsqueeze's axes count in the result. */
int oi_squeeze_shape(struct oi *im, struct oi_node *n, const struct npu_shape *from, struct npu_shape *ret_s);
int oi_unsqueeze_shape(struct oi *im, struct oi_node *n, const struct npu_shape *from, struct npu_shape *ret_s);
int oi_broadcast(const struct npu_shape *a, const struct npu_shape *b, struct npu_shape *ret_s);

/* ---- several nodes as one (fuse.c, fuse_attention.c, fuse_view.c) ---- */
/* The only node that takes x, if x is no output and the node has this op (NULL: any). */
struct oi_node *oi_only_user(const struct oi_value *x, const char *op);
bool oi_is(const struct oi_node *n, const char *op);
/* Finds GELU written out; they become nodes "Gelu" (its tanh or erf form). */
int oi_find_gelu(struct oi *im);
/* The activation that u computes if libnpu can fuse it; NPU_ACT_NONE otherwise. */
enum npu_act oi_fusable_act(struct oi *im, const struct oi_node *u);
/* n is the Reshape that begins attention written out: 1 if it was imported as one operation. */
int oi_try_attention(struct oi *im, struct oi_node *n);
/* The product of `weights` and v is attention: its result, whose axes lie as ret_perm says (fuse_view.c); else
 * NPU_NONE, or negative. v_swapped: v is [.., size, n]. */
npu_val oi_find_attention(struct oi *im, npu_val weights, npu_val v, bool v_swapped, int *ret_perm);

#endif
