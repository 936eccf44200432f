/* test_npu_torture_native.c - each fallible call is made to fail in turn while native code serves a network of the
 * kinds of layers that the product has: in f32, in int8 with tiers to choose from by the clock, and in a step of
 * training. What is asked of failures stands in tests/torture/torture.h; results must be those of the C reference, and
 * to the bit those of a life without faults. On the fake OpenCL. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "libnpu/quant.h"
#include "libnpu/tune.h"
#include "tests/torture/torture.h"

enum { SIDE_Y = 12, SIDE_X = 14, TOKENS = 42, WIDTH = 24, CLASSES = 10, RESULTS = TOKENS * CLASSES };

static char quantised[96];
static float x[SIDE_Y * SIDE_X * 16], target[RESULTS];
static int n_measured;

struct subject {
    npu_ctx *c;
    npu_dev *d;
    npu_graph *g;
    npu_plan *p;
};

/* ---- the network: two convolutions, rows of tokens, attention between products of 65536 multiply-adds and more ----
 */
static npu_val network(npu_graph *g)
{
    const struct npu_init some = {NPU_INIT_NORMAL, 0.1f};
    const int64_t width = WIDTH;
    struct npu_conv2d_opts o = {
        .stride = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .act = NPU_ACT_RELU};
    npu_val v = npu_input(g, "x", NPU_F32, 4, (int64_t[]){1, SIDE_Y, SIDE_X, 16});

    v = npu_conv2d(g, v, npu_param(g, "a.weight", 4, (int64_t[]){3, 3, 16, WIDTH}, some), &o);
    o.stride = 1;
    v = npu_conv2d(g, v, npu_param(g, "b.weight", 4, (int64_t[]){3, 3, WIDTH, WIDTH}, some), &o);
    v = npu_reshape(g, v, 3, (int64_t[]){1, TOKENS, WIDTH});
    v = npu_layer_norm(g, v, npu_param(g, "gamma", 1, &width, (struct npu_init){NPU_INIT_CONST, 1}),
                       npu_param(g, "beta", 1, &width, (struct npu_init){NPU_INIT_ZERO, 0}), 1e-5f);
    v = npu_matmul(g, v, npu_param(g, "qkv.weight", 2, (int64_t[]){WIDTH, 3 * WIDTH}, some), NULL);
    v = npu_attention(g, v, 2);
    return npu_matmul(g, v, npu_param(g, "out.weight", 2, (int64_t[]){WIDTH, CLASSES}, some), NULL);
}

static int make_graph(npu_graph **ret_graph, bool training)
{
    const struct npu_adamw_opts adamw = {0.9f, 0.99f, 1e-8f, 0.01f, 1.0f};
    npu_val v;
    int r = npu_graph_new(training ? NPU_GRAPH_TRAIN : 0, ret_graph);

    if (r < 0)
        return r;
    v = network(*ret_graph);
    npu_output(*ret_graph, "y", v);
    if (training) {
        v = npu_mse(*ret_graph, v, npu_input(*ret_graph, "target", NPU_F32, 3, (int64_t[]){1, TOKENS, CLASSES}),
                    NPU_NONE);
        npu_output(*ret_graph, "loss", v);
        r = npu_graph_backward(*ret_graph, v);
        if (r == 0)
            r = npu_graph_adamw(*ret_graph, &adamw);
    }
    return r < 0 ? r : npu_graph_status(*ret_graph);
}

/* Its weight file makes the graph int8. */
static int make_int8_graph(npu_graph **ret_graph, char *why, size_t size)
{
    int r = make_graph(ret_graph, false);

    if (r < 0) {
        snprintf(why, size, "%s", *ret_graph ? npu_graph_error(*ret_graph) : "no graph, no text");
        return r;
    }
    return npu_graph_quantise_as(*ret_graph, quantised, why, size);
}

static void end(struct subject *s)
{
    npu_plan_free(s->p);
    npu_graph_free(s->g);
    npu_dev_close(s->d);
    npu_ctx_free(s->c);
}

/* want: of the C reference; bits: of the first life, which has no faults. */
static void compare(const float *want, float *bits, const float *got, int n, const char *what)
{
    if (!faults_fired()[0])
        memcpy(bits, got, (size_t)n * sizeof *got);
    for (int i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= 1e-4f * (1 + fabsf(want[i])) && got[i] == bits[i]))
            fail_msg("%s %d is %g, not %g as in the reference, after a fault in \"%s\"", what, i, (double)got[i],
                     (double)want[i], faults_fired());
}

static void infer(npu_plan *p, float *y)
{
    TWICE(npu_plan_write(p, "x", x, sizeof x), npu_plan_error(p));
    TWICE(npu_plan_run(p), npu_plan_error(p));
    TWICE(npu_plan_read(p, "y", y, RESULTS * sizeof *y), npu_plan_error(p));
}

static void begin(struct subject *s, const char *device, bool training)
{
    int r;

    torture_device(device, &s->c, &s->d);
    r = make_graph(&s->g, training);
    if (r < 0) {
        torture_sane(r, s->g ? npu_graph_error(s->g) : "no graph, no text", "a graph");
        npu_graph_free(s->g);
        assert_int_equal(make_graph(&s->g, training), 0);
    }
    TWICE(npu_plan_new(s->d, s->g, NULL, &s->p), npu_ctx_error(s->c));
    TWICE(npu_plan_init(s->p, 1), npu_plan_error(s->p));
}

/* ---- f32 ---- */
static float f32_want[RESULTS];

static void f32(const char *device)
{
    static float bits[RESULTS];
    struct subject s = {0};
    float y[RESULTS];

    begin(&s, device, false);
    for (int i = 0; i < 2; i++) {
        infer(s.p, y);
        compare(f32_want, bits, y, RESULTS, "result");
    }
    end(&s);
}

/* ---- int8: which of two native tiers is measured ---- */
static float int8_want[RESULTS];

static void int8(const char *device)
{
    static float bits[RESULTS];
    struct subject s = {0};
    char why[256] = "";
    float y[RESULTS];
    int r;

    torture_device(device, &s.c, &s.d);
    r = make_int8_graph(&s.g, why, sizeof why);
    if (r < 0) {
        torture_sane(r, why, "an int8 graph");
        npu_graph_free(s.g);
        assert_int_equal(make_int8_graph(&s.g, why, sizeof why), 0);
    }
    TWICE(npu_plan_new(s.d, s.g, NULL, &s.p), npu_ctx_error(s.c));
    for (int i = 0; s.p->choice && i < s.p->n_steps; i++)
        n_measured += s.p->choice[i].why == NPU_CHOICE_MEASURED;
    TWICE(npu_plan_load(s.p, quantised, true), npu_plan_error(s.p));
    infer(s.p, y);
    compare(int8_want, bits, y, RESULTS, "int8 result");
    end(&s);
}

/* ---- a step of training ---- */
static float loss_want[2];

static void step(npu_plan *p, float *ret_loss_and_norm)
{
    static const float lr = 0.01f, first = 1;

    TWICE(npu_plan_write(p, "x", x, sizeof x), npu_plan_error(p));
    TWICE(npu_plan_write(p, "target", target, sizeof target), npu_plan_error(p));
    TWICE(npu_plan_write(p, "lr", &lr, sizeof lr), npu_plan_error(p));
    TWICE(npu_plan_write(p, "step", &first, sizeof first), npu_plan_error(p));
    TWICE(npu_plan_run(p), npu_plan_error(p));
    TWICE(npu_plan_read(p, "loss", &ret_loss_and_norm[0], sizeof(float)), npu_plan_error(p));
    TWICE(npu_plan_read(p, "grad_norm", &ret_loss_and_norm[1], sizeof(float)), npu_plan_error(p));
}

static void training(const char *device)
{
    static float bits[2];
    struct subject s = {0};
    float got[2];

    begin(&s, device, true);
    step(s.p, got);
    compare(loss_want, bits, got, 2, "loss and norm");
    end(&s);
}

/* ---- the tests ---- */
static bool has_avx2(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return true;
#endif
    print_message("# SKIP the processor has no AVX2\n");
    return false;
}

static void f32_survives(void **state)
{
    if (!has_avx2())
        return;
    torture(f32, "cl0", FAULTS_FAIL, true);
    torture(f32, "cl0", FAULTS_SHORT, false);
}

static void int8_and_the_choice_of_tiers_survive(void **state)
{
    if (!has_avx2())
        return;
    setenv("NPU_VNNI_EMULATE", "1", 1);
    setenv("NPU_TUNE", "20000", 1);
    torture(int8, "cl0", FAULTS_FAIL, true);
    assert_true(n_measured > 0);
    torture(int8, "cl0", FAULTS_FAIL, false); /* verdicts are read */
    unsetenv("NPU_TUNE");
    unsetenv("NPU_VNNI_EMULATE");
}

static void training_survives(void **state)
{
    if (has_avx2())
        torture(training, "cl0", FAULTS_FAIL, true);
}

/* What the reference computes, and the int8 weight file, which lies beside the folder that is emptied. */
static int on_the_reference(void)
{
    const struct npu_plan_opts keep = {.keep_values = true};
    const struct npu_quant_settings how = {.mode = NPU_QUANT_STATIC};
    struct npu_quant_range range[64];
    struct npu_quant_recipe *recipe = NULL;
    struct npu_calib *calib = NULL;
    struct subject s = {0};
    char why[256] = "";
    int r;

    begin(&s, "ref", true);
    step(s.p, loss_want);
    end(&s);
    s = (struct subject){0};
    begin(&s, "ref", false);
    npu_plan_free(s.p);
    assert_true(npu_graph_n_values(s.g) < 64);
    assert_int_equal(npu_plan_new(s.d, s.g, &keep, &s.p), 0);
    assert_int_equal(npu_plan_init(s.p, 1), 0);
    infer(s.p, f32_want);
    r = npu_calib_new(s.p, &calib) < 0 || npu_calib_add(calib) < 0;
    npu_calib_ranges(calib, NPU_CALIB_MINMAX, range);
    npu_calib_free(calib);
    r = r || npu_quant_choose(s.g, &how, range, &recipe) < 0 || recipe->n_layers < 2 ||
        npu_quant_save(s.p, &how, recipe, quantised, NULL) < 0;
    torture_free(recipe);
    npu_plan_free(s.p);
    npu_graph_free(s.g);
    if (r || make_int8_graph(&s.g, why, sizeof why) < 0 || npu_plan_new(s.d, s.g, NULL, &s.p) < 0 ||
        npu_plan_load(s.p, quantised, true) < 0)
        return -1;
    infer(s.p, int8_want);
    end(&s);
    return 0;
}

/* The fake's kernels compute nothing: a plan or a candidate that wants one is refused. */
static int no_kernel(const char *entry)
{
    return -1;
}

static int setup(void **state)
{
    fake_cl.n_args = no_kernel;
    for (size_t i = 0; i < sizeof x / sizeof x[0]; i++)
        x[i] = (float)(i * 7 % 11) / 5 - 1;
    for (int i = 0; i < RESULTS; i++)
        target[i] = (float)(i % 5);
    if (torture_setup(state) < 0)
        return -1;
    snprintf(quantised, sizeof quantised, "%s.safetensors", torture_dir);
    return on_the_reference();
}

static int teardown(void **state)
{
    unlink(quantised);
    return torture_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_survives),
        cmocka_unit_test(int8_and_the_choice_of_tiers_survive),
        cmocka_unit_test(training_survives),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
