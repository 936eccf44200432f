/* exact_avx2_self_test.c - the kernels of the tier on small odd shapes against the C references, before anything relies
 * on them: bit by bit. */
#include <stdlib.h>

#include "libnpu/op/attention.h"
#include "libnpu/op/attr.h"
#include "libnpu/op/conv2d.h"
#include "libnpu/op/exact.h"
#include "libnpu/op/matmul.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/quant.h"
#include "libnpu/tier/exact_avx2.h"

enum { PARTS = 3, MOST = 4096, GUARD = 0x5a }; /* results lie in memory full of GUARD */

struct data {
    float in[4][MOST], scratch[MOST];
    int8_t bytes[MOST];
    float want[MOST], got[MOST];
    _Alignas(64) float packed[16 * MOST];
    _Alignas(64) char parts[PARTS][1 << 15];
    struct npu_node node;
    struct npu_ref_call ref;
    struct npu_launch launch;
    void *p[NPU_MAX_ARGS];
};

static void fill(float *v, int n, uint32_t *seed)
{
    for (int i = 0; i < n; i++) {
        *seed = *seed * 1664525u + 1013904223u;
        v[i] = (float)(int32_t)*seed * 0x1p-31f;
    }
}

static void begin(struct data *d, const void *attr, size_t size)
{
    memset(&d->ref, 0, sizeof d->ref);
    memset(&d->launch, 0, sizeof d->launch);
    memset(d->p, 0, sizeof d->p);
    if (size > 0)
        memcpy(d->node.attr, attr, size);
    d->ref.node = &d->node;
    d->ref.scratch = d->scratch;
    memset(d->got, GUARD, sizeof d->got);
    memset(d->want, GUARD, sizeof d->want);
}

static struct npu_tensor tensor(enum npu_dtype t, void *p, int rank, int64_t a, int64_t b, int64_t c, int64_t e)
{
    return (struct npu_tensor){t, {rank, {a, b, c, e}}, p};
}

static void values(struct data *d, int n, void *const *p)
{
    for (int i = 0; i < n; i++) {
        d->p[d->launch.n_args] = p[i];
        npu_launch_val(&d->launch, NPU_NONE);
    }
}
#define VALUES(d, ...) values(d, (int)(sizeof((void *[]){__VA_ARGS__}) / sizeof(void *)), (void *[]){__VA_ARGS__})

static void ints(struct data *d, int n, const int32_t *v)
{
    for (int i = 0; i < n; i++)
        npu_launch_i32(&d->launch, v[i]);
}
#define INTS(d, ...) ints(d, (int)(sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t)), (int32_t[]){__VA_ARGS__})

static void run(struct data *d, npu_native_fn *fn)
{
    const struct npu_native_call c = {.arg = d->launch.arg, .p = d->p};

    for (int i = 0; i < PARTS; i++)
        fn(&c, i, PARTS);
}

/* Are all bits the same, those behind the results untouched? */
static bool agrees(const struct data *d)
{
    // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c): the bits count
    return memcmp(d->got, d->want, sizeof d->got) == 0;
}

static npu_native_fn *find(const struct npu_exact_plain *p, const char *entry, const char *def)
{
    while (p->source && (strcmp(p->entry, entry) != 0 || (def && strcmp(p->def, def) != 0)))
        p++;
    return p->fn;
}

/* The form for int8 elements. */
static npu_native_fn *find_bytes(const struct npu_exact_plain *p, const char *entry)
{
    while (p->source && (strcmp(p->entry, entry) != 0 || strcmp(p->types, "bb") != 0))
        p++;
    return p->fn;
}

/* ---- products ---- */
static bool run_product(struct data *d, struct npu_avx2_conv g, bool grouped, float scale,
                        const struct npu_exact_kernels *e)
{
    const struct npu_avx2_kernels *a = npu_avx2_kernels();

    g.mb = 24;
    g.row_units = 2;
    g.col_units = 2;
    if (grouped) {
        VALUES(d, d->in[0], d->in[1], d->in[2], d->in[3], d->got);
        ints(d, (int)(sizeof g / sizeof(int32_t)), &g.n);
        run(d, e->grouped);
        return agrees(d);
    }
    if (!a || npu_avx2_conv_scratch(&g) > sizeof d->parts / 4)
        return false;
    VALUES(d, d->in[1], d->packed);
    ints(d, (int)(sizeof g / sizeof(int32_t)), &g.n);
    run(d, a->pack);
    memset(&d->launch, 0, sizeof d->launch);
    VALUES(d, d->in[0], d->packed, d->in[2], d->in[3], d->got, d->parts);
    ints(d, (int)(sizeof g / sizeof(int32_t)), &g.n);
    npu_launch_f32(&d->launch, scale);
    run(d, a->conv);
    return agrees(d);
}

static bool test_matmul(const struct npu_exact_kernels *e, struct data *d)
{
    enum { M = 13, K = 43, N = 19 };
    const struct npu_avx2_conv g = {.n = 2,
                                    .h = 1,
                                    .w = M,
                                    .cin = K,
                                    .oh = 1,
                                    .ow = M,
                                    .cout = N,
                                    .kh = 1,
                                    .kw = 1,
                                    .stride = 1,
                                    .w_k = 1,
                                    .w_n = K,
                                    .w_z = K * N,
                                    .act = NPU_ACT_RELU | 256};

    begin(d, &(struct npu_matmul_attr){.trans_b = 1, .act = NPU_ACT_RELU, .scale = 0.7f},
          sizeof(struct npu_matmul_attr));
    d->ref.in[0] = tensor(NPU_F32, d->in[0], 3, 2, M, K, 0);
    d->ref.in[1] = tensor(NPU_F32, d->in[1], 3, 2, N, K, 0);
    d->ref.in[2] = tensor(NPU_F32, d->in[2], 1, N, 0, 0, 0);
    d->ref.in[3] = tensor(NPU_F32, d->in[3], 3, 2, M, N, 0);
    d->ref.out[0] = tensor(NPU_F32, d->want, 3, 2, M, N, 0);
    return npu_exact_matmul_ref(&d->ref) == 0 && run_product(d, g, false, 0.7f, e);
}

static bool test_conv(const struct npu_exact_kernels *e, struct data *d, int cin, int cout, bool grouped)
{
    const struct npu_conv2d_attr attr = {.stride = 2,
                                         .pad_top = 1,
                                         .pad_left = 1,
                                         .pad_bottom = 1,
                                         .pad_right = 1,
                                         .groups = grouped ? cin : 1,
                                         .act = NPU_ACT_RELU6};
    const struct npu_avx2_conv g = {.n = 1,
                                    .h = 9,
                                    .w = 8,
                                    .cin = cin,
                                    .oh = 5,
                                    .ow = 4,
                                    .cout = cout,
                                    .kh = 3,
                                    .kw = 3,
                                    .stride = 2,
                                    .pad_top = 1,
                                    .pad_left = 1,
                                    .w_k = cout,
                                    .w_n = 1,
                                    .act = NPU_ACT_RELU6};

    begin(d, &attr, sizeof attr);
    d->ref.in[0] = tensor(NPU_F32, d->in[0], 4, 1, 9, 8, cin);
    d->ref.in[1] = tensor(NPU_F32, d->in[1], 4, 3, 3, grouped ? 1 : cin, cout);
    d->ref.in[2] = tensor(NPU_F32, d->in[2], 1, cout, 0, 0, 0);
    d->ref.in[3] = tensor(NPU_F32, d->in[3], 4, 1, 5, 4, cout);
    d->ref.out[0] = tensor(NPU_F32, d->want, 4, 1, 5, 4, cout);
    return npu_exact_conv2d_ref(&d->ref) == 0 && run_product(d, g, grouped, 1.0f, e);
}

/* ---- attention, activations ---- */
static bool test_attention(const struct npu_exact_kernels *e, struct data *d)
{
    const struct npu_exact_attention a = {.batch = 1, .n = 23, .heads = 2, .dh = 21, .query_units = 2};
    const struct npu_shape shape = {3, {1, a.n, (int64_t)3 * a.heads * a.dh}};

    begin(d, &(struct npu_attention_attr){.heads = a.heads}, sizeof(struct npu_attention_attr));
    d->ref.in[0] = (struct npu_tensor){NPU_F32, shape, d->in[0]};
    d->ref.out[0] = tensor(NPU_F32, d->want, 3, 1, a.n, (int64_t)a.heads * a.dh, 0);
    if (npu_exact_attention_scratch(&a) > sizeof d->parts[0] || npu_exact_attention_ref(&d->ref) != 0)
        return false;
    VALUES(d, d->in[0], d->got, d->parts);
    ints(d, (int)(sizeof a / sizeof(int32_t)), &a.batch);
    npu_launch_f32(&d->launch, npu_attention_dims(&d->node, &shape).scale);
    run(d, e->attention);
    return agrees(d);
}

static bool test_act(const struct npu_exact_kernels *e, struct data *d, int act)
{
    enum { N = 133 };

    begin(d, &act, 0);
    for (int i = 0; i < N; i++) {
        d->got[i] = 30.0f * d->in[0][i];
        d->want[i] = npu_x_act(act, d->got[i]);
    }
    VALUES(d, d->got);
    INTS(d, N, act);
    run(d, e->act);
    return agrees(d);
}

/* ---- simple kernels ---- */
static bool test_rows(const struct npu_exact_plain *p, struct data *d)
{
    enum { ROWS = 5, N = 43 };
    bool good;

    begin(d, &(struct layer_norm_attr){.eps = 1e-3f}, sizeof(struct layer_norm_attr));
    d->ref.in[0] = tensor(NPU_F32, d->in[0], 2, ROWS, N, 0, 0);
    d->ref.in[1] = tensor(NPU_F32, d->in[1], 1, N, 0, 0, 0);
    d->ref.in[2] = tensor(NPU_F32, d->in[2], 1, N, 0, 0, 0);
    d->ref.out[0] = tensor(NPU_F32, d->want, 2, ROWS, N, 0, 0);
    VALUES(d, d->in[0], d->in[1], d->in[2], d->got);
    npu_launch_f32(&d->launch, 1e-3f);
    npu_launch_f32(&d->launch, 1.0f / (float)N);
    INTS(d, ROWS, N, 1);
    run(d, find(p, "layer_norm", NULL));
    good = npu_exact_layer_norm_ref(&d->ref) == 0 && agrees(d);
    begin(d, NULL, 0);
    d->ref.in[0] = tensor(NPU_F32, d->in[0], 2, ROWS, N, 0, 0);
    d->ref.out[0] = tensor(NPU_F32, d->want, 2, ROWS, N, 0, 0);
    VALUES(d, d->in[0], d->got);
    INTS(d, ROWS, N, 1);
    run(d, find(p, "softmax", NULL));
    return good && npu_exact_softmax_ref(&d->ref) == 0 && agrees(d);
}

static bool test_reduce(const struct npu_exact_plain *p, struct data *d, int b)
{
    enum { A = 3, R = 37 };

    begin(d, &(struct reduce_attr){.from = 1, .to = 2, .mean = 1}, sizeof(struct reduce_attr));
    d->ref.in[0] = tensor(NPU_F32, d->in[0], 3, A, R, b, 0);
    d->ref.out[0] = tensor(NPU_F32, d->want, 2, A, b, 0, 0);
    VALUES(d, d->in[0], d->got);
    npu_launch_f32(&d->launch, 1.0f / (float)R);
    INTS(d, A, R, b);
    run(d, find(p, b == 1 ? "reduce_rows" : "reduce_cols", NULL));
    return npu_exact_reduce_ref(&d->ref) == 0 && agrees(d);
}

static bool test_mean_pool(const struct npu_exact_plain *p, struct data *d)
{
    begin(d, &(struct npu_pool_opts){.kernel = 3, .stride = 2, .pad = 1}, sizeof(struct npu_pool_opts));
    d->ref.in[0] = tensor(NPU_F32, d->in[0], 4, 2, 7, 6, 11);
    d->ref.out[0] = tensor(NPU_F32, d->want, 4, 2, 4, 3, 11);
    VALUES(d, d->in[0], d->got);
    INTS(d, 2, 7, 6, 11, 4, 3, 3, 2, 1);
    run(d, find(p, "mean_pool", NULL));
    return npu_exact_mean_pool_ref(&d->ref) == 0 && agrees(d);
}

static bool test_unary(const struct npu_exact_plain *p, struct data *d, int kind)
{
    enum { N = 133 };
    char def[16];

    snprintf(def, sizeof def, "-DKIND=%d", kind);
    begin(d, &(struct unary_attr){kind}, sizeof(struct unary_attr));
    d->ref.in[0] = tensor(NPU_F32, d->in[3], 1, N, 0, 0, 0);
    d->ref.out[0] = tensor(NPU_F32, d->want, 1, N, 0, 0, 0);
    for (int i = 0; i < N; i++)
        d->in[3][i] = (i % 2 ? 30.0f : 1.0f) * d->in[0][i];
    VALUES(d, d->in[3], d->got);
    INTS(d, N);
    run(d, find(p, "unary", def));
    return npu_exact_unary_ref(&d->ref) == 0 && agrees(d);
}

/* ---- between f32 and int8 ---- */
static bool test_quantise(const struct npu_exact_plain *p, struct data *d)
{
    enum { N = 171 };
    const struct npu_quantise_attr attr = {0.0113f, -7, NPU_F32};
    bool good;

    begin(d, &attr, sizeof attr);
    for (int i = 0; i < N; i++)
        d->in[3][i] = i == 3 ? NAN : i == 40 ? INFINITY : 2.0f * d->in[0][i];
    d->ref.in[0] = tensor(NPU_F32, d->in[3], 1, N, 0, 0, 0);
    d->ref.out[0] = tensor(NPU_I8, d->want, 1, N, 0, 0, 0);
    VALUES(d, d->in[3], d->got);
    npu_launch_f32(&d->launch, npu_q_reciprocal(attr.scale));
    INTS(d, attr.zero, N);
    run(d, find(p, "quantise", NULL));
    good = npu_op_quantise.ref(&d->ref) == 0 && agrees(d);
    memcpy(d->bytes, d->want, N);
    begin(d, &attr, sizeof attr);
    d->ref.in[0] = tensor(NPU_I8, d->bytes, 1, N, 0, 0, 0);
    d->ref.out[0] = tensor(NPU_F32, d->want, 1, N, 0, 0, 0);
    VALUES(d, d->bytes, d->got);
    npu_launch_f32(&d->launch, attr.scale);
    INTS(d, attr.zero, N);
    run(d, find(p, "dequantise", NULL));
    return good && npu_op_dequantise.ref(&d->ref) == 0 && agrees(d);
}

static bool test_range(const struct npu_exact_plain *p, struct data *d)
{
    enum { N = 171, LEN = 50 };
    float want[3], got[3] = {0};
    float *ends = d->scratch;
    bool good;

    begin(d, NULL, 0);
    d->ref.in[0] = tensor(NPU_F32, d->in[3], 1, N, 0, 0, 0);
    d->in[3][40] = -3.0f;
    d->ref.out[0] = tensor(NPU_I8, d->want, 1, N, 0, 0, 0);
    d->ref.out[1] = tensor(NPU_F32, want, 1, 3, 0, 0, 0);
    VALUES(d, d->in[3], ends);
    INTS(d, N, LEN);
    run(d, find(p, "range_parts", NULL));
    memset(&d->launch, 0, sizeof d->launch);
    VALUES(d, ends, got);
    INTS(d, (N + LEN - 1) / LEN);
    run(d, find(p, "range_whole", NULL));
    memset(&d->launch, 0, sizeof d->launch);
    VALUES(d, d->in[3], d->got, got);
    INTS(d, N);
    run(d, find(p, "quantise_range", NULL));
    good = npu_op_quantise_dynamic.ref(&d->ref) == 0 && agrees(d);
    // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c): the bits count
    return good && memcmp(want, got, sizeof want) == 0;
}

static bool test_copy(const struct npu_exact_plain *p, struct data *d)
{
    enum { ROWS = 5, LEN = 7, FROM = 11, TO = 9 };

    begin(d, NULL, 0);
    for (int r = 0; r < ROWS; r++)
        memcpy((char *)d->want + r * TO + 2, (char *)d->in[0] + r * FROM + 3, LEN);
    VALUES(d, d->in[0], d->got);
    INTS(d, 3, FROM, 2, TO, ROWS, LEN);
    run(d, find(p, "copy_rows", NULL));
    return agrees(d);
}

static void fill_bytes(struct data *d)
{
    for (int i = 0; i < MOST; i++)
        d->bytes[i] = (int8_t)(128.0f * d->in[0][i]);
}

/* [2, n, pixels] with the last two axes, then the first two, in the other order. */
static bool test_permute(const struct npu_exact_plain *p, struct data *d, int n, int pixels)
{
    const struct permute_attr last = {.rank = 3, .order = {0, 2, 1}}, swap = {.rank = 3, .order = {1, 0, 2}};
    bool good;

    begin(d, &last, sizeof last);
    fill_bytes(d);
    d->node.op = &npu_op_permute;
    d->ref.in[0] = tensor(NPU_I8, d->bytes, 3, 2, n, pixels, 0);
    d->ref.out[0] = tensor(NPU_I8, d->want, 3, 2, pixels, n, 0);
    VALUES(d, d->bytes, d->got);
    INTS(d, n, pixels, pixels, n, 2, 2, n * pixels, n * pixels, 1, 0, 0, 1, 0, 0, 1, 0, 0);
    run(d, find_bytes(p, "permute_tiles"));
    good = npu_op_permute.ref(&d->ref) == 0 && agrees(d);
    begin(d, &swap, sizeof swap);
    d->ref.in[0] = tensor(NPU_I8, d->bytes, 3, 2, n, pixels, 0);
    d->ref.out[0] = tensor(NPU_I8, d->want, 3, n, 2, pixels, 0);
    VALUES(d, d->bytes, d->got);
    INTS(d, pixels, 2 * n, 1, 2, 2, n, 1, 1, 1, n * pixels, pixels, 0, 0, 0);
    run(d, find_bytes(p, "permute_rows"));
    return good && npu_op_permute.ref(&d->ref) == 0 && agrees(d);
}

static bool test_max_pool(const struct npu_exact_plain *p, struct data *d, int channels)
{
    begin(d, &(struct npu_pool_opts){.kernel = 3, .stride = 2, .pad = 1}, sizeof(struct npu_pool_opts));
    fill_bytes(d);
    d->node.op = &npu_op_max_pool;
    d->ref.in[0] = tensor(NPU_I8, d->bytes, 4, 2, 7, 6, channels);
    d->ref.out[0] = tensor(NPU_I8, d->want, 4, 2, 4, 3, channels);
    VALUES(d, d->bytes, d->got);
    INTS(d, 2, 7, 6, channels, 4, 3, 3, 2, 1);
    run(d, find_bytes(p, "max_pool"));
    return npu_op_max_pool.ref(&d->ref) == 0 && agrees(d);
}

static bool test_all(const struct npu_exact_kernels *e, const struct npu_exact_plain *p, struct data *d)
{
    bool good = test_matmul(e, d) && test_conv(e, d, 17, 19, false) && test_conv(e, d, 3, 5, false) &&
                test_conv(e, d, 11, 11, true) && test_attention(e, d) && test_act(e, d, NPU_ACT_GELU) &&
                test_act(e, d, NPU_ACT_SIGMOID) && test_rows(p, d) && test_reduce(p, d, 1) && test_reduce(p, d, 13) &&
                test_mean_pool(p, d) && test_quantise(p, d) && test_range(p, d) && test_copy(p, d) &&
                test_permute(p, d, 3, 83) && test_permute(p, d, 19, 37) && test_max_pool(p, d, 11) &&
                test_max_pool(p, d, 45);

    for (int kind = UNARY_RELU; kind <= UNARY_GELU_ERF; kind++)
        good = good && test_unary(p, d, kind);
    return good;
}

int npu_exact_avx2_self_test(const struct npu_exact_kernels *k, const struct npu_exact_plain *plain)
{
    struct data *d = NULL;
    uint32_t seed = 11;
    bool good;

    if (posix_memalign((void **)&d, 64, sizeof *d) != 0)
        return -ENOMEM;
    memset(d, 0, sizeof *d);
    for (int i = 0; i < 4; i++)
        fill(d->in[i], MOST, &seed);
    good = test_all(k, plain, d);
    free(d);
    return good ? 0 : -EIO;
}
