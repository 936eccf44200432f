/* Token bucket as a virtual schedule (GCRA): one time stamp, no timer. Pure. Used for requests of a client, results of
 * a rate-limited subscription and log lines that outsiders can provoke. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* interval_ns 0 admits everything. All-zero `full_at_ns` is a full bucket. */
struct bucket {
    uint64_t interval_ns;  /* one token each */
    uint64_t tolerance_ns; /* how far ahead of the schedule one may be: (burst - 1) * interval_ns */
    uint64_t full_at_ns;   /* when the bucket is full again */
};

/* `per_second` tokens a second (0 = no limit), `burst` >= 1 at once. */
struct bucket bucket_make(double per_second, double burst);

/* Takes a token. False, and nothing changed, if there is none at now_ns. */
bool bucket_take(struct bucket *b, uint64_t now_ns);

/* When the next token is there; now_ns or earlier if there is one. */
uint64_t bucket_next_ns(const struct bucket *b);
