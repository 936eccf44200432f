/* tune_class.c - classes of nodes for which one verdict on tiers holds: operation, types, sizes rounded down to powers
 * of two, kernel, stride, threads. */
#include <inttypes.h>

#include "libnpu/op/attention.h"
#include "libnpu/op/conv2d.h"
#include "libnpu/op/matmul.h"
#include "libnpu/op/quant.h"
#include "libnpu/tune.h"

/* m results of n channels, each a sum of k terms, `times` of them; how: what else matters. */
struct sizes {
    int64_t times, m, n, k;
    char how[48];
};

static int log2_of(int64_t v)
{
    int n = 0;

    while (v > 1) {
        v >>= 1;
        n++;
    }
    return n;
}

static const struct npu_shape *shape(const struct npu_graph *g, npu_val v)
{
    static const struct npu_shape none;
    const struct npu_value *val = npu_value_of(g, v);

    return val ? &val->type.shape : &none;
}

static void conv_sizes(struct sizes *s, const struct npu_conv2d_dims *d)
{
    s->times = d->groups;
    s->m = d->n * d->oh * d->ow;
    s->n = d->coutg;
    s->k = d->kh * d->kw * d->cing;
    snprintf(s->how, sizeof s->how, "%" PRId64 "x%" PRId64 "/%" PRId64 " g%" PRId64, d->kh, d->kw, d->stride,
             d->groups);
}

static int sizes_of(const struct npu_graph *g, const struct npu_node *n, struct sizes *s)
{
    const struct npu_shape *a = shape(g, n->in[0]), *b = shape(g, n->in[1]), *y = shape(g, n->out[0]);

    if (n->op == &npu_op_matmul) {
        const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);
        const struct npu_matmul_dims d = npu_matmul_dims(at, a, b);

        *s = (struct sizes){d.batch, d.m, d.n, d.k, ""};
        snprintf(s->how, sizeof s->how, "%c%c", at->trans_a ? 't' : 'n', at->trans_b ? 't' : 'n');
    } else if (n->op == &npu_op_conv2d || n->op == &npu_op_conv2d_grad_x || n->op == &npu_op_conv2d_grad_w) {
        const bool to_x = n->op == &npu_op_conv2d_grad_x, to_w = n->op == &npu_op_conv2d_grad_w;
        const struct npu_conv2d_dims d =
            npu_conv2d_dims(NPU_ATTR(struct npu_conv2d_attr, n), to_x ? y : a, to_w ? y : b,
                            to_x   ? a
                            : to_w ? b
                                   : y);

        conv_sizes(s, &d);
    } else if (n->op == &npu_op_qmatmul || n->op == &npu_op_qconv2d) {
        const struct npu_qconv_dims q = npu_qconv_dims(NPU_ATTR(struct npu_qconv_attr, n), a, b, y);

        *s = (struct sizes){q.groups, q.rows, q.coutg, q.depth, ""};
        snprintf(s->how, sizeof s->how, "%" PRId64 "x%" PRId64 "/%" PRId64 " g%" PRId64, q.kh, q.kw, q.stride,
                 q.groups);
    } else if (n->op == &npu_op_attention || n->op == &npu_op_attention_grad) {
        const struct npu_attention_dims d = npu_attention_dims(n, a);

        *s = (struct sizes){d.batch * d.heads, d.n, d.n, 2 * d.dh, "heads"};
    } else {
        return -ENOENT;
    }
    return 0;
}

int npu_tune_class(const struct npu_graph *g, const struct npu_node *n, int units, struct npu_tune_class *ret_class)
{
    struct sizes s;
    size_t at;
    int r = sizes_of(g, n, &s);

    if (r < 0)
        return r;
    at = (size_t)snprintf(ret_class->text, sizeof ret_class->text, "%s", n->op->name);
    for (int i = 0; i < n->n_in && i < 6 && at < sizeof ret_class->text; i++)
        at += (size_t)snprintf(ret_class->text + at, sizeof ret_class->text - at, "%c%s", i ? ',' : ' ',
                               n->in[i] == NPU_NONE ? "-" : npu_dtype_name(npu_val_dtype(g, n->in[i])));
    if (at < sizeof ret_class->text)
        snprintf(ret_class->text + at, sizeof ret_class->text - at, ">%s %d.%d.%d.%d %s%s%s%s t%d",
                 npu_dtype_name(npu_val_dtype(g, n->out[0])), log2_of(s.times), log2_of(s.m), log2_of(s.n),
                 log2_of(s.k), s.how, n->n_in > 1 && npu_val_is_frozen(g, n->in[1]) ? " packed" : "",
                 n->exact ? " exact" : "", n->rounds ? " rounds" : "", units);
    ret_class->work = (double)s.times * (double)s.m * (double)s.n * (double)s.k;
    return 0;
}
