/* test_npu_sim_time.c - cycles and bytes of small programs, worked out by hand. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libnpu/sim/asm.h"
#include "libnpu/sim/counters.h"

/* 16 bytes a cycle; an instruction is fetched in 4 and one cycles. */
static struct sim_config config(const char *more)
{
    char text[160], why[200];
    struct sim_config c;

    snprintf(text, sizeof text, "8x4,lanes=8,clock=1G,bw=16G,lat=0%s", more);
    if (sim_config_parse(text, &c, why, sizeof why) < 0)
        fail_msg("%s", why);
    return c;
}

static struct sim_counters timed(const char *text, const char *more, struct sim_span *span)
{
    struct sim_config c = config(more);
    struct sim_counters t;
    struct sim_source s;
    char why[256];

    if (sim_assemble(text, strlen(text), &s, why, sizeof why) < 0)
        fail_msg("%s", why);
    assert_int_equal(sim_time(&c, &s.program, span, &t), 0);
    sim_source_free(&s);
    return t;
}

static void transfers_take_bytes_over_bandwidth(void **state)
{
    struct sim_span s[3];
    /* 1024 bytes in a piece: 64 cycles and one; then 100 numbers, 8 apart: each costs a burst of 32 bytes */
    struct sim_counters t = timed("load d=um.f32@0 a=xm.f32@0 n=256,1,1,1 as=1,0,0,0 ds=0,0,0\n"
                                  "load d=um.f32@0 a=xm.f32@0 n=100,1,1,1 as=8,0,0,0 ds=0,0,0\n"
                                  "store d=xm.f32@0 a=um.f32@0 n=3,5,1,1 ds=1,100,0,0 as=3,0,0",
                                  "", s);

    assert_int_equal(t.read, 1024 + 3200);
    assert_int_equal(t.written, 5 * 32);
    assert_int_equal(t.fetched, 3 * 64);
    assert_int_equal(s[0].begin, 5);
    assert_int_equal(s[0].end, 5 + 65);
    assert_int_equal(s[2].end, 70 + 11); /* the bus is one; the store asks for it before the second load does */
    assert_int_equal(s[1].end, 81 + 201);
    assert_int_equal(t.busy[SIM_LOAD], 65 + 201);
    assert_int_equal(t.busy[SIM_STORE], 11);
    assert_int_equal(t.stall[SIM_LOAD] + t.stall[SIM_STORE], 0);
    t = timed("load d=um.f32@0 a=xm.f32@0 n=64,4,1,1 as=1,64,0,0 ds=64,0,0", ",lat=100", s);
    assert_int_equal(t.read, 1024);
    assert_int_equal(t.cycles, 100 + 5 + 100 + 65); /* fetched after a latency, loaded after another */
}

static void the_array_streams_beside_weight_loads(void **state)
{
    struct sim_span s[4];
    /* two pieces of 8 x 4 weights, 100 rows each */
    struct sim_counters t =
        timed("wload a=wm.bf16@0 k=8 n=4 ks=4 ns=1\n"
              "mmul d=acc.f32@0 a=im.bf16@0 n=4 pitch=4 m=50,2 ms=8,400 first=0 k=8 kc=8,1 ks=1,0,0\n"
              "wload a=wm.bf16@64 k=8 n=4 ks=4 ns=1\n"
              "mmul accumulate=1 d=acc.f32@0 a=im.bf16@0 n=4 pitch=4 m=50,2 ms=8,400 first=0 k=8 kc=8,1 "
              "ks=1,0,0",
              "", s);

    assert_int_equal(t.products, 2 * 100 * 8 * 4);
    assert_int_equal(t.busy[SIM_MATRIX], 200);
    assert_int_equal(s[0].end, 5 + 8);
    assert_int_equal(s[1].begin, 13);
    assert_true(s[2].end < s[1].end);               /* beside the first stream */
    assert_int_equal(s[3].begin, s[1].begin + 100); /* no gap in the array */
    assert_int_equal(t.cycles, 13 + 200 + 8 + 4);   /* and the last row's way through it */
}

static void vectors_take_lanes(void **state)
{
    struct sim_span s[3];
    struct sim_counters t =
        timed("add d=um.f32@0 a=um.f32@0 imm=1 n0=9 n1=10 n2=1 ds=9,0 as=1,9,0\n"   /* 90 side by side */
              "add d=um.f32@0 a=um.f32@0 imm=1 n0=9 n1=10 n2=1 ds=16,0 as=1,16,0\n" /* 10 rows of 9 */
              "exp d=um.f32@0 a=um.f32@0 n0=8 n1=1 n2=1 ds=0,0 as=1,0,0",
              "", s);

    assert_int_equal(t.busy[SIM_VECTOR], 12 + 20 + 4);
    assert_int_equal(s[0].end - s[0].begin, 12 + 8);
}

static void tokens_are_waited_for(void **state)
{
    struct sim_span s[3];
    const char text[] = "load signal=vector d=um.f32@0 a=xm.f32@0 n=256,1,1,1 as=1,0,0,0 ds=0,0,0\n"
                        "add wait=load signal=store d=um.f32@0 a=um.f32@0 imm=1 n0=256 n1=1 n2=1 ds=0,0 as=1,0,0\n"
                        "store wait=vector d=xm.f32@0 a=um.f32@0 n=256,1,1,1 ds=1,0,0,0 as=0,0,0\n";
    struct sim_counters t = timed(text, "", s);

    assert_int_equal(s[1].begin, s[0].end);
    assert_int_equal(s[2].begin, s[1].end);
    assert_int_equal(t.cycles, 5 + 65 + 32 + 8 + 65);
    assert_true(t.stall[SIM_VECTOR] == 70 - 10 && t.stall[SIM_STORE] > 60);
    t = timed(text, ",ib=1", s); /* the next is fetched when this one has begun */
    assert_int_equal(t.cycles, 5 + 65 + 32 + 8 + 65);
    assert_true(t.stall[SIM_STORE] < 60);
}

static void what_never_runs_has_no_time(void **state)
{
    const char text[] = "nop unit=store wait=vector\nnop unit=vector wait=store";
    struct sim_config c = config("");
    struct sim_counters t;
    struct sim_source s;
    char why[256];

    assert_int_equal(sim_assemble(text, strlen(text), &s, why, sizeof why), 0);
    assert_int_equal(sim_time(&c, &s.program, NULL, &t), -EDEADLK);
    sim_source_free(&s);
    t = timed("halt\nload d=um.f32@0 a=xm.f32@0 n=256,1,1,1 as=1,0,0,0 ds=0,0,0", "", NULL);
    assert_int_equal(t.cycles, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transfers_take_bytes_over_bandwidth),
        cmocka_unit_test(the_array_streams_beside_weight_loads),
        cmocka_unit_test(vectors_take_lanes),
        cmocka_unit_test(tokens_are_waited_for),
        cmocka_unit_test(what_never_runs_has_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
