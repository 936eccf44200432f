// Signs of life while the main thread is inside a driver that loads or compiles, which takes seconds to minutes.
//
// A thread calls `beat` five times a second as long as the process uses processor time: a compiler does, a driver that
// hangs in the kernel does not. One that spins for ever is given up after LOAD_BEAT_MAX_NS.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define LOAD_BEAT_PERIOD_NS INT64_C(200000000)
#define LOAD_BEAT_MAX_NS    INT64_C(600000000000)
#define LOAD_BEAT_WORK_NS   INT64_C(1000000) // of processor time in a period that count as work

struct load_beat {
    void (*beat)(void *userdata); // in the thread; the caller must keep off what it uses until load_beat_stop
    void *userdata;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;
};

// 0, or a negative status of pthread_create: then there is no thread, and load_beat_stop must not be called.
int load_beat_start(struct load_beat *b, void (*beat)(void *userdata), void *userdata);
void load_beat_stop(struct load_beat *b);
