/* test_npu_sim_isa.c - the NPU's instructions: binary and text say the same, and what is no instruction is refused. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libnpu/rng.h"
#include "libnpu/sim/asm.h"
#include "libnpu/sim/config.h"

static uint64_t at;

static uint32_t draw(uint32_t n)
{
    return (uint32_t)(npu_rng_u64(5, at++) % n);
}

static float draw_float(void)
{
    union {
        uint32_t u;
        float f;
    } v = {(uint32_t)npu_rng_u64(6, at++)};
    return isnan(v.f) ? -0.0f : v.f;
}

/* Random bytes in the fields of an operation, then made acceptable where chance would hardly do it. */
static bool draw_insn(unsigned op, struct sim_insn *i)
{
    static const enum npu_dtype array_types[] = {NPU_BF16, NPU_I8, NPU_F32};
    char why[160];

    memset(i, 0, sizeof *i);
    i->op = (uint8_t)op;
    for (int k = 0; k < sim_ops[op].n_fields; k++) {
        const struct sim_field *f = &sim_ops[op].field[k];
        uint8_t *p = (uint8_t *)i + f->offset;

        for (int e = 0; e < f->count; e++) {
            bool count = f->name[0] == 'n' || f->name[0] == 'k' || f->name[0] == 'm';

            if (f->kind == SIM_FIELD_U16)
                memcpy(p + 2 * e, &(uint16_t){(uint16_t)(1 + draw(40))}, 2);
            else if (f->kind == SIM_FIELD_F32)
                memcpy(p, &(float){draw_float()}, 4);
            else if (f->kind == SIM_FIELD_PLACE64)
                memcpy(p, &(uint64_t){draw(UINT32_MAX) * UINT64_C(100)}, 8);
            else
                memcpy(p + 4 * e, &(uint32_t){count && f->kind == SIM_FIELD_U32 ? 1 + draw(60) : draw(UINT32_MAX)}, 4);
        }
        if (f->kind == SIM_FIELD_PLACE32 || f->kind == SIM_FIELD_PLACE64)
            i->type[f->place] = SIM_PLACE(draw(SIM_MEMS), draw(NPU_DTYPES));
    }
    i->wait = (uint8_t)draw(16);
    i->signal = (uint8_t)draw(16);
    if (op == SIM_OP_NOP)
        i->type[0] = (uint8_t)draw(SIM_UNITS);
    if (op == SIM_OP_HALT)
        i->wait = i->signal = 0;
    else
        i->wait &= (uint8_t) ~(1u << sim_insn_unit(i)), i->signal &= (uint8_t) ~(1u << sim_insn_unit(i));
    if (op == SIM_OP_WLOAD || op == SIM_OP_MMUL)
        i->type[1] = SIM_PLACE(op == SIM_OP_WLOAD ? SIM_WM : SIM_IM, array_types[draw(3)]);
    if (op == SIM_OP_MMUL) {
        i->flags = (uint8_t)draw(2);
        i->mmul.first %= 1000;
        i->mmul.pitch %= 1000;
    }
    if (op == SIM_OP_QSCALE) {
        i->type[0] = SIM_PLACE(SIM_UM, NPU_I8);
        i->type[1] = SIM_PLACE(draw(2) ? SIM_ACC : SIM_UM, NPU_I32);
        i->type[2] = SIM_PLACE(SIM_UM, NPU_I32);
        i->q.shift = 1 + (int32_t)draw(62);
        i->q.zero = (int32_t)draw(256) - 128;
        i->q.lo = (int32_t)draw(256) - 128;
        i->q.hi = (int32_t)draw(256) - 128;
        i->q.rzero = (int32_t)draw(256) - 128;
    } else if (sim_op_is_vector(op)) {
        i->flags = (uint8_t)(draw(SIM_ACTS) << 4);
        if (sim_op_has_b(op) && op != SIM_OP_REQUANT && draw(2)) {
            i->flags |= SIM_B_IMM;
            i->type[2] = 0;
            i->vec.b = 0;
            memset(i->vec.bs, 0, sizeof i->vec.bs);
        } else if (op != SIM_OP_REQUANT) {
            i->vec.imm = 0;
        }
        if (op == SIM_OP_QRANGE) {
            i->type[0] = SIM_PLACE(SIM_UM, NPU_F32);
            i->vec.n0 = 2;
            i->vec.n1 = i->vec.n2 = 1;
            i->flags = 0;
        }
    }
    return sim_insn_check(i, why, sizeof why) == 0;
}

static void binary_and_text_agree(void **state)
{
    for (unsigned op = 0; op < SIM_OPS; op++) {
        int good = 0;

        for (int k = 0; k < 20000 && good < 40; k++) {
            struct sim_insn i, again;
            uint8_t bytes[SIM_INSN_BYTES], bytes2[SIM_INSN_BYTES];
            char text[1024], text2[1024], why[256] = "";
            struct sim_source s;

            if (!draw_insn(op, &i))
                continue;
            good++;
            sim_insn_encode(&i, bytes);
            assert_int_equal(sim_insn_decode(bytes, &again, why, sizeof why), 0);
            assert_memory_equal(&again, &i, sizeof i);
            assert_true(sim_disassemble(&i, text, sizeof text) > 0);
            if (sim_assemble(text, strlen(text), &s, why, sizeof why) < 0)
                fail_msg("%s: %s", text, why);
            assert_int_equal(s.program.n, 1);
            sim_insn_encode(&s.program.insn[0], bytes2);
            assert_memory_equal(bytes2, bytes, sizeof bytes);
            assert_true(sim_disassemble(&s.program.insn[0], text2, sizeof text2) > 0);
            assert_string_equal(text2, text);
            sim_source_free(&s);
        }
        assert_true(good >= (op == SIM_OP_HALT ? 1 : 40));
    }
}

/* A changed bit gives another instruction, which then has a text, or is refused with a reason. */
static void every_bit_counts(void **state)
{
    int refused = 0, other = 0;

    for (unsigned op = 0; op < SIM_OPS; op++) {
        struct sim_insn i;
        uint8_t bytes[SIM_INSN_BYTES], again[SIM_INSN_BYTES];

        while (!draw_insn(op, &i))
            ;
        sim_insn_encode(&i, bytes);
        for (int bit = 0; bit < SIM_INSN_BYTES * 8; bit++) {
            struct sim_insn changed;
            char why[256] = "", text[1024];

            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (sim_insn_decode(bytes, &changed, why, sizeof why) < 0) {
                assert_true(why[0] != '\0');
                refused++;
            } else {
                sim_insn_encode(&changed, again);
                assert_memory_equal(again, bytes, sizeof bytes);
                assert_true(sim_disassemble(&changed, text, sizeof text) > 0);
                other++;
            }
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    assert_true(refused > 1000 && other > 1000);
}

#define ZEROS "00000000000000000000000000000000"

static void bad_text_is_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"jump", "line 1: no operation \"jump\""},
        {"\n# nothing\nnop unit=load wait", "line 3: \"wait\""},
        {"nop unit=loader", "no unit"},
        {"nop unit=load wait=load", "token of the unit for itself"},
        {"halt wait=load", "takes no tokens"},
        {"add d=um.f32@0 a=um.f32@0 b=im.f32@0 n0=1 n1=1 n2=1", "operand b can't lie"},
        {"add d=um.f33@0", "want MEMORY.TYPE@ADDRESS"},
        {"add d=um.f32@-1", "want MEMORY.TYPE@ADDRESS"},
        {"add d=um.f32@0 a=um.f32@0 imm=1 n0=0 n1=1 n2=1", "a count is 0"},
        {"add d=um.f32@0 a=um.f32@0 imm=1 n0=1 n1=65536 n2=1", "n1: want 1 numbers in range"},
        {"add d=um.f32@0 a=um.f32@0 imm=nan n0=1 n1=1 n2=1", "NaN"},
        {"add d=um.f32@0 a=um.f32@0 as=1,2 imm=1 n0=1 n1=1 n2=1", "as: want 3 numbers"},
        {"rsum d=um.f32@0 a=um.f32@0 b=um.f32@0 n0=1 n1=1 n2=1", "has no field \"b\""},
        {"mmul d=acc.i32@0 a=im.bf16@0 n=1 m=1,1 k=1 kc=1,1", "bf16 and f32 accumulate in f32"},
        {"wload a=wm.f16@0 k=1 n=1", "multiplies bf16, i8 or f32"},
        {"qrange d=um.f32@0 a=um.f32@8 as=1,0,0 n0=3 n1=1 n2=1", "three f32 of two numbers"},
        {"load d=im.i8@0 a=xm.f32@0 n=1,1,1,1", "only float types are converted"},
        {"load d=acc.f32@0 a=xm.f32@0 n=1,1,1,1", "operand d can't lie"},
        {"act d=um.f32@0 a=um.f32@0 act=swish n0=1 n1=1 n2=1", "no activation"},
        {".data 0 f99 1", "want a type"},
        {".data zero f32 1", "want an address"},
        {".data 0 f32 one", "is no number"},
        {".xm 8G", "size of external memory"},
        {".xm " ZEROS ZEROS ZEROS "1", "a word is too long"},
    };

    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        struct sim_source s;
        char why[256] = "";

        assert_int_equal(sim_assemble(bad[k].text, strlen(bad[k].text), &s, why, sizeof why), -EINVAL);
        if (!strstr(why, bad[k].why))
            fail_msg("\"%s\": \"%s\" does not say \"%s\"", bad[k].text, why, bad[k].why);
    }
}

static void binaries_are_checked(void **state)
{
    const char text[] = "nop unit=load signal=store # sends\n\nnop unit=store wait=load\nhalt\n";
    struct sim_source s;
    struct sim_program p;
    char why[256] = "", *data = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&data, &size);

    assert_non_null(f);
    assert_int_equal(sim_assemble(text, strlen(text), &s, why, sizeof why), 0);
    assert_int_equal(sim_binary_write(&s.program, f), 0);
    fclose(f);
    assert_int_equal(size, 16 + 3 * SIM_INSN_BYTES);
    assert_int_equal(sim_binary_read((uint8_t *)data, size, &p, why, sizeof why), 0);
    assert_int_equal(p.n, 3);
    assert_memory_equal(p.insn, s.program.insn, 3 * sizeof p.insn[0]);
    sim_program_free(&p);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(sim_binary_read((uint8_t *)data, cut, &p, why, sizeof why), -EINVAL);
    data[16 + SIM_INSN_BYTES] = 99;
    assert_int_equal(sim_binary_read((uint8_t *)data, size, &p, why, sizeof why), -EINVAL);
    assert_non_null(strstr(why, "instruction 1: no such operation"));
    sim_source_free(&s);
    free(data);
}

static void measures_are_read(void **state)
{
    static const char *const bad[] = {"32",     "0x4",  "32x",     "600x2",   "wm=",  "wm=63",    "wm=1T",   "wm=100M",
                                      "vm=64K", "ib=0", "seed=-1", "lanes=x", "bw=0", "clock=1Q", "im=1.01K"};
    struct sim_config c;
    char why[256];

    assert_int_equal(sim_config_parse("", &c, why, sizeof why), 0);
    assert_int_equal(c.rows, 32);
    assert_int_equal(
        sim_config_parse("16x8,wm=64K,im=1M,clock=1.5G,bw=8G,seed=9,ib=2,lanes=4,lat=0", &c, why, sizeof why), 0);
    assert_int_equal(c.rows, 16);
    assert_int_equal(c.cols, 8);
    assert_int_equal(c.wm, 64 << 10);
    assert_int_equal(c.im, 1 << 20);
    assert_int_equal(c.acc, sim_config_default.acc);
    assert_true(c.clock_hz == 1.5e9 && c.bytes_per_s == 8e9 && c.seed == 9);
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++)
        if (sim_config_parse(bad[k], &c, why, sizeof why) != -EINVAL || !strstr(why, bad[k]))
            fail_msg("%s was taken", bad[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(binary_and_text_agree), cmocka_unit_test(every_bit_counts),
        cmocka_unit_test(bad_text_is_refused),   cmocka_unit_test(binaries_are_checked),
        cmocka_unit_test(measures_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
