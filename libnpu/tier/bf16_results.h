/* bf16_results.h - where the sums of a block go when nothing but a bias and a residual of the results' type is added.
 */
#ifndef NPU_TIER_BF16_RESULTS_H
#define NPU_TIER_BF16_RESULTS_H

#include "libnpu/tier/ahead.h"
#include "libnpu/tier/bf16_convert.h"

struct bf16_results {
    _Alignas(64) float bias[BLOCK];
    char *row[BLOCK];        /* results of BLOCK columns each */
    const char *more[BLOCK]; /* their residual, if there is one */
    bool half, residual;     /* results (and residual) are bf16, not f32 */
};

static inline int64_t results_bytes(const struct bf16_results *to)
{
    return BLOCK * (to->half ? 2 : 4);
}

/* Results are short pieces of rows: their lines come into the cache while the block is computed. */
static inline void fetch_results(const struct bf16_results *to, int64_t from, int64_t end)
{
    for (int64_t i = from; i < end; i++)
        fetch_piece(to->row[i], results_bytes(to));
}

/* Row i of them. */
static inline void results_row(const struct bf16_results *to, int64_t i, const float *sums)
{
    float v[BLOCK];

    for (int j = 0; j < BLOCK; j++)
        v[j] = sums[j] + to->bias[j];
    if (to->residual)
        add_values(v, to->more[i], to->half ? NPU_BF16 : NPU_F32, 0, BLOCK);
    if (to->half)
        round32(v, (bf16 *)(void *)to->row[i]);
    else
        memcpy(to->row[i], v, sizeof v);
}

#endif
