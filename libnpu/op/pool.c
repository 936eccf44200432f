/* pool.c - max and mean of windows of NHWC pictures, and their gradients.
 *
 * Padding never wins a maximum and is not counted in a mean. The maximum's gradient goes to the first element, in row
 * order, that has the maximum. Gradients gather: each element of x looks at the windows that cover it.
 */
#include "libnpu/op/exact.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

/* Of x [n, h, w, c] and the result [n, oh, ow, c]. */
struct pool_view {
    int64_t n, h, w, c, oh, ow;
    int kernel, stride, pad;
};

static npu_val pool(npu_graph *g, const struct npu_op *op, npu_val x, struct npu_pool_opts o)
{
    if (!o.stride)
        o.stride = o.kernel;
    return npu_node_add(g, op, &x, 1, &o, sizeof(o));
}

npu_val npu_max_pool(npu_graph *g, npu_val x, struct npu_pool_opts o)
{
    return pool(g, &npu_op_max_pool, x, o);
}

npu_val npu_mean_pool(npu_graph *g, npu_val x, struct npu_pool_opts o)
{
    return pool(g, &npu_op_mean_pool, x, o);
}

static struct pool_view pool_view(const struct npu_node *n, const struct npu_shape *x, const struct npu_shape *y)
{
    const struct npu_pool_opts *o = NPU_ATTR(struct npu_pool_opts, n);

    return (struct pool_view){x->dim[0], x->dim[1], x->dim[2], x->dim[3], y->dim[1],
                              y->dim[2], o->kernel, o->stride, o->pad};
}

/* The type of y for in[0] = x. */
static int result_type(const struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out,
                       char *why, size_t size)
{
    const struct npu_pool_opts *o = NPU_ATTR(struct npu_pool_opts, n);
    const struct npu_shape *s = &in[0].shape;

    if (s->rank != 4)
        return op_why(why, size, "x must be [n, h, w, c], is %s", op_shape_text(s));
    if (o->kernel < 1 || o->stride < 1 || o->pad < 0 || o->pad >= o->kernel)
        return op_why(why, size, "kernel %d, stride %d, pad %d: needs kernel >= 1, stride >= 1, 0 <= pad < kernel",
                      o->kernel, o->stride, o->pad);
    if (s->dim[1] + 2 * o->pad < o->kernel || s->dim[2] + 2 * o->pad < o->kernel)
        return op_why(why, size, "a kernel of %d with pad %d does not fit into %s", o->kernel, o->pad,
                      op_shape_text(s));
    out[0] = in[0];
    for (int i = 1; i < 3; i++)
        out[0].shape.dim[i] = (s->dim[i] + 2 * o->pad - o->kernel) / o->stride + 1;
    return 0;
}

static int pool_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                      size_t size)
{
    int r = 0;

    n->n_out = 1;
    if (n->n_in != 1)
        return op_why(why, size, "needs 1 input, got %d", n->n_in);
    if (n->op == &npu_op_mean_pool || in[0].dtype != NPU_I8) /* the largest of int8 is int8 */
        r = op_need_float(in, 0, why, size);
    return r < 0 ? r : result_type(n, in, out, why, size);
}

/* The part of window o that lies inside [0, n). */
static int64_t window(const struct pool_view *v, int64_t o, int64_t n, int64_t *ret_end)
{
    int64_t at = o * v->stride - v->pad, end = at + v->kernel;

    *ret_end = end < n ? end : n;
    return at > 0 ? at : 0;
}

static int pool_ref(const struct npu_ref_call *k)
{
    struct pool_view v = pool_view(k->node, &k->in[0].shape, &k->out[0].shape);
    bool max = k->node->op == &npu_op_max_pool;
    int64_t at = 0, y1, x1;

    for (int64_t b = 0; b < v.n; b++)
        for (int64_t oy = 0; oy < v.oh; oy++)
            for (int64_t ox = 0; ox < v.ow; ox++) {
                int64_t y0 = window(&v, oy, v.h, &y1), x0 = window(&v, ox, v.w, &x1);

                for (int64_t c = 0; c < v.c; c++) {
                    float m = -INFINITY, sum = 0;

                    for (int64_t y = y0; y < y1; y++)
                        for (int64_t x = x0; x < x1; x++) {
                            float t = npu_load(&k->in[0], ((b * v.h + y) * v.w + x) * v.c + c);

                            m = t > m ? t : m;
                            sum += t;
                        }
                    npu_store(&k->out[0], at++, max ? m : sum / (float)((y1 - y0) * (x1 - x0)));
                }
            }
    return 0;
}

static int pool_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    bool max = n->op == &npu_op_max_pool;
    npu_val in[3] = {n->in[0], n->out[0], gout[0]};

    gin[0] = npu_node_add(g, max ? &npu_op_max_pool_grad : &npu_op_mean_pool_grad, in, 3, n->attr,
                          sizeof(struct npu_pool_opts));
    return gin[0] < 0 ? gin[0] : 0;
}

static void view_args(struct npu_launch *k, const struct pool_view *v)
{
    const int64_t a[] = {v->n, v->h, v->w, v->c, v->oh, v->ow, v->kernel, v->stride, v->pad};

    for (size_t i = 0; i < sizeof(a) / sizeof(a[0]); i++)
        npu_launch_i32(k, a[i]);
}

static int pool_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_tensor_type x = npu_lower_type(l, n->in[0]), y = npu_lower_type(l, n->out[0]);
    struct pool_view v = pool_view(n, &x.shape, &y.shape);
    struct npu_launch *k;

    if (!npu_shape_elements(&y.shape))
        return 0;
    k = op_launch(l, "pool", n->op == &npu_op_max_pool ? "max_pool" : "mean_pool");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    view_args(k, &v);
    op_launch_tiles(l, k, v.n * v.oh * v.ow, v.c);
    return 0;
}

static const struct {
    enum npu_dtype t;
    int64_t dim[4];
    struct npu_pool_opts o;
} pool_cases[] = {
    {NPU_F32, {2, 7, 9, 5}, {3, 2, 1}},   {NPU_F32, {1, 1, 1, 1}, {1, 1, 0}},    {NPU_F32, {0, 4, 4, 3}, {2, 2, 0}},
    {NPU_BF16, {2, 8, 8, 16}, {2, 2, 0}}, {NPU_F32, {3, 13, 11, 20}, {5, 1, 2}}, {NPU_F32, {2, 33, 31, 24}, {3, 2, 0}},
    {NPU_F16, {1, 6, 5, 9}, {2, 3, 1}},
};
enum { N_CASES = sizeof(pool_cases) / sizeof(pool_cases[0]) };

static npu_val pool_case(npu_graph *g, int index, npu_val (*build)(npu_graph *, npu_val, struct npu_pool_opts))
{
    if (index >= N_CASES)
        return NPU_NONE;
    return build(g, op_test_in(g, "a", pool_cases[index].t, 4, pool_cases[index].dim), pool_cases[index].o);
}

static npu_val pool_perf(npu_graph *g, int index, npu_val (*build)(npu_graph *, npu_val, struct npu_pool_opts))
{
    npu_val x = index < 2 ? op_test_in(g, "a", NPU_F32, OP_DIMS(8, 112, 112, 64)) : NPU_NONE;

    return x ? build(g, x, index ? (struct npu_pool_opts){2, 2, 0} : (struct npu_pool_opts){3, 2, 1}) : NPU_NONE;
}

static npu_val pool_grad_perf(npu_graph *g, int index, bool max)
{
    struct npu_pool_opts o = index ? (struct npu_pool_opts){2, 2, 0} : (struct npu_pool_opts){3, 2, 1};
    npu_val in[3];

    if (index > 1)
        return NPU_NONE;
    in[0] = op_test_in(g, "a", NPU_F32, OP_DIMS(8, 112, 112, 64));
    in[1] = op_test_in(g, "b", NPU_F32, OP_DIMS(8, 56, 56, 64));
    in[2] = op_test_in(g, "c", NPU_F32, OP_DIMS(8, 56, 56, 64));
    return npu_node_add(g, max ? &npu_op_max_pool_grad : &npu_op_mean_pool_grad, in, 3, &o, sizeof(o));
}

static npu_val max_pool_case(npu_graph *g, int index)
{
    static const int64_t dim[][4] = {{2, 9, 7, 85}, {1, 4, 4, 3}};
    npu_val x;

    if (index < N_CASES)
        return pool_case(g, index, npu_max_pool);
    if (index >= N_CASES + 2)
        return NPU_NONE;
    x = op_test_in(g, "a", NPU_I8, 4, dim[index - N_CASES]);
    npu_test_range(g, x, -128, 128);
    return npu_max_pool(g, x, (struct npu_pool_opts){3, 2, 1});
}

static npu_val mean_pool_case(npu_graph *g, int index)
{
    return pool_case(g, index, npu_mean_pool);
}

static npu_val max_pool_perf(npu_graph *g, int index)
{
    return pool_perf(g, index, npu_max_pool);
}

const struct npu_op npu_op_max_pool = {
    .name = "max_pool",
    .shape = pool_shape,
    .ref = pool_ref,
    .grad = pool_backward,
    .lower = pool_lower,
    .test_case = max_pool_case,
    .perf_case = max_pool_perf,
    .moves = true,
    .kinks = true,
    .exact = true,
};

static npu_val mean_pool_perf(npu_graph *g, int index)
{
    return pool_perf(g, index, npu_mean_pool);
}

const struct npu_op npu_op_mean_pool = {
    .name = "mean_pool",
    .shape = pool_shape,
    .ref = pool_ref,
    .grad = pool_backward,
    .lower = pool_lower,
    .test_case = mean_pool_case,
    .perf_case = mean_pool_perf,
    .exact_ref = npu_exact_mean_pool_ref,
    .exact_lower = npu_exact_mean_pool_lower,
};

/* ---- gradients: in {x, y, gy}; the mean's does not read x and y ---- */

static int pool_grad_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                           size_t size)
{
    struct npu_tensor_type y;

    if (n->n_in != 3)
        return op_why(why, size, "needs x, y and a gradient");
    if (result_type(n, in, &y, why, size) || op_need_float(in, 0, why, size) || op_need_float(in, 1, why, size) ||
        op_need_float(in, 2, why, size))
        return -EINVAL;
    n->n_out = 1;
    out[0] = in[0];
    if (!op_same_shape(&y.shape, &in[1].shape) || !op_same_shape(&y.shape, &in[2].shape))
        return op_why(why, size, "y %s or gradient %s is not %s", op_shape_text(&in[1].shape),
                      op_shape_text(&in[2].shape), op_shape_text(&y.shape));
    return 0;
}

static int pool_grad_ref(const struct npu_ref_call *k)
{
    struct pool_view v = pool_view(k->node, &k->in[0].shape, &k->in[1].shape);
    bool max = k->node->op == &npu_op_max_pool_grad;
    int64_t at = 0, y1, x1, n = npu_shape_elements(&k->out[0].shape);
    float *gx = k->scratch;

    memset(gx, 0, (size_t)n * sizeof(*gx));
    for (int64_t b = 0; b < v.n; b++)
        for (int64_t oy = 0; oy < v.oh; oy++)
            for (int64_t ox = 0; ox < v.ow; ox++) {
                int64_t y0 = window(&v, oy, v.h, &y1), x0 = window(&v, ox, v.w, &x1);

                for (int64_t c = 0; c < v.c; c++, at++) {
                    float gy = npu_load(&k->in[2], at), top = npu_load(&k->in[1], at);
                    bool found = false;

                    for (int64_t i = 0; i < (y1 - y0) * (x1 - x0); i++) {
                        int64_t to = ((b * v.h + y0 + i / (x1 - x0)) * v.w + x0 + i % (x1 - x0)) * v.c + c;
                        float d = max ? gy : gy / (float)((y1 - y0) * (x1 - x0));

                        if (max && (found || npu_load(&k->in[0], to) != top))
                            continue;
                        found = true;
                        gx[to] += d;
                    }
                }
            }
    for (int64_t i = 0; i < n; i++)
        npu_store(&k->out[0], i, gx[i]);
    return 0;
}

/* Sums are made in f32. */
static size_t pool_grad_scratch(const struct npu_node *n, const struct npu_tensor_type *in)
{
    return (size_t)npu_shape_elements(&in[0].shape) * sizeof(float) + 1;
}

static int pool_grad_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_tensor_type x = npu_lower_type(l, n->in[0]), y = npu_lower_type(l, n->in[1]);
    struct pool_view v = pool_view(n, &x.shape, &y.shape);
    bool max = n->op == &npu_op_max_pool_grad;
    struct npu_launch *k;

    if (!npu_shape_elements(&x.shape))
        return 0;
    k = op_launch(l, "pool", max ? "max_pool_grad" : "mean_pool_grad");
    for (int i = max ? 0 : 2; i < 3; i++)
        npu_launch_val(k, n->in[i]);
    npu_launch_val(k, n->out[0]);
    view_args(k, &v);
    op_launch_tiles(l, k, v.n * v.h * v.w, v.c);
    return 0;
}

static npu_val pool_grad_case(npu_graph *g, int index, bool max)
{
    npu_val in[3];

    if (index >= N_CASES)
        return NPU_NONE;
    in[0] = op_test_in(g, "a", pool_cases[index].t, 4, pool_cases[index].dim);
    in[1] = max ? npu_max_pool(g, in[0], pool_cases[index].o) : npu_mean_pool(g, in[0], pool_cases[index].o);
    if (in[1] < 0)
        return in[1];
    in[2] = op_test_in(g, "b", pool_cases[index].t, 4, npu_val_shape(g, in[1])->dim);
    return npu_node_add(g, max ? &npu_op_max_pool_grad : &npu_op_mean_pool_grad, in, 3, &pool_cases[index].o,
                        sizeof(struct npu_pool_opts));
}

static npu_val max_pool_grad_case(npu_graph *g, int index)
{
    npu_val in[3];

    if (index < N_CASES)
        return pool_grad_case(g, index, true);
    if (index > N_CASES)
        return NPU_NONE;
    in[0] = op_test_in(g, "a", NPU_I8, OP_DIMS(2, 9, 9, 11)); /* whole numbers: ties */
    npu_test_range(g, in[0], -2, 2);
    in[0] = npu_cast(g, in[0], NPU_F32);
    in[1] = npu_max_pool(g, in[0], (struct npu_pool_opts){3, 2, 1});
    in[2] = op_test_in(g, "b", NPU_F32, OP_DIMS(2, 5, 5, 11));
    return npu_node_add(g, &npu_op_max_pool_grad, in, 3, &(struct npu_pool_opts){3, 2, 1},
                        sizeof(struct npu_pool_opts));
}

static npu_val mean_pool_grad_case(npu_graph *g, int index)
{
    return pool_grad_case(g, index, false);
}

static npu_val max_pool_grad_perf(npu_graph *g, int index)
{
    return pool_grad_perf(g, index, true);
}

const struct npu_op npu_op_max_pool_grad = {
    .name = "max_pool_grad",
    .shape = pool_grad_shape,
    .ref = pool_grad_ref,
    .ref_scratch = pool_grad_scratch,
    .lower = pool_grad_lower,
    .test_case = max_pool_grad_case,
    .perf_case = max_pool_grad_perf,
};

static npu_val mean_pool_grad_perf(npu_graph *g, int index)
{
    return pool_grad_perf(g, index, false);
}

const struct npu_op npu_op_mean_pool_grad = {
    .name = "mean_pool_grad",
    .shape = pool_grad_shape,
    .ref = pool_grad_ref,
    .ref_scratch = pool_grad_scratch,
    .lower = pool_grad_lower,
    .test_case = mean_pool_grad_case,
    .perf_case = mean_pool_grad_perf,
};
