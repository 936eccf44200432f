/* cl_device.c - OpenCL devices: finding them, opening one. */
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "libnpu/dev/cl.h"
#include "libnpu/dev/cl_list.h"
#include "libnpu/dev/cpu.h"
#include "libnpu/tier/builtin.h"
#include "libnpu/tier/int_dot.h"
#include "libnpu/tier/subgroup.h"
#include "libnpu/tune.h"

const char *cl_error_text(cl_int e)
{
    static const struct {
        cl_int e;
        const char *text;
    } known[] = {
        {CL_DEVICE_NOT_FOUND, "no device"},
        {CL_DEVICE_NOT_AVAILABLE, "device not available"},
        {CL_COMPILER_NOT_AVAILABLE, "no compiler"},
        {CL_MEM_OBJECT_ALLOCATION_FAILURE, "memory allocation failed"},
        {CL_OUT_OF_RESOURCES, "out of device resources"},
        {CL_OUT_OF_HOST_MEMORY, "out of host memory"},
        {CL_BUILD_PROGRAM_FAILURE, "program does not build"},
        {CL_MISALIGNED_SUB_BUFFER_OFFSET, "misaligned sub-buffer"},
        {CL_INVALID_BUFFER_SIZE, "invalid buffer size"},
        {CL_INVALID_KERNEL_NAME, "no such kernel"},
        {CL_INVALID_ARG_INDEX, "invalid argument index"},
        {CL_INVALID_ARG_SIZE, "invalid argument size"},
        {CL_INVALID_KERNEL_ARGS, "arguments not set"},
        {CL_INVALID_WORK_GROUP_SIZE, "invalid work-group size"},
        {CL_INVALID_GLOBAL_WORK_SIZE, "invalid global size"},
        {CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, "a command before it failed"},
        {CL_INVALID_CONTEXT, "the device is lost"}, /* what drivers say after a reset */
        {CL_INVALID_COMMAND_QUEUE, "the device is lost"},
        {-9999, "a kernel failed on the device"}, /* NVIDIA: illegal access */
        {-1001, "no OpenCL driver is installed"},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].e == e)
            return known[i].text;
    return "OpenCL error";
}

int cl_errno(cl_int e)
{
    switch (e) {
    case CL_SUCCESS:
        return 0;
    case CL_MEM_OBJECT_ALLOCATION_FAILURE:
    case CL_OUT_OF_RESOURCES:
    case CL_OUT_OF_HOST_MEMORY:
        return -ENOMEM;
    case CL_DEVICE_NOT_FOUND:
    case CL_DEVICE_NOT_AVAILABLE:
    case CL_INVALID_CONTEXT:
    case CL_INVALID_COMMAND_QUEUE:
        return -ENODEV;
    case CL_BUILD_PROGRAM_FAILURE:
        return -ENOEXEC;
    default:
        return -EIO;
    }
}

static bool in_path(const char *program)
{
    const char *path = getenv("PATH");
    char name[4096];

    while (path && *path) {
        size_t n = strcspn(path, ":");

        if (snprintf(name, sizeof name, "%.*s/%s", (int)n, path, program) < (int)sizeof name && access(name, X_OK) == 0)
            return true;
        path += n + (path[n] == ':');
    }
    return false;
}

static void get_text(cl_device_id d, cl_device_info what, char *buf, size_t size)
{
    size_t n = 0;
    char *text;

    buf[0] = '\0';
    if (clGetDeviceInfo(d, what, 0, NULL, &n) != CL_SUCCESS || n == 0 || !(text = calloc(1, n + 1)))
        return;
    clGetDeviceInfo(d, what, n, text, NULL);
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\0'))
        text[--n] = '\0';
    snprintf(buf, size, "%s", text);
    free(text);
}

static void get_platform_text(cl_platform_id p, cl_platform_info what, char *buf, size_t size)
{
    size_t n = 0;
    char *text;

    buf[0] = '\0';
    if (clGetPlatformInfo(p, what, 0, NULL, &n) != CL_SUCCESS || n == 0 || !(text = calloc(1, n + 1)))
        return;
    clGetPlatformInfo(p, what, n, text, NULL);
    snprintf(buf, size, "%s", text);
    free(text);
}

/* Only CUSTOM and ACCELERATOR devices call themselves NPUs here; a GPU or CPU device may be joined with an accel node
 * later. */
static enum npu_dev_kind kind_of(cl_device_id d)
{
    cl_device_type t = 0;

    clGetDeviceInfo(d, CL_DEVICE_TYPE, sizeof t, &t, NULL);
    if (t & (CL_DEVICE_TYPE_ACCELERATOR | CL_DEVICE_TYPE_CUSTOM))
        return NPU_KIND_NPU;
    return t & CL_DEVICE_TYPE_GPU ? NPU_KIND_GPU : NPU_KIND_CPU;
}

static cl_uint get_uint(cl_device_id d, cl_device_info what)
{
    cl_uint v = 0;
    clGetDeviceInfo(d, what, sizeof v, &v, NULL);
    return v;
}

static bool is_pocl(cl_platform_id p)
{
    char name[64];

    get_platform_text(p, CL_PLATFORM_NAME, name, sizeof name);
    return strstr(name, "Portable Computing") != NULL;
}

static void check_usable(cl_platform_id p, cl_device_id d, struct npu_dev_info *i)
{
    cl_bool available = CL_FALSE, compiler = CL_FALSE, little = CL_FALSE;

    clGetDeviceInfo(d, CL_DEVICE_AVAILABLE, sizeof available, &available, NULL);
    clGetDeviceInfo(d, CL_DEVICE_COMPILER_AVAILABLE, sizeof compiler, &compiler, NULL);
    clGetDeviceInfo(d, CL_DEVICE_ENDIAN_LITTLE, sizeof little, &little, NULL);
    if (!available)
        strcpy(i->why_not, "the driver says that the device is not available");
    else if (!compiler)
        snprintf(i->why_not, sizeof i->why_not, "the driver has no compiler for this device; libnpu needs one%s",
                 i->built_in_kernels[0] ? ", its built-in kernels do not make a network" : "");
    else if (!little)
        strcpy(i->why_not, "the device is big-endian");
    else if (is_pocl(p) && !in_path("ld"))
        strcpy(i->why_not, "PoCL needs the linker `ld` in PATH: install binutils");
    i->usable = !i->why_not[0];
}

/* Matrix tiers that may serve: C code on the host's units where native kernels run, then vectors of the device's width.
 */
static void list_tiers(cl_device_id d, struct npu_dev_info *i)
{
    static const struct {
        unsigned bit;
        const char *name;
    } native[] = {
        {NPU_CPU_AMX_BF16, "amx-bf16 "}, {NPU_CPU_AMX_INT8, "amx-int8 "}, {NPU_CPU_AVX512_BF16, "avx512-bf16 "}};
    cl_uint w = get_uint(d, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT);
    unsigned cpu = i->kind == NPU_KIND_CPU ? npu_cpu_features() : 0;
    size_t n = 0;

    for (size_t k = 0; k < sizeof native / sizeof native[0]; k++)
        if (cpu & native[k].bit)
            n += (size_t)snprintf(i->tiers + n, sizeof i->tiers - n, "%s", native[k].name);
    if (i->kind == NPU_KIND_CPU)
        snprintf(i->tiers + n, sizeof i->tiers - n, "vec%d", w >= 16 ? 16 : w >= 8 ? 8 : 4);
    else
        snprintf(i->tiers + n, sizeof i->tiers - n, "scalar");
}

static void describe(cl_platform_id p, cl_device_id d, int index, struct cl_found *f)
{
    struct npu_dev_info *i = &f->info;
    char platform[64], driver[60];
    cl_ulong memory = 0;

    memset(f, 0, sizeof *f);
    snprintf(i->id, sizeof i->id, "cl%d", index);
    get_text(d, CL_DEVICE_NAME, i->name, sizeof i->name);
    get_platform_text(p, CL_PLATFORM_NAME, platform, sizeof platform);
    get_text(d, CL_DRIVER_VERSION, driver, sizeof driver);
    snprintf(i->driver, sizeof i->driver, "%s, %s", platform, driver);
    get_text(d, CL_DEVICE_EXTENSIONS, i->extensions, sizeof i->extensions);
    get_text(d, CL_DEVICE_BUILT_IN_KERNELS, i->built_in_kernels, sizeof i->built_in_kernels);
    clGetDeviceInfo(d, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof memory, &memory, NULL);
    i->kind = kind_of(d);
    i->compute_units = (int)get_uint(d, CL_DEVICE_MAX_COMPUTE_UNITS);
    if (i->compute_units < 1) /* a driver that does not say has one at least */
        i->compute_units = 1;
    i->memory_bytes = memory;
    check_usable(p, d, i);
    list_tiers(d, i);
    cl_pci_address(d, f->pci, sizeof f->pci);
}

/* Calls f for each device of each platform in the loader's order; stops when f returns false. */
static void each_device(bool (*f)(cl_platform_id p, cl_device_id d, int index, void *arg), void *arg)
{
    cl_platform_id platform[NPU_MAX_DEVICES];
    cl_device_id device[NPU_MAX_DEVICES];
    cl_uint n_platforms = 0, n_devices;
    int index = 0;

    if (clGetPlatformIDs(NPU_MAX_DEVICES, platform, &n_platforms) != CL_SUCCESS)
        return;
    for (cl_uint p = 0; p < n_platforms && p < NPU_MAX_DEVICES; p++) {
        n_devices = 0;
        if (clGetDeviceIDs(platform[p], CL_DEVICE_TYPE_ALL, NPU_MAX_DEVICES, device, &n_devices) != CL_SUCCESS)
            continue;
        for (cl_uint k = 0; k < n_devices && k < NPU_MAX_DEVICES; k++)
            if (!f(platform[p], device[k], index++, arg))
                return;
    }
}

struct list_arg {
    struct cl_found *found;
    int n, max;
};

static bool list_one(cl_platform_id p, cl_device_id d, int index, void *arg)
{
    struct list_arg *a = arg;

    if (a->n == a->max)
        return false;
    describe(p, d, index, &a->found[a->n++]);
    return true;
}

int cl_list_devices(struct cl_found *ret_found, int max, int *ret_platforms)
{
    struct list_arg a = {ret_found, 0, max};
    cl_uint n = 0;

    *ret_platforms = clGetPlatformIDs(0, NULL, &n) == CL_SUCCESS ? (int)n : 0;
    each_device(list_one, &a);
    return a.n;
}

struct pick_arg {
    int index;
    struct cl_dev *d;
};

static bool pick(cl_platform_id p, cl_device_id d, int index, void *arg)
{
    struct pick_arg *a = arg;

    if (index == a->index) {
        a->d->platform = p;
        a->d->id = d;
    }
    return index != a->index;
}

/* Threads of native launches: units of the device, but no more than the cores that this process may use. */
static int usable_units(const struct npu_dev_info *i)
{
    cpu_set_t set;
    const int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : i->compute_units;

    return cores > 0 && cores < i->compute_units ? cores : i->compute_units;
}

/* Language version, alignment, vector width and the like. -EIO if the driver does not say what a plan needs. */
static int read_traits(struct cl_dev *d)
{
    struct npu_traits *t = &d->base.traits;
    cl_device_exec_capabilities exec = 0;
    cl_ulong local = 0, max_alloc = 0;
    char version[64];
    int major = 1;
    const struct {
        cl_device_info what;
        size_t size;
        void *to;
    } ask[] = {{CL_DEVICE_LOCAL_MEM_SIZE, sizeof local, &local},
               {CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof max_alloc, &max_alloc},
               {CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof t->max_work_group, &t->max_work_group},
               {CL_DEVICE_EXECUTION_CAPABILITIES, sizeof exec, &exec}};

    for (size_t i = 0; i < sizeof ask / sizeof ask[0]; i++)
        if (clGetDeviceInfo(d->id, ask[i].what, ask[i].size, ask[i].to, NULL) != CL_SUCCESS)
            return -EIO;
    get_text(d->id, CL_DEVICE_VERSION, version, sizeof version);
    sscanf(version, "OpenCL %d", &major);
    d->std_option = major >= 3 ? "-cl-std=CL3.0" : "-cl-std=CL1.2";
    t->kind = d->base.info.kind;
    t->compute_units = d->base.info.compute_units;
    t->vec_f32 = (int)get_uint(d->id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT);
    t->local_bytes = (size_t)local;
    t->native = (exec & CL_EXEC_NATIVE_KERNEL) && t->kind == NPU_KIND_CPU;
    t->cpu = t->native ? npu_cpu_features() : 0;
    if (t->native)
        t->compute_units = usable_units(&d->base.info);
    d->base.max_bank = (size_t)max_alloc;
    d->base.align = get_uint(d->id, CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 8;
    if (d->base.align < 128)
        d->base.align = 128;
    return 0;
}

static int make_identity(struct cl_dev *d)
{
    char version[128], device[128], platform[128];

    get_platform_text(d->platform, CL_PLATFORM_VERSION, platform, sizeof platform);
    get_text(d->id, CL_DEVICE_VERSION, version, sizeof version);
    get_text(d->id, CL_DEVICE_NAME, device, sizeof device);
    return asprintf(&d->identity, "%s|%s|%s|%s", d->base.info.driver, platform, version, device) < 0 ? -ENOMEM : 0;
}

/* PoCL counts the kernels in flight wrongly: its list of loaded kernels (lib/CL/devices/common.c, as of 3.1) has
 * entries for a kernel's general form, which only CL_PROGRAM_BINARIES asks for, and for each wider grid; a kernel that
 * ends gives back the first entry of its name and local size, whichever it was started from. With a binary fetched, or
 * a wider grid started, while the kernel runs, the count falls below 0 and an assertion ends the process. So on PoCL:
 *  - no program binaries are fetched. PoCL has a cache of its own on disk, with which a plan is ready some 40 ms of
 *    processor time a program later than with ours, and the first start of all is faster, as fetching compiles each
 *    kernel once more;
 *  - all plans share one queue, so that one kernel runs at a time. Each uses all cores anyway. */
static cl_command_queue make_queue(const struct cl_dev *d, bool profile, cl_int *ret_error)
{
    const cl_queue_properties props[] = {CL_QUEUE_PROPERTIES, profile ? CL_QUEUE_PROFILING_ENABLE : 0, 0};

    return clCreateCommandQueueWithProperties(d->context, d->id, props, ret_error);
}

cl_command_queue cl_queue_new(struct cl_dev *d, bool profile, cl_int *ret_error)
{
    if (!d->queue)
        return make_queue(d, profile, ret_error);
    *ret_error = clRetainCommandQueue(d->queue);
    return *ret_error == CL_SUCCESS ? d->queue : NULL;
}

/* Set once drivers live in this process: asking them again here is then safer than in a fork, whose locks may be held
 * by threads that it does not have. */
static atomic_bool loaded;

bool cl_is_loaded(void)
{
    return atomic_load(&loaded);
}

int npu_dev_cl_open(struct npu_ctx *c, const struct npu_dev_info *info, struct npu_dev **ret_dev)
{
    struct cl_dev *d = calloc(1, sizeof *d);
    struct pick_arg a = {.d = d};
    bool pocl;
    cl_int e;

    if (!d)
        return npu_ctx_fail(c, -ENOMEM, "%s: out of memory", info->id);
    d->base.ops = &cl_ops;
    d->base.ctx = c;
    d->base.info = *info;
    pthread_mutex_init(&d->lock, NULL);
    pthread_mutex_init(&d->build_lock, NULL);
    pthread_cond_init(&d->built, NULL);
    atomic_store(&loaded, true);
    if (sscanf(info->id, "cl%d", &a.index) == 1)
        each_device(pick, &a);
    if (!d->id) {
        cl_ops.close(&d->base);
        return npu_ctx_fail(c, -ENODEV, "%s is not there any more", info->id);
    }
    if (read_traits(d) < 0) {
        cl_ops.close(&d->base);
        return npu_ctx_fail(c, -EIO, "%s: the driver does not answer questions about it", info->id);
    }
    pocl = is_pocl(d->platform);
    if (make_identity(d) < 0 || (c->cache_dir && !pocl && !(d->cache_dir = strdup(c->cache_dir)))) {
        cl_ops.close(&d->base);
        return npu_ctx_fail(c, -ENOMEM, "%s: out of memory", info->id);
    }
    d->context = clCreateContext(NULL, 1, &d->id, NULL, NULL, &e);
    if (!d->context) {
        cl_ops.close(&d->base);
        return npu_ctx_fail(c, cl_errno(e), "%s: %s", info->id, cl_error_text(e));
    }
    if (pocl && !(d->queue = make_queue(d, true, &e))) {
        cl_ops.close(&d->base);
        return npu_ctx_fail(c, cl_errno(e), "%s: command queue: %s", info->id, cl_error_text(e));
    }
    if (d->base.traits.native && npu_pool_new(d->base.traits.compute_units, &d->pool) < 0) {
        cl_ops.close(&d->base);
        return npu_ctx_fail(c, -ENOMEM, "%s: out of memory", info->id);
    }
    d->base.tune = npu_tune_new(c->cache_dir, d->identity, d->base.traits.compute_units);
    npu_int_dot_test(&d->base);
    npu_subgroup_test(&d->base);
    npu_builtin_test(&d->base);
    *ret_dev = &d->base;
    return 0;
}
