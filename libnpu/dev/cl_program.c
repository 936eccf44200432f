/* cl_program.c - programs of an OpenCL device: one a (kernel file, options), from the cache or the compiler. */
#include <stdlib.h>

#include "libnpu/dev/cl.h"
#include "libnpu/kernels.h"
#include "libnpu/tier/builtin.h"

static const char *kernel_text(const char *name)
{
    for (const struct npu_kernel_source *s = npu_kernel_sources; s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s->text;
    return NULL;
}

/* The kernel that a launch's source names if it is one of the driver's own, else NULL. */
static const char *builtin_name(const char *source)
{
    const size_t n = strlen(NPU_BUILTIN_SOURCE);

    return strncmp(source, NPU_BUILTIN_SOURCE, n) == 0 ? source + n : NULL;
}

/* lib.clh and the file, with its lines `#include "name.clh"` replaced by those texts (one level). NULL: no memory. */
static char *full_source(const char *name)
{
    const char *at = kernel_text(name), *lib = kernel_text("lib"), *line;
    char include[64], *out = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&out, &size);

    if (!f)
        return NULL;
    fputs(lib, f);
    for (; *at; at = line + (*line == '\n')) {
        const char *text;

        line = at + strcspn(at, "\n");
        if (sscanf(at, "#include \"%63[a-z0-9_].clh\"", include) == 1 && (text = kernel_text(include)))
            fputs(text, f);
        else
            fwrite(at, 1, (size_t)(line - at), f);
        fputc('\n', f);
    }
    if (fclose(f) == 0)
        return out;
    free(out);
    return NULL;
}

/* The options of a launch: language, types of its tensors, its own definitions; K_<entry> if the file asks for it, so
 * that the other kernels in it need not be compiled. */
static int make_options(const struct cl_dev *d, const struct npu_plan *p, const struct npu_launch *l, char *buf,
                        size_t size)
{
    size_t n = (size_t)snprintf(buf, size, "%s -w", d->std_option);
    const char *text = kernel_text(l->source);
    char only[80];
    int k = 0;

    if (builtin_name(l->source)) {
        buf[0] = '\0';
        return 0;
    }
    snprintf(only, sizeof only, "def K_%s\n", l->entry);
    if (text && strstr(text, only))
        n += (size_t)snprintf(buf + n, size - n, " -DK_%s", l->entry);
    for (int i = 0; i < l->n_args && n < size; i++)
        if (l->arg[i].kind == NPU_ARG_VAL)
            n += (size_t)snprintf(buf + n, size - n, " -DDT%d=%d", k++, (int)npu_val_dtype(p->graph, l->arg[i].val));
    if (n < size && l->defs[0])
        n += (size_t)snprintf(buf + n, size - n, " %s", l->defs);
    return n < size ? 0 : -E2BIG;
}

static int create_from_cache(struct cl_dev *d, struct cl_prog *g)
{
    unsigned char *bytes;
    size_t size;
    cl_int e, status;
    int r = cl_cache_read(d->cache_dir, g->key, &bytes, &size);

    if (r < 0)
        return r;
    g->prog = clCreateProgramWithBinary(d->context, 1, &d->id, &size, (const unsigned char **)&bytes, &status, &e);
    free(bytes);
    if (e == CL_SUCCESS && status == CL_SUCCESS)
        e = clBuildProgram(g->prog, 1, &d->id, g->options, NULL, NULL);
    if (e == CL_SUCCESS && status == CL_SUCCESS)
        return 0;
    if (g->prog)
        clReleaseProgram(g->prog);
    g->prog = NULL;
    cl_cache_remove(d->cache_dir, g->key);
    return -ENOENT;
}

static char *build_log(const struct cl_dev *d, cl_program prog)
{
    size_t n = 0;
    char *log;

    if (clGetProgramBuildInfo(prog, d->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &n) != CL_SUCCESS || n == 0)
        return NULL;
    log = calloc(1, n + 1);
    if (log)
        clGetProgramBuildInfo(prog, d->id, CL_PROGRAM_BUILD_LOG, n, log, NULL);
    return log;
}

/* Drivers may not let such programs be built, as nothing of them is to be compiled. */
static int build_builtin(struct cl_dev *d, struct cl_prog *g)
{
    cl_int e;

    g->saved = true; /* it has no binary */
    g->prog = clCreateProgramWithBuiltInKernels(d->context, 1, &d->id, builtin_name(g->source), &e);
    if (!g->prog)
        return e == CL_INVALID_VALUE ? -ENOEXEC : cl_errno(e);
    e = clBuildProgram(g->prog, 1, &d->id, "", NULL, NULL);
    if (e == CL_SUCCESS || e == CL_INVALID_OPERATION)
        return 0;
    clReleaseProgram(g->prog);
    g->prog = NULL;
    return e == CL_BUILD_PROGRAM_FAILURE ? -ENOEXEC : cl_errno(e);
}

static int build(struct cl_dev *d, struct cl_prog *g)
{
    char *text = kernel_text(g->source) ? full_source(g->source) : NULL;
    const char *key[] = {"1", GAZED_VERSION, d->identity, g->options, g->source, text};
    cl_int e;

    if (!text)
        return kernel_text(g->source) ? -ENOMEM : -ENOENT;
    g->key = cl_cache_key(key, 6);
    if (create_from_cache(d, g) == 0) {
        free(text);
        g->saved = true;
        return 0;
    }
    g->prog = clCreateProgramWithSource(d->context, 1, (const char **)&text, NULL, &e);
    free(text);
    if (!g->prog)
        return cl_errno(e);
    e = clBuildProgram(g->prog, 1, &d->id, g->options, NULL, NULL);
    if (e == CL_SUCCESS)
        return 0;
    free(g->log);
    g->log = build_log(d, g->prog);
    clReleaseProgram(g->prog);
    g->prog = NULL;
    return e == CL_BUILD_PROGRAM_FAILURE ? -ENOEXEC : cl_errno(e);
}

/* A program that does not build never will; for want of memory or the like it is tried again. */
static bool is_final(int status)
{
    return status == -ENOEXEC || status == -ENOENT;
}

static struct cl_prog *find_or_add(struct cl_dev *d, const char *source, const char *options)
{
    struct cl_prog *g;

    for (g = d->progs; g; g = g->next)
        if (strcmp(g->source, source) == 0 && strcmp(g->options, options) == 0) {
            if (!g->building && g->status < 0 && !is_final(g->status))
                g->status = -EAGAIN;
            return g;
        }
    g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->source = strdup(source);
    g->options = strdup(options);
    g->status = -EAGAIN; /* to be built */
    if (!g->source || !g->options) {
        free(g->source);
        free(g->options);
        free(g);
        return NULL;
    }
    g->next = d->progs;
    d->progs = g;
    return g;
}

/* Builds whatever of the launches' programs nobody builds yet. Runs in several threads. */
struct build_job {
    struct cl_dev *d;
    struct cl_launch *launch;
    int n;
};

static void *build_main(void *arg)
{
    struct build_job *j = arg;
    struct cl_dev *d = j->d;

    pthread_mutex_lock(&d->lock);
    for (int i = 0; i < j->n; i++) {
        struct cl_prog *g = j->launch[i].prog;
        int r;

        if (!g || g->building || g->status != -EAGAIN)
            continue;
        g->building = true;
        pthread_mutex_unlock(&d->lock);
        r = builtin_name(g->source) ? build_builtin(d, g) : build(d, g);
        pthread_mutex_lock(&d->lock);
        g->building = false;
        g->status = r;
        pthread_cond_broadcast(&d->built);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

static int check_built(struct npu_plan *p, const struct cl_prog *g)
{
    if (g->status == 0)
        return 0;
    if (builtin_name(g->source))
        return npu_plan_fail(p, g->status, "built-in kernel %s: %s", builtin_name(g->source), strerror(-g->status));
    if (g->status == -ENOENT)
        return npu_plan_fail(p, -ENOENT, "kernels/%s.cl is not in this build", g->source);
    return npu_plan_fail(p, g->status, "kernels/%s.cl (%s): %s", g->source, g->options,
                         g->log ? g->log : strerror(-g->status));
}

int cl_programs_get(struct cl_dev *d, struct npu_plan *p, struct cl_launch *launch, int n)
{
    struct build_job job = {d, launch, n};
    pthread_t thread[8];
    int n_threads = 0, want = d->base.info.compute_units, r = 0, n_new = 0;
    char options[768];

    pthread_mutex_lock(&d->lock);
    for (int i = 0; i < n && r == 0; i++) {
        if (launch[i].l->native)
            continue;
        r = make_options(d, p, launch[i].l, options, sizeof options);
        if (r < 0)
            break;
        launch[i].prog = find_or_add(d, launch[i].l->source, options);
        if (launch[i].prog)
            n_new += launch[i].prog->status == -EAGAIN;
        else
            r = -ENOMEM;
    }
    pthread_mutex_unlock(&d->lock);
    if (r < 0)
        return npu_plan_fail(p, r, "kernel options: %s", strerror(-r));
    for (int i = 0; i < 8 && i + 1 < want && i + 1 < n_new; i++)
        if (pthread_create(&thread[n_threads], NULL, build_main, &job) == 0)
            n_threads++;
    build_main(&job);
    for (int i = 0; i < n_threads; i++)
        pthread_join(thread[i], NULL);
    pthread_mutex_lock(&d->lock);
    for (int i = 0; i < n && r == 0; i++) {
        while (launch[i].prog && (launch[i].prog->building || launch[i].prog->status == -EAGAIN))
            pthread_cond_wait(&d->built, &d->lock); /* another plan builds it */
        if (launch[i].prog)
            r = check_built(p, launch[i].prog);
    }
    pthread_mutex_unlock(&d->lock);
    return r;
}

static void save(struct cl_dev *d, struct cl_prog *g)
{
    unsigned char *bytes;
    size_t size = 0;

    g->saved = true; /* tried once */
    if (clGetProgramInfo(g->prog, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) != CL_SUCCESS || size == 0)
        return;
    bytes = malloc(size);
    if (bytes && clGetProgramInfo(g->prog, CL_PROGRAM_BINARIES, sizeof bytes, &bytes, NULL) == CL_SUCCESS)
        cl_cache_write(d->cache_dir, g->key, bytes, size);
    free(bytes);
}

void cl_programs_save(struct cl_dev *d)
{
    pthread_mutex_lock(&d->lock);
    for (struct cl_prog *g = d->progs; d->cache_dir && g; g = g->next)
        if (g->prog && g->status == 0 && !g->saved)
            save(d, g);
    pthread_mutex_unlock(&d->lock);
}

void cl_programs_free(struct cl_dev *d)
{
    while (d->progs) {
        struct cl_prog *g = d->progs;

        d->progs = g->next;
        if (g->prog)
            clReleaseProgram(g->prog);
        free(g->source);
        free(g->options);
        free(g->log);
        free(g);
    }
}
