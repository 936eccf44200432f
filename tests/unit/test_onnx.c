/* test_onnx.c - export and import: every operation with its own test cases, and gazed's networks, give the same results
 * and the same file again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "libnpu/npu_onnx.h"
#include "libnpu/quant.h"
#include "libnpu/rng.h"
#include "libnpu/safetensors.h"
#include "models/model_file.h"
#include "models/tool/net_by_name.h"
#include "tests/unit/npu_helpers.h"
#include "tests/unit/test_onnx.h"

/* All that ONNX has a form for. The two lists hold every operation between them. */
static const char *const exported[] = {
    "matmul",     "conv2d",
    "attention",  "relu",
    "relu6",      "gelu",
    "gelu_erf",   "sigmoid",
    "tanh",       "exp",
    "abs",        "erf",
    "scale",      "add",
    "sub",        "mul",
    "prelu",      "cast",
    "softmax",    "max_pool",
    "resize",     "pad",
    "reshape",    "permute",
    "slice",      "concat",
    "expand",     "reduce",
    "mean_pool",  "layer_norm",
    "batch_norm", "gather_rows",
    "quantise",   "quantise_dynamic",
    "dequantise", "qmatmul",
    "qconv2d",
};

/* Training. */
static const char *const without_form[] = {
    "unary_grad",
    "layer_norm_grad",
    "batch_norm_train",
    "batch_norm_grad",
    "mse",
    "l1",
    "bce_logits",
    "loss_grad",
    "cross_entropy",
    "cross_entropy_grad",
    "sum_squares",
    "clip_scale",
    "adamw",
    "sgd",
    "moving_average",
    "max_pool_grad",
    "mean_pool_grad",
    "resize_grad",
    "softmax_grad",
    "prelu_grad",
    "gather_rows_grad",
    "conv2d_grad_x",
    "conv2d_grad_w",
    "attention_grad",

};

/* Those that move elements or compute in whole numbers: the same bits come out, whatever nodes they come back as. */
static const char *const bit_exact[] = {"reshape",    "permute",     "slice",  "pad",      "concat",
                                        "expand",     "gather_rows", "abs",    "quantise", "quantise_dynamic",
                                        "dequantise", "qmatmul",     "qconv2d"};
/* Those that come back as other nodes. */
static const char *const renewed[] = {"expand", "pad", "batch_norm", "gather_rows", "quantise_dynamic"};

static bool is_in(const char *const *list, size_t n, const char *op)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], op) == 0)
            return true;
    return false;
}

static bool is_exported(const char *op)
{
    return is_in(exported, sizeof exported / sizeof exported[0], op);
}

static bool has_no_form(const char *op)
{
    return is_in(without_form, sizeof without_form / sizeof without_form[0], op);
}

static bool all_exported(const npu_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (!is_exported(g->node[i]->op->name))
            return false;
    return true;
}

/* A range of int8 that is an input: no quantise_dynamic found it. */
static bool has_range(const npu_graph *g)
{
    return npu_graph_find(g, "range") > 0;
}

static struct npu_tensor make_tensor(const npu_graph *g, npu_val v)
{
    struct npu_tensor t = {.dtype = npu_val_dtype(g, v), .shape = *npu_val_shape(g, v)};

    t.data = calloc((size_t)npu_shape_elements(&t.shape) + 1, 4);
    assert_non_null(t.data);
    return t;
}

/* Inputs, parameters and states, the same for the same name; within the ranges that the cases ask for. */
static void fill(npu_plan *p, const npu_graph *g, const npu_graph *ranges, bool inputs_only)
{
    for (npu_val v = 1; v <= g->n_values; v++) {
        const struct npu_value *val = npu_value_of(g, v);
        const struct npu_value *range;
        struct npu_tensor t;
        npu_val like;

        if (val->kind == NPU_VALUE_NODE || (inputs_only && val->kind != NPU_VALUE_INPUT))
            continue; /* all others have names */
        like = npu_graph_find(ranges, val->name);
        range = like > 0 ? npu_value_of(ranges, like) : val;
        t = make_tensor(g, v);
        for (int64_t i = 0; i < npu_shape_elements(&t.shape); i++) {
            const float u = npu_rng_uniform(npu_rng_key(7, val->name), (uint64_t)i);
            const struct npu_tensor one = {.dtype = range->type.dtype, .data = &(uint32_t){0}}; /* rounds as there */

            npu_store(&one, 0,
                      range->test_lo + (range->test_hi - range->test_lo) * u -
                          (npu_dtype_is_float(t.dtype) ? 0.0f : 0.5f));
            npu_store(&t, i, npu_load(&one, 0));
        }
        assert_int_equal(npu_plan_write_val(p, v, t.data, npu_type_bytes(&val->type)), 0);
        free(t.data);
    }
}

static bool has_half(const npu_graph *g)
{
    for (npu_val v = 1; v <= g->n_values; v++)
        if (npu_val_dtype(g, v) == NPU_BF16 || npu_val_dtype(g, v) == NPU_F16)
            return true;
    return false;
}

static void same_output(npu_plan *p, const npu_graph *g, npu_plan *q, const npu_graph *h, const char *name, float bound)
{
    const npu_val v = npu_graph_find(g, name), w = npu_graph_find(h, name);
    struct npu_tensor a, b;

    assert_true(v > 0 && w > 0);
    a = make_tensor(g, v);
    b = make_tensor(h, w);
    assert_int_equal(a.shape.rank, b.shape.rank);
    if (a.shape.rank > 0)
        assert_memory_equal(a.shape.dim, b.shape.dim, (size_t)a.shape.rank * sizeof a.shape.dim[0]);
    assert_int_equal(npu_plan_read_val(p, v, a.data, npu_type_bytes(&npu_value_of(g, v)->type)), 0);
    assert_int_equal(npu_plan_read_val(q, w, b.data, npu_type_bytes(&npu_value_of(h, w)->type)), 0);
    for (int64_t i = 0; i < npu_shape_elements(&a.shape); i++) {
        const float x = npu_load(&a, i), y = npu_load(&b, i);

        if (!(fabsf(x - y) <= bound * (1.0f + fabsf(x))))
            fail_msg("%s[%lld]: %g, %g after the way there and back", name, (long long)i, (double)x, (double)y);
    }
    free(a.data);
    free(b.data);
}

/* Both compute in f32 (or whole numbers), by the same operations in the same order. */
static bool same_nodes(const npu_graph *g, const npu_graph *h)
{
    if (has_half(g) || has_half(h) || g->n_nodes != h->n_nodes)
        return false;
    for (int i = 0; i < g->n_nodes; i++)
        if (g->node[i]->op != h->node[i]->op)
            return false;
    return true;
}

/* p: a plan of g with parameters and inputs. Exports, imports, compares all outputs - by their bits, if
 * the graph came back as it was; then true -, exports again. */
static bool there_and_back(npu_dev *dev, npu_plan *p, npu_graph *g, const char *name, float bound, bool same_file)
{
    char message[NPU_ONNX_MESSAGE] = "";
    void *first, *second;
    size_t n_first, n_second;
    npu_onnx *m = NULL;
    npu_plan *q;
    bool same;

    if (npu_onnx_export_bytes(p, name, &first, &n_first, message) < 0)
        fail_msg("%s: %s", name, message);
    if (npu_onnx_import_bytes(first, n_first, NULL, &m, message) < 0)
        fail_msg("%s: %s", name, message);
    assert_string_equal(npu_onnx_name(m), name);
    assert_int_equal(npu_plan_new(dev, npu_onnx_graph(m), NULL, &q), 0);
    assert_int_equal(npu_onnx_load(m, q), 0);
    fill(q, npu_onnx_graph(m), g, true);
    assert_int_equal(npu_plan_run(p), 0);
    assert_int_equal(npu_plan_run(q), 0);
    same = same_nodes(g, npu_onnx_graph(m));
    for (int i = 0; i < g->n_outputs; i++)
        same_output(p, g, q, npu_onnx_graph(m), g->output[i].name, same ? 0.0f : bound);
    if (npu_onnx_export_bytes(q, npu_onnx_name(m), &second, &n_second, message) < 0)
        fail_msg("%s again: %s", name, message);
    if (same_file) {
        assert_int_equal(n_first, n_second);
        assert_memory_equal(first, second, n_first);
    }
    npu_plan_free(q);
    npu_onnx_free(m);
    free(first);
    free(second);
    return same;
}

/* One test case of an operation; false past the last. */
static bool op_case(npu_dev *dev, const struct npu_op *op, int index, int *passed, int *same)
{
    char name[64], message[NPU_ONNX_MESSAGE] = "";
    int64_t elements = 0;
    npu_graph *g;
    npu_plan *p;
    void *bytes;
    size_t size;
    npu_val v;

    assert_int_equal(npu_graph_new(0, &g), 0);
    v = op->test_case(g, index);
    for (npu_val i = 1; i <= g->n_values; i++)
        elements += npu_shape_elements(npu_val_shape(g, i));
    snprintf(name, sizeof name, "%s.%d", op->name, index);
    if (v > 0 && npu_graph_status(g) == 0 && elements < 300000) {
        assert_int_equal(npu_output(g, "y", v), 0);
        assert_int_equal(npu_plan_new(dev, g, NULL, &p), 0);
        fill(p, g, g, false);
        if (all_exported(g) && !has_range(g)) {
            const bool exact = is_in(bit_exact, sizeof bit_exact / sizeof bit_exact[0], op->name);

            *same += there_and_back(dev, p, g, name, has_half(g) ? 0.02f : exact ? 0.0f : 1e-5f, false);
        } else if (npu_onnx_export_bytes(p, name, &bytes, &size, message) == 0) {
            assert_true(!has_range(g) &&
                        is_exported(g->node[npu_value_of(g, v)->node]->op->name)); /* the others are not needed */
            free(bytes);
        } else {
            const char *told = strstr(message, "operation ");
            char refused[64] = "";

            if (!told || !strstr(message, "no ONNX form") || sscanf(told, "operation %63s", refused) != 1 ||
                (!has_no_form(refused) && !has_range(g)))
                fail_msg("%s: %s", name, message);
        }
        npu_plan_free(p);
        ++*passed;
    }
    npu_graph_free(g);
    return v != NPU_NONE;
}

static void every_operation(void **state)
{
    npu_ctx *ctx = open_ctx();
    npu_dev *dev;
    size_t seen = 0;

    assert_int_equal(npu_dev_open(ctx, "ref", &dev), 0);
    for (int i = 0; npu_all_ops[i]; i++) {
        const struct npu_op *op = npu_all_ops[i];
        int passed = 0, same = 0;

        for (int k = 0; op->test_case && op_case(dev, op, k, &passed, &same); k++)
            ;
        if (is_exported(op->name) == has_no_form(op->name))
            fail_msg("%s must be in one of the two lists", op->name);
        if (is_exported(op->name) &&
            (passed == 0 || (same == 0 && !is_in(renewed, sizeof renewed / sizeof renewed[0], op->name))))
            fail_msg("%s: %d cases, %d came back as they were", op->name, passed, same);
        seen++;
    }
    assert_int_equal(seen, sizeof exported / sizeof exported[0] + sizeof without_form / sizeof without_form[0]);
    npu_dev_close(dev);
    npu_ctx_free(ctx);
}

/* With their weights, or with random ones where these are not there. */
static void our_networks(void **state)
{
    static const char *const names[] = {"gaze_vit", "landmarks", "face_finder"};
    npu_ctx *ctx = open_ctx();
    npu_dev *dev;

    assert_int_equal(npu_dev_open(ctx, "ref", &dev), 0);
    for (int i = 0; i < 3; i++) {
        char message[MODEL_MESSAGE_SIZE] = "";
        struct net net;
        npu_plan *p;

        assert_int_equal(net_by_name(&net, names[i], 1), 0);
        if (model_plan_open(dev, net.graph, "models/weights", names[i], &p, message) < 0) {
            assert_int_equal(npu_plan_new(dev, net.graph, NULL, &p), 0);
            assert_int_equal(npu_plan_init(p, 3), 0);
        }
        fill(p, net.graph, net.graph, true);
        there_and_back(dev, p, net.graph, names[i], 0.0f, true);
        npu_plan_free(p);
        net_clear(&net);
    }
    npu_dev_close(dev);
    npu_ctx_free(ctx);
}

/* A weight file of the network in int8, with ranges out of the air. */
static void write_int8(npu_dev *dev, const char *name, enum npu_quant_mode mode, const char *path)
{
    const struct npu_quant_settings settings = {.mode = mode};
    struct npu_quant_recipe *recipe = NULL;
    struct npu_quant_range *range;
    struct net net;
    npu_plan *p;
    int n;

    assert_int_equal(net_by_name(&net, name, 1), 0);
    n = npu_graph_n_values(net.graph) + 1;
    range = calloc((size_t)n, sizeof *range);
    assert_non_null(range);
    for (int i = 0; i < n; i++)
        range[i] = (struct npu_quant_range){-2.5f, 4.0f};
    assert_int_equal(npu_plan_new(dev, net.graph, NULL, &p), 0);
    assert_int_equal(npu_plan_init(p, 3), 0);
    assert_int_equal(npu_quant_choose(net.graph, &settings, range, &recipe), 0);
    assert_int_equal(npu_quant_save(p, &settings, recipe, path, NULL), 0);
    npu_plan_free(p);
    net_clear(&net);
    free(recipe);
    free(range);
}

/* Whole int8 networks come back as the same nodes, with the same results and the same file. */
static void int8_networks(void **state)
{
    static const struct {
        const char *name, *op;
        enum npu_quant_mode mode;
    } t[] = {{"gaze_vit", "qmatmul", NPU_QUANT_STATIC},
             {"gaze_vit", "quantise_dynamic", NPU_QUANT_DYNAMIC},
             {"landmarks", "qconv2d", NPU_QUANT_STATIC}};
    char path[] = "/tmp/npu-test-XXXXXX";
    npu_ctx *ctx = open_ctx();
    npu_dev *dev;

    close(mkstemp(path));
    assert_int_equal(npu_dev_open(ctx, "ref", &dev), 0);
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        char message[MODEL_MESSAGE_SIZE] = "";
        struct net net;
        npu_plan *p;
        int n = 0;

        write_int8(dev, t[i].name, t[i].mode, path);
        assert_int_equal(net_by_name(&net, t[i].name, 1), 0);
        if (model_plan_open(dev, net.graph, path, t[i].name, &p, message) < 0)
            fail_msg("%s: %s", t[i].name, message);
        for (int k = 0; k < net.graph->n_nodes; k++)
            n += strcmp(net.graph->node[k]->op->name, t[i].op) == 0;
        assert_true(n >= 4);
        fill(p, net.graph, net.graph, true);
        assert_true(there_and_back(dev, p, net.graph, t[i].name, 0.0f, true));
        npu_plan_free(p);
        net_clear(&net);
    }
    unlink(path);
    npu_dev_close(dev);
    npu_ctx_free(ctx);
}

/* What is fused when it is imported: one node for each layer, none for transposes. */
static void fusion_is_complete(void **state)
{
    char message[NPU_ONNX_MESSAGE] = "";
    npu_ctx *ctx = open_ctx();
    struct net net;
    npu_dev *dev;
    npu_plan *p;
    npu_onnx *m;
    void *bytes;
    size_t size;

    assert_int_equal(npu_dev_open(ctx, "ref", &dev), 0);
    assert_int_equal(net_by_name(&net, "gaze_vit", 2), 0);
    assert_int_equal(npu_plan_new(dev, net.graph, NULL, &p), 0);
    assert_int_equal(npu_onnx_export_bytes(p, "gaze_vit", &bytes, &size, message), 0);
    assert_int_equal(npu_onnx_import_bytes(bytes, size, NULL, &m, message), 0);
    assert_int_equal(npu_onnx_graph(m)->n_nodes, net.graph->n_nodes);
    for (int i = 0; i < net.graph->n_nodes; i++)
        assert_string_equal(npu_onnx_graph(m)->node[i]->op->name, net.graph->node[i]->op->name);
    free(bytes);
    npu_onnx_free(m);
    npu_plan_free(p);
    net_clear(&net);
    npu_dev_close(dev);
    npu_ctx_free(ctx);
}

/* Parameters as safetensors fit the graph that they came with. */
static void weights_are_saved(void **state)
{
    char message[NPU_ONNX_MESSAGE] = "", onnx[] = "/tmp/npu-test-XXXXXX", path[] = "/tmp/npu-test-XXXXXX";
    float x[6] = {0};
    npu_ctx *ctx = open_ctx();
    npu_graph *g;
    npu_dev *dev;
    npu_plan *p;
    npu_onnx *m;

    close(mkstemp(onnx));
    close(mkstemp(path));
    assert_int_equal(npu_dev_open(ctx, "ref", &dev), 0);
    assert_int_equal(npu_graph_new(0, &g), 0);
    npu_output(g, "y",
               npu_matmul(g, npu_input(g, "x", NPU_F32, 2, (int64_t[]){1, 2}),
                          npu_param(g, "w", 2, (int64_t[]){2, 3}, (struct npu_init){NPU_INIT_NORMAL, 1.0f}), NULL));
    assert_int_equal(npu_plan_new(dev, g, NULL, &p), 0);
    assert_int_equal(npu_plan_init(p, 5), 0);
    assert_int_equal(npu_plan_read(p, "w", x, sizeof x), 0);
    assert_int_equal(npu_onnx_export(p, "net", onnx, message), 0);
    assert_int_equal(npu_onnx_export(p, "net", "/nonexistent/net.onnx", message), -ENOENT);
    npu_plan_free(p);
    assert_int_equal(npu_onnx_import(onnx, NULL, &m, message), 0);
    assert_int_equal(npu_onnx_save(m, path, message), 0);
    assert_int_equal(npu_plan_new(dev, npu_onnx_graph(m), NULL, &p), 0);
    assert_int_equal(npu_plan_load(p, path, true), 0);
    for (int i = 0; i < 6; i++) {
        float w[6];

        assert_int_equal(npu_plan_read(p, "w", w, sizeof w), 0);
        assert_true(w[i] == x[i]);
    }
    npu_plan_free(p);
    npu_onnx_free(m);
    npu_graph_free(g);
    npu_dev_close(dev);
    npu_ctx_free(ctx);
    unlink(onnx);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation),
        cmocka_unit_test(our_networks),
        cmocka_unit_test(int8_networks),
        cmocka_unit_test(fusion_is_complete),
        cmocka_unit_test(weights_are_saved),
        cmocka_unit_test(refusals_name_what_and_where),
        cmocka_unit_test(unknown_attributes_are_named),
        cmocka_unit_test(values_of_attributes_are_checked),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(the_corpus_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
