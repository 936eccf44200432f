/* ahead.h - memory that shall be in the cache soon: some lines at a time while something is computed, since a processor
 * fetches few lines at once and waits when asked for more.
 */
#ifndef NPU_TIER_AHEAD_H
#define NPU_TIER_AHEAD_H

#include <stdint.h>

enum { AHEAD_ROWS = 32, AHEAD_LINE = 64 };

/* Pieces of memory, one for each row of a block that is computed meanwhile. */
struct ahead {
    const char *row[AHEAD_ROWS];
    int64_t bytes; /* of each; 0: nothing */
};

static inline void fetch_piece(const void *p, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i += AHEAD_LINE)
        __builtin_prefetch((const char *)p + i);
}

/* `rows` rows of `columns` floats, `stride` apart. */
static inline void fetch_floats(const float *x, int64_t stride, int64_t rows, int64_t columns)
{
    for (int64_t i = 0; i < rows; i++)
        fetch_piece(x + i * stride, (int64_t)sizeof *x * columns);
}

/* The pieces of rows from .. end - 1. */
static inline void fetch_rows(const struct ahead *a, int64_t from, int64_t end)
{
    for (int64_t i = from; a->bytes > 0 && i < end; i++)
        fetch_piece(a->row[i], a->bytes);
}

#endif
