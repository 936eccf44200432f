/* divide.h - the rows and columns of a product in units of work, for threads of which each takes the next unit when it
 * has done one (internal to libnpu). */
#ifndef NPU_TIER_DIVIDE_H
#define NPU_TIER_DIVIDE_H

#include <stdint.h>

struct npu_divide {
    int64_t rows;   /* of the result, one at least; with Winograd's way tiles */
    int64_t times;  /* so many such products, which share nothing (groups) */
    int64_t panels; /* blocks of columns: as many as a unit computes together */
    int64_t block;  /* rows that are computed together */
    int64_t step;   /* rows of a unit are a multiple of it */
    int64_t threads;
    double weights; /* reading a panel of weights takes a unit as long as so many rows of it */
    double gather;  /* collecting or transforming a row takes a unit as long as so many panels of it */
};

/* Rows at a time and shares of the columns. *rows, above 0, and one share stay unless the thread that ends last ends
 * sooner with others: rows from `most` down to `least`, up to two shares a thread. */
void npu_divide(const struct npu_divide *d, int64_t most, int64_t least, int32_t *rows, int32_t *ret_slices);
/* Parts of a launch over so many units: more than threads, as one thread may be slower than the others. */
int32_t npu_divide_parts(int64_t threads, int64_t units);

#endif
