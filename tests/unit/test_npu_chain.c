/* test_npu_chain.c - native launches that go together part by part: which may, and that training gives the same bits
 * with them as without (a profiled plan runs one launch after the other).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "libnpu/dev/cl.h"
#include "libnpu/op/ops.h"
#include "libnpu/rng.h"
#include "libnpu/tier/avx2.h"
#include "tests/unit/npu_helpers.h"

/* ---- which launches go together: tensors are buffers 0 .. 3, of which 3 begins in the middle of 2 ---- */
enum { SIZE = 1 << 18, ROWS = 1 << 10 };

struct fixture {
    struct cl_dev dev;
    struct npu_plan plan;
    struct npu_buf buf[4];
    struct npu_launch l[3];
    struct cl_launch launch[3];
    const struct cl_launch *run[3];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    assert_int_equal(npu_pool_new(2, &f->dev.pool), 0);
    f->plan.dev = &f->dev.base;
    f->plan.lower.buf = f->buf;
    for (int i = 0; i < 4; i++)
        f->buf[i].place = (struct npu_place){0, (size_t)(i < 3 ? i * SIZE : 2 * SIZE + SIZE / 2), SIZE};
    for (int i = 0; i < 3; i++) {
        f->launch[i] = (struct cl_launch){.l = &f->l[i], .native = (struct cl_native *)f}; /* only asked for */
        f->run[i] = &f->launch[i];
    }
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    npu_pool_free(f->dev.pool);
    free(f);
    return 0;
}

/* Launch i reads buffer `from` and writes `to`, both divided into `units`. */
static void launch(struct fixture *f, int i, int from, int to, int64_t units)
{
    struct npu_launch *k = &f->l[i];

    memset(k, 0, sizeof *k);
    k->n_args = 2;
    k->arg[0] = (struct npu_arg){.kind = NPU_ARG_SCRATCH, .buf = from};
    k->arg[1] = (struct npu_arg){.kind = NPU_ARG_SCRATCH, .buf = to};
    k->cut = (struct npu_cut){.units = units, .split = 3, .written = 2};
}

static int chain(struct fixture *f, int n, int *ret_parts)
{
    *ret_parts = -1;
    return cl_chain(&f->plan, f->run, n, ret_parts);
}

static void test_divided_alike(void **state)
{
    struct fixture *f = *state;
    int parts;

    launch(f, 0, 0, 1, ROWS);
    launch(f, 1, 1, 1, ROWS / 2 * 3);
    assert_int_equal(chain(f, 2, &parts), 2);
    assert_true(parts > 2);
    assert_int_equal(ROWS % parts, 0);
    assert_int_equal(ROWS / 2 * 3 % parts, 0);
    launch(f, 2, 0, 2, 0); /* meets no other in what is written: units do not matter */
    assert_int_equal(chain(f, 3, &parts), 3);
    assert_int_equal(ROWS / 2 % parts, 0);
}

static void test_not_together(void **state)
{
    struct fixture *f = *state;
    int parts;

    launch(f, 0, 0, 1, ROWS);
    launch(f, 1, 1, 2, 0); /* its parts may be cut anywhere */
    assert_int_equal(chain(f, 2, &parts), 1);
    launch(f, 1, 1, 2, 1); /* not small enough to stay in a cache */
    assert_int_equal(chain(f, 2, &parts), 1);
    launch(f, 1, 1, 2, ROWS);
    f->l[1].cut.split = 2; /* each part reads all that the first one writes */
    assert_int_equal(chain(f, 2, &parts), 1);
    launch(f, 1, 1, 2, ROWS);
    f->l[0].cut.split = 1; /* each part writes all that the second one reads */
    assert_int_equal(chain(f, 2, &parts), 1);
    launch(f, 0, 0, 2, ROWS); /* the same rows at different places */
    launch(f, 1, 3, 1, ROWS);
    assert_int_equal(chain(f, 2, &parts), 1);
    launch(f, 0, 3, 1, ROWS);
    launch(f, 1, 0, 2, ROWS);
    assert_int_equal(chain(f, 2, &parts), 1);
    launch(f, 0, 0, 1, ROWS);
    launch(f, 1, 1, 2, ROWS);
    f->l[1].cut.written = 0; /* nothing is known of it */
    assert_int_equal(chain(f, 2, &parts), 1);
    assert_int_equal(parts, -1);
    launch(f, 1, 1, 2, ROWS);
    f->launch[1].native = NULL;
    assert_int_equal(chain(f, 2, &parts), 1);
}

static void test_independent(void **state)
{
    struct fixture *f = *state;
    int parts;

    launch(f, 0, 0, 1, 0);
    launch(f, 1, 0, 2, 0);
    launch(f, 2, 3, 3, 0); /* over the end of what launch 1 writes */
    assert_int_equal(chain(f, 3, &parts), 2);
    assert_true(parts >= 2);
}

/* ---- a small network of what goes together ---- */
enum { BATCH = 24, SIDE = 16, CH = 16, STEPS = 3, THREADS = 16 };
enum { MOST = 8192 }; /* values of all parameters and states */

static const struct npu_init spread = {NPU_INIT_NORMAL, 0.5f}, zero = {NPU_INIT_ZERO, 0}, one = {NPU_INIT_CONST, 1};

/* A parameter or state of channels, "<what><i>". */
static npu_val leaf(npu_graph *g, const char *what, int i, bool param, struct npu_init init)
{
    const int64_t ch = CH;
    char name[16];

    snprintf(name, sizeof name, "%s%d", what, i);
    return param ? npu_param(g, name, 1, &ch, init) : npu_state(g, name, NPU_F32, 1, &ch, init);
}

static npu_val product(npu_graph *g, npu_val x, const char *w)
{
    return npu_matmul(g, x, npu_param(g, w, 2, (const int64_t[]){CH, CH}, spread), NULL);
}

static npu_val normed(npu_graph *g, npu_val x, int i)
{
    return npu_batch_norm(g, x, leaf(g, "gamma", i, true, spread), leaf(g, "beta", i, true, spread),
                          leaf(g, "mean", i, false, zero), leaf(g, "var", i, false, one), 1e-3f, 0.1f, true);
}

static npu_graph *residual_graph(bool sgd)
{
    const struct npu_adamw_opts o = {0.9f, 0.99f, 1e-8f, 0.1f, 1.0f};
    const int64_t dim[] = {BATCH, SIDE, SIDE, CH};
    npu_graph *g;
    npu_val x, y, z, t, loss;

    assert_int_equal(npu_graph_new(NPU_GRAPH_TRAIN, &g), 0);
    x = npu_input(g, "x", NPU_F32, 4, dim);
    t = npu_input(g, "t", NPU_F32, 4, dim);
    y = npu_relu(g, normed(g, product(g, x, "w0"), 0));
    y = npu_relu(g, npu_add(g, normed(g, product(g, y, "w1"), 1), y));
    y = normed(g, y, 2);
    z = npu_layer_norm(g, y, leaf(g, "gamma", 3, true, one), leaf(g, "beta", 3, true, spread), 1e-3f);
    npu_output(g, "z", z); /* keeps its memory, in which the gradient would lie else */
    y = npu_softmax(g, npu_add(g, npu_gelu(g, z), y));
    npu_output(g, "y", y);
    loss = npu_mse(g, y, t, NPU_NONE);
    npu_output(g, "loss", loss);
    assert_int_equal(npu_graph_backward(g, loss), 0);
    assert_int_equal(sgd ? npu_graph_sgd(g, 0.9f, 0.1f) : npu_graph_adamw(g, &o), 0);
    return g;
}

/* Runs some steps; returns the number of floats: the loss, parameters and states. */
static size_t train(npu_plan *p, float *ret_w)
{
    const size_t n = (size_t)BATCH * SIDE * SIDE * CH;
    float *x = malloc(n * sizeof *x), lr = 0.01f;
    size_t at = 1;

    assert_non_null(x);
    assert_int_equal(npu_plan_init(p, 5), 0);
    assert_int_equal(npu_plan_write(p, "lr", &lr, sizeof lr), 0);
    for (int s = 1; s <= STEPS; s++) {
        const float step = (float)s;

        for (int k = 0; k < 2; k++) {
            for (size_t i = 0; i < n; i++)
                x[i] = npu_rng_normal((uint64_t)(2 * s + k), i);
            assert_int_equal(npu_plan_write(p, k ? "t" : "x", x, n * sizeof *x), 0);
        }
        if (npu_graph_find(p->graph, "step") > 0)
            assert_int_equal(npu_plan_write(p, "step", &step, sizeof step), 0);
        assert_int_equal(npu_plan_run(p), 0);
    }
    free(x);
    assert_int_equal(npu_plan_read(p, "loss", ret_w, sizeof *ret_w), 0);
    for (npu_val v = 1; v <= p->graph->n_values; v++) {
        const struct npu_value *val = npu_value_of(p->graph, v);
        const size_t size = npu_type_bytes(&val->type);

        if (val->kind != NPU_VALUE_PARAM && val->kind != NPU_VALUE_STATE)
            continue;
        assert_true(at + size / sizeof *ret_w <= MOST);
        assert_int_equal(npu_plan_read_val(p, v, ret_w + at, size), 0);
        at += size / sizeof *ret_w;
    }
    return at;
}

/* Is a launch of the kernel, with the build option, in a stage with others? */
static bool chained(const npu_plan *p, const char *entry, const char *def)
{
    const struct cl_run *r = &((const struct cl_plan *)p->dev_plan)->run[0];

    for (int i = 0; i < r->n; i++)
        for (int k = 0; r->stage[i].n > 1 && k < r->stage[i].n; k++) {
            const struct npu_launch *l = r->stage[i].launch[k]->l;

            if (strcmp(l->entry, entry) == 0 && strstr(l->defs, def))
                return true;
        }
    return false;
}

/* Does a gradient of a batch norm lie where what it is made of lay? */
static bool in_place(const npu_plan *p)
{
    for (int32_t i = 0; i < p->graph->n_nodes; i++) {
        const struct npu_node *n = p->graph->node[i];
        const struct npu_place gx = npu_plan_place(p, n->out[0]);

        for (int k = 0; k < 5 && n->op == &npu_op_batch_norm_grad; k += 4) {
            const struct npu_place of = npu_plan_place(p, n->in[k]);

            if (of.bank == gx.bank && of.offset == gx.offset)
                return true;
        }
    }
    return false;
}

/* Kernels that can be divided go together in p; in q none does. */
static void expect_chains(const npu_plan *p, const npu_plan *q, bool sgd)
{
    const struct {
        const char *entry, *def;
    } want[] = {{"batch_norm_stats", ""},   {"batch_norm", ""},      {"batch_norm_grad_sums", ""},
                {"batch_norm_grad", ""},    {"layer_norm_grad", ""}, {"softmax_grad", ""},
                {"unary", "-DKIND=0"},      {"unary", "-DKIND=2"},   {"unary_grad", "-DKIND=0"},
                {"unary_grad", "-DKIND=2"}, {"binary", ""},          {"moving_average", ""},
                {sgd ? "sgd" : "adamw", ""}};

    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        if (!chained(p, want[i].entry, want[i].def) || chained(q, want[i].entry, want[i].def))
            fail_msg("%s %s is in no chain, or where there should be none", want[i].entry, want[i].def);
}

/* The same in chains and in place as one launch after the other, each value with memory of its own. */
static void same_bits(npu_dev *d, bool sgd)
{
    static float with[MOST], without[MOST];
    const struct npu_plan_opts one_by_one = {.profile = true, .keep_values = true};
    npu_graph *g = residual_graph(sgd);
    npu_plan *p = NULL, *q = NULL;
    size_t n;

    assert_int_equal(npu_plan_new(d, g, NULL, &p), 0);
    assert_int_equal(npu_plan_new(d, g, &one_by_one, &q), 0);
    assert_true(in_place(p) && !in_place(q));
    if (npu_avx2_for(&d->traits) && npu_pool_threads(((struct cl_dev *)d)->pool) <= THREADS)
        expect_chains(p, q, sgd);
    n = train(p, with);
    assert_int_equal(train(q, without), n);
    assert_true(isfinite(with[0]) && with[0] > 0);
    assert_memory_equal(with, without, n * sizeof *with);
    npu_plan_free(p);
    npu_plan_free(q);
    npu_graph_free(g);
}

static void test_same_bits(void **state)
{
    npu_ctx *ctx;
    npu_dev *d;

    /* chains so small would leave some of many threads without a part: PoCL's names for their number */
    setenv("POCL_MAX_PTHREAD_COUNT", "2", 0);
    setenv("POCL_CPU_MAX_CU_COUNT", "2", 0);
    ctx = open_ctx();
    d = open_cl(ctx);
    for (int sgd = 0; d && sgd < 2; sgd++)
        same_bits(d, sgd);
    npu_dev_close(d);
    npu_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_divided_alike, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_independent, set_up, tear_down),
        cmocka_unit_test(test_same_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
