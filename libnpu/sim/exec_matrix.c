/* exec_matrix.c - wload and mmul: the systolic array with weights that stay.
 *
 * A row's sum is made in the order of k: s = 0; s += a_k w_k, each product exact (bf16 in f32, i8 in i32), each sum
 * rounded to f32; then the accumulator takes s or has s added. With f32 operands the sum goes on from what the
 * accumulator holds, each step rounded once, so that the array's size does not show.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "libnpu/sim/machine.h"

static int wload(struct sim_machine *m, const struct sim_insn *i)
{
    const struct sim_wload *w = &i->wload;
    const int64_t size = (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[1]));

    if (w->k > (uint32_t)m->config.rows || w->n > (uint32_t)m->config.cols) {
        snprintf(m->error, sizeof m->error, "a tile of %u x %u weights for an array of %d x %d", w->k, w->n,
                 m->config.rows, m->config.cols);
        return -EINVAL;
    }
    for (int64_t k = 0; k < w->k; k++) {
        int r = sim_fetch(m, i->type[1], w->at + k * w->ks * size, w->ns, w->n, m->weight + k * m->config.cols);

        if (r < 0)
            return r;
    }
    m->weight_k = w->k;
    m->weight_n = w->n;
    m->weight_dtype = SIM_PLACE_DTYPE(i->type[1]);
    return 0;
}

/* Elements [first, first + count) of the row that begins at byte `at`. */
static int gather(struct sim_machine *m, const struct sim_insn *i, int64_t at, float *row)
{
    const struct sim_mmul *t = &i->mmul;
    const int64_t size = (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[1]));
    uint32_t k = t->first, end = t->first + t->count;

    while (k < end) {
        const uint32_t k0 = k % t->kc[0], k1 = k / t->kc[0] % t->kc[1], k2 = k / t->kc[0] / t->kc[1];
        const uint32_t run = t->kc[0] - k0 < end - k ? t->kc[0] - k0 : end - k;
        const int64_t e = (int64_t)k0 * t->ks[0] + (int64_t)k1 * t->ks[1] + (int64_t)k2 * t->ks[2];
        int r = sim_fetch(m, i->type[1], at + e * size, t->ks[0], run, row + (k - t->first));

        if (r < 0)
            return r;
        k += run;
    }
    return 0;
}

/* Zeros among the inputs are not left out: 0 times infinity is no number. */
static void row_f32(const struct sim_machine *m, const struct sim_mmul *t, const float *row, bool add, uint8_t *acc)
{
    float sum[SIM_MAX_ARRAY] = {0}, old[SIM_MAX_ARRAY];

    for (uint32_t k = 0; k < t->count; k++) {
        const float a = row[k], *w = m->weight + (size_t)k * (size_t)m->config.cols;

        for (uint32_t n = 0; n < t->n; n++)
            sum[n] += a * w[n];
    }
    if (add) {
        memcpy(old, acc, t->n * sizeof old[0]);
        for (uint32_t n = 0; n < t->n; n++)
            sum[n] += old[n];
    }
    memcpy(acc, sum, t->n * sizeof sum[0]);
}

static void row_chain(const struct sim_machine *m, const struct sim_mmul *t, const float *row, bool add, uint8_t *acc)
{
    float sum[SIM_MAX_ARRAY] = {0};

    if (add)
        memcpy(sum, acc, t->n * sizeof sum[0]);
    for (uint32_t k = 0; k < t->count; k++) {
        const float a = row[k], *w = m->weight + (size_t)k * (size_t)m->config.cols;

        for (uint32_t n = 0; n < t->n; n++)
            sum[n] = fmaf(a, w[n], sum[n]);
    }
    memcpy(acc, sum, t->n * sizeof sum[0]);
}

/* i32 sums wrap. */
static void row_i32(const struct sim_machine *m, const struct sim_mmul *t, const float *row, bool add, uint8_t *acc)
{
    uint32_t sum[SIM_MAX_ARRAY] = {0}, old[SIM_MAX_ARRAY];

    for (uint32_t k = 0; k < t->count; k++) {
        const float *w = m->weight + (size_t)k * (size_t)m->config.cols;

        for (uint32_t n = 0; n < t->n; n++)
            sum[n] += (uint32_t)((int32_t)row[k] * (int32_t)w[n]);
    }
    if (add) {
        memcpy(old, acc, t->n * sizeof old[0]);
        for (uint32_t n = 0; n < t->n; n++)
            sum[n] += old[n];
    }
    memcpy(acc, sum, t->n * sizeof sum[0]);
}

static int mmul(struct sim_machine *m, const struct sim_insn *i)
{
    const struct sim_mmul *t = &i->mmul;
    const bool add = i->flags & SIM_ACCUMULATE;
    const int64_t size = (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[1]));
    float row[SIM_MAX_ARRAY] = {0};
    int r = 0;

    if (t->count != m->weight_k || t->n != m->weight_n || m->weight_dtype != SIM_PLACE_DTYPE(i->type[1])) {
        snprintf(m->error, sizeof m->error, "%u x %u of %s, but the array holds %u x %u weights of %s", t->count, t->n,
                 npu_dtype_name(SIM_PLACE_DTYPE(i->type[1])), m->weight_k, m->weight_n,
                 npu_dtype_name(m->weight_dtype));
        return -EINVAL;
    }
    for (int64_t i1 = 0; i1 < t->m[1]; i1++)
        for (int64_t i0 = 0; i0 < t->m[0]; i0++) {
            const int64_t to = t->acc + (i1 * t->m[0] + i0) * (int64_t)t->pitch * 4;
            uint8_t *acc;

            r = gather(m, i, t->at + (i0 * t->ms[0] + i1 * t->ms[1]) * size, row);
            if (r == 0 && add)
                sim_access(m, SIM_ACC, to, 4 * (int64_t)t->n, false, &r);
            acc = r < 0 ? NULL : sim_access(m, SIM_ACC, to, 4 * (int64_t)t->n, true, &r);
            if (!acc)
                return r;
            if (m->weight_dtype == NPU_I8)
                row_i32(m, t, row, add, acc);
            else if (m->weight_dtype == NPU_F32)
                row_chain(m, t, row, add, acc);
            else
                row_f32(m, t, row, add, acc);
        }
    return 0;
}

int sim_exec_matrix(struct sim_machine *m, const struct sim_insn *i)
{
    return i->op == SIM_OP_WLOAD ? wload(m, i) : mmul(m, i);
}
