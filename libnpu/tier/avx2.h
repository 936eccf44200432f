/* avx2.h - the tier "avx2": f32 and int8 operations as native launches on x86 CPUs with AVX2 and FMA.
 *
 * A plan whose nodes are all served here runs without OpenCL (dev/cl_native.c). Weights are packed once into panels of
 * 16 columns. Each launch says into how many units its work falls apart; a unit is a part of the launch.
 */
#ifndef NPU_TIER_AVX2_H
#define NPU_TIER_AVX2_H

#include "libnpu/op.h"

#define NPU_AVX2_TIER "avx2"

enum { NPU_AVX2_PANEL = 16, NPU_AVX2_ROWS = 6 }; /* of a register tile: columns and rows */
enum { NPU_AVX2_TAPS = 49 };                     /* of a depthwise window, at most */

/* The launches take the fields in this order as int32 arguments. A product is the 1 x 1 convolution of a picture of one
 * row; x [n, h, w, cin], weights [kh kw cin, cout]. */
struct npu_avx2_conv {
    int32_t n, h, w, cin, oh, ow, cout;
    int32_t kh, kw, stride, pad_top, pad_left;
    int32_t w_k, w_n, w_z;        /* steps between weights along terms, result channels, pictures (0: the same) */
    int32_t w_t;                  /* the same along taps, for Winograd's tiles; negative: the taps turned round */
    int32_t act;                  /* enum npu_act, + 256: the residual is added after it, + 512: the result is bf16 */
    int32_t mb;                   /* result pixels at a time */
    int32_t row_units, col_units; /* shares of the result pixels and of the panels */
};
enum { NPU_AVX2_RES_AFTER = 256, NPU_AVX2_BF16_RESULT = 512 };
size_t npu_avx2_conv_scratch(const struct npu_avx2_conv *g); /* bytes a unit */
/* By Winograd's tiles of 4 x 4 results: mb is a number of tiles, row_units shares of all. */
int64_t npu_avx2_winograd_tiles(const struct npu_avx2_conv *g);
bool npu_avx2_suits_winograd(const struct npu_avx2_conv *g); /* is this convolution one for them? */
/* Floats from one of the 36 matrices to the next: an odd number of lines, so that a place of all 36 does not fall into
 * few sets of the caches. */
static inline int64_t npu_avx2_winograd_step(int64_t rows, int64_t columns)
{
    return ((rows * columns + 15) / 16 | 1) * 16;
}
size_t npu_avx2_winograd_scratch(const struct npu_avx2_conv *g);
/* The gradient of weights: row_units shares of the tiles, with sums of their own, mb tiles at a time; col_units parts
 * of the channels of x. */
enum { NPU_AVX2_WINOGRAD_TILES = 36 };
size_t npu_avx2_winograd_sums_floats(const struct npu_avx2_conv *g);  /* of a share's sums; by cin, cout */
size_t npu_avx2_winograd_sums_scratch(const struct npu_avx2_conv *g); /* bytes a part */

/* Sums over rows k of outer products: y[z][(tap, i), j] = sum of x[z][pixel under the tap of k][i] * b[z][k][j]. Rows
 * are the oh ow pixels of the n / groups pictures of product z. A product with a transposed first factor has one tap
 * and pictures of one row; with taps it is the gradient of a convolution's weights. */
struct npu_avx2_outer {
    int32_t n, h, w, cin, oh, ow, cout;
    int32_t kh, kw, stride, pad_top, pad_left;
    int32_t groups;        /* products, of n / groups pictures each */
    int32_t b_k, b_n, b_z; /* steps of b along rows, columns, products */
    int32_t act;
    int32_t shares;               /* of the rows, each summed by itself first; not by the number of threads */
    int32_t row_units, col_units; /* shares of the result's strips of 6 rows and of its panels */
};
enum { NPU_AVX2_OUTER_ROWS = 192 };           /* rows at a time */
enum { NPU_AVX2_OUTER_STRIP = 192 * 8 + 16 }; /* floats of 6 terms of them, 8 apart: an odd number of lines */
size_t npu_avx2_outer_scratch(const struct npu_avx2_outer *g); /* bytes a part */

/* The gradient of a convolution's input: x [n, h, w, cin] from gy [n, oh, ow, cout]. Pixels of x that are `stride`
 * apart make a phase, which sees a part of the taps. */
struct npu_avx2_grad_x {
    int32_t n, h, w, cin, oh, ow, cout;
    int32_t kh, kw, stride, pad_top, pad_left;
    int32_t mb;                   /* pixels at a time */
    int32_t row_units, col_units; /* shares of a phase's pixels and of the panels */
};
size_t npu_avx2_grad_x_scratch(const struct npu_avx2_grad_x *g); /* bytes a part */

struct npu_avx2_attention {
    int32_t batch, n, heads, dh, query_units;
};
size_t npu_avx2_attention_scratch(const struct npu_avx2_attention *a);      /* bytes a part */
size_t npu_avx2_attention_grad_scratch(const struct npu_avx2_attention *a); /* the same of its gradient */
enum { NPU_AVX2_GRAD_QUERIES = 48 };                                        /* of the gradient, at a time */

/* Arguments: pack: weights, packed, fields. conv: x, packed, bias, residual, y, scratch, fields, scale. winograd: the
 * same, without scale. depthwise: x, weights, bias, residual, y, fields. attention: qkv, y, scratch, fields, scale.
 * layer_norm: x, gamma, beta, y, rows, columns, eps. outer: x, b, bias, residual, y, sums of shares, scratch, fields,
 * scale. outer_sum: sums of shares, y, shares, size, scale. grad_x_pack: weights, packed, fields. grad_x: gy, packed,
 * x, scratch, fields. winograd_sums: x, gy, sums of shares, scratch, fields of the convolution. winograd_gw: sums of
 * shares, weights' gradient, shares, cin, cout.
 * attention_grad: qkv, gy, gradient of qkv, scratch, fields, scale. depthwise_grad_x: gy, weights, x, fields of grad_x.
 * depthwise_grad_w: x, gy, sums of shares (row_units of them), fields of grad_x. */
struct npu_avx2_kernels {
    npu_native_fn *pack, *conv, *winograd_pack, *winograd, *depthwise, *attention, *layer_norm;
    npu_native_fn *outer, *outer_sum, *grad_x_pack, *grad_x, *winograd_sums, *winograd_gw;
    npu_native_fn *attention_grad, *depthwise_grad_x, *depthwise_grad_w;
    npu_native_fn *from_bf16, *to_bf16; /* x, y, elements */
};
const struct npu_avx2_kernels *npu_avx2_kernels(void); /* NULL where this build has none */

/* The kernels that serve a device, NULL if there are none: not an x86 CPU with AVX2 and FMA, native launches do not run
 * there, the self-test failed, or the environment asks for other tiers (NPU_MAT_VEC, NPU_MAT_PORTABLE,
 * NPU_MAT_NATIVE=0). */
const struct npu_avx2_kernels *npu_avx2_for(const struct npu_traits *t);
/* Odd shapes through all kernels against plain C: 0 or -EIO. */
int npu_avx2_self_test(const struct npu_avx2_kernels *k);
int npu_avx2_grad_self_test(const struct npu_avx2_kernels *k); /* those of the gradients: called by the other one */

/* ---- launches; -EOPNOTSUPP if the tier does not serve the node ---- */
/* Sets row_units, col_units and mb. */
void npu_avx2_divide_conv(const struct npu_lower *l, struct npu_avx2_conv *g);
/* in: x, weights, bias, residual; all f32, but the result may be bf16 (widen.h) */
int npu_avx2_lower_conv(struct npu_lower *l, struct npu_avx2_conv g, const npu_val in[4], npu_val out, float scale);
int npu_avx2_lower_depthwise(struct npu_lower *l, struct npu_avx2_conv g, const npu_val in[4], npu_val out);
int npu_avx2_lower_attention(struct npu_lower *l, struct npu_avx2_attention a, npu_val qkv, npu_val out, float scale);
int npu_avx2_lower_attention_grad(struct npu_lower *l, struct npu_avx2_attention a, const npu_val in[2], npu_val out,
                                  float scale);
int npu_avx2_lower_layer_norm(struct npu_lower *l, const npu_val in[3], npu_val out, float eps);
/* in: x, b, bias, residual */
int npu_avx2_lower_outer(struct npu_lower *l, struct npu_avx2_outer g, const npu_val in[4], npu_val out, float scale);
int npu_avx2_lower_grad_x(struct npu_lower *l, struct npu_avx2_grad_x g, npu_val gy, npu_val w, npu_val out);
int npu_avx2_lower_grad_w(struct npu_lower *l, struct npu_avx2_outer g, npu_val x, npu_val gy, npu_val out);
/* One channel a group; g without its shares. */
int npu_avx2_lower_depthwise_grad_x(struct npu_lower *l, struct npu_avx2_grad_x g, npu_val gy, npu_val w, npu_val out);
int npu_avx2_lower_depthwise_grad_w(struct npu_lower *l, struct npu_avx2_grad_x g, npu_val x, npu_val gy, npu_val out);

/* What the units of a launch are (struct npu_cut): the items or the eights of as many as argument `arg` says; or the
 * parts of the rows from that argument on: rows, columns, parts, length, or rows, columns, length, parts; or those of
 * the other operand's view, which begins there. */
enum npu_avx2_by { NPU_AVX2_NOT_CUT, NPU_AVX2_ITEMS, NPU_AVX2_EIGHTS, NPU_AVX2_PARTS, NPU_AVX2_BLOCKS, NPU_AVX2_VIEW };
struct npu_avx2_cut {
    enum npu_avx2_by by;
    int arg;
    uint32_t split, written; /* as in struct npu_cut */
};

/* Kernels of kernels/<source>.cl as native functions with the same arguments, f32 only; the last has no source. */
struct npu_avx2_plain {
    const char *source, *entry, *def; /* def: a build option that must be among the launch's, or NULL */
    npu_native_fn *fn;
    struct npu_avx2_cut cut;
};
extern const struct npu_avx2_plain npu_avx2_plain[],
    npu_avx2_train[]; /* of all graphs; of training, where values may be absent */
/* Where a graph has native products (or NPU_MAT_NATIVE=all is in the environment): makes launches of such
 * kernels native ones, so that nothing of the plan needs OpenCL. */
void npu_avx2_take_over(const struct npu_lower *l, struct npu_launch *launch, int n);

/* ---- what the kernels share ---- */
static inline void npu_avx2_fields(const struct npu_native_call *c, int first, int32_t *to, size_t size)
{
    for (size_t i = 0; i < size / sizeof *to; i++)
        to[i] = c->arg[first + (int)i].i;
}

#endif
