/* cl_native.c - C functions on the OpenCL queue: one native kernel whose parts run on the device's pool of threads. */
#include <stdlib.h>

#include "libnpu/dev/cl.h"

enum { MAX_BANKS = 8 };

/* OpenCL copies this block and puts the banks' addresses into base[] of the copy; arguments are offsets into banks,
 * since PoCL 3.1 gives null for the second of two buffers that share memory. */
struct native_block {
    npu_native_fn *fn;
    struct npu_pool *pool;
    const struct npu_arg *arg;
    const void *attr;
    int n_args;
    signed char slot[NPU_MAX_ARGS]; /* index into base[]; -1: no memory */
    size_t offset[NPU_MAX_ARGS];
    void *base[MAX_BANKS];
    void *p[NPU_MAX_ARGS];
};

struct cl_native {
    struct native_block block;
    int bank[MAX_BANKS];
    cl_uint n_mem;
    cl_mem mem[MAX_BANKS];
    const void *loc[MAX_BANKS];
};

static void run_part(void *arg, int part, int n_parts)
{
    const struct native_block *b = arg;
    struct npu_native_call call = {.arg = b->arg, .p = b->p, .attr = b->attr};

    b->fn(&call, part, n_parts);
}

static void CL_CALLBACK native_main(void *arg)
{
    struct native_block *b = arg;

    for (int i = 0; i < b->n_args; i++)
        b->p[i] = b->slot[i] < 0 ? NULL : (char *)b->base[(int)b->slot[i]] + b->offset[i];
    npu_pool_run(b->pool, run_part, b);
}

static struct npu_place arg_place(const struct npu_plan *p, const struct npu_arg *a)
{
    if (a->kind == NPU_ARG_SCRATCH || a->kind == NPU_ARG_PACKED)
        return p->lower.buf[a->buf].place;
    return npu_plan_place(p, a->kind == NPU_ARG_VAL ? a->val : NPU_NONE);
}

/* The slot of a bank among those that the launch uses; -1: too many. */
static int slot_of(struct cl_native *n, const struct cl_plan *cp, int bank)
{
    for (cl_uint i = 0; i < n->n_mem; i++)
        if (n->bank[i] == bank)
            return (int)i;
    if (n->n_mem == MAX_BANKS)
        return -1;
    n->bank[n->n_mem] = bank;
    n->mem[n->n_mem] = cp->bank[bank];
    n->loc[n->n_mem] = &n->block.base[n->n_mem];
    return (int)n->n_mem++;
}

int cl_native_prepare(struct cl_dev *d, struct npu_plan *p, struct cl_launch *k)
{
    struct cl_native *n = calloc(1, sizeof *n);

    if (!n)
        return -ENOMEM;
    k->native = n;
    if (!d->pool)
        return npu_plan_fail(p, -EOPNOTSUPP, "a native launch on a device without native kernels");
    n->block.fn = k->l->native;
    n->block.pool = d->pool;
    n->block.arg = k->l->arg;
    n->block.attr = p->graph->node[p->step[k->step].node]->attr;
    n->block.n_args = k->l->n_args;
    for (int i = 0; i < k->l->n_args; i++) {
        struct npu_place at = arg_place(p, &k->l->arg[i]);
        int slot = at.bank < 0 || at.size == 0 ? -1 : slot_of(n, p->dev_plan, at.bank);

        if (slot < 0 && at.bank >= 0 && at.size > 0)
            return npu_plan_fail(p, -E2BIG, "a native launch over more than %d memory banks", MAX_BANKS);
        n->block.slot[i] = (signed char)slot;
        n->block.offset[i] = at.offset;
    }
    return 0;
}

cl_int cl_native_enqueue(struct cl_plan *cp, struct cl_launch *k, cl_event *ret_event)
{
    struct cl_native *n = k->native;

    return clEnqueueNativeKernel(cp->queue, native_main, &n->block, sizeof n->block, n->n_mem, n->n_mem ? n->mem : NULL,
                                 n->n_mem ? n->loc : NULL, 0, NULL, ret_event);
}
