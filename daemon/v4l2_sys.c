// The kernel's V4L2 calls, and libv4l2's emulation for cameras with no format of ours.
#include "daemon/v4l2_sys.h"

#include <fcntl.h>
#include <libv4l2.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int kernel_open(void *userdata, const char *path, int flags)
{
    return open(path, flags);
}
static int kernel_close(void *userdata, int fd)
{
    return close(fd);
}
static int kernel_ioctl(void *userdata, int fd, unsigned long request, void *arg)
{
    return ioctl(fd, request, arg);
}
static void *kernel_mmap(void *userdata, size_t size, int fd, off_t offset)
{
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
}
static int kernel_munmap(void *userdata, void *p, size_t size)
{
    return munmap(p, size);
}

const struct v4l2_sys v4l2_sys_kernel = {
    .name = "kernel",
    .open = kernel_open,
    .close = kernel_close,
    .ioctl = kernel_ioctl,
    .mmap = kernel_mmap,
    .munmap = kernel_munmap,
};

static int lib_open(void *userdata, const char *path, int flags)
{
    return v4l2_open(path, flags);
}
static int lib_close(void *userdata, int fd)
{
    return v4l2_close(fd);
}
static int lib_ioctl(void *userdata, int fd, unsigned long request, void *arg)
{
    return v4l2_ioctl(fd, request, arg);
}
static void *lib_mmap(void *userdata, size_t size, int fd, off_t offset)
{
    return v4l2_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
}
static int lib_munmap(void *userdata, void *p, size_t size)
{
    return v4l2_munmap(p, size);
}

const struct v4l2_sys v4l2_sys_libv4l2 = {
    .name = "libv4l2",
    .open = lib_open,
    .close = lib_close,
    .ioctl = lib_ioctl,
    .mmap = lib_mmap,
    .munmap = lib_munmap,
};
