/* exec_vector.c - the vector unit: d = act(a op b) and reductions along the innermost axis, in f32.
 *
 * A NaN loses a maximum and a minimum. Where all operands are i32 and the operation is mov, add, sub, max or min, it is
 * done in integers, which wrap.
 */
#include <math.h>
#include <string.h>

#include "libnpu/op/exact.h"
#include "libnpu/op/quant.h"
#include "libnpu/sim/machine.h"

enum { CHUNK = 512 };

static float activate(enum sim_act act, float x)
{
    switch (act) {
    case SIM_ACT_RELU:
        return x > 0.0f ? x : 0.0f;
    case SIM_ACT_RELU6:
        return x > 0.0f ? fminf(x, 6.0f) : 0.0f;
    case SIM_ACT_GELU:
        return npu_x_gelu(x);
    case SIM_ACT_SIGMOID:
        return npu_x_sigmoid(x);
    case SIM_ACT_TANH:
        return npu_x_tanh(x);
    default:
        return x;
    }
}

#define EACH(expr)                                                                                                     \
    for (uint32_t k = 0; k < n; k++)                                                                                   \
        a[k] = (expr);                                                                                                 \
    break

/* a becomes the result; d: what the place of the result holds, for mac */
static void compute(const struct sim_insn *i, float *a, const float *b, const float *d, uint32_t n)
{
    const enum sim_act act = sim_insn_act(i);

    switch (i->op) {
    case SIM_OP_ADD:
        EACH(a[k] + b[k]);
    case SIM_OP_SUB:
        EACH(a[k] - b[k]);
    case SIM_OP_MUL:
        EACH(a[k] * b[k]);
    case SIM_OP_DIV:
        EACH(a[k] / b[k]);
    case SIM_OP_MAX:
        EACH(fmaxf(a[k], b[k]));
    case SIM_OP_MIN:
        EACH(fminf(a[k], b[k]));
    case SIM_OP_CMP:
        EACH(a[k] > b[k] ? 1.0f : 0.0f);
    case SIM_OP_REQUANT:
        EACH(fmaf(a[k], b[k], i->vec.imm));
    case SIM_OP_MAC:
        EACH(fmaf(a[k], b[k], d[k]));
    case SIM_OP_ABS:
        EACH(fabsf(a[k]));
    case SIM_OP_EXP:
        EACH(npu_x_exp(a[k]));
    case SIM_OP_LOG:
        EACH(logf(a[k]));
    case SIM_OP_RSQRT:
        EACH(npu_x_rsqrt(a[k]));
    case SIM_OP_RECIP:
        EACH(copysignf(npu_x_recip(fabsf(a[k])), a[k]));
    default:
        break;
    }
    for (uint32_t k = 0; act != SIM_ACT_NONE && k < n; k++)
        a[k] = activate(act, a[k]);
}

static int elementwise_row(struct sim_machine *m, const struct sim_insn *i, int64_t d, int64_t at, int64_t bt)
{
    const struct sim_vector *t = &i->vec;
    const int64_t ds = (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[0])),
                  as = (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[1])),
                  bs = (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[2]));
    const bool imm = i->flags & SIM_B_IMM, has_b = sim_op_has_b(i->op);
    float a[CHUNK], b[CHUNK], old[CHUNK];
    int r = 0;

    for (uint32_t k = 0; imm && k < CHUNK; k++)
        b[k] = t->imm;
    for (uint32_t k = 0; k < t->n0 && r == 0; k += CHUNK) {
        const uint32_t n = t->n0 - k < CHUNK ? t->n0 - k : CHUNK;

        r = sim_fetch(m, i->type[1], at + (int64_t)k * t->as[0] * as, t->as[0], n, a);
        if (r == 0 && has_b && !imm)
            r = sim_fetch(m, i->type[2], bt + (int64_t)k * t->bs[0] * bs, t->bs[0], n, b);
        if (r == 0 && i->op == SIM_OP_MAC)
            r = sim_fetch(m, i->type[0], d + k * ds, 1, n, old);
        if (r < 0)
            break;
        compute(i, a, b, old, n);
        r = sim_put(m, i->type[0], d + k * ds, n, a);
    }
    return r;
}

/* A sum is made in 16 lanes, element k in lane k mod 16; npu_x_sum adds the lanes. */
static int reduce_row(struct sim_machine *m, const struct sim_insn *i, int64_t d, int64_t at, int64_t bt)
{
    const struct sim_vector *t = &i->vec;
    const int64_t as = (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[1])),
                  bs = (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[2]));
    const bool dot = i->op == SIM_OP_RDOT, imm = i->flags & SIM_B_IMM;
    float lane[NPU_X_LANES] = {0}, a[CHUNK], b[CHUNK], top = -INFINITY, sum;
    int r = 0;

    for (uint32_t k = 0; imm && k < CHUNK; k++)
        b[k] = t->imm;
    for (uint32_t k = 0; k < t->n0 && r == 0; k += CHUNK) {
        const uint32_t n = t->n0 - k < CHUNK ? t->n0 - k : CHUNK;

        r = sim_fetch(m, i->type[1], at + (int64_t)k * t->as[0] * as, t->as[0], n, a);
        if (r == 0 && dot && !imm)
            r = sim_fetch(m, i->type[2], bt + (int64_t)k * t->bs[0] * bs, t->bs[0], n, b);
        for (uint32_t e = 0; r == 0 && e < n; e++) {
            float *l = &lane[e % NPU_X_LANES];

            *l = dot ? fmaf(a[e], b[e], *l) : *l + a[e];
            top = fmaxf(a[e], top);
        }
    }
    if (r < 0)
        return r;
    sum = activate(sim_insn_act(i), i->op == SIM_OP_RMAX ? top : npu_x_sum(lane));
    return sim_put(m, i->type[0], d, 1, &sum);
}

/* What quantise_dynamic makes of a range (libnpu/op/quant.h). */
static int range_row(struct sim_machine *m, const struct sim_insn *i)
{
    float a[2], d[3];
    struct npu_q_range q;
    int r = sim_fetch(m, i->type[1], i->vec.a, i->vec.as[0], 2, a);

    if (r < 0)
        return r;
    q = npu_q_range(a[0], a[1]);
    d[0] = q.scale;
    d[1] = q.inv;
    d[2] = (float)q.zero;
    return sim_put(m, i->type[0], i->vec.d, 3, d);
}

static bool is_integer(const struct sim_insn *i)
{
    const bool b = sim_op_has_b(i->op) && !(i->flags & SIM_B_IMM);

    if (i->op > SIM_OP_MIN || i->op == SIM_OP_MUL || i->op == SIM_OP_DIV || i->flags)
        return false;
    return i->type[0] % 16 == NPU_I32 && i->type[1] % 16 == NPU_I32 && (!b || i->type[2] % 16 == NPU_I32);
}

static int integer_row(struct sim_machine *m, const struct sim_insn *i, int64_t d, int64_t at, int64_t bt)
{
    const struct sim_vector *t = &i->vec;
    const bool has_b = sim_op_has_b(i->op);

    for (int64_t k = 0; k < t->n0; k++) {
        int r = 0;
        const uint8_t *pa = sim_access(m, SIM_PLACE_MEM(i->type[1]), at + k * t->as[0] * 4, 4, false, &r);
        const uint8_t *pb =
            pa && has_b ? sim_access(m, SIM_PLACE_MEM(i->type[2]), bt + k * t->bs[0] * 4, 4, false, &r) : pa;
        uint8_t *pd = pb ? sim_access(m, SIM_PLACE_MEM(i->type[0]), d + k * 4, 4, true, &r) : NULL;
        uint32_t a, b, y;

        if (!pd)
            return r;
        memcpy(&a, pa, 4);
        memcpy(&b, pb, 4);
        y = i->op == SIM_OP_ADD   ? a + b
            : i->op == SIM_OP_SUB ? a - b
            : i->op == SIM_OP_MAX ? ((int32_t)a > (int32_t)b ? a : b)
            : i->op == SIM_OP_MIN ? ((int32_t)a < (int32_t)b ? a : b)
                                  : a;
        memcpy(pd, &y, 4);
    }
    return 0;
}

static int vector(struct sim_machine *m, const struct sim_insn *i)
{
    const struct sim_vector *t = &i->vec;
    const int64_t ds = (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[0])),
                  as = (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[1])),
                  bs = (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[2]));
    const bool reduces = sim_op_reduces(i->op), integer = is_integer(i);

    for (int64_t i2 = 0; i2 < t->n2; i2++)
        for (int64_t i1 = 0; i1 < t->n1; i1++) {
            const int64_t d = t->d + (i1 * t->ds[0] + i2 * t->ds[1]) * ds,
                          a = t->a + (i1 * t->as[1] + i2 * t->as[2]) * as,
                          b = t->b + (i1 * t->bs[1] + i2 * t->bs[2]) * bs;
            int r = reduces   ? reduce_row(m, i, d, a, b)
                    : integer ? integer_row(m, i, d, a, b)
                              : elementwise_row(m, i, d, a, b);

            if (r < 0)
                return r;
        }
    return 0;
}

static int qscale_row(struct sim_machine *m, const struct sim_qscale *q, const struct sim_insn *i, int64_t row)
{
    const int64_t at = q->d + row * q->ds, n = q->n0;
    int r = 0;
    const uint8_t *a = sim_access(m, SIM_PLACE_MEM(i->type[1]), q->a + row * q->as * 4, 4 * n, false, &r);
    const uint8_t *b = a ? sim_access(m, SIM_UM, q->b, 4 * n, false, &r) : NULL;
    uint8_t *d =
        b && (!q->rmul || sim_access(m, SIM_UM, at, n, false, &r)) ? sim_access(m, SIM_UM, at, n, true, &r) : NULL;

    if (!d)
        return r;
    for (int64_t k = 0; k < n; k++) {
        int32_t x, y;
        int64_t t;

        memcpy(&x, a + 4 * k, 4);
        memcpy(&y, b + 4 * k, 4);
        t = (int64_t)x * y + (q->rmul ? (int64_t)((int8_t)d[k] - q->rzero) * q->rmul : 0);
        t = ((t + (INT64_C(1) << (q->shift - 1))) >> q->shift) + q->zero;
        d[k] = (uint8_t)(int8_t)(t < q->lo ? q->lo : t > q->hi ? q->hi : t);
    }
    return 0;
}

static int qscale(struct sim_machine *m, const struct sim_insn *i)
{
    int r = 0;

    for (int64_t row = 0; row < i->q.n1 && r == 0; row++)
        r = qscale_row(m, &i->q, i, row);
    return r;
}

int sim_exec_vector(struct sim_machine *m, const struct sim_insn *i)
{
    if (i->op == SIM_OP_QSCALE)
        return qscale(m, i);
    return i->op == SIM_OP_QRANGE ? range_row(m, i) : vector(m, i);
}
