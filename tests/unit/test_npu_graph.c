/* test_npu_graph.c - building graphs: names, types, the first failure, limits; element types; random numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "libnpu/dtype.h"
#include "libnpu/rng.h"
#include "tests/unit/npu_helpers.h"

static const struct npu_init zero = {.kind = NPU_INIT_ZERO};

static void first_failure_stays(void **state)
{
    npu_graph *g;
    const int64_t d23[] = {2, 3}, d4[] = {4};
    npu_val bad, after;

    assert_int_equal(npu_graph_new(0, &g), 0);
    bad = npu_add(g, npu_input(g, "x", NPU_F32, 2, d23), npu_input(g, "y", NPU_F32, 1, d4));
    assert_true(bad < 0);
    assert_non_null(strstr(npu_graph_error(g), "add"));
    assert_non_null(strstr(npu_graph_error(g), "4"));
    after = npu_scale(g, bad, 1, 0);
    assert_true(after < 0);
    assert_int_equal(npu_output(g, "o", after), after);
    assert_int_equal(npu_graph_status(g), bad);
    assert_non_null(strstr(npu_graph_error(g), "add"));
    npu_graph_free(g);
}

static void names_are_checked(void **state)
{
    static const struct {
        const char *name;
        int expect;
    } cases[] = {{"", -EINVAL}, {NULL, -EINVAL}, {"x", -EEXIST}};
    char max[NPU_MAX_NAME + 1];
    const int64_t d[] = {2};
    npu_graph *g;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        npu_graph_new(0, &g);
        assert_true(npu_input(g, "x", NPU_F32, 1, d) > 0);
        assert_int_equal(npu_param(g, cases[i].name, 1, d, zero), cases[i].expect);
        npu_graph_free(g);
    }
    memset(max, 'a', sizeof max);
    max[NPU_MAX_NAME] = '\0';
    npu_graph_new(0, &g);
    assert_int_equal(npu_input(g, max, NPU_F32, 1, d), -EINVAL);
    npu_graph_free(g);
    npu_graph_new(0, &g);
    max[NPU_MAX_NAME - 1] = '\0';
    assert_true(npu_input(g, max, NPU_F32, 1, d) > 0);
    assert_true(npu_graph_find(g, max) > 0);
    assert_int_equal(npu_graph_find(g, "y"), -ENOENT);
    npu_graph_free(g);
}

static void shapes_are_limited(void **state)
{
    static const struct {
        int rank;
        int64_t dim[6];
        int expect; /* 1: fine */
    } cases[] = {
        {1, {NPU_MAX_ELEMENTS}, 1},
        {1, {NPU_MAX_ELEMENTS + 1}, -E2BIG},
        {2, {0, NPU_MAX_ELEMENTS}, 1},
        {2, {0, NPU_MAX_ELEMENTS + 1}, -E2BIG},
        {3, {INT64_MAX, INT64_MAX, 2}, -E2BIG},
        {3, {INT64_MAX, INT64_MAX, 0}, -E2BIG}, /* what is computed from it would not be empty */
        {2, {3, -1}, -EINVAL},
        {7, {1}, -EINVAL},
        {-1, {0}, -EINVAL},
        {0, {0}, 1},
    };
    npu_graph *g;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        npu_graph_new(0, &g);
        int r = npu_input(g, "x", NPU_U8, cases[i].rank, cases[i].dim);
        assert_int_equal(r > 0 ? 1 : r, cases[i].expect);
        npu_graph_free(g);
    }
}

static void node_limit(void **state)
{
    const int64_t d[] = {1};
    npu_graph *g;
    npu_val v;

    npu_graph_new(0, &g);
    v = npu_input(g, "x", NPU_F32, 1, d);
    for (int i = 0; i < NPU_MAX_NODES; i++)
        v = npu_scale(g, v, 1, 0);
    assert_true(v > 0);
    assert_int_equal(npu_scale(g, v, 1, 0), -E2BIG);
    npu_graph_free(g);
}

static void f16_matches_all_halves(void **state)
{
    for (unsigned h = 0; h < 65536; h++) {
        float f = npu_f16_to_f32((uint16_t)h);

        if (f != f)
            assert_true(npu_f16_to_f32(npu_f32_to_f16(f)) != npu_f16_to_f32(npu_f32_to_f16(f)));
        else
            assert_int_equal(npu_f32_to_f16(f), h);
    }
    assert_int_equal(npu_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(npu_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(npu_f32_to_f16(1.0f + 0x1p-11f), 0x3c00);   /* halfway: to even */
    assert_int_equal(npu_f32_to_f16(1.0f + 0x1.8p-10f), 0x3c02); /* halfway: to even */
    assert_int_equal(npu_f32_to_f16(0x1p-25f), 0);               /* halfway to the least subnormal */
    assert_int_equal(npu_f32_to_f16(-0x1.000002p-25f), 0x8001);
    assert_int_equal(npu_f32_to_f16(0x1.ffcp-15f + 0x1p-26f), 0x0400); /* rounds up into the normals */
}

static void bf16_rounds_to_even(void **state)
{
    for (unsigned h = 0; h < 65536; h++) {
        float f = npu_bf16_to_f32((uint16_t)h);
        if (f == f)
            assert_int_equal(npu_f32_to_bf16(f), h);
    }
    assert_int_equal(npu_f32_to_bf16(1.0f + 0x1p-8f), 0x3f80);
    assert_int_equal(npu_f32_to_bf16(1.0f + 0x1.8p-7f), 0x3f82);
    assert_true(isnan(npu_bf16_to_f32(npu_f32_to_bf16(NAN))));
    assert_true(isinf(npu_bf16_to_f32(npu_f32_to_bf16(3.4e38f))));
}

static void store_saturates(void **state)
{
    static const struct {
        enum npu_dtype t;
        float v, expect;
    } cases[] = {
        {NPU_U8, 300.0f, 255.0f},
        {NPU_U8, -1.0f, 0.0f},
        {NPU_U8, 2.5f, 2.0f},
        {NPU_U8, 3.5f, 4.0f},
        {NPU_I8, 200.0f, 127.0f},
        {NPU_I8, -200.0f, -128.0f},
        {NPU_I8, -2.5f, -2.0f},
        {NPU_I32, 3e9f, 2147483648.0f},
        {NPU_I32, -3e9f, -2147483648.0f},
        {NPU_I32, 7.0f, 7.0f},
        {NPU_I32, 2147483520.0f, 2147483520.0f},
    };
    int32_t word = 0;
    struct npu_tensor t = {.data = &word};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        t.dtype = cases[i].t;
        npu_store(&t, 0, cases[i].v);
        assert_float_equal(npu_load(&t, 0), cases[i].expect, 0.0f);
    }
    t.dtype = NPU_I8;
    npu_store(&t, 0, NAN);
    assert_int_equal((int8_t)word, 0);
}

static void random_numbers_have_their_moments(void **state)
{
    const uint64_t key = npu_rng_key(1, "w");
    double s1 = 0, s2 = 0, t2 = 0, u1 = 0;
    const int n = 200000;

    for (int i = 0; i < n; i++) {
        double v = npu_rng_normal(key, (uint64_t)i), t = npu_rng_trunc_normal(key, (uint64_t)i);

        s1 += v;
        s2 += v * v;
        t2 += t * t;
        u1 += npu_rng_uniform(key, (uint64_t)i);
        assert_true(fabs(t) <= 2.0);
    }
    assert_true(fabs(s1 / n) < 0.01);
    assert_true(fabs(s2 / n - 1.0) < 0.02);
    assert_true(fabs(t2 / n - 0.7737) < 0.02); /* variance of a normal cut at 2 sigma */
    assert_true(fabs(u1 / n - 0.5) < 0.005);
    assert_int_not_equal(npu_rng_u64(npu_rng_key(1, "w"), 0), npu_rng_u64(npu_rng_key(1, "v"), 0));
    assert_int_not_equal(npu_rng_u64(npu_rng_key(1, "w"), 0), npu_rng_u64(npu_rng_key(2, "w"), 0));
}

static void backward_names_what_is_missing(void **state)
{
    static const struct npu_op hollow = {.name = "hollow", .shape = same_shape_rule};
    const int64_t d[] = {3};
    npu_val x, y;
    npu_graph *g;

    npu_graph_new(0, &g);
    x = npu_param(g, "w", 1, d, zero);
    y = npu_node_add(g, &hollow, &x, 1, NULL, 0);
    assert_int_equal(npu_graph_backward(g, npu_reduce(g, y, NPU_REDUCE_SUM, 0)), -EOPNOTSUPP);
    assert_non_null(strstr(npu_graph_error(g), "hollow"));
    npu_graph_free(g);

    npu_graph_new(0, &g);
    x = npu_param(g, "w", 1, d, zero);
    assert_int_equal(npu_graph_backward(g, npu_scale(g, x, 1, 0)), -EINVAL); /* no scalar */
    npu_graph_free(g);

    npu_graph_new(0, &g);
    x = npu_param(g, "w", 1, d, zero);
    y = npu_reduce(g, npu_mul(g, x, x), NPU_REDUCE_SUM, 0);
    assert_int_equal(npu_graph_backward(g, y), 0);
    assert_true(npu_graph_grad(g, x) > 0);
    assert_int_equal(npu_graph_backward(g, y), -EALREADY);
    npu_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_failure_stays),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(shapes_are_limited),
        cmocka_unit_test(node_limit),
        cmocka_unit_test(f16_matches_all_halves),
        cmocka_unit_test(bf16_rounds_to_even),
        cmocka_unit_test(store_saturates),
        cmocka_unit_test(random_numbers_have_their_moments),
        cmocka_unit_test(backward_names_what_is_missing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
