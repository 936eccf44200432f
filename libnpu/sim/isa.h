/* isa.h - the instruction set of the NPU (docs/NPU-ISA.md): fields, operations, memories, units.
 *
 * An instruction is 64 bytes, little-endian, with this struct's layout. It stands for itself: there is no state besides
 * the memories, the weights in the array and the token counters. Instructions of one unit run in program order;
 * instructions of different units are ordered by tokens only.
 */
#ifndef NPU_SIM_ISA_H
#define NPU_SIM_ISA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libnpu/npu.h"

#define SIM_INSN_BYTES   64
#define SIM_MAX_INSNS    (1 << 22)
#define SIM_MAX_ON_CHIP  (64u << 20)         /* bytes of one on-chip memory */
#define SIM_MAX_ARRAY    512                 /* rows or columns of the array */
#define SIM_MAX_ELEMENTS (UINT64_C(1) << 36) /* that one instruction goes through */
#define SIM_MAX_EXTERNAL (UINT64_C(1) << 40)

enum sim_unit { SIM_LOAD, SIM_MATRIX, SIM_VECTOR, SIM_STORE, SIM_UNITS };
enum sim_mem { SIM_XM, SIM_WM, SIM_IM, SIM_ACC, SIM_UM, SIM_MEMS };

enum sim_op {
    SIM_OP_NOP, /* of unit type[0]: tokens only */
    SIM_OP_HALT,
    SIM_OP_LOAD,
    SIM_OP_FILL,
    SIM_OP_STORE,
    SIM_OP_WLOAD,
    SIM_OP_MMUL,
    /* vector: d = act(a op b), b may be the immediate */
    SIM_OP_MOV,
    SIM_OP_ADD,
    SIM_OP_SUB,
    SIM_OP_MUL,
    SIM_OP_DIV,
    SIM_OP_MAX,
    SIM_OP_MIN,
    SIM_OP_CMP,     /* a > b ? 1 : 0 */
    SIM_OP_REQUANT, /* a b + imm, rounded once; then rounded and saturated by an integer d */
    /* vector, one operand */
    SIM_OP_ABS,
    SIM_OP_EXP,
    SIM_OP_LOG,
    SIM_OP_RSQRT,
    SIM_OP_RECIP,
    SIM_OP_ACT,
    /* vector: the innermost axis becomes one element */
    SIM_OP_RSUM,
    SIM_OP_RMAX,
    SIM_OP_QSCALE, /* vector: i32 sums to i8 by whole numbers */
    SIM_OP_MAC,    /* vector: d = act(a b + d), rounded once */
    SIM_OP_RDOT,   /* vector: the sum of a b along the innermost axis */
    SIM_OP_QRANGE, /* vector: smallest and largest to scale, its reciprocal, zero point */
    SIM_OPS
};

enum sim_act { SIM_ACT_NONE, SIM_ACT_RELU, SIM_ACT_RELU6, SIM_ACT_GELU, SIM_ACT_SIGMOID, SIM_ACT_TANH, SIM_ACTS };

enum sim_flag {
    SIM_ACCUMULATE = 1, /* mmul adds to what the accumulators hold */
    SIM_B_IMM = 2,      /* vector: b is imm for every element */
};

/* A place of an operand: memory and element type in one byte. */
#define SIM_PLACE(mem, dtype) ((uint8_t)((mem) << 4 | (dtype)))
#define SIM_PLACE_MEM(p)      ((enum sim_mem)((p) >> 4))
#define SIM_PLACE_DTYPE(p)    ((enum npu_dtype)((p)&15))

/* Addresses are bytes, strides and counts elements of the operand's type; n[0] and s[0] belong to the innermost axis.
 * The on-chip side of a transfer and d of a vector instruction are dense along the innermost axis. */
struct sim_dma {
    uint64_t xm; /* address in external memory, or in unified memory */
    uint32_t at; /* address on chip */
    uint32_t n[4];
    int32_t xs[4]; /* strides in external memory; 0 repeats */
    int32_t cs[3]; /* strides on chip of axes 1 to 3 */
};

struct sim_fill {
    float imm;
    uint32_t at;
    uint32_t n[4];
    int32_t cs[3];
};

/* Weight (k, n) of the array is element at + k ks + n ns of weight memory. */
struct sim_wload {
    uint32_t at;
    uint32_t k, n;
    int32_t ks, ns;
};

/* Row (i1, i0) of the stream, i < m, is input memory at + i0 ms[0] + i1 ms[1]; element k of a row, first <= k < first +
 * count, is split as k = (k2 kc[1] + k1) kc[0] + k0 and lies at k0 ks[0] + k1 ks[1] + k2 ks[2] from there. The row's
 * product goes to, or is added to, accumulator row i1 m[0] + i0, which begins at acc + pitch elements a row. */
struct sim_mmul {
    uint32_t at, acc;
    uint32_t n, pitch;
    uint32_t m[2];
    int32_t ms[2];
    uint32_t first, count;
    uint16_t kc[2];
    int32_t ks[3];
};

struct sim_vector {
    uint32_t d, a, b;
    uint32_t n0;
    uint16_t n1, n2;
    float imm;
    int32_t ds[2]; /* of axes 1 and 2 */
    int32_t as[3], bs[3];
};

/* d[i1][i0] (i8) = limited to lo..hi (((a[i1][i0] b[i0] + (r - rzero) rmul + 2^(shift-1)) >> shift) + zero), a and b
 * i32, in 64 bits; r is what d held before, where rmul is not 0. */
struct sim_qscale {
    uint32_t d, a, b;
    uint32_t n0, n1;
    int32_t ds, as; /* from row to row */
    int32_t shift, zero, lo, hi, rmul, rzero;
};

struct sim_insn {
    uint8_t op, wait, signal; /* wait, signal: bit u = one token of, for unit u */
    uint8_t flags;            /* enum sim_flag, and enum sim_act << 4 */
    uint8_t type[4];          /* places of d, a, b; a transfer: the on-chip and the external one */
    union {
        struct sim_dma dma;
        struct sim_fill fill;
        struct sim_wload wload;
        struct sim_mmul mmul;
        struct sim_vector vec;
        struct sim_qscale q;
        uint8_t bytes[SIM_INSN_BYTES - 8];
    };
};
_Static_assert(sizeof(struct sim_insn) == SIM_INSN_BYTES, "an instruction has 64 bytes");

extern const char *const sim_unit_names[SIM_UNITS]; /* "load" ... */
extern const char *const sim_mem_names[SIM_MEMS];   /* "xm" ... */
extern const char *const sim_act_names[SIM_ACTS];

static inline enum sim_act sim_insn_act(const struct sim_insn *i)
{
    return (enum sim_act)(i->flags >> 4);
}

/* What an operation is called and which fields it has: drives the assembler, the disassembler and the byte order. */
enum sim_field_kind {
    SIM_FIELD_U16,
    SIM_FIELD_U32,
    SIM_FIELD_I32,
    SIM_FIELD_U64,
    SIM_FIELD_F32,
    SIM_FIELD_PLACE32, /* type[place] and a 32-bit address */
    SIM_FIELD_PLACE64,
};
struct sim_field {
    const char *name;
    uint8_t offset; /* in struct sim_insn */
    uint8_t count;
    uint8_t kind, place;
};
struct sim_op_info {
    const char *name;
    enum sim_unit unit; /* SIM_UNITS: any (nop) or none (halt) */
    const struct sim_field *field;
    int n_fields;
};
extern const struct sim_op_info sim_ops[SIM_OPS];

static inline bool sim_op_is_vector(unsigned op)
{
    return op >= SIM_OP_MOV && op < SIM_OPS;
}
static inline bool sim_op_has_b(unsigned op)
{
    return (op >= SIM_OP_ADD && op <= SIM_OP_REQUANT) || op == SIM_OP_MAC || op == SIM_OP_RDOT;
}
static inline bool sim_op_reduces(unsigned op)
{
    return op == SIM_OP_RSUM || op == SIM_OP_RMAX || op == SIM_OP_RDOT;
}

/* The unit that runs it; SIM_UNITS for halt. The instruction must have passed sim_insn_check. */
enum sim_unit sim_insn_unit(const struct sim_insn *i);
/* -EINVAL with the reason if it can't be executed on any machine: operation, places, types, counts. */
int sim_insn_check(const struct sim_insn *i, char *why, size_t size);

void sim_insn_encode(const struct sim_insn *i, uint8_t ret_bytes[SIM_INSN_BYTES]);
/* Checks too: -EINVAL with the reason. */
int sim_insn_decode(const uint8_t bytes[SIM_INSN_BYTES], struct sim_insn *ret_insn, char *why, size_t size);

/* The smallest byte ranges that hold all an instruction reads and writes. Two instructions conflict if such ranges
 * overlap and one of them writes. */
#define SIM_MAX_RANGES 4
struct sim_range {
    enum sim_mem mem;
    bool write;
    int64_t lo, hi; /* hi is behind the last byte; lo < 0 for a stride that leads out */
};
int sim_insn_ranges(const struct sim_insn *i, struct sim_range ret_range[SIM_MAX_RANGES]);

/* ---- programs ---- */
struct sim_program {
    struct sim_insn *insn;
    int n, cap;
};
int sim_program_add(struct sim_program *p, const struct sim_insn *i); /* -ENOMEM, -E2BIG */
void sim_program_free(struct sim_program *p);

/* tokens.c: fills in wait and signal of all instructions so that conflicting ones of different units run in program
 * order, with no token that others imply. What they held before is overwritten. */
int sim_tokens_insert(struct sim_program *p);
/* -EINVAL with both instructions in why if two that conflict are not ordered by tokens; -EDEADLK if a token never
 * comes or is left over. */
int sim_tokens_check(const struct sim_program *p, char *why, size_t size);

#endif
