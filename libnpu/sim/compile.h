/* compile.h - from the nodes of a plan to instructions. One node's instructions follow the other's; tokens are found
 * for the whole program at the end (sim_tokens_insert), so loads of one layer overtake the end of the layer before.
 *
 * Each part of the compiler cuts its operation into tiles that fit the on-chip memories twice, where two tiles are
 * under way at once, and says -EOPNOTSUPP with a reason where not even the smallest tile fits.
 */
#ifndef NPU_SIM_COMPILE_H
#define NPU_SIM_COMPILE_H

#include "libnpu/op.h"
#include "libnpu/sim/config.h"
#include "libnpu/sim/isa.h"

/* A tensor in external memory or, between its maker and its last reader, in unified memory. */
struct sim_tensor {
    uint64_t at;
    enum npu_dtype dtype;
    struct npu_shape shape;
    enum sim_mem mem; /* 0: external */
};

struct sim_node {
    const struct npu_node *node;
    struct sim_tensor in[NPU_MAX_IN], out[NPU_MAX_OUT]; /* inputs that are absent are all 0 */
};

struct sim_compiler {
    const struct sim_config *config;
    struct sim_program *program;
    int status;              /* the first failure of an emit */
    uint32_t used[SIM_MEMS]; /* bytes of each memory that the node has taken */
    char why[256];
};

/* Appends the node's instructions. -EOPNOTSUPP with c->why if the NPU can't do it. */
int sim_compile_node(struct sim_compiler *c, const struct sim_node *n);
/* True for an operation that sim_compile_node knows, whatever its sizes. */
bool sim_compile_knows(const struct npu_op *op);

/* bounds.c: -EFAULT with the instruction in why if one of [first, end) loads from what is no input of the node, stores
 * to what is no result of it, or else touches unified memory behind the first `tiles` bytes. */
int sim_bounds_check(const struct sim_program *p, int first, int end, const struct sim_node *n, uint32_t tiles,
                     char *why, size_t size);

/* ---- emit.c: what the parts of the compiler share ---- */
int sim_refuse(struct sim_compiler *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline uint32_t sim_size(const struct sim_compiler *c, enum sim_mem m)
{
    const uint32_t size[SIM_MEMS] = {0, c->config->wm, c->config->im, c->config->acc, c->config->um};
    return size[m];
}

/* Takes bytes of an on-chip memory, aligned to 64. The caller has made sure that they are there. */
uint32_t sim_take(struct sim_compiler *c, enum sim_mem m, int64_t bytes);
/* Two places that take turns. */
struct sim_slots {
    uint32_t at[2];
    int turn;
};
struct sim_slots sim_take_two(struct sim_compiler *c, enum sim_mem m, int64_t bytes);
static inline uint32_t sim_turn(struct sim_slots *s)
{
    return s->at[s->turn ^= 1];
}
static inline int64_t sim_round64(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* A block between a tensor's memory and the chip: n elements an axis, the innermost first, xs apart in the tensor; on
 * the chip cs apart, axis 0 dense. Counts of 0 stand for 1. */
struct sim_block {
    uint64_t xm;
    enum npu_dtype dtype; /* of the tensor */
    enum sim_mem mem;     /* of the tensor */
    int64_t n[4], xs[4], cs[3];
};
void sim_emit_load(struct sim_compiler *c, enum sim_mem mem, enum npu_dtype dtype, uint32_t at,
                   const struct sim_block *b);
void sim_emit_store(struct sim_compiler *c, enum npu_dtype dtype, uint32_t at, const struct sim_block *b);
void sim_emit_fill(struct sim_compiler *c, enum sim_mem mem, enum npu_dtype dtype, uint32_t at, int64_t n, float value);

/* An operand of a vector instruction. */
struct sim_operand {
    enum sim_mem mem;
    enum npu_dtype dtype;
    uint32_t at;
    int64_t s[3]; /* s[0] of d is not looked at: it is dense */
};
/* n[0] innermost; a count of 0 stands for 1. b NULL: imm is b where the operation has one. */
void sim_emit_vector(struct sim_compiler *c, enum sim_op op, enum sim_act act, const int64_t n[3],
                     const struct sim_operand *d, const struct sim_operand *a, const struct sim_operand *b, float imm);
void sim_emit(struct sim_compiler *c, const struct sim_insn *i);

/* f32 of unified memory: [n1][n0] dense, one number for all, a row's number, one row for all. */
static inline struct sim_operand sim_um(enum npu_dtype t, uint32_t at, int64_t s0, int64_t s1)
{
    return (struct sim_operand){SIM_UM, t, at, {s0, s1, 0}};
}

/* ---- the parts ---- */
/* product.c: for every picture b, output pixel (y, x) and n:
 * out = act(scale sum_{ky, kx, c} x[b, y stride + ky - pad_top, x stride + kx - pad_left, c] w[b, ky, kx, c, n] +
 * bias[n]) with the residual added before or after act. Strides are elements. */
struct sim_product {
    int64_t batch, oh, ow, n, kh, kw, cin;
    int64_t h, w, stride, pad_top, pad_left; /* of a picture of x */
    struct sim_tensor x, weight, bias, residual,
        out;                /* shape is not looked at; bias, residual, range: dtype NPU_DTYPES = none */
    int64_t xb, xy, xx, xc; /* x: picture, row, pixel, channel */
    int64_t wb, wt, wc, wn; /* weight: picture, tap, channel, column */
    int64_t ob, oy, ox;     /* out and residual; columns are dense */
    float scale;
    enum sim_act act;
    bool residual_first;
    bool exact; /* f32 operands, results to the last bit (libnpu/op/exact.h) */
    /* i8 x and weight: x is taken as x - x_zero, x_zero outside of the picture, bias is i32. With `scale_row`, f32, the
     * result is act(sum scale_row[n] + residual); as i32 it is `quant` of the sum (struct sim_qscale). */
    bool int8, out_int8;
    int x_zero;
    struct sim_tensor scale_row, range; /* range: of quantise_dynamic, x_zero and part of the scale; bias is then f32 */
    struct sim_qscale quant;            /* shift, zero, lo, hi, rmul, rzero */
};
int sim_product(struct sim_compiler *c, const struct sim_product *p);

/* map.c: out = f(in...), element by element over dims with any strides. */
#define SIM_MAP_INPUTS 5
struct sim_map {
    int n_dims, n_in;
    int64_t dim[NPU_MAX_DIMS]; /* outermost first */
    struct sim_tensor in[SIM_MAP_INPUTS], out;
    int64_t in_stride[SIM_MAP_INPUTS][NPU_MAX_DIMS], out_stride[NPU_MAX_DIMS];
    /* Emits instructions for n elements; NULL copies in[0]. work: f32 that may be used in between. */
    void (*body)(struct sim_compiler *c, const struct sim_map *m, int64_t n, const struct sim_operand *in,
                 const struct sim_operand *out, const struct sim_operand *work);
    enum sim_op op;
    enum sim_act act;
    float imm, imm2;
    uint32_t range; /* where in um numbers for the body lie */
};
int sim_map(struct sim_compiler *c, struct sim_map *m);
/* Sets dims and dense strides from a shape for out and, where `like` says so, in[0]. */
void sim_map_dense(struct sim_map *m, const struct npu_shape *s, int64_t *stride);

int sim_compile_elementwise(struct sim_compiler *c, const struct sim_node *n);      /* elementwise.c */
int sim_compile_copy(struct sim_compiler *c, const struct sim_node *n);             /* elementwise.c */
int sim_compile_matmul(struct sim_compiler *c, const struct sim_node *n);           /* matrix.c */
int sim_compile_conv2d(struct sim_compiler *c, const struct sim_node *n);           /* matrix.c */
int sim_compile_qconv(struct sim_compiler *c, const struct sim_node *n);            /* matrix.c: qmatmul, qconv2d */
int sim_compile_quantise(struct sim_compiler *c, const struct sim_node *n);         /* elementwise.c */
int sim_compile_quantise_dynamic(struct sim_compiler *c, const struct sim_node *n); /* elementwise.c */
int sim_compile_attention(struct sim_compiler *c, const struct sim_node *n);        /* attention.c */
int sim_compile_layer_norm(struct sim_compiler *c, const struct sim_node *n);       /* rows.c */
int sim_compile_softmax(struct sim_compiler *c, const struct sim_node *n);          /* rows.c */
int sim_compile_reduce(struct sim_compiler *c, const struct sim_node *n);           /* rows.c */
int sim_compile_pool(struct sim_compiler *c, const struct sim_node *n);             /* picture.c */
int sim_compile_resize(struct sim_compiler *c, const struct sim_node *n);           /* picture.c */

#endif
