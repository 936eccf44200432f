/* plan_io.c - tensors in and out of a plan, starting values, and the guards of tests. */
#include <stdlib.h>

#include "libnpu/dev.h"
#include "libnpu/rng.h"

static int settle(struct npu_plan *p)
{
    return p->in_flight ? npu_fence_wait(&p->fence, -1) : 0;
}

static int check_size(struct npu_plan *p, npu_val v, struct npu_place at, size_t size)
{
    const struct npu_value *val = npu_value_of(p->graph, v);
    char text[96];

    if (at.bank < 0)
        return npu_plan_fail(p, -ENOENT, "value %d has no memory in this plan: make it an output or keep values",
                             (int)v);
    if (at.size != size)
        return npu_plan_fail(p, -EMSGSIZE, "%s %s has %zu bytes, not %zu", val->name ? val->name : "value",
                             npu_type_text(&val->type, text, sizeof text), at.size, size);
    return 0;
}

int npu_plan_write_val(npu_plan *p, npu_val v, const void *data, size_t size)
{
    struct npu_place at = npu_plan_place(p, v);
    int r = check_size(p, v, at, size);

    if (r < 0)
        return r;
    if (npu_value_of(p->graph, v)->kind == NPU_VALUE_NODE)
        return npu_plan_fail(p, -EINVAL, "value %d is a result: it can't be written", (int)v);
    r = settle(p);
    if (r < 0)
        return r;
    if (npu_value_of(p->graph, v)->kind != NPU_VALUE_INPUT)
        p->params_dirty = true;
    return size ? p->dev->ops->write(p, at, data) : 0;
}

int npu_plan_read_val(npu_plan *p, npu_val v, void *data, size_t size)
{
    struct npu_place at = npu_plan_place(p, v);
    int r = check_size(p, v, at, size);

    if (r == 0)
        r = settle(p);
    if (r < 0)
        return r;
    return size ? p->dev->ops->read(p, at, data) : 0;
}

int npu_plan_write(npu_plan *p, const char *name, const void *data, size_t size)
{
    npu_val v = npu_graph_find(p->graph, name);

    return v < 0 ? npu_plan_fail(p, v, "no tensor \"%s\"", name) : npu_plan_write_val(p, v, data, size);
}

int npu_plan_read(npu_plan *p, const char *name, void *data, size_t size)
{
    npu_val v = npu_graph_find(p->graph, name);

    return v < 0 ? npu_plan_fail(p, v, "no tensor \"%s\"", name) : npu_plan_read_val(p, v, data, size);
}

static float init_element(const struct npu_init *init, uint64_t key, int64_t i)
{
    switch (init->kind) {
    case NPU_INIT_CONST:
        return init->a;
    case NPU_INIT_NORMAL:
        return init->a * npu_rng_normal(key, (uint64_t)i);
    case NPU_INIT_TRUNC_NORMAL:
        return init->a * npu_rng_trunc_normal(key, (uint64_t)i);
    case NPU_INIT_UNIFORM:
        return init->a * (2.0f * npu_rng_uniform(key, (uint64_t)i) - 1.0f);
    default:
        return 0.0f;
    }
}

int npu_plan_init(npu_plan *p, uint64_t seed)
{
    for (npu_val v = 1; v <= p->graph->n_values; v++) {
        const struct npu_value *val = npu_value_of(p->graph, v);
        struct npu_tensor t = {.dtype = val->type.dtype, .shape = val->type.shape};
        size_t size = npu_type_bytes(&val->type);
        int64_t n = npu_shape_elements(&t.shape);
        uint64_t key;
        int r;

        if ((val->kind != NPU_VALUE_PARAM && val->kind != NPU_VALUE_STATE) || size == 0)
            continue;
        t.data = malloc(size);
        if (!t.data)
            return npu_plan_fail(p, -ENOMEM, "out of memory");
        key = npu_rng_key(seed, val->name);
        for (int64_t i = 0; i < n; i++)
            npu_store(&t, i, init_element(&val->init, key, i));
        r = npu_plan_write_val(p, v, t.data, size);
        free(t.data);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- guards ---- */
#define GUARD_BYTE 0xa5

static int each_bank(struct npu_plan *p, int (*f)(struct npu_plan *p, int bank, unsigned char *bytes))
{
    int r = settle(p);

    for (int b = 0; r >= 0 && b < p->n_banks; b++) {
        unsigned char *bytes = p->bank[b].size ? malloc(p->bank[b].size) : NULL;

        if (!p->bank[b].size)
            continue;
        if (!bytes)
            return npu_plan_fail(p, -ENOMEM, "out of memory");
        r = f(p, b, bytes);
        free(bytes);
    }
    return r;
}

/* Calls f for each placement: values that own memory, then buffers. */
static int each_place(struct npu_plan *p, int bank, unsigned char *bytes,
                      int (*f)(struct npu_plan *p, struct npu_place at, npu_val v, unsigned char *bytes))
{
    int r = 0;

    for (npu_val v = 1; r >= 0 && v <= p->graph->n_values; v++)
        if (npu_value_of(p->graph, v)->root == v && p->place[v - 1].bank == bank)
            r = f(p, p->place[v - 1], v, bytes);
    for (int i = 0; r >= 0 && i < p->lower.n_bufs; i++)
        if (p->lower.buf[i].place.bank == bank)
            r = f(p, p->lower.buf[i].place, NPU_NONE, bytes);
    return r;
}

static int poison_place(struct npu_plan *p, struct npu_place at, npu_val v, unsigned char *bytes)
{
    memset(bytes + at.offset, 0xff, at.size);
    return 0;
}

static int poison_bank(struct npu_plan *p, int bank, unsigned char *bytes)
{
    memset(bytes, GUARD_BYTE, p->bank[bank].size);
    each_place(p, bank, bytes, poison_place);
    p->params_dirty = true;
    return p->dev->ops->write(p, (struct npu_place){bank, 0, p->bank[bank].size}, bytes);
}

int npu_plan_poison(struct npu_plan *p)
{
    return each_bank(p, poison_bank);
}

static int check_place(struct npu_plan *p, struct npu_place at, npu_val v, unsigned char *bytes)
{
    const struct npu_value *val = npu_value_of(p->graph, v);
    const char *op = val && val->node >= 0 ? p->graph->node[val->node]->op->name : val ? "input" : "scratch";

    for (size_t i = 0; i < p->guard; i++) {
        if (bytes[at.offset - 1 - i] != GUARD_BYTE)
            return npu_plan_fail(p, -EFAULT, "%zu bytes before value %d (%s) were overwritten", i + 1, (int)v, op);
        if (bytes[at.offset + at.size + i] != GUARD_BYTE)
            return npu_plan_fail(p, -EFAULT, "byte %zu after value %d (%s, %zu bytes) was overwritten", i, (int)v, op,
                                 at.size);
    }
    return 0;
}

static int check_bank(struct npu_plan *p, int bank, unsigned char *bytes)
{
    int r = p->dev->ops->read(p, (struct npu_place){bank, 0, p->bank[bank].size}, bytes);

    return r < 0 ? r : each_place(p, bank, bytes, check_place);
}

int npu_plan_check_guards(struct npu_plan *p)
{
    return p->opts.keep_values ? each_bank(p, check_bank) : 0;
}
