/* elementwise.c - element-wise operations and those that only move elements, as maps (map.c). */
#include "libnpu/op/attr.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/quant.h"
#include "libnpu/op/util.h"
#include "libnpu/sim/compile.h"

static void body_one(struct sim_compiler *c, const struct sim_map *m, int64_t n, const struct sim_operand *in,
                     const struct sim_operand *out, const struct sim_operand *work)
{
    sim_emit_vector(c, m->op, m->act, (int64_t[3]){n}, out, &in[0], sim_op_has_b(m->op) ? &in[1] : NULL, 0);
}

static void body_scale(struct sim_compiler *c, const struct sim_map *m, int64_t n, const struct sim_operand *in,
                       const struct sim_operand *out, const struct sim_operand *work)
{
    struct sim_operand mul = *work;

    mul.s[0] = 0;
    sim_emit_fill(c, SIM_UM, NPU_F32, mul.at, 1, m->imm);
    sim_emit_vector(c, SIM_OP_REQUANT, SIM_ACT_NONE, (int64_t[3]){n}, out, &in[0], &mul, m->imm2);
}

/* max(x, 0) + min(x, 0) slope */
static void body_prelu(struct sim_compiler *c, const struct sim_map *m, int64_t n, const struct sim_operand *in,
                       const struct sim_operand *out, const struct sim_operand *work)
{
    const int64_t k[3] = {n};

    sim_emit_vector(c, SIM_OP_MIN, SIM_ACT_NONE, k, work, &in[0], NULL, 0);
    sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, k, work, work, &in[1], 0);
    sim_emit_vector(c, SIM_OP_MAX, SIM_ACT_NONE, k, &in[0], &in[0], NULL, 0);
    sim_emit_vector(c, SIM_OP_ADD, SIM_ACT_NONE, k, out, &in[0], work, 0);
}

/* in: x, gamma, beta, mean, var */
static void body_batch_norm(struct sim_compiler *c, const struct sim_map *m, int64_t n, const struct sim_operand *in,
                            const struct sim_operand *out, const struct sim_operand *work)
{
    const int64_t k[3] = {n};

    sim_emit_vector(c, SIM_OP_ADD, SIM_ACT_NONE, k, work, &in[4], NULL, m->imm);
    sim_emit_vector(c, SIM_OP_RSQRT, SIM_ACT_NONE, k, work, work, NULL, 0);
    sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, k, work, work, &in[1], 0);
    sim_emit_vector(c, SIM_OP_SUB, SIM_ACT_NONE, k, &in[3], &in[0], &in[3], 0);
    sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, k, work, work, &in[3], 0);
    sim_emit_vector(c, SIM_OP_ADD, SIM_ACT_NONE, k, out, work, &in[2], 0);
}

/* To i32, halves to even, then the zero point. imm: 1 / scale, imm2: zero point */
static void body_quantise(struct sim_compiler *c, const struct sim_map *m, int64_t n, const struct sim_operand *in,
                          const struct sim_operand *out, const struct sim_operand *work)
{
    const int64_t k[3] = {n};
    struct sim_operand whole = *work;

    whole.dtype = NPU_I32;
    sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, k, work, &in[0], NULL, m->imm);
    sim_emit_vector(c, SIM_OP_MIN, SIM_ACT_NONE, k, work, work, NULL, 512);
    sim_emit_vector(c, SIM_OP_MAX, SIM_ACT_NONE, k, work, work, NULL, -512);
    sim_emit_vector(c, SIM_OP_MOV, SIM_ACT_NONE, k, &whole, work, NULL, 0);
    sim_emit_vector(c, SIM_OP_ADD, SIM_ACT_NONE, k, out, &whole, NULL, m->imm2);
}

/* The same with what the run found: m->range: scale, its reciprocal, zero point. */
static void body_quantise_range(struct sim_compiler *c, const struct sim_map *m, int64_t n,
                                const struct sim_operand *in, const struct sim_operand *out,
                                const struct sim_operand *work)
{
    const int64_t k[3] = {n};
    const struct sim_operand inv = sim_um(NPU_F32, m->range + 4, 0, 0), zero = sim_um(NPU_F32, m->range + 8, 0, 0);
    struct sim_operand whole = *work;

    whole.dtype = NPU_I32;
    sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, k, work, &in[0], &inv, 0);
    sim_emit_vector(c, SIM_OP_MIN, SIM_ACT_NONE, k, work, work, NULL, 512);
    sim_emit_vector(c, SIM_OP_MAX, SIM_ACT_NONE, k, work, work, NULL, -512);
    sim_emit_vector(c, SIM_OP_MOV, SIM_ACT_NONE, k, &whole, work, NULL, 0);
    sim_emit_vector(c, SIM_OP_ADD, SIM_ACT_NONE, k, out, &whole, &zero, 0);
}

/* imm: - zero point, imm2: scale */
static void body_dequantise(struct sim_compiler *c, const struct sim_map *m, int64_t n, const struct sim_operand *in,
                            const struct sim_operand *out, const struct sim_operand *work)
{
    sim_emit_vector(c, SIM_OP_ADD, SIM_ACT_NONE, (int64_t[3]){n}, work, &in[0], NULL, m->imm);
    sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, (int64_t[3]){n}, out, work, NULL, m->imm2);
}

/* Strides of y seen as broadcast from the right to `to`. */
static void broadcast(const struct npu_shape *to, const struct npu_shape *y, int64_t *stride)
{
    int64_t step = 1;

    for (int i = to->rank - 1, k = y->rank - 1; i >= 0; i--, k--) {
        stride[i] = k < 0 || y->dim[k] == 1 ? 0 : step;
        step *= k < 0 ? 1 : y->dim[k];
    }
}

static const struct unary {
    const struct npu_op *op;
    enum sim_op sim_op;
    enum sim_act act;
} unary[] = {
    {&npu_op_relu, SIM_OP_ACT, SIM_ACT_RELU}, {&npu_op_relu6, SIM_OP_ACT, SIM_ACT_RELU6},
    {&npu_op_gelu, SIM_OP_ACT, SIM_ACT_GELU}, {&npu_op_sigmoid, SIM_OP_ACT, SIM_ACT_SIGMOID},
    {&npu_op_tanh, SIM_OP_ACT, SIM_ACT_TANH}, {&npu_op_exp, SIM_OP_EXP, SIM_ACT_NONE},
    {&npu_op_abs, SIM_OP_ABS, SIM_ACT_NONE},  {&npu_op_add, SIM_OP_ADD, SIM_ACT_NONE},
    {&npu_op_sub, SIM_OP_SUB, SIM_ACT_NONE},  {&npu_op_mul, SIM_OP_MUL, SIM_ACT_NONE},
    {&npu_op_cast, SIM_OP_MOV, SIM_ACT_NONE},
};

int sim_compile_elementwise(struct sim_compiler *c, const struct sim_node *n)
{
    const struct npu_op *op = n->node->op;
    struct sim_map m = {.n_in = n->node->n_in, .body = body_one, .out = n->out[0]};

    if (m.n_in > SIM_MAP_INPUTS)
        return sim_refuse(c, "%d inputs", m.n_in);
    sim_map_dense(&m, &n->out[0].shape, m.out_stride);
    for (int i = 0; i < m.n_in; i++) {
        m.in[i] = n->in[i];
        broadcast(&n->out[0].shape, &n->in[i].shape, m.in_stride[i]);
    }
    for (size_t i = 0; i < sizeof unary / sizeof unary[0]; i++)
        if (unary[i].op == op) {
            m.op = unary[i].sim_op;
            m.act = unary[i].act;
            return sim_map(c, &m);
        }
    if (op == &npu_op_scale) {
        m.body = body_scale;
        m.imm = NPU_ATTR(struct scale_attr, n->node)->mul;
        m.imm2 = NPU_ATTR(struct scale_attr, n->node)->add;
    } else if (op == &npu_op_expand) {
        m.body = body_scale;
        m.imm = NPU_ATTR(struct expand_attr, n->node)->mul;
    } else if (op == &npu_op_prelu) {
        m.body = body_prelu;
    } else {
        m.body = body_batch_norm;
        m.imm = NPU_ATTR(struct batch_norm_attr, n->node)->eps;
    }
    return sim_map(c, &m);
}

/* Element strides of axis i in a dense tensor. */
static int64_t step_of(const struct npu_shape *s, int i)
{
    return op_span(s, i + 1, s->rank);
}

static int copy_concat(struct sim_compiler *c, const struct sim_node *n)
{
    const int axis = NPU_ATTR(struct slice_attr, n->node)->axis;
    int64_t start = 0, out_stride[NPU_MAX_DIMS];
    struct sim_map all = {0};

    sim_map_dense(&all, &n->out[0].shape, out_stride);
    for (int i = 0; i < n->node->n_in; i++) {
        struct sim_map m = {.n_in = 1, .in = {n->in[i]}, .out = n->out[0]};
        int r;

        sim_map_dense(&m, &n->in[i].shape, m.in_stride[0]);
        memcpy(m.out_stride, out_stride, sizeof out_stride);
        m.out.at += (uint64_t)(start * out_stride[axis]) * npu_dtype_size(m.out.dtype);
        start += n->in[i].shape.dim[axis];
        c->used[SIM_UM] = 0;
        r = sim_map(c, &m);
        if (r < 0)
            return r;
    }
    return 0;
}

int sim_compile_copy(struct sim_compiler *c, const struct sim_node *n)
{
    const struct npu_op *op = n->node->op;
    struct sim_map m = {.n_in = 1, .in = {n->in[0]}, .out = n->out[0]};
    const struct npu_shape *s = &n->in[0].shape;

    if (op == &npu_op_concat)
        return copy_concat(c, n);
    sim_map_dense(&m, &n->out[0].shape, m.out_stride);
    if (op == &npu_op_permute) {
        const struct permute_attr *a = NPU_ATTR(struct permute_attr, n->node);

        for (int i = 0; i < a->rank; i++)
            m.in_stride[0][i] = step_of(s, a->order[i]);
        return sim_map(c, &m);
    }
    for (int i = 0; i < s->rank; i++)
        m.in_stride[0][i] = step_of(s, i);
    m.in[0].at += (uint64_t)(NPU_ATTR(struct slice_attr, n->node)->start *
                             step_of(s, NPU_ATTR(struct slice_attr, n->node)->axis)) *
                  npu_dtype_size(m.in[0].dtype);
    return sim_map(c, &m);
}

int sim_compile_quantise(struct sim_compiler *c, const struct sim_node *n)
{
    const struct npu_quantise_attr *a = NPU_ATTR(struct npu_quantise_attr, n->node);
    const bool to_int8 = n->node->op == &npu_op_quantise;
    struct sim_map m = {.n_in = 1, .in = {n->in[0]}, .out = n->out[0]};

    sim_map_dense(&m, &n->out[0].shape, m.out_stride);
    sim_map_dense(&m, &n->out[0].shape, m.in_stride[0]);
    m.body = to_int8 ? body_quantise : body_dequantise;
    m.imm = to_int8 ? npu_q_reciprocal(a->scale) : -(float)a->zero;
    m.imm2 = to_int8 ? (float)a->zero : a->scale;
    return sim_map(c, &m);
}

/* Largest x and largest -x of all, from 0 on, in the words at `most`; then the range behind them. */
static void find_range(struct sim_compiler *c, const struct sim_tensor *x, int64_t n, uint32_t most, uint32_t range)
{
    const int64_t one[3] = {1}, room = ((int64_t)sim_size(c, SIM_UM) - c->used[SIM_UM]) / 3 / 64 * 16,
                  step = room < 16384 ? room : 16384;
    const uint32_t kept = c->used[SIM_UM];
    const struct sim_operand part = sim_um(NPU_F32, most + 8, 1, 0), pair = sim_um(NPU_F32, most, 1, 0);
    struct sim_slots in;
    struct sim_operand work;

    if (step < 1) {
        c->status = sim_refuse(c, "unified memory is too small");
        return;
    }
    in = sim_take_two(c, SIM_UM, 4 * step);
    work = sim_um(NPU_F32, sim_take(c, SIM_UM, 4 * step), 1, 0);
    sim_emit_fill(c, SIM_UM, NPU_F32, most, 2, 0.0f);
    for (int64_t i = 0; i < n && c->status == 0; i += step) {
        const int64_t k[3] = {step < n - i ? step : n - i};
        const struct sim_operand from = sim_um(x->dtype, sim_turn(&in), 1, 0);

        sim_emit_load(c, SIM_UM, x->dtype, from.at,
                      &(struct sim_block){.xm = x->at + (uint64_t)i * npu_dtype_size(x->dtype),
                                          .dtype = x->dtype,
                                          .mem = x->mem,
                                          .n = {k[0]},
                                          .xs = {1}});
        for (int side = 0; side < 2; side++) {
            const struct sim_operand best = sim_um(NPU_F32, most + 4 * (uint32_t)side, 1, 0);

            sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, k, &work, &from, NULL, side ? 1.0f : -1.0f);
            sim_emit_vector(c, SIM_OP_RMAX, SIM_ACT_NONE, k, &part, &work, NULL, 0);
            sim_emit_vector(c, SIM_OP_MAX, SIM_ACT_NONE, one, &best, &best, &part, 0);
        }
    }
    sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, one, &pair, &pair, NULL, -1.0f); /* the smallest */
    sim_emit_vector(c, SIM_OP_QRANGE, SIM_ACT_NONE, (int64_t[3]){2}, &(struct sim_operand){SIM_UM, NPU_F32, range, {1}},
                    &pair, NULL, 0);
    c->used[SIM_UM] = kept;
}

/* Twice through the tensor: the range, then the numbers. */
int sim_compile_quantise_dynamic(struct sim_compiler *c, const struct sim_node *n)
{
    struct sim_map m = {.n_in = 1, .in = {n->in[0]}, .out = n->out[0], .body = body_quantise_range};
    const uint32_t most = sim_take(c, SIM_UM, 16);

    m.range = sim_take(c, SIM_UM, 12);
    find_range(c, &n->in[0], npu_shape_elements(&n->in[0].shape), most, m.range);
    sim_emit_store(
        c, NPU_F32, m.range,
        &(struct sim_block){.xm = n->out[1].at, .dtype = NPU_F32, .mem = n->out[1].mem, .n = {3}, .xs = {1}});
    sim_map_dense(&m, &n->out[0].shape, m.out_stride);
    sim_map_dense(&m, &n->out[0].shape, m.in_stride[0]);
    return c->status < 0 ? c->status : sim_map(c, &m);
}
