/* Rate and latency of the last results. Pure, fixed memory. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define STATS_WINDOW  512 /* results */
#define STATS_RATE_NS UINT64_C(2000000000)
#define STATS_SUM_NS  UINT64_C(100000000) /* quantiles are taken anew at most that often: anybody may ask */

/* All zero is the empty one. */
struct stats {
    uint64_t publish_ns[STATS_WINDOW];
    uint32_t latency_us[STATS_WINDOW];
    size_t next, count;
    uint64_t summed_up_ns; /* when p50_us and p99_us were taken */
    uint32_t p50_us, p99_us;
};

void stats_add(struct stats *s, uint64_t capture_ns, uint64_t publish_ns);

/* Results a second, times 1000, over the last 2 s; 0 if fewer than two came in them. */
uint32_t stats_rate_mhz(const struct stats *s, uint64_t now_ns);

/* Median and 99th percentile by rank of the latencies in us, in p50_us and p99_us; 0 if there is none. */
void stats_sum_up(struct stats *s, uint64_t now_ns);
