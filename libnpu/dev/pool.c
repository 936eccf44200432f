/* pool.c - threads that work through the stages of a job: they spin for some microseconds after a job, then sleep.
 *
 * `state` holds the number of the job, the stage, its number of parts and the next part. A part is claimed by a
 * compare-and-swap, which fails if job or stage have changed, so a late thread can't run a part that it has not seen,
 * and nothing of a job is read before a part of it is claimed. Who ends the last part of a stage opens the next one. A
 * thread that wakes too late finds the work done by others.
 */
#include "libnpu/dev/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum { SPINS = 4000, IDLE = 0xffff };

struct npu_pool {
    int n_threads;
    pthread_t *thread;
    int n_started;
    pthread_mutex_t run_lock; /* one job at a time */
    pthread_mutex_t lock;     /* sleeping */
    pthread_cond_t wake;
    int sleepers;
    uint64_t job;
    /* of the job, written before its state */
    npu_pool_fn *fn;
    void *arg;
    const uint16_t *parts;
    int n_stages;
    _Alignas(64) _Atomic uint64_t state; /* job << 40 | stage << 24 | parts << 12 | next part */
    _Alignas(64) _Atomic int remaining;  /* parts of this stage that have not ended */
    atomic_bool stop;
};

static inline uint64_t stage_of(uint64_t s)
{
    return s >> 24 & 0xffff;
}
static inline int parts_of(uint64_t s)
{
    return (int)(s >> 12 & 0xfff);
}
static inline int part_of(uint64_t s)
{
    return (int)(s & 0xfff);
}

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void open_stage(struct npu_pool *p, uint64_t job, int stage)
{
    if (stage < p->n_stages) {
        atomic_store(&p->remaining, p->parts[stage]);
        atomic_store(&p->state, job << 40 | (uint64_t)stage << 24 | (uint64_t)p->parts[stage] << 12);
    } else {
        atomic_store(&p->state, job << 40 | (uint64_t)IDLE << 24);
    }
}

/* Works until the job ends. */
static void work(struct npu_pool *p)
{
    for (int spins = 0;;) {
        uint64_t s = atomic_load(&p->state);

        if (stage_of(s) == IDLE)
            return;
        if (part_of(s) >= parts_of(s)) { /* others end the stage */
            relax();
            if (++spins > SPINS)
                sched_yield();
            continue;
        }
        if (!atomic_compare_exchange_weak(&p->state, &s, s + 1))
            continue;
        spins = 0;
        p->fn(p->arg, (int)stage_of(s), part_of(s), parts_of(s));
        if (atomic_fetch_sub(&p->remaining, 1) == 1)
            open_stage(p, s >> 40, (int)stage_of(s) + 1);
    }
}

static bool is_idle(struct npu_pool *p)
{
    return stage_of(atomic_load(&p->state)) == IDLE && !atomic_load(&p->stop);
}

static void wait_for_job(struct npu_pool *p)
{
    for (int i = 0; i < SPINS; i++) {
        if (!is_idle(p))
            return;
        relax();
    }
    pthread_mutex_lock(&p->lock);
    p->sleepers++;
    while (is_idle(p))
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
    struct npu_pool *p = NULL;

    if (posix_memalign((void **)&p, 64, sizeof *p) != 0)
        return -ENOMEM;
    *p = (struct npu_pool){.n_threads = n_threads < 1 ? 1 : n_threads};
    p->thread = calloc((size_t)p->n_threads, sizeof p->thread[0]);
    pthread_mutex_init(&p->run_lock, NULL);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    atomic_store(&p->state, (uint64_t)IDLE << 24);
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

int npu_pool_threads(const struct npu_pool *p)
{
    return p->n_threads;
}

void npu_pool_run(struct npu_pool *p, npu_pool_fn *fn, void *arg, const uint16_t *parts, int n_stages)
{
    if (n_stages <= 0)
        return;
    pthread_mutex_lock(&p->run_lock);
    p->fn = fn;
    p->arg = arg;
    p->parts = parts;
    p->n_stages = n_stages;
    p->job = (p->job + 1) & 0xffffff;
    pthread_mutex_lock(&p->lock);
    open_stage(p, p->job, 0);
    if (p->sleepers > 0)
        pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    work(p);
    pthread_mutex_unlock(&p->run_lock);
}
