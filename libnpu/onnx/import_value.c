/* import_value.c - values of the file: look-up, constants, parameters, orders of axes. */
#include <stdarg.h>
#include <stdlib.h>

#include "libnpu/dtype.h"
#include "libnpu/onnx/import.h"

const int oi_nhwc[4] = {0, 3, 1, 2};

int oi_fail(struct oi *im, int r, const char *fmt, ...)
{
    char text[NPU_ONNX_MESSAGE];
    const struct oi_node *n = im->at;
    va_list ap;

    if (im->failed)
        return r;
    im->failed = 1;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!n)
        return om_say(im->message, r, "%s", text);
    return om_say(im->message, r, "%.60s node \"%.120s\": %s", n->p->op,
                  n->p->name[0] ? n->p->name
                  : n->p->n_out ? n->p->out[0]
                                : "",
                  text);
}

void *oi_alloc(struct oi *im, size_t n, size_t size)
{
    void *p = om_alloc(im->m, n, size);

    if (!p)
        oi_fail(im, -E2BIG, "the model takes more memory than the limit");
    return p;
}

static uint32_t hash_name(const char *s)
{
    uint32_t h = 2166136261u;

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    return h;
}

struct oi_value *oi_lookup(struct oi *im, const char *name, bool make)
{
    const uint32_t h = hash_name(name);
    size_t at = h & (im->table_size - 1);

    for (; im->table[at]; at = (at + 1) & (im->table_size - 1))
        if (im->table[at]->hash == h && strcmp(im->table[at]->name, name) == 0)
            return im->table[at];
    if (!make)
        return NULL;
    im->table[at] = oi_alloc(im, 1, sizeof *im->table[at]);
    if (im->table[at]) {
        im->table[at]->name = name;
        im->table[at]->hash = h;
    }
    return im->table[at];
}

struct oi_value *oi_new_value(struct oi *im)
{
    struct oi_value *x = oi_alloc(im, 1, sizeof *x);

    if (x)
        x->name = "";
    return x;
}

/* ---- constants ---- */
static int64_t load_int(const unsigned char *p, int type)
{
    int64_t wide;
    int32_t word;

    switch (type) {
    case OM_INT64:
        memcpy(&wide, p, sizeof wide);
        return wide;
    case OM_INT32:
        memcpy(&word, p, sizeof word);
        return word;
    case OM_INT8:
        return (int8_t)*p;
    default:
        return *p;
    }
}

static float load_float(const unsigned char *p, int type)
{
    double wide;
    uint16_t half;
    float f;

    if (type == OM_DOUBLE) {
        memcpy(&wide, p, sizeof wide);
        return (float)wide;
    }
    if (type == OM_FLOAT) {
        memcpy(&f, p, sizeof f);
        return f;
    }
    memcpy(&half, p, sizeof half);
    return type == OM_FLOAT16 ? npu_f16_to_f32(half) : npu_bf16_to_f32(half);
}

static const struct oi_const *read_constant(struct oi *im, const struct om_tensor *t)
{
    const size_t n = (size_t)npu_shape_elements(&t->shape), size = om_type_size(t->type);
    struct oi_const *c = oi_alloc(im, 1, sizeof *c);
    int64_t *whole;
    float *f;

    if (!c)
        return NULL;
    c->shape = t->shape;
    c->is_int = t->type != OM_FLOAT && t->type != OM_DOUBLE && t->type != OM_FLOAT16 && t->type != OM_BFLOAT16;
    if (t->type == OM_FLOAT && (uintptr_t)t->data % _Alignof(float) == 0 && n > 0) {
        c->f = t->data;
        return c;
    }
    c->i = whole = c->is_int ? oi_alloc(im, n + 1, sizeof *whole) : NULL;
    c->f = f = c->is_int ? NULL : oi_alloc(im, n + 1, sizeof *f);
    if (!whole && !f)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (whole)
            whole[i] = load_int((const unsigned char *)t->data + i * size, t->type);
        else
            f[i] = load_float((const unsigned char *)t->data + i * size, t->type);
    return c;
}

bool oi_is_known(const struct oi_value *x)
{
    return x && (x->c || x->tensor);
}

const struct oi_const *oi_constant(struct oi *im, struct oi_value *x)
{
    if (!x || x->c || !x->tensor)
        return x ? x->c : NULL;
    x->c = read_constant(im, x->tensor);
    return x->c;
}

bool oi_number(struct oi *im, struct oi_value *x, float *ret_f)
{
    const struct oi_const *c;

    if (!oi_is_known(x) || npu_shape_elements(x->tensor ? &x->tensor->shape : &x->c->shape) != 1)
        return false;
    c = oi_constant(im, x);
    if (c)
        *ret_f = c->is_int ? (float)c->i[0] : c->f[0];
    return c != NULL;
}

int oi_numbers(struct oi *im, struct oi_value *x, int max, int64_t *ret_i)
{
    const struct oi_const *c = oi_constant(im, x);
    int64_t n;

    if (!c || !c->is_int || c->shape.rank > 1)
        return oi_fail(im, -EOPNOTSUPP, "input \"%.100s\" must be a constant list of whole numbers", x ? x->name : "");
    n = npu_shape_elements(&c->shape);
    if (n > max)
        return oi_fail(im, -EOPNOTSUPP, "input \"%.100s\" has %lld numbers; %d are the most", x->name, (long long)n,
                       max);
    memcpy(ret_i, c->i, (size_t)n * sizeof *ret_i);
    return (int)n;
}

int oi_set_const(struct oi *im, struct oi_value *out, const struct oi_const *c)
{
    if (!out)
        return 0;
    if (!c)
        return oi_fail(im, -E2BIG, "the model takes more memory than the limit");
    out->c = c;
    out->shape = c->shape;
    out->defined = true;
    return 0;
}

/* ---- parameters ---- */
/* Outputs get their names last, but keep them. */
static bool is_taken(struct oi *im, const char *name)
{
    const struct oi_value *x = oi_lookup(im, name, false);

    return (x && x->is_output) || npu_graph_find(im->g, name) > 0;
}

/* The name of a parameter: that of the value, shortened with a hash if it is too long, with a number if it is taken. */
static const char *param_name(struct oi *im, const struct oi_value *x, char buf[NPU_MAX_NAME])
{
    const size_t n = strlen(x->name);

    if (n < NPU_MAX_NAME)
        memcpy(buf, x->name, n + 1);
    else
        snprintf(buf, NPU_MAX_NAME, "%.70s#%08x", x->name + n - 70, (unsigned)x->hash);
    for (int i = 2; !buf[0] || is_taken(im, buf); i++)
        snprintf(buf, NPU_MAX_NAME, "%.70s.%d", n < NPU_MAX_NAME ? x->name : x->name + n - 70, i);
    return buf;
}

/* v with its elements: takes over data, also when it fails. */
static npu_val keep(struct oi *im, npu_val v, void *data, size_t size)
{
    npu_onnx *out = im->out;
    const int cap = out->cap_params ? 2 * out->cap_params : 64;
    void *p = out->param;

    if (v > 0 && data && out->n_params == out->cap_params) {
        p = realloc(out->param, (size_t)cap * sizeof *out->param);
        if (p) {
            out->param = p;
            out->cap_params = cap;
        }
    }
    if (v < 0 || !data || !p) {
        free(data);
        return v < 0 ? oi_fail(im, v, "%s", npu_graph_error(im->g)) : oi_fail(im, -ENOMEM, "out of memory");
    }
    out->param[out->n_params++] = (struct npu_onnx_param){v, data, size};
    im->param_bytes += size;
    return v;
}

static int check_room(struct oi *im, size_t n, size_t size)
{
    if (n > NPU_MAX_ELEMENTS || n * size > im->m->max_memory - im->param_bytes)
        return oi_fail(im, -E2BIG, "the model takes more memory than the limit");
    return 0;
}

/* A parameter with memory for its elements. */
static npu_val new_param(struct oi *im, const struct oi_value *x, const struct npu_shape *s, float **ret_data)
{
    const size_t n = (size_t)npu_shape_elements(s);
    char name[NPU_MAX_NAME];
    npu_val v;

    if (check_room(im, n, sizeof **ret_data) < 0)
        return -E2BIG;
    v = npu_param(im->g, param_name(im, x, name), s->rank, s->dim, (struct npu_init){.kind = NPU_INIT_ZERO});
    *ret_data = om_large(malloc((n + 1) * sizeof **ret_data), n * sizeof **ret_data);
    return keep(im, v, *ret_data, n * sizeof **ret_data);
}

npu_val oi_param(struct oi *im, const struct oi_value *x, const struct npu_shape *s, const float *data)
{
    float *to = NULL;
    const npu_val v = new_param(im, x, s, &to);

    if (v > 0)
        memcpy(to, data, (size_t)npu_shape_elements(s) * sizeof *to);
    return v;
}

/* The elements of c that oi_copy_strided() takes, c of floats. */
static npu_val strided_param(struct oi *im, const struct oi_value *x, const struct npu_shape *s,
                             const struct oi_const *c, const int64_t *stride)
{
    float *to = NULL;
    const npu_val v = new_param(im, x, s, &to);

    if (v > 0)
        oi_copy_strided(c, s, 0, stride, to);
    return v;
}

npu_val oi_state(struct oi *im, const struct oi_value *x, enum npu_dtype t, const struct npu_shape *s,
                 const int64_t *data)
{
    const size_t n = (size_t)npu_shape_elements(s), size = npu_dtype_size(t);
    const int64_t top = t == NPU_I8 ? INT8_MAX : INT32_MAX;
    char name[NPU_MAX_NAME];
    unsigned char *copy;
    npu_val v;

    if (check_room(im, n, size) < 0)
        return -E2BIG;
    for (size_t i = 0; i < n; i++)
        if (data[i] < -top - 1 || data[i] > top)
            return oi_fail(im, -EOPNOTSUPP, "constant \"%.100s\" holds %lld, which is no %s", x->name,
                           (long long)data[i], npu_dtype_name(t));
    v = npu_state(im->g, param_name(im, x, name), t, s->rank, s->dim, (struct npu_init){.kind = NPU_INIT_ZERO});
    copy = malloc((n + 1) * size);
    for (size_t i = 0; copy && i < n; i++)
        if (t == NPU_I8)
            ((int8_t *)copy)[i] = (int8_t)data[i];
        else
            ((int32_t *)(void *)copy)[i] = (int32_t)data[i];
    return keep(im, v, copy, n * size);
}

void oi_strides(const struct npu_shape *s, int64_t *ret_stride)
{
    for (int i = s->rank - 1; i >= 0; i--)
        ret_stride[i] = i == s->rank - 1 ? 1 : ret_stride[i + 1] * s->dim[i + 1];
}

/* A constant as a parameter whose axis perm[i] is axis i of the constant. */
static npu_val const_layout(struct oi *im, struct oi_value *x, const struct oi_const *c, const int *perm)
{
    const int rank = c->shape.rank;
    int64_t stride[NPU_MAX_DIMS], to_stride[NPU_MAX_DIMS];
    struct npu_shape s = {.rank = rank};
    struct oi_use *u;

    for (u = x->uses; u; u = u->next)
        if (u->rank == rank && memcmp(u->perm, perm, (size_t)rank * sizeof *perm) == 0)
            return u->v;
    if (c->is_int)
        return oi_fail(im, -EOPNOTSUPP, "constant \"%.100s\" of whole numbers where floats are needed", x->name);
    u = oi_alloc(im, 1, sizeof *u);
    if (!u)
        return -E2BIG;
    oi_strides(&c->shape, stride);
    for (int i = 0; i < rank; i++) {
        s.dim[perm[i]] = c->shape.dim[i];
        to_stride[perm[i]] = stride[i];
    }
    u->v = oi_identity(perm, rank) ? oi_param(im, x, &s, c->f) : strided_param(im, x, &s, c, to_stride);
    u->rank = rank;
    memcpy(u->perm, perm, (size_t)rank * sizeof *perm);
    if (u->v > 0) {
        u->next = x->uses;
        x->uses = u;
    }
    return u->v;
}

/* ---- computed values ---- */
int oi_set(struct oi *im, struct oi_value *out, npu_val v, const int *perm)
{
    const struct npu_shape *s = npu_val_shape(im->g, v);

    if (v < 0 || !s)
        return oi_fail(im, v < 0 ? v : -EINVAL, "%s", npu_graph_error(im->g));
    if (!out)
        return 0;
    out->v = v;
    out->native = NPU_NONE;
    out->shape.rank = s->rank;
    out->defined = true;
    for (int i = 0; i < s->rank; i++) {
        out->perm[i] = perm ? perm[i] : i;
        out->shape.dim[i] = s->dim[out->perm[i]];
    }
    return 0;
}

int oi_alias(struct oi *im, struct oi_value *out, struct oi_value *x)
{
    if (oi_is_known(x))
        return oi_set_const(im, out, oi_constant(im, x));
    return oi_set(im, out, x->v, x->perm);
}

/* Moving axes of size 1 alone moves no element. */
static bool moves_nothing(const struct npu_shape *s, const int *order)
{
    int last = -1;

    for (int i = 0; i < s->rank; i++) {
        // NOLINTNEXTLINE(clang-analyzer-core.uninitialized.ArraySubscript): as many as s has dims
        if (s->dim[order[i]] == 1)
            continue;
        if (order[i] < last)
            return false;
        last = order[i];
    }
    return true;
}

npu_val oi_layout(struct oi *im, struct oi_value *x, const int *perm)
{
    const struct oi_const *c = oi_constant(im, x);
    const struct npu_shape *s;
    int order[NPU_MAX_DIMS];
    int64_t dim[NPU_MAX_DIMS];
    npu_val v;

    if (im->failed)
        return -E2BIG;
    if (c)
        return const_layout(im, x, c, perm);
    s = &x->shape;
    if (memcmp(perm, x->perm, (size_t)s->rank * sizeof *perm) == 0)
        return x->v;
    if (oi_identity(perm, s->rank) && x->native > 0)
        return x->native;
    for (int i = 0; i < s->rank; i++) {
        order[perm[i]] = x->perm[i];
        dim[perm[i]] = s->dim[i];
    }
    v = moves_nothing(npu_val_shape(im->g, x->v), order) ? npu_reshape(im->g, x->v, s->rank, dim)
                                                         : npu_permute(im->g, x->v, order);
    if (v < 0)
        return oi_fail(im, v, "%s", npu_graph_error(im->g));
    if (oi_identity(perm, s->rank))
        x->native = v;
    return v;
}

npu_val oi_native(struct oi *im, struct oi_value *x)
{
    static const int identity[NPU_MAX_DIMS] = {0, 1, 2, 3, 4, 5};

    return oi_layout(im, x, identity);
}

npu_val oi_layout_last(struct oi *im, struct oi_value *x, int axis, int *ret_perm)
{
    const int rank = x->shape.rank;

    if (!oi_is_known(x) && x->perm[axis] == rank - 1) {
        memcpy(ret_perm, x->perm, (size_t)rank * sizeof *ret_perm);
        return x->v;
    }
    for (int i = 0; i < rank; i++)
        ret_perm[i] = i == axis ? rank - 1 : i - (i > axis);
    return oi_layout(im, x, ret_perm);
}
