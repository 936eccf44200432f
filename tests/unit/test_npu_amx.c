/* test_npu_amx.c - the tier amx-bf16: its tile emulation, its kernels over that emulation, the refusal of a broken
 * tier, and the hardware where this machine has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define NPU_AMX_EMULATED
#include "libnpu/dev/cpu.h"
#include "libnpu/tier/amx.h"
#include "libnpu/tier/amx_tile.h"

static uint16_t bf16_of(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    return (uint16_t)(u >> 16);
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
    amx_config();
    amx_load(1, c, 64);
    amx_load(4, a, 64);
    amx_load(6, b, 64);
    amx_dp(1, 4, 6);
    amx_store(1, c, 64);
    assert_true(c[3][7] == 320.5f);
    assert_true(c[15][15] == 4.0f);
    assert_true(c[7][3] == 0.0f);
    amx_release();
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
    amx_config();
    amx_load(0, c, 64);
    amx_load(4, a, 64);
    amx_load(6, b, 64);
    amx_dp(0, 4, 6);
    amx_store(0, c, 64);
    assert_true(c[0][0] == 0.0f);
    assert_true(c[1][1] == 0.0f);
    assert_true(c[2][0] == 0.0f);
    amx_release();
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

static void test_kernels(void **state)
{
    assert_int_equal(npu_amx_self_test(&npu_amx_emulated), 0);
}

/* A tier whose kernel leaves something out must not pass. */
static void half_gather(const struct npu_native_call *c, int part, int n_parts)
{
    if (part != 1)
        npu_amx_emulated.gather(c, part, n_parts);
}
static void no_wgrad(const struct npu_native_call *c, int part, int n_parts) {}

static void test_broken_is_refused(void **state)
{
    struct npu_amx_kernels k = npu_amx_emulated;

    k.gather = half_gather;
    assert_int_equal(npu_amx_self_test(&k), -EIO);
    k = npu_amx_emulated;
    k.wgrad = no_wgrad;
    assert_int_equal(npu_amx_self_test(&k), -EIO);
}

/* Where there is no AMX the tier is not offered, whatever the build has. */
static void test_choice(void **state)
{
    struct npu_traits t = {.kind = NPU_KIND_CPU, .compute_units = 2, .vec_f32 = 8};

    unsetenv("NPU_AMX_EMULATE");
    assert_null(npu_amx_for(&t));
    t.native = true;
    assert_null(npu_amx_for(&t));
    t.cpu = NPU_CPU_AMX_BF16; /* but no AVX-512 */
    assert_null(npu_amx_for(&t));
    setenv("NPU_AMX_EMULATE", "1", 1);
    assert_ptr_equal(npu_amx_for(&t), &npu_amx_emulated);
    unsetenv("NPU_AMX_EMULATE");
}

static void test_hardware(void **state)
{
    if (!npu_amx_usable(npu_cpu_features())) {
        print_message("# SKIP no usable AMX on this machine\n");
        return;
    }
    assert_int_equal(npu_amx_self_test(npu_amx_hardware()), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),    cmocka_unit_test(test_denormals_are_zero), cmocka_unit_test(test_strided_rows),
        cmocka_unit_test(test_kernels),  cmocka_unit_test(test_broken_is_refused),  cmocka_unit_test(test_choice),
        cmocka_unit_test(test_hardware),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
