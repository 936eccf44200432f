/* test_npu_ops.c - operations against numbers from elsewhere, at the edges of f32, and what they refuse. `npu-ops test`
 * compares devices with the C reference; here both are compared with what they should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/npu_helpers.h"

static npu_ctx *ctx;

/* Runs the graph on the device with inputs a, b, c as given (NULL: none) and reads "y". */
static void run_on(const char *device, npu_graph *g, const void *const *in, void *y, size_t size)
{
    static const char *const name[] = {"a", "b", "c"};
    npu_dev *d = NULL;
    npu_plan *p = NULL;

    if (npu_dev_open(ctx, device, &d) < 0) {
        assert_string_equal(device, "cl");
        skip_cl(npu_ctx_error(ctx));
        return;
    }
    if (npu_plan_new(d, g, NULL, &p) < 0)
        fail_msg("%s: %s %s", device, npu_graph_error(g), npu_ctx_error(ctx));
    assert_int_equal(npu_plan_init(p, 1), 0);
    for (int i = 0; i < 3 && in[i]; i++) {
        npu_val v = npu_graph_find(g, name[i]);
        size_t n = (size_t)npu_shape_elements(npu_val_shape(g, v)) * npu_dtype_size(npu_val_dtype(g, v));

        assert_int_equal(npu_plan_write_val(p, v, in[i], n), 0);
    }
    assert_int_equal(npu_plan_run(p), 0);
    assert_int_equal(npu_plan_read(p, "y", y, size), 0);
    npu_plan_free(p);
    npu_dev_close(d);
}

/* Both devices give `want` within tol, NaN for NaN. Frees the graph. */
static void expect(npu_graph *g, npu_val y, const void *a, const void *b, const void *c, const float *want, int n,
                   float tol)
{
    static const char *const devices[] = {"ref", "cl"};
    const void *in[] = {a, b, c};

    assert_int_equal(npu_output(g, "y", y), 0);
    for (int k = 0; k < 2; k++) {
        float got[64];

        memcpy(got, want, (size_t)n * sizeof(*got)); /* a skipped device passes */
        run_on(devices[k], g, in, got, (size_t)n * sizeof(*got));
        for (int i = 0; i < n; i++)
            if (isnan(want[i]) ? !isnan(got[i])
                               : !(got[i] == want[i] || fabsf(got[i] - want[i]) <= tol * (1 + fabsf(want[i]))))
                fail_msg("%s: element %d is %.9g, should be %.9g", devices[k], i, (double)got[i], (double)want[i]);
    }
    npu_graph_free(g);
}

static npu_graph *graph(void)
{
    npu_graph *g = NULL;

    assert_int_equal(npu_graph_new(0, &g), 0);
    return g;
}

static npu_val in_f32(npu_graph *g, const char *name, int rank, int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
    return npu_input(g, name, NPU_F32, rank, (const int64_t[]){d0, d1, d2, d3});
}

/* Figures computed in double precision. */
static void activations_have_known_values(void **state)
{
    const float x[] = {-2, -0.5f, 0, 0.25f, 1, 7};
    npu_graph *g = graph();

    expect(g, npu_gelu(g, in_f32(g, "a", 1, 6, 0, 0, 0)), x, NULL, NULL,
           (const float[]){-0.0454022884f, -0.154285988f, 0, 0.149675682f, 0.841191991f, 7}, 6, 3e-7f);
    g = graph();
    expect(g, npu_sigmoid(g, in_f32(g, "a", 1, 6, 0, 0, 0)), x, NULL, NULL,
           (const float[]){0.119202922f, 0.377540669f, 0.5f, 0.562176501f, 0.731058579f, 0.999088949f}, 6, 3e-7f);
    g = graph();
    expect(g, npu_tanh(g, in_f32(g, "a", 1, 6, 0, 0, 0)), x, NULL, NULL,
           (const float[]){-0.96402758f, -0.462117157f, 0, 0.244918662f, 0.761594156f, 0.999998337f}, 6, 3e-7f);
    g = graph();
    expect(g, npu_relu6(g, in_f32(g, "a", 1, 6, 0, 0, 0)), x, NULL, NULL, (const float[]){0, 0, 0, 0.25f, 1, 6}, 6, 0);
}

static void exp_holds_at_the_edges(void **state)
{
    const float x[] = {88.5f, 88.8f, INFINITY, -INFINITY, NAN, -87, -1000, 1e-8f, 1, 0};
    const float y[] = {2.72308783e+38f, INFINITY, INFINITY, 0, NAN, 1.64581131e-38f, 0, 1, 2.71828183f, 1};
    npu_graph *g = graph();

    expect(g, npu_exp(g, in_f32(g, "a", 1, 10, 0, 0, 0)), x, NULL, NULL, y, 10, 5e-7f);
    g = graph();
    expect(g, npu_sigmoid(g, in_f32(g, "a", 1, 4, 0, 0, 0)), (const float[]){-1000, 1000, INFINITY, NAN}, NULL, NULL,
           (const float[]){0, 1, 1, NAN}, 4, 0);
}

static void halves_round_and_overflow(void **state)
{
    const float x[] = {1,       65504,       65519.9f,    65520, -70000, INFINITY, NAN, 2.9802322e-8f, 2.9802326e-8f,
                       6.1e-5f, 1.00048828f, 1.00146484f, -0.0f};
    const float f16[] = {1, 65504,          65504,          INFINITY, -INFINITY,   INFINITY, NAN,
                         0, 5.96046448e-8f, 6.09755516e-5f, 1,        1.00195312f, -0.0f};
    const float bf16[] = {1, 65536, 65536, 65536, -70144, INFINITY, NAN, 2.98023224e-8f, 2.98023224e-8f, 6.10351562e-5f,
                          1, 1,     -0.0f};
    npu_graph *g = graph();

    expect(g, npu_cast(g, npu_cast(g, in_f32(g, "a", 1, 13, 0, 0, 0), NPU_F16), NPU_F32), x, NULL, NULL, f16, 13, 0);
    g = graph();
    expect(g, npu_cast(g, npu_cast(g, in_f32(g, "a", 1, 13, 0, 0, 0), NPU_BF16), NPU_F32), x, NULL, NULL, bf16, 13, 0);
}

static void norms_have_known_values(void **state)
{
    const float x[] = {1, 2, 3, 4}, one[] = {1, 1, 1, 1}, shift[] = {0, 0, 0, 10};
    npu_graph *g = graph();

    expect(g,
           npu_layer_norm(g, in_f32(g, "a", 2, 1, 4, 0, 0), in_f32(g, "b", 1, 4, 0, 0, 0),
                          in_f32(g, "c", 1, 4, 0, 0, 0), 0),
           x, one, shift, (const float[]){-1.34164079f, -0.447213595f, 0.447213595f, 11.3416408f}, 4, 3e-7f);
    g = graph();
    expect(g, npu_softmax(g, in_f32(g, "a", 2, 1, 3, 0, 0)), x, NULL, NULL,
           (const float[]){0.0900305732f, 0.244728471f, 0.665240956f}, 3, 3e-7f);
    g = graph(); /* large scores, and one that is ruled out */
    expect(g, npu_softmax(g, in_f32(g, "a", 1, 3, 0, 0, 0)), (const float[]){1000, 1000, -INFINITY}, NULL, NULL,
           (const float[]){0.5f, 0.5f, 0}, 3, 3e-7f);
}

static void losses_have_known_values(void **state)
{
    const float x[] = {0, 100, -100, 2}, t[] = {1, 1, 1, 0.5f}, w[] = {1, 1, 1, 0};
    const int32_t class[] = {2, -1};
    npu_graph *g = graph();

    expect(
        g,
        npu_bce_logits(g, in_f32(g, "a", 1, 4, 0, 0, 0), in_f32(g, "b", 1, 4, 0, 0, 0), in_f32(g, "c", 1, 4, 0, 0, 0)),
        x, t, w, (const float[]){(0.693147181f + 0 + 100) / 3}, 1, 3e-7f);
    g = graph();
    expect(g, npu_mse(g, in_f32(g, "a", 1, 4, 0, 0, 0), in_f32(g, "b", 1, 4, 0, 0, 0), NPU_NONE), x, t, NULL,
           (const float[]){(1 + 9801 + 10201 + 2.25f) / 4}, 1, 3e-7f);
    g = graph();
    expect(g, npu_l1(g, in_f32(g, "a", 1, 4, 0, 0, 0), in_f32(g, "b", 1, 4, 0, 0, 0), in_f32(g, "c", 0, 0, 0, 0, 0)), x,
           t, (const float[]){0}, (const float[]){0}, 1, 0); /* no weight at all */
    g = graph();                                             /* the second row is ignored */
    expect(g, npu_cross_entropy(g, in_f32(g, "a", 2, 2, 3, 0, 0), npu_input(g, "b", NPU_I32, 1, (const int64_t[]){2})),
           (const float[]){5, 5, 5, 9, 9, 9}, class, NULL, (const float[]){1.09861229f}, 1, 3e-7f);
}

static void pictures_have_known_values(void **state)
{
    const float x[] = {0, 4, 8, 16}; /* 2 x 2 */
    npu_graph *g = graph();

    expect(g, npu_resize(g, in_f32(g, "a", 4, 1, 2, 2, 1), 2, 4, NPU_RESIZE_BILINEAR), x, NULL, NULL,
           (const float[]){0, 1, 3, 4, 8, 10, 14, 16}, 8, 0);
    g = graph();
    expect(g, npu_resize(g, in_f32(g, "a", 4, 1, 2, 2, 1), 3, 3, NPU_RESIZE_NEAREST), x, NULL, NULL,
           (const float[]){0, 4, 4, 8, 16, 16, 8, 16, 16}, 9, 0);
    g = graph();
    expect(g, npu_max_pool(g, in_f32(g, "a", 4, 1, 2, 2, 1), (struct npu_pool_opts){2, 1, 1}), x, NULL, NULL,
           (const float[]){0, 4, 4, 8, 16, 16, 8, 16, 16}, 9, 0);
    g = graph(); /* padding is not counted */
    expect(g, npu_mean_pool(g, in_f32(g, "a", 4, 1, 2, 2, 1), (struct npu_pool_opts){2, 1, 1}), x, NULL, NULL,
           (const float[]){0, 2, 4, 4, 7, 10, 8, 12, 16}, 9, 0);
    g = graph();
    expect(g, npu_gather_rows(g, in_f32(g, "a", 3, 1, 2, 2, 0), npu_input(g, "b", NPU_I32, 2, (const int64_t[]){1, 3})),
           x, (const int32_t[]){1, 2, 0}, NULL, (const float[]){8, 16, 0, 0, 0, 4}, 6, 0);
}

/* Naive sums in f32 are off by per cents here. */
static void long_sums_stay_accurate(void **state)
{
    const int64_t n = 3 << 20;
    npu_graph *g = graph();
    npu_val a = in_f32(g, "a", 2, n, 1, 0, 0);
    float *x = malloc((size_t)n * sizeof(*x));

    assert_non_null(x);
    for (int64_t i = 0; i < n; i++)
        x[i] = 1000.1f;
    expect(g, npu_reduce(g, a, NPU_REDUCE_MEAN, 0), x, NULL, NULL, (const float[]){1000.1f}, 1, 1e-6f);
    free(x);
}

static void batch_norm_folds_into_weights(void **state)
{
    const float x[] = {1, -2, 3, 0.5f, 4, -1}, gamma[] = {1.5f, -2}, beta[] = {0.1f, 7}, mean[] = {0.3f, -1},
                var[] = {2, 0.25f};
    const float w0[] = {1, 2, 3, 4, 5, 6}, b0[] = {0.5f, -0.25f}, eps = 1e-3f;
    float w[6], b[2], want[4], got[4] = {0};

    memcpy(w, w0, sizeof(w));
    memcpy(b, b0, sizeof(b));
    assert_int_equal(npu_fold_batch_norm(w, 5, b, 2, gamma, beta, mean, var, eps), -EINVAL);
    assert_memory_equal(w, w0, sizeof(w));
    assert_int_equal(npu_fold_batch_norm(w, 6, b, 2, gamma, beta, mean, var, eps), 0);
    for (int i = 0; i < 4; i++) {
        want[i] = b0[i % 2];
        got[i] = b[i % 2];
        for (int k = 0; k < 3; k++) {
            want[i] += x[i / 2 * 3 + k] * w0[k * 2 + i % 2];
            got[i] += x[i / 2 * 3 + k] * w[k * 2 + i % 2];
        }
        want[i] = (want[i] - mean[i % 2]) / sqrtf(var[i % 2] + eps) * gamma[i % 2] + beta[i % 2];
        assert_true(fabsf(want[i] - got[i]) < 1e-4f);
    }
}

/* What must be refused, with words that the message must have. */
static npu_val bad(npu_graph *g, int i, const char **ret_words)
{
    npu_val m = in_f32(g, "m", 2, 3, 4, 0, 0), v = in_f32(g, "v", 1, 3, 0, 0, 0), p = in_f32(g, "p", 4, 1, 5, 5, 2);
    npu_val k = npu_input(g, "k", NPU_I32, 2, (const int64_t[]){3, 4});
    const npu_val two[] = {m, v};

    switch (i) {
    case 0:
        return *ret_words = "[3] does not broadcast to [3,4]", npu_add(g, m, v);
    case 1:
        return *ret_words = "npu_cast it", npu_relu(g, k);
    case 2:
        return *ret_words = "gamma is f32 [3], needs f32 [4]", npu_layer_norm(g, m, v, v, 1e-5f);
    case 3:
        return *ret_words = "3 from 2 does not lie in axis 1 of [3,4]", npu_slice(g, m, 1, 2, 3);
    case 4:
        return *ret_words = "all but axis 0 must agree", npu_concat(g, two, 2, 0);
    case 5:
        return *ret_words = "name each of 2 axes once", npu_permute(g, m, (const int[]){1, 1});
    case 6:
        return *ret_words = "another number of elements", npu_reshape(g, m, 2, (const int64_t[]){5, -1});
    case 7:
        return *ret_words = "none of f32, bf16, f16", npu_cast(g, m, NPU_I32);
    case 8:
        return *ret_words = "axes 0x8", npu_reduce(g, m, NPU_REDUCE_SUM, 8);
    case 9:
        return *ret_words = "0 <= pad < kernel", npu_max_pool(g, p, (struct npu_pool_opts){2, 2, 2});
    case 10:
        return *ret_words = "does not fit", npu_mean_pool(g, p, (struct npu_pool_opts){6, 1, 0});
    case 11:
        return *ret_words = "[n, h, w, c]", npu_resize(g, m, 4, 4, NPU_RESIZE_NEAREST);
    case 12:
        return *ret_words = "target is f32 [3], needs i32 [3]", npu_cross_entropy(g, m, v);
    case 13:
        return *ret_words = "target [3] differ", npu_mse(g, m, v, NPU_NONE);
    case 14:
        return *ret_words = "x must be [b, n, c]", npu_gather_rows(g, m, k);
    case 15:
        return *ret_words = "slope [3]", npu_prelu(g, m, v);
    case 16:
        return *ret_words = "16384 pixels", npu_resize(g, p, 16385, 4, NPU_RESIZE_NEAREST);
    default:
        return NPU_NONE;
    }
}

static void wrong_shapes_are_refused(void **state)
{
    for (int i = 0;; i++) {
        npu_graph *g = graph();
        const char *words = NULL;
        npu_val v = bad(g, i, &words);

        if (v == NPU_NONE) {
            npu_graph_free(g);
            return;
        }
        assert_int_equal(v, -EINVAL);
        if (!strstr(npu_graph_error(g), words))
            fail_msg("case %d: \"%s\" has no \"%s\"", i, npu_graph_error(g), words);
        npu_graph_free(g);
    }
}

static int set_up(void **state)
{
    ctx = open_ctx();
    return 0;
}

static int tear_down(void **state)
{
    ctx = npu_ctx_free(ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_have_known_values), cmocka_unit_test(exp_holds_at_the_edges),
        cmocka_unit_test(halves_round_and_overflow),     cmocka_unit_test(norms_have_known_values),
        cmocka_unit_test(losses_have_known_values),      cmocka_unit_test(pictures_have_known_values),
        cmocka_unit_test(long_sums_stay_accurate),       cmocka_unit_test(batch_norm_folds_into_weights),
        cmocka_unit_test(wrong_shapes_are_refused),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
