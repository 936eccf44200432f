/* batch_norm.c - y = (x - mean) / sqrt(var + eps) * gamma + beta for each channel (last axis), with given statistics or
 * with those of the batch, and the gradient of both.
 */
#include "libnpu/op/attr.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

npu_val npu_batch_norm(npu_graph *g, npu_val x, npu_val gamma, npu_val beta, npu_val mean, npu_val var, float eps,
                       float momentum, bool train)
{
    struct batch_norm_attr a = {.eps = eps};
    const struct npu_shape *s;
    npu_val y, r;
    int64_t rows;

    if (!train)
        return npu_node_add(g, &npu_op_batch_norm, (npu_val[]){x, gamma, beta, mean, var}, 5, &a, sizeof(a));
    y = npu_node_add(g, &npu_op_batch_norm_train, (npu_val[]){x, gamma, beta}, 3, &a, sizeof(a));
    if (y < 0)
        return y;
    s = npu_val_shape(g, x);
    rows = op_rows(s);
    r = npu_moving_average(g, mean, npu_node_output(g, y, 1), momentum, 1);
    if (r > 0)
        r = npu_moving_average(g, var, npu_node_output(g, y, 2), momentum,
                               rows > 1 ? (float)rows / (float)(rows - 1) : 1);
    return r < 0 ? r : y;
}

int npu_fold_batch_norm(float *w, size_t n_w, float *bias, size_t cout, const float *gamma, const float *beta,
                        const float *mean, const float *var, float eps)
{
    if (!cout || n_w % cout)
        return -EINVAL;
    for (size_t i = 0; i < n_w; i++)
        w[i] *= gamma[i % cout] / sqrtf(var[i % cout] + eps);
    for (size_t i = 0; i < cout; i++)
        bias[i] = (bias[i] - mean[i]) * gamma[i] / sqrtf(var[i] + eps) + beta[i];
    return 0;
}

/* x float of rank >= 1, in[first..n_in-1] f32 [C] */
static int check_inputs(struct npu_node *n, const struct npu_tensor_type *in, int want, int to, char *why, size_t size)
{
    static const char *const name[] = {"x", "gamma", "beta or mean", "mean or var", "var"};
    int64_t c = op_last(&in[0].shape);

    if (n->n_in != want || in[0].shape.rank < 1)
        return op_why(why, size, "x needs at least one axis, is %s", op_shape_text(&in[0].shape));
    if (!(NPU_ATTR(struct batch_norm_attr, n)->eps >= 0))
        return op_why(why, size, "eps must not be negative");
    for (int i = 1; i < to; i++)
        if (op_need_f32(in, i, name[i], 1, &c, why, size))
            return -EINVAL;
    return op_need_float(in, 0, why, size);
}

static int batch_norm_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out,
                            char *why, size_t size)
{
    out[0] = in[0];
    n->n_out = 1;
    return check_inputs(n, in, 5, 5, why, size);
}

static void normalise(const struct npu_tensor *x, const struct npu_tensor *y, const float *gamma, const float *beta,
                      const float *mean, const float *var, float eps)
{
    int64_t c = op_last(&x->shape), rows = op_rows(&x->shape);
    float bx[OP_ROW], by[OP_ROW];

    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < c; j += OP_ROW) {
            int64_t m = c - j < OP_ROW ? c - j : OP_ROW;
            const float *v = op_get(x, r * c + j, m, bx);

            for (int64_t k = 0; k < m; k++)
                by[k] = (v[k] - mean[j + k]) * (gamma[j + k] / sqrtf(var[j + k] + eps)) + beta[j + k];
            op_put(y, r * c + j, m, by);
        }
}

static int batch_norm_ref(const struct npu_ref_call *k)
{
    normalise(&k->in[0], &k->out[0], k->in[1].data, k->in[2].data, k->in[3].data, k->in[4].data,
              NPU_ATTR(struct batch_norm_attr, k->node)->eps);
    return 0;
}

static int add_grads(npu_graph *g, const struct npu_node *n, npu_val mean, npu_val var, npu_val gy, bool frozen,
                     npu_val *gin)
{
    struct batch_norm_attr a = {NPU_ATTR(struct batch_norm_attr, n)->eps, frozen};
    npu_val d =
        npu_node_add(g, &npu_op_batch_norm_grad, (npu_val[]){n->in[0], n->in[1], mean, var, gy}, 5, &a, sizeof(a));

    if (d < 0)
        return d;
    for (int i = 0; i < 3; i++)
        if (npu_val_needs_grad(g, n->in[i]))
            gin[i] = npu_node_output(g, d, i);
    return 0;
}

static int batch_norm_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    return add_grads(g, n, n->in[3], n->in[4], gout[0], true, gin);
}

static void apply_launch(struct npu_lower *l, const struct npu_node *n, npu_val mean, npu_val var)
{
    struct npu_shape s = npu_lower_type(l, n->in[0]).shape;
    struct npu_launch *k = op_launch(l, "batch_norm", "batch_norm");

    for (int i = 0; i < 3; i++)
        npu_launch_val(k, n->in[i]);
    npu_launch_val(k, mean);
    npu_launch_val(k, var);
    npu_launch_val(k, n->out[0]);
    npu_launch_f32(k, NPU_ATTR(struct batch_norm_attr, n)->eps);
    npu_launch_i32(k, op_rows(&s));
    npu_launch_i32(k, op_last(&s));
    op_launch_tiles(l, k, op_rows(&s), op_last(&s));
}

static int batch_norm_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_shape s = npu_lower_type(l, n->in[0]).shape;

    if (npu_shape_elements(&s))
        apply_launch(l, n, n->in[3], n->in[4]);
    return 0;
}

static const struct {
    enum npu_dtype t;
    int rank;
    int64_t dim[4];
} batch_norm_cases[] = {
    {NPU_F32, 4, {2, 3, 5, 11}},   {NPU_BF16, 2, {67, 24}}, {NPU_F32, 2, {0, 5}},
    {NPU_F32, 4, {3, 17, 19, 35}}, {NPU_F16, 1, {3}},       {NPU_F32, 2, {9, 1}},
};
enum { N_CASES = sizeof(batch_norm_cases) / sizeof(batch_norm_cases[0]) };

static void case_inputs(npu_graph *g, int index, npu_val *in)
{
    const int64_t *dim = batch_norm_cases[index].dim, *c = &dim[batch_norm_cases[index].rank - 1];

    in[0] = op_test_in(g, "a", batch_norm_cases[index].t, batch_norm_cases[index].rank, dim);
    in[1] = op_test_param(g, "b", 1, c);
    in[2] = op_test_param(g, "c", 1, c);
}

static const int64_t batch_norm_perf_dim[][4] = {{16, 64, 64, 32}, {16, 16, 16, 256}};

static npu_val perf_build(npu_graph *g, int index, bool train)
{
    const int64_t *dim = batch_norm_perf_dim[index];

    return npu_batch_norm(g, op_test_in(g, "a", NPU_F32, 4, dim), op_test_param(g, "gamma", 1, &dim[3]),
                          op_test_param(g, "beta", 1, &dim[3]), op_test_state(g, "mean", 1, &dim[3], -1, 1),
                          op_test_state(g, "var", 1, &dim[3], 0.5f, 1), 1e-5f, 0.1f, train);
}

static npu_val batch_norm_case(npu_graph *g, int index)
{
    const int64_t *c;
    npu_val in[5];

    if (index >= N_CASES)
        return NPU_NONE;
    case_inputs(g, index, in);
    c = &batch_norm_cases[index].dim[batch_norm_cases[index].rank - 1];
    in[3] = op_test_state(g, "mean", 1, c, -0.5f, 0.5f);
    in[4] = op_test_state(g, "var", 1, c, 0.5f, 1);
    return npu_batch_norm(g, in[0], in[1], in[2], in[3], in[4], 1e-3f, 0, false);
}

static npu_val batch_norm_perf(npu_graph *g, int index)
{
    return index > 1 ? NPU_NONE : perf_build(g, index, false);
}

const struct npu_op npu_op_batch_norm = {
    .name = "batch_norm",
    .shape = batch_norm_shape,
    .ref = batch_norm_ref,
    .grad = batch_norm_backward,
    .lower = batch_norm_lower,
    .test_case = batch_norm_case,
    .perf_case = batch_norm_perf,
};

/* ---- train: in {x, gamma, beta}, out {y, mean, biased var} ---- */

static int train_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                       size_t size)
{
    out[0] = in[0];
    out[1] = out[2] = in[1];
    n->n_out = 3;
    return check_inputs(n, in, 3, 3, why, size);
}

/* sums of each channel in double; out f32 */
static int train_ref(const struct npu_ref_call *k)
{
    const struct npu_tensor *x = &k->in[0];
    int64_t c = op_last(&x->shape), rows = op_rows(&x->shape);
    float *mean = k->out[1].data, *var = k->out[2].data;

    for (int64_t j = 0; j < c; j++) {
        double m = 0, v = 0;

        for (int64_t r = 0; r < rows; r++)
            m += npu_load(x, r * c + j);
        m = rows ? m / (double)rows : 0;
        for (int64_t r = 0; r < rows; r++)
            v += (npu_load(x, r * c + j) - m) * (npu_load(x, r * c + j) - m);
        mean[j] = (float)m;
        var[j] = rows ? (float)(v / (double)rows) : 0;
    }
    normalise(x, &k->out[0], k->in[1].data, k->in[2].data, mean, var, NPU_ATTR(struct batch_norm_attr, k->node)->eps);
    return 0;
}

static int train_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    return add_grads(g, n, n->out[1], n->out[2], gout[0], false, gin);
}

/* Two sums for each column of x: in parts of `len` rows first, about 64 of them, then of all. */
struct column_parts {
    int64_t rows, cols, len, count; /* count 0: no rows; cols 0: nothing to do */
    int buf;                        /* scratch: [count, 2, cols] f32 */
};

static int make_parts(const struct npu_node *n, struct npu_lower *l, struct column_parts *ret_parts)
{
    struct npu_shape s = npu_lower_type(l, n->in[0]).shape;
    struct column_parts p = {.rows = op_rows(&s), .cols = op_last(&s)};

    p.len = p.rows > 64 * 64 ? op_ceil_div(p.rows, 64) : 64;
    p.count = op_ceil_div(p.rows, p.len);
    if (p.cols)
        p.buf = npu_lower_scratch(l, (size_t)((p.count ? p.count : 1) * 2 * p.cols) * sizeof(float));
    if (p.buf < 0)
        return p.buf;
    *ret_parts = p;
    return 0;
}

static void part_args(struct npu_launch *k, const struct column_parts *p)
{
    const int64_t v[] = {p->rows, p->cols, p->count, p->len};

    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
        npu_launch_i32(k, v[i]);
}

static int train_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct column_parts p;
    struct npu_launch *k;
    int r = make_parts(n, l, &p);

    if (r < 0 || !p.cols)
        return r;
    if (p.count) {
        k = op_launch(l, "batch_norm", "batch_norm_stats");
        npu_launch_val(k, n->in[0]);
        npu_launch_buf(k, NPU_ARG_SCRATCH, p.buf);
        part_args(k, &p);
        op_launch_cols(l, k, p.count, p.cols, p.len);
    }
    k = op_launch(l, "batch_norm", "batch_norm_merge");
    npu_launch_val(k, n->out[1]);
    npu_launch_val(k, n->out[2]);
    npu_launch_buf(k, NPU_ARG_SCRATCH, p.buf);
    part_args(k, &p);
    op_launch_tiles(l, k, 1, p.cols);
    if (p.count)
        apply_launch(l, n, n->out[1], n->out[2]);
    return 0;
}

static npu_val train_case(npu_graph *g, int index)
{
    npu_val in[5], y;
    const int64_t *c;

    if (index >= N_CASES + 1)
        return NPU_NONE;
    if (index == N_CASES) { /* the running statistics: what they are after a run */
        in[0] = op_test_in(g, "a", NPU_F32, OP_DIMS(5, 7, 9));
        in[1] = op_test_param(g, "b", OP_DIMS(9));
        in[2] = op_test_param(g, "c", OP_DIMS(9));
        in[3] = op_test_state(g, "mean", OP_DIMS(9), -0.5f, 0.5f);
        in[4] = op_test_state(g, "var", OP_DIMS(9), 0.5f, 1);
        y = npu_batch_norm(g, in[0], in[1], in[2], in[3], in[4], 1e-3f, 0.1f, true);
        return y < 0 ? y : npu_concat(g, &in[3], 2, 0);
    }
    case_inputs(g, index, in);
    c = &batch_norm_cases[index].dim[batch_norm_cases[index].rank - 1];
    if (index == 3)
        npu_test_range(g, in[0], 3, 5); /* a mean far from 0 */
    in[3] = op_test_state(g, "mean", 1, c, -0.5f, 0.5f);
    in[4] = op_test_state(g, "var", 1, c, 0.5f, 1);
    return npu_batch_norm(g, in[0], in[1], in[2], in[3], in[4], 1e-3f, 0.1f, true);
}

static npu_val batch_norm_train_perf(npu_graph *g, int index)
{
    return index > 1 ? NPU_NONE : perf_build(g, index, true);
}

const struct npu_op npu_op_batch_norm_train = {
    .name = "batch_norm_train",
    .shape = train_shape,
    .ref = train_ref,
    .grad = train_backward,
    .lower = train_lower,
    .test_case = train_case,
    .perf_case = batch_norm_train_perf,
    .tol_rel = 2e-5f,
    .tol_abs = 2e-5f,
};

/* ---- gradient: in {x, gamma, mean, var, gy}, out {gx, dgamma, dbeta} ---- */

static int grad_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                      size_t size)
{
    if (n->n_in == 5 && !op_same_shape(&in[0].shape, &in[4].shape))
        return op_why(why, size, "x %s and gradient %s differ", op_shape_text(&in[0].shape),
                      op_shape_text(&in[4].shape));
    n->n_out = 3;
    out[0] = in[0];
    out[1] = out[2] = in[1];
    return check_inputs(n, in, 5, 4, why, size);
}

static int grad_ref(const struct npu_ref_call *k)
{
    const struct batch_norm_attr *a = NPU_ATTR(struct batch_norm_attr, k->node);
    const struct npu_tensor *x = &k->in[0], *gy = &k->in[4];
    const float *gamma = k->in[1].data, *mean = k->in[2].data, *var = k->in[3].data;
    int64_t c = op_last(&x->shape), rows = op_rows(&x->shape);
    float *dgamma = k->out[1].data, *dbeta = k->out[2].data;

    for (int64_t j = 0; j < c; j++) {
        float rstd = 1.0f / sqrtf(var[j] + a->eps);
        double dg = 0, db = 0, n = (double)rows;

        for (int64_t i = j; i < rows * c; i += c) {
            dg += npu_load(gy, i) * (npu_load(x, i) - mean[j]) * rstd;
            db += npu_load(gy, i);
        }
        dgamma[j] = (float)dg;
        dbeta[j] = (float)db;
        if (a->frozen)
            dg = db = 0;
        for (int64_t i = j; i < rows * c; i += c)
            npu_store(&k->out[0], i,
                      (float)(gamma[j] * rstd * (npu_load(gy, i) - (db + (npu_load(x, i) - mean[j]) * rstd * dg) / n)));
    }
    return 0;
}

static int grad_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct batch_norm_attr *a = NPU_ATTR(struct batch_norm_attr, n);
    struct column_parts p;
    struct npu_launch *k;
    int r = make_parts(n, l, &p);

    if (r < 0 || !p.cols)
        return r;
    if (p.count) {
        k = op_launch(l, "batch_norm", "batch_norm_grad_sums");
        for (int i = 0; i < 5; i++)
            npu_launch_val(k, n->in[i]);
        npu_launch_buf(k, NPU_ARG_SCRATCH, p.buf);
        npu_launch_f32(k, a->eps);
        part_args(k, &p);
        op_launch_cols(l, k, p.count, p.cols, p.len);
    }
    k = op_launch(l, "layer_norm", "layer_norm_sum");
    npu_launch_val(k, n->out[1]);
    npu_launch_val(k, n->out[2]);
    npu_launch_buf(k, NPU_ARG_SCRATCH, p.buf);
    npu_launch_i32(k, p.count);
    npu_launch_i32(k, p.cols);
    op_launch_tiles(l, k, 1, p.cols);
    if (!p.count)
        return 0;
    k = op_launch(l, "batch_norm", "batch_norm_grad");
    for (int i = 0; i < 5; i++)
        npu_launch_val(k, n->in[i]);
    for (int i = 0; i < 3; i++)
        npu_launch_val(k, n->out[i]);
    npu_launch_f32(k, a->eps);
    npu_launch_f32(k, a->frozen ? 0 : 1.0f / (float)p.rows);
    npu_launch_i32(k, p.rows);
    npu_launch_i32(k, p.cols);
    op_launch_tiles(l, k, p.rows, p.cols);
    return 0;
}

static npu_val grad_case(npu_graph *g, int index)
{
    static const int64_t dim[][2] = {{7, 13}, {700, 33}, {5000, 3}, {0, 4}, {1, 1}};
    struct batch_norm_attr a = {1e-3f, index % 2};
    npu_val in[5], d, all[3];

    if (index / 2 >= (int)(sizeof(dim) / sizeof(dim[0])))
        return NPU_NONE;
    in[0] = op_test_in(g, "a", NPU_F32, 2, dim[index / 2]);
    in[1] = op_test_param(g, "gamma", 1, &dim[index / 2][1]);
    in[2] = op_test_state(g, "mean", 1, &dim[index / 2][1], -0.5f, 0.5f);
    in[3] = op_test_state(g, "var", 1, &dim[index / 2][1], 0.2f, 2);
    in[4] = op_test_in(g, "b", NPU_F32, 2, dim[index / 2]);
    d = npu_node_add(g, &npu_op_batch_norm_grad, in, 5, &a, sizeof(a));
    all[0] = npu_cast(g, d, NPU_F32);
    for (int i = 1; d > 0 && i < 3; i++)
        all[i] = npu_reshape(g, npu_node_output(g, d, i), OP_DIMS(1, -1));
    return d < 0 ? d : npu_concat(g, all, 3, 0);
}

static npu_val batch_norm_grad_perf(npu_graph *g, int index)
{
    const int64_t *dim = batch_norm_perf_dim[index < 2 ? index : 0];
    struct batch_norm_attr a = {1e-5f, false};
    npu_val in[5];

    if (index > 1)
        return NPU_NONE;
    in[0] = op_test_in(g, "a", NPU_F32, 4, dim);
    in[1] = op_test_param(g, "gamma", 1, &dim[3]);
    in[2] = op_test_state(g, "mean", 1, &dim[3], -0.5f, 0.5f);
    in[3] = op_test_state(g, "var", 1, &dim[3], 0.2f, 2);
    in[4] = op_test_in(g, "b", NPU_F32, 4, dim);
    return npu_node_add(g, &npu_op_batch_norm_grad, in, 5, &a, sizeof(a));
}

const struct npu_op npu_op_batch_norm_grad = {
    .name = "batch_norm_grad",
    .shape = grad_shape,
    .ref = grad_ref,
    .lower = grad_lower,
    .test_case = grad_case,
    .perf_case = batch_norm_grad_perf,
    .elementwise = true, /* gx is written when the sums are made: over x or gy */
    .tol_rel = 1e-5f,
    .tol_abs = 1e-4f,
};
