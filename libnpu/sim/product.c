/* product.c - matrix products and convolutions: tiles of weights, input pixels and accumulators.
 *
 * A tile is `columns` output channels of a block of output pixels. Its weights and the input pixels under it come in
 * steps of `channels` input channels; the array takes them piece by piece, weights loaded before each stream of rows.
 * Input, weights, accumulators, residual and result lie in two places each that take turns, so the next tile's loads
 * run while this one is computed and the last one is stored.
 */
#include "libnpu/sim/compile.h"

struct tile {
    int64_t channels, columns, rows, width; /* input channels, output channels, rows and columns of output pixels */
};

struct state {
    const struct sim_product *p;
    struct tile t;
    struct sim_slots wm, im, acc, residual, out, bias, scale;
    uint32_t work;
    uint32_t zeros[2], correction,
        row; /* int8: -x_zero in im, in two parts; its products with the weights in acc; what is added to sums */
    uint32_t range, scaled; /* range known at run time: its three numbers; scale times its first, a row */
    int64_t held[2];        /* which weights lie in the places of wm; -1: none */
};

/* Where rows of numbers for a tile's columns lie in um. */
struct rows_at {
    uint32_t bias, scale, f32_bias;
};

/* Where a tile begins and what is left of it at the edges. */
struct cut {
    int64_t b, y, x, n, rows, width, columns;
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static bool has(const struct sim_tensor *t)
{
    return t->dtype != NPU_DTYPES;
}

static bool is_dynamic(const struct sim_product *p)
{
    return p->int8 && has(&p->range);
}

/* The sums lack the share of x's zero point. */
static bool needs_correction(const struct sim_product *p)
{
    return p->int8 && p->cin && (p->x_zero || is_dynamic(p));
}

static enum npu_dtype array_type(const struct sim_product *p)
{
    return p->int8 ? NPU_I8 : p->exact ? NPU_F32 : NPU_BF16;
}

/* Bytes of an element in the array's memories. */
static int64_t element(const struct sim_product *p)
{
    return (int64_t)npu_dtype_size(array_type(p));
}

static enum npu_dtype sum_type(const struct sim_product *p)
{
    return p->int8 ? NPU_I32 : NPU_F32;
}

static int64_t slab_rows(const struct sim_product *p, int64_t rows)
{
    return (rows - 1) * p->stride + p->kh;
}

static int64_t slab_width(const struct sim_product *p, int64_t width)
{
    return (width - 1) * p->stride + p->kw;
}

static bool fits(const struct sim_compiler *c, const struct sim_product *p, const struct tile *t)
{
    const int64_t pixels = t->rows * t->width, sums = pixels * t->columns;
    const int64_t um = 8 * sim_round64(4 * t->columns) + sim_round64(4 * sums) * (has(&p->residual) ? 5 : 3);
    const int64_t weights = element(p) * p->kh * p->kw * t->channels * t->columns;
    const int64_t inputs = element(p) * slab_rows(p, t->rows) * slab_width(p, t->width) * t->channels;

    return 2 * sim_round64(weights) <= sim_size(c, SIM_WM) &&
           2 * sim_round64(inputs) + 2 * sim_round64(c->config->rows) <= sim_size(c, SIM_IM) &&
           2 * sim_round64(4 * sums) + sim_round64(4 * t->columns) <= sim_size(c, SIM_ACC) &&
           um <= sim_size(c, SIM_UM) && pixels <= UINT16_MAX && t->channels <= UINT16_MAX && p->kw <= UINT16_MAX;
}

/* The most of *v, up to `most`, with which the tile fits; it fits with what *v is now. */
static void grow(const struct sim_compiler *c, const struct sim_product *p, struct tile *t, int64_t *v, int64_t step,
                 int64_t most)
{
    int64_t good = *v, bad = good + (ceil_div(most - good, step) + 1) * step;

    while (bad - good > step) {
        int64_t middle = good + (bad - good) / step / 2 * step;

        *v = least(middle, most);
        if (fits(c, p, t))
            good = middle;
        else
            bad = middle;
    }
    *v = least(good, most);
}

/* All input channels if they go; then enough pixels to keep the array streaming, then columns, then pixels again. More
 * than 1024 pixels would only make the first load of a layer longer. */
static int choose_tile(struct sim_compiler *c, const struct sim_product *p, struct tile *ret_tile)
{
    const int64_t cols = c->config->cols;
    struct tile t = {1, least(cols, p->n), 1, 1};

    if (!fits(c, p, &t))
        return sim_refuse(c, "a kernel of %lld x %lld does not fit into the NPU's memories", (long long)p->kh,
                          (long long)p->kw);
    grow(c, p, &t, &t.channels, 1, p->cin);
    grow(c, p, &t, &t.width, 1, least(p->ow, 64));
    grow(c, p, &t, &t.rows, 1, least(p->oh, ceil_div(64, t.width)));
    if (t.columns == cols)
        grow(c, p, &t, &t.columns, cols, p->n);
    grow(c, p, &t, &t.width, 1, least(p->ow, 1024));
    if (t.width == p->ow)
        grow(c, p, &t, &t.rows, 1, least(p->oh, ceil_div(1024, t.width)));
    *ret_tile = t;
    return 0;
}

/* The weights of input channels [c0, c0 + channels) and the tile's columns as [tap, channel, column]. */
static uint32_t load_weights(struct sim_compiler *c, struct state *s, const struct cut *k, int64_t c0, int64_t channels)
{
    const struct sim_product *p = s->p;
    const int64_t id = ((p->wb ? k->b : 0) * (p->cin + 1) + c0) * (p->n + 1) + k->n;
    const int64_t size = (int64_t)npu_dtype_size(p->weight.dtype);
    uint32_t at;

    for (int i = 0; i < 2; i++)
        if (s->held[i] == id)
            return s->wm.at[i];
    at = sim_turn(&s->wm);
    s->held[s->wm.turn] = id;
    sim_emit_load(
        c, SIM_WM, array_type(p), at,
        &(struct sim_block){.xm = p->weight.at + (uint64_t)((k->b * p->wb + c0 * p->wc + k->n * p->wn) * size),
                            .dtype = p->weight.dtype,
                            .mem = p->weight.mem,
                            .n = {k->columns, channels, p->kh * p->kw},
                            .xs = {p->wn, p->wc, p->wt},
                            .cs = {k->columns, k->columns * channels}});
    return at;
}

/* The input pixels under the tile as [row, column, channel], zeros where they lie outside of the picture. */
static uint32_t load_slab(struct sim_compiler *c, struct state *s, const struct cut *k, int64_t c0, int64_t channels)
{
    const struct sim_product *p = s->p;
    const int64_t rows = slab_rows(p, k->rows), width = slab_width(p, k->width), top = k->y * p->stride - p->pad_top,
                  left = k->x * p->stride - p->pad_left, size = (int64_t)npu_dtype_size(p->x.dtype);
    const int64_t y0 = top > 0 ? top : 0, y1 = least(top + rows, p->h), x0 = left > 0 ? left : 0,
                  x1 = least(left + width, p->w);
    const uint32_t at = sim_turn(&s->im);

    const bool padded = y0 > top || x0 > left || y1 < top + rows || x1 < left + width;

    if (padded && is_dynamic(p))
        sim_emit_vector(c, SIM_OP_MOV, SIM_ACT_NONE, (int64_t[3]){rows * width * channels},
                        &(struct sim_operand){SIM_IM, NPU_I8, at, {1}},
                        &(struct sim_operand){SIM_UM, NPU_F32, s->range + 8, {0}}, NULL, 0);
    else if (padded)
        sim_emit_fill(c, SIM_IM, array_type(p), at, rows * width * channels, (float)p->x_zero);
    if (y1 > y0 && x1 > x0)
        sim_emit_load(c, SIM_IM, array_type(p),
                      at + (uint32_t)(element(p) * ((y0 - top) * width + x0 - left) * channels),
                      &(struct sim_block){
                          .xm = p->x.at + (uint64_t)((k->b * p->xb + y0 * p->xy + x0 * p->xx + c0 * p->xc) * size),
                          .dtype = p->x.dtype,
                          .mem = p->x.mem,
                          .n = {channels, x1 - x0, y1 - y0},
                          .xs = {p->xc, p->xx, p->xy},
                          .cs = {channels, width * channels}});
    return at;
}

/* sum of (x - x_zero) w = sum of x w + sum of -x_zero w: the second sum is the same for all rows and made of two rows,
 * since 128 is no i8. */
static void correct(struct sim_compiler *c, const struct state *s, const struct sim_insn *m, bool first, uint32_t n)
{
    struct sim_insn i = *m;

    i.mmul.at = s->zeros[0];
    i.mmul.acc = s->correction + 4 * n;
    i.mmul.m[0] = i.mmul.m[1] = 1;
    i.mmul.ms[0] = i.mmul.ms[1] = i.mmul.ks[1] = i.mmul.ks[2] = 0;
    i.mmul.first = 0;
    i.mmul.kc[0] = (uint16_t)i.mmul.count;
    i.mmul.kc[1] = 1;
    i.flags = first ? 0 : SIM_ACCUMULATE;
    sim_emit(c, &i);
    i.flags = SIM_ACCUMULATE;
    i.mmul.at = s->zeros[1];
    sim_emit(c, &i);
}

/* A slab and its weights on the chip; where its sums go. */
struct piece {
    int64_t channels;
    uint32_t wm, im, acc;
    bool first, correct; /* the sums begin here; the correction is wanted too */
};

/* Streams the slab through the array, part after part of the weights. */
static void multiply(struct sim_compiler *c, const struct state *s, const struct cut *k, const struct piece *q)
{
    const struct sim_product *p = s->p;
    const int64_t channels = q->channels, depth = p->kh * p->kw * channels, width = slab_width(p, k->width);
    const enum npu_dtype type = array_type(p);

    for (int64_t n = 0; n < k->columns; n += c->config->cols)
        for (int64_t d = 0; d < depth; d += c->config->rows) {
            const uint32_t columns = (uint32_t)least(k->columns - n, c->config->cols);
            const bool first = q->first && d == 0;
            struct sim_insn w = {.op = SIM_OP_WLOAD, .type = {0, SIM_PLACE(SIM_WM, type)}};
            struct sim_insn m = {.op = SIM_OP_MMUL,
                                 .flags = first ? 0 : SIM_ACCUMULATE,
                                 .type = {SIM_PLACE(SIM_ACC, sum_type(p)), SIM_PLACE(SIM_IM, type)}};

            w.wload = (struct sim_wload){.at = q->wm + (uint32_t)(element(p) * (d * k->columns + n)),
                                         .k = (uint32_t)least(depth - d, c->config->rows),
                                         .n = columns,
                                         .ks = (int32_t)k->columns,
                                         .ns = 1};
            m.mmul = (struct sim_mmul){.at = q->im,
                                       .acc = q->acc + (uint32_t)(4 * n),
                                       .n = columns,
                                       .pitch = (uint32_t)k->columns,
                                       .m = {(uint32_t)k->width, (uint32_t)k->rows},
                                       .ms = {(int32_t)(p->stride * channels), (int32_t)(p->stride * width * channels)},
                                       .first = (uint32_t)d,
                                       .count = w.wload.k,
                                       .kc = {(uint16_t)channels, (uint16_t)p->kw},
                                       .ks = {1, (int32_t)channels, (int32_t)(width * channels)}};
            sim_emit(c, &w);
            sim_emit(c, &m);
            if (q->correct)
                correct(c, s, &m, first, (uint32_t)n);
        }
}

static struct sim_block result_block(const struct sim_product *p, const struct sim_tensor *t, const struct cut *k)
{
    return (struct sim_block){.xm = t->at + (uint64_t)(k->b * p->ob + k->y * p->oy + k->x * p->ox + k->n) *
                                                npu_dtype_size(t->dtype),
                              .dtype = t->dtype,
                              .mem = t->mem,
                              .n = {k->columns, k->width, k->rows},
                              .xs = {1, p->ox, p->oy},
                              .cs = {k->columns, k->columns * k->width}};
}

/* A row of numbers for all rows of d; zeros if there is none. */
static void begin_with(struct sim_compiler *c, const int64_t *n, const struct sim_operand *d, bool any, uint32_t row)
{
    const struct sim_operand from = sim_um(NPU_F32, row, 1, 0);

    if (any)
        sim_emit_vector(c, SIM_OP_MOV, SIM_ACT_NONE, n, d, &from, NULL, 0);
    else
        sim_emit_fill(c, d->mem, d->dtype, d->at, n[0] * n[1], 0.0f);
}

/* act(scale sum + bias) to the last bit: one rounding. */
static void finish_exact(struct sim_compiler *c, const struct sim_product *p, const int64_t *n, enum sim_act act,
                         const struct sim_operand *work, const struct sim_operand *d, const struct sim_operand *sums,
                         uint32_t bias)
{
    const struct sim_operand row = sim_um(NPU_F32, bias, 1, 0);

    if (p->scale == 1.0f || p->cin == 0) {
        sim_emit_vector(c, SIM_OP_ADD, act, n, d, sums, has(&p->bias) ? &row : NULL, 0);
        return;
    }
    begin_with(c, n, work, has(&p->bias), bias);
    sim_emit_vector(c, SIM_OP_MAC, act, n, work, sums, NULL, p->scale);
    if (d != work)
        sim_emit_vector(c, SIM_OP_MOV, SIM_ACT_NONE, n, d, work, NULL, 0);
}

/* Scale, bias, activation and residual on the way from the accumulators to external memory: a chain of instructions
 * through `work`, the last of which writes the result. */
static void finish(struct sim_compiler *c, struct state *s, const struct cut *k, const struct sim_operand *sums,
                   uint32_t bias)
{
    const struct sim_product *p = s->p;
    const bool add_residual = has(&p->residual);
    const int64_t n[3] = {k->columns, k->rows * k->width};
    const struct sim_operand work = sim_um(NPU_F32, s->work, 1, k->columns),
                             out = sim_um(p->out.dtype, sim_turn(&s->out), 1, k->columns),
                             row = sim_um(NPU_F32, bias, 1, 0), *before = add_residual ? &work : &out;
    const enum sim_act early = add_residual && p->residual_first ? SIM_ACT_NONE : p->act;
    const struct sim_block block = result_block(p, &p->out, k);
    struct sim_operand from = *sums;

    if (!p->exact && p->scale != 1.0f) {
        sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, n, &work, &from, NULL, p->scale);
        from = work;
    }
    if (p->exact)
        finish_exact(c, p, n, early, &work, before, &from, bias);
    else if (has(&p->bias))
        sim_emit_vector(c, SIM_OP_ADD, early, n, before, &from, &row, 0);
    else if (!add_residual || early != SIM_ACT_NONE)
        sim_emit_vector(c, SIM_OP_ACT, early, n, before, &from, NULL, 0);
    if (p->exact || has(&p->bias) || early != SIM_ACT_NONE)
        from = work;
    if (add_residual) {
        const struct sim_block r = result_block(p, &p->residual, k);
        const struct sim_operand residual = sim_um(p->residual.dtype, sim_turn(&s->residual), 1, k->columns);

        sim_emit_load(c, SIM_UM, p->residual.dtype, residual.at, &r);
        sim_emit_vector(c, SIM_OP_ADD, p->residual_first ? p->act : SIM_ACT_NONE, n, &out, &from, &residual, 0);
    }
    sim_emit_store(c, p->out.dtype, out.at, &block);
}

/* act(sum range.scale scale[n] + bias[n]), the residual comes after */
static void finish_dynamic(struct sim_compiler *c, const struct state *s, const int64_t *n,
                           const struct sim_operand *sums, const struct sim_operand *out, const struct rows_at *at)
{
    const struct sim_product *p = s->p;
    const struct sim_operand scaled = sim_um(NPU_F32, at->scale, 1, 0);

    begin_with(c, n, out, has(&p->bias), at->f32_bias);
    sim_emit_vector(c, SIM_OP_MAC, has(&p->residual) ? SIM_ACT_NONE : p->act, n, out, sums, &scaled, 0);
}

/* i32 sums: bias and correction are added to them in whole numbers, then they become i8 or f32. */
static void finish_int8(struct sim_compiler *c, struct state *s, const struct cut *k, const struct sim_operand *sums,
                        const struct rows_at *at)
{
    const struct sim_product *p = s->p;
    const int64_t n[3] = {k->columns, k->rows * k->width};
    const struct sim_operand row = sim_um(NPU_I32, at->bias, 1, 0), scale = sim_um(p->scale_row.dtype, at->scale, 1, 0),
                             out = sim_um(p->out.dtype, sim_turn(&s->out), 1, k->columns);
    const struct sim_block block = result_block(p, &p->out, k), from = result_block(p, &p->residual, k);
    struct sim_insn q = {
        .op = SIM_OP_QSCALE,
        .type = {SIM_PLACE(SIM_UM, NPU_I8), SIM_PLACE(sums->mem, NPU_I32), SIM_PLACE(SIM_UM, NPU_I32)}};

    if (needs_correction(p) || (has(&p->bias) && !is_dynamic(p)))
        sim_emit_vector(c, SIM_OP_ADD, SIM_ACT_NONE, n, sums, sums, &row, 0);
    if (is_dynamic(p)) {
        finish_dynamic(c, s, n, sums, &out, at);
    } else if (p->out_int8) {
        if (p->quant.rmul)
            sim_emit_load(c, SIM_UM, NPU_I8, out.at, &from);
        q.q = p->quant;
        q.q.d = out.at;
        q.q.a = sums->at;
        q.q.b = at->scale;
        q.q.n0 = (uint32_t)n[0];
        q.q.n1 = (uint32_t)n[1];
        q.q.ds = q.q.as = (int32_t)k->columns;
        sim_emit(c, &q);
    } else {
        sim_emit_vector(c, SIM_OP_MUL, has(&p->residual) ? SIM_ACT_NONE : p->act, n, &out, sums, &scale, 0);
    }
    if (has(&p->residual) && !p->out_int8) {
        const struct sim_operand r = sim_um(p->residual.dtype, sim_turn(&s->residual), 1, k->columns);

        sim_emit_load(c, SIM_UM, r.dtype, r.at, &from);
        sim_emit_vector(c, SIM_OP_ADD, p->act, n, &out, &out, &r, 0);
    }
    sim_emit_store(c, p->out.dtype, out.at, &block);
}

/* The first tile of some columns: bias and correction become one row. */
static void add_rows(struct sim_compiler *c, const struct state *s, const struct cut *k, struct rows_at *at)
{
    const int64_t n[3] = {k->columns};
    const struct sim_operand correction = {SIM_ACC, NPU_I32, s->correction, {1}}, d = sim_um(NPU_I32, s->row, 1, 0),
                             bias = sim_um(NPU_I32, at->bias, 1, 0);

    if (has(&s->p->bias) && !is_dynamic(s->p))
        sim_emit_vector(c, SIM_OP_ADD, SIM_ACT_NONE, n, &d, &correction, &bias, 0);
    else
        sim_emit_vector(c, SIM_OP_MOV, SIM_ACT_NONE, n, &d, &correction, NULL, 0);
    at->bias = s->row;
}

/* The product's sums: begun, or added to what is there. */
static void add_channels(struct sim_compiler *c, struct state *s, const struct cut *k, uint32_t acc, bool first,
                         bool correct)
{
    for (int64_t c0 = 0; c0 < s->p->cin; c0 += s->t.channels) {
        struct piece q = {.channels = least(s->t.channels, s->p->cin - c0),
                          .acc = acc,
                          .first = first && c0 == 0,
                          .correct = correct};

        q.wm = load_weights(c, s, k, c0, q.channels);
        q.im = load_slab(c, s, k, c0, q.channels);
        multiply(c, s, k, &q);
    }
}

/* The same where not all channels go at once and the order of the sum counts: each tap of the kernel is a product of
 * its own. */
static void add_taps(struct sim_compiler *c, struct state *s, const struct cut *k, uint32_t acc)
{
    const struct sim_product *p = s->p;
    struct sim_product one = *p;

    s->p = &one;
    one.kh = one.kw = 1;
    for (int64_t t = 0; t < p->kh * p->kw; t++) {
        one.pad_top = p->pad_top - t / p->kw;
        one.pad_left = p->pad_left - t % p->kw;
        one.weight.at = p->weight.at + (uint64_t)(t * p->wt) * npu_dtype_size(p->weight.dtype);
        s->held[0] = s->held[1] = -1;
        add_channels(c, s, k, acc, t == 0, false);
    }
    s->p = p;
    s->held[0] = s->held[1] = -1;
}

static void tile(struct sim_compiler *c, struct state *s, const struct cut *k, bool first, struct rows_at *at)
{
    const struct sim_product *p = s->p;
    const bool correct = first && needs_correction(p);
    struct sim_operand sums = {SIM_ACC, sum_type(p), sim_turn(&s->acc), {1, k->columns}};

    if (p->cin == 0) { /* nothing to add up */
        sums = sim_um(sum_type(p), s->work, 1, k->columns);
        sim_emit_fill(c, SIM_UM, sum_type(p), s->work, k->columns * k->rows * k->width, 0.0f);
    }
    if (p->exact && s->t.channels < p->cin)
        add_taps(c, s, k, sums.at);
    else
        add_channels(c, s, k, sums.at, true, correct);
    if (correct)
        add_rows(c, s, k, at);
    if (p->int8)
        finish_int8(c, s, k, &sums, at);
    else
        finish(c, s, k, &sums, at->bias);
}

/* n numbers of a row from n0 on, as f32 or i32. */
static uint32_t load_row(struct sim_compiler *c, struct sim_slots *at, const struct sim_tensor *t, int64_t n0,
                         int64_t n)
{
    const uint32_t to = sim_turn(at);

    sim_emit_load(c, SIM_UM, t->dtype == NPU_I32 ? NPU_I32 : NPU_F32, to,
                  &(struct sim_block){.xm = t->at + (uint64_t)n0 * npu_dtype_size(t->dtype),
                                      .dtype = t->dtype,
                                      .mem = t->mem,
                                      .n = {n},
                                      .xs = {1}});
    return to;
}

static void tiles_of_columns(struct sim_compiler *c, struct state *s, int64_t n0)
{
    const struct sim_product *p = s->p;
    const int64_t columns = least(s->t.columns, p->n - n0);
    struct rows_at at = {0};
    bool first = true;

    if (has(&p->bias))
        at.bias = load_row(c, &s->bias, &p->bias, n0, columns);
    if (p->int8)
        at.scale = load_row(c, &s->scale, &p->scale_row, n0, columns);
    if (is_dynamic(p)) {
        const struct sim_operand d = sim_um(NPU_F32, s->scaled, 1, 0), row = sim_um(NPU_F32, at.scale, 1, 0),
                                 step = sim_um(NPU_F32, s->range, 0, 0);

        sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, (int64_t[3]){columns}, &d, &row, &step, 0);
        at.scale = s->scaled;
        at.f32_bias = at.bias;
    }
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t y = 0; y < p->oh; y += s->t.rows)
            for (int64_t x = 0; x < p->ow && c->status == 0; x += s->t.width) {
                const struct cut k = {b, y, x, n0, least(s->t.rows, p->oh - y), least(s->t.width, p->ow - x), columns};

                tile(c, s, &k, first, &at);
                first = false;
            }
}

/* The range's numbers into um; both parts of - zero point as rows of im. */
static void load_range(struct sim_compiler *c, struct state *s)
{
    const int64_t one[3] = {1}, rows[3] = {c->config->rows};
    const uint32_t at = sim_take(c, SIM_UM, 64);
    const struct sim_operand zero = sim_um(NPU_F32, at + 8, 0, 0), half = sim_um(NPU_I32, at + 12, 0, 0),
                             all = sim_um(NPU_F32, at + 16, 0, 0), rest = sim_um(NPU_F32, at + 20, 0, 0);

    s->range = at;
    sim_emit_load(
        c, SIM_UM, NPU_F32, at,
        &(struct sim_block){.xm = s->p->range.at, .dtype = NPU_F32, .mem = s->p->range.mem, .n = {3}, .xs = {1}});
    sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, one, &half, &zero, NULL, -0.5f);
    sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, one, &all, &zero, NULL, -1.0f);
    sim_emit_vector(c, SIM_OP_SUB, SIM_ACT_NONE, one, &rest, &all, &half, 0);
    for (int k = 0; k < 2; k++)
        sim_emit_vector(c, SIM_OP_MOV, SIM_ACT_NONE, rows, &(struct sim_operand){SIM_IM, NPU_I8, s->zeros[k], {1}},
                        k ? &rest : &half, NULL, 0);
}

static void take_memory(struct sim_compiler *c, struct state *s)
{
    const struct sim_product *p = s->p;
    const struct tile *t = &s->t;
    const int64_t sums = 4 * t->rows * t->width * t->columns;

    s->wm = sim_take_two(c, SIM_WM, element(p) * p->kh * p->kw * t->channels * t->columns);
    s->im = sim_take_two(c, SIM_IM, element(p) * slab_rows(p, t->rows) * slab_width(p, t->width) * t->channels);
    s->acc = sim_take_two(c, SIM_ACC, sums);
    s->bias = sim_take_two(c, SIM_UM, 4 * t->columns);
    s->out = sim_take_two(c, SIM_UM, sums);
    s->work = sim_take(c, SIM_UM, sums);
    if (has(&p->residual))
        s->residual = sim_take_two(c, SIM_UM, sums);
    if (!p->int8)
        return;
    s->scale = sim_take_two(c, SIM_UM, 4 * t->columns);
    s->row = sim_take(c, SIM_UM, 4 * t->columns);
    for (int k = 0; k < 2; k++)
        s->zeros[k] = sim_take(c, SIM_IM, c->config->rows);
    s->correction = sim_take(c, SIM_ACC, 4 * t->columns);
    if (is_dynamic(p)) {
        s->scaled = sim_take(c, SIM_UM, 4 * t->columns);
        load_range(c, s);
    } else if (p->x_zero) {
        for (int k = 0; k < 2; k++)
            sim_emit_fill(c, SIM_IM, NPU_I8, s->zeros[k], c->config->rows,
                          -(float)(p->x_zero / 2 + k * (p->x_zero % 2)));
    }
}

int sim_product(struct sim_compiler *c, const struct sim_product *p)
{
    struct state s = {.p = p, .held = {-1, -1}};
    int r;

    if (p->batch * p->oh * p->ow * p->n == 0)
        return 0;
    r = choose_tile(c, p, &s.t);
    if (r < 0)
        return r;
    take_memory(c, &s);
    for (int64_t n = 0; n < p->n && c->status == 0; n += s.t.columns)
        tiles_of_columns(c, &s, n);
    return c->status;
}
