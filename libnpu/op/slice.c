/* slice.c - part of one axis; pad, its gradient: zeros around on one axis; concat. All copy [outer, inner] blocks. */
#include "libnpu/op/attr.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

npu_val npu_slice(npu_graph *g, npu_val x, int axis, int64_t start, int64_t size)
{
    struct slice_attr a = {axis, start, size};

    return npu_node_add(g, &npu_op_slice, &x, 1, &a, sizeof(a));
}

npu_val npu_pad_axis(npu_graph *g, npu_val x, int axis, int64_t before, int64_t total)
{
    struct slice_attr a = {axis, before, total};

    return npu_node_add(g, &npu_op_pad, &x, 1, &a, sizeof(a));
}

npu_val npu_concat(npu_graph *g, const npu_val *x, int n, int axis)
{
    if (n < 1 || n > 8)
        return npu_graph_fail(g, -EINVAL, "concat: %d inputs, can take 1 to 8", n);
    return npu_node_add(g, &npu_op_concat, x, n, &(struct slice_attr){.axis = axis}, sizeof(struct slice_attr));
}

/* Copies rows of n elements. */
static void copy_rows(const struct npu_tensor *src, int64_t at, int64_t stride, const struct npu_tensor *dst,
                      int64_t to, int64_t dst_stride, int64_t rows, int64_t n)
{
    size_t size = npu_dtype_size(src->dtype);

    for (int64_t r = 0; n && r < rows; r++)
        memcpy((char *)dst->data + (size_t)(r * dst_stride + to) * size,
               (const char *)src->data + (size_t)(r * stride + at) * size, (size_t)n * size);
}

static int copy_launch(struct npu_lower *l, npu_val src, int64_t at, int64_t stride, npu_val dst, int64_t to,
                       int64_t dst_stride, int64_t rows, int64_t n)
{
    struct npu_launch *k;

    if (!rows || !n)
        return 0;
    k = op_launch(l, "copy", "copy_rows");
    npu_launch_val(k, src);
    npu_launch_val(k, dst);
    npu_launch_i32(k, at);
    npu_launch_i32(k, stride);
    npu_launch_i32(k, to);
    npu_launch_i32(k, dst_stride);
    npu_launch_i32(k, rows);
    npu_launch_i32(k, n);
    op_launch_tiles(l, k, rows, n);
    return 0;
}

/* Of slice and pad: one input, whose axis gets another size. */
static int axis_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                      size_t size)
{
    const struct slice_attr *a = NPU_ATTR(struct slice_attr, n);

    if (n->n_in != 1)
        return op_why(why, size, "needs 1 input, got %d", n->n_in);
    if (a->axis < 0 || a->axis >= in[0].shape.rank)
        return op_why(why, size, "axis %d of %s", a->axis, op_shape_text(&in[0].shape));
    n->n_out = 1;
    out[0] = in[0];
    out[0].shape.dim[a->axis] = a->size;
    return 0;
}

/* ---- slice ---- */

static int slice_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                       size_t size)
{
    const struct slice_attr *a = NPU_ATTR(struct slice_attr, n);
    const struct npu_shape *s = &in[0].shape;

    if (axis_shape(n, in, out, why, size))
        return -EINVAL;
    if (a->start < 0 || a->size < 0 || a->size > s->dim[a->axis] || a->start > s->dim[a->axis] - a->size)
        return op_why(why, size, "%lld from %lld does not lie in axis %d of %s", (long long)a->size,
                      (long long)a->start, a->axis, op_shape_text(s));
    return 0;
}

static int slice_ref(const struct npu_ref_call *c)
{
    const struct slice_attr *a = NPU_ATTR(struct slice_attr, c->node);
    const struct npu_shape *s = &c->in[0].shape;
    int64_t inner = op_span(s, a->axis + 1, s->rank);

    copy_rows(&c->in[0], a->start * inner, s->dim[a->axis] * inner, &c->out[0], 0, a->size * inner,
              op_span(s, 0, a->axis), a->size * inner);
    return 0;
}

static int slice_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct slice_attr *a = NPU_ATTR(struct slice_attr, n);
    struct npu_shape s = npu_lower_type(l, n->in[0]).shape;
    int64_t inner = op_span(&s, a->axis + 1, s.rank);

    return copy_launch(l, n->in[0], a->start * inner, s.dim[a->axis] * inner, n->out[0], 0, a->size * inner,
                       op_span(&s, 0, a->axis), a->size * inner);
}

static int slice_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    const struct slice_attr *a = NPU_ATTR(struct slice_attr, n);

    gin[0] = npu_pad_axis(g, gout[0], a->axis, a->start, npu_val_shape(g, n->in[0])->dim[a->axis]);
    return gin[0] < 0 ? gin[0] : 0;
}

static npu_val slice_case(npu_graph *g, int index)
{
    switch (index) {
    case 0:
        return npu_slice(g, op_test_in(g, "a", NPU_F32, OP_DIMS(3, 7, 5)), 1, 2, 3);
    case 1:
        return npu_slice(g, op_test_in(g, "a", NPU_BF16, OP_DIMS(33, 100)), 1, 17, 61);
    case 2:
        return npu_slice(g, op_test_in(g, "a", NPU_U8, OP_DIMS(5, 9)), 0, 4, 1);
    case 3:
        return npu_slice(g, op_test_in(g, "a", NPU_F32, OP_DIMS(4, 3)), 1, 3, 0);
    case 4:
        return npu_slice(g, op_test_in(g, "a", NPU_F16, OP_DIMS(70, 6, 8)), 2, 0, 8);
    default:
        return NPU_NONE;
    }
}

static npu_val slice_perf(npu_graph *g, int index)
{
    return index ? NPU_NONE : npu_slice(g, op_test_in(g, "a", NPU_F32, OP_DIMS(16, 197, 576)), 2, 192, 192);
}

const struct npu_op npu_op_slice = {
    .name = "slice",
    .shape = slice_shape,
    .ref = slice_ref,
    .grad = slice_backward,
    .lower = slice_lower,
    .test_case = slice_case,
    .perf_case = slice_perf,
    .exact = true,
};

/* ---- pad ---- */

static int pad_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                     size_t size)
{
    const struct slice_attr *a = NPU_ATTR(struct slice_attr, n);
    const struct npu_shape *s = &in[0].shape;

    if (axis_shape(n, in, out, why, size))
        return -EINVAL;
    if (a->start < 0 || a->size < s->dim[a->axis] || a->start > a->size - s->dim[a->axis])
        return op_why(why, size, "axis %d of %s after %lld zeros does not fit into %lld", a->axis, op_shape_text(s),
                      (long long)a->start, (long long)a->size);
    return 0;
}

static int pad_ref(const struct npu_ref_call *c)
{
    const struct slice_attr *a = NPU_ATTR(struct slice_attr, c->node);
    const struct npu_shape *s = &c->in[0].shape;
    int64_t inner = op_span(s, a->axis + 1, s->rank), n = s->dim[a->axis] * inner;
    size_t all = (size_t)npu_shape_elements(&c->out[0].shape) * npu_dtype_size(c->out[0].dtype);

    if (all)
        memset(c->out[0].data, 0, all);
    copy_rows(&c->in[0], 0, n, &c->out[0], a->start * inner, a->size * inner, op_span(s, 0, a->axis), n);
    return 0;
}

static int pad_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct slice_attr *a = NPU_ATTR(struct slice_attr, n);
    struct npu_shape s = npu_lower_type(l, n->in[0]).shape;
    int64_t inner = op_span(&s, a->axis + 1, s.rank), rows = op_span(&s, 0, a->axis);
    struct npu_launch *k;

    if (!rows || !inner || !a->size)
        return 0;
    k = op_launch(l, "copy", "pad_rows");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    npu_launch_i32(k, s.dim[a->axis] * inner);
    npu_launch_i32(k, a->start * inner);
    npu_launch_i32(k, a->size * inner);
    npu_launch_i32(k, rows);
    op_launch_tiles(l, k, rows, a->size * inner);
    return 0;
}

static int pad_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    const struct slice_attr *a = NPU_ATTR(struct slice_attr, n);

    gin[0] = npu_slice(g, gout[0], a->axis, a->start, npu_val_shape(g, n->in[0])->dim[a->axis]);
    return gin[0] < 0 ? gin[0] : 0;
}

static npu_val pad_case(npu_graph *g, int index)
{
    switch (index) {
    case 0:
        return npu_pad_axis(g, op_test_in(g, "a", NPU_F32, OP_DIMS(3, 2, 5)), 1, 3, 9);
    case 1:
        return npu_pad_axis(g, op_test_in(g, "a", NPU_BF16, OP_DIMS(65, 17)), 1, 11, 60);
    case 2:
        return npu_pad_axis(g, op_test_in(g, "a", NPU_F32, OP_DIMS(3, 0)), 1, 2, 5);
    case 3:
        return npu_pad_axis(g, op_test_in(g, "a", NPU_F16, OP_DIMS(1)), 0, 0, 1);
    default:
        return NPU_NONE;
    }
}

static npu_val pad_perf(npu_graph *g, int index)
{
    return index ? NPU_NONE : npu_pad_axis(g, op_test_in(g, "a", NPU_F32, OP_DIMS(16, 197, 192)), 2, 192, 576);
}

const struct npu_op npu_op_pad = {
    .name = "pad",
    .shape = pad_shape,
    .ref = pad_ref,
    .grad = pad_backward,
    .lower = pad_lower,
    .test_case = pad_case,
    .perf_case = pad_perf,
    .exact = true,
};

/* ---- concat ---- */

static int concat_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                        size_t size)
{
    int axis = NPU_ATTR(struct slice_attr, n)->axis;
    int64_t total = 0;

    if (axis < 0 || axis >= in[0].shape.rank)
        return op_why(why, size, "axis %d of %s", axis, op_shape_text(&in[0].shape));
    for (int i = 0; i < n->n_in; i++) {
        struct npu_shape s = in[i].shape;

        if (s.rank == in[0].shape.rank) {
            total += s.dim[axis];
            s.dim[axis] = in[0].shape.dim[axis];
        }
        if (in[i].dtype != in[0].dtype || !op_same_shape(&s, &in[0].shape))
            return op_why(why, size, "input %d is %s %s, the first %s %s: all but axis %d must agree", i,
                          npu_dtype_name(in[i].dtype), op_shape_text(&in[i].shape), npu_dtype_name(in[0].dtype),
                          op_shape_text(&in[0].shape), axis);
    }
    n->n_out = 1;
    out[0] = in[0];
    out[0].shape.dim[axis] = total;
    return 0;
}

static int concat_ref(const struct npu_ref_call *c)
{
    int axis = NPU_ATTR(struct slice_attr, c->node)->axis;
    const struct npu_shape *so = &c->out[0].shape;
    int64_t inner = op_span(so, axis + 1, so->rank), at = 0;

    for (int i = 0; i < c->node->n_in; i++) {
        int64_t n = c->in[i].shape.dim[axis] * inner;

        copy_rows(&c->in[i], 0, n, &c->out[0], at, so->dim[axis] * inner, op_span(so, 0, axis), n);
        at += n;
    }
    return 0;
}

static int concat_lower(const struct npu_node *n, struct npu_lower *l)
{
    int axis = NPU_ATTR(struct slice_attr, n)->axis, r = 0;
    struct npu_shape so = npu_lower_type(l, n->out[0]).shape;
    int64_t inner = op_span(&so, axis + 1, so.rank), at = 0;

    for (int i = 0; i < n->n_in && r >= 0; i++) {
        int64_t m = npu_lower_type(l, n->in[i]).shape.dim[axis] * inner;

        r = copy_launch(l, n->in[i], 0, m, n->out[0], at, so.dim[axis] * inner, op_span(&so, 0, axis), m);
        at += m;
    }
    return r;
}

static int concat_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    int axis = NPU_ATTR(struct slice_attr, n)->axis;
    int64_t at = 0;

    for (int i = 0; i < n->n_in; i++) {
        int64_t m = npu_val_shape(g, n->in[i])->dim[axis];

        if (npu_val_needs_grad(g, n->in[i]))
            gin[i] = npu_slice(g, gout[0], axis, at, m);
        if (gin[i] < 0)
            return gin[i];
        at += m;
    }
    return 0;
}

static npu_val concat_case(npu_graph *g, int index)
{
    npu_val x[8];

    switch (index) {
    case 0:
        x[0] = op_test_in(g, "a", NPU_F32, OP_DIMS(2, 3, 5));
        x[1] = op_test_in(g, "b", NPU_F32, OP_DIMS(2, 1, 5));
        return npu_concat(g, x, 2, 1);
    case 1:
        x[0] = op_test_in(g, "a", NPU_BF16, OP_DIMS(37, 11));
        x[1] = op_test_in(g, "b", NPU_BF16, OP_DIMS(37, 90));
        x[2] = op_test_in(g, "c", NPU_BF16, OP_DIMS(37, 0));
        return npu_concat(g, x, 3, 1);
    case 2:
        x[0] = op_test_in(g, "a", NPU_F32, OP_DIMS(1));
        for (int i = 1; i < 8; i++)
            x[i] = x[0];
        return npu_concat(g, x, 8, 0);
    case 3:
        x[0] = op_test_in(g, "a", NPU_I8, OP_DIMS(3, 4));
        x[1] = op_test_in(g, "b", NPU_I8, OP_DIMS(2, 4));
        return npu_concat(g, x, 2, 0);
    default:
        return NPU_NONE;
    }
}

static npu_val concat_perf(npu_graph *g, int index)
{
    npu_val x[2];

    if (index)
        return NPU_NONE;
    x[0] = op_test_in(g, "a", NPU_F32, OP_DIMS(16, 1, 192));
    x[1] = op_test_in(g, "b", NPU_F32, OP_DIMS(16, 196, 192));
    return npu_concat(g, x, 2, 1);
}

const struct npu_op npu_op_concat = {
    .name = "concat",
    .shape = concat_shape,
    .ref = concat_ref,
    .grad = concat_backward,
    .lower = concat_lower,
    .test_case = concat_case,
    .perf_case = concat_perf,
    .exact = true,
};
