/* test_npu_tune.c - which tier a node gets: classes, the table of verdicts and its file, choice by time, by default
 * order and by name, and the same results whichever it is. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "libnpu/dev.h"
#include "libnpu/dtype.h"
#include "libnpu/quant.h"
#include "libnpu/tune.h"
#include "tests/unit/npu_helpers.h"

static char dir[] = "/tmp/npu-test-XXXXXX";

/* ---- classes ---- */
static void class_of(enum npu_dtype t, int64_t m, int64_t k, int64_t n, bool trans_b, int units, char *buf)
{
    const struct npu_matmul_opts o = {.trans_b = trans_b};
    struct npu_tune_class c;
    npu_graph *g;

    npu_graph_new(0, &g);
    npu_matmul(g, npu_input(g, "a", t, 2, (int64_t[]){m, k}),
               npu_input(g, "b", t, 2, trans_b ? (int64_t[]){n, k} : (int64_t[]){k, n}), &o);
    npu_scale(g, 1, 2, 3);
    assert_int_equal(npu_graph_status(g), 0);
    assert_int_equal(npu_tune_class(g, g->node[0], units, &c), 0);
    assert_true(c.work == (double)(m * n * k));
    assert_int_equal(npu_tune_class(g, g->node[1], units, &c), -ENOENT);
    strcpy(buf, c.text);
    npu_graph_free(g);
}

static void test_classes(void **state)
{
    char a[NPU_TUNE_CLASS], b[NPU_TUNE_CLASS];

    class_of(NPU_F32, 65, 128, 32, false, 2, a);
    class_of(NPU_F32, 127, 255, 63, false, 2, b);
    assert_string_equal(a, b);
    class_of(NPU_F32, 128, 128, 32, false, 2, b);
    assert_string_not_equal(a, b);
    class_of(NPU_BF16, 65, 128, 32, false, 2, b);
    assert_string_not_equal(a, b);
    class_of(NPU_F32, 65, 128, 32, true, 2, b);
    assert_string_not_equal(a, b);
    class_of(NPU_F32, 65, 128, 32, false, 1, b);
    assert_string_not_equal(a, b);
}

/* ---- the table ---- */
static struct npu_tune_verdict verdict(const char *name, int taken, float us0, float us1)
{
    struct npu_tune_verdict v = {.n = 2, .taken = taken, .us = {us0, us1}};

    snprintf(v.class_text, sizeof v.class_text, "%s", name);
    return v;
}

static void test_table(void **state)
{
    struct npu_tune *t = npu_tune_new(dir, "device", 2), *u = npu_tune_new(dir, "device", 2);
    struct npu_tune_verdict a = verdict("a x y", 1, 10.0f, 5.5f), b = verdict("b", 0, 1, 2), c = verdict("c", 0, 3, 4);

    assert_null(npu_tune_find(t, "a x y"));
    assert_int_equal(npu_tune_add(t, &c), 0);
    assert_int_equal(npu_tune_add(t, &a), 0);
    c.taken = 1;
    assert_int_equal(npu_tune_add(t, &c), 0);
    npu_tune_save(t);
    assert_int_equal(npu_tune_add(u, &b), 0); /* has not read what t saved */
    npu_tune_save(u);
    npu_tune_free(t);
    npu_tune_free(u);
    t = npu_tune_new(dir, "device", 2);
    assert_non_null(npu_tune_find(t, "a x y"));
    assert_int_equal(npu_tune_find(t, "a x y")->taken, 1);
    assert_float_equal(npu_tune_find(t, "a x y")->us[1], 5.5f, 0);
    assert_int_equal(npu_tune_find(t, "c")->taken, 1);
    assert_non_null(npu_tune_find(t, "b"));
    npu_tune_free(t);
    t = npu_tune_new(dir, "device", 1);
    assert_null(npu_tune_find(t, "b"));
    npu_tune_free(t);
    t = npu_tune_new(dir, "other driver", 2);
    assert_null(npu_tune_find(t, "b"));
    npu_tune_free(t);
}

static void test_self_tests(void **state)
{
    struct npu_tune *t = npu_tune_new(dir, "a third", 2);
    struct npu_tune_score s;
    bool passed = false;

    assert_false(npu_tune_get_test(t, "x", &passed));
    assert_false(npu_tune_get_test(NULL, "x", &passed));
    npu_tune_set_test(NULL, "x", true);
    npu_tune_set_test(t, "x", true);
    npu_tune_set_test(t, "y", false);
    npu_tune_free(t);
    t = npu_tune_new(dir, "a third", 2);
    assert_true(npu_tune_get_test(t, "x", &passed));
    assert_true(passed);
    assert_true(npu_tune_get_test(t, "y", &passed));
    assert_false(passed);
    assert_false(npu_tune_score(t, "x", &s));
    npu_tune_free(t);
}

static void test_put_off(void **state)
{
    struct npu_tune *t = npu_tune_new(dir, "a fourth", 2);
    struct npu_tune_score s;

    assert_int_equal(npu_tune_put_off(t, "m 1 avx2 vec8"), NPU_TUNE_NEW);
    npu_tune_set_put_off(t, "m 1 avx2 vec8", NPU_TUNE_BUSY);
    npu_tune_set_put_off(t, "m 2 avx2 vec8", NPU_TUNE_BUSY);
    assert_int_equal(npu_tune_put_off(t, "m 2 avx2 vec8"), NPU_TUNE_BUSY);
    npu_tune_set_put_off(t, "m 2 avx2 vec8", NPU_TUNE_LATE);
    npu_tune_save(t);
    npu_tune_free(t);
    t = npu_tune_new(dir, "a fourth", 2);
    assert_int_equal(npu_tune_put_off(t, "m 1 avx2 vec8"), NPU_TUNE_BUSY);
    assert_int_equal(npu_tune_put_off(t, "m 2 avx2 vec8"), NPU_TUNE_LATE);
    assert_int_equal(npu_tune_put_off(t, "m 3 avx2 vec8"), NPU_TUNE_NEW);
    assert_null(npu_tune_find(t, "m 1 avx2 vec8"));
    assert_false(npu_tune_score(t, "vec8", &s));
    npu_tune_free(t);
}

static void test_bad_lines(void **state)
{
    static const char text[] = "good\t1\t1.5 2.5\n\n\t0\t1\nno times\t0\t\nno number\tx\t1 2\nnot so many\t2\t1 2\n"
                               "negative\t-1\t1 2\nnan\t0\tnan 1\nminus\t0\t-1 2\nlate\t0\t1 2 x\ncut\t0\t1";
    struct npu_tune *t = npu_tune_new(NULL, "d", 1);
    size_t size = 0;
    char *got;

    npu_tune_parse(t, text, sizeof text - 1);
    got = npu_tune_print(t, &size);
    assert_string_equal(got, "good\t1\t1.500 2.500\ncut\t0\t1.000\n");
    free(got);
    npu_tune_free(t);
}

/* ---- choice ---- */
enum { M = 192, K = 256, N = 128 }; /* large enough that the emulation is slower than a driver on a busy machine */

struct result {
    char tier[32];
    enum npu_choice_why why;
    int candidates;
    float y[M * N];
};

static void fill(float *v, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        v[i] = (float)((i * 37 + i / 13) % 61 - 30) / 32.0f;
}

/* y = a b with bf16 operands, by a device that is opened for it; false: there is no OpenCL CPU device. */
static bool product(const char *cache, struct result *ret)
{
    static float a[M * K], b[K * N];
    const struct npu_matmul_opts o = {.out_f32 = true};
    npu_ctx *ctx = NULL;
    npu_graph *g;
    npu_plan *p;
    npu_dev *d;
    npu_val y;

    assert_int_equal(npu_ctx_new(cache, &ctx), 0);
    if (npu_dev_open(ctx, "cpu", &d) < 0) {
        skip_cl(npu_ctx_error(ctx));
        npu_ctx_free(ctx);
        return false;
    }
    fill(a, M * K);
    fill(b, K * N);
    npu_graph_new(0, &g);
    y = npu_matmul(g, npu_cast(g, npu_input(g, "a", NPU_F32, 2, (int64_t[]){M, K}), NPU_BF16),
                   npu_cast(g, npu_input(g, "b", NPU_F32, 2, (int64_t[]){K, N}), NPU_BF16), &o);
    npu_output(g, "y", y);
    assert_int_equal(npu_plan_new(d, g, NULL, &p), 0);
    assert_int_equal(npu_plan_write(p, "a", a, sizeof a), 0);
    assert_int_equal(npu_plan_write(p, "b", b, sizeof b), 0);
    assert_int_equal(npu_plan_run(p), 0);
    assert_int_equal(npu_plan_read(p, "y", ret->y, sizeof ret->y), 0);
    for (int s = 0; s < p->n_steps; s++)
        if (strcmp(p->graph->node[p->step[s].node]->op->name, "matmul") == 0) {
            ret->why = p->choice[s].why;
            ret->candidates = p->choice[s].n;
            for (int i = 0; i < p->step[s].n_launches; i++)
                if (!p->lower.launch[p->step[s].first_launch + i].on_params)
                    snprintf(ret->tier, sizeof ret->tier, "%s", p->lower.launch[p->step[s].first_launch + i].tier);
        }
    npu_plan_free(p);
    npu_graph_free(g);
    npu_dev_close(d);
    npu_ctx_free(ctx);
    return true;
}

static void check(const struct result *a, const struct result *b)
{
    for (size_t i = 0; i < sizeof a->y / sizeof a->y[0]; i++)
        assert_float_equal(a->y[i], b->y[i], 1e-3f);
}

/* The same, again while other processes disturb the measurement. */
static bool undisturbed_product(const char *cache, struct result *ret)
{
    bool there = product(cache, ret);

    for (int i = 0; i < 50 && there && ret->why == NPU_CHOICE_BUSY; i++)
        there = product(cache, ret);
    return there;
}

static int damage_one(const char *path, const struct stat *st, int type, struct FTW *w)
{
    return type == FTW_F && strstr(path, ".npc") && truncate(path, st->st_size - 1) < 0;
}

/* The emulated tiles come first in the default order and are by far the slowest. */
static void test_choice(void **state)
{
    static struct result order, timed, again, off, asked, damaged, nowhere;

    setenv("NPU_AMX_EMULATE", "1", 1);
    setenv("NPU_TUNE", "0", 1);
    if (!product(dir, &order))
        return;
    assert_string_equal(order.tier, "amx-bf16-emulated");
    assert_int_equal(order.why, NPU_CHOICE_ORDER);
    assert_true(order.candidates >= 2);
    setenv("NPU_TUNE", "20000", 1);
    assert_true(undisturbed_product(dir, &timed));
    assert_string_not_equal(timed.tier, order.tier);
    assert_int_equal(timed.why, NPU_CHOICE_MEASURED);
    assert_true(product(dir, &again));
    assert_string_equal(again.tier, timed.tier);
    assert_int_equal(again.why, NPU_CHOICE_KNOWN);
    check(&timed, &order);
    check(&again, &order);
    setenv("NPU_TUNE", "0", 1);
    assert_true(product(dir, &off)); /* whatever is known */
    assert_string_equal(off.tier, order.tier);
    setenv("NPU_TUNE", "20000", 1);
    setenv("NPU_TIER", "nonsense,vec4,vec8", 1);
    assert_true(product(dir, &asked));
    assert_string_equal(asked.tier, "vec4");
    assert_int_equal(asked.why, NPU_CHOICE_ASKED);
    check(&asked, &order);
    unsetenv("NPU_TIER");
    assert_int_equal(nftw(dir, damage_one, 8, FTW_PHYS), 0);
    assert_true(undisturbed_product(dir, &damaged));
    assert_int_equal(damaged.why, NPU_CHOICE_MEASURED);
    assert_true(undisturbed_product("", &nowhere)); /* no folder: measured each time */
    assert_int_equal(nowhere.why, NPU_CHOICE_MEASURED);
    check(&nowhere, &order);
    unsetenv("NPU_AMX_EMULATE");
    unsetenv("NPU_TUNE");
}

/* What there is no time for when it is met first keeps the default order, at later starts too, until someone gives it
 * time: a later start must not build the kernels of slower tiers. */
static void test_no_time(void **state)
{
    static struct result r;
    char cache[64];

    snprintf(cache, sizeof cache, "%s/late", dir);
    setenv("NPU_AMX_EMULATE", "1", 1);
    setenv("NPU_TUNE", "1", 1);
    if (product(cache, &r)) {
        assert_string_equal(r.tier, "amx-bf16-emulated");
        assert_int_equal(r.why, NPU_CHOICE_LATE);
        unsetenv("NPU_TUNE");
        assert_true(product(cache, &r));
        assert_string_equal(r.tier, "amx-bf16-emulated");
        assert_int_equal(r.why, NPU_CHOICE_LATE);
        setenv("NPU_TUNE", "20000", 1);
        assert_true(undisturbed_product(cache, &r));
        assert_int_equal(r.why, NPU_CHOICE_MEASURED);
        assert_string_not_equal(r.tier, "amx-bf16-emulated");
    }
    unsetenv("NPU_AMX_EMULATE");
    unsetenv("NPU_TUNE");
}

static bool find_tier(npu_dev *d, const char *name, struct npu_tier_info *ret)
{
    for (int i = 0; npu_dev_tier(d, i, ret) == 0; i++)
        if (strcmp(ret->name, name) == 0)
            return true;
    return false;
}

/* What is known of an f32 product's tiers; false: no OpenCL device with native code of the tier avx2. */
static bool f32_product(bool with_driver, struct npu_choice *ret)
{
    const int64_t shape[] = {96, 96};
    struct npu_tier_info t;
    npu_ctx *c = open_ctx();
    npu_graph *g = NULL;
    npu_plan *p = NULL;
    npu_dev *d = NULL;
    npu_val y;
    bool there = npu_dev_open(c, "cpu", &d) == 0 && find_tier(d, "avx2", &t) && t.passed;

    if (there) {
        npu_graph_new(0, &g);
        y = npu_matmul(g, npu_input(g, "a", NPU_F32, 2, shape), npu_input(g, "b", NPU_F32, 2, shape), NULL);
        npu_output(g, "y", with_driver ? npu_cast(g, y, NPU_F16) : y);
        assert_int_equal(npu_plan_new(d, g, NULL, &p), 0);
        *ret = p->choice[0];
    }
    npu_plan_free(p);
    npu_graph_free(g);
    npu_dev_close(d);
    npu_ctx_free(c);
    return there;
}

static const struct npu_tier_option *option_of(const struct npu_choice *c, const char *tier)
{
    for (int i = 0; i < c->n; i++)
        if (strcmp(c->option[i].tier, tier) == 0)
            return &c->option[i];
    return NULL;
}

/* A plan that needs no driver gets none for OpenCL code of no wider vectors, and the plan says so; where it needs the
 * driver anyway, or by name, such a tier can be taken. */
static void test_native_plan(void **state)
{
    struct npu_choice c;
    char text[256];

    setenv("NPU_TUNE", "20000", 1);
    if (!f32_product(false, &c)) {
        puts("# SKIP no tier avx2");
        unsetenv("NPU_TUNE");
        return;
    }
    assert_string_equal(c.option[c.taken].tier, "avx2");
    assert_non_null(option_of(&c, "vec8"));
    assert_non_null(strstr(option_of(&c, "vec8")->refused, "not measured"));
    assert_true(option_of(&c, "vec8")->us <= 0.0f);
    assert_non_null(strstr(npu_choice_text(&c, text, sizeof text), "vec8: not measured"));
    setenv("NPU_TIER", "vec8", 1);
    assert_true(f32_product(false, &c));
    assert_string_equal(c.option[c.taken].tier, "vec8");
    assert_int_equal(c.why, NPU_CHOICE_ASKED);
    unsetenv("NPU_TIER");
    setenv("NPU_TUNE", "0", 1);
    assert_true(f32_product(true, &c));
    assert_non_null(option_of(&c, "vec8"));
    assert_null(option_of(&c, "vec8")->refused);
    unsetenv("NPU_TUNE");
}

/* The dot product of pairs, the processor's if it has one, serves where tiles do not; its sums are those of tiles
 * within the bound. */
static void test_bf16_units(void **state)
{
    static struct result tiles, dot;

    setenv("NPU_TUNE", "0", 1);
    setenv("NPU_BF16_EMULATE", "1", 1);
    if (!product("", &dot))
        return;
    assert_ptr_equal(strstr(dot.tier, "avx512-bf16"), dot.tier);
    setenv("NPU_AMX_EMULATE", "1", 1);
    assert_true(product("", &tiles));
    assert_ptr_equal(strstr(tiles.tier, "amx-bf16"), tiles.tier);
    check(&dot, &tiles);
    unsetenv("NPU_AMX_EMULATE");
    setenv("NPU_BF16_EMULATE", "0", 1);
    assert_true(product("", &tiles));
    assert_null(strstr(tiles.tier, "bf16-emulated"));
    check(&dot, &tiles);
    unsetenv("NPU_BF16_EMULATE");
    unsetenv("NPU_TUNE");
}

/* ---- what npu_dev_tier tells ---- */
static void test_tiers(void **state)
{
    struct npu_tier_info t;
    npu_ctx *c = open_ctx();
    npu_dev *d = NULL;

    assert_int_equal(npu_dev_open(c, "ref", &d), 0);
    assert_true(find_tier(d, "ref", &t));
    assert_true(t.passed);
    assert_int_equal(npu_dev_tier(d, 1, &t), -ERANGE);
    npu_dev_close(d);
    setenv("NPU_SUBGROUP", "broken", 1);
    if (npu_dev_open(c, "cpu", &d) == 0) {
        assert_true(find_tier(d, "subgroup-arm-emulated", &t));
        assert_false(t.passed);
        assert_non_null(strstr(t.why, "self-test off by"));
        assert_true(find_tier(d, "portable", &t));
        assert_true(t.passed);
        assert_false(find_tier(d, "amx-int8-emulated", &t));
        npu_dev_close(d);
    }
    unsetenv("NPU_SUBGROUP");
    npu_ctx_free(c);
}

static void test_scores(void **state)
{
    struct npu_tune *t = npu_tune_new(NULL, "d", 1);
    const struct npu_tune_verdict v[] = {verdict("m 1 avx2 vec8", 0, 10, 30), verdict("m 2 avx2 vec8", 1, 20, 10),
                                         verdict("m 3 avx2 vec8", 0, 10, 9.9f), verdict("m 4 vec8 vec16", 0, 1, 2)};
    struct npu_tune_score s;

    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
        assert_int_equal(npu_tune_add(t, &v[i]), 0);
    assert_true(npu_tune_score(t, "avx2", &s));
    assert_int_equal(s.classes, 3);
    assert_int_equal(s.best, 2);
    assert_float_equal(s.most, 2.0, 1e-6);
    assert_true(npu_tune_score(t, "vec8", &s));
    assert_int_equal(s.classes, 4);
    assert_int_equal(s.best, 2);
    assert_float_equal(s.least, 1.0, 1e-6);
    assert_float_equal(s.most, 3.0, 1e-6);
    assert_false(npu_tune_score(t, "vec", &s));
    npu_tune_free(t);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *w)
{
    return remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),   cmocka_unit_test(test_table),       cmocka_unit_test(test_self_tests),
        cmocka_unit_test(test_bad_lines), cmocka_unit_test(test_choice),      cmocka_unit_test(test_no_time),
        cmocka_unit_test(test_put_off),   cmocka_unit_test(test_native_plan), cmocka_unit_test(test_bf16_units),
        cmocka_unit_test(test_tiers),     cmocka_unit_test(test_scores),
    };
    const char *home = getenv("HOME");
    char pocl[4096];
    int r;

    if (!mkdtemp(dir))
        return 1;
    snprintf(pocl, sizeof pocl, "%s/.cache/pocl/kcache", home ? home : "/tmp");
    setenv("POCL_CACHE_DIR", pocl, 0); /* compiled kernels need not be made anew for these folders */
    r = cmocka_run_group_tests(tests, NULL, NULL);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return r;
}
