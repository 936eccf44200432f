/* cl_cache.c - program binaries on disk. A file is a header with a hash of its contents, so that damage is seen before
 * a driver gets the bytes; it is written beside its place and renamed. Failures only cost time. The folder is private
 * to the user, since what lies there is run as code.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libnpu/dev/cl.h"
#include "libnpu/file.h"

#define CACHE_MAGIC     0x3143504eu /* "NPC1" */
#define CACHE_MAX_BYTES (64u << 20)

struct header {
    uint32_t magic, zero;
    uint64_t key, size, hash;
};

static uint64_t fnv(uint64_t h, const void *data, size_t size)
{
    const unsigned char *b = data;

    for (size_t i = 0; i < size; i++)
        h = (h ^ b[i]) * 0x100000001b3u;
    return h;
}

uint64_t cl_cache_key(const char *const *part, int n_parts)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (int i = 0; i < n_parts; i++)
        h = fnv(h, part[i], strlen(part[i]) + 1);
    return h;
}

static int file_name(char *buf, size_t size, const char *dir, uint64_t key)
{
    int n = snprintf(buf, size, "%s/%016llx.npc", dir, (unsigned long long)key);
    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

void cl_cache_remove(const char *dir, uint64_t key)
{
    char name[4096];

    if (dir && file_name(name, sizeof name, dir, key) == 0)
        unlink(name);
}

static int read_entry(int fd, uint64_t key, unsigned char **ret_bytes, size_t *ret_size)
{
    struct header h;
    unsigned char *bytes, extra;
    int r = npu_read_whole(fd, &h, sizeof h);

    if (r < 0)
        return r;
    if (h.magic != CACHE_MAGIC || h.zero || h.key != key || h.size == 0 || h.size > CACHE_MAX_BYTES)
        return -EBADMSG;
    bytes = malloc(h.size);
    if (!bytes)
        return -ENOMEM;
    r = npu_read_whole(fd, bytes, h.size);
    if (r == 0 && (fnv(key, bytes, h.size) != h.hash || read(fd, &extra, 1) != 0))
        r = -EBADMSG;
    if (r < 0) {
        free(bytes);
        return r;
    }
    *ret_bytes = bytes;
    *ret_size = h.size;
    return 0;
}

int cl_cache_read(const char *dir, uint64_t key, unsigned char **ret_bytes, size_t *ret_size)
{
    char name[4096];
    struct stat st;
    int fd, r;

    if (!dir || file_name(name, sizeof name, dir, key) < 0)
        return -ENOENT;
    fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -ENOENT;
    r = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read_entry(fd, key, ret_bytes, ret_size) : -EBADMSG;
    close(fd);
    if (r < 0) {
        unlink(name);
        return -ENOENT;
    }
    return 0;
}

int cl_cache_write(const char *dir, uint64_t key, const unsigned char *bytes, size_t size)
{
    struct header h = {.magic = CACHE_MAGIC, .key = key, .size = size, .hash = fnv(key, bytes, size)};
    char name[4096], temp[4112];
    int fd, r;

    if (!dir || size == 0 || size > CACHE_MAX_BYTES)
        return -EINVAL;
    r = file_name(name, sizeof name, dir, key);
    if (r < 0)
        return r;
    snprintf(temp, sizeof temp, "%s.XXXXXX", name);
    fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0) {
        npu_make_folders(dir);
        snprintf(temp, sizeof temp, "%s.XXXXXX", name);
        fd = mkostemp(temp, O_CLOEXEC);
    }
    if (fd < 0)
        return -errno;
    r = npu_write_whole(fd, &h, sizeof h);
    if (r == 0)
        r = npu_write_whole(fd, bytes, size);
    if (close(fd) < 0 && r == 0)
        r = -errno;
    if (r == 0 && rename(temp, name) < 0)
        r = -errno;
    if (r < 0)
        unlink(temp);
    return r;
}
