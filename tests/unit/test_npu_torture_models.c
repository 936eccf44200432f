/* test_npu_torture_models.c - each fallible call is made to fail in turn while networks come in and go out: compiled
 * for and run on the simulated NPU, quantised, saved and loaded as such, exported to ONNX and imported. What is asked
 * of failures stands in tests/torture/torture.h; here results must also be those of a life without faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "libnpu/npu_onnx.h"
#include "libnpu/quant.h"
#include "libnpu/safetensors.h"
#include "libnpu/sim/report.h"
#include "tests/torture/torture.h"

enum { SIDE = 6, CLASSES = 5, PIXELS = SIDE * SIDE * 3 };

static char weights[96], quantised[96], onnx[96];
static float x[PIXELS];

struct subject {
    npu_ctx *c;
    npu_dev *d;
    npu_graph *g;
    npu_plan *p;
};

/* ---- a network: two convolutions, the second with a residual, layer norm, a product ---- */
static int make_graph(npu_graph **ret_graph)
{
    const struct npu_init some = {NPU_INIT_NORMAL, 0.3f}, ones = {NPU_INIT_CONST, 1}, zeros = {NPU_INIT_ZERO, 0};
    const int64_t picture[] = {1, SIDE, SIDE, 3}, first[] = {3, 3, 3, 8}, second[] = {3, 3, 8, 8},
                  row[] = {1, SIDE * SIDE * 8}, last[] = {SIDE * SIDE * 8, CLASSES}, channels = 8, classes = CLASSES;
    struct npu_conv2d_opts o = {.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .act = NPU_ACT_RELU};
    npu_graph *g;
    npu_val v;
    int r = npu_graph_new(0, ret_graph);

    if (r < 0)
        return r;
    g = *ret_graph;
    v = npu_scale(g, npu_input(g, "x", NPU_F32, 4, picture), 0.5f, 0.25f);
    o.bias = npu_param(g, "a.bias", 1, &channels, some);
    v = npu_conv2d(g, v, npu_param(g, "a.weight", 4, first, some), &o);
    o.bias = NPU_NONE;
    o.residual = v;
    v = npu_conv2d(g, v, npu_param(g, "b.weight", 4, second, some), &o);
    v = npu_layer_norm(g, v, npu_param(g, "gamma", 1, &channels, ones), npu_param(g, "beta", 1, &channels, zeros),
                       1e-5f);
    v = npu_matmul(g, npu_reshape(g, v, 2, row), npu_param(g, "c.weight", 2, last, some),
                   &(struct npu_matmul_opts){.bias = npu_param(g, "c.bias", 1, &classes, some)});
    npu_output(g, "y", npu_softmax(g, v));
    return npu_graph_status(g);
}

static void make_surely(npu_graph **ret_graph)
{
    int r = make_graph(ret_graph);

    if (r == 0)
        return;
    torture_sane(r, *ret_graph ? npu_graph_error(*ret_graph) : "no graph, no text", "a graph");
    npu_graph_free(*ret_graph);
    assert_int_equal(make_graph(ret_graph), 0);
}

static void run(npu_plan *p, const char *in, const char *out, float *y)
{
    TWICE(npu_plan_write(p, in, x, sizeof x), npu_plan_error(p));
    TWICE(npu_plan_run(p), npu_plan_error(p));
    TWICE(npu_plan_read(p, out, y, CLASSES * sizeof *y), npu_plan_error(p));
}

/* y is what it was in the first life, which has no faults. */
static void compare(float *want, const float *y)
{
    if (!faults_fired()[0])
        memcpy(want, y, CLASSES * sizeof *y);
    for (int i = 0; i < CLASSES; i++)
        if (!(y[i] > 0 && y[i] < 1 && y[i] == want[i]))
            fail_msg("result %d is %g, not %g, after a fault in %s", i, (double)y[i], (double)want[i], faults_fired());
}

static void begin(struct subject *s, const char *device, bool keep_values)
{
    const struct npu_plan_opts opts = {.keep_values = keep_values};

    torture_device(device, &s->c, &s->d);
    make_surely(&s->g);
    TWICE(npu_plan_new(s->d, s->g, &opts, &s->p), npu_ctx_error(s->c));
    TWICE(npu_plan_init(s->p, 1), npu_plan_error(s->p));
}

static void end(struct subject *s)
{
    npu_plan_free(s->p);
    npu_graph_free(s->g);
    npu_dev_close(s->d);
    npu_ctx_free(s->c);
}

/* A file as good as the one before, or the new one; nothing between. */
static void check_file(const char *path, int n_tensors)
{
    struct st_file *f = NULL;
    char why[256] = "";

    TWICE(st_open(path, &f, why, sizeof why), why);
    assert_int_equal(st_n_tensors(f), n_tensors);
    st_close(f);
}

/* ---- the simulated NPU ---- */
static int report(const npu_plan *p)
{
    struct sim_report r;
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    int e = f ? sim_report_make(p, &r) : -ENOMEM;

    if (e == 0) {
        e = sim_report_print(&r, f, false);
        if (e == 0)
            e = sim_report_timeline(&r, "a network", f);
        sim_report_free(&r);
    }
    if (f)
        fclose(f);
    free(text);
    return e;
}

static void on_the_npu(const char *device)
{
    static float want[CLASSES];
    struct subject s = {0};
    float y[CLASSES];

    begin(&s, device, false);
    for (int i = 0; i < 2; i++) {
        run(s.p, "x", "y", y);
        compare(want, y);
    }
    TWICE(report(s.p), "no text");
    end(&s);
}

/* ---- int8 ---- */
static void quantise(struct subject *s, const struct npu_quant_settings *how, struct npu_quant_recipe **ret_recipe)
{
    static const char *const metadata[] = {"made", "by a test", NULL};
    struct npu_quant_range *range = calloc((size_t)npu_graph_n_values(s->g) + 1, sizeof *range);
    struct npu_calib *calib;
    float y[CLASSES];

    assert_non_null(range);
    run(s->p, "x", "y", y);
    TWICE(npu_calib_new(s->p, &calib), "no text");
    TWICE(npu_calib_add(calib), "no text");
    npu_calib_ranges(calib, NPU_CALIB_MSE, range);
    npu_calib_free(calib);
    TWICE(npu_quant_choose(s->g, how, range, ret_recipe), "no text");
    assert_int_equal((*ret_recipe)->n_layers, how->mode == NPU_QUANT_BF16 ? 0 : 3);
    TWICE(npu_quant_save(s->p, how, *ret_recipe, quantised, metadata), "no text");
    free(range);
}

static int make_quantised(npu_graph **ret_graph, char *why, size_t size)
{
    make_surely(ret_graph);
    return npu_graph_quantise_as(*ret_graph, quantised, why, size);
}

static void made_small(const struct npu_quant_settings *how, const char *device, float *want)
{
    const struct npu_plan_opts opts = {.keep_values = true};
    struct npu_quant_error error[8] = {{0}};
    struct npu_quant_recipe *recipe;
    struct subject s = {0};
    npu_graph *g = NULL;
    npu_plan *p;
    char why[256] = "";
    float y[CLASSES];
    int r;

    begin(&s, device, true);
    quantise(&s, how, &recipe);
    r = make_quantised(&g, why, sizeof why);
    if (r < 0) {
        torture_sane(r, why, "npu_graph_quantise_as");
        npu_graph_free(g);
        assert_int_equal(make_quantised(&g, why, sizeof why), 0);
    }
    TWICE(npu_plan_new(s.d, g, &opts, &p), npu_ctx_error(s.c));
    TWICE(npu_plan_load(p, quantised, true), npu_plan_error(p));
    run(p, "x", "y", y);
    compare(want, y);
    TWICE(npu_quant_compare(s.p, p, recipe, error), "no text");
    TWICE(npu_quant_compare_outputs(s.p, p, error), "no text");
    TWICE(npu_plan_save(p, weights, NPU_SAVE_PARAMS, NULL), npu_plan_error(p));
    check_file(weights, how->mode == NPU_QUANT_BF16 ? 7 : 10); /* each layer has a tensor of scales */
    TWICE(npu_plan_load(p, weights, true), npu_plan_error(p));
    run(p, "x", "y", y);
    compare(want, y);
    torture_free(recipe);
    npu_plan_free(p);
    npu_graph_free(g);
    end(&s);
}

static void int8_static(const char *device)
{
    static float want[CLASSES];
    made_small(&(struct npu_quant_settings){.mode = NPU_QUANT_STATIC}, device, want);
}

static void int8_dynamic(const char *device)
{
    static float want[CLASSES];
    made_small(&(struct npu_quant_settings){.mode = NPU_QUANT_DYNAMIC}, device, want);
}

static void bf16(const char *device)
{
    static float want[CLASSES];
    made_small(&(struct npu_quant_settings){.mode = NPU_QUANT_BF16}, device, want);
}

/* ---- ONNX ---- */
static int print(const char *path, char *message)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    int r = f ? npu_onnx_print(path, NULL, f, true, message) : -ENOMEM;

    if (f)
        fclose(f);
    free(text);
    return r;
}

static void run_imported(struct subject *s, const npu_onnx *m, float *want)
{
    npu_plan *p;
    float y[CLASSES];

    TWICE(npu_plan_new(s->d, npu_onnx_graph(m), NULL, &p), npu_ctx_error(s->c));
    TWICE(npu_onnx_load(m, p), npu_plan_error(p));
    run(p, npu_onnx_input(m, 0), npu_onnx_output(m, 0), y);
    compare(want, y);
    npu_plan_free(p);
}

static void there_and_back(const char *device)
{
    static float want[CLASSES];
    struct subject s = {0};
    char why[NPU_ONNX_MESSAGE] = "";
    void *bytes;
    size_t size;
    npu_onnx *m;

    begin(&s, device, false);
    TWICE(npu_onnx_export(s.p, "a network", onnx, why), why);
    TWICE(npu_onnx_import(onnx, NULL, &m, why), why);
    run_imported(&s, m, want);
    TWICE(npu_onnx_save(m, weights, why), why);
    TWICE(npu_plan_load(s.p, weights, true), npu_plan_error(s.p));
    npu_onnx_free(m);
    TWICE(print(onnx, why), why);
    TWICE(npu_onnx_export_bytes(s.p, "a network", &bytes, &size, why), why);
    TWICE(npu_onnx_import_bytes(bytes, size, NULL, &m, why), why);
    run_imported(&s, m, want);
    npu_onnx_free(m);
    torture_free(bytes);
    end(&s);
}

/* ---- the tests ---- */
static void the_npu_survives(void **state)
{
    torture(on_the_npu, "sim:8x8,wm=4K,im=4K,acc=4K,um=16K", FAULTS_FAIL, false);
}

static void quantising_survives(void **state)
{
    torture(int8_static, "ref", FAULTS_FAIL, false);
    torture(int8_static, "ref", FAULTS_SHORT, false);
    torture(int8_dynamic, "ref", FAULTS_FAIL, false);
    torture(bf16, "ref", FAULTS_FAIL, false);
}

static void int8_on_the_npu_survives(void **state)
{
    torture(int8_static, "sim:8x8,wm=4K,im=4K,acc=4K,um=16K", FAULTS_FAIL, false);
}

static void onnx_survives(void **state)
{
    torture(there_and_back, "ref", FAULTS_FAIL, false);
    torture(there_and_back, "ref", FAULTS_SHORT, false);
}

static int setup(void **state)
{
    for (int i = 0; i < PIXELS; i++)
        x[i] = (float)(i * 7 % 11) / 5 - 1;
    if (torture_setup(state) < 0)
        return -1;
    snprintf(weights, sizeof weights, "%s/model.safetensors", torture_dir);
    snprintf(quantised, sizeof quantised, "%s/model-int8.safetensors", torture_dir);
    snprintf(onnx, sizeof onnx, "%s/model.onnx", torture_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_npu_survives),
        cmocka_unit_test(quantising_survives),
        cmocka_unit_test(int8_on_the_npu_survives),
        cmocka_unit_test(onnx_survives),
    };

    return cmocka_run_group_tests(tests, setup, torture_teardown);
}
