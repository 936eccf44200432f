/* Starts the worker process. */
#include "daemon/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/worker_process.h"

/* In the child, between fork and exec. Only returns on failure. */
static void become_worker(char *const argv[], int socket_fd, int report_fd, pid_t parent)
{
    static const int defaults[] = {SIGPIPE, SIGTERM, SIGINT, SIGHUP};
    static const char *const hidden[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                         "LISTEN_FDS",    "LISTEN_PID",    "LISTEN_FDNAMES"};
    sigset_t none;

    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
        signal(defaults[i], SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
        unsetenv(hidden[i]);
    prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    if (getppid() != parent) /* gazed died before that */
        _exit(0);

    /* Both out of the way of 0..4 first. */
    socket_fd = fcntl(socket_fd, F_DUPFD_CLOEXEC, WORKER_SOCKET_FD + 2);
    report_fd = fcntl(report_fd, F_DUPFD_CLOEXEC, WORKER_SOCKET_FD + 2);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (socket_fd < 0 || report_fd < 0 || null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 ||
        dup2(socket_fd, WORKER_SOCKET_FD) < 0 || dup2(report_fd, WORKER_SOCKET_FD + 1) < 0 ||
        fcntl(WORKER_SOCKET_FD + 1, F_SETFD, FD_CLOEXEC) < 0)
        return;
    closefrom(WORKER_SOCKET_FD + 2);
    execv(argv[0], argv);
    int error = errno;
    ssize_t n = write(WORKER_SOCKET_FD + 1, &error, sizeof(error));
    _exit(n == sizeof(error) ? 127 : 126);
}

int spawn_with_socket(char *const argv[], pid_t *ret_pid, int *ret_fd)
{
    int pair[2], report[2], error = 0;
    pid_t parent = getpid();

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    if (pipe2(report, O_CLOEXEC) < 0) {
        int r = -errno;
        close(pair[0]);
        close(pair[1]);
        return r;
    }
    pid_t pid = fork();
    if (pid == 0) {
        become_worker(argv, pair[1], report[1], parent);
        _exit(126);
    }
    int r = pid < 0 ? -errno : 0;
    close(pair[1]);
    close(report[1]);
    if (r == 0 && read(report[0], &error, sizeof(error)) == sizeof(error)) { /* ends at exec, by close-on-exec */
        waitpid(pid, NULL, 0);
        r = -error;
    }
    close(report[0]);
    if (r == 0 && fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0) {
        r = -errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    if (r < 0) {
        close(pair[0]);
        return r;
    }
    *ret_pid = pid;
    *ret_fd = pair[0];
    return 0;
}
