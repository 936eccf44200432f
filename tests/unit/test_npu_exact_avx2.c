/* test_npu_exact_avx2.c - the tier exact-avx2: its self-test passes where the processor has AVX2, and refuses kernels
 * that leave something out, do too much, or are off by one bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libnpu/dev/cpu.h"
#include "libnpu/tier/exact_avx2.h"

enum { MOST_PLAIN = 32 };

static struct npu_traits here(void)
{
    return (struct npu_traits){
        .kind = NPU_KIND_CPU, .compute_units = 2, .vec_f32 = 8, .native = true, .cpu = npu_cpu_features()};
}

static bool has_avx2(void)
{
    if (npu_exact_avx2_kernels() && (npu_cpu_features() & NPU_CPU_AVX2_FMA))
        return true;
    print_message("# SKIP this machine has no AVX2, or the build has no kernels\n");
    return false;
}

static void test_hardware(void **state)
{
    const struct npu_traits t = here();

    if (!has_avx2())
        return;
    assert_int_equal(npu_exact_avx2_self_test(npu_exact_avx2_kernels(), npu_exact_plain), 0);
    assert_non_null(npu_exact_avx2_for(&t));
}

static void test_choice(void **state)
{
    struct npu_traits t = here();

    t.cpu = 0;
    assert_null(npu_exact_avx2_for(&t));
    t = here();
    t.native = false;
    assert_null(npu_exact_avx2_for(&t));
    t = here();
    setenv("NPU_MAT_NATIVE", "0", 1);
    assert_null(npu_exact_avx2_for(&t));
    unsetenv("NPU_MAT_NATIVE");
}

/* ---- broken kernels ---- */
static npu_native_fn *true_fn;

static void half(const struct npu_native_call *c, int part, int n_parts)
{
    if (part != 1)
        true_fn(c, part, n_parts);
}

static void nothing(const struct npu_native_call *c, int part, int n_parts) {}

/* The last tensor's first bit, whatever it holds. */
static void one_bit(const struct npu_native_call *c, int part, int n_parts)
{
    int last = 0;

    true_fn(c, part, n_parts);
    for (int i = 0; i < 5; i++)
        last = c->p[i] && (true_fn != npu_exact_avx2_kernels()->attention || i < 2) ? i : last;
    if (part == n_parts - 1)
        *(char *)c->p[last] ^= 1;
}

static void test_broken_kernels(void **state)
{
    npu_native_fn *const wrong[] = {half, nothing, one_bit};

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0] && has_avx2(); i++) {
        struct npu_exact_kernels k = *npu_exact_avx2_kernels();

        true_fn = k.attention;
        k.attention = wrong[i];
        assert_int_equal(npu_exact_avx2_self_test(&k, npu_exact_plain), -EIO);
        k = *npu_exact_avx2_kernels();
        true_fn = k.act;
        k.act = wrong[i];
        assert_int_equal(npu_exact_avx2_self_test(&k, npu_exact_plain), -EIO);
        k = *npu_exact_avx2_kernels();
        true_fn = k.grouped;
        k.grouped = wrong[i];
        assert_int_equal(npu_exact_avx2_self_test(&k, npu_exact_plain), -EIO);
    }
}

static void test_broken_plain(void **state)
{
    struct npu_exact_plain p[MOST_PLAIN];
    int n = 0;

    while (npu_exact_plain[n].source)
        n++;
    assert_true(n < MOST_PLAIN);
    memcpy(p, npu_exact_plain, sizeof p[0] * (size_t)(n + 1));
    for (int i = 0; i < n && has_avx2(); i++) {
        npu_native_fn *const was = p[i].fn;

        p[i].fn = nothing;
        assert_int_equal(npu_exact_avx2_self_test(npu_exact_avx2_kernels(), p), -EIO);
        p[i].fn = was;
    }
    assert_int_equal(has_avx2() ? npu_exact_avx2_self_test(npu_exact_avx2_kernels(), p) : 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hardware),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_broken_kernels),
        cmocka_unit_test(test_broken_plain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
