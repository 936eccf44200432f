/* bf16_convert.h - rounding to bf16, pairs of terms and transposes, as the bf16 tiers' kernels need them. A header
 * included before may have instructions for rounding (bf16_dot_round.h).
 */
#ifndef NPU_TIER_BF16_CONVERT_H
#define NPU_TIER_BF16_CONVERT_H

#include "libnpu/tier/bf16_native.h"

typedef uint16_t bf16;
enum { BLOCK = 32, ROW_BYTES = 64 };

static inline int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
static inline int64_t clamp64(int64_t v, int64_t lo, int64_t hi)
{
    return at_most(at_least(v, lo), hi);
}

static inline float from_bf16(bf16 v)
{
    const uint32_t u = (uint32_t)v << 16;
    float f;

    memcpy(&f, &u, sizeof f);
    return f;
}

static inline bf16 to_bf16(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (bf16)(u >> 16 | 0x40u);
    return (bf16)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

/* 32 numbers rounded. */
static inline void round32(const float *from, bf16 *to)
{
#ifdef UNIT_ROUND32
    UNIT_ROUND32(from, to);
#else
    for (int i = 0; i < 32; i++)
        to[i] = to_bf16(from[i]);
#endif
}

static inline void round16(const float *from, bf16 *to)
{
#ifdef UNIT_ROUND16
    UNIT_ROUND16(from, to);
#else
    for (int i = 0; i < 16; i++)
        to[i] = to_bf16(from[i]);
#endif
}

/* pair[i] = lo[i] | hi[i] << 16, rounded, for sixteen numbers each. */
static inline void round_pairs16(const float *lo, const float *hi, uint32_t *pair)
{
#ifdef UNIT_ROUND_PAIRS16
    UNIT_ROUND_PAIRS16(lo, hi, pair);
#else
    for (int i = 0; i < 16; i++)
        pair[i] = (uint32_t)to_bf16(lo[i]) | (uint32_t)to_bf16(hi[i]) << 16;
#endif
}

static inline void read_fields(const struct npu_native_call *c, int first, int32_t *to, size_t size)
{
    for (size_t i = 0; i < size / sizeof *to; i++)
        to[i] = c->arg[first + (int)i].i;
}

/* ---- pairs and transposes ---- */
typedef uint32_t dwords __attribute__((vector_size(64)));

#define LOW(h, j)  ((j) & (h) ? 16 + ((j) ^ (h)) : (j))
#define HIGH(h, j) ((j) & (h) ? 16 + (j) : (j) ^ (h))
#define LANES(F, h)                                                                                                    \
    F(h, 0), F(h, 1), F(h, 2), F(h, 3), F(h, 4), F(h, 5), F(h, 6), F(h, 7), F(h, 8), F(h, 9), F(h, 10), F(h, 11),      \
        F(h, 12), F(h, 13), F(h, 14), F(h, 15)
/* Swaps the upper right h x h blocks with the lower left ones. */
#define SWAP_BLOCKS(h)                                                                                                 \
    for (int i = 0; i < 16; i++)                                                                                       \
        if (!(i & (h))) {                                                                                              \
            const dwords lo = r[i], hi = r[i | (h)];                                                                   \
            r[i] = __builtin_shufflevector(lo, hi, LANES(LOW, h));                                                     \
            r[i | (h)] = __builtin_shufflevector(lo, hi, LANES(HIGH, h));                                              \
        }

/* 16 x 16 in place */
static inline void transpose(dwords *r)
{
    SWAP_BLOCKS(8)
    SWAP_BLOCKS(4)
    SWAP_BLOCKS(2)
    SWAP_BLOCKS(1)
}

static const bf16 no_pixel[16];

/* pair[i] = lo[i] | hi[i] << 16 for n of 16 elements, zeros behind */
static inline void pair_up(const bf16 *lo, const bf16 *hi, int64_t n, uint32_t *pair)
{
    if (n >= 16) {
        for (int i = 0; i < 16; i++)
            pair[i] = (uint32_t)lo[i] | (uint32_t)hi[i] << 16;
        return;
    }
    for (int64_t i = 0; i < 16; i++)
        pair[i] = i < n ? (uint32_t)lo[i] | (uint32_t)hi[i] << 16 : 0;
}

/* The same of elements lo and hi on of p, which is f32 if `wide`; below 0: zeros. */
static inline __attribute__((always_inline)) void pair_some(const void *p, int64_t lo, int64_t hi, int64_t n,
                                                            const bool wide, uint32_t *pair)
{
    static const float nothing[16];
    const float *f, *h;

    if (!wide) {
        pair_up(lo < 0 ? no_pixel : (const bf16 *)p + lo, hi < 0 ? no_pixel : (const bf16 *)p + hi, n, pair);
        return;
    }
    f = lo < 0 ? nothing : (const float *)p + lo;
    h = hi < 0 ? nothing : (const float *)p + hi;
    if (n >= 16) {
        round_pairs16(f, h, pair);
        return;
    }
    for (int64_t i = 0; i < 16; i++)
        pair[i] = i < n ? (uint32_t)to_bf16(f[i]) | (uint32_t)to_bf16(h[i]) << 16 : 0;
}

/* v[0 .. n - 1] += elements of p from `at` on */
static inline __attribute__((always_inline)) void add_values(float *v, const void *p, int type, int64_t at, const int n)
{
    const float *f = (const float *)p + at;
    const bf16 *h = (const bf16 *)p + at;

    if (type == NPU_F32)
        for (int i = 0; i < n; i++)
            v[i] += f[i];
    else
        for (int i = 0; i < n; i++)
            v[i] += from_bf16(h[i]);
}

#endif
