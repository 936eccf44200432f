/* emit.c - instructions appended to a program; memory taken for tiles. */
#include <stdarg.h>

#include "libnpu/sim/compile.h"

int sim_refuse(struct sim_compiler *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(c->why, sizeof c->why, fmt, ap);
    va_end(ap);
    return -EOPNOTSUPP;
}

uint32_t sim_take(struct sim_compiler *c, enum sim_mem m, int64_t bytes)
{
    uint32_t at = c->used[m];

    if (bytes < 0 || sim_round64(bytes) > (int64_t)sim_size(c, m) - at) {
        if (c->status == 0)
            c->status = sim_refuse(c, "a tile of %lld bytes does not fit into %s", (long long)bytes, sim_mem_names[m]);
        return 0;
    }
    c->used[m] += (uint32_t)sim_round64(bytes);
    return at;
}

struct sim_slots sim_take_two(struct sim_compiler *c, enum sim_mem m, int64_t bytes)
{
    struct sim_slots s = {.turn = 1};

    s.at[0] = sim_take(c, m, bytes);
    s.at[1] = sim_take(c, m, bytes);
    return s;
}

void sim_emit(struct sim_compiler *c, const struct sim_insn *i)
{
    int r = c->status;

    if (r == 0 && sim_insn_check(i, c->why, sizeof c->why) < 0)
        r = -EOPNOTSUPP;
    if (r == 0)
        r = sim_program_add(c->program, i);
    c->status = r;
}

/* A count or stride into its field; too large a one is a refusal. */
static int32_t narrow(struct sim_compiler *c, int64_t v)
{
    if (v != (int32_t)v && c->status == 0)
        c->status = sim_refuse(c, "a stride of %lld elements does not fit an instruction", (long long)v);
    return (int32_t)v;
}

static uint32_t count(struct sim_compiler *c, int64_t n)
{
    return (uint32_t)narrow(c, n ? n : 1);
}

static void block(struct sim_compiler *c, struct sim_insn *i, uint32_t at, const struct sim_block *b)
{
    i->dma.xm = b->xm;
    i->dma.at = at;
    for (int k = 0; k < 4; k++) {
        i->dma.n[k] = count(c, b->n[k]);
        i->dma.xs[k] = b->n[k] > 1 ? narrow(c, b->xs[k]) : 0;
        if (k)
            i->dma.cs[k - 1] = b->n[k] > 1 ? narrow(c, b->cs[k - 1]) : 0;
    }
    if (i->dma.n[0] == 1)
        i->dma.xs[0] = 1;
    sim_emit(c, i);
}

void sim_emit_load(struct sim_compiler *c, enum sim_mem mem, enum npu_dtype dtype, uint32_t at,
                   const struct sim_block *b)
{
    struct sim_insn i = {.op = SIM_OP_LOAD, .type = {SIM_PLACE(mem, dtype), SIM_PLACE(b->mem, b->dtype)}};

    block(c, &i, at, b);
}

void sim_emit_store(struct sim_compiler *c, enum npu_dtype dtype, uint32_t at, const struct sim_block *b)
{
    struct sim_insn i = {.op = SIM_OP_STORE, .type = {SIM_PLACE(b->mem, b->dtype), SIM_PLACE(SIM_UM, dtype)}};

    block(c, &i, at, b);
}

void sim_emit_fill(struct sim_compiler *c, enum sim_mem mem, enum npu_dtype dtype, uint32_t at, int64_t n, float value)
{
    struct sim_insn i = {.op = SIM_OP_FILL, .type = {SIM_PLACE(mem, dtype)}};

    i.fill = (struct sim_fill){.imm = value, .at = at, .n = {count(c, n), 1, 1, 1}};
    sim_emit(c, &i);
}

void sim_emit_vector(struct sim_compiler *c, enum sim_op op, enum sim_act act, const int64_t n[3],
                     const struct sim_operand *d, const struct sim_operand *a, const struct sim_operand *b, float imm)
{
    const bool takes_imm = !b && sim_op_has_b(op);
    struct sim_insn i = {.op = (uint8_t)op, .flags = (uint8_t)(act << 4 | (takes_imm ? SIM_B_IMM : 0))};

    if (n[1] > UINT16_MAX || n[2] > UINT16_MAX) {
        if (c->status == 0)
            c->status = sim_refuse(c, "%lld rows are too many for a vector instruction", (long long)n[1]);
        return;
    }
    i.type[0] = SIM_PLACE(d->mem, d->dtype);
    i.type[1] = SIM_PLACE(a->mem, a->dtype);
    i.type[2] = b ? SIM_PLACE(b->mem, b->dtype) : 0;
    i.vec = (struct sim_vector){.d = d->at, .a = a->at, .b = b ? b->at : 0, .n0 = count(c, n[0])};
    i.vec.n1 = (uint16_t)(n[1] ? n[1] : 1);
    i.vec.n2 = (uint16_t)(n[2] ? n[2] : 1);
    i.vec.imm = takes_imm || op == SIM_OP_REQUANT ? imm : 0;
    for (int k = 0; k < 3; k++) {
        const bool walks = n[k] > 1;

        if (k)
            i.vec.ds[k - 1] = walks ? narrow(c, d->s[k]) : 0;
        i.vec.as[k] = walks ? narrow(c, a->s[k]) : 0;
        i.vec.bs[k] = walks && b ? narrow(c, b->s[k]) : 0;
    }
    sim_emit(c, &i);
}
