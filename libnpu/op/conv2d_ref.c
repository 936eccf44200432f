/* conv2d_ref.c - convolution and its gradients in plain C; inner loops run over channels. */
#include "libnpu/op/conv2d.h"

static struct npu_conv2d_dims call_dims(const struct npu_ref_call *c, const struct npu_tensor *x,
                                        const struct npu_tensor *w, const struct npu_tensor *y)
{
    return npu_conv2d_dims(NPU_ATTR(struct npu_conv2d_attr, c->node), &x->shape, &w->shape, &y->shape);
}

static void axpy(int64_t n, float s, const float *restrict x, float *restrict y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += s * x[i];
}

size_t npu_conv2d_scratch(const struct npu_node *n, const struct npu_tensor_type *in)
{
    return sizeof(float) * (npu_mat_view_floats(&in[NPU_CONV_X]) + npu_mat_view_floats(&in[NPU_CONV_W]) +
                            (size_t)in[NPU_CONV_W].shape.dim[3] + 1);
}

/* One pixel of y before bias and activation. */
static void conv_pixel(const struct npu_conv2d_dims *d, const float *x, const float *w, int64_t oy, int64_t ox,
                       float *acc)
{
    memset(acc, 0, sizeof(float) * (size_t)d->cout);
    for (int64_t ky = 0; ky < d->kh; ky++)
        for (int64_t kx = 0; kx < d->kw; kx++) {
            const int64_t iy = oy * d->stride - d->pad_top + ky, ix = ox * d->stride - d->pad_left + kx;

            if (iy < 0 || iy >= d->h || ix < 0 || ix >= d->w)
                continue;
            for (int64_t g = 0; g < d->groups; g++)
                for (int64_t c = 0; c < d->cing; c++)
                    axpy(d->coutg, x[(iy * d->w + ix) * d->cin + g * d->cing + c],
                         w + ((ky * d->kw + kx) * d->cing + c) * d->cout + g * d->coutg, acc + g * d->coutg);
        }
}

int npu_conv2d_ref(const struct npu_ref_call *c)
{
    const struct npu_tensor *bias = &c->in[NPU_CONV_BIAS], *res = &c->in[NPU_CONV_RESIDUAL], *y = &c->out[0];
    const struct npu_conv2d_dims d = call_dims(c, &c->in[NPU_CONV_X], &c->in[NPU_CONV_W], y);
    const int act = NPU_ATTR(struct npu_conv2d_attr, c->node)->act;
    float *scratch = c->scratch;
    const float *x = npu_mat_view(&c->in[NPU_CONV_X], &scratch), *w = npu_mat_view(&c->in[NPU_CONV_W], &scratch);

    for (int64_t p = 0; p < d.n * d.oh * d.ow; p++) {
        conv_pixel(&d, x + p / (d.oh * d.ow) * d.h * d.w * d.cin, w, p / d.ow % d.oh, p % d.ow, scratch);
        for (int64_t i = 0; i < d.cout; i++) {
            float v = scratch[i];

            if (bias->data)
                v += npu_load(bias, i);
            if (res->data)
                v += npu_load(res, p * d.cout + i);
            npu_store(y, p * d.cout + i, npu_mat_act(act, v));
        }
    }
    return 0;
}

/* ---- grad_x: every pixel of x gathers from those of y that it took part in ---- */
size_t npu_conv2d_grad_x_scratch(const struct npu_node *n, const struct npu_tensor_type *in)
{
    const struct npu_shape *w = &in[1].shape;
    const size_t row = (size_t)w->dim[2] * (size_t)NPU_ATTR(struct npu_conv2d_attr, n)->groups;

    return sizeof(float) * (npu_mat_view_floats(&in[0]) + (size_t)npu_shape_elements(w) + row + 1);
}

/* w [kh, kw, cing, cout] -> [kh, kw, cout, cing] */
static void transpose_weights(const struct npu_tensor *w, float *wt)
{
    const int64_t taps = w->shape.dim[0] * w->shape.dim[1], cing = w->shape.dim[2], cout = w->shape.dim[3];

    for (int64_t t = 0; t < taps; t++)
        for (int64_t i = 0; i < cing; i++)
            for (int64_t o = 0; o < cout; o++)
                wt[(t * cout + o) * cing + i] = npu_load(w, (t * cing + i) * cout + o);
}

static void grad_x_pixel(const struct npu_conv2d_dims *d, const float *gy, const float *wt, int64_t iy, int64_t ix,
                         float *acc)
{
    memset(acc, 0, sizeof(float) * (size_t)d->cin);
    for (int64_t ky = 0; ky < d->kh; ky++)
        for (int64_t kx = 0; kx < d->kw; kx++) {
            const int64_t sy = iy + d->pad_top - ky, sx = ix + d->pad_left - kx;

            if (sy < 0 || sx < 0 || sy % d->stride || sx % d->stride || sy / d->stride >= d->oh ||
                sx / d->stride >= d->ow)
                continue;
            for (int64_t o = 0; o < d->cout; o++)
                axpy(d->cing, gy[(sy / d->stride * d->ow + sx / d->stride) * d->cout + o],
                     wt + ((ky * d->kw + kx) * d->cout + o) * d->cing, acc + o / d->coutg * d->cing);
        }
}

int npu_conv2d_grad_x_ref(const struct npu_ref_call *c)
{
    const struct npu_tensor *gx = &c->out[0];
    const struct npu_conv2d_dims d = call_dims(c, gx, &c->in[1], &c->in[0]);
    float *scratch = c->scratch;
    const float *gy = npu_mat_view(&c->in[0], &scratch);
    float *acc = scratch + npu_shape_elements(&c->in[1].shape);

    transpose_weights(&c->in[1], scratch);
    for (int64_t p = 0; p < d.n * d.h * d.w; p++) {
        grad_x_pixel(&d, gy + p / (d.h * d.w) * d.oh * d.ow * d.cout, scratch, p / d.w % d.h, p % d.w, acc);
        for (int64_t i = 0; i < d.cin; i++)
            npu_store(gx, p * d.cin + i, acc[i]);
    }
    return 0;
}

/* ---- grad_w ---- */
size_t npu_conv2d_grad_w_scratch(const struct npu_node *n, const struct npu_tensor_type *in)
{
    const struct npu_conv2d_attr *at = NPU_ATTR(struct npu_conv2d_attr, n);
    const int64_t weights = (int64_t)at->kh * at->kw * (in[0].shape.dim[3] / at->groups) * in[1].shape.dim[3];

    return sizeof(float) * (npu_mat_view_floats(&in[0]) + npu_mat_view_floats(&in[1]) + (size_t)weights + 1);
}

static void grad_w_pixel(const struct npu_conv2d_dims *d, const float *x, const float *gy, int64_t oy, int64_t ox,
                         float *gw)
{
    for (int64_t ky = 0; ky < d->kh; ky++)
        for (int64_t kx = 0; kx < d->kw; kx++) {
            const int64_t iy = oy * d->stride - d->pad_top + ky, ix = ox * d->stride - d->pad_left + kx;

            if (iy < 0 || iy >= d->h || ix < 0 || ix >= d->w)
                continue;
            for (int64_t g = 0; g < d->groups; g++)
                for (int64_t i = 0; i < d->cing; i++)
                    axpy(d->coutg, x[(iy * d->w + ix) * d->cin + g * d->cing + i], gy + g * d->coutg,
                         gw + ((ky * d->kw + kx) * d->cing + i) * d->cout + g * d->coutg);
        }
}

int npu_conv2d_grad_w_ref(const struct npu_ref_call *c)
{
    const struct npu_tensor *gw = &c->out[0];
    const struct npu_conv2d_dims d = call_dims(c, &c->in[0], gw, &c->in[1]);
    const int64_t weights = npu_shape_elements(&gw->shape);
    float *scratch = c->scratch;
    const float *x = npu_mat_view(&c->in[0], &scratch), *gy = npu_mat_view(&c->in[1], &scratch);

    memset(scratch, 0, sizeof(float) * (size_t)weights);
    for (int64_t p = 0; p < d.n * d.oh * d.ow; p++)
        grad_w_pixel(&d, x + p / (d.oh * d.ow) * d.h * d.w * d.cin, gy + p * d.cout, p / d.ow % d.oh, p % d.ow,
                     scratch);
    for (int64_t i = 0; i < weights; i++)
        npu_store(gw, i, scratch[i]);
    return 0;
}
