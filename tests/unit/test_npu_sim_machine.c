/* test_npu_sim_machine.c - the simulated NPU on programs written by hand: results, tokens, and everything that a wrong
 * program does. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libnpu/dtype.h"
#include "libnpu/rng.h"
#include "libnpu/sim/asm.h"
#include "libnpu/sim/machine.h"

/* C [TILES * ROWS, COLS] = relu(A [.., K] B [K, COLS] + bias), tile by tile, with two slots of each memory. */
enum { TILES = 5, ROWS = 6, K = 20, COLS = 12, HALF = 10 };
enum { A_AT = 0, B_AT = 4096, BIAS_AT = 8192, C_AT = 12288, XM = 16384, SEEDS = 400 };

static void add(struct sim_program *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct sim_program *p, const char *fmt, ...)
{
    char text[512], why[256];
    struct sim_source s;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (sim_assemble(text, strlen(text), &s, why, sizeof why) < 0)
        fail_msg("%s: %s", text, why);
    for (int k = 0; k < s.program.n; k++)
        assert_int_equal(sim_program_add(p, &s.program.insn[k]), 0);
    sim_source_free(&s);
}

/* The array takes HALF of K at once. */
static void product_program(struct sim_program *p, bool i8)
{
    const char *t = i8 ? "i8" : "bf16", *x = i8 ? "i8" : "f32", *s = i8 ? "i32" : "f32";

    add(p, "load d=wm.%s@0 a=xm.%s@%d n=%d,%d,1,1 as=1,%d,0,0 ds=16,0,0", t, x, B_AT, COLS, K, COLS);
    add(p, "load d=um.f32@0 a=xm.f32@%d n=%d,1,1,1 as=1,0,0,0 ds=0,0,0", BIAS_AT, COLS);
    for (int i = 0; i < TILES; i++) {
        const int im = i % 2 * 512, acc = i % 2 * 1024, um = 256 + i % 2 * 1024;

        add(p, "load d=im.%s@%d a=xm.%s@%d n=%d,%d,1,1 as=1,%d,0,0 ds=32,0,0", t, im, x,
            A_AT + i * ROWS * K * (i8 ? 1 : 4), K, ROWS, K);
        for (int h = 0; h < 2; h++) {
            add(p, "wload a=wm.%s@%d k=%d n=%d ks=16 ns=1", t, h * HALF * 16 * (i8 ? 1 : 2), HALF, COLS);
            add(p, "mmul %s d=acc.%s@%d a=im.%s@%d n=%d pitch=16 m=%d,1 ms=32,0 first=%d k=%d kc=4,%d ks=1,4,0",
                h ? "accumulate=1" : "", s, acc, t, im, COLS, ROWS, h * HALF, HALF, K / 4);
        }
        if (i8)
            add(p, "requant d=um.i8@%d a=acc.i32@%d b=um.f32@0 imm=3 n0=%d n1=%d n2=1 ds=%d,0 as=1,16,0 bs=1,0,0", um,
                acc, COLS, ROWS, COLS);
        else
            add(p, "add act=relu d=um.f32@%d a=acc.f32@%d b=um.f32@0 n0=%d n1=%d n2=1 ds=%d,0 as=1,16,0 bs=1,0,0", um,
                acc, COLS, ROWS, COLS);
        add(p, "store d=xm.%s@%d a=um.%s@%d n=%d,1,1,1 ds=1,0,0,0 as=0,0,0", x, C_AT + i * ROWS * COLS * (i8 ? 1 : 4),
            x, um, ROWS * COLS);
    }
    assert_int_equal(sim_tokens_insert(p), 0);
}

static float value(int stream, int i)
{
    return npu_bf16_to_f32(npu_f32_to_bf16(npu_rng_uniform(stream, (uint64_t)i) * 2 - 1));
}

static struct sim_machine *machine(const char *measures)
{
    struct sim_config c;
    struct sim_machine *m;
    char why[256];

    assert_int_equal(sim_config_parse(measures, &c, why, sizeof why), 0);
    assert_int_equal(sim_machine_new(&c, XM, &m), 0);
    return m;
}

static const char small[] = "16x16,wm=1K,im=1K,acc=2K,um=4K,ib=16";

static void write_inputs(struct sim_machine *m, bool i8)
{
    for (int i = 0; i < TILES * ROWS * K; i++) {
        float f = value(1, i);
        int8_t q = (int8_t)lrintf(f * 127);

        sim_machine_write(m, A_AT + (unsigned)i * (i8 ? 1 : 4), i8 ? (void *)&q : &f, i8 ? 1 : 4);
    }
    for (int i = 0; i < K * COLS; i++) {
        float f = value(2, i);
        int8_t q = (int8_t)lrintf(f * 127);

        sim_machine_write(m, B_AT + (unsigned)i * (i8 ? 1 : 4), i8 ? (void *)&q : &f, i8 ? 1 : 4);
    }
    for (int i = 0; i < COLS; i++) {
        float f = i8 ? 0.002f + 0.0005f * (float)i : value(3, i);
        sim_machine_write(m, BIAS_AT + (unsigned)i * 4, &f, 4);
    }
    sim_machine_poison(m, SIM_XM, C_AT, XM - C_AT);
}

/* How many elements of C are not what they must be. */
static int wrong_f32(const struct sim_machine *m)
{
    int wrong = 0;

    for (int r = 0; r < TILES * ROWS; r++)
        for (int c = 0; c < COLS; c++) {
            float sum = value(3, c), is;

            for (int k = 0; k < K; k++)
                sum += value(1, r * K + k) * value(2, k * COLS + c);
            assert_int_equal(sim_machine_read(m, C_AT + 4u * (unsigned)(r * COLS + c), &is, 4), 0);
            wrong += !(fabsf(is - fmaxf(sum, 0)) <= 1e-5f);
        }
    return wrong;
}

static int wrong_i8(const struct sim_machine *m)
{
    int wrong = 0;

    for (int r = 0; r < TILES * ROWS; r++)
        for (int c = 0; c < COLS; c++) {
            int32_t sum = 0;
            int8_t is;
            double v;

            for (int k = 0; k < K; k++)
                sum += (int32_t)lrintf(value(1, r * K + k) * 127) * (int32_t)lrintf(value(2, k * COLS + c) * 127);
            v = rint((double)((float)sum * (0.002f + 0.0005f * (float)c) + 3));
            assert_int_equal(sim_machine_read(m, C_AT + (unsigned)(r * COLS + c), &is, 1), 0);
            wrong += is != (v < -128 ? -128 : v > 127 ? 127 : v);
        }
    return wrong;
}

static void products_are_right_in_any_order(void **state)
{
    for (int i8 = 0; i8 < 2; i8++) {
        struct sim_machine *m = machine(small);
        struct sim_program p = {0};
        char why[256] = "";

        product_program(&p, i8);
        if (sim_tokens_check(&p, why, sizeof why) < 0)
            fail_msg("%s", why);
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            write_inputs(m, i8);
            if (sim_machine_run(m, &p, seed) < 0)
                fail_msg("seed %d: %s", (int)seed, m->error);
            assert_int_equal(i8 ? wrong_i8(m) : wrong_f32(m), 0);
        }
        sim_program_free(&p);
        sim_machine_free(m);
    }
}

/* True if one of the runs fails or gives a wrong result. */
static bool shows(const struct sim_program *p, bool i8)
{
    struct sim_machine *m = machine(small);
    bool seen = false;

    for (uint64_t seed = 0; seed < SEEDS && !seen; seed++) {
        write_inputs(m, i8);
        seen = sim_machine_run(m, p, seed) < 0 || (i8 ? wrong_i8(m) : wrong_f32(m)) > 0;
    }
    sim_machine_free(m);
    return seen;
}

/* Takes token after token away: only the sending, only the waiting, and both. The k-th wait takes the k-th token. */
static void no_token_can_be_left_out_of(bool i8)
{
    struct sim_program p = {0};
    int removed = 0, unseen = 0;
    char why[256];

    product_program(&p, i8);
    for (unsigned u = 0; u < SIM_UNITS; u++)
        for (unsigned v = 0; v < SIM_UNITS; v++)
            for (int nth = 0;; nth++) {
                int send = -1, take = -1;

                for (int i = 0, n = 0; i < p.n && send < 0; i++)
                    if (sim_insn_unit(&p.insn[i]) == u && p.insn[i].signal >> v & 1 && n++ == nth)
                        send = i;
                for (int i = 0, n = 0; i < p.n && take < 0; i++)
                    if (sim_insn_unit(&p.insn[i]) == v && p.insn[i].wait >> u & 1 && n++ == nth)
                        take = i;
                assert_int_equal(send < 0, take < 0);
                if (send < 0)
                    break;
                for (int what = 1; what < 4; what++) {
                    p.insn[send].signal ^= (uint8_t)(what & 1 ? 1u << v : 0);
                    p.insn[take].wait ^= (uint8_t)(what & 2 ? 1u << u : 0);
                    assert_true(sim_tokens_check(&p, why, sizeof why) < 0);
                    if (what < 3)
                        assert_true(shows(&p, i8));
                    else
                        unseen += !shows(&p, i8);
                    p.insn[send].signal ^= (uint8_t)(what & 1 ? 1u << v : 0);
                    p.insn[take].wait ^= (uint8_t)(what & 2 ? 1u << u : 0);
                }
                removed++;
            }
    assert_int_equal(sim_tokens_check(&p, why, sizeof why), 0);
    assert_true(removed >= 4 * TILES - 8);
    if (unseen)
        fail_msg("%d of %d removed tokens were seen in none of %d orders", unseen, removed, SEEDS);
    sim_program_free(&p);
}

static void no_token_can_be_left_out(void **state)
{
    no_token_can_be_left_out_of(false);
    no_token_can_be_left_out_of(true);
}

/* A change to one instruction of the product, and what the machine says of it. */
static void wrong_programs_are_named(void **state)
{
    static const struct {
        const char *text, *measures;
        int r;
        const char *why[2];
    } bad[] = {
        {"load d=im.f32@0 a=xm.f32@16380 n=2,1,1,1 as=1,0,0,0 ds=0,0,0",
         small,
         -EFAULT,
         {"instruction 0 (load, unit load): reads 8 bytes at 16380 of xm, which has 16384", ""}},
        {"load d=im.f32@0 a=xm.f32@0 n=1,3,1,1 as=1,-1,0,0 ds=1,0,0",
         small,
         -EFAULT,
         {"instruction 0 (load, unit load): reads 4 bytes at -4 of xm", ""}},
        {"load d=im.f32@0 a=xm.f32@1000000000000 n=1,1,1,1 as=1,0,0,0 ds=1,0,0",
         small,
         -EFAULT,
         {"at 1000000000000 of xm", ""}},
        {"nop unit=store\nload d=im.bf16@1020 a=xm.f32@0 n=3,1,1,1 as=1,0,0,0 ds=0,0,0",
         small,
         -EFAULT,
         {"instruction 1 (load, unit load): writes 6 bytes at 1020 of im, which has 1024", ""}},
        {"fill d=um.f32@0 n=1,1025,1,1 ds=1,0,0 imm=0", small, -EFAULT, {"writes 4 bytes at 4096 of um", ""}},
        {"store d=xm.f32@0 a=um.f32@0 n=1,1,1,1 ds=1,0,0,0 as=0,0,0",
         small,
         -ENODATA,
         {"instruction 0 (store, unit store): reads poison at 0 of um", ""}},
        {"fill d=um.f32@0 n=1,1,1,1 ds=0,0,0 imm=0 signal=store\n"
         "store wait=load d=xm.f32@16384 a=um.f32@0 n=1,1,1,1 ds=1,0,0,0 as=0,0,0",
         small,
         -EFAULT,
         {"instruction 1 (store, unit store): writes 4 bytes at 16384 of xm", ""}},
        {"fill d=wm.bf16@0 n=300,1,1,1 ds=0,0,0 imm=1 signal=matrix\nwload wait=load a=wm.bf16@0 k=17 n=16 ks=16 ns=1",
         small,
         -EINVAL,
         {"instruction 1 (wload, unit matrix): a tile of 17 x 16 weights for an array of 16 x 16", ""}},
        {"mmul d=acc.f32@0 a=im.bf16@0 n=4 pitch=4 m=1,1 ms=0,0 first=0 k=4 kc=4,1 ks=1,0,0",
         small,
         -EINVAL,
         {"instruction 0 (mmul, unit matrix)", "the array holds 0 x 0 weights"}},
        {"fill d=wm.bf16@0 n=256,1,1,1 ds=0,0,0 imm=1\nfill d=im.bf16@0 n=512,1,1,1 ds=0,0,0 imm=1 signal=matrix\n"
         "wload wait=load a=wm.bf16@0 k=4 n=16 ks=16 ns=1\n"
         "mmul d=acc.f32@0 a=im.bf16@0 n=16 pitch=16 m=33,1 ms=4,0 first=0 k=4 kc=4,1 ks=1,0,0",
         small,
         -EFAULT,
         {"instruction 3 (mmul, unit matrix): writes 64 bytes at 2048 of acc, which has 2048", ""}},
        {"fill d=wm.bf16@0 n=256,1,1,1 ds=0,0,0 imm=1 signal=matrix\n"
         "wload wait=load a=wm.bf16@0 k=4 n=16 ks=16 ns=1\n"
         "mmul d=acc.f32@0 a=im.bf16@0 n=16 pitch=16 m=1,1 ms=4,0 first=0 k=4 kc=4,1 ks=1,0,0",
         small,
         -ENODATA,
         {"instruction 2 (mmul, unit matrix): reads poison at 0 of im", ""}},
        {"exp d=um.f32@0 a=acc.f32@2044 n0=2 n1=1 n2=1 ds=0,0 as=1,0,0",
         small,
         -EFAULT,
         {"instruction 0 (exp, unit vector): reads 8 bytes at 2044 of acc", ""}},
        {"load d=um.f32@0 a=um.f32@4092 n=2,1,1,1 as=1,0,0,0 ds=0,0,0",
         small,
         -EFAULT,
         {"instruction 0 (load, unit load): reads 8 bytes at 4092 of um, which has 4096", ""}},
        {"load d=im.f32@0 a=um.f32@0 n=2,1,1,1 as=1,0,0,0 ds=0,0,0",
         small,
         -ENODATA,
         {"instruction 0 (load, unit load): reads poison at 0 of um", ""}},
        {"fill d=um.f32@0 n=4,1,1,1 ds=0,0,0 imm=0 signal=store\n"
         "store wait=load d=um.f32@4088 a=um.f32@0 n=4,1,1,1 ds=1,0,0,0 as=0,0,0",
         small,
         -EFAULT,
         {"instruction 1 (store, unit store): writes 16 bytes at 4088 of um", ""}},
        {"load d=wm.f32@4092 a=xm.f32@0 n=2,1,1,1 as=1,0,0,0 ds=0,0,0",
         small,
         -EFAULT,
         {"instruction 0 (load, unit load): writes 8 bytes at 4092 of wm", ""}},
        {"fill d=wm.bf16@0 n=300,1,1,1 ds=0,0,0 imm=1 signal=matrix\nwload wait=load a=wm.bf16@0 k=16 n=17 ks=16 ns=1",
         small,
         -EINVAL,
         {"instruction 1 (wload, unit matrix): a tile of 16 x 17 weights for an array of 16 x 16", ""}},
        {"fill d=wm.f32@0 n=256,1,1,1 ds=0,0,0 imm=1\nfill d=im.i8@0 n=64,1,1,1 ds=0,0,0 imm=1 signal=matrix\n"
         "wload wait=load a=wm.f32@0 k=4 n=4 ks=4 ns=1\n"
         "mmul d=acc.i32@0 a=im.i8@0 n=4 pitch=4 m=1,1 ms=0,0 first=0 k=4 kc=4,1 ks=1,0,0",
         small,
         -EINVAL,
         {"instruction 3 (mmul, unit matrix): 4 x 4 of i8, but the array holds 4 x 4 weights of f32", ""}},
        {"fill d=um.f32@0 n=8,1,1,1 ds=0,0,0 imm=1 signal=vector\n"
         "mac wait=load d=um.f32@64 a=um.f32@0 imm=2 n0=2 n1=1 n2=1 ds=0,0 as=1,0,0",
         small,
         -ENODATA,
         {"instruction 1 (mac, unit vector): reads poison at 64 of um", ""}},
        {"fill d=um.f32@0 n=8,1,1,1 ds=0,0,0 imm=1 signal=vector\n"
         "rdot wait=load d=um.f32@64 a=um.f32@0 b=um.f32@16 n0=8 n1=1 n2=1 ds=0,0 as=1,0,0 bs=1,0,0",
         small,
         -ENODATA,
         {"instruction 1 (rdot, unit vector): reads poison at 32 of um", ""}},
        {"fill d=um.f32@0 n=8,1,1,1 ds=0,0,0 imm=1 signal=vector\n"
         "qrange wait=load d=um.f32@4088 a=um.f32@0 n0=2 n1=1 n2=1 ds=0,0 as=1,0,0",
         small,
         -EFAULT,
         {"instruction 1 (qrange, unit vector): writes 12 bytes at 4088 of um", ""}},
        {"fill d=um.i32@0 n=8,1,1,1 ds=0,0,0 imm=1 signal=vector\n"
         "qscale wait=load d=um.i8@64 a=um.i32@0 b=um.i32@0 n0=8 n1=1 ds=8 as=8 shift=1 zero=0 lo=0 hi=9 rmul=1 "
         "rzero=0",
         small,
         -ENODATA,
         {"instruction 1 (qscale, unit vector): reads poison at 64 of um", ""}},
        {"nop unit=store wait=vector\nnop unit=vector wait=store",
         small,
         -EDEADLK,
         {"waits for ever for a token of unit", ""}},
        {"nop unit=store signal=vector", small, -EDEADLK, {"1 tokens of unit store for unit vector are left over", ""}},
        {"nop unit=store wait=vector\nnop unit=vector signal=store",
         "ib=1",
         -EDEADLK,
         {"instruction 0 (nop, unit store): waits for ever", ""}},
    };

    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        struct sim_machine *m = machine(bad[k].measures);
        struct sim_program p = {0};
        const float zeros[8] = {0};

        sim_machine_write(m, 0, zeros, sizeof zeros);
        sim_machine_write(m, XM - sizeof zeros, zeros, sizeof zeros);
        add(&p, "%s", bad[k].text);
        if (sim_machine_run(m, &p, 1) != bad[k].r || !strstr(m->error, bad[k].why[0]) ||
            !strstr(m->error, bad[k].why[1]))
            fail_msg("%s\ngave: %s", bad[k].text, m->error);
        sim_program_free(&p);
        sim_machine_free(m);
    }
}

static double gelu(double x)
{
    return 0.5 * x * (1 + tanh(0.7978845608 * (x + 0.044715 * x * x * x)));
}

/* x = 0.5, 2.5; y = 2, -1 */
static void vector_operations_compute(void **state)
{
    static const struct {
        const char *text;
        double want[2];
        int n;
        bool b;
    } t[] = {
        {"mov", {0.5, 2.5}, 2, false},
        {"add", {2.5, 1.5}, 2, true},
        {"sub", {-1.5, 3.5}, 2, true},
        {"mul", {1, -2.5}, 2, true},
        {"div", {0.25, -2.5}, 2, true},
        {"max", {2, 2.5}, 2, true},
        {"min", {0.5, -1}, 2, true},
        {"cmp", {0, 1}, 2, true},
        {"abs", {0.5, 2.5}, 2, false},
        {"exp", {1.6487212707, 12.1824939607}, 2, false},
        {"log", {-0.6931471806, 0.9162907319}, 2, false},
        {"rsqrt", {1.4142135624, 0.6324555320}, 2, false},
        {"recip", {2, 0.4}, 2, false},
        {"rsum", {3, 0}, 1, false},
        {"rmax", {2.5, 0}, 1, false},
        {"requant imm=10", {11, 7.5}, 2, true},
        {"mac", {1.5, 0}, 2, true},
        {"rdot", {-1.5, 0}, 1, true},
    };

    for (size_t k = 0; k < sizeof t / sizeof t[0]; k++) {
        struct sim_machine *m = machine(small);
        struct sim_program p = {0};
        const float in[4] = {0.5f, 2.5f, 2, -1};
        float out[2];

        sim_machine_write(m, 0, in, sizeof in);
        add(&p, "load d=um.f32@0 a=xm.f32@0 n=4,1,1,1 as=1,0,0,0 ds=0,0,0");
        add(&p, "load d=um.f32@64 a=xm.f32@0 n=2,1,1,1 as=1,0,0,0 ds=0,0,0"); /* what mac adds to */
        add(&p, "%s d=um.f32@64 a=um.f32@0 %s n0=2 n1=1 n2=1 ds=0,0 as=1,0,0", t[k].text,
            t[k].b ? "b=um.f32@8 bs=1,0,0" : "");
        add(&p, "store d=xm.f32@64 a=um.f32@64 n=%d,1,1,1 ds=1,0,0,0 as=0,0,0", t[k].n);
        sim_tokens_insert(&p);
        if (sim_machine_run(m, &p, 3) < 0)
            fail_msg("%s: %s", t[k].text, m->error);
        sim_machine_read(m, 64, out, sizeof out);
        for (int e = 0; e < t[k].n; e++)
            if (!(fabs(out[e] - t[k].want[e]) <= 1e-6 * fabs(t[k].want[e])))
                fail_msg("%s: %g, want %g", t[k].text, (double)out[e], t[k].want[e]);
        sim_program_free(&p);
        sim_machine_free(m);
    }
}

static void activations_compute(void **state)
{
    const float in[3] = {-1.5f, 0.75f, 7};

    for (int act = SIM_ACT_NONE; act < SIM_ACTS; act++) {
        struct sim_machine *m = machine(small);
        struct sim_program p = {0};
        float out[3];

        sim_machine_write(m, 0, in, sizeof in);
        add(&p, "load d=um.f32@0 a=xm.f32@0 n=3,1,1,1 as=1,0,0,0 ds=0,0,0");
        add(&p, "act act=%s d=um.f32@64 a=um.f32@0 n0=3 n1=1 n2=1 ds=0,0 as=1,0,0", sim_act_names[act]);
        add(&p, "store d=xm.f32@64 a=um.f32@64 n=3,1,1,1 ds=1,0,0,0 as=0,0,0");
        sim_tokens_insert(&p);
        assert_int_equal(sim_machine_run(m, &p, 3), 0);
        sim_machine_read(m, 64, out, sizeof out);
        for (int e = 0; e < 3; e++) {
            const double x = in[e],
                         want[SIM_ACTS] = {x, fmax(x, 0), fmin(fmax(x, 0), 6), gelu(x), 1 / (1 + exp(-x)), tanh(x)};

            assert_true(fabs(out[e] - want[act]) <= 1e-6 * fabs(want[act]) + 1e-7);
        }
        sim_program_free(&p);
        sim_machine_free(m);
    }
}

/* Halves go to even, sums outside are cut off; i32 sums are exact beyond 24 bits. */
static void integers_round_and_saturate(void **state)
{
    static const float in[6] = {0.5f, 1.5f, -2.5f, 127.5f, -1e9f, 3e9f};
    static const int8_t want[6] = {0, 2, -2, 127, -128, 127};
    const int32_t big[2] = {(1 << 24) + 1, 1};
    struct sim_machine *m = machine(small);
    struct sim_program p = {0};
    int32_t sum;
    int8_t out[6];

    sim_machine_write(m, 0, in, sizeof in);
    sim_machine_write(m, 128, big, sizeof big);
    add(&p, "load d=um.f32@0 a=xm.f32@0 n=6,1,1,1 as=1,0,0,0 ds=0,0,0");
    add(&p, "load d=um.i32@128 a=xm.i32@128 n=2,1,1,1 as=1,0,0,0 ds=0,0,0");
    add(&p, "mov d=um.i8@64 a=um.f32@0 n0=6 n1=1 n2=1 ds=0,0 as=1,0,0");
    add(&p, "add d=um.i32@136 a=um.i32@128 b=um.i32@132 n0=1 n1=1 n2=1 ds=0,0 as=1,0,0 bs=1,0,0");
    add(&p, "store d=xm.i8@64 a=um.i8@64 n=6,1,1,1 ds=1,0,0,0 as=0,0,0");
    add(&p, "store d=xm.i32@136 a=um.i32@136 n=1,1,1,1 ds=1,0,0,0 as=0,0,0");
    sim_tokens_insert(&p);
    assert_int_equal(sim_machine_run(m, &p, 1), 0);
    sim_machine_read(m, 64, out, sizeof out);
    sim_machine_read(m, 136, &sum, sizeof sum);
    assert_memory_equal(out, want, sizeof want);
    assert_int_equal(sum, (1 << 24) + 2);
    sim_program_free(&p);
    sim_machine_free(m);
}

/* Sums to i8 by whole numbers: halves go up, 64 bits on the way, limits, a residual from the place of the result. */
static void sums_become_int8_exactly(void **state)
{
    const int32_t a[4] = {3, -3, 2147483647, -100}, b[4] = {1, 1, 2147483647, 4};
    const int8_t old[4] = {10, 10, -7, 127};
    static const struct {
        const char *numbers;
        int8_t want[4];
    } t[] = {
        {"shift=1 zero=0 lo=-128 hi=127", {2, -1, 127, -128}},
        {"shift=56 zero=5 lo=-128 hi=127", {5, 5, 69, 5}}, /* 2^62 - 2^32 + 1 over 2^56 is 64 */
        {"shift=56 zero=5 lo=-10 hi=60", {5, 5, 60, 5}},
        {"shift=2 zero=0 lo=0 hi=100 rmul=2 rzero=4", {4, 2, 100, 0}}, /* (3 + 12 + 2) / 4, (-3 + 12 + 2) / 4 */
    };

    for (size_t k = 0; k < sizeof t / sizeof t[0]; k++) {
        struct sim_machine *m = machine(small);
        struct sim_program p = {0};
        int8_t out[4];

        sim_machine_write(m, 0, a, sizeof a);
        sim_machine_write(m, 16, b, sizeof b);
        sim_machine_write(m, 32, old, sizeof old);
        add(&p, "load d=um.i32@0 a=xm.i32@0 n=8,1,1,1 as=1,0,0,0 ds=0,0,0");
        add(&p, "load d=um.i8@64 a=xm.i8@32 n=4,1,1,1 as=1,0,0,0 ds=0,0,0");
        add(&p, "qscale d=um.i8@64 a=um.i32@0 b=um.i32@16 n0=4 n1=1 %s", t[k].numbers);
        add(&p, "store d=xm.i8@64 a=um.i8@64 n=4,1,1,1 ds=1,0,0,0 as=0,0,0");
        sim_tokens_insert(&p);
        assert_int_equal(sim_machine_run(m, &p, 1), 0);
        sim_machine_read(m, 64, out, sizeof out);
        for (int e = 0; e < 4; e++)
            if (out[e] != t[k].want[e])
                fail_msg("%s: element %d is %d, want %d", t[k].numbers, e, out[e], t[k].want[e]);
        sim_program_free(&p);
        sim_machine_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_right_in_any_order),
        cmocka_unit_test(no_token_can_be_left_out),
        cmocka_unit_test(wrong_programs_are_named),
        cmocka_unit_test(vector_operations_compute),
        cmocka_unit_test(activations_compute),
        cmocka_unit_test(integers_round_and_saturate),
        cmocka_unit_test(sums_become_int8_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
