/* test_npu_quant.c - int8 by hand-worked numbers, the rewriting of a graph, weight files and the texts of recipes, and
 * whole networks bit by bit on two devices. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "libnpu/op/quant.h"
#include "libnpu/safetensors.h"
#include "tests/unit/npu_helpers.h"

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

static void rounding_is_as_written_down(void **state)
{
    assert_int_equal(npu_q_shift(3, 1), 2); /* 1.5: halves up */
    assert_int_equal(npu_q_shift(-3, 1), -1);
    assert_int_equal(npu_q_shift(-5, 2), -1); /* -1.25 */
    assert_int_equal(npu_q_shift(INT64_C(1) << 61, 62), 1);
    assert_int_equal(npu_q_from_f32(2.5f, 1, 0), 2); /* halves to even */
    assert_int_equal(npu_q_from_f32(3.5f, 1, 0), 4);
    assert_int_equal(npu_q_from_f32(-300, 1, 100), -128);
    assert_int_equal(npu_q_from_f32(INFINITY, 1, -100), 127);
    assert_int_equal(npu_q_from_f32(NAN, 1, 0), 127);
}

static void ranges_hold_zero_and_both_ends(void **state)
{
    static const float ends[][2] = {{-1, 1}, {0, 6}, {2, 9}, {-5, -4}, {0, 0}, {-1e-3f, 1e20f}, {-3e38f, 3e38f}};

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        const struct npu_q_range r = npu_q_range(ends[i][0], ends[i][1]);
        const float lo = fmaxf(fminf(ends[i][0], 0), -1e30f), hi = fminf(fmaxf(ends[i][1], 0), 1e30f);

        assert_true(fabs((double)r.scale * r.inv - 1) < 1e-6);
        assert_true(r.zero >= -128 && r.zero <= 127);
        assert_int_equal(npu_q_from_f32(0, r.inv, r.zero), r.zero);
        assert_true(fabsf((float)(npu_q_from_f32(lo, r.inv, r.zero) - r.zero) * r.scale - lo) <= r.scale);
        assert_true(fabsf((float)(npu_q_from_f32(hi, r.inv, r.zero) - r.zero) * r.scale - hi) <= r.scale);
    }
}

/* ((x - x_zero) w + bias) mul / 2^shift + y_zero, by hand. */
static void a_product_of_two_terms(void **state)
{
    const int8_t x[2] = {10, -20}, w[4] = {3, -128, 5, 127}; /* w [2, 2] */
    const int32_t bias[2] = {7, -1}, mul[2] = {1 << 29, 1 << 30};
    struct npu_qlayer_opts o = {.x_zero = -2, .out_int8 = true, .shift = 32, .y_zero = 4, .lo = -128, .hi = 127};
    npu_graph *g;
    npu_plan *p;
    npu_val vx, vw, vs;
    int8_t y[2];

    assert_int_equal(npu_graph_new(0, &g), 0);
    vx = npu_input(g, "x", NPU_I8, 2, (int64_t[]){1, 2});
    vw = npu_input(g, "w", NPU_I8, 2, (int64_t[]){2, 2});
    vs = npu_input(g, "s", NPU_I32, 1, (int64_t[]){2});
    o.bias = npu_input(g, "b", NPU_I32, 1, (int64_t[]){2});
    npu_output(g, "y", npu_qmatmul(g, vx, vw, vs, &o));
    assert_int_equal(npu_plan_new(ref, g, NULL, &p), 0);
    assert_int_equal(npu_plan_write(p, "x", x, sizeof x), 0);
    assert_int_equal(npu_plan_write(p, "w", w, sizeof w), 0);
    assert_int_equal(npu_plan_write(p, "s", mul, sizeof mul), 0);
    assert_int_equal(npu_plan_write(p, "b", bias, sizeof bias), 0);
    assert_int_equal(npu_plan_run(p), 0);
    assert_int_equal(npu_plan_read(p, "y", y, sizeof y), 0);
    /* 12 3 - 18 5 + 7 = -47, / 8 = -5.875 -> -6; 12 -128 - 18 127 - 1 = -3823, / 4 = -955.75: saturates */
    assert_int_equal(y[0], -2);
    assert_int_equal(y[1], -128);
    npu_plan_free(p);
    npu_graph_free(g);
}

static void refusals_name_the_reason(void **state)
{
    const struct npu_qlayer_opts bad_shift = {.out_int8 = true, .shift = 63, .lo = -128, .hi = 127};
    const struct npu_qlayer_opts bad_act = {.act = NPU_ACT_GELU};
    npu_graph *g;

    for (int k = 0; k < 3; k++) {
        npu_val x, w, s;

        assert_int_equal(npu_graph_new(0, &g), 0);
        x = npu_input(g, "x", NPU_I8, 2, (int64_t[]){3, 4});
        w = npu_input(g, "w", NPU_I8, 2, (int64_t[]){k == 2 ? 5 : 4, 6});
        s = npu_input(g, "s", k ? NPU_F32 : NPU_I32, 1, (int64_t[]){6});
        assert_int_equal(npu_qmatmul(g, x, w, s, k ? &bad_act : &bad_shift), -EINVAL);
        assert_non_null(strstr(npu_graph_error(g), k == 0 ? "shift 63" : k == 1 ? "activation" : "do not fit"));
        npu_graph_free(g);
    }
}

static void recipes_survive_their_text(void **state)
{
    static const char *const bad[] = {"",
                                      "int8 static 2\n",
                                      "int8 static 1\na.weight 3f800000 0 0 0 0 0 0\n",
                                      "int8 static 1\na.weight bf800000 0 0 0 0 0 0 0\n",
                                      "int8 static 1\na.weight 7fc00000 0 0 0 0 0 0 0\n",
                                      "int8 dynamic 1\na.weight",
                                      "bf16 1\na.weight\n"};
    struct npu_quant_recipe *r = calloc(1, sizeof *r + 2 * sizeof r->layer[0]), *back;
    char *text;

    assert_non_null(r);
    r->n_layers = 2;
    strcpy(r->layer[0].weight, "a.weight");
    strcpy(r->layer[1].weight, "b.weight");
    r->layer[0].x_scale = 0.1f;
    r->layer[0].x_zero = -128;
    r->layer[1].x_scale = 1e-20f;
    r->layer[1].y_scale = 3.0f;
    r->layer[1].res_scale = 7e9f;
    r->layer[1].shift = 62;
    r->layer[1].res_mul = INT32_MAX;
    assert_int_equal(npu_quant_print(r, &text), 0);
    assert_int_equal(npu_quant_parse(text, &back), 0);
    assert_int_equal(back->n_layers, 2);
    assert_memory_equal(back->layer, r->layer, 2 * sizeof r->layer[0]);
    free(back);
    free(text);
    free(r);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(npu_quant_parse(bad[i], &back), -EBADMSG);
}

/* ---- a small network: convolutions with a residual, a product with GELU, one with a residual ---- */
enum { N_IN = 2 * 9 * 7 * 3, N_OUT = 2 * 5 };

static npu_val weight(npu_graph *g, const char *name, int rank, const int64_t *dim)
{
    return npu_param(g, name, rank, dim, (struct npu_init){NPU_INIT_NORMAL, 0.25f});
}

static npu_val vector(npu_graph *g, const char *name, int64_t n)
{
    return npu_param(g, name, 1, &n, (struct npu_init){NPU_INIT_NORMAL, 0.3f});
}

static npu_val conv(npu_graph *g, npu_val x, const char *w, const char *b, int cin, enum npu_act act, npu_val residual)
{
    struct npu_conv2d_opts o = {.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .act = act};

    o.bias = vector(g, b, 8);
    o.residual = residual;
    return npu_conv2d(g, x, weight(g, w, 4, (int64_t[]){3, 3, cin, 8}), &o);
}

static npu_graph *small_net(void)
{
    npu_graph *g;
    npu_val x, r;
    struct npu_matmul_opts o = {.act = NPU_ACT_GELU};

    assert_int_equal(npu_graph_new(0, &g), 0);
    x = conv(g, npu_input(g, "x", NPU_F32, 4, (int64_t[]){2, 9, 7, 3}), "first.weight", "first.bias", 3, NPU_ACT_RELU,
             0);
    x = conv(g, conv(g, x, "a.weight", "a.bias", 8, NPU_ACT_RELU6, 0), "b.weight", "b.bias", 8, NPU_ACT_RELU, x);
    r = conv(g, x, "c.weight", "c.bias", 8, NPU_ACT_NONE, 0);
    x = npu_reshape(g, npu_add(g, npu_max_pool(g, x, (struct npu_pool_opts){1, 1, 0}), r), 3, (int64_t[]){2, 63, 8});
    o.bias = vector(g, "up.bias", 16);
    r = npu_matmul(g, x, weight(g, "up.weight", 2, (int64_t[]){8, 16}), &o);
    o = (struct npu_matmul_opts){.residual = x};
    x = npu_matmul(g, r, weight(g, "down.weight", 2, (int64_t[]){16, 8}), &o);
    x = npu_reduce(g, x, NPU_REDUCE_MEAN, 1u << 1);
    npu_output(g, "y", npu_matmul(g, x, weight(g, "last.weight", 2, (int64_t[]){8, 5}), NULL));
    assert_string_equal(npu_graph_error(g), "");
    return g;
}

/* Inputs and the first layer in sixteenths: its f32 sums are then exact in any order. */
static void fill(float *x, int seed)
{
    for (int i = 0; i < N_IN; i++)
        x[i] = rintf(16 * sinf((float)(i * (seed + 3)) * 0.37f) + 3) / 16;
}

static void run(npu_plan *p, int seed, float *y)
{
    float x[N_IN];

    fill(x, seed);
    assert_int_equal(npu_plan_write(p, "x", x, sizeof x), 0);
    assert_int_equal(npu_plan_run(p), 0);
    assert_int_equal(npu_plan_read(p, "y", y, N_OUT * sizeof *y), 0);
}

/* Calibrates the small network and writes it; y: what the f32 network gives for seed 0. */
static void quantise_to(const char *path, enum npu_quant_mode mode, bool per_tensor, int *ret_layers, float *y)
{
    static const char *const keep[] = {"down", NULL};
    const struct npu_quant_settings s = {.mode = mode, .per_tensor = per_tensor, .keep = keep};
    const struct npu_plan_opts opts = {.keep_values = true};
    npu_graph *g = small_net();
    struct npu_quant_range *range = calloc((size_t)npu_graph_n_values(g) + 1, sizeof *range);
    struct npu_quant_recipe *recipe = NULL;
    struct npu_calib *c;
    npu_plan *p;
    float first[3 * 3 * 3 * 8];

    assert_int_equal(npu_plan_new(ref, g, &opts, &p), 0);
    assert_int_equal(npu_plan_init(p, 5), 0);
    for (int i = 0; i < 3 * 3 * 3 * 8; i++)
        first[i] = (float)(i * 5 % 13 - 6) / 16;
    assert_int_equal(npu_plan_write(p, "first.weight", first, sizeof first), 0);
    assert_int_equal(npu_plan_write(p, "first.bias", first, 8 * sizeof *first), 0);
    assert_int_equal(npu_calib_new(p, &c), 0);
    for (int i = 3; i >= 0; i--) {
        run(p, i, y);
        assert_int_equal(npu_calib_add(c), 0);
    }
    npu_calib_ranges(c, per_tensor ? NPU_CALIB_MSE : NPU_CALIB_MINMAX, range);
    npu_calib_free(c);
    assert_int_equal(npu_quant_choose(g, &s, range, &recipe), 0);
    *ret_layers = recipe->n_layers;
    assert_int_equal(npu_quant_save(p, &s, recipe, path, (const char *[]){"model", "small", NULL}), 0);
    free(recipe);
    free(range);
    npu_plan_free(p);
    npu_graph_free(g);
}

static npu_plan *load(npu_dev *d, npu_graph *g, const char *path)
{
    npu_plan *p;
    char why[256] = "";

    assert_int_equal(npu_graph_quantise_as(g, path, why, sizeof why), 0);
    assert_int_equal(npu_plan_new(d, g, NULL, &p), 0);
    assert_int_equal(npu_plan_load(p, path, true), 0);
    return p;
}

static void a_network_quantised(enum npu_quant_mode mode, bool per_tensor, int layers, float bound)
{
    char path[] = "/tmp/npu-quant-XXXXXX";
    float y[N_OUT], q[N_OUT], largest = 0, off = 0;
    npu_graph *g = small_net();
    npu_plan *p;
    int fd = mkstemp(path), found;

    assert_true(fd >= 0);
    close(fd);
    quantise_to(path, mode, per_tensor, &found, y);
    assert_int_equal(found, layers);
    p = load(ref, g, path);
    run(p, 0, q);
    for (int i = 0; i < N_OUT; i++) {
        largest = fmaxf(largest, fabsf(y[i]));
        off = fmaxf(off, fabsf(y[i] - q[i]));
    }
    assert_true(off > 0 && off < bound * largest);
    npu_plan_free(p);
    npu_graph_free(g);
    unlink(path);
}

/* Pairs of a product's weights fit what AVX2 sums in 16 bits, and no more bits are lost than that takes. */
static void neighbours_are_narrow(void **state)
{
    char path[] = "/tmp/npu-quant-XXXXXX", why[256] = "";
    const struct st_tensor *t;
    struct st_file *f;
    float y[N_OUT];
    int fd = mkstemp(path), found;

    assert_true(fd >= 0);
    close(fd);
    quantise_to(path, NPU_QUANT_STATIC, false, &found, y);
    assert_int_equal(st_open(path, &f, why, sizeof why), 0);
    t = st_find(f, "up.weight"); /* [8, 16] */
    assert_true(t && t->has_dtype && t->dtype == NPU_I8 && t->shape.dim[0] == 8 && t->shape.dim[1] == 16);
    for (int c = 0; c < 16; c++) {
        int most = 0, pair = 0;

        for (int k = 0; k < 8; k += 2) {
            const int8_t *w = (const int8_t *)t->data + k * 16 + c;

            most = abs(w[0]) > most ? abs(w[0]) : most;
            most = abs(w[16]) > most ? abs(w[16]) : most;
            pair = abs(w[0] + w[16]) > pair ? abs(w[0] + w[16]) : pair;
        }
        assert_true(pair <= NPU_QUANT_PAIR && (most == 127 || pair >= NPU_QUANT_PAIR - 1));
    }
    st_close(f);
    unlink(path);
}

static void static_int8(void **state)
{
    a_network_quantised(NPU_QUANT_STATIC, false, 4, 0.05f); /* a, b, c, up */
    a_network_quantised(NPU_QUANT_STATIC, true, 4, 0.08f);
}

static void dynamic_int8(void **state)
{
    a_network_quantised(NPU_QUANT_DYNAMIC, false, 4, 0.05f);
}

static void bf16(void **state)
{
    a_network_quantised(NPU_QUANT_BF16, false, 0, 0.03f);
}

/* A transformer's class token: a parameter before computed values. */
static void bf16_parameter_joined(void **state)
{
    const struct npu_quant_recipe recipe = {.mode = NPU_QUANT_BF16};
    const float x[4] = {1, -2, 3, 4}, token[2] = {0.5f, -6};
    float y[6];
    npu_graph *g;
    npu_plan *p;
    npu_val v, t;

    assert_int_equal(npu_graph_new(0, &g), 0);
    v = npu_input(g, "x", NPU_F32, 3, (const int64_t[]){1, 2, 2});
    t = npu_param(g, "token", 3, (const int64_t[]){1, 1, 2}, (struct npu_init){NPU_INIT_ZERO, 0});
    v = npu_concat(g, (const npu_val[]){t, npu_scale(g, v, 2, 0)}, 2, 1);
    npu_output(g, "y", npu_scale(g, v, 0.5f, 1));
    assert_int_equal(npu_graph_quantise(g, &recipe), 0);
    assert_int_equal(npu_plan_new(ref, g, NULL, &p), 0);
    assert_int_equal(npu_plan_write(p, "token", token, sizeof token), 0);
    assert_int_equal(npu_plan_write(p, "x", x, sizeof x), 0);
    assert_int_equal(npu_plan_run(p), 0);
    assert_int_equal(npu_plan_read(p, "y", y, sizeof y), 0);
    for (int i = 0; i < 2; i++)
        assert_true(y[i] == 0.5f * token[i] + 1);
    for (int i = 0; i < 4; i++)
        assert_true(y[2 + i] == x[i] + 1);
    npu_plan_free(p);
    npu_graph_free(g);
}

static void wrong_files_are_refused(void **state)
{
    char path[] = "/tmp/npu-quant-XXXXXX", why[256];
    static const int8_t w[8 * 16];
    npu_graph *g = small_net();
    npu_plan *p;
    float y[N_OUT];
    int fd = mkstemp(path), layers;

    assert_true(fd >= 0);
    close(fd);
    quantise_to(path, NPU_QUANT_STATIC, false, &layers, y);
    /* int8 weights in the f32 network */
    assert_int_equal(npu_plan_new(ref, g, NULL, &p), 0);
    assert_int_equal(npu_plan_load(p, path, false), -EINVAL);
    assert_non_null(strstr(npu_plan_error(p), "has type I"));
    npu_plan_free(p);
    npu_graph_free(g);
    /* a layer that the network has not */
    g = small_net();
    assert_int_equal(st_write(path, &(struct st_source){"w", NPU_I8, {2, {8, 16}}, w}, 1,
                              (const char *[]){NPU_QUANT_KEY, "int8 dynamic 1\nother.weight\n", NULL}),
                     0);
    assert_int_equal(npu_graph_quantise_as(g, path, why, sizeof why), -EINVAL);
    assert_non_null(strstr(why, "other.weight"));
    npu_graph_free(g);
    g = small_net();
    assert_int_equal(st_write(path, &(struct st_source){"w", NPU_I8, {2, {8, 16}}, w}, 1,
                              (const char *[]){NPU_QUANT_KEY, "int9\n", NULL}),
                     0);
    assert_int_equal(npu_graph_quantise_as(g, path, why, sizeof why), -EBADMSG);
    npu_graph_free(g);
    unlink(path);
}

/* The results of a and b, which are int8, bit by bit on the reference and on OpenCL. */
static void devices_agree(void **state)
{
    const struct npu_plan_opts opts = {.keep_values = true};
    char path[] = "/tmp/npu-quant-XXXXXX", why[256];
    npu_graph *g = small_net();
    npu_plan *p[2];
    npu_dev *d;
    float y[N_OUT];
    int fd, layers, compared = 0, n_old = g->n_values;

    if (npu_dev_open(ctx, "cl", &d) < 0) {
        npu_graph_free(g);
        skip_cl(npu_ctx_error(ctx));
        return;
    }
    fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    quantise_to(path, NPU_QUANT_STATIC, false, &layers, y);
    assert_int_equal(npu_graph_quantise_as(g, path, why, sizeof why), 0);
    for (int k = 0; k < 2; k++) {
        assert_int_equal(npu_plan_new(k ? d : ref, g, &opts, &p[k]), 0);
        assert_int_equal(npu_plan_load(p[k], path, true), 0);
        run(p[k], 0, y);
    }
    for (npu_val v = 1; v <= n_old; v++) {
        const struct npu_value *val = npu_value_of(g, v);
        int8_t a[2 * 9 * 7 * 8] = {0}, b[sizeof a] = {0};

        if (val->type.dtype != NPU_I8 || val->kind != NPU_VALUE_NODE)
            continue;
        assert_int_equal(npu_plan_read_val(p[0], v, a, sizeof a), 0);
        assert_int_equal(npu_plan_read_val(p[1], v, b, sizeof b), 0);
        assert_memory_equal(a, b, sizeof a);
        compared++;
    }
    assert_int_equal(compared, 3); /* a, b and what is pooled */
    npu_plan_free(p[0]);
    npu_plan_free(p[1]);
    npu_graph_free(g);
    npu_dev_close(d);
    unlink(path);
}

/* The tier of the product of small whole tensors, as explain tells it. */
static bool has_tier(npu_dev *d, const char *tier)
{
    npu_graph *g;
    npu_plan *p;
    npu_val x, w;
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    bool found;

    assert_non_null(f);
    assert_int_equal(npu_graph_new(0, &g), 0);
    x = npu_input(g, "x", NPU_I8, 2, (int64_t[]){3, 8});
    w = npu_input(g, "w", NPU_I8, 2, (int64_t[]){8, 5});
    npu_output(g, "y", npu_qmatmul(g, x, w, vector(g, "s", 5), &(struct npu_qlayer_opts){0}));
    assert_int_equal(npu_plan_new(d, g, NULL, &p), 0);
    assert_int_equal(npu_plan_explain(p, f, false), 0);
    fclose(f);
    found = strstr(text, tier) != NULL;
    free(text);
    npu_plan_free(p);
    npu_graph_free(g);
    return found;
}

static void dot_products_pass_their_test_first(void **state)
{
    static const struct {
        const char *how;
        bool taken;
    } t[] = {{"emulate", true}, {"broken", false}};

    for (int i = 0; i < 2; i++) {
        npu_dev *d;
        int r;

        setenv("NPU_INT8_DOT", t[i].how, 1);
        setenv("NPU_MAT_NATIVE", "0", 1); /* nothing before it in the default order */
        r = npu_dev_open(ctx, "cl", &d);
        if (r == 0) {
            assert_int_equal(has_tier(d, " int8-dot-emulated "), t[i].taken); /* the last line names refused ones */
            npu_dev_close(d);
        } else {
            skip_cl(npu_ctx_error(ctx));
        }
        unsetenv("NPU_INT8_DOT");
        unsetenv("NPU_MAT_NATIVE");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_is_as_written_down),
        cmocka_unit_test(ranges_hold_zero_and_both_ends),
        cmocka_unit_test(a_product_of_two_terms),
        cmocka_unit_test(refusals_name_the_reason),
        cmocka_unit_test(recipes_survive_their_text),
        cmocka_unit_test(neighbours_are_narrow),
        cmocka_unit_test(static_int8),
        cmocka_unit_test(dynamic_int8),
        cmocka_unit_test(bf16),
        cmocka_unit_test(bf16_parameter_joined),
        cmocka_unit_test(wrong_files_are_refused),
        cmocka_unit_test(devices_agree),
        cmocka_unit_test(dot_products_pass_their_test_first),
    };

    return cmocka_run_group_tests(tests, open_ref, close_ref);
}
