/* Encoded frames with a reference count and a small free list for each size class. */
#include "daemon/blob.h"

#include <stdlib.h>
#include <string.h>

#define KEEP_MAX 32 /* freed blobs kept in each class: what a burst of 16 variants and a few laggards needs */

static const uint32_t class_bytes[] = {512, 2048, 16384, 65536};
#define CLASSES (sizeof(class_bytes) / sizeof(class_bytes[0]))

static struct {
    struct blob *first;
    unsigned count;
} kept[CLASSES];
static unsigned in_use;

static size_t class_of(size_t size)
{
    size_t c = 0;
    while (c < CLASSES && class_bytes[c] < size)
        c++;
    return c;
}

struct blob *blob_new(const void *bytes, size_t size)
{
    size_t c = class_of(size);
    struct blob *b;

    if (c == CLASSES)
        return NULL; /* above any frame of the protocol */
    if (kept[c].first) {
        b = kept[c].first;
        kept[c].first = b->next_free;
        kept[c].count--;
    } else {
        b = malloc(sizeof(*b) + class_bytes[c]);
        if (!b)
            return NULL;
        b->capacity = class_bytes[c];
    }
    b->refs = 1;
    b->size = (uint32_t)size;
    b->next_free = NULL;
    memcpy(b->data, bytes, size);
    in_use++;
    return b;
}

struct blob *blob_ref(struct blob *b)
{
    b->refs++;
    return b;
}

struct blob *blob_unref(struct blob *b)
{
    if (!b || --b->refs > 0)
        return NULL;
    in_use--;
    size_t c = class_of(b->capacity);
    if (kept[c].count < KEEP_MAX) {
        b->next_free = kept[c].first;
        kept[c].first = b;
        kept[c].count++;
    } else {
        free(b);
    }
    return NULL;
}

void blob_trim(void)
{
    for (size_t c = 0; c < CLASSES; c++) {
        while (kept[c].first) {
            struct blob *b = kept[c].first;
            kept[c].first = b->next_free;
            free(b);
        }
        kept[c].count = 0;
    }
}

unsigned blob_in_use(void)
{
    return in_use;
}
