/* int8_native_self_test.c - the kernels of a native int8 tier on small odd shapes against the C reference, before
 * anything relies on them: bit by bit. */
#include <stdlib.h>

#include "libnpu/tier/int8_native.h"

struct shape {
    int64_t n, h, w, cin, cout, k;
    int32_t stride, pad;
    int x_zero, shift;
    bool out_int8, dynamic, bias, residual, wild; /* wild: sums to the ends of 32 bits */
    enum npu_int8_way way;
    enum npu_act act;
    int top; /* weights: this or its negative, and x -128 or 127; 0: both anything */
};

static const struct shape shapes[] = {
    {1, 1, 37, 45, 70, 1, 1, 0, -128, 21, .out_int8 = true, .bias = true, .residual = true},
    {1, 1, 29, 21, 45, 1, 1, 0, 127, 38, .out_int8 = true, .bias = true, .residual = true},
    {2, 9, 7, 19, 33, 3, 1, 1, 101, .bias = true, .residual = true, .act = NPU_ACT_RELU},
    {1, 11, 10, 3, 5, 5, 2, 2, -7, 21, .out_int8 = true},
    {1, 7, 9, 103, 18, 3, 2, 1, 40, 32, .out_int8 = true},
    {2, 9, 11, 45, 45, 3, 1, 1, 77, 38, .out_int8 = true, .bias = true, .residual = true, .way = NPU_INT8_DEPTHWISE},
    {1, 6, 131, 17, 17, 3, 2, 1, -128, 31, .out_int8 = true, .residual = true, .way = NPU_INT8_DEPTHWISE},
    {1, 5, 68, 16, 16, 3, 1, 0, 3, 54, .out_int8 = true, .bias = true, .wild = true, .way = NPU_INT8_DEPTHWISE},
    {1, 6, 131, 37, 37, 3, 2, 1, -128, 31, .out_int8 = true, .residual = true, .way = NPU_INT8_DEPTHWISE},
    {1, 5, 68, 32, 32, 3, 1, 0, 3, 54, .out_int8 = true, .bias = true, .wild = true, .way = NPU_INT8_DEPTHWISE},
    {1, 7, 5, 9, 9, 3, 2, 1, -128, 33, .out_int8 = true, .residual = true, .way = NPU_INT8_DEPTHWISE},
    {1, 8, 7, 19, 19, 5, 2, 2, -31, .bias = true, .act = NPU_ACT_RELU, .way = NPU_INT8_DEPTHWISE},
    {2, 9, 7, 34, 21, 3, 1, 1, 101, 38, .out_int8 = true, .bias = true, .residual = true, .way = NPU_INT8_WINOGRAD},
    {1, 14, 13, 16, 40, 3, 1, 0, -128, .bias = true, .act = NPU_ACT_RELU, .way = NPU_INT8_WINOGRAD},
    {1, 1, 15, 30, 24, 1, 1, 0, 9, 20, .out_int8 = true, .bias = true, .residual = true, .wild = true},
    {1, 1, 15, 30, 27, 1, 1, 0, 9, 52, .out_int8 = true, .bias = true, .residual = true, .wild = true},
    {1, 1, 13, 30, 24, 1, 1, 0, 9, 56, .out_int8 = true, .bias = true, .wild = true},
    {1, 1, 13, 66, 20, 1, 1, 0, -128, 38, .out_int8 = true, .bias = true, .top = 64},
    {1, 1, 21, 1100, 35, 1, 1, 0, 127, .bias = true, .act = NPU_ACT_RELU, .top = 64},
    {2, 9, 8, 12, 18, 3, 2, 1, -7, 38, .out_int8 = true, .residual = true, .top = 64},
    {1, 1, 13, 68, 20, 1, 1, 0, -128, 38, .out_int8 = true, .bias = true, .top = 65},
    {1, 1, 13, 130, 17, 1, 1, 0, 5, .dynamic = true, .bias = true, .act = NPU_ACT_RELU6},
};

enum { GUARD_BYTES = 64, GUARD = 0x5a }; /* behind the results */

struct data {
    struct npu_tensor in[NPU_QCONV_INPUTS], want, got;
    int64_t elements;
};

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Memory for a tensor, filled: bytes at random, i32 and f32 in the range given. */
static int make(struct npu_tensor *t, enum npu_dtype type, int rank, const int64_t *dim, float lo, float hi,
                uint32_t *seed)
{
    int64_t n;

    t->dtype = type;
    t->shape.rank = rank;
    memcpy(t->shape.dim, dim, sizeof *dim * (size_t)rank);
    n = npu_shape_elements(&t->shape);
    t->data = calloc(1, (size_t)n * npu_dtype_size(type) + GUARD_BYTES);
    if (!t->data)
        return -ENOMEM;
    memset((char *)t->data + (size_t)n * npu_dtype_size(type), GUARD, GUARD_BYTES);
    for (int64_t i = 0; i < n; i++) {
        const uint32_t u = next(seed);
        const float v = lo + (hi - lo) * (float)(u & 0xffffu) / 65536.0f;

        if (type == NPU_I8)
            ((int8_t *)t->data)[i] = (int8_t)u;
        else if (type == NPU_I32)
            ((int32_t *)t->data)[i] = (int32_t)v;
        else
            ((float *)t->data)[i] = v;
    }
    return 0;
}

/* Bytes become lo or hi. */
static void to_ends(struct npu_tensor *t, int8_t lo, int8_t hi)
{
    int8_t *p = t->data;

    for (int64_t i = 0, n = npu_shape_elements(&t->shape); i < n; i++)
        p[i] = p[i] < 0 ? lo : hi;
}

static int make_all(struct data *q, const struct shape *s, const struct npu_qconv_dims *d)
{
    const int64_t y[4] = {d->n, d->oh, d->ow, d->cout};
    const enum npu_dtype to = s->out_int8 ? NPU_I8 : NPU_F32;
    const float mul = s->out_int8 ? s->wild ? 1e8f : ldexpf(1e3f, s->shift - 21) : 1e-3f;
    const float bias = s->wild ? 2e9f : 3e4f;
    uint32_t seed = 5;
    int r = make(&q->in[NPU_QCONV_X], NPU_I8, 4, (int64_t[]){d->n, d->h, d->w, d->cin}, 0, 0, &seed);

    if (r == 0)
        r = make(&q->in[NPU_QCONV_W], NPU_I8, 4, (int64_t[]){d->kh, d->kw, d->cing, d->cout}, 0, 0, &seed);
    if (r == 0 && s->top) {
        to_ends(&q->in[NPU_QCONV_X], -128, 127);
        to_ends(&q->in[NPU_QCONV_W], (int8_t)-s->top, (int8_t)s->top);
    }
    if (r == 0)
        r = make(&q->in[NPU_QCONV_SCALE], s->out_int8 ? NPU_I32 : NPU_F32, 1, &d->cout, mul, 9.0f * mul, &seed);
    if (r == 0 && s->bias)
        r = make(&q->in[NPU_QCONV_BIAS], s->dynamic ? NPU_F32 : NPU_I32, 1, &d->cout, -bias, bias, &seed);
    if (r == 0 && s->dynamic)
        r = make(&q->in[NPU_QCONV_RANGE], NPU_F32, 1, (int64_t[]){3}, (float)s->x_zero, (float)s->x_zero + 0.5f, &seed);
    if (r == 0 && s->residual)
        r = make(&q->in[NPU_QCONV_RESIDUAL], to, 4, y, -1, 1, &seed);
    if (r == 0)
        r = make(&q->want, to, 4, y, 0, 0, &seed);
    if (r == 0)
        r = make(&q->got, to, 4, y, 7, 8, &seed);
    q->elements = r == 0 ? npu_shape_elements(&q->got.shape) : 0;
    return r;
}

static void push(struct npu_launch *k, int pointers, const struct npu_int8_conv *g)
{
    const int32_t *v = &g->n;

    for (int i = 0; i < pointers; i++)
        npu_launch_val(k, NPU_NONE);
    for (size_t i = 0; i < sizeof *g / sizeof *v; i++)
        npu_launch_i32(k, v[i]);
}

static void *memory(size_t bytes)
{
    void *p;

    return posix_memalign(&p, 64, bytes) == 0 ? memset(p, 0, bytes) : NULL;
}

static int run(const struct npu_int8_kernels *k, struct data *q, const struct npu_int8_conv *g,
               const struct npu_qconv_attr *a, enum npu_int8_way way)
{
    enum { PARTS = 3 };
    npu_native_fn *const packs[] = {k->pack, k->depthwise_pack, k->winograd_pack};
    npu_native_fn *const convs[] = {k->conv, k->depthwise, k->winograd};
    struct npu_launch pack = {0}, conv = {0};
    void *packed = memory(npu_int8_packed_bytes(g, way) + 64), *sum = memory((size_t)g->npad * sizeof(int32_t)),
         *scratch = memory((size_t)g->parts * npu_int8_scratch_bytes(g, k, way));
    void *p[NPU_MAX_ARGS] = {q->in[NPU_QCONV_W].data, packed, sum};
    struct npu_native_call call = {.p = p, .attr = a};
    const int r = packed && sum && scratch ? 0 : -ENOMEM;

    push(&pack, 3, g);
    push(&conv, 9, g);
    call.arg = pack.arg;
    for (int i = 0; r == 0 && i < PARTS; i++)
        packs[way](&call, i, PARTS);
    call.arg = conv.arg;
    memcpy(p,
           (void *[]){q->in[NPU_QCONV_X].data, packed, sum, q->in[NPU_QCONV_BIAS].data, q->in[NPU_QCONV_SCALE].data,
                      q->in[NPU_QCONV_RANGE].data, q->in[NPU_QCONV_RESIDUAL].data, q->got.data, scratch},
           9 * sizeof *p);
    for (int i = 0; r == 0 && i < PARTS; i++)
        convs[way](&call, i, PARTS);
    free(packed);
    free(sum);
    free(scratch);
    return r;
}

static int refer(const struct data *q, const struct npu_qconv_attr *a, int64_t cout)
{
    struct npu_node node = {.op = &npu_op_qconv2d};
    struct npu_ref_call c = {.node = &node, .out[0] = q->want};
    int r;

    memcpy(node.attr, a, sizeof *a);
    memcpy(c.in, q->in, sizeof q->in);
    c.scratch = calloc((size_t)cout, sizeof(uint32_t));
    r = c.scratch ? npu_op_qconv2d.ref(&c) : -ENOMEM;
    free(c.scratch);
    return r;
}

/* How many results differ, or a failure. */
static int64_t test_shape(const struct npu_int8_kernels *k, const struct shape *s)
{
    const struct npu_qconv_attr a = {.stride = s->stride,
                                     .pad_top = s->pad,
                                     .pad_left = s->pad,
                                     .pad_bottom = s->pad,
                                     .pad_right = s->pad,
                                     .groups = s->way == NPU_INT8_DEPTHWISE ? (int)s->cin : 1,
                                     .act = s->out_int8 ? NPU_ACT_NONE : (int)s->act,
                                     .out_int8 = s->out_int8,
                                     .shift = s->shift,
                                     .res_mul = s->shift > 32 ? 1 << 30 : 1 << 19,
                                     .x_zero = (int8_t)(s->dynamic ? 0 : s->x_zero),
                                     .y_zero = -9,
                                     .res_zero = 3,
                                     .lo = -100,
                                     .hi = 127};
    const int64_t oh = (s->h + 2 * s->pad - s->k) / s->stride + 1, ow = (s->w + 2 * s->pad - s->k) / s->stride + 1;
    const struct npu_qconv_dims d =
        npu_qconv_dims(&a, &(struct npu_shape){4, {s->n, s->h, s->w, s->cin}},
                       &(struct npu_shape){4, {s->k, s->k, s->way == NPU_INT8_DEPTHWISE ? 1 : s->cin, s->cout}},
                       &(struct npu_shape){4, {s->n, oh, ow, s->cout}});
    struct npu_int8_conv g = npu_int8_fields(k, &d, s->out_int8 ? NPU_I8 : NPU_F32, 2, s->way);
    struct data q = {0};
    int64_t differ;

    if (s->way == NPU_INT8_DEPTHWISE && !npu_int8_suits_depthwise(k, &d))
        return 0;
    differ = make_all(&q, s, &d);
    if (differ == 0)
        differ = run(k, &q, &g, &a, s->way);
    if (differ == 0)
        differ = refer(&q, &a, d.cout);
    for (int64_t i = 0, size = (int64_t)npu_dtype_size(q.got.dtype); differ >= 0 && i < q.elements; i++)
        differ += memcmp((char *)q.got.data + i * size, (char *)q.want.data + i * size, (size_t)size) != 0;
    for (int64_t i = 0, end = q.elements * (int64_t)npu_dtype_size(q.got.dtype); differ >= 0 && i < GUARD_BYTES; i++)
        differ += ((char *)q.got.data)[end + i] != GUARD;
    for (int i = 0; i < NPU_QCONV_INPUTS; i++)
        free(q.in[i].data);
    free(q.want.data);
    free(q.got.data);
    return differ;
}

int npu_int8_self_test(const struct npu_int8_kernels *k, char *why, size_t why_size)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const bool has = shapes[i].way != NPU_INT8_WINOGRAD || k->winograd;
        const int64_t differ = has ? test_shape(k, &shapes[i]) : 0;

        if (differ != 0) {
            snprintf(why, why_size, differ < 0 ? "no memory for the self-test" : "self-test: %lld results are wrong",
                     (long long)differ);
            return differ < 0 ? (int)differ : -EIO;
        }
    }
    return 0;
}
