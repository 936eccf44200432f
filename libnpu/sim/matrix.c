/* matrix.c - matmul and conv2d as products (product.c). */
#include "libnpu/op/conv2d.h"
#include "libnpu/op/matmul.h"
#include "libnpu/op/quant.h"
#include "libnpu/op/util.h"
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
                              .scale_row = none,
                              .range = none,
                              .scale = at->scale,
                              .act = act_of(at->act),
                              .exact = n->node->exact,
                          });
}

/* What convolutions of either type have in common; operands are set by the caller. */
static struct sim_product picture_product(const struct npu_conv2d_dims *d)
{
    return (struct sim_product){
        .batch = d->n,
        .oh = d->oh,
        .ow = d->ow,
        .n = d->coutg,
        .kh = d->kh,
        .kw = d->kw,
        .cin = d->cing,
        .h = d->h,
        .w = d->w,
        .stride = d->stride,
        .pad_top = d->pad_top,
        .pad_left = d->pad_left,
        .xb = d->h * d->w * d->cin,
        .xy = d->w * d->cin,
        .xx = d->cin,
        .xc = 1,
        .wt = d->cing * d->cout,
        .wc = d->cout,
        .wn = 1,
        .ob = d->oh * d->ow * d->cout,
        .oy = d->ow * d->cout,
        .ox = d->cout,
        .scale_row = none,
        .range = none,
        .scale = 1.0f,
    };
}

static void advance(struct sim_tensor *t, int64_t elements)
{
    if (t->dtype != NPU_DTYPES)
        t->at += (uint64_t)elements * npu_dtype_size(t->dtype);
}

/* One product a group. */
static int groups(struct sim_compiler *c, struct sim_product *p, const struct npu_conv2d_dims *d)
{
    int r = 0;

    for (int64_t g = 0; r == 0 && g < d->groups; g++) {
        memset(c->used, 0, sizeof c->used);
        r = sim_product(c, p);
        advance(&p->x, d->cing);
        advance(&p->weight, d->coutg);
        advance(&p->out, d->coutg);
        advance(&p->bias, d->coutg);
        advance(&p->residual, d->coutg);
        advance(&p->scale_row, d->coutg);
    }
    return r;
}

int sim_compile_conv2d(struct sim_compiler *c, const struct sim_node *n)
{
    const struct npu_conv2d_attr *at = NPU_ATTR(struct npu_conv2d_attr, n->node);
    const struct npu_conv2d_dims d =
        npu_conv2d_dims(at, &n->in[NPU_CONV_X].shape, &n->in[NPU_CONV_W].shape, &n->out[0].shape);
    struct sim_product p = picture_product(&d);

    p.x = n->in[NPU_CONV_X];
    p.weight = n->in[NPU_CONV_W];
    p.bias = optional(n, NPU_CONV_BIAS);
    p.residual = optional(n, NPU_CONV_RESIDUAL);
    p.out = n->out[0];
    p.act = act_of(at->act);
    p.residual_first = true;
    p.exact = n->node->exact;
    return groups(c, &p, &d);
}

/* A product of int8 matrices is a convolution too. */
static struct npu_conv2d_dims qconv_dims(const struct npu_qconv_attr *at, const struct sim_node *n)
{
    struct npu_shape x = n->in[NPU_QCONV_X].shape, w = n->in[NPU_QCONV_W].shape, y = n->out[0].shape;

    if (w.rank == 2) {
        const int64_t rows = op_rows(&x);

        x = (struct npu_shape){4, {1, 1, rows, w.dim[0]}};
        y = (struct npu_shape){4, {1, 1, rows, w.dim[1]}};
        w = (struct npu_shape){4, {1, 1, w.dim[0], w.dim[1]}};
    }
    return npu_conv2d_dims(
        &(struct npu_conv2d_attr){
            .stride = at->stride, .pad_top = at->pad_top, .pad_left = at->pad_left, .groups = at->groups},
        &x, &w, &y);
}

/* qmatmul and qconv2d: the integer arithmetic of libnpu/op/quant.h. */
int sim_compile_qconv(struct sim_compiler *c, const struct sim_node *n)
{
    const struct npu_qconv_attr *at = NPU_ATTR(struct npu_qconv_attr, n->node);
    const struct npu_conv2d_dims d = qconv_dims(at, n);
    struct sim_product p = picture_product(&d);

    p.x = n->in[NPU_QCONV_X];
    p.weight = n->in[NPU_QCONV_W];
    p.bias = optional(n, NPU_QCONV_BIAS);
    p.scale_row = n->in[NPU_QCONV_SCALE];
    p.range = optional(n, NPU_QCONV_RANGE);
    p.residual = optional(n, NPU_QCONV_RESIDUAL);
    p.out = n->out[0];
    p.act = act_of(at->act);
    p.int8 = true;
    p.out_int8 = at->out_int8;
    // NOLINTNEXTLINE(bugprone-signed-char-misuse): a number, not a character
    p.x_zero = at->x_zero;
    p.quant = (struct sim_qscale){.shift = at->shift, .zero = at->y_zero, .lo = at->lo, .hi = at->hi};
    // NOLINTNEXTLINE(bugprone-signed-char-misuse): a number, not a character
    p.quant.rzero = at->res_zero;
    p.quant.rmul = p.residual.dtype == NPU_DTYPES ? 0 : at->res_mul;
    return groups(c, &p, &d);
}
