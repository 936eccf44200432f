/* test_npu_mixed.c - mixed precision (NPU_GRAPH_MIXED): products of a training graph run on the bf16 unit, in all three
 * directions, stay near the f32 ones, and nothing changes without a unit or without the flag. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/npu_helpers.h"

enum { M = 70, K = 40, N = 50 };

/* loss = mean((x w)^2) */
static npu_graph *product(unsigned flags)
{
    npu_graph *g;
    npu_val x, y, loss;

    assert_int_equal(npu_graph_new(flags, &g), 0);
    x = npu_input(g, "x", NPU_F32, 2, (int64_t[]){M, K});
    y = npu_matmul(g, x, npu_param(g, "w", 2, (int64_t[]){K, N}, (struct npu_init){NPU_INIT_NORMAL, 0.5f}), NULL);
    loss = npu_reduce(g, npu_mul(g, y, y), NPU_REDUCE_MEAN, 3);
    npu_output(g, "y", y);
    npu_output(g, "loss", loss);
    npu_graph_want_grad(g, x);
    npu_graph_backward(g, loss);
    npu_output(g, "dx", npu_graph_grad(g, x));
    npu_output(g, "dw", npu_graph_grad(g, npu_graph_find(g, "w")));
    assert_string_equal(npu_graph_error(g), "");
    return g;
}

struct results {
    float y[M * N], dx[M * K], dw[K * N];
    int on_unit; /* nodes that an emulated bf16 unit serves */
};

static void run(npu_dev *d, unsigned flags, struct results *r)
{
    npu_graph *g = product(flags);
    float x[M * K];
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    npu_plan *p;

    assert_non_null(f);
    for (int i = 0; i < M * K; i++)
        x[i] = sinf((float)i * 0.61f);
    assert_int_equal(npu_plan_new(d, g, NULL, &p), 0);
    assert_int_equal(npu_plan_init(p, 3), 0);
    assert_int_equal(npu_plan_write(p, "x", x, sizeof x), 0);
    assert_int_equal(npu_plan_run(p), 0);
    assert_int_equal(npu_plan_read(p, "y", r->y, sizeof r->y), 0);
    assert_int_equal(npu_plan_read(p, "dx", r->dx, sizeof r->dx), 0);
    assert_int_equal(npu_plan_read(p, "dw", r->dw, sizeof r->dw), 0);
    assert_int_equal(npu_plan_explain(p, f, false), 0);
    fclose(f);
    r->on_unit = 0;
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

static void products_round_on_a_unit(void **state)
{
    static const char *const unit[] = {"NPU_BF16_EMULATE", "NPU_AMX_EMULATE"};
    struct results *r = calloc(4, sizeof *r);
    npu_ctx *ctx = open_ctx();
    npu_dev *d;

    assert_non_null(r);
    setenv("NPU_CPU", "avx2", 1); /* no unit of the processor's own */
    d = open_cl(ctx);
    if (d) {
        run(d, NPU_GRAPH_TRAIN, &r[0]);
        run(d, NPU_GRAPH_TRAIN | NPU_GRAPH_MIXED, &r[1]);
        assert_int_equal(r[1].on_unit, 0);
        assert_memory_equal(&r[0], &r[1], sizeof r[0]); /* no unit: the same */
    }
    for (int i = 0; d && i < 2; i++) {
        setenv(unit[i], "1", 1);
        run(d, NPU_GRAPH_TRAIN, &r[1]);
        run(d, NPU_GRAPH_TRAIN | NPU_GRAPH_MIXED, &r[2]);
        unsetenv(unit[i]);
        assert_int_equal(r[1].on_unit, 0);
        assert_memory_equal(&r[0], &r[1], sizeof r[0]);
        assert_int_equal(r[2].on_unit, 3);
        assert_true(off(r[0].y, r[2].y, M * N) < 0x1p-7f && off(r[0].y, r[2].y, M * N) > 0);
        assert_true(off(r[0].dx, r[2].dx, M * K) < 0x1p-6f);
        assert_true(off(r[0].dw, r[2].dw, K * N) < 0x1p-6f);
    }
    unsetenv("NPU_CPU");
    npu_dev_close(d);
    npu_ctx_free(ctx);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_round_on_a_unit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
