/* ops_grad.c - npu-ops grad: the gradient of sum(R * y), R random, by npu_graph_backward on the reference against
 * differences of the reference's forward (ops_diff.c), and the device's gradient against the reference's.
 */
#include <stdlib.h>

#include "libnpu/op/ops.h"
#include "libnpu/tool/ops_diff.h"

struct grad_case {
    struct ops *o;
    const struct ops_case *c;
    struct ops_diff diff;
    float *proj;          /* R */
    int inputs, compared; /* gradients, those of them compared with differences */
};

/* What the coarsest floating-point type of the graph rounds. */
static double rounding(const npu_graph *g)
{
    double eps = 0x1p-23;

    for (npu_val v = 1; v <= g->n_values; v++) {
        enum npu_dtype t = npu_val_dtype(g, v);

        if (npu_dtype_is_float(t) && t != NPU_F32)
            eps = fmax(eps, t == NPU_BF16 ? 0x1p-7 : 0x1p-10);
    }
    return eps;
}

static bool all_f32(const npu_graph *g)
{
    return rounding(g) == 0x1p-23;
}

/* Half types round too coarsely for differences: such cases compare device and reference only. But a cast alone is
 * the identity, for which steps may be long. */
static bool has_differences(const struct ops_case *c, npu_val x)
{
    return all_f32(c->g) || (c->op == &npu_op_cast && npu_val_dtype(c->g, x) == NPU_F32);
}

/* Adds the loss and its gradients to the case's graph. */
static int add_backward(struct ops_case *c)
{
    npu_graph *g = c->g;
    npu_val y = c->result, loss;

    for (npu_val v = 1; v <= g->n_values; v++)
        if (npu_value_of(g, v)->kind == NPU_VALUE_INPUT && npu_dtype_is_float(npu_val_dtype(g, v)))
            npu_graph_want_grad(g, v);
    if (!npu_val_needs_grad(g, y))
        return 1;
    if (npu_val_dtype(g, y) != NPU_F32)
        y = npu_cast(g, y, NPU_F32);
    npu_output(g, "test.y", y);
    loss = npu_mul(g, y, npu_input(g, "test.proj", NPU_F32, npu_val_shape(g, y)->rank, npu_val_shape(g, y)->dim));
    return npu_graph_backward(g, npu_reduce(g, loss, NPU_REDUCE_SUM, 0));
}

static int make_plan(struct grad_case *gc, npu_dev *d, npu_plan **ret_plan)
{
    struct npu_plan_opts opts = {.keep_values = true};
    int r = npu_plan_new(d, gc->c->g, &opts, ret_plan);

    if (r < 0)
        return ops_diff_fail(&gc->diff, "%s",
                             npu_graph_status(gc->c->g) < 0 ? npu_graph_error(gc->c->g) : npu_ctx_error(gc->o->ctx));
    r = ops_fill(*ret_plan);
    if (r == 0)
        r = npu_plan_run(*ret_plan);
    return r < 0 ? ops_diff_fail(&gc->diff, "run: %s", npu_plan_error(*ret_plan)) : 0;
}

/* Device's gradient against the reference's. */
static int check_device(struct grad_case *gc, npu_plan *dev, npu_val x, const float *ref, int64_t n)
{
    npu_val gv = npu_graph_grad(gc->c->g, x);
    double rel = 4.0 * (gc->c->op->tol_rel > 0 ? (double)gc->c->op->tol_rel : 1e-5), most = 0.0;
    int64_t n_d;
    float *d = ops_read(dev, gv, &n_d);
    int r = d ? 0 : ops_diff_fail(&gc->diff, "the device's gradient can't be read");

    if (!all_f32(gc->c->g))
        rel += 0x1p-5;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)ref[i]));
    for (int64_t i = 0; r == 0 && d && i < n; i++)
        if (!(fabs((double)d[i] - ref[i]) <= rel * fmax(fabs((double)ref[i]), 0.2 * most) + 1e-6))
            r = ops_diff_fail(&gc->diff, "element %lld of the gradient of %s is %.9g, the reference gives %.9g",
                              (long long)i, npu_value_of(gc->c->g, x)->name, (double)d[i], (double)ref[i]);
    free(d);
    return r;
}

static bool has_kinks(const struct ops_case *c, int32_t n_nodes)
{
    for (int32_t i = 0; i < n_nodes; i++)
        if (c->g->node[i]->op->kinks)
            return true;
    return false;
}

static int check_all(struct grad_case *gc, npu_plan *dev)
{
    npu_graph *g = gc->c->g;
    int r = 0;

    for (npu_val x = 1; x <= g->n_values && r == 0; x++) {
        npu_val gv = npu_graph_grad(g, x);
        int64_t n = 0;
        float *grad = NULL;

        if (npu_value_of(g, x)->kind == NPU_VALUE_NODE || gv < 0 || npu_value_of(g, x)->kind == NPU_VALUE_STATE ||
            strcmp(npu_value_of(g, x)->name, "test.proj") == 0)
            continue;
        if (ops_fill(gc->diff.ref) == 0 && npu_plan_run(gc->diff.ref) == 0)
            grad = ops_read(gc->diff.ref, gv, &n);
        r = grad ? check_device(gc, dev, x, grad, n) : ops_diff_fail(&gc->diff, "the gradient can't be read");
        if (r == 0 && has_differences(gc->c, x)) {
            r = ops_diff_check(&gc->diff, x, grad, n);
            gc->compared += n > 0;
        }
        free(grad);
        gc->inputs++;
    }
    return r;
}

static void report_pass(const struct grad_case *gc)
{
    const struct ops_diff *d = &gc->diff;

    if (gc->compared == 0)
        ops_report(gc->o, OPS_PASS, gc->c, "%d gradient(s), without finite differences", gc->inputs);
    else if (d->kinks)
        ops_report(gc->o, OPS_PASS, gc->c, "%d gradient(s), %d of %d elements compared", gc->inputs, d->met, d->tried);
    else
        ops_report(gc->o, OPS_PASS, gc->c, "%d gradient(s)", gc->inputs);
}

/* Returns whether gradients were compared with differences and agreed. */
static bool grad_case(struct ops *o, struct ops_case *c)
{
    struct grad_case gc = {.o = o, .c = c, .diff = {.step = 0x1p-5f, .kinks = has_kinks(c, c->g->n_nodes)}};
    npu_plan *dev = NULL;
    int r = add_backward(c);

    if (r == 1) {
        ops_report(o, OPS_SKIP, c, "the result depends on no float input");
        return false;
    }
    if (r < 0)
        r = ops_diff_fail(&gc.diff, "%s", npu_graph_error(c->g));
    gc.diff.y = npu_graph_find(c->g, "test.y");
    gc.diff.eps = rounding(c->g);
    if (!all_f32(c->g)) {
        gc.diff.step = 16.0f;
        gc.diff.kinks = true;
    }
    if (r == 0)
        r = make_plan(&gc, o->ref, &gc.diff.ref);
    if (r == 0)
        r = make_plan(&gc, o->dev, &dev);
    if (r == 0 && !(gc.proj = ops_read(gc.diff.ref, npu_graph_find(c->g, "test.proj"), &gc.diff.n_y)))
        r = ops_diff_fail(&gc.diff, "out of memory");
    gc.diff.proj = gc.proj;
    if (r == 0)
        r = check_all(&gc, dev);
    if (r < 0)
        ops_report(o, OPS_FAIL, c, "%s", gc.diff.why);
    else if (gc.inputs == 0)
        ops_report(o, OPS_SKIP, c, "no input gets a gradient");
    else
        report_pass(&gc);
    free(gc.proj);
    npu_plan_free(dev);
    npu_plan_free(gc.diff.ref);
    return r == 0 && gc.compared > 0;
}

void ops_grad(struct ops *o, const struct npu_op *op)
{
    static const enum npu_dtype storage[] = {NPU_F32, NPU_BF16};
    struct ops_case c = {.op = op};
    bool compared = false;
    int r;

    if (!op->grad || !op->test_case)
        return;
    for (int s = 0; s < (o->f32_only ? 1 : 2); s++)
        for (int i = 0; (r = ops_case_build(op, op->test_case, i, storage[s], NPU_GRAPH_TRAIN, &c)) != 1; i++) {
            if (r == 0)
                compared |= grad_case(o, &c);
            else
                ops_report(o, storage[s] == NPU_F32 ? OPS_FAIL : OPS_SKIP, &c, "%s", npu_graph_error(c.g));
            npu_graph_free(c.g);
        }
    if (compared || npu_graph_new(0, &c.g) < 0)
        return;
    ops_report(o, OPS_FAIL, &c, "no gradient was compared with finite differences");
    npu_graph_free(c.g);
}
