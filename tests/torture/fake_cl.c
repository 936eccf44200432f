/* fake_cl.c - the objects and calls of the fake OpenCL that libnpu uses. Everything is done when a call returns. */
#include "tests/torture/fake_cl.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_ARGS = 16,
    PCI_BUS_ID_NV = 0x4008,
    PCI_SLOT_ID_NV,
    PCI_DOMAIN_ID_NV,
    TOPOLOGY_AMD = 0x4037,
    PCI_KHR = 0x410F
};

struct object {
    atomic_int refs;
    struct object *parent; /* held */
    char *memory;          /* owned, of a buffer; a sub-buffer points into its parent's */
    size_t size;
    char *text;    /* source of a program, name of a kernel; owned */
    cl_int status; /* of an event */
    struct {
        void *mem;
        float f;
    } arg[MAX_ARGS];
};

struct fake_cl fake_cl = {
    .n_devices = 1, .device = {{.type = CL_DEVICE_TYPE_CPU}}, .driver_version = "1", .run_status = CL_COMPLETE};

static char platform_tag, device_tag[FAKE_CL_DEVICES];

static bool fails(const char *call)
{
    return fake_cl.fails && fake_cl.fails(call);
}

/* Not malloc, which tests make fail. */
static void *bytes(size_t size)
{
    void *m = aligned_alloc(128, (size + 128) / 128 * 128);

    if (!m)
        abort();
    memset(m, 0, (size + 128) / 128 * 128);
    return m;
}

static struct object *new_object(struct object *parent)
{
    struct object *o = bytes(sizeof *o);

    o->refs = 1;
    o->parent = parent;
    if (parent)
        parent->refs++;
    fake_cl.live++;
    return o;
}

static cl_int release(void *object)
{
    struct object *o = object;

    if (--o->refs > 0)
        return CL_SUCCESS;
    if (o->parent)
        release(o->parent);
    free(o->memory);
    free(o->text);
    free(o);
    fake_cl.live--;
    return CL_SUCCESS;
}

static cl_int retain(void *object)
{
    ((struct object *)object)->refs++;
    return CL_SUCCESS;
}

static char *copy_text(const char *text, size_t n)
{
    char *t = bytes(n + 1);

    memcpy(t, text, n);
    return t;
}

static void *made(struct object *o, cl_int e, cl_int *ret_error)
{
    if (ret_error)
        *ret_error = e;
    return o;
}

/* ---- platforms and devices ---- */
static cl_int answer(const void *value, size_t n, size_t size, void *to, size_t *ret_size)
{
    if (to && size < n)
        return CL_INVALID_VALUE;
    if (to)
        memcpy(to, value, n);
    if (ret_size)
        *ret_size = n;
    return CL_SUCCESS;
}

static cl_int answer_text(const char *text, size_t size, void *to, size_t *ret_size)
{
    return answer(text, strlen(text) + 1, size, to, ret_size);
}

cl_int clGetPlatformIDs(cl_uint n, cl_platform_id *ids, cl_uint *ret_n)
{
    if (fails(__func__))
        return CL_OUT_OF_HOST_MEMORY;
    if (ids && n > 0)
        ids[0] = (cl_platform_id)&platform_tag;
    if (ret_n)
        *ret_n = 1;
    return CL_SUCCESS;
}

cl_int clGetPlatformInfo(cl_platform_id p, cl_platform_info what, size_t size, void *to, size_t *ret_size)
{
    if (fails(__func__))
        return CL_OUT_OF_HOST_MEMORY;
    return answer_text(what == CL_PLATFORM_VERSION ? "OpenCL 3.0 fake" : "Fake", size, to, ret_size);
}

cl_int clGetDeviceIDs(cl_platform_id p, cl_device_type t, cl_uint n, cl_device_id *ids, cl_uint *ret_n)
{
    if (fails(__func__))
        return CL_OUT_OF_HOST_MEMORY;
    for (int i = 0; ids && i < fake_cl.n_devices && i < (int)n; i++)
        ids[i] = (cl_device_id)&device_tag[i];
    if (ret_n)
        *ret_n = (cl_uint)fake_cl.n_devices;
    return fake_cl.n_devices ? CL_SUCCESS : CL_DEVICE_NOT_FOUND;
}

static cl_int device_number(cl_device_info what, size_t size, void *to, size_t *ret_size)
{
    static const struct {
        cl_device_info what;
        size_t bytes;
        uint64_t value;
    } known[] = {
        {CL_DEVICE_AVAILABLE, sizeof(cl_bool), CL_TRUE},
        {CL_DEVICE_ENDIAN_LITTLE, sizeof(cl_bool), CL_TRUE},
        {CL_DEVICE_MAX_COMPUTE_UNITS, sizeof(cl_uint), 2},
        {CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof(cl_uint), 8},
        {CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof(cl_uint), 1024},
        {CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(cl_ulong), 1 << 30},
        {CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(cl_ulong), 1 << 28},
        {CL_DEVICE_LOCAL_MEM_SIZE, sizeof(cl_ulong), 1 << 19},
        {CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof(size_t), 256},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].what == what)
            return answer(&known[i].value, known[i].bytes, size, to, ret_size); /* little-endian */
    return CL_INVALID_VALUE;
}

/* In the ways of cl_khr_pci_bus_info, NVIDIA and AMD. */
static cl_int device_pci(int i, cl_device_info what, size_t size, void *to, size_t *ret_size)
{
    const cl_uint *pci = fake_cl.device[i].pci;
    const cl_uint slot = pci[2] << 3 | pci[3];
    unsigned char topology[24] = {1};

    for (int k = 1; k < 4; k++)
        topology[20 + k] = (unsigned char)pci[k];
    if (fake_cl.device[i].says == FAKE_CL_PCI_KHR && what == PCI_KHR)
        return answer(pci, sizeof fake_cl.device[i].pci, size, to, ret_size);
    if (fake_cl.device[i].says == FAKE_CL_PCI_AMD && what == TOPOLOGY_AMD)
        return answer(topology, sizeof topology, size, to, ret_size);
    if (fake_cl.device[i].says != FAKE_CL_PCI_NV)
        return CL_INVALID_VALUE;
    if (what == PCI_BUS_ID_NV || what == PCI_DOMAIN_ID_NV)
        return answer(&pci[what == PCI_BUS_ID_NV], sizeof pci[0], size, to, ret_size);
    return what == PCI_SLOT_ID_NV ? answer(&slot, sizeof slot, size, to, ret_size) : CL_INVALID_VALUE;
}

cl_int clGetDeviceInfo(cl_device_id d, cl_device_info what, size_t size, void *to, size_t *ret_size)
{
    const int i = (int)((char *)d - device_tag);

    if (fails(__func__))
        return CL_OUT_OF_RESOURCES;
    switch (what) {
    case CL_DEVICE_TYPE:
        return answer(&fake_cl.device[i].type, sizeof(cl_device_type), size, to, ret_size);
    case CL_DEVICE_NAME:
        return answer_text("Fake device", size, to, ret_size);
    case CL_DEVICE_VERSION:
        return answer_text("OpenCL 3.0", size, to, ret_size);
    case CL_DRIVER_VERSION:
        return answer_text(fake_cl.driver_version, size, to, ret_size);
    case CL_DEVICE_BUILT_IN_KERNELS:
        return fake_cl.device[i].built_in_kernels ? answer_text(fake_cl.device[i].built_in_kernels, size, to, ret_size)
                                                  : CL_INVALID_VALUE;
    case CL_DEVICE_COMPILER_AVAILABLE:
        return answer(&(cl_bool){!fake_cl.device[i].has_no_compiler}, sizeof(cl_bool), size, to, ret_size);
    case CL_DEVICE_EXECUTION_CAPABILITIES:
        return answer(
            &(cl_device_exec_capabilities){CL_EXEC_KERNEL |
                                           (fake_cl.device[i].has_no_native_kernels ? 0 : CL_EXEC_NATIVE_KERNEL)},
            sizeof(cl_device_exec_capabilities), size, to, ret_size);
    case CL_DEVICE_EXTENSIONS:
        return answer_text(fake_cl.device[i].extensions ? fake_cl.device[i].extensions : "cl_khr_fake", size, to,
                           ret_size);
    default:
        return what >= PCI_BUS_ID_NV ? device_pci(i, what, size, to, ret_size)
                                     : device_number(what, size, to, ret_size);
    }
}

/* ---- contexts, queues, memory ---- */
cl_context clCreateContext(const cl_context_properties *props, cl_uint n, const cl_device_id *d,
                           void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *arg, cl_int *e)
{
    return fails(__func__) ? made(NULL, CL_DEVICE_NOT_AVAILABLE, e) : made(new_object(NULL), CL_SUCCESS, e);
}

cl_command_queue clCreateCommandQueueWithProperties(cl_context c, cl_device_id d, const cl_queue_properties *props,
                                                    cl_int *e)
{
    return fails(__func__) ? made(NULL, CL_OUT_OF_RESOURCES, e) : made(new_object((void *)c), CL_SUCCESS, e);
}

cl_int clRetainCommandQueue(cl_command_queue q)
{
    return fails(__func__) ? CL_OUT_OF_RESOURCES : retain(q);
}

cl_mem clCreateBuffer(cl_context c, cl_mem_flags flags, size_t size, void *host, cl_int *e)
{
    struct object *o;

    if (fails(__func__))
        return made(NULL, CL_MEM_OBJECT_ALLOCATION_FAILURE, e);
    o = new_object((void *)c);
    o->memory = bytes(size);
    o->size = size;
    return made(o, CL_SUCCESS, e);
}

static char *memory_of(cl_mem m)
{
    const struct object *o = (void *)m;

    return o->memory ? o->memory : o->parent->memory + (size_t)o->status;
}

cl_mem clCreateSubBuffer(cl_mem m, cl_mem_flags flags, cl_buffer_create_type type, const void *info, cl_int *e)
{
    const cl_buffer_region *r = info;
    struct object *o;

    if (fails(__func__))
        return made(NULL, CL_MEM_OBJECT_ALLOCATION_FAILURE, e);
    o = new_object((void *)m);
    o->status = (cl_int)r->origin;
    o->size = r->size;
    return made(o, CL_SUCCESS, e);
}

/* An event of something that is over; parent: its queue. */
static cl_int finished(cl_command_queue q, cl_int status, cl_event *ret_event)
{
    if (ret_event) {
        struct object *o = new_object((void *)q);

        o->status = status;
        *ret_event = (cl_event)o;
    }
    return CL_SUCCESS;
}

cl_int clEnqueueFillBuffer(cl_command_queue q, cl_mem m, const void *pattern, size_t n, size_t offset, size_t size,
                           cl_uint n_wait, const cl_event *wait, cl_event *ret_event)
{
    if (fails(__func__))
        return CL_OUT_OF_RESOURCES;
    for (size_t i = 0; i < size; i += n)
        memcpy(memory_of(m) + offset + i, pattern, n);
    return finished(q, CL_COMPLETE, ret_event);
}

/* What becomes of a command that waits for others. */
static cl_int after(cl_uint n_wait, const cl_event *wait)
{
    for (cl_uint i = 0; i < n_wait; i++)
        if (((const struct object *)(void *)wait[i])->status < 0)
            return CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST;
    return CL_COMPLETE;
}

cl_int clEnqueueReadBuffer(cl_command_queue q, cl_mem m, cl_bool block, size_t offset, size_t size, void *to,
                           cl_uint n_wait, const cl_event *wait, cl_event *ret_event)
{
    if (fails(__func__))
        return CL_OUT_OF_RESOURCES;
    fake_cl.waits += block;
    memcpy(to, memory_of(m) + offset, size);
    return finished(q, after(n_wait, wait), ret_event);
}

cl_int clEnqueueWriteBuffer(cl_command_queue q, cl_mem m, cl_bool block, size_t offset, size_t size, const void *from,
                            cl_uint n_wait, const cl_event *wait, cl_event *ret_event)
{
    if (fails(__func__))
        return CL_OUT_OF_RESOURCES;
    fake_cl.waits += block;
    memcpy(memory_of(m) + offset, from, size);
    return finished(q, CL_COMPLETE, ret_event);
}

/* ---- programs and kernels ---- */
cl_program clCreateProgramWithSource(cl_context c, cl_uint n, const char **text, const size_t *size, cl_int *e)
{
    struct object *o;

    if (fails(__func__))
        return made(NULL, CL_OUT_OF_HOST_MEMORY, e);
    fake_cl.compiles++;
    o = new_object((void *)c);
    o->text = copy_text(text[0], strlen(text[0]));
    o->size = strlen(text[0]);
    return made(o, CL_SUCCESS, e);
}

cl_program clCreateProgramWithBinary(cl_context c, cl_uint n, const cl_device_id *d, const size_t *size,
                                     const unsigned char **text, cl_int *status, cl_int *e)
{
    struct object *o;

    if (fails(__func__) || fake_cl.rejects_binaries) {
        *status = CL_INVALID_BINARY;
        return made(NULL, CL_INVALID_BINARY, e);
    }
    *status = CL_SUCCESS;
    fake_cl.binaries++;
    o = new_object((void *)c);
    o->text = copy_text((const char *)text[0], size[0]);
    o->size = size[0];
    return made(o, CL_SUCCESS, e);
}

/* Any name of one of the devices' lists is taken. */
cl_program clCreateProgramWithBuiltInKernels(cl_context c, cl_uint n, const cl_device_id *d, const char *names,
                                             cl_int *e)
{
    const char *list = fake_cl.device[(char *)d[0] - device_tag].built_in_kernels;
    struct object *o;

    if (fails(__func__))
        return made(NULL, CL_OUT_OF_HOST_MEMORY, e);
    if (!list || !strstr(list, names))
        return made(NULL, CL_INVALID_VALUE, e);
    o = new_object((void *)c);
    o->text = copy_text(names, strlen(names));
    return made(o, CL_SUCCESS, e);
}

cl_int clBuildProgram(cl_program p, cl_uint n, const cl_device_id *d, const char *options,
                      void(CL_CALLBACK *notify)(cl_program, void *), void *arg)
{
    return fails(__func__) ? CL_OUT_OF_RESOURCES : CL_SUCCESS;
}

cl_int clGetProgramBuildInfo(cl_program p, cl_device_id d, cl_program_build_info what, size_t size, void *to,
                             size_t *ret_size)
{
    return fails(__func__) ? CL_OUT_OF_RESOURCES : answer_text("a compiler's words", size, to, ret_size);
}

cl_int clGetProgramInfo(cl_program p, cl_program_info what, size_t size, void *to, size_t *ret_size)
{
    const struct object *o = (void *)p;

    if (fails(__func__))
        return CL_OUT_OF_RESOURCES;
    if (what == CL_PROGRAM_BINARY_SIZES)
        return answer(&o->size, sizeof o->size, size, to, ret_size);
    memcpy(*(unsigned char **)to, o->text, o->size);
    return CL_SUCCESS;
}

cl_kernel clCreateKernel(cl_program p, const char *name, cl_int *e)
{
    struct object *o;

    if (fails(__func__))
        return made(NULL, CL_OUT_OF_HOST_MEMORY, e);
    o = new_object((void *)p);
    o->text = copy_text(name, strlen(name));
    return made(o, CL_SUCCESS, e);
}

cl_int clGetKernelInfo(cl_kernel k, cl_kernel_info what, size_t size, void *to, size_t *ret_size)
{
    cl_uint n;

    if (fails(__func__))
        return CL_OUT_OF_RESOURCES;
    n = (cl_uint)fake_cl.n_args(((struct object *)(void *)k)->text);
    return answer(&n, sizeof n, size, to, ret_size);
}

cl_int clSetKernelArg(cl_kernel k, cl_uint i, size_t size, const void *value)
{
    struct object *o = (void *)k;

    if (fails(__func__))
        return CL_OUT_OF_RESOURCES;
    if (i >= MAX_ARGS)
        return CL_INVALID_ARG_INDEX;
    if (value && size == sizeof(void *))
        memcpy(&o->arg[i].mem, value, size);
    if (value && size == sizeof(float))
        memcpy(&o->arg[i].f, value, size);
    return CL_SUCCESS;
}

/* c [m, n] = a [m, k] b [k, n] of the rows and columns of the grid */
static void product(const struct object *k, const size_t *global)
{
    const float *a = (const float *)(void *)memory_of(k->arg[0].mem),
                *b = (const float *)(void *)memory_of(k->arg[1].mem);
    float *c = (float *)(void *)memory_of(k->arg[2].mem);
    int32_t n, depth;

    memcpy(&n, &k->arg[4].f, sizeof n);
    memcpy(&depth, &k->arg[5].f, sizeof depth);
    for (size_t y = 0; y < global[1]; y++)
        for (size_t x = 0; x < global[0]; x++) {
            float sum = fake_cl.multiplies_wrongly ? 1.0f : 0.0f;

            for (int32_t i = 0; i < depth; i++)
                sum += a[y * (size_t)depth + (size_t)i] * b[(size_t)i * (size_t)n + x];
            c[y * (size_t)n + x] = sum;
        }
}

cl_int clEnqueueNDRangeKernel(cl_command_queue q, cl_kernel k, cl_uint dims, const size_t *offset, const size_t *global,
                              const size_t *local, cl_uint n_wait, const cl_event *wait, cl_event *ret_event)
{
    const struct object *o = (void *)k;

    if (fails(__func__))
        return CL_OUT_OF_RESOURCES;
    if (strcmp(o->text, "pocl.sgemm.local.f32") == 0)
        product(o, global);
    if (strcmp(o->text, "scale") == 0) {
        const float *x = (const float *)(void *)memory_of(o->arg[0].mem);
        float *y = (float *)(void *)memory_of(o->arg[1].mem);

        for (size_t i = 0; i < ((struct object *)o->arg[1].mem)->size / sizeof *y; i++)
            y[i] = o->arg[2].f * x[i] + o->arg[3].f;
    }
    return finished(q, fake_cl.run_status, ret_event);
}

cl_int clEnqueueNativeKernel(cl_command_queue q, void(CL_CALLBACK *f)(void *), void *args, size_t size, cl_uint n,
                             const cl_mem *mem, const void **loc, cl_uint n_wait, const cl_event *wait,
                             cl_event *ret_event)
{
    char *block;

    if (fails(__func__))
        return CL_OUT_OF_RESOURCES;
    block = copy_text(args, size);
    for (cl_uint i = 0; i < n; i++) {
        char *m = memory_of(mem[i]);

        memcpy(block + ((const char *)loc[i] - (const char *)args), &m, sizeof m);
    }
    f(block);
    free(block);
    return finished(q, fake_cl.run_status, ret_event);
}

/* ---- events ---- */
cl_int clEnqueueMarkerWithWaitList(cl_command_queue q, cl_uint n, const cl_event *wait, cl_event *ret_event)
{
    return fails(__func__) ? CL_OUT_OF_RESOURCES : finished(q, CL_COMPLETE, ret_event);
}

cl_int clFlush(cl_command_queue q)
{
    return fails(__func__) ? CL_OUT_OF_RESOURCES : CL_SUCCESS;
}

cl_int clFinish(cl_command_queue q)
{
    fake_cl.waits++;
    return fails(__func__) ? CL_OUT_OF_RESOURCES : CL_SUCCESS;
}

cl_int clWaitForEvents(cl_uint n, const cl_event *event)
{
    fake_cl.waits++;
    if (fails(__func__))
        return CL_OUT_OF_RESOURCES;
    for (cl_uint i = 0; i < n; i++)
        if (((struct object *)(void *)event[i])->status < 0)
            return CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST;
    return CL_SUCCESS;
}

cl_int clGetEventInfo(cl_event e, cl_event_info what, size_t size, void *to, size_t *ret_size)
{
    if (fails(__func__))
        return CL_OUT_OF_RESOURCES;
    return answer(&((struct object *)(void *)e)->status, sizeof(cl_int), size, to, ret_size);
}

cl_int clGetEventProfilingInfo(cl_event e, cl_profiling_info what, size_t size, void *to, size_t *ret_size)
{
    cl_ulong t = what == CL_PROFILING_COMMAND_END ? 2000 : 1000;

    return fails(__func__) ? CL_OUT_OF_RESOURCES : answer(&t, sizeof t, size, to, ret_size);
}

cl_int clSetEventCallback(cl_event e, cl_int status, void(CL_CALLBACK *f)(cl_event, cl_int, void *), void *arg)
{
    if (fails(__func__))
        return CL_OUT_OF_RESOURCES;
    f(e, ((struct object *)(void *)e)->status, arg);
    return CL_SUCCESS;
}

cl_int clRetainEvent(cl_event e)
{
    return retain(e);
}

cl_int clReleaseEvent(cl_event e)
{
    return release(e);
}

cl_int clReleaseKernel(cl_kernel k)
{
    return release(k);
}

cl_int clReleaseProgram(cl_program p)
{
    return release(p);
}

cl_int clReleaseMemObject(cl_mem m)
{
    return release(m);
}

cl_int clReleaseCommandQueue(cl_command_queue q)
{
    return release(q);
}

cl_int clReleaseContext(cl_context c)
{
    return release(c);
}
