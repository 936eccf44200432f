/* cpu.c - vector and matrix units of the host's processor: CPUID, the kernel's permission, and a numeric trial of AMX
 * tiles and dot products in a child process, since an instruction that is advertised may still fault (virtual
 * machines).
 */
#include "libnpu/dev/cpu.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "libnpu/discover.h"
#include "libnpu/op.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static unsigned features, advertised, left_out;

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libnpu/dtype.h"

#define ARCH_REQ_XCOMP_PERM_ 0x1023
#define XFEATURE_XTILEDATA_  18

/* Tile configuration, palette 1 (Intel SDM volume 1, 18.2). */
struct tile_config {
    uint8_t palette, start_row, zero[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static void full_tiles(struct tile_config *c)
{
    memset(c, 0, sizeof *c);
    c->palette = 1;
    for (int i = 0; i < 3; i++) {
        c->row_bytes[i] = 64;
        c->rows[i] = 16;
    }
}

__attribute__((target("amx-tile,amx-bf16"))) static bool amx_bf16_works(void)
{
    _Alignas(64) struct tile_config config;
    _Alignas(64) uint16_t a[16][32], b[16][16][2];
    _Alignas(64) float c[16][16];

    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 32; k++) {
            a[i][k] = npu_f32_to_bf16((float)(i * 3 - k));
            b[k / 2][i][k % 2] = npu_f32_to_bf16((float)(k - 2 * i)); /* B[k][n = i] */
        }
    full_tiles(&config);
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_loadd(1, a, 64);
    _tile_loadd(2, b, 64);
    _tile_dpbf16ps(0, 1, 2);
    _tile_stored(0, c, 64);
    _tile_release();
    for (int i = 0; i < 16; i++)
        for (int n = 0; n < 16; n++) {
            float sum = 0;

            for (int k = 0; k < 32; k++)
                sum += (float)((i * 3 - k) * (k - 2 * n)); /* whole numbers: exact */
            if (c[i][n] != sum)
                return false;
        }
    return true;
}

__attribute__((target("amx-tile,amx-int8"))) static bool amx_int8_works(void)
{
    _Alignas(64) struct tile_config config;
    _Alignas(64) int8_t a[16][64], b[16][16][4];
    _Alignas(64) int32_t c[16][16];

    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 64; k++) {
            a[i][k] = (int8_t)(i * 7 - k);
            b[k / 4][i][k % 4] = (int8_t)(k - 5 * i);
        }
    full_tiles(&config);
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_loadd(1, a, 64);
    _tile_loadd(2, b, 64);
    _tile_dpbssd(0, 1, 2);
    _tile_stored(0, c, 64);
    _tile_release();
    for (int i = 0; i < 16; i++)
        for (int n = 0; n < 16; n++) {
            int32_t sum = 0;

            for (int k = 0; k < 64; k++)
                sum += (int8_t)(i * 7 - k) * (int8_t)(k - 5 * n);
            if (c[i][n] != sum)
                return false;
        }
    return true;
}

/* Operands and results of VPDPBUSD: c += the four products of unsigned and signed bytes. */
struct dot_trial {
    uint8_t a[64];
    int8_t b[64];
    int32_t c[16];
};

static void dot_operands(struct dot_trial *t)
{
    for (int i = 0; i < 64; i++) {
        t->a[i] = (uint8_t)(255 - 3 * i);
        t->b[i] = (int8_t)(i * 11 - 128);
    }
    for (int i = 0; i < 16; i++)
        t->c[i] = i * 1000 - 7;
}

static bool dot_agrees(const struct dot_trial *t, int lanes)
{
    for (int i = 0; i < lanes; i++) {
        int32_t sum = i * 1000 - 7;

        for (int k = 4 * i; k < 4 * i + 4; k++)
            sum += t->a[k] * t->b[k];
        if (t->c[i] != sum)
            return false;
    }
    return true;
}

__attribute__((target("avx512f,avx512vnni"))) static bool avx512_vnni_works(void)
{
    struct dot_trial t;

    dot_operands(&t);
    _mm512_storeu_si512(t.c,
                        _mm512_dpbusd_epi32(_mm512_loadu_si512(t.c), _mm512_loadu_si512(t.a), _mm512_loadu_si512(t.b)));
    return dot_agrees(&t, 16);
}

__attribute__((target("avx2,avxvnni"))) static bool avx_vnni_works(void)
{
    struct dot_trial t;

    dot_operands(&t);
    _mm256_storeu_si256((__m256i *)(void *)t.c,
                        _mm256_dpbusd_avx_epi32(_mm256_loadu_si256((const __m256i *)(const void *)t.c),
                                                _mm256_loadu_si256((const __m256i *)(const void *)t.a),
                                                _mm256_loadu_si256((const __m256i *)(const void *)t.b)));
    return dot_agrees(&t, 8);
}

/* c += the two products of pairs of bf16. */
__attribute__((target("avx512f,avx512bf16"))) static bool avx512_bf16_works(void)
{
    uint16_t a[32], b[32];
    float c[16];

    for (int i = 0; i < 32; i++) {
        a[i] = npu_f32_to_bf16((float)(i * 5 - 70));
        b[i] = npu_f32_to_bf16((float)(90 - i * 7));
        c[i / 2] = (float)(i / 2 * 1000 - 7);
    }
    _mm512_storeu_ps(
        c, _mm512_dpbf16_ps(_mm512_loadu_ps(c), (__m512bh)_mm512_loadu_si512(a), (__m512bh)_mm512_loadu_si512(b)));
    for (int i = 0; i < 16; i++) {
        int sum = i * 1000 - 7;

        for (int k = 2 * i; k < 2 * i + 2; k++)
            sum += (k * 5 - 70) * (90 - k * 7);
        if (c[i] != (float)sum) /* whole numbers: exact */
            return false;
    }
    return true;
}

static bool ask_for_tiles(void)
{
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM_, XFEATURE_XTILEDATA_) == 0;
}

static void test_bf16(void *answer)
{
    *(int *)answer = ask_for_tiles() && amx_bf16_works();
}

static void test_int8(void *answer)
{
    *(int *)answer = ask_for_tiles() && amx_int8_works();
}

static void test_avx512_vnni(void *answer)
{
    *(int *)answer = avx512_vnni_works();
}

static void test_avx512_bf16(void *answer)
{
    *(int *)answer = avx512_bf16_works();
}

static void test_avx_vnni(void *answer)
{
    *(int *)answer = avx_vnni_works();
}

static bool passes(npu_probe_fn *f)
{
    int works = 0, sig;

    return npu_probe(f, &works, sizeof works, 2000, &sig) == 0 && works == 1;
}

/* What CPUID lists and the system saves and restores, as far as that can be seen without a trial. */
static unsigned list_units(void)
{
    unsigned a, b, c, d, found = 0;

    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        found |= NPU_CPU_AVX2_FMA;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        found |= NPU_CPU_AVX512;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
        if ((found & NPU_CPU_AVX512) && (a & (1u << 5)))
            found |= NPU_CPU_AVX512_BF16;
        if ((found & NPU_CPU_AVX2_FMA) && (a & (1u << 4)))
            found |= NPU_CPU_AVX_VNNI;
    }
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        if ((found & NPU_CPU_AVX512) && (c & (1u << 11)))
            found |= NPU_CPU_AVX512_VNNI;
        if ((d & (1u << 24)) && (d & (1u << 22))) /* AMX-TILE */
            found |= NPU_CPU_AMX_BF16;
        if ((d & (1u << 24)) && (d & (1u << 25)))
            found |= NPU_CPU_AMX_INT8;
    }
    return found;
}

static void detect(void)
{
    static const struct {
        unsigned bit;
        npu_probe_fn *test;
    } trials[] = {{NPU_CPU_AVX512_VNNI, test_avx512_vnni},
                  {NPU_CPU_AVX512_BF16, test_avx512_bf16},
                  {NPU_CPU_AVX_VNNI, test_avx_vnni},
                  {NPU_CPU_AMX_BF16, test_bf16},
                  {NPU_CPU_AMX_INT8, test_int8}};
    const unsigned tiles = NPU_CPU_AMX_BF16 | NPU_CPU_AMX_INT8;

    features = advertised = list_units();
    for (size_t i = 0; i < sizeof trials / sizeof trials[0]; i++)
        if ((features & trials[i].bit) && !passes(trials[i].test))
            features &= ~trials[i].bit;
    if ((features & tiles) && !ask_for_tiles()) /* for all threads of this process */
        features &= ~tiles;
}

#else

static void detect(void) {}

#endif

/* NPU_CPU: the only units to take, by name. */
static unsigned not_named(const char *names)
{
    static const struct {
        const char *name;
        unsigned bit;
    } units[] = {{"avx2", NPU_CPU_AVX2_FMA},           {"avx512", NPU_CPU_AVX512},
                 {"avx512-bf16", NPU_CPU_AVX512_BF16}, {"avx512-vnni", NPU_CPU_AVX512_VNNI},
                 {"avx-vnni", NPU_CPU_AVX_VNNI},       {"amx-bf16", NPU_CPU_AMX_BF16},
                 {"amx-int8", NPU_CPU_AMX_INT8}};
    unsigned named = 0;

    while (names && *names) {
        const size_t n = strcspn(names, ", ");

        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
            if (strlen(units[i].name) == n && strncmp(units[i].name, names, n) == 0)
                named |= units[i].bit;
        names += n;
        names += strspn(names, ", ");
    }
    return names ? ~named : 0;
}

static void find(void)
{
    detect();
    left_out = not_named(getenv("NPU_CPU"));
    features &= ~left_out;
}

unsigned npu_cpu_advertised(void)
{
    pthread_once(&once, find);
    return advertised;
}

unsigned npu_cpu_left_out(void)
{
    pthread_once(&once, find);
    return left_out;
}

unsigned npu_cpu_features(void)
{
    pthread_once(&once, find);
    return features;
}
