// Opening and reading of regular files: see file_bytes.h.
#include "daemon/file_bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/source.h"

int file_bytes_open(const char *path, uint64_t max_bytes, int *ret_fd, uint64_t *ret_size, char *message)
{
    int r = 0;
    struct stat st = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0) {
        r = -errno;
        snprintf(message, SOURCE_MESSAGE_SIZE, "can't read %s: %s", path, strerror(-r));
    } else if (!S_ISREG(st.st_mode)) {
        r = -EINVAL;
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s is not a file", path);
    } else if (st.st_size == 0) {
        r = -EBADMSG;
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s is empty (0 bytes)", path);
    } else if ((uint64_t)st.st_size > max_bytes) {
        r = -EFBIG;
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s is larger than %llu MiB", path,
                 (unsigned long long)(max_bytes >> 20));
    }
    if (r < 0) {
        if (fd >= 0)
            close(fd);
        return r;
    }
    *ret_fd = fd;
    *ret_size = (uint64_t)st.st_size;
    return 0;
}

int64_t file_bytes_read(int fd, uint64_t offset, void *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(fd, (char *)data + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (int64_t)done;
}
