/* avx2_grad_self_test.c - the tier's kernels for gradients on small odd shapes against plain C. */
#include <stdlib.h>

#include "libnpu/tier/avx2.h"

enum { PARTS = 3, MOST = 8192, WORK = 1 << 16 };

struct data {
    float x[MOST], b[MOST], bias[64], res[MOST], y[MOST];
    double want[MOST];
    _Alignas(64) float packed[WORK], sums[WORK];
    _Alignas(64) char scratch[PARTS][1 << 18];
};

static void fill(float *v, int n, uint32_t *seed)
{
    for (int i = 0; i < n; i++) {
        *seed = *seed * 1664525u + 1013904223u;
        v[i] = (float)(int32_t)*seed * 0x1p-31f;
    }
}

static bool agrees(const struct data *d, int64_t n)
{
    for (int64_t i = 0; i < n; i++) /* NaN fails */
        if (!(fabs(d->y[i] - d->want[i]) <= 5e-5 * (1.0 + fabs(d->want[i]))))
            return false;
    return true;
}

static struct npu_launch launch(int values, const int32_t *fields, size_t size, float last)
{
    struct npu_launch k = {0};

    for (int i = 0; i < values; i++)
        npu_launch_val(&k, NPU_NONE);
    for (size_t i = 0; i < size / sizeof *fields; i++)
        npu_launch_i32(&k, fields[i]);
    npu_launch_f32(&k, last);
    return k;
}

static void run(npu_native_fn *fn, const struct npu_launch *k, void *const *p)
{
    const struct npu_native_call c = {.arg = k->arg, .p = p};

    for (int i = 0; i < PARTS; i++)
        fn(&c, i, PARTS);
}

/* want = 0.5 * sums + bias + residual, or the sums alone */
static void outer_in_c(const struct npu_avx2_outer *g, struct data *d, bool plain)
{
    const int64_t terms = (int64_t)g->kh * g->kw * g->cin, each = g->n / g->groups;

    for (int64_t i = 0; i < g->groups * terms * g->cout; i++) {
        const int64_t j = i % g->cout, c = i / g->cout % g->cin, tap = i / g->cout / g->cin % ((int64_t)g->kh * g->kw);
        const int64_t z = i / g->cout / terms;
        double sum = 0.0;

        for (int64_t k = 0; k < each * g->oh * g->ow; k++) {
            const int64_t y = k / g->ow % g->oh * g->stride - g->pad_top + tap / g->kw;
            const int64_t x = k % g->ow * g->stride - g->pad_left + tap % g->kw, at = z * each + k / g->ow / g->oh;

            if (y >= 0 && y < g->h && x >= 0 && x < g->w)
                sum += (double)d->x[((at * g->h + y) * g->w + x) * g->cin + c] *
                       d->b[z * g->b_z + k * g->b_k + j * g->b_n];
        }
        d->want[i] = plain ? sum : 0.5 * sum + (double)d->bias[j] + d->res[i];
    }
}

static bool test_outer(const struct npu_avx2_kernels *a, struct npu_avx2_outer g, struct data *d)
{
    const bool plain = g.shares > 1;
    const int32_t size = g.groups * g.kh * g.kw * g.cin * g.cout;
    const struct npu_launch k = launch(7, &g.n, sizeof g, 0.5f),
                            sum = launch(2, (const int32_t[]){g.shares, size}, 2 * sizeof(int32_t), 1.0f);

    if (npu_avx2_outer_scratch(&g) > sizeof d->scratch[0] || (int64_t)g.shares * size > WORK || size > MOST)
        return false;
    outer_in_c(&g, d, plain);
    run(a->outer, &k,
        (void *[NPU_MAX_ARGS]){d->x, d->b, plain ? NULL : d->bias, plain ? NULL : d->res, d->y, d->sums, d->scratch});
    if (plain)
        run(a->outer_sum, &sum, (void *[NPU_MAX_ARGS]){d->sums, d->y});
    return agrees(d, size);
}

/* The gradient with respect to x of sum(y gy): each tap of each result pixel adds to a pixel of x. */
static void grad_x_in_c(const struct npu_avx2_grad_x *g, struct data *d)
{
    memset(d->want, 0, sizeof d->want);
    for (int64_t i = 0; i < (int64_t)g->n * g->oh * g->ow * g->kh * g->kw; i++) {
        const int64_t tap = i % ((int64_t)g->kh * g->kw), m = i / ((int64_t)g->kh * g->kw), z = m / g->ow / g->oh;
        const int64_t y = m / g->ow % g->oh * g->stride - g->pad_top + tap / g->kw;
        const int64_t x = m % g->ow * g->stride - g->pad_left + tap % g->kw;

        if (y < 0 || y >= g->h || x < 0 || x >= g->w)
            continue;
        for (int64_t c = 0; c < g->cin; c++)
            for (int64_t o = 0; o < g->cout; o++)
                d->want[((z * g->h + y) * g->w + x) * g->cin + c] +=
                    (double)d->x[m * g->cout + o] * d->b[(tap * g->cin + c) * g->cout + o];
    }
}

static bool test_grad_x(const struct npu_avx2_kernels *a, struct npu_avx2_grad_x g, struct data *d)
{
    const struct npu_launch pack = launch(2, &g.n, sizeof g, 0.0f), k = launch(4, &g.n, sizeof g, 0.0f);

    if (npu_avx2_grad_x_scratch(&g) > sizeof d->scratch[0])
        return false;
    grad_x_in_c(&g, d);
    run(a->grad_x_pack, &pack, (void *[NPU_MAX_ARGS]){d->b, d->packed});
    run(a->grad_x, &k, (void *[NPU_MAX_ARGS]){d->x, d->packed, d->y, d->scratch});
    return agrees(d, (int64_t)g.n * g.h * g.w * g.cin);
}

/* A gradient of x and of the weights by Winograd's tiles: 3 x 3, 2 pictures of 6 x 9, 9 and 11 channels. */
static bool test_winograd(const struct npu_avx2_kernels *a, struct data *d)
{
    enum { CIN = 9, COUT = 11 };
    const struct npu_avx2_grad_x x = {2, 6, 9, CIN, 6, 9, COUT, 3, 3, 1, 1, 1, 0, 0, 0};
    const struct npu_avx2_conv turned = {.n = 2,
                                         .h = 6,
                                         .w = 9,
                                         .cin = COUT,
                                         .oh = 6,
                                         .ow = 9,
                                         .cout = CIN,
                                         .kh = 3,
                                         .kw = 3,
                                         .stride = 1,
                                         .pad_top = 1,
                                         .pad_left = 1,
                                         .w_k = 1,
                                         .w_n = COUT,
                                         .w_t = -CIN * COUT,
                                         .mb = 4,
                                         .row_units = 2,
                                         .col_units = 1};
    const struct npu_avx2_conv c = {.n = 2,
                                    .h = 6,
                                    .w = 9,
                                    .cin = CIN,
                                    .oh = 6,
                                    .ow = 9,
                                    .cout = COUT,
                                    .kh = 3,
                                    .kw = 3,
                                    .stride = 1,
                                    .pad_top = 1,
                                    .pad_left = 1,
                                    .mb = 4,
                                    .row_units = 2,
                                    .col_units = 2};
    const struct npu_avx2_outer w = {2, 6, 9, CIN, 6, 9, COUT, 3, 3, 1, 1, 1, 1, COUT, 1, 0, 0, 1, 1, 1};
    const struct npu_launch pack = launch(2, &turned.n, sizeof turned, 0.0f),
                            conv = launch(6, &turned.n, sizeof turned, 0.0f), both = launch(4, &c.n, sizeof c, 0.0f),
                            gw = launch(2, (const int32_t[]){2, CIN, COUT}, 3 * sizeof(int32_t), 0.0f);

    if (npu_avx2_winograd_scratch(&turned) > sizeof d->scratch[0] ||
        npu_avx2_winograd_sums_scratch(&c) > sizeof d->scratch[0] || 2 * npu_avx2_winograd_sums_floats(&c) > WORK)
        return false;
    grad_x_in_c(&x, d);
    run(a->winograd_pack, &pack, (void *[NPU_MAX_ARGS]){d->b, d->packed});
    run(a->winograd, &conv, (void *[NPU_MAX_ARGS]){d->x, d->packed, NULL, NULL, d->y, d->scratch});
    if (!agrees(d, 2 * 6 * 9 * CIN))
        return false;
    outer_in_c(&w, d, true);
    run(a->winograd_sums, &both, (void *[NPU_MAX_ARGS]){d->x, d->b, d->sums, d->scratch});
    run(a->winograd_gw, &gw, (void *[NPU_MAX_ARGS]){d->sums, d->y});
    return agrees(d, 9 * CIN * COUT);
}

/* One channel a group: x, gradient of y in d->b; grad_x takes the weights from d->res. */
static void depthwise_in_c(const struct npu_avx2_grad_x *g, struct data *d, bool to_x)
{
    memset(d->want, 0, sizeof d->want);
    for (int64_t i = 0; i < (int64_t)g->n * g->oh * g->ow * g->kh * g->kw * g->cin; i++) {
        const int64_t c = i % g->cin, tap = i / g->cin % ((int64_t)g->kh * g->kw), m = i / g->cin / g->kh / g->kw;
        const int64_t y = m / g->ow % g->oh * g->stride - g->pad_top + tap / g->kw, z = m / g->ow / g->oh;
        const int64_t x = m % g->ow * g->stride - g->pad_left + tap % g->kw;
        const int64_t at = ((z * g->h + y) * g->w + x) * g->cin + c, t = tap * g->cin + c;

        if (y >= 0 && y < g->h && x >= 0 && x < g->w)
            d->want[to_x ? at : t] += (double)d->b[m * g->cin + c] * (to_x ? d->res[t] : d->x[at]);
    }
}

static bool test_depthwise(const struct npu_avx2_kernels *a, const struct npu_avx2_grad_x *g, struct data *d)
{
    const int32_t size = g->kh * g->kw * g->cin;
    const struct npu_launch k = launch(3, &g->n, sizeof *g, 0.0f),
                            sum = launch(2, (const int32_t[]){g->row_units, size}, 2 * sizeof(int32_t), 1.0f);

    depthwise_in_c(g, d, true);
    run(a->depthwise_grad_x, &k, (void *[NPU_MAX_ARGS]){d->b, d->res, d->y});
    if (!agrees(d, (int64_t)g->n * g->h * g->w * g->cin))
        return false;
    depthwise_in_c(g, d, false);
    run(a->depthwise_grad_w, &k, (void *[NPU_MAX_ARGS]){d->x, d->b, d->sums});
    run(a->outer_sum, &sum, (void *[NPU_MAX_ARGS]){d->sums, d->y});
    return agrees(d, size);
}

/* Adds what query m of head h gives to the gradients of q, k and v. */
static void attention_query_in_c(const struct npu_avx2_attention *a, struct data *d, int m, int h, double scale)
{
    const int all = a->heads * a->dh;
    const float *q = d->x + m * 3 * all + h * a->dh, *go = d->b + m * all + h * a->dh;
    double p[64], g[64], sum = 0.0, mean = 0.0, *gq = d->want + m * 3 * all + h * a->dh;

    for (int j = 0; j < a->n; j++) {
        const float *k = d->x + j * 3 * all + all + h * a->dh;

        p[j] = g[j] = 0.0;
        for (int i = 0; i < a->dh; i++) {
            p[j] += scale * q[i] * k[i];
            g[j] += (double)go[i] * k[all + i];
        }
        p[j] = exp(p[j]);
        sum += p[j];
        mean += p[j] * g[j];
    }
    for (int j = 0; j < a->n; j++) {
        const double w = p[j] / sum, gs = scale * w * (g[j] - mean / sum);
        const int k = j * 3 * all + all + h * a->dh;

        for (int i = 0; i < a->dh; i++) {
            gq[i] += gs * d->x[k + i];
            d->want[k + i] += gs * q[i];
            d->want[k + all + i] += w * go[i];
        }
    }
}

static bool test_attention(const struct npu_avx2_kernels *a, struct data *d)
{
    const struct npu_avx2_attention t = {.batch = 1, .n = 53, .heads = 2, .dh = 21};
    const struct npu_launch k = launch(4, &t.batch, sizeof t, 0.3f);

    if (npu_avx2_attention_grad_scratch(&t) > sizeof d->scratch[0])
        return false;
    memset(d->want, 0, sizeof d->want);
    for (int i = 0; i < t.n * t.heads; i++)
        attention_query_in_c(&t, d, i / t.heads, i % t.heads, 0.3);
    run(a->attention_grad, &k, (void *[NPU_MAX_ARGS]){d->x, d->b, d->y, d->scratch});
    return agrees(d, 3 * (int64_t)t.n * t.heads * t.dh);
}

int npu_avx2_grad_self_test(const struct npu_avx2_kernels *k)
{
    /* n, h, w, cin, oh, ow, cout, kernel, stride, padding, groups, steps of b, act, shares, units */
    static const struct npu_avx2_outer outers[] = {
        {2, 1, 29, 19, 1, 29, 21, 1, 1, 1, 0, 0, 2, 21, 1, 29 * 21, 0, 1, 2, 2},
        {1, 1, 203, 13, 1, 203, 18, 1, 1, 1, 0, 0, 1, 1, 203, 0, 0, 1, 2, 1},
        {1, 1, 29, 7, 1, 29, 5, 1, 1, 1, 0, 0, 1, 5, 1, 0, 0, 3, 1, 1},
        {2, 7, 9, 8, 4, 5, 17, 3, 3, 2, 1, 1, 1, 17, 1, 0, 0, 1, 3, 1},
        {2, 9, 8, 3, 5, 4, 17, 3, 3, 2, 1, 1, 1, 17, 1, 0, 0, 2, 1, 2},
    };
    static const struct npu_avx2_grad_x grads[] = {
        {2, 7, 9, 19, 4, 5, 6, 3, 3, 2, 1, 1, 12, 2, 1},
        {1, 6, 5, 17, 6, 5, 20, 3, 3, 1, 1, 1, 24, 2, 2},
        {1, 7, 8, 5, 3, 3, 9, 2, 2, 3, 0, 1, 6, 1, 1},
        {1, 7, 6, 5, 4, 3, 9, 1, 1, 2, 0, 0, 6, 1, 1},
    };
    static const struct npu_avx2_grad_x depthwise[] = {
        {2, 7, 11, 19, 7, 11, 19, 3, 3, 1, 1, 1, 0, 3, 0}, {2, 7, 12, 24, 4, 6, 24, 3, 3, 2, 1, 1, 0, 3, 0},
        {1, 9, 13, 35, 9, 13, 35, 5, 5, 1, 2, 2, 0, 4, 0}, {3, 8, 9, 5, 4, 5, 5, 5, 5, 2, 2, 2, 0, 3, 0},
        {2, 3, 2, 16, 4, 3, 16, 2, 4, 1, 1, 2, 0, 3, 0},   {1, 11, 10, 9, 3, 3, 9, 2, 3, 4, 0, 1, 0, 3, 0},
    };
    struct data *d = NULL;
    uint32_t seed = 11;
    bool good = true;

    if (posix_memalign((void **)&d, 64, sizeof *d) != 0)
        return -ENOMEM;
    memset(d, 0, sizeof *d);
    fill(d->x, MOST, &seed);
    fill(d->b, MOST, &seed);
    fill(d->bias, 64, &seed);
    fill(d->res, MOST, &seed);
    for (size_t i = 0; i < sizeof outers / sizeof outers[0]; i++)
        good = good && test_outer(k, outers[i], d);
    for (size_t i = 0; i < sizeof grads / sizeof grads[0]; i++)
        good = good && test_grad_x(k, grads[i], d);
    for (size_t i = 0; i < sizeof depthwise / sizeof depthwise[0]; i++)
        good = good && test_depthwise(k, &depthwise[i], d);
    good = good && test_winograd(k, d) && test_attention(k, d);
    free(d);
    return good ? 0 : -EIO;
}
