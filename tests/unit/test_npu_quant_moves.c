/* test_npu_quant_moves.c - what lies between int8 layers and only moves elements, or chooses the largest, is int8 too;
 * and so is a classifier's last layer. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "libnpu/op/ops.h"
#include "libnpu/op/quant.h"
#include "tests/unit/npu_helpers.h"

enum { SIZE = 10, N_IN = 3 * SIZE * SIZE, CHANNELS = 8, CLASSES = 1400 };

static npu_ctx *ctx;
static npu_dev *ref;

static int open_ref(void **state)
{
    return npu_ctx_new("", &ctx) < 0 || npu_dev_open(ctx, "ref", &ref) < 0;
}

static int close_ref(void **state)
{
    ref = npu_dev_close(ref);
    ctx = npu_ctx_free(ctx);
    return 0;
}

static npu_val conv(npu_graph *g, npu_val x, const char *w, int cin)
{
    const struct npu_conv2d_opts o = {
        .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .act = NPU_ACT_RELU};
    const int64_t dim[] = {3, 3, cin, CHANNELS};

    return npu_conv2d(g, x, npu_param(g, w, 4, dim, (struct npu_init){NPU_INIT_NORMAL, 0.25f}), &o);
}

/* A classifier as other frameworks export it: pictures come by channels. show: what the pooling makes is an output. */
static npu_graph *classifier(int classes, bool show)
{
    const int64_t last[] = {CHANNELS * SIZE * SIZE / 4, classes};
    npu_graph *g;
    npu_val x;

    assert_int_equal(npu_graph_new(0, &g), 0);
    x = npu_input(g, "x", NPU_F32, 4, (int64_t[]){1, 3, SIZE, SIZE});
    x = conv(g, npu_permute(g, x, (int[]){0, 2, 3, 1}), "a.weight", 3);
    x = npu_max_pool(g, x, (struct npu_pool_opts){2, 2, 0});
    if (show)
        npu_output(g, "pooled", x);
    x = npu_reshape(g, conv(g, x, "b.weight", CHANNELS), 2, (int64_t[]){1, last[0]});
    x = npu_matmul(g, x, npu_param(g, "c.weight", 2, last, (struct npu_init){NPU_INIT_NORMAL, 0.1f}), NULL);
    npu_output(g, "y", x);
    assert_string_equal(npu_graph_error(g), "");
    return g;
}

static void run(npu_plan *p, float *y, int classes)
{
    float x[N_IN];

    for (int i = 0; i < N_IN; i++)
        x[i] = sinf((float)i * 0.37f) + 0.2f;
    assert_int_equal(npu_plan_write(p, "x", x, sizeof x), 0);
    assert_int_equal(npu_plan_run(p), 0);
    assert_int_equal(npu_plan_read(p, "y", y, (size_t)classes * sizeof *y), 0);
}

/* Writes the network's int8 file. */
static void quantise(npu_graph *g, const char *path, enum npu_quant_mode mode, float *y, int classes)
{
    const struct npu_quant_settings s = {.mode = mode, .min_macs = 1000};
    struct npu_quant_range *range = calloc((size_t)npu_graph_n_values(g) + 1, sizeof *range);
    struct npu_quant_recipe *recipe = NULL;
    struct npu_calib *c;
    npu_plan *p;

    assert_non_null(range);
    assert_int_equal(npu_plan_new(ref, g, &(struct npu_plan_opts){.keep_values = true}, &p), 0);
    assert_int_equal(npu_plan_init(p, 5), 0);
    assert_int_equal(npu_calib_new(p, &c), 0);
    run(p, y, classes);
    assert_int_equal(npu_calib_add(c), 0);
    npu_calib_ranges(c, NPU_CALIB_MINMAX, range);
    npu_calib_free(c);
    assert_int_equal(npu_quant_choose(g, &s, range, &recipe), 0);
    assert_int_equal(npu_quant_save(p, &s, recipe, path, NULL), 0);
    free(recipe);
    free(range);
    npu_plan_free(p);
}

/* The nodes' names and what they make: "quantise:i8 permute:i8 ...". */
static void names(const npu_graph *g, char *to, size_t size)
{
    size_t at = 0;

    for (int32_t i = 0; i < g->n_nodes && at < size; i++)
        at += (size_t)snprintf(to + at, size - at, "%s%s:%s", i ? " " : "", g->node[i]->op->name,
                               npu_dtype_name(npu_val_dtype(g, g->node[i]->out[0])));
}

static void becomes(enum npu_quant_mode mode, int classes, bool show, const char *want)
{
    char path[] = "/tmp/npu-quant-XXXXXX", got[512], why[256];
    npu_graph *g = classifier(classes, show);
    float y[CLASSES], q[2][CLASSES], largest = 0, off = 0;
    const int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    quantise(g, path, mode, y, classes);
    npu_graph_free(g);
    g = classifier(classes, show);
    assert_int_equal(npu_graph_quantise_as(g, path, why, sizeof why), 0);
    names(g, got, sizeof got);
    assert_string_equal(got, want);
    for (int k = 0; k < 2; k++) {
        npu_dev *d = ref;
        npu_plan *p;

        if (k && npu_dev_open(ctx, "cl", &d) < 0) {
            memcpy(q[1], q[0], sizeof q[0]);
            skip_cl(npu_ctx_error(ctx));
            continue;
        }
        assert_int_equal(npu_plan_new(d, g, NULL, &p), 0);
        assert_int_equal(npu_plan_load(p, path, true), 0);
        run(p, q[k], classes);
        npu_plan_free(p);
        if (k)
            npu_dev_close(d);
    }
    for (int i = 0; i < classes; i++) {
        largest = fmaxf(largest, fabsf(y[i]));
        off = fmaxf(off, fabsf(y[i] - q[0][i]));
    }
    assert_true(off < 0.05f * largest);
    // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c): the bits count
    assert_int_equal(memcmp(q[0], q[1], (size_t)classes * sizeof q[0][0]), 0);
    npu_graph_free(g);
    unlink(path);
}

static void everything_between_layers_is_int8(void **state)
{
    becomes(NPU_QUANT_STATIC, CLASSES, false,
            "quantise:i8 permute:i8 qconv2d:i8 max_pool:i8 qconv2d:i8 reshape:i8 qmatmul:f32");
}

static void small_last_layers_stay_f32(void **state)
{
    becomes(NPU_QUANT_STATIC, 40, false,
            "quantise:i8 permute:i8 qconv2d:i8 max_pool:i8 qconv2d:f32 reshape:f32 matmul:f32");
}

static void outputs_keep_their_type(void **state)
{
    becomes(NPU_QUANT_STATIC, CLASSES, true,
            "quantise:i8 permute:i8 qconv2d:f32 max_pool:f32 quantise:i8 qconv2d:i8 reshape:i8 qmatmul:f32");
}

static void ranges_found_at_run_time_move_nothing(void **state)
{
    becomes(NPU_QUANT_DYNAMIC, CLASSES, false,
            "permute:f32 quantise_dynamic:i8 qconv2d:f32 max_pool:f32 quantise_dynamic:i8 qconv2d:f32 reshape:f32 "
            "quantise_dynamic:i8 qmatmul:f32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_between_layers_is_int8),
        cmocka_unit_test(small_last_layers_stay_f32),
        cmocka_unit_test(outputs_keep_their_type),
        cmocka_unit_test(ranges_found_at_run_time_move_nothing),
    };

    return cmocka_run_group_tests(tests, open_ref, close_ref);
}
