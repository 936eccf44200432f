/* rows.c - layer norm, softmax and reductions: rows through the vector unit. */
#include "libnpu/op/attr.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"
#include "libnpu/sim/compile.h"

/* A tile of whole rows. */
struct rows {
    int64_t c, most; /* elements a row, rows a tile */
    struct sim_slots in, out;
    uint32_t work[2], stat[2]; /* f32 [most][c]; f32 [most] */
};

static struct sim_block dense_block(const struct sim_tensor *t, int64_t from, int64_t n)
{
    return (struct sim_block){
        .xm = t->at + (uint64_t)from * npu_dtype_size(t->dtype), .dtype = t->dtype, .mem = t->mem, .n = {n}, .xs = {1}};
}

/* vectors: rows of f32 that are needed besides. */
static int plan_rows(struct sim_compiler *c, struct rows *q, int64_t row, int vectors)
{
    const int64_t size = sim_size(c, SIM_UM) - vectors * sim_round64(4 * row) - 8 * 64, each = 6 * 4 * row + 2 * 4;

    q->c = row;
    q->most = size / each;
    if (q->most < 1)
        return sim_refuse(c, "a row of %lld elements does not fit into unified memory", (long long)row);
    if (q->most > 1 + 16384 / row)
        q->most = 1 + 16384 / row; /* short enough that loads, work and stores overlap */
    q->in = sim_take_two(c, SIM_UM, 4 * row * q->most);
    q->out = sim_take_two(c, SIM_UM, 4 * row * q->most);
    for (int k = 0; k < 2; k++) {
        q->work[k] = sim_take(c, SIM_UM, 4 * row * q->most);
        q->stat[k] = sim_take(c, SIM_UM, 4 * q->most);
    }
    return c->status;
}

static void vec(struct sim_compiler *c, enum sim_op op, const int64_t *n, struct sim_operand d, struct sim_operand a,
                const struct sim_operand *b, float imm)
{
    sim_emit_vector(c, op, SIM_ACT_NONE, n, &d, &a, b, imm);
}

/* Roundings as in libnpu/op/exact.h. vector: where gamma, beta and 1 / row lie. */
static void norm_tile(struct sim_compiler *c, const struct rows *q, int64_t rows, const struct sim_operand *x,
                      const struct sim_operand *y, const uint32_t *vector, float eps)
{
    const int64_t n[3] = {q->c, rows}, one[3] = {rows};
    const struct sim_operand sum = sim_um(NPU_F32, q->stat[0], 0, 1), var = sim_um(NPU_F32, q->stat[1], 0, 1),
                             var1 = sim_um(NPU_F32, q->stat[1], 1, 0), w = sim_um(NPU_F32, q->work[0], 1, q->c),
                             s = y->dtype == NPU_F32 ? *y : sim_um(NPU_F32, q->work[1], 1, q->c),
                             word = sim_um(NPU_F32, vector[2], 0, 0), gamma = sim_um(NPU_F32, vector[0], 1, 0),
                             beta = sim_um(NPU_F32, vector[1], 1, 0);
    const float share = 1.0f / (float)q->c;

    vec(c, SIM_OP_RSUM, n, sum, *x, NULL, 0);
    vec(c, SIM_OP_MOV, n, w, *x, NULL, 0);
    vec(c, SIM_OP_MAC, n, w, sum, NULL, -share);
    vec(c, SIM_OP_RDOT, n, var, w, &w, 0);
    vec(c, SIM_OP_REQUANT, one, var1, var1, &word, eps);
    vec(c, SIM_OP_RSQRT, one, var1, var1, NULL, 0);
    vec(c, SIM_OP_MUL, n, w, w, &var, 0);
    vec(c, SIM_OP_MOV, n, s, beta, NULL, 0);
    vec(c, SIM_OP_MAC, n, s, w, &gamma, 0);
    if (y->dtype != NPU_F32)
        vec(c, SIM_OP_MOV, n, *y, s, NULL, 0);
}

static void softmax_tile(struct sim_compiler *c, const struct rows *q, int64_t rows, const struct sim_operand *x,
                         const struct sim_operand *y)
{
    const int64_t n[3] = {q->c, rows}, one[3] = {rows};
    const struct sim_operand sum1 = sim_um(NPU_F32, q->stat[1], 1, 0), max = sim_um(NPU_F32, q->stat[0], 0, 1),
                             sum = sim_um(NPU_F32, q->stat[1], 0, 1), w = sim_um(NPU_F32, q->work[0], 1, q->c);

    vec(c, SIM_OP_RMAX, n, max, *x, NULL, 0);
    vec(c, SIM_OP_SUB, n, w, *x, &max, 0);
    vec(c, SIM_OP_EXP, n, w, w, NULL, 0);
    vec(c, SIM_OP_RSUM, n, sum, w, NULL, 0);
    vec(c, SIM_OP_RECIP, one, sum1, sum1, NULL, 0);
    vec(c, SIM_OP_MUL, n, *y, w, &sum, 0);
}

static int by_rows(struct sim_compiler *c, const struct sim_node *n, bool norm)
{
    const int64_t row = op_last(&n->in[0].shape), total = op_rows(&n->in[0].shape);
    uint32_t vector[3] = {0};
    struct rows q = {0};
    int r;

    if (total == 0 || row == 0)
        return 0;
    r = plan_rows(c, &q, row, norm ? 2 : 0);
    if (r < 0)
        return r;
    for (int k = 0; norm && k < 2; k++) {
        const struct sim_block b = dense_block(&n->in[1 + k], 0, row);

        vector[k] = sim_take(c, SIM_UM, 4 * row);
        sim_emit_load(c, SIM_UM, NPU_F32, vector[k], &b);
    }
    if (norm) {
        vector[2] = sim_take(c, SIM_UM, 4);
        sim_emit_fill(c, SIM_UM, NPU_F32, vector[2], 1, 1.0f / (float)row);
    }
    for (int64_t i = 0; i < total && c->status == 0; i += q.most) {
        const int64_t rows = q.most < total - i ? q.most : total - i;
        const struct sim_operand x = sim_um(n->in[0].dtype, sim_turn(&q.in), 1, row),
                                 y = sim_um(n->out[0].dtype, sim_turn(&q.out), 1, row);
        const struct sim_block from = dense_block(&n->in[0], i * row, rows * row),
                               to = dense_block(&n->out[0], i * row, rows * row);

        sim_emit_load(c, SIM_UM, x.dtype, x.at, &from);
        if (norm)
            norm_tile(c, &q, rows, &x, &y, vector, NPU_ATTR(struct layer_norm_attr, n->node)->eps);
        else
            softmax_tile(c, &q, rows, &x, &y);
        sim_emit_store(c, y.dtype, y.at, &to);
    }
    return c->status;
}

int sim_compile_layer_norm(struct sim_compiler *c, const struct sim_node *n)
{
    return by_rows(c, n, true);
}

int sim_compile_softmax(struct sim_compiler *c, const struct sim_node *n)
{
    return by_rows(c, n, false);
}

/* x [a, r, b] summed over r: tiles of some a, some r and some b. Sums of further parts of r are added. */
int sim_compile_reduce(struct sim_compiler *c, const struct sim_node *n)
{
    const struct reduce_attr *t = NPU_ATTR(struct reduce_attr, n->node);
    const struct npu_shape *s = &n->in[0].shape;
    const int64_t a = op_span(s, 0, t->from), r = op_span(s, t->from, t->to), b = op_span(s, t->to, s->rank);
    const int64_t most = sim_size(c, SIM_UM) / 4 / 8, fits = n->node->exact && r > 0 ? most / r : most,
                  bt = b < fits   ? b
                       : fits > 0 ? fits
                                  : 1,
                  left = bt > 0 ? most / bt : 1, rt = r < left ? r : left, fit = bt * rt > 0 ? most / (bt * rt) : 1,
                  at = a < fit ? a : fit;
    struct sim_slots in, out;
    uint32_t sum, part;

    if (a * b == 0)
        return 0;
    if (n->node->exact && rt < r)
        return sim_refuse(c, "a sum over %lld elements does not fit into unified memory", (long long)r);
    if (at > UINT16_MAX || bt > UINT16_MAX || most < 16)
        return sim_refuse(c, "a sum of %lld rows at once is too much", (long long)at);
    in = sim_take_two(c, SIM_UM, 4 * most);
    out = sim_take_two(c, SIM_UM, 4 * at * bt);
    sum = sim_take(c, SIM_UM, 4 * at * bt);
    part = sim_take(c, SIM_UM, 4 * at * bt);
    for (int64_t i = 0; i < a; i += at)
        for (int64_t j = 0; j < b && c->status == 0; j += bt) {
            const int64_t na = at < a - i ? at : a - i, nb = bt < b - j ? bt : b - j, flat[3] = {na * nb};
            const struct sim_operand acc = sim_um(NPU_F32, sum, 1, 0), more = sim_um(NPU_F32, part, 1, 0),
                                     y = sim_um(n->out[0].dtype, sim_turn(&out), 1, 0);
            struct sim_block block = {
                .dtype = n->out[0].dtype, .mem = n->out[0].mem, .n = {nb, na}, .xs = {1, b}, .cs = {nb}};

            block.xm = n->out[0].at + (uint64_t)(i * b + j) * npu_dtype_size(block.dtype);
            if (r == 0)
                sim_emit_fill(c, SIM_UM, NPU_F32, sum, na * nb, 0.0f);
            for (int64_t k = 0; k < r; k += rt) {
                const int64_t nr = rt < r - k ? rt : r - k;
                const struct sim_operand x = {SIM_UM, n->in[0].dtype, sim_turn(&in), {nb, 1, nr * nb}},
                                         d = {SIM_UM, NPU_F32, k ? part : sum, {1, 1, nb}};
                const struct sim_block from = {.xm = n->in[0].at +
                                                     (uint64_t)((i * r + k) * b + j) * npu_dtype_size(n->in[0].dtype),
                                               .dtype = n->in[0].dtype,
                                               .mem = n->in[0].mem,
                                               .n = {nb, nr, na},
                                               .xs = {1, b, r * b},
                                               .cs = {nb, nr * nb}};

                sim_emit_load(c, SIM_UM, x.dtype, x.at, &from);
                vec(c, SIM_OP_RSUM, (int64_t[3]){nr, nb, na}, d, x, NULL, 0);
                if (k)
                    vec(c, SIM_OP_ADD, flat, acc, acc, &more, 0);
            }
            vec(c, SIM_OP_MUL, flat, y, acc, NULL, t->mean && r > 1 ? 1.0f / (float)r : 1.0f);
            sim_emit_store(c, y.dtype, y.at, &block);
        }
    return c->status;
}
