/* subgroup.c - which sub-group products of a device can be trusted: odd shapes against the C reference. */
#include "libnpu/tier/subgroup.h"

#include <stdlib.h>

#include "libnpu/dev.h"
#include "libnpu/quant.h"
#include "libnpu/rng.h"
#include "libnpu/tune.h"

#define INTEL "cl_intel_subgroup_matrix_multiply_accumulate"
#define ARM   "cl_arm_matrix_multiply"

enum { WAYS = 3 };

static const char *emulation(void)
{
    const char *e = getenv("NPU_SUBGROUP");

    return e && e[0] ? e : NULL;
}

const struct npu_subgroup_way *npu_subgroup_way(int i)
{
    static const struct npu_subgroup_way ways[2][WAYS] = {
        {{"subgroup-intel16", 1, 16, 16, INTEL}, {"subgroup-intel8", 2, 8, 8, INTEL}, {"subgroup-arm", 4, 16, 4, ARM}},
        {{"subgroup-intel16-emulated", 1, 16, 16, ""},
         {"subgroup-intel8-emulated", 2, 8, 8, ""},
         {"subgroup-arm-emulated", 4, 16, 4, ""}}};

    return i < WAYS ? &ways[emulation() != NULL][i] : NULL;
}

/* ---- self-test: what is built, filled and compared ---- */
enum test { BF16, F16, INT8, TESTS };
struct problem {
    npu_graph *g;
    npu_val y;
    size_t n; /* f32 results */
};

static npu_val any(npu_graph *g, const char *name, enum npu_dtype t, int rank, const int64_t *dim)
{
    return npu_input(g, name, t, rank, dim);
}

static int make(enum test what, struct problem *ret)
{
    enum { M = 37, K = 45, N = 21, DEEP = 64 };
    const struct npu_matmul_opts o = {.trans_b = what == F16, .act = NPU_ACT_RELU, .out_f32 = true};
    const struct npu_qlayer_opts q = {.x_zero = -101};
    const enum npu_dtype t = what == F16 ? NPU_F16 : NPU_BF16;
    npu_graph *g;
    npu_val y;
    int r = npu_graph_new(0, &g);

    if (r < 0)
        return r;
    if (what == INT8)
        y = npu_qmatmul(g, any(g, "a", NPU_I8, 2, (int64_t[]){M, DEEP}), any(g, "b", NPU_I8, 2, (int64_t[]){DEEP, N}),
                        npu_state(g, "one", NPU_F32, 1, (int64_t[]){N}, (struct npu_init){NPU_INIT_CONST, 1}), &q);
    else
        y = npu_matmul(g, any(g, "a", t, 2, (int64_t[]){M, K}),
                       any(g, "b", t, 2, what == F16 ? (int64_t[]){N, K} : (int64_t[]){K, N}), &o);
    npu_output(g, "y", y);
    r = npu_graph_status(g);
    if (r < 0) {
        npu_graph_free(g);
        return r;
    }
    *ret = (struct problem){g, y, (size_t)npu_shape_elements(npu_val_shape(g, y))};
    return 0;
}

/* Bytes at random; floats between 2^-3 and 2 in size, so that none is infinite. */
static int fill(npu_plan *p, npu_graph *g, const char *name)
{
    const npu_val v = npu_graph_find(g, name);
    const enum npu_dtype t = npu_val_dtype(g, v);
    const int64_t n = npu_shape_elements(npu_val_shape(g, v));
    uint8_t *x = malloc((size_t)n * 2 + 1);
    int r = x ? 0 : -ENOMEM;

    for (int64_t i = 0; r == 0 && i < n; i++) {
        const uint32_t u = (uint32_t)(npu_rng_uniform(npu_rng_key(7, name), (uint64_t)i) * 65535.9f);
        const uint16_t bf16 = (uint16_t)((u & 0x807fu) | (0x3e00u + (u >> 7 & 0x0180u))),
                       f16 = (uint16_t)((u & 0x83ffu) | (0x3000u + (u & 0x0c00u)));
        const uint16_t value = t == NPU_F16 ? f16 : bf16;

        if (t == NPU_I8)
            x[i] = (uint8_t)u;
        else
            memcpy(x + 2 * i, &value, sizeof value);
    }
    if (r == 0)
        r = npu_plan_write_val(p, v, x, (size_t)n * npu_dtype_size(t));
    free(x);
    return r;
}

static int run(struct npu_dev *d, const struct problem *q, const char *tier, float *y)
{
    npu_plan *p = NULL;
    int r = npu_plan_new_tier(d, q->g, tier, &p);

    if (r == 0 && p->lower.n_launches > 0) { /* ref has none */
        const char *got = p->lower.launch[p->lower.n_launches - 1].tier;

        r = got && strcmp(got, tier) == 0 ? 0 : -EOPNOTSUPP;
    }
    if (r == 0)
        r = npu_plan_init(p, 1);
    if (r == 0)
        r = fill(p, q->g, "a");
    if (r == 0)
        r = fill(p, q->g, "b");
    if (r == 0)
        r = npu_plan_run(p);
    if (r == 0)
        r = npu_plan_read_val(p, q->y, y, q->n * sizeof *y);
    npu_plan_free(p);
    return r;
}

/* 0, or a failure with why. */
static int compare(struct npu_dev *d, struct npu_dev *ref, const struct npu_subgroup_way *w, enum test what, char *why,
                   size_t why_size)
{
    static const char *const names[] = {"bf16", "f16", "int8"};
    struct problem q;
    float *a, *b;
    int r = make(what, &q);

    if (r < 0)
        return r;
    a = malloc(q.n * sizeof *a);
    b = malloc(q.n * sizeof *b);
    r = a && b ? run(ref, &q, "ref", b) : -ENOMEM;
    if (r == 0)
        r = run(d, &q, w->tier, a);
    if (r < 0)
        snprintf(why, why_size, r == -ENOEXEC ? "does not compile (%s)" : "self-test does not run (%s)", names[what]);
    for (size_t i = 0; r == 0 && i < q.n; i++)
        if (!(fabsf(a[i] - b[i]) <= (what == INT8 ? 0.0f : 1e-3f * (1.0f + fabsf(b[i]))))) {
            snprintf(why, why_size, "self-test off by %g in a result of %g (%s)", (double)fabsf(a[i] - b[i]),
                     (double)b[i], names[what]);
            r = -EIO;
        }
    free(a);
    free(b);
    npu_graph_free(q.g);
    return r;
}

static int test_way(struct npu_dev *d, const struct npu_subgroup_way *w, char *why, size_t why_size)
{
    const unsigned before = d->traits.subgroup;
    struct npu_dev_info info;
    struct npu_dev *ref = NULL;
    int r;

    npu_dev_ref_info(&info);
    r = npu_dev_ref_open(d->ctx, &info, &ref);
    d->traits.subgroup = w->bit;
    for (int t = BF16; t < TESTS && r == 0; t++)
        if (t != INT8 || w->columns != 4)
            r = compare(d, ref, w, (enum test)t, why, why_size);
    d->traits.subgroup = before;
    if (ref)
        ref->ops->close(ref);
    return r;
}

static bool is_advertised(const struct npu_dev *d, const struct npu_subgroup_way *w)
{
    return emulation() || strstr(d->info.extensions, w->extension);
}

/* By the verdict of an earlier start, if there is one. Failures for want of memory and the like are no verdict. */
static bool passes(struct npu_dev *d, const struct npu_subgroup_way *w)
{
    bool passed = false;
    char why[128];
    int r;

    if (!is_advertised(d, w))
        return false;
    if (!emulation() && npu_tune_get_test(d->tune, w->tier, &passed))
        return passed;
    r = test_way(d, w, why, sizeof why);
    if (!emulation() && (r == 0 || r == -EIO || r == -ENOEXEC))
        npu_tune_set_test(d->tune, w->tier, r == 0);
    return r == 0;
}

void npu_subgroup_test(struct npu_dev *d)
{
    const struct npu_subgroup_way *w;
    unsigned passed = 0;

    for (int i = 0; (w = npu_subgroup_way(i)); i++)
        if (passes(d, w))
            passed |= w->bit;
    d->traits.subgroup = passed;
}

const char *npu_subgroup_why_not(struct npu_dev *d, const char *tier, char *buf, size_t size)
{
    const struct npu_subgroup_way *w;

    for (int i = 0; (w = npu_subgroup_way(i)); i++)
        if (strcmp(w->tier, tier) == 0) {
            if (d->traits.subgroup & w->bit)
                return NULL;
            snprintf(buf, size, "no memory for the self-test");
            if (!is_advertised(d, w))
                snprintf(buf, size, "%s is not advertised", w->extension);
            else if (test_way(d, w, buf, size) == 0)
                snprintf(buf, size, "self-test failed at an earlier start");
            return buf;
        }
    return "only for tests";
}
