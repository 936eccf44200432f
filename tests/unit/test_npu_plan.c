/* test_npu_plan.c - plans: reading and writing, time-outs, native launches, packing, guards, errors with names,
 * profiles. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/npu_helpers.h"

static npu_ctx *ctx;
static const struct npu_init zero = {.kind = NPU_INIT_ZERO};

/* ---- operations of these tests: one native launch each ---- */
static void slow_part(const struct npu_native_call *c, int part, int n_parts)
{
    struct timespec t = {.tv_nsec = 300000000};

    if (part == 0)
        nanosleep(&t, NULL);
}

static void overrun_part(const struct npu_native_call *c, int part, int n_parts)
{
    if (part == 0)
        ((float *)c->p[1])[c->arg[2].i] = 1.0f; /* one past the end */
}

static int n_packed;

static void pack_part(const struct npu_native_call *c, int part, int n_parts)
{
    if (part != 0)
        return;
    n_packed++;
    for (int i = 0; i < c->arg[2].i; i++)
        ((float *)c->p[1])[i] = 2.0f * ((const float *)c->p[0])[i];
}

static void use_part(const struct npu_native_call *c, int part, int n_parts)
{
    for (int i = 0; part == 0 && i < c->arg[3].i; i++)
        ((float *)c->p[2])[i] = ((const float *)c->p[0])[i] + ((const float *)c->p[1])[i];
}

static int lower_native(const struct npu_node *n, struct npu_lower *l, npu_native_fn *f)
{
    struct npu_launch *k = npu_lower_launch(l, NULL, NULL);
    struct npu_tensor_type t = npu_lower_type(l, n->in[0]);

    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    npu_launch_i32(k, npu_shape_elements(&t.shape));
    k->native = f;
    return 0;
}

/* The result's memory before the input's among the arguments. */
static void add_one_swapped(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_native_call swapped = {c->arg, (void *const[]){c->p[1], c->p[0]}, c->attr};

    native_add_one(&swapped, part, n_parts);
}

static int swapped_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_launch *k = npu_lower_launch(l, NULL, NULL);
    struct npu_tensor_type t = npu_lower_type(l, n->in[0]);

    npu_launch_val(k, n->out[0]);
    npu_launch_val(k, n->in[0]);
    npu_launch_i32(k, npu_shape_elements(&t.shape));
    k->native = add_one_swapped;
    return 0;
}

static int slow_lower(const struct npu_node *n, struct npu_lower *l)
{
    return lower_native(n, l, slow_part);
}
static int add_one_lower(const struct npu_node *n, struct npu_lower *l)
{
    return lower_native(n, l, native_add_one);
}
static int overrun_lower(const struct npu_node *n, struct npu_lower *l)
{
    return lower_native(n, l, overrun_part);
}

static int overrun_ref(const struct npu_ref_call *c)
{
    ((float *)c->out[0].data)[npu_shape_elements(&c->out[0].shape)] = 1.0f;
    return 0;
}

/* y = x + 2 w with w packed once. in: x, w */
static int packed_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_tensor_type t = npu_lower_type(l, n->in[0]);
    int64_t size = npu_shape_elements(&t.shape);
    int buf = npu_lower_packed(l, (size_t)size * 4);
    struct npu_launch *k = npu_lower_launch(l, NULL, NULL);

    npu_launch_val(k, n->in[1]);
    npu_launch_buf(k, NPU_ARG_PACKED, buf);
    npu_launch_i32(k, size);
    k->native = pack_part;
    k->on_params = npu_val_is_frozen(npu_lower_graph(l), n->in[1]);
    k = npu_lower_launch(l, NULL, NULL);
    npu_launch_val(k, n->in[0]);
    npu_launch_buf(k, NPU_ARG_PACKED, buf);
    npu_launch_val(k, n->out[0]);
    npu_launch_i32(k, size);
    k->native = use_part;
    return 0;
}

static int wrong_kernel_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_launch *k = npu_lower_launch(l, "scale", *NPU_ATTR(int, n) ? "scale" : "no_such_kernel");

    npu_launch_def(k, "-DW=8");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    npu_launch_size(k, 1, 0, 0);
    return 0;
}

static int overflow_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_launch *k = npu_lower_launch(l, "scale", "scale");

    npu_launch_i32(k, INT64_C(1) << 31);
    npu_launch_size(k, 1, 0, 0);
    return 0;
}

static const struct npu_op op_slow = {.name = "slow", .shape = same_shape_rule, .lower = slow_lower};
static const struct npu_op op_add_one = {.name = "add_one", .shape = same_shape_rule, .lower = add_one_lower};
static const struct npu_op op_swapped = {.name = "swapped", .shape = same_shape_rule, .lower = swapped_lower};
static const struct npu_op op_overrun = {
    .name = "overrun", .shape = same_shape_rule, .ref = overrun_ref, .lower = overrun_lower};
static const struct npu_op op_packed = {.name = "packed", .shape = same_shape_rule, .lower = packed_lower};
static const struct npu_op op_wrong = {.name = "wrong", .shape = same_shape_rule, .lower = wrong_kernel_lower};
static const struct npu_op op_overflow = {.name = "overflow", .shape = same_shape_rule, .lower = overflow_lower};
static const struct npu_op op_hollow = {.name = "hollow", .shape = same_shape_rule};

static npu_graph *unary_graph(const struct npu_op *op, int64_t n, const void *attr, size_t attr_size)
{
    npu_graph *g;
    npu_val x;

    assert_int_equal(npu_graph_new(0, &g), 0);
    x = npu_input(g, "x", NPU_F32, 1, &n);
    assert_int_equal(npu_output(g, "y", npu_node_add(g, op, &x, 1, attr, attr_size)), 0);
    return g;
}

/* ---- tests ---- */
static void reads_and_writes_are_checked(void **state)
{
    const int64_t d[] = {2, 3};
    float x[6] = {1, 2, 3, 4, 5, 6}, y[6];
    npu_dev *dev;
    npu_graph *g;
    npu_plan *p;
    npu_val mid;

    assert_int_equal(npu_dev_open(ctx, "ref", &dev), 0);
    npu_graph_new(0, &g);
    mid = npu_scale(g, npu_input(g, "x", NPU_F32, 2, d), 2, 0);
    npu_output(g, "y", npu_scale(g, mid, 1, 1));
    assert_int_equal(npu_plan_new(dev, g, NULL, &p), 0);
    assert_int_equal(npu_plan_write(p, "x", x, 20), -EMSGSIZE);
    assert_non_null(strstr(npu_plan_error(p), "[2,3]"));
    assert_int_equal(npu_plan_write(p, "z", x, 24), -ENOENT);
    assert_int_equal(npu_plan_write(p, "y", x, 24), -EINVAL);
    assert_int_equal(npu_plan_write(p, "x", x, 24), 0);
    assert_int_equal(npu_plan_run(p), 0);
    assert_int_equal(npu_plan_read(p, "y", y, 24), 0);
    for (int i = 0; i < 6; i++)
        assert_float_equal(y[i], 2 * x[i] + 1, 0);
    assert_int_equal(npu_plan_read(p, "x", y, 24), 0);
    assert_memory_equal(x, y, 24);
    npu_plan_free(p);
    npu_graph_free(g);
    npu_dev_close(dev);
}

static void init_is_a_function_of_seed_and_name(void **state)
{
    const int64_t d[] = {100};
    float a[2][100], b[2][100];
    npu_dev *dev;
    npu_graph *g;
    npu_plan *p;

    assert_int_equal(npu_dev_open(ctx, "ref", &dev), 0);
    for (int order = 0; order < 2; order++) {
        npu_graph_new(0, &g);
        if (order == 1)
            npu_param(g, "other", 1, d, (struct npu_init){NPU_INIT_UNIFORM, 1});
        npu_param(g, "a", 1, d, (struct npu_init){NPU_INIT_NORMAL, 0.02f});
        npu_state(g, "b", NPU_F32, 1, d, (struct npu_init){NPU_INIT_CONST, 3});
        npu_plan_new(dev, g, NULL, &p);
        assert_int_equal(npu_plan_init(p, 5), 0);
        npu_plan_read(p, "a", a[order], sizeof a[0]);
        npu_plan_read(p, "b", b[order], sizeof b[0]);
        npu_plan_free(p);
        npu_graph_free(g);
    }
    assert_memory_equal(a[0], a[1], sizeof a[0]);
    for (int i = 0; i < 100; i++) {
        assert_float_equal(b[0][i], 3, 0);
        assert_true(fabsf(a[0][i]) < 0.12f && a[0][i] != 0);
    }
    npu_dev_close(dev);
}

static void time_out_leaves_the_run_going(void **state)
{
    npu_dev *dev = open_cl(ctx);
    npu_graph *g;
    npu_plan *p;
    npu_fence *f, *f2;
    double t;

    if (!dev)
        return;
    g = unary_graph(&op_slow, 4, NULL, 0);
    assert_int_equal(npu_plan_new(dev, g, NULL, &p), 0);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(npu_plan_submit(p, &f), 0);
        assert_int_equal(npu_plan_submit(p, &f2), -EBUSY);
        t = seconds();
        assert_int_equal(npu_fence_wait(f, 20000000), -ETIMEDOUT);
        assert_true(seconds() - t < 0.2);
        assert_int_equal(npu_fence_wait(f, 0), -ETIMEDOUT);
        assert_int_equal(npu_plan_submit(p, &f2), -EBUSY);
        assert_int_equal(npu_fence_wait(f, round == 0 ? INT64_C(5000000000) : -1), 0);
        assert_true(seconds() - t > 0.2);
    }
    assert_int_equal(npu_fence_wait(f, 0), 0); /* nothing in flight */
    assert_int_equal(npu_plan_submit(p, &f), 0);
    npu_plan_free(p); /* waits */
    npu_graph_free(g);
    npu_dev_close(dev);
}

static void native_launches_use_all_elements(void **state)
{
    enum { N = 10007 };
    static const struct npu_op *const ops[] = {&op_add_one, &op_swapped};
    static float x[N], y[N];
    npu_dev *dev = open_cl(ctx);
    npu_graph *g;
    npu_plan *p;

    for (int k = 0; dev && k < 2; k++) {
        g = unary_graph(ops[k], N, NULL, 0);
        assert_int_equal(npu_plan_new(dev, g, NULL, &p), 0);
        for (int run = 0; run < 200; run++) {
            for (int i = 0; i < N; i++)
                x[i] = (float)(i + run);
            assert_int_equal(npu_plan_write(p, "x", x, sizeof x), 0);
            assert_int_equal(npu_plan_run(p), 0);
            assert_int_equal(npu_plan_read(p, "y", y, sizeof y), 0);
            for (int i = 0; i < N; i++)
                assert_float_equal(y[i], x[i] + 1, 0);
        }
        npu_plan_free(p);
        npu_graph_free(g);
    }
    npu_dev_close(dev);
}

static void packing_runs_only_after_writes(void **state)
{
    const int64_t n = 8;
    float x[8] = {0}, w[8] = {1, 2, 3}, y[8];
    npu_dev *dev = open_cl(ctx);
    npu_val in[2];
    npu_graph *g;
    npu_plan *p;

    if (!dev)
        return;
    npu_graph_new(0, &g);
    in[0] = npu_input(g, "x", NPU_F32, 1, &n);
    in[1] = npu_scale(g, npu_param(g, "w", 1, &n, zero), 10, 0); /* frozen as well: computed from parameters only */
    npu_output(g, "y", npu_node_add(g, &op_packed, in, 2, NULL, 0));
    assert_int_equal(npu_plan_new(dev, g, NULL, &p), 0);
    n_packed = 0;
    npu_plan_write(p, "x", x, sizeof x);
    npu_plan_write(p, "w", w, sizeof w);
    npu_plan_run(p);
    npu_plan_run(p);
    assert_int_equal(n_packed, 1);
    npu_plan_read(p, "y", y, sizeof y);
    assert_float_equal(y[1], 40, 0);
    w[1] = 5;
    npu_plan_write(p, "w", w, sizeof w);
    npu_plan_write(p, "x", x, sizeof x);
    npu_plan_run(p);
    npu_plan_run(p);
    assert_int_equal(n_packed, 2);
    npu_plan_read(p, "y", y, sizeof y);
    assert_float_equal(y[1], 100, 0);
    npu_plan_free(p);
    npu_graph_free(g);
    npu_dev_close(dev);
}

static void guards_see_an_overrun(void **state)
{
    static const char *const devices[] = {"ref", "cl"};
    struct npu_plan_opts keep = {.keep_values = true};

    for (int i = 0; i < 2; i++)
        for (int broken = 0; broken < 2; broken++) {
            npu_dev *dev;
            npu_graph *g = broken ? unary_graph(&op_overrun, 5, NULL, 0) : NULL;
            npu_plan *p;
            int64_t n = 5;

            if (npu_dev_open(ctx, devices[i], &dev) < 0) {
                npu_graph_free(g);
                continue;
            }
            if (!g) {
                npu_graph_new(0, &g);
                npu_output(g, "y", npu_scale(g, npu_input(g, "x", NPU_F32, 1, &n), 1, 1));
            }
            assert_int_equal(npu_plan_new_guarded(dev, g, &keep, 64, &p), 0);
            assert_int_equal(npu_plan_poison(p), 0);
            assert_int_equal(npu_plan_run(p), 0);
            assert_int_equal(npu_plan_check_guards(p), broken ? -EFAULT : 0);
            if (broken)
                assert_non_null(strstr(npu_plan_error(p), "overrun"));
            npu_plan_free(p);
            npu_graph_free(g);
            npu_dev_close(dev);
        }
}

static void failures_name_operation_and_kernel(void **state)
{
    static const struct {
        const struct npu_op *op;
        int attr, expect;
        const char *text;
    } cases[] = {
        {&op_hollow, 0, -EOPNOTSUPP, "hollow"},
        {&op_wrong, 0, -EIO, "no_such_kernel"},
        {&op_wrong, 1, -EINVAL, "arguments"},
        {&op_overflow, 0, -EOVERFLOW, "overflow"},
    };
    npu_dev *dev = open_cl(ctx);

    for (size_t i = 0; dev && i < sizeof cases / sizeof cases[0]; i++) {
        npu_graph *g = unary_graph(cases[i].op, 4, &cases[i].attr, sizeof cases[i].attr);
        npu_plan *p = (npu_plan *)ctx;

        assert_int_equal(npu_plan_new(dev, g, NULL, &p), cases[i].expect);
        assert_non_null(strstr(npu_ctx_error(ctx), cases[i].text));
        assert_ptr_equal(p, ctx); /* untouched */
        npu_graph_free(g);
    }
    npu_dev_close(dev);
}

static void unknown_devices_are_named(void **state)
{
    npu_dev *dev = NULL;

    assert_int_equal(npu_dev_open(ctx, "cl99", &dev), -ENODEV);
    assert_non_null(strstr(npu_ctx_error(ctx), "cl99"));
    assert_non_null(strstr(npu_ctx_error(ctx), "ref"));
    assert_null(dev);
}

static void profile_and_explain(void **state)
{
    static const char *const devices[] = {"ref", "cl"};
    struct npu_plan_opts opts = {.profile = true};
    const int64_t n = 100000;

    for (int i = 0; i < 2; i++) {
        struct npu_plan_stats s;
        char *text = NULL;
        size_t size;
        npu_graph *g;
        npu_plan *p;
        npu_dev *dev;
        npu_val v;
        FILE *f;

        if (npu_dev_open(ctx, devices[i], &dev) < 0)
            continue;
        npu_graph_new(0, &g);
        v = npu_input(g, "x", NPU_F32, 1, &n);
        for (int k = 0; k < 5; k++)
            v = npu_scale(g, v, 1.5f, 1);
        npu_scale(g, v, 2, 2); /* nobody wants it: left out */
        npu_output(g, "y", v);
        assert_int_equal(npu_plan_new(dev, g, &opts, &p), 0);
        assert_int_equal(npu_plan_run(p), 0);
        assert_int_equal(npu_plan_run(p), 0);
        assert_int_equal(npu_plan_get_stats(p, &s), 0);
        assert_int_equal(s.nodes, 5);
        assert_int_equal(s.launches, i == 0 ? 0 : 5);
        assert_true(s.last_run_ms > 0);
        assert_true(s.arena_bytes < 2 * 4 * (size_t)n); /* in place */
        assert_true(s.sum_of_values_bytes == 6 * 4 * (size_t)n);
        assert_true(s.sum_of_params_bytes == 0);
        for (int json = 0; json < 2; json++) {
            f = open_memstream(&text, &size);
            assert_int_equal(npu_plan_explain(p, f, json), 0);
            fclose(f);
            assert_non_null(strstr(text, "scale"));
            assert_non_null(strstr(text, json ? "\"ms\": " : " ms\n"));
            free(text);
        }
        npu_plan_free(p);
        npu_graph_free(g);
        npu_dev_close(dev);
    }
}

/* Plans of one device in several threads, of the same kernels in growing sizes. */
static void *plans_of_a_thread(void *dev)
{
    enum { MOST = 1 << 18 };
    float *x = calloc(2 * MOST, sizeof *x), *y = x + MOST;
    int bad = x == NULL;

    for (int64_t n = 16; n <= MOST && !bad; n *= 4) {
        npu_graph *g;
        npu_plan *p = NULL;

        for (int64_t i = 0; i < n; i++)
            x[i] = (float)(i % 1000);
        npu_graph_new(0, &g);
        npu_output(g, "y", npu_scale(g, npu_input(g, "x", NPU_F32, 1, &n), 2, 1));
        bad = npu_plan_new(dev, g, NULL, &p) < 0 || npu_plan_write(p, "x", x, (size_t)n * sizeof *x) < 0;
        for (int k = 0; k < 30 && !bad; k++)
            bad = npu_plan_run(p) < 0;
        bad |= !p || npu_plan_read(p, "y", y, (size_t)n * sizeof *y) < 0;
        for (int64_t i = 0; i < n && !bad; i++)
            bad = y[i] != 2.0f * x[i] + 1.0f;
        npu_plan_free(p);
        npu_graph_free(g);
    }
    free(x);
    return bad ? dev : NULL;
}

static void threads_share_a_device(void **state)
{
    pthread_t thread[4];
    npu_dev *dev = open_cl(ctx);

    for (int i = 0; dev && i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, plans_of_a_thread, dev), 0);
    for (int i = 0; dev && i < 4; i++) {
        void *bad;

        pthread_join(thread[i], &bad);
        assert_null(bad);
    }
    npu_dev_close(dev);
}

/* A name with a quote, a backslash, a control character, UTF-8 and bytes that are none. */
static void explain_escapes_names(void **state)
{
    const int64_t n = 3;
    char *text = NULL;
    size_t size;
    npu_graph *g;
    npu_plan *p;
    npu_dev *dev;
    FILE *f = open_memstream(&text, &size);

    assert_int_equal(npu_dev_open(ctx, "ref", &dev), 0);
    npu_graph_new(0, &g);
    npu_output(g, "a\"b\\c\x01 \n\xc3\xa4 \xff \xc3", npu_scale(g, npu_input(g, "x", NPU_F32, 1, &n), 2, 1));
    assert_int_equal(npu_plan_new(dev, g, NULL, &p), 0);
    assert_int_equal(npu_plan_explain(p, f, true), 0);
    fclose(f);
    assert_non_null(strstr(text, "\"name\": \"a\\\"b\\\\c\\u0001 \\u000a\xc3\xa4 \\ufffd \\ufffd\", "));
    free(text);
    npu_plan_free(p);
    npu_graph_free(g);
    npu_dev_close(dev);
}

static void empty_tensors_run(void **state)
{
    static const char *const devices[] = {"ref", "cl"};
    const int64_t d[] = {0, 4};

    for (int i = 0; i < 2; i++) {
        npu_dev *dev;
        npu_graph *g;
        npu_plan *p;
        char none;

        if (npu_dev_open(ctx, devices[i], &dev) < 0)
            continue;
        npu_graph_new(0, &g);
        npu_output(g, "y", npu_scale(g, npu_input(g, "x", NPU_F32, 2, d), 1, 1));
        assert_int_equal(npu_plan_new(dev, g, NULL, &p), 0);
        assert_int_equal(npu_plan_write(p, "x", &none, 0), 0);
        assert_int_equal(npu_plan_run(p), 0);
        assert_int_equal(npu_plan_read(p, "y", &none, 0), 0);
        npu_plan_free(p);
        npu_graph_free(g);
        npu_dev_close(dev);
    }
}

static int setup(void **state)
{
    ctx = open_ctx();
    return 0;
}

static int teardown(void **state)
{
    ctx = npu_ctx_free(ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes_are_checked),
        cmocka_unit_test(init_is_a_function_of_seed_and_name),
        cmocka_unit_test(time_out_leaves_the_run_going),
        cmocka_unit_test(native_launches_use_all_elements),
        cmocka_unit_test(packing_runs_only_after_writes),
        cmocka_unit_test(guards_see_an_overrun),
        cmocka_unit_test(failures_name_operation_and_kernel),
        cmocka_unit_test(unknown_devices_are_named),
        cmocka_unit_test(profile_and_explain),
        cmocka_unit_test(explain_escapes_names),
        cmocka_unit_test(threads_share_a_device),
        cmocka_unit_test(empty_tensors_run),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
