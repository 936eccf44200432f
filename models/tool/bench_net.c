/* bench_net.c - what npu-bench measures, made ready: graph, plan, parameters, arrays for inputs and outputs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libnpu/graph.h"
#include "libnpu/quant.h"
#include "libnpu/rng.h"
#include "models/face_finder.h"
#include "models/gaze_vit.h"
#include "models/model_file.h"
#include "models/tool/bench.h"
#include "models/tool/net_by_name.h"
#include "models/tool/npy.h"

enum { SEED = 1 };

static bool is_onnx(const char *what)
{
    const size_t n = strlen(what);

    return n > 5 && strcmp(what + n - 5, ".onnx") == 0;
}

void bench_note(struct bench_tensor *list, int *n, const char *name, npu_val v)
{
    if (*n == BENCH_MAX_TENSORS)
        return;
    list[*n] = (struct bench_tensor){.v = v};
    snprintf(list[*n].name, sizeof list[*n].name, "%s", name);
    ++*n;
}

/* ---- graphs ---- */
/* What npu_quant_choose asks of a layer: weights named <layer>.weight. Exporters call some "onnx::MatMul_123". */
static void name_weights(npu_graph *g)
{
    for (int32_t i = 0; i < g->n_nodes; i++) {
        const struct npu_node *n = g->node[i];
        struct npu_value *w = n->n_in > 1 ? npu_value_of(g, n->in[1]) : NULL;
        const bool product = strcmp(n->op->name, "matmul") == 0 || strcmp(n->op->name, "conv2d") == 0;
        const size_t len = w && w->name ? strlen(w->name) : 0;
        char *name;

        if (!product || !w || w->kind != NPU_VALUE_PARAM || len == 0 || len + 8 > NPU_MAX_NAME ||
            (len > 7 && strcmp(w->name + len - 7, ".weight") == 0) || asprintf(&name, "%s.weight", w->name) < 0)
            continue;
        free(w->name);
        w->name = name;
    }
}

static int build_onnx(const struct bench_args *a, struct bench_net *n)
{
    struct npu_onnx_dim dims[BENCH_MAX_LIST];
    struct npu_onnx_opts o = a->onnx;
    char message[NPU_ONNX_MESSAGE] = "";
    const char *name;

    memcpy(dims, a->dims, sizeof dims);
    dims[o.n_dims++] = (struct npu_onnx_dim){NULL, a->batch};
    o.dims = dims;
    if (npu_onnx_import(a->what, &o, &n->onnx, message) < 0)
        return bench_fail("%s: %s", a->what, message);
    n->graph = npu_onnx_graph(n->onnx);
    name_weights(n->graph);
    for (int i = 0; (name = npu_onnx_input(n->onnx, i)); i++)
        bench_note(n->in, &n->n_in, name, npu_graph_find(n->graph, name));
    for (int i = 0; (name = npu_onnx_output(n->onnx, i)); i++)
        bench_note(n->out, &n->n_out, name, npu_graph_find(n->graph, name));
    if (a->batch > 1 && n->n_in > 0 && npu_val_shape(n->graph, n->in[0].v)->dim[0] != a->batch)
        return bench_fail("%s: has no symbolic dimension for --batch %d: export it with that batch", a->what, a->batch);
    return 0;
}

static int build_finder(struct net *net, const struct bench_args *a)
{
    npu_val levels[FACE_FINDER_LEVELS];
    int r = net_init(net, 0);

    if (r < 0)
        return r;
    if (a->size.height % 32 || a->size.width % 32)
        return -EDOM;
    face_finder_build_served(net, a->batch, a->size.width, a->size.height, levels);
    return npu_graph_status(net->graph);
}

static int build_named(const struct bench_args *a, struct bench_net *n)
{
    int r = a->size.width ? build_finder(&n->net, a) : net_by_name(&n->net, a->what, a->batch);
    const char *name;

    if (r == -ENOENT) {
        bench_fail("%s: no such network; there are gaze_vit, landmarks, face_finder and files ending in .onnx",
                   a->what);
        return 2;
    }
    if (r < 0)
        return bench_fail("%s: %s", a->what, r == -EDOM ? "sizes are multiples of 32" : strerror(-r));
    n->graph = n->net.graph;
    for (npu_val v = 1; v <= npu_graph_n_values(n->graph); v++)
        if (npu_value_of(n->graph, v)->kind == NPU_VALUE_INPUT)
            bench_note(n->in, &n->n_in, npu_value_of(n->graph, v)->name, v);
    for (int i = 0; (name = npu_graph_output_name(n->graph, i)); i++)
        bench_note(n->out, &n->n_out, name, npu_graph_find(n->graph, name));
    return 0;
}

int bench_net_build(const struct bench_args *a, struct bench_net *n)
{
    int r = a->train                 ? bench_train_build(a, n)
            : bench_is_gemm(a->what) ? bench_gemm_build(a->what, a->precision, n)
            : is_onnx(a->what)       ? build_onnx(a, n)
                                     : build_named(a, n);

    if (r == 0 && npu_graph_status(n->graph) < 0)
        return bench_fail("%s: %s", a->what, npu_graph_error(n->graph));
    return r;
}

/* ---- plans ---- */
static int explain_failure(const struct bench_args *a, npu_dev *dev, const struct bench_net *n, int r)
{
    char text[256];

    npu_dev_error(dev, text, sizeof text);
    return bench_fail("%s: no plan: %s", a->what,
                      npu_graph_status(n->graph) < 0 ? npu_graph_error(n->graph)
                      : text[0]                      ? text
                                                     : strerror(-r));
}

/* The parameters: a weight file, the ONNX file's, or random ones. */
static int open_plan(const struct bench_args *a, npu_dev *dev, const struct npu_plan_opts *o, struct bench_net *n)
{
    char message[MODEL_MESSAGE_SIZE] = "";
    int r;

    if (a->weights) {
        r = model_plan_open_as(dev, n->graph, a->weights, a->what, o, &n->plan, message);
        return r < 0 ? bench_fail("%s", message) : 0;
    }
    r = npu_plan_new(dev, n->graph, o, &n->plan);
    if (r < 0)
        return explain_failure(a, dev, n, r);
    r = n->onnx ? npu_onnx_load(n->onnx, n->plan) : npu_plan_init(n->plan, SEED);
    if (r == 0 && strcmp(a->what, "gaze_vit") == 0)
        r = gaze_vit_write_positions(n->plan, &gaze_vit_config);
    if (r == 0 && a->train)
        r = bench_train_start(n->plan);
    return r < 0 ? bench_fail("%s: parameters: %s", a->what, npu_plan_error(n->plan)) : 0;
}

static int allocate(struct bench_net *n, struct bench_tensor *list, int count)
{
    for (int i = 0; i < count; i++) {
        list[i].t = npy_tensor_of(n->graph, list[i].v);
        if (!list[i].t.data)
            return bench_fail("out of memory");
    }
    return 0;
}

int bench_net_open(const struct bench_args *a, npu_dev *dev, const struct npu_plan_opts *o, struct bench_net *n)
{
    int r = bench_net_build(a, n);

    if (r == 0)
        r = open_plan(a, dev, o, n);
    if (r == 0)
        r = allocate(n, n->in, n->n_in);
    if (r == 0)
        r = allocate(n, n->out, n->n_out);
    if (r == 0)
        r = bench_net_fill(n, a->inputs, SEED);
    if (r == 0 && bench_net_write(n, true) < 0)
        r = bench_fail("%s: %s", a->what, npu_plan_error(n->plan));
    return r;
}

void bench_net_close(struct bench_net *n)
{
    for (int i = 0; i < n->n_in; i++)
        free(n->in[i].t.data);
    for (int i = 0; i < n->n_out; i++)
        free(n->out[i].t.data);
    npu_plan_free(n->plan);
    npu_onnx_free(n->onnx);
    npu_graph_free(n->other);
    net_clear(&n->net);
    memset(n, 0, sizeof *n);
}

/* ---- arrays ---- */
int bench_net_fill(struct bench_net *n, const char *folder, uint64_t seed)
{
    for (int i = 0; i < n->n_in; i++) {
        struct bench_tensor *x = &n->in[i];
        char why[256] = "out of memory", *path;
        int r;

        if (!folder) {
            npy_fill_random(&x->t, npu_rng_key(seed, x->name));
            continue;
        }
        path = npy_array_path(folder, x->name);
        r = path ? npy_read(path, &x->t, why, sizeof why) : -ENOMEM;
        if (r < 0)
            bench_fail("input \"%s\": %s: %s", x->name, path ? path : "", why);
        free(path);
        if (r < 0)
            return 1;
    }
    return 0;
}

static size_t bytes_of(const struct npu_tensor *t)
{
    return (size_t)npu_shape_elements(&t->shape) * npu_dtype_size(t->dtype);
}

int bench_net_write(struct bench_net *n, bool once)
{
    int r = 0;

    for (int i = 0; i < n->n_in && r == 0; i++)
        if (n->in[i].once == once)
            r = npu_plan_write_val(n->plan, n->in[i].v, n->in[i].t.data, bytes_of(&n->in[i].t));
    return r;
}

int bench_net_run(struct bench_net *n)
{
    int r = n->no_copies ? 0 : bench_net_write(n, false);

    if (r == 0)
        r = npu_plan_run(n->plan);
    for (int i = 0; i < n->n_out && r == 0 && !n->no_copies; i++)
        r = npu_plan_read_val(n->plan, n->out[i].v, n->out[i].t.data, bytes_of(&n->out[i].t));
    return r;
}

int bench_net_outputs(struct bench_net *n, const char *folder)
{
    for (int i = 0; i < n->n_out; i++) {
        struct bench_tensor *y = &n->out[i];
        char *path = npy_array_path(folder, y->name);
        int r = path ? npu_plan_read_val(n->plan, y->v, y->t.data, bytes_of(&y->t)) : -ENOMEM;

        if (r == 0)
            r = npy_write(path, &y->t);
        if (r < 0)
            bench_fail("output \"%s\": %s: %s", y->name, path ? path : "", strerror(-r));
        free(path);
        if (r < 0)
            return 1;
    }
    return 0;
}

static int one_more(struct bench_net *n, const char *inputs, const char *outputs)
{
    int r = bench_net_fill(n, inputs, SEED);

    if (r == 0 && (bench_net_write(n, true) < 0 || bench_net_run(n) < 0))
        r = bench_fail("%s: %s", inputs, npu_plan_error(n->plan));
    if (r || !outputs)
        return r;
    if (mkdir(outputs, 0777) < 0 && errno != EEXIST)
        return bench_fail("%s: %s", outputs, strerror(errno));
    return bench_net_outputs(n, outputs);
}

int bench_net_more_outputs(struct bench_net *n, const char *inputs, const char *outputs)
{
    char from[PATH_MAX], to[PATH_MAX];
    int k = 1, r = 0;

    for (; r == 0; k++) {
        snprintf(from, sizeof from, "%s/%d", inputs, k);
        snprintf(to, sizeof to, "%s/%d", outputs, k);
        if (access(from, R_OK) < 0)
            break;
        r = one_more(n, from, to);
    }
    return r || k == 1 ? r : one_more(n, inputs, NULL);
}
