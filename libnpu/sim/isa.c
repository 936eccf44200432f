/* isa.c - the instruction set's tables, checks, byte order and access ranges. */
#include "libnpu/sim/isa.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const sim_unit_names[SIM_UNITS] = {"load", "matrix", "vector", "store"};
const char *const sim_mem_names[SIM_MEMS] = {"xm", "wm", "im", "acc", "um"};
const char *const sim_act_names[SIM_ACTS] = {"none", "relu", "relu6", "gelu", "sigmoid", "tanh"};

#define FIELD(name, member, count, kind)                                                                               \
    {                                                                                                                  \
        name, offsetof(struct sim_insn, member), count, SIM_FIELD_##kind, 0                                            \
    }
#define PLACE(name, member, place, bits)                                                                               \
    {                                                                                                                  \
        name, offsetof(struct sim_insn, member), 1, SIM_FIELD_PLACE##bits, place                                       \
    }

static const struct sim_field load_fields[] = {PLACE("d", dma.at, 0, 32), PLACE("a", dma.xm, 1, 64),
                                               FIELD("n", dma.n, 4, U32), FIELD("as", dma.xs, 4, I32),
                                               FIELD("ds", dma.cs, 3, I32)};
static const struct sim_field store_fields[] = {PLACE("d", dma.xm, 0, 64), PLACE("a", dma.at, 1, 32),
                                                FIELD("n", dma.n, 4, U32), FIELD("ds", dma.xs, 4, I32),
                                                FIELD("as", dma.cs, 3, I32)};
static const struct sim_field fill_fields[] = {PLACE("d", fill.at, 0, 32), FIELD("n", fill.n, 4, U32),
                                               FIELD("ds", fill.cs, 3, I32), FIELD("imm", fill.imm, 1, F32)};
static const struct sim_field wload_fields[] = {PLACE("a", wload.at, 1, 32), FIELD("k", wload.k, 1, U32),
                                                FIELD("n", wload.n, 1, U32), FIELD("ks", wload.ks, 1, I32),
                                                FIELD("ns", wload.ns, 1, I32)};
static const struct sim_field mmul_fields[] = {
    PLACE("d", mmul.acc, 0, 32),        PLACE("a", mmul.at, 1, 32),     FIELD("n", mmul.n, 1, U32),
    FIELD("pitch", mmul.pitch, 1, U32), FIELD("m", mmul.m, 2, U32),     FIELD("ms", mmul.ms, 2, I32),
    FIELD("first", mmul.first, 1, U32), FIELD("k", mmul.count, 1, U32), FIELD("kc", mmul.kc, 2, U16),
    FIELD("ks", mmul.ks, 3, I32),
};
#define VECTOR_HEAD                                                                                                    \
    PLACE("d", vec.d, 0, 32), PLACE("a", vec.a, 1, 32), FIELD("n0", vec.n0, 1, U32), FIELD("n1", vec.n1, 1, U16),      \
        FIELD("n2", vec.n2, 1, U16), FIELD("ds", vec.ds, 2, I32), FIELD("as", vec.as, 3, I32)
static const struct sim_field unary_fields[] = {VECTOR_HEAD};
static const struct sim_field binary_fields[] = {VECTOR_HEAD, PLACE("b", vec.b, 2, 32), FIELD("bs", vec.bs, 3, I32),
                                                 FIELD("imm", vec.imm, 1, F32)};
static const struct sim_field qscale_fields[] = {
    PLACE("d", q.d, 0, 32),          PLACE("a", q.a, 1, 32),          PLACE("b", q.b, 2, 32),
    FIELD("n0", q.n0, 1, U32),       FIELD("n1", q.n1, 1, U32),       FIELD("ds", q.ds, 1, I32),
    FIELD("as", q.as, 1, I32),       FIELD("shift", q.shift, 1, I32), FIELD("zero", q.zero, 1, I32),
    FIELD("lo", q.lo, 1, I32),       FIELD("hi", q.hi, 1, I32),       FIELD("rmul", q.rmul, 1, I32),
    FIELD("rzero", q.rzero, 1, I32),
};

#define OP(name, unit, fields)                                                                                         \
    {                                                                                                                  \
        name, unit, fields, sizeof fields / sizeof fields[0]                                                           \
    }
const struct sim_op_info sim_ops[SIM_OPS] = {
    [SIM_OP_NOP] = {"nop", SIM_UNITS, NULL, 0},
    [SIM_OP_HALT] = {"halt", SIM_UNITS, NULL, 0},
    [SIM_OP_LOAD] = OP("load", SIM_LOAD, load_fields),
    [SIM_OP_FILL] = OP("fill", SIM_LOAD, fill_fields),
    [SIM_OP_STORE] = OP("store", SIM_STORE, store_fields),
    [SIM_OP_WLOAD] = OP("wload", SIM_MATRIX, wload_fields),
    [SIM_OP_MMUL] = OP("mmul", SIM_MATRIX, mmul_fields),
    [SIM_OP_MOV] = OP("mov", SIM_VECTOR, unary_fields),
    [SIM_OP_ADD] = OP("add", SIM_VECTOR, binary_fields),
    [SIM_OP_SUB] = OP("sub", SIM_VECTOR, binary_fields),
    [SIM_OP_MUL] = OP("mul", SIM_VECTOR, binary_fields),
    [SIM_OP_DIV] = OP("div", SIM_VECTOR, binary_fields),
    [SIM_OP_MAX] = OP("max", SIM_VECTOR, binary_fields),
    [SIM_OP_MIN] = OP("min", SIM_VECTOR, binary_fields),
    [SIM_OP_CMP] = OP("cmp", SIM_VECTOR, binary_fields),
    [SIM_OP_REQUANT] = OP("requant", SIM_VECTOR, binary_fields),
    [SIM_OP_ABS] = OP("abs", SIM_VECTOR, unary_fields),
    [SIM_OP_EXP] = OP("exp", SIM_VECTOR, unary_fields),
    [SIM_OP_LOG] = OP("log", SIM_VECTOR, unary_fields),
    [SIM_OP_RSQRT] = OP("rsqrt", SIM_VECTOR, unary_fields),
    [SIM_OP_RECIP] = OP("recip", SIM_VECTOR, unary_fields),
    [SIM_OP_ACT] = OP("act", SIM_VECTOR, unary_fields),
    [SIM_OP_RSUM] = OP("rsum", SIM_VECTOR, unary_fields),
    [SIM_OP_RMAX] = OP("rmax", SIM_VECTOR, unary_fields),
    [SIM_OP_QSCALE] = OP("qscale", SIM_VECTOR, qscale_fields),
    [SIM_OP_MAC] = OP("mac", SIM_VECTOR, binary_fields),
    [SIM_OP_RDOT] = OP("rdot", SIM_VECTOR, binary_fields),
    [SIM_OP_QRANGE] = OP("qrange", SIM_VECTOR, unary_fields),
};

enum sim_unit sim_insn_unit(const struct sim_insn *i)
{
    return i->op == SIM_OP_NOP ? (enum sim_unit)i->type[0] : sim_ops[i->op].unit;
}

/* ---- checks ---- */
static int fail(char *why, size_t size, const char *fmt, const char *a, const char *b)
{
    snprintf(why, size, fmt, a, b);
    return -EINVAL;
}

static bool dtype_ok(uint8_t place)
{
    return SIM_PLACE_DTYPE(place) < NPU_DTYPES;
}

/* Which memories an operand may lie in, bit by bit. */
#define BIT(m)    (1u << (m))
#define LOAD_D    (BIT(SIM_WM) | BIT(SIM_IM) | BIT(SIM_UM))
#define VECTOR_D  (BIT(SIM_UM) | BIT(SIM_IM) | BIT(SIM_ACC))
#define VECTOR_AB (BIT(SIM_UM) | BIT(SIM_ACC))
#define FAR       (BIT(SIM_XM) | BIT(SIM_UM)) /* where a transfer's tensor lies */

static int check_place(const struct sim_insn *i, int operand, unsigned mems, char *why, size_t size)
{
    static const char *const names[] = {"d", "a", "b"};
    unsigned mem = SIM_PLACE_MEM(i->type[operand]);

    if (mem >= SIM_MEMS || !(mems >> mem & 1))
        return fail(why, size, "%s: operand %s can't lie in that memory", sim_ops[i->op].name, names[operand]);
    if (!dtype_ok(i->type[operand]))
        return fail(why, size, "%s: operand %s has no such type", sim_ops[i->op].name, names[operand]);
    if (mem == SIM_ACC && SIM_PLACE_DTYPE(i->type[operand]) != NPU_F32 && SIM_PLACE_DTYPE(i->type[operand]) != NPU_I32)
        return fail(why, size, "%s: operand %s: accumulators hold f32 or i32", sim_ops[i->op].name, names[operand]);
    return 0;
}

static int check_counts(const struct sim_insn *i, const uint32_t *n, int count, char *why, size_t size)
{
    uint64_t all = 1;

    for (int k = 0; k < count; k++) {
        all *= n[k];
        if (n[k] == 0 || n[k] > SIM_MAX_ON_CHIP || all > SIM_MAX_ELEMENTS)
            return fail(why, size, "%s: a count is 0 or too large%s", sim_ops[i->op].name, "");
    }
    return 0;
}

static int check_transfer(const struct sim_insn *i, char *why, size_t size)
{
    const bool load = i->op == SIM_OP_LOAD;
    enum npu_dtype d = SIM_PLACE_DTYPE(i->type[0]), a = SIM_PLACE_DTYPE(i->type[1]);
    int r = check_place(i, 0, load ? LOAD_D : FAR, why, size);

    if (r == 0)
        r = check_place(i, 1, load ? FAR : BIT(SIM_UM), why, size);
    if (r == 0 && d != a && (d > NPU_F16 || a > NPU_F16))
        return fail(why, size, "%s: only float types are converted on the way%s", sim_ops[i->op].name, "");
    if (r == 0 && i->dma.xm > SIM_MAX_EXTERNAL)
        return fail(why, size, "%s: no external memory has that address%s", sim_ops[i->op].name, "");
    return r < 0 ? r : check_counts(i, i->dma.n, 4, why, size);
}

static int check_matrix(const struct sim_insn *i, char *why, size_t size)
{
    enum npu_dtype a = SIM_PLACE_DTYPE(i->type[1]);
    int r = check_place(i, 1, BIT(i->op == SIM_OP_WLOAD ? SIM_WM : SIM_IM), why, size);

    if (r < 0)
        return r;
    if (a != NPU_BF16 && a != NPU_I8 && a != NPU_F32)
        return fail(why, size, "%s: the array multiplies bf16, i8 or f32%s", sim_ops[i->op].name, "");
    if (i->op == SIM_OP_WLOAD)
        return check_counts(i, (const uint32_t[]){i->wload.k, i->wload.n}, 2, why, size);
    r = check_place(i, 0, BIT(SIM_ACC), why, size);
    if (r == 0 && SIM_PLACE_DTYPE(i->type[0]) != (a == NPU_I8 ? NPU_I32 : NPU_F32))
        return fail(why, size, "%s: bf16 and f32 accumulate in f32, i8 in i32%s", "mmul", "");
    if (r == 0)
        r = check_counts(i, (const uint32_t[]){i->mmul.m[0], i->mmul.m[1], i->mmul.n, i->mmul.count}, 4, why, size);
    if (r == 0)
        r = check_counts(i, (const uint32_t[]){i->mmul.kc[0], i->mmul.kc[1]}, 2, why, size);
    if (r == 0 && (i->mmul.first > SIM_MAX_ON_CHIP || i->mmul.pitch > SIM_MAX_ON_CHIP))
        return fail(why, size, "%s: first or pitch is too large%s", "mmul", "");
    return r;
}

static int check_vector(const struct sim_insn *i, char *why, size_t size)
{
    const bool imm = i->flags & SIM_B_IMM;
    int r = check_place(i, 0, VECTOR_D, why, size);

    if (r == 0)
        r = check_place(i, 1, VECTOR_AB, why, size);
    if (r == 0 && sim_op_has_b(i->op) && !imm)
        r = check_place(i, 2, VECTOR_AB, why, size);
    if (r == 0 && (i->flags & 15 & ~SIM_B_IMM || sim_insn_act(i) >= SIM_ACTS || (imm && !sim_op_has_b(i->op))))
        return fail(why, size, "%s: unknown flags%s", sim_ops[i->op].name, "");
    if (r == 0 && imm && i->op == SIM_OP_REQUANT)
        return fail(why, size, "%s: the scale is operand b, imm is the zero point%s", "requant", "");
    if (r == 0 && i->op == SIM_OP_QRANGE &&
        (i->vec.n0 != 2 || i->vec.n1 != 1 || i->vec.n2 != 1 || sim_insn_act(i) ||
         SIM_PLACE_DTYPE(i->type[0]) != NPU_F32))
        return fail(why, size, "%s: makes three f32 of two numbers%s", "qrange", "");
    return r < 0 ? r : check_counts(i, (const uint32_t[]){i->vec.n0, i->vec.n1, i->vec.n2}, 3, why, size);
}

static bool is_int8(int32_t v)
{
    return v >= INT8_MIN && v <= INT8_MAX;
}

static int check_qscale(const struct sim_insn *i, char *why, size_t size)
{
    const struct sim_qscale *q = &i->q;
    int r = check_place(i, 0, BIT(SIM_UM), why, size);

    if (r == 0)
        r = check_place(i, 1, VECTOR_AB, why, size);
    if (r == 0)
        r = check_place(i, 2, BIT(SIM_UM), why, size);
    if (r == 0)
        r = check_counts(i, (const uint32_t[]){q->n0, q->n1}, 2, why, size);
    if (r < 0)
        return r;
    if (SIM_PLACE_DTYPE(i->type[0]) != NPU_I8 || SIM_PLACE_DTYPE(i->type[1]) != NPU_I32 ||
        SIM_PLACE_DTYPE(i->type[2]) != NPU_I32)
        return fail(why, size, "%s: d is i8, a and b are i32%s", "qscale", "");
    if (i->flags || q->shift < 1 || q->shift > 62 || !is_int8(q->zero) || !is_int8(q->lo) || !is_int8(q->hi) ||
        !is_int8(q->rzero))
        return fail(why, size, "%s: flags, or numbers out of range%s", "qscale", "");
    return 0;
}

/* Bytes that no field of the text shows must be 0, so that text and binary say the same. */
static bool is_canonical(const struct sim_insn *i)
{
    const bool qscale = i->op == SIM_OP_QSCALE, vector = sim_op_is_vector(i->op) && !qscale, imm = i->flags & SIM_B_IMM,
               b = qscale || (sim_op_has_b(i->op) && !imm);
    const struct sim_vector *v = &i->vec;

    if (i->type[3] || (i->type[2] && !b) || (i->op == SIM_OP_FILL && (i->type[1] || isnan(i->fill.imm))))
        return false;
    if ((i->op == SIM_OP_NOP || i->op == SIM_OP_HALT) && i->type[1])
        return false;
    if ((i->op == SIM_OP_WLOAD || i->op == SIM_OP_HALT) && i->type[0])
        return false;
    if (!vector)
        return true;
    if (isnan(v->imm) || (imm && (v->b || v->bs[0] || v->bs[1] || v->bs[2])))
        return false;
    return imm || i->op == SIM_OP_REQUANT || (v->imm == 0 && !signbit(v->imm));
}

int sim_insn_check(const struct sim_insn *i, char *why, size_t size)
{
    if (i->op >= SIM_OPS)
        return fail(why, size, "no such operation%s%s", "", "");
    if (!is_canonical(i))
        return fail(why, size, "%s: bytes that belong to no field are not 0, or an immediate is NaN%s",
                    sim_ops[i->op].name, "");
    if ((i->wait | i->signal) >> SIM_UNITS)
        return fail(why, size, "%s: a token of a unit that does not exist%s", sim_ops[i->op].name, "");
    if (!sim_op_is_vector(i->op) && i->flags & ~(i->op == SIM_OP_MMUL ? SIM_ACCUMULATE : 0))
        return fail(why, size, "%s: unknown flags%s", sim_ops[i->op].name, "");
    if (i->op == SIM_OP_HALT)
        return i->wait || i->signal ? fail(why, size, "%s takes no tokens%s", "halt", "") : 0;
    if (i->op == SIM_OP_NOP && i->type[0] >= SIM_UNITS)
        return fail(why, size, "%s: no such unit%s", "nop", "");
    if ((i->wait | i->signal) >> sim_insn_unit(i) & 1)
        return fail(why, size, "%s: a token of the unit for itself%s", sim_ops[i->op].name, "");
    if (i->op == SIM_OP_QSCALE)
        return check_qscale(i, why, size);
    if (sim_op_is_vector(i->op))
        return check_vector(i, why, size);
    switch (i->op) {
    case SIM_OP_LOAD:
    case SIM_OP_STORE:
        return check_transfer(i, why, size);
    case SIM_OP_FILL:
        return check_place(i, 0, LOAD_D, why, size) < 0 ? -EINVAL : check_counts(i, i->fill.n, 4, why, size);
    case SIM_OP_WLOAD:
    case SIM_OP_MMUL:
        return check_matrix(i, why, size);
    default:
        return 0;
    }
}

/* ---- byte order ---- */
static int field_bytes(const struct sim_field *f)
{
    return f->kind == SIM_FIELD_U16 ? 2 : f->kind == SIM_FIELD_U64 || f->kind == SIM_FIELD_PLACE64 ? 8 : 4;
}

/* Copies each field's bytes, the lowest first, between the host's order and the file's. */
static void swap_fields(const struct sim_op_info *op, const uint8_t *from, uint8_t *to)
{
    static const union {
        uint16_t word;
        uint8_t low_first;
    } order = {1};

    for (int k = 0; k < op->n_fields; k++) {
        const struct sim_field *f = &op->field[k];
        int size = field_bytes(f);

        for (int e = 0; e < f->count * size; e += size)
            for (int b = 0; b < size; b++)
                to[f->offset + e + b] = from[f->offset + e + (order.low_first ? b : size - 1 - b)];
    }
}

void sim_insn_encode(const struct sim_insn *i, uint8_t ret_bytes[SIM_INSN_BYTES])
{
    memset(ret_bytes, 0, SIM_INSN_BYTES);
    memcpy(ret_bytes, i, 8);
    swap_fields(&sim_ops[i->op], (const uint8_t *)i, ret_bytes);
}

int sim_insn_decode(const uint8_t bytes[SIM_INSN_BYTES], struct sim_insn *ret_insn, char *why, size_t size)
{
    struct sim_insn i = {0};
    uint8_t again[SIM_INSN_BYTES];
    int r;

    memcpy(&i, bytes, 8);
    if (i.op >= SIM_OPS)
        return fail(why, size, "no such operation%s%s", "", "");
    swap_fields(&sim_ops[i.op], bytes, (uint8_t *)&i);
    r = sim_insn_check(&i, why, size);
    if (r < 0)
        return r;
    sim_insn_encode(&i, again);
    if (memcmp(again, bytes, sizeof again) != 0)
        return fail(why, size, "%s: bytes that belong to no field are not 0%s", sim_ops[i.op].name, "");
    *ret_insn = i;
    return 0;
}

/* ---- access ranges ---- */
/* Bytes that n elements an axis with these strides touch around `at`. */
static struct sim_range span(uint8_t place, bool write, int64_t at, int axes, const int64_t *n, const int64_t *s)
{
    int64_t lo = 0, hi = 0, size = (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(place));

    for (int k = 0; k < axes; k++) {
        lo += s[k] < 0 ? (n[k] - 1) * s[k] : 0;
        hi += s[k] > 0 ? (n[k] - 1) * s[k] : 0;
    }
    return (struct sim_range){SIM_PLACE_MEM(place), write, at + lo * size, at + (hi + 1) * size};
}

static int transfer_ranges(const struct sim_insn *i, struct sim_range *r)
{
    const struct sim_dma *t = &i->dma;
    const bool load = i->op == SIM_OP_LOAD;
    const int64_t n[4] = {t->n[0], t->n[1], t->n[2], t->n[3]};

    r[0] = span(i->type[load], !load, (int64_t)t->xm, 4, n, (int64_t[]){t->xs[0], t->xs[1], t->xs[2], t->xs[3]});
    r[1] = span(i->type[!load], load, t->at, 4, n, (int64_t[]){1, t->cs[0], t->cs[1], t->cs[2]});
    return 2;
}

static int matrix_ranges(const struct sim_insn *i, struct sim_range *r)
{
    const struct sim_mmul *t = &i->mmul;
    const int64_t c0 = t->kc[0], c1 = t->kc[1], last = (int64_t)t->first + t->count - 1, a2 = t->first / (c0 * c1);
    const int64_t n2 = last / (c0 * c1) - a2 + 1;
    int64_t a1 = t->first / c0 % c1, n1 = last / c0 % c1 - a1 + 1, a0 = t->first % c0, n0 = last % c0 - a0 + 1;
    int64_t at;

    if (n2 > 1)
        a1 = 0, n1 = c1;
    if (n2 > 1 || n1 > 1)
        a0 = 0, n0 = c0;
    at = t->at + (a0 * t->ks[0] + a1 * t->ks[1] + a2 * t->ks[2]) * (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[1]));
    r[0] = span(i->type[1], false, at, 5, (int64_t[]){n0, n1, n2, t->m[0], t->m[1]},
                (int64_t[]){t->ks[0], t->ks[1], t->ks[2], t->ms[0], t->ms[1]});
    r[1] = span(i->type[0], true, t->acc, 2, (int64_t[]){t->n, (int64_t)t->m[0] * t->m[1]}, (int64_t[]){1, t->pitch});
    return 2;
}

static int vector_ranges(const struct sim_insn *i, struct sim_range *r)
{
    const struct sim_vector *t = &i->vec;
    const int64_t n[3] = {t->n0, t->n1, t->n2};
    int count = 2;

    r[0] = span(i->type[0], true, t->d, 3,
                (int64_t[]){i->op == SIM_OP_QRANGE  ? 3
                            : sim_op_reduces(i->op) ? 1
                                                    : t->n0,
                            t->n1, t->n2},
                (int64_t[]){1, t->ds[0], t->ds[1]});
    r[1] = span(i->type[1], false, t->a, 3, n, (int64_t[]){t->as[0], t->as[1], t->as[2]});
    if (sim_op_has_b(i->op) && !(i->flags & SIM_B_IMM))
        r[count++] = span(i->type[2], false, t->b, 3, n, (int64_t[]){t->bs[0], t->bs[1], t->bs[2]});
    return count;
}

static int qscale_ranges(const struct sim_insn *i, struct sim_range *r)
{
    const struct sim_qscale *q = &i->q;
    const int64_t n[2] = {q->n0, q->n1};

    r[0] = span(i->type[0], true, q->d, 2, n, (int64_t[]){1, q->ds});
    r[1] = span(i->type[1], false, q->a, 2, n, (int64_t[]){1, q->as});
    r[2] = span(i->type[2], false, q->b, 1, n, (int64_t[]){1});
    return 3;
}

int sim_insn_ranges(const struct sim_insn *i, struct sim_range ret_range[SIM_MAX_RANGES])
{
    const struct sim_fill *f = &i->fill;

    if (i->op == SIM_OP_QSCALE)
        return qscale_ranges(i, ret_range);
    if (sim_op_is_vector(i->op))
        return vector_ranges(i, ret_range);
    switch (i->op) {
    case SIM_OP_LOAD:
    case SIM_OP_STORE:
        return transfer_ranges(i, ret_range);
    case SIM_OP_FILL:
        ret_range[0] = span(i->type[0], true, f->at, 4, (int64_t[]){f->n[0], f->n[1], f->n[2], f->n[3]},
                            (int64_t[]){1, f->cs[0], f->cs[1], f->cs[2]});
        return 1;
    case SIM_OP_WLOAD:
        ret_range[0] = span(i->type[1], false, i->wload.at, 2, (int64_t[]){i->wload.k, i->wload.n},
                            (int64_t[]){i->wload.ks, i->wload.ns});
        return 1;
    case SIM_OP_MMUL:
        return matrix_ranges(i, ret_range);
    default:
        return 0;
    }
}

/* ---- programs ---- */
int sim_program_add(struct sim_program *p, const struct sim_insn *i)
{
    if (p->n == p->cap) {
        int cap = p->cap ? p->cap * 2 : 256;
        struct sim_insn *more;

        if (cap > SIM_MAX_INSNS)
            return -E2BIG;
        more = realloc(p->insn, (size_t)cap * sizeof *more);
        if (!more)
            return -ENOMEM;
        p->insn = more;
        p->cap = cap;
    }
    p->insn[p->n++] = *i;
    return 0;
}

void sim_program_free(struct sim_program *p)
{
    free(p->insn);
    memset(p, 0, sizeof *p);
}
