/* Rate and latency of the last results. */
#include "daemon/stats.h"

#include <stdlib.h>
#include <string.h>

void stats_add(struct stats *s, uint64_t capture_ns, uint64_t publish_ns)
{
    uint64_t us = publish_ns > capture_ns ? (publish_ns - capture_ns) / 1000 : 0;
    s->publish_ns[s->next] = publish_ns;
    s->latency_us[s->next] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    s->next = (s->next + 1) % STATS_WINDOW;
    if (s->count < STATS_WINDOW)
        s->count++;
}

uint32_t stats_rate_mhz(const struct stats *s, uint64_t now_ns)
{
    uint64_t newest = 0, oldest = 0;
    size_t n = 0;
    for (; n < s->count; n++) {
        uint64_t t = s->publish_ns[(s->next + STATS_WINDOW - 1 - n) % STATS_WINDOW];
        if (now_ns > t && now_ns - t > STATS_RATE_NS)
            break;
        oldest = t;
        if (n == 0)
            newest = t;
    }
    return n < 2 || newest <= oldest ? 0 : (uint32_t)((double)(n - 1) * 1e12 / (double)(newest - oldest));
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void stats_sum_up(struct stats *s, uint64_t now_ns)
{
    uint32_t sorted[STATS_WINDOW];
    if (s->count == 0 || (s->summed_up_ns && now_ns - s->summed_up_ns < STATS_SUM_NS))
        return;
    memcpy(sorted, s->latency_us, s->count * sizeof(sorted[0]));
    qsort(sorted, s->count, sizeof(sorted[0]), compare);
    s->p50_us = sorted[s->count / 2];
    s->p99_us = sorted[s->count * 99 / 100];
    s->summed_up_ns = now_ns;
}
