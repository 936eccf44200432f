/* attention.c - softmax(q k^T / sqrt(size)) v: a block of queries against all keys, whose scores never leave the chip.
 *
 * Keys and values pass through weight memory in blocks of tokens. The scores of a block of queries lie whole in the
 * accumulators; the vector unit makes them exponentials in unified memory and bf16 rows in input memory, which go
 * through the array again with the values. The division by the sum comes last.
 */
#include "libnpu/op/attention.h"
#include "libnpu/sim/compile.h"

struct state {
    struct npu_attention_dims d;
    struct sim_tensor qkv, out;
    int64_t queries, tokens; /* of a block */
    bool exact;              /* f32 operands, to the last bit (libnpu/op/exact.h) */
    enum npu_dtype type;     /* of operands of the array */
    struct sim_slots wm, q, p, scores, sums, out_at;
    uint32_t um, rows; /* scores as f32; maxima, then sums */
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t element(const struct state *s)
{
    return (int64_t)npu_dtype_size(s->type);
}

static bool fits(const struct sim_compiler *c, const struct state *s, int64_t queries, int64_t tokens)
{
    const struct npu_attention_dims *d = &s->d;
    const int64_t size = element(s), scores = queries * d->n, values = queries * d->dh;

    return 2 * sim_round64(size * tokens * d->dh) <= sim_size(c, SIM_WM) &&
           2 * sim_round64(size * values) + 2 * sim_round64(size * scores) <= sim_size(c, SIM_IM) &&
           2 * sim_round64(4 * scores) + 2 * sim_round64(4 * values) <= sim_size(c, SIM_ACC) &&
           sim_round64(4 * scores) + 2 * sim_round64(4 * queries) + 2 * sim_round64(4 * values) <= sim_size(c, SIM_UM);
}

/* Rows [from, from + count) of q (part 0), k (1) or v (2) of a head. */
static struct sim_block rows_of(const struct state *s, int64_t b, int64_t head, int part, int64_t from, int64_t count)
{
    const int64_t at = (b * s->d.n + from) * 3 * s->d.d + part * s->d.d + head * s->d.dh;

    return (struct sim_block){.xm = s->qkv.at + (uint64_t)at * npu_dtype_size(s->qkv.dtype),
                              .dtype = s->qkv.dtype,
                              .mem = s->qkv.mem,
                              .n = {s->d.dh, count},
                              .xs = {1, 3 * s->d.d},
                              .cs = {s->d.dh}};
}

/* rows of `depth` elements at im times weights (k, n) at wm + k ks + n ns into acc [rows, pitch]. */
struct piece {
    uint32_t im, wm, acc;
    int64_t rows, row, depth, columns, ks, ns, pitch;
    bool add;
};

static void multiply(struct sim_compiler *c, const struct state *s, const struct piece *q)
{
    const int64_t size = element(s);

    for (int64_t n = 0; n < q->columns; n += c->config->cols)
        for (int64_t k = 0; k < q->depth; k += c->config->rows) {
            struct sim_insn w = {.op = SIM_OP_WLOAD, .type = {0, SIM_PLACE(SIM_WM, s->type)}};
            struct sim_insn m = {.op = SIM_OP_MMUL,
                                 .flags = k || q->add ? SIM_ACCUMULATE : 0,
                                 .type = {SIM_PLACE(SIM_ACC, NPU_F32), SIM_PLACE(SIM_IM, s->type)}};

            w.wload = (struct sim_wload){.at = q->wm + (uint32_t)(size * (k * q->ks + n * q->ns)),
                                         .k = (uint32_t)least(q->depth - k, c->config->rows),
                                         .n = (uint32_t)least(q->columns - n, c->config->cols),
                                         .ks = (int32_t)q->ks,
                                         .ns = (int32_t)q->ns};
            m.mmul = (struct sim_mmul){.at = q->im + (uint32_t)(size * k),
                                       .acc = q->acc + (uint32_t)(4 * n),
                                       .n = w.wload.n,
                                       .pitch = (uint32_t)q->pitch,
                                       .m = {(uint32_t)q->rows, 1},
                                       .ms = {(int32_t)q->row, 0},
                                       .count = w.wload.k,
                                       .kc = {(uint16_t)w.wload.k, 1},
                                       .ks = {1, 0, 0}};
            sim_emit(c, &w);
            sim_emit(c, &m);
        }
}

/* Scores in acc to exponentials in input memory; their sums to s->rows + a row's maximum behind them. */
static void exponentials(struct sim_compiler *c, struct state *s, int64_t rows, uint32_t acc, uint32_t p)
{
    const int64_t n[3] = {s->d.n, rows};
    const struct sim_operand scores = {SIM_ACC, NPU_F32, acc, {1, s->d.n}}, e = sim_um(NPU_F32, s->um, 1, s->d.n),
                             max = sim_um(NPU_F32, s->rows + (uint32_t)sim_round64(4 * s->queries), 0, 1),
                             sum = sim_um(NPU_F32, s->rows, 0, 1), out = {SIM_IM, s->type, p, {1, s->d.n}};

    if (s->exact) {
        const struct sim_operand maxima = sim_um(NPU_F32, max.at, 1, 0);

        sim_emit_vector(c, SIM_OP_RMAX, SIM_ACT_NONE, n, &max, &scores, NULL, 0);
        sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, (int64_t[3]){rows}, &maxima, &maxima, NULL, -s->d.scale);
        sim_emit_vector(c, SIM_OP_MOV, SIM_ACT_NONE, n, &e, &max, NULL, 0);
        sim_emit_vector(c, SIM_OP_MAC, SIM_ACT_NONE, n, &e, &scores, NULL, s->d.scale);
    } else {
        sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, n, &e, &scores, NULL, s->d.scale);
        sim_emit_vector(c, SIM_OP_RMAX, SIM_ACT_NONE, n, &max, &e, NULL, 0);
        sim_emit_vector(c, SIM_OP_SUB, SIM_ACT_NONE, n, &e, &e, &max, 0);
    }
    sim_emit_vector(c, SIM_OP_EXP, SIM_ACT_NONE, n, &e, &e, NULL, 0);
    sim_emit_vector(c, SIM_OP_RSUM, SIM_ACT_NONE, n, &sum, &e, NULL, 0);
    sim_emit_vector(c, SIM_OP_MOV, SIM_ACT_NONE, n, &out, &e, NULL, 0);
}

static void queries(struct sim_compiler *c, struct state *s, int64_t b, int64_t head, int64_t from)
{
    const struct npu_attention_dims *d = &s->d;
    const int64_t rows = least(s->queries, d->n - from), n[3] = {d->dh, rows};
    const uint32_t q = sim_turn(&s->q), p = sim_turn(&s->p), scores = sim_turn(&s->scores), sums = sim_turn(&s->sums);
    const struct sim_operand acc = {SIM_ACC, NPU_F32, sums, {1, d->dh}}, sum = sim_um(NPU_F32, s->rows, 0, 1),
                             every = sim_um(NPU_F32, s->rows, 1, 0),
                             out = sim_um(s->out.dtype, sim_turn(&s->out_at), 1, d->dh);
    struct sim_block block = rows_of(s, b, head, 0, from, rows);

    sim_emit_load(c, SIM_IM, s->type, q, &block);
    for (int part = 1; part < 3; part++) {
        for (int64_t t = 0; t < d->n && c->status == 0; t += s->tokens) {
            const int64_t tokens = least(s->tokens, d->n - t);
            const uint32_t wm = sim_turn(&s->wm);

            block = rows_of(s, b, head, part, t, tokens);
            sim_emit_load(c, SIM_WM, s->type, wm, &block);
            if (part == 1)
                multiply(c, s,
                         &(struct piece){q, wm, scores + (uint32_t)(4 * t), rows, d->dh, d->dh, tokens, 1, d->dh, d->n,
                                         false});
            else
                multiply(c, s,
                         &(struct piece){p + (uint32_t)(element(s) * t), wm, sums, rows, d->n, tokens, d->dh, d->dh, 1,
                                         d->dh, t > 0});
        }
        if (part == 1)
            exponentials(c, s, rows, scores, p);
    }
    sim_emit_vector(c, SIM_OP_RECIP, SIM_ACT_NONE, (int64_t[3]){rows}, &every, &every, NULL, 0);
    sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, n, &out, &acc, &sum, 0);
    block = (struct sim_block){.xm = s->out.at +
                                     (uint64_t)((b * d->n + from) * d->d + head * d->dh) * npu_dtype_size(s->out.dtype),
                               .dtype = s->out.dtype,
                               .mem = s->out.mem,
                               .n = {d->dh, rows},
                               .xs = {1, d->d},
                               .cs = {d->dh}};
    sim_emit_store(c, s->out.dtype, out.at, &block);
}

int sim_compile_attention(struct sim_compiler *c, const struct sim_node *n)
{
    struct state s = {.d = npu_attention_dims(n->node, &n->in[0].shape), .qkv = n->in[0], .out = n->out[0]};
    const struct npu_attention_dims *d = &s.d;

    s.exact = n->node->exact;
    s.type = s.exact ? NPU_F32 : NPU_BF16;

    if (d->batch * d->n * d->d == 0)
        return 0;
    s.tokens = least(d->n, c->config->cols);
    s.queries = 1;
    if (!fits(c, &s, 1, s.tokens))
        return sim_refuse(c, "attention over %lld tokens with heads of %lld needs larger memories", (long long)d->n,
                          (long long)d->dh);
    while (s.tokens < d->n && fits(c, &s, 1, least(2 * s.tokens, d->n)))
        s.tokens = least(2 * s.tokens, d->n);
    while (s.queries < least(d->n, 1024) && fits(c, &s, s.queries + 1, s.tokens))
        s.queries++;
    s.wm = sim_take_two(c, SIM_WM, element(&s) * s.tokens * d->dh);
    s.q = sim_take_two(c, SIM_IM, element(&s) * s.queries * d->dh);
    s.p = sim_take_two(c, SIM_IM, element(&s) * s.queries * d->n);
    s.scores = sim_take_two(c, SIM_ACC, 4 * s.queries * d->n);
    s.sums = sim_take_two(c, SIM_ACC, 4 * s.queries * d->dh);
    s.um = sim_take(c, SIM_UM, 4 * s.queries * d->n);
    s.rows = sim_take(c, SIM_UM, 2 * sim_round64(4 * s.queries));
    s.out_at = sim_take_two(c, SIM_UM, 4 * s.queries * d->dh);
    for (int64_t b = 0; b < d->batch; b++)
        for (int64_t head = 0; head < d->heads; head++)
            for (int64_t from = 0; from < d->n && c->status == 0; from += s.queries)
                queries(c, &s, b, head, from);
    return c->status;
}
