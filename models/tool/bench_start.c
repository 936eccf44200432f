/* bench_start.c - how long it is from nothing to the first result: in a process of its own, since drivers keep what
 * they have loaded; with an empty program cache and with one that is warm. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libnpu/plan.h"
#include "models/tool/bench.h"

extern char **environ;

static double ms_since(int64_t *at_ns)
{
    const int64_t now = npu_now_ns();
    const double ms = 1e-6 * (double)(now - *at_ns);

    *at_ns = now;
    return ms;
}

int bench_start_once(const struct bench_args *a)
{
    struct bench_net *n = calloc(1, sizeof *n);
    struct bench_device d = {0};
    struct bench_start s = {0};
    int64_t at_ns = npu_now_ns();
    int r;

    if (!n)
        return bench_fail("out of memory");
    r = bench_device_open(a, &d);
    s.context_ms = ms_since(&at_ns);
    if (r == 0)
        r = bench_net_open(a, d.dev, NULL, n);
    s.plan_ms = ms_since(&at_ns);
    if (r == 0 && bench_net_run(n) < 0)
        r = bench_fail("%s: %s", a->what, npu_plan_error(n->plan));
    s.first_ms = ms_since(&at_ns);
    if (r == 0)
        printf("{\"context_ms\": %.3f, \"plan_ms\": %.3f, \"first_ms\": %.3f}\n", s.context_ms, s.plan_ms, s.first_ms);
    bench_net_close(n);
    free(n);
    bench_device_close(&d);
    return r;
}

/* ---- from outside ---- */
static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    remove(path);
    return 0;
}

/* Our own arguments as far as they say what network it is. */
static int arguments(const struct bench_args *a, char text[][64], const char **argv)
{
    int n = 0, t = 0;

    argv[n++] = "npu-bench";
    argv[n++] = a->what;
    argv[n++] = "--first-result";
    if (a->onnx.approximate_gelu)
        argv[n++] = "--fast-gelu";
    if (a->device) {
        argv[n++] = "--device";
        argv[n++] = a->device;
    }
    if (a->weights) {
        argv[n++] = "--weights";
        argv[n++] = a->weights;
    }
    if (bench_is_gemm(a->what)) {
        argv[n++] = "--precision";
        argv[n++] = bench_precision_names[a->precision];
    } else {
        snprintf(text[t], sizeof text[t], "--batch=%d", a->batch);
        argv[n++] = text[t++];
    }
    if (a->threads) {
        snprintf(text[t], sizeof text[t], "--threads=%d", a->threads);
        argv[n++] = text[t++];
    }
    if (a->size.width) {
        snprintf(text[t], sizeof text[t], "--size=%dx%d", a->size.width, a->size.height);
        argv[n++] = text[t++];
    }
    return n;
}

/* Starts this program with its output in a pipe; caches lie in `folder`. */
static int spawn(const struct bench_args *a, const char *folder, int out, pid_t *ret_pid)
{
    char text[4][64], cache[PATH_MAX + 32], pocl[PATH_MAX + 32];
    const char *argv[40] = {NULL}, *env[256];
    posix_spawn_file_actions_t files;
    int n = arguments(a, text, argv), k = 0, r;

    for (int i = 0; i < a->onnx.n_dims && n < 38; i++) {
        static char dims[BENCH_MAX_LIST][NPU_MAX_NAME + 32];

        snprintf(dims[i], sizeof dims[i], "--dim=%s=%lld", a->dims[i].name, (long long)a->dims[i].size);
        argv[n++] = dims[i];
    }
    for (char **e = environ; *e && k < 250; e++)
        if (strncmp(*e, "XDG_CACHE_HOME=", 15) != 0 && strncmp(*e, "POCL_CACHE_DIR=", 15) != 0)
            env[k++] = *e;
    snprintf(cache, sizeof cache, "XDG_CACHE_HOME=%s", folder);
    snprintf(pocl, sizeof pocl, "POCL_CACHE_DIR=%s/pocl", folder);
    env[k++] = cache;
    env[k++] = pocl;
    env[k] = NULL;
    r = posix_spawn_file_actions_init(&files);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    if (r == 0)
        r = posix_spawn(ret_pid, "/proc/self/exe", &files, NULL, (char *const *)argv, (char *const *)env);
    posix_spawn_file_actions_destroy(&files);
    return -r;
}

static int start_once(const struct bench_args *a, const char *folder, struct bench_start *s)
{
    int pipe_fd[2], status = 0, r;
    int64_t at_ns = npu_now_ns();
    pid_t pid = -1;
    FILE *f;

    if (pipe2(pipe_fd, O_CLOEXEC) < 0)
        return bench_fail("--start: %s", strerror(errno));
    r = spawn(a, folder, pipe_fd[1], &pid);
    close(pipe_fd[1]);
    f = r == 0 ? fdopen(pipe_fd[0], "re") : NULL;
    if (!f) {
        close(pipe_fd[0]);
        return bench_fail("--start: %s", strerror(r < 0 ? -r : errno));
    }
    r = fscanf(f, "{\"context_ms\": %lf, \"plan_ms\": %lf, \"first_ms\": %lf}", &s->context_ms, &s->plan_ms,
               &s->first_ms) == 3;
    fclose(f);
    if (waitpid(pid, &status, 0) < 0)
        status = -1;
    s->process_ms = ms_since(&at_ns);
    return r && status == 0 ? 0 : bench_fail("--start: the process that starts failed");
}

int bench_start_measure(const struct bench_args *a, struct bench_start *ret_empty, struct bench_start *ret_warm)
{
    const char *tmp = getenv("TMPDIR");
    char folder[PATH_MAX];
    int r;

    snprintf(folder, sizeof folder, "%s/npu-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return bench_fail("%s: %s", folder, strerror(errno));
    r = start_once(a, folder, ret_empty);
    if (r == 0)
        r = start_once(a, folder, ret_warm);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return r;
}
