// Which portraits are kept out of all training: one fifth of the ids, by a hash that needs no list.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FOLD_COUNT 5

// True for the ids that judge and never teach: FNV-1a (32 bit) of the id string is a multiple of FOLD_COUNT. Held-out
// pictures must not be used as training picture, texture or background.
static inline bool fold_is_held_out(const char *id)
{
    uint32_t hash = 2166136261u;
    for (const char *c = id; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 16777619u;
    return hash % FOLD_COUNT == 0;
}
