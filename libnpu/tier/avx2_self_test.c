/* avx2_self_test.c - the kernels of the tier on small odd shapes against plain C, before anything relies on them. */
#include <stdlib.h>

#include "libnpu/dtype.h"
#include "libnpu/tier/avx2.h"

enum { PARTS = 3, MOST = 8192 };

/* x, w, bias, residual as f32; results and what they should be */
struct data {
    float x[MOST], w[MOST], bias[64], res[MOST], y[MOST];
    double want[MOST];
    uint16_t y16[MOST];
    _Alignas(32) float packed[36 * 9 * 32];
    _Alignas(64) char scratch[PARTS][1 << 16];
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
        if (!(fabs(d->y[i] - d->want[i]) <= 2e-5 * (1.0 + fabs(d->want[i]))))
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

/* depthwise: w [kh, kw, cin] */
static void conv_in_c(const struct npu_avx2_conv *g, struct data *d, bool depthwise)
{
    for (int64_t i = 0; i < (int64_t)g->n * g->oh * g->ow * g->cout; i++) {
        const int64_t o = i % g->cout, ox = i / g->cout % g->ow, oy = i / g->cout / g->ow % g->oh;
        const int64_t z = i / g->cout / g->ow / g->oh;
        double sum = d->bias[o];

        for (int64_t t = 0; t < (int64_t)g->kh * g->kw * (depthwise ? 1 : g->cin); t++) {
            const int64_t c = depthwise ? o : t % g->cin, tap = depthwise ? t : t / g->cin;
            const int64_t y = oy * g->stride - g->pad_top + tap / g->kw, x = ox * g->stride - g->pad_left + tap % g->kw;

            if (y >= 0 && y < g->h && x >= 0 && x < g->w)
                sum += (double)d->x[((z * g->h + y) * g->w + x) * g->cin + c] *
                       (depthwise ? d->w[tap * g->cin + c] : d->w[t * g->w_k + o * g->w_n]);
        }
        sum += d->res[i];
        d->want[i] = sum > 0.0 ? sum : 0.0;
    }
}

/* What is packed once more, with and without activation: bf16 results are those of f32, rounded. */
static bool test_bf16_result(const struct npu_avx2_kernels *a, struct npu_avx2_conv g, struct data *d)
{
    for (int act = NPU_ACT_NONE; act <= NPU_ACT_RELU; act++) {
        struct npu_launch conv;

        for (int bf16 = 0; bf16 < 2; bf16++) {
            g.act = act | (bf16 ? NPU_AVX2_BF16_RESULT : 0);
            conv = launch(6, &g.n, sizeof g, 1.0f);
            run(a->conv, &conv,
                (void *[NPU_MAX_ARGS]){d->x, d->packed, d->bias, d->res, bf16 ? (void *)d->y16 : d->y, d->scratch});
        }
        for (int64_t i = 0; i < (int64_t)g.n * g.oh * g.ow * g.cout; i++)
            if (d->y16[i] != npu_f32_to_bf16(d->y[i]))
                return false;
    }
    return true;
}

/* NaN, infinities, halves to even, numbers that round up to infinity; odd numbers of elements. */
static bool test_convert(const struct npu_avx2_kernels *a, struct data *d)
{
    static const uint32_t some[] = {0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffffffff, 0x7f7fffff, 0x3f808000,
                                    0x3f818000, 0x3f817fff, 0x80000000, 0x00000001, 0x807fffff, 0x7f7f8000};
    const int n = 1021, n_some = (int)(sizeof some / sizeof some[0]);
    struct npu_launch k = {0};

    for (int i = 0; i < n; i++)
        if (i % 3)
            memcpy(&d->y[i], &some[i / 3 % n_some], sizeof some[0]);
        else
            d->y[i] = d->x[i];
    npu_launch_val(&k, NPU_NONE);
    npu_launch_val(&k, NPU_NONE);
    npu_launch_i32(&k, n);
    run(a->to_bf16, &k, (void *[NPU_MAX_ARGS]){d->y, d->y16});
    for (int i = 0; i < n; i++)
        if (d->y16[i] != npu_f32_to_bf16(d->y[i]))
            return false;
    run(a->from_bf16, &k, (void *[NPU_MAX_ARGS]){d->y16, d->y});
    for (int i = 0; i < n; i++) {
        const float want = npu_bf16_to_f32(d->y16[i]);

        if (memcmp(&d->y[i], &want, sizeof want) != 0) // NOLINT(bugprone-suspicious-memory-comparison,cert-*): bits
            return false;
    }
    return true;
}

static bool test_conv(const struct npu_avx2_kernels *a, struct npu_avx2_conv g, struct data *d)
{
    struct npu_launch pack, conv;

    g.act = NPU_ACT_RELU;
    g.mb = 24;
    g.row_units = 2;
    g.col_units = 2;
    if (npu_avx2_conv_scratch(&g) > sizeof d->scratch / 4)
        return false;
    pack = launch(2, &g.n, sizeof g, 0.0f);
    conv = launch(6, &g.n, sizeof g, 1.0f);
    conv_in_c(&g, d, false);
    run(a->pack, &pack, (void *[NPU_MAX_ARGS]){d->w, d->packed});
    run(a->conv, &conv, (void *[NPU_MAX_ARGS]){d->x, d->packed, d->bias, d->res, d->y, d->scratch});
    return agrees(d, (int64_t)g.n * g.oh * g.ow * g.cout) && test_bf16_result(a, g, d);
}

static bool test_winograd(const struct npu_avx2_kernels *a, struct data *d)
{
    const struct npu_avx2_conv g = {.n = 2,
                                    .h = 6,
                                    .w = 9,
                                    .cin = 9,
                                    .oh = 6,
                                    .ow = 9,
                                    .cout = 19,
                                    .kh = 3,
                                    .kw = 3,
                                    .stride = 1,
                                    .pad_top = 1,
                                    .pad_left = 1,
                                    .w_k = 19,
                                    .w_n = 1,
                                    .w_t = 9 * 19,
                                    .act = NPU_ACT_RELU,
                                    .mb = 4,
                                    .row_units = 2,
                                    .col_units = 2};
    const struct npu_launch pack = launch(2, &g.n, sizeof g, 0.0f), conv = launch(6, &g.n, sizeof g, 0.0f);

    if (npu_avx2_winograd_scratch(&g) > sizeof d->scratch / 4)
        return false;
    conv_in_c(&g, d, false);
    run(a->winograd_pack, &pack, (void *[NPU_MAX_ARGS]){d->w, d->packed});
    run(a->winograd, &conv, (void *[NPU_MAX_ARGS]){d->x, d->packed, d->bias, d->res, d->y, d->scratch});
    return agrees(d, (int64_t)g.n * g.oh * g.ow * g.cout);
}

static bool test_depthwise(const struct npu_avx2_kernels *a, int channels, struct data *d)
{
    const struct npu_avx2_conv g = {.n = 1,
                                    .h = 7,
                                    .w = 9,
                                    .cin = channels,
                                    .oh = 7,
                                    .ow = 9,
                                    .cout = channels,
                                    .kh = 3,
                                    .kw = 3,
                                    .stride = 1,
                                    .pad_top = 1,
                                    .pad_left = 1,
                                    .act = NPU_ACT_RELU};
    const struct npu_launch k = launch(5, &g.n, sizeof g, 0.0f);

    conv_in_c(&g, d, true);
    run(a->depthwise, &k, (void *[NPU_MAX_ARGS]){d->x, d->w, d->bias, d->res, d->y});
    return agrees(d, (int64_t)g.oh * g.ow * g.cout);
}

static void attention_in_c(const struct npu_avx2_attention *a, struct data *d, float scale)
{
    const int n = a->n, dh = a->dh, all = a->heads * dh;

    for (int row = 0; row < n * a->heads; row++) {
        const int h = row % a->heads, m = row / a->heads;
        const float *q = d->x + m * 3 * all + h * dh;
        double sum = 0.0, *out = d->want + m * all + h * dh;

        for (int i = 0; i < dh; i++)
            out[i] = 0.0;
        for (int j = 0; j < n; j++) {
            const float *k = d->x + j * 3 * all + all + h * dh;
            double s = 0.0;

            for (int i = 0; i < dh; i++)
                s += (double)q[i] * k[i];
            s = exp(s * scale);
            sum += s;
            for (int i = 0; i < dh; i++)
                out[i] += s * k[all + i];
        }
        for (int i = 0; i < dh; i++)
            out[i] /= sum;
    }
}

static bool test_attention(const struct npu_avx2_kernels *a, struct data *d)
{
    const struct npu_avx2_attention t = {.batch = 1, .n = 19, .heads = 2, .dh = 21, .query_units = 2};
    const struct npu_launch k = launch(3, &t.batch, sizeof t, 0.3f);

    if (npu_avx2_attention_scratch(&t) > sizeof d->scratch[0])
        return false;
    attention_in_c(&t, d, 0.3f);
    run(a->attention, &k, (void *[NPU_MAX_ARGS]){d->x, d->y, d->scratch});
    return agrees(d, (int64_t)t.n * t.heads * t.dh);
}

static bool test_layer_norm(const struct npu_avx2_kernels *a, struct data *d)
{
    enum { ROWS = 5, N = 29 };
    const struct npu_launch k = launch(4, (const int32_t[]){ROWS, N}, 2 * sizeof(int32_t), 1e-3f);

    for (int r = 0; r < ROWS; r++) {
        double mean = 0.0, var = 0.0;

        for (int i = 0; i < N; i++)
            mean += d->x[r * N + i] / (double)N;
        for (int i = 0; i < N; i++)
            var += (d->x[r * N + i] - mean) * (d->x[r * N + i] - mean) / N;
        for (int i = 0; i < N; i++)
            d->want[r * N + i] = (d->x[r * N + i] - mean) / sqrt(var + 1e-3) * d->w[i] + d->bias[i];
    }
    run(a->layer_norm, &k, (void *[NPU_MAX_ARGS]){d->x, d->w, d->bias, d->y});
    return agrees(d, (int64_t)ROWS * N);
}

/* Rows; a row of weights that are turned; windows; those of few channels; those of few terms. */
static const struct conv_shape {
    int32_t n, h, w, cin, cout, taps, stride;
    bool turned;
} conv_shapes[] = {{1, 1, 29, 37, 43, 1, 1, false},
                   {1, 1, 1, 450, 9, 1, 1, true},
                   {2, 5, 6, 17, 19, 3, 1, false},
                   {1, 9, 8, 5, 5, 3, 2, false},
                   {2, 7, 31, 2, 21, 3, 2, false}};

static struct npu_avx2_conv conv_of(const struct conv_shape *s)
{
    const int32_t pad = s->taps / 2;

    return (struct npu_avx2_conv){.n = s->n,
                                  .h = s->h,
                                  .w = s->w,
                                  .cin = s->cin,
                                  .oh = (s->h + 2 * pad - s->taps) / s->stride + 1,
                                  .ow = (s->w + 2 * pad - s->taps) / s->stride + 1,
                                  .cout = s->cout,
                                  .kh = s->taps,
                                  .kw = s->taps,
                                  .stride = s->stride,
                                  .pad_top = pad,
                                  .pad_left = pad,
                                  .w_k = s->turned ? 1 : s->cout,
                                  .w_n = s->turned ? s->taps * s->taps * s->cin : 1};
}

int npu_avx2_self_test(const struct npu_avx2_kernels *k)
{
    struct data *d = NULL;
    uint32_t seed = 7;
    bool good = true;

    if (posix_memalign((void **)&d, 64, sizeof *d) != 0)
        return -ENOMEM;
    memset(d->scratch, 0, sizeof d->scratch);
    fill(d->x, MOST, &seed);
    fill(d->w, MOST, &seed);
    fill(d->bias, 64, &seed);
    fill(d->res, MOST, &seed);
    for (size_t i = 0; i < sizeof conv_shapes / sizeof conv_shapes[0]; i++)
        good = good && test_conv(k, conv_of(&conv_shapes[i]), d);
    good = good && test_winograd(k, d) && test_depthwise(k, 11, d) && test_depthwise(k, 16, d) &&
           test_attention(k, d) && test_layer_norm(k, d) && test_convert(k, d);
    free(d);
    return good ? npu_avx2_grad_self_test(k) : -EIO;
}
