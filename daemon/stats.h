/* Rate and latency of the last results. Pure, fixed memory. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define STATS_WINDOW  512 /* results */
#define STATS_RATE_NS UINT64_C(2000000000)

/* All zero is the empty one. */
struct stats {
    uint64_t publish_ns[STATS_WINDOW];
    uint32_t latency_us[STATS_WINDOW];
    size_t next, count;
};

void stats_add(struct stats *s, uint64_t capture_ns, uint64_t publish_ns);

/* Results a second, times 1000, over the last 2 s; 0 if fewer than two came in them. */
uint32_t stats_rate_mhz(const struct stats *s, uint64_t now_ns);

/* The share-th (0..1) smallest latency in us, by rank; 0 if there is none. */
uint32_t stats_latency_us(const struct stats *s, double share);
