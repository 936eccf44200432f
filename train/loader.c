// Batches made ahead of time: see loader.h.
#include "train/loader.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "train/render/rng.h"

#define MAX_THREADS 16
#define RNG_STREAM  0x6c6f6164 // "load"

struct loader {
    struct loader_spec spec;
    size_t sizes[LOADER_MAX_INPUTS];
    float *inputs[LOADER_AHEAD][LOADER_MAX_INPUTS];
    int done[LOADER_AHEAD]; // samples of the ring's batch that are ready
    uint64_t next_sample;   // to be given to a thread, counted from first_step
    uint64_t taken;         // batches that the consumer has got
    int status;
    bool stop;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t threads[MAX_THREADS];
    int thread_count;
    double waited_s;
};

// Batch `b` may be filled when the consumer is done with the batch that had its place: it holds taken - 1 still.
static bool may_fill(const struct loader *l, uint64_t b)
{
    uint64_t oldest = l->taken ? l->taken - 1 : 0;
    return b < oldest + LOADER_AHEAD;
}

static int fill(struct loader *l, uint64_t sample)
{
    uint64_t b = sample / (uint64_t)l->spec.batch, slot = sample % (uint64_t)l->spec.batch;
    float *inputs[LOADER_MAX_INPUTS];
    for (int i = 0; i < l->spec.input_count; i++) {
        inputs[i] = l->inputs[b % LOADER_AHEAD][i] + slot * l->sizes[i];
        memset(inputs[i], 0, l->sizes[i] * sizeof(float));
    }
    uint64_t step = l->spec.first_step + b;
    struct rng rng = rng_make(l->spec.seed, RNG_STREAM, step * (uint64_t)l->spec.batch + slot);
    return l->spec.fill(l->spec.user, &rng, inputs);
}

static void *work(void *arg)
{
    struct loader *l = arg;
    pthread_mutex_lock(&l->lock);
    while (!l->stop && l->status >= 0) {
        uint64_t b = l->next_sample / (uint64_t)l->spec.batch;
        if (!may_fill(l, b)) {
            pthread_cond_wait(&l->changed, &l->lock);
            continue;
        }
        uint64_t sample = l->next_sample++;
        pthread_mutex_unlock(&l->lock);
        int r = fill(l, sample);
        pthread_mutex_lock(&l->lock);
        if (r < 0)
            l->status = r;
        l->done[b % LOADER_AHEAD]++;
        if (r < 0 || l->done[b % LOADER_AHEAD] == l->spec.batch)
            pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

int loader_start(const struct loader_spec *spec, struct loader **ret_loader)
{
    if (spec->input_count < 1 || spec->input_count > LOADER_MAX_INPUTS || spec->batch < 1 || spec->threads < 1 ||
        spec->threads > MAX_THREADS)
        return -EINVAL;
    struct loader *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->spec = *spec;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    int r = 0;
    for (int i = 0; i < spec->input_count; i++) {
        l->sizes[i] = spec->sizes[i];
        for (int k = 0; k < LOADER_AHEAD; k++) {
            l->inputs[k][i] = calloc(l->sizes[i] * (size_t)spec->batch, sizeof(float));
            r = l->inputs[k][i] ? r : -ENOMEM;
        }
    }
    l->spec.sizes = l->sizes;
    while (r >= 0 && l->thread_count < spec->threads) {
        r = -pthread_create(&l->threads[l->thread_count], NULL, work, l);
        l->thread_count += r >= 0;
    }
    if (r < 0) {
        loader_stop(l);
        return r;
    }
    *ret_loader = l;
    return 0;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int loader_next(struct loader *l, const float **ret_inputs)
{
    double start = now_s();
    pthread_mutex_lock(&l->lock);
    if (l->taken) // the place of the batch before is free again
        l->done[(l->taken - 1) % LOADER_AHEAD] = 0;
    int place = (int)(l->taken++ % LOADER_AHEAD);
    pthread_cond_broadcast(&l->changed);
    while (l->status >= 0 && l->done[place] < l->spec.batch)
        pthread_cond_wait(&l->changed, &l->lock);
    int r = l->status;
    for (int i = 0; i < l->spec.input_count; i++)
        ret_inputs[i] = l->inputs[place][i];
    pthread_mutex_unlock(&l->lock);
    l->waited_s += now_s() - start;
    return r;
}

double loader_waited_s(const struct loader *l)
{
    return l->waited_s;
}

struct loader *loader_stop(struct loader *l)
{
    if (!l)
        return NULL;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->thread_count; i++)
        pthread_join(l->threads[i], NULL);
    for (int k = 0; k < LOADER_AHEAD; k++)
        for (int i = 0; i < l->spec.input_count; i++)
            free(l->inputs[k][i]);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l);
    return NULL;
}
