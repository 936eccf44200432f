/* bench_peak.c - what the processor can do at most: multiply-adds in registers, f32 and int8, and reading of memory;
 * the roof under which runtimes are compared. One thread on each processor that is taken. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "libnpu/plan.h"
#include "models/tool/bench.h"

enum { ROUNDS = 2000, CHAINS = 10, MAX_THREADS = 1024 };
#define READ_BYTES ((size_t)64 << 20)

/* Each does ROUNDS steps of CHAINS independent multiply-adds and says how many operations that were. */
typedef double peak_fn(void);
struct kernels {
    const char *how;
    peak_fn *f32, *int8;
};

#if defined(__x86_64__)
#include <immintrin.h>

/* CHAINS accumulators by name, so that they stay in registers; the empty asm keeps the compiler from joining steps. */
#define EACH(DO)    DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9)
#define KEEP(x)     __asm__ volatile("" : "+v"(x)) /* v: also the registers of AVX-512 */
#define ZERO(k)     type_of_sum acc##k = zero;
#define KEEP_SUM(k) KEEP(acc##k);
#define FMA_256(k)                                                                                                     \
    acc##k = _mm256_fmadd_ps(acc##k, b, c);                                                                            \
    KEEP(acc##k);
#define FMA_512(k)                                                                                                     \
    acc##k = _mm512_fmadd_ps(acc##k, b, c);                                                                            \
    KEEP(acc##k);
#define MADD_256(k)                                                                                                    \
    KEEP(a);                                                                                                           \
    acc##k = _mm256_add_epi32(acc##k, _mm256_madd_epi16(a, b));
#define DOT_512(k)                                                                                                     \
    acc##k = _mm512_dpbusd_epi32(acc##k, a, b);                                                                        \
    KEEP(acc##k);

__attribute__((target("avx2,fma"))) static double f32_avx2(void)
{
    typedef __m256 type_of_sum;
    const __m256 b = _mm256_set1_ps(0.999f), c = _mm256_set1_ps(0.001f), zero = _mm256_setzero_ps();
    EACH(ZERO)

    for (int i = 0; i < ROUNDS; i++) {
        EACH(FMA_256)
    }
    return 2.0 * 8 * CHAINS * ROUNDS;
}

/* vpmaddwd: 16 products of 16-bit terms, the way that int8 takes without dot-product instructions. */
__attribute__((target("avx2"))) static double int8_avx2(void)
{
    typedef __m256i type_of_sum;
    const __m256i b = _mm256_set1_epi16(3), zero = _mm256_setzero_si256();
    __m256i a = _mm256_set1_epi16(-5);
    EACH(ZERO)

    for (int i = 0; i < ROUNDS; i++) {
        EACH(MADD_256)
        EACH(KEEP_SUM)
    }
    return 2.0 * 16 * CHAINS * ROUNDS;
}

__attribute__((target("avx512f"))) static double f32_avx512(void)
{
    typedef __m512 type_of_sum;
    const __m512 b = _mm512_set1_ps(0.999f), c = _mm512_set1_ps(0.001f), zero = _mm512_setzero_ps();
    EACH(ZERO)

    for (int i = 0; i < ROUNDS; i++) {
        EACH(FMA_512)
    }
    return 2.0 * 16 * CHAINS * ROUNDS;
}

__attribute__((target("avx512f,avx512vnni"))) static double int8_vnni(void)
{
    typedef __m512i type_of_sum;
    const __m512i b = _mm512_set1_epi8(3), a = _mm512_set1_epi8(5), zero = _mm512_setzero_si512();
    EACH(ZERO)

    for (int i = 0; i < ROUNDS; i++) {
        EACH(DOT_512)
    }
    return 2.0 * 64 * CHAINS * ROUNDS;
}
#endif

/* Vectors of 16 bytes, as any processor of today has them. */
typedef float f32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));

static double f32_plain(void)
{
    f32x4 acc[CHAINS] = {0};
    volatile float one = 0.999f;
    const f32x4 b = {one, one, one, one};

    for (int i = 0; i < ROUNDS; i++)
        for (int k = 0; k < CHAINS; k++) {
            acc[k] = acc[k] * b + b;
            __asm__ volatile("" : "+m"(acc[k]));
        }
    return 2.0 * 4 * CHAINS * ROUNDS;
}

static double int8_plain(void)
{
    i32x4 acc[CHAINS] = {0};
    volatile int32_t three = 3;
    const i32x4 b = {three, three, three, three};

    for (int i = 0; i < ROUNDS; i++)
        for (int k = 0; k < CHAINS; k++) {
            acc[k] = acc[k] * b + b;
            __asm__ volatile("" : "+m"(acc[k]));
        }
    return 2.0 * 4 * CHAINS * ROUNDS;
}

static struct kernels choose(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return (struct kernels){__builtin_cpu_supports("avx512vnni") ? "AVX-512, VNNI" : "AVX-512, int8 by vpmaddwd",
                                f32_avx512, __builtin_cpu_supports("avx512vnni") ? int8_vnni : int8_avx2};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (struct kernels){"AVX2 FMA, int8 by vpmaddwd", f32_avx2, int8_avx2};
#endif
    return (struct kernels){"plain C", f32_plain, int8_plain};
}

/* ---- all processors at once ---- */
struct worker {
    pthread_t thread;
    peak_fn *fn; /* NULL: reads memory */
    const uint64_t *data;
    int64_t until_ns;
    pthread_barrier_t *begin;
    double rate; /* operations or bytes a second */
};

static double read_all(const uint64_t *data)
{
    uint64_t sum[8] = {0};

    for (size_t i = 0; i < READ_BYTES / 8; i += 8)
        for (size_t k = 0; k < 8; k++)
            sum[k] += data[i + k];
    for (int k = 0; k < 8; k++)
        __asm__ volatile("" : "+r"(sum[k]));
    return (double)READ_BYTES;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    double done = 0;
    int64_t start, now;

    pthread_barrier_wait(w->begin);
    start = now = npu_now_ns();
    for (; now - start < w->until_ns; now = npu_now_ns())
        done += w->fn ? w->fn() : read_all(w->data);
    w->rate = done / (1e-9 * (double)(now - start));
    return NULL;
}

static int rate_of(int threads, double seconds, peak_fn *fn, const uint64_t *data, double *ret_rate)
{
    struct worker *w = calloc((size_t)threads + 1, sizeof *w);
    pthread_barrier_t begin;
    double sum = 0;
    int n = 0, r = w ? pthread_barrier_init(&begin, NULL, (unsigned)threads) : ENOMEM;

    if (r) {
        free(w);
        return bench_fail("--peak: %s", strerror(r));
    }
    w[0].begin = &begin;
    for (; n < threads; n++) {
        w[n] = (struct worker){.fn = fn, .data = data, .until_ns = (int64_t)(1e9 * seconds) + 1, .begin = &begin};
        if (n > 0 && (r = pthread_create(&w[n].thread, NULL, work, &w[n])) != 0) {
            bench_fail("--peak: %s", strerror(r)); /* the others wait at the barrier */
            exit(1);
        }
    }
    work(&w[0]);
    for (int i = 0; i < n; i++) {
        if (i > 0)
            pthread_join(w[i].thread, NULL);
        sum += w[i].rate;
    }
    pthread_barrier_destroy(&begin);
    free(w);
    *ret_rate = sum;
    return 0;
}

int bench_peak_measure(int threads, double seconds, struct bench_peak *ret_peak)
{
    const struct kernels k = choose();
    struct bench_peak p = {.how = k.how};
    uint64_t *data = malloc(READ_BYTES);
    cpu_set_t all;
    int r;

    if (!data || sched_getaffinity(0, sizeof all, &all) < 0) {
        free(data);
        return bench_fail("--peak: %s", strerror(errno));
    }
    if (threads == 0)
        threads = CPU_COUNT(&all);
    memset(data, 1, READ_BYTES);
    r = rate_of(threads, seconds / 3, k.f32, NULL, &p.f32_gflops);
    if (r == 0)
        r = rate_of(threads, seconds / 3, k.int8, NULL, &p.int8_gops);
    if (r == 0)
        r = rate_of(threads, seconds / 3, NULL, data, &p.read_gbps);
    free(data);
    p.f32_gflops *= 1e-9;
    p.int8_gops *= 1e-9;
    p.read_gbps *= 1e-9;
    if (r == 0)
        *ret_peak = p;
    return r;
}
