// Reader of safetensors files: an 8-byte length, a JSON header, raw little-endian data.
#include "train/render/tensors.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_MAX_BYTES (16u << 20)

struct tensors {
    uint8_t *map;
    size_t size, data_at;
    cJSON *header;
};

float float_from_half(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023, bits;
    float f;

    if (exponent == 0) {
        f = (float)fraction * 0x1p-24f;
        return sign ? -f : f;
    }
    bits = sign | (exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

int tensors_open(const char *path, struct tensors **ret_tensors)
{
    struct tensors *t = calloc(1, sizeof(*t));
    struct stat st;
    uint64_t length;
    int r = -ENOMEM, fd;

    if (!t)
        return r;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        r = -errno;
        goto fail;
    }
    r = -EBADMSG;
    if (st.st_size < 8)
        goto fail;
    t->size = (size_t)st.st_size;
    t->map = mmap(NULL, t->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (t->map == MAP_FAILED) {
        t->map = NULL;
        r = -errno;
        goto fail;
    }
    memcpy(&length, t->map, 8);
    if (length > HEADER_MAX_BYTES || length > t->size - 8)
        goto fail;
    t->data_at = 8 + (size_t)length;
    t->header = cJSON_ParseWithLength((const char *)t->map + 8, (size_t)length);
    if (!t->header)
        goto fail;
    close(fd);
    *ret_tensors = t;
    return 0;
fail:
    if (fd >= 0)
        close(fd);
    tensors_close(t);
    return r;
}

struct tensors *tensors_close(struct tensors *t)
{
    if (t) {
        cJSON_Delete(t->header);
        if (t->map)
            munmap(t->map, t->size);
        free(t);
    }
    return NULL;
}

static size_t dtype_bytes(const char *dtype)
{
    return !strcmp(dtype, "F32") || !strcmp(dtype, "I32") ? 4 : !strcmp(dtype, "F16") ? 2 : 0;
}

int tensors_find(const struct tensors *t, const char *name, struct tensor *ret_tensor)
{
    const cJSON *entry = cJSON_GetObjectItemCaseSensitive(t->header, name);
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(entry, "shape"), *dim;
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
    const char *dtype = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "dtype"));
    double first = cJSON_GetNumberValue(cJSON_GetArrayItem(offsets, 0));
    double last = cJSON_GetNumberValue(cJSON_GetArrayItem(offsets, 1));
    struct tensor x = {.count = 1};

    if (!entry)
        return -ENOENT;
    if (!dtype || !dtype_bytes(dtype) || !cJSON_IsArray(shape) || cJSON_GetArraySize(shape) > TENSORS_MAX_DIMS)
        return -EBADMSG;
    cJSON_ArrayForEach(dim, shape)
    {
        double d = cJSON_GetNumberValue(dim);
        if (!(d >= 0 && d <= (double)t->size))
            return -EBADMSG;
        x.shape[x.dims++] = (size_t)d;
        if (__builtin_mul_overflow(x.count, (size_t)d, &x.count))
            return -EBADMSG;
    }
    if (!(first >= 0 && last >= first && last <= (double)(t->size - t->data_at)))
        return -EBADMSG;
    if (x.count > t->size || (size_t)last - (size_t)first != x.count * dtype_bytes(dtype))
        return -EBADMSG;
    strcpy(x.dtype, dtype);
    x.data = t->map + t->data_at + (size_t)first;
    *ret_tensor = x;
    return 0;
}

int tensors_floats(const struct tensors *t, const char *name, size_t count, float **ret_floats)
{
    struct tensor x;
    float *out;
    int r = tensors_find(t, name, &x);

    if (r < 0)
        return r;
    if (x.count != count || x.dtype[0] != 'F')
        return -EBADMSG;
    out = malloc((count ? count : 1) * sizeof(float));
    if (!out)
        return -ENOMEM;
    if (dtype_bytes(x.dtype) == 4) {
        memcpy(out, x.data, count * 4);
    } else {
        for (size_t i = 0; i < count; i++) {
            uint16_t h;
            memcpy(&h, (const uint8_t *)x.data + 2 * i, 2);
            out[i] = float_from_half(h);
        }
    }
    *ret_floats = out;
    return 0;
}

int tensors_ints(const struct tensors *t, const char *name, size_t count, int32_t **ret_ints)
{
    struct tensor x;
    int32_t *out;
    int r = tensors_find(t, name, &x);

    if (r < 0)
        return r;
    if (x.count != count || strcmp(x.dtype, "I32") != 0)
        return -EBADMSG;
    out = malloc((count ? count : 1) * sizeof(int32_t));
    if (!out)
        return -ENOMEM;
    memcpy(out, x.data, count * 4);
    *ret_ints = out;
    return 0;
}

const char *tensors_note(const struct tensors *t, const char *name)
{
    const cJSON *notes = cJSON_GetObjectItemCaseSensitive(t->header, "__metadata__");
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(notes, name));
}
