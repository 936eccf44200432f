/* plan_file.c - parameters and states of a plan from and to safetensors files. */
#include <stdlib.h>

#include "libnpu/plan.h"
#include "libnpu/safetensors.h"

static bool is_stored(const struct npu_value *v)
{
    return v->kind == NPU_VALUE_PARAM || v->kind == NPU_VALUE_STATE;
}

static bool same_shape(const struct npu_shape *a, const struct npu_shape *b)
{
    if (a->rank != b->rank)
        return false;
    return a->rank == 0 || memcmp(a->dim, b->dim, (size_t)a->rank * sizeof a->dim[0]) == 0;
}

static int check_tensor(npu_plan *p, const char *path, const struct npu_value *v, const struct st_tensor *t)
{
    char want[96], have[96];
    struct npu_tensor_type type;

    if (!t)
        return npu_plan_fail(p, -EINVAL, "%s: tensor \"%s\" %s is missing", path, v->name,
                             npu_type_text(&v->type, want, sizeof want));
    type = (struct npu_tensor_type){t->dtype, t->shape};
    npu_type_text(&v->type, want, sizeof want);
    npu_type_text(&type, have, sizeof have);
    if (!t->has_dtype || npu_dtype_is_float(t->dtype) != npu_dtype_is_float(v->type.dtype) ||
        (!npu_dtype_is_float(t->dtype) && t->dtype != v->type.dtype))
        return npu_plan_fail(p, -EINVAL, "%s: tensor \"%s\" has type %s; the model needs %s", path, v->name,
                             t->dtype_name, want);
    if (!same_shape(&t->shape, &v->type.shape))
        return npu_plan_fail(p, -EINVAL, "%s: tensor \"%s\" is %s; the model needs %s", path, v->name, have, want);
    return 0;
}

static int check_file(npu_plan *p, const char *path, const struct st_file *f, bool strict)
{
    for (npu_val v = 1; v <= p->graph->n_values; v++) {
        const struct npu_value *val = npu_value_of(p->graph, v);
        int r = is_stored(val) ? check_tensor(p, path, val, st_find(f, val->name)) : 0;

        if (r < 0)
            return r;
    }
    for (int i = 0; strict && i < st_n_tensors(f); i++) {
        const char *name = st_tensor(f, i)->name;
        npu_val v = npu_graph_find(p->graph, name);

        if (v < 0 || !is_stored(npu_value_of(p->graph, v)))
            return npu_plan_fail(p, -EINVAL, "%s: tensor \"%s\" is not in the model", path, name);
    }
    return 0;
}

static int load_tensor(npu_plan *p, npu_val v, const struct st_tensor *t)
{
    const struct npu_value *val = npu_value_of(p->graph, v);
    struct npu_tensor to = {.dtype = val->type.dtype, .shape = val->type.shape};
    int64_t n = npu_shape_elements(&to.shape);
    float *x;
    int r;

    if (t->dtype == to.dtype)
        return npu_plan_write_val(p, v, t->data, t->size);
    x = calloc((size_t)n + 1, sizeof *x);
    to.data = malloc(npu_type_bytes(&val->type) + 1);
    r = x && to.data ? st_read_f32(t, 0, n, x) : npu_plan_fail(p, -ENOMEM, "out of memory");
    for (int64_t i = 0; r == 0 && x && i < n; i++)
        npu_store(&to, i, x[i]);
    if (r == 0)
        r = npu_plan_write_val(p, v, to.data, npu_type_bytes(&val->type));
    free(x);
    free(to.data);
    return r;
}

int npu_plan_load(npu_plan *p, const char *path, bool strict)
{
    struct st_file *f;
    char why[256] = "";
    int r = st_open(path, &f, why, sizeof why);

    if (r < 0)
        return npu_plan_fail(p, r, "%s: %s", path, why[0] ? why : strerror(-r));
    r = check_file(p, path, f, strict);
    for (npu_val v = 1; r == 0 && v <= p->graph->n_values; v++)
        if (is_stored(npu_value_of(p->graph, v)))
            r = load_tensor(p, v, st_find(f, npu_value_of(p->graph, v)->name));
    st_close(f);
    return r;
}

int npu_plan_save(npu_plan *p, const char *path, unsigned flags, const char *const *metadata)
{
    struct st_source *t = calloc((size_t)p->graph->n_values + 1, sizeof *t);
    int n = 0, r = t ? 0 : -ENOMEM;

    for (npu_val v = 1; r == 0 && v <= p->graph->n_values; v++) {
        const struct npu_value *val = npu_value_of(p->graph, v);
        size_t size = npu_type_bytes(&val->type);
        void *data;

        if (!is_stored(val) || !(flags & (val->moment ? NPU_SAVE_MOMENTS : NPU_SAVE_PARAMS)))
            continue;
        data = malloc(size + 1);
        if (!data) {
            r = -ENOMEM;
            break;
        }
        t[n++] = (struct st_source){val->name, val->type.dtype, val->type.shape, data};
        r = npu_plan_read_val(p, v, data, size);
    }
    if (r == 0) {
        r = st_write(path, t, n, metadata);
        if (r < 0)
            npu_plan_fail(p, r, "%s: %s", path, strerror(-r));
    } else if (r == -ENOMEM) {
        npu_plan_fail(p, r, "out of memory");
    }
    for (int i = 0; t && i < n; i++)
        free((void *)(uintptr_t)t[i].data);
    free(t);
    return r;
}
