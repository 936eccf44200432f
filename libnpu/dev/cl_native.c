/* cl_native.c - C functions on the OpenCL queue: one native kernel whose parts run on the device's pool of threads. */
#include <stdlib.h>

#include "libnpu/dev/cl.h"

/* OpenCL copies this block and puts the memory's addresses into p[] of the copy. */
struct native_block {
    npu_native_fn *fn;
    struct npu_pool *pool;
    const struct npu_arg *arg;
    const void *attr;
    void *p[NPU_MAX_ARGS];
};

struct cl_native {
    struct native_block block;
    cl_uint n_mem;
    cl_mem mem[NPU_MAX_ARGS];
    const void *loc[NPU_MAX_ARGS];
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
    for (int i = 0; i < k->l->n_args; i++) {
        cl_mem m = cl_arg_mem(p, &k->l->arg[i]);

        if (!m)
            continue;
        n->mem[n->n_mem] = m;
        n->loc[n->n_mem] = &n->block.p[i];
        n->n_mem++;
    }
    return 0;
}

cl_int cl_native_enqueue(struct cl_plan *cp, struct cl_launch *k, cl_event *ret_event)
{
    struct cl_native *n = k->native;

    return clEnqueueNativeKernel(cp->queue, native_main, &n->block, sizeof n->block, n->n_mem, n->n_mem ? n->mem : NULL,
                                 n->n_mem ? n->loc : NULL, 0, NULL, ret_event);
}
