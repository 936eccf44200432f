/* update.c - updates in place: adamw, sgd, moving averages (running statistics). */
#include "libnpu/op/ops.h"
#include "libnpu/op/util.h"

struct adamw_attr {
    struct npu_adamw_step o;
    float log_beta1, log_beta2; /* 1 - beta^step = -expm1(step log(beta)) keeps its digits for a beta near 1 */
};

struct sgd_attr {
    float momentum, weight_decay;
};

struct average_attr {
    float rate, mul;
};

npu_val npu_adamw(npu_graph *g, npu_val param, npu_val grad, npu_val m, npu_val v, npu_val lr, npu_val step,
                  npu_val grad_scale, const struct npu_adamw_step *o)
{
    npu_val in[] = {param, grad, m, v, lr, step, grad_scale};
    struct adamw_attr a = {*o, (float)log(o->beta1), (float)log(o->beta2)};

    return npu_node_add(g, &npu_op_adamw, in, 7, &a, sizeof(a));
}

npu_val npu_sgd(npu_graph *g, npu_val param, npu_val grad, npu_val v, npu_val lr, npu_val grad_scale, float momentum,
                float weight_decay)
{
    npu_val in[] = {param, grad, v, lr, grad_scale};
    struct sgd_attr a = {momentum, weight_decay};

    return npu_node_add(g, &npu_op_sgd, in, 5, &a, sizeof(a));
}

npu_val npu_moving_average(npu_graph *g, npu_val state, npu_val x, float rate, float mul)
{
    struct average_attr a = {rate, mul};

    return npu_node_add(g, &npu_op_moving_average, (npu_val[]){state, x}, 2, &a, sizeof(a));
}

/* in: param, grad, n_moments moments of param's shape, then f32 scalars, the last of which may be absent */
static int update_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out,
                        int n_moments, int n_scalars, char *why, size_t size)
{
    const struct npu_shape *s = &in[0].shape;

    if (n->n_in != 2 + n_moments + n_scalars)
        return op_why(why, size, "needs %d inputs, got %d", 2 + n_moments + n_scalars, n->n_in);
    if (op_need_f32(in, 0, "param", s->rank, s->dim, why, size) || op_need_float(in, 1, why, size))
        return -EINVAL;
    if (!op_same_shape(s, &in[1].shape))
        return op_why(why, size, "param %s and gradient %s differ", op_shape_text(s), op_shape_text(&in[1].shape));
    for (int i = 0; i < n_moments; i++)
        if (op_need_f32(in, 2 + i, "moment", s->rank, s->dim, why, size))
            return -EINVAL;
    for (int i = 0; i < n_scalars; i++)
        if ((i + 1 < n_scalars || n->in[2 + n_moments + i] != NPU_NONE) &&
            op_need_f32(in, 2 + n_moments + i, "lr, step or scale", 0, NULL, why, size))
            return -EINVAL;
    n->n_out = 1 + n_moments;
    for (int i = 0; i < n->n_out; i++) {
        out[i] = in[0];
        n->alias[i] = (int8_t)(i ? 1 + i : 0);
    }
    return 0;
}

static int adamw_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                       size_t size)
{
    const struct npu_adamw_step *o = &NPU_ATTR(struct adamw_attr, n)->o;

    if (!(o->beta1 > 0 && o->beta1 < 1 && o->beta2 > 0 && o->beta2 < 1 && o->eps > 0 && o->weight_decay >= 0))
        return op_why(why, size, "betas must lie in (0, 1), eps be positive, weight decay not negative");
    return update_shape(n, in, out, 2, 3, why, size);
}

static float scalar_or_1(const struct npu_tensor *t)
{
    return t->data ? *(const float *)t->data : 1;
}

static int adamw_ref(const struct npu_ref_call *c)
{
    const struct adamw_attr *a = NPU_ATTR(struct adamw_attr, c->node);
    float *p = c->out[0].data, *m = c->out[1].data, *v = c->out[2].data;
    float lr = scalar_or_1(&c->in[4]), step = scalar_or_1(&c->in[5]), scale = scalar_or_1(&c->in[6]);
    float c1 = -expm1f(step * a->log_beta1), c2 = -expm1f(step * a->log_beta2);
    int64_t n = npu_shape_elements(&c->in[0].shape);

    for (int64_t i = 0; i < n; i++) {
        float g = scale * npu_load(&c->in[1], i);

        m[i] = a->o.beta1 * m[i] + (1 - a->o.beta1) * g;
        v[i] = a->o.beta2 * v[i] + (1 - a->o.beta2) * g * g;
        p[i] -= lr * (m[i] / c1 / (sqrtf(v[i] / c2) + a->o.eps) + a->o.weight_decay * p[i]);
    }
    return 0;
}

static int adamw_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct adamw_attr *a = NPU_ATTR(struct adamw_attr, n);
    struct npu_tensor_type t = npu_lower_type(l, n->in[0]);
    int64_t count = npu_shape_elements(&t.shape);
    struct npu_launch *k;

    if (!count)
        return 0;
    k = op_launch(l, "optim", "adamw");
    for (int i = 0; i < 7; i++)
        npu_launch_val(k, n->in[i]);
    npu_launch_i32(k, n->in[6] != NPU_NONE);
    npu_launch_f32(k, a->o.beta1);
    npu_launch_f32(k, a->o.beta2);
    npu_launch_f32(k, a->log_beta1);
    npu_launch_f32(k, a->log_beta2);
    npu_launch_f32(k, a->o.eps);
    npu_launch_f32(k, a->o.weight_decay);
    npu_launch_span(k, npu_lower_traits(l), count, 8);
    return 0;
}

/* What a run leaves in the parameter and the moments, one after the other. */
static npu_val update_case(npu_graph *g, int index, bool adamw)
{
    static const int64_t len[] = {13, 1, 0, 20001, 67};
    npu_val param, grad, m, v, lr, step, scale, p, all[3];

    if (index >= (int)(sizeof(len) / sizeof(len[0])))
        return NPU_NONE;
    param = op_test_param(g, "param", 1, &len[index]);
    grad = op_test_in(g, "a", index == 4 ? NPU_BF16 : NPU_F32, 1, &len[index]);
    m = op_test_state(g, "m", 1, &len[index], -1, 1);
    v = op_test_state(g, "v", 1, &len[index], 0, 1);
    lr = op_test_state(g, "lr", 0, NULL, 0, 1);
    step = op_test_state(g, "step", 0, NULL, 1, 50);
    scale = index % 2 ? op_test_state(g, "scale", 0, NULL, 0, 1) : NPU_NONE;
    if (adamw)
        p = npu_adamw(g, param, grad, m, v, lr, step, scale, &(struct npu_adamw_step){0.9f, 0.95f, 1e-6f, 0.05f});
    else
        p = npu_sgd(g, param, grad, v, lr, scale, 0.9f, 1e-3f);
    if (p < 0)
        return p;
    for (int i = 0; i < 3 - !adamw; i++)
        all[i] = npu_node_output(g, p, i);
    return npu_concat(g, all, 3 - !adamw, 0);
}

static npu_val adamw_case(npu_graph *g, int index)
{
    return update_case(g, index, true);
}

static npu_val adamw_perf(npu_graph *g, int index)
{
    const int64_t n = 589824;
    npu_val v[4];

    if (index)
        return NPU_NONE;
    v[0] = op_test_param(g, "param", 1, &n);
    v[1] = op_test_in(g, "a", NPU_F32, 1, &n);
    v[2] = op_test_state(g, "m", 1, &n, -1, 1);
    v[3] = op_test_state(g, "v", 1, &n, 0, 1);
    return npu_adamw(g, v[0], v[1], v[2], v[3], op_test_state(g, "lr", 0, NULL, 0, 1),
                     op_test_state(g, "step", 0, NULL, 1, 9), NPU_NONE,
                     &(struct npu_adamw_step){0.9f, 0.95f, 1e-8f, 0.05f});
}

const struct npu_op npu_op_adamw = {
    .name = "adamw",
    .shape = adamw_shape,
    .ref = adamw_ref,
    .lower = adamw_lower,
    .test_case = adamw_case,
    .perf_case = adamw_perf,
    .updates = true,
    .tol_rel = 2e-5f,
    .tol_abs = 2e-5f,
};

static int sgd_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                     size_t size)
{
    return update_shape(n, in, out, 1, 2, why, size);
}

static int sgd_ref(const struct npu_ref_call *c)
{
    const struct sgd_attr *a = NPU_ATTR(struct sgd_attr, c->node);
    float *p = c->out[0].data, *v = c->out[1].data, lr = scalar_or_1(&c->in[3]), scale = scalar_or_1(&c->in[4]);
    int64_t n = npu_shape_elements(&c->in[0].shape);

    for (int64_t i = 0; i < n; i++) {
        v[i] = a->momentum * v[i] + scale * npu_load(&c->in[1], i) + a->weight_decay * p[i];
        p[i] -= lr * v[i];
    }
    return 0;
}

static int sgd_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct sgd_attr *a = NPU_ATTR(struct sgd_attr, n);
    struct npu_tensor_type t = npu_lower_type(l, n->in[0]);
    int64_t count = npu_shape_elements(&t.shape);
    struct npu_launch *k;

    if (!count)
        return 0;
    k = op_launch(l, "optim", "sgd");
    for (int i = 0; i < 5; i++)
        npu_launch_val(k, n->in[i]);
    npu_launch_i32(k, n->in[4] != NPU_NONE);
    npu_launch_f32(k, a->momentum);
    npu_launch_f32(k, a->weight_decay);
    npu_launch_span(k, npu_lower_traits(l), count, 8);
    return 0;
}

static npu_val sgd_case(npu_graph *g, int index)
{
    return update_case(g, index, false);
}

const struct npu_op npu_op_sgd = {
    .name = "sgd",
    .shape = sgd_shape,
    .ref = sgd_ref,
    .lower = sgd_lower,
    .test_case = sgd_case,
    .updates = true,
};

/* ---- moving average: in {state, x} ---- */

static int average_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                         size_t size)
{
    const struct npu_shape *s = &in[0].shape;

    if (n->n_in != 2)
        return op_why(why, size, "needs 2 inputs, got %d", n->n_in);
    n->n_out = 1;
    n->alias[0] = 0;
    out[0] = in[0];
    return op_need_f32(in, 0, "state", s->rank, s->dim, why, size)
               ? -EINVAL
               : op_need_f32(in, 1, "x", s->rank, s->dim, why, size);
}

static int average_ref(const struct npu_ref_call *c)
{
    const struct average_attr *a = NPU_ATTR(struct average_attr, c->node);
    const float *x = c->in[1].data;
    float *y = c->out[0].data;

    for (int64_t i = 0; i < npu_shape_elements(&c->in[0].shape); i++)
        y[i] = (1 - a->rate) * y[i] + a->rate * a->mul * x[i];
    return 0;
}

static int average_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct average_attr *a = NPU_ATTR(struct average_attr, n);
    struct npu_tensor_type t = npu_lower_type(l, n->in[0]);
    int64_t count = npu_shape_elements(&t.shape);
    struct npu_launch *k;

    if (!count)
        return 0;
    k = op_launch(l, "optim", "moving_average");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->in[1]);
    npu_launch_f32(k, 1 - a->rate);
    npu_launch_f32(k, a->rate * a->mul);
    npu_launch_span(k, npu_lower_traits(l), count, 8);
    return 0;
}

static npu_val average_case(npu_graph *g, int index)
{
    static const int64_t len[] = {5, 0, 3001};

    if (index >= (int)(sizeof(len) / sizeof(len[0])))
        return NPU_NONE;
    return npu_moving_average(g, op_test_state(g, "state", 1, &len[index], -1, 1),
                              op_test_state(g, "x", 1, &len[index], -1, 1), 0.1f, 1.25f);
}

const struct npu_op npu_op_moving_average = {
    .name = "moving_average",
    .shape = average_shape,
    .ref = average_ref,
    .lower = average_lower,
    .test_case = average_case,
    .updates = true,
};
