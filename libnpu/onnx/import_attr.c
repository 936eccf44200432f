/* import_attr.c - attributes of the nodes of a file. */
#include "libnpu/onnx/import.h"

const struct om_attr *oi_attr(const struct oi_node *n, const char *name)
{
    for (int i = 0; i < n->p->n_attr; i++)
        if (strcmp(n->p->attr[i].name, name) == 0)
            return &n->p->attr[i];
    return NULL;
}

int64_t oi_int(const struct oi_node *n, const char *name, int64_t otherwise)
{
    const struct om_attr *a = oi_attr(n, name);

    return a && a->kind == OM_ATTR_INT ? a->i : otherwise;
}

float oi_float(const struct oi_node *n, const char *name, float otherwise)
{
    const struct om_attr *a = oi_attr(n, name);

    return a && a->kind == OM_ATTR_FLOAT ? a->f : otherwise;
}

const char *oi_string(const struct oi_node *n, const char *name, const char *otherwise)
{
    const struct om_attr *a = oi_attr(n, name);

    return a && a->kind == OM_ATTR_STRING ? a->s : otherwise;
}

int oi_ints(struct oi *im, const struct oi_node *n, const char *name, int count, int64_t otherwise, int64_t lo,
            int64_t hi, int64_t *ret_i)
{
    const struct om_attr *a = oi_attr(n, name);

    for (int i = 0; !a && i < count; i++)
        ret_i[i] = otherwise;
    if (!a)
        return 0;
    if (a->kind != OM_ATTR_INTS || a->n_ints != count)
        return oi_fail(im, -EOPNOTSUPP, "attribute %s must have %d numbers", name, count);
    for (int i = 0; i < count; i++) {
        if (a->ints[i] < lo || a->ints[i] > hi)
            return oi_fail(im, -EOPNOTSUPP, "attribute %s has the value %lld; %lld to %lld are supported", name,
                           (long long)a->ints[i], (long long)lo, (long long)hi);
        ret_i[i] = a->ints[i];
    }
    return 0;
}

int oi_axes(struct oi *im, const struct oi_node *n, int index, int rank, unsigned *ret_mask)
{
    const struct om_attr *a = oi_attr(n, "axes");
    int64_t axis[NPU_MAX_DIMS];
    int count = 0;

    if (a && (a->kind != OM_ATTR_INTS || a->n_ints > NPU_MAX_DIMS))
        return oi_fail(im, -EOPNOTSUPP, "attribute axes must be a list of at most %d", NPU_MAX_DIMS);
    if (a) {
        count = a->n_ints;
        memcpy(axis, a->ints, (size_t)count * sizeof *axis);
    } else if (index >= 0 && index < n->n_in && n->in[index]) {
        count = oi_numbers(im, n->in[index], NPU_MAX_DIMS, axis);
        if (count < 0)
            return count;
    }
    if (count == 0)
        return -ENOENT;
    *ret_mask = 0;
    for (int i = 0; i < count; i++) {
        const int64_t at = axis[i] < 0 ? axis[i] + rank : axis[i];

        if (at < 0 || at >= rank || *ret_mask >> at & 1)
            return oi_fail(im, -EINVAL, "axis %lld of a tensor of rank %d", (long long)axis[i], rank);
        *ret_mask |= 1u << at;
    }
    return 0;
}

int oi_axis(struct oi *im, const struct oi_node *n, int64_t otherwise, int rank, int *ret_axis)
{
    const int64_t axis = oi_int(n, "axis", otherwise), at = axis < 0 ? axis + rank : axis;

    if (at < 0 || at >= rank)
        return oi_fail(im, -EINVAL, "attribute axis is %lld, the tensor has rank %d", (long long)axis, rank);
    *ret_axis = (int)at;
    return 0;
}

static bool has_word(const char *words, const char *word)
{
    const size_t n = strlen(word);

    for (const char *p = words; n > 0 && (p = strstr(p, word)); p += n)
        if ((p == words || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
            return true;
    return false;
}

/* The format gives each attribute one kind; those of the operations that libnpu has agree on it by name. */
static int kind_of(const struct oi_node *n, const char *name)
{
    static const char ints[] = "axes dilations ends kernel_shape pads perm split starts strides value_ints";
    static const char floats[] = "alpha beta cubic_coeff_a epsilon extrapolation_value max min momentum ratio "
                                 "value_float";
    static const char strings[] = "approximate auto_pad coordinate_transformation_mode keep_aspect_ratio_policy mode "
                                  "nearest_mode";

    if (strcmp(name, "value") == 0)
        return oi_is(n, "Pad") ? OM_ATTR_FLOAT : OM_ATTR_TENSOR;
    if (has_word(ints, name))
        return OM_ATTR_INTS;
    if (has_word(floats, name))
        return OM_ATTR_FLOAT;
    return has_word(strings, name) ? OM_ATTR_STRING : OM_ATTR_INT;
}

int oi_check_attrs(struct oi *im, const struct oi_node *n)
{
    for (int i = 0; i < n->p->n_attr; i++) {
        const struct om_attr *a = &n->p->attr[i];

        if (!has_word(n->op->attrs, a->name))
            return oi_fail(im, -EOPNOTSUPP, "attribute %.60s is not supported", a->name);
        if (a->kind != kind_of(n, a->name))
            return oi_fail(im, -EINVAL, "attribute %.60s has a value of another kind than the format says", a->name);
    }
    return 0;
}
