// A file's bytes by read, never by mapping: a file that others cut short is then a short read, and no SIGBUS.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Opens a regular file for reading that has 1 to max_bytes bytes now. On failure message (SOURCE_MESSAGE_SIZE) says
// what is wrong with it. -errno of the system; -EINVAL no regular file; -EBADMSG empty; -EFBIG.
int file_bytes_open(const char *path, uint64_t max_bytes, int *ret_fd, uint64_t *ret_size, char *message);
// Reads `size` bytes from `offset` on. Returns how many there were (fewer only at the file's end) or -errno.
int64_t file_bytes_read(int fd, uint64_t offset, void *data, size_t size);
