/* attention.c - softmax(q k^T / sqrt(dh)) v from packed qkv, and its gradient, which computes the scores again.
 * Launches: attention_lower.c, kernels/attention.cl. */
#include "libnpu/op/attention.h"

#include "libnpu/op/exact.h"
struct npu_attention_dims npu_attention_dims(const struct npu_node *n, const struct npu_shape *qkv)
{
    struct npu_attention_dims d = {.batch = qkv->dim[0], .n = qkv->dim[1], .d = qkv->dim[2] / 3};

    d.heads = NPU_ATTR(struct npu_attention_attr, n)->heads;
    d.dh = d.d / d.heads;
    d.scale = d.dh ? 1.0f / sqrtf((float)d.dh) : 1.0f;
    return d;
}

npu_val npu_attention(npu_graph *g, npu_val qkv, int heads)
{
    const struct npu_attention_attr at = {heads};

    return npu_node_add(g, &npu_op_attention, &qkv, 1, &at, sizeof at);
}

/* ---- shape rules ---- */
static int attention_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                           size_t why_size)
{
    const int heads = NPU_ATTR(struct npu_attention_attr, n)->heads;
    const struct npu_shape *s = &in[0].shape;
    char text[96];

    snprintf(why, why_size, "qkv %s %s for %d heads: [batch, n, 3 * heads * size] of a float type is needed",
             npu_mat_dims(s, text), npu_dtype_name(in[0].dtype), heads);
    if (n->in[0] == NPU_NONE || s->rank != 3 || heads < 1 || s->dim[2] % (3 * (int64_t)heads) ||
        !npu_mat_float(in[0].dtype))
        return -EINVAL;
    out[0].dtype = in[0].dtype;
    out[0].shape = *s;
    out[0].shape.dim[2] = s->dim[2] / 3;
    return 0;
}

static int attention_grad_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out,
                                char *why, size_t why_size)
{
    const struct npu_shape *s = &in[0].shape, *gy = &in[1].shape;
    struct npu_tensor_type y[1];
    char text[96], qkv[96];
    int r = attention_shape(n, in, y, why, why_size);

    if (r < 0)
        return r;
    snprintf(why, why_size, "gradient %s %s does not belong to qkv %s", npu_mat_dims(gy, text),
             npu_dtype_name(in[1].dtype), npu_mat_dims(s, qkv));
    if (n->in[1] == NPU_NONE || gy->rank != 3 || memcmp(gy->dim, y[0].shape.dim, 3 * sizeof gy->dim[0]) != 0 ||
        !npu_mat_float(in[1].dtype))
        return -EINVAL;
    out[0] = in[0];
    return 0;
}

/* ---- C references ---- */
static size_t attention_scratch(const struct npu_node *n, const struct npu_tensor_type *in)
{
    return sizeof(float) * (npu_mat_view_floats(&in[0]) + (size_t)in[0].shape.dim[1] + (size_t)in[0].shape.dim[2] + 1);
}

static float dot(const float *a, const float *b, int64_t n)
{
    float s = 0.0f;

    for (int64_t i = 0; i < n; i++)
        s += a[i] * b[i];
    return s;
}

/* p[j] = softmax over j of scale q . k_j; k: rows of `stride` floats */
static void probabilities(const struct npu_attention_dims *d, const float *q, const float *k, float *p)
{
    float top = -INFINITY, sum = 0.0f;

    for (int64_t j = 0; j < d->n; j++) {
        p[j] = d->scale * dot(q, k + j * 3 * d->d, d->dh);
        top = fmaxf(top, p[j]);
    }
    for (int64_t j = 0; j < d->n; j++) {
        p[j] = expf(p[j] - top);
        sum += p[j];
    }
    for (int64_t j = 0; j < d->n; j++)
        p[j] /= sum;
}

static int attention_ref(const struct npu_ref_call *c)
{
    const struct npu_attention_dims d = npu_attention_dims(c->node, &c->in[0].shape);
    float *p = c->scratch;
    const float *x = npu_mat_view(&c->in[0], &p);
    float *acc = p + d.n;

    for (int64_t row = 0; row < d.batch * d.n; row++)
        for (int64_t h = 0; h < d.heads; h++) {
            const float *q = x + row * 3 * d.d + h * d.dh, *k = x + row / d.n * d.n * 3 * d.d + d.d + h * d.dh;

            probabilities(&d, q, k, p);
            memset(acc, 0, sizeof(float) * (size_t)d.dh);
            for (int64_t j = 0; j < d.n; j++)
                for (int64_t i = 0; i < d.dh; i++)
                    acc[i] += p[j] * k[d.d + j * 3 * d.d + i];
            for (int64_t i = 0; i < d.dh; i++)
                npu_store(&c->out[0], row * d.d + h * d.dh + i, acc[i]);
        }
    return 0;
}

static size_t attention_grad_scratch(const struct npu_node *n, const struct npu_tensor_type *in)
{
    return sizeof(float) * (npu_mat_view_floats(&in[0]) + npu_mat_view_floats(&in[1]) +
                            (size_t)npu_shape_elements(&in[0].shape) + (size_t)in[0].shape.dim[1] + 1);
}

/* Adds what query `row` of head h gives to the gradients of q, k and v. */
static void grad_query(const struct npu_attention_dims *d, const float *x, const float *gy, int64_t row, int64_t h,
                       float *p, float *gx)
{
    const int64_t s = 3 * d->d, qo = row * s + h * d->dh, ko = row / d->n * d->n * s + d->d + h * d->dh;
    const float *go = gy + row * d->d + h * d->dh;
    float mean = 0.0f;

    probabilities(d, x + qo, x + ko, p);
    for (int64_t j = 0; j < d->n; j++)
        mean += p[j] * dot(go, x + ko + d->d + j * s, d->dh);
    for (int64_t j = 0; j < d->n; j++) {
        const float gs = d->scale * p[j] * (dot(go, x + ko + d->d + j * s, d->dh) - mean);

        for (int64_t i = 0; i < d->dh; i++) {
            gx[qo + i] += gs * x[ko + j * s + i];
            gx[ko + j * s + i] += gs * x[qo + i];
            gx[ko + d->d + j * s + i] += p[j] * go[i];
        }
    }
}

static int attention_grad_ref(const struct npu_ref_call *c)
{
    const struct npu_attention_dims d = npu_attention_dims(c->node, &c->in[0].shape);
    const int64_t total = npu_shape_elements(&c->in[0].shape);
    float *gx = c->scratch;
    const float *x = npu_mat_view(&c->in[0], &gx), *gy = npu_mat_view(&c->in[1], &gx);

    memset(gx, 0, sizeof(float) * (size_t)total);
    for (int64_t row = 0; row < d.batch * d.n; row++)
        for (int64_t h = 0; h < d.heads; h++)
            grad_query(&d, x, gy, row, h, gx + total, gx);
    for (int64_t i = 0; i < total; i++)
        npu_store(&c->out[0], i, gx[i]);
    return 0;
}

/* ---- backward ---- */
static int attention_grad(npu_graph *g, const struct npu_node *n, const npu_val *gout, npu_val *gin)
{
    const npu_val in[2] = {n->in[0], gout[0]};

    gin[0] = npu_node_add(g, &npu_op_attention_grad, in, 2, n->attr, sizeof(struct npu_attention_attr));
    return gin[0] < 0 ? gin[0] : 0;
}

/* ---- tests ---- */
static const struct attention_case {
    int64_t batch, n, dh;
    int heads;
    float range;
    enum npu_dtype type;
} attention_cases[] = {
    {1, 1, 1, 1, 1, NPU_F32},    {1, 5, 3, 2, 1, NPU_F32},    {2, 7, 16, 3, 1, NPU_F32},    {1, 33, 32, 4, 3, NPU_F32},
    {2, 50, 64, 3, 2, NPU_F32},  {1, 197, 20, 2, 1, NPU_F32}, {0, 5, 8, 2, 1, NPU_F32},     {2, 0, 8, 2, 1, NPU_F32},
    {1, 9, 48, 1, 6, NPU_F32},   {1, 530, 12, 1, 4, NPU_F32}, {1, 1001, 9, 1, 9, NPU_BF16}, {2, 19, 32, 2, 1, NPU_BF16},
    {1, 40, 64, 2, 1, NPU_BF16}, {1, 6, 9, 2, 1, NPU_F16},
};

static const struct attention_case perf_cases[] = {{16, 96, 32, 4, 1, NPU_F32},
                                                   {16, 197, 64, 3, 1, NPU_F32},
                                                   {1, 197, 64, 3, 1, NPU_F32},
                                                   {1, 768, 64, 3, 1, NPU_F32},
                                                   {1, 1024, 64, 3, 1, NPU_F32}};

/* index: a test case, or PERF + a perf case */
enum { PERF = 1 << 16 };

static const struct attention_case *pick(int index)
{
    const bool perf = index >= PERF;
    const int count =
        perf ? sizeof perf_cases / sizeof perf_cases[0] : sizeof attention_cases / sizeof attention_cases[0];

    if (index % PERF >= count)
        return NULL;
    return perf ? &perf_cases[index % PERF] : &attention_cases[index];
}

static npu_val attention_case(npu_graph *g, int index)
{
    const struct attention_case *c = pick(index);
    npu_val qkv;

    if (!c)
        return NPU_NONE;
    qkv = npu_input(g, "a", c->type, 3, (int64_t[]){c->batch, c->n, 3 * c->heads * c->dh});
    npu_test_range(g, qkv, -c->range, c->range);
    return npu_attention(g, qkv, c->heads);
}

static npu_val attention_grad_case(npu_graph *g, int index)
{
    const struct attention_case *c = pick(index);
    struct npu_attention_attr at;
    npu_val in[2];

    if (!c)
        return NPU_NONE;
    at.heads = c->heads;
    in[0] = npu_input(g, "a", c->type, 3, (int64_t[]){c->batch, c->n, 3 * c->heads * c->dh});
    in[1] = npu_input(g, "b", c->type, 3, (int64_t[]){c->batch, c->n, c->heads * c->dh});
    npu_test_range(g, in[0], -c->range, c->range);
    return npu_node_add(g, &npu_op_attention_grad, in, 2, &at, sizeof at);
}

static npu_val attention_perf(npu_graph *g, int index)
{
    return attention_case(g, index + PERF);
}
static npu_val attention_grad_perf(npu_graph *g, int index)
{
    return attention_grad_case(g, index + PERF);
}

/* Two products forward; five backward (with the scores again). */
static double attention_flops(const struct npu_node *n, const struct npu_tensor_type *in,
                              const struct npu_tensor_type *out)
{
    const struct npu_shape *s = &in[0].shape;

    return (n->op == &npu_op_attention ? 4.0 : 10.0) * (double)(s->dim[0] * s->dim[1] * s->dim[1]) *
           (double)(s->dim[2] / 3);
}

const struct npu_op npu_op_attention = {
    .name = "attention",
    .shape = attention_shape,
    .ref = attention_ref,
    .grad = attention_grad,
    .lower = npu_attention_lower,
    .test_case = attention_case,
    .tol_rel = 2e-5f,
    .tol_abs = 2e-5f,
    .ref_scratch = attention_scratch,
    .flops = attention_flops,
    .perf_case = attention_perf,
    .exact_ref = npu_exact_attention_ref,
    .exact_lower = npu_exact_attention_lower,
};

const struct npu_op npu_op_attention_grad = {
    .name = "attention_grad",
    .shape = attention_grad_shape,
    .ref = attention_grad_ref,
    .lower = npu_attention_grad_lower,
    .test_case = attention_grad_case,
    .tol_rel = 5e-5f,
    .tol_abs = 1e-4f,
    .ref_scratch = attention_grad_scratch,
    .flops = attention_flops,
    .perf_case = attention_grad_perf,
};
