/* bench_peak.c - what the processor can do at most: multiply-adds in registers, f32 and int8, and reading of memory;
 * the roof under which runtimes are compared. One thread on each processor that is taken. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "libnpu/plan.h"
#include "models/tool/bench.h"

enum { ROUNDS = 2000, CHAINS = 10 };
enum { SERVED_STEPS = 500 }; /* of a served run: one to two milliseconds */
#define READ_BYTES ((size_t)64 << 20)

/* Each does ROUNDS steps of CHAINS independent multiply-adds and says how many operations that were. */
typedef double peak_fn(void);
struct kernels {
    const char *how;
    peak_fn *f32, *int8, *product;
};

/* A product of matrices in blocks of 6 x 16 results, whose second factor does not fit into the first cache: it slows
 * down with whatever a neighbour on the core's other half takes - units, loads, caches -, as networks do. */
enum { PRODUCT_K = 256, PRODUCT_BLOCKS = 6, PRODUCT_ROWS = 6 };
typedef float f32x8 __attribute__((vector_size(32)));
static float product_a[PRODUCT_K * PRODUCT_ROWS];
static f32x8 product_b[PRODUCT_BLOCKS * PRODUCT_K * 2];

static inline __attribute__((always_inline)) double product_of_blocks(void)
{
    for (const f32x8 *b = product_b; b < product_b + PRODUCT_BLOCKS * PRODUCT_K * 2; b += (ptrdiff_t)PRODUCT_K * 2) {
        f32x8 sum[PRODUCT_ROWS][2] = {0};

        for (ptrdiff_t k = 0; k < PRODUCT_K; k++)
            for (ptrdiff_t i = 0; i < PRODUCT_ROWS; i++) {
                sum[i][0] += product_a[k * PRODUCT_ROWS + i] * b[2 * k];
                sum[i][1] += product_a[k * PRODUCT_ROWS + i] * b[2 * k + 1];
            }
        __asm__ volatile("" : : "m"(sum));
    }
    return 2.0 * 16 * PRODUCT_ROWS * PRODUCT_K * PRODUCT_BLOCKS;
}

static double product_plain(void)
{
    return product_of_blocks();
}

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

__attribute__((target("avx2,fma"))) static double product_avx2(void)
{
    return product_of_blocks();
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
                                f32_avx512, __builtin_cpu_supports("avx512vnni") ? int8_vnni : int8_avx2, product_avx2};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (struct kernels){"AVX2 FMA, int8 by vpmaddwd", f32_avx2, int8_avx2, product_avx2};
#endif
    return (struct kernels){"plain C", f32_plain, int8_plain, product_plain};
}

/* ---- all processors at once ---- */
struct worker {
    pthread_t thread;
    int cpu;
    peak_fn *fn; /* NULL: reads memory */
    const uint64_t *data;
    int64_t until_ns; /* 0: SERVED_STEPS steps */
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

/* So that no two threads begin on the same processor. It may be gone by now; the thread then runs anywhere. */
static void take_cpu(int cpu)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    double done = 0;
    int64_t start, now;

    take_cpu(w->cpu);
    pthread_barrier_wait(w->begin);
    start = now = npu_now_ns();
    for (int i = 0; w->until_ns ? now - start < w->until_ns : i < SERVED_STEPS; i++) {
        done += w->fn ? w->fn() : read_all(w->data);
        now = npu_now_ns();
    }
    w->rate = done / (1e-9 * (double)(now - start));
    return NULL;
}

/* One thread on each of the processors, for so many nanoseconds or, 0, SERVED_STEPS steps. */
static int rate_of(const cpu_set_t *cpus, int64_t until_ns, peak_fn *fn, const uint64_t *data, double *ret_rate)
{
    const int threads = CPU_COUNT(cpus);
    struct worker *w = calloc((size_t)threads + 1, sizeof *w);
    pthread_barrier_t begin;
    double sum = 0;
    int cpu = -1, r = !w ? ENOMEM : pthread_barrier_init(&begin, NULL, (unsigned)threads); /* EINVAL: no processor */

    if (r || threads < 1) {
        free(w);
        return bench_fail("--peak: %s", strerror(r));
    }
    for (int i = 0; i < threads; i++) {
        do
            cpu++;
        while (!CPU_ISSET(cpu, cpus));
        w[i] = (struct worker){.cpu = cpu, .fn = fn, .data = data, .until_ns = until_ns, .begin = &begin};
    }
    for (int i = 1; i < threads; i++)
        if ((r = pthread_create(&w[i].thread, NULL, work, &w[i])) != 0) {
            bench_fail("--peak: %s", strerror(r)); /* the others wait at the barrier */
            exit(1);
        }
    work(&w[0]);
    for (int i = 0; i < threads; i++) {
        if (i > 0)
            pthread_join(w[i].thread, NULL);
        sum += w[i].rate;
    }
    pthread_barrier_destroy(&begin);
    free(w);
    *ret_rate = sum;
    return 0;
}

int bench_peak_measure(double seconds, struct bench_peak *ret_peak)
{
    const struct kernels k = choose();
    const int64_t each_ns = (int64_t)(1e9 / 3 * seconds) + 1;
    struct bench_peak p = {.how = k.how};
    uint64_t *data = malloc(READ_BYTES);
    cpu_set_t cpus;
    int r;

    if (!data || sched_getaffinity(0, sizeof cpus, &cpus) < 0) {
        free(data);
        return bench_fail("--peak: %s", strerror(errno));
    }
    memset(data, 1, READ_BYTES);
    r = rate_of(&cpus, each_ns, k.f32, NULL, &p.f32_gflops);
    if (r == 0)
        r = rate_of(&cpus, each_ns, k.int8, NULL, &p.int8_gops);
    if (r == 0)
        r = rate_of(&cpus, each_ns, NULL, data, &p.read_gbps);
    free(data);
    p.f32_gflops *= 1e-9;
    p.int8_gops *= 1e-9;
    p.read_gbps *= 1e-9;
    if (r == 0)
        *ret_peak = p;
    return r;
}

static int run_steps(void *cpus)
{
    double rate;

    return rate_of(cpus, 0, choose().product, NULL, &rate);
}

int bench_peak_serve(void)
{
    cpu_set_t cpus;

    if (sched_getaffinity(0, sizeof cpus, &cpus) < 0)
        return bench_fail("--peak: %s", strerror(errno));
    memset(product_a, 1, sizeof product_a);
    memset(product_b, 1, sizeof product_b);
    printf("{\"threads\": %d}\n", CPU_COUNT(&cpus));
    return bench_serve_runs(run_steps, &cpus);
}
