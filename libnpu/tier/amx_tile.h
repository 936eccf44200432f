/* amx_tile.h - the eight tile registers of AMX, or the same in plain C where NPU_AMX_EMULATED is defined.
 *
 * All tiles are configured as 16 rows of 64 bytes. amx_dp is TDPBF16PS: c[m][n] += sum over k of a[m][2k] b[k][2n] +
 * a[m][2k+1] b[k][2n+1], f32 with denormals as zero; amx_dp_i8 is TDPBSSD, the same of four signed bytes modulo 2^32
 * (Intel SDM). Tile numbers must be constants.
 */
#ifndef NPU_TIER_AMX_TILE_H
#define NPU_TIER_AMX_TILE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { AMX_ROWS = 16, AMX_BYTES = 64, AMX_TILES = 8 };

#ifdef NPU_AMX_EMULATED
static _Thread_local uint32_t amx_reg[AMX_TILES][AMX_ROWS][AMX_BYTES / 4];

static inline void amx_config(void)
{
    memset(amx_reg, 0, sizeof amx_reg);
}
static inline void amx_release(void)
{
    memset(amx_reg, 0xff, sizeof amx_reg);
}
static inline void amx_zero(int t)
{
    memset(amx_reg[t], 0, sizeof amx_reg[t]);
}

static inline void amx_load(int t, const void *p, size_t stride)
{
    for (int i = 0; i < AMX_ROWS; i++)
        memcpy(amx_reg[t][i], (const char *)p + (size_t)i * stride, AMX_BYTES);
}

static inline void amx_store(int t, void *p, size_t stride)
{
    for (int i = 0; i < AMX_ROWS; i++)
        memcpy((char *)p + (size_t)i * stride, amx_reg[t][i], AMX_BYTES);
}

/* denormals are zero */
static inline float amx_flush(uint32_t bits)
{
    float f;

    if ((bits & 0x7f800000u) == 0)
        bits &= 0x80000000u;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline float amx_flush_f32(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof bits);
    return amx_flush(bits);
}

static inline void amx_dp(int c, int a, int b)
{
    for (int m = 0; m < AMX_ROWS; m++) {
        float even[AMX_ROWS] = {0}, odd[AMX_ROWS] = {0};

        for (int k = 0; k < AMX_ROWS; k++) {
            const uint32_t pair = amx_reg[a][m][k];
            const float a0 = amx_flush(pair << 16), a1 = amx_flush(pair & 0xffff0000u);

            for (int n = 0; n < AMX_ROWS; n++) {
                even[n] = amx_flush_f32(fmaf(a0, amx_flush(amx_reg[b][k][n] << 16), even[n]));
                odd[n] = amx_flush_f32(fmaf(a1, amx_flush(amx_reg[b][k][n] & 0xffff0000u), odd[n]));
            }
        }
        for (int n = 0; n < AMX_ROWS; n++) {
            const float sum = amx_flush_f32(amx_flush(amx_reg[c][m][n]) + amx_flush_f32(even[n] + odd[n]));

            memcpy(&amx_reg[c][m][n], &sum, sizeof sum);
        }
    }
}

static inline void amx_dp_i8(int c, int a, int b)
{
    for (int m = 0; m < AMX_ROWS; m++)
        for (int k = 0; k < AMX_ROWS; k++)
            for (int n = 0; n < AMX_ROWS; n++) {
                int8_t x[4], y[4];

                memcpy(x, &amx_reg[a][m][k], sizeof x);
                memcpy(y, &amx_reg[b][k][n], sizeof y);
                amx_reg[c][m][n] += (uint32_t)(x[0] * y[0] + x[1] * y[1] + x[2] * y[2] + x[3] * y[3]);
            }
}
#else
#include <immintrin.h>

/* The intrinsics do not tell the compiler which memory they touch. */
#define amx_fence() __asm__ volatile("" ::: "memory")

static inline void amx_config(void)
{
    static const struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } __attribute__((aligned(64))) c = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

    _tile_loadconfig(&c);
    amx_fence();
}
static inline void amx_release(void)
{
    amx_fence();
    _tile_release();
}
#define amx_zero(t) _tile_zero(t)
#define amx_load(t, p, stride)                                                                                         \
    do {                                                                                                               \
        amx_fence();                                                                                                   \
        _tile_loadd(t, p, stride);                                                                                     \
    } while (0)
#define amx_store(t, p, stride)                                                                                        \
    do {                                                                                                               \
        _tile_stored(t, p, stride);                                                                                    \
        amx_fence();                                                                                                   \
    } while (0)
#define amx_dp(c, a, b)    _tile_dpbf16ps(c, a, b)
#define amx_dp_i8(c, a, b) _tile_dpbssd(c, a, b)
#endif

#endif
