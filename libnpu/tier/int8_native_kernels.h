/* int8_native_kernels.h - int8 convolutions over a unit that the including file describes before:
 *
 *   UNIT_ROWS, UNIT_COLS, UNIT_K   rows and columns of a block (16 or 32), terms of a step
 *   UNIT_UNSIGNED                  1: the unit wants rows as x + 128 in unsigned bytes
 *   unit_begin(), unit_end()       round the work of a thread
 *   unit_block(a, lda, b, panel, kpad, c)  c[UNIT_ROWS][UNIT_COLS] = rows a[.][kpad] times panels b
 *
 * Weights are packed as panels of 16 columns, four terms of a column side by side: [npad / 16][kpad / 4][16][4].
 */
#include "libnpu/tier/int8_native.h"

enum { PANEL = 16 };

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void read_fields(const struct npu_native_call *c, int first, struct npu_int8_conv *g)
{
    int32_t *to = &g->n;

    for (size_t i = 0; i < sizeof *g / sizeof *to; i++)
        to[i] = c->arg[first + (int)i].i;
}

/* ---- weights ---- */
static void int8_pack(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_int8_conv g;
    int64_t depth;

    read_fields(c, 3, &g);
    depth = (int64_t)g.kh * g.kw * g.cin;
    for (int64_t p = part; p < g.npad / PANEL; p += n_parts) {
        const int8_t *w = (const int8_t *)c->p[0] + p * PANEL;
        int8_t *to = (int8_t *)c->p[1] + p * g.kpad * PANEL;
        const int64_t cols = least(PANEL, g.cout - p * PANEL);
        int32_t *sum = (int32_t *)c->p[2] + p * PANEL;

        memset(to, 0, (size_t)g.kpad * PANEL);
        memset(sum, 0, sizeof *sum * PANEL);
        for (int64_t k = 0; k < depth; k++)
            for (int64_t j = 0; j < cols; j++) {
                to[k / 4 * 4 * PANEL + 4 * j + k % 4] = w[k * g.cout + j];
                sum[j] += w[k * g.cout + j];
            }
    }
}

/* ---- rows ---- */
static inline void put(uint8_t *to, const int8_t *from, int64_t n)
{
#if UNIT_UNSIGNED
    for (int64_t i = 0; i < n; i++)
        to[i] = (uint8_t)from[i] ^ 0x80u;
#else
    memcpy(to, from, (size_t)n);
#endif
}

static inline void put_zero(uint8_t *to, int zero, int64_t n)
{
    if (n > 0)
        memset(to, (uint8_t)zero ^ (UNIT_UNSIGNED ? 0x80u : 0u), (size_t)n);
}

/* What result row m sums over; `zero` stands for what is outside the picture. */
static void gather(const struct npu_int8_conv *g, const struct npu_qconv_attr *a, const int8_t *x, int64_t m, int zero,
                   uint8_t *to)
{
    const int64_t ox = m % g->ow, oy = m / g->ow % g->oh, run = (int64_t)g->kw * g->cin;
    const int64_t left = ox * a->stride - a->pad_left;
    const int64_t from = least(left < 0 ? -left : 0, g->kw) * g->cin, in = least(g->w - left, g->kw);
    const int64_t end = in * g->cin < from ? from : in * g->cin;
    const uint8_t *row = to;

    x += m / g->ow / g->oh * g->h * g->w * g->cin;
    for (int64_t ky = 0; ky < g->kh; ky++, to += run) {
        const int64_t iy = oy * a->stride + ky - a->pad_top;

        if (iy < 0 || iy >= g->h) {
            put_zero(to, zero, run);
            continue;
        }
        put_zero(to, zero, from);
        put(to + from, x + (iy * g->w + left) * g->cin + from, end - from);
        put_zero(to + end, zero, run - end);
    }
    memset(to, 0, (size_t)(g->kpad - (to - row))); /* weights are 0 there */
}

/* ---- results ---- */
struct finish {
    const struct npu_int8_conv *g;
    const struct npu_qconv_attr *a;
    const int32_t *column_sum;
    const void *bias, *scale, *res;
    const float *range;
    void *y;
    uint32_t offset; /* what each x is short of in the sums: its zero point, and 128 if rows are unsigned */
};

static void finish_int8(const struct finish *f, const uint32_t *sum, int64_t at, int64_t col, int64_t n)
{
    const struct npu_qconv_attr *a = f->a;
    const int32_t *mul = (const int32_t *)f->scale + col;
    const int8_t *res = f->res ? (const int8_t *)f->res + at : NULL;
    int8_t *y = (int8_t *)f->y + at;
    const int64_t half = INT64_C(1) << (a->shift - 1);

    for (int64_t j = 0; j < n; j++) {
        int64_t t = (int64_t)(int32_t)sum[j] * mul[j];

        if (res)
            t += (int64_t)(res[j] - a->res_zero) * a->res_mul;
        t = ((t + half) >> a->shift) + a->y_zero;
        y[j] = (int8_t)(t < a->lo ? a->lo : t > a->hi ? a->hi : t);
    }
}

static void finish_f32(const struct finish *f, const uint32_t *sum, int64_t at, int64_t col, int64_t n)
{
    const float *scale = (const float *)f->scale + col, step = f->range ? f->range[0] : 1.0f;
    const float *bias = f->range && f->bias ? (const float *)f->bias + col : NULL;
    float *y = (float *)f->y + at;

    for (int64_t j = 0; j < n; j++)
        y[j] = fmaf((float)(int32_t)sum[j], step * scale[j], bias ? bias[j] : 0.0f);
    if (f->res && f->g->res_type == NPU_F32) {
        for (int64_t j = 0; j < n; j++)
            y[j] += ((const float *)f->res)[at + j];
    } else if (f->res) {
        for (int64_t j = 0; j < n; j++) {
            const uint32_t u = (uint32_t)((const uint16_t *)f->res)[at + j] << 16;
            float r;

            memcpy(&r, &u, sizeof r);
            y[j] += r;
        }
    }
    if (f->a->act != NPU_ACT_NONE)
        for (int64_t j = 0; j < n; j++)
            y[j] = y[j] > 0.0f ? y[j] : 0.0f;
    if (f->a->act == NPU_ACT_RELU6)
        for (int64_t j = 0; j < n; j++)
            y[j] = y[j] > 6.0f ? 6.0f : y[j];
}

/* n of UNIT_COLS sums of row m, channels from col on. */
static void finish_row(const struct finish *f, const int32_t *raw, int64_t m, int64_t col, int64_t n)
{
    const int32_t *bias = f->bias && !f->range ? (const int32_t *)f->bias + col : NULL;
    uint32_t sum[UNIT_COLS];

    for (int64_t j = 0; j < UNIT_COLS; j++)
        sum[j] = (uint32_t)raw[j] - f->offset * (uint32_t)f->column_sum[col + j];
    for (int64_t j = 0; bias && j < n; j++)
        sum[j] += (uint32_t)bias[j];
    if (f->a->out_int8)
        finish_int8(f, sum, m * f->g->cout + col, col, n);
    else
        finish_f32(f, sum, m * f->g->cout + col, col, n);
}

/* ---- a unit of work: rows m0 .. m0 + mn - 1, one share of the columns ---- */
static void conv_unit(const struct finish *f, const int8_t *x, const int8_t *packed, uint8_t *rows, int zero,
                      int64_t m0, int64_t mn, int64_t slice)
{
    const struct npu_int8_conv *g = f->g;
    const int64_t blocks = g->npad / UNIT_COLS, b1 = blocks * (slice + 1) / g->slices;
    int32_t sums[UNIT_ROWS][UNIT_COLS] __attribute__((aligned(64)));

    for (int64_t i = 0; i < mn; i++)
        gather(g, f->a, x, m0 + i, zero, rows + i * g->kpad);
    for (int64_t b = blocks * slice / g->slices; b < b1; b++)
        for (int64_t i = 0; i < mn; i += UNIT_ROWS) {
            unit_block(rows + i * g->kpad, (size_t)g->kpad, packed + b * UNIT_COLS * g->kpad, (size_t)g->kpad * PANEL,
                       g->kpad, sums);
            for (int64_t r = 0; r < least(UNIT_ROWS, mn - i); r++)
                finish_row(f, sums[r], m0 + i + r, b * UNIT_COLS, least(UNIT_COLS, g->cout - b * UNIT_COLS));
        }
}

static void int8_conv(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_int8_conv g;
    struct finish f = {&g, c->attr, c->p[2], c->p[3], c->p[4], c->p[6], c->p[5], c->p[7], 0};
    int64_t total, mb_rows, unit = 0;
    uint8_t *rows;
    int zero;

    read_fields(c, 9, &g);
    n_parts = (int)least(n_parts, g.parts);
    if (part >= n_parts)
        return;
    zero = f.range ? npu_q_clamp((int64_t)fminf(fmaxf(f.range[2], -128.0f), 127.0f), -128, 127) : f.a->x_zero;
    f.offset = (uint32_t)(zero + (UNIT_UNSIGNED ? 128 : 0));
    total = (int64_t)g.n * g.oh * g.ow;
    mb_rows = (g.mb + UNIT_ROWS - 1) / UNIT_ROWS * UNIT_ROWS;
    rows = (uint8_t *)c->p[8] + (size_t)part * (size_t)(mb_rows * g.kpad + 64);
    unit_begin();
    for (int64_t m = 0; m < total; m += g.mb)
        for (int64_t s = 0; s < g.slices; s++)
            if (unit++ % n_parts == part)
                conv_unit(&f, c->p[0], c->p[1], rows, zero, m, least(g.mb, total - m), s);
    unit_end();
}

#define INT8_KERNELS(name, need)                                                                                       \
    {                                                                                                                  \
        name, need, UNIT_ROWS, UNIT_K, UNIT_COLS, int8_pack, int8_conv                                                 \
    }
