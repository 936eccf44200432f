/* test_npu_sim_device.c - plans on the simulated NPU: the reference's results, the same bits in every order of the
 * units, tokens of compiled programs, refusals. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libnpu/dev/sim.h"
#include "libnpu/rng.h"
#include "libnpu/sim/counters.h"

enum { H = 12, W = 16, C = 24, TOKENS = H / 4 * (W / 4), OUT = 7 };

static npu_ctx *ctx;

static int open_ctx(void **state)
{
    return npu_ctx_new("", &ctx);
}

static int close_ctx(void **state)
{
    ctx = npu_ctx_free(ctx);
    return 0;
}

static npu_val param(npu_graph *g, const char *name, int rank, const int64_t *dim, float size)
{
    return npu_param(g, name, rank, dim, (struct npu_init){NPU_INIT_NORMAL, size});
}

/* Two convolutions, tokens, one encoder block, a mean and a linear map: what gaze_vit is made of. exact: to the last
 * bit, as f32 operations of int8 networks are. */
static npu_graph *network_of(bool exact)
{
    const int64_t image[4] = {2, H, W, 1}, w1[4] = {3, 3, 1, 16}, w2[4] = {3, 3, 16, C}, c16 = 16, c = C, c3 = 3 * C;
    const int64_t wq[2] = {C, 3 * C}, wo[2] = {C, C}, wh[2] = {C, OUT}, code[2] = {TOKENS, C}, out = OUT;
    npu_graph *g;
    npu_val x, h;

    assert_int_equal(npu_graph_new(0, &g), 0);
    g->exact = exact;
    x = npu_input(g, "image", NPU_F32, 4, image);
    x = npu_conv2d(g, x, param(g, "w1", 4, w1, 0.3f),
                   &(struct npu_conv2d_opts){.stride = 2,
                                             .pad_top = 1,
                                             .pad_left = 1,
                                             .pad_bottom = 1,
                                             .pad_right = 1,
                                             .bias = param(g, "b1", 1, &c16, 0.1f),
                                             .act = NPU_ACT_RELU});
    x = npu_conv2d(g, x, param(g, "w2", 4, w2, 0.1f),
                   &(struct npu_conv2d_opts){.stride = 2,
                                             .pad_top = 1,
                                             .pad_left = 1,
                                             .pad_bottom = 1,
                                             .pad_right = 1,
                                             .bias = param(g, "b2", 1, &c, 0.1f),
                                             .act = NPU_ACT_RELU});
    x = npu_add(g, npu_reshape(g, x, 3, (int64_t[]){2, TOKENS, C}), param(g, "code", 2, code, 0.5f));
    h = npu_layer_norm(g, x, param(g, "gamma", 1, &c, 1), param(g, "beta", 1, &c, 0.1f), 1e-5f);
    h = npu_matmul(g, h, param(g, "qkv", 2, wq, 0.2f), &(struct npu_matmul_opts){.bias = param(g, "bq", 1, &c3, 0.1f)});
    h = npu_attention(g, h, 4);
    x = npu_matmul(g, h, param(g, "out", 2, wo, 0.2f), &(struct npu_matmul_opts){.residual = x, .act = NPU_ACT_GELU});
    x = npu_reduce(g, x, NPU_REDUCE_MEAN, 2);
    npu_output(g, "y",
               npu_matmul(g, x, param(g, "head", 2, wh, 0.3f),
                          &(struct npu_matmul_opts){.bias = param(g, "bh", 1, &out, 0.1f)}));
    assert_string_equal(npu_graph_error(g), "");
    return g;
}

static npu_graph *network(void)
{
    return network_of(false);
}

static npu_plan *plan_on(npu_dev *d, npu_graph *g)
{
    float image[2 * H * W];
    npu_plan *p;

    if (npu_plan_new(d, g, NULL, &p) < 0)
        fail_msg("%s", npu_ctx_error(ctx));
    assert_int_equal(npu_plan_init(p, 11), 0);
    for (int i = 0; i < 2 * H * W; i++)
        image[i] = npu_rng_uniform(3, (uint64_t)i) * 2 - 1;
    assert_int_equal(npu_plan_write(p, "image", image, sizeof image), 0);
    return p;
}

static void run(npu_plan *p, float *y)
{
    if (npu_plan_run(p) < 0)
        fail_msg("%s", npu_plan_error(p));
    assert_int_equal(npu_plan_read(p, "y", y, 2 * OUT * sizeof *y), 0);
}

static const char *const machines[] = {"sim", "sim:8x8,wm=4K,im=4K,acc=4K,um=16K,ib=2",
                                       "sim:16x16,wm=64K,im=64K,acc=32K,um=256K,seed=77",
                                       "sim:5x7,wm=8K,im=2K,acc=8K,um=32K"};

static void check_results(bool exact)
{
    npu_graph *g = network_of(exact);
    float want[2 * OUT], y[2 * OUT], first[2 * OUT], top = 0;
    npu_dev *d;
    npu_plan *p;

    assert_int_equal(npu_dev_open(ctx, "ref", &d), 0);
    p = plan_on(d, g);
    run(p, want);
    npu_plan_free(p);
    npu_dev_close(d);
    for (int i = 0; i < 2 * OUT; i++)
        top = fmaxf(top, fabsf(want[i]));
    for (size_t m = 0; m < sizeof machines / sizeof machines[0]; m++) {
        if (npu_dev_open(ctx, machines[m], &d) < 0)
            fail_msg("%s", npu_ctx_error(ctx));
        p = plan_on(d, g);
        for (int k = 0; k < 40; k++) { /* every run has another order */
            run(p, k ? y : first);
            if (k)
                assert_memory_equal(y, first, sizeof y);
        }
        for (int i = 0; i < 2 * OUT; i++)
            if (!(fabsf(first[i] - want[i]) <= (exact ? 0.0f : 0x1p-6f * top)))
                fail_msg("%s: %d is %g, the reference has %g", machines[m], i, (double)first[i], (double)want[i]);
        npu_plan_free(p);
        npu_dev_close(d);
    }
    npu_graph_free(g);
}

static void results_are_the_references(void **state)
{
    check_results(false);
    check_results(true);
}

/* Compiled programs are ordered, and each token in them is needed. */
static void tokens_are_as_many_as_needed(void **state)
{
    for (size_t m = 0; m < 2 * sizeof machines / sizeof machines[0]; m++) {
        npu_graph *g = network_of(m % 2);
        struct sim_program copy = {0};
        const struct sim_plan *sp;
        char why[256] = "";
        npu_dev *d;
        npu_plan *p;
        int tokens = 0, i = 0;

        assert_int_equal(npu_dev_open(ctx, machines[m / 2], &d), 0);
        p = plan_on(d, g);
        sp = npu_plan_sim(p);
        assert_non_null(sp);
        assert_true(sp->program.n > 50);
        for (int k = 0; k < sp->program.n; k++)
            assert_int_equal(sim_program_add(&copy, &sp->program.insn[k]), 0);
        if (sim_tokens_check(&copy, why, sizeof why) < 0)
            fail_msg("%s: %s", machines[m / 2], why);
        for (unsigned u = 0; u < SIM_UNITS; u++)
            for (unsigned v = 0; v < SIM_UNITS; v++)
                for (int from = 0, to = 0; u != v; from++, to++) {
                    while (from < copy.n && !(sim_insn_unit(&copy.insn[from]) == u && copy.insn[from].signal >> v & 1))
                        from++;
                    while (to < copy.n && !(sim_insn_unit(&copy.insn[to]) == v && copy.insn[to].wait >> u & 1))
                        to++;
                    if (from >= copy.n)
                        break;
                    if (i++ % 5)
                        continue;
                    copy.insn[from].signal ^= (uint8_t)(1u << v);
                    copy.insn[to].wait ^= (uint8_t)(1u << u);
                    assert_int_equal(sim_tokens_check(&copy, why, sizeof why), -EINVAL);
                    copy.insn[from].signal ^= (uint8_t)(1u << v);
                    copy.insn[to].wait ^= (uint8_t)(1u << u);
                    tokens++;
                }
        assert_true(tokens > 10);
        sim_program_free(&copy);
        npu_plan_free(p);
        npu_dev_close(d);
        npu_graph_free(g);
    }
}

/* Does the plan's program, as it is now, fail or give another result in one of some orders? */
static bool shows(npu_plan *p, const float *want)
{
    const struct sim_plan *sp = npu_plan_sim(p);
    const struct npu_place at = npu_plan_place(p, npu_graph_find(p->graph, "y"));
    float y[2 * OUT];

    for (uint64_t seed = 0; seed < 60; seed++) {
        for (int b = 0; b < p->n_banks; b++)
            if (!p->bank[b].persistent)
                sim_machine_poison(sp->machine, SIM_XM, sp->bank_at[b], p->bank[b].size);
        sim_machine_poison(sp->machine, SIM_XM, sp->bank_at[at.bank] + at.offset, at.size);
        if (sim_machine_run(sp->machine, &sp->program, seed) < 0)
            return true;
        assert_int_equal(npu_plan_read(p, "y", y, sizeof y), 0);
        for (size_t i = 0; i < sizeof y / sizeof y[0]; i++)
            if (!(y[i] == want[i])) /* a NaN of the poison is another value too */
                return true;
    }
    return false;
}

/* Is the result the same without this instruction, its tokens apart? Then what it writes was there before (a tile
 * loaded again), and it matters to no one when it does so. */
static bool is_redundant(npu_plan *p, struct sim_insn *insn, const float *want)
{
    const struct sim_insn kept = *insn;
    bool same;

    *insn = (struct sim_insn){.op = SIM_OP_NOP, .wait = kept.wait, .signal = kept.signal};
    insn->type[0] = (uint8_t)sim_insn_unit(&kept);
    same = !shows(p, want);
    *insn = kept;
    return same;
}

/* Every few tokens of all pairs of units: how many were taken away in turn and seen. */
static int take_tokens_away(npu_plan *p, const float *want)
{
    const struct sim_program *program = &npu_plan_sim(p)->program;
    struct sim_insn *insn = program->insn;
    int taken = 0, redundant = 0, i = 0;
    bool seen;

    for (unsigned u = 0; u < SIM_UNITS; u++)
        for (unsigned v = 0; v < SIM_UNITS; v++)
            for (int from = 0, to = 0; u != v; from++, to++) { /* the k-th wait takes the k-th token */
                while (from < program->n && !(sim_insn_unit(&insn[from]) == u && insn[from].signal >> v & 1))
                    from++;
                while (to < program->n && !(sim_insn_unit(&insn[to]) == v && insn[to].wait >> u & 1))
                    to++;
                if (from >= program->n)
                    break;
                if (i++ % 7)
                    continue;
                insn[from].signal ^= (uint8_t)(1u << v);
                insn[to].wait ^= (uint8_t)(1u << u);
                seen = shows(p, want);
                insn[from].signal ^= (uint8_t)(1u << v);
                insn[to].wait ^= (uint8_t)(1u << u);
                if (!seen && !is_redundant(p, &insn[from], want) && !is_redundant(p, &insn[to], want))
                    fail_msg("instruction %d may run before %d, and no order shows it", to, from);
                taken += seen;
                redundant += !seen;
            }
    assert_true(redundant <= taken / 10);
    return taken;
}

/* A token too few in a compiled program is seen when it runs, not only by the check: as poison or as a wrong result. */
static void removed_tokens_show(void **state)
{
    static const char *const devices[] = {"sim", "sim:8x8,wm=4K,im=4K,acc=4K,um=16K,ib=64"};

    for (int k = 0; k < 4; k++) {
        npu_graph *g = network_of(k % 2);
        float want[2 * OUT];
        npu_dev *d;
        npu_plan *p;

        assert_int_equal(npu_dev_open(ctx, devices[k / 2], &d), 0);
        p = plan_on(d, g);
        run(p, want);
        assert_false(shows(p, want));
        assert_true(take_tokens_away(p, want) > 10);
        assert_false(shows(p, want));
        npu_plan_free(p);
        npu_dev_close(d);
        npu_graph_free(g);
    }
}

/* The n-th transfer of a kind between a tensor in `far` and the chip. */
static struct sim_insn *transfer(npu_plan *p, enum sim_op op, enum sim_mem far, int n)
{
    const struct sim_program *program = &npu_plan_sim(p)->program;

    for (int k = 0; k < program->n; k++)
        if (program->insn[k].op == op && SIM_PLACE_MEM(program->insn[k].type[op == SIM_OP_LOAD]) == far && n-- == 0)
            return &program->insn[k];
    fail_msg("no such transfer");
    return NULL;
}

/* Transfers that leave the tensors of their node - for other tensors, weights, what stays in unified memory, or for
 * where there is no memory - and vectors that leave the memory for tiles fail the run; the plan says which and where.
 */
static void what_is_wild_is_named(void **state)
{
    static const struct {
        enum sim_op op;
        enum sim_mem far;
        int64_t by;
        const char *why;
    } t[] = {
        {SIM_OP_LOAD, SIM_XM, INT64_C(1) << 32, "(load, unit load) reads"},
        {SIM_OP_LOAD, SIM_XM, 4096, "(load, unit load) reads"},
        {SIM_OP_LOAD, SIM_XM, -4096, "(load, unit load) reads"},
        {SIM_OP_LOAD, SIM_UM, 16384, "of um: no tensor"},
        {SIM_OP_LOAD, SIM_UM, 1 << 30, "of um: no tensor"},
        {SIM_OP_STORE, SIM_XM, INT64_C(1) << 32, "(store, unit store) writes"},
        {SIM_OP_STORE, SIM_XM, -4096, "(store, unit store) writes"},
        {SIM_OP_STORE, SIM_UM, 16384, "(store, unit store) writes"},
        {SIM_OP_STORE, SIM_UM, -65536, "(store, unit store) writes"},
    };
    npu_graph *g = network();
    struct sim_insn kept, *i;
    float y[2 * OUT];
    npu_dev *d;
    npu_plan *p;

    assert_int_equal(npu_dev_open(ctx, "sim", &d), 0);
    p = plan_on(d, g);
    for (size_t k = 0; k < sizeof t / sizeof t[0]; k++) {
        i = transfer(p, t[k].op, t[k].far, 0);
        kept = *i;
        i->dma.xm += (uint64_t)t[k].by;
        assert_int_equal(npu_plan_run(p), -EFAULT);
        if (!strstr(npu_plan_error(p), t[k].why) || !strstr(npu_plan_error(p), ": instruction "))
            fail_msg("%d: %s", (int)k, npu_plan_error(p));
        *i = kept;
    }
    for (i = npu_plan_sim(p)->program.insn; !sim_op_is_vector(i->op); i++)
        ;
    kept = *i;
    i->vec.d = 512 << 10; /* behind um, then onto what stays there */
    assert_int_equal(npu_plan_run(p), -EFAULT);
    i->vec.d -= 256;
    assert_int_equal(npu_plan_run(p), -EFAULT);
    assert_non_null(strstr(npu_plan_error(p), "unit vector) writes"));
    *i = kept;
    run(p, y);
    npu_plan_free(p);
    npu_dev_close(d);
    npu_graph_free(g);
}

/* exp(shift) is a constant, "w" is packed as bf16: set-up has loads and stores of both. */
static npu_graph *network_with_constants(void)
{
    const int64_t image[4] = {2, H, W, 1}, w[2] = {H * W, OUT}, out = OUT;
    npu_graph *g;
    npu_val x;

    assert_int_equal(npu_graph_new(0, &g), 0);
    x = npu_reshape(g, npu_input(g, "image", NPU_F32, 4, image), 2, (int64_t[]){2, H * W});
    x = npu_matmul(g, x, param(g, "w", 2, w, 0.1f), NULL);
    npu_output(g, "y", npu_add(g, x, npu_exp(g, param(g, "shift", 1, &out, 1))));
    assert_string_equal(npu_graph_error(g), "");
    return g;
}

/* A transfer of the set-up program into or out of another tensor: the machine alone has nothing to complain about,
 * since it is all memory of the plan; the plan names it. */
static void set_up_is_held_to_its_plan_too(void **state)
{
    npu_graph *g = network_with_constants();
    float y[2 * OUT], want[2 * OUT];
    int found[2] = {0};
    const struct sim_plan *sp;
    npu_dev *d;
    npu_plan *p;

    assert_int_equal(npu_dev_open(ctx, "sim", &d), 0);
    p = plan_on(d, g);
    sp = npu_plan_sim(p);
    run(p, want);
    for (int i = 0; i < sp->setup.n; i++) {
        struct sim_insn *at = &sp->setup.insn[i], kept = *at;
        const bool is_store = at->op == SIM_OP_STORE;

        if (at->op != SIM_OP_LOAD && !is_store)
            continue;
        at->dma.xm += at->dma.xm >= 128 ? UINT64_C(-128) : 128;
        assert_int_equal(sim_machine_run(sp->machine, &sp->setup, 1), 0);
        assert_int_equal(npu_plan_init(p, 11), 0); /* parameters are new: set-up runs */
        assert_int_equal(npu_plan_run(p), -EFAULT);
        if (!strstr(npu_plan_error(p), is_store ? "(store, unit store) writes" : "(load, unit load) reads") ||
            !strstr(npu_plan_error(p), "of xm: no tensor of the operation") ||
            (strncmp(npu_plan_error(p), "exp: ", 5) != 0 && strncmp(npu_plan_error(p), "weights: ", 9) != 0))
            fail_msg("%s", npu_plan_error(p));
        found[npu_plan_error(p)[0] == 'w']++;
        *at = kept;
        run(p, y);
        assert_memory_equal(y, want, sizeof y);
    }
    assert_true(found[0] >= 2 && found[1] >= 2);
    npu_plan_free(p);
    npu_dev_close(d);
    npu_graph_free(g);
}

/* What stays is no longer moved, and the results are the same, bit by bit. */
static void results_stay_on_the_chip(void **state)
{
    static const char *const devices[] = {"sim:stay=0", "sim", "sim:um=16K"};
    uint64_t moved[3] = {0};
    float y[3][2 * OUT];

    for (int k = 0; k < 3; k++) {
        npu_graph *g = network();
        const struct sim_plan *sp;
        struct sim_counters n;
        npu_dev *d;
        npu_plan *p;

        assert_int_equal(npu_dev_open(ctx, devices[k], &d), 0);
        p = plan_on(d, g);
        sp = npu_plan_sim(p);
        run(p, y[k]);
        assert_int_equal(sim_time(npu_dev_sim_config(d), &sp->program, NULL, &n), 0);
        moved[k] = n.read + n.written;
        printf("# %s: %d stay, %d do not fit, %llu bytes moved\n", devices[k], sp->residence.stay,
               sp->residence.spilled, (unsigned long long)moved[k]);
        assert_true(sp->residence.stay + sp->residence.spilled >= 6);
        assert_int_equal(sp->residence.stay == 0, k == 0);
        assert_int_equal(sp->residence.spilled == 0, k == 1);
        npu_plan_free(p);
        npu_dev_close(d);
        npu_graph_free(g);
    }
    assert_memory_equal(y[0], y[1], sizeof y[0]);
    assert_true(moved[1] < moved[2] && moved[2] < moved[0]);
}

static void what_it_cant_do_is_refused(void **state)
{
    const int64_t dim[3] = {1, 5, 4}, index[2] = {1, 2};
    npu_graph *g;
    npu_dev *d;
    npu_plan *p;

    assert_int_equal(npu_graph_new(0, &g), 0);
    npu_output(g, "y", npu_gather_rows(g, npu_input(g, "x", NPU_F32, 3, dim), npu_input(g, "i", NPU_I32, 2, index)));
    assert_int_equal(npu_dev_open(ctx, "sim", &d), 0);
    assert_int_equal(npu_plan_new(d, g, NULL, &p), -EOPNOTSUPP);
    assert_non_null(strstr(npu_ctx_error(ctx), "no instructions for operation gather_rows"));
    npu_dev_close(d);
    npu_graph_free(g);

    g = network();
    assert_int_equal(npu_dev_open(ctx, "sim:8x8,wm=256,im=256,acc=512,um=2K", &d), 0);
    assert_int_equal(npu_plan_new(d, g, NULL, &p), -EOPNOTSUPP);
    assert_non_null(strstr(npu_ctx_error(ctx), "conv2d: a kernel of 3 x 3 does not fit into the NPU's memories"));
    npu_dev_close(d);
    npu_graph_free(g);
    assert_int_equal(npu_dev_open(ctx, "sim:0x8", &d), -EINVAL);
    assert_non_null(strstr(npu_ctx_error(ctx), "sim: \"0x8\""));
    assert_int_equal(npu_dev_open(ctx, "simple", &d), -ENODEV);
}

/* Operations one of whose tiles can't fit into the memories of `measures`, and what the plan says then. */
static npu_val large_conv(npu_graph *g, npu_val x)
{
    const int64_t w[4] = {9, 9, 300, 8};
    return npu_conv2d(g, x, param(g, "w", 4, w, 1), NULL);
}

static npu_val large_attention(npu_graph *g, npu_val x)
{
    return npu_attention(g, npu_reshape(g, x, 3, (int64_t[]){1, 1, -1}), 1);
}

static npu_val large_norm(npu_graph *g, npu_val x)
{
    const int64_t c = 300 * 300;
    return npu_layer_norm(g, npu_reshape(g, x, 2, (int64_t[]){-1, c}), param(g, "a", 1, &c, 1), param(g, "b", 1, &c, 1),
                          1e-5f);
}

static npu_val large_softmax(npu_graph *g, npu_val x)
{
    return npu_softmax(g, npu_reshape(g, x, 1, (int64_t[]){-1}));
}

static npu_val large_pool(npu_graph *g, npu_val x)
{
    return npu_max_pool(g, npu_reshape(g, x, 4, (int64_t[]){1, 9, -1, 1}), (struct npu_pool_opts){3, 1, 0});
}

static npu_val large_resize(npu_graph *g, npu_val x)
{
    return npu_resize(g, npu_reshape(g, x, 4, (int64_t[]){1, 81, -1, 1}), 162, 64, NPU_RESIZE_BILINEAR);
}

static void too_large_tiles_are_refused(void **state)
{
    static const struct {
        npu_val (*build)(npu_graph *g, npu_val x);
        const char *why;
    } t[] = {
        {large_conv, "conv2d: a kernel of 9 x 9 does not fit"},
        {large_attention, "attention: attention over 1 tokens with heads of 270000 needs larger memories"},
        {large_norm, "layer_norm: a row of 90000 elements does not fit"},
        {large_softmax, "softmax: a row of 810000 elements does not fit"},
        {large_pool, "max_pool: rows of 90000 pixels do not fit"},
        {large_resize, "resize: rows of 10000 pixels do not fit"},
    };

    for (size_t k = 0; k < sizeof t / sizeof t[0]; k++) {
        const int64_t dim[4] = {1, 30, 90, 300};
        npu_graph *g;
        npu_dev *d;
        npu_plan *p;

        assert_int_equal(npu_graph_new(0, &g), 0);
        npu_output(g, "y", t[k].build(g, npu_input(g, "x", NPU_F32, 4, dim)));
        assert_string_equal(npu_graph_error(g), "");
        assert_int_equal(npu_dev_open(ctx, "sim:8x8,wm=1K,im=1K,acc=1K,um=2K", &d), 0);
        assert_int_equal(npu_plan_new(d, g, NULL, &p), -EOPNOTSUPP);
        if (!strstr(npu_ctx_error(ctx), t[k].why))
            fail_msg("\"%s\" does not say \"%s\"", npu_ctx_error(ctx), t[k].why);
        npu_dev_close(d);
        npu_graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_the_references),
        cmocka_unit_test(tokens_are_as_many_as_needed),
        cmocka_unit_test(removed_tokens_show),
        cmocka_unit_test(what_is_wild_is_named),
        cmocka_unit_test(set_up_is_held_to_its_plan_too),
        cmocka_unit_test(results_stay_on_the_chip),
        cmocka_unit_test(what_it_cant_do_is_refused),
        cmocka_unit_test(too_large_tiles_are_refused),
    };
    return cmocka_run_group_tests(tests, open_ctx, close_ctx);
}
