/* test_npu_diff.c - the finite differences of npu-ops grad see a wrong gradient, of smooth and of kinked results, and
 * say so where there is nothing to compare. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libnpu/op.h"
#include "libnpu/tool/ops_diff.h"

static npu_ctx *ctx;
static npu_dev *ref;

/* y = f(x) with x[200] in [lo, hi) and the loss sum((i % 3 - 1.5) y_i). */
struct fixture {
    npu_graph *g;
    npu_val x;
    struct ops_diff d;
    float proj[200], grad[200];
};

static void open_fixture(struct fixture *f, npu_val (*op)(npu_graph *, npu_val), bool kinks, float lo, float hi)
{
    struct npu_plan_opts keep = {.keep_values = true};

    *f = (struct fixture){.d = {.eps = 0x1p-23, .step = 0x1p-5f, .kinks = kinks}};
    assert_int_equal(npu_graph_new(0, &f->g), 0);
    f->x = npu_input(f->g, "x", NPU_F32, 1, (const int64_t[]){200});
    npu_test_range(f->g, f->x, lo, hi);
    f->d.y = op(f->g, f->x);
    assert_int_equal(npu_output(f->g, "y", f->d.y), 0);
    assert_int_equal(npu_plan_new(ref, f->g, &keep, &f->d.ref), 0);
    for (int i = 0; i < 200; i++)
        f->proj[i] = (float)(i % 3) - 1.5f;
    f->d.proj = f->proj;
    f->d.n_y = 200;
}

/* The gradient as it should be: slope(x) proj. */
static void fill_gradient(struct fixture *f, float (*slope)(float))
{
    int64_t n = 0;
    float *x;

    assert_int_equal(ops_fill(f->d.ref), 0);
    x = ops_read(f->d.ref, f->x, &n);
    assert_non_null(x);
    assert_int_equal(n, 200);
    for (int i = 0; i < 200; i++)
        f->grad[i] = slope(x[i]) * f->proj[i];
    free(x);
}

static void close_fixture(struct fixture *f)
{
    npu_plan_free(f->d.ref);
    npu_graph_free(f->g);
}

static float abs_slope(float x)
{
    return x > 0 ? 1.0f : -1.0f;
}

static float relu_slope(float x)
{
    return x > 0 ? 1.0f : 0.0f;
}

static float sigmoid_slope(float x)
{
    float s = 1.0f / (1.0f + expf(-x));

    return s * (1.0f - s);
}

static void right_gradients_pass(void **state)
{
    struct fixture f;

    open_fixture(&f, npu_abs, true, -1, 1);
    fill_gradient(&f, abs_slope);
    assert_int_equal(ops_diff_check(&f.d, f.x, f.grad, 200), 0);
    assert_true(f.d.tried == 32 && f.d.met >= 24);
    close_fixture(&f);
    open_fixture(&f, npu_sigmoid, false, -3, 3);
    fill_gradient(&f, sigmoid_slope);
    assert_int_equal(ops_diff_check(&f.d, f.x, f.grad, 200), 0);
    close_fixture(&f);
}

static void wrong_gradients_fail(void **state)
{
    struct fixture f;

    open_fixture(&f, npu_relu, true, -1, 1);
    fill_gradient(&f, relu_slope);
    for (int i = 0; i < 200; i++)
        f.grad[i] *= 1.02f;
    assert_int_equal(ops_diff_check(&f.d, f.x, f.grad, 200), -EBADE);
    assert_non_null(strstr(f.d.why, "finite differences say"));
    memset(f.grad, 0, sizeof f.grad);
    assert_int_equal(ops_diff_check(&f.d, f.x, f.grad, 200), -EBADE);
    for (int i = 0; i < 200; i++)
        f.grad[i] = f.proj[i]; /* as if it had no kink */
    assert_int_equal(ops_diff_check(&f.d, f.x, f.grad, 200), -EBADE);
    f.grad[3] = NAN;
    assert_int_equal(ops_diff_check(&f.d, f.x, f.grad, 200), -EBADE);
    close_fixture(&f);
    open_fixture(&f, npu_sigmoid, false, -3, 3);
    fill_gradient(&f, sigmoid_slope);
    for (int i = 0; i < 200; i++)
        f.grad[i] *= 1.1f;
    assert_int_equal(ops_diff_check(&f.d, f.x, f.grad, 200), -EBADE);
    close_fixture(&f);
}

/* Everything at a kink, or no slope anywhere: nothing was shown. */
static void nothing_to_compare_fails(void **state)
{
    struct fixture f;

    open_fixture(&f, npu_abs, true, 0, 0);
    assert_int_equal(ops_diff_check(&f.d, f.x, f.grad, 200), -EBADE);
    memcpy(f.grad, f.proj, sizeof f.grad);
    assert_int_equal(ops_diff_check(&f.d, f.x, f.grad, 200), -EBADE);
    assert_non_null(strstr(f.d.why, "only 0 of 32 elements"));
    close_fixture(&f);
    open_fixture(&f, npu_relu, true, -2, -1);
    assert_int_equal(ops_diff_check(&f.d, f.x, f.grad, 200), -EBADE);
    assert_non_null(strstr(f.d.why, "depends on none"));
    close_fixture(&f);
}

static int set_up(void **state)
{
    int r = npu_ctx_new("", &ctx);

    return r < 0 ? r : npu_dev_open(ctx, "ref", &ref);
}

static int tear_down(void **state)
{
    npu_dev_close(ref);
    npu_ctx_free(ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_gradients_pass),
        cmocka_unit_test(wrong_gradients_fail),
        cmocka_unit_test(nothing_to_compare_fails),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
