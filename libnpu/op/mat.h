/* mat.h - what matmul, conv2d and attention share: activations, f32 views for the C references, tiling of launches. */
#ifndef NPU_OP_MAT_H
#define NPU_OP_MAT_H

#include "libnpu/op.h"

extern const struct npu_op npu_op_matmul, npu_op_conv2d, npu_op_conv2d_grad_x, npu_op_conv2d_grad_w;
extern const struct npu_op npu_op_attention, npu_op_attention_grad;

static inline bool npu_mat_float(enum npu_dtype t)
{
    return t == NPU_F32 || t == NPU_BF16 || t == NPU_F16;
}

static inline int64_t npu_mat_ceil(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline int64_t npu_mat_round(int64_t a, int64_t b)
{
    return npu_mat_ceil(a, b) * b;
}

/* The activation of an epilogue as a C reference. */
static inline float npu_mat_act(int act, float x)
{
    switch (act) {
    case NPU_ACT_RELU:
        return x > 0.0f ? x : 0.0f;
    case NPU_ACT_RELU6:
        return x > 0.0f ? fminf(x, 6.0f) : 0.0f;
    case NPU_ACT_GELU:
        return 0.5f * x * (1.0f + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
    case NPU_ACT_SIGMOID:
        return 1.0f / (1.0f + expf(-x));
    default:
        return x;
    }
}

/* The same as a node of its own. */
npu_val npu_mat_act_node(npu_graph *g, npu_val x, int act);
/* v in type t: itself or a cast. */
npu_val npu_mat_as(npu_graph *g, npu_val v, enum npu_dtype t);
/* Gradient of a bias [C]: g summed over all axes but the last, in the type of the bias. */
npu_val npu_mat_bias_grad(npu_graph *graph, npu_val g, npu_val bias);

/* The tensor as f32: its own memory if it is f32, else converted into *scratch, which moves on. */
const float *npu_mat_view(const struct npu_tensor *t, float **scratch);
/* Floats that npu_mat_view takes from the scratch. */
static inline size_t npu_mat_view_floats(const struct npu_tensor_type *t)
{
    return t->dtype == NPU_F32 ? 0 : (size_t)npu_shape_elements(&t->shape);
}

/* True where the register-blocked kernels run: CPUs with vectors of 8 or 16 floats. NPU_MAT_PORTABLE=1 in the
 * environment asks for the portable kernels everywhere (tests). */
bool npu_mat_blocked(const struct npu_traits *t);

/* The register tile of kernels/tile.clh for a device; NPU_MAT_VEC=4, 8 or 16 in the environment asks for that vector
 * width (tests: any width computes on any CPU). */
struct npu_mat_tile {
    int w, mr, nr;
    const char *name;
};
struct npu_mat_tile npu_mat_tile(const struct npu_traits *t);

/* How much of an m x n result a work-group makes: mb rows (a multiple of mr) by nb panels of nr columns; smaller ones
 * where that keeps all compute units busy. times: how many such results there are. */
struct npu_mat_blocks {
    int64_t mb, nb;
};
struct npu_mat_blocks npu_mat_blocks(const struct npu_traits *t, const struct npu_mat_tile *tile, int64_t m, int64_t n,
                                     int64_t times);
/* Appends a local memory argument; at least one vector, since 0 bytes are not allowed. */
void npu_mat_local(struct npu_launch *k, size_t bytes);

/* "[2,3,4]" */
const char *npu_mat_dims(const struct npu_shape *s, char buf[96]);

#endif
