// The thread that beats while a driver compiles.
#include "daemon/load_beat.h"

#include <time.h>

static int64_t clock_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *run(void *argument)
{
    struct load_beat *b = argument;
    int64_t start_ns = clock_ns(CLOCK_MONOTONIC), due_ns = start_ns, worked_ns = 0;
    pthread_mutex_lock(&b->lock);
    while (!b->stop && due_ns - start_ns < LOAD_BEAT_MAX_NS) {
        int64_t work_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        if (work_ns - worked_ns >= LOAD_BEAT_WORK_NS)
            b->beat(b->userdata);
        worked_ns = work_ns;
        due_ns += LOAD_BEAT_PERIOD_NS;
        struct timespec due = {due_ns / 1000000000, due_ns % 1000000000};
        while (!b->stop && pthread_cond_timedwait(&b->wake, &b->lock, &due) == 0)
            ;
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

int load_beat_start(struct load_beat *b, void (*beat)(void *userdata), void *userdata)
{
    *b = (struct load_beat){.beat = beat, .userdata = userdata, .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&b->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int r = pthread_create(&b->thread, NULL, run, b);
    if (r != 0)
        pthread_cond_destroy(&b->wake);
    return -r;
}

void load_beat_stop(struct load_beat *b)
{
    pthread_mutex_lock(&b->lock);
    b->stop = true;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->thread, NULL);
    pthread_cond_destroy(&b->wake);
    pthread_mutex_destroy(&b->lock);
}
