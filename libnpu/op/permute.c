/* permute.c - axes in another order, copied. */
#include "libnpu/op/attr.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

npu_val npu_permute(npu_graph *g, npu_val x, const int *order)
{
    const struct npu_shape *s = npu_val_shape(g, x);
    struct permute_attr a = {.rank = s ? s->rank : 0};

    for (int i = 0; i < a.rank; i++)
        a.order[i] = order[i]; // NOLINT(clang-analyzer-core.uninitialized.Assign): as many as x has dims
    return npu_node_add(g, &npu_op_permute, &x, 1, &a, sizeof(a));
}

/* The result's dims, merged where neighbours stay neighbours, innermost first, with the strides of x. */
struct permute_view {
    int n;
    int64_t dim[NPU_MAX_DIMS], stride[NPU_MAX_DIMS];
};

static struct permute_view permute_view(const struct npu_shape *s, const struct permute_attr *a)
{
    int64_t stride[NPU_MAX_DIMS] = {0};
    struct permute_view v = {0};

    for (int i = s->rank - 1; i >= 0; i--)
        stride[i] = i == s->rank - 1 ? 1 : stride[i + 1] * s->dim[i + 1];
    for (int i = s->rank - 1; i >= 0; i--) {
        int64_t d = s->dim[a->order[i]], t = stride[a->order[i]];

        if (d == 1)
            continue;
        if (v.n && t == v.stride[v.n - 1] * v.dim[v.n - 1]) {
            v.dim[v.n - 1] *= d;
            continue;
        }
        v.dim[v.n] = d;
        v.stride[v.n++] = t;
    }
    if (!v.n)
        v = (struct permute_view){1, {1}, {1}};
    return v;
}

static int permute_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                         size_t size)
{
    const struct permute_attr *a = NPU_ATTR(struct permute_attr, n);
    unsigned seen = 0;

    if (n->n_in != 1 || a->rank != in[0].shape.rank)
        return op_why(why, size, "the order has %d axes, x is %s", a->rank, op_shape_text(&in[0].shape));
    out[0] = in[0];
    for (int i = 0; i < a->rank; i++) {
        if (a->order[i] < 0 || a->order[i] >= a->rank || seen >> a->order[i] & 1)
            return op_why(why, size, "the order must name each of %d axes once", a->rank);
        seen |= 1u << a->order[i];
        out[0].shape.dim[i] = in[0].shape.dim[a->order[i]];
    }
    n->n_out = 1;
    return 0;
}

static int permute_ref(const struct npu_ref_call *c)
{
    struct permute_view v = permute_view(&c->in[0].shape, NPU_ATTR(struct permute_attr, c->node));
    int64_t n = npu_shape_elements(&c->in[0].shape);
    size_t size = npu_dtype_size(c->in[0].dtype);
    const char *src = c->in[0].data;
    char *dst = c->out[0].data;

    for (int64_t i = 0; i < n; i++) {
        int64_t at = 0, k = i;

        for (int d = 0; d < v.n; d++) {
            at += k % v.dim[d] * v.stride[d];
            k /= v.dim[d];
        }
        memcpy(dst + (size_t)i * size, src + (size_t)at * size, size);
    }
    return 0;
}

static int permute_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    const struct permute_attr *a = NPU_ATTR(struct permute_attr, n);
    int back[NPU_MAX_DIMS] = {0};

    for (int i = 0; i < a->rank; i++)
        back[a->order[i]] = i;
    gin[0] = npu_permute(g, gout[0], back);
    return gin[0] < 0 ? gin[0] : 0;
}

/* The last axis stays last: rows are copied. */
static void permute_rows(struct npu_lower *l, struct npu_launch *k, const struct permute_view *v)
{
    struct op_bcast b = {.inner = v->dim[0], .rows = 1, .step = 1, .n_outer = v->n - 1};

    for (int i = 1; i < v->n; i++) {
        b.dim[i - 1] = v->dim[i];
        b.stride[i - 1] = v->stride[i];
        b.rows *= v->dim[i];
    }
    op_bcast_args(k, &b);
    op_launch_tiles(l, k, b.rows, b.inner);
}

enum { TILE = 16 }; /* as in copy.cl */

/* Else the axis that is last in x, q, and the one that becomes last are walked in tiles; the others are outer.
 */
static void permute_tiles(struct npu_lower *l, struct npu_launch *k, const struct permute_view *v)
{
    int64_t outs[NPU_MAX_DIMS] = {1}, rows = 1, tiles, block;
    int q = 1, n = 0;

    for (int i = 1; i < v->n; i++) {
        outs[i] = outs[i - 1] * v->dim[i - 1];
        if (v->stride[i] == 1)
            q = i;
    }
    npu_launch_i32(k, v->dim[0]);
    npu_launch_i32(k, v->stride[0]);
    npu_launch_i32(k, v->dim[q]);
    npu_launch_i32(k, outs[q]);
    for (int i = 1; i < v->n; i++)
        if (i != q)
            rows *= v->dim[i];
    npu_launch_i32(k, rows);
    for (int i = 1; i < v->n; i++) {
        if (i == q)
            continue;
        npu_launch_i32(k, v->dim[i]);
        npu_launch_i32(k, v->stride[i]);
        npu_launch_i32(k, outs[i]);
        n++;
    }
    for (; n < 4; n++) {
        npu_launch_i32(k, 1);
        npu_launch_i32(k, 0);
        npu_launch_i32(k, 0);
    }
    tiles = op_ceil_div(v->dim[0], TILE) * op_ceil_div(v->dim[q], TILE) * rows;
    npu_launch_i32(k, tiles);
    block = op_is_cpu(l) ? op_ceil_div(tiles, op_ceil_div(tiles, 32)) : 1;
    npu_launch_i32(k, block);
    op_launch_items(l, k, op_ceil_div(tiles, block));
}

static int permute_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_tensor_type x = npu_lower_type(l, n->in[0]);
    struct permute_view v;
    struct npu_launch *k;

    if (!npu_shape_elements(&x.shape))
        return 0;
    v = permute_view(&x.shape, NPU_ATTR(struct permute_attr, n));
    k = op_launch(l, "copy", v.stride[0] == 1 ? "permute_rows" : "permute_tiles");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    if (v.stride[0] == 1)
        permute_rows(l, k, &v);
    else
        permute_tiles(l, k, &v);
    return 0;
}

static npu_val permute_case(npu_graph *g, int index)
{
    switch (index) {
    case 0: /* NHWC to NCHW */
        return npu_permute(g, op_test_in(g, "a", NPU_F32, OP_DIMS(2, 5, 7, 11)), (int[]){0, 3, 1, 2});
    case 1: /* patches */
        return npu_permute(g, op_test_in(g, "a", NPU_F32, OP_DIMS(2, 3, 4, 5, 4, 3)), (int[]){0, 1, 3, 2, 4, 5});
    case 2:
        return npu_permute(g, op_test_in(g, "a", NPU_BF16, OP_DIMS(67, 129)), (int[]){1, 0});
    case 3:
        return npu_permute(g, op_test_in(g, "a", NPU_F32, OP_DIMS(3, 0, 2)), (int[]){2, 0, 1});
    case 4:
        return npu_permute(g, op_test_in(g, "a", NPU_F16, OP_DIMS(2, 3, 4, 2, 3, 2)), (int[]){5, 3, 1, 4, 2, 0});
    case 5:
        return npu_permute(g, op_test_in(g, "a", NPU_F32, OP_DIMS(1, 1, 1)), (int[]){2, 0, 1});
    case 6: /* nothing moves */
        return npu_permute(g, op_test_in(g, "a", NPU_F32, OP_DIMS(3, 50, 70)), (int[]){0, 1, 2});
    default:
        return NPU_NONE;
    }
}

static npu_val permute_perf(npu_graph *g, int index)
{
    switch (index) {
    case 0: /* pictures to patches */
        return npu_permute(g, op_test_in(g, "a", NPU_F32, OP_DIMS(16, 14, 16, 14, 16, 3)), (int[]){0, 1, 3, 2, 4, 5});
    case 1:
        return npu_permute(g, op_test_in(g, "a", NPU_F32, OP_DIMS(16, 3, 224, 224)), (int[]){0, 2, 3, 1});
    case 2:
        return npu_permute(g, op_test_in(g, "a", NPU_F32, OP_DIMS(768, 3152)), (int[]){1, 0});
    default:
        return NPU_NONE;
    }
}

const struct npu_op npu_op_permute = {
    .name = "permute",
    .shape = permute_shape,
    .ref = permute_ref,
    .grad = permute_backward,
    .lower = permute_lower,
    .test_case = permute_case,
    .perf_case = permute_perf,
    .moves = true,
    .exact = true,
};
