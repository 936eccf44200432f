/* qconv2d_lower.c - launches of qmatmul and qconv2d: 16-bit pairs in register tiles on CPUs, integer dot products where
 * the device has them, else one result after the other. */
#include <stdlib.h>

#include "libnpu/op/quant.h"
#include "libnpu/op/util.h"
#include "libnpu/tier/int8_native.h"
#include "libnpu/tier/subgroup.h"

/* Rows and columns of a register tile of kernels/qconv2d.cl (tile.clh with W 8). */
static const struct npu_mat_tile tile = {8, 6, 16, "int8-vec8"};

/* A byte each: what the kernels take apart. */
static int32_t bytes(int a, int b, int c, int d)
{
    const uint8_t v[4] = {(uint8_t)a, (uint8_t)b, (uint8_t)c, (uint8_t)d};
    int32_t word;

    memcpy(&word, v, sizeof word);
    return word;
}

void npu_qconv_finish_args(struct npu_launch *k, const struct npu_node *n)
{
    const struct npu_qconv_attr *a = NPU_ATTR(struct npu_qconv_attr, n);

    npu_launch_val(k, n->in[NPU_QCONV_X]);
    npu_launch_val(k, n->in[NPU_QCONV_BIAS]);
    npu_launch_val(k, n->in[NPU_QCONV_SCALE]);
    npu_launch_val(k, n->in[NPU_QCONV_RANGE]);
    npu_launch_val(k, n->in[NPU_QCONV_RESIDUAL]);
    npu_launch_val(k, n->out[0]);
    npu_launch_i32(k, bytes(a->x_zero, a->y_zero, a->res_zero, a->act));
    npu_launch_i32(k, bytes(a->lo, a->hi, a->shift, 0));
    npu_launch_i32(k, a->res_mul);
}

static void pixel_args(struct npu_launch *k, const struct npu_qconv_dims *d)
{
    npu_launch_i32(k, d->rows);
    npu_launch_i32(k, d->cout);
    npu_launch_i32(k, d->h);
    npu_launch_i32(k, d->w);
    npu_launch_i32(k, d->cin);
    npu_launch_i32(k, d->oh);
    npu_launch_i32(k, d->ow);
    npu_launch_i32(k, d->kh);
    npu_launch_i32(k, d->kw);
}

static void step_args(struct npu_launch *k, const struct npu_qconv_dims *d)
{
    npu_launch_i32(k, d->stride);
    npu_launch_i32(k, d->pad_top);
    npu_launch_i32(k, d->pad_left);
}

/* The weights in the kernel's own order, once if they are frozen; *ret_sum: sum of each column. */
static int pack(const struct npu_node *n, struct npu_lower *l, const struct npu_qconv_dims *d, const char *entry,
                size_t size, int64_t items, int *ret_sum)
{
    const int packed = npu_lower_packed(l, size + 64),
              sum = npu_lower_packed(l, (size_t)npu_mat_round(d->cout, tile.nr) * sizeof(int32_t));
    struct npu_launch *k = op_launch(l, "qconv2d", entry);

    npu_launch_val(k, n->in[NPU_QCONV_W]);
    npu_launch_buf(k, NPU_ARG_PACKED, packed);
    npu_launch_buf(k, NPU_ARG_PACKED, sum);
    npu_launch_i32(k, d->cout);
    npu_launch_i32(k, d->depth);
    op_launch_items(l, k, items);
    if (k) {
        k->on_params = npu_val_is_frozen(npu_lower_graph(l), n->in[NPU_QCONV_W]);
        /* tensors' types of the other kernels of the file */
        npu_launch_def(k, "-DDT1=0 -DDT2=0 -DDT4=0 -DDT5=0");
    }
    *ret_sum = sum;
    return packed;
}

static size_t row_bytes(const struct npu_qconv_dims *d)
{
    return (size_t)npu_mat_round(d->depth, 2) * sizeof(int16_t);
}

static void lower_cpu(const struct npu_node *n, struct npu_lower *l, const struct npu_qconv_dims *d)
{
    const struct npu_mat_blocks b = npu_mat_blocks(npu_lower_traits(l), &tile, d->rows, d->cout, 1);
    const int64_t panels = npu_mat_ceil(d->cout, tile.nr);
    int sum, packed = pack(n, l, d, "qconv_pack", (size_t)(panels * tile.nr) * row_bytes(d), panels, &sum);
    struct npu_launch *k = op_launch(l, "qconv2d", "qconv_cpu");

    npu_launch_def(k, "-DW=8");
    npu_qconv_finish_args(k, n);
    npu_launch_buf(k, NPU_ARG_PACKED, packed);
    npu_launch_buf(k, NPU_ARG_PACKED, sum);
    pixel_args(k, d);
    step_args(k, d);
    npu_launch_i32(k, b.mb);
    npu_launch_i32(k, b.nb);
    npu_mat_local(k, (size_t)tile.mr * row_bytes(d));
    npu_launch_size(k, (size_t)npu_mat_ceil(panels, b.nb), (size_t)npu_mat_ceil(d->rows, b.mb), 0);
    npu_launch_local(k, 1, 1, 1);
    if (k)
        k->tier = tile.name;
}

static void lower_dot(const struct npu_node *n, struct npu_lower *l, const struct npu_qconv_dims *d)
{
    int sum, packed = pack(n, l, d, "qconv_dot_pack", (size_t)(d->depth * d->cout), d->cout, &sum);
    struct npu_launch *k = op_launch(l, "qconv2d", "qconv_dot");
    const char *e = getenv("NPU_INT8_DOT"); /* tests: libnpu/tier/int_dot.h */
    const bool emulate = e && e[0];

    if (emulate)
        npu_launch_def(k, strcmp(e, "broken") == 0 ? "-DDOT_BROKEN" : "-DDOT_EMULATE");
    npu_qconv_finish_args(k, n);
    npu_launch_buf(k, NPU_ARG_PACKED, packed);
    npu_launch_buf(k, NPU_ARG_PACKED, sum);
    pixel_args(k, d);
    step_args(k, d);
    npu_launch_size(k, (size_t)d->cout, (size_t)d->rows, 0);
    if (k)
        k->tier = emulate ? "int8-dot-emulated" : "int8-dot";
}

static void lower_depthwise(const struct npu_node *n, struct npu_lower *l, const struct npu_qconv_dims *d)
{
    struct npu_launch *k = op_launch(l, "qconv2d", "qconv_depthwise");

    npu_qconv_finish_args(k, n);
    npu_launch_val(k, n->in[NPU_QCONV_W]);
    npu_launch_i32(k, d->n * d->oh);
    npu_launch_i32(k, d->cout);
    npu_launch_i32(k, d->h);
    npu_launch_i32(k, d->w);
    npu_launch_i32(k, d->oh);
    npu_launch_i32(k, d->ow);
    npu_launch_i32(k, d->kh);
    npu_launch_i32(k, d->kw);
    step_args(k, d);
    op_launch_items(l, k, d->n * d->oh);
    if (k)
        k->tier = "int8-depthwise";
}

static void lower_any(const struct npu_node *n, struct npu_lower *l, const struct npu_qconv_dims *d)
{
    const int64_t nb = op_is_cpu(l) ? d->cout : 1;
    struct npu_launch *k = op_launch(l, "qconv2d", "qconv_any");

    npu_qconv_finish_args(k, n);
    npu_launch_val(k, n->in[NPU_QCONV_W]);
    pixel_args(k, d);
    npu_launch_i32(k, d->cing);
    npu_launch_i32(k, d->coutg);
    step_args(k, d);
    npu_launch_i32(k, nb);
    npu_launch_size(k, (size_t)npu_mat_ceil(d->cout, nb), (size_t)d->rows, 0);
    if (k)
        k->tier = "int8-portable";
}

int npu_qconv_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_traits *t = npu_lower_traits(l);
    const struct npu_tensor_type x = npu_lower_type(l, n->in[NPU_QCONV_X]), w = npu_lower_type(l, n->in[NPU_QCONV_W]),
                                 y = npu_lower_type(l, n->out[0]);
    const struct npu_qconv_dims d = npu_qconv_dims(NPU_ATTR(struct npu_qconv_attr, n), &x.shape, &w.shape, &y.shape);

    if (d.rows == 0 || d.cout == 0)
        return 0;
    if (npu_subgroup_lower_int8(n, l, &d) == 0 || npu_int8_lower(n, l, &d) == 0)
        return 0;
    if (t->int_dot && d.groups == 1 && d.cin % 4 == 0)
        lower_dot(n, l, &d);
    else if (npu_mat_blocked(t) && d.groups == 1 && (size_t)tile.mr * row_bytes(&d) <= t->local_bytes / 2)
        lower_cpu(n, l, &d);
    else if (d.groups > 1 && d.cing == 1 && d.coutg == 1)
        lower_depthwise(n, l, &d);
    else
        lower_any(n, l, &d);
    return 0;
}
