// Random numbers that depend on their key alone: the same (seed, stream, index) gives the same numbers anywhere.
#pragma once

#include <math.h>
#include <stdint.h>

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
