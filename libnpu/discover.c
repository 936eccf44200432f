/* discover.c - which devices there are: OpenCL devices, asked for in a child process, since a bad driver may crash or
 * hang whoever loads it.
 */
#include "libnpu/discover.h"

#include <errno.h>
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

static void child_main(int fd, struct answer *a)
{
    const char *at = (const char *)a;
    size_t left = sizeof *a;

    a->n = cl_list_devices(a->found, NPU_MAX_DEVICES, &a->platforms);
    while (left > 0) {
        ssize_t n = write(fd, at, left);

        if (n <= 0 && errno != EINTR)
            break;
        if (n > 0) {
            at += n;
            left -= (size_t)n;
        }
    }
    _exit(left == 0 ? 0 : 1);
}

static int read_answer(int fd, struct answer *a, int timeout_ms)
{
    int64_t until_ns = npu_now_ns() + (int64_t)timeout_ms * 1000000;
    char *at = (char *)a;
    size_t left = sizeof *a;

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
    return a->n >= 0 && a->n <= NPU_MAX_DEVICES ? 0 : -EPROTO;
}

/* 0, -ETIMEDOUT, -EPIPE (the child died: *ret_signal) or another failure. */
static int ask_child(struct answer *a, int timeout_ms, int *ret_signal)
{
    int fd[2], r, status = 0;
    pid_t pid;

    if (pipe(fd) < 0)
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
        child_main(fd[1], a);
    }
    close(fd[1]);
    r = read_answer(fd[0], a, timeout_ms);
    close(fd[0]);
    if (r < 0)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    *ret_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return r;
}

int npu_find_cl(struct cl_found *ret_found, int max, char *why, size_t why_size)
{
    struct answer *a = calloc(1, sizeof *a);
    int r, sig = 0, n = 0;

    if (!a)
        return -ENOMEM;
    r = ask_child(a, 20000, &sig);
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
