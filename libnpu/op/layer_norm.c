/* layer_norm.c - y = (x - mean) / sqrt(var + eps) * gamma + beta over the last axis, and its gradient.
 *
 * The gradient computes mean and variance again: a row is small, reading it once more costs less than keeping them.
 */
#include "libnpu/op/attr.h"
#include "libnpu/op/exact.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"
#include "libnpu/tier/avx2.h"

npu_val npu_layer_norm(npu_graph *g, npu_val x, npu_val gamma, npu_val beta, float eps)
{
    return npu_node_add(g, &npu_op_layer_norm, (npu_val[]){x, gamma, beta}, 3, &(struct layer_norm_attr){eps},
                        sizeof(struct layer_norm_attr));
}

static int layer_norm_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out,
                            char *why, size_t size)
{
    int64_t c = op_last(&in[0].shape);

    if (n->n_in != 3 || in[0].shape.rank < 1)
        return op_why(why, size, "x needs at least one axis, is %s", op_shape_text(&in[0].shape));
    if (!(NPU_ATTR(struct layer_norm_attr, n)->eps >= 0))
        return op_why(why, size, "eps must not be negative");
    if (op_need_float(in, 0, why, size) || op_need_f32(in, 1, "gamma", 1, &c, why, size) ||
        op_need_f32(in, 2, "beta", 1, &c, why, size))
        return -EINVAL;
    n->n_out = 1;
    out[0] = in[0];
    return 0;
}

/* mean and 1 / sqrt(var + eps) of a row */
static void row_stats(const struct npu_tensor *x, int64_t row, int64_t c, float eps, double *ret_mean, double *ret_rstd)
{
    double sum = 0, sq = 0;

    for (int64_t j = 0; j < c; j++)
        sum += npu_load(x, row * c + j);
    sum /= (double)c;
    for (int64_t j = 0; j < c; j++)
        sq += (npu_load(x, row * c + j) - sum) * (npu_load(x, row * c + j) - sum);
    *ret_mean = sum;
    *ret_rstd = 1 / sqrt(sq / (double)c + eps);
}

static int layer_norm_ref(const struct npu_ref_call *k)
{
    float eps = NPU_ATTR(struct layer_norm_attr, k->node)->eps;
    int64_t c = op_last(&k->in[0].shape), rows = op_rows(&k->in[0].shape);
    const float *gamma = k->in[1].data, *beta = k->in[2].data;
    double mean, rstd;

    for (int64_t r = 0; c && r < rows; r++) {
        row_stats(&k->in[0], r, c, eps, &mean, &rstd);
        for (int64_t j = 0; j < c; j++)
            npu_store(&k->out[0], r * c + j,
                      (float)((npu_load(&k->in[0], r * c + j) - mean) * rstd) * gamma[j] + beta[j]);
    }
    return 0;
}

static int layer_norm_backward(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    npu_val in[3] = {n->in[0], n->in[1], gout[0]};
    npu_val d = npu_node_add(g, &npu_op_layer_norm_grad, in, 3, n->attr, sizeof(struct layer_norm_attr));

    if (d < 0)
        return d;
    for (int i = 0; i < 3; i++)
        if (npu_val_needs_grad(g, n->in[i]))
            gin[i] = npu_node_output(g, d, i);
    return 0;
}

static int64_t row_block(const struct npu_lower *l, int64_t rows, int64_t c)
{
    int64_t want = 4 * (int64_t)npu_lower_traits(l)->compute_units, block = c < 4096 ? 4096 / c : 1;

    if (!op_is_cpu(l))
        return 1;
    return block * want > rows ? op_ceil_div(rows, want) : block;
}

static int layer_norm_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_shape s = npu_lower_type(l, n->in[0]).shape;
    int64_t c = op_last(&s), rows = op_rows(&s), block;
    struct npu_launch *k;

    if (!c || !rows || npu_avx2_lower_layer_norm(l, n->in, n->out[0], NPU_ATTR(struct layer_norm_attr, n)->eps) == 0)
        return 0;
    block = row_block(l, rows, c);
    k = op_launch(l, "layer_norm", "layer_norm");
    for (int i = 0; i < 3; i++)
        npu_launch_val(k, n->in[i]);
    npu_launch_val(k, n->out[0]);
    npu_launch_f32(k, NPU_ATTR(struct layer_norm_attr, n)->eps);
    npu_launch_i32(k, rows);
    npu_launch_i32(k, c);
    npu_launch_i32(k, block);
    op_launch_items(l, k, op_ceil_div(rows, block));
    return 0;
}

static npu_val layer_norm_case(npu_graph *g, int index)
{
    static const struct {
        enum npu_dtype t;
        int rank;
        int64_t dim[3];
    } t[] = {
        {NPU_F32, 3, {2, 5, 19}}, {NPU_F32, 1, {1}},          {NPU_F32, 2, {0, 4}},
        {NPU_BF16, 2, {9, 48}},   {NPU_F32, 3, {3, 67, 192}}, {NPU_F16, 2, {70, 7}},
    };
    npu_val x, gamma, beta;

    if (index >= (int)(sizeof(t) / sizeof(t[0])))
        return NPU_NONE;
    x = op_test_in(g, "a", t[index].t, t[index].rank, t[index].dim);
    gamma = op_test_param(g, "b", 1, &t[index].dim[t[index].rank - 1]);
    beta = op_test_param(g, "c", 1, &t[index].dim[t[index].rank - 1]);
    return npu_layer_norm(g, x, gamma, beta, index == 1 ? 0.1f : 1e-5f);
}

static npu_val layer_norm_perf(npu_graph *g, int index)
{
    const int64_t c = 192;

    if (index)
        return NPU_NONE;
    return npu_layer_norm(g, op_test_in(g, "a", NPU_F32, OP_DIMS(16, 197, 192)), op_test_param(g, "gamma", 1, &c),
                          op_test_param(g, "beta", 1, &c), 1e-5f);
}

const struct npu_op npu_op_layer_norm = {
    .name = "layer_norm",
    .shape = layer_norm_shape,
    .ref = layer_norm_ref,
    .grad = layer_norm_backward,
    .lower = layer_norm_lower,
    .test_case = layer_norm_case,
    .perf_case = layer_norm_perf,
    .exact_ref = npu_exact_layer_norm_ref,
    .exact_lower = npu_exact_layer_norm_lower,
};

/* ---- gradient: in {x, gamma, gy}, out {gx, dgamma, dbeta} ---- */

static int layer_norm_grad_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out,
                                 char *why, size_t size)
{
    int64_t c = op_last(&in[0].shape);

    if (n->n_in != 3 || in[0].shape.rank < 1 || !op_same_shape(&in[0].shape, &in[2].shape))
        return op_why(why, size, "x %s and gradient %s differ", op_shape_text(&in[0].shape),
                      op_shape_text(&in[2].shape));
    if (op_need_float(in, 0, why, size) || op_need_float(in, 2, why, size) ||
        op_need_f32(in, 1, "gamma", 1, &c, why, size))
        return -EINVAL;
    n->n_out = 3;
    out[0] = in[0];
    out[1] = out[2] = in[1];
    return 0;
}

static int layer_norm_grad_ref(const struct npu_ref_call *k)
{
    float eps = NPU_ATTR(struct layer_norm_attr, k->node)->eps;
    int64_t c = op_last(&k->in[0].shape), rows = op_rows(&k->in[0].shape);
    const float *gamma = k->in[1].data;
    float *dgamma = k->out[1].data, *dbeta = k->out[2].data;

    for (int64_t j = 0; j < c; j++)
        dgamma[j] = dbeta[j] = 0;
    for (int64_t r = 0; c && r < rows; r++) {
        double mean, rstd, m1 = 0, m2 = 0;

        row_stats(&k->in[0], r, c, eps, &mean, &rstd);
        for (int64_t j = 0; j < c; j++) {
            float gy = npu_load(&k->in[2], r * c + j), xhat = (float)((npu_load(&k->in[0], r * c + j) - mean) * rstd);

            dgamma[j] += gy * xhat;
            dbeta[j] += gy;
            m1 += gy * gamma[j];
            m2 += gy * gamma[j] * xhat;
        }
        for (int64_t j = 0; j < c; j++) {
            float gy = npu_load(&k->in[2], r * c + j), xhat = (float)((npu_load(&k->in[0], r * c + j) - mean) * rstd);

            npu_store(&k->out[0], r * c + j, (float)(rstd * (gy * gamma[j] - (m1 + xhat * m2) / (double)c)));
        }
    }
    return 0;
}

/* Each part of the rows leaves its sums for gamma and beta; the last kernel adds them up. */
static int layer_norm_grad_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_shape s = npu_lower_type(l, n->in[0]).shape;
    int64_t c = op_last(&s), rows = op_rows(&s), parts, block;
    struct npu_launch *k;
    int buf;

    if (!c)
        return 0;
    block = op_ceil_div(rows, 64) > 4 ? op_ceil_div(rows, 64) : 4;
    parts = rows ? op_ceil_div(rows, block) : 1;
    buf = npu_lower_scratch(l, (size_t)(parts * 2 * c) * sizeof(float));
    if (buf < 0)
        return buf;
    k = op_launch(l, "layer_norm", "layer_norm_grad");
    for (int i = 0; i < 3; i++)
        npu_launch_val(k, n->in[i]);
    npu_launch_val(k, n->out[0]);
    npu_launch_buf(k, NPU_ARG_SCRATCH, buf);
    npu_launch_f32(k, NPU_ATTR(struct layer_norm_attr, n)->eps);
    npu_launch_i32(k, rows);
    npu_launch_i32(k, c);
    npu_launch_i32(k, block);
    npu_launch_i32(k, parts);
    op_launch_items(l, k, parts);
    k = op_launch(l, "layer_norm", "layer_norm_sum");
    npu_launch_val(k, n->out[1]);
    npu_launch_val(k, n->out[2]);
    npu_launch_buf(k, NPU_ARG_SCRATCH, buf);
    npu_launch_i32(k, parts);
    npu_launch_i32(k, c);
    op_launch_tiles(l, k, 1, c);
    return 0;
}

/* All three gradients as one tensor of rows. */
static npu_val layer_norm_grad_case(npu_graph *g, int index)
{
    static const struct {
        enum npu_dtype t;
        int64_t dim[2];
    } t[] = {{NPU_F32, {5, 11}}, {NPU_F32, {700, 67}}, {NPU_F32, {0, 5}}, {NPU_F32, {1, 1}}};
    npu_val in[3], d, all[3];

    if (index >= (int)(sizeof(t) / sizeof(t[0])))
        return NPU_NONE;
    in[0] = op_test_in(g, "a", t[index].t, 2, t[index].dim);
    in[1] = op_test_param(g, "b", 1, &t[index].dim[1]);
    in[2] = op_test_in(g, "c", t[index].t, 2, t[index].dim);
    d = npu_node_add(g, &npu_op_layer_norm_grad, in, 3, &(struct layer_norm_attr){1e-3f},
                     sizeof(struct layer_norm_attr));
    all[0] = npu_cast(g, d, NPU_F32);
    for (int i = 1; d > 0 && i < 3; i++)
        all[i] = npu_reshape(g, npu_node_output(g, d, i), OP_DIMS(1, -1));
    return d < 0 ? d : npu_concat(g, all, 3, 0);
}

static npu_val layer_norm_grad_perf(npu_graph *g, int index)
{
    const int64_t c = 192;
    npu_val in[3];

    if (index)
        return NPU_NONE;
    in[0] = op_test_in(g, "a", NPU_F32, OP_DIMS(16, 197, 192));
    in[1] = op_test_param(g, "gamma", 1, &c);
    in[2] = op_test_in(g, "b", NPU_F32, OP_DIMS(16, 197, 192));
    return npu_node_add(g, &npu_op_layer_norm_grad, in, 3, &(struct layer_norm_attr){1e-5f},
                        sizeof(struct layer_norm_attr));
}

const struct npu_op npu_op_layer_norm_grad = {
    .name = "layer_norm_grad",
    .shape = layer_norm_grad_shape,
    .ref = layer_norm_grad_ref,
    .lower = layer_norm_grad_lower,
    .test_case = layer_norm_grad_case,
    .perf_case = layer_norm_grad_perf,
    .tol_rel = 1e-5f,
    .tol_abs = 1e-4f,
};
