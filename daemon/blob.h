/* Encoded frames, shared by all clients that get the same bytes. Freed ones are kept for reuse (a few of each size
 * class), so a steady stream of results does not allocate. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct blob {
    uint32_t refs;
    uint32_t size;     /* bytes in `data` */
    uint32_t capacity; /* of `data`; a size class */
    struct blob *next_free;
    uint8_t data[];
};

/* A copy of `size` bytes with one reference, or NULL without memory. Not thread-safe. */
struct blob *blob_new(const void *bytes, size_t size);
struct blob *blob_ref(struct blob *b);
/* Accepts and returns NULL. */
struct blob *blob_unref(struct blob *b);
/* Gives the kept ones back to the C library. */
void blob_trim(void);
/* Blobs that are referenced now: for tests of leaks. */
unsigned blob_in_use(void);

static inline void blob_unrefp(struct blob **b)
{
    *b = blob_unref(*b);
}
#define _cleanup_blob_ __attribute__((cleanup(blob_unrefp)))
