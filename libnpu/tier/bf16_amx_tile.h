/* bf16_amx_tile.h - blocks of sums by TDPBF16PS: 2 x 2 tiles make 32 x 32 sums from 32 terms a step (amx_tile.h). */
#include "libnpu/tier/amx_tile.h"
#include "libnpu/tier/bf16_results.h"

#define UNIT_ROWS    32
#define unit_begin() amx_config()
#define unit_end()   amx_release()

/* c[32][32] (ldc floats a row) = or, if `add`, += a b over n steps of 32 terms. a0, a1: 16 rows each, a_ld bytes apart,
 * a_step bytes a step; b0, b1: packed tiles of 16 columns. Of the results only `rows` are wanted; `ahead` has as many.
 */
static inline void unit_block(const char *a0, const char *a1, size_t a_ld, size_t a_step, const uint16_t *b0,
                              const uint16_t *b1, int64_t n, int64_t rows, float *c, size_t ldc, bool add,
                              const struct ahead *ahead)
{
    fetch_rows(ahead, 0, rows);
    if (add) {
        amx_load(0, c, ldc * 4);
        amx_load(1, c + 16, ldc * 4);
        amx_load(2, c + 16 * ldc, ldc * 4);
        amx_load(3, c + 16 * ldc + 16, ldc * 4);
    } else {
        amx_zero(0);
        amx_zero(1);
        amx_zero(2);
        amx_zero(3);
    }
    for (int64_t k = 0; k < n; k++) {
        amx_load(4, a0 + (size_t)k * a_step, a_ld);
        amx_load(6, b0 + k * NPU_BF16_TILE, AMX_BYTES);
        amx_load(7, b1 + k * NPU_BF16_TILE, AMX_BYTES);
        amx_dp(0, 4, 6);
        amx_load(5, a1 + (size_t)k * a_step, a_ld);
        amx_dp(1, 4, 7);
        amx_dp(2, 5, 6);
        amx_dp(3, 5, 7);
    }
    amx_store(0, c, ldc * 4);
    amx_store(1, c + 16, ldc * 4);
    amx_store(2, c + 16 * ldc, ldc * 4);
    amx_store(3, c + 16 * ldc + 16, ldc * 4);
}

/* The same to results. Rows of `to` beyond `rows` may be written to. */
static inline void unit_results(const char *a0, const char *a1, size_t a_ld, size_t a_step, const uint16_t *b0,
                                const uint16_t *b1, int64_t n, int64_t rows, const struct bf16_results *to)
{
    const struct ahead none = {.bytes = 0};
    float sums[BLOCK][BLOCK] __attribute__((aligned(64)));

    fetch_results(to, 0, rows);
    unit_block(a0, a1, a_ld, a_step, b0, b1, n, rows, sums[0], BLOCK, false, &none);
    for (int64_t r = 0; r < rows; r++)
        results_row(to, r, sums[r]);
}
