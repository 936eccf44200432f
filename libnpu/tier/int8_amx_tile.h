/* int8_amx_tile.h - blocks of sums by TDPBSSD: 2 x 2 tiles make 32 x 32 sums from 64 terms a step (amx_tile.h). */
#include <stdbool.h>

#include "libnpu/tier/amx_tile.h"

#define UNIT_ROWS     32
#define UNIT_COLS     32
#define UNIT_K        64
#define UNIT_GROUP    4
#define UNIT_STEP     NPU_QUANT_MAX_DEPTH
#define UNIT_TERM     uint8_t
#define UNIT_UNSIGNED 0
#define unit_begin()  amx_config()
#define unit_end()    amx_release()

static inline void unit_block(const uint8_t *a, size_t lda, const int8_t *b, size_t panel, int64_t kpad, int64_t rows,
                              bool add, int32_t (*c)[UNIT_COLS])
{
    amx_zero(0);
    amx_zero(1);
    amx_zero(2);
    amx_zero(3);
    for (int64_t k = 0; k < kpad; k += 64) {
        amx_load(4, a + k, lda);
        amx_load(6, b + k * 16, AMX_BYTES);
        amx_load(7, b + panel + k * 16, AMX_BYTES);
        amx_dp_i8(0, 4, 6);
        amx_load(5, a + 16 * lda + k, lda);
        amx_dp_i8(1, 4, 7);
        amx_dp_i8(2, 5, 6);
        amx_dp_i8(3, 5, 7);
    }
    amx_store(0, &c[0][0], sizeof c[0]);
    amx_store(1, &c[0][16], sizeof c[0]);
    amx_store(2, &c[16][0], sizeof c[0]);
    amx_store(3, &c[16][16], sizeof c[0]);
}
