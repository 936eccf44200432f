/* test_npu_reuse.c - random graphs give the same results with and without memory reuse, on every device, and reuse
 * saves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "libnpu/rng.h"
#include "tests/unit/npu_helpers.h"

enum { GRAPHS = 30, NODES = 40, OUTPUTS = 3 };

static npu_ctx *ctx;

static unsigned pick(uint64_t key, unsigned *at, unsigned n)
{
    return (unsigned)(npu_rng_u64(key, (*at)++) % n);
}

/* A random graph over tensors of a few sizes: chains, diamonds, views, results read late, results read twice. */
static npu_graph *random_graph(uint64_t key)
{
    const int64_t d0[] = {16, 24}, d1[] = {384}, d2[] = {4, 4, 24};
    npu_val v[NODES + 8];
    int n = 0;
    unsigned at = 0;
    npu_graph *g;
    char name[16];

    assert_int_equal(npu_graph_new(0, &g), 0);
    for (; n < 3; n++) {
        snprintf(name, sizeof name, "x%d", n);
        v[n] = npu_input(g, name, NPU_F32, 2, d0);
    }
    v[n++] = npu_param(g, "w", 2, d0, (struct npu_init){NPU_INIT_NORMAL, 1});
    while (n < NODES) {
        npu_val a =
            v[pick(key, &at, 3) == 0 ? pick(key, &at, (unsigned)n) : (unsigned)n - 1 - pick(key, &at, 4) % (unsigned)n];
        npu_val b = v[pick(key, &at, (unsigned)n)], two[2] = {a, b};

        switch (pick(key, &at, 8)) {
        case 0:
            v[n++] = npu_scale(g, a, 0.5f, 0.25f);
            break;
        case 1:
            v[n++] = npu_add(g, a, b);
            break;
        case 2:
            v[n++] = npu_tanh(g, npu_mul(g, a, b));
            break;
        case 3:
            v[n++] = npu_reshape(g, npu_scale(g, npu_reshape(g, a, 1, d1), -1, 0.5f), 2, d0);
            break;
        case 4:
            v[n++] = npu_slice(g, npu_concat(g, two, 2, 1), 1, 11, 24);
            break;
        case 5:
            v[n++] = npu_sub(g, a, npu_reduce(g, b, NPU_REDUCE_MEAN, 1)); /* over the first axis: [24] */
            break;
        case 6:
            v[n++] = npu_reshape(g, npu_relu(g, npu_reshape(g, a, 3, d2)), 2, d0);
            break;
        default:
            v[n++] = npu_softmax(g, a);
        }
    }
    for (int i = 0; i < OUTPUTS; i++) {
        snprintf(name, sizeof name, "y%d", i);
        npu_output(g, name, v[i == 0 ? (unsigned)n - 1 : pick(key, &at, (unsigned)n)]);
    }
    assert_string_equal(npu_graph_error(g), "");
    return g;
}

/* Outputs of two runs (the second must not depend on what the first left behind). */
static void run(npu_dev *dev, npu_graph *g, bool keep, float out[OUTPUTS][384], struct npu_plan_stats *ret_stats)
{
    struct npu_plan_opts opts = {.keep_values = keep};
    float x[384];
    char name[16];
    npu_plan *p;

    assert_int_equal(npu_plan_new(dev, g, &opts, &p), 0);
    assert_int_equal(npu_plan_init(p, 1), 0);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) {
            for (int k = 0; k < 384; k++)
                x[k] = npu_rng_normal(npu_rng_key((uint64_t)round, "x"), (uint64_t)(i * 384 + k));
            snprintf(name, sizeof name, "x%d", i);
            npu_plan_write(p, name, x, sizeof x);
        }
        assert_int_equal(npu_plan_run(p), 0);
    }
    for (int i = 0; i < OUTPUTS; i++) {
        snprintf(name, sizeof name, "y%d", i);
        assert_int_equal(npu_plan_read(p, name, out[i], sizeof out[i]), 0);
    }
    npu_plan_get_stats(p, ret_stats);
    npu_plan_free(p);
}

static void reuse_changes_nothing(void **state)
{
    static const char *const devices[] = {"ref", "cl"};
    static float kept[OUTPUTS][384], reused[OUTPUTS][384];
    struct npu_plan_stats s;
    size_t arena = 0, values = 0;

    for (int i = 0; i < 2; i++) {
        npu_dev *dev;

        if (npu_dev_open(ctx, devices[i], &dev) < 0) {
            skip_cl(npu_ctx_error(ctx));
            continue;
        }
        for (int k = 0; k < GRAPHS; k++) {
            npu_graph *g = random_graph(npu_rng_key((uint64_t)k, "graph"));

            run(dev, g, true, kept, &s);
            run(dev, g, false, reused, &s);
            assert_memory_equal(kept, reused, sizeof kept);
            arena += s.arena_bytes;
            values += s.sum_of_values_bytes;
            npu_graph_free(g);
        }
        npu_dev_close(dev);
    }
    assert_true(arena * 2 < values);
}

/* The same graph in place on overlapping lifetimes: no two values that live at once may share bytes. */
static void live_values_do_not_overlap(void **state)
{
    npu_dev *dev;

    assert_int_equal(npu_dev_open(ctx, "ref", &dev), 0);
    for (int k = 0; k < GRAPHS; k++) {
        npu_graph *g = random_graph(npu_rng_key((uint64_t)k, "overlap"));
        npu_plan *p;

        assert_int_equal(npu_plan_new(dev, g, NULL, &p), 0);
        for (int s = 0; s < p->n_steps; s++) {
            const struct npu_node *n = g->node[p->step[s].node];
            struct npu_place out = npu_plan_place(p, n->out[0]);

            for (npu_val v = 1; v <= g->n_values; v++) { /* values made before that a later step reads */
                struct npu_place at = npu_plan_place(p, v);
                bool before = npu_value_of(g, v)->node < p->step[s].node, read_later = false;

                if (npu_value_of(g, v)->root == npu_value_of(g, n->out[0])->root || at.bank != out.bank)
                    continue;
                for (int t = s + 1; t < p->n_steps; t++)
                    for (int i = 0; i < g->node[p->step[t].node]->n_in; i++)
                        read_later |= g->node[p->step[t].node]->in[i] == v;
                if (before && read_later)
                    assert_true(at.offset + at.size <= out.offset || out.offset + out.size <= at.offset);
            }
        }
        npu_plan_free(p);
        npu_graph_free(g);
    }
    npu_dev_close(dev);
}

static int setup(void **state)
{
    ctx = open_ctx();
    return 0;
}

static int teardown(void **state)
{
    ctx = npu_ctx_free(ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reuse_changes_nothing),
        cmocka_unit_test(live_values_do_not_overlap),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
