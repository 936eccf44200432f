/* bf16_native_self_test.c - the kernels of a tier on small odd shapes against plain C, before anything relies on them.
 */
#include <stdlib.h>

#include "libnpu/tier/bf16_native.h"

/* One shape for all directions: x [n, h, w, groups * cing], weights [kh, kw, cing, groups * coutg]. */
struct shape {
    int n, h, w, cing, coutg, groups, kh, kw, stride, pad;
    int oh, ow;
};

struct data {
    uint16_t *x, *w, *gy;             /* bf16 */
    float *y, *gx, *gw, *bias, *more; /* more: gy in f32 */
    double *want;                     /* the largest of y, gx and gw */
    void *packed, *scratch, *part;
};

static float value(uint16_t v)
{
    const uint32_t u = (uint32_t)v << 16;
    float f;

    memcpy(&f, &u, sizeof f);
    return f;
}

static void fill(uint16_t *v, int64_t n, uint32_t *seed)
{
    for (int64_t i = 0; i < n; i++) { /* sign, exponent 2^-3 .. 1, 7 bits of fraction */
        *seed = *seed * 1664525u + 1013904223u;
        v[i] = (uint16_t)((*seed >> 16 & 0x80ffu) | (0x3e00u + ((*seed >> 8 & 1u) << 8)));
    }
}

static int64_t x_size(const struct shape *s)
{
    return (int64_t)s->n * s->h * s->w * s->cing * s->groups;
}
static int64_t y_size(const struct shape *s)
{
    return (int64_t)s->n * s->oh * s->ow * s->coutg * s->groups;
}
static int64_t w_size(const struct shape *s)
{
    return (int64_t)s->kh * s->kw * s->cing * s->coutg * s->groups;
}

/* Calls f for each product of the convolution: element of x, of w and of y. */
typedef void visit_fn(struct data *d, int64_t x, int64_t w, int64_t y);
static void visit(const struct shape *s, struct data *d, visit_fn *f)
{
    const int64_t cin = (int64_t)s->cing * s->groups, cout = (int64_t)s->coutg * s->groups;

    for (int64_t p = 0; p < (int64_t)s->n * s->oh * s->ow; p++)
        for (int64_t tap = 0; tap < s->kh * s->kw; tap++) {
            const int64_t iy = p / s->ow % s->oh * s->stride - s->pad + tap / s->kw;
            const int64_t ix = p % s->ow * s->stride - s->pad + tap % s->kw;

            if (iy < 0 || iy >= s->h || ix < 0 || ix >= s->w)
                continue;
            for (int64_t c = 0; c < s->cing; c++)
                for (int64_t o = 0; o < cout; o++)
                    f(d, ((p / s->ow / s->oh * s->h + iy) * s->w + ix) * cin + o / s->coutg * s->cing + c,
                      (tap * s->cing + c) * cout + o, p * cout + o);
        }
}
static void visit_y(struct data *d, int64_t x, int64_t w, int64_t y)
{
    d->want[y] += (double)value(d->x[x]) * value(d->w[w]);
}
static void visit_x(struct data *d, int64_t x, int64_t w, int64_t y)
{
    d->want[x] += (double)value(d->gy[y]) * value(d->w[w]);
}
static void visit_w(struct data *d, int64_t x, int64_t w, int64_t y)
{
    d->want[w] += (double)value(d->x[x]) * value(d->gy[y]);
}

/* Within 2^-14 of the size of the terms; NaN fails. */
static bool agrees(const float *got, const double *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= 6.2e-5 * (4.0 + fabs(want[i]))))
            return false;
    return true;
}

static bool agrees_in_bf16(const void *got, const double *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(value(((const uint16_t *)got)[i]) - want[i]) <= 0x1p-8 * (0.1 + fabs(want[i]))))
            return false;
    return true;
}

static void run(npu_native_fn *fn, struct npu_launch *k, const int32_t *fields, size_t size, const float *scale,
                void *const *p)
{
    enum { PARTS = 3 };
    const struct npu_native_call c = {.arg = k->arg, .p = p};

    for (size_t i = 0; i < size / sizeof *fields; i++)
        npu_launch_i32(k, fields[i]);
    if (scale)
        npu_launch_f32(k, *scale);
    for (int i = 0; i < PARTS; i++)
        fn(&c, i, PARTS);
}

static struct npu_launch empty(int n)
{
    struct npu_launch k = {0};

    for (int i = 0; i < n; i++)
        npu_launch_val(&k, NPU_NONE);
    return k;
}

static float *in_f32(const uint16_t *v, int64_t n)
{
    float *f = malloc(sizeof *f * (size_t)n);

    for (int64_t i = 0; f && i < n; i++) /* bits that rounding takes away */
        f[i] = value(v[i]) * (i % 2 ? 1.0f + 0x1p-10f : 1.0f - 0x1p-11f);
    return f;
}

/* f32 operands that round to the bf16 ones; a residual of the results' type, which is f32 or bf16; or a bf16 result of
 * 0.5 sums + bias, ReLU, + a bf16 residual. */
enum kind { PLAIN, WIDE, MORE, HALF_MORE, HALF, KINDS };

static int run_gather(const struct npu_bf16_kernels *a, struct npu_bf16_gather g, const struct shape *s, struct data *d,
                      enum kind kind)
{
    const bool wide = kind == WIDE || kind == MORE, half = kind == HALF || kind == HALF_MORE;
    struct npu_launch pack = empty(2), gather = empty(6);
    const uint16_t *from = g.grad_x ? d->gy : d->x;
    float *const x = in_f32(from, g.grad_x ? y_size(s) : x_size(s)), *const w = in_f32(d->w, w_size(s));
    const float scale = kind == HALF ? 0.5f : 1.0f;
    float *to = g.grad_x ? d->gx : d->y;

    g.types = wide ? NPU_BF16_WIDE : half ? NPU_BF16 | NPU_F32 << 8 | NPU_BF16 << 16 : 0;
    g.act = kind == HALF ? NPU_ACT_RELU | 256 : NPU_ACT_NONE;
    memset(to, 0xff, sizeof *to * (size_t)(g.grad_x ? x_size(s) : y_size(s))); /* NaN */
    memset(d->packed, 0xff, npu_bf16_gather_packed(&g));
    memset(d->scratch, 0xff, npu_bf16_gather_scratch(&g) * (size_t)g.parts);
    if (x && w) {
        run(a->pack, &pack, &g.n, sizeof g, NULL, (void *[NPU_MAX_ARGS]){wide ? (void *)w : d->w, d->packed});
        run(a->gather, &gather, &g.n, sizeof g, &scale,
            (void *[NPU_MAX_ARGS]){wide ? (void *)x : (void *)(uintptr_t)from, d->packed, g.grad_x ? NULL : d->bias,
                                   half           ? (void *)d->gy
                                   : kind == MORE ? d->more
                                                  : NULL,
                                   to, d->scratch});
    }
    free(x);
    free(w);
    return x && w ? 0 : -ENOMEM;
}

/* What a kind wants, from what the one before it wants. */
static double want_next(const struct data *d, enum kind kind, double want, int64_t i, int64_t o)
{
    const double more = value(d->gy[i]), bias = d->bias[o];

    if (kind == MORE)
        return want + more;
    return kind == HALF ? fmax(0.0, 0.5 * (want - more - bias) + bias) + more : want;
}

static int test_gather(const struct npu_bf16_kernels *a, const struct shape *s, struct data *d, bool grad_x)
{
    const int cin = s->cing * s->groups, cout = s->coutg * s->groups, step = grad_x ? s->stride : 1;
    struct npu_bf16_gather g = {.n = s->n,
                                .kh = s->kh,
                                .kw = s->kw,
                                .stride = s->stride,
                                .pad_top = s->pad,
                                .pad_left = s->pad,
                                .groups = s->groups,
                                .grad_x = grad_x,
                                .mb = 64,
                                .slices = 2,
                                .parts = 2};
    float *to = grad_x ? d->gx : d->y;
    int64_t n = grad_x ? x_size(s) : y_size(s);
    int r = 0;

    g.src_h = grad_x ? s->oh : s->h;
    g.src_w = grad_x ? s->ow : s->w;
    g.src_c = grad_x ? cout : cin;
    g.dst_h = grad_x ? s->h : s->oh;
    g.dst_w = grad_x ? s->w : s->ow;
    g.dst_c = grad_x ? cin : cout;
    g.depth = grad_x ? s->coutg : s->cing;
    g.cn = grad_x ? s->cing : s->coutg;
    g.kpad = ((s->kh + step - 1) / step * ((s->kw + step - 1) / step) * g.depth + 31) / 32 * 32;
    g.npad = (g.cn + 31) / 32 * 32;
    d->packed = calloc(1, npu_bf16_gather_packed(&g));
    d->scratch = calloc(2, npu_bf16_gather_scratch(&g));
    if (!d->packed || !d->scratch)
        return -ENOMEM;
    memset(d->want, 0, sizeof *d->want * (size_t)n);
    visit(s, d, grad_x ? visit_x : visit_y);
    for (int64_t i = 0; !grad_x && i < n; i++)
        d->want[i] += d->bias[i % cout];
    for (enum kind kind = PLAIN; kind < (grad_x ? MORE : KINDS) && r == 0; kind++) {
        r = run_gather(a, g, s, d, kind);
        for (int64_t i = 0; !grad_x && i < n; i++)
            d->want[i] = want_next(d, kind, d->want[i], i, i % cout);
        r = r == 0 && !(kind >= HALF_MORE ? agrees_in_bf16(to, d->want, n) : agrees(to, d->want, n)) ? -EIO : r;
    }
    return r;
}

static int test_wgrad(const struct npu_bf16_kernels *a, const struct shape *s, struct data *d)
{
    struct npu_bf16_wgrad g = {.n = s->n,
                               .h = s->h,
                               .w = s->w,
                               .cin = s->cing * s->groups,
                               .oh = s->oh,
                               .ow = s->ow,
                               .cout = s->coutg * s->groups,
                               .kh = s->kh,
                               .kw = s->kw,
                               .stride = s->stride,
                               .pad_top = s->pad,
                               .pad_left = s->pad,
                               .cing = s->cing,
                               .coutg = s->coutg,
                               .groups = s->groups,
                               .n_x = s->n * s->h * s->w,
                               .n_y = s->n * s->oh * s->ow,
                               .shares = 2,
                               .rows = 3,
                               .parts = 2,
                               .types = NPU_F32};
    const struct npu_bf16_wgrad_sizes z = npu_bf16_wgrad_sizes(&g);
    float *const x = in_f32(d->x, x_size(s)), *const gy = in_f32(d->gy, y_size(s));
    int r = x && gy ? 0 : -ENOMEM;

    d->scratch = calloc(2, z.scratch);
    d->part = calloc((size_t)(g.shares * g.groups), sizeof(float) * z.part);
    if (!d->scratch || !d->part)
        r = -ENOMEM;
    memset(d->want, 0, sizeof *d->want * (size_t)w_size(s));
    visit(s, d, visit_w);
    for (enum kind kind = PLAIN; kind <= WIDE && r == 0; kind++) {
        struct npu_launch wgrad = empty(4), sum = empty(2);

        g.types = NPU_F32 | (kind == WIDE ? NPU_BF16_WIDE : 0);
        memset(d->gw, 0xff, sizeof *d->gw * (size_t)w_size(s)); /* NaN */
        memset(d->part, 0xff, sizeof(float) * z.part * (size_t)(g.shares * g.groups));
        memset(d->scratch, 0xff, z.scratch * (size_t)g.parts);
        run(a->wgrad, &wgrad, &g.n, sizeof g, NULL,
            kind == WIDE ? (void *[NPU_MAX_ARGS]){x, gy, d->part, d->scratch}
                         : (void *[NPU_MAX_ARGS]){d->x, d->gy, d->part, d->scratch});
        run(a->sum, &sum, &g.n, sizeof g, NULL, (void *[NPU_MAX_ARGS]){d->part, d->gw});
        r = agrees(d->gw, d->want, w_size(s)) ? 0 : -EIO;
    }
    free(x);
    free(gy);
    return r;
}

static void clean(struct data *d)
{
    free(d->packed);
    free(d->scratch);
    free(d->part);
    d->packed = d->scratch = d->part = NULL;
}

static int test_shape(const struct npu_bf16_kernels *a, struct shape s)
{
    const int64_t nx = x_size(&s), nw = w_size(&s);
    uint32_t seed = 1;
    struct data d = {0};
    int64_t ny, most;
    int r = -ENOMEM;

    s.oh = (s.h + 2 * s.pad - s.kh) / s.stride + 1;
    s.ow = (s.w + 2 * s.pad - s.kw) / s.stride + 1;
    ny = y_size(&s);
    most = nx > ny ? nx : ny;
    most = most > nw ? most : nw;
    d.x = malloc(sizeof *d.x * (size_t)nx);
    d.w = malloc(sizeof *d.w * (size_t)nw);
    d.gy = malloc(sizeof *d.gy * (size_t)ny);
    d.y = malloc(sizeof *d.y * (size_t)ny);
    d.gx = malloc(sizeof *d.gx * (size_t)nx);
    d.gw = malloc(sizeof *d.gw * (size_t)nw);
    d.bias = malloc(sizeof *d.bias * (size_t)(s.coutg * s.groups));
    d.more = malloc(sizeof *d.more * (size_t)ny);
    d.want = malloc(sizeof *d.want * (size_t)most);
    if (d.x && d.w && d.gy && d.y && d.gx && d.gw && d.bias && d.more && d.want) {
        fill(d.x, nx, &seed);
        fill(d.w, nw, &seed);
        fill(d.gy, ny, &seed);
        for (int i = 0; i < s.coutg * s.groups; i++)
            d.bias[i] = 0.25f * (float)(i % 9) - 1.0f;
        for (int64_t i = 0; i < ny; i++)
            d.more[i] = value(d.gy[i]);
        r = test_gather(a, &s, &d, false);
        clean(&d);
        r = r < 0 ? r : test_gather(a, &s, &d, true);
        clean(&d);
        r = r < 0 ? r : test_wgrad(a, &s, &d);
        clean(&d);
    }
    free(d.x);
    free(d.w);
    free(d.gy);
    free(d.y);
    free(d.gx);
    free(d.gw);
    free(d.bias);
    free(d.more);
    free(d.want);
    return r;
}

int npu_bf16_self_test(const struct npu_bf16_kernels *k)
{
    static const struct shape shapes[] = {
        {.n = 1, .h = 1, .w = 37, .cing = 45, .coutg = 70, .groups = 1, .kh = 1, .kw = 1, .stride = 1},
        {.n = 1, .h = 1, .w = 43, .cing = 32, .coutg = 36, .groups = 2, .kh = 1, .kw = 1, .stride = 1},
        {.n = 2, .h = 9, .w = 7, .cing = 19, .coutg = 33, .groups = 1, .kh = 3, .kw = 3, .stride = 1, .pad = 1},
        {.n = 1, .h = 11, .w = 10, .cing = 3, .coutg = 5, .groups = 2, .kh = 5, .kw = 4, .stride = 2, .pad = 2},
        {.n = 1, .h = 8, .w = 8, .cing = 35, .coutg = 1, .groups = 1, .kh = 2, .kw = 2, .stride = 3},
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < sizeof shapes / sizeof shapes[0]; i++)
        r = test_shape(k, shapes[i]);
    return r;
}
