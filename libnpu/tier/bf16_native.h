/* bf16_native.h - the tiers "amx-bf16" and "avx512-bf16": products and convolutions of bf16 tensors as native launches
 * on x86 CPUs with tile registers or the dot product of bf16 pairs.
 *
 * The blocking is written once (bf16_native_kernels.h) and compiled for each unit and, for tests on every machine, over
 * its emulation in plain C.
 */
#ifndef NPU_TIER_BF16_NATIVE_H
#define NPU_TIER_BF16_NATIVE_H

#include "libnpu/op.h"

/* A gather product: result pixel (y, x) sums kh x kw source pixels of `depth` channels times weights, for each of
 * `groups` groups with cn result channels. Forward convolution as it is; with grad_x the gradient with respect to x, in
 * stride^2 phases (see kernels/conv2d.cl); a matrix product is a 1 x 1 convolution of a picture of one row. The
 * launches take the fields in this order as int32 arguments. */
struct npu_bf16_gather {
    int32_t n, src_h, src_w, src_c, dst_h, dst_w, dst_c;
    int32_t kh, kw, stride, pad_top, pad_left, depth, cn, groups, grad_x;
    int32_t w_d, w_n;   /* matrix product: steps between weights along depth and result channel; 0 = a convolution's */
    int32_t kpad, npad; /* padded terms of a phase and result channels of a group: multiples of 32 */
    int32_t mb, slices, parts; /* result pixels at a time (multiple of 32), shares of npad, parts that have scratch */
    int32_t types;             /* enum npu_dtype of dst | of bias << 8 | of residual << 16 | NPU_BF16_WIDE */
    int32_t act;               /* enum npu_act, + 256: the residual is added after it */
};

enum { NPU_BF16_MOST_ROWS = 96 }; /* of mb */
enum { NPU_BF16_WIDE = 1 << 24 }; /* both factors are f32, to be rounded to bf16 */

/* A weight gradient: dW[tap, c, o] = sum over pixels of x[pixel + tap, c] gy[pixel, o]. */
struct npu_bf16_wgrad {
    int32_t n, h, w, cin, oh, ow, cout, kh, kw, stride, pad_top, pad_left, cing, coutg, groups;
    int32_t n_x, n_y;     /* pixels of x and gy (fewer than n h w where rows are only a way to count) */
    int32_t shares, rows; /* of all rows of gy; rows at a time */
    int32_t parts, types; /* threads that have scratch; enum npu_dtype of the result | NPU_BF16_WIDE */
};

/* Sizes that both the lowering and the kernels need. */
struct npu_bf16_wgrad_sizes {
    int64_t wp;     /* columns of a row in local order: ow and what the taps reach beyond */
    int64_t kl;     /* terms of a step: rows * wp up to a multiple of 32 */
    int64_t pixels; /* of a channel's row of a plane */
    int64_t ld; /* from one such row to the next, and columns of tiles of the other factor: odd numbers of lines, so */
    int64_t tile_ld; /* that they do not fall into few sets of the caches */
    int64_t c16;     /* channels of a group up to a multiple of 16 */
    int64_t m_tiles; /* tiles of (tap, channel) rows, up to an even number */
    int64_t npad;    /* coutg up to a multiple of 32 */
    size_t scratch;  /* bytes a thread */
    size_t part;     /* floats a share */
};
struct npu_bf16_wgrad_sizes npu_bf16_wgrad_sizes(const struct npu_bf16_wgrad *g);
size_t npu_bf16_gather_scratch(const struct npu_bf16_gather *g); /* bytes a thread */
size_t npu_bf16_gather_packed(const struct npu_bf16_gather *g);  /* bytes of packed weights */

/* Arguments: pack: weights, packed, fields. gather: src, packed, bias, residual, dst, scratch, fields, scale.
 * wgrad: x, gy, part, scratch, fields. sum: part, dW, fields. */
struct npu_bf16_kernels {
    const char *tier;
    unsigned need; /* enum npu_cpu_feature bits; 0: emulated */
    int rows;      /* that are computed together */
    npu_native_fn *pack, *gather, *wgrad, *sum;
};
enum { NPU_BF16_TILE = 512 }; /* elements of a packed tile: 16 pairs of terms of 16 columns */
extern const struct npu_bf16_kernels npu_bf16_amx_emulated, npu_bf16_dot_emulated;
/* The hardware's; NULL where this build has none. */
const struct npu_bf16_kernels *npu_bf16_amx_hardware(void);
const struct npu_bf16_kernels *npu_bf16_dot_hardware(void);

/* Odd shapes through all four kernels against plain C: 0, -EIO or -ENOMEM. */
int npu_bf16_self_test(const struct npu_bf16_kernels *k);
/* Kernels by number, best first, among them those that can't run; NULL past the last. */
const struct npu_bf16_kernels *npu_bf16_kernels(int i);
/* May these run on such a device: the processor has the unit (dev/cpu.c) and the kernels passed the self-test, which
 * runs once; or they are emulated and NPU_AMX_EMULATE=1 or NPU_BF16_EMULATE=1 is in the environment (tests). */
bool npu_bf16_usable(const struct npu_bf16_kernels *k, const struct npu_traits *t);

/* May any of them? */
bool npu_bf16_any(const struct npu_traits *t);

/* Adds the launches of a gather product or weight gradient on the best unit that may serve; -EOPNOTSUPP if none does.
 * Operands are bf16, or both f32 if g.types has NPU_BF16_WIDE.
 * Packed weights are kept from run to run if they are frozen. */
int npu_bf16_lower_gather(struct npu_lower *l, struct npu_bf16_gather g, npu_val src, npu_val w, npu_val bias,
                          npu_val residual, npu_val dst, float scale);
int npu_bf16_lower_wgrad(struct npu_lower *l, struct npu_bf16_wgrad g, npu_val x, npu_val gy, npu_val dw);

#endif
