/* Token bucket as a virtual schedule. */
#include "daemon/bucket.h"

struct bucket bucket_make(double per_second, double burst)
{
    struct bucket b = {0};
    if (per_second > 0) {
        b.interval_ns = (uint64_t)(1e9 / per_second);
        b.tolerance_ns = (uint64_t)((burst > 1 ? burst - 1 : 0) * (double)b.interval_ns);
    }
    return b;
}

uint64_t bucket_next_ns(const struct bucket *b)
{
    return b->full_at_ns > b->tolerance_ns ? b->full_at_ns - b->tolerance_ns : 0;
}

bool bucket_take(struct bucket *b, uint64_t now_ns)
{
    if (b->interval_ns == 0)
        return true;
    if (now_ns < bucket_next_ns(b))
        return false;
    b->full_at_ns = (b->full_at_ns > now_ns ? b->full_at_ns : now_ns) + b->interval_ns;
    return true;
}
