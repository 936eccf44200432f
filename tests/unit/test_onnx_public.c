/* test_onnx_public.c - small networks of public kinds that torch exported (tests/onnx) give what onnxruntime gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "libnpu/npu_onnx.h"
#include "tests/unit/npu_helpers.h"

#define BOUND 1e-5f /* of the largest output: f32 in two orders of sums */

static int read_numbers(const char *path, float *ret_f, int max)
{
    FILE *f = fopen(path, "r");
    int n = 0;

    assert_non_null(f);
    while (n < max && fscanf(f, "%f", &ret_f[n]) == 1)
        n++;
    fclose(f);
    return n;
}

/* What tests/onnx/make_networks.py takes too. */
static float *picture(int64_t size)
{
    const int64_t n = 3 * size * size;
    float *x = malloc((size_t)n * sizeof *x);

    assert_non_null(x);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)((i * 37 + i / size * 11) % 101) / 64.0f - 0.75f;
    return x;
}

static void compare(npu_dev *dev, const npu_onnx *m, const float *want, int count, const char *what)
{
    npu_graph *g = npu_onnx_graph(m);
    const npu_val in = npu_graph_find(g, npu_onnx_input(m, 0)), out = npu_graph_find(g, npu_onnx_output(m, 0));
    const struct npu_shape *s = npu_val_shape(g, in);
    float *x = picture(s->dim[3]), y[64], largest = 0.0f;
    npu_plan *p;

    assert_true(s->rank == 4 && s->dim[0] == 1 && s->dim[1] == 3 && s->dim[2] == s->dim[3]);
    assert_int_equal(npu_shape_elements(npu_val_shape(g, out)), count);
    assert_int_equal(npu_plan_new(dev, g, NULL, &p), 0);
    assert_int_equal(npu_onnx_load(m, p), 0);
    assert_int_equal(npu_plan_write_val(p, in, x, (size_t)(3 * s->dim[2] * s->dim[3]) * sizeof *x), 0);
    assert_int_equal(npu_plan_run(p), 0);
    assert_int_equal(npu_plan_read_val(p, out, y, (size_t)count * sizeof *y), 0);
    for (int i = 0; i < count; i++)
        largest = fmaxf(largest, fabsf(want[i]));
    for (int i = 0; i < count; i++)
        if (!(fabsf(y[i] - want[i]) <= BOUND * largest))
            fail_msg("%s, output %d: %g; onnxruntime has %g", what, i, (double)y[i], (double)want[i]);
    npu_plan_free(p);
    free(x);
}

static const char *const networks[] = {"resnet", "mobilenet_v2", "vit"};

static void on_device(npu_dev *dev)
{
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++) {
        char path[128], message[NPU_ONNX_MESSAGE] = "";
        float want[64], spread = 0.0f;
        npu_onnx *m;
        int n;

        snprintf(path, sizeof path, "tests/onnx/%s.txt", networks[i]);
        n = read_numbers(path, want, 64);
        assert_int_equal(n, 10);
        for (int k = 1; k < n; k++)
            spread = fmaxf(spread, fabsf(want[k] - want[0]));
        assert_true(spread > 0.01f); /* else any network would do */
        snprintf(path, sizeof path, "tests/onnx/%s.onnx", networks[i]);
        if (npu_onnx_import(path, NULL, &m, message) < 0)
            fail_msg("%s: %s", path, message);
        compare(dev, m, want, n, networks[i]);
        npu_onnx_free(m);
    }
}

static void as_onnxruntime_on_the_references(void **state)
{
    npu_ctx *ctx = open_ctx();
    npu_dev *dev;

    assert_int_equal(npu_dev_open(ctx, "ref", &dev), 0);
    on_device(dev);
    npu_dev_close(dev);
    npu_ctx_free(ctx);
}

static void as_onnxruntime_on_opencl(void **state)
{
    npu_ctx *ctx = open_ctx();
    npu_dev *dev = open_cl(ctx);

    if (dev) {
        on_device(dev);
        npu_dev_close(dev);
    }
    npu_ctx_free(ctx);
}

/* Whole layers come back: no batch norm, activation or transpose is a node of its own. */
static void layers_are_fused(void **state)
{
    static const struct {
        const char *network, *op;
        int count;
    } expected[] = {{"resnet", "conv2d", 18},     {"resnet", "batch_norm", 0},    {"resnet", "relu", 0},
                    {"resnet", "add", 0},         {"mobilenet_v2", "conv2d", 52}, {"mobilenet_v2", "batch_norm", 0},
                    {"mobilenet_v2", "relu6", 0}, {"vit", "attention", 2}};

    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        char path[128], message[NPU_ONNX_MESSAGE] = "";
        npu_onnx *m;
        int n = 0;

        snprintf(path, sizeof path, "tests/onnx/%s.onnx", expected[i].network);
        if (npu_onnx_import(path, NULL, &m, message) < 0)
            fail_msg("%s: %s", path, message);
        for (int k = 0; k < npu_onnx_graph(m)->n_nodes; k++)
            n += strcmp(npu_onnx_graph(m)->node[k]->op->name, expected[i].op) == 0;
        if (n != expected[i].count)
            fail_msg("%s has %d nodes %s, not %d", expected[i].network, n, expected[i].op, expected[i].count);
        npu_onnx_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_onnxruntime_on_the_references),
        cmocka_unit_test(as_onnxruntime_on_opencl),
        cmocka_unit_test(layers_are_fused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
