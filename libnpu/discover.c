/* discover.c - which devices there are: OpenCL devices, asked for in a child process, since a bad driver may crash or
 * hang whoever loads it.
 */
#include "libnpu/discover.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libnpu/plan.h"

struct answer {
    int n, platforms;
    struct cl_found found[NPU_MAX_DEVICES];
};

static void write_answer(int fd, const char *at, size_t left)
{
    while (left > 0) {
        ssize_t n = write(fd, at, left);

        if (n < 0 && errno != EINTR)
            break;
        if (n > 0) {
            at += n;
            left -= (size_t)n;
        }
    }
}

static int read_answer(int fd, char *at, size_t left, int timeout_ms)
{
    int64_t until_ns = npu_now_ns() + (int64_t)timeout_ms * 1000000;

    while (left > 0) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        int64_t rest_ms = (until_ns - npu_now_ns()) / 1000000;
        ssize_t n;

        if (rest_ms <= 0 || poll(&pfd, 1, (int)rest_ms) == 0)
            return -ETIMEDOUT;
        n = read(fd, at, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -EPIPE;
        at += n;
        left -= (size_t)n;
    }
    return 0;
}

int npu_probe(npu_probe_fn *f, void *answer, size_t size, int timeout_ms, int *ret_signal)
{
    int fd[2], r, status = 0;
    pid_t pid;

    if (pipe2(fd, O_CLOEXEC) < 0)
        return -errno;
    pid = fork();
    if (pid < 0) {
        r = -errno;
        close(fd[0]);
        close(fd[1]);
        return r;
    }
    if (pid == 0) {
        close(fd[0]);
        f(answer);
        write_answer(fd[1], answer, size);
        _exit(0);
    }
    close(fd[1]);
    r = read_answer(fd[0], answer, size, timeout_ms);
    close(fd[0]);
    kill(pid, SIGKILL); /* it has nothing left to do; drivers' exit handlers may hang */
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    *ret_signal = r == -EPIPE && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return r;
}

static void list_cl(void *answer)
{
    struct answer *a = answer;

    a->n = cl_list_devices(a->found, NPU_MAX_DEVICES, &a->platforms);
}

int npu_find_cl(struct cl_found *ret_found, int max, char *why, size_t why_size)
{
    struct answer *a = calloc(1, sizeof *a);
    int r = 0, sig = 0, n = 0;

    if (!a)
        return -ENOMEM;
    if (cl_is_loaded())
        list_cl(a);
    else
        r = npu_probe(list_cl, a, sizeof *a, 10000, &sig);
    if (r == 0 && (a->n < 0 || a->n > NPU_MAX_DEVICES))
        r = -EPROTO;
    if (r == -ETIMEDOUT)
        snprintf(why, why_size, "an OpenCL driver hung while it was asked for devices; see /etc/OpenCL/vendors");
    else if (r == -EPIPE)
        snprintf(why, why_size,
                 "an OpenCL driver crashed (signal %d) while it was asked for devices; see /etc/OpenCL/vendors", sig);
    else if (r < 0)
        snprintf(why, why_size, "drivers could not be asked: %s", strerror(-r));
    else if (a->platforms == 0)
        snprintf(why, why_size, "no OpenCL driver is installed: install pocl-opencl-icd or your device's driver");
    else if (a->n == 0)
        snprintf(why, why_size, "%d OpenCL driver(s), but no device", a->platforms);
    for (; r == 0 && n < a->n && n < max; n++)
        ret_found[n] = a->found[n];
    free(a);
    return r < 0 ? r : n;
}
