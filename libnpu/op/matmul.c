/* matmul.c - C = residual + act(scale * op(A) op(B) + bias), batched. Kernels: matmul_lower.c, kernels/gemm.cl. */
#include "libnpu/op/matmul.h"

#include "libnpu/op/exact.h"
static int64_t leading(const struct npu_shape *s)
{
    int64_t n = 1;

    for (int i = 0; i + 2 < s->rank; i++)
        n *= s->dim[i];
    return n;
}

struct npu_matmul_dims npu_matmul_dims(const struct npu_matmul_attr *at, const struct npu_shape *a,
                                       const struct npu_shape *b)
{
    struct npu_matmul_dims d = {
        .batch = leading(a),
        .m = a->dim[a->rank - (at->trans_a ? 1 : 2)],
        .k = a->dim[a->rank - (at->trans_a ? 2 : 1)],
        .n = b->dim[b->rank - (at->trans_b ? 2 : 1)],
        .shared_b = b->rank == 2,
    };
    /* rows of all pictures make one tall matrix */
    if (d.shared_b && !at->trans_a) {
        d.m *= d.batch;
        d.batch = 1;
    }
    return d;
}

/* ---- builder ---- */
npu_val npu_matmul(npu_graph *g, npu_val a, npu_val b, const struct npu_matmul_opts *opts)
{
    const struct npu_matmul_opts o = opts ? *opts : (struct npu_matmul_opts){0};
    struct npu_matmul_attr at = {o.trans_a, o.trans_b, o.act, o.out_f32, o.scale == 0.0f ? 1.0f : o.scale};
    npu_val in[NPU_MATMUL_INPUTS] = {a, b, o.bias, o.residual}, y;
    const bool split = (npu_graph_flags(g) & NPU_GRAPH_TRAIN) && o.act != NPU_ACT_NONE;

    if (split) {
        at.act = NPU_ACT_NONE;
        in[NPU_MATMUL_RESIDUAL] = NPU_NONE;
    }
    y = npu_node_add(g, &npu_op_matmul, in, NPU_MATMUL_INPUTS, &at, sizeof at);
    if (!split)
        return y;
    y = npu_mat_act_node(g, y, o.act);
    return o.residual == NPU_NONE ? y : npu_add(g, y, o.residual);
}

/* ---- shape rule ---- */
static int matmul_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                        size_t why_size)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);
    const struct npu_shape *a = &in[NPU_MATMUL_A].shape, *b = &in[NPU_MATMUL_B].shape;
    const struct npu_shape *bias = &in[NPU_MATMUL_BIAS].shape, *res = &in[NPU_MATMUL_RESIDUAL].shape;
    char ta[96], tb[96];
    int64_t ka, kb;

    snprintf(why, why_size, "a %s%s, b %s%s do not fit", npu_mat_dims(a, ta), at->trans_a ? "^T" : "",
             npu_mat_dims(b, tb), at->trans_b ? "^T" : "");
    if (n->in[NPU_MATMUL_A] == NPU_NONE || n->in[NPU_MATMUL_B] == NPU_NONE || a->rank < 2 || b->rank < 2 ||
        (b->rank != 2 && b->rank != a->rank) || at->act > NPU_ACT_SIGMOID)
        return -EINVAL;
    for (int i = 0; i + 2 < b->rank; i++)
        if (a->dim[i] != b->dim[i])
            return -EINVAL;
    ka = a->dim[a->rank - (at->trans_a ? 2 : 1)];
    kb = b->dim[b->rank - (at->trans_b ? 1 : 2)];
    if (ka != kb)
        return -EINVAL;
    for (int i = 0; i < NPU_MATMUL_INPUTS; i++)
        if (n->in[i] != NPU_NONE && !npu_mat_float(in[i].dtype)) {
            snprintf(why, why_size, "input %d is %s, not a float type", i, npu_dtype_name(in[i].dtype));
            return -EINVAL;
        }
    out[0].dtype = at->out_f32 ? NPU_F32 : in[NPU_MATMUL_A].dtype;
    out[0].shape = *a;
    out[0].shape.dim[a->rank - 2] = a->dim[a->rank - (at->trans_a ? 1 : 2)];
    out[0].shape.dim[a->rank - 1] = b->dim[b->rank - (at->trans_b ? 2 : 1)];
    if (n->in[NPU_MATMUL_BIAS] != NPU_NONE && (bias->rank != 1 || bias->dim[0] != out[0].shape.dim[a->rank - 1])) {
        snprintf(why, why_size, "bias %s for a result %s", npu_mat_dims(bias, ta), npu_mat_dims(&out[0].shape, tb));
        return -EINVAL;
    }
    if (n->in[NPU_MATMUL_RESIDUAL] != NPU_NONE &&
        (res->rank != a->rank || memcmp(res->dim, out[0].shape.dim, sizeof res->dim[0] * (size_t)a->rank) != 0)) {
        snprintf(why, why_size, "residual %s for a result %s", npu_mat_dims(res, ta), npu_mat_dims(&out[0].shape, tb));
        return -EINVAL;
    }
    return 0;
}

/* ---- C reference: rows of B stay in order, so the inner loop runs over n ---- */
static size_t matmul_scratch(const struct npu_node *n, const struct npu_tensor_type *in)
{
    const struct npu_matmul_dims d = npu_matmul_dims(NPU_ATTR(struct npu_matmul_attr, n), &in[0].shape, &in[1].shape);

    return d.batch * d.m == 0 ? 0 : sizeof(float) * (size_t)(d.k * d.n + d.k + d.n + 1);
}

static void ref_row(const struct npu_ref_call *c, int64_t row, int64_t n, float *acc)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, c->node);
    const struct npu_tensor *bias = &c->in[NPU_MATMUL_BIAS], *res = &c->in[NPU_MATMUL_RESIDUAL];

    for (int64_t j = 0; j < n; j++) {
        float v = acc[j] * at->scale;
        if (bias->data)
            v += npu_load(bias, j);
        v = npu_mat_act(at->act, v);
        if (res->data)
            v += npu_load(res, row * n + j);
        npu_store(&c->out[0], row * n + j, v);
    }
}

static int matmul_ref(const struct npu_ref_call *c)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, c->node);
    const struct npu_tensor *a = &c->in[NPU_MATMUL_A], *b = &c->in[NPU_MATMUL_B];
    const struct npu_matmul_dims d = npu_matmul_dims(at, &a->shape, &b->shape);
    float *bk = c->scratch, *ak, *acc;

    if (d.batch * d.m == 0) /* nor is there memory for the factors */
        return 0;
    ak = bk + d.k * d.n;
    acc = ak + d.k;
    for (int64_t i = 0; i < d.batch; i++) {
        const int64_t bo = d.shared_b ? 0 : i * d.k * d.n, ao = i * d.m * d.k;

        if (i == 0 || !d.shared_b)
            for (int64_t k = 0; k < d.k; k++)
                for (int64_t j = 0; j < d.n; j++)
                    bk[k * d.n + j] = npu_load(b, bo + (at->trans_b ? j * d.k + k : k * d.n + j));
        for (int64_t m = 0; m < d.m; m++) {
            for (int64_t k = 0; k < d.k; k++)
                ak[k] = npu_load(a, ao + (at->trans_a ? k * d.m + m : m * d.k + k));
            memset(acc, 0, sizeof(float) * (size_t)d.n);
            for (int64_t k = 0; k < d.k; k++) {
                const float s = ak[k], *restrict row = bk + k * d.n;
                for (int64_t j = 0; j < d.n; j++)
                    acc[j] += s * row[j];
            }
            ref_row(c, i * d.m + m, d.n, acc);
        }
    }
    return 0;
}

/* ---- backward: dA = s dC op(B)^T, dB = s op(A)^T dC ---- */
static npu_val fold_rows(npu_graph *g, npu_val v)
{
    const struct npu_shape *s = npu_val_shape(g, v);
    int64_t rows = 1;

    if (!s || s->rank <= 2)
        return v;
    for (int i = 0; i + 1 < s->rank; i++)
        rows *= s->dim[i];
    return npu_reshape(g, v, 2, (int64_t[]){rows, s->dim[s->rank - 1]});
}

static npu_val product(npu_graph *g, npu_val a, npu_val b, bool ta, bool tb, float scale, enum npu_dtype want)
{
    const struct npu_matmul_opts o = {.trans_a = ta, .trans_b = tb, .scale = scale, .out_f32 = want == NPU_F32};

    return npu_mat_as(g, npu_matmul(g, a, b, &o), want);
}

static npu_val grad_a(npu_graph *g, const struct npu_node *n, npu_val gc)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);
    const npu_val a = n->in[NPU_MATMUL_A], b = n->in[NPU_MATMUL_B];
    const enum npu_dtype want = npu_val_dtype(g, a);
    const int rank = npu_val_shape(g, a)->rank;
    int order[NPU_MAX_DIMS];

    if (!at->trans_a)
        return product(g, gc, b, false, !at->trans_b, at->scale, want);
    if (npu_val_shape(g, b)->rank == rank)
        return product(g, b, gc, at->trans_b, true, at->scale, want);
    for (int i = 0; i < rank; i++)
        order[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
    return npu_permute(g, product(g, gc, b, false, !at->trans_b, at->scale, want), order);
}

static npu_val grad_b(npu_graph *g, const struct npu_node *n, npu_val gc)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);
    const enum npu_dtype want = npu_val_dtype(g, n->in[NPU_MATMUL_B]);
    const int rank = npu_val_shape(g, n->in[NPU_MATMUL_A])->rank;
    const bool shared = rank > 2 && npu_val_shape(g, n->in[NPU_MATMUL_B])->rank == 2;
    npu_val a = n->in[NPU_MATMUL_A], v;

    if (shared && !at->trans_a) {
        a = fold_rows(g, a);
        gc = fold_rows(g, gc);
    }
    if (at->trans_b)
        v = product(g, gc, a, true, at->trans_a, at->scale, want);
    else
        v = product(g, a, gc, !at->trans_a, false, at->scale, want);
    if (shared && at->trans_a)
        v = npu_reduce(g, v, NPU_REDUCE_SUM, (1u << (rank - 2)) - 1);
    return v;
}

static int matmul_grad(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    const npu_val gc = gout[0], bias = n->in[NPU_MATMUL_BIAS], res = n->in[NPU_MATMUL_RESIDUAL];

    if (NPU_ATTR(struct npu_matmul_attr, n)->act != NPU_ACT_NONE)
        return npu_graph_fail(g, -EOPNOTSUPP,
                              "matmul: a fused activation has no backward; build the graph with "
                              "NPU_GRAPH_TRAIN");
    if (npu_val_needs_grad(g, n->in[NPU_MATMUL_A]))
        gin[NPU_MATMUL_A] = grad_a(g, n, gc);
    if (npu_val_needs_grad(g, n->in[NPU_MATMUL_B]))
        gin[NPU_MATMUL_B] = grad_b(g, n, gc);
    if (npu_val_needs_grad(g, bias))
        gin[NPU_MATMUL_BIAS] = npu_mat_bias_grad(g, gc, bias);
    if (npu_val_needs_grad(g, res))
        gin[NPU_MATMUL_RESIDUAL] = npu_mat_as(g, gc, npu_val_dtype(g, res));
    return npu_graph_status(g);
}

/* ---- tests ---- */
static const struct matmul_case {
    int64_t batch, m, k, n; /* batch 0: rank 2 */
    bool shared, ta, tb, bias, res, out_f32;
    bool fixed; /* b is a state: packed once, whatever that takes */
    int act;
    float scale;
    enum npu_dtype ta_type, tb_type;
} matmul_cases[] = {
    {0, 1, 1, 1, .act = 0},
    {0, 7, 5, 3, .bias = true, .res = true, .act = NPU_ACT_RELU},
    {0, 6, 8, 16, .scale = 0.5f},
    {0, 13, 33, 17, .ta = true, .bias = true},
    {0, 13, 33, 17, .tb = true, .res = true, .act = NPU_ACT_GELU},
    {0, 13, 33, 17, .ta = true, .tb = true},
    {3, 5, 9, 20, .bias = true, .act = NPU_ACT_SIGMOID},
    {3, 5, 9, 20, .shared = true, .bias = true, .res = true, .act = NPU_ACT_RELU6, .scale = 3.0f},
    {2, 5, 9, 20, .ta = true, .tb = true, .scale = 0.25f},
    {2, 11, 9, 20, .shared = true, .ta = true, .tb = true},
    {2, 11, 9, 20, .shared = true, .ta = true, .bias = true},
    {2, 4, 0, 5, .bias = true},
    {0, 0, 4, 5, .act = 0},
    {3, 4, 7, 0, .act = 0},
    {4, 37, 192, 70, .shared = true, .bias = true, .act = NPU_ACT_GELU},
    {0, 50, 1031, 37, .ta = true},
    {0, 97, 600, 40, .tb = true},
    {0, 1, 300, 65, .bias = true},
    {0, 300, 2, 1, .act = 0},
    {0, 29, 70, 50, .bias = true, .res = true, .ta_type = NPU_BF16, .tb_type = NPU_BF16},
    {0, 29, 70, 50, .ta = true, .out_f32 = true, .ta_type = NPU_BF16, .tb_type = NPU_BF16},
    {2, 29, 70, 50, .tb = true, .ta_type = NPU_BF16, .tb_type = NPU_BF16},
    {2, 29, 70, 50, .shared = true, .bias = true, .act = NPU_ACT_GELU, .ta_type = NPU_BF16, .tb_type = NPU_F32},
    {2, 9, 30, 20, .res = true, .ta_type = NPU_F16, .tb_type = NPU_F16},
    /* several steps through the terms: weights packed once, A packed, B packed apart */
    {0, 100, 600, 40, .fixed = true, .bias = true},
    {3, 50, 520, 37, .fixed = true, .tb = true, .res = true},
    {0, 97, 600, 40, .out_f32 = true, .ta_type = NPU_BF16, .tb_type = NPU_BF16},
    {2, 800, 520, 62, .bias = true},
    /* the same shapes without kinks: finite differences along directions too */
    {0, 7, 5, 3, .bias = true, .res = true, .act = NPU_ACT_GELU},
    {3, 5, 9, 20, .shared = true, .bias = true, .res = true, .scale = 3.0f},
    {3, 5, 9, 20, .shared = true, .bias = true, .res = true, .act = NPU_ACT_GELU, .scale = 3.0f},
    {2, 5, 9, 20, .shared = true, .tb = true, .bias = true, .res = true, .scale = 0.5f},
    {2, 11, 9, 20, .shared = true, .ta = true, .tb = true, .bias = true, .res = true, .act = NPU_ACT_GELU,
     .scale = 2.0f},
    {2, 6, 9, 11, .ta = true, .bias = true, .res = true, .act = NPU_ACT_SIGMOID, .scale = 2.0f},
    {2, 6, 9, 11, .tb = true, .bias = true, .scale = 0.5f},
};

static npu_val matmul_case(npu_graph *g, int index)
{
    struct matmul_case c;
    struct npu_matmul_opts o = {0};
    int64_t dims[3];
    npu_val a, b;
    int lead, rank;

    if (index >= (int)(sizeof matmul_cases / sizeof matmul_cases[0]))
        return NPU_NONE;
    c = matmul_cases[index];
    lead = c.batch ? 1 : 0;
    a = npu_input(g, "a", c.ta_type, 2 + lead, (int64_t[]){c.batch, c.ta ? c.k : c.m, c.ta ? c.m : c.k} + 1 - lead);
    rank = 2 + (lead && !c.shared);
    memcpy(dims, (int64_t[]){c.batch, c.tb ? c.n : c.k, c.tb ? c.k : c.n} + 3 - rank, sizeof(int64_t) * (size_t)rank);
    b = c.fixed ? npu_state(g, "b", c.tb_type, rank, dims, (struct npu_init){NPU_INIT_CONST, 0})
                : npu_input(g, "b", c.tb_type, rank, dims);
    o = (struct npu_matmul_opts){
        .trans_a = c.ta, .trans_b = c.tb, .act = c.act, .scale = c.scale, .out_f32 = c.out_f32};
    if (c.bias)
        o.bias = npu_input(g, "c", NPU_F32, 1, (int64_t[]){c.n});
    if (c.res)
        o.residual = npu_input(g, "d", c.ta_type, 2 + lead, (int64_t[]){c.batch, c.m, c.n} + 1 - lead);
    return npu_matmul(g, a, b, &o);
}

/* Shapes of a small ViT, batch 16: forward, dX, dW; then one picture. */
static npu_val matmul_perf(npu_graph *g, int index)
{
    static const struct {
        int64_t m, n, k;
        bool ta, tb;
    } c[] = {{3152, 192, 192, 0, 0}, {3152, 576, 192, 0, 0}, {3152, 768, 192, 0, 0}, {3152, 192, 768, 0, 0},
             {3152, 192, 768, 0, 1}, {192, 768, 3152, 1, 0}, {768, 192, 3152, 1, 0}, {1024, 1024, 1024, 0, 0},
             {197, 768, 192, 0, 0},  {1, 192, 768, 0, 0}};
    npu_val a, b;

    if (index >= (int)(sizeof c / sizeof c[0]))
        return NPU_NONE;
    a = npu_input(g, "a", NPU_F32, 2,
                  c[index].ta ? (int64_t[]){c[index].k, c[index].m} : (int64_t[]){c[index].m, c[index].k});
    b = npu_input(g, "b", NPU_F32, 2,
                  c[index].tb ? (int64_t[]){c[index].n, c[index].k} : (int64_t[]){c[index].k, c[index].n});
    return npu_matmul(g, a, b, &(struct npu_matmul_opts){.trans_a = c[index].ta, .trans_b = c[index].tb});
}

static double matmul_flops(const struct npu_node *n, const struct npu_tensor_type *in,
                           const struct npu_tensor_type *out)
{
    const struct npu_matmul_dims d = npu_matmul_dims(NPU_ATTR(struct npu_matmul_attr, n), &in[0].shape, &in[1].shape);

    return 2.0 * (double)npu_shape_elements(&out[0].shape) * (double)d.k;
}

/* A dot product of K terms of size 1 in another order differs by about 2^-24 sqrt(K) of its terms' root sum of squares;
 * the largest K of the cases is 1031. */
const struct npu_op npu_op_matmul = {
    .name = "matmul",
    .shape = matmul_shape,
    .ref = matmul_ref,
    .grad = matmul_grad,
    .lower = npu_matmul_lower,
    .test_case = matmul_case,
    .tol_rel = 2e-5f,
    .tol_abs = 1e-4f,
    .ref_scratch = matmul_scratch,
    .flops = matmul_flops,
    .perf_case = matmul_perf,
    .exact_ref = npu_exact_matmul_ref,
    .exact_lower = npu_exact_matmul_lower,
};
