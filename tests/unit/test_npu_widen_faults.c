/* test_npu_widen_faults.c - each fallible call is made to fail in turn while a bf16 graph gets a plan that computes it
 * in f32: an errno and a text, success when it is repeated, the right result, nothing left. On the fake OpenCL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libnpu/dtype.h"
#include "libnpu/widen.h"
#include "tests/torture/torture.h"

enum { M = 4, K = 32 };

static uint16_t x[M * K], w[K * K];

static float number(int i)
{
    return (float)(i * 37 % 61 - 30) / 32.0f;
}

static int make_graph(npu_graph **ret_graph)
{
    const int64_t rows[] = {M, K}, square[] = {K, K};
    npu_graph *g;
    npu_val v;
    int r = npu_graph_new(0, &g);

    if (r < 0)
        return r;
    v = npu_state(g, "w", NPU_BF16, 2, square, (struct npu_init){NPU_INIT_ZERO, 0});
    v = npu_matmul(g, npu_input(g, "x", NPU_BF16, 2, rows), v, NULL);
    npu_output(g, "y", v);
    npu_output(g, "z", npu_cast(g, v, NPU_F32));
    r = npu_graph_status(g);
    if (r < 0)
        npu_graph_free(g);
    else
        *ret_graph = g;
    return r;
}

static void check(npu_plan *p)
{
    uint16_t y[M * K];
    float z[M * K];

    TWICE(npu_plan_write(p, "w", w, sizeof w), npu_plan_error(p));
    TWICE(npu_plan_write(p, "x", x, sizeof x), npu_plan_error(p));
    TWICE(npu_plan_run(p), npu_plan_error(p));
    TWICE(npu_plan_read(p, "y", y, sizeof y), npu_plan_error(p));
    TWICE(npu_plan_read(p, "z", z, sizeof z), npu_plan_error(p));
    for (int i = 0; i < M * K; i++) {
        double sum = 0.0;

        for (int k = 0; k < K; k++)
            sum += (double)npu_bf16_to_f32(x[i / K * K + k]) * (double)npu_bf16_to_f32(w[k * K + i % K]);
        if (fabs(sum - (double)z[i]) > 1e-5 || npu_f32_to_bf16(z[i]) != y[i])
            fail_msg("a wrong result after a fault in %s", faults_fired());
    }
}

static void life(const char *device)
{
    npu_graph *g = NULL;
    npu_ctx *c = NULL;
    npu_plan *p = NULL;
    npu_dev *d = NULL;

    torture_device(device, &c, &d);
    TWICE(make_graph(&g), "out of memory");
    TWICE(npu_plan_new(d, g, NULL, &p), npu_ctx_error(c));
    assert_true(npu_widen_is(p));
    check(p);
    npu_plan_free(p);
    npu_graph_free(g);
    npu_dev_close(d);
    npu_ctx_free(c);
}

static void test_faults(void **state)
{
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        print_message("# SKIP the processor has no AVX2\n");
        return;
    }
    for (int i = 0; i < M * K; i++)
        x[i] = npu_f32_to_bf16(number(i));
    for (int i = 0; i < K * K; i++)
        w[i] = npu_f32_to_bf16(number(i + 7));
    torture(life, "cl0", FAULTS_FAIL, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_faults)};

    setenv("NPU_CPU", "avx2", 1); /* a processor's own bf16 unit would take the product as it is */
    return cmocka_run_group_tests(tests, torture_setup, torture_teardown);
}
