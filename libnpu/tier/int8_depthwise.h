/* int8_depthwise.h - what int8 convolutions with one channel a group have in common. Taps outside of the picture read
 * a row of zero points. */
#ifndef NPU_TIER_INT8_DEPTHWISE_H
#define NPU_TIER_INT8_DEPTHWISE_H

#include "libnpu/tier/int8_finish.h"

struct depthwise {
    struct npu_int8_conv g;
    struct finish f;
    const int8_t *x, *zeros; /* zeros: npad of the zero point */
    const void *w;           /* packed */
    uint32_t *offset;        /* what is added to the sums of each channel */
    int32_t *sums;           /* [mb][npad] */
    int64_t from, end;       /* this part's lines of results */
};

/* Arguments as those of conv; scratch of a part: offsets, sums, zero points. beyond_zero: see finish_of(). False: this
 * part has nothing to do. */
static inline bool depthwise_begin(const struct npu_native_call *c, int part, int n_parts, uint32_t beyond_zero,
                                   struct depthwise *d)
{
    int8_t *zeros;
    int64_t lines;
    int zero;

    read_fields(c, 9, &d->g);
    n_parts = (int)least(n_parts, d->g.parts);
    if (part >= n_parts)
        return false;
    d->f = finish_of(c, &d->g, beyond_zero, &zero);
    d->x = c->p[0];
    d->w = c->p[1];
    d->offset = (uint32_t *)(void *)((char *)c->p[8] + (size_t)part * npu_int8_depthwise_scratch(&d->g));
    d->sums = (int32_t *)d->offset + d->g.npad;
    zeros = (int8_t *)(d->sums + (int64_t)d->g.mb * d->g.npad);
    memset(zeros, zero, (size_t)d->g.npad);
    d->zeros = zeros;
    finish_offsets(&d->f, 0, d->g.cout, d->offset);
    lines = (int64_t)d->g.n * d->g.oh;
    d->from = lines * part / n_parts;
    d->end = lines * (part + 1) / n_parts;
    return true;
}

/* The three lines that a line of results with 3 x 3 taps reads. Those outside of the picture are zero points, with a
 * step of 0 from column to column. */
struct line {
    const int8_t *row[3];
    int64_t step[3];
    const int8_t *zeros;
    int64_t w;
};

/* Where three rows of a column begin. */
struct rows {
    const int8_t *top, *mid, *low;
};

static inline struct line line_of(const struct depthwise *d, int64_t line)
{
    const struct npu_int8_conv *g = &d->g;
    const int64_t top = line % g->oh * d->f.a->stride - d->f.a->pad_top;
    const int8_t *x = d->x + line / g->oh * g->h * g->w * g->cin;
    struct line l = {.zeros = d->zeros, .w = g->w};

    for (int r = 0; r < 3; r++) {
        const bool in = top + r >= 0 && top + r < g->h;

        l.step[r] = in ? g->cin : 0;
        l.row[r] = in ? x + (top + r) * g->w * g->cin : d->zeros;
    }
    return l;
}

/* Channels from n on of column ix. */
static inline __attribute__((always_inline)) struct rows rows_at(const struct line *l, int64_t n, int64_t ix)
{
    const int8_t *zeros = l->zeros + n;

    if ((uint64_t)ix >= (uint64_t)l->w)
        return (struct rows){zeros, zeros, zeros};
    return (struct rows){l->row[0] + n + ix * l->step[0], l->row[1] + n + ix * l->step[1],
                         l->row[2] + n + ix * l->step[2]};
}

#endif
