/* map.c - operations that treat each element alone, over tensors of any strides: blocks through unified memory. */
#include "libnpu/sim/compile.h"

enum { DMA_AXES = 4 };

void sim_map_dense(struct sim_map *m, const struct npu_shape *s, int64_t *stride)
{
    int64_t step = 1;

    for (int i = s->rank - 1; i >= 0; i--) {
        stride[i] = step;
        step *= s->dim[i];
        m->dim[i] = s->dim[i];
    }
    m->n_dims = s->rank;
}

/* True if axis i and the one after it are one axis for this tensor. */
static bool joins(const struct sim_map *m, const int64_t *stride, int i)
{
    return stride[i] == stride[i + 1] * m->dim[i + 1];
}

static void remove_axis(struct sim_map *m, int i)
{
    for (int k = i; k + 1 < m->n_dims; k++) {
        m->dim[k] = m->dim[k + 1];
        m->out_stride[k] = m->out_stride[k + 1];
        for (int j = 0; j < m->n_in; j++)
            m->in_stride[j][k] = m->in_stride[j][k + 1];
    }
    m->n_dims--;
}

/* Fewer axes that say the same. */
static void merge_axes(struct sim_map *m)
{
    for (int i = m->n_dims - 1; i >= 0; i--)
        if (m->dim[i] == 1)
            remove_axis(m, i);
    for (int i = m->n_dims - 2; i >= 0; i--) {
        bool all = joins(m, m->out_stride, i);

        for (int j = 0; j < m->n_in; j++)
            all &= joins(m, m->in_stride[j], i);
        if (!all)
            continue;
        m->dim[i + 1] *= m->dim[i];
        remove_axis(m, i);
    }
    if (m->n_dims == 0) {
        m->n_dims = 1;
        m->dim[0] = 1;
        m->out_stride[0] = 1;
        for (int j = 0; j < m->n_in; j++)
            m->in_stride[j][0] = 1;
    }
}

/* A block: `size` elements of axis `axis` from start[axis] on, all of the axes inside it, one of those outside. */
struct part {
    int axis;
    int64_t start[NPU_MAX_DIMS], size;
};

static struct sim_block block_of(const struct sim_map *m, const struct part *q, const struct sim_tensor *t,
                                 const int64_t *stride)
{
    struct sim_block b = {.xm = t->at, .dtype = t->dtype, .mem = t->mem};
    int64_t at = 0, dense = 1;
    int k = 0;

    for (int i = 0; i <= q->axis; i++)
        at += q->start[i] * stride[i];
    b.xm += (uint64_t)at * npu_dtype_size(t->dtype);
    for (int i = m->n_dims - 1; i >= q->axis; i--, k++) {
        b.n[k] = i == q->axis ? q->size : m->dim[i];
        b.xs[k] = stride[i];
        if (k)
            b.cs[k - 1] = dense;
        dense *= b.n[k];
    }
    return b;
}

struct places {
    struct sim_slots in[SIM_MAP_INPUTS], out;
    uint32_t work;
};

static void do_part(struct sim_compiler *c, const struct sim_map *m, const struct part *q, struct places *at)
{
    struct sim_operand in[SIM_MAP_INPUTS] = {0}, out, work = sim_um(NPU_F32, at->work, 1, 0);
    struct sim_block b;
    int64_t n = q->size;

    for (int i = q->axis + 1; i < m->n_dims; i++)
        n *= m->dim[i];
    for (int j = 0; j < m->n_in; j++) {
        in[j] = sim_um(m->in[j].dtype, sim_turn(&at->in[j]), 1, 0);
        b = block_of(m, q, &m->in[j], m->in_stride[j]);
        sim_emit_load(c, SIM_UM, m->in[j].dtype, in[j].at, &b);
    }
    out = m->body ? sim_um(m->out.dtype, sim_turn(&at->out), 1, 0) : in[0];
    if (m->body)
        m->body(c, m, n, in, &out, &work);
    b = block_of(m, q, &m->out, m->out_stride);
    sim_emit_store(c, out.dtype, out.at, &b);
}

/* The next block in row order; false after the last. */
static bool next_part(const struct sim_map *m, struct part *q, int64_t step)
{
    int i = q->axis;

    q->start[i] += step;
    while (q->start[i] >= m->dim[i]) {
        if (i == 0)
            return false;
        q->start[i] = 0;
        q->start[--i]++;
    }
    q->size = step < m->dim[q->axis] - q->start[q->axis] ? step : m->dim[q->axis] - q->start[q->axis];
    return true;
}

int sim_map(struct sim_compiler *c, struct sim_map *m)
{
    const int64_t buffers = 2 * m->n_in + (m->body ? 3 : 0);
    int64_t most = (((int64_t)sim_size(c, SIM_UM) - c->used[SIM_UM]) / buffers - 64) / 4, inner = 1, step;
    struct part q = {0};
    struct places at = {0};

    for (int i = 0; i < m->n_dims; i++)
        if (m->dim[i] == 0)
            return 0;
    merge_axes(m);
    if (most > 16384)
        most = 16384; /* short enough that loads, work and stores overlap */
    if (most < 1)
        return sim_refuse(c, "unified memory is too small");
    q.axis = m->n_dims - 1;
    while (q.axis > 0 && m->n_dims - q.axis < DMA_AXES && inner * m->dim[q.axis] <= most)
        inner *= m->dim[q.axis--];
    step = most / inner;
    for (int j = 0; j < m->n_in; j++)
        at.in[j] = sim_take_two(c, SIM_UM, 4 * most);
    if (m->body) {
        at.out = sim_take_two(c, SIM_UM, 4 * most);
        at.work = sim_take(c, SIM_UM, 4 * most);
    }
    q.start[q.axis] = -step;
    while (c->status == 0 && next_part(m, &q, step))
        do_part(c, m, &q, &at);
    return c->status;
}
