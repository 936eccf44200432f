/* bf16_native_kernels.h - the native kernels of the bf16 tiers over a unit's blocks: bf16_amx_tile.h or
 * bf16_dot_tile.h, included before.
 *
 * A block makes 32 x 32 sums from 32 bf16 terms a step: rows of A are [16][32 terms], tiles of B hold pairs of terms
 * [16 pairs][16 columns][2]. Tails are zeros in the packed operands.
 */
#include "libnpu/tier/bf16_gather.h"
#include "libnpu/tier/bf16_wgrad.h"

#define BF16_KERNELS(name, need)                                                                                       \
    {                                                                                                                  \
        name, need, UNIT_ROWS, gather_pack, gather_run, wgrad_run, wgrad_sum                                           \
    }
