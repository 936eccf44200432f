/* test_npu_mixed.c - mixed precision (NPU_GRAPH_MIXED): products and convolutions of a training graph run on the bf16
 * unit, in all three directions, stay near the f32 ones, and nothing changes without a unit or without the flag, nor
 * where Winograd's tiles serve. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/npu_helpers.h"

/* x, w and y of one product or convolution; loss = mean(y^2) */
struct shape {
    int rank;
    int64_t x[4], w[4];
    int stride;
    bool rounds; /* on a unit */
};
enum { MOST = 8192 };

static npu_val result_of(npu_graph *g, const struct shape *s, npu_val x)
{
    const npu_val w = npu_param(g, "w", s->rank, s->w, (struct npu_init){NPU_INIT_NORMAL, 0.5f});
    const struct npu_conv2d_opts o = {
        .stride = s->stride, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};

    return s->rank == 2 ? npu_matmul(g, x, w, NULL) : npu_conv2d(g, x, w, &o);
}

static npu_graph *graph_of(const struct shape *s, unsigned flags)
{
    npu_graph *g;
    npu_val x, y, loss;

    assert_int_equal(npu_graph_new(flags, &g), 0);
    x = npu_input(g, "x", NPU_F32, s->rank, s->x);
    y = result_of(g, s, x);
    loss = npu_reduce(g, npu_mul(g, y, y), NPU_REDUCE_MEAN, s->rank == 2 ? 3 : 15);
    npu_output(g, "y", y);
    npu_output(g, "loss", loss);
    npu_graph_want_grad(g, x);
    npu_graph_backward(g, loss);
    npu_output(g, "dx", npu_graph_grad(g, x));
    npu_output(g, "dw", npu_graph_grad(g, npu_graph_find(g, "w")));
    assert_string_equal(npu_graph_error(g), "");
    return g;
}

static size_t bytes_of(npu_graph *g, const char *name)
{
    const npu_val v = npu_graph_find(g, name);

    return sizeof(float) * (size_t)npu_shape_elements(npu_val_shape(g, v));
}

struct results {
    float out[3][MOST]; /* y, dx, dw; zeros behind */
    int on_unit;        /* nodes that an emulated bf16 unit serves */
};
static const char *const out_name[3] = {"y", "dx", "dw"};

static void run(npu_dev *d, const struct shape *s, unsigned flags, struct results *r)
{
    npu_graph *g = graph_of(s, flags);
    float x[MOST];
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    npu_plan *p;

    assert_non_null(f);
    memset(r, 0, sizeof *r);
    for (int i = 0; i < MOST; i++)
        x[i] = sinf((float)i * 0.61f);
    assert_int_equal(npu_plan_new(d, g, NULL, &p), 0);
    assert_int_equal(npu_plan_init(p, 3), 0);
    assert_int_equal(npu_plan_write(p, "x", x, bytes_of(g, "x")), 0);
    assert_int_equal(npu_plan_run(p), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(npu_plan_read(p, out_name[i], r->out[i], bytes_of(g, out_name[i])), 0);
    assert_int_equal(npu_plan_explain(p, f, false), 0);
    fclose(f);
    for (const char *at = text; (at = strstr(at, "-emulated ")); at++) /* behind a node's tier stands its memory */
        r->on_unit += strncmp(at + 9 + strspn(at + 9, " "), "arena", 5) == 0;
    free(text);
    npu_plan_free(p);
    npu_graph_free(g);
}

static float largest(const float *a, const float *b, int n)
{
    float most = 0;

    for (int i = 0; i < n; i++)
        most = fmaxf(most, fabsf(a[i] - (b ? b[i] : 0)));
    return most;
}

/* How far results are from those of f32, as a share of the largest. */
static float off(const float *f32, const float *got, int n)
{
    return largest(f32, got, n) / largest(f32, NULL, n);
}

static void check(npu_dev *d, const struct shape *s, struct results *r)
{
    static const char *const unit[] = {"NPU_BF16_EMULATE", "NPU_AMX_EMULATE"};

    run(d, s, NPU_GRAPH_TRAIN, &r[0]);
    run(d, s, NPU_GRAPH_TRAIN | NPU_GRAPH_MIXED, &r[1]);
    assert_int_equal(r[1].on_unit, 0);
    assert_memory_equal(&r[0], &r[1], sizeof r[0]); /* no unit: the same */
    for (int i = 0; i < 2; i++) {
        setenv(unit[i], "1", 1);
        run(d, s, NPU_GRAPH_TRAIN, &r[1]);
        run(d, s, NPU_GRAPH_TRAIN | NPU_GRAPH_MIXED, &r[2]);
        unsetenv(unit[i]);
        assert_int_equal(r[1].on_unit, 0);
        assert_memory_equal(&r[0], &r[1], sizeof r[0]);
        assert_int_equal(r[2].on_unit, s->rounds ? 3 : 0);
        for (int k = 0; k < 3; k++)
            assert_true(off(r[0].out[k], r[2].out[k], MOST) <= (s->rounds ? 0x1p-6f : 0.0f));
        assert_true(!s->rounds || off(r[0].out[0], r[2].out[0], MOST) > 0);
    }
}

static void products_and_convolutions_round_on_a_unit(void **state)
{
    static const struct shape shapes[] = {{2, {70, 40}, {40, 50}, 0, true},
                                          {4, {2, 9, 11, 24}, {3, 3, 24, 36}, 2, true},
                                          {4, {1, 8, 9, 32}, {5, 5, 32, 8}, 3, true},
                                          {4, {2, 12, 14, 16}, {3, 3, 16, 20}, 1, false}};
    struct results *r = calloc(3, sizeof *r);
    npu_ctx *ctx = open_ctx();
    npu_dev *d;

    assert_non_null(r);
    setenv("NPU_CPU", "avx2", 1); /* no unit of the processor's own */
    d = open_cl(ctx);
    for (size_t i = 0; d && i < sizeof shapes / sizeof shapes[0]; i++)
        check(d, &shapes[i], r);
    unsetenv("NPU_CPU");
    npu_dev_close(d);
    npu_ctx_free(ctx);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_and_convolutions_round_on_a_unit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
