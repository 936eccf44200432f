/* rng.h - random numbers as a pure function of (seed, name, index): no state, any order, the same on every device.
 *
 * The mixer is the output function of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
 * 2014).
 */
#ifndef NPU_RNG_H
#define NPU_RNG_H

#include <math.h>
#include <stdint.h>

static inline uint64_t npu_rng_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Key of a stream: seed and a name (FNV-1a). */
static inline uint64_t npu_rng_key(uint64_t seed, const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (const char *c = name; *c; c++)
        h = (h ^ (unsigned char)*c) * 0x100000001b3u;
    return npu_rng_mix(npu_rng_mix(seed + 0x9e3779b97f4a7c15u) ^ h);
}

static inline uint64_t npu_rng_u64(uint64_t key, uint64_t index)
{
    return npu_rng_mix(key + (index + 1) * 0x9e3779b97f4a7c15u);
}

/* [0, 1), 24 bits */
static inline float npu_rng_uniform(uint64_t key, uint64_t index)
{
    return (float)(npu_rng_u64(key, index) >> 40) * 0x1p-24f;
}

/* Standard normal (Box-Muller on the two halves of one number). */
static inline float npu_rng_normal(uint64_t key, uint64_t index)
{
    uint64_t u = npu_rng_u64(key, index);
    double r = ((double)(u >> 32) + 0.5) * 0x1p-32, a = (double)(u & 0xffffffffu) * 0x1p-32;

    return (float)(sqrt(-2.0 * log(r)) * cos(6.283185307179586 * a));
}

/* Standard normal cut at +-2: redrawn from further streams until inside. */
static inline float npu_rng_trunc_normal(uint64_t key, uint64_t index)
{
    for (uint64_t k = 0; k < 64; k++) {
        float v = npu_rng_normal(npu_rng_mix(key + k), index);
        if (v >= -2.0f && v <= 2.0f)
            return v;
    }
    return 0.0f;
}

#endif
