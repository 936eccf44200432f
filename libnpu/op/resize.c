/* resize.c - NHWC pictures to another size, half-pixel centres: nearest or bilinear, and the gradient.
 *
 * Output pixel o lies at ((2 o + 1) in / out - 1) / 2 of the input. Places are computed in whole numbers, so that all
 * devices take the same pixels.
 */
#include "libnpu/op/attr.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

npu_val npu_resize(npu_graph *g, npu_val x, int64_t h, int64_t w, enum npu_resize_mode m)
{
    struct resize_attr a = {h, w, m == NPU_RESIZE_BILINEAR};

    return npu_node_add(g, &npu_op_resize, &x, 1, &a, sizeof(a));
}

/* The two pixels that o lies between and the share of the second. */
struct tap {
    int64_t at[2];
    float share[2];
};

static struct tap tap(int64_t o, int64_t in, int64_t out, bool bilinear)
{
    int64_t t = bilinear ? (2 * o + 1) * in - out : (2 * o + 1) * in, first;
    struct tap p;

    if (t < 0)
        t = 0;
    first = t / (2 * out);
    p.share[1] = bilinear ? (float)(t - first * 2 * out) / (float)(2 * out) : 0;
    p.share[0] = 1 - p.share[1];
    p.at[0] = first < in ? first : in - 1;
    p.at[1] = first + 1 < in ? first + 1 : in - 1;
    return p;
}

static int resize_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                        size_t size)
{
    const struct resize_attr *a = NPU_ATTR(struct resize_attr, n);
    const struct npu_shape *s = &in[0].shape;

    if (n->n_in != 1 || s->rank != 4)
        return op_why(why, size, "x must be [n, h, w, c], is %s", op_shape_text(s));
    if (s->dim[1] < 1 || s->dim[2] < 1 || a->h < 1 || a->w < 1)
        return op_why(why, size, "from %s to %lld x %lld: no pixels", op_shape_text(s), (long long)a->h,
                      (long long)a->w);
    if (s->dim[1] > 16384 || s->dim[2] > 16384 || a->h > 16384 || a->w > 16384)
        return op_why(why, size, "sides may have 16384 pixels at most");
    n->n_out = 1;
    out[0] = in[0];
    out[0].shape.dim[1] = a->h;
    out[0].shape.dim[2] = a->w;
    return op_need_float(in, 0, why, size);
}

/* y from x, or if gx is given the gradient of x (zeroed before) from that of y. */
static void resize_walk(const struct npu_tensor *x, const struct npu_tensor *y, bool bilinear, float *gx)
{
    const struct npu_shape *sx = &x->shape, *sy = &y->shape;
    int64_t c = sx->dim[3];

    for (int64_t b = 0; b < sx->dim[0]; b++)
        for (int64_t oy = 0; oy < sy->dim[1]; oy++)
            for (int64_t ox = 0; ox < sy->dim[2]; ox++)
                for (int64_t j = 0; j < c; j++) {
                    struct tap ty = tap(oy, sx->dim[1], sy->dim[1], bilinear);
                    struct tap tx = tap(ox, sx->dim[2], sy->dim[2], bilinear);
                    int64_t o = ((b * sy->dim[1] + oy) * sy->dim[2] + ox) * c + j;
                    float sum = 0;

                    for (int k = 0; k < 4; k++) {
                        int64_t i = ((b * sx->dim[1] + ty.at[k / 2]) * sx->dim[2] + tx.at[k % 2]) * c + j;
                        float share = ty.share[k / 2] * tx.share[k % 2];

                        if (gx)
                            gx[i] += share * npu_load(y, o);
                        else
                            sum += share * npu_load(x, i);
                    }
                    if (!gx)
                        npu_store(y, o, sum);
                }
}

static int resize_ref(const struct npu_ref_call *k)
{
    resize_walk(&k->in[0], &k->out[0], NPU_ATTR(struct resize_attr, k->node)->bilinear, NULL);
    return 0;
}

static int resize_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    const struct npu_shape *s = npu_val_shape(g, n->in[0]);
    struct resize_attr a = {s->dim[1], s->dim[2], NPU_ATTR(struct resize_attr, n)->bilinear};

    gin[0] = npu_node_add(g, &npu_op_resize_grad, gout, 1, &a, sizeof(a));
    return gin[0] < 0 ? gin[0] : 0;
}

static int resize_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_shape si = npu_lower_type(l, n->in[0]).shape, so = npu_lower_type(l, n->out[0]).shape;
    struct npu_launch *k;

    if (!npu_shape_elements(&so))
        return 0;
    k = op_launch(l, "resize", n->op == &npu_op_resize ? "resize" : "resize_grad");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    npu_launch_i32(k, si.dim[0]);
    npu_launch_i32(k, si.dim[1]);
    npu_launch_i32(k, si.dim[2]);
    npu_launch_i32(k, so.dim[1]);
    npu_launch_i32(k, so.dim[2]);
    npu_launch_i32(k, so.dim[3]);
    npu_launch_i32(k, NPU_ATTR(struct resize_attr, n)->bilinear);
    op_launch_tiles(l, k, so.dim[0] * so.dim[1] * so.dim[2], so.dim[3]);
    return 0;
}

static const struct {
    enum npu_dtype t;
    int64_t dim[4], h, w;
    int bilinear;
} resize_cases[] = {
    {NPU_F32, {2, 5, 7, 3}, 10, 14, 1},   {NPU_F32, {2, 5, 7, 3}, 10, 14, 0},    {NPU_F32, {1, 9, 8, 20}, 4, 3, 1},
    {NPU_F32, {1, 9, 8, 20}, 4, 3, 0},    {NPU_F32, {3, 1, 1, 9}, 5, 6, 1},      {NPU_F32, {0, 3, 3, 2}, 6, 6, 1},
    {NPU_BF16, {2, 6, 6, 16}, 11, 13, 1}, {NPU_F32, {2, 17, 13, 35}, 29, 31, 1}, {NPU_F16, {1, 4, 4, 1}, 1, 1, 0},
};
enum { N_CASES = sizeof(resize_cases) / sizeof(resize_cases[0]) };

static npu_val resize_case(npu_graph *g, int index)
{
    if (index >= N_CASES)
        return NPU_NONE;
    return npu_resize(g, op_test_in(g, "a", resize_cases[index].t, 4, resize_cases[index].dim), resize_cases[index].h,
                      resize_cases[index].w, resize_cases[index].bilinear ? NPU_RESIZE_BILINEAR : NPU_RESIZE_NEAREST);
}

static npu_val resize_perf(npu_graph *g, int index)
{
    npu_val x = index < 2 ? op_test_in(g, "a", NPU_F32, OP_DIMS(8, 28, 28, 128)) : NPU_NONE;

    return x ? npu_resize(g, x, 56, 56, index ? NPU_RESIZE_BILINEAR : NPU_RESIZE_NEAREST) : NPU_NONE;
}

const struct npu_op npu_op_resize = {
    .name = "resize",
    .shape = resize_shape,
    .ref = resize_ref,
    .grad = resize_backward,
    .lower = resize_lower,
    .test_case = resize_case,
    .perf_case = resize_perf,
};

/* ---- gradient: in {gy} -> gx of a->h x a->w: the shape rule is the same ---- */

static int resize_grad_ref(const struct npu_ref_call *k)
{
    int64_t n = npu_shape_elements(&k->out[0].shape);
    float *gx = k->scratch;

    memset(gx, 0, (size_t)n * sizeof(*gx));
    resize_walk(&k->out[0], &k->in[0], NPU_ATTR(struct resize_attr, k->node)->bilinear, gx);
    for (int64_t i = 0; i < n; i++)
        npu_store(&k->out[0], i, gx[i]);
    return 0;
}

/* Sums are made in f32. */
static size_t resize_grad_scratch(const struct npu_node *n, const struct npu_tensor_type *in)
{
    const struct resize_attr *a = NPU_ATTR(struct resize_attr, n);

    return (size_t)(in[0].shape.dim[0] * a->h * a->w * in[0].shape.dim[3]) * sizeof(float) + 1;
}

static npu_val resize_grad_case(npu_graph *g, int index)
{
    struct resize_attr a;
    npu_val x;

    if (index >= N_CASES)
        return NPU_NONE;
    a = (struct resize_attr){resize_cases[index].h, resize_cases[index].w, resize_cases[index].bilinear};
    x = op_test_in(g, "a", resize_cases[index].t, 4, resize_cases[index].dim);
    return npu_node_add(g, &npu_op_resize_grad, &x, 1, &a, sizeof(a));
}

static npu_val resize_grad_perf(npu_graph *g, int index)
{
    struct resize_attr a = {28, 28, index};
    npu_val x;

    if (index > 1)
        return NPU_NONE;
    x = op_test_in(g, "a", NPU_F32, OP_DIMS(8, 56, 56, 128));
    return npu_node_add(g, &npu_op_resize_grad, &x, 1, &a, sizeof(a));
}

const struct npu_op npu_op_resize_grad = {
    .name = "resize_grad",
    .shape = resize_shape,
    .ref = resize_grad_ref,
    .ref_scratch = resize_grad_scratch,
    .lower = resize_lower,
    .test_case = resize_grad_case,
    .perf_case = resize_grad_perf,
};
