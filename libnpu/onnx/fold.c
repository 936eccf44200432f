/* fold.c - what is known while importing: shapes, constants and what is computed from them by moving elements.
 * Exporters leave much of it around reshapes. Sums and products are in fold_math.c.
 */
#include <stdlib.h>

#include "libnpu/onnx/import.h"

/* A constant with room for its elements; NULL after oi_fail. */
static struct oi_const *make(struct oi *im, bool is_int, const struct npu_shape *s)
{
    const int64_t n = npu_shape_elements(s);
    struct oi_const *c = oi_alloc(im, 1, sizeof *c);

    if (n > OI_MAX_FOLD) {
        oi_fail(im, -E2BIG, "a constant of %lld elements is computed; %d are the most", (long long)n, OI_MAX_FOLD);
        return NULL;
    }
    if (!c)
        return NULL;
    c->is_int = is_int;
    c->shape = *s;
    if (is_int)
        c->i = oi_alloc(im, (size_t)n + 1, sizeof *c->i);
    else
        c->f = oi_alloc(im, (size_t)n + 1, sizeof *c->f);
    return c->i || c->f ? c : NULL;
}

/* to[rows][cols] of elements that lie anywhere: in tiles, so that a line that columns jump over is still in the cache
 * for the next row. */
#define COPY_PLANE(name, type)                                                                                         \
    static void name(type *to, const type *from, int64_t rows, int64_t cols, int64_t row_step, int64_t col_step)       \
    {                                                                                                                  \
        for (int64_t top = 0; top < rows; top += TILE)                                                                 \
            for (int64_t left = 0; left < cols; left += TILE)                                                          \
                for (int64_t i = top; i < rows && i < top + TILE; i++)                                                 \
                    for (int64_t j = left; j < cols && j < left + TILE; j++)                                           \
                        to[i * cols + j] = from[i * row_step + j * col_step];                                          \
    }
enum { TILE = 32 };
COPY_PLANE(copy_numbers, int64_t)
COPY_PLANE(copy_floats, float)

void oi_copy_strided(const struct oi_const *c, const struct npu_shape *s, int64_t base, const int64_t *stride, void *to)
{
    const int last = s->rank - 1, outer = s->rank > 2 ? s->rank - 2 : 0;
    const int64_t rows = last > 0 ? s->dim[last - 1] : 1, row_step = last > 0 ? stride[last - 1] : 0;
    const int64_t cols = last >= 0 ? s->dim[last] : 1, col_step = last >= 0 ? stride[last] : 0;
    const int64_t n = npu_shape_elements(s);
    int64_t index[NPU_MAX_DIMS] = {0}, at = base;

    for (int64_t k = 0; k < n; k += rows * cols) {
        if (c->is_int)
            copy_numbers((int64_t *)to + k, c->i + at, rows, cols, row_step, col_step);
        else
            copy_floats((float *)to + k, c->f + at, rows, cols, row_step, col_step);
        for (int d = outer; d-- > 0;) {
            at += stride[d];
            if (++index[d] < s->dim[d])
                break;
            at -= index[d] * stride[d];
            index[d] = 0;
        }
    }
}

int oi_fold_strided(struct oi *im, struct oi_value *out, const struct oi_const *c, const struct npu_shape *s,
                    int64_t base, const int64_t *stride)
{
    struct oi_const *to = make(im, c->is_int, s);

    if (!to)
        return -E2BIG;
    oi_copy_strided(c, s, base, stride, c->is_int ? (void *)(uintptr_t)to->i : (void *)(uintptr_t)to->f);
    return oi_set_const(im, out, to);
}

static int reshaped(struct oi *im, struct oi_value *out, const struct oi_const *c, const struct npu_shape *s)
{
    struct oi_const *to = oi_alloc(im, 1, sizeof *to);

    if (!to)
        return -E2BIG;
    *to = *c;
    to->shape = *s;
    return oi_set_const(im, out, to);
}

static int numbers(struct oi *im, struct oi_value *out, int rank, int64_t n, const int64_t *i)
{
    struct oi_const *c = make(im, true, &(struct npu_shape){rank, {n}});

    if (!c)
        return -E2BIG;
    memcpy((int64_t *)(uintptr_t)c->i, i, (size_t)n * sizeof *i);
    return oi_set_const(im, out, c);
}

static int fold_shape(struct oi *im, struct oi_node *n)
{
    const struct npu_shape *s =
        oi_is_known(n->in[0]) && oi_constant(im, n->in[0]) ? &n->in[0]->c->shape : &n->in[0]->shape;
    int64_t start = oi_int(n, "start", 0), end = oi_int(n, "end", s->rank);

    start = start < 0 ? start + s->rank : start;
    end = end < 0 ? end + s->rank : end > s->rank ? s->rank : end;
    if (start < 0 || start > end)
        return oi_fail(im, -EINVAL, "attributes start and end do not fit rank %d", s->rank);
    return numbers(im, n->out[0], 1, end - start, s->dim + start);
}

static int fold_constant(struct oi *im, struct oi_node *n)
{
    const struct om_attr *a = oi_attr(n, "value");
    struct oi_const *c;

    if (a && a->kind == OM_ATTR_TENSOR) {
        n->out[0]->tensor = a->t;
        n->out[0]->shape = a->t->shape;
        n->out[0]->defined = true;
        return 0;
    }
    if ((a = oi_attr(n, "value_int")) && a->kind == OM_ATTR_INT)
        return numbers(im, n->out[0], 0, 1, &a->i);
    if ((a = oi_attr(n, "value_ints")) && a->kind == OM_ATTR_INTS)
        return numbers(im, n->out[0], 1, a->n_ints, a->ints);
    if (!(a = oi_attr(n, "value_float")) || a->kind != OM_ATTR_FLOAT)
        return oi_fail(im, -EOPNOTSUPP, "attribute value, value_int, value_ints or value_float is needed");
    if (!(c = make(im, false, &(struct npu_shape){0})))
        return -E2BIG;
    *(float *)(uintptr_t)c->f = a->f;
    return oi_set_const(im, n->out[0], c);
}

static int fold_constant_of_shape(struct oi *im, struct oi_node *n)
{
    const struct om_attr *a = oi_attr(n, "value");
    const int64_t no_stride[NPU_MAX_DIMS] = {0};
    struct oi_value one = {.name = "", .tensor = a && a->kind == OM_ATTR_TENSOR ? a->t : NULL};
    const float zero = 0.0f;
    struct oi_const c = {.f = &zero};
    struct npu_shape s = {0};

    s.rank = oi_numbers(im, n->in[0], NPU_MAX_DIMS, s.dim);
    if (s.rank < 0)
        return s.rank;
    if (one.tensor && npu_shape_elements(&one.tensor->shape) != 1)
        return oi_fail(im, -EINVAL, "attribute value must be one number");
    if (one.tensor && !oi_constant(im, &one))
        return -E2BIG;
    return oi_fold_strided(im, n->out[0], one.tensor ? one.c : &c, &s, 0, no_stride);
}

/* Indices of any shape along one axis. */
static int fold_gather(struct oi *im, struct oi_node *n)
{
    const struct oi_const *c = oi_constant(im, n->in[0]), *index = oi_constant(im, n->in[1]);
    struct npu_shape s = {0};
    struct oi_const *to;
    int64_t outer = 1, inner = 1, count, size;
    int axis;

    if (!c || !index || !index->is_int || oi_axis(im, n, 0, c->shape.rank, &axis) < 0)
        return oi_fail(im, -EOPNOTSUPP, "indices must be whole numbers");
    if (c->shape.rank - 1 + index->shape.rank > NPU_MAX_DIMS)
        return oi_fail(im, -E2BIG, "the result has more than %d dims", NPU_MAX_DIMS);
    for (int i = 0; i < axis; i++)
        outer *= s.dim[s.rank++] = c->shape.dim[i];
    for (int i = 0; i < index->shape.rank; i++)
        s.dim[s.rank++] = index->shape.dim[i];
    for (int i = axis + 1; i < c->shape.rank; i++)
        inner *= s.dim[s.rank++] = c->shape.dim[i];
    if (!(to = make(im, c->is_int, &s)))
        return -E2BIG;
    count = npu_shape_elements(&index->shape);
    size = c->shape.dim[axis];
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < count; k++) {
            const int64_t at = index->i[k] < 0 ? index->i[k] + size : index->i[k];

            if (at < 0 || at >= size)
                return oi_fail(im, -EINVAL, "index %lld of %lld", (long long)index->i[k], (long long)size);
            for (int64_t j = 0; j < inner; j++)
                if (c->is_int)
                    ((int64_t *)(uintptr_t)to->i)[(o * count + k) * inner + j] = c->i[(o * size + at) * inner + j];
                else
                    ((float *)(uintptr_t)to->f)[(o * count + k) * inner + j] = c->f[(o * size + at) * inner + j];
        }
    return oi_set_const(im, n->out[0], to);
}

/* Along the only axis (shapes put together). */
static int fold_concat(struct oi *im, struct oi_node *n)
{
    struct oi_const *to;
    int64_t total = 0, at = 0;

    for (int k = 0; k < n->n_in; k++) {
        const struct oi_const *c = oi_constant(im, n->in[k]);

        if (!c || !c->is_int || c->shape.rank != 1)
            return im->failed ? -E2BIG : 0;
        total += c->shape.dim[0];
    }
    if (!(to = make(im, true, &(struct npu_shape){1, {total}})))
        return -E2BIG;
    for (int k = 0; k < n->n_in; k++) {
        const struct oi_const *c = n->in[k]->c;

        memcpy((int64_t *)(uintptr_t)to->i + at, c->i, (size_t)c->shape.dim[0] * sizeof *c->i);
        at += c->shape.dim[0];
    }
    const int r = oi_set_const(im, n->out[0], to);
    return r < 0 ? r : 1;
}

static int fold_slice(struct oi *im, struct oi_node *n)
{
    const struct oi_const *c = oi_constant(im, n->in[0]);
    int64_t start[NPU_MAX_DIMS], step[NPU_MAX_DIMS], stride[NPU_MAX_DIMS], base = 0;
    struct npu_shape s;
    int r;

    if (!c)
        return -E2BIG;
    s = c->shape;
    r = oi_slice_spans(im, n, &c->shape, start, s.dim, step);
    if (r < 0)
        return r;
    oi_strides(&c->shape, stride);
    for (int i = 0; i < s.rank; i++) {
        base += start[i] * stride[i];
        stride[i] *= step[i];
    }
    return oi_fold_strided(im, n->out[0], c, &s, base, stride);
}

static int fold_transpose(struct oi *im, struct oi_node *n)
{
    const struct oi_const *c = oi_constant(im, n->in[0]);
    int64_t perm[NPU_MAX_DIMS], stride[NPU_MAX_DIMS], to[NPU_MAX_DIMS] = {0};
    struct npu_shape s = {0};
    unsigned seen = 0;

    if (!c)
        return -E2BIG;
    s.rank = c->shape.rank;
    for (int i = 0; i < s.rank; i++)
        perm[i] = s.rank - 1 - i;
    if (oi_attr(n, "perm") && oi_ints(im, n, "perm", s.rank, 0, 0, s.rank - 1, perm) < 0)
        return -EINVAL;
    oi_strides(&c->shape, stride);
    for (int i = 0; i < s.rank; i++) {
        seen |= 1u << perm[i];
        s.dim[i] = c->shape.dim[perm[i]];
        to[i] = stride[perm[i]];
    }
    if (seen != (1u << s.rank) - 1)
        return oi_fail(im, -EINVAL, "attribute perm names an axis twice");
    return oi_fold_strided(im, n->out[0], c, &s, 0, to);
}

static int fold_expand(struct oi *im, struct oi_node *n)
{
    const struct oi_const *c = oi_constant(im, n->in[0]);
    struct npu_shape want = {0}, s;
    int64_t stride[NPU_MAX_DIMS], to[NPU_MAX_DIMS] = {0};

    want.rank = oi_numbers(im, n->in[1], NPU_MAX_DIMS, want.dim);
    if (!c || want.rank < 0)
        return -EOPNOTSUPP;
    if (oi_broadcast(&c->shape, &want, &s) < 0)
        return oi_fail(im, -EINVAL, "the constant does not broadcast to the shape");
    oi_strides(&c->shape, stride);
    for (int i = 0; i < c->shape.rank; i++)
        to[s.rank - c->shape.rank + i] = c->shape.dim[i] == 1 ? 0 : stride[i];
    return oi_fold_strided(im, n->out[0], c, &s, 0, to);
}

static int fold_cast(struct oi *im, struct oi_node *n)
{
    const struct oi_const *c = oi_constant(im, n->in[0]);
    const int to = (int)oi_int(n, "to", 0);
    const bool is_int = to != OM_FLOAT && to != OM_FLOAT16 && to != OM_BFLOAT16 && to != OM_DOUBLE;
    struct oi_const *d;
    int64_t count;

    if (!om_type_size(to))
        return oi_fail(im, -EOPNOTSUPP, "attribute to = %d is not supported", to);
    if (!c || !(d = make(im, is_int, &c->shape)))
        return -E2BIG;
    count = npu_shape_elements(&c->shape);
    for (int64_t i = 0; i < count; i++) {
        const double v = c->is_int ? (double)c->i[i] : (double)c->f[i];

        if (!is_int)
            ((float *)(uintptr_t)d->f)[i] = (float)v;
        else if (to == OM_BOOL)
            ((int64_t *)(uintptr_t)d->i)[i] = v != 0;
        else if (c->is_int)
            ((int64_t *)(uintptr_t)d->i)[i] = c->i[i];
        else if (v > -9e18 && v < 9e18)
            ((int64_t *)(uintptr_t)d->i)[i] = (int64_t)v;
    }
    return oi_set_const(im, n->out[0], d);
}

typedef int shape_fn(struct oi *im, struct oi_node *n, const struct npu_shape *from, struct npu_shape *ret_s);

static int fold_reshape(struct oi *im, struct oi_node *n, shape_fn *f)
{
    const struct oi_const *c = oi_constant(im, n->in[0]);
    struct npu_shape s;
    int r = c ? f(im, n, &c->shape, &s) : -E2BIG;

    return r < 0 ? r : reshaped(im, n->out[0], c, &s);
}

static int fold_node(struct oi *im, struct oi_node *n)
{
    static const struct {
        const char *op;
        int (*fold)(struct oi *im, struct oi_node *n);
    } table[] = {{"ConstantOfShape", fold_constant_of_shape},
                 {"Gather", fold_gather},
                 {"Slice", fold_slice},
                 {"Transpose", fold_transpose},
                 {"Expand", fold_expand},
                 {"Cast", fold_cast}};
    int r = 1;

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (oi_is(n, table[i].op))
            return (r = table[i].fold(im, n)) < 0 ? r : 1;
    if (oi_is(n, "Concat"))
        return fold_concat(im, n);
    if (oi_is(n, "Reshape"))
        r = fold_reshape(im, n, oi_reshape_dims);
    else if (oi_is(n, "Squeeze"))
        r = fold_reshape(im, n, oi_squeeze_shape);
    else if (oi_is(n, "Unsqueeze"))
        r = fold_reshape(im, n, oi_unsqueeze_shape);
    else
        return oi_fold_math(im, n);
    return r < 0 ? r : 1;
}

/* Others fold too where all they take is known, but have their place in another table. */
const struct oi_op oi_fold_ops[] = {
    {"Constant", "value value_float value_int value_ints", 0, 0, 1, NULL, true},
    {"ConstantOfShape", "value", 1, 1, 1, NULL, true},
    {"Shape", "end start", 1, 1, 1, NULL, true},
    {"Range", "", 3, 3, 1, NULL, true},
    {"Where", "", 3, 3, 1, NULL, true},
    {"Equal", "", 2, 2, 1, NULL, true},
    {"Min", "", 2, 2, 1, NULL, true},
    {"Max", "", 2, 2, 1, NULL, true},
    {"Mod", "fmod", 2, 2, 1, NULL, true},
    {"Sqrt", "", 1, 1, 1, NULL, true},
    {"Floor", "", 1, 1, 1, NULL, true},
    {"Ceil", "", 1, 1, 1, NULL, true},
    {"Reciprocal", "", 1, 1, 1, NULL, true},
    {0},
};

int oi_fold(struct oi *im, struct oi_node *n)
{
    int r;

    if (oi_is(n, "Shape") && n->n_in == 1 && n->in[0])
        return (r = fold_shape(im, n)) < 0 ? r : 1;
    if (oi_is(n, "Constant"))
        return (r = fold_constant(im, n)) < 0 ? r : 1;
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && !oi_is_known(n->in[i]))
            return 0;
    return n->n_in > 0 && n->in[0] ? fold_node(im, n) : 0;
}
