/* test_npu_exact.c - gazed's networks in int8 give the same bits on the reference, OpenCL and the simulated NPU, static
 * and dynamic, whatever the NPU's measures; in bf16 they agree within the bound of docs/LIBNPU.md. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "libnpu/dev/sim.h"
#include "libnpu/quant.h"
#include "libnpu/rng.h"
#include "libnpu/sim/counters.h"
#include "models/tool/net_by_name.h"

enum { REF, CL, CL_KERNELS, SIM, SMALL_SIM, DEVICES, MOST = SMALL_SIM, INPUTS = 2 };
static const struct {
    const char *name;
    bool kernels; /* OpenCL's, and no native code of ours */
} devices[DEVICES] = {[REF] = {.name = "ref"},
                      [CL] = {.name = "cl"},
                      [CL_KERNELS] = {.name = "cl", .kernels = true},
                      [SIM] = {.name = "sim"},
                      [SMALL_SIM] = {.name = "sim:16x16,wm=64K,im=64K,acc=32K,um=256K,seed=5"}};
#define BF16_BOUND 0x1p-6f /* of the largest number of an output */

static npu_ctx *ctx;
static npu_dev *dev[DEVICES]; /* NULL: there is none */

static int open_devices(void **state)
{
    int r = npu_ctx_new("", &ctx);

    for (int i = 0; r == 0 && i < DEVICES; i++)
        if (npu_dev_open(ctx, devices[i].name, &dev[i]) < 0) {
            dev[i] = NULL;
            if (getenv("GAZED_NEED_CL") && i == CL)
                return -1;
            printf("# SKIP no device %s\n", devices[i].name);
        }
    return r < 0 || !dev[REF] || !dev[SIM] ? -1 : 0;
}

static int close_devices(void **state)
{
    for (int i = 0; i < DEVICES; i++)
        npu_dev_close(dev[i]);
    ctx = npu_ctx_free(ctx);
    return 0;
}

static void weights_of(const char *name, char *path, size_t size)
{
    snprintf(path, size, "models/weights/%s.safetensors", name);
}

/* Something with slopes and edges, of the size of a standardised picture's numbers; another one for each seed. */
static void write_inputs(npu_plan *p, npu_graph *g, int seed)
{
    for (npu_val v = 1; v <= g->n_values; v++) {
        const struct npu_value *val = npu_value_of(g, v);
        const int64_t n = npu_shape_elements(&val->type.shape);
        float *x;

        if (val->kind != NPU_VALUE_INPUT)
            continue;
        x = malloc((size_t)n * sizeof *x);
        assert_non_null(x);
        for (int64_t i = 0; i < n; i++)
            x[i] = 1.5f * sinf((float)(i % 517) * (0.021f + 0.007f * (float)seed)) +
                   (npu_rng_uniform((uint64_t)seed, (uint64_t)i) - 0.5f) + ((i / 4001 + seed) % 3 ? 0.0f : 0.8f);
        assert_int_equal(npu_plan_write_val(p, v, x, (size_t)n * sizeof *x), 0);
        free(x);
    }
}

static void run(npu_plan *p, npu_graph *g, int seed)
{
    write_inputs(p, g, seed);
    if (npu_plan_run(p) < 0)
        fail_msg("%s", npu_plan_error(p));
}

/* The committed f32 network, calibrated on two inputs, as a file of the mode. */
static void quantise_to(const char *path, const char *name, enum npu_quant_mode mode)
{
    const struct npu_quant_settings s = {.mode = mode, .min_macs = 65536};
    const struct npu_plan_opts opts = {.keep_values = true};
    struct npu_quant_range *range;
    struct npu_quant_recipe *recipe;
    struct npu_calib *c;
    char weights[128];
    struct net net;
    npu_plan *p;

    weights_of(name, weights, sizeof weights);
    assert_int_equal(net_by_name(&net, name, 1), 0);
    assert_int_equal(npu_plan_new(dev[REF], net.graph, &opts, &p), 0);
    if (npu_plan_load(p, weights, false) < 0)
        fail_msg("%s", npu_plan_error(p));
    range = calloc((size_t)npu_graph_n_values(net.graph) + 1, sizeof *range);
    assert_non_null(range);
    assert_int_equal(npu_calib_new(p, &c), 0);
    for (int i = 0; i < 2; i++) {
        run(p, net.graph, i);
        assert_int_equal(npu_calib_add(c), 0);
    }
    npu_calib_ranges(c, NPU_CALIB_MINMAX, range);
    npu_calib_free(c);
    assert_int_equal(npu_quant_choose(net.graph, &s, range, &recipe), 0);
    assert_true(mode == NPU_QUANT_BF16 || recipe->n_layers >= 8);
    assert_int_equal(npu_quant_save(p, &s, recipe, path, NULL), 0);
    free(recipe);
    free(range);
    npu_plan_free(p);
    net_clear(&net);
}

/* All outputs one after the other; *ret_n floats. */
static float *outputs(npu_plan *p, const npu_graph *g, int64_t *ret_n)
{
    float *y;
    int64_t n = 0;

    for (int i = 0; i < g->n_outputs; i++)
        n += npu_shape_elements(npu_val_shape(g, g->output[i].val));
    y = malloc((size_t)n * sizeof *y + 1);
    assert_non_null(y);
    n = 0;
    for (int i = 0; i < g->n_outputs; i++) {
        const int64_t size = npu_shape_elements(npu_val_shape(g, g->output[i].val));

        assert_int_equal(npu_plan_read_val(p, g->output[i].val, y + n, (size_t)size * sizeof *y), 0);
        n += size;
    }
    *ret_n = n;
    return y;
}

static void print_cycles(const char *name, const npu_plan *p)
{
    const struct sim_plan *sp = npu_plan_sim(p);
    struct sim_counters n;

    if (!sp)
        return;
    assert_int_equal(sim_time(npu_dev_sim_config(p->dev), &sp->program, NULL, &n), 0);
    printf("# %s: %llu cycles, %llu KiB read, %llu KiB written\n", name, (unsigned long long)n.cycles,
           (unsigned long long)n.read >> 10, (unsigned long long)n.written >> 10);
}

/* Results of all inputs on devices[d]; [INPUTS] arrays of *ret_n floats. */
static void results_on(int d, const char *name, const char *path, float **ret_y, int64_t *ret_n)
{
    char why[256] = "";
    struct net net;
    npu_plan *p;

    assert_int_equal(net_by_name(&net, name, 1), 0);
    if (npu_graph_quantise_as(net.graph, path, why, sizeof why) < 0)
        fail_msg("%s", why);
    if (devices[d].kernels)
        setenv("NPU_MAT_NATIVE", "0", 1);
    if (npu_plan_new(dev[d], net.graph, NULL, &p) < 0)
        fail_msg("%s: %s", devices[d].name, npu_ctx_error(ctx));
    unsetenv("NPU_MAT_NATIVE");
    assert_int_equal(npu_plan_load(p, path, false), 0);
    for (int i = 0; i < INPUTS; i++) {
        run(p, net.graph, i + 1);
        ret_y[i] = outputs(p, net.graph, ret_n);
    }
    print_cycles(name, p);
    npu_plan_free(p);
    net_clear(&net);
}

static void compare(const char *what, const float *y, const float *want, int64_t n, float bound)
{
    float top = 0, worst = 0;

    if (bound == 0) {
        for (int64_t i = 0; i < n; i++)
            // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c): the bits count
            if (memcmp(&y[i], &want[i], sizeof y[i]) != 0)
                fail_msg("%s: result %lld is %.9g, the reference has %.9g", what, (long long)i, (double)y[i],
                         (double)want[i]);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        top = fmaxf(top, fabsf(want[i]));
        worst = fmaxf(worst, fabsf(y[i] - want[i]));
        assert_false(isnan(y[i]));
    }
    printf("# %s: largest difference %.5f of the largest result\n", what, (double)(worst / top));
    assert_true(worst <= bound * top);
}

/* on the first `n_devices` of them */
static void network_agrees(const char *name, enum npu_quant_mode mode, int n_devices, float bound)
{
    char path[] = "/tmp/npu-exact-XXXXXX", what[160];
    float *y[DEVICES][INPUTS] = {0};
    int64_t n = 0;
    const int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    quantise_to(path, name, mode);
    for (int d = 0; d < n_devices; d++) {
        if (!dev[d])
            continue;
        results_on(d, name, path, y[d], &n);
        for (int i = 0; i < INPUTS; i++) {
            snprintf(what, sizeof what, "%s, input %d, %s%s", name, i, devices[d].name,
                     devices[d].kernels ? " kernels" : "");
            if (d != REF)
                compare(what, y[d][i], y[REF][i], n, bound);
        }
    }
    assert_true(y[REF][0] && y[REF][1] && memcmp(y[REF][0], y[REF][1], (size_t)n * sizeof(float)) != 0);
    for (int d = 0; d < DEVICES; d++)
        for (int i = 0; i < INPUTS; i++)
            free(y[d][i]);
    unlink(path);
}

static void gaze_vit_static(void **state)
{
    network_agrees("gaze_vit", NPU_QUANT_STATIC, DEVICES, 0);
}

static void gaze_vit_dynamic(void **state)
{
    network_agrees("gaze_vit", NPU_QUANT_DYNAMIC, DEVICES, 0);
}

static void landmarks_static(void **state)
{
    network_agrees("landmarks", NPU_QUANT_STATIC, MOST, 0);
}

static void face_finder_static(void **state)
{
    network_agrees("face_finder", NPU_QUANT_STATIC, MOST, 0);
}

static void all_in_bf16(void **state)
{
    static const char *const names[] = {"gaze_vit", "landmarks", "face_finder"};

    for (int i = 0; i < 3; i++)
        network_agrees(names[i], NPU_QUANT_BF16, MOST, BF16_BOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gaze_vit_static),    cmocka_unit_test(gaze_vit_dynamic), cmocka_unit_test(landmarks_static),
        cmocka_unit_test(face_finder_static), cmocka_unit_test(all_in_bf16),
    };

    return cmocka_run_group_tests(tests, open_devices, close_devices);
}
