/* lower.c - what operations call to describe their launches. */
#include "libnpu/lower.h"

#include <stdarg.h>
#include <stdlib.h>

#include "libnpu/tier/tier.h"

const struct npu_traits *npu_lower_traits(const struct npu_lower *l)
{
    return l->traits;
}

const struct npu_graph *npu_lower_graph(const struct npu_lower *l)
{
    return l->graph;
}

struct npu_tensor_type npu_lower_type(const struct npu_lower *l, npu_val v)
{
    const struct npu_value *val = npu_value_of(l->graph, v);
    return val ? val->type : (struct npu_tensor_type){0};
}

bool npu_lower_tier(const struct npu_lower *l, const char *tier)
{
    return !l->only || strcmp(l->only, tier) == 0;
}

int npu_lower_refuse(struct npu_lower *l, const char *tier, const char *why)
{
    if (l->only && strcmp(l->only, tier) == 0)
        l->refused = why;
    return -EOPNOTSUPP;
}

/* Launches carry their own failure (dims < 0 is a status) because the setters return nothing. */
static void launch_fail(struct npu_launch *k, int r)
{
    if (k && k->dims >= 0)
        k->dims = r;
}

struct npu_launch *npu_lower_launch(struct npu_lower *l, const char *source, const char *entry)
{
    struct npu_launch *k;

    /* room for all launches of a node is made beforehand: the pointers that an operation holds must stay good */
    if (l->n_launches - l->first_launch >= NPU_MAX_LAUNCHES) {
        l->status = -E2BIG;
        return NULL;
    }
    k = &l->launch[l->n_launches++];
    memset(k, 0, sizeof *k);
    k->source = source;
    k->entry = entry;
    return k;
}

void npu_launch_def(struct npu_launch *k, const char *fmt, ...)
{
    size_t n = k ? strlen(k->defs) : 0;
    va_list ap;
    int r;

    if (!k)
        return;
    if (n > 0 && n + 1 < sizeof k->defs)
        k->defs[n++] = ' ';
    va_start(ap, fmt);
    r = vsnprintf(k->defs + n, sizeof k->defs - n, fmt, ap);
    va_end(ap);
    if (r < 0 || (size_t)r >= sizeof k->defs - n)
        launch_fail(k, -E2BIG);
}

static struct npu_arg *next_arg(struct npu_launch *k, enum npu_arg_kind kind)
{
    if (!k || k->n_args >= NPU_MAX_ARGS) {
        launch_fail(k, -E2BIG);
        return NULL;
    }
    k->arg[k->n_args].kind = kind;
    return &k->arg[k->n_args++];
}

void npu_launch_val(struct npu_launch *k, npu_val v)
{
    struct npu_arg *a = next_arg(k, NPU_ARG_VAL);

    if (a)
        a->val = v;
}

void npu_launch_i32(struct npu_launch *k, int64_t v)
{
    struct npu_arg *a = next_arg(k, NPU_ARG_I32);

    if (v != (int32_t)v)
        launch_fail(k, -EOVERFLOW);
    else if (a)
        a->i = (int32_t)v;
}

void npu_launch_f32(struct npu_launch *k, float v)
{
    struct npu_arg *a = next_arg(k, NPU_ARG_F32);

    if (a)
        a->f = v;
}

void npu_launch_buf(struct npu_launch *k, enum npu_arg_kind kind, int buf)
{
    struct npu_arg *a = next_arg(k, kind);

    if (kind != NPU_ARG_SCRATCH && kind != NPU_ARG_PACKED)
        launch_fail(k, -EINVAL);
    else if (a)
        a->buf = buf;
}

void npu_launch_size(struct npu_launch *k, size_t gx, size_t gy, size_t gz)
{
    if (!k || k->dims < 0)
        return;
    k->global[0] = gx;
    k->global[1] = gy ? gy : 1;
    k->global[2] = gz ? gz : 1;
    k->dims = gz ? 3 : gy ? 2 : 1;
}

void npu_launch_local(struct npu_launch *k, size_t lx, size_t ly, size_t lz)
{
    if (!k)
        return;
    k->local[0] = lx;
    k->local[1] = ly ? ly : 1;
    k->local[2] = lz ? lz : 1;
}

void npu_launch_span(struct npu_launch *k, const struct npu_traits *t, int64_t n, int w)
{
    bool cpu = t->kind == NPU_KIND_CPU || t->kind == NPU_KIND_REF;
    int64_t block = 8192 / w * w, items = (n + block - 1) / block, lanes = (n + w - 1) / w;
    int64_t most = (int64_t)t->compute_units * 2048;

    if (cpu) { /* blocks of consecutive elements, fewer than 8192 each only to keep all units busy */
        int64_t want = (int64_t)t->compute_units * 2;

        if (items < want && n > want * 512) {
            block = ((n + want - 1) / want + w - 1) / w * w;
            items = (n + block - 1) / block;
        }
        npu_launch_i32(k, n);
        npu_launch_i32(k, block);
        npu_launch_i32(k, block);
        npu_launch_i32(k, w);
        npu_launch_size(k, (size_t)items, 0, 0);
        npu_launch_local(k, 1, 1, 1);
    } else {
        items = ((lanes < most ? lanes : most) + 63) / 64 * 64;
        npu_launch_i32(k, n);
        npu_launch_i32(k, w);
        npu_launch_i32(k, n);
        npu_launch_i32(k, items * w);
        npu_launch_size(k, (size_t)items, 0, 0);
        npu_launch_local(k, 64, 1, 1);
    }
    if (n > INT32_MAX / 2)
        launch_fail(k, -EOVERFLOW);
}

static int add_buf(struct npu_lower *l, size_t bytes, bool packed)
{
    if (l->n_bufs == l->cap_bufs) {
        int cap = l->cap_bufs ? l->cap_bufs * 2 : 64;
        struct npu_buf *b = realloc(l->buf, (size_t)cap * sizeof *b);

        if (!b) {
            l->status = -ENOMEM;
            return 0;
        }
        l->buf = b;
        l->cap_bufs = cap;
    }
    l->buf[l->n_bufs] = (struct npu_buf){.size = bytes, .packed = packed, .step = l->step, .place.bank = -1};
    return l->n_bufs++;
}

int npu_lower_scratch(struct npu_lower *l, size_t bytes)
{
    return add_buf(l, bytes, false);
}

int npu_lower_packed(struct npu_lower *l, size_t bytes)
{
    return add_buf(l, bytes, true);
}

/* Makes room for the launches of one node. */
static int reserve(struct npu_lower *l)
{
    struct npu_launch *k;
    int cap;

    if (l->n_launches + NPU_MAX_LAUNCHES <= l->cap_launches)
        return 0;
    cap = l->cap_launches ? l->cap_launches * 2 : 64;
    k = realloc(l->launch, (size_t)cap * sizeof *k);
    if (!k)
        return -ENOMEM;
    l->launch = k;
    l->cap_launches = cap;
    return 0;
}

/* Checks one launch; returns 1 if it has no work at all. */
static int check_launch(const struct npu_lower *l, struct npu_launch *k)
{
    if (k->dims < 0)
        return k->dims;
    for (int i = 0; i < k->n_args; i++) {
        const struct npu_arg *a = &k->arg[i];

        if (a->kind == NPU_ARG_VAL && a->val != NPU_NONE && !npu_value_of(l->graph, a->val))
            return -EINVAL;
        if ((a->kind == NPU_ARG_SCRATCH || a->kind == NPU_ARG_PACKED) && (a->buf < 0 || a->buf >= l->n_bufs))
            return -EINVAL;
    }
    if (k->native)
        return 0;
    for (int i = 0; i < k->dims; i++) {
        if (k->global[i] == 0)
            return 1;
        if (k->local[0] && (k->local[i] == 0 || k->global[i] % k->local[i]))
            return -EINVAL;
    }
    return k->dims == 0 ? 1 : 0;
}

/* With only one tier allowed, operations see a device that has no better one. */
static int lower_op(struct npu_lower *l, const struct npu_node *n)
{
    const struct npu_traits *all = l->traits;
    struct npu_traits few;
    int r;

    if (!l->only)
        return npu_node_lower(n)(n, l);
    few = npu_tier_traits(all, l->only);
    l->traits = &few;
    r = npu_node_lower(n)(n, l);
    l->traits = all;
    return r;
}

int npu_lower_node(struct npu_lower *l, const struct npu_node *n, int step, int *ret_first, char *why, size_t why_size)
{
    int r = reserve(l), kept;

    if (r < 0)
        return r;
    l->step = step;
    l->first_launch = kept = l->n_launches;
    l->status = 0;
    if (!npu_node_lower(n)) {
        snprintf(why, why_size, "operation %s has no kernel", n->op->name);
        return -EOPNOTSUPP;
    }
    r = lower_op(l, n);
    if (r >= 0)
        r = l->status;
    for (int i = l->first_launch; r >= 0 && i < l->n_launches; i++) {
        r = check_launch(l, &l->launch[i]);
        if (r < 0)
            snprintf(why, why_size, "operation %s: launch %s of %s.cl is invalid (%s)", n->op->name,
                     l->launch[i].entry ? l->launch[i].entry : "(native)",
                     l->launch[i].source ? l->launch[i].source : "", strerror(-r));
        else if (r == 0 && kept++ != i)
            l->launch[kept - 1] = l->launch[i];
    }
    if (r < 0) {
        if (!why[0])
            snprintf(why, why_size, "operation %s can't run here: %s", n->op->name, strerror(-r));
        return r;
    }
    l->n_launches = kept;
    *ret_first = l->first_launch;
    return 0;
}

void npu_lower_done(struct npu_lower *l)
{
    free(l->launch);
    free(l->buf);
    memset(l, 0, sizeof *l);
}
