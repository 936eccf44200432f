/* picture.c - pooling and resizing of NHWC pictures: rows of pixels through the vector unit, tap by tap. */
#include "libnpu/op/attr.h"
#include "libnpu/op/exact.h"
#include "libnpu/op/ops.h"
#include "libnpu/sim/compile.h"

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* x [n, h, w, c] and the result [n, oh, ow, c]; a tile has `channels` channels and `rows` rows of the result. */
struct picture {
    int64_t n, h, w, c, oh, ow, channels, rows;
    struct sim_tensor x, y;
};

static struct picture picture_of(const struct sim_node *n)
{
    const struct npu_shape *x = &n->in[0].shape, *y = &n->out[0].shape;

    return (struct picture){x->dim[0], x->dim[1], x->dim[2], x->dim[3], y->dim[1],
                            y->dim[2], x->dim[3], 1,         n->in[0],  n->out[0]};
}

/* Rows [y, y + rows) and channels [c0, c0 + channels) of picture b of a tensor with pictures h x w. */
static struct sim_block rows_of(const struct sim_tensor *t, int64_t b, int64_t h, int64_t w, int64_t c, int64_t y,
                                int64_t rows, int64_t c0, int64_t channels)
{
    return (struct sim_block){.xm = t->at + (uint64_t)(((b * h + y) * w) * c + c0) * npu_dtype_size(t->dtype),
                              .dtype = t->dtype,
                              .mem = t->mem,
                              .n = {channels, w, rows},
                              .xs = {1, c, w * c},
                              .cs = {channels, w * channels}};
}

/* ---- pooling ---- */
struct pool {
    struct picture p;
    struct npu_pool_opts o;
    bool max;
    struct sim_slots in, out;
    uint32_t work;
};

/* The results o in [from, to) whose window's element k lies inside [0, n). */
static void inside(const struct pool *q, int64_t k, int64_t n, int64_t *from, int64_t *to)
{
    const int64_t shift = q->o.pad - k;

    *from = most(*from, shift > 0 ? (shift + q->o.stride - 1) / q->o.stride : 0);
    *to = least(*to, n - 1 + shift < 0 ? 0 : (n - 1 + shift) / q->o.stride + 1);
}

static int64_t covered(const struct pool *q, int64_t o, int64_t n)
{
    const int64_t at = o * q->o.stride - q->o.pad;
    return least(at + q->o.kernel, n) - most(at, 0);
}

static void pool_taps(struct sim_compiler *c, const struct pool *q, int64_t y0, int64_t rows, int64_t first_row,
                      int64_t channels, uint32_t in)
{
    const struct picture *p = &q->p;

    for (int64_t ky = 0; ky < q->o.kernel; ky++)
        for (int64_t kx = 0; kx < q->o.kernel; kx++) {
            int64_t from_y = y0, to_y = y0 + rows, from_x = 0, to_x = p->ow, at;
            struct sim_operand d = {SIM_UM, NPU_F32, q->work, {1, channels, p->ow * channels}};
            struct sim_operand x = {SIM_UM, p->x.dtype, in, {1, q->o.stride * channels, q->o.stride * p->w * channels}};

            inside(q, ky, p->h, &from_y, &to_y);
            inside(q, kx, p->w, &from_x, &to_x);
            if (from_y >= to_y || from_x >= to_x)
                continue;
            d.at += (uint32_t)(4 * ((from_y - y0) * p->ow + from_x) * channels);
            at = (from_y * q->o.stride - q->o.pad + ky - first_row) * p->w + from_x * q->o.stride - q->o.pad + kx;
            x.at += (uint32_t)(at * channels) * (uint32_t)npu_dtype_size(x.dtype);
            sim_emit_vector(c, q->max ? SIM_OP_MAX : SIM_OP_ADD, SIM_ACT_NONE,
                            (int64_t[3]){channels, to_x - from_x, to_y - from_y}, &d, &d, &x, 0);
        }
}

/* Sums to means: results whose windows cover as many pixels are done together. */
static void pool_means(struct sim_compiler *c, const struct pool *q, int64_t y0, int64_t rows, int64_t channels,
                       struct sim_operand out)
{
    const struct picture *p = &q->p;
    const uint32_t size = (uint32_t)npu_dtype_size(out.dtype), base = out.at;
    struct sim_operand sum = {SIM_UM, NPU_F32, q->work, {1, channels, p->ow * channels}};

    for (int64_t y = y0, ny; y < y0 + rows; y += ny) {
        for (ny = 1; y + ny < y0 + rows && covered(q, y + ny, p->h) == covered(q, y, p->h);)
            ny++;
        for (int64_t x = 0, nx; x < p->ow; x += nx) {
            for (nx = 1; x + nx < p->ow && covered(q, x + nx, p->w) == covered(q, x, p->w);)
                nx++;
            sum.at = q->work + (uint32_t)(4 * ((y - y0) * p->ow + x) * channels);
            out.at = base + size * (uint32_t)(((y - y0) * p->ow + x) * channels);
            sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, (int64_t[3]){channels, nx, ny}, &out, &sum, NULL,
                            npu_x_recip((float)(covered(q, y, p->h) * covered(q, x, p->w))));
        }
    }
}

static void pool_tile(struct sim_compiler *c, struct pool *q, int64_t b, int64_t y, int64_t c0)
{
    const struct picture *p = &q->p;
    const int64_t rows = least(p->rows, p->oh - y), channels = least(p->channels, p->c - c0);
    const int64_t first = most(y * q->o.stride - q->o.pad, 0),
                  last = least((y + rows - 1) * q->o.stride - q->o.pad + q->o.kernel, p->h);
    const uint32_t in = sim_turn(&q->in);
    const struct sim_operand out = {SIM_UM, p->y.dtype, sim_turn(&q->out), {1, channels, p->ow * channels}},
                             work = {SIM_UM, NPU_F32, q->work, {1, channels, p->ow * channels}};
    struct sim_block block = rows_of(&p->x, b, p->h, p->w, p->c, first, last - first, c0, channels);

    sim_emit_load(c, SIM_UM, p->x.dtype, in, &block);
    sim_emit_fill(c, SIM_UM, NPU_F32, q->work, rows * p->ow * channels, q->max ? -INFINITY : 0.0f);
    pool_taps(c, q, y, rows, first, channels, in);
    if (q->max)
        sim_emit_vector(c, SIM_OP_MOV, SIM_ACT_NONE, (int64_t[3]){channels, p->ow, rows}, &out, &work, NULL, 0);
    else
        pool_means(c, q, y, rows, channels, out);
    block = rows_of(&p->y, b, p->oh, p->ow, p->c, y, rows, c0, channels);
    sim_emit_store(c, p->y.dtype, out.at, &block);
}

int sim_compile_pool(struct sim_compiler *c, const struct sim_node *n)
{
    struct pool q = {
        .p = picture_of(n), .o = *NPU_ATTR(struct npu_pool_opts, n->node), .max = n->node->op == &npu_op_max_pool};
    struct picture *p = &q.p;
    int64_t in, out;

    if (p->n * p->c * p->oh * p->ow == 0)
        return 0;
    for (;; p->channels = (p->channels + 1) / 2) {
        in = 4 * q.o.kernel * p->w * p->channels;
        out = 4 * p->ow * p->channels;
        if (2 * sim_round64(in) + 3 * sim_round64(out) <= sim_size(c, SIM_UM))
            break;
        if (p->channels == 1)
            return sim_refuse(c, "rows of %lld pixels do not fit into unified memory", (long long)p->w);
    }
    while (p->rows < p->oh &&
           2 * sim_round64(in + 4 * q.o.stride * p->w * p->channels) + 3 * sim_round64(out + 4 * p->ow * p->channels) <=
               sim_size(c, SIM_UM)) {
        p->rows++;
        in += 4 * q.o.stride * p->w * p->channels;
        out += 4 * p->ow * p->channels;
    }
    q.in = sim_take_two(c, SIM_UM, in);
    q.out = sim_take_two(c, SIM_UM, out);
    q.work = sim_take(c, SIM_UM, out);
    for (int64_t b = 0; b < p->n; b++)
        for (int64_t y = 0; y < p->oh; y += p->rows)
            for (int64_t k = 0; k < p->c && c->status == 0; k += p->channels)
                pool_tile(c, &q, b, y, k);
    return c->status;
}

/* ---- resizing ---- */
/* The two pixels that result o lies between and the share of the second (libnpu/op/resize.c). */
struct tap {
    int64_t at[2];
    float share;
};

static struct tap tap(int64_t o, int64_t in, int64_t out, bool bilinear)
{
    const int64_t t = most(bilinear ? (2 * o + 1) * in - out : (2 * o + 1) * in, 0), first = t / (2 * out);

    return (struct tap){{least(first, in - 1), least(first + 1, in - 1)},
                        bilinear ? (float)(t - first * 2 * out) / (float)(2 * out) : 0.0f};
}

struct resize {
    struct picture p;
    bool bilinear;
    struct sim_slots in, out;
    uint32_t middle, work[2]; /* rows of the result as wide as x; products */
};

/* d = (1 - share) a + share b over n[2] x n[1] x n[0] */
static void blend(struct sim_compiler *c, const struct resize *q, const int64_t *n, float share,
                  const struct sim_operand *d, const struct sim_operand *a, const struct sim_operand *b)
{
    const struct sim_operand first = {SIM_UM, NPU_F32, q->work[0], {1, n[0], n[0] * n[1]}},
                             second = {SIM_UM, NPU_F32, q->work[1], {1, n[0], n[0] * n[1]}};

    if (share == 0.0f) {
        sim_emit_vector(c, SIM_OP_MOV, SIM_ACT_NONE, n, d, a, NULL, 0);
        return;
    }
    sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, n, &first, a, NULL, 1 - share);
    sim_emit_vector(c, SIM_OP_MUL, SIM_ACT_NONE, n, &second, b, NULL, share);
    sim_emit_vector(c, SIM_OP_ADD, SIM_ACT_NONE, n, d, &first, &second, 0);
}

/* First rows of x make rows of the result, then columns of those make its columns. */
static void resize_tile(struct sim_compiler *c, struct resize *q, int64_t b, int64_t y, int64_t c0)
{
    const struct picture *p = &q->p;
    const int64_t rows = least(p->rows, p->oh - y), channels = least(p->channels, p->c - c0);
    const int64_t first = tap(y, p->h, p->oh, q->bilinear).at[0],
                  last = tap(y + rows - 1, p->h, p->oh, q->bilinear).at[1] + 1, line = p->w * channels;
    const uint32_t in = sim_turn(&q->in), out = sim_turn(&q->out), size = (uint32_t)npu_dtype_size(p->x.dtype),
                   out_size = (uint32_t)npu_dtype_size(p->y.dtype);
    struct sim_block block = rows_of(&p->x, b, p->h, p->w, p->c, first, last - first, c0, channels);

    sim_emit_load(c, SIM_UM, p->x.dtype, in, &block);
    for (int64_t k = 0; k < rows; k++) {
        const struct tap t = tap(y + k, p->h, p->oh, q->bilinear);
        const struct sim_operand d = sim_um(NPU_F32, q->middle + (uint32_t)(4 * k * line), 1, 0),
                                 a = sim_um(p->x.dtype, in + size * (uint32_t)((t.at[0] - first) * line), 1, 0),
                                 e = sim_um(p->x.dtype, in + size * (uint32_t)((t.at[1] - first) * line), 1, 0);

        blend(c, q, (int64_t[3]){line, 1, 1}, t.share, &d, &a, &e);
    }
    for (int64_t k = 0; k < p->ow; k++) {
        const struct tap t = tap(k, p->w, p->ow, q->bilinear);
        const struct sim_operand d = sim_um(p->y.dtype, out + out_size * (uint32_t)(k * channels), 1, p->ow * channels),
                                 a = sim_um(NPU_F32, q->middle + (uint32_t)(4 * t.at[0] * channels), 1, line),
                                 e = sim_um(NPU_F32, q->middle + (uint32_t)(4 * t.at[1] * channels), 1, line);

        blend(c, q, (int64_t[3]){channels, rows, 1}, t.share, &d, &a, &e);
    }
    block = rows_of(&p->y, b, p->oh, p->ow, p->c, y, rows, c0, channels);
    sim_emit_store(c, p->y.dtype, out, &block);
}

/* Bytes of unified memory for a tile of p->rows and p->channels; *ret_in: of the pixels of x under it. */
static int64_t resize_bytes(const struct picture *p, int64_t *ret_in, int64_t *ret_work)
{
    const int64_t rows_in = least(p->h, p->rows * p->h / p->oh + 3), line = p->w * p->channels;

    *ret_in = sim_round64(4 * rows_in * line);
    *ret_work = sim_round64(4 * most(line, p->rows * p->channels));
    return 2 * *ret_in + 2 * sim_round64(4 * p->rows * p->ow * p->channels) + sim_round64(4 * p->rows * line) +
           2 * *ret_work;
}

int sim_compile_resize(struct sim_compiler *c, const struct sim_node *n)
{
    struct resize q = {.p = picture_of(n), .bilinear = NPU_ATTR(struct resize_attr, n->node)->bilinear};
    struct picture *p = &q.p;
    int64_t in, work;

    if (p->n * p->c == 0)
        return 0;
    while (resize_bytes(p, &in, &work) > sim_size(c, SIM_UM)) {
        if (p->channels == 1)
            return sim_refuse(c, "rows of %lld pixels do not fit into unified memory", (long long)p->w);
        p->channels = (p->channels + 1) / 2;
    }
    for (; p->rows < p->oh; p->rows++) {
        struct picture more = *p;

        more.rows++;
        if (resize_bytes(&more, &in, &work) > sim_size(c, SIM_UM))
            break;
    }
    resize_bytes(p, &in, &work);
    q.in = sim_take_two(c, SIM_UM, in);
    q.out = sim_take_two(c, SIM_UM, 4 * p->rows * p->ow * p->channels);
    q.middle = sim_take(c, SIM_UM, 4 * p->rows * p->w * p->channels);
    q.work[0] = sim_take(c, SIM_UM, work);
    q.work[1] = sim_take(c, SIM_UM, work);
    for (int64_t b = 0; b < p->n; b++)
        for (int64_t y = 0; y < p->oh; y += p->rows)
            for (int64_t k = 0; k < p->c && c->status == 0; k += p->channels)
                resize_tile(c, &q, b, y, k);
    return c->status;
}
