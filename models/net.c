// The layers of net.h, and the way from trained to deployed parameters.
#include "models/net.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int net_init(struct net *net, unsigned flags)
{
    memset(net, 0, sizeof(*net));
    net->train = flags & NPU_GRAPH_TRAIN;
    return npu_graph_new(flags, &net->graph);
}

void net_clear(struct net *net)
{
    net->graph = npu_graph_free(net->graph);
    memset(net, 0, sizeof(*net));
}

static void join(char *name, const char *layer, const char *part)
{
    snprintf(name, NPU_MAX_NAME, "%s.%s", layer, part);
}

// Adds a parameter or state and remembers it; past the limit the graph's builder is given a bad value and fails.
static npu_val add_tensor(struct net *net, const char *name, bool trained, int rank, const int64_t *dim,
                          struct npu_init init)
{
    if (net->tensor_count == NET_MAX_TENSORS)
        return -ENOSPC;
    struct net_tensor *t = &net->tensors[net->tensor_count++];
    snprintf(t->name, sizeof(t->name), "%s", name);
    t->trained = trained;
    t->elements = 1;
    for (int i = 0; i < rank; i++)
        t->elements *= (size_t)dim[i];
    return trained ? npu_param(net->graph, name, rank, dim, init)
                   : npu_state(net->graph, name, NPU_F32, rank, dim, init);
}

static npu_val layer_tensor(struct net *net, const char *layer, const char *part, bool trained, int rank,
                            const int64_t *dim, struct npu_init init)
{
    char name[NPU_MAX_NAME];
    join(name, layer, part);
    return add_tensor(net, name, trained, rank, dim, init);
}

static npu_val layer_vector(struct net *net, const char *layer, const char *part, bool trained, int64_t size,
                            float value)
{
    return layer_tensor(net, layer, part, trained, 1, &size, (struct npu_init){NPU_INIT_CONST, value});
}

static int remember_fold(struct net *net, const char *layer, size_t weights, int channels)
{
    if (net->fold_count == NET_MAX_TENSORS / 4)
        return -ENOSPC;
    struct net_fold *f = &net->folds[net->fold_count++];
    snprintf(f->layer, sizeof(f->layer), "%s", layer);
    f->weights = weights;
    f->channels = (size_t)channels;
    return 0;
}

static npu_val activate(struct net *net, npu_val x, enum npu_act act)
{
    switch (act) {
    case NPU_ACT_RELU:
        return npu_relu(net->graph, x);
    case NPU_ACT_RELU6:
        return npu_relu6(net->graph, x);
    case NPU_ACT_GELU:
        return npu_gelu(net->graph, x);
    case NPU_ACT_SIGMOID:
        return npu_sigmoid(net->graph, x);
    default:
        return x;
    }
}

static npu_val batch_norm(struct net *net, const char *layer, npu_val x, int channels)
{
    npu_val gamma = layer_vector(net, layer, "bn.gamma", true, channels, 1);
    npu_val beta = layer_vector(net, layer, "bn.beta", true, channels, 0);
    npu_val mean = layer_vector(net, layer, "bn.mean", false, channels, 0);
    npu_val var = layer_vector(net, layer, "bn.var", false, channels, 1);
    return npu_batch_norm(net->graph, x, gamma, beta, mean, var, NET_BN_EPS, NET_BN_MOMENTUM, true);
}

npu_val net_conv(struct net *net, const char *layer, npu_val x, const struct net_conv *c)
{
    const struct npu_shape *s = npu_val_shape(net->graph, x);
    if (!s || s->rank != 4)
        return x < 0 ? x : -EINVAL;
    const int64_t dim[4] = {c->kernel, c->kernel, s->dim[3], c->channels};
    size_t fan_in = (size_t)(dim[0] * dim[1] * dim[2]);
    int pad = c->valid ? 0 : c->kernel / 2;
    struct npu_conv2d_opts o = {
        .stride = c->stride, .pad_top = pad, .pad_left = pad, .pad_bottom = pad, .pad_right = pad};
    npu_val w = layer_tensor(net, layer, "weight", true, 4, dim,
                             (struct npu_init){NPU_INIT_NORMAL, sqrtf((c->act ? 2.0f : 1.0f) / (float)fan_in)});
    if (net->train && !c->plain) {
        if (remember_fold(net, layer, fan_in * (size_t)c->channels, c->channels) < 0)
            return -ENOSPC;
        npu_val y = batch_norm(net, layer, npu_conv2d(net->graph, x, w, &o), c->channels);
        if (c->residual)
            y = npu_add(net->graph, y, c->residual);
        return activate(net, y, c->act);
    }
    o.bias = layer_vector(net, layer, "bias", true, c->channels, 0);
    o.residual = c->residual;
    o.act = c->act;
    return npu_conv2d(net->graph, x, w, &o);
}

npu_val net_linear(struct net *net, const char *layer, npu_val x, const struct net_linear *l)
{
    const struct npu_shape *s = npu_val_shape(net->graph, x);
    if (!s || s->rank < 2)
        return x < 0 ? x : -EINVAL;
    const int64_t dim[2] = {s->dim[s->rank - 1], l->channels};
    float std = l->weight_std > 0 ? l->weight_std : sqrtf((l->act ? 2.0f : 1.0f) / (float)dim[0]);
    npu_val w = layer_tensor(net, layer, "weight", true, 2, dim, (struct npu_init){NPU_INIT_NORMAL, std});
    struct npu_matmul_opts o = {
        .bias = layer_vector(net, layer, "bias", true, l->channels, l->bias), .residual = l->residual, .act = l->act};
    return npu_matmul(net->graph, x, w, &o);
}

npu_val net_layer_norm(struct net *net, const char *layer, npu_val x)
{
    const struct npu_shape *s = npu_val_shape(net->graph, x);
    if (!s || s->rank < 1)
        return x < 0 ? x : -EINVAL;
    int64_t size = s->dim[s->rank - 1];
    npu_val gamma = layer_vector(net, layer, "gamma", true, size, 1);
    npu_val beta = layer_vector(net, layer, "beta", true, size, 0);
    return npu_layer_norm(net->graph, x, gamma, beta, 1e-5f);
}

npu_val net_state(struct net *net, const char *name, int rank, const int64_t *dim)
{
    return add_tensor(net, name, false, rank, dim, (struct npu_init){NPU_INIT_ZERO, 0});
}

static int read_floats(npu_plan *plan, const char *layer, const char *part, float *values, size_t count)
{
    char name[NPU_MAX_NAME];
    join(name, layer, part);
    return npu_plan_read(plan, name, values, count * sizeof(float));
}

static int write_floats(npu_plan *plan, const char *layer, const char *part, const float *values, size_t count)
{
    char name[NPU_MAX_NAME];
    join(name, layer, part);
    return npu_plan_write(plan, name, values, count * sizeof(float));
}

// y = gamma (w x - mean) / sqrt(var + eps) + beta, as one weight and one bias.
static int fold(const struct net_fold *f, npu_plan *trained, npu_plan *deployed)
{
    size_t c = f->channels;
    float *w = malloc((f->weights + 5 * c) * sizeof(float));
    if (!w)
        return -ENOMEM;
    float *gamma = w + f->weights, *beta = gamma + c, *mean = beta + c, *var = mean + c, *bias = var + c;
    int r = read_floats(trained, f->layer, "weight", w, f->weights);
    if (r >= 0)
        r = read_floats(trained, f->layer, "bn.gamma", gamma, c);
    if (r >= 0)
        r = read_floats(trained, f->layer, "bn.beta", beta, c);
    if (r >= 0)
        r = read_floats(trained, f->layer, "bn.mean", mean, c);
    if (r >= 0)
        r = read_floats(trained, f->layer, "bn.var", var, c);
    for (size_t i = 0; r >= 0 && i < c; i++) {
        gamma[i] /= sqrtf(var[i] + NET_BN_EPS);
        bias[i] = beta[i] - mean[i] * gamma[i];
    }
    for (size_t i = 0; r >= 0 && c > 0 && i < f->weights; i++)
        w[i] *= gamma[i % c];
    if (r >= 0)
        r = write_floats(deployed, f->layer, "weight", w, f->weights);
    if (r >= 0)
        r = write_floats(deployed, f->layer, "bias", bias, c);
    free(w);
    return r < 0 ? r : 0;
}

static bool is_folded(const struct net *train_net, const char *name)
{
    const char *dot = strrchr(name, '.');
    for (int i = 0; dot && i < train_net->fold_count; i++) {
        const char *layer = train_net->folds[i].layer;
        if (strlen(layer) == (size_t)(dot - name) && !strncmp(layer, name, (size_t)(dot - name)))
            return true;
    }
    return false;
}

static int copy_tensor(const struct net_tensor *t, npu_plan *trained, npu_plan *deployed)
{
    float *values = malloc(t->elements * sizeof(float));
    if (!values)
        return -ENOMEM;
    int r = npu_plan_read(trained, t->name, values, t->elements * sizeof(float));
    if (r >= 0)
        r = npu_plan_write(deployed, t->name, values, t->elements * sizeof(float));
    free(values);
    return r < 0 ? r : 0;
}

int net_export(const struct net *train_net, npu_plan *trained, const struct net *deploy_net, npu_plan *deployed)
{
    if (!train_net->train || deploy_net->train)
        return -EINVAL;
    for (int i = 0; i < train_net->fold_count; i++) {
        int r = fold(&train_net->folds[i], trained, deployed);
        if (r < 0)
            return r;
    }
    for (int i = 0; i < deploy_net->tensor_count; i++) {
        const struct net_tensor *t = &deploy_net->tensors[i];
        int r = is_folded(train_net, t->name) ? 0 : copy_tensor(t, trained, deployed);
        if (r < 0)
            return r;
    }
    return 0;
}
