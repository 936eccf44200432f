/* quant.h - int8 and bf16 inference: operations on int8 tensors, and the rewriting of a finished f32 graph.
 *
 * An int8 tensor q stands for (q - zero) * scale. Activations are affine with one scale and zero point a tensor,
 * weights symmetric with one scale an output channel. Sums are kept in 32 bits. Every result is the same, bit by bit,
 * on every device; docs/LIBNPU.md, "int8", has the arithmetic.
 */
#ifndef NPU_QUANT_H
#define NPU_QUANT_H

#include "libnpu/npu.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NPU_QUANT_MAX_DEPTH  65536 /* terms of a sum */
#define NPU_QUANT_MAX_LAYERS 1024
#define NPU_QUANT_PAIR       128 /* most that neighbours of narrow weights add up to: 255 times it fits 16 bits */

/* ---- operations; none has a backward ---- */
/* x (float type) -> i8: saturate(round_half_even(x * (1 / scale)) + zero). scale: 1e-30 .. 1e30; zero: -128 .. 127. */
npu_val npu_quantise_int8(npu_graph *g, npu_val x, float scale, int zero);
/* The same with scale and zero point from x's own smallest and largest element. ret_range: f32 [3], scale, its
 * reciprocal, zero point: what npu_qmatmul and npu_qconv2d take as `range`. */
npu_val npu_quantise_dynamic(npu_graph *g, npu_val x, npu_val *ret_range);
/* q (i8) -> t (a float type): (q - zero) * scale */
npu_val npu_dequantise_int8(npu_graph *g, npu_val q, float scale, int zero, enum npu_dtype t);

struct npu_qlayer_opts {
    int stride, pad_top, pad_left, pad_bottom, pad_right, groups; /* convolutions, as in npu_conv2d_opts */
    npu_val bias;       /* i32 [N], in units of the sum; with `range`: f32 [N]. May be absent */
    npu_val range;      /* f32 [3] of npu_quantise_dynamic: x_zero is then not used, and the result is f32 */
    npu_val residual;   /* shape of the result: i8 where the result is i8, else a float type. May be absent */
    int x_zero;         /* zero point of x */
    bool out_int8;      /* result i8; scale is then i32 [N]: multipliers */
    int shift;          /* i8 result: 1 .. 62 */
    int y_zero, lo, hi; /* i8 result: zero point and limits (an activation is a limit) */
    int res_zero;
    int32_t res_mul;
    enum npu_act act; /* f32 result: none, relu, relu6 */
};
/* x i8 [..., K], w i8 [K, N], scale [N] -> [..., N].
 *   sum[n] = bias[n] + SUM (x - x_zero) w, in 32 bits that wrap
 *   i8 result:  saturate(lo, hi)(((sum scale[n] + (residual - res_zero) res_mul + 2^(shift-1)) >> shift) + y_zero)
 *   f32 result: act(fma(sum, scale[n], 0) + residual); with range: act(fma(sum, range.scale scale[n], bias[n]) +
 *               residual), sum without bias. */
npu_val npu_qmatmul(npu_graph *g, npu_val x, npu_val w, npu_val scale, const struct npu_qlayer_opts *o);
/* x i8 [n, h, w, cin], w i8 [kh, kw, cin / groups, cout]; outside the picture x is x_zero. */
npu_val npu_qconv2d(npu_graph *g, npu_val x, npu_val w, npu_val scale, const struct npu_qlayer_opts *o);

/* ---- a finished graph made int8 or bf16 ---- */
enum npu_quant_mode { NPU_QUANT_STATIC, NPU_QUANT_DYNAMIC, NPU_QUANT_BF16 };

/* One matmul or conv2d whose weights are the parameter `weight`. */
struct npu_quant_layer {
    char weight[NPU_MAX_NAME];
    float x_scale, y_scale, res_scale; /* y_scale 0: result f32; res_scale 0: no residual, or f32 */
    int x_zero, y_zero, res_zero;
    int shift;
    int32_t res_mul;
};
struct npu_quant_recipe {
    enum npu_quant_mode mode;
    int n_layers;
    struct npu_quant_layer layer[]; /* none for bf16 */
};

/* Rewrites an inference graph before a plan is made of it. The layers of the recipe become npu_qmatmul or npu_qconv2d;
 * quantise and dequantise nodes are put where types change. A layer's weights become i8 states of the same name, its
 * bias i32 (dynamic: f32), and "<name>.scale" is new: i32 multipliers or f32, as
 * npu_qmatmul takes them; <name> is the weight's name without its ending ".weight". BF16: parameters of rank 2 or more
 * and all values between the inputs and outputs become bf16. Handles of inputs and outputs stay good and outputs keep
 * their type. -EINVAL or -EOPNOTSUPP: the reason is in npu_graph_error; the graph can then not be used. */
int npu_graph_quantise(npu_graph *g, const struct npu_quant_recipe *r);

/* ---- from an f32 network to its int8 or bf16 one ---- */
struct npu_quant_settings {
    enum npu_quant_mode mode;
    bool per_tensor;         /* one weight scale a layer instead of one a channel */
    bool wide;               /* weights up to 127 beside any neighbour: a little more exact, slower on AVX2 */
    int64_t min_macs;        /* layers of fewer multiply-adds a run stay f32 */
    const char *const *keep; /* layers (<name> of <name>.weight) that stay f32, ended by NULL; may be NULL */
};
struct npu_quant_range {
    float lo, hi; /* hi < lo: not known */
};
/* Which layers become int8, and the scales of what lies between them. All matmul and conv2d with weights of their own
 * do, but those that read an input of the graph, those whose result is an output of it (products of 2^18 multiply-adds
 * and more do nevertheless), and small ones. A result is stored as int8 if one of the layers reads it, also through
 * nodes that only move or choose elements. range[v] of value v is needed for what is stored as int8 in static mode
 * (-ENODATA names the layer in npu_graph_error). Multipliers and shifts are not set yet. ret is malloc'ed. */
int npu_quant_choose(npu_graph *g, const struct npu_quant_settings *s, const struct npu_quant_range *range,
                     struct npu_quant_recipe **ret_recipe);
/* Quantises the weights that `f32`, a plan of the f32 graph, holds, sets the recipe's multipliers and shifts, and
 * writes a weight file for npu_graph_quantise_as and npu_plan_load. metadata: key, value, ..., NULL; may be NULL. */
int npu_quant_save(npu_plan *f32, const struct npu_quant_settings *s, struct npu_quant_recipe *recipe, const char *path,
                   const char *const *metadata);

/* ---- calibration ---- */
struct npu_calib;
enum npu_calib_method {
    NPU_CALIB_MINMAX,     /* smallest and largest seen */
    NPU_CALIB_PERCENTILE, /* all but one in 10,000 at each end */
    NPU_CALIB_MSE,        /* the share of the smallest and largest that makes the smallest mean square error */
};
/* Watches what matmul and conv2d read and make in a plan with keep_values. -EINVAL without. */
int npu_calib_new(npu_plan *p, struct npu_calib **ret_calib);
struct npu_calib *npu_calib_free(struct npu_calib *c); /* accepts and returns NULL */
int npu_calib_add(struct npu_calib *c);                /* after each run */
/* ret_range: one for each value handle and one more for 0: npu_graph_n_values + 1. */
void npu_calib_ranges(struct npu_calib *c, enum npu_calib_method method, struct npu_quant_range *ret_range);
int npu_graph_n_values(const npu_graph *g);

struct npu_quant_error {
    double signal, noise; /* sums of squares of the f32 value and of the difference */
};
/* After both plans ran on the same inputs: adds to the error of each layer of the recipe (the layer's result with its
 * activation and residual), and of each output. Both plans with keep_values, of graphs built alike. */
int npu_quant_compare(npu_plan *f32, npu_plan *quantised, const struct npu_quant_recipe *recipe,
                      struct npu_quant_error *layer_error);
int npu_quant_compare_outputs(npu_plan *f32, npu_plan *quantised, struct npu_quant_error *output_error);
const char *npu_graph_output_name(const npu_graph *g, int index); /* NULL past the last one */

/* The recipe as text, one line a layer, and back. ret is malloc'ed. -EBADMSG: not a recipe. */
int npu_quant_print(const struct npu_quant_recipe *r, char **ret_text);
int npu_quant_parse(const char *text, struct npu_quant_recipe **ret_recipe);
/* Metadata key of a safetensors file that holds it. */
#define NPU_QUANT_KEY "npu.quantised"
/* Rewrites g as the weight file says; 0 and no change if it says nothing. why gets the reason of a failure. */
int npu_graph_quantise_as(npu_graph *g, const char *path, char *why, size_t why_size);

#ifdef __cplusplus
}
#endif
#endif
