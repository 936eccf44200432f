/* ops_perf.c - npu-ops perf and support. */
#include <stdlib.h>

#include "libnpu/tool/ops.h"

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Bytes that the nodes touch at least, and operations where they are known. */
static void count(const npu_graph *g, double *ret_bytes, double *ret_flops)
{
    *ret_bytes = *ret_flops = 0.0;
    for (int32_t i = 0; i < g->n_nodes; i++) {
        const struct npu_node *n = g->node[i];
        struct npu_tensor_type in[NPU_MAX_IN] = {0}, out[NPU_MAX_OUT] = {0};

        for (int k = 0; k < n->n_in; k++)
            if (n->in[k] != NPU_NONE) {
                in[k] = npu_value_of(g, n->in[k])->type;
                *ret_bytes += (double)npu_type_bytes(&in[k]);
            }
        for (int k = 0; k < n->n_out; k++) {
            out[k] = npu_value_of(g, n->out[k])->type;
            *ret_bytes += (double)npu_type_bytes(&out[k]);
        }
        if (n->op->flops)
            *ret_flops += n->op->flops(n, in, out);
    }
}

static void perf_case(struct ops *o, struct ops_case *c)
{
    double ms[200], bytes, flops;
    int n = 0, r;
    int64_t until_ns;
    npu_plan *p = NULL;

    npu_output(c->g, "test.y", c->result);
    r = npu_plan_new(o->dev, c->g, NULL, &p);
    if (r == 0)
        r = ops_fill(p);
    if (r == 0)
        r = npu_plan_run(p);
    if (r < 0) {
        ops_report(o, OPS_FAIL, c, "%s", p ? npu_plan_error(p) : npu_ctx_error(o->ctx));
        npu_plan_free(p);
        return;
    }
    until_ns = npu_now_ns() + 200000000;
    while (n < 200 && (n < 3 || npu_now_ns() < until_ns)) {
        npu_plan_run(p);
        ms[n++] = p->last_run_ms;
    }
    qsort(ms, (size_t)n, sizeof ms[0], by_value);
    count(c->g, &bytes, &flops);
    if (flops > 0)
        ops_report(o, OPS_PASS, c, "%9.4f ms  %8.2f GF/s  %7.2f GB/s", ms[n / 2], flops / ms[n / 2] * 1e-6,
                   bytes / ms[n / 2] * 1e-6);
    else
        ops_report(o, OPS_PASS, c, "%9.4f ms  %7.2f GB/s", ms[n / 2], bytes / ms[n / 2] * 1e-6);
    npu_plan_free(p);
}

void ops_perf(struct ops *o, const struct npu_op *op)
{
    static const enum npu_dtype storage[] = {NPU_F32, NPU_BF16};
    npu_case_fn *make = op->perf_case ? op->perf_case : op->test_case;
    struct ops_case c = {.op = op};
    int r;

    for (int s = 0; make && s < (o->f32_only ? 1 : 2); s++)
        for (int i = 0; (r = ops_case_build(op, make, i, storage[s], 0, &c)) != 1; i++) {
            if (r == 0)
                perf_case(o, &c);
            npu_graph_free(c.g);
        }
}

void ops_support(struct ops *o, const struct npu_op *op)
{
    struct ops_case c = {.op = op};
    npu_plan *p = NULL;
    int r, n = 0, tested = 0;
    char why[300] = "";

    if (!op->test_case)
        return;
    for (int i = 0; (r = ops_case_build(op, op->test_case, i, NPU_F32, 0, &c)) != 1; i++, tested++) {
        npu_output(c.g, "test.y", c.result);
        p = NULL;
        if (r == 0)
            r = npu_plan_new(o->dev, c.g, NULL, &p);
        n += r == 0;
        if (r < 0)
            snprintf(why, sizeof why, "; %.280s",
                     npu_graph_status(c.g) < 0 ? npu_graph_error(c.g) : npu_ctx_error(o->ctx));
        npu_plan_free(p);
        npu_graph_free(c.g);
    }
    npu_graph_new(0, &c.g);
    c.op = op;
    c.index = tested;
    c.storage = NPU_F32;
    c.result = NPU_NONE;
    ops_report(o, n == tested ? OPS_PASS : OPS_FAIL, &c, "%d of %d cases, %s, %s%s", n, tested,
               op->grad ? "backward" : "no backward", op->elementwise ? "in place" : "out of place", why);
    npu_graph_free(c.g);
}
