/* file.h - whole reads and writes, and folders (internal to libnpu). */
#ifndef NPU_FILE_H
#define NPU_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* All of size bytes, whatever interrupts: 0, an errno, or -EIO if the file ends before. */
int npu_read_whole(int fd, void *data, size_t size);
int npu_write_whole(int fd, const void *data, size_t size);

/* mkdir -p, for this user alone. True if the folder is there and can be written. */
bool npu_make_folders(const char *path);

#endif
