/* avx2_grad_x.c - the gradient of a convolution's input: each pixel of x sums up the pixels of gy whose windows hold
 * it.
 *
 * With a stride s, pixels whose rows and columns differ by multiples of s see the same taps, every s-th in both
 * directions: such a phase is a convolution of gy of its own, with stride 1 and those taps.
 */
#include "libnpu/tier/avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/avx2_block.h"
#include "libnpu/tier/avx2_kernels.h"
#include "libnpu/tier/avx2_pack.h"

enum { PANEL = NPU_AVX2_PANEL, ROWS = NPU_AVX2_ROWS };

/* Along one axis: taps first, first + stride ..; pixels pixel, pixel + stride .., which see gy from `source` on back.
 */
struct axis {
    int64_t first, taps, pixel, pixels, source;
};

static struct axis axis_of(int64_t phase, int64_t kernel, int64_t stride, int64_t pad, int64_t size)
{
    struct axis a = {.first = phase, .taps = phase < kernel ? (kernel - phase + stride - 1) / stride : 0};

    a.pixel = ((phase - pad) % stride + stride) % stride;
    a.pixels = a.pixel < size ? (size - a.pixel + stride - 1) / stride : 0;
    a.source = (a.pixel + pad) / stride;
    return a;
}

struct phase {
    struct axis y, x;
    int64_t before; /* taps of the phases before */
};

static struct phase phase_of(const struct npu_avx2_grad_x *g, int64_t i)
{
    struct phase p = {0};

    for (int64_t k = 0; k <= i; k++) {
        p.before += p.y.taps * p.x.taps;
        p.y = axis_of(k / g->stride, g->kh, g->stride, g->pad_top, g->h);
        p.x = axis_of(k % g->stride, g->kw, g->stride, g->pad_left, g->w);
    }
    return p;
}

/* As [phase][panel of cin][tap][cout][16]. */
void npu_avx2_grad_x_pack(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_avx2_grad_x g = {0};
    int64_t panels, units;

    npu_avx2_fields(c, 2, &g.n, sizeof g);
    panels = (g.cin + PANEL - 1) / PANEL;
    units = (int64_t)g.stride * g.stride * panels;
    for (int64_t u = part; u < units; u += n_parts) {
        const struct phase f = phase_of(&g, u / panels);
        const int64_t p = u % panels, columns = at_most(PANEL, g.cin - p * PANEL), taps = f.y.taps * f.x.taps;
        float *to = (float *)c->p[1] + (f.before * panels + p * taps) * g.cout * PANEL;

        for (int64_t t = 0; t < taps; t++, to += (int64_t)g.cout * PANEL) {
            const int64_t ky = f.y.first + t / f.x.taps * g.stride, kx = f.x.first + t % f.x.taps * g.stride;
            const float *w = (const float *)c->p[0] + ((ky * g.kw + kx) * g.cin + p * PANEL) * g.cout;

            pack_turned(w, g.cout, columns, g.cout, to);
        }
    }
}

/* A line of the phase: `count` pixels from column x on. */
static void point_line(const struct npu_avx2_grad_x *g, const struct phase *f, const float *gy, const float *zeros,
                       int64_t line, int64_t x, int64_t count, const struct npu_avx2_block *b, int64_t i)
{
    const int64_t y = line % f->y.pixels, z = line / f->y.pixels;
    const int64_t first = (z * g->h + f->y.pixel + y * g->stride) * g->w + f->x.pixel;

    for (int64_t j = 0; j < count; j++)
        b->to[i + j] = (first + (x + j) * g->stride) * g->cin;
    for (int64_t ty = 0, t = 0; ty < f->y.taps; ty++) {
        const int64_t oy = f->y.source + y - ty, above = (z * g->oh + oy) * g->ow;

        for (int64_t tx = 0; tx < f->x.taps; tx++, t++) {
            const int64_t ox = f->x.source + x - tx, from = at_most(count, at_least(0, -ox));
            const int64_t end = oy < 0 || oy >= g->oh ? from : at_least(from, at_most(count, g->ow - ox));
            const float **row = b->row + t * b->ld + i;

            for (int64_t j = 0; j < from; j++)
                row[j] = zeros;
            for (int64_t j = from; j < end; j++)
                row[j] = gy + (above + ox + j) * g->cout;
            for (int64_t j = end; j < count; j++)
                row[j] = zeros;
        }
    }
}

static void point(const struct npu_avx2_grad_x *g, const struct phase *f, const float *gy, const float *zeros,
                  int64_t m, int64_t count, const struct npu_avx2_block *b)
{
    for (int64_t i = 0, run; i < count; i += run) {
        const int64_t x = (m + i) % f->x.pixels;

        run = at_most(f->x.pixels - x, count - i);
        point_line(g, f, gy, zeros, (m + i) / f->x.pixels, x, run, b, i);
    }
}

static void run_unit(const struct npu_native_call *c, const struct npu_avx2_grad_x *g, int64_t unit, void *scratch)
{
    const int64_t cu = unit % g->col_units, ru = unit / g->col_units % g->row_units;
    const int64_t panels = (g->cin + PANEL - 1) / PANEL;
    const struct phase f = phase_of(g, unit / g->col_units / g->row_units);
    const int64_t pixels = g->n * f.y.pixels * f.x.pixels, tiles = (pixels + ROWS - 1) / ROWS;
    const int64_t end = at_most(pixels, tiles * (ru + 1) / g->row_units * ROWS);
    struct npu_avx2_block b = {.row = scratch,
                               .ld = g->mb,
                               .taps = f.y.taps * f.x.taps,
                               .len = g->cout,
                               .packed = (const float *)c->p[1] + f.before * panels * g->cout * PANEL,
                               .cout = g->cin,
                               .y = c->p[2],
                               .scale = 1.0f};
    float *zeros;

    b.to = (int64_t *)(void *)(b.row + b.taps * b.ld);
    zeros = (float *)(void *)(b.to + b.ld);
    memset(zeros, 0, sizeof(float) * (size_t)g->cout);
    for (int64_t m = tiles * ru / g->row_units * ROWS; m < end; m += g->mb) {
        const int64_t count = at_most(g->mb, end - m);

        point(g, &f, c->p[0], zeros, m, count, &b);
        for (int64_t p = panels * cu / g->col_units; p < panels * (cu + 1) / g->col_units; p++)
            npu_avx2_block_panel(&b, p, count);
    }
}

void npu_avx2_grad_x(const struct npu_native_call *c, int part, int n_parts)
{
    struct npu_avx2_grad_x g = {0};

    npu_avx2_fields(c, 4, &g.n, sizeof g);
    for (int64_t u = part; u < (int64_t)g.stride * g.stride * g.row_units * g.col_units; u += n_parts)
        run_unit(c, &g, u, (char *)c->p[3] + (size_t)part * npu_avx2_grad_x_scratch(&g));
}
#endif
