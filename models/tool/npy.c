/* npy.c - reading and writing .npy files. */
#include "models/tool/npy.h"

#include <stdlib.h>

#include "libnpu/graph.h"
#include "libnpu/rng.h"

static const char *type_code(enum npu_dtype t)
{
    switch (t) {
    case NPU_I32:
        return "<i4";
    case NPU_U8:
        return "|u1";
    case NPU_I8:
        return "|i1";
    default:
        return "<f4";
    }
}

static size_t item_size(enum npu_dtype t)
{
    return npu_dtype_is_float(t) ? sizeof(float) : npu_dtype_size(t);
}

/* "(2, 3)", "(2,)", "()" */
static void shape_text(const struct npu_shape *s, char *text, size_t size)
{
    size_t n = (size_t)snprintf(text, size, "(");

    for (int i = 0; i < s->rank; i++)
        n += (size_t)snprintf(text + n, size - n, i ? ", %lld" : "%lld", (long long)s->dim[i]);
    snprintf(text + n, size - n, s->rank == 1 ? ",)" : ")");
}

/* The text between the value's quotes or brackets after a key of the header's dictionary; false if it is not there. */
static bool value_of(const char *header, const char *key, char open, char close, char *ret, size_t size)
{
    const char *at = strstr(header, key), *from = at ? strchr(at + strlen(key), open) : NULL;
    const char *to = from ? strchr(from + 1, close) : NULL;

    if (!to || (size_t)(to - from) >= size)
        return false;
    memcpy(ret, from + 1, (size_t)(to - from) - 1);
    ret[to - from - 1] = '\0';
    return true;
}

static bool same_dims(const char *text, const struct npu_shape *s)
{
    int rank = 0;

    for (const char *p = text; *p;) {
        char *end;
        const long long d = strtoll(p, &end, 10);

        if (end == p || rank == s->rank || d != s->dim[rank])
            return false;
        rank++;
        p = end + strspn(end, ", ");
    }
    return rank == s->rank;
}

static int check_header(const char *header, const struct npu_tensor *t, char *why, size_t why_size)
{
    char type[16], dims[256], want[128];

    shape_text(&t->shape, want, sizeof want);
    if (!value_of(header, "'descr':", '\'', '\'', type, sizeof type) ||
        !value_of(header, "'shape':", '(', ')', dims, sizeof dims)) {
        snprintf(why, why_size, "not an .npy file of one array");
        return -EBADMSG;
    }
    if (strcmp(type, type_code(t->dtype)) != 0 || strstr(header, "'fortran_order': True")) {
        snprintf(why, why_size, "type %s; %s in C order is needed", type, type_code(t->dtype));
        return -EINVAL;
    }
    if (!same_dims(dims, &t->shape)) {
        snprintf(why, why_size, "shape (%s); %s is needed", dims, want);
        return -EINVAL;
    }
    return 0;
}

static int read_data(FILE *f, const struct npu_tensor *t, char *why, size_t why_size)
{
    const size_t size = item_size(t->dtype);
    const int64_t n = npu_shape_elements(&t->shape);

    for (int64_t i = 0; i < n; i++) {
        float x;

        if (fread(npu_dtype_is_float(t->dtype) ? (void *)&x : (char *)t->data + (size_t)i * size, size, 1, f) != 1) {
            snprintf(why, why_size, "the file is cut short");
            return -EBADMSG;
        }
        if (npu_dtype_is_float(t->dtype))
            npu_store(t, i, x);
    }
    return 0;
}

int npy_read(const char *path, const struct npu_tensor *t, char *why, size_t why_size)
{
    unsigned char head[12] = {0};
    char header[4096] = "";
    FILE *f = fopen(path, "rbe");
    size_t n = 0;
    int r;

    if (!f) {
        r = -errno;
        snprintf(why, why_size, "%s", strerror(-r));
        return r;
    }
    if (fread(head, 1, 10, f) == 10 && memcmp(head, "\x93NUMPY", 6) == 0)
        n = head[6] == 1 ? head[8] + 256u * head[9] : fread(head + 10, 1, 2, f) == 2 ? head[8] + 256u * head[9] : 0;
    if (n == 0 || n >= sizeof header || fread(header, 1, n, f) != n) {
        snprintf(why, why_size, "not an .npy file");
        r = -EBADMSG;
    } else {
        r = check_header(header, t, why, why_size);
    }
    if (r == 0)
        r = read_data(f, t, why, why_size);
    fclose(f);
    return r;
}

int npy_write(const char *path, const struct npu_tensor *t)
{
    char dims[128], header[256];
    const int64_t n = npu_shape_elements(&t->shape);
    FILE *f = fopen(path, "wbe");
    int length;

    if (!f)
        return -errno;
    shape_text(&t->shape, dims, sizeof dims);
    length = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }",
                      type_code(t->dtype), dims);
    while ((10 + length + 1) % 64)
        header[length++] = ' ';
    header[length++] = '\n';
    fwrite("\x93NUMPY\x01\x00", 1, 8, f);
    fputc(length & 255, f);
    fputc(length >> 8, f);
    fwrite(header, 1, (size_t)length, f);
    for (int64_t i = 0; i < n; i++) {
        const float x = npu_load(t, i);

        if (npu_dtype_is_float(t->dtype))
            fwrite(&x, sizeof x, 1, f);
        else
            fwrite((const char *)t->data + (size_t)i * item_size(t->dtype), item_size(t->dtype), 1, f);
    }
    if (ferror(f) | (fclose(f) != 0))
        return errno > 0 ? -errno : -EIO;
    return 0;
}

/* ---- arrays of a network ---- */
struct npu_tensor npy_tensor_of(const npu_graph *g, npu_val v)
{
    struct npu_tensor t = {.dtype = npu_val_dtype(g, v), .shape = *npu_val_shape(g, v)};

    t.data = calloc((size_t)npu_shape_elements(&t.shape) + 1, npu_dtype_size(t.dtype));
    return t;
}

void npy_fill_random(const struct npu_tensor *t, uint64_t key)
{
    const int64_t n = npu_shape_elements(&t->shape);

    for (int64_t i = 0; i < n; i++) {
        const float u = npu_rng_uniform(key, (uint64_t)i);

        npu_store(t, i, npu_dtype_is_float(t->dtype) ? 2.0f * u - 1.0f : floorf(u * (t->dtype == NPU_I8 ? 128 : 256)));
    }
}

char *npy_array_path(const char *folder, const char *name)
{
    char *path, *file;

    if (asprintf(&path, "%s/%s.npy", folder, name) < 0)
        return NULL;
    file = path + strlen(folder) + 1;
    for (char *p = file; *p; p++)
        if (*p == '/' || (p == file && *p == '.'))
            *p = '_';
    return path;
}
