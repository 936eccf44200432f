// The system calls that the V4L2 source makes, as a table: the kernel's, libv4l2's (formats that it converts), or a
// test's.
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct v4l2_sys {
    const char *name;
    // As open(2), close(2), ioctl(2), mmap(2), munmap(2): -1 and errno on failure.
    int (*open)(void *userdata, const char *path, int flags);
    int (*close)(void *userdata, int fd);
    int (*ioctl)(void *userdata, int fd, unsigned long request, void *arg);
    void *(*mmap)(void *userdata, size_t size, int fd, off_t offset);
    int (*munmap)(void *userdata, void *p, size_t size);
    void *userdata;
};

extern const struct v4l2_sys v4l2_sys_kernel;
extern const struct v4l2_sys v4l2_sys_libv4l2;
