/* model.c - memory and element types of an ONNX model. */
#include "libnpu/onnx/model.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { CHUNK = 1 << 16, HUGE_PAGE = 2 << 20 };

struct om_chunk {
    struct om_chunk *next;
    size_t used, size;
    _Alignas(16) unsigned char bytes[];
};

static const struct {
    int type;
    const char *name;
    size_t size;
} types[] = {
    {OM_FLOAT, "float", 4},     {OM_UINT8, "uint8", 1},   {OM_INT8, "int8", 1},
    {OM_INT32, "int32", 4},     {OM_INT64, "int64", 8},   {OM_BOOL, "bool", 1},
    {OM_FLOAT16, "float16", 2}, {OM_DOUBLE, "double", 8}, {OM_BFLOAT16, "bfloat16", 2},
};

const char *om_type_name(int type)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].type == type)
            return types[i].name;
    return "type ?";
}

size_t om_type_size(int type)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].type == type)
            return types[i].size;
    return 0;
}

int om_type_of(enum npu_dtype t)
{
    static const int of[NPU_DTYPES] = {OM_FLOAT, OM_BFLOAT16, OM_FLOAT16, OM_INT32, OM_UINT8, OM_INT8};

    return (unsigned)t < NPU_DTYPES ? of[t] : 0;
}

int om_say(char *message, int r, const char *fmt, ...)
{
    va_list ap;

    if (!message)
        return r;
    va_start(ap, fmt);
    vsnprintf(message, NPU_ONNX_MESSAGE, fmt, ap);
    va_end(ap);
    return r;
}

struct om_model *om_new(size_t max_memory)
{
    struct om_model *m = calloc(1, sizeof *m);

    if (m)
        m->max_memory = max_memory;
    return m;
}

void *om_large(void *p, size_t size)
{
#ifdef MADV_HUGEPAGE
    const uintptr_t first = ((uintptr_t)p + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE,
                    end = ((uintptr_t)p + size) / HUGE_PAGE * HUGE_PAGE;

    if (p && end > first)
        madvise((char *)p + (first - (uintptr_t)p), end - first, MADV_HUGEPAGE);
#endif
    return p;
}

void *om_alloc(struct om_model *m, size_t n, size_t size)
{
    struct om_chunk *c = m->chunk;
    size_t want, room;

    if (__builtin_mul_overflow(n, size, &want) || want > m->max_memory)
        return NULL;
    want = (want + 15) & ~(size_t)15;
    if (!c || c->size - c->used < want) {
        room = want > CHUNK ? want : CHUNK;
        if (room > m->max_memory - m->memory && room > want)
            room = want;
        if (room > m->max_memory - m->memory)
            return NULL;
        c = om_large(calloc(1, sizeof *c + room), room);
        if (!c) {
            m->starved = true;
            return NULL;
        }
        *c = (struct om_chunk){m->chunk, 0, room};
        m->chunk = c;
        m->memory += room;
    }
    c->used += want;
    return c->bytes + c->used - want; /* given out once, so still zeros */
}

void om_free_chunks(struct om_model *m)
{
    while (m->chunk) {
        struct om_chunk *next = m->chunk->next;

        free(m->chunk);
        m->chunk = next;
    }
}

char *om_text(struct om_model *m, const char *fmt, ...)
{
    va_list ap;
    char text[1024], *copy;
    size_t n;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    n = strlen(text) + 1;
    copy = om_alloc(m, n < NPU_MAX_NAME ? NPU_MAX_NAME : n, 1);
    return copy ? memcpy(copy, text, n) : NULL;
}
