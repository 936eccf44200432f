/* exact_lower.c - launches of f32 operations in int8 networks (exact.h): native ones where there is AVX2, else kernels
 * that serve every device, in which a work-item does a block of rows with vectors of eight. */
#include "libnpu/op/attention.h"
#include "libnpu/op/attr.h"
#include "libnpu/op/conv2d.h"
#include "libnpu/op/exact.h"
#include "libnpu/op/matmul.h"
#include "libnpu/op/util.h"
#include "libnpu/tier/exact_avx2.h"

static struct npu_launch *start(struct npu_lower *l, const char *source, const char *entry)
{
    struct npu_launch *k = op_launch(l, source, entry);

    if (k)
        k->tier = "exact";
    return k;
}

/* Rows a work-item: enough work for one, and work for all units. */
static int64_t block_of(const struct npu_lower *l, int64_t rows, int64_t work_per_row)
{
    const int64_t want = 4 * (int64_t)npu_lower_traits(l)->compute_units, least = 16384 / (work_per_row + 1) + 1;

    if (!op_is_cpu(l))
        return 1;
    return least * want > rows ? op_ceil_div(rows, want) : least;
}

/* ---- products ---- */
struct product {
    npu_val in[4], out; /* x, weights, bias, residual */
    float scale;
    int act;
    bool res_first;
    int64_t rows, n, depth;
    struct npu_conv2d_dims d; /* a product is the 1 x 1 convolution of a picture of one row */
    int64_t batch_m, xm, xk, wk, wn, wb;
};

static void finish_args(struct npu_launch *k, const struct product *p)
{
    for (int i = 0; i < 4; i++)
        npu_launch_val(k, p->in[i]);
    npu_launch_val(k, p->out);
    npu_launch_f32(k, p->scale);
    npu_launch_i32(k, p->act);
    npu_launch_i32(k, p->res_first);
    npu_launch_i32(k, p->rows);
    npu_launch_i32(k, p->n);
}

static void args(struct npu_launch *k, const int64_t *v, int n)
{
    for (int i = 0; i < n; i++)
        npu_launch_i32(k, v[i]);
}

static void lower_tile(struct npu_lower *l, const struct product *p)
{
    const struct npu_conv2d_dims *d = &p->d;
    const int64_t block = npu_mat_round(block_of(l, p->rows, p->depth * p->n / 16), 4);
    struct npu_launch *k = start(l, "exact_matrix", "exact_tile");

    finish_args(k, p);
    args(k,
         (const int64_t[]){d->h, d->w, d->cin, d->oh, d->ow, d->kh, d->kw, d->stride, d->pad_top, d->pad_left, block},
         11);
    npu_mat_local(k, (size_t)(4 * p->depth) * sizeof(float));
    npu_launch_size(k, (size_t)op_ceil_div(p->rows, block), 0, 0);
    npu_launch_local(k, 1, 0, 0);
}

static void lower_any(struct npu_lower *l, const struct product *p)
{
    const struct npu_conv2d_dims *d = &p->d;
    const int64_t results = p->rows * p->n, block = block_of(l, results, p->depth);
    struct npu_launch *k = start(l, "exact_matrix", "exact_any");

    finish_args(k, p);
    args(k,
         (const int64_t[]){p->depth, d->h, d->w, d->cin, d->oh, d->ow, d->kw, d->cing, d->coutg, d->stride, d->pad_top,
                           d->pad_left, p->batch_m, p->xm, p->xk, p->wk, p->wn, p->wb, block},
         19);
    op_launch_items(l, k, op_ceil_div(results, block));
}

/* In native code: matrices in rows or, the second one, in columns; convolutions without groups or with one channel in
 * each. */
static int lower_native(struct npu_lower *l, const struct product *p)
{
    const struct npu_conv2d_dims *d = &p->d;
    const bool conv = d->n > 0, grouped = conv && d->groups > 1;
    const int64_t batch = conv ? d->n : p->rows / p->batch_m;
    const struct npu_avx2_conv g = {.n = (int32_t)batch,
                                    .h = (int32_t)d->h,
                                    .w = (int32_t)d->w,
                                    .cin = (int32_t)d->cin,
                                    .oh = (int32_t)d->oh,
                                    .ow = (int32_t)d->ow,
                                    .cout = (int32_t)p->n,
                                    .kh = (int32_t)d->kh,
                                    .kw = (int32_t)d->kw,
                                    .stride = (int32_t)d->stride,
                                    .pad_top = (int32_t)d->pad_top,
                                    .pad_left = (int32_t)d->pad_left,
                                    .w_k = conv ? (int32_t)p->n : (int32_t)p->wk,
                                    .w_n = conv ? 1 : (int32_t)p->wn,
                                    .w_z = batch > 1 ? (int32_t)p->wb : 0,
                                    .act = p->act | (p->res_first ? 0 : 256)};

    if (p->depth == 0 || batch * d->h * d->w > INT32_MAX / d->cin || p->rows > INT32_MAX / p->n ||
        p->depth > INT32_MAX / p->n / (p->wb ? batch : 1))
        return -EOPNOTSUPP;
    if ((!conv && p->xk != 1) || (grouped && (d->cing != 1 || d->coutg != 1)))
        return -EOPNOTSUPP;
    return npu_exact_avx2_lower_product(l, g, p->in, p->out, p->scale, grouped);
}

static int lower_product(struct npu_lower *l, const struct product *p, bool plain)
{
    if (p->rows * p->n == 0 || lower_native(l, p) == 0)
        return 0;
    if (plain && (size_t)(4 * p->depth) * sizeof(float) + 128 <= npu_lower_traits(l)->local_bytes)
        lower_tile(l, p);
    else
        lower_any(l, p);
    return 0;
}

int npu_exact_matmul_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_matmul_attr *a = NPU_ATTR(struct npu_matmul_attr, n);
    const struct npu_shape x = npu_lower_type(l, n->in[0]).shape, w = npu_lower_type(l, n->in[1]).shape;
    const struct npu_matmul_dims d = npu_matmul_dims(a, &x, &w);
    const struct product p = {
        .in = {n->in[0], n->in[1], n->in[2], n->in[3]},
        .out = n->out[0],
        .scale = a->scale,
        .act = a->act,
        .rows = d.batch * d.m,
        .n = d.n,
        .depth = d.k,
        .d = {.h = 1, .w = d.m, .cin = d.k, .oh = 1, .ow = d.m, .kh = 1, .kw = 1, .cing = 1, .coutg = 1, .stride = 1},
        .batch_m = d.m,
        .xm = a->trans_a ? 1 : d.k,
        .xk = a->trans_a ? d.m : 1,
        .wk = a->trans_b ? 1 : d.n,
        .wn = a->trans_b ? d.k : 1,
        .wb = d.shared_b ? 0 : d.k * d.n,
    };

    return lower_product(l, &p, !a->trans_a && !a->trans_b && d.batch == 1);
}

int npu_exact_conv2d_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_conv2d_attr *a = NPU_ATTR(struct npu_conv2d_attr, n);
    const struct npu_shape x = npu_lower_type(l, n->in[0]).shape, w = npu_lower_type(l, n->in[1]).shape,
                           y = npu_lower_type(l, n->out[0]).shape;
    struct product p = {
        .in = {n->in[0], n->in[1], n->in[2], n->in[3]},
        .out = n->out[0],
        .scale = 1.0f,
        .act = a->act,
        .res_first = true,
        .d = npu_conv2d_dims(a, &x, &w, &y),
        .batch_m = 1,
    };

    p.rows = p.d.n * p.d.oh * p.d.ow;
    p.n = p.d.cout;
    p.depth = p.d.kh * p.d.kw * p.d.cing;
    return lower_product(l, &p, p.d.groups == 1);
}

/* ---- attention ---- */
static bool lower_heads(const struct npu_node *n, struct npu_lower *l, const struct npu_attention_dims *d)
{
    const size_t np = (size_t)npu_mat_round(d->n, 16), dp = (size_t)npu_mat_round(d->dh, 16), dh = (size_t)d->dh,
                 floats[] = {np * dh, (size_t)d->n * dp, 4 * dh, 4 * np};
    const int64_t pairs = d->batch * d->heads, want = 4 * (int64_t)npu_lower_traits(l)->compute_units;
    int64_t block = npu_mat_round(d->n, 4);
    struct npu_launch *k;

    if ((floats[0] + floats[1] + floats[2] + floats[3]) * sizeof(float) + 512 > npu_lower_traits(l)->local_bytes)
        return false;
    /* each block packs keys and values anew, which costs about as much as eight queries */
    while (block > 32 && pairs * op_ceil_div(d->n, block) < want)
        block = npu_mat_round(block / 2, 4);
    k = start(l, "exact_attention", "exact_heads");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    args(k, (const int64_t[]){d->n, d->heads, d->dh}, 3);
    npu_launch_f32(k, d->scale);
    npu_launch_i32(k, block);
    for (int i = 0; i < 4; i++)
        npu_mat_local(k, floats[i] * sizeof(float));
    npu_launch_size(k, (size_t)op_ceil_div(d->n, block), (size_t)pairs, 0);
    npu_launch_local(k, 1, 1, 0);
    return true;
}

static int lower_queries(const struct npu_node *n, struct npu_lower *l, const struct npu_attention_dims *d)
{
    const int64_t queries = d->batch * d->n * d->heads, most = 16 * (int64_t)npu_lower_traits(l)->compute_units,
                  items = queries < most ? queries : most;
    const int e = npu_lower_scratch(l, (size_t)(items * d->n) * sizeof(float));
    struct npu_launch *k = start(l, "exact_attention", "exact_queries");

    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    args(k, (const int64_t[]){d->n, d->heads, d->dh}, 3);
    npu_launch_f32(k, d->scale);
    args(k, (const int64_t[]){queries, items}, 2);
    npu_launch_buf(k, NPU_ARG_SCRATCH, e);
    npu_launch_size(k, (size_t)items, 0, 0);
    return 0;
}

int npu_exact_attention_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_shape qkv = npu_lower_type(l, n->in[0]).shape;
    const struct npu_attention_dims d = npu_attention_dims(n, &qkv);
    const struct npu_exact_attention a = {
        .batch = (int32_t)d.batch, .n = (int32_t)d.n, .heads = (int32_t)d.heads, .dh = (int32_t)d.dh};

    if (d.batch * d.n * d.d == 0)
        return 0;
    if (3 * d.batch * d.n * d.d < INT32_MAX && npu_exact_avx2_lower_attention(l, a, n->in[0], n->out[0], d.scale) == 0)
        return 0;
    if (lower_heads(n, l, &d))
        return 0;
    return lower_queries(n, l, &d);
}

/* ---- rows ---- */
int npu_exact_layer_norm_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_shape s = npu_lower_type(l, n->in[0]).shape;
    const int64_t c = op_last(&s), rows = op_rows(&s), block = block_of(l, rows, c);
    struct npu_launch *k;

    if (!c || !rows)
        return 0;
    k = start(l, "exact_rows", "layer_norm");
    for (int i = 0; i < 3; i++)
        npu_launch_val(k, n->in[i]);
    npu_launch_val(k, n->out[0]);
    npu_launch_f32(k, NPU_ATTR(struct layer_norm_attr, n)->eps);
    npu_launch_f32(k, 1.0f / (float)c);
    args(k, (const int64_t[]){rows, c, block}, 3);
    op_launch_items(l, k, op_ceil_div(rows, block));
    return 0;
}

int npu_exact_softmax_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_shape s = npu_lower_type(l, n->in[0]).shape;
    const int64_t c = op_last(&s), rows = op_rows(&s), block = block_of(l, rows, c);
    struct npu_launch *k;

    if (!c || !rows)
        return 0;
    k = start(l, "exact_rows", "softmax");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    args(k, (const int64_t[]){rows, c, block}, 3);
    op_launch_items(l, k, op_ceil_div(rows, block));
    return 0;
}

int npu_exact_reduce_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct reduce_attr *t = NPU_ATTR(struct reduce_attr, n);
    const struct npu_shape s = npu_lower_type(l, n->in[0]).shape;
    const int64_t a = op_span(&s, 0, t->from), r = op_span(&s, t->from, t->to), b = op_span(&s, t->to, s.rank);
    struct npu_launch *k;

    if (!a || !b)
        return 0;
    k = start(l, "exact_rows", b == 1 ? "reduce_rows" : "reduce_cols");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    npu_launch_f32(k, t->mean && r > 1 ? 1.0f / (float)r : 1.0f);
    if (b == 1) {
        const int64_t block = block_of(l, a, r);

        args(k, (const int64_t[]){a, r, block}, 3);
        op_launch_items(l, k, op_ceil_div(a, block));
    } else {
        args(k, (const int64_t[]){a, r, b}, 3);
        op_launch_tiles(l, k, a, b);
    }
    return 0;
}

static int lower_unary(const struct npu_node *n, struct npu_lower *l, int kind)
{
    const struct npu_shape s = npu_lower_type(l, n->in[0]).shape;
    struct npu_launch *k;

    if (!npu_shape_elements(&s))
        return 0;
    k = start(l, "exact_rows", "unary");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    npu_launch_def(k, "-DKIND=%d", kind);
    npu_launch_span(k, npu_lower_traits(l), npu_shape_elements(&s), 8);
    return 0;
}

int npu_exact_unary_lower(const struct npu_node *n, struct npu_lower *l)
{
    return lower_unary(n, l, NPU_ATTR(struct unary_attr, n)->kind);
}

int npu_exact_gelu_erf_lower(const struct npu_node *n, struct npu_lower *l)
{
    return lower_unary(n, l, UNARY_GELU_ERF);
}

int npu_exact_mean_pool_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_pool_opts *o = NPU_ATTR(struct npu_pool_opts, n);
    const struct npu_shape x = npu_lower_type(l, n->in[0]).shape, y = npu_lower_type(l, n->out[0]).shape;
    struct npu_launch *k;

    if (!npu_shape_elements(&y))
        return 0;
    k = start(l, "exact_rows", "mean_pool");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    args(k, (const int64_t[]){x.dim[0], x.dim[1], x.dim[2], x.dim[3], y.dim[1], y.dim[2], o->kernel, o->stride, o->pad},
         9);
    op_launch_tiles(l, k, y.dim[0] * y.dim[1] * y.dim[2], y.dim[3]);
    return 0;
}
