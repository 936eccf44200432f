/* test_npu_widen.c - bf16 graphs computed in f32: what becomes of their values, which plans do it, and that results are
 * those of f32 arithmetic, rounded once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "libnpu/dev.h"
#include "libnpu/dtype.h"
#include "libnpu/tier/avx2.h"
#include "libnpu/widen.h"
#include "tests/unit/npu_helpers.h"

enum { B = 2, T = 6, D = 32, TOKENS = B * T };

/* Two blocks of a transformer's operations on [B, T, D]. storage: bf16 or, for comparison, f32 with the same nodes. */
struct net {
    npu_graph *g;
    npu_val x, w, seen, y;
};

static npu_val state_of(npu_graph *g, const char *name, enum npu_dtype t, int rank, int64_t rows, int64_t cols)
{
    return npu_state(g, name, t, rank, rank == 2 ? (int64_t[]){rows, cols} : &cols,
                     (struct npu_init){NPU_INIT_ZERO, 0});
}

static struct net build(enum npu_dtype t, bool driver)
{
    struct net n;
    npu_graph *g;
    npu_val h, a;

    assert_int_equal(npu_graph_new(0, &g), 0);
    n.g = g;
    n.x = npu_input(g, "x", t, 3, (int64_t[]){B, T, D});
    n.w = state_of(g, "qkv", t, 2, D, 3 * D);
    h = npu_cast(g, npu_input(g, "bias", NPU_F32, 1, (int64_t[]){D}), t); /* of f32: no cast is left of it */
    h = npu_add(g, n.x, h);
    h = npu_layer_norm(g, h, state_of(g, "gamma", NPU_F32, 1, 0, D), state_of(g, "beta", NPU_F32, 1, 0, D), 1e-5f);
    a = npu_attention(g, npu_matmul(g, h, n.w, NULL), 2);
    h = npu_add(g, n.x, npu_matmul(g, a, state_of(g, "out", t, 2, D, D), NULL));
    n.seen = npu_reshape(g, npu_gelu(g, h), 2, (int64_t[]){TOKENS, D}); /* an output that is read on */
    npu_output(g, "seen", n.seen);
    h = npu_softmax(g, npu_slice(g, n.seen, 1, 4, 9));
    n.y = npu_cast(g, npu_reduce(g, h, NPU_REDUCE_MEAN, 1u << 0), NPU_F32);
    npu_output(g, "y", n.y);
    if (driver) /* f16 has no native code */
        npu_output(g, "half", npu_cast(g, n.y, NPU_F16));
    assert_int_equal(npu_graph_status(g), 0);
    return n;
}

/* ---- the graph ---- */
static void test_graph(void **state)
{
    struct net n = build(NPU_BF16, false), f = build(NPU_F32, false);
    npu_graph *w = NULL;
    int casts = 0;

    assert_int_equal(npu_widen(f.g, &w), 0);
    assert_null(w);
    assert_int_equal(npu_widen(n.g, &w), 0);
    assert_non_null(w);
    for (npu_val v = 1; v <= n.g->n_values; v++) { /* handles, names and what is read and written stay */
        const struct npu_value *a = npu_value_of(n.g, v), *b = npu_value_of(w, v);

        assert_int_equal(a->kind, b->kind);
        assert_true(a->name ? strcmp(a->name, b->name) == 0 && a->name != b->name : !b->name);
        if (a->kind != NPU_VALUE_NODE || v == n.seen || v == n.y)
            assert_int_equal(a->type.dtype, b->type.dtype);
        else if (b->node >= 0)
            assert_int_equal(b->type.dtype, NPU_F32);
    }
    assert_int_equal(npu_graph_find(w, "seen"), n.seen);
    for (int i = 0; i < w->n_nodes; i++) {
        const struct npu_node *node = w->node[i];

        casts += strcmp(node->op->name, "cast") == 0;
        for (int k = 0; k < node->n_in; k++) /* only casts see bf16, and each input was made before */
            if (node->in[k] != NPU_NONE) {
                assert_true(npu_val_dtype(w, node->in[k]) == NPU_F32 || strcmp(node->op->name, "cast") == 0);
                assert_true(npu_value_of(w, node->in[k])->node < i);
            }
    }
    assert_int_equal(casts, 5);                           /* of x, qkv and out; to seen and to y, which is a copy */
    assert_true(npu_value_of(w, n.seen)->root == n.seen); /* no longer the reshaped value's memory */
    npu_graph_free(w);
    npu_graph_free(n.g);
    npu_graph_free(f.g);
}

/* ---- plans ---- */
static float number(uint64_t i)
{
    return (float)((i * 2654435761u >> 8) % 2001) / 1000.0f - 1.0f;
}

/* Writes a named tensor, rounded to bf16 in either storage. */
static void fill(npu_plan *p, const npu_graph *g, const char *name, uint64_t seed)
{
    const npu_val v = npu_graph_find(g, name);
    struct npu_tensor t = {npu_val_dtype(g, v), *npu_val_shape(g, v), NULL};
    const int64_t n = npu_shape_elements(&t.shape);

    t.data = malloc((size_t)n * npu_dtype_size(t.dtype));
    assert_non_null(t.data);
    for (int64_t i = 0; i < n; i++)
        npu_store(&t, i, npu_bf16_to_f32(npu_f32_to_bf16(number(seed * 4096 + (uint64_t)i))));
    assert_int_equal(npu_plan_write(p, name, t.data, (size_t)n * npu_dtype_size(t.dtype)), 0);
    free(t.data);
}

struct result {
    bool widened, native, on_unit; /* some product on a unit for bf16 */
    float seen[TOKENS * D], y[9];
};

static void run(npu_dev *d, enum npu_dtype t, bool driver, const struct npu_plan_opts *o, uint64_t seed,
                struct result *ret)
{
    static const char *const names[] = {"x", "qkv", "bias", "gamma", "beta", "out"};
    struct net n = build(t, driver);
    uint16_t half[TOKENS * D];
    npu_plan *p = NULL;

    assert_int_equal(npu_plan_new(d, n.g, o, &p), 0);
    for (int round = 0; round < 2; round++) { /* weights written anew are converted anew */
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            fill(p, n.g, names[i], round ? seed + i : 77 + i);
        assert_int_equal(npu_plan_run(p), 0);
    }
    ret->widened = npu_widen_is(p);
    ret->native = true;
    ret->on_unit = false;
    for (int i = 0; i < p->lower.n_launches; i++) {
        const struct npu_launch *k = &p->lower.launch[i];

        ret->native &= k->native != NULL;
        ret->on_unit |= k->tier && strstr(k->tier, "bf16");
    }
    assert_int_equal(npu_plan_read(p, "y", ret->y, sizeof ret->y), 0);
    if (t == NPU_BF16) {
        assert_int_equal(npu_plan_read_val(p, n.seen, half, sizeof half), 0);
        for (int i = 0; i < TOKENS * D; i++)
            ret->seen[i] = npu_bf16_to_f32(half[i]);
    } else {
        assert_int_equal(npu_plan_read(p, "seen", ret->seen, sizeof ret->seen), 0);
    }
    npu_plan_free(p);
    npu_graph_free(n.g);
}

static bool serves(npu_dev *d)
{
    return d && npu_avx2_for(&d->traits) != NULL;
}

/* Sums in another order than the reference's cost less than 2^-13 here; bf16 is rounded to 8 bits, once. */
static void check(const struct result *r, const struct result *f32)
{
    for (int i = 0; i < TOKENS * D; i++)
        assert_true(fabsf(r->seen[i] - f32->seen[i]) <= ldexpf(fabsf(f32->seen[i]), -8) + 0x1p-13f);
    for (int i = 0; i < 9; i++)
        assert_true(fabsf(r->y[i] - f32->y[i]) <= 0x1p-14f);
}

static void test_results(void **state)
{
    static struct result wide, exact;
    npu_ctx *c = open_ctx();
    npu_dev *cpu = open_cl(c), *ref = NULL;

    if (serves(cpu)) {
        assert_int_equal(npu_dev_open(c, "ref", &ref), 0);
        for (uint64_t seed = 1; seed < 4; seed++) {
            run(cpu, NPU_BF16, false, NULL, seed, &wide);
            run(ref, NPU_F32, false, NULL, seed, &exact);
            assert_true(wide.widened && wide.native);
            assert_false(exact.widened);
            check(&wide, &exact);
        }
        npu_dev_close(ref);
    } else {
        puts("# SKIP no tier avx2");
    }
    npu_dev_close(cpu);
    npu_ctx_free(c);
}

/* A product of f32 beside others of bf16 rounds nothing, whatever unit there is. */
static void f32_stays_f32(npu_dev *d)
{
    static float x[TOKENS * D], one[D * D], y[TOKENS * D];
    npu_graph *g;
    npu_plan *p;
    npu_val f;

    for (int i = 0; i < TOKENS * D; i++)
        x[i] = 1.0f + (float)i * 0x1p-12f;
    for (int i = 0; i < D; i++)
        one[i * D + i] = 1.0f;
    assert_int_equal(npu_graph_new(0, &g), 0);
    f = npu_layer_norm(g, npu_input(g, "h", NPU_BF16, 2, (int64_t[]){TOKENS, D}),
                       state_of(g, "gamma", NPU_F32, 1, 0, D), state_of(g, "beta", NPU_F32, 1, 0, D), 1e-5f);
    npu_output(g, "half", npu_matmul(g, f, state_of(g, "w", NPU_BF16, 2, D, D), NULL));
    f = npu_matmul(g, npu_input(g, "x", NPU_F32, 2, (int64_t[]){TOKENS, D}), state_of(g, "one", NPU_F32, 2, D, D),
                   NULL);
    npu_output(g, "y", f);
    assert_int_equal(npu_plan_new(d, g, NULL, &p), 0);
    assert_true(npu_widen_is(p));
    assert_int_equal(npu_plan_write(p, "x", x, sizeof x), 0);
    assert_int_equal(npu_plan_write(p, "one", one, sizeof one), 0);
    assert_int_equal(npu_plan_run(p), 0);
    assert_int_equal(npu_plan_read(p, "y", y, sizeof y), 0);
    assert_memory_equal(y, x, sizeof x);
    npu_plan_free(p);
    npu_graph_free(g);
}

/* Units for bf16 compute the products of such a plan, from factors that they round: results are near those of a device
 * that rounds wherever the graph says, and no driver is needed. Products that are all there is stay in bf16. */
static void test_bf16_units(void **state)
{
    static const char *const unit[] = {"NPU_BF16_EMULATE", "NPU_AMX_EMULATE"};
    static struct result r, want;
    npu_ctx *c = open_ctx();
    npu_dev *cpu = open_cl(c), *ref = NULL;

    assert_int_equal(npu_dev_open(c, "ref", &ref), 0);
    run(ref, NPU_BF16, false, NULL, 3, &want);
    for (size_t i = 0; i < sizeof unit / sizeof unit[0] && serves(cpu); i++) {
        double noise = 0.0, signal = 0.0;
        npu_graph *g;
        npu_plan *p;

        setenv(unit[i], "1", 1);
        run(cpu, NPU_BF16, false, NULL, 3, &r);
        assert_true(r.widened && r.native && r.on_unit);
        for (int k = 0; k < TOKENS * D; k++) {
            noise += (double)(r.seen[k] - want.seen[k]) * (double)(r.seen[k] - want.seen[k]);
            signal += (double)want.seen[k] * (double)want.seen[k];
        }
        assert_true(noise < signal * 1e-4);
        assert_int_equal(npu_graph_new(0, &g), 0);
        npu_output(g, "y",
                   npu_matmul(g, npu_input(g, "x", NPU_BF16, 2, (int64_t[]){TOKENS, D}),
                              state_of(g, "w", NPU_BF16, 2, D, D), NULL));
        assert_int_equal(npu_plan_new(cpu, g, NULL, &p), 0);
        assert_false(npu_widen_is(p));
        npu_plan_free(p);
        npu_graph_free(g);
        f32_stays_f32(cpu);
        unsetenv(unit[i]);
    }
    npu_dev_close(cpu);
    npu_dev_close(ref);
    npu_ctx_free(c);
}

/* As written where values can be read in between, where a tier is asked for, where the driver is needed anyway, and on
 * devices without the tier avx2. */
static void test_left_alone(void **state)
{
    static const char *const environment[][2] = {{"NPU_TIER", "vec8"}, {"NPU_MAT_NATIVE", "0"}};
    const struct npu_plan_opts keep = {.keep_values = true};
    static struct result r;
    npu_ctx *c = open_ctx();
    npu_dev *cpu = open_cl(c), *ref = NULL;

    assert_int_equal(npu_dev_open(c, "ref", &ref), 0);
    run(ref, NPU_BF16, false, NULL, 1, &r);
    assert_false(r.widened);
    if (serves(cpu)) {
        run(cpu, NPU_BF16, false, &keep, 1, &r);
        assert_false(r.widened);
        run(cpu, NPU_BF16, true, NULL, 1, &r);
        assert_false(r.widened);
        for (size_t i = 0; i < sizeof environment / sizeof environment[0]; i++) {
            setenv(environment[i][0], environment[i][1], 1);
            run(cpu, NPU_BF16, false, NULL, 1, &r);
            unsetenv(environment[i][0]);
            assert_false(r.widened);
        }
    }
    npu_dev_close(cpu);
    npu_dev_close(ref);
    npu_ctx_free(c);
}

/* Casts that are all there is round as they say. */
static void test_casts_alone(void **state)
{
    const float x[] = {1.00390625f, -3.0078125f}; /* halfway to the next bf16: to even */
    float y[2] = {0};
    npu_ctx *c = open_ctx();
    npu_dev *cpu = open_cl(c);
    npu_plan *p = NULL;
    npu_graph *g;

    npu_graph_new(0, &g);
    npu_output(g, "y", npu_cast(g, npu_cast(g, npu_input(g, "x", NPU_F32, 1, (int64_t[]){2}), NPU_BF16), NPU_F32));
    if (cpu) {
        assert_int_equal(npu_plan_new(cpu, g, NULL, &p), 0);
        assert_false(npu_widen_is(p));
        assert_int_equal(npu_plan_write(p, "x", x, sizeof x), 0);
        assert_int_equal(npu_plan_run(p), 0);
        assert_int_equal(npu_plan_read(p, "y", y, sizeof y), 0);
        assert_true(y[0] == 1.0f && y[1] == -3.0f);
    }
    npu_plan_free(p);
    npu_graph_free(g);
    npu_dev_close(cpu);
    npu_ctx_free(c);
}

/* A product with bias, activation and residual that is an output writes bf16 itself; one that is read on has a cast. */
static void test_products_write_bf16(void **state)
{
    enum { K = 40, N = 37, ROWS = 29 };
    npu_ctx *c = open_ctx();
    npu_dev *cpu = open_cl(c);

    for (int act = NPU_ACT_NONE; act <= NPU_ACT_GELU && serves(cpu); act++) {
        static const char *const names[] = {"x", "w", "b", "r", "v"};
        static float want[2][ROWS * N];
        npu_dev *ref = NULL;

        assert_int_equal(npu_dev_open(c, "ref", &ref), 0);
        for (int wide = 0; wide < 2; wide++) { /* f32 on the reference first */
            const enum npu_dtype t = wide ? NPU_BF16 : NPU_F32;
            static uint16_t half[ROWS * N];
            npu_graph *g;
            npu_plan *p;
            npu_val x, y[2];
            int casts = 0;

            assert_int_equal(npu_graph_new(0, &g), 0);
            x = npu_input(g, "x", t, 2, (int64_t[]){ROWS, K});
            y[0] = npu_matmul(g, x, state_of(g, "w", t, 2, K, N),
                              &(struct npu_matmul_opts){.bias = state_of(g, "b", t, 1, 0, N),
                                                        .act = (enum npu_act)act,
                                                        .residual = npu_input(g, "r", t, 2, (int64_t[]){ROWS, N})});
            y[1] = npu_matmul(g, y[0], state_of(g, "v", t, 2, N, N), NULL);
            npu_output(g, "y0", y[0]);
            npu_output(g, "y1", y[1]);
            assert_int_equal(npu_plan_new(wide ? cpu : ref, g, NULL, &p), 0);
            for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
                fill(p, g, names[i], 5 + i);
            assert_int_equal(npu_plan_run(p), 0);
            assert_int_equal(npu_widen_is(p), wide);
            for (int i = 0; i < p->graph->n_nodes; i++) /* to bf16 */
                casts += strcmp(p->graph->node[i]->op->name, "cast") == 0 &&
                         npu_val_dtype(p->graph, p->graph->node[i]->out[0]) == NPU_BF16;
            assert_int_equal(casts, wide);
            for (int k = 0; k < 2 && !wide; k++)
                assert_int_equal(npu_plan_read_val(p, y[k], want[k], sizeof want[k]), 0);
            for (int k = 0; k < 2 && wide; k++) {
                assert_int_equal(npu_plan_read_val(p, y[k], half, sizeof half), 0);
                for (int i = 0; i < ROWS * N; i++)
                    assert_true(fabsf(npu_bf16_to_f32(half[i]) - want[k][i]) <=
                                ldexpf(fabsf(want[k][i]), -8) + 0x1p-13f);
            }
            npu_plan_free(p);
            npu_graph_free(g);
        }
        npu_dev_close(ref);
    }
    npu_dev_close(cpu);
    npu_ctx_free(c);
}

/* npu-explain says so. */
static void test_explained(void **state)
{
    npu_ctx *c = open_ctx();
    npu_dev *cpu = open_cl(c);
    struct net n = build(NPU_BF16, false);
    char *text = NULL;
    npu_plan *p = NULL;
    size_t size = 0;
    FILE *f;

    if (serves(cpu)) {
        assert_int_equal(npu_plan_new(cpu, n.g, NULL, &p), 0);
        f = open_memstream(&text, &size);
        assert_int_equal(npu_plan_explain(p, f, false), 0);
        fclose(f);
        assert_non_null(strstr(text, "bf16 is computed as f32"));
        assert_non_null(strstr(text, "[2,6,32] f32"));
        free(text);
        f = open_memstream(&text, &size);
        assert_int_equal(npu_plan_explain(p, f, true), 0);
        fclose(f);
        assert_non_null(strstr(text, "\"bf16_as_f32\": true"));
        free(text);
    }
    npu_plan_free(p);
    npu_graph_free(n.g);
    npu_dev_close(cpu);
    npu_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_graph),       cmocka_unit_test(test_results),
                                       cmocka_unit_test(test_bf16_units),  cmocka_unit_test(test_left_alone),
                                       cmocka_unit_test(test_casts_alone), cmocka_unit_test(test_products_write_bf16),
                                       cmocka_unit_test(test_explained)};

    setenv("NPU_TUNE", "0", 1);
    setenv("NPU_CPU", "avx2", 1); /* a processor's own bf16 unit would round factors */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
