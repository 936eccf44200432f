/* subgroup_lower.c - launches of the tiers "subgroup-...". */
#include <stdlib.h>

#include "libnpu/op/matmul.h"
#include "libnpu/op/quant.h"
#include "libnpu/op/util.h"
#include "libnpu/tier/subgroup.h"

static void defines(struct npu_launch *k, const struct npu_subgroup_way *w, bool f16)
{
    const char *e = getenv("NPU_SUBGROUP");

    if (!k)
        return;
    npu_launch_def(k, "-DSUBGROUP=%d%s", w->columns, f16 ? " -DSUBGROUP_F16" : "");
    if (e && e[0])
        npu_launch_def(k, strcmp(e, "broken") == 0 ? "-DSUBGROUP_BROKEN" : "-DSUBGROUP_EMULATE");
    k->tier = w->tier;
}

static int packed_launch(struct npu_lower *l, const char *source, const char *entry, npu_val w, size_t bytes,
                         struct npu_launch **ret_launch)
{
    const int packed = npu_lower_packed(l, bytes);
    struct npu_launch *k = op_launch(l, source, entry);

    npu_launch_val(k, w);
    npu_launch_buf(k, NPU_ARG_PACKED, packed);
    if (k)
        k->on_params = npu_val_is_frozen(npu_lower_graph(l), w);
    *ret_launch = k;
    return packed;
}

/* ---- products of floats ---- */
static void values(struct npu_launch *k, const struct npu_node *n)
{
    npu_launch_val(k, n->in[NPU_MATMUL_A]);
    npu_launch_val(k, n->in[NPU_MATMUL_BIAS]);
    npu_launch_val(k, n->in[NPU_MATMUL_RESIDUAL]);
    npu_launch_val(k, n->out[0]);
}

static void lower_intel(const struct npu_node *n, struct npu_lower *l, const struct npu_matmul_dims *d,
                        const struct npu_subgroup_way *w)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);
    const bool f16 = npu_lower_type(l, n->in[NPU_MATMUL_A]).dtype == NPU_F16;
    const int64_t steps = npu_mat_ceil(d->k, 16), npad = npu_mat_round(d->n, w->columns);
    struct npu_launch *k;
    const int packed =
        packed_launch(l, "subgroup_gemm", "subgroup_pack", n->in[NPU_MATMUL_B], (size_t)(steps * npad) * 32, &k);

    npu_launch_i32(k, d->n);
    npu_launch_i32(k, d->k);
    npu_launch_i32(k, at->trans_b ? 1 : d->n);
    npu_launch_i32(k, at->trans_b ? d->k : 1);
    npu_launch_i32(k, npad);
    npu_launch_size(k, (size_t)npad, (size_t)steps, 0);
    defines(k, w, f16);
    k = op_launch(l, "subgroup_gemm", "subgroup_gemm");
    values(k, n);
    npu_launch_buf(k, NPU_ARG_PACKED, packed);
    npu_launch_i32(k, d->m);
    npu_launch_i32(k, d->n);
    npu_launch_i32(k, d->k);
    npu_launch_i32(k, npad);
    npu_launch_i32(k, at->act);
    npu_launch_f32(k, at->scale);
    npu_launch_size(k, (size_t)npad / (size_t)w->columns * (size_t)w->lanes, (size_t)npu_mat_ceil(d->m, 32), 0);
    npu_launch_local(k, (size_t)w->lanes, 1, 1);
    defines(k, w, f16);
}

static void lower_arm(const struct npu_node *n, struct npu_lower *l, const struct npu_matmul_dims *d,
                      const struct npu_subgroup_way *w)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);
    struct npu_launch *k = op_launch(l, "subgroup_gemm", "subgroup_gemm4");

    values(k, n);
    npu_launch_val(k, n->in[NPU_MATMUL_B]);
    npu_launch_i32(k, d->m);
    npu_launch_i32(k, d->n);
    npu_launch_i32(k, d->k);
    npu_launch_i32(k, at->trans_b ? 1 : d->n);
    npu_launch_i32(k, at->trans_b ? d->k : 1);
    npu_launch_i32(k, at->act);
    npu_launch_f32(k, at->scale);
    npu_launch_size(k, (size_t)(npu_mat_ceil(d->n, 16) * w->lanes), (size_t)npu_mat_ceil(d->m, 16), 0);
    npu_launch_local(k, (size_t)w->lanes, 1, 1);
    defines(k, w, false);
}

int npu_subgroup_lower(const struct npu_node *n, struct npu_lower *l, const struct npu_matmul_dims *d)
{
    const struct npu_traits *t = npu_lower_traits(l);
    const enum npu_dtype a = npu_lower_type(l, n->in[NPU_MATMUL_A]).dtype,
                         b = npu_lower_type(l, n->in[NPU_MATMUL_B]).dtype;
    const struct npu_subgroup_way *w;

    for (int i = 0; t->subgroup && (w = npu_subgroup_way(i)); i++) {
        if (!(t->subgroup & w->bit) || !npu_lower_tier(l, w->tier))
            continue;
        if (d->batch != 1 || NPU_ATTR(struct npu_matmul_attr, n)->trans_a || d->k == 0) {
            npu_lower_refuse(l, w->tier, "a batch of products or a transposed first operand");
        } else if (w->columns == 4) {
            lower_arm(n, l, d, w);
            return 0;
        } else if (a != b || (a != NPU_BF16 && a != NPU_F16)) {
            npu_lower_refuse(l, w->tier, "operands are neither both bf16 nor both f16");
        } else {
            lower_intel(n, l, d, w);
            return 0;
        }
    }
    return -EOPNOTSUPP;
}

/* ---- int8 ---- */
static void lower_qconv(const struct npu_node *n, struct npu_lower *l, const struct npu_qconv_dims *d,
                        const struct npu_subgroup_way *w)
{
    const int64_t npad = npu_mat_round(d->cout, w->columns);
    const int64_t sizes[] = {d->rows, d->cout, d->h,      d->w,       d->cin,      d->oh, d->ow,
                             d->kh,   d->kw,   d->stride, d->pad_top, d->pad_left, npad};
    const int sum = npu_lower_packed(l, (size_t)npad * sizeof(int32_t));
    struct npu_launch *k;
    const int packed =
        packed_launch(l, "qconv2d", "qconv_subgroup_pack", n->in[NPU_QCONV_W], (size_t)(d->depth * npad), &k);

    npu_launch_buf(k, NPU_ARG_PACKED, sum);
    npu_launch_i32(k, d->cout);
    npu_launch_i32(k, d->depth);
    npu_launch_i32(k, npad);
    npu_launch_size(k, (size_t)npad, 0, 0);
    npu_launch_def(k, "-DDT1=0 -DDT2=0 -DDT4=0 -DDT5=0"); /* tensors' types of the other kernels of the file */
    if (k)
        k->tier = w->tier;
    k = op_launch(l, "qconv2d", "qconv_subgroup");
    npu_qconv_finish_args(k, n);
    npu_launch_buf(k, NPU_ARG_PACKED, packed);
    npu_launch_buf(k, NPU_ARG_PACKED, sum);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        npu_launch_i32(k, sizes[i]);
    npu_launch_size(k, (size_t)npad / (size_t)w->columns * (size_t)w->lanes, (size_t)npu_mat_ceil(d->rows, 8), 0);
    npu_launch_local(k, (size_t)w->lanes, 1, 1);
    defines(k, w, false);
}

int npu_subgroup_lower_int8(const struct npu_node *n, struct npu_lower *l, const struct npu_qconv_dims *d)
{
    const struct npu_traits *t = npu_lower_traits(l);
    const struct npu_subgroup_way *w;

    for (int i = 0; t->subgroup && (w = npu_subgroup_way(i)); i++) {
        if (!(t->subgroup & w->bit) || w->columns == 4 || !npu_lower_tier(l, w->tier))
            continue;
        if (d->groups != 1 || d->cin % 32 != 0 || d->depth == 0) {
            npu_lower_refuse(l, w->tier, "groups, or channels that are no multiple of 32");
        } else {
            lower_qconv(n, l, d, w);
            return 0;
        }
    }
    return -EOPNOTSUPP;
}
