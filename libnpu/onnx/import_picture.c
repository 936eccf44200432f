/* import_picture.c - pooling and resizing of pictures. */
#include "libnpu/onnx/import.h"

/* Pads from auto_pad or pads, in the file's order: top, left, bottom, right. size: of a window with its gaps. */
int oi_pads(struct oi *im, const struct oi_node *n, const int64_t *hw, const int64_t *size, const int64_t *stride,
            int64_t *ret_pads)
{
    const char *mode = oi_string(n, "auto_pad", "NOTSET");
    const bool upper = strcmp(mode, "SAME_UPPER") == 0;

    if (strcmp(mode, "NOTSET") == 0 || !mode[0])
        return oi_ints(im, n, "pads", 4, 0, 0, 65535, ret_pads);
    for (int i = 0; i < 4; i++)
        ret_pads[i] = 0;
    if (strcmp(mode, "VALID") == 0)
        return 0;
    if (!upper && strcmp(mode, "SAME_LOWER") != 0)
        return oi_fail(im, -EOPNOTSUPP, "attribute auto_pad = %.40s is not supported", mode);
    for (int i = 0; i < 2; i++) {
        const int64_t out = (hw[i] + stride[i] - 1) / stride[i], need = (out - 1) * stride[i] + size[i] - hw[i];
        const int64_t both = need > 0 ? need : 0;

        ret_pads[i] = upper ? both / 2 : both - both / 2;
        ret_pads[2 + i] = both - ret_pads[i];
    }
    return 0;
}

/* ceil_mode asks for a last window that hangs over the edge: fine where none does. */
static int check_ceil(struct oi *im, const struct oi_node *n, const int64_t *hw, int64_t kernel, int64_t stride,
                      const int64_t *pads)
{
    for (int i = 0; i < 2 && oi_int(n, "ceil_mode", 0); i++)
        if ((hw[i] + pads[i] + pads[2 + i] - kernel) % stride != 0)
            return oi_fail(im, -EOPNOTSUPP, "attribute ceil_mode = 1 is not supported where it adds a row or column");
    return 0;
}

static int import_pool(struct oi *im, struct oi_node *n)
{
    const bool max = oi_is(n, "MaxPool");
    const int64_t *d = n->in[0]->shape.dim;
    int64_t kernel[2], stride[2], dilation[2], pads[4];
    struct npu_pool_opts o;
    npu_val v;

    if (n->in[0]->shape.rank != 4)
        return oi_fail(im, -EOPNOTSUPP, "the input has rank %d; only [n, c, h, w] is supported", n->in[0]->shape.rank);
    if (n->n_out > 1 && n->out[1] && n->out[1]->n_users)
        return oi_fail(im, -EOPNOTSUPP, "output Indices is not supported");
    if (oi_ints(im, n, "kernel_shape", 2, 0, 1, 65535, kernel) < 0 ||
        oi_ints(im, n, "strides", 2, 1, 1, 65535, stride) < 0 ||
        oi_ints(im, n, "dilations", 2, 1, 1, 1, dilation) < 0 || oi_pads(im, n, d + 2, kernel, stride, pads) < 0)
        return -EOPNOTSUPP;
    if (!oi_attr(n, "kernel_shape"))
        return oi_fail(im, -EINVAL, "attribute kernel_shape is missing");
    if (kernel[0] != kernel[1] || stride[0] != stride[1])
        return oi_fail(im, -EOPNOTSUPP,
                       "attributes kernel_shape = [%lld, %lld], strides = [%lld, %lld]: only square "
                       "ones are supported",
                       (long long)kernel[0], (long long)kernel[1], (long long)stride[0], (long long)stride[1]);
    o = (struct npu_pool_opts){(int)kernel[0], (int)stride[0], (int)pads[0]};
    if (check_ceil(im, n, d + 2, kernel[0], stride[0], pads) < 0)
        return -EOPNOTSUPP;
    v = oi_layout(im, n->in[0], oi_nhwc);
    if (!max && oi_int(n, "count_include_pad", 0)) { /* zeros of their own are counted */
        for (int i = 0; v > 0 && i < 2; i++)
            if (pads[i] || pads[2 + i])
                v = npu_pad_axis(im->g, v, 1 + i, pads[i], d[2 + i] + pads[i] + pads[2 + i]);
        o.pad = 0;
    } else if (pads[0] != pads[1] || pads[0] != pads[2] || pads[0] != pads[3]) {
        return oi_fail(im, -EOPNOTSUPP, "attribute pads = [%lld, %lld, %lld, %lld]: only equal ones are supported",
                       (long long)pads[0], (long long)pads[1], (long long)pads[2], (long long)pads[3]);
    }
    if (v < 0)
        return v;
    return oi_set(im, n->out[0], max ? npu_max_pool(im->g, v, o) : npu_mean_pool(im->g, v, o), oi_nhwc);
}

/* ---- resize ---- */
/* Where output pixel o lies in the input, in the file's mode. */
static int place(struct oi *im, const char *mode, int64_t o, int64_t in, int64_t out, double scale, double *ret_x)
{
    if (strcmp(mode, "half_pixel") == 0 || strcmp(mode, "half_pixel_symmetric") == 0)
        *ret_x = ((double)o + 0.5) / scale - 0.5;
    else if (strcmp(mode, "pytorch_half_pixel") == 0)
        *ret_x = out > 1 ? ((double)o + 0.5) / scale - 0.5 : 0.0;
    else if (strcmp(mode, "asymmetric") == 0)
        *ret_x = (double)o / scale;
    else if (strcmp(mode, "align_corners") == 0)
        *ret_x = out > 1 ? (double)o * (double)(in - 1) / (double)(out - 1) : 0.0;
    else
        return oi_fail(im, -EOPNOTSUPP, "attribute coordinate_transformation_mode = %.40s is not supported", mode);
    return 0;
}

static double nearest(const char *how, double x)
{
    if (strcmp(how, "floor") == 0)
        return floor(x);
    if (strcmp(how, "ceil") == 0)
        return ceil(x);
    return strcmp(how, "round_prefer_ceil") == 0 ? floor(x + 0.5) : ceil(x - 0.5);
}

/* Do the file's modes take the pixels that npu_resize takes (half-pixel centres), for these sizes? */
static int check_places(struct oi *im, const struct oi_node *n, int64_t in, int64_t out, double scale, bool bilinear)
{
    const char *mode = oi_string(n, "coordinate_transformation_mode", "half_pixel");
    const char *how = oi_string(n, "nearest_mode", "round_prefer_floor");

    for (int64_t o = 0; o < out; o++) {
        const double ours = ((double)o + 0.5) * (double)in / (double)out - 0.5, last = (double)(in - 1);
        double x = 0.0;

        if (place(im, mode, o, in, out, scale, &x) < 0)
            return -EOPNOTSUPP;
        if (bilinear ? fabs(fmin(fmax(x, 0), last) - fmin(fmax(ours, 0), last)) > 1e-4
                     : fmin(fmax(nearest(how, x), 0), last) != fmin(floor(ours + 0.5), last))
            return oi_fail(im, -EOPNOTSUPP,
                           "attributes coordinate_transformation_mode = %.40s, nearest_mode = %.40s take other pixels "
                           "than half_pixel, round_prefer_ceil from %lld to %lld, which is what is supported",
                           mode, how, (long long)in, (long long)out);
    }
    return 0;
}

/* Sizes from input 3, or scales from input 2 (input 1 before opset 11). */
static int resize_sizes(struct oi *im, struct oi_node *n, int64_t *ret_size, double *ret_scale)
{
    const int64_t *d = n->in[0]->shape.dim;
    const int at = im->m->opset < 11 ? 1 : 2;
    const struct oi_const *c;

    if (n->n_in > 3 && n->in[3]) {
        if (oi_numbers(im, n->in[3], 4, ret_size) != 4)
            return oi_fail(im, -EOPNOTSUPP, "input sizes must have 4 numbers");
        for (int i = 0; i < 4; i++)
            ret_scale[i] = (double)ret_size[i] / (double)d[i];
        return 0;
    }
    c = n->n_in > at ? oi_constant(im, n->in[at]) : NULL;
    if (!c || c->is_int || npu_shape_elements(&c->shape) != 4)
        return oi_fail(im, -EOPNOTSUPP, "input scales must be 4 constant numbers");
    for (int i = 0; i < 4; i++) {
        if (!(c->f[i] > 0.0f && c->f[i] < 16384.0f))
            return oi_fail(im, -EINVAL, "a scale of %g", (double)c->f[i]);
        ret_scale[i] = (double)c->f[i];
        ret_size[i] = (int64_t)floor((double)d[i] * ret_scale[i] + 1e-6);
    }
    return 0;
}

static int import_resize(struct oi *im, struct oi_node *n)
{
    const char *mode = oi_string(n, "mode", "nearest");
    const bool bilinear = strcmp(mode, "linear") == 0;
    int64_t size[4] = {0};
    double scale[4] = {0};
    npu_val v;

    if (n->in[0]->shape.rank != 4 || n->in[0]->shape.dim[2] < 1 || n->in[0]->shape.dim[3] < 1)
        return oi_fail(im, -EOPNOTSUPP, "only pictures [n, c, h, w] are supported");
    if (!bilinear && strcmp(mode, "nearest") != 0)
        return oi_fail(im, -EOPNOTSUPP, "attribute mode = %.40s is not supported", mode);
    if (oi_int(n, "antialias", 0) || oi_int(n, "exclude_outside", 0))
        return oi_fail(im, -EOPNOTSUPP, "attributes antialias = 1 and exclude_outside = 1 are not supported");
    if (strcmp(oi_string(n, "keep_aspect_ratio_policy", "stretch"), "stretch") != 0)
        return oi_fail(im, -EOPNOTSUPP, "attribute keep_aspect_ratio_policy = %.40s is not supported",
                       oi_string(n, "keep_aspect_ratio_policy", ""));
    if (resize_sizes(im, n, size, scale) < 0)
        return -EOPNOTSUPP;
    if (size[0] != n->in[0]->shape.dim[0] || size[1] != n->in[0]->shape.dim[1] || size[2] < 1 || size[3] < 1 ||
        size[2] > 16384 || size[3] > 16384)
        return oi_fail(im, -EOPNOTSUPP, "to [%lld, %lld, %lld, %lld]: only height and width of 1 to 16384 can change",
                       (long long)size[0], (long long)size[1], (long long)size[2], (long long)size[3]);
    for (int i = 2; i < 4; i++)
        if (check_places(im, n, n->in[0]->shape.dim[i], size[i], scale[i], bilinear) < 0)
            return -EOPNOTSUPP;
    v = oi_layout(im, n->in[0], oi_nhwc);
    if (v < 0)
        return v;
    v = npu_resize(im->g, v, size[2], size[3], bilinear ? NPU_RESIZE_BILINEAR : NPU_RESIZE_NEAREST);
    return oi_set(im, n->out[0], v, oi_nhwc);
}

const struct oi_op oi_picture_ops[] = {
    {"MaxPool", "auto_pad ceil_mode dilations kernel_shape pads storage_order strides", 1, 1, 2, import_pool, false},
    {"AveragePool", "auto_pad ceil_mode count_include_pad dilations kernel_shape pads strides", 1, 1, 1, import_pool,
     false},
    {"Resize",
     "antialias coordinate_transformation_mode cubic_coeff_a exclude_outside extrapolation_value mode nearest_mode "
     "keep_aspect_ratio_policy",
     1, 4, 1, import_resize, false},
    {0},
};
