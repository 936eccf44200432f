/* wrap.c - the fallible calls of libc and of the system's libraries that libnpu makes, each of which can be made to
 * fail. In a copy of libnpu.a objcopy renames each such CALL to torture_CALL (tests/torture/module.mk). */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <libudev.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xf86drm.h>

#include "tests/torture/faults.h"

#define CALLER __builtin_return_address(0)

/* A call that returns `bad` and sets errno to `error` when it is made to fail. */
#define WRAP(type, name, params, args, error, bad)                                                                     \
    type torture_##name params;                                                                                        \
    type torture_##name params                                                                                         \
    {                                                                                                                  \
        if (!faults_step(#name))                                                                                       \
            return name args;                                                                                          \
        errno = error;                                                                                                 \
        return bad;                                                                                                    \
    }

/* The same for memory: noted until it is freed. */
#define WRAP_MEMORY(name, params, args)                                                                                \
    void *torture_##name params;                                                                                       \
    void *torture_##name params                                                                                        \
    {                                                                                                                  \
        void *p;                                                                                                       \
                                                                                                                       \
        if (faults_step(#name)) {                                                                                      \
            errno = ENOMEM;                                                                                            \
            return NULL;                                                                                               \
        }                                                                                                              \
        p = name args;                                                                                                 \
        faults_note_alloc(p, #name, CALLER);                                                                           \
        return p;                                                                                                      \
    }

/* The same for what is done even if it fails: closing, removing, ending a process. */
#define WRAP_END(type, name, params, args, error, bad)                                                                 \
    type torture_##name params;                                                                                        \
    type torture_##name params                                                                                         \
    {                                                                                                                  \
        type r = name args;                                                                                            \
                                                                                                                       \
        if (!faults_step(#name))                                                                                       \
            return r;                                                                                                  \
        errno = error;                                                                                                 \
        return bad;                                                                                                    \
    }

WRAP_MEMORY(malloc, (size_t n), (n))
WRAP_MEMORY(calloc, (size_t n, size_t size), (n, size))
WRAP_MEMORY(strdup, (const char *s), (s))

void torture_free(void *p);
void torture_free(void *p)
{
    faults_note_free(p);
    free(p);
}

void *torture_realloc(void *old, size_t n);
void *torture_realloc(void *old, size_t n)
{
    void *p;

    if (faults_step("realloc")) {
        errno = ENOMEM;
        return NULL;
    }
    faults_note_free(old);
    p = realloc(old, n);
    faults_note_alloc(p, "realloc", CALLER);
    return p;
}

int torture_posix_memalign(void **p, size_t align, size_t n);
int torture_posix_memalign(void **p, size_t align, size_t n)
{
    int r;

    if (faults_step("posix_memalign"))
        return ENOMEM;
    r = posix_memalign(p, align, n);
    if (r == 0)
        faults_note_alloc(*p, "posix_memalign", CALLER);
    return r;
}

int torture_asprintf(char **text, const char *fmt, ...);
int torture_asprintf(char **text, const char *fmt, ...)
{
    va_list ap;
    int n;

    if (faults_step("asprintf")) {
        errno = ENOMEM;
        return -1; /* *text undefined, as the real one leaves it */
    }
    va_start(ap, fmt);
    n = vasprintf(text, fmt, ap);
    va_end(ap);
    if (n >= 0)
        faults_note_alloc(*text, "asprintf", CALLER);
    return n;
}

int torture_open(const char *path, int flags, ...);
int torture_open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    va_list ap;

    if (faults_step("open")) {
        errno = EMFILE;
        return -1;
    }
    if (flags & O_CREAT) {
        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    return open(path, flags, mode);
}

/* Interrupted the first time it is asked for, one byte the second, in turn. */
static bool interrupted(void)
{
    static int turn;

    errno = EINTR;
    return turn++ % 2 == 0;
}

ssize_t torture_read(int fd, void *to, size_t n);
ssize_t torture_read(int fd, void *to, size_t n)
{
    if (faults_step("read")) {
        errno = EIO;
        return -1;
    }
    if (faults_short("read"))
        return interrupted() ? -1 : read(fd, to, n > 1 ? 1 : n);
    return read(fd, to, n);
}

ssize_t torture_write(int fd, const void *from, size_t n);
ssize_t torture_write(int fd, const void *from, size_t n)
{
    if (faults_step("write")) {
        errno = ENOSPC;
        return -1;
    }
    if (faults_short("write"))
        return interrupted() ? -1 : write(fd, from, n > 1 ? 1 : n);
    return write(fd, from, n);
}

ssize_t torture_pread(int fd, void *to, size_t n, off_t at);
ssize_t torture_pread(int fd, void *to, size_t n, off_t at)
{
    if (faults_step("pread")) {
        errno = EIO;
        return -1;
    }
    if (faults_short("pread"))
        return interrupted() ? -1 : pread(fd, to, n > 1 ? 1 : n, at);
    return pread(fd, to, n, at);
}

/* Fails as where SIGCHLD is ignored: the child has ended, how is not known. */
pid_t torture_waitpid(pid_t pid, int *status, int flags);
pid_t torture_waitpid(pid_t pid, int *status, int flags)
{
    int unknown;

    if (faults_short("waitpid") && interrupted())
        return -1;
    if (!faults_step("waitpid"))
        return waitpid(pid, status, flags);
    waitpid(pid, &unknown, flags);
    errno = ECHILD;
    return -1;
}

int torture_poll(struct pollfd *p, nfds_t n, int ms);
int torture_poll(struct pollfd *p, nfds_t n, int ms)
{
    if (faults_step("poll")) {
        errno = ENOMEM;
        return -1;
    }
    if (faults_short("poll") && interrupted())
        return -1;
    return poll(p, n, ms);
}

int torture_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg);
int torture_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg)
{
    return faults_step("pthread_create") ? EAGAIN : pthread_create(t, a, f, arg);
}

/* ---- libraries: a failure has a text, until the next success ---- */
static bool has_failed;

void *torture_dlopen(const char *name, int mode);
void *torture_dlopen(const char *name, int mode)
{
    has_failed = faults_step("dlopen");
    return has_failed ? NULL : dlopen(name, mode);
}

void *torture_dlsym(void *library, const char *name);
void *torture_dlsym(void *library, const char *name)
{
    has_failed = faults_step("dlsym");
    return has_failed ? NULL : dlsym(library, name);
}

char *torture_dlerror(void);
char *torture_dlerror(void)
{
    static char text[] = "made to fail";

    return has_failed ? text : dlerror();
}

/* arch_prctl, to be allowed AMX's tiles. */
long torture_syscall(long number, ...);
long torture_syscall(long number, ...)
{
    long a, b;
    va_list ap;

    if (faults_step("syscall")) {
        errno = EINVAL;
        return -1;
    }
    va_start(ap, number);
    a = va_arg(ap, long);
    b = va_arg(ap, long);
    va_end(ap);
    return syscall(number, a, b);
}

WRAP(int, mkostemp, (char *name, int flags), (name, flags), ENOSPC, -1)
WRAP(char *, mkdtemp, (char *name), (name), EACCES, NULL)
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), ENOSPC, -1)
WRAP(int, access, (const char *path, int mode), (path, mode), EACCES, -1)
WRAP(int, rename, (const char *from, const char *to), (from, to), EIO, -1)
WRAP(int, symlink, (const char *to, const char *path), (to, path), ENOSPC, -1)
WRAP(int, fsync, (int fd), (fd), EIO, -1)
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), EPERM, -1)
WRAP(int, stat, (const char *path, struct stat *st), (path, st), EACCES, -1)
WRAP(int, lstat, (const char *path, struct stat *st), (path, st), EACCES, -1)
WRAP(int, fstat, (int fd, struct stat *st), (fd, st), EIO, -1)
WRAP(void *, mmap, (void *at, size_t n, int prot, int flags, int fd, off_t offset), (at, n, prot, flags, fd, offset),
     ENOMEM, MAP_FAILED)
WRAP(FILE *, fdopen, (int fd, const char *mode), (fd, mode), ENOMEM, NULL)
WRAP(FILE *, open_memstream, (char **text, size_t *size), (text, size), ENOMEM, NULL)
WRAP(int, fflush, (FILE * f), (f), ENOSPC, EOF)
WRAP_END(int, fclose, (FILE * f), (f), ENOSPC, EOF)
WRAP_END(int, close, (int fd), (fd), EIO, -1)
WRAP_END(int, unlink, (const char *path), (path), EIO, -1)
WRAP_END(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags), EIO, -1)
WRAP_END(int, kill, (pid_t pid, int signal), (pid, signal), EPERM, -1)
WRAP(DIR *, opendir, (const char *path), (path), EMFILE, NULL)
WRAP(struct dirent *, readdir, (DIR * dir), (dir), EIO, NULL)
WRAP(char *, realpath, (const char *path, char *to), (path, to), ENOMEM, NULL)
WRAP(int, statvfs, (const char *path, struct statvfs *v), (path, v), EIO, -1)
WRAP(int, nftw, (const char *path, __nftw_func_t f, int n_fds, int flags), (path, f, n_fds, flags), ENOMEM, -1)
WRAP(int, sched_getaffinity, (pid_t pid, size_t size, cpu_set_t *set), (pid, size, set), EINVAL, -1)
WRAP(int, getrusage, (enum __rusage_who who, struct rusage *u), (who, u), EINVAL, -1)
WRAP(int, setenv, (const char *name, const char *value, int overwrite), (name, value, overwrite), ENOMEM, -1)
WRAP(int, pipe2, (int *fd, int flags), (fd, flags), EMFILE, -1)
WRAP(pid_t, fork, (void), (), EAGAIN, -1)
WRAP(long, sysconf, (int what), (what), EINVAL, -1)
WRAP(struct udev *, udev_new, (void), (), ENOMEM, NULL)
WRAP(struct udev_enumerate *, udev_enumerate_new, (struct udev * u), (u), ENOMEM, NULL)
WRAP(int, udev_enumerate_add_match_subsystem, (struct udev_enumerate * e, const char *name), (e, name), ENOMEM, -ENOMEM)
WRAP(struct udev_list_entry *, udev_enumerate_get_list_entry, (struct udev_enumerate * e), (e), ENOMEM, NULL)
WRAP(int, udev_enumerate_scan_devices, (struct udev_enumerate * e), (e), EIO, -EIO)
WRAP(struct udev_device *, udev_device_new_from_syspath, (struct udev * u, const char *path), (u, path), ENODEV, NULL)
WRAP(struct udev_device *, udev_device_get_parent, (struct udev_device * d), (d), ENODEV, NULL)
WRAP(struct udev_device *, udev_device_get_parent_with_subsystem_devtype,
     (struct udev_device * d, const char *subsystem, const char *type), (d, subsystem, type), ENODEV, NULL)
WRAP(const char *, udev_device_get_devnode, (struct udev_device * d), (d), ENODEV, NULL)
WRAP(const char *, udev_device_get_driver, (struct udev_device * d), (d), ENODEV, NULL)
WRAP(drmVersionPtr, drmGetVersion, (int fd), (fd), ENOTTY, NULL)
WRAP(struct group *, getgrgid, (gid_t gid), (gid), EIO, NULL)
