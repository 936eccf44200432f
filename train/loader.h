// Makes training batches ahead of time on threads. What a batch holds depends on (seed, step, slot) alone, never on the
// threads, so a resumed training sees what an uninterrupted one would have seen.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define LOADER_MAX_INPUTS 16
#define LOADER_AHEAD      3 // batches in memory

struct loader;
struct rng;

// Fills one sample: inputs[i] has room for sizes[i] floats and is all zero.
typedef int loader_fill_fn(void *user, struct rng *rng, float *const *inputs);

struct loader_spec {
    loader_fill_fn *fill;
    void *user;
    const size_t *sizes; // floats a sample of each input
    int input_count, batch, threads;
    uint64_t seed, first_step;
};

// Starts the threads. -EINVAL, -ENOMEM, -EAGAIN.
int loader_start(const struct loader_spec *spec, struct loader **ret_loader);
// Waits for the next batch: inputs[i] holds batch * sizes[i] floats, valid until the next call. The status of a fill
// that failed comes out here.
int loader_next(struct loader *l, const float **ret_inputs);
// Seconds that loader_next has waited so far.
double loader_waited_s(const struct loader *l);
// Accepts NULL; returns NULL.
struct loader *loader_stop(struct loader *l);
