/* builtin.c - products by a driver's built-in kernel: whether it is there and right, and its launch. */
#include "libnpu/tier/builtin.h"

#include <stdlib.h>

#include "libnpu/dev.h"
#include "libnpu/op/matmul.h"
#include "libnpu/tune.h"

#define SGEMM "pocl.sgemm.local.f32"
enum { TILE = 16 };

static const char *emulation(void)
{
    const char *e = getenv("NPU_BUILTIN");

    return e && e[0] ? e : NULL;
}

const char *npu_builtin_tier(void)
{
    return emulation() ? "builtin-emulated" : "builtin";
}

/* ---- lowering ---- */
static bool is_f32(const struct npu_lower *l, npu_val v)
{
    return npu_lower_type(l, v).dtype == NPU_F32;
}

/* Why a node can't be such a product, NULL if it is one. */
static const char *unfit(const struct npu_node *n, const struct npu_lower *l, const struct npu_matmul_dims *d)
{
    const struct npu_matmul_attr *at = NPU_ATTR(struct npu_matmul_attr, n);

    if (!is_f32(l, n->in[NPU_MATMUL_A]) || !is_f32(l, n->in[NPU_MATMUL_B]) || !is_f32(l, n->out[0]))
        return "tensors are not f32";
    if (d->batch != 1 || at->trans_a || at->trans_b)
        return "a batch of products, or a transposed operand";
    if (n->in[NPU_MATMUL_BIAS] != NPU_NONE || n->in[NPU_MATMUL_RESIDUAL] != NPU_NONE || at->act != NPU_ACT_NONE ||
        at->scale != 1.0f)
        return "more than a product: factor, bias, residual or activation";
    if (d->m % TILE || d->n % TILE || d->k % TILE || d->k == 0 || d->m > INT32_MAX || d->n > INT32_MAX ||
        d->k > INT32_MAX)
        return "sizes are no multiples of 16";
    return NULL;
}

int npu_builtin_lower(const struct npu_node *n, struct npu_lower *l, const struct npu_matmul_dims *d)
{
    const char *tier = npu_builtin_tier(), *e = emulation(), *why;
    struct npu_launch *k;

    if (!npu_lower_traits(l)->builtin || !npu_lower_tier(l, tier))
        return -EOPNOTSUPP;
    why = unfit(n, l, d);
    if (why)
        return npu_lower_refuse(l, tier, why);
    k = npu_lower_launch(l, e ? "builtin" : NPU_BUILTIN_SOURCE SGEMM, e ? "sgemm_local" : SGEMM);
    npu_launch_val(k, n->in[NPU_MATMUL_A]);
    npu_launch_val(k, n->in[NPU_MATMUL_B]);
    npu_launch_val(k, n->out[0]);
    npu_launch_i32(k, d->m);
    npu_launch_i32(k, d->n);
    npu_launch_i32(k, d->k);
    npu_launch_size(k, (size_t)d->n, (size_t)d->m, 0);
    npu_launch_local(k, TILE, TILE, 1);
    if (k && e && strcmp(e, "broken") == 0)
        npu_launch_def(k, "-DBUILTIN_BROKEN");
    if (k)
        k->tier = tier;
    return 0;
}

/* ---- self-test ---- */
enum { M = 32, K = 48, N = 64 };

static void fill(float *v, int n, uint32_t seed)
{
    for (int i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        v[i] = (float)(seed >> 28) - 8.0f;
    }
}

static int compute(struct npu_dev *d, npu_graph *g, const float *a, const float *b, float *y)
{
    npu_plan *p = NULL;
    int r = npu_plan_new_tier(d, g, npu_builtin_tier(), &p);

    if (r == 0) {
        const char *got = p->lower.n_launches > 0 ? p->lower.launch[p->lower.n_launches - 1].tier : NULL;

        r = got && strcmp(got, npu_builtin_tier()) == 0 ? 0 : -EOPNOTSUPP;
    }
    if (r == 0)
        r = npu_plan_write(p, "a", a, sizeof(float) * M * K);
    if (r == 0)
        r = npu_plan_write(p, "b", b, sizeof(float) * K * N);
    if (r == 0)
        r = npu_plan_run(p);
    if (r == 0)
        r = npu_plan_read(p, "y", y, sizeof(float) * M * N);
    npu_plan_free(p);
    return r;
}

/* Whole numbers, so exact in any order. */
static bool is_product(const float *a, const float *b, const float *y)
{
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            float sum = 0.0f;

            for (int k = 0; k < K; k++)
                sum += a[i * K + k] * b[k * N + j];
            if (y[i * N + j] != sum)
                return false;
        }
    return true;
}

static int test(struct npu_dev *d, char *why, size_t why_size)
{
    static const struct npu_matmul_opts o;
    const bool before = d->traits.builtin;
    struct {
        float a[M * K], b[K * N], y[M * N];
    } *t = malloc(sizeof *t);
    npu_graph *g = NULL;
    int r = t ? npu_graph_new(0, &g) : -ENOMEM;

    if (r == 0) {
        npu_output(g, "y",
                   npu_matmul(g, npu_input(g, "a", NPU_F32, 2, (int64_t[]){M, K}),
                              npu_input(g, "b", NPU_F32, 2, (int64_t[]){K, N}), &o));
        fill(t->a, M * K, 1);
        fill(t->b, K * N, 2);
        d->traits.builtin = true;
        r = compute(d, g, t->a, t->b, t->y);
        d->traits.builtin = before;
        if (r < 0)
            snprintf(why, why_size, "%s does not build or run", SGEMM);
    }
    if (r == 0 && !is_product(t->a, t->b, t->y)) {
        snprintf(why, why_size, "self-test: %s gives wrong results", SGEMM);
        r = -EIO;
    }
    npu_graph_free(g);
    free(t);
    return r;
}

/* Names are separated by semicolons. */
static bool is_listed(const char *list, const char *name)
{
    const size_t n = strlen(name);

    for (const char *at = list; *at; at += strspn(at, "; ")) {
        const size_t k = strcspn(at, "; ");

        if (k == n && memcmp(at, name, n) == 0)
            return true;
        at += k;
    }
    return false;
}

/* By the verdict of an earlier start, if there is one. Failures for want of memory and the like are no verdict. */
void npu_builtin_test(struct npu_dev *d)
{
    bool passed = false;
    char why[128];
    int r;

    if (emulation()) {
        passed = test(d, why, sizeof why) == 0;
    } else if (is_listed(d->info.built_in_kernels, SGEMM) && !npu_tune_get_test(d->tune, "builtin", &passed)) {
        r = test(d, why, sizeof why);
        passed = r == 0;
        if (r == 0 || r == -EIO || r == -ENOEXEC || r == -EINVAL)
            npu_tune_set_test(d->tune, "builtin", passed);
    }
    d->traits.builtin = passed;
}

const char *npu_builtin_why_not(struct npu_dev *d, char *buf, size_t size)
{
    if (d->traits.builtin)
        return NULL;
    snprintf(buf, size, "no memory for the self-test");
    if (!emulation() && !d->info.built_in_kernels[0])
        snprintf(buf, size, "the driver has no built-in kernels");
    else if (!emulation() && !is_listed(d->info.built_in_kernels, SGEMM))
        snprintf(buf, size, "no product that libnpu knows is among the driver's built-in kernels");
    else if (test(d, buf, size) == 0)
        snprintf(buf, size, "self-test failed at an earlier start");
    return buf;
}
