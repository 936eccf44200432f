/* bench_gemm.c - npu-bench gemm:MxKxN*R: R products of one matrix with R others, in f32, bf16 or int8. With "gemm" the
 * other matrices are weights, known beforehand, and there is a bias; with "matmul" they change, as for a BLAS call. */
#include <stdlib.h>
#include <string.h>

#include "libnpu/quant.h"
#include "models/tool/bench.h"

enum { MAX_SIDE = 16384, MAX_PRODUCTS = 16, SHIFT = 24 };

struct gemm {
    int64_t m, k, n;
    int count;
    bool weights;
};

static bool parse(const char *what, struct gemm *ret)
{
    long long m, k, n, count = 1;
    char end;
    const bool weights = strncmp(what, "gemm:", 5) == 0;
    const char *size = strchr(what, ':') + 1;

    if (sscanf(size, "%lldx%lldx%lld%c", &m, &k, &n, &end) != 3 &&
        (sscanf(size, "%lldx%lldx%lld*%lld%c", &m, &k, &n, &count, &end) != 4))
        return false;
    *ret = (struct gemm){m, k, n, (int)count, weights};
    return m > 0 && k > 0 && n > 0 && count > 0 && m <= MAX_SIDE && k <= MAX_SIDE && n <= MAX_SIDE &&
           count <= MAX_PRODUCTS;
}

bool bench_is_gemm(const char *what)
{
    return strncmp(what, "gemm:", 5) == 0 || strncmp(what, "matmul:", 7) == 0;
}

/* A matrix or row that is written once. */
static npu_val constant(struct bench_net *n, const char *letter, int i, enum npu_dtype t, int rank, const int64_t *dim)
{
    char name[16];
    npu_val v;

    snprintf(name, sizeof name, "%s%d", letter, i);
    v = npu_state(n->graph, name, t, rank, dim, (struct npu_init){NPU_INIT_ZERO, 0});
    if (v > 0) {
        bench_note(n->in, &n->n_in, name, v);
        n->in[n->n_in - 1].once = true;
    }
    return v;
}

static npu_val int8_product(struct bench_net *n, const struct gemm *s, npu_val x, int i)
{
    const int64_t dim[2] = {s->k, s->n};
    const npu_val w = constant(n, "w", i, NPU_I8, 2, dim), scale = constant(n, "scale", i, NPU_I32, 1, dim + 1);
    const struct npu_qlayer_opts o = {
        .bias = constant(n, "b", i, NPU_I32, 1, dim + 1), .out_int8 = true, .shift = SHIFT, .lo = -128, .hi = 127};

    return npu_qmatmul(n->graph, x, w, scale, &o);
}

static npu_val float_product(struct bench_net *n, const struct gemm *s, npu_val x, enum npu_dtype t, int i)
{
    const int64_t dim[2] = {s->k, s->n};
    struct npu_matmul_opts o = {0};
    char name[16];
    npu_val w;

    if (s->weights) {
        w = constant(n, "w", i, t, 2, dim);
        o.bias = constant(n, "b", i, NPU_F32, 1, dim + 1);
        return npu_matmul(n->graph, x, w, &o);
    }
    snprintf(name, sizeof name, "w%d", i);
    w = npu_input(n->graph, name, t, 2, dim);
    bench_note(n->in, &n->n_in, name, w);
    n->in[n->n_in - 1].once = true;
    return npu_matmul(n->graph, x, w, NULL);
}

int bench_gemm_build(const char *what, enum bench_precision p, struct bench_net *n)
{
    static const enum npu_dtype types[] = {NPU_F32, NPU_BF16, NPU_I8};
    struct gemm s;
    npu_val x;

    if (!parse(what, &s) || (p == BENCH_INT8 && !s.weights)) {
        bench_fail("%s: want gemm:MxKxN or gemm:MxKxN*R of at most %d and %d products (matmul: not in int8)", what,
                   MAX_SIDE, MAX_PRODUCTS);
        return 2;
    }
    if (npu_graph_new(0, &n->other) < 0)
        return bench_fail("out of memory");
    n->graph = n->other;
    x = npu_input(n->graph, "x", types[p], 2, (const int64_t[]){s.m, s.k});
    bench_note(n->in, &n->n_in, "x", x);
    n->in[0].once = true;
    n->no_copies = true;
    for (int i = 0; i < s.count; i++) {
        const npu_val y = p == BENCH_INT8 ? int8_product(n, &s, x, i) : float_product(n, &s, x, types[p], i);
        char name[16];

        snprintf(name, sizeof name, "y%d", i);
        npu_output(n->graph, name, y);
        bench_note(n->out, &n->n_out, name, y);
    }
    return 0;
}
