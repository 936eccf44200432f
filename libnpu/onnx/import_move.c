/* import_move.c - operations that move elements or reduce axes. */
#include "libnpu/onnx/import.h"

static int import_identity(struct oi *im, struct oi_node *n)
{
    if (oi_is(n, "Dropout") && n->n_in > 2 && n->in[2]) {
        const struct oi_const *c = oi_constant(im, n->in[2]);

        if (!c || !c->is_int || npu_shape_elements(&c->shape) != 1 || c->i[0])
            return oi_fail(im, -EOPNOTSUPP, "input training_mode must be false");
    }
    if (n->n_out > 1 && n->out[1] && n->out[1]->n_users)
        return oi_fail(im, -EOPNOTSUPP, "output mask is not supported");
    return oi_alias(im, n->out[0], n->in[0]);
}

static int import_transpose(struct oi *im, struct oi_node *n)
{
    struct oi_value *x = n->in[0];
    int64_t perm[NPU_MAX_DIMS];
    int to[NPU_MAX_DIMS], r = 0;
    unsigned seen = 0;

    for (int i = 0; i < x->shape.rank; i++)
        perm[i] = x->shape.rank - 1 - i;
    if (oi_attr(n, "perm"))
        r = oi_ints(im, n, "perm", x->shape.rank, 0, 0, x->shape.rank - 1, perm);
    if (r < 0)
        return r;
    for (int i = 0; i < x->shape.rank; i++) {
        to[i] = x->perm[perm[i]];
        seen |= 1u << perm[i];
    }
    if (seen != (1u << x->shape.rank) - 1)
        return oi_fail(im, -EINVAL, "attribute perm names an axis twice");
    n->out[0]->kind = x->kind;
    n->out[0]->range = x->range;
    return oi_set(im, n->out[0], x->v, to);
}

static int reshape(struct oi *im, struct oi_value *out, struct oi_value *x, const struct npu_shape *s)
{
    const npu_val v = oi_native(im, x);

    if (v > 0 && s->rank == x->shape.rank && memcmp(s->dim, x->shape.dim, (size_t)s->rank * sizeof *s->dim) == 0)
        return oi_set(im, out, v, NULL);
    return v < 0 ? v : oi_set(im, out, npu_reshape(im->g, v, s->rank, s->dim), NULL);
}

static int import_reshape(struct oi *im, struct oi_node *n)
{
    struct oi_value *x = n->in[0];
    struct npu_shape s;
    int r = oi_is(n, "Reshape")   ? oi_reshape_dims(im, n, &x->shape, &s)
            : oi_is(n, "Squeeze") ? oi_squeeze_shape(im, n, &x->shape, &s)
                                  : oi_unsqueeze_shape(im, n, &x->shape, &s);

    if (r < 0)
        return r;
    r = oi_is(n, "Reshape") && s.rank == 5 ? oi_try_attention(im, n) : 0;
    return r != 0 ? r : reshape(im, n->out[0], x, &s);
}

static int import_flatten(struct oi *im, struct oi_node *n)
{
    const struct npu_shape *from = &n->in[0]->shape;
    struct npu_shape s = {2, {1, 1}};
    int64_t axis = oi_int(n, "axis", 1);

    axis = axis < 0 ? axis + from->rank : axis;
    if (axis < 0 || axis > from->rank)
        return oi_fail(im, -EINVAL, "attribute axis is %lld, the tensor has rank %d", (long long)axis, from->rank);
    for (int i = 0; i < from->rank; i++)
        s.dim[i >= axis] *= from->dim[i];
    return reshape(im, n->out[0], n->in[0], &s);
}

/* Chains slices of one axis each; steps only over axes of which one element is left. */
static int import_slice(struct oi *im, struct oi_node *n)
{
    struct oi_value *x = n->in[0];
    int64_t start[NPU_MAX_DIMS], size[NPU_MAX_DIMS], step[NPU_MAX_DIMS];
    int r = oi_slice_spans(im, n, &x->shape, start, size, step);
    npu_val v = x->v;

    for (int i = 0; r == 0 && i < x->shape.rank; i++) {
        if (step[i] != 1 && size[i] > 1)
            return oi_fail(im, -EOPNOTSUPP, "a step of %lld is not supported", (long long)step[i]);
        if (size[i] != x->shape.dim[i])
            v = npu_slice(im->g, v, x->perm[i], start[i], size[i]);
    }
    return r < 0 ? r : oi_set(im, n->out[0], v, x->perm);
}

static int import_split(struct oi *im, struct oi_node *n)
{
    const struct om_attr *a = oi_attr(n, "split");
    struct oi_value *x = n->in[0];
    int64_t at = 0, total, part;
    int64_t size[64];
    int axis, count = 0;

    if (n->n_out > 64)
        return oi_fail(im, -E2BIG, "%d outputs; 64 are the most", n->n_out);
    if (oi_axis(im, n, 0, x->shape.rank, &axis) < 0)
        return -EINVAL;
    if (a && a->kind == OM_ATTR_INTS && a->n_ints <= 64)
        memcpy(size, a->ints, (size_t)(count = a->n_ints) * sizeof *size);
    else if (n->n_in > 1 && n->in[1])
        count = oi_numbers(im, n->in[1], 64, size);
    if (count < 0 || (count && count != n->n_out))
        return oi_fail(im, -EINVAL, "%d sizes for %d outputs", count, n->n_out);
    if (oi_int(n, "num_outputs", n->n_out) != n->n_out)
        return oi_fail(im, -EINVAL, "attribute num_outputs = %lld of a node with %d outputs",
                       (long long)oi_int(n, "num_outputs", 0), n->n_out);
    total = x->shape.dim[axis];
    part = (total + n->n_out - 1) / n->n_out;
    for (int i = 0; i < n->n_out; i++) {
        const int64_t k = count ? size[i] : part < total - at ? part : total - at;
        int r;

        if (k < 0 || k > total - at)
            return oi_fail(im, -EINVAL, "the sizes do not fit an axis of %lld", (long long)total);
        r = n->out[i] ? oi_set(im, n->out[i], npu_slice(im->g, x->v, x->perm[axis], at, k), x->perm) : 0;
        if (r < 0)
            return r;
        at += k;
    }
    return at == total ? 0 : oi_fail(im, -EINVAL, "the sizes do not fill an axis of %lld", (long long)total);
}

/* In the order of axes of the first computed one; more than 8 in steps. */
static int import_concat(struct oi *im, struct oi_node *n)
{
    static const int identity[NPU_MAX_DIMS] = {0, 1, 2, 3, 4, 5};
    const int *perm = identity;
    npu_val v[8];
    int axis, rank = -1, count = 0;

    for (int i = 0; i < n->n_in; i++) {
        if (!n->in[i])
            return oi_fail(im, -EINVAL, "input %d is missing", i);
        if (rank < 0)
            rank = n->in[i]->shape.rank;
        if (n->in[i]->shape.rank != rank)
            return oi_fail(im, -EINVAL, "inputs of rank %d and %d", rank, n->in[i]->shape.rank);
        if (perm == identity && !oi_is_known(n->in[i]))
            perm = n->in[i]->perm;
    }
    if (oi_axis(im, n, 0, rank, &axis) < 0)
        return -EINVAL;
    for (int i = 0; i < n->n_in; i++) {
        v[count] = oi_layout(im, n->in[i], perm);
        if (v[count] < 0)
            return v[count];
        if (++count == 8) {
            v[0] = npu_concat(im->g, v, 8, perm[axis]);
            count = 1;
        }
    }
    return oi_set(im, n->out[0], count == 1 ? v[0] : npu_concat(im->g, v, count, perm[axis]), perm);
}

/* One index along an axis: a slice without the axis. */
static int import_gather(struct oi *im, struct oi_node *n)
{
    struct oi_value *x = n->in[0];
    const struct oi_const *c = oi_constant(im, n->in[1]);
    struct npu_shape s = {0};
    struct oi_value part = {.name = ""};
    int axis, r = oi_axis(im, n, 0, x->shape.rank, &axis);
    int64_t at;

    if (r < 0)
        return r;
    if (!c || !c->is_int || npu_shape_elements(&c->shape) != 1)
        return oi_fail(im, -EOPNOTSUPP, "input indices must be one constant number");
    at = c->i[0] < 0 ? c->i[0] + x->shape.dim[axis] : c->i[0];
    if (at < 0 || at >= x->shape.dim[axis])
        return oi_fail(im, -EINVAL, "index %lld of %lld", (long long)c->i[0], (long long)x->shape.dim[axis]);
    r = oi_set(im, &part, npu_slice(im->g, x->v, x->perm[axis], at, 1), x->perm);
    if (r < 0)
        return r;
    for (int i = 0; i < x->shape.rank; i++) {
        if (i != axis)
            s.dim[s.rank++] = x->shape.dim[i];
        else
            for (int k = 0; k < c->shape.rank && s.rank < NPU_MAX_DIMS; k++)
                s.dim[s.rank++] = 1;
    }
    return reshape(im, n->out[0], &part, &s);
}

/* Rows of x [b, n, c] by index [b, m, 1]: what npu_gather_rows is exported as. */
static int import_gather_nd(struct oi *im, struct oi_node *n)
{
    const struct npu_shape *s = &n->in[0]->shape, *k = &n->in[1]->shape;
    npu_val x, index;

    if (oi_int(n, "batch_dims", 0) != 1 || oi_is_known(n->in[1]) || s->rank != 3 || k->rank != 3 || k->dim[2] != 1)
        return oi_fail(im, -EOPNOTSUPP,
                       "only rows of [b, n, c] by an index [b, m, 1] with batch_dims = 1 are supported");
    x = oi_native(im, n->in[0]);
    index = oi_native(im, n->in[1]);
    if (x < 0 || index < 0)
        return -EINVAL;
    index = npu_reshape(im->g, index, 2, k->dim);
    return oi_set(im, n->out[0], npu_gather_rows(im->g, x, index), NULL);
}

static int import_expand(struct oi *im, struct oi_node *n)
{
    struct npu_shape want = {0}, s;
    npu_val v;

    want.rank = oi_numbers(im, n->in[1], NPU_MAX_DIMS, want.dim);
    if (want.rank < 0)
        return want.rank;
    if (oi_broadcast(&n->in[0]->shape, &want, &s) < 0 || npu_shape_elements(&s) > NPU_MAX_ELEMENTS)
        return oi_fail(im, -EINVAL, "the input does not broadcast to the shape");
    v = oi_native(im, n->in[0]);
    return v < 0 ? v : oi_set(im, n->out[0], npu_expand(im->g, v, &s), NULL);
}

/* Zeros round x. */
static int import_pad(struct oi *im, struct oi_node *n)
{
    const struct om_attr *a = oi_attr(n, "pads");
    struct oi_value *x = n->in[0];
    const int rank = x->shape.rank;
    int64_t pads[2 * NPU_MAX_DIMS] = {0};
    float value = oi_float(n, "value", 0.0f);
    npu_val v = x->v;
    int count = 0;

    if (strcmp(oi_string(n, "mode", "constant"), "constant") != 0)
        return oi_fail(im, -EOPNOTSUPP, "attribute mode = %.40s is not supported", oi_string(n, "mode", ""));
    if (n->n_in > 3 && n->in[3])
        return oi_fail(im, -EOPNOTSUPP, "input axes is not supported");
    if (n->n_in > 2 && n->in[2] && !oi_number(im, n->in[2], &value))
        return oi_fail(im, -EOPNOTSUPP, "input constant_value must be a constant");
    if (value != 0.0f)
        return oi_fail(im, -EOPNOTSUPP, "padding with %g is not supported, only with 0", (double)value);
    if (a && a->kind == OM_ATTR_INTS && a->n_ints <= 2 * NPU_MAX_DIMS)
        memcpy(pads, a->ints, (size_t)(count = a->n_ints) * sizeof *pads);
    else if (n->n_in > 1)
        count = oi_numbers(im, n->in[1], 2 * NPU_MAX_DIMS, pads);
    if (count != 2 * rank)
        return oi_fail(im, -EINVAL, "%d pads for rank %d", count, rank);
    for (int i = 0; i < rank; i++) {
        const int64_t before = pads[i], after = pads[rank + i];

        if (before < 0 || after < 0 || before > INT32_MAX || after > INT32_MAX)
            return oi_fail(im, -EOPNOTSUPP, "pads of %lld and %lld are not supported", (long long)before,
                           (long long)after);
        if (before || after)
            v = npu_pad_axis(im->g, v, x->perm[i], before, x->shape.dim[i] + before + after);
    }
    return oi_set(im, n->out[0], v, x->perm);
}

static int import_reduce(struct oi *im, struct oi_node *n)
{
    const enum npu_reduce_kind kind = oi_is(n, "ReduceSum") ? NPU_REDUCE_SUM : NPU_REDUCE_MEAN;
    struct oi_value *x = n->in[0];
    const bool global = oi_is(n, "GlobalAveragePool"), keep = global || oi_int(n, "keepdims", 1) != 0;
    int64_t dim[NPU_MAX_DIMS];
    int perm[NPU_MAX_DIMS], rank = 0, r;
    unsigned axes = 0, of_v = 0;
    npu_val v;

    r = global ? 0 : oi_axes(im, n, 1, x->shape.rank, &axes);
    if (r == -ENOENT && oi_int(n, "noop_with_empty_axes", 0))
        return oi_alias(im, n->out[0], x);
    if (r < 0 && r != -ENOENT)
        return r;
    if (global || r == -ENOENT)
        axes = global ? ~3u & ((1u << x->shape.rank) - 1) : (1u << x->shape.rank) - 1;
    if (!axes)
        return oi_alias(im, n->out[0], x);
    for (int i = 0; i < x->shape.rank; i++)
        of_v |= (axes >> i & 1) << x->perm[i];
    v = npu_reduce(im->g, x->v, kind, of_v);
    for (int i = 0; i < x->shape.rank; i++) {
        dim[x->perm[i]] = axes >> i & 1 ? 1 : x->shape.dim[i];
        if (!(axes >> i & 1)) /* of the axes left, the one at this place of v */
            perm[rank++] = x->perm[i] - __builtin_popcount(of_v & ((1u << x->perm[i]) - 1));
    }
    if (keep)
        v = npu_reshape(im->g, v, x->shape.rank, dim);
    return oi_set(im, n->out[0], v, keep ? x->perm : perm);
}

const struct oi_op oi_move_ops[] = {
    {"Identity", "", 1, 1, 1, import_identity, true},
    {"Dropout", "ratio seed", 1, 3, 2, import_identity, true},
    {"Transpose", "perm", 1, 1, 1, import_transpose, false},
    {"Reshape", "allowzero", 2, 2, 1, import_reshape, false},
    {"Squeeze", "axes", 1, 2, 1, import_reshape, false},
    {"Unsqueeze", "axes", 1, 2, 1, import_reshape, false},
    {"Flatten", "axis", 1, 1, 1, import_flatten, false},
    {"Slice", "starts ends axes", 1, 5, 1, import_slice, false},
    {"Split", "axis split num_outputs", 1, 2, 64, import_split, false},
    {"Concat", "axis", 1, NPU_MAX_NODES, 1, import_concat, true},
    {"Gather", "axis", 2, 2, 1, import_gather, false},
    {"GatherND", "batch_dims", 2, 2, 1, import_gather_nd, false},
    {"Expand", "", 2, 2, 1, import_expand, false},
    {"Pad", "mode pads value", 1, 4, 1, import_pad, false},
    {"ReduceMean", "axes keepdims noop_with_empty_axes", 1, 2, 1, import_reduce, false},
    {"ReduceSum", "axes keepdims noop_with_empty_axes", 1, 2, 1, import_reduce, false},
    {"GlobalAveragePool", "", 1, 1, 1, import_reduce, false},
    {0},
};
