/* ops_grad.c - npu-ops grad: the gradient of sum(R * y), R random, by npu_graph_backward on the reference against
 * central differences of the reference's forward, and the device's gradient against the reference's.
 *
 * Differences at two steps are extrapolated (Richardson); what is left of f32 noise is bounded by the size of the sum's
 * terms.
 */
#include <stdarg.h>
#include <stdlib.h>

#include "libnpu/rng.h"
#include "libnpu/tool/ops.h"

enum { DIRECTIONS = 3, ELEMENTS = 4 };

struct grad_case {
    struct ops *o;
    const struct ops_case *c;
    npu_plan *ref;
    npu_val y;
    float *proj; /* R */
    int64_t n_y;
    bool smooth;
    char why[600];
};

static int fail(struct grad_case *gc, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct grad_case *gc, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(gc->why, sizeof gc->why, fmt, ap);
    va_end(ap);
    return -EBADE;
}

/* Half types round too coarsely for finite differences: such cases compare device and reference only. */
static bool all_f32(const npu_graph *g)
{
    for (npu_val v = 1; v <= g->n_values; v++)
        if (npu_dtype_is_float(npu_val_dtype(g, v)) && npu_val_dtype(g, v) != NPU_F32)
            return false;
    return true;
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
        return fail(gc, "%s", npu_graph_status(gc->c->g) < 0 ? npu_graph_error(gc->c->g) : npu_ctx_error(gc->o->ctx));
    r = ops_fill(*ret_plan);
    if (r == 0)
        r = npu_plan_run(*ret_plan);
    return r < 0 ? fail(gc, "run: %s", npu_plan_error(*ret_plan)) : 0;
}

/* sum(R y) with x = x0 + h dir, in double; *ret_size: sum |R y|. */
static int loss_at(struct grad_case *gc, npu_val x, const float *x0, const float *dir, int64_t n, double h,
                   double *ret_loss, double *ret_size)
{
    float *xs = malloc((size_t)(n + 1) * sizeof *xs), *y;
    int64_t n_y;
    int r = xs ? ops_fill(gc->ref) : -ENOMEM;

    for (int64_t i = 0; r == 0 && i < n; i++)
        xs[i] = (float)(x0[i] + h * (double)dir[i]);
    if (r == 0)
        r = npu_plan_write_val(gc->ref, x, xs, (size_t)n * sizeof *xs);
    free(xs);
    if (r == 0)
        r = npu_plan_run(gc->ref);
    if (r < 0)
        return fail(gc, "run: %s", npu_plan_error(gc->ref));
    y = ops_read(gc->ref, gc->y, &n_y);
    if (!y)
        return fail(gc, "the result can't be read");
    *ret_loss = *ret_size = 0.0;
    for (int64_t i = 0; i < n_y; i++) {
        *ret_loss += (double)y[i] * gc->proj[i];
        *ret_size += fabs((double)y[i] * gc->proj[i]);
    }
    free(y);
    return 0;
}

/* <grad, dir> against differences along dir. floor: below which size of derivative an error means nothing. */
static int check_direction(struct grad_case *gc, npu_val x, const float *x0, const float *grad, const float *dir,
                           int64_t n, double floor_size, const char *what)
{
    const double h[2] = {8e-3, 4e-3};
    double fd[2] = {0}, plus = 0.0, minus = 0.0, size, exact = 0.0, est, bound, noise = 0.0;

    for (int64_t i = 0; grad && dir && i < n; i++)
        exact += (double)grad[i] * dir[i];
    for (int k = 0; k < 2; k++) {
        int r = loss_at(gc, x, x0, dir, n, h[k], &plus, &size);
        if (r == 0)
            r = loss_at(gc, x, x0, dir, n, -h[k], &minus, &size);
        if (r < 0)
            return r;
        fd[k] = (plus - minus) / (2.0 * h[k]);
        noise = 0x1p-23 * size / h[k];
    }
    est = (4.0 * fd[1] - fd[0]) / 3.0;
    bound = 5e-3 * fmax(fmax(fabs(exact), fabs(est)), floor_size) + noise + 1e-5;
    if (fabs(est - exact) <= bound)
        return 0;
    return fail(gc, "gradient of %s along %s is %.6g, finite differences say %.6g (bound %.2g)",
                npu_value_of(gc->c->g, x)->name, what, exact, est, bound);
}

static int check_input(struct grad_case *gc, npu_val x, const float *grad, int64_t n)
{
    uint64_t key = npu_rng_key(7, npu_value_of(gc->c->g, x)->name);
    float *x0, *dir = calloc((size_t)n + 1, sizeof *dir);
    double norm = 0.0, most = 0.0;
    const bool large = n > 20000 || gc->n_y > 20000; /* the reference is slow */
    char what[64];
    int r = 0;

    ops_fill(gc->ref);
    x0 = ops_read(gc->ref, x, &n);
    if (!x0 || !dir)
        r = fail(gc, "out of memory");
    for (int64_t i = 0; grad && i < n; i++) {
        norm += (double)grad[i] * grad[i];
        most = fmax(most, fabs((double)grad[i]));
    }
    for (int k = 0; k < (large ? 1 : DIRECTIONS) && r == 0; k++) {
        for (int64_t i = 0; dir && i < n; i++)
            dir[i] = npu_rng_u64(key + (uint64_t)k, (uint64_t)i) >> 63 ? 1.0f : -1.0f;
        snprintf(what, sizeof what, "random direction %d", k);
        r = check_direction(gc, x, x0, grad, dir, n, sqrt(norm), what);
    }
    for (int k = 0; k < (large ? 1 : ELEMENTS) && r == 0 && n > 0; k++) {
        int64_t at = (int64_t)(npu_rng_u64(key + 99, (uint64_t)k) % (uint64_t)n);

        memset(dir, 0, (size_t)n * sizeof *dir);
        dir[at] = 1.0f;
        snprintf(what, sizeof what, "element %lld", (long long)at);
        r = check_direction(gc, x, x0, grad, dir, n, 0.02 * most, what);
    }
    free(x0);
    free(dir);
    return r;
}

/* Device's gradient against the reference's. */
static int check_device(struct grad_case *gc, npu_plan *dev, npu_val x, const float *ref, int64_t n)
{
    npu_val gv = npu_graph_grad(gc->c->g, x);
    double rel = 4.0 * (gc->c->op->tol_rel > 0 ? (double)gc->c->op->tol_rel : 1e-5), most = 0.0;
    int64_t n_d;
    float *d = ops_read(dev, gv, &n_d);
    int r = d ? 0 : fail(gc, "the device's gradient can't be read");

    if (!all_f32(gc->c->g))
        rel += 0x1p-5;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)ref[i]));
    for (int64_t i = 0; r == 0 && d && i < n; i++)
        if (!(fabs((double)d[i] - ref[i]) <= rel * fmax(fabs((double)ref[i]), 0.2 * most) + 1e-6))
            r = fail(gc, "element %lld of the gradient of %s is %.9g, the reference gives %.9g", (long long)i,
                     npu_value_of(gc->c->g, x)->name, (double)d[i], (double)ref[i]);
    free(d);
    return r;
}

/* Whether finite differences make sense: no node of the case has kinks. */
static bool is_smooth(const struct ops_case *c, int32_t n_nodes)
{
    for (int32_t i = 0; i < n_nodes; i++)
        if (c->g->node[i]->op->no_fd)
            return false;
    return npu_val_dtype(c->g, c->result) == NPU_F32;
}

static int check_all(struct grad_case *gc, npu_plan *dev, int *ret_inputs, int *ret_fd)
{
    npu_graph *g = gc->c->g;
    int r = 0;

    for (npu_val x = 1; x <= g->n_values && r == 0; x++) {
        npu_val gv = npu_graph_grad(g, x);
        int64_t n;
        float *grad;

        if (npu_value_of(g, x)->kind == NPU_VALUE_NODE || gv < 0 || npu_value_of(g, x)->kind == NPU_VALUE_STATE ||
            strcmp(npu_value_of(g, x)->name, "test.proj") == 0)
            continue;
        ops_fill(gc->ref);
        npu_plan_run(gc->ref);
        grad = ops_read(gc->ref, gv, &n);
        r = grad ? check_device(gc, dev, x, grad, n) : fail(gc, "the gradient can't be read");
        if (r == 0 && all_f32(g) && gc->smooth) {
            r = check_input(gc, x, grad, n);
            *ret_fd += 1;
        }
        free(grad);
        *ret_inputs += 1;
    }
    return r;
}

static void grad_case(struct ops *o, struct ops_case *c)
{
    struct grad_case gc = {.o = o, .c = c, .smooth = is_smooth(c, c->g->n_nodes)};
    npu_plan *dev = NULL;
    int n = 0, n_fd = 0, r = add_backward(c);

    if (r == 1) {
        ops_report(o, OPS_SKIP, c, "the result depends on no float input");
        return;
    }
    if (r < 0)
        r = fail(&gc, "%s", npu_graph_error(c->g));
    gc.y = npu_graph_find(c->g, "test.y");
    if (r == 0)
        r = make_plan(&gc, o->ref, &gc.ref);
    if (r == 0)
        r = make_plan(&gc, o->dev, &dev);
    if (r == 0 && !(gc.proj = ops_read(gc.ref, npu_graph_find(c->g, "test.proj"), &gc.n_y)))
        r = fail(&gc, "out of memory");
    if (r == 0)
        r = check_all(&gc, dev, &n, &n_fd);
    if (r < 0)
        ops_report(o, OPS_FAIL, c, "%s", gc.why);
    else if (n == 0)
        ops_report(o, OPS_SKIP, c, "no input gets a gradient");
    else
        ops_report(o, OPS_PASS, c, "%d gradient(s)%s", n,
                   !all_f32(c->g) || !gc.smooth ? ", without finite differences" : "");
    free(gc.proj);
    npu_plan_free(dev);
    npu_plan_free(gc.ref);
}

void ops_grad(struct ops *o, const struct npu_op *op)
{
    static const enum npu_dtype storage[] = {NPU_F32, NPU_BF16};
    struct ops_case c = {.op = op};
    int r;

    if (!op->grad || !op->test_case)
        return;
    for (int s = 0; s < (o->f32_only ? 1 : 2); s++)
        for (int i = 0; (r = ops_case_build(op, op->test_case, i, storage[s], NPU_GRAPH_TRAIN, &c)) != 1; i++) {
            if (r == 0)
                grad_case(o, &c);
            else
                ops_report(o, storage[s] == NPU_F32 ? OPS_FAIL : OPS_SKIP, &c, "%s", npu_graph_error(c.g));
            npu_graph_free(c.g);
        }
}
