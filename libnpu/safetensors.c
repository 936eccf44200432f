/* safetensors.c - reading safetensors: every count, offset and name in the header is checked before it is used. */
#include "libnpu/safetensors.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libnpu/dtype.h"
#include "libnpu/json_scan.h"
#include "libnpu/op.h"

struct entry {
    struct st_tensor t; /* first: st_tensor() hands out pointers to it */
    char *name;
    int64_t begin, end;
};

struct pair {
    char *key, *value;
};

struct st_file {
    const unsigned char *bytes;
    size_t size;
    bool mapped;
    struct entry *entry;
    int n, cap;
    struct pair *meta;
    int n_meta, cap_meta;
};

struct reader {
    struct st_file *f;
    struct json_scan s;
    int status;
    char *why;
    size_t why_size;
};

static const struct {
    const char *name;
    size_t size;
    int dtype; /* -1: no enum npu_dtype */
} types[] = {
    {"F32", 4, NPU_F32}, {"BF16", 2, NPU_BF16}, {"F16", 2, NPU_F16}, {"I32", 4, NPU_I32}, {"U8", 1, NPU_U8},
    {"I8", 1, NPU_I8},   {"F64", 8, -1},        {"I64", 8, -1},      {"U64", 8, -1},      {"U32", 4, -1},
    {"I16", 2, -1},      {"U16", 2, -1},        {"BOOL", 1, -1},
};

static int bad(struct reader *r, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int bad(struct reader *r, int status, const char *fmt, ...)
{
    va_list ap;

    if (r->status < 0)
        return r->status;
    r->status = status;
    va_start(ap, fmt);
    vsnprintf(r->why, r->why_size, fmt, ap);
    va_end(ap);
    return status;
}

static int bad_json(struct reader *r)
{
    return bad(r, -EBADMSG, "header: %s at byte %zu", r->s.error ? r->s.error : "malformed",
               (size_t)(r->s.at - (const char *)r->f->bytes));
}

static int read_shape(struct reader *r, struct entry *e)
{
    struct json_scan *s = &r->s;

    if (!json_expect(s, '['))
        return bad_json(r);
    e->t.shape.rank = 0;
    if (json_eat(s, ']'))
        return 0;
    do {
        if (e->t.shape.rank == NPU_MAX_DIMS)
            return bad(r, -E2BIG, "tensor \"%s\" has more than %d dimensions", e->name, NPU_MAX_DIMS);
        if (!json_count(s, &e->t.shape.dim[e->t.shape.rank++]))
            return bad_json(r);
    } while (json_eat(s, ','));
    return json_expect(s, ']') ? 0 : bad_json(r);
}

static int read_offsets(struct reader *r, struct entry *e)
{
    struct json_scan *s = &r->s;

    if (json_expect(s, '[') && json_count(s, &e->begin) && json_expect(s, ',') && json_count(s, &e->end) &&
        json_expect(s, ']'))
        return 0;
    return bad_json(r);
}

static int set_dtype(struct reader *r, struct entry *e, size_t *ret_size)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, e->t.dtype_name) == 0) {
            *ret_size = types[i].size;
            e->t.has_dtype = types[i].dtype >= 0;
            e->t.dtype = types[i].dtype >= 0 ? (enum npu_dtype)types[i].dtype : NPU_F32;
            return 0;
        }
    return bad(r, -EOPNOTSUPP, "tensor \"%s\" has unknown type \"%s\"", e->name, e->t.dtype_name);
}

/* Offsets against the shape and the file's data. */
static int check_tensor(struct reader *r, struct entry *e, size_t data_at)
{
    int64_t n, bytes, room = (int64_t)(r->f->size - data_at);
    size_t size = 0;

    if (set_dtype(r, e, &size) < 0)
        return r->status;
    n = npu_shape_elements(&e->t.shape);
    if (n > NPU_MAX_ELEMENTS)
        return bad(r, -E2BIG, "tensor \"%s\" has too many elements", e->name);
    bytes = n * (int64_t)size;
    if (e->begin > e->end || e->end > room)
        return bad(r, -EBADMSG, "tensor \"%s\" lies outside of the file (%lld..%lld of %lld data bytes)", e->name,
                   (long long)e->begin, (long long)e->end, (long long)room);
    if (e->end - e->begin != bytes)
        return bad(r, -EBADMSG, "tensor \"%s\" has %lld bytes, its shape asks for %lld", e->name,
                   (long long)(e->end - e->begin), (long long)bytes);
    e->t.size = (size_t)bytes;
    e->t.data = r->f->bytes + data_at + e->begin;
    return 0;
}

static int read_tensor(struct reader *r, struct entry *e)
{
    struct json_scan *s = &r->s;
    unsigned seen = 0;
    char key[32];

    if (!json_expect(s, '{'))
        return bad_json(r);
    do {
        unsigned bit = 0;

        if (!json_string(s, key, sizeof key) || !json_expect(s, ':'))
            return bad_json(r);
        if (strcmp(key, "dtype") == 0) {
            bit = 1;
            if (!json_string(s, e->t.dtype_name, sizeof e->t.dtype_name))
                return bad_json(r);
        } else if (strcmp(key, "shape") == 0) {
            bit = 2;
            if (read_shape(r, e) < 0)
                return r->status;
        } else if (strcmp(key, "data_offsets") == 0) {
            bit = 4;
            if (read_offsets(r, e) < 0)
                return r->status;
        } else {
            return bad(r, -EBADMSG, "tensor \"%s\" has an unknown field \"%s\"", e->name, key);
        }
        if (seen & bit)
            return bad(r, -EBADMSG, "tensor \"%s\" has \"%s\" twice", e->name, key);
        seen |= bit;
    } while (json_eat(s, ','));
    if (!json_expect(s, '}'))
        return bad_json(r);
    return seen == 7 ? 0 : bad(r, -EBADMSG, "tensor \"%s\" lacks dtype, shape or data_offsets", e->name);
}

static int read_metadata(struct reader *r)
{
    struct json_scan *s = &r->s;
    struct st_file *f = r->f;
    char key[ST_MAX_NAME], *value;
    size_t room = (size_t)(s->end - s->at) + 1;

    if (!json_expect(s, '{'))
        return bad_json(r);
    if (json_eat(s, '}'))
        return 0;
    value = malloc(room);
    if (!value)
        return bad(r, -ENOMEM, "out of memory");
    do {
        if (f->n_meta == ST_MAX_METADATA) {
            bad(r, -E2BIG, "more than %d metadata entries", ST_MAX_METADATA);
            break;
        }
        if (f->n_meta == f->cap_meta) {
            int cap = f->cap_meta ? 2 * f->cap_meta : 16;
            struct pair *p = realloc(f->meta, (size_t)cap * sizeof *p);

            if (!p) {
                bad(r, -ENOMEM, "out of memory");
                break;
            }
            f->meta = p;
            f->cap_meta = cap;
        }
        if (!json_string(s, key, sizeof key) || !json_expect(s, ':') || !json_string(s, value, room)) {
            bad_json(r);
            break;
        }
        f->meta[f->n_meta] = (struct pair){strdup(key), strdup(value)};
        f->n_meta++;
        if (!f->meta[f->n_meta - 1].key || !f->meta[f->n_meta - 1].value)
            bad(r, -ENOMEM, "out of memory");
    } while (r->status == 0 && json_eat(s, ','));
    free(value);
    if (r->status == 0 && !json_expect(s, '}'))
        bad_json(r);
    return r->status;
}

static struct entry *add_entry(struct reader *r, const char *name)
{
    struct st_file *f = r->f;

    if (f->n == ST_MAX_TENSORS) {
        bad(r, -E2BIG, "more than %d tensors", ST_MAX_TENSORS);
        return NULL;
    }
    if (f->n == f->cap) {
        int cap = f->cap ? 2 * f->cap : 64;
        struct entry *e = realloc(f->entry, (size_t)cap * sizeof *e);

        if (!e) {
            bad(r, -ENOMEM, "out of memory");
            return NULL;
        }
        f->entry = e;
        f->cap = cap;
    }
    memset(&f->entry[f->n], 0, sizeof f->entry[0]);
    f->entry[f->n].name = strdup(name);
    if (!f->entry[f->n].name) {
        bad(r, -ENOMEM, "out of memory");
        return NULL;
    }
    return &f->entry[f->n++];
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static int by_begin(const void *a, const void *b)
{
    const struct entry *const *x = a, *const *y = b;

    if ((*x)->begin != (*y)->begin)
        return (*x)->begin < (*y)->begin ? -1 : 1;
    return ((*x)->end > (*y)->end) - ((*x)->end < (*y)->end);
}

/* Names once each; no two tensors share bytes. */
static int check_together(struct reader *r)
{
    struct st_file *f = r->f;
    struct entry **order = malloc((size_t)(f->n + 1) * sizeof(struct entry *));

    if (!order)
        return bad(r, -ENOMEM, "out of memory");
    if (f->n > 0)
        qsort(f->entry, (size_t)f->n, sizeof f->entry[0], by_name);
    for (int i = 0; i < f->n; i++) {
        f->entry[i].t.name = f->entry[i].name;
        order[i] = &f->entry[i];
        if (i > 0 && strcmp(f->entry[i - 1].name, f->entry[i].name) == 0)
            bad(r, -EBADMSG, "tensor \"%s\" is there twice", f->entry[i].name);
    }
    qsort(order, (size_t)f->n, sizeof(struct entry *), by_begin);
    for (int i = 1; i < f->n; i++)
        if (order[i]->begin < order[i - 1]->end)
            bad(r, -EBADMSG, "tensors \"%s\" and \"%s\" overlap", order[i - 1]->name, order[i]->name);
    free(order);
    return r->status;
}

static int read_header(struct reader *r)
{
    struct json_scan *s = &r->s;
    size_t data_at = (size_t)(s->end - (const char *)r->f->bytes);
    char name[ST_MAX_NAME];

    if (!json_expect(s, '{'))
        return bad_json(r);
    if (!json_eat(s, '}')) {
        do {
            struct entry *e;

            if (!json_string(s, name, sizeof name) || !json_expect(s, ':'))
                return bad_json(r);
            if (strcmp(name, "__metadata__") == 0) {
                if (read_metadata(r) < 0)
                    return r->status;
                continue;
            }
            e = add_entry(r, name);
            if (!e || read_tensor(r, e) < 0 || check_tensor(r, e, data_at) < 0)
                return r->status;
        } while (json_eat(s, ','));
        if (!json_expect(s, '}'))
            return bad_json(r);
    }
    json_space(s);
    if (s->at != s->end)
        return bad(r, -EBADMSG, "something follows the header's object");
    return check_together(r);
}

static int parse(struct st_file *f, char *why, size_t why_size)
{
    struct reader r = {.f = f, .why = why, .why_size = why_size};
    uint64_t header = 0;

    if (!f->bytes || f->size < 8)
        return bad(&r, -EBADMSG, "%zu bytes are too few for a safetensors file", f->size);
    for (int i = 0; i < 8; i++)
        header |= (uint64_t)f->bytes[i] << (8 * i);
    if (header > ST_MAX_HEADER)
        return bad(&r, -E2BIG, "header of %llu bytes; at most %u are allowed", (unsigned long long)header,
                   ST_MAX_HEADER);
    if (header > f->size - 8)
        return bad(&r, -EBADMSG, "header of %llu bytes in a file of %zu", (unsigned long long)header, f->size);
    r.s = (struct json_scan){
        .at = (const char *)f->bytes + 8, .end = (const char *)f->bytes + 8 + header, .max_depth = ST_MAX_DEPTH};
    return read_header(&r);
}

struct st_file *st_close(struct st_file *f)
{
    if (!f)
        return NULL;
    for (int i = 0; i < f->n; i++)
        free(f->entry[i].name);
    for (int i = 0; i < f->n_meta; i++) {
        free(f->meta[i].key);
        free(f->meta[i].value);
    }
    if (f->mapped)
        munmap((void *)(uintptr_t)f->bytes, f->size);
    free(f->entry);
    free(f->meta);
    free(f);
    return NULL;
}

int st_open_bytes(const void *bytes, size_t size, struct st_file **ret_file, char *why, size_t why_size)
{
    struct st_file *f = calloc(1, sizeof *f);
    int r;

    if (!f) {
        snprintf(why, why_size, "out of memory");
        return -ENOMEM;
    }
    f->bytes = bytes;
    f->size = size;
    r = parse(f, why, why_size);
    if (r < 0) {
        st_close(f);
        return r;
    }
    *ret_file = f;
    return 0;
}

int st_open(const char *path, struct st_file **ret_file, char *why, size_t why_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), r = 0;
    struct stat st = {0};
    void *map = NULL;

    if (fd < 0 || fstat(fd, &st) < 0)
        r = -errno;
    else if (!S_ISREG(st.st_mode))
        r = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    else if (st.st_size > 0 && (map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
        r = -errno;
    if (fd >= 0)
        close(fd);
    if (r < 0) {
        snprintf(why, why_size, "%s", strerror(-r));
        return r;
    }
    r = st_open_bytes(map, (size_t)st.st_size, ret_file, why, why_size);
    if (r < 0 && map)
        munmap(map, (size_t)st.st_size);
    if (r == 0)
        (*ret_file)->mapped = true;
    return r;
}

int st_n_tensors(const struct st_file *f)
{
    return f->n;
}

const struct st_tensor *st_tensor(const struct st_file *f, int index)
{
    return index >= 0 && index < f->n ? &f->entry[index].t : NULL;
}

const struct st_tensor *st_find(const struct st_file *f, const char *name)
{
    int lo = 0, hi = f->n;

    while (lo < hi) {
        int mid = (lo + hi) / 2, c = strcmp(name, f->entry[mid].name);

        if (c == 0)
            return &f->entry[mid].t;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

const char *st_metadata(const struct st_file *f, const char *key)
{
    for (int i = 0; i < f->n_meta; i++)
        if (strcmp(f->meta[i].key, key) == 0)
            return f->meta[i].value;
    return NULL;
}

int st_read_f32(const struct st_tensor *t, int64_t first, int64_t n, float *ret_values)
{
    size_t size = npu_dtype_size(t->dtype);
    _Alignas(4) unsigned char element[4];
    struct npu_tensor one = {.dtype = t->dtype, .data = element};

    if (!t->has_dtype)
        return -EOPNOTSUPP;
    if (first < 0 || n < 0 || first > npu_shape_elements(&t->shape) - n)
        return -ERANGE;
    if (t->dtype == NPU_F32 && n > 0) {
        memcpy(ret_values, (const char *)t->data + (size_t)first * size, (size_t)n * size);
        return 0;
    }
    for (int64_t i = 0; i < n; i++) {
        memcpy(element, (const char *)t->data + (size_t)(first + i) * size, size);
        ret_values[i] = npu_load(&one, 0);
    }
    return 0;
}
