/* ops_case.c - building and filling test cases, printing verdicts. */
#include <stdarg.h>
#include <stdlib.h>

#include "libnpu/json_text.h"
#include "libnpu/rng.h"
#include "libnpu/tool/ops.h"

int ops_case_build(const struct npu_op *op, npu_case_fn *make, int index, enum npu_dtype storage, unsigned flags,
                   struct ops_case *ret_case)
{
    struct ops_case c = {.op = op, .index = index, .storage = storage, .exact = ret_case->exact};
    int r = npu_graph_new(flags, &c.g);

    if (r < 0)
        return r;
    c.g->test_storage = storage;
    c.g->exact = c.exact;
    c.result = make(c.g, index);
    if (c.result == NPU_NONE && npu_graph_status(c.g) == 0) {
        npu_graph_free(c.g);
        return 1;
    }
    c.g->test_storage = NPU_F32;
    *ret_case = c;
    return c.result < 0 ? c.result : 0;
}

const char *ops_case_text(const struct ops_case *c, char *buf, size_t size)
{
    const struct npu_value *v = npu_value_of(c->g, c->result);
    char type[96] = "";

    if (v)
        npu_type_text(&v->type, type, sizeof type);
    snprintf(buf, size, "%s case %d %s%s %s", c->op->name, c->index, c->exact ? "exact " : "",
             npu_dtype_name(c->storage), type);
    return buf;
}

int ops_fill(struct npu_plan *p)
{
    for (npu_val v = 1; v <= p->graph->n_values; v++) {
        const struct npu_value *val = npu_value_of(p->graph, v);
        struct npu_tensor t = {.dtype = val->type.dtype, .shape = val->type.shape};
        size_t size = npu_type_bytes(&val->type);
        int64_t n = npu_shape_elements(&t.shape);
        uint64_t key;
        int r;

        if (val->kind == NPU_VALUE_NODE || size == 0 || npu_plan_place(p, v).bank < 0)
            continue;
        t.data = malloc(size);
        if (!t.data)
            return -ENOMEM;
        key = npu_rng_key(1, val->name);
        for (int64_t i = 0; i < n; i++) {
            float x = val->test_lo + (val->test_hi - val->test_lo) * npu_rng_uniform(key, (uint64_t)i);
            npu_store(&t, i, npu_dtype_is_float(t.dtype) ? x : floorf(x));
        }
        r = npu_plan_write_val(p, v, t.data, size);
        free(t.data);
        if (r < 0)
            return r;
    }
    return 0;
}

float *ops_read(struct npu_plan *p, npu_val v, int64_t *ret_n)
{
    const struct npu_value *val = npu_value_of(p->graph, v);
    size_t size = npu_type_bytes(&val->type);
    int64_t n = npu_shape_elements(&val->type.shape);
    struct npu_tensor t = {.dtype = val->type.dtype, .shape = val->type.shape, .data = malloc(size + 1)};
    float *x = malloc((size_t)(n + 1) * sizeof *x);

    if (!t.data || !x || npu_plan_read_val(p, v, t.data, size) < 0) {
        free(t.data);
        free(x);
        return NULL;
    }
    for (int64_t i = 0; i < n; i++)
        x[i] = npu_load(&t, i);
    free(t.data);
    *ret_n = n;
    return x;
}

void ops_report(struct ops *o, enum ops_verdict v, const struct ops_case *c, const char *fmt, ...)
{
    static const char *const words[] = {"pass", "FAIL", "skip"};
    char text[1024], name[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    o->passed += v == OPS_PASS;
    o->failed += v == OPS_FAIL;
    o->skipped += v == OPS_SKIP;
    ops_case_text(c, name, sizeof name);
    if (!o->json) {
        printf("%s  %-44s %s\n", words[v], name, text);
        fflush(stdout);
        return;
    }
    printf("%s\n  {\"op\": \"%s\", \"case\": %d, \"dtype\": \"%s\", \"verdict\": \"%s\", \"text\": ",
           o->first ? "" : ",", c->op->name, c->index, npu_dtype_name(c->storage), v == OPS_FAIL ? "fail" : words[v]);
    npu_json_text(stdout, text);
    printf("}");
    o->first = false;
}
