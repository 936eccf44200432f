/* faults.c - counting calls, choosing the one that fails, and a table of memory that is in use. */
#include "tests/torture/faults.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { MOST_LIVE = 1 << 14 };

/* Shared with child processes. */
static struct shared {
    atomic_bool armed;
    atomic_int kind;
    atomic_long count, at;
    char fired[32];
} * shared;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct live {
    void *p, *caller;
    const char *call;
} live[MOST_LIVE];
static size_t n_live;

int faults_init(void)
{
    void *m = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (m == MAP_FAILED)
        return -1;
    shared = m;
    return 0;
}

void faults_arm(enum faults_kind kind, long at)
{
    shared->fired[0] = '\0';
    shared->count = 0;
    shared->at = at;
    shared->kind = (int)kind;
    shared->armed = true;
}

long faults_disarm(void)
{
    shared->armed = false;
    return shared->count;
}

const char *faults_fired(void)
{
    return shared->fired;
}

static bool step(enum faults_kind kind, const char *call)
{
    if (!shared || !shared->armed || shared->kind != (int)kind || ++shared->count != shared->at)
        return false;
    snprintf(shared->fired, sizeof shared->fired, "%s", call);
    return true;
}

bool faults_step(const char *call)
{
    return step(FAULTS_FAIL, call);
}

bool faults_short(const char *call)
{
    return step(FAULTS_SHORT, call);
}

/* A hash table without deletion marks: what follows a freed slot is moved up. */
static size_t slot_of(const void *p)
{
    return (size_t)(((uintptr_t)p >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 40) % MOST_LIVE;
}

static size_t find(const void *p)
{
    size_t i = slot_of(p);

    while (live[i].p && live[i].p != p)
        i = (i + 1) % MOST_LIVE;
    return i;
}

void faults_note_alloc(void *p, const char *call, void *caller)
{
    pthread_mutex_lock(&lock);
    if (p && n_live < MOST_LIVE - 1) {
        size_t i = find(p);

        n_live += live[i].p == NULL;
        live[i] = (struct live){p, caller, call};
    }
    pthread_mutex_unlock(&lock);
}

void faults_note_free(void *p)
{
    size_t i, k;

    pthread_mutex_lock(&lock);
    i = find(p);
    if (p && live[i].p) {
        n_live--;
        for (k = (i + 1) % MOST_LIVE; live[k].p; k = (k + 1) % MOST_LIVE) {
            size_t home = slot_of(live[k].p);

            if ((k > i && (home <= i || home > k)) || (k < i && home <= i && home > k)) {
                live[i] = live[k];
                i = k;
            }
        }
        live[i] = (struct live){0};
    }
    pthread_mutex_unlock(&lock);
}

size_t faults_live(const char **ret_call, void **ret_caller)
{
    for (size_t i = 0; i < MOST_LIVE; i++)
        if (live[i].p) {
            *ret_call = live[i].call;
            *ret_caller = live[i].caller;
            break;
        }
    return n_live;
}

void faults_forget_live(void)
{
    memset(live, 0, sizeof live);
    n_live = 0;
}
