// Random numbers that depend on their key alone: the same (seed, stream, index) gives the same numbers anywhere.
#pragma once

#include <math.h>
#include <stdint.h>

#include "train/render/v3.h"

struct rng {
    uint64_t state;
};

static inline uint64_t rng_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

// stream: one number a purpose, so that a new draw in one does not shift another.
static inline struct rng rng_make(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (struct rng){
        rng_mix(rng_mix(rng_mix(seed + 0x9e3779b97f4a7c15ull) + stream) + index * 0xd1342543de82ef95ull)};
}

// splitmix64 (Steele, Lea, Flood 2014).
static inline uint64_t rng_u64(struct rng *r)
{
    return rng_mix(r->state += 0x9e3779b97f4a7c15ull);
}

// [0, 1).
static inline float rng_unit(struct rng *r)
{
    return (float)(rng_u64(r) >> 40) * 0x1p-24f;
}

static inline float rng_uniform(struct rng *r, float low, float high)
{
    return low + (high - low) * rng_unit(r);
}

static inline int rng_below(struct rng *r, int n)
{
    return (int)((rng_u64(r) >> 32) * (uint64_t)n >> 32);
}

static inline int rng_chance(struct rng *r, float p)
{
    return rng_unit(r) < p;
}

// N(0, 1), Box and Muller.
static inline float rng_normal(struct rng *r)
{
    float u = 1.0f - rng_unit(r), v = rng_unit(r);
    return sqrtf(-2.0f * logf(u)) * cosf(6.2831853f * v);
}

static inline float rng_log_uniform(struct rng *r, float low, float high)
{
    return low * expf(logf(high / low) * rng_unit(r));
}

// Three numbers in a set order: the order in which C evaluates arguments is the compiler's own.
static inline v3 rng_uniform3(struct rng *r, v3 low, v3 high)
{
    float x = rng_uniform(r, low.x, high.x), y = rng_uniform(r, low.y, high.y), z = rng_uniform(r, low.z, high.z);
    return v3_make(x, y, z);
}

static inline v3 rng_normal3(struct rng *r)
{
    float x = rng_normal(r), y = rng_normal(r), z = rng_normal(r);
    return v3_make(x, y, z);
}

// c with each part multiplied by e^N(0, sd).
static inline v3 rng_jitter3(struct rng *r, v3 c, float sd_x, float sd_y, float sd_z)
{
    v3 n = rng_normal3(r);
    return v3_make(c.x * expf(sd_x * n.x), c.y * expf(sd_y * n.y), c.z * expf(sd_z * n.z));
}
