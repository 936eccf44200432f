/* cl_native.c - C functions on the OpenCL queue: one native kernel whose parts run on the device's pool of threads. */
#include <stdlib.h>

#include "libnpu/dev/cl.h"

/* Devices with native kernels work in the host's memory, so a bank's address is asked for once, by a native kernel with
 * only that bank (PoCL 3.1 mixes up the addresses of several), and a run passes addresses. OpenCL copies this block. */
struct native_block {
    npu_native_fn *fn;
    struct npu_pool *pool;
    const struct npu_arg *arg;
    const void *attr;
    void *p[NPU_MAX_ARGS];
};

struct cl_native {
    struct native_block block;
};

struct where_block {
    void *bank;
    void **ret_address;
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

    npu_pool_run(b->pool, run_part, b);
}

static struct npu_place arg_place(const struct npu_plan *p, const struct npu_arg *a)
{
    if (a->kind == NPU_ARG_SCRATCH || a->kind == NPU_ARG_PACKED)
        return p->lower.buf[a->buf].place;
    return npu_plan_place(p, a->kind == NPU_ARG_VAL ? a->val : NPU_NONE);
}

static void CL_CALLBACK where_main(void *arg)
{
    struct where_block *w = arg;

    *w->ret_address = w->bank;
}

static int find_banks(struct npu_plan *p)
{
    struct cl_plan *cp = p->dev_plan;
    cl_int e = CL_SUCCESS;

    cp->address = calloc((size_t)p->n_banks + 1, sizeof cp->address[0]);
    if (!cp->address)
        return -ENOMEM;
    for (int b = 0; b < p->n_banks && e == CL_SUCCESS; b++) {
        struct where_block w = {NULL, &cp->address[b]};
        const void *loc = &w.bank;

        if (cp->bank[b])
            e = clEnqueueNativeKernel(cp->queue, where_main, &w, sizeof w, 1, &cp->bank[b], &loc, 0, NULL, NULL);
    }
    if (e == CL_SUCCESS)
        e = clFinish(cp->queue);
    return e == CL_SUCCESS ? 0 : npu_plan_fail(p, cl_errno(e), "native kernel: %s", cl_error_text(e));
}

int cl_native_prepare(struct cl_dev *d, struct npu_plan *p, struct cl_launch *k)
{
    struct cl_plan *cp = p->dev_plan;
    struct cl_native *n = calloc(1, sizeof *n);
    int r;

    if (!n)
        return -ENOMEM;
    k->native = n;
    if (!d->pool)
        return npu_plan_fail(p, -EOPNOTSUPP, "a native launch on a device without native kernels");
    r = cp->address ? 0 : find_banks(p);
    if (r < 0 || !cp->address)
        return r;
    n->block.fn = k->l->native;
    n->block.pool = d->pool;
    n->block.arg = k->l->arg;
    n->block.attr = p->graph->node[p->step[k->step].node]->attr;
    for (int i = 0; i < k->l->n_args; i++) {
        struct npu_place at = arg_place(p, &k->l->arg[i]);

        if (at.bank >= 0 && at.size > 0)
            n->block.p[i] = (char *)cp->address[at.bank] + at.offset;
    }
    return 0;
}

cl_int cl_native_enqueue(struct cl_plan *cp, struct cl_launch *k, cl_event *ret_event)
{
    return clEnqueueNativeKernel(cp->queue, native_main, &k->native->block, sizeof k->native->block, 0, NULL, NULL, 0,
                                 NULL, ret_event);
}
