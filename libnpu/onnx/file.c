/* file.c - whole files in and out. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libnpu/file.h"
#include "libnpu/onnx/model.h"

int om_map(const char *path, size_t max_bytes, const void **ret_bytes, size_t *ret_size, char *message)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), r;
    struct stat st;
    void *p;

    if (fd < 0 || fstat(fd, &st) < 0) {
        r = om_say(message, -errno, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return r;
    }
    if (!S_ISREG(st.st_mode) || st.st_size == 0 || (uintmax_t)st.st_size > max_bytes) {
        r = !S_ISREG(st.st_mode) ? om_say(message, -EINVAL, "%s: not a regular file", path)
            : st.st_size == 0    ? om_say(message, -EBADMSG, "%s: the file is empty", path)
                                 : om_say(message, -E2BIG, "%s: %lld bytes, more than the limit of %zu", path,
                                          (long long)st.st_size, max_bytes);
        close(fd);
        return r;
    }
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    r = errno;
    close(fd);
    if (p == MAP_FAILED)
        return om_say(message, -r, "%s: %s", path, strerror(r));
    *ret_bytes = p;
    *ret_size = (size_t)st.st_size;
    return 0;
}

void om_unmap(const void *bytes, size_t size)
{
    if (bytes)
        munmap((void *)(uintptr_t)bytes, size);
}

int om_write(const char *path, const void *bytes, size_t size, char *message)
{
    char *temp;
    int fd, r;

    if (asprintf(&temp, "%s.XXXXXX", path) < 0)
        return om_say(message, -ENOMEM, "out of memory");
    fd = mkostemp(temp, O_CLOEXEC);
    r = fd < 0 || fchmod(fd, 0644) < 0 ? -errno : npu_write_whole(fd, bytes, size);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (fd >= 0 && close(fd) < 0 && r == 0)
        r = -errno;
    if (r == 0 && rename(temp, path) < 0)
        r = -errno;
    if (r < 0) {
        om_say(message, r, "%s: %s", path, strerror(-r));
        if (fd >= 0)
            unlink(temp);
    }
    free(temp);
    return r;
}
