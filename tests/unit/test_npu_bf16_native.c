/* test_npu_bf16_native.c - the tiers amx-bf16 and avx512-bf16: their emulated units, their kernels over those, the
 * refusal of a broken tier, and the hardware where this machine has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define NPU_AMX_EMULATED
#define NPU_DOT_EMULATED
#include "libnpu/dev/cpu.h"
#include "libnpu/tier/amx_tile.h"
#include "libnpu/tier/bf16_dot_tile.h"

static uint16_t bf16_of(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    return (uint16_t)(u >> 16);
}

/* c += a b on the emulated tiles. */
static void tile_product(uint16_t a[16][32], uint16_t b[16][32], float c[16][16])
{
    amx_config();
    amx_load(1, c, 64);
    amx_load(4, a, 64);
    amx_load(6, b, 64);
    amx_dp(1, 4, 6);
    amx_store(1, c, 64);
    amx_release();
}

/* One product of pairs: c[m][n] += a[m][2k] b[k][2n] + a[m][2k+1] b[k][2n+1]. */
static void test_pairs(void **state)
{
    uint16_t a[16][32] = {{0}}, b[16][32] = {{0}};
    float c[16][16] = {{0}};

    a[3][2 * 5] = bf16_of(2.0f);
    a[3][2 * 5 + 1] = bf16_of(3.0f);
    b[5][2 * 7] = bf16_of(10.0f);
    b[5][2 * 7 + 1] = bf16_of(100.0f);
    c[3][7] = 0.5f;
    c[15][15] = 4.0f;
    tile_product(a, b, c);
    assert_true(c[3][7] == 320.5f);
    assert_true(c[15][15] == 4.0f);
    assert_true(c[7][3] == 0.0f);
}

static void test_denormals_are_zero(void **state)
{
    uint16_t a[16][32] = {{0}}, b[16][32] = {{0}};
    float c[16][16] = {{0}};

    a[0][0] = 0x0040; /* a denormal bf16 */
    b[0][0] = bf16_of(0x1p127f);
    a[1][0] = bf16_of(0x1p-100f); /* a product below the smallest normal number */
    b[0][2] = bf16_of(0x1p-40f);
    c[2][0] = 0x1p-140f; /* a denormal accumulator */
    tile_product(a, b, c);
    assert_true(c[0][0] == 0.0f);
    assert_true(c[1][1] == 0.0f);
    assert_true(c[2][0] == 0.0f);
}

static void test_strided_rows(void **state)
{
    uint32_t from[16][40], to[16][33];

    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 40; j++)
            from[i][j] = (uint32_t)(i * 100 + j);
    memset(to, 0, sizeof to);
    amx_config();
    amx_load(2, &from[0][3], sizeof from[0]);
    amx_store(2, &to[0][1], sizeof to[0]);
    for (int i = 0; i < 16; i++) {
        assert_int_equal(to[i][0], 0);
        assert_int_equal(to[i][1], i * 100 + 3);
        assert_int_equal(to[i][16], i * 100 + 18);
        assert_int_equal(to[i][17], 0);
    }
    amx_release();
}

/* ---- the dot product of pairs ---- */
static float f32_of(uint32_t bits)
{
    float f;

    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t bits_of(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    return u;
}

/* What the manual says, by the C library's fma. */
static float flushed(float f)
{
    return fpclassify(f) == FP_SUBNORMAL ? copysignf(0.0f, f) : f;
}
static float fma_flushed(float a, float b, float c)
{
    return flushed(fmaf(flushed(a), flushed(b), flushed(c)));
}
static float pair_sum(float c, uint32_t a, uint32_t b)
{
    const float high = fma_flushed(f32_of(a & 0xffff0000u), f32_of(b & 0xffff0000u), c);

    return fma_flushed(f32_of(a << 16), f32_of(b << 16), high);
}

static void expect_pair(float c, uint32_t a, uint32_t b)
{
    dot_sums sums;
    dot_terms x, y;
    float want = pair_sum(c, a, b), got;

    for (int i = 0; i < DOT_LANES; i++) {
        sums.lane[i] = c;
        x.pair[i] = a;
        y.pair[i] = b;
    }
    got = dot_add(sums, y, x).lane[11];
    if (isnan(want) ? !isnan(got) : bits_of(got) != bits_of(want))
        fail_msg("%a + %08x . %08x: %a, not %a", (double)c, a, b, (double)got, (double)want);
}

/* Bits at random: all exponents, zeros, infinities, NaN, denormals; and exponents near each other, where sums round. */
static void test_dot_rounds_as_fma(void **state)
{
    uint32_t seed = 7, v[4];

    for (int n = 0; n < 400000; n++) {
        for (int i = 0; i < 4; i++) {
            seed = seed * 1664525u + 1013904223u;
            v[i] = seed >> 16;
        }
        v[0] = v[0] << 16 | v[3];
        v[1] = v[1] << 16 | (v[2] * 40503u >> 8 & 0xffffu);
        v[2] = v[2] << 16 | (v[3] * 40503u >> 8 & 0xffffu);
        if (n & 1) { /* exponents of 2^-8 to 2^7 */
            v[0] = (v[0] & 0x87ffffffu) | 0x3c000000u;
            v[1] = (v[1] & 0x87ff87ffu) | 0x3c003c00u;
            v[2] = (v[2] & 0x87ff87ffu) | 0x3c003c00u;
        }
        expect_pair(f32_of(v[0]), v[1], v[2]);
    }
}

/* The terms in the upper halves come first, and each product is added by itself: 2^24 + 1 rounds to 2^24, and again. */
static void test_dot_order(void **state)
{
    const uint32_t one = 0x3f80u, huge = 0x4b80u /* 2^24 */;
    dot_sums c = dot_zero();
    dot_terms x = {{0}}, y = {{0}};

    x.pair[0] = one | one << 16;
    y.pair[0] = one | one << 16;
    c.lane[0] = 0x1p24f;
    x.pair[1] = one | huge << 16; /* 2^24 first, which takes the one that comes then */
    y.pair[1] = one | one << 16;
    c.lane[1] = -0x1p24f;
    x.pair[2] = huge | one << 16; /* the one first, which is lost */
    y.pair[2] = one | one << 16;
    c.lane[2] = -0x1p24f;
    x.pair[3] = 0x3f81u | 0x3f81u << 16; /* 1.0078125 squared has 15 bits: kept by the fused sum */
    y.pair[3] = 0x3f81u;
    c.lane[3] = -1.0f;
    c = dot_add(c, y, x);
    assert_true(c.lane[0] == 0x1p24f);
    assert_true(c.lane[1] == 1.0f);
    assert_true(c.lane[2] == 1.0f);
    assert_true(c.lane[3] == 0x1.02p0f * 0x1.02p0f - 1.0f);
}

static void test_dot_denormals_are_zero(void **state)
{
    static const uint32_t smallest = 0x0080u; /* 2^-126 */

    expect_pair(0x1p-140f, 0, 0);
    expect_pair(-0x1p-140f, 0, 0x3f80u);
    expect_pair(0.0f, 0x0040u, 0x7f00u);       /* a denormal bf16 */
    expect_pair(0.0f, smallest, 0x3f00u);      /* 2^-127 */
    expect_pair(0.0f, smallest, 0xbf7fu);      /* just below -2^-126 */
    expect_pair(0x1p-126f, smallest, 0xbf7fu); /* the difference of two normal numbers */
    expect_pair(0x1p-125f, 0x0080u << 16, 0xbf00u << 16);
}

/* Below 2^-126, numbers of 24 bits are 2^-150 apart: what is nearer than that to 2^-126 rounds to it and is no
 * denormal, though between denormals, which are 2^-149 apart, 2^-126 - 2^-150 would be half-way. */
static void test_dot_tiny_after_rounding(void **state)
{
    assert_true(dot_fma(-0x1p-76f, 0x1p-76f, 0x1p-126f) == 0x1p-126f);
    assert_true(dot_fma(-0x1p-76f, 0x1p-75f, 0x1p-126f) == 0x1p-126f); /* half-way, to even */
    assert_true(bits_of(dot_fma(-0x1p-75f, 0x1p-75f, 0x1p-126f)) == 0);
    assert_true(bits_of(dot_fma(0x1p-75f, 0x1p-75f, -0x1p-126f)) == 0x80000000u);
}

/* ---- kernels ---- */
static void test_kernels(void **state)
{
    assert_int_equal(npu_bf16_self_test(&npu_bf16_amx_emulated), 0);
    assert_int_equal(npu_bf16_self_test(&npu_bf16_dot_emulated), 0);
}

/* A tier whose kernel leaves something out must not pass. */
static const struct npu_bf16_kernels *whole;
static void half_gather(const struct npu_native_call *c, int part, int n_parts)
{
    if (part != 1)
        whole->gather(c, part, n_parts);
}
static void no_wgrad(const struct npu_native_call *c, int part, int n_parts) {}

static void expect_refusal(const struct npu_bf16_kernels *of)
{
    struct npu_bf16_kernels k = *of;

    whole = of;
    k.gather = half_gather;
    assert_int_equal(npu_bf16_self_test(&k), -EIO);
    k = *of;
    k.wgrad = no_wgrad;
    assert_int_equal(npu_bf16_self_test(&k), -EIO);
    k = *of;
    k.pack = no_wgrad; /* no weights */
    assert_int_equal(npu_bf16_self_test(&k), -EIO);
}

static void test_broken_is_refused(void **state)
{
    expect_refusal(&npu_bf16_amx_emulated);
    expect_refusal(&npu_bf16_dot_emulated);
}

/* ---- choice ---- */
static int count_usable(const struct npu_traits *t, const struct npu_bf16_kernels **ret_last)
{
    const struct npu_bf16_kernels *k;
    int n = 0;

    for (int i = 0; (k = npu_bf16_kernels(i)); i++)
        if (npu_bf16_usable(k, t)) {
            *ret_last = k;
            n++;
        }
    return n;
}

/* Where there is no unit its tier is not offered, whatever the build has. */
static void test_choice(void **state)
{
    struct npu_traits t = {.kind = NPU_KIND_CPU, .compute_units = 2, .vec_f32 = 8};
    const struct npu_bf16_kernels *k = NULL;

    unsetenv("NPU_AMX_EMULATE");
    unsetenv("NPU_BF16_EMULATE");
    setenv("NPU_BF16_EMULATE", "1", 1);
    assert_int_equal(count_usable(&t, &k), 0); /* no native launches */
    t.native = true;
    assert_int_equal(count_usable(&t, &k), 1);
    assert_ptr_equal(k, &npu_bf16_dot_emulated);
    setenv("NPU_BF16_EMULATE", "0", 1);
    assert_int_equal(count_usable(&t, &k), 0);
    t.cpu = NPU_CPU_AMX_BF16 | NPU_CPU_AVX512_BF16; /* but no AVX-512 */
    assert_int_equal(count_usable(&t, &k), 0);
    setenv("NPU_AMX_EMULATE", "1", 1);
    assert_int_equal(count_usable(&t, &k), 1);
    assert_ptr_equal(k, &npu_bf16_amx_emulated);
    unsetenv("NPU_AMX_EMULATE");
    unsetenv("NPU_BF16_EMULATE");
}

/* ---- hardware ---- */
static void test_hardware(void **state)
{
    const struct npu_traits t = {.kind = NPU_KIND_CPU, .native = true, .cpu = npu_cpu_features()};
    const struct npu_bf16_kernels *k;
    bool any = false;

    for (int i = 0; (k = npu_bf16_kernels(i)); i++)
        if (k->need && (t.cpu & k->need) == k->need) {
            any = true;
            assert_int_equal(npu_bf16_self_test(k), 0);
            assert_true(npu_bf16_usable(k, &t));
        }
    if (!any)
        print_message("# SKIP no bf16 unit on this machine\n");
}

static void fill(uint16_t *v, int n, uint32_t *seed)
{
    for (int i = 0; i < n; i++) { /* 2^-31 to 2^32, all signs */
        *seed = *seed * 1664525u + 1013904223u;
        v[i] = (uint16_t)((*seed >> 16 & 0x8fffu) | (*seed >> 7 & 1u ? 0x4000u : 0x3000u));
    }
}

/* y = x w of 13 x 70 by 70 x 40 numbers of many sizes, one work-item. */
static void product(const struct npu_bf16_kernels *k, float *ret_y)
{
    enum { M = 13, K = 70, N = 40 };
    static uint16_t x[M * K], w[K * N];
    const struct npu_bf16_gather g = {.n = 1,
                                      .src_h = 1,
                                      .src_w = M,
                                      .src_c = K,
                                      .dst_h = 1,
                                      .dst_w = M,
                                      .dst_c = N,
                                      .kh = 1,
                                      .kw = 1,
                                      .stride = 1,
                                      .depth = K,
                                      .cn = N,
                                      .groups = 1,
                                      .w_d = N,
                                      .w_n = 1,
                                      .kpad = 96,
                                      .npad = 64,
                                      .mb = 32,
                                      .slices = 1,
                                      .parts = 1};
    void *packed = calloc(1, npu_bf16_gather_packed(&g)), *scratch = calloc(1, npu_bf16_gather_scratch(&g));
    struct npu_arg arg[NPU_MAX_ARGS] = {{0}};
    int32_t field[sizeof g / 4];
    uint32_t seed = 3;

    assert_non_null(packed);
    assert_non_null(scratch);
    memcpy(field, &g, sizeof field);
    fill(x, M * K, &seed);
    fill(w, K * N, &seed);
    for (size_t i = 0; i < sizeof field / sizeof field[0]; i++)
        arg[2 + i].i = field[i];
    k->pack(&(struct npu_native_call){.arg = arg, .p = (void *[]){w, packed}}, 0, 1);
    for (size_t i = 0; i < sizeof field / sizeof field[0]; i++)
        arg[6 + i].i = field[i];
    arg[6 + sizeof field / sizeof field[0]].f = 1.0f;
    k->gather(&(struct npu_native_call){.arg = arg, .p = (void *[]){x, packed, NULL, NULL, ret_y, scratch}}, 0, 1);
    free(packed);
    free(scratch);
}

/* The emulation is the instruction, bit by bit. */
static void test_hardware_is_as_emulated(void **state)
{
    const struct npu_bf16_kernels *k = npu_bf16_dot_hardware();
    static float hard[13 * 40], soft[13 * 40];

    product(&npu_bf16_dot_emulated, soft);
    assert_true(soft[0] != 0.0f && soft[13 * 40 - 1] != 0.0f);
    if (!k || (npu_cpu_features() & k->need) != k->need) {
        print_message("# SKIP no AVX-512 BF16 on this machine\n");
        return;
    }
    product(k, hard);
    assert_memory_equal(hard, soft, sizeof hard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_denormals_are_zero),
        cmocka_unit_test(test_strided_rows),
        cmocka_unit_test(test_dot_rounds_as_fma),
        cmocka_unit_test(test_dot_order),
        cmocka_unit_test(test_dot_denormals_are_zero),
        cmocka_unit_test(test_dot_tiny_after_rounding),
        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_broken_is_refused),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_hardware),
        cmocka_unit_test(test_hardware_is_as_emulated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
