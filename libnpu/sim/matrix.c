/* matrix.c - matmul and conv2d as products (product.c). */
#include "libnpu/op/conv2d.h"
#include "libnpu/op/matmul.h"
#include "libnpu/op/quant.h"
#include "libnpu/sim/compile.h"

static const struct sim_tensor none = {.dtype = NPU_DTYPES};

static struct sim_tensor optional(const struct sim_node *n, int i)
{
    return n->node->in[i] == NPU_NONE ? none : n->in[i];
}

static enum sim_act act_of(int act)
{
    static const enum sim_act t[] = {[NPU_ACT_NONE] = SIM_ACT_NONE,
                                     [NPU_ACT_RELU] = SIM_ACT_RELU,
                                     [NPU_ACT_RELU6] = SIM_ACT_RELU6,
                                     [NPU_ACT_GELU] = SIM_ACT_GELU,
                                     [NPU_ACT_SIGMOID] = SIM_ACT_SIGMOID};
    return t[act];
}

/* A matrix is a picture of one row: pixels are rows of a, channels its columns. */
int sim_compile_matmul(struct sim_compiler *c, const struct sim_node *n)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n->node);
    const struct npu_matmul_dims d = npu_matmul_dims(at, &n->in[0].shape, &n->in[1].shape);

    return sim_product(c, &(struct sim_product){
                              .batch = d.batch,
                              .oh = 1,
                              .ow = d.m,
                              .n = d.n,
                              .kh = 1,
                              .kw = 1,
                              .cin = d.k,
                              .h = 1,
                              .w = d.m,
                              .stride = 1,
                              .x = n->in[NPU_MATMUL_A],
                              .weight = n->in[NPU_MATMUL_B],
                              .bias = optional(n, NPU_MATMUL_BIAS),
                              .residual = optional(n, NPU_MATMUL_RESIDUAL),
                              .out = n->out[0],
                              .xb = d.m * d.k,
                              .xx = at->trans_a ? 1 : d.k,
                              .xc = at->trans_a ? d.m : 1,
                              .wb = d.shared_b ? 0 : d.k * d.n,
                              .wc = at->trans_b ? 1 : d.n,
                              .wn = at->trans_b ? d.k : 1,
                              .ob = d.m * d.n,
                              .ox = d.n,
                              .scale = at->scale,
                              .act = act_of(at->act),
                          });
}

/* One product a group. */
int sim_compile_conv2d(struct sim_compiler *c, const struct sim_node *n)
{
    const struct npu_conv2d_attr *at = NPU_ATTR(struct npu_conv2d_attr, n->node);
    const struct npu_conv2d_dims d =
        npu_conv2d_dims(at, &n->in[NPU_CONV_X].shape, &n->in[NPU_CONV_W].shape, &n->out[0].shape);
    struct sim_product p = {
        .batch = d.n,
        .oh = d.oh,
        .ow = d.ow,
        .n = d.coutg,
        .kh = d.kh,
        .kw = d.kw,
        .cin = d.cing,
        .h = d.h,
        .w = d.w,
        .stride = d.stride,
        .pad_top = d.pad_top,
        .pad_left = d.pad_left,
        .x = n->in[NPU_CONV_X],
        .weight = n->in[NPU_CONV_W],
        .bias = optional(n, NPU_CONV_BIAS),
        .residual = optional(n, NPU_CONV_RESIDUAL),
        .out = n->out[0],
        .xb = d.h * d.w * d.cin,
        .xy = d.w * d.cin,
        .xx = d.cin,
        .xc = 1,
        .wt = d.cing * d.cout,
        .wc = d.cout,
        .wn = 1,
        .ob = d.oh * d.ow * d.cout,
        .oy = d.ow * d.cout,
        .ox = d.cout,
        .scale = 1.0f,
        .act = act_of(at->act),
        .residual_first = true,
    };
    int r = 0;

    for (int64_t g = 0; r == 0 && g < d.groups; g++) {
        memset(c->used, 0, sizeof c->used);
        r = sim_product(c, &p);
        p.x.at += (uint64_t)d.cing * npu_dtype_size(p.x.dtype);
        p.weight.at += (uint64_t)d.coutg * npu_dtype_size(p.weight.dtype);
        p.out.at += (uint64_t)d.coutg * npu_dtype_size(p.out.dtype);
        p.bias.at += (uint64_t)d.coutg * npu_dtype_size(p.bias.dtype);
        p.residual.at += (uint64_t)d.coutg * npu_dtype_size(p.residual.dtype);
    }
    return r;
}

/* qmatmul and qconv2d: the integer arithmetic of libnpu/op/quant.h. */
int sim_compile_qconv(struct sim_compiler *c, const struct sim_node *n)
{
    const struct npu_qconv_attr *at = NPU_ATTR(struct npu_qconv_attr, n->node);
    const struct npu_qconv_dims d =
        npu_qconv_dims(at, &n->in[NPU_QCONV_X].shape, &n->in[NPU_QCONV_W].shape, &n->out[0].shape);
    struct sim_product p = {
        .batch = d.n,
        .oh = d.oh,
        .ow = d.ow,
        .n = d.coutg,
        .kh = d.kh,
        .kw = d.kw,
        .cin = d.cing,
        .h = d.h,
        .w = d.w,
        .stride = d.stride,
        .pad_top = d.pad_top,
        .pad_left = d.pad_left,
        .x = n->in[NPU_QCONV_X],
        .weight = n->in[NPU_QCONV_W],
        .bias = optional(n, NPU_QCONV_BIAS),
        .scale_row = n->in[NPU_QCONV_SCALE],
        .residual = optional(n, NPU_QCONV_RESIDUAL),
        .out = n->out[0],
        .xb = d.h * d.w * d.cin,
        .xy = d.w * d.cin,
        .xx = d.cin,
        .xc = 1,
        .wt = d.cing * d.cout,
        .wc = d.cout,
        .wn = 1,
        .ob = d.oh * d.ow * d.cout,
        .oy = d.ow * d.cout,
        .ox = d.cout,
        .scale = 1.0f,
        .act = act_of(at->act),
        .int8 = true,
        .out_int8 = at->out_int8,
        .x_zero = at->x_zero,
        .quant = {.shift = at->shift, .zero = at->y_zero, .lo = at->lo, .hi = at->hi, .rzero = at->res_zero},
    };
    int r = 0;

    if (n->node->in[NPU_QCONV_RANGE] != NPU_NONE)
        return sim_refuse(c, "a range that only the run knows: quantise statically");
    if (n->node->in[NPU_QCONV_RESIDUAL] != NPU_NONE)
        p.quant.rmul = at->res_mul;
    for (int64_t g = 0; r == 0 && g < d.groups; g++) {
        memset(c->used, 0, sizeof c->used);
        r = sim_product(c, &p);
        p.x.at += (uint64_t)d.cing;
        p.weight.at += (uint64_t)d.coutg;
        p.out.at += (uint64_t)d.coutg * npu_dtype_size(p.out.dtype);
        p.bias.at += (uint64_t)d.coutg * npu_dtype_size(p.bias.dtype);
        p.scale_row.at += (uint64_t)d.coutg * npu_dtype_size(p.scale_row.dtype);
        p.residual.at += (uint64_t)d.coutg * npu_dtype_size(p.residual.dtype);
    }
    return r;
}
