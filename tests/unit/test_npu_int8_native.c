/* test_npu_int8_native.c - the native int8 tiers: the emulated units, the kernels over them, the refusal of broken
 * ones, and the hardware where this machine has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define NPU_AMX_EMULATED
#include "libnpu/dev/cpu.h"
#include "libnpu/tier/amx_tile.h"
#include "libnpu/tier/int8_native.h"

/* One product of four: c[m][n] += SUM a[m][4k + i] b[k][4n + i]. */
static void test_tile_products(void **state)
{
    int8_t a[16][64] = {{0}}, b[16][64] = {{0}};
    int32_t c[16][16] = {{0}};

    a[3][4 * 5] = -128;
    a[3][4 * 5 + 3] = 7;
    b[5][4 * 2] = -128;
    b[5][4 * 2 + 3] = -100;
    c[3][2] = 5;
    c[15][15] = INT32_MAX;
    a[15][0] = b[0][60] = 1;
    amx_config();
    amx_load(1, c, 64);
    amx_load(4, a, 64);
    amx_load(6, b, 64);
    amx_dp_i8(1, 4, 6);
    amx_store(1, c, 64);
    amx_release();
    assert_int_equal(c[3][2], 5 + 16384 - 700);
    assert_int_equal(c[15][15], INT32_MIN); /* modulo 2^32 */
    assert_int_equal(c[2][3], 0);
}

static void test_kernels(void **state)
{
    const struct npu_int8_kernels *const all[] = {&npu_int8_amx_emulated, &npu_vnni512_emulated, &npu_vnni256_emulated,
                                                  &npu_int8_avx2_emulated};
    char why[96] = "";

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (npu_int8_self_test(all[i], why, sizeof why) < 0)
            print_message("# %s: %s\n", all[i]->tier, why);
        assert_string_equal(why, "");
    }
}

/* Kernels that leave something out, do too much, or are off by one once must not pass. */
static void half(const struct npu_native_call *c, int part, int n_parts)
{
    if (part != 1)
        npu_int8_avx2_emulated.conv(c, part, n_parts);
}

static int64_t result_bytes(const struct npu_native_call *c)
{
    struct npu_int8_conv g = {0};
    int32_t *to = &g.n;

    for (size_t i = 0; i < sizeof g / sizeof *to; i++)
        to[i] = c->arg[9 + i].i;
    return (int64_t)g.n * g.oh * g.ow * g.cout * (((const struct npu_qconv_attr *)c->attr)->out_int8 ? 1 : 4);
}

static void beyond(const struct npu_native_call *c, int part, int n_parts)
{
    npu_int8_avx2_emulated.conv(c, part, n_parts);
    ((char *)c->p[7])[result_bytes(c)] = 0;
}

static void off_by_one(const struct npu_native_call *c, int part, int n_parts)
{
    npu_int8_avx2_emulated.conv(c, part, n_parts);
    if (part == n_parts - 1)
        ((char *)c->p[7])[result_bytes(c) - 1] ^= 1;
}

static void test_broken_is_refused(void **state)
{
    npu_native_fn *const wrong[] = {half, beyond, off_by_one};
    struct npu_int8_kernels k = npu_int8_avx2_emulated;
    char why[96] = "";

    assert_int_equal(npu_int8_self_test(&k, why, sizeof why), 0);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        k.conv = wrong[i];
        assert_int_equal(npu_int8_self_test(&k, why, sizeof why), -EIO);
        assert_non_null(strstr(why, "results are wrong"));
    }
}

/* Tiers that are not there are not offered, and say why. */
static void test_choice(void **state)
{
    struct npu_traits t = {.kind = NPU_KIND_CPU, .compute_units = 2, .vec_f32 = 8};
    const struct npu_int8_kernels *k;
    char why[96];

    unsetenv("NPU_AMX_EMULATE");
    unsetenv("NPU_VNNI_EMULATE");
    for (int i = 0; (k = npu_int8_kernels(i)); i++) {
        t.native = false;
        assert_false(npu_int8_usable(k, &t, why, sizeof why));
        assert_string_equal(why, "native kernels do not run here");
        t.native = true;
        assert_false(npu_int8_usable(k, &t, why, sizeof why));
        assert_string_equal(why, k->need ? "the processor does not have it, or it failed a trial" : "for tests");
    }
    setenv("NPU_VNNI_EMULATE", "1", 1);
    assert_true(npu_int8_usable(&npu_vnni512_emulated, &t, NULL, 0));
    assert_true(npu_int8_usable(&npu_vnni256_emulated, &t, NULL, 0));
    assert_false(npu_int8_usable(&npu_int8_amx_emulated, &t, NULL, 0));
    unsetenv("NPU_VNNI_EMULATE");
}

static void test_hardware(void **state)
{
    const struct npu_traits t = {.kind = NPU_KIND_CPU, .native = true, .cpu = npu_cpu_features()};
    const struct npu_int8_kernels *k;
    int n = 0;

    for (int i = 0; (k = npu_int8_kernels(i)); i++)
        if (k->need && (t.cpu & k->need) == k->need) {
            assert_true(npu_int8_usable(k, &t, NULL, 0));
            n++;
        }
    if (n == 0)
        print_message("# SKIP this machine has neither AMX, VNNI nor AVX2\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tile_products), cmocka_unit_test(test_kernels),  cmocka_unit_test(test_broken_is_refused),
        cmocka_unit_test(test_choice),        cmocka_unit_test(test_hardware),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
