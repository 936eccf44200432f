/* safetensors_write.c - writing safetensors files: a temporary file beside the path, fsync, rename. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libnpu/op.h"
#include "libnpu/safetensors.h"

static const char *type_name(enum npu_dtype t)
{
    static const char *const names[NPU_DTYPES] = {"F32", "BF16", "F16", "I32", "U8", "I8"};
    return (unsigned)t < NPU_DTYPES ? names[t] : NULL;
}

static void put_string(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s; s++)
        if (*s == '"' || *s == '\\')
            fprintf(f, "\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            fprintf(f, "\\u%04x", (unsigned)(unsigned char)*s);
        else
            fputc(*s, f);
    fputc('"', f);
}

static size_t tensor_bytes(const struct st_source *t)
{
    return (size_t)npu_shape_elements(&t->shape) * npu_dtype_size(t->dtype);
}

/* The header's JSON, padded with spaces so that the data starts at a multiple of 64. */
static int make_header(const struct st_source *tensor, int n, const char *const *metadata, char **ret_text,
                       size_t *ret_size)
{
    char *text = NULL;
    size_t size = 0, at = 0;
    FILE *f = open_memstream(&text, &size);

    if (!f)
        return -ENOMEM;
    fputc('{', f);
    for (int i = 0; metadata && metadata[i] && metadata[i + 1]; i += 2) {
        fputs(i ? "," : "\"__metadata__\":{", f);
        put_string(f, metadata[i]);
        fputc(':', f);
        put_string(f, metadata[i + 1]);
    }
    if (metadata && metadata[0] && metadata[1])
        fputs(n ? "}," : "}", f);
    for (int i = 0; i < n; i++) {
        put_string(f, tensor[i].name);
        fprintf(f, ":{\"dtype\":\"%s\",\"shape\":[", type_name(tensor[i].dtype));
        for (int k = 0; k < tensor[i].shape.rank; k++)
            fprintf(f, "%s%lld", k ? "," : "", (long long)tensor[i].shape.dim[k]);
        fprintf(f, "],\"data_offsets\":[%zu,%zu]}%s", at, at + tensor_bytes(&tensor[i]), i + 1 < n ? "," : "");
        at += tensor_bytes(&tensor[i]);
    }
    fputc('}', f);
    while (!ferror(f) && (ftell(f) + 8) % 64)
        fputc(' ', f);
    if (ferror(f) | (fclose(f) != 0)) {
        free(text);
        return -ENOMEM;
    }
    *ret_text = text;
    *ret_size = size;
    return size <= ST_MAX_HEADER ? 0 : -E2BIG;
}

static int write_file(FILE *f, const struct st_source *tensor, int n, const char *header, size_t header_size)
{
    for (int i = 0; i < 8; i++)
        fputc((int)((uint64_t)header_size >> (8 * i) & 255), f);
    fwrite(header, 1, header_size, f);
    for (int i = 0; i < n; i++)
        if (tensor_bytes(&tensor[i]) > 0)
            fwrite(tensor[i].data, 1, tensor_bytes(&tensor[i]), f);
    if (fflush(f) != 0 || ferror(f))
        return errno > 0 ? -errno : -EIO;
    return fsync(fileno(f)) < 0 ? -errno : 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* -EEXIST if a name is there twice. */
static int check_names(const struct st_source *tensor, int n)
{
    const char **name = malloc((size_t)(n + 1) * sizeof *name);
    int r = 0;

    if (!name)
        return -ENOMEM;
    for (int i = 0; i < n; i++)
        name[i] = tensor[i].name;
    qsort(name, (size_t)n, sizeof *name, by_name);
    for (int i = 1; i < n; i++)
        if (strcmp(name[i - 1], name[i]) == 0)
            r = -EEXIST;
    free(name);
    return r;
}

static int check_sources(const struct st_source *tensor, int n)
{
    if (n < 0 || n > ST_MAX_TENSORS)
        return -E2BIG;
    for (int i = 0; i < n; i++)
        if (!type_name(tensor[i].dtype) || !tensor[i].name || strlen(tensor[i].name) >= ST_MAX_NAME ||
            strcmp(tensor[i].name, "__metadata__") == 0)
            return -EINVAL;
    return check_names(tensor, n);
}

int st_write(const char *path, const struct st_source *tensor, int n, const char *const *metadata)
{
    char *header = NULL, *temp = NULL;
    size_t header_size = 0;
    FILE *f = NULL;
    int fd = -1, r = check_sources(tensor, n);

    if (r == 0)
        r = make_header(tensor, n, metadata, &header, &header_size);
    if (r == 0 && asprintf(&temp, "%s.XXXXXX", path) < 0) {
        temp = NULL;
        r = -ENOMEM;
    }
    if (r == 0 && ((fd = mkostemp(temp, O_CLOEXEC)) < 0 || fchmod(fd, 0644) < 0 || !(f = fdopen(fd, "wb"))))
        r = -errno;
    if (r == 0)
        r = write_file(f, tensor, n, header, header_size);
    if (f ? fclose(f) != 0 && r == 0 : false)
        r = -errno;
    else if (!f && fd >= 0)
        close(fd);
    if (r == 0 && rename(temp, path) < 0)
        r = -errno;
    if (r < 0 && fd >= 0)
        unlink(temp);
    free(header);
    free(temp);
    return r;
}
