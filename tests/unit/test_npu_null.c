/* test_npu_null.c - the device that injects faults: each fault comes when asked for, is told clearly, and leaves the
 * rest as it was. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/npu_helpers.h"

enum { N = 5 };
static const float x[N] = {1, 2, 3, 4, 5};

struct bench {
    npu_ctx *ctx;
    npu_dev *dev;
    npu_graph *g;
    npu_plan *p;
};

static int setup(void **state)
{
    static struct bench b;

    b = (struct bench){0};
    *state = &b;
    return npu_ctx_new("", &b.ctx);
}

static int teardown(void **state)
{
    struct bench *b = *state;

    npu_plan_free(b->p);
    npu_graph_free(b->g);
    npu_dev_close(b->dev);
    npu_ctx_free(b->ctx);
    return 0;
}

/* y = 2 x + 1 on null with these options: what making the plan returned. */
static int open_plan(struct bench *b, const char *which)
{
    const int64_t n = N;

    assert_int_equal(npu_dev_open(b->ctx, which, &b->dev), 0);
    assert_int_equal(npu_graph_new(0, &b->g), 0);
    npu_output(b->g, "y", npu_scale(b->g, npu_input(b->g, "x", NPU_F32, 1, &n), 2, 1));
    return npu_plan_new(b->dev, b->g, NULL, &b->p);
}

static int frame(struct bench *b, float *y)
{
    int r = npu_plan_write(b->p, "x", x, sizeof x);

    for (int i = 0; i < N; i++)
        y[i] = NAN; /* is no result */
    if (r == 0)
        r = npu_plan_run(b->p);
    return r < 0 ? r : npu_plan_read(b->p, "y", y, N * sizeof *y);
}

static void assert_right(const float *y)
{
    for (int i = 0; i < N; i++)
        assert_float_equal(y[i], 2 * x[i] + 1, 0);
}

static void without_faults_it_is_the_reference(void **state)
{
    float y[N];

    assert_int_equal(open_plan(*state, "null"), 0);
    assert_int_equal(frame(*state, y), 0);
    assert_right(y);
}

static void wrong_options_are_named(void **state)
{
    static const char *const bad[] = {"null:lost",   "null:lost=",    "null:lost=0",  "null:lost=2x",
                                      "null:flop=1", "null:kind=tpu", "null:lost=-1", "null:dry,explode"};
    struct bench *b = *state;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *last = strrchr(bad[i], ',') ? strrchr(bad[i], ',') : strchr(bad[i], ':');

        assert_int_equal(npu_dev_open(b->ctx, bad[i], &b->dev), -EINVAL);
        assert_non_null(strstr(npu_ctx_error(b->ctx), last + 1));
    }
    assert_int_equal(npu_dev_open(b->ctx, "nullify", &b->dev), -ENODEV);
}

static void the_nth_allocation_fails(void **state)
{
    struct bench *b = *state;
    npu_plan *second;

    assert_int_equal(open_plan(b, "null:alloc=1"), -ENOMEM);
    assert_non_null(strstr(npu_ctx_error(b->ctx), "memory"));
    assert_int_equal(npu_plan_new(b->dev, b->g, NULL, &second), 0); /* the next ones succeed */
    npu_plan_free(second);
}

static void the_nth_plan_does_not_build(void **state)
{
    struct bench *b = *state;
    npu_plan *second = NULL;

    assert_int_equal(open_plan(b, "null:build=2"), 0);
    assert_int_equal(npu_plan_new(b->dev, b->g, NULL, &second), -ENOEXEC);
    assert_null(second);
    assert_non_null(strstr(npu_ctx_error(b->ctx), "null: program does not build"));
}

static void a_hung_run_times_out_and_can_be_given_up(void **state)
{
    struct bench *b = *state;
    npu_fence *f;
    float y[N];
    double begin;

    assert_int_equal(open_plan(b, "null:hang=2"), 0);
    assert_int_equal(frame(b, y), 0);
    assert_int_equal(npu_plan_submit(b->p, &f), 0);
    begin = seconds();
    assert_int_equal(npu_fence_wait(f, 20000000), -ETIMEDOUT);
    assert_true(seconds() - begin >= 0.02);
    assert_int_equal(npu_plan_submit(b->p, &f), -EBUSY);
    assert_int_equal(npu_fence_wait(f, 0), -ETIMEDOUT); /* teardown frees it while it hangs */
}

/* Whatever is asked of a lost device, also by other plans, fails with -ENODEV and says so. */
static void a_lost_device_stays_lost(void **state)
{
    struct bench *b = *state;
    npu_plan *other;
    npu_fence *f;
    char why[256];
    float y[N];

    assert_int_equal(open_plan(b, "null:lost=2"), 0);
    npu_dev_error(b->dev, why, sizeof why);
    assert_string_equal(why, "");
    assert_int_equal(npu_plan_new(b->dev, b->g, NULL, &other), 0);
    assert_int_equal(frame(b, y), 0);
    assert_int_equal(npu_plan_submit(b->p, &f), 0);
    assert_int_equal(npu_fence_wait(f, -1), -ENODEV);
    assert_non_null(strstr(npu_plan_error(b->p), "lost"));
    npu_dev_error(b->dev, why, sizeof why);
    assert_string_equal(why, "null: the device is lost (injected)");
    assert_int_equal(npu_plan_write(b->p, "x", x, sizeof x), -ENODEV);
    assert_int_equal(npu_plan_read(b->p, "y", y, sizeof y), -ENODEV);
    assert_int_equal(npu_plan_run(b->p), -ENODEV);
    assert_int_equal(npu_plan_run(other), -ENODEV);
    assert_non_null(strstr(npu_plan_error(other), "lost"));
    npu_plan_free(other);
    assert_int_equal(npu_plan_new(b->dev, b->g, NULL, &other), -ENODEV);
    assert_non_null(strstr(npu_ctx_error(b->ctx), "lost"));
}

static void one_bit_is_flipped_once(void **state)
{
    uint32_t bits[N], want[N];
    struct bench *b = *state;
    int flipped = 0;
    float y[N];

    assert_int_equal(open_plan(b, "null:flip=2"), 0);
    assert_int_equal(frame(b, y), 0);
    assert_right(y);
    memcpy(want, y, sizeof want);
    assert_int_equal(frame(b, y), 0);
    memcpy(bits, y, sizeof bits);
    for (int i = 0; i < N; i++)
        flipped += __builtin_popcount(bits[i] ^ want[i]);
    assert_int_equal(flipped, 1);
    assert_int_equal(frame(b, y), 0);
    assert_right(y);
}

static void a_dry_run_computes_nothing(void **state)
{
    float y[N];

    assert_int_equal(open_plan(*state, "null:dry"), 0);
    assert_int_equal(frame(*state, y), 0);
    for (int i = 0; i < N; i++)
        assert_float_equal(y[i], 0, 0);
}

/* NPU_NULL lists it, as the kind that it names, so that a program which asks for an NPU gets it. */
static void the_environment_lists_it(void **state)
{
    struct npu_dev_info info;
    npu_ctx *c;
    npu_dev *d;
    int n;

    setenv("NPU_NULL", "kind=npu,build=1", 1);
    assert_int_equal(npu_ctx_new("", &c), 0);
    n = npu_ctx_n_devices(c);
    assert_int_equal(npu_ctx_device(c, n - 1, &info), 0);
    assert_string_equal(info.id, "null");
    assert_int_equal(info.kind, NPU_KIND_NPU);
    assert_int_equal(npu_dev_open(c, "auto", &d), 0);
    assert_string_equal(npu_dev_get_info(d)->id, "null");
    npu_dev_close(d);
    npu_ctx_free(c);
    setenv("NPU_NULL", "kind=nothing", 1);
    assert_int_equal(npu_ctx_new("", &c), 0);
    assert_int_equal(npu_ctx_device(c, n - 1, &info), 0);
    assert_false(info.usable);
    assert_non_null(strstr(info.why_not, "kind=nothing"));
    npu_ctx_free(c);
    unsetenv("NPU_NULL");
    assert_int_equal(npu_ctx_new("", &c), 0);
    assert_int_equal(npu_ctx_n_devices(c), n - 1);
    npu_ctx_free(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_faults_it_is_the_reference),
        TEST(wrong_options_are_named),
        TEST(the_nth_allocation_fails),
        TEST(the_nth_plan_does_not_build),
        TEST(a_lost_device_stays_lost),
        TEST(a_hung_run_times_out_and_can_be_given_up),
        TEST(one_bit_is_flipped_once),
        TEST(a_dry_run_computes_nothing),
        TEST(the_environment_lists_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
