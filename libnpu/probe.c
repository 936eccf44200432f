/* probe.c - a question asked in a child process, since whoever loads a bad driver may crash or hang. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libnpu/discover.h"
#include "libnpu/plan.h"

int npu_probe_ms(void)
{
    const char *text = getenv("NPU_PROBE_MS");
    long ms = text ? strtol(text, NULL, 10) : 0;

    return ms > 0 && ms <= 3600000 ? (int)ms : 10000;
}

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

/* 0, -ETIMEDOUT, -EPIPE if the answer ends too early, or another failure. */
static int read_answer(int fd, char *at, size_t left, int timeout_ms)
{
    int64_t until_ns = npu_now_ns() + (int64_t)timeout_ms * 1000000;

    while (left > 0) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        int64_t rest_ms = (until_ns - npu_now_ns()) / 1000000;
        ssize_t n = rest_ms <= 0 ? 0 : poll(&pfd, 1, (int)rest_ms);

        if (n == 0)
            return -ETIMEDOUT;
        if (n > 0)
            n = read(fd, at, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EPIPE;
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
    kill(pid, SIGKILL); /* it has nothing left to do, or ends already, of what it ends of; exit handlers may hang */
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    *ret_signal = r == -EPIPE && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return r;
}
