/* ops_test.c - npu-ops test: each case on the device against the C reference, f32 and bf16 storage, with poisoned
 * memory and guard bytes round every tensor.
 */
#include <stdlib.h>

#include "libnpu/dev.h"
#include "libnpu/op/mat.h"
#include "libnpu/tool/ops.h"

enum { GUARD = 256 };

/* A run with everything poisoned before; *ret_plan holds the results. why: the reason of a failure. */
static int run(struct ops *o, npu_dev *d, const struct ops_case *c, npu_plan **ret_plan, char *why, size_t size)
{
    struct npu_plan_opts opts = {.keep_values = true};
    npu_plan *p;
    int r = npu_plan_new_guarded(d, c->g, &opts, GUARD, &p);

    if (r < 0) {
        snprintf(why, size, "%s", npu_graph_status(c->g) < 0 ? npu_graph_error(c->g) : npu_ctx_error(o->ctx));
        return r;
    }
    r = npu_plan_poison(p);
    if (r == 0)
        r = ops_fill(p);
    if (r == 0)
        r = npu_plan_run(p);
    if (r == 0)
        r = npu_plan_check_guards(p);
    if (r < 0) {
        snprintf(why, size, "%s: %s", npu_dev_get_info(d)->id, npu_plan_error(p)[0] ? npu_plan_error(p) : strerror(-r));
        npu_plan_free(p);
        return r;
    }
    *ret_plan = p;
    return 0;
}

/* Rounding of the storage type on top of the operation's own bound. */
static float storage_error(enum npu_dtype t)
{
    return t == NPU_BF16 ? 0x1p-7f : t == NPU_F16 ? 0x1p-10f : 0.0f;
}

/* What the device's products add to an absolute bound: a share of the largest result. In attention the error of the
 * first product passes through an exponential into the second: four times as much. */
static double product_error(const struct ops_case *c, const struct npu_plan *p, const float *r, int64_t n)
{
    double top = 0.0;

    if (!c->op->flops)
        return 0.0;
    for (int64_t i = 0; i < n; i++)
        top = fmax(top, fabs((double)r[i]));
    return top * (double)p->dev->traits.product_error * (c->op == &npu_op_attention ? 4 : 1);
}

/* Compares one value; returns the worst error as a share of its bound, or a negative number with the reason in why. */
static double compare(const struct ops_case *c, npu_plan *pd, npu_plan *pr, npu_val v, char *why, size_t size)
{
    enum npu_dtype t = npu_val_dtype(c->g, v);
    bool exact = c->exact || c->op->exact || !npu_dtype_is_float(t);
    float rel = (c->op->tol_rel > 0 ? c->op->tol_rel : 1e-5f) + storage_error(t);
    float abs_bound = c->op->tol_abs > 0 ? c->op->tol_abs : 1e-5f;
    int64_t nd = 0, nr = 0, bad = -1;
    float *d = ops_read(pd, v, &nd), *r = ops_read(pr, v, &nr);
    double worst = 0.0, product = r && d ? product_error(c, pd, r, nr) : 0.0;

    for (int64_t i = 0; d && r && i < nr && bad < 0; i++) {
        double bound = exact ? 1e-300 : product + (double)abs_bound + (double)rel * fabs((double)r[i]),
               e = fabs((double)d[i] - r[i]);

        if (isinf(r[i]) && d[i] == r[i])
            continue;
        if (isnan(r[i]) || !(e <= bound) || (c->exact && signbit(d[i]) != signbit(r[i]))) {
            snprintf(why, size, "element %lld of value %d is %.9g, the reference gives %.9g (bound %.3g)", (long long)i,
                     (int)v, (double)d[i], (double)r[i], bound);
            bad = i;
        }
        worst = fmax(worst, e / bound);
    }
    if (!d || !r) {
        snprintf(why, size, "value %d can't be read", (int)v);
        bad = 0;
    }
    free(d);
    free(r);
    return bad >= 0 ? -1.0 : worst;
}

/* All results of the node under test, and whatever it updates in place. */
static double compare_all(const struct ops_case *c, npu_plan *pd, npu_plan *pr, char *why, size_t size)
{
    double worst = 0.0;

    for (npu_val v = 1; v <= c->g->n_values && worst >= 0; v++) {
        const struct npu_value *val = npu_value_of(c->g, v), *res = npu_value_of(c->g, c->result);
        double e;

        if (!(val->updated || v == c->result || (res->node >= 0 && val->node == res->node)))
            continue;
        e = compare(c, pd, pr, v, why, size);
        worst = e < 0 ? e : fmax(worst, e);
    }
    return worst;
}

/* "; 2 of 3 launches native, types: f32 bf16", if there are launches. */
static const char *native_text(const struct npu_plan *p, char *buf, size_t size)
{
    const struct npu_lower *l = &p->lower;
    bool used[NPU_DTYPES] = {false};
    int native = 0, n = 0;

    buf[0] = '\0';
    for (int i = 0; i < l->n_launches; i++)
        native += l->launch[i].native != NULL;
    for (npu_val v = 1; v <= p->graph->n_values; v++)
        used[npu_val_dtype(p->graph, v)] = true;
    if (l->n_launches > 0)
        n = snprintf(buf, size, "; %d of %d launches native, types:", native, l->n_launches);
    for (int t = 0; t < NPU_DTYPES && n > 0 && (size_t)n < size; t++)
        if (used[t])
            n += snprintf(buf + n, size - (size_t)n, " %s", npu_dtype_name(t));
    return buf;
}

static void test_case(struct ops *o, const struct ops_case *c)
{
    npu_plan *pd = NULL, *pr = NULL;
    char why[900] = "", native[96];
    double worst = -1.0;
    int r = run(o, o->ref, c, &pr, why, sizeof why);

    if (r == 0)
        r = run(o, o->dev, c, &pd, why, sizeof why);
    if (r == 0)
        worst = compare_all(c, pd, pr, why, sizeof why);
    if (r == 0 && worst >= 0)
        ops_report(o, OPS_PASS, c, "worst error %.2f of the bound%s", worst, native_text(pd, native, sizeof native));
    else if (r == -EOPNOTSUPP)
        ops_report(o, OPS_SKIP, c, "%s", why);
    else
        ops_report(o, OPS_FAIL, c, "%s", why);
    npu_plan_free(pd);
    npu_plan_free(pr);
}

void ops_test(struct ops *o, const struct npu_op *op)
{
    static const enum npu_dtype storage[] = {NPU_F32, NPU_BF16};
    struct ops_case c = {.op = op};
    int r = 0;

    if (!op->test_case) {
        npu_graph_new(0, &c.g);
        ops_report(o, OPS_FAIL, &c, "has no test cases");
        npu_graph_free(c.g);
        return;
    }
    for (int s = 0; s < (op->exact_ref ? 4 : 2); s++) { /* f32, bf16; then both to the last bit */
        if (s % 2 && o->f32_only)
            continue;
        c.exact = s >= 2;
        for (int i = 0; (r = ops_case_build(op, op->test_case, i, storage[s % 2], 0, &c)) != 1; i++) {
            if (r == 0)
                test_case(o, &c);
            else /* some operands are f32 by contract */
                ops_report(o, s % 2 == 0 ? OPS_FAIL : OPS_SKIP, &c, "%s", npu_graph_error(c.g));
            npu_graph_free(c.g);
        }
    }
}
