/* cl_plan.c - plans on an OpenCL device: banks as buffers, places as sub-buffers, one kernel object a launch with its
 * arguments set once; a run is its inputs, one enqueue a launch, or a row of native launches, its outputs and one
 * flush. Plans with native launches only have memory of their own and need no OpenCL while they run (cl_native.c).
 */
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "libnpu/dev/cl.h"
#include "libnpu/tier/avx2.h"
#include "libnpu/tier/exact_avx2.h"
#include "libnpu/tune.h"

static struct cl_dev *dev_of(const struct npu_plan *p)
{
    return (struct cl_dev *)p->dev;
}

static int fail(struct npu_plan *p, cl_int e, const char *what)
{
    return npu_plan_fail(p, cl_errno(e), "%s: %s", what, cl_error_text(e));
}

static int cl_lower(struct npu_plan *p)
{
    int tuned = npu_tune_plan(p, dev_of(p)->identity);

    if (tuned < 0)
        return tuned;
    for (int s = 0; s < p->n_steps; s++) {
        const struct npu_node *n = p->graph->node[p->step[s].node];
        char why[256] = "";
        int r;

        p->lower.only = p->step[s].tier;
        r = npu_lower_node(&p->lower, n, s, &p->step[s].first_launch, why, sizeof why);

        if (r < 0)
            return npu_plan_fail(p, r, "%s", why[0] ? why : strerror(-r));
        p->step[s].n_launches = p->lower.n_launches - p->step[s].first_launch;
    }
    npu_avx2_take_over(&p->lower, p->lower.launch, p->lower.n_launches);
    npu_exact_avx2_take_over(&p->lower, p->lower.launch, p->lower.n_launches);
    return 0;
}

static cl_int sub_buffer(const struct cl_plan *cp, struct npu_place at, cl_mem *ret_mem)
{
    cl_buffer_region region = {at.offset, at.size};
    cl_int e = CL_SUCCESS;

    *ret_mem = NULL;
    if (at.bank >= 0 && at.size > 0)
        *ret_mem = clCreateSubBuffer(cp->bank[at.bank], 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &e);
    return e;
}

static int zero_banks(struct npu_plan *p)
{
    struct cl_plan *cp = p->dev_plan;
    cl_uint zero = 0;
    cl_int e = CL_SUCCESS;

    for (int b = 0; b < p->n_banks && e == CL_SUCCESS; b++)
        if (p->bank[b].size)
            e = clEnqueueFillBuffer(cp->queue, cp->bank[b], &zero, sizeof zero, 0, p->bank[b].size, 0, NULL, NULL);
    if (e == CL_SUCCESS)
        e = clFinish(cp->queue);
    return e == CL_SUCCESS ? 0 : fail(p, e, "filling memory");
}

static int make_memory(struct npu_plan *p)
{
    struct cl_plan *cp = p->dev_plan;
    cl_int e = CL_SUCCESS;
    int r;

    if (cp->host)
        return cl_native_memory(p);
    cp->bank = calloc((size_t)p->n_banks + 1, sizeof(cl_mem));
    cp->value = calloc((size_t)p->graph->n_values + 1, sizeof(cl_mem));
    cp->buf = calloc((size_t)p->lower.n_bufs + 1, sizeof(cl_mem));
    if (!cp->bank || !cp->value || !cp->buf)
        return -ENOMEM;
    for (int b = 0; b < p->n_banks && e == CL_SUCCESS; b++)
        if (p->bank[b].size)
            cp->bank[b] = clCreateBuffer(dev_of(p)->context, CL_MEM_READ_WRITE, p->bank[b].size, NULL, &e);
    for (int32_t v = 0; v < p->graph->n_values && e == CL_SUCCESS; v++)
        e = sub_buffer(cp, p->place[v], &cp->value[v]);
    for (int i = 0; i < p->lower.n_bufs && e == CL_SUCCESS; i++)
        e = sub_buffer(cp, p->lower.buf[i].place, &cp->buf[i]);
    if (e != CL_SUCCESS)
        return fail(p, e, "device memory");
    r = p->dev->traits.native ? cl_native_find_banks(p) : cl_mail_new(p);
    return r < 0 ? r : zero_banks(p);
}

static cl_mem arg_mem(const struct npu_plan *p, const struct npu_arg *a)
{
    const struct cl_plan *cp = p->dev_plan;

    if (a->kind == NPU_ARG_VAL)
        return a->val == NPU_NONE ? NULL : cp->value[a->val - 1];
    return a->kind == NPU_ARG_SCRATCH || a->kind == NPU_ARG_PACKED ? cp->buf[a->buf] : NULL;
}

static cl_int set_arg(const struct npu_plan *p, cl_kernel k, cl_uint i, const struct npu_arg *a)
{
    cl_mem m;

    switch (a->kind) {
    case NPU_ARG_I32:
        return clSetKernelArg(k, i, sizeof a->i, &a->i);
    case NPU_ARG_F32:
        return clSetKernelArg(k, i, sizeof a->f, &a->f);
    case NPU_ARG_LOCAL:
        return clSetKernelArg(k, i, a->bytes, NULL);
    default:
        m = arg_mem(p, a);
        return clSetKernelArg(k, i, sizeof(cl_mem), m ? &m : NULL);
    }
}

static int make_kernel(struct npu_plan *p, struct cl_launch *k)
{
    const struct npu_launch *l = k->l;
    cl_uint n = 0;
    cl_int e;

    k->kernel = clCreateKernel(k->prog->prog, l->entry, &e);
    if (!k->kernel)
        return npu_plan_fail(p, cl_errno(e), "kernels/%s.cl has no kernel %s (%s)", l->source, l->entry,
                             cl_error_text(e));
    e = clGetKernelInfo(k->kernel, CL_KERNEL_NUM_ARGS, sizeof n, &n, NULL);
    if (e != CL_SUCCESS || (int)n != l->n_args)
        return npu_plan_fail(p, -EINVAL, "kernel %s.%s has %u arguments, the launch %d", l->source, l->entry, n,
                             l->n_args);
    for (int i = 0; i < l->n_args; i++) {
        e = set_arg(p, k->kernel, (cl_uint)i, &l->arg[i]);
        if (e != CL_SUCCESS)
            return npu_plan_fail(p, cl_errno(e), "kernel %s.%s: argument %d: %s", l->source, l->entry, i,
                                 cl_error_text(e));
    }
    k->has_local = l->local[0] != 0 || p->dev->traits.kind == NPU_KIND_CPU;
    for (int i = 0; i < 3; i++)
        k->local[i] = l->local[0] && i < l->dims ? l->local[i] : 1;
    if (k->local[0] * k->local[1] * k->local[2] > p->dev->traits.max_work_group)
        return npu_plan_fail(p, -EINVAL, "kernel %s.%s: local size is larger than the device's %zu", l->source,
                             l->entry, p->dev->traits.max_work_group);
    return 0;
}

/* Drivers compile for a local size when they see it first: runs one work-group of each kernel on the zeroed memory, so
 * that nothing is compiled on the frame path, and clears the memory again. */
static int warm_up(struct npu_plan *p)
{
    struct cl_plan *cp = p->dev_plan;
    cl_int e = CL_SUCCESS;

    for (int i = 0; i < cp->n_launches && e == CL_SUCCESS; i++) {
        const struct cl_launch *k = &cp->launch[i];
        bool seen = !k->kernel;

        for (int j = 0; j < i && !seen; j++)
            seen = cp->launch[j].prog == k->prog && strcmp(cp->launch[j].l->entry, k->l->entry) == 0 &&
                   memcmp(cp->launch[j].local, k->local, sizeof k->local) == 0;
        if (!seen)
            e = clEnqueueNDRangeKernel(cp->queue, k->kernel, (cl_uint)k->l->dims, NULL,
                                       k->has_local ? k->local : k->l->global, k->has_local ? k->local : NULL, 0, NULL,
                                       NULL);
        if (e != CL_SUCCESS)
            return npu_plan_fail(p, cl_errno(e), "kernel %s.%s: %s", k->l->source, k->l->entry, cl_error_text(e));
    }
    return cp->host ? 0 : zero_banks(p);
}

static void make_stages(const struct npu_plan *p, struct cl_run *r, int n_launches)
{
    for (int i = 0; i < n_launches; i += r->stage[r->n++].n) {
        const struct cl_launch *k = r->launch[i];
        int parts = k->native ? cl_native_parts(dev_of(p), k->l) : 0, n = 1;

        if (k->native && !p->opts.profile)
            n = cl_chain(p, r->launch + i, n_launches - i, &parts);
        r->stage[r->n] = (struct cl_stage){r->launch + i, n};
        r->parts[r->n] = (uint16_t)parts;
    }
}

/* Which launches a run has: all after parameters were written, else those that do not depend on them alone. */
static int make_runs(struct npu_plan *p)
{
    struct cl_plan *cp = p->dev_plan;

    for (int dirty = 0; dirty < 2; dirty++) {
        struct cl_run *r = &cp->run[dirty];
        int n = 0;

        r->launch = calloc((size_t)cp->n_launches + 1, sizeof(struct cl_launch *));
        r->parts = calloc((size_t)cp->n_launches + 1, sizeof r->parts[0]);
        r->stage = calloc((size_t)cp->n_launches + 1, sizeof r->stage[0]);
        if (!r->launch || !r->parts || !r->stage)
            return -ENOMEM;
        for (int i = 0; i < cp->n_launches; i++) {
            const struct cl_launch *k = &cp->launch[i];

            if (k->on_params && !dirty)
                continue;
            r->launch[n++] = k;
        }
        make_stages(p, r, n);
    }
    return 0;
}

static int make_launches(struct npu_plan *p)
{
    struct cl_plan *cp = p->dev_plan;
    int r, i = 0;

    cp->launch = calloc((size_t)p->lower.n_launches + 1, sizeof cp->launch[0]);
    cp->event = calloc((size_t)p->lower.n_launches + 1, sizeof(cl_event));
    if (!cp->launch || !cp->event)
        return -ENOMEM;
    cp->n_launches = p->lower.n_launches;
    for (int s = 0; s < p->n_steps; s++)
        for (int k = 0; k < p->step[s].n_launches; k++, i++) {
            cp->launch[i].l = &p->lower.launch[i];
            cp->launch[i].step = s;
            cp->launch[i].on_params = p->lower.launch[i].on_params || p->step[s].constant;
        }
    r = cl_programs_get(dev_of(p), p, cp->launch, cp->n_launches);
    for (i = 0; r >= 0 && i < cp->n_launches; i++)
        r = cp->launch[i].l->native ? cl_native_prepare(dev_of(p), p, &cp->launch[i]) : make_kernel(p, &cp->launch[i]);
    return r < 0 ? r : make_runs(p);
}

static int cl_build(struct npu_plan *p)
{
    struct cl_plan *cp = calloc(1, sizeof *cp);
    pthread_condattr_t attr;
    cl_int e;
    int r;

    p->dev_plan = cp;
    if (!cp)
        return -ENOMEM;
    pthread_mutex_init(&cp->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&cp->done_cond, &attr);
    pthread_condattr_destroy(&attr);
    cp->queue = cl_queue_new(dev_of(p), p->opts.profile, &e);
    if (!cp->queue)
        return fail(p, e, "command queue");
    cp->host = cl_native_only(p);
    r = make_memory(p);
    pthread_mutex_lock(&dev_of(p)->build_lock);
    if (r == 0)
        r = make_launches(p);
    if (r == 0)
        r = warm_up(p);
    if (r == 0)
        cl_programs_save(dev_of(p));
    pthread_mutex_unlock(&dev_of(p)->build_lock);
    return r;
}

static void release_events(struct cl_plan *cp)
{
    if (cp->last)
        clReleaseEvent(cp->last);
    if (cp->arrived)
        clReleaseEvent(cp->arrived);
    cp->last = cp->arrived = NULL;
}

static void free_launches(struct cl_plan *cp)
{
    for (int i = 0; cp->launch && i < cp->n_launches; i++) {
        if (cp->launch[i].kernel)
            clReleaseKernel(cp->launch[i].kernel);
        free(cp->launch[i].native);
        if (cp->event[i])
            clReleaseEvent(cp->event[i]);
    }
    for (int i = 0; i < 2; i++) {
        free(cp->run[i].launch);
        free(cp->run[i].parts);
        free(cp->run[i].stage);
    }
    free(cp->launch);
    free(cp->event);
}

static void free_mems(cl_mem *m, int n)
{
    for (int i = 0; m && i < n; i++)
        if (m[i])
            clReleaseMemObject(m[i]);
    free(m);
}

static void cl_plan_free(struct npu_plan *p)
{
    struct cl_plan *cp = p->dev_plan;

    if (!cp)
        return;
    if (cp->queue)
        clFinish(cp->queue);
    pthread_mutex_lock(&cp->lock);
    while (cp->callbacks > 0)
        pthread_cond_wait(&cp->done_cond, &cp->lock);
    pthread_mutex_unlock(&cp->lock);
    release_events(cp);
    free_launches(cp);
    for (int b = 0; cp->host && cp->address && b < p->n_banks; b++)
        free(cp->address[b]);
    free(cp->address);
    cl_mail_free(cp);
    free_mems(cp->value, p->graph->n_values);
    free_mems(cp->buf, p->lower.n_bufs);
    free_mems(cp->bank, p->n_banks);
    if (cp->queue)
        clReleaseCommandQueue(cp->queue);
    pthread_mutex_destroy(&cp->lock);
    pthread_cond_destroy(&cp->done_cond);
    free(cp);
}

static int cl_write(struct npu_plan *p, struct npu_place at, const void *data)
{
    struct cl_plan *cp = p->dev_plan;
    cl_int e;

    if (cp->address) {
        memcpy((char *)cp->address[at.bank] + at.offset, data, at.size);
        return 0;
    }
    e = cl_mail_write(cp, at, data);
    return e == CL_SUCCESS ? 0 : fail(p, e, "write");
}

static int cl_read(struct npu_plan *p, struct npu_place at, void *data)
{
    struct cl_plan *cp = p->dev_plan;
    cl_int e;

    if (cp->address) {
        memcpy(data, (const char *)cp->address[at.bank] + at.offset, at.size);
        return 0;
    }
    e = cl_mail_read(cp, at, data);
    return e == CL_SUCCESS ? 0 : fail(p, e, "read");
}

/* Launch i of the run, or the row of native ones that begins there: up to *ret_end. */
static cl_int enqueue(struct npu_plan *p, const struct cl_run *run, int i, int *ret_end)
{
    struct cl_plan *cp = p->dev_plan;
    const struct cl_launch *k = run->stage[i].launch[0];
    const int end = k->native ? cl_native_end(p, run, i) : i + 1;
    cl_event *ev = p->opts.profile ? &cp->event[i] : end == run->n ? &cp->last : NULL;

    *ret_end = end;
    if (k->native)
        return cl_native_enqueue(p, run, i, end, ev);
    return clEnqueueNDRangeKernel(cp->queue, k->kernel, (cl_uint)k->l->dims, NULL, k->l->global,
                                  k->has_local ? k->local : NULL, 0, NULL, ev);
}

static int cl_submit(struct npu_plan *p)
{
    struct cl_plan *cp = p->dev_plan;
    const struct cl_run *run = &cp->run[p->params_dirty];
    const char *what = "run";
    cl_int e;

    cp->running = run;
    e = cl_mail_send(cp);
    for (int i = 0, end; i < run->n && e == CL_SUCCESS; i = end) {
        e = enqueue(p, run, i, &end);
        what = run->stage[i].launch[0]->l->entry ? run->stage[i].launch[0]->l->entry : "native";
    }
    if (e == CL_SUCCESS)
        what = "run";
    if (e == CL_SUCCESS && run->n == 0)
        e = clEnqueueMarkerWithWaitList(cp->queue, 0, NULL, &cp->last);
    if (e == CL_SUCCESS && p->opts.profile && run->n > 0) {
        cp->last = cp->event[run->n - 1];
        clRetainEvent(cp->last);
    }
    if (e == CL_SUCCESS)
        e = cl_mail_order(cp);
    if (e == CL_SUCCESS)
        e = clFlush(cp->queue);
    if (e == CL_SUCCESS)
        return 0;
    clFinish(cp->queue); /* nothing of a failed submission stays behind */
    release_events(cp);
    for (int i = 0; i < cp->n_launches; i++) {
        if (cp->event[i])
            clReleaseEvent(cp->event[i]);
        cp->event[i] = NULL;
    }
    return fail(p, e, what);
}

static void CL_CALLBACK on_done(cl_event event, cl_int status, void *arg)
{
    struct cl_plan *cp = arg;

    pthread_mutex_lock(&cp->lock);
    cp->done = true;
    cp->callbacks--;
    pthread_cond_broadcast(&cp->done_cond);
    pthread_mutex_unlock(&cp->lock);
}

/* Waits for runs of up to 2 ms without sleeping, but after all others: to be woken takes as long as a small network,
 * and threads of the driver that wake while this one falls asleep gather on one processor. */
static void wait_awake(const struct cl_plan *cp, int64_t until_ns)
{
    cl_int status = CL_QUEUED, e = CL_SUCCESS;

    while (e == CL_SUCCESS && status > CL_COMPLETE && npu_now_ns() < until_ns) {
        sched_yield();
        e = clGetEventInfo(cp->arrived, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL);
    }
}

static int wait_timed(struct npu_plan *p, int64_t until_ns)
{
    struct cl_plan *cp = p->dev_plan;
    struct timespec t = {until_ns / 1000000000, until_ns % 1000000000};
    cl_int e;
    int r = 0;

    if (!cp->callback_set) {
        cp->done = false;
        pthread_mutex_lock(&cp->lock);
        cp->callbacks++;
        pthread_mutex_unlock(&cp->lock);
        e = clSetEventCallback(cp->arrived, CL_COMPLETE, on_done, cp);
        if (e != CL_SUCCESS) {
            pthread_mutex_lock(&cp->lock);
            cp->callbacks--;
            pthread_mutex_unlock(&cp->lock);
            return fail(p, e, "event callback");
        }
        cp->callback_set = true;
    }
    pthread_mutex_lock(&cp->lock);
    while (!cp->done && r == 0)
        r = pthread_cond_timedwait(&cp->done_cond, &cp->lock, &t);
    r = cp->done ? 0 : -ETIMEDOUT;
    pthread_mutex_unlock(&cp->lock);
    return r;
}

static void collect_times(struct npu_plan *p)
{
    struct cl_plan *cp = p->dev_plan;
    const struct cl_run *run = cp->running;
    int last_step = -1;

    for (int i = 0; i < run->n; i++) {
        struct npu_step *s = &p->step[run->stage[i].launch[0]->step];
        cl_ulong start = 0, end = 0;

        if (!cp->event[i])
            continue;
        clGetEventProfilingInfo(cp->event[i], CL_PROFILING_COMMAND_START, sizeof start, &start, NULL);
        clGetEventProfilingInfo(cp->event[i], CL_PROFILING_COMMAND_END, sizeof end, &end, NULL);
        clReleaseEvent(cp->event[i]);
        cp->event[i] = NULL;
        s->ms_sum += end > start ? (double)(end - start) * 1e-6 : 0.0;
        if (run->stage[i].launch[0]->step != last_step)
            s->runs++;
        last_step = run->stage[i].launch[0]->step;
    }
}

static int cl_wait(struct npu_plan *p, int64_t timeout_ns)
{
    struct cl_plan *cp = p->dev_plan;
    const int64_t now_ns = npu_now_ns(), awake_ns = timeout_ns < 0 || timeout_ns > 2000000 ? 2000000 : timeout_ns;
    cl_int status = CL_COMPLETE, e = CL_SUCCESS;
    int r = 0;

    if (p->dev->traits.kind == NPU_KIND_CPU)
        wait_awake(cp, now_ns + awake_ns);
    if (timeout_ns >= 0)
        r = wait_timed(p, now_ns + timeout_ns);
    if (r == -ETIMEDOUT)
        return r;
    e = clWaitForEvents(1, &cp->arrived); /* whatever failed, nothing stays in flight */
    pthread_mutex_lock(&cp->lock);
    while (cp->callbacks > 0) /* a late callback must not end the next run's wait */
        pthread_cond_wait(&cp->done_cond, &cp->lock);
    pthread_mutex_unlock(&cp->lock);
    for (int i = 0; i < 2 && status == CL_COMPLETE; i++)
        clGetEventInfo(i == 0 ? cp->last : cp->arrived, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status,
                       NULL);
    release_events(cp);
    cp->callback_set = false;
    if (p->opts.profile)
        collect_times(p);
    if (e == CL_SUCCESS && status == CL_COMPLETE)
        cl_mail_arrived(cp);
    if (e != CL_SUCCESS || status < 0)
        return fail(p, status < 0 ? status : e, "run");
    return r;
}

static int cl_run(struct npu_plan *p)
{
    struct cl_plan *cp = p->dev_plan;

    if (!cp->host || p->opts.profile)
        return -EOPNOTSUPP;
    cl_native_run(p, &cp->run[p->params_dirty]);
    return 0;
}

static void cl_close(struct npu_dev *base)
{
    struct cl_dev *d = (struct cl_dev *)base;

    cl_programs_free(d);
    npu_pool_free(d->pool);
    if (d->queue)
        clReleaseCommandQueue(d->queue);
    if (d->context)
        clReleaseContext(d->context);
    pthread_mutex_destroy(&d->lock);
    pthread_mutex_destroy(&d->build_lock);
    pthread_cond_destroy(&d->built);
    free(d->identity);
    free(d->cache_dir);
    free(d);
}

const struct npu_dev_ops cl_ops = {
    .name = "cl",
    .plan_lower = cl_lower,
    .plan_build = cl_build,
    .plan_free = cl_plan_free,
    .write = cl_write,
    .read = cl_read,
    .submit = cl_submit,
    .wait = cl_wait,
    .run = cl_run,
    .close = cl_close,
};
