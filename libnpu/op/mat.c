/* mat.c - what matmul, conv2d and attention share. */
#include "libnpu/op/mat.h"

#include <stdlib.h>

npu_val npu_mat_act_node(npu_graph *g, npu_val x, int act)
{
    switch (act) {
    case NPU_ACT_RELU:
        return npu_relu(g, x);
    case NPU_ACT_RELU6:
        return npu_relu6(g, x);
    case NPU_ACT_GELU:
        return npu_gelu(g, x);
    case NPU_ACT_SIGMOID:
        return npu_sigmoid(g, x);
    default:
        return x;
    }
}

npu_val npu_mat_as(npu_graph *g, npu_val v, enum npu_dtype t)
{
    return v <= 0 || npu_val_dtype(g, v) == t ? v : npu_cast(g, v, t);
}

npu_val npu_mat_bias_grad(npu_graph *graph, npu_val g, npu_val bias)
{
    const struct npu_shape *s = npu_val_shape(graph, g);

    if (!s || s->rank < 1)
        return g < 0 ? g : npu_graph_fail(graph, -EINVAL, "bias gradient of a scalar");
    if (s->rank > 1)
        g = npu_reduce(graph, g, NPU_REDUCE_SUM, (1u << (s->rank - 1)) - 1);
    return npu_mat_as(graph, g, npu_val_dtype(graph, bias));
}

const float *npu_mat_view(const struct npu_tensor *t, float **scratch)
{
    const int64_t n = npu_shape_elements(&t->shape);
    float *p = *scratch;

    if (t->dtype == NPU_F32)
        return t->data;
    for (int64_t i = 0; i < n; i++)
        p[i] = npu_load(t, i);
    *scratch += n;
    return p;
}

bool npu_mat_blocked(const struct npu_traits *t)
{
    const char *e = getenv("NPU_MAT_PORTABLE");

    return t->kind == NPU_KIND_CPU && t->vec_f32 >= 4 && !(e && e[0] == '1');
}

struct npu_mat_tile npu_mat_tile(const struct npu_traits *t)
{
    const char *e = getenv("NPU_MAT_VEC");
    const int w = e ? atoi(e) : t->vec_f32;

    if (w >= 16)
        return (struct npu_mat_tile){16, 12, 32, "vec16"};
    if (w >= 8)
        return (struct npu_mat_tile){8, 6, 16, "vec8"};
    return (struct npu_mat_tile){4, 8, 8, "vec4"};
}

struct npu_mat_blocks npu_mat_blocks(const struct npu_traits *t, const struct npu_mat_tile *tile, int64_t m, int64_t n,
                                     int64_t times)
{
    const int64_t want = 4 * (int64_t)t->compute_units, panels = npu_mat_ceil(n, tile->nr);
    struct npu_mat_blocks b = {192, 64 / tile->nr};

    if (b.mb > m)
        b.mb = npu_mat_round(m, tile->mr);
    if (b.nb > panels)
        b.nb = panels;
    /* rows first: packing B again costs more than reading A again */
    while (npu_mat_ceil(m, b.mb) * npu_mat_ceil(panels, b.nb) * times < want) {
        if (b.mb > 48)
            b.mb = npu_mat_round(b.mb / 2, tile->mr);
        else if (b.nb > 1)
            b.nb = npu_mat_ceil(b.nb, 2);
        else
            break;
    }
    return b;
}

void npu_mat_local(struct npu_launch *k, size_t bytes)
{
    if (!k)
        return;
    if (k->n_args >= NPU_MAX_ARGS) {
        k->dims = -E2BIG;
        return;
    }
    k->arg[k->n_args++] = (struct npu_arg){.kind = NPU_ARG_LOCAL, .bytes = bytes < 64 ? 64 : bytes};
}

const char *npu_mat_dims(const struct npu_shape *s, char buf[96])
{
    size_t at = 0;

    buf[at++] = '[';
    for (int i = 0; i < s->rank && at < 80; i++)
        at += (size_t)snprintf(buf + at, 96 - at, i ? ",%lld" : "%lld", (long long)s->dim[i]);
    snprintf(buf + at, 96 - at, "]");
    return buf;
}
