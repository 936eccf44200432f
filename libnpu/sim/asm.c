/* asm.c - from text to instructions. */
#include "libnpu/sim/asm.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct parser {
    struct sim_source s;
    const char *at; /* rest of the line, NUL-ended */
    int line;
    bool cut; /* a word of this line did not fit */
    char *why;
    size_t why_size;
};

static int fail(struct parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct parser *p, const char *fmt, ...)
{
    int n = snprintf(p->why, p->why_size, "line %d: ", p->line);
    va_list ap;

    va_start(ap, fmt);
    if (n > 0 && (size_t)n < p->why_size)
        vsnprintf(p->why + n, p->why_size - (size_t)n, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

/* The next word of the line, ended by white space; false at its end. */
static bool next_word(struct parser *p, char *word, size_t size)
{
    size_t n = 0;

    while (isspace((unsigned char)*p->at))
        p->at++;
    while (*p->at && !isspace((unsigned char)*p->at)) {
        if (n + 1 < size)
            word[n++] = *p->at;
        else
            p->cut = true;
        p->at++;
    }
    word[n] = '\0';
    return n > 0;
}

static bool to_u64(const char *text, const char *stop, uint64_t most, uint64_t *ret)
{
    char *end;
    unsigned long long v;

    errno = 0;
    v = strtoull(text, &end, 0);
    if (!isdigit((unsigned char)text[0]) || errno || end != stop || v > most)
        return false;
    *ret = v;
    return true;
}

static bool to_i32(const char *text, const char *stop, int32_t *ret)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(text, &end, 0);
    if (end == text || errno || end != stop || v != (int32_t)v)
        return false;
    *ret = (int32_t)v;
    return true;
}

static bool to_double(const char *text, const char *stop, double *ret)
{
    char *end;

    *ret = strtod(text, &end);
    return end != text && end == stop;
}

static int find(const char *const *names, int n, const char *text, size_t length)
{
    for (int k = 0; k < n; k++)
        if (strlen(names[k]) == length && memcmp(names[k], text, length) == 0)
            return k;
    return -1;
}

static int find_dtype(const char *text, size_t length)
{
    for (int k = 0; k < NPU_DTYPES; k++)
        if (strlen(npu_dtype_name(k)) == length && memcmp(npu_dtype_name(k), text, length) == 0)
            return k;
    return -1;
}

/* One number from text up to stop into a field's element. */
static bool set_element(int kind, const char *text, const char *stop, uint8_t *at)
{
    uint64_t u = 0;
    int32_t i = 0;
    double d = 0;

    switch (kind) {
    case SIM_FIELD_I32:
        if (!to_i32(text, stop, &i))
            return false;
        memcpy(at, &i, 4);
        return true;
    case SIM_FIELD_F32:
        if (!to_double(text, stop, &d))
            return false;
        memcpy(at, &(float){(float)d}, 4);
        return true;
    case SIM_FIELD_U16:
        if (!to_u64(text, stop, UINT16_MAX, &u))
            return false;
        memcpy(at, &(uint16_t){(uint16_t)u}, 2);
        return true;
    case SIM_FIELD_U64:
    case SIM_FIELD_PLACE64:
        if (!to_u64(text, stop, SIM_MAX_EXTERNAL, &u))
            return false;
        memcpy(at, &u, 8);
        return true;
    default:
        if (!to_u64(text, stop, UINT32_MAX, &u))
            return false;
        memcpy(at, &(uint32_t){(uint32_t)u}, 4);
        return true;
    }
}

/* "um.f32@256" */
static int set_place(struct parser *p, struct sim_insn *i, const struct sim_field *f, const char *text)
{
    const char *dot = strchr(text, '.'), *at = strchr(text, '@');
    int mem = dot ? find(sim_mem_names, SIM_MEMS, text, (size_t)(dot - text)) : -1;
    int dtype = dot && at && at > dot ? find_dtype(dot + 1, (size_t)(at - dot - 1)) : -1;

    if (mem < 0 || dtype < 0 || !set_element(f->kind, at + 1, text + strlen(text), (uint8_t *)i + f->offset))
        return fail(p, "%s=%s: want MEMORY.TYPE@ADDRESS", f->name, text);
    i->type[f->place] = SIM_PLACE((unsigned)mem, (unsigned)dtype);
    return 0;
}

static int set_field(struct parser *p, struct sim_insn *i, const struct sim_field *f, const char *text)
{
    const int step = f->kind == SIM_FIELD_U16 ? 2 : f->kind == SIM_FIELD_U64 ? 8 : 4;

    if (f->kind == SIM_FIELD_PLACE32 || f->kind == SIM_FIELD_PLACE64)
        return set_place(p, i, f, text);
    for (int k = 0; k < f->count; k++) {
        const char *stop = text + strcspn(text, ",");

        if (!set_element(f->kind, text, stop, (uint8_t *)i + f->offset + k * step) ||
            (k + 1 < f->count) != (*stop == ','))
            return fail(p, "%s: want %d numbers in range, separated by commas", f->name, f->count);
        text = stop + 1;
    }
    if (f->kind == SIM_FIELD_F32 && sim_op_is_vector(i->op) && i->op != SIM_OP_REQUANT)
        i->flags |= SIM_B_IMM;
    return 0;
}

static int set_units(struct parser *p, uint8_t *mask, const char *text)
{
    *mask = 0;
    for (;;) {
        size_t n = strcspn(text, ",");
        int u = find(sim_unit_names, SIM_UNITS, text, n);

        if (u < 0)
            return fail(p, "\"%s\" is no list of units", text);
        *mask |= (uint8_t)(1u << u);
        if (!text[n])
            return 0;
        text += n + 1;
    }
}

static int set_key(struct parser *p, struct sim_insn *i, const char *key, const char *text)
{
    const struct sim_op_info *op = &sim_ops[i->op];
    int k;

    if (strcmp(key, "wait") == 0)
        return set_units(p, &i->wait, text);
    if (strcmp(key, "signal") == 0)
        return set_units(p, &i->signal, text);
    if (strcmp(key, "unit") == 0 && i->op == SIM_OP_NOP) {
        k = find(sim_unit_names, SIM_UNITS, text, strlen(text));
        i->type[0] = (uint8_t)k;
        return k < 0 ? fail(p, "no unit \"%s\"", text) : 0;
    }
    if (strcmp(key, "accumulate") == 0 && i->op == SIM_OP_MMUL) {
        i->flags |= text[0] == '1' ? SIM_ACCUMULATE : 0;
        return text[0] < '0' || text[0] > '1' || text[1] ? fail(p, "accumulate is 0 or 1") : 0;
    }
    if (strcmp(key, "act") == 0 && sim_op_is_vector(i->op)) {
        k = find(sim_act_names, SIM_ACTS, text, strlen(text));
        i->flags = (uint8_t)((i->flags & 15) | (k < 0 ? 0 : k) << 4);
        return k < 0 ? fail(p, "no activation \"%s\"", text) : 0;
    }
    for (k = 0; k < op->n_fields; k++)
        if (strcmp(op->field[k].name, key) == 0)
            return set_field(p, i, &op->field[k], text);
    return fail(p, "%s has no field \"%s\"", op->name, key);
}

static int parse_insn(struct parser *p, const char *name)
{
    struct sim_insn i = {0};
    char word[256], why[160];
    int r = 0;

    for (i.op = 0; i.op < SIM_OPS && strcmp(sim_ops[i.op].name, name) != 0;)
        i.op++;
    if (i.op == SIM_OPS)
        return fail(p, "no operation \"%s\"", name);
    while (r == 0 && next_word(p, word, sizeof word)) {
        char *eq = strchr(word, '=');

        if (!eq)
            return fail(p, "\"%s\": want FIELD=VALUE", word);
        *eq = '\0';
        r = set_key(p, &i, word, eq + 1);
    }
    if (r < 0)
        return r;
    r = sim_insn_check(&i, why, sizeof why);
    return r < 0 ? fail(p, "%s", why) : sim_program_add(&p->s.program, &i);
}

static int parse_values(struct parser *p, struct sim_data *d)
{
    char word[64];
    int cap = 0;

    while (next_word(p, word, sizeof word)) {
        if (d->n == cap) {
            double *more = realloc(d->value, (size_t)(cap = cap ? cap * 2 : 16) * sizeof *more);

            if (!more)
                return -ENOMEM;
            d->value = more;
        }
        if (!to_double(word, word + strlen(word), &d->value[d->n]))
            return fail(p, "\"%s\" is no number", word);
        d->n++;
    }
    return 0;
}

/* .data or .expect ADDRESS TYPE VALUES */
static int parse_data(struct parser *p, bool expect)
{
    struct sim_data *more = realloc(p->s.data, (size_t)(p->s.n_data + 1) * sizeof *more), *d;
    char word[64];
    int dtype;

    if (!more)
        return -ENOMEM;
    p->s.data = more;
    d = &more[p->s.n_data++];
    *d = (struct sim_data){.expect = expect, .line = p->line};
    if (!next_word(p, word, sizeof word) || !to_u64(word, word + strlen(word), SIM_MAX_EXTERNAL, &d->address))
        return fail(p, "want an address");
    dtype = next_word(p, word, sizeof word) ? find_dtype(word, strlen(word)) : -1;
    if (dtype < 0)
        return fail(p, "want a type");
    d->dtype = (enum npu_dtype)dtype;
    return parse_values(p, d);
}

static int parse_line(struct parser *p)
{
    char word[64];

    if (!next_word(p, word, sizeof word))
        return 0;
    if (strcmp(word, ".data") == 0 || strcmp(word, ".expect") == 0)
        return parse_data(p, word[1] == 'e');
    if (strcmp(word, ".xm") == 0) {
        if (!next_word(p, word, sizeof word) || !to_u64(word, word + strlen(word), UINT64_C(1) << 30, &p->s.xm_bytes))
            return fail(p, "want the size of external memory, 1 GiB at most");
        return 0;
    }
    return parse_insn(p, word);
}

int sim_assemble(const char *text, size_t size, struct sim_source *ret_source, char *why, size_t why_size)
{
    struct parser p = {.why = why, .why_size = why_size};
    size_t cap = 0;
    char *line = NULL;
    int r = size > SIM_MAX_SOURCE ? -E2BIG : 0;

    for (size_t at = 0; r == 0 && at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t n = end ? (size_t)(end - text) - at : size - at;

        p.line++;
        if (!line || n + 1 > cap) {
            char *more = realloc(line, cap = 2 * (n + 1));

            if (!more) {
                r = -ENOMEM;
                break;
            }
            line = more;
        }
        memcpy(line, text + at, n);
        line[n] = '\0';
        line[strcspn(line, "#")] = '\0';
        p.at = line;
        r = parse_line(&p);
        if (r == 0 && p.cut)
            r = fail(&p, "a word is too long");
        at += n + 1;
    }
    free(line);
    if (r < 0)
        sim_source_free(&p.s);
    else
        *ret_source = p.s;
    return r;
}

void sim_source_free(struct sim_source *s)
{
    for (int k = 0; k < s->n_data; k++)
        free(s->data[k].value);
    free(s->data);
    sim_program_free(&s->program);
    memset(s, 0, sizeof *s);
}
