/* test_onnx_attention.c - attention that a file writes out becomes one operation whichever way q, k and v are split
 * from what holds them; anything near it stays what it is. Either way the results are the same. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "libnpu/npu_onnx.h"
#include "tests/unit/npu_helpers.h"

enum { TOKENS = 7, HEADS = 3, SIZE = 5, D = HEADS * SIZE };

/* What a case is; each but the first few spoils one thing. */
enum how { BY_TOKEN, BY_PICTURE, ONE_FACTOR, HEADS_FIRST, WRONG_FACTOR, WRONG_ORDER, WRONG_V, WRONG_HEADS, HOWS };
static const bool fused[HOWS] = {true, true, true, true, false, false, false, false};

/* [b, heads, n, size] (heads * b, n, size with HEADS_FIRST) of part `which` of x [n, b, 3 d] or [b, n, 3 d] */
static npu_val part(npu_graph *g, npu_val x, enum how how, int64_t b, int which)
{
    const bool by_token = how != BY_PICTURE;
    const int64_t lead[2] = {by_token ? TOKENS : b, by_token ? b : TOKENS};
    npu_val y = npu_reshape(g, x, 5, (int64_t[]){1, lead[0], lead[1], 3, D});

    y = npu_permute(g, y, (int[]){3, 1, 2, 0, 4});
    y = npu_slice(g, npu_reshape(g, y, 4, (int64_t[]){3, lead[0], lead[1], D}), 0, which, 1);
    if (!by_token)
        return npu_permute(g, npu_reshape(g, y, 4, (int64_t[]){b, TOKENS, HEADS, SIZE}), (int[]){0, 2, 1, 3});
    if (how == WRONG_HEADS) { /* a head's elements lie apart */
        y = npu_permute(g, npu_reshape(g, y, 4, (int64_t[]){TOKENS, b, SIZE, HEADS}), (int[]){1, 3, 0, 2});
        return y;
    }
    y = npu_permute(g, npu_reshape(g, y, 3, (int64_t[]){TOKENS, b * HEADS, SIZE}), (int[]){1, 0, 2});
    return how == HEADS_FIRST ? y : npu_reshape(g, y, 4, (int64_t[]){b, HEADS, TOKENS, SIZE});
}

static npu_graph *written_out(enum how how, int64_t b)
{
    const bool by_token = how != BY_PICTURE;
    const float root = powf(SIZE, how == WRONG_FACTOR ? -0.2f : -0.25f);
    const int64_t dims[3] = {by_token ? TOKENS : b, by_token ? b : TOKENS, 3 * D};
    npu_graph *g;
    npu_val x, q, k, v, y;

    assert_int_equal(npu_graph_new(0, &g), 0);
    x = npu_input(g, "x", NPU_F32, 3, dims);
    x = npu_add(g, x, x); /* so that it is computed */
    q = part(g, x, how, b, how == WRONG_ORDER ? 1 : 0);
    k = part(g, x, how, b, how == WRONG_ORDER ? 0 : 1);
    v = part(g, x, how, b, how == WRONG_V ? 1 : 2);
    q = npu_scale(g, q, how == ONE_FACTOR ? root * root : root, 0.0f);
    k = how == ONE_FACTOR ? k : npu_scale(g, k, root, 0.0f);
    y = npu_matmul(g, q, k, &(struct npu_matmul_opts){.trans_b = true});
    y = npu_matmul(g, npu_softmax(g, y), v, NULL);
    if (how != HEADS_FIRST)
        y = npu_reshape(g, npu_permute(g, y, (int[]){2, 0, 1, 3}), 2, (int64_t[]){TOKENS * b, D});
    npu_output(g, "y", npu_add(g, y, y));
    assert_int_equal(npu_graph_status(g), 0);
    return g;
}

static void run(npu_dev *dev, npu_graph *g, const npu_onnx *m, const float *x, size_t n_x, float *y, size_t n_y,
                bool *ret_fused)
{
    npu_graph *h = m ? npu_onnx_graph(m) : g;
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    npu_plan *p;

    assert_int_equal(npu_plan_new(dev, h, NULL, &p), 0);
    if (m)
        assert_int_equal(npu_onnx_load(m, p), 0);
    assert_int_equal(npu_plan_write(p, "x", x, n_x * sizeof *x), 0);
    assert_int_equal(npu_plan_run(p), 0);
    assert_int_equal(npu_plan_read(p, "y", y, n_y * sizeof *y), 0);
    assert_non_null(f);
    assert_int_equal(npu_plan_explain(p, f, false), 0);
    fclose(f);
    *ret_fused = strstr(text, "attention") && !strstr(text, "softmax");
    free(text);
    npu_plan_free(p);
}

static void check(npu_dev *dev, enum how how, int64_t b)
{
    const size_t n = (size_t)(TOKENS * b * D);
    float *x = calloc(3 * n, sizeof *x), *y = calloc(n, sizeof *y), *z = calloc(n, sizeof *z);
    const bool want = fused[how] && (how != HEADS_FIRST || b == 1);
    npu_graph *g = written_out(how, b);
    char message[NPU_ONNX_MESSAGE] = "";
    npu_onnx *m = NULL;
    npu_plan *p;
    size_t size;
    void *bytes;
    bool is;

    assert_true(x && y && z);
    for (size_t i = 0; i < 3 * n; i++)
        x[i] = sinf(0.7f * (float)i * (float)i);
    run(dev, g, NULL, x, 3 * n, y, n, &is);
    assert_false(is);
    assert_int_equal(npu_plan_new(dev, g, NULL, &p), 0);
    assert_int_equal(npu_onnx_export_bytes(p, "net", &bytes, &size, message), 0);
    npu_plan_free(p);
    if (npu_onnx_import_bytes(bytes, size, NULL, &m, message) < 0)
        fail_msg("%s", message);
    run(dev, NULL, m, x, 3 * n, z, n, &is);
    if (is != want)
        fail_msg("case %d, batch %d: %s", (int)how, (int)b, is ? "became attention" : "stayed written out");
    for (size_t i = 0; i < n; i++)
        assert_true(fabsf(y[i] - z[i]) <= 1e-5f * (1.0f + fabsf(y[i])));
    npu_onnx_free(m);
    npu_graph_free(g);
    free(bytes);
    free(x);
    free(y);
    free(z);
}

static void ways_to_write_attention(void **state)
{
    npu_ctx *ctx = open_ctx();
    npu_dev *dev;

    assert_int_equal(npu_dev_open(ctx, "ref", &dev), 0);
    for (int how = 0; how < HOWS; how++)
        for (int64_t b = 1; b <= 3; b += 2)
            check(dev, how, b);
    npu_dev_close(dev);
    npu_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ways_to_write_attention)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
