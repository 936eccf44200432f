/* test_npu_frame.c - what a frame costs besides its arithmetic: no memory, no compiling, at most one synchronisation;
 * and the pool of threads that native launches run on. On the fake OpenCL of tests/torture. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "libnpu/dev/pool.h"
#include "tests/torture/torture.h"

/* ---- OpenCL calls of a frame ---- */
static long calls;

static bool count(const char *call)
{
    calls++;
    return false;
}

static void open_device(npu_ctx **ret_ctx, npu_dev **ret_dev)
{
    fake_cl.fails = NULL;
    torture_device("cl0", ret_ctx, ret_dev);
}

/* A convolution, rows of tokens, attention, products, simple operations. */
static npu_val network(npu_graph *g, npu_val x)
{
    const struct npu_init some = {NPU_INIT_UNIFORM, 0.1f};
    npu_val h = npu_conv2d(
        g, x, npu_param(g, "conv", 4, (int64_t[]){3, 3, 16, 24}, some),
        &(struct npu_conv2d_opts){.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .act = NPU_ACT_RELU});

    h = npu_max_pool(g, h, (struct npu_pool_opts){2, 2, 0});
    h = npu_reshape(g, h, 3, (int64_t[]){1, 42, 24});
    h = npu_layer_norm(g, h, npu_param(g, "gamma", 1, (int64_t[]){24}, some),
                       npu_param(g, "beta", 1, (int64_t[]){24}, some), 1e-5f);
    h = npu_matmul(g, h, npu_param(g, "qkv", 2, (int64_t[]){24, 72}, some), NULL);
    h = npu_attention(g, h, 2);
    h = npu_matmul(g, h, npu_param(g, "out", 2, (int64_t[]){24, 10}, some), NULL);
    return npu_scale(g, npu_reduce(g, h, NPU_REDUCE_MEAN, 1u << 1), 2.0f, 1.0f);
}

static void native_frames_cost_nothing_else(void **state)
{
    npu_ctx *c;
    npu_dev *d;
    npu_graph *g;
    npu_plan *p;
    npu_val x, y;
    float in[12 * 14 * 16], out[10], first[10];
    long faults, compiles;

    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        print_message("# SKIP the processor has no AVX2\n");
        return;
    }
    for (size_t i = 0; i < sizeof in / sizeof in[0]; i++)
        in[i] = (float)(i % 7) - 3.0f;
    open_device(&c, &d);
    assert_int_equal(npu_graph_new(0, &g), 0);
    x = npu_input(g, "x", NPU_F32, 4, (int64_t[]){1, 12, 14, 16});
    y = network(g, x);
    npu_output(g, "y", y);
    assert_int_equal(npu_plan_new(d, g, NULL, &p), 0);
    assert_int_equal(npu_plan_init(p, 1), 0);
    assert_int_equal(npu_plan_write_val(p, x, in, sizeof in), 0);
    assert_int_equal(npu_plan_run(p), 0); /* packs the weights */
    assert_int_equal(npu_plan_read_val(p, y, first, sizeof first), 0);

    calls = 0;
    compiles = fake_cl.compiles;
    fake_cl.fails = count;
    faults_arm(FAULTS_FAIL, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(npu_plan_write_val(p, x, in, sizeof in), 0);
        assert_int_equal(npu_plan_run(p), 0);
        assert_int_equal(npu_plan_read_val(p, y, out, sizeof out), 0);
    }
    faults = faults_disarm();
    fake_cl.fails = NULL;
    assert_int_equal(faults, 0); /* memory, files, threads */
    assert_int_equal(calls, 0);
    assert_int_equal(fake_cl.compiles, compiles);
    assert_memory_equal(out, first, sizeof out);
    assert_true(out[0] == out[0] && out[0] != 1.0f);
    npu_plan_free(p);
    npu_graph_free(g);
    npu_ctx_free(c);
}

static void wait_once(bool native_kernels)
{
    npu_ctx *c;
    npu_dev *d;
    npu_graph *g;
    npu_plan *p;
    npu_val x, y;
    float in[8] = {1, 2, 3, 4, 5, 6, 7, 8}, out[8];
    long faults;
    int compiles, waits;

    fake_cl.device[0].has_no_native_kernels = !native_kernels;
    open_device(&c, &d);
    assert_int_equal(npu_graph_new(0, &g), 0);
    x = npu_input(g, "x", NPU_F32, 1, (int64_t[]){8});
    y = npu_scale(g, npu_scale(g, npu_scale(g, x, 2.0f, 1.0f), 3.0f, 0.0f), 0.5f, 4.0f);
    npu_output(g, "y", y);
    assert_int_equal(npu_plan_new(d, g, NULL, &p), 0);
    assert_int_equal(npu_plan_write_val(p, x, in, sizeof in), 0);
    assert_int_equal(npu_plan_run(p), 0);

    compiles = fake_cl.compiles;
    waits = fake_cl.waits;
    faults_arm(FAULTS_FAIL, 0);
    for (int i = 0; i < 3; i++) {
        in[7] = (float)i;
        assert_int_equal(npu_plan_write_val(p, x, in, sizeof in), 0);
        assert_int_equal(npu_plan_run(p), 0);
        assert_int_equal(npu_plan_read_val(p, y, out, sizeof out), 0);
        assert_float_equal(out[7], 0.5f * 3.0f * (2.0f * (float)i + 1.0f) + 4.0f, 0);
    }
    faults = faults_disarm();
    assert_int_equal(faults, 0);
    assert_int_equal(fake_cl.waits - waits, 3);
    assert_int_equal(fake_cl.compiles, compiles);

    in[7] = 100.0f; /* not sent yet: an input is what was written, an output what was computed */
    assert_int_equal(npu_plan_write_val(p, x, in, sizeof in), 0);
    assert_int_equal(npu_plan_read_val(p, x, out, sizeof out), 0);
    assert_float_equal(out[7], 100.0f, 0);
    npu_plan_free(p);
    npu_graph_free(g);
    npu_ctx_free(c);
    fake_cl.device[0].has_no_native_kernels = false;
}

static void kernels_are_waited_for_once(void **state)
{
    wait_once(true); /* banks have an address: nothing is sent */
    wait_once(false);
}

/* ---- the pool ---- */
enum { STAGES = 200, MOST_PARTS = 7 };
static struct {
    atomic_int done[STAGES];
    uint16_t parts[STAGES];
    atomic_int wrong;
} job;

static void stage_part(void *arg, int stage, int part, int n_parts)
{
    if (n_parts != job.parts[stage] || part >= n_parts)
        job.wrong++;
    for (int s = 0; s < stage; s++) /* all stages before have ended, none after has begun */
        if (job.done[s] != job.parts[s])
            job.wrong++;
    if (stage + 1 < STAGES && job.done[stage + 1] != 0)
        job.wrong++;
    job.done[stage]++;
}

static void stages_follow_each_other(void **state)
{
    for (int threads = 1; threads <= 4; threads++) {
        struct npu_pool *p;

        assert_int_equal(npu_pool_new(threads, &p), 0);
        assert_int_equal(npu_pool_threads(p), threads);
        for (int round = 0; round < 20; round++) {
            for (int s = 0; s < STAGES; s++) {
                job.done[s] = 0;
                job.parts[s] = (uint16_t)(1 + (s + round) % MOST_PARTS);
            }
            npu_pool_run(p, stage_part, NULL, job.parts, STAGES);
            for (int s = 0; s < STAGES; s++)
                assert_int_equal(job.done[s], job.parts[s]);
        }
        npu_pool_run(p, stage_part, NULL, job.parts, 0);
        npu_pool_free(p);
    }
    assert_int_equal(job.wrong, 0);
}

static int scale_args(const char *entry)
{
    return 8;
}

static int setup(void **state)
{
    fake_cl.n_args = scale_args;
    return torture_setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(native_frames_cost_nothing_else),
        cmocka_unit_test(kernels_are_waited_for_once),
        cmocka_unit_test(stages_follow_each_other),
    };

    return cmocka_run_group_tests(tests, setup, torture_teardown);
}
