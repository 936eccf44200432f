/* quantise.c - between float and int8: quantise, dequantise, and quantise with the range found in the tensor itself.
 * kernels/quantise.cl */
#include "libnpu/op/quant.h"
#include "libnpu/op/util.h"

enum { CHUNK = 16384 }; /* elements whose range one work-item finds */

/* 2^47 / m is a whole number of 24 bits, or 2^24 itself, for every mantissa m: it is a float without rounding. */
float npu_q_reciprocal(float x)
{
    uint32_t u, m, q;
    float f;
    int e;

    memcpy(&u, &x, sizeof u);
    m = (u & 0x7fffffu) | 0x800000u;
    e = (int)(u >> 23) - 150; /* x = m 2^e */
    q = (uint32_t)((UINT64_C(1) << 47) / m);
    /* q 2^(-47 - e), q in (2^23, 2^24] */
    u = q == 1u << 24 ? (uint32_t)(127 - 23 - e) << 23 : (uint32_t)(127 - 24 - e) << 23 | (q & 0x7fffffu);
    memcpy(&f, &u, sizeof f);
    return f;
}

struct npu_q_range npu_q_range(float lo, float hi)
{
    struct npu_q_range r;

    lo = fmaxf(fminf(lo, 0.0f), -1e30f);
    hi = fminf(fmaxf(hi, 0.0f), 1e30f);
    r.scale = fmaxf((hi - lo) * 0x1.010102p-8f, 1e-30f); /* 1 / 255 */
    r.inv = npu_q_reciprocal(r.scale);
    // NOLINTNEXTLINE(bugprone-signed-char-misuse): a number, not a character
    r.zero = npu_q_clamp(-128 - (int64_t)rintf(fmaxf(lo * r.inv, -512.0f)), -128, 127);
    return r;
}

/* ---- shapes ---- */
static int scale_ok(float scale)
{
    return scale >= 1e-30f && scale <= 1e30f;
}

static int quantise_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                          size_t size)
{
    const struct npu_quantise_attr *a = NPU_ATTR(struct npu_quantise_attr, n);

    if (!scale_ok(a->scale) || a->zero < -128 || a->zero > 127)
        return op_why(why, size, "scale %g or zero point %d is out of range", (double)a->scale, a->zero);
    out[0] = (struct npu_tensor_type){NPU_I8, in[0].shape};
    return op_need_float(in, 0, why, size);
}

static int dequantise_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out,
                            char *why, size_t size)
{
    const struct npu_quantise_attr *a = NPU_ATTR(struct npu_quantise_attr, n);

    if (!scale_ok(a->scale) || a->zero < -128 || a->zero > 127 || !op_is_float((enum npu_dtype)a->dtype))
        return op_why(why, size, "scale %g, zero point %d or type %d is out of range", (double)a->scale, a->zero,
                      a->dtype);
    if (in[0].dtype != NPU_I8)
        return op_why(why, size, "input is %s, not i8", npu_dtype_name(in[0].dtype));
    out[0] = (struct npu_tensor_type){(enum npu_dtype)a->dtype, in[0].shape};
    return 0;
}

static int dynamic_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                         size_t size)
{
    n->n_out = 2;
    out[0] = (struct npu_tensor_type){NPU_I8, in[0].shape};
    out[1] = (struct npu_tensor_type){NPU_F32, {1, {3}}};
    return op_need_float(in, 0, why, size);
}

/* ---- references ---- */
static void quantise_all(const struct npu_tensor *x, const struct npu_tensor *y, float inv, int zero)
{
    const int64_t n = npu_shape_elements(&x->shape);

    for (int64_t i = 0; i < n; i++)
        ((int8_t *)y->data)[i] = npu_q_from_f32(npu_load(x, i), inv, zero);
}

static int quantise_ref(const struct npu_ref_call *c)
{
    const struct npu_quantise_attr *a = NPU_ATTR(struct npu_quantise_attr, c->node);

    quantise_all(&c->in[0], &c->out[0], npu_q_reciprocal(a->scale), a->zero);
    return 0;
}

static int dequantise_ref(const struct npu_ref_call *c)
{
    const struct npu_quantise_attr *a = NPU_ATTR(struct npu_quantise_attr, c->node);
    const int64_t n = npu_shape_elements(&c->in[0].shape);

    for (int64_t i = 0; i < n; i++)
        npu_store(&c->out[0], i, (float)(((const int8_t *)c->in[0].data)[i] - a->zero) * a->scale);
    return 0;
}

static int dynamic_ref(const struct npu_ref_call *c)
{
    const int64_t n = npu_shape_elements(&c->in[0].shape);
    float lo = 0.0f, hi = 0.0f, *range = c->out[1].data;
    struct npu_q_range r;

    for (int64_t i = 0; i < n; i++) {
        const float x = npu_load(&c->in[0], i);

        lo = x < lo ? x : lo;
        hi = x > hi ? x : hi;
    }
    r = npu_q_range(lo, hi);
    range[0] = r.scale;
    range[1] = r.inv;
    range[2] = (float)r.zero;
    quantise_all(&c->in[0], &c->out[0], r.inv, r.zero);
    return 0;
}

/* ---- lowering ---- */
static int one_lower(const struct npu_node *n, struct npu_lower *l, const char *entry, float factor)
{
    const struct npu_quantise_attr *a = NPU_ATTR(struct npu_quantise_attr, n);
    const struct npu_tensor_type x = npu_lower_type(l, n->in[0]);
    struct npu_launch *k;

    if (npu_shape_elements(&x.shape) == 0)
        return 0;
    k = op_launch(l, "quantise", entry);
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    npu_launch_f32(k, factor);
    npu_launch_i32(k, a->zero);
    npu_launch_span(k, npu_lower_traits(l), npu_shape_elements(&x.shape), 8);
    return 0;
}

static int quantise_lower(const struct npu_node *n, struct npu_lower *l)
{
    return one_lower(n, l, "quantise", npu_q_reciprocal(NPU_ATTR(struct npu_quantise_attr, n)->scale));
}

static int dequantise_lower(const struct npu_node *n, struct npu_lower *l)
{
    return one_lower(n, l, "dequantise", NPU_ATTR(struct npu_quantise_attr, n)->scale);
}

static int dynamic_lower(const struct npu_node *n, struct npu_lower *l)
{
    const struct npu_tensor_type x = npu_lower_type(l, n->in[0]);
    const int64_t count = npu_shape_elements(&x.shape), parts = count ? npu_mat_ceil(count, CHUNK) : 0;
    const int part = npu_lower_scratch(l, (size_t)(2 * parts + 2) * sizeof(float));
    struct npu_launch *k;

    if (parts) {
        k = op_launch(l, "quantise", "range_parts");
        npu_launch_val(k, n->in[0]);
        npu_launch_buf(k, NPU_ARG_SCRATCH, part);
        npu_launch_i32(k, count);
        npu_launch_i32(k, CHUNK);
        npu_launch_size(k, (size_t)parts, 0, 0);
    }
    k = op_launch(l, "quantise", "range_whole");
    npu_launch_buf(k, NPU_ARG_SCRATCH, part);
    npu_launch_val(k, n->out[1]);
    npu_launch_i32(k, parts);
    npu_launch_size(k, 1, 0, 0);
    if (!parts)
        return 0;
    k = op_launch(l, "quantise", "quantise_range");
    npu_launch_val(k, n->in[0]);
    npu_launch_val(k, n->out[0]);
    npu_launch_val(k, n->out[1]);
    npu_launch_span(k, npu_lower_traits(l), count, 8);
    return 0;
}

/* ---- builders ---- */
npu_val npu_quantise_int8(npu_graph *g, npu_val x, float scale, int zero)
{
    const struct npu_quantise_attr a = {scale, zero, NPU_I8};

    return npu_node_add(g, &npu_op_quantise, &x, 1, &a, sizeof a);
}

npu_val npu_dequantise_int8(npu_graph *g, npu_val q, float scale, int zero, enum npu_dtype t)
{
    const struct npu_quantise_attr a = {scale, zero, (int32_t)t};

    return npu_node_add(g, &npu_op_dequantise, &q, 1, &a, sizeof a);
}

npu_val npu_quantise_dynamic(npu_graph *g, npu_val x, npu_val *ret_range)
{
    npu_val q = npu_node_add(g, &npu_op_quantise_dynamic, &x, 1, NULL, 0);

    *ret_range = q < 0 ? q : npu_node_output(g, q, 1);
    return q;
}

/* ---- tests ---- */
static const struct quantise_case {
    int rank;
    int64_t dim[3];
    float scale;
    int zero;
    enum npu_dtype t;
    float lo, hi;
} cases[] = {
    {2, {3, 5}, 0.01f, 0, NPU_F32, -1, 1},          {0, {0}, 0.5f, -7, NPU_F32, -2, 2},
    {1, {1}, 1e-3f, 127, NPU_F32, -1, 1},           {2, {0, 4}, 0.1f, 3, NPU_F32, 0, 1},
    {3, {7, 33, 129}, 0.07f, -128, NPU_F32, 0, 20}, {2, {301, 113}, 0.5f, 5, NPU_F32, -70, 90},
    {2, {51, 37}, 0.02f, 11, NPU_BF16, -3, 2},      {1, {1003}, 0.25f, -3, NPU_F16, -40, 40},
    {2, {3, 7}, 1e-20f, 0, NPU_F32, -1, 1},         {1, {17}, 1.0f, 0, NPU_F32, -1e-5f, 1e-5f},
};

static npu_val case_input(npu_graph *g, int index, enum npu_dtype t)
{
    npu_val a;

    if ((size_t)index >= sizeof cases / sizeof cases[0])
        return NPU_NONE;
    a = op_test_in(g, "a", t == NPU_I8 ? t : cases[index].t, cases[index].rank, cases[index].dim);
    npu_test_range(g, a, t == NPU_I8 ? -128 : cases[index].lo, t == NPU_I8 ? 128 : cases[index].hi);
    return a;
}

static npu_val quantise_case(npu_graph *g, int index)
{
    npu_val a = case_input(g, index, NPU_F32);

    return a == NPU_NONE ? a : npu_quantise_int8(g, a, cases[index].scale, cases[index].zero);
}

static npu_val dequantise_case(npu_graph *g, int index)
{
    npu_val a = case_input(g, index, NPU_I8);

    return a == NPU_NONE ? a : npu_dequantise_int8(g, a, cases[index].scale, cases[index].zero, cases[index].t);
}

static npu_val dynamic_case(npu_graph *g, int index)
{
    npu_val range, a = case_input(g, index, NPU_F32);

    return a == NPU_NONE ? a : npu_quantise_dynamic(g, a, &range);
}

const struct npu_op npu_op_quantise = {
    .name = "quantise",
    .shape = quantise_shape,
    .ref = quantise_ref,
    .lower = quantise_lower,
    .test_case = quantise_case,
    .exact = true,
};

const struct npu_op npu_op_dequantise = {
    .name = "dequantise",
    .shape = dequantise_shape,
    .ref = dequantise_ref,
    .lower = dequantise_lower,
    .test_case = dequantise_case,
    .exact = true,
};

const struct npu_op npu_op_quantise_dynamic = {
    .name = "quantise_dynamic",
    .shape = dynamic_shape,
    .ref = dynamic_ref,
    .lower = dynamic_lower,
    .test_case = dynamic_case,
    .exact = true,
};
