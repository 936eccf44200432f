/* pool.c - threads that wait for parts of a job: they spin for some microseconds after a job, then sleep.
 *
 * `state` is (job number << 32 | next part): a part is claimed by a compare-and-swap, which fails if the job has
 * changed, so a late thread can't run a part of a job that it has not seen. A thread that wakes too late finds its part
 * done by others.
 */
#include "libnpu/dev/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

enum { SPINS = 4000 };

struct npu_pool {
    int n_threads;
    pthread_t *thread;
    int n_started;
    pthread_mutex_t run_lock; /* one job at a time */
    pthread_mutex_t lock;     /* sleeping */
    pthread_cond_t wake;
    int sleepers;
    _Atomic uint64_t state;
    _Atomic int remaining;
    _Atomic(npu_pool_fn *) fn;
    _Atomic(void *) arg;
    atomic_bool stop;
};

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Claims and runs parts until none is left. */
static void work(struct npu_pool *p)
{
    for (;;) {
        uint64_t s = atomic_load(&p->state);
        int part = (int)(s & 0xffffffffu);
        npu_pool_fn *fn = atomic_load(&p->fn);
        void *arg = atomic_load(&p->arg);

        if (part >= p->n_threads)
            return;
        if (!atomic_compare_exchange_weak(&p->state, &s, s + 1))
            continue;
        fn(arg, part, p->n_threads);
        atomic_fetch_sub(&p->remaining, 1);
    }
}

static void wait_for_job(struct npu_pool *p)
{
    for (int i = 0; i < SPINS; i++) {
        if ((int)(atomic_load(&p->state) & 0xffffffffu) < p->n_threads || atomic_load(&p->stop))
            return;
        relax();
    }
    pthread_mutex_lock(&p->lock);
    p->sleepers++;
    while ((int)(atomic_load(&p->state) & 0xffffffffu) >= p->n_threads && !atomic_load(&p->stop))
        pthread_cond_wait(&p->wake, &p->lock);
    p->sleepers--;
    pthread_mutex_unlock(&p->lock);
}

static void *thread_main(void *arg)
{
    struct npu_pool *p = arg;

    while (!atomic_load(&p->stop)) {
        wait_for_job(p);
        work(p);
    }
    return NULL;
}

int npu_pool_new(int n_threads, struct npu_pool **ret_pool)
{
    struct npu_pool *p = calloc(1, sizeof *p);

    if (!p)
        return -ENOMEM;
    p->n_threads = n_threads < 1 ? 1 : n_threads;
    p->thread = calloc((size_t)p->n_threads, sizeof p->thread[0]);
    pthread_mutex_init(&p->run_lock, NULL);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    atomic_store(&p->state, (uint64_t)p->n_threads);
    if (!p->thread) {
        npu_pool_free(p);
        return -ENOMEM;
    }
    for (int i = 0; i + 1 < p->n_threads; i++) /* fewer threads than wanted only cost time */
        if (pthread_create(&p->thread[p->n_started], NULL, thread_main, p) == 0)
            p->n_started++;
    *ret_pool = p;
    return 0;
}

struct npu_pool *npu_pool_free(struct npu_pool *p)
{
    if (!p)
        return NULL;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->stop, true);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->n_started; i++)
        pthread_join(p->thread[i], NULL);
    pthread_mutex_destroy(&p->run_lock);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->wake);
    free(p->thread);
    free(p);
    return NULL;
}

void npu_pool_run(struct npu_pool *p, npu_pool_fn *fn, void *arg)
{
    uint64_t job;
    int spins = 0;

    pthread_mutex_lock(&p->run_lock);
    atomic_store(&p->remaining, p->n_threads);
    atomic_store(&p->fn, fn);
    atomic_store(&p->arg, arg);
    job = (atomic_load(&p->state) >> 32) + 1;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->state, job << 32);
    if (p->sleepers > 0)
        pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    work(p);
    while (atomic_load(&p->remaining) > 0) {
        relax();
        if (++spins > SPINS)
            sched_yield();
    }
    pthread_mutex_unlock(&p->run_lock);
}
