/* import_shape.c - what Reshape, Squeeze, Unsqueeze and Slice ask for, on constants and on computed values alike. */
#include "libnpu/onnx/import.h"

int oi_reshape_dims(struct oi *im, struct oi_node *n, const struct npu_shape *from, struct npu_shape *ret_s)
{
    const int64_t count = npu_shape_elements(from);
    struct npu_shape s = {0};
    int64_t known = 1;
    int open = -1;

    s.rank = oi_numbers(im, n->n_in > 1 ? n->in[1] : NULL, NPU_MAX_DIMS, s.dim);
    if (s.rank < 0)
        return s.rank;
    for (int i = 0; i < s.rank; i++) {
        if (i < from->rank && s.dim[i] == 0 && !oi_int(n, "allowzero", 0))
            s.dim[i] = from->dim[i];
        if (s.dim[i] == -1 && open < 0) {
            open = i;
            continue;
        }
        if (s.dim[i] < 0 || __builtin_mul_overflow(known, s.dim[i], &known))
            return oi_fail(im, -EINVAL, "the shape to reshape to has a dim of %lld", (long long)s.dim[i]);
    }
    if (open >= 0)
        s.dim[open] = known > 0 ? count / known : 0;
    if (npu_shape_elements(&s) != count)
        return oi_fail(im, -EINVAL, "the shape to reshape to has %lld elements, the input %lld",
                       (long long)npu_shape_elements(&s), (long long)count);
    *ret_s = s;
    return 0;
}

int oi_squeeze_shape(struct oi *im, struct oi_node *n, const struct npu_shape *from, struct npu_shape *ret_s)
{
    struct npu_shape s = {0};
    unsigned mask = 0;
    int r = oi_axes(im, n, 1, from->rank, &mask);

    if (r < 0 && r != -ENOENT)
        return r;
    for (int i = 0; i < from->rank; i++) {
        const bool drop = r == -ENOENT ? from->dim[i] == 1 : mask >> i & 1;

        if (drop && from->dim[i] != 1)
            return oi_fail(im, -EINVAL, "axis %d has %lld elements, not 1", i, (long long)from->dim[i]);
        if (!drop)
            s.dim[s.rank++] = from->dim[i];
    }
    *ret_s = s;
    return 0;
}

int oi_unsqueeze_shape(struct oi *im, struct oi_node *n, const struct npu_shape *from, struct npu_shape *ret_s)
{
    const struct om_attr *a = oi_attr(n, "axes");
    const struct oi_const *c = !a && n->n_in > 1 ? oi_constant(im, n->in[1]) : NULL;
    const int64_t more = a && a->kind == OM_ATTR_INTS ? a->n_ints : c ? npu_shape_elements(&c->shape) : 0;
    struct npu_shape s = {0};
    unsigned mask = 0;
    int r;

    if (from->rank + more > NPU_MAX_DIMS)
        return oi_fail(im, -E2BIG, "the result has more than %d dims", NPU_MAX_DIMS);
    s.rank = from->rank + (int)more;
    r = oi_axes(im, n, 1, s.rank, &mask);
    if (r < 0)
        return oi_fail(im, -EINVAL, "axes are missing");
    for (int i = 0, k = 0; i < s.rank; i++)
        s.dim[i] = mask >> i & 1 ? 1 : from->dim[k++];
    *ret_s = s;
    return 0;
}

/* One of starts, ends, axes, steps: an attribute (before opset 10) or an input. Returns how many; 0 if absent. */
static int slice_list(struct oi *im, struct oi_node *n, const char *name, int input, int64_t *ret_i)
{
    const struct om_attr *a = oi_attr(n, name);

    if (a && a->kind == OM_ATTR_INTS && a->n_ints <= NPU_MAX_DIMS) {
        memcpy(ret_i, a->ints, (size_t)a->n_ints * sizeof *ret_i);
        return a->n_ints;
    }
    return input < n->n_in && n->in[input] ? oi_numbers(im, n->in[input], NPU_MAX_DIMS, ret_i) : 0;
}

static int64_t clamp(int64_t v, int64_t lo, int64_t hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

int oi_slice_spans(struct oi *im, struct oi_node *n, const struct npu_shape *s, int64_t *start, int64_t *size,
                   int64_t *step)
{
    int64_t from[NPU_MAX_DIMS], to[NPU_MAX_DIMS], axis[NPU_MAX_DIMS], by[NPU_MAX_DIMS];
    const int count = slice_list(im, n, "starts", 1, from), ends = slice_list(im, n, "ends", 2, to);
    const int axes = slice_list(im, n, "axes", 3, axis), steps = slice_list(im, n, "steps", 4, by);

    if (im->failed)
        return -EINVAL;
    if (count != ends || (axes && axes != count) || (steps && steps != count) || count > s->rank)
        return oi_fail(im, -EINVAL, "%d starts, %d ends, %d axes, %d steps for rank %d", count, ends, axes, steps,
                       s->rank);
    for (int i = 0; i < s->rank; i++) {
        start[i] = 0;
        size[i] = s->dim[i];
        step[i] = 1;
    }
    for (int k = 0; k < count; k++) {
        const int64_t asked = axes ? axis[k] : k, at = asked < 0 ? asked + s->rank : asked;
        int64_t d, a, b;

        if (at < 0 || at >= s->rank)
            return oi_fail(im, -EINVAL, "axis %lld of a tensor of rank %d", (long long)asked, s->rank);
        if (steps && (by[k] < 1 || by[k] > INT32_MAX))
            return oi_fail(im, -EOPNOTSUPP, "a step of %lld is not supported", (long long)by[k]);
        d = s->dim[at];
        a = clamp(from[k] < 0 ? from[k] + d : from[k], 0, d);
        b = clamp(to[k] < 0 ? to[k] + d : to[k], 0, d);
        step[at] = steps ? by[k] : 1;
        start[at] = a;
        size[at] = b > a ? (b - a + step[at] - 1) / step[at] : 0;
    }
    return 0;
}
