/* test_npu_avx2_grad.c - gradients of the tier avx2: broken kernels are refused, native code computes them, and their
 * bits do not depend on how many threads share the work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libnpu/dev.h"
#include "libnpu/dev/cpu.h"
#include "libnpu/op/attention.h"
#include "libnpu/op/conv2d.h"
#include "libnpu/tier/avx2.h"
#include "tests/unit/npu_helpers.h"

/* ---- self-test ---- */
static npu_native_fn *whole;

/* A kernel that leaves a part out. */
static void half(const struct npu_native_call *c, int part, int n_parts)
{
    if (part != 1)
        whole(c, part, n_parts);
}

static void test_broken_is_refused(void **state)
{
    const struct npu_avx2_kernels *good = npu_avx2_kernels();

    if (!good || !(npu_cpu_features() & NPU_CPU_AVX2_FMA)) {
        printf("# SKIP no AVX2 here\n");
        return;
    }
    assert_int_equal(npu_avx2_self_test(good), 0);
    for (int i = 0;; i++) {
        struct npu_avx2_kernels k = *good;
        npu_native_fn **const each[] = {&k.outer,          &k.outer_sum,        &k.grad_x_pack,
                                        &k.grad_x,         &k.winograd_sums,    &k.winograd_gw,
                                        &k.attention_grad, &k.depthwise_grad_x, &k.depthwise_grad_w};

        if (i >= (int)(sizeof each / sizeof each[0]))
            break;
        whole = *each[i];
        *each[i] = half;
        assert_int_equal(npu_avx2_self_test(&k), -EIO);
    }
}

/* ---- the same bits for any number of threads ---- */
static npu_val conv_gradient(npu_graph *g, const struct npu_op *op, const int *v)
{
    const int oh = (v[1] + 2 * v[7] - v[5]) / v[6] + 1, ow = (v[2] + 2 * v[7] - v[5]) / v[6] + 1;
    const struct npu_conv2d_attr at = {.stride = v[6],
                                       .pad_top = v[7],
                                       .pad_left = v[7],
                                       .pad_bottom = v[7],
                                       .pad_right = v[7],
                                       .groups = v[8] ? v[3] : 1,
                                       .x_h = v[1],
                                       .x_w = v[2],
                                       .kh = v[5],
                                       .kw = v[5],
                                       .out_dtype = NPU_F32};
    const npu_val gy = npu_input(g, "gy", NPU_F32, 4, (int64_t[]){v[0], oh, ow, v[4]});
    npu_val in[2] = {gy, gy};

    if (op == &npu_op_conv2d_grad_x)
        in[1] = npu_input(g, "w", NPU_F32, 4, (int64_t[]){v[5], v[5], v[8] ? 1 : v[3], v[4]});
    else
        in[0] = npu_input(g, "x", NPU_F32, 4, (int64_t[]){v[0], v[1], v[2], v[3]});
    return npu_node_add(g, op, in, 2, &at, sizeof at);
}

static npu_val product(npu_graph *g, const int *v)
{
    const npu_val a = npu_input(g, "a", NPU_F32, 3, (int64_t[]){v[0], v[3], v[1]});
    const npu_val b = npu_input(g, "b", NPU_F32, 3, (int64_t[]){v[0], v[3], v[2]});

    return npu_matmul(g, a, b, &(struct npu_matmul_opts){.trans_a = true});
}

static npu_val attention(npu_graph *g)
{
    const struct npu_attention_attr at = {3};
    const npu_val in[2] = {npu_input(g, "qkv", NPU_F32, 3, (int64_t[]){2, 101, 3 * 3 * 20}),
                           npu_input(g, "gy", NPU_F32, 3, (int64_t[]){2, 101, 3 * 20})};

    return npu_node_add(g, &npu_op_attention_grad, in, 2, &at, sizeof at);
}

static npu_val build(npu_graph *g, int i)
{
    /* pictures, height, width, channels, results, kernel, stride, padding, one channel a group; products, rows,
     * columns, terms */
    enum { CONVS = 8 };
    static const int conv[CONVS][9] = {{3, 17, 19, 33, 20, 3, 1, 1},    {2, 17, 19, 21, 35, 3, 2, 1},
                                       {3, 64, 48, 1, 24, 3, 2, 1},     {2, 9, 11, 40, 19, 5, 1, 2},
                                       {3, 33, 41, 33, 33, 3, 1, 1, 1}, {5, 40, 43, 24, 24, 3, 2, 1, 1},
                                       {3, 37, 31, 40, 40, 5, 1, 2, 1}, {4, 41, 40, 19, 19, 5, 2, 2, 1}};
    static const int mat[][4] = {{1, 33, 22, 9001}, {1, 200, 150, 1152}, {5, 37, 70, 190}};

    if (i < CONVS)
        return conv_gradient(g, &npu_op_conv2d_grad_w, conv[i]);
    if (i < 2 * CONVS)
        return conv_gradient(g, &npu_op_conv2d_grad_x, conv[i - CONVS]);
    if (i < 2 * CONVS + 3)
        return product(g, mat[i - 2 * CONVS]);
    return i == 2 * CONVS + 3 ? attention(g) : NPU_NONE;
}

static void fill_inputs(npu_plan *p, const npu_graph *g)
{
    uint32_t seed = 5;

    for (npu_val v = 1; v <= g->n_values; v++) {
        const struct npu_value *val = npu_value_of(g, v);
        const size_t n = (size_t)npu_shape_elements(&val->type.shape);
        float *x;

        if (val->kind != NPU_VALUE_INPUT)
            continue;
        x = malloc(n * sizeof *x);
        assert_non_null(x);
        for (size_t k = 0; k < n; k++) {
            seed = seed * 1664525u + 1013904223u;
            x[k] = (float)(int32_t)seed * 0x1p-31f;
        }
        assert_int_equal(npu_plan_write_val(p, v, x, n * sizeof *x), 0);
        free(x);
    }
}

static float *result(npu_dev *d, int i, int units, size_t *ret_bytes)
{
    npu_graph *g = NULL;
    npu_plan *p = NULL;
    npu_val y;
    float *r;

    assert_int_equal(npu_graph_new(0, &g), 0);
    y = build(g, i);
    assert_true(y > 0);
    assert_int_equal(npu_output(g, "y", y), 0);
    d->traits.compute_units = units;
    assert_int_equal(npu_plan_new(d, g, NULL, &p), 0);
    for (int k = 0; k < p->lower.n_launches; k++)
        assert_non_null(p->lower.launch[k].native);
    fill_inputs(p, g);
    *ret_bytes = (size_t)npu_shape_elements(npu_val_shape(g, y)) * sizeof *r;
    r = malloc(*ret_bytes);
    assert_non_null(r);
    assert_int_equal(npu_plan_run(p), 0);
    assert_int_equal(npu_plan_read_val(p, y, r, *ret_bytes), 0);
    npu_plan_free(p);
    npu_graph_free(g);
    return r;
}

static void test_threads_do_not_matter(void **state)
{
    static const int units[] = {2, 3, 8, 61};
    npu_ctx *ctx = open_ctx();
    npu_dev *d = open_cl(ctx);
    int own;

    if (d && npu_avx2_for(&d->traits)) {
        own = d->traits.compute_units;
        for (int i = 0;; i++) {
            npu_graph *g = NULL;
            size_t bytes;
            float *one;

            assert_int_equal(npu_graph_new(0, &g), 0);
            if (build(g, i) == NPU_NONE) {
                npu_graph_free(g);
                break;
            }
            npu_graph_free(g);
            one = result(d, i, 1, &bytes);
            for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
                float *many = result(d, i, units[u], &bytes);

                assert_memory_equal(many, one, bytes);
                free(many);
            }
            free(one);
        }
        d->traits.compute_units = own;
    } else if (d) {
        printf("# SKIP no tier avx2 here\n");
    }
    npu_dev_close(d);
    npu_ctx_free(ctx);
}

/* ---- a training step ---- */
/* A small network with what training uses; returns the value that is to be compared. */
static npu_val network(npu_graph *g)
{
    const struct npu_init small = {NPU_INIT_UNIFORM, 0.3f}, one = {NPU_INIT_CONST, 1}, none = {NPU_INIT_CONST, 0};
    const npu_val x = npu_input(g, "x", NPU_F32, 4, (int64_t[]){5, 12, 16, 3});
    const npu_val target = npu_input(g, "target", NPU_F32, 2, (int64_t[]){5, 7});
    npu_val v = npu_param(g, "w1", 4, (int64_t[]){3, 3, 3, 24}, small), qkv, loss;

    v = npu_conv2d(
        g, x, v, &(struct npu_conv2d_opts){.stride = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1});
    v = npu_batch_norm(g, v, npu_param(g, "gamma", 1, (int64_t[]){24}, one),
                       npu_param(g, "beta", 1, (int64_t[]){24}, none),
                       npu_state(g, "mean", NPU_F32, 1, (int64_t[]){24}, none),
                       npu_state(g, "var", NPU_F32, 1, (int64_t[]){24}, one), 1e-5f, 0.1f, true);
    v = npu_relu(g, v);
    v = npu_conv2d(g, v, npu_param(g, "w2", 4, (int64_t[]){3, 3, 24, 24}, small),
                   &(struct npu_conv2d_opts){.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1});
    v = npu_conv2d(
        g, v, npu_param(g, "w3", 4, (int64_t[]){3, 3, 1, 24}, small),
        &(struct npu_conv2d_opts){.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .groups = 24});
    v = npu_reshape(g, v, 3, (int64_t[]){5, 48, 24});
    v = npu_layer_norm(g, v, npu_param(g, "lg", 1, (int64_t[]){24}, one), npu_param(g, "lb", 1, (int64_t[]){24}, none),
                       1e-5f);
    qkv = npu_matmul(g, v, npu_param(g, "wq", 2, (int64_t[]){24, 72}, small), NULL);
    v = npu_gelu(g, npu_add(g, v, npu_attention(g, qkv, 2)));
    v = npu_reduce(g, v, NPU_REDUCE_MEAN, 2);
    v = npu_matmul(g, v, npu_param(g, "wo", 2, (int64_t[]){24, 7}, small),
                   &(struct npu_matmul_opts){.bias = npu_param(g, "bo", 1, (int64_t[]){7}, none)});
    loss = npu_l1(g, v, target, NPU_NONE);
    npu_output(g, "loss", loss);
    assert_int_equal(npu_graph_backward(g, loss), 0);
    assert_int_equal(
        npu_graph_adamw(g,
                        &(struct npu_adamw_opts){
                            .beta1 = 0.9f, .beta2 = 0.99f, .eps = 1e-8f, .weight_decay = 0.05f, .clip_norm = 0.5f}),
        0);
    return loss;
}

/* The losses of a few steps; a step has no launch that needs the driver. */
static void train(npu_dev *d, int units, float losses[6])
{
    const float rate = 1e-2f;
    npu_graph *g = NULL;
    npu_plan *p = NULL;
    npu_val loss;

    assert_int_equal(npu_graph_new(NPU_GRAPH_TRAIN, &g), 0);
    loss = network(g);
    assert_string_equal(npu_graph_error(g), "");
    d->traits.compute_units = units;
    assert_int_equal(npu_plan_new(d, g, NULL, &p), 0);
    for (int k = 0; k < p->lower.n_launches; k++)
        if (!p->lower.launch[k].native)
            fail_msg("%s of %s.cl is no native code", p->lower.launch[k].entry, p->lower.launch[k].source);
    assert_int_equal(npu_plan_init(p, 7), 0);
    fill_inputs(p, g);
    for (int i = 0; i < 6; i++) {
        const float step = (float)i + 1.0f;

        assert_int_equal(npu_plan_write(p, "lr", &rate, sizeof rate), 0);
        assert_int_equal(npu_plan_write(p, "step", &step, sizeof step), 0);
        assert_int_equal(npu_plan_run(p), 0);
        assert_int_equal(npu_plan_read_val(p, loss, &losses[i], sizeof losses[i]), 0);
    }
    npu_plan_free(p);
    npu_graph_free(g);
}

static void test_steps_are_native(void **state)
{
    npu_ctx *ctx = open_ctx();
    npu_dev *d = open_cl(ctx);

    if (d && npu_avx2_for(&d->traits)) {
        const int own = d->traits.compute_units;
        float one[6], many[6];

        train(d, 1, one);
        train(d, 13, many);
        assert_memory_equal(many, one, sizeof one);
        assert_true(one[5] < one[0]);
        d->traits.compute_units = own;
    } else if (d) {
        printf("# SKIP no tier avx2 here\n");
    }
    npu_dev_close(d);
    npu_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_broken_is_refused),
                                       cmocka_unit_test(test_threads_do_not_matter),
                                       cmocka_unit_test(test_steps_are_native)};

    setenv("NPU_TUNE", "0", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
