/* disasm.c - instructions as text, and binary files. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "libnpu/sim/asm.h"

struct text {
    char *buf;
    size_t size, n;
};

static void put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct text *t, const char *fmt, ...)
{
    va_list ap;
    int r;

    if (t->n >= t->size)
        return;
    va_start(ap, fmt);
    r = vsnprintf(t->buf + t->n, t->size - t->n, fmt, ap);
    va_end(ap);
    t->n += r > 0 ? (size_t)r : 0;
}

static void put_units(struct text *t, const char *key, unsigned mask)
{
    const char *comma = "";

    if (!mask)
        return;
    put(t, " %s=", key);
    for (int u = 0; u < SIM_UNITS; u++)
        if (mask >> u & 1) {
            put(t, "%s%s", comma, sim_unit_names[u]);
            comma = ",";
        }
}

static void put_element(struct text *t, int kind, const uint8_t *at)
{
    union {
        uint16_t u16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        float f32;
    } v = {0};

    memcpy(&v, at, kind == SIM_FIELD_U16 ? 2 : kind == SIM_FIELD_U64 || kind == SIM_FIELD_PLACE64 ? 8 : 4);
    switch (kind) {
    case SIM_FIELD_U16:
        put(t, "%u", v.u16);
        break;
    case SIM_FIELD_I32:
        put(t, "%" PRId32, v.i32);
        break;
    case SIM_FIELD_F32:
        put(t, "%a", (double)v.f32);
        break;
    case SIM_FIELD_U64:
    case SIM_FIELD_PLACE64:
        put(t, "%" PRIu64, v.u64);
        break;
    default:
        put(t, "%" PRIu32, v.u32);
    }
}

static void put_field(struct text *t, const struct sim_insn *i, const struct sim_field *f)
{
    const uint8_t *at = (const uint8_t *)i + f->offset;
    const int step = f->kind == SIM_FIELD_U16 ? 2 : f->kind == SIM_FIELD_U64 ? 8 : 4;

    put(t, " %s=", f->name);
    if (f->kind == SIM_FIELD_PLACE32 || f->kind == SIM_FIELD_PLACE64) {
        uint8_t place = i->type[f->place];

        put(t, "%s.%s@", sim_mem_names[SIM_PLACE_MEM(place)], npu_dtype_name(SIM_PLACE_DTYPE(place)));
        put_element(t, f->kind, at);
        return;
    }
    for (int k = 0; k < f->count; k++) {
        put(t, "%s", k ? "," : "");
        put_element(t, f->kind, at + k * step);
    }
}

/* b and its strides or the immediate, whichever is meant. */
static bool is_shown(const struct sim_insn *i, const struct sim_field *f)
{
    if (!sim_op_is_vector(i->op))
        return true;
    if (strcmp(f->name, "imm") == 0)
        return i->flags & SIM_B_IMM || i->op == SIM_OP_REQUANT;
    return f->name[0] != 'b' || !(i->flags & SIM_B_IMM);
}

int sim_disassemble(const struct sim_insn *i, char *buf, size_t size)
{
    const struct sim_op_info *op = &sim_ops[i->op];
    struct text t = {buf, size, 0};

    put(&t, "%s", op->name);
    if (i->op == SIM_OP_NOP)
        put(&t, " unit=%s", sim_unit_names[i->type[0]]);
    put_units(&t, "wait", i->wait);
    put_units(&t, "signal", i->signal);
    if (i->flags & SIM_ACCUMULATE)
        put(&t, " accumulate=1");
    if (sim_insn_act(i) != SIM_ACT_NONE)
        put(&t, " act=%s", sim_act_names[sim_insn_act(i)]);
    for (int k = 0; k < op->n_fields; k++)
        if (is_shown(i, &op->field[k]))
            put_field(&t, i, &op->field[k]);
    return t.n < t.size ? (int)t.n : -E2BIG;
}

static const char magic[8] = "GZNPU1\n";

int sim_binary_read(const uint8_t *bytes, size_t size, struct sim_program *ret_program, char *why, size_t why_size)
{
    struct sim_program p = {0};
    uint64_t n = 0;
    int r = 0;

    if (size < 16 || memcmp(bytes, magic, sizeof magic) != 0) {
        snprintf(why, why_size, "this is no NPU program");
        return -EINVAL;
    }
    for (int k = 7; k >= 0; k--)
        n = n << 8 | bytes[8 + k];
    if (n > SIM_MAX_INSNS || size != 16 + n * SIM_INSN_BYTES) {
        snprintf(why, why_size, "%" PRIu64 " instructions don't fit a file of %zu bytes", n, size);
        return -EINVAL;
    }
    for (uint64_t k = 0; r == 0 && k < n; k++) {
        struct sim_insn i;
        char text[128];

        r = sim_insn_decode(bytes + 16 + k * SIM_INSN_BYTES, &i, text, sizeof text);
        if (r < 0)
            snprintf(why, why_size, "instruction %" PRIu64 ": %s", k, text);
        else
            r = sim_program_add(&p, &i);
    }
    if (r < 0)
        sim_program_free(&p);
    else
        *ret_program = p;
    return r;
}

int sim_binary_write(const struct sim_program *p, FILE *out)
{
    uint8_t bytes[SIM_INSN_BYTES], head[16];

    memcpy(head, magic, sizeof magic);
    for (int k = 0; k < 8; k++)
        head[8 + k] = (uint8_t)((uint64_t)p->n >> (8 * k));
    if (fwrite(head, sizeof head, 1, out) != 1)
        return -EIO;
    for (int k = 0; k < p->n; k++) {
        sim_insn_encode(&p->insn[k], bytes);
        if (fwrite(bytes, sizeof bytes, 1, out) != 1)
            return -EIO;
    }
    return 0;
}
