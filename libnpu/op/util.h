/* util.h - what operations share: shape checks with reasons, rows as f32 for the references, broadcasting, launch
 * sizes. */
#ifndef NPU_OP_UTIL_H
#define NPU_OP_UTIL_H

#include "libnpu/op.h"

enum { OP_ROW = 512 }; /* elements that references convert at once */

/* Writes the reason, returns -EINVAL. */
int op_why(char *why, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* "[2,3,4]" into one of a few buffers of this thread; for messages only. */
const char *op_shape_text(const struct npu_shape *s);
bool op_same_shape(const struct npu_shape *a, const struct npu_shape *b);
bool op_is_float(enum npu_dtype t);
/* 0 if in[i] is a float tensor; else the reason. */
int op_need_float(const struct npu_tensor_type *in, int i, char *why, size_t size);
/* 0 if in[i] is f32 with exactly this shape. name is what the message calls it. */
int op_need_f32(const struct npu_tensor_type *in, int i, const char *name, int rank, const int64_t *dim, char *why,
                size_t size);

/* Shape rule of an operation on one float tensor whose result is like it. */
int op_unary_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                   size_t size);

static inline int64_t op_last(const struct npu_shape *s)
{
    return s->rank ? s->dim[s->rank - 1] : 1;
}
/* Product of all but the last dim. */
int64_t op_rows(const struct npu_shape *s);
/* Product of dims [from, to). */
int64_t op_span(const struct npu_shape *s, int from, int to);

/* Elements i .. i + n - 1 as f32: the tensor's own memory if it is f32, else converted into buf. */
const float *op_get(const struct npu_tensor *t, int64_t i, int64_t n, float *buf);
void op_put(const struct npu_tensor *t, int64_t i, int64_t n, const float *v);

/* x seen as [rows, inner] where y's element for (row, j) is base(row) + step * j. Dims of x that y walks alike are
 * merged. */
struct op_bcast {
    int64_t inner, rows, step; /* step 0 or 1 */
    int n_outer;               /* outer dims, nearest to inner first */
    int64_t dim[NPU_MAX_DIMS], stride[NPU_MAX_DIMS];
};
/* -EINVAL if y does not broadcast to x. */
int op_bcast_make(const struct npu_shape *x, const struct npu_shape *y, struct op_bcast *ret_b);
int64_t op_bcast_base(const struct op_bcast *b, int64_t row);
/* Appends inner, rows, step, n_outer, dim0..4, stride0..4: BCAST_PARAMS of lib.clh. */
void op_bcast_args(struct npu_launch *k, const struct op_bcast *b);

/* A launch of kernels/<source>.cl whose kernel is guarded by K_<entry>, so that a program holds only what it needs. */
struct npu_launch *op_launch(struct npu_lower *l, const char *source, const char *entry);
/* `items` work-items of some work each; kernels check their index. */
void op_launch_items(const struct npu_lower *l, struct npu_launch *k, int64_t items);
/* Work over [rows, inner]: appends tile_rows, tile_cols (TILE_PARAMS of lib.clh) and sets the sizes. On CPUs a
 * work-item gets a stretch of rows or of one long row, on GPUs 8 neighbouring elements. */
void op_launch_tiles(const struct npu_lower *l, struct npu_launch *k, int64_t rows, int64_t inner);
/* The same for kernels that leave one partial sum a work-item: returns the number of work-items (some may have no work
 * but must write their zero all the same). */
int64_t op_launch_sums(const struct npu_lower *l, struct npu_launch *k, int64_t rows, int64_t inner);
/* Column sums: `sums` sums of `len` rows over cols columns; a work-item has all columns of some sums on CPUs, 8 columns
 * of one on GPUs. Appends TILE_PARAMS. */
void op_launch_cols(const struct npu_lower *l, struct npu_launch *k, int64_t sums, int64_t cols, int64_t len);
static inline int64_t op_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}
bool op_is_cpu(const struct npu_lower *l);

/* An input of a test graph; a parameter (f32 whatever storage the case is run with); an f32 state, drawn from [lo, hi).
 */
npu_val op_test_in(npu_graph *g, const char *name, enum npu_dtype t, int rank, const int64_t *dim);
npu_val op_test_param(npu_graph *g, const char *name, int rank, const int64_t *dim);
npu_val op_test_state(npu_graph *g, const char *name, int rank, const int64_t *dim, float lo, float hi);
#define OP_DIMS(...)                                                                                                   \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[])                                       \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }

#endif
