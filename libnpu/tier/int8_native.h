/* int8_native.h - the tiers "amx-int8", "vnni512", "vnni256" and "avx2-int8": qmatmul and qconv2d as native launches on
 * x86 CPUs with tile registers, four-term or two-term integer dot products.
 *
 * The blocking is written once (int8_native_kernels.h) and compiled for each unit and, for tests on every machine, over
 * its emulation in plain C. All give what the C reference gives, bit by bit (docs/LIBNPU.md, "int8").
 */
#ifndef NPU_TIER_INT8_NATIVE_H
#define NPU_TIER_INT8_NATIVE_H

#include "libnpu/op/quant.h"

/* Products are convolutions of a picture of one row. The launches take the fields in this order as int32 arguments and
 * the rest from the node's attributes. */
struct npu_int8_conv {
    int32_t n, h, w, cin, oh, ow, cout, kh, kw;
    int32_t kpad, npad;        /* terms and result channels, padded as the unit wants */
    int32_t mb, slices, parts; /* result rows at a time, shares of npad, parts that have scratch */
    int32_t res_type;          /* enum npu_dtype */
};

/* Arguments: pack: weights, packed, column sums, fields. conv: x, packed, column sums, bias, scale, range, residual, y,
 * scratch, fields. */
struct npu_int8_kernels {
    const char *tier;
    unsigned need;  /* enum npu_cpu_feature bits; 0: emulated */
    int rows;       /* of a block */
    int k_step;     /* kpad is a multiple of it */
    int n_step;     /* npad likewise */
    int term_bytes; /* of rows in scratch memory */
    npu_native_fn *pack, *conv;
    /* Of convolutions with one channel a group: 3 x 3 taps and so many channels at least go by columns; others go by
     * pixels, if these kernels do that. */
    int columns;
    bool pixels;
    /* These may be NULL. One channel a group, up to NPU_INT8_TAPS taps; 3 x 3 taps, stride 1, by Winograd's tiles. */
    npu_native_fn *depthwise_pack, *depthwise, *winograd_pack, *winograd;
};
enum { NPU_INT8_MOST_ROWS = 102, NPU_INT8_TAPS = 49, NPU_INT8_COLUMN_TERMS = 12, NPU_INT8_WINOGRAD_CIN = 1792 };
/* Ways to compute a convolution. */
enum npu_int8_way { NPU_INT8_PLAIN, NPU_INT8_DEPTHWISE, NPU_INT8_WINOGRAD };
extern const struct npu_int8_kernels npu_int8_amx_emulated, npu_vnni512_emulated, npu_vnni256_emulated,
    npu_int8_avx2_emulated;
/* The hardware's; NULL where this build has none. */
const struct npu_int8_kernels *npu_int8_amx_hardware(void);
const struct npu_int8_kernels *npu_vnni512_hardware(void);
const struct npu_int8_kernels *npu_vnni256_hardware(void);
const struct npu_int8_kernels *npu_int8_avx2_hardware(void);

/* Can these kernels go by Winograd's tiles, and are the tiles worth it? */
bool npu_int8_suits_winograd(const struct npu_int8_kernels *k, const struct npu_qconv_dims *d);
/* Can these kernels do a convolution with one channel a group? */
bool npu_int8_suits_depthwise(const struct npu_int8_kernels *k, const struct npu_qconv_dims *d);
/* Does it take its 3 x 3 taps by columns (int8_columns.h)? */
static inline bool npu_int8_goes_by_columns(const struct npu_int8_conv *g)
{
    return g->kh == 3 && g->kw == 3 && g->kpad == NPU_INT8_COLUMN_TERMS;
}
size_t npu_int8_packed_bytes(const struct npu_int8_conv *g, enum npu_int8_way way);
/* Scratch memory of a part. */
size_t npu_int8_scratch_bytes(const struct npu_int8_conv *g, const struct npu_int8_kernels *k, enum npu_int8_way way);
size_t npu_int8_depthwise_scratch(const struct npu_int8_conv *g);
size_t npu_int8_winograd_scratch(const struct npu_int8_conv *g);
/* 16-bit terms from one point of Winograd's tiles to the next: not a multiple of a cache's ways. */
static inline int64_t npu_int8_winograd_step(const struct npu_int8_conv *g)
{
    return (int64_t)g->mb * g->cin + 32;
}
/* What the fields are for a node of these sizes on so many threads. */
struct npu_int8_conv npu_int8_fields(const struct npu_int8_kernels *k, const struct npu_qconv_dims *d,
                                     enum npu_dtype res_type, int threads, enum npu_int8_way way);

/* Kernels by number, best first, among them those that can't run; NULL past the last. */
const struct npu_int8_kernels *npu_int8_kernels(int i);
/* May these run on such a device: the processor has the unit and the kernels passed the self-test, which runs once; or
 * they are emulated and NPU_AMX_EMULATE=1 or NPU_VNNI_EMULATE=1 is in the environment. why (or NULL) says why not. */
bool npu_int8_usable(const struct npu_int8_kernels *k, const struct npu_traits *t, char *why, size_t why_size);
/* Odd shapes against the C reference: 0, -EIO with the count of results that differ in why, or -ENOMEM. */
int npu_int8_self_test(const struct npu_int8_kernels *k, char *why, size_t why_size);

/* Adds the launches of a qmatmul or qconv2d; -EOPNOTSUPP if none of the tiers serves it. */
int npu_int8_lower(const struct npu_node *n, struct npu_lower *l, const struct npu_qconv_dims *d);

#endif
