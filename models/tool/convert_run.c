/* convert_run.c - npu-convert --run: one run of an ONNX file, its inputs and outputs as .npy files. */
#include <stdlib.h>
#include <time.h>

#include "libnpu/graph.h"
#include "libnpu/rng.h"
#include "models/tool/convert.h"
#include "models/tool/npy.h"

/* DIR/NAME.npy */
static int write_array(const struct convert_args *a, const char *name, const struct npu_tensor *t)
{
    char *path;
    int r;

    if (!a->out)
        return 0;
    path = npy_array_path(a->out, name);
    if (!path)
        return convert_fail("out of memory");
    r = npy_write(path, t);
    if (r < 0)
        convert_fail("%s: %s", path, strerror(-r));
    free(path);
    return r < 0;
}

/* What --input says of this one; NULL: nothing. */
static const char *source_of(const struct convert_args *a, const char *name)
{
    for (int i = 0; i < a->n_inputs; i++) {
        const char *eq = strrchr(a->inputs[i], '=');

        if ((size_t)(eq - a->inputs[i]) == strlen(name) && strncmp(a->inputs[i], name, strlen(name)) == 0)
            return eq + 1;
    }
    return NULL;
}

static int write_input(const struct convert_args *a, struct convert_plan *p, const char *name)
{
    const npu_graph *g = npu_onnx_graph(p->model);
    const npu_val v = npu_graph_find(g, name);
    const char *from = source_of(a, name);
    struct npu_tensor t = npy_tensor_of(g, v);
    char why[256] = "out of memory";
    int r = t.data ? 0 : -ENOMEM;

    if (r == 0 && (!from || strcmp(from, "random") == 0))
        npy_fill_random(&t, npu_rng_key(a->seed, name));
    else if (r == 0)
        r = npy_read(from, &t, why, sizeof why);
    if (r < 0)
        r = convert_fail("input \"%s\": %s: %s", name, from ? from : "random", why);
    else if (npu_plan_write_val(p->plan, v, t.data, npu_type_bytes(&npu_value_of(g, v)->type)) < 0)
        r = convert_fail("input \"%s\": %s", name, npu_plan_error(p->plan));
    else
        r = write_array(a, name, &t);
    free(t.data);
    return r;
}

static int read_output(const struct convert_args *a, struct convert_plan *p, const char *name)
{
    const npu_graph *g = npu_onnx_graph(p->model);
    const npu_val v = npu_graph_find(g, name);
    const struct npu_tensor_type *type = &npu_value_of(g, v)->type;
    struct npu_tensor t = npy_tensor_of(g, v);
    const int64_t n = npu_shape_elements(&t.shape);
    double sum = 0.0, lo = INFINITY, hi = -INFINITY;
    char text[96];
    int r;

    if (!t.data)
        return convert_fail("out of memory");
    if (npu_plan_read_val(p->plan, v, t.data, npu_type_bytes(type)) < 0) {
        free(t.data);
        return convert_fail("output \"%s\": %s", name, npu_plan_error(p->plan));
    }
    for (int64_t i = 0; i < n; i++) {
        const double x = (double)npu_load(&t, i);

        sum += x;
        lo = x < lo ? x : lo;
        hi = x > hi ? x : hi;
    }
    printf("%s %s: %.6g to %.6g, mean %.6g\n", name, npu_type_text(type, text, sizeof text), lo, hi,
           n ? sum / (double)n : 0.0);
    r = write_array(a, name, &t);
    free(t.data);
    return r;
}

static int check_inputs(const struct convert_args *a, const npu_onnx *m)
{
    for (int i = 0; i < a->n_inputs; i++) {
        const int n = (int)(strrchr(a->inputs[i], '=') - a->inputs[i]);
        const char *name;
        bool found = false;

        for (int k = 0; (name = npu_onnx_input(m, k)); k++)
            found |= (int)strlen(name) == n && strncmp(name, a->inputs[i], (size_t)n) == 0;
        if (!found)
            return convert_fail("the network has no input \"%.*s\"", n, a->inputs[i]);
    }
    return 0;
}

int convert_run(const struct convert_args *a, const char *path)
{
    struct convert_plan p;
    struct npu_plan_stats stats;
    const char *name;
    int r = convert_open(a, path, &p);

    if (r != 0)
        return r;
    r = check_inputs(a, p.model);
    for (int i = 0; r == 0 && (name = npu_onnx_input(p.model, i)); i++)
        r = write_input(a, &p, name);
    if (r == 0 && npu_plan_run(p.plan) < 0)
        r = convert_fail("%s: %s", path, npu_plan_error(p.plan));
    for (int i = 0; r == 0 && (name = npu_onnx_output(p.model, i)); i++)
        r = read_output(a, &p, name);
    if (r == 0 && npu_plan_get_stats(p.plan, &stats) == 0)
        printf("%d nodes, %d launches on %s\n", stats.nodes, stats.launches, npu_dev_get_info(p.dev)->id);
    convert_close(&p);
    return r;
}
