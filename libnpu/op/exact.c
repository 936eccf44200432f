/* exact.c - the C references of f32 operations in int8 networks: the definition to the last bit (exact.h). */
#include "libnpu/op/exact.h"

#include "libnpu/op/attention.h"
#include "libnpu/op/attr.h"
#include "libnpu/op/conv2d.h"
#include "libnpu/op/matmul.h"
#include "libnpu/op/util.h"

/* What products and convolutions do with a sum. scale 1 and bias 0 where there are none. */
static float finish(float sum, float scale, float bias, int act, const struct npu_tensor *res, int64_t at, bool first)
{
    const float v = fmaf(sum, scale, bias);

    if (!res->data)
        return npu_x_act(act, v);
    return first ? npu_x_act(act, v + npu_load(res, at)) : npu_x_act(act, v) + npu_load(res, at);
}

int npu_exact_matmul_ref(const struct npu_ref_call *c)
{
    const struct npu_matmul_attr *a = NPU_ATTR(struct npu_matmul_attr, c->node);
    const struct npu_tensor *x = &c->in[NPU_MATMUL_A], *w = &c->in[NPU_MATMUL_B], *bias = &c->in[NPU_MATMUL_BIAS];
    const struct npu_matmul_dims d = npu_matmul_dims(a, &x->shape, &w->shape);
    const int64_t xm = a->trans_a ? 1 : d.k, xk = a->trans_a ? d.m : 1, wk = a->trans_b ? 1 : d.n,
                  wn = a->trans_b ? d.k : 1, wb = d.shared_b ? 0 : d.k * d.n;

    for (int64_t row = 0; row < d.batch * d.m; row++)
        for (int64_t n = 0; n < d.n; n++) {
            const int64_t b = row / d.m, xi = b * d.m * d.k + row % d.m * xm, wi = b * wb + n * wn;
            float sum = 0.0f;

            for (int64_t k = 0; k < d.k; k++)
                sum = fmaf(npu_load(x, xi + k * xk), npu_load(w, wi + k * wk), sum);
            npu_store(&c->out[0], row * d.n + n,
                      finish(sum, a->scale, bias->data ? npu_load(bias, n) : 0.0f, a->act, &c->in[NPU_MATMUL_RESIDUAL],
                             row * d.n + n, false));
        }
    return 0;
}

/* The sum of one result: over kernel rows, kernel columns, channels; 0 outside of the picture. */
static float conv_sum(const struct npu_conv2d_dims *d, const float *x, const float *w, int64_t pixel, int64_t n)
{
    const int64_t oy = pixel / d->ow % d->oh, ox = pixel % d->ow, first = n / d->coutg * d->cing;
    float sum = 0.0f;

    x += pixel / (d->oh * d->ow) * d->h * d->w * d->cin;
    for (int64_t t = 0; t < d->kh * d->kw; t++) {
        const int64_t iy = oy * d->stride + t / d->kw - d->pad_top, ix = ox * d->stride + t % d->kw - d->pad_left;
        const bool inside = iy >= 0 && iy < d->h && ix >= 0 && ix < d->w;

        for (int64_t k = 0; k < d->cing; k++)
            sum =
                fmaf(inside ? x[(iy * d->w + ix) * d->cin + first + k] : 0.0f, w[(t * d->cing + k) * d->cout + n], sum);
    }
    return sum;
}

int npu_exact_conv2d_ref(const struct npu_ref_call *c)
{
    const struct npu_conv2d_attr *a = NPU_ATTR(struct npu_conv2d_attr, c->node);
    const struct npu_tensor *bias = &c->in[NPU_CONV_BIAS];
    const struct npu_conv2d_dims d =
        npu_conv2d_dims(a, &c->in[NPU_CONV_X].shape, &c->in[NPU_CONV_W].shape, &c->out[0].shape);
    float *scratch = c->scratch;
    const float *x = npu_mat_view(&c->in[NPU_CONV_X], &scratch), *w = npu_mat_view(&c->in[NPU_CONV_W], &scratch);

    for (int64_t p = 0; p < d.n * d.oh * d.ow; p++)
        for (int64_t n = 0; n < d.cout; n++) {
            const float sum = conv_sum(&d, x, w, p, n);

            npu_store(&c->out[0], p * d.cout + n,
                      finish(sum, 1.0f, bias->data ? npu_load(bias, n) : 0.0f, a->act, &c->in[NPU_CONV_RESIDUAL],
                             p * d.cout + n, true));
        }
    return 0;
}

/* One query: e = exp(scale s - scale max s), result = sum e v / sum e */
static void attend(const struct npu_ref_call *c, const struct npu_attention_dims *d, const float *x, int64_t row,
                   int64_t h, float *e)
{
    const int64_t step = 3 * d->d;
    const float *q = x + row * step + h * d->dh, *k = x + row / d->n * d->n * step + d->d + h * d->dh;
    float top = -INFINITY, lane[NPU_X_LANES] = {0}, inv;

    for (int64_t j = 0; j < d->n; j++) {
        e[j] = 0.0f;
        for (int64_t i = 0; i < d->dh; i++)
            e[j] = fmaf(q[i], k[j * step + i], e[j]);
        top = e[j] > top ? e[j] : top;
    }
    top *= -d->scale;
    for (int64_t j = 0; j < d->n; j++) {
        e[j] = npu_x_exp(fmaf(e[j], d->scale, top));
        lane[j % NPU_X_LANES] += e[j];
    }
    inv = npu_x_recip(npu_x_sum(lane));
    for (int64_t i = 0; i < d->dh; i++) {
        float sum = 0.0f;

        for (int64_t j = 0; j < d->n; j++)
            sum = fmaf(e[j], k[d->d + j * step + i], sum);
        npu_store(&c->out[0], row * d->d + h * d->dh + i, sum * inv);
    }
}

int npu_exact_attention_ref(const struct npu_ref_call *c)
{
    const struct npu_attention_dims d = npu_attention_dims(c->node, &c->in[0].shape);
    float *e = c->scratch;
    const float *x = npu_mat_view(&c->in[0], &e);

    for (int64_t row = 0; row < d.batch * d.n; row++)
        for (int64_t h = 0; h < d.heads; h++)
            attend(c, &d, x, row, h, e);
    return 0;
}

/* share = 1 / c, rounded; d = x - share sum x; y = d / sqrt(share sum d^2 + eps) gamma + beta */
int npu_exact_layer_norm_ref(const struct npu_ref_call *k)
{
    const float eps = NPU_ATTR(struct layer_norm_attr, k->node)->eps;
    const int64_t c = op_last(&k->in[0].shape), rows = op_rows(&k->in[0].shape);
    const float *gamma = k->in[1].data, *beta = k->in[2].data, share = c ? 1.0f / (float)c : 0.0f;

    for (int64_t r = 0; c && r < rows; r++) {
        float lane[NPU_X_LANES] = {0}, square[NPU_X_LANES] = {0}, sum, inv;

        for (int64_t j = 0; j < c; j++)
            lane[j % NPU_X_LANES] += npu_load(&k->in[0], r * c + j);
        sum = npu_x_sum(lane);
        for (int64_t j = 0; j < c; j++) {
            const float d = fmaf(sum, -share, npu_load(&k->in[0], r * c + j));

            square[j % NPU_X_LANES] = fmaf(d, d, square[j % NPU_X_LANES]);
        }
        inv = npu_x_rsqrt(fmaf(npu_x_sum(square), share, eps));
        for (int64_t j = 0; j < c; j++)
            npu_store(&k->out[0], r * c + j,
                      fmaf(fmaf(sum, -share, npu_load(&k->in[0], r * c + j)) * inv, gamma[j], beta[j]));
    }
    return 0;
}

int npu_exact_softmax_ref(const struct npu_ref_call *k)
{
    const int64_t c = op_last(&k->in[0].shape), rows = op_rows(&k->in[0].shape);

    for (int64_t r = 0; c && r < rows; r++) {
        float lane[NPU_X_LANES] = {0}, top = -INFINITY, inv;

        for (int64_t j = 0; j < c; j++) {
            const float x = npu_load(&k->in[0], r * c + j);

            top = x > top ? x : top;
        }
        for (int64_t j = 0; j < c; j++)
            lane[j % NPU_X_LANES] += npu_x_exp(npu_load(&k->in[0], r * c + j) - top);
        inv = npu_x_recip(npu_x_sum(lane));
        for (int64_t j = 0; j < c; j++)
            npu_store(&k->out[0], r * c + j, npu_x_exp(npu_load(&k->in[0], r * c + j) - top) * inv);
    }
    return 0;
}

/* x [a, r, b]: lanes by the place in r, whatever b is */
int npu_exact_reduce_ref(const struct npu_ref_call *k)
{
    const struct reduce_attr *t = NPU_ATTR(struct reduce_attr, k->node);
    const struct npu_shape *s = &k->in[0].shape;
    const int64_t a = op_span(s, 0, t->from), r = op_span(s, t->from, t->to), b = op_span(s, t->to, s->rank);
    const float share = t->mean && r > 1 ? 1.0f / (float)r : 1.0f;

    for (int64_t i = 0; i < a * b; i++) {
        float lane[NPU_X_LANES] = {0};

        for (int64_t j = 0; j < r; j++)
            lane[j % NPU_X_LANES] += npu_load(&k->in[0], (i / b * r + j) * b + i % b);
        npu_store(&k->out[0], i, npu_x_sum(lane) * share);
    }
    return 0;
}

static float unary(int kind, float x)
{
    switch (kind) {
    case UNARY_RELU:
        return npu_x_act(NPU_ACT_RELU, x);
    case UNARY_RELU6:
        return npu_x_act(NPU_ACT_RELU6, x);
    case UNARY_GELU:
        return npu_x_gelu(x);
    case UNARY_SIGMOID:
        return npu_x_sigmoid(x);
    case UNARY_TANH:
        return npu_x_tanh(x);
    case UNARY_EXP:
        return npu_x_exp(x);
    case UNARY_GELU_ERF:
        return npu_x_gelu_erf(x);
    default:
        return fabsf(x);
    }
}

static int all_unary(const struct npu_ref_call *c, int kind)
{
    const int64_t n = npu_shape_elements(&c->in[0].shape);

    for (int64_t i = 0; i < n; i++) {
        const float x = npu_load(&c->in[0], i);

        npu_store(&c->out[0], i, unary(kind, x));
    }
    return 0;
}

int npu_exact_unary_ref(const struct npu_ref_call *c)
{
    return all_unary(c, NPU_ATTR(struct unary_attr, c->node)->kind);
}

int npu_exact_gelu_erf_ref(const struct npu_ref_call *c)
{
    return all_unary(c, UNARY_GELU_ERF);
}

/* The pixels of a window in row order, then times the reciprocal of their number. */
int npu_exact_mean_pool_ref(const struct npu_ref_call *k)
{
    const struct npu_pool_opts *o = NPU_ATTR(struct npu_pool_opts, k->node);
    const int64_t *x = k->in[0].shape.dim, *y = k->out[0].shape.dim, c = x[3];

    for (int64_t p = 0; p < y[0] * y[1] * y[2]; p++) {
        const int64_t top = p / y[2] % y[1] * o->stride - o->pad, left = p % y[2] * o->stride - o->pad;
        const int64_t y0 = top > 0 ? top : 0, y1 = top + o->kernel < x[1] ? top + o->kernel : x[1],
                      x0 = left > 0 ? left : 0, x1 = left + o->kernel < x[2] ? left + o->kernel : x[2];

        for (int64_t j = 0; j < c; j++) {
            float sum = 0.0f;

            for (int64_t iy = y0; iy < y1; iy++)
                for (int64_t ix = x0; ix < x1; ix++)
                    sum += npu_load(&k->in[0], ((p / (y[1] * y[2]) * x[1] + iy) * x[2] + ix) * c + j);
            npu_store(&k->out[0], p * c + j, sum * npu_x_recip((float)((y1 - y0) * (x1 - x0))));
        }
    }
    return 0;
}
