/* reduce.c - sum or mean over any axes; one node sums one run of neighbouring axes, more runs are chained in f32. */
#include "libnpu/op/attr.h"
#include "libnpu/op/exact.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

/* x as [a, r, b] */
struct reduce_view {
    int64_t a, r, b;
    float mul;
};

static struct reduce_view reduce_view(const struct npu_shape *s, const struct reduce_attr *t)
{
    struct reduce_view v = {op_span(s, 0, t->from), op_span(s, t->from, t->to), op_span(s, t->to, s->rank), 1};

    if (t->mean && v.r > 1)
        v.mul = 1.0f / (float)v.r;
    return v;
}

npu_val npu_reduce_as(npu_graph *g, npu_val x, enum npu_reduce_kind k, unsigned axes, enum npu_dtype t)
{
    const struct npu_shape *s = npu_val_shape(g, x);
    int rank;

    if (x < 0)
        return x;
    if (!s)
        return npu_graph_fail(g, -EINVAL, "reduce: no such value");
    rank = s->rank;
    if (axes >> rank)
        return npu_graph_fail(g, -EINVAL, "reduce: axes 0x%x of a tensor of rank %d", axes, rank);
    if (!axes)
        axes = (1u << rank) - 1;
    if (!rank)
        return npu_cast(g, x, t);
    for (int to = rank; to > 0 && axes; to--) {
        struct reduce_attr a = {.mean = k == NPU_REDUCE_MEAN, .to = to};

        if (!(axes >> (to - 1) & 1))
            continue;
        for (a.from = to; a.from > 0 && axes >> (a.from - 1) & 1; a.from--)
            axes &= ~(1u << (a.from - 1));
        a.dtype = axes ? NPU_F32 : (int)t;
        to = a.from + 1;
        x = npu_node_add(g, &npu_op_reduce, &x, 1, &a, sizeof(a));
        if (x < 0)
            return x;
    }
    return x;
}

npu_val npu_reduce(npu_graph *g, npu_val x, enum npu_reduce_kind k, unsigned axes)
{
    return npu_reduce_as(g, x, k, axes, npu_val_dtype(g, x));
}

npu_val npu_reduce_like(npu_graph *g, npu_val x, npu_val like)
{
    const struct npu_shape *sx = npu_val_shape(g, x), *sl = npu_val_shape(g, like);
    enum npu_dtype t = npu_val_dtype(g, like);
    struct npu_shape to;
    unsigned axes = 0;
    int lead;

    if (x < 0 || like < 0)
        return x < 0 ? x : like;
    to = *sl;
    lead = sx->rank - to.rank;
    for (int i = 0; i < sx->rank; i++)
        if (i < lead || (to.dim[i - lead] == 1 && sx->dim[i] != 1))
            axes |= 1u << i;
    if (axes)
        x = npu_reduce_as(g, x, NPU_REDUCE_SUM, axes, t);
    else if (npu_val_dtype(g, x) != t)
        x = npu_cast(g, x, t);
    if (x >= 0 && !op_same_shape(npu_val_shape(g, x), &to))
        x = npu_reshape(g, x, to.rank, to.dim);
    return x;
}

static int reduce_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                        size_t size)
{
    const struct reduce_attr *a = NPU_ATTR(struct reduce_attr, n);
    const struct npu_shape *s = &in[0].shape;

    if (n->n_in != 1)
        return op_why(why, size, "needs 1 input, got %d", n->n_in);
    if (a->from < 0 || a->from >= a->to || a->to > s->rank)
        return op_why(why, size, "axes %d..%d of %s", a->from, a->to - 1, op_shape_text(s));
    if (!op_is_float((enum npu_dtype)a->dtype))
        return op_why(why, size, "the result must be a float type");
    n->n_out = 1;
    out[0] = (struct npu_tensor_type){.dtype = (enum npu_dtype)a->dtype, .shape.rank = s->rank - (a->to - a->from)};
    for (int i = 0, k = 0; i < s->rank; i++)
        if (i < a->from || i >= a->to)
            out[0].shape.dim[k++] = s->dim[i];
    return op_need_float(in, 0, why, size);
}

static int reduce_ref(const struct npu_ref_call *c)
{
    struct reduce_view v = reduce_view(&c->in[0].shape, NPU_ATTR(struct reduce_attr, c->node));
    double sum[OP_ROW];
    float buf[OP_ROW];

    for (int64_t a = 0; v.b == 1 && a < v.a; a++) { /* rows */
        double t = 0;

        for (int64_t i = 0; i < v.r; i += OP_ROW) {
            int64_t m = v.r - i < OP_ROW ? v.r - i : OP_ROW;
            const float *x = op_get(&c->in[0], a * v.r + i, m, buf);

            for (int64_t k = 0; k < m; k++)
                t += x[k];
        }
        npu_store(&c->out[0], a, (float)(t * v.mul));
    }
    for (int64_t a = 0; v.b > 1 && a < v.a; a++)
        for (int64_t b = 0; b < v.b; b += OP_ROW) {
            int64_t m = v.b - b < OP_ROW ? v.b - b : OP_ROW;

            memset(sum, 0, sizeof(sum));
            for (int64_t i = 0; i < v.r; i++) {
                const float *x = op_get(&c->in[0], (a * v.r + i) * v.b + b, m, buf);

                for (int64_t k = 0; k < m; k++)
                    sum[k] += x[k];
            }
            for (int64_t k = 0; k < m; k++)
                buf[k] = (float)(sum[k] * v.mul);
            op_put(&c->out[0], a * v.b + b, m, buf);
        }
    return 0;
}

static int reduce_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    const struct reduce_attr *a = NPU_ATTR(struct reduce_attr, n);
    struct npu_shape full = *npu_val_shape(g, n->in[0]), ones = full;
    struct reduce_view v = reduce_view(&full, a);
    npu_val t;

    for (int i = a->from; i < a->to; i++)
        ones.dim[i] = 1;
    t = npu_reshape(g, gout[0], ones.rank, ones.dim);
    if (t >= 0 && npu_val_dtype(g, t) != npu_val_dtype(g, n->in[0]))
        t = npu_cast(g, t, npu_val_dtype(g, n->in[0]));
    gin[0] = npu_expand_mul(g, t, &full, v.mul);
    return gin[0] < 0 ? gin[0] : 0;
}

/* Two passes if the run is long: [a, parts, b] partial sums in f32, then their sum. */
static int reduce_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_tensor_type x = npu_lower_type(l, n->in[0]);
    struct reduce_view v = reduce_view(&x.shape, NPU_ATTR(struct reduce_attr, n));
    bool rows = v.b == 1;
    int64_t len = rows ? 4096 : 32, parts, block;
    struct npu_launch *k;
    int buf;

    if (!v.a || !v.b)
        return 0;
    if (v.r > len * 64)
        len = op_ceil_div(op_ceil_div(v.r, 64), 32) * 32;
    /* short, or enough independent sums without splitting: one pass */
    parts = v.r <= len || v.a >= 64 ? 1 : op_ceil_div(v.r, len);
    if (parts == 1) {
        k = op_launch(l, "reduce", rows ? "reduce_rows" : "reduce_cols");
        npu_launch_val(k, n->in[0]);
        npu_launch_val(k, n->out[0]);
        len = v.r;
    } else {
        buf = npu_lower_scratch(l, (size_t)(v.a * parts * v.b) * sizeof(float));
        if (buf < 0)
            return buf;
        k = op_launch(l, "reduce", rows ? "reduce_rows_part" : "reduce_cols_part");
        npu_launch_val(k, n->in[0]);
        npu_launch_buf(k, NPU_ARG_SCRATCH, buf);
    }
    npu_launch_f32(k, parts == 1 ? v.mul : 1);
    npu_launch_i32(k, v.a);
    npu_launch_i32(k, v.r);
    npu_launch_i32(k, v.b);
    npu_launch_i32(k, parts);
    npu_launch_i32(k, len);
    if (rows) {
        block = op_is_cpu(l) && len < 8192 ? op_ceil_div(v.a * parts, op_ceil_div(v.a * parts * (len + 8), 8192)) : 1;
        npu_launch_i32(k, block);
        op_launch_items(l, k, op_ceil_div(v.a * parts, block));
    } else {
        op_launch_cols(l, k, v.a * parts, v.b, len);
    }
    if (parts == 1)
        return 0;
    k = op_launch(l, "reduce", "reduce_final");
    npu_launch_buf(k, NPU_ARG_SCRATCH, buf);
    npu_launch_val(k, n->out[0]);
    npu_launch_f32(k, v.mul);
    npu_launch_i32(k, v.a);
    npu_launch_i32(k, parts);
    npu_launch_i32(k, v.b);
    op_launch_tiles(l, k, v.a, v.b);
    return 0;
}

static npu_val reduce_case(npu_graph *g, int index)
{
    switch (index) {
    case 0:
        return npu_reduce(g, op_test_in(g, "a", NPU_F32, OP_DIMS(3, 5, 7)), NPU_REDUCE_SUM, 0);
    case 1:
        return npu_reduce(g, op_test_in(g, "a", NPU_F32, OP_DIMS(4, 19, 13)), NPU_REDUCE_MEAN, 2);
    case 2: /* a bias gradient */
        return npu_reduce(g, op_test_in(g, "a", NPU_F32, OP_DIMS(16, 96, 20)), NPU_REDUCE_SUM, 3);
    case 3:
        return npu_reduce_as(g, op_test_in(g, "a", NPU_BF16, OP_DIMS(400, 9)), NPU_REDUCE_MEAN, 1, NPU_F32);
    case 4: /* two runs of axes */
        return npu_reduce(g, op_test_in(g, "a", NPU_F32, OP_DIMS(3, 4, 5, 6)), NPU_REDUCE_SUM, 1 | 4);
    case 5: /* one long sum */
        return npu_reduce(g, op_test_in(g, "a", NPU_F32, OP_DIMS(3, 20011)), NPU_REDUCE_MEAN, 2);
    case 6: /* nothing to sum gives zeros */
        return npu_reduce(g, op_test_in(g, "a", NPU_F32, OP_DIMS(3, 0, 5)), NPU_REDUCE_SUM, 2);
    case 7:
        return npu_reduce(g, op_test_in(g, "a", NPU_F32, OP_DIMS(0, 4)), NPU_REDUCE_SUM, 2);
    case 8:
        return npu_reduce(g, op_test_in(g, "a", NPU_F32, OP_DIMS(1)), NPU_REDUCE_MEAN, 0);
    case 9:
        return npu_reduce(g, op_test_in(g, "a", NPU_F16, OP_DIMS(7, 33)), NPU_REDUCE_MEAN, 2);
    case 10:
        return npu_reduce(g, op_test_in(g, "a", NPU_F32, OP_DIMS(2, 5000, 33)), NPU_REDUCE_SUM, 2);
    default:
        return NPU_NONE;
    }
}

static npu_val reduce_perf(npu_graph *g, int index)
{
    static const struct {
        int64_t dim[3];
        unsigned axes;
    } t[] = {{{16, 4096, 32}, 3}, {{16, 96, 192}, 3},  {{16, 197, 768}, 3},
             {{16, 197, 192}, 4}, {{16, 197, 192}, 2}, {{16, 4096, 32}, 7}};

    if (index >= (int)(sizeof(t) / sizeof(t[0])))
        return NPU_NONE;
    return npu_reduce(g, op_test_in(g, "a", NPU_F32, 3, t[index].dim), NPU_REDUCE_SUM, t[index].axes);
}

const struct npu_op npu_op_reduce = {
    .name = "reduce",
    .shape = reduce_shape,
    .ref = reduce_ref,
    .grad = reduce_backward,
    .lower = reduce_lower,
    .test_case = reduce_case,
    .perf_case = reduce_perf,
    .tol_rel = 1e-5f,
    .tol_abs = 1e-4f,
    .exact_ref = npu_exact_reduce_ref,
    .exact_lower = npu_exact_reduce_lower,
};
