/* avx2_depthwise_grad.c - gradients of convolutions with one channel a group: eight channels in a vector.
 *
 * Pixels of x whose columns differ by multiples of the stride see the same taps, and neighbouring pixels of gy through
 * them: four at a time share the weights. The weights' gradient keeps a row of taps of sixteen channels in registers
 * while it walks along a line. Both are sums in an order that sizes alone decide. */
#include "libnpu/tier/avx2_kernels.h"

#if defined(__AVX2__) && defined(__FMA__)
#include "libnpu/tier/avx2_simd.h"

enum { PIXELS = 4 };

/* A tap as a row of columns of x sees it: the i-th of them reads pixel at + i of that line of gy. */
struct tap {
    const float *gy, *w;
    int64_t at;
};

struct column_row {
    struct tap tap[NPU_AVX2_TAPS];
    int n_taps;
    int64_t ow, channels;
    float *out;   /* the first column */
    int64_t step; /* floats to the next one */
};

/* Columns i .. i + n - 1, n <= PIXELS; inside: all taps read pixels that are there. */
static inline __attribute__((always_inline)) void pixels(const struct column_row *r, int64_t i, int n, bool inside)
{
    for (int64_t c = 0; c < r->channels; c += 8) {
        const int64_t left = r->channels - c;
        __m256 sum[PIXELS] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};

        for (int t = 0; t < r->n_taps; t++) {
            const struct tap *tap = &r->tap[t];
            const __m256 w = load_some(tap->w + c, left);

            for (int k = 0; k < n; k++) {
                const int64_t at = tap->at + i + k;

                if (inside || (at >= 0 && at < r->ow))
                    sum[k] = _mm256_fmadd_ps(load_some(tap->gy + at * r->channels + c, left), w, sum[k]);
            }
        }
        for (int k = 0; k < n; k++)
            store_some(r->out + (i + k) * r->step + c, left, sum[k]);
    }
}

static void columns(const struct column_row *r, int64_t n)
{
    int64_t lo = 0, hi = r->ow;

    for (int t = 0; t < r->n_taps; t++) {
        lo = at_least(lo, -r->tap[t].at);
        hi = at_most(hi, r->ow - r->tap[t].at);
    }
    for (int64_t i = 0; i < n;) {
        if (i >= lo && i + PIXELS <= at_most(hi, n)) {
            pixels(r, i, PIXELS, true);
            i += PIXELS;
        } else {
            pixels(r, i, 1, false);
            i++;
        }
    }
}

/* Taps of line y and columns px, px + stride, ... of picture z. */
static void find_taps(const struct npu_avx2_grad_x *g, const float *gy, const float *w, int64_t z, int64_t y,
                      int64_t px, struct column_row *r)
{
    r->n_taps = 0;
    for (int64_t ky = 0; ky < g->kh; ky++) {
        const int64_t up = y + g->pad_top - ky, line = up / g->stride;

        if (up < 0 || up % g->stride != 0 || line >= g->oh)
            continue;
        for (int64_t kx = 0; kx < g->kw; kx++) {
            const int64_t over = px + g->pad_left - kx;

            if (over % g->stride == 0)
                r->tap[r->n_taps++] = (struct tap){gy + (z * g->oh + line) * g->ow * g->cin,
                                                   w + (ky * g->kw + kx) * g->cin, over / g->stride};
        }
    }
}

void npu_avx2_depthwise_grad_x(const struct npu_native_call *c, int part, int n_parts)
{
    const float *gy = c->p[0], *w = c->p[1];
    float *x = c->p[2];
    struct npu_avx2_grad_x g;
    struct column_row r;
    struct share s;

    npu_avx2_fields(c, 3, &g.n, sizeof g);
    r.ow = g.ow;
    r.channels = g.cin;
    r.step = (int64_t)g.stride * g.cin;
    s = share_of((int64_t)g.n * g.h, 1, part, n_parts);
    for (int64_t line = s.from; line < s.end; line++)
        for (int64_t px = 0; px < at_most(g.stride, g.w); px++) {
            find_taps(&g, gy, w, line / g.h, line % g.h, px, &r);
            r.out = x + (line * g.w + px) * g.cin;
            columns(&r, (g.w - px + g.stride - 1) / g.stride);
        }
}

/* ---- weights ---- */
/* A line of gy and the line of x that a row of taps sees through it, sixteen channels (left: how many there are). */
struct line_pair {
    const float *x, *gy; /* the first pixels */
    int64_t w, ow, channels, left, stride, pad;
};

static inline __attribute__((always_inline)) void add_pixel(const struct line_pair *l, int64_t ox, int kw, bool inside,
                                                            __m256 (*sum)[2])
{
    const __m256 g0 = load_some(l->gy + ox * l->channels, l->left);
    const __m256 g1 = l->left > 8 ? load_some(l->gy + ox * l->channels + 8, l->left - 8) : _mm256_setzero_ps();

    for (int k = 0; k < kw; k++) {
        const int64_t at = ox * l->stride - l->pad + k;
        const float *x;

        if (!inside && (at < 0 || at >= l->w))
            continue;
        x = l->x + at * l->channels;
        sum[k][0] = _mm256_fmadd_ps(load_some(x, l->left), g0, sum[k][0]);
        if (l->left > 8)
            sum[k][1] = _mm256_fmadd_ps(load_some(x + 8, l->left - 8), g1, sum[k][1]);
    }
}

/* Adds to the sums of a row of taps, which are `channels` apart. whole: sixteen channels are there. */
static inline __attribute__((always_inline)) void add_line(const struct line_pair *pair, int kw, bool whole,
                                                           float *sums)
{
    struct line_pair l = *pair;
    const int64_t lo = at_most(l.ow, (l.pad + l.stride - 1) / l.stride), last = l.w - kw + l.pad;
    const int64_t hi = at_least(lo, last < 0 ? 0 : at_most(l.ow, last / l.stride + 1));
    __m256 sum[7][2];

    if (whole)
        l.left = 16;
    for (int k = 0; k < kw; k++) {
        sum[k][0] = load_some(sums + k * l.channels, l.left);
        sum[k][1] = l.left > 8 ? load_some(sums + k * l.channels + 8, l.left - 8) : _mm256_setzero_ps();
    }
    for (int64_t ox = 0; ox < lo; ox++)
        add_pixel(&l, ox, kw, false, sum);
    for (int64_t ox = lo; ox < hi; ox++)
        add_pixel(&l, ox, kw, true, sum);
    for (int64_t ox = hi; ox < l.ow; ox++)
        add_pixel(&l, ox, kw, false, sum);
    for (int k = 0; k < kw; k++) {
        store_some(sums + k * l.channels, l.left, sum[k][0]);
        if (l.left > 8)
            store_some(sums + k * l.channels + 8, l.left - 8, sum[k][1]);
    }
}

#define LINE(kw)                                                                                                       \
    static void line_##kw(const struct line_pair *l, float *sums)                                                      \
    {                                                                                                                  \
        if (l->left >= 16)                                                                                             \
            add_line(l, kw, true, sums);                                                                               \
        else                                                                                                           \
            add_line(l, kw, false, sums);                                                                              \
    }
LINE(1)
LINE(2)
LINE(3)
LINE(4)
LINE(5)
LINE(6)
LINE(7)

static void add_lines(const struct npu_avx2_grad_x *g, const float *x, const float *gy, int64_t line, float *sums)
{
    static void (*const row[])(const struct line_pair *, float *) = {line_1, line_2, line_3, line_4,
                                                                     line_5, line_6, line_7};
    const int64_t z = line / g->oh, top = line % g->oh * g->stride - g->pad_top;

    for (int64_t c = 0; c < g->cin; c += 16)
        for (int64_t ky = at_least(0, -top); ky < at_most(g->kh, g->h - top); ky++) {
            const struct line_pair l = {.x = x + (z * g->h + top + ky) * g->w * g->cin + c,
                                        .gy = gy + line * g->ow * g->cin + c,
                                        .w = g->w,
                                        .ow = g->ow,
                                        .channels = g->cin,
                                        .left = g->cin - c,
                                        .stride = g->stride,
                                        .pad = g->pad_left};

            row[g->kw - 1](&l, sums + ky * g->kw * g->cin + c);
        }
}

void npu_avx2_depthwise_grad_w(const struct npu_native_call *c, int part, int n_parts)
{
    const float *x = c->p[0], *gy = c->p[1];
    struct npu_avx2_grad_x g;
    struct share s;

    npu_avx2_fields(c, 3, &g.n, sizeof g);
    s = share_of(g.row_units, 1, part, n_parts);
    for (int64_t unit = s.from; unit < s.end; unit++) {
        const struct share lines = share_of((int64_t)g.n * g.oh, 1, (int)unit, g.row_units);
        const int64_t size = (int64_t)g.kh * g.kw * g.cin;
        float *sums = (float *)c->p[2] + unit * size;

        memset(sums, 0, (size_t)size * sizeof *sums);
        for (int64_t line = lines.from; line < lines.end; line++)
            add_lines(&g, x, gy, line, sums);
    }
}
#endif
