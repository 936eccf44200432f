/* cl_native.c - C functions on the device's pool of threads: in the OpenCL queue, neighbours as one native kernel; or,
 * where a plan has nothing else, straight from npu_plan_run. */
#include <stdlib.h>
#include <sys/mman.h>

#include "libnpu/dev/cl.h"

struct cl_native {
    npu_native_fn *fn;
    const struct npu_arg *arg;
    const void *attr;
    void *p[NPU_MAX_ARGS];
};

/* Devices with native kernels work in the host's memory, so a bank's address is asked for once, by a native kernel with
 * only that bank (PoCL 3.1 mixes up the addresses of several), and a run passes addresses. OpenCL copies this block. */
struct native_block {
    struct npu_pool *pool;
    const struct cl_stage *stage;
    const uint16_t *parts;
    int n;
};

struct where_block {
    void *bank;
    void **ret_address;
};

static void run_part(void *arg, int stage, int part, int n_parts)
{
    const struct cl_stage *s = (const struct cl_stage *)arg + stage;

    for (int i = 0; i < s->n; i++) {
        const struct cl_native *n = s->launch[i]->native;
        const struct npu_native_call call = {.arg = n->arg, .p = n->p, .attr = n->attr};

        n->fn(&call, part, n_parts);
    }
}

static void CL_CALLBACK native_main(void *arg)
{
    const struct native_block *b = arg;

    npu_pool_run(b->pool, run_part, (void *)(uintptr_t)b->stage, b->parts, b->n);
}

struct npu_place cl_native_place(const struct npu_plan *p, const struct npu_arg *a)
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

int cl_native_find_banks(struct npu_plan *p)
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

    if (!n)
        return -ENOMEM;
    k->native = n;
    if (!d->pool)
        return npu_plan_fail(p, -EOPNOTSUPP, "a native launch on a device without native kernels");
    n->fn = k->l->native;
    n->arg = k->l->arg;
    n->attr = p->graph->node[p->step[k->step].node]->attr;
    for (int i = 0; i < k->l->n_args; i++) {
        struct npu_place at = cl_native_place(p, &k->l->arg[i]);

        if (at.bank >= 0 && at.size > 0)
            n->p[i] = (char *)cp->address[at.bank] + at.offset;
    }
    return 0;
}

int cl_native_parts(const struct cl_dev *d, const struct npu_launch *l)
{
    const int n = l->parts > 0 ? l->parts : npu_pool_threads(d->pool);

    return n < NPU_POOL_MAX_PARTS ? n : NPU_POOL_MAX_PARTS;
}

int cl_native_end(const struct npu_plan *p, const struct cl_run *r, int i)
{
    const int most = p->opts.profile ? 1 : NPU_POOL_MAX_STAGES;
    int end = i + 1;

    while (end < r->n && end - i < most && r->stage[end].launch[0]->native)
        end++;
    return end;
}

static struct native_block block_of(const struct npu_plan *p, const struct cl_run *r, int i, int end)
{
    const struct cl_dev *d = (const struct cl_dev *)p->dev;

    return (struct native_block){d->pool, r->stage + i, r->parts + i, end - i};
}

cl_int cl_native_enqueue(struct npu_plan *p, const struct cl_run *r, int i, int end, cl_event *ret_event)
{
    struct cl_plan *cp = p->dev_plan;
    struct native_block b = block_of(p, r, i, end);

    return clEnqueueNativeKernel(cp->queue, native_main, &b, sizeof b, 0, NULL, NULL, 0, NULL, ret_event);
}

bool cl_native_only(const struct npu_plan *p)
{
    for (int i = 0; i < p->lower.n_launches; i++)
        if (!p->lower.launch[i].native)
            return false;
    return p->lower.n_launches > 0 && ((const struct cl_dev *)p->dev)->pool;
}

/* Zeroed memory; a large piece in huge pages where the system has them (a hint: it works without). */
static void *new_bank(size_t size)
{
    const size_t huge = (size_t)2 << 20, align = size >= huge ? huge : 4096;
    void *m;

    if (posix_memalign(&m, align, size) != 0)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (size >= huge)
        madvise(m, size / huge * huge, MADV_HUGEPAGE);
#endif
    return memset(m, 0, size);
}

int cl_native_memory(struct npu_plan *p)
{
    struct cl_plan *cp = p->dev_plan;

    cp->address = calloc((size_t)p->n_banks + 1, sizeof cp->address[0]);
    if (!cp->address)
        return -ENOMEM;
    for (int b = 0; b < p->n_banks; b++) {
        const size_t size = p->bank[b].size > 0 ? p->bank[b].size : 1;

        cp->address[b] = new_bank(size);
        if (!cp->address[b])
            return npu_plan_fail(p, -ENOMEM, "no memory for %zu bytes", size);
    }
    return 0;
}

void cl_native_run(struct npu_plan *p, const struct cl_run *r)
{
    for (int i = 0, end; i < r->n; i = end) {
        struct native_block b;

        end = cl_native_end(p, r, i);
        b = block_of(p, r, i, end);
        native_main(&b);
    }
}
