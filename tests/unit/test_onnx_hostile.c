/* test_onnx_hostile.c - ONNX files that are not supported, contradict themselves or are damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "libnpu/onnx/model.h"
#include "libnpu/rng.h"
#include "tests/fuzz/replay.h"
#include "tests/unit/npu_helpers.h"
#include "tests/unit/test_onnx.h"

static const float ones[64] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/* A network of one node "n" on x [1, 3, 8, 8], with the initialisers w [4, 3, 3, 3] (of ones and zeros) and one. */
static int import_one(const struct om_node *node, int64_t opset, const struct npu_onnx_opts *opts, char *message)
{
    static float w[108];
    struct om_value in = {.name = "x", .type = OM_FLOAT, .rank = 4, .dim = {1, 3, 8, 8}};
    struct om_value out = {.name = "y", .type = OM_FLOAT, .rank = 0};
    struct om_tensor tensor[] = {{"w", OM_FLOAT, {4, {4, 3, 3, 3}}, w, sizeof w},
                                 {"one", OM_FLOAT, {0}, ones, sizeof ones[0]}};
    struct om_node copy = *node;
    struct om_model model = {.ir_version = 8, .opset = opset, .producer = "test", .name = "one"};
    npu_onnx *m = NULL;
    void *bytes;
    size_t size;
    int r;

    model.n_inputs = model.n_outputs = model.n_nodes = 1;
    model.n_tensors = 2;
    model.input = &in;
    model.output = &out;
    model.node = &copy;
    model.tensor = tensor;
    assert_int_equal(om_pack(&model, &bytes, &size, message), 0);
    r = npu_onnx_import_bytes(bytes, size, opts, &m, message);
    assert_true((r == 0) == (m != NULL));
    npu_onnx_free(m);
    free(bytes);
    return r;
}

static const int64_t two_one[2] = {2, 1}, five[5] = {1, 2, 3, 4, 5}, minus[4] = {-1, 0, 0, 0}, three[2] = {3, 3};

static const struct refusal {
    const char *op, *in[3], *domain;
    struct om_attr attr[2];
    int expect;
    const char *text[3];
} refusals[] = {
    {"Conv", {"x", "w"}, "", {{0}}, 0, {"", "", ""}},
    {"Relu", {"x"}, "", {{0}}, 0, {"", "", ""}},
    {"LSTM", {"x"}, "", {{0}}, -EOPNOTSUPP, {"LSTM", "\"n\"", "not supported"}},
    {"Relu", {"x"}, "com.example", {{0}}, -EOPNOTSUPP, {"Relu", "\"n\"", "com.example"}},
    {"Relu", {"x"}, "", {{"slope", OM_ATTR_FLOAT, .f = 1}}, -EOPNOTSUPP, {"Relu", "\"n\"", "slope"}},
    {"Conv",
     {"x", "w"},
     "",
     {{"strides", OM_ATTR_INTS, .ints = two_one, .n_ints = 2}},
     -EOPNOTSUPP,
     {"Conv", "strides", "[2, 1]"}},
    {"Conv",
     {"x", "w"},
     "",
     {{"strides", OM_ATTR_INTS, .ints = five, .n_ints = 5}},
     -EOPNOTSUPP,
     {"Conv", "strides", "2 numbers"}},
    {"Conv", {"x", "w"}, "", {{"pads", OM_ATTR_INTS, .ints = minus, .n_ints = 4}}, -EOPNOTSUPP, {"Conv", "pads", "-1"}},
    {"Conv",
     {"x", "w"},
     "",
     {{"auto_pad", OM_ATTR_STRING, .s = "SOMEHOW"}},
     -EOPNOTSUPP,
     {"Conv", "auto_pad", "SOMEHOW"}},
    {"Conv", {"x", "w"}, "", {{"group", OM_ATTR_INT, .i = 2}}, -EINVAL, {"Conv", "\"n\"", "groups 2"}},
    {"Conv", {"x"}, "", {{0}}, -EOPNOTSUPP, {"Conv", "\"n\"", "1 inputs"}},
    {"MaxPool", {"x"}, "", {{0}}, -EINVAL, {"MaxPool", "kernel_shape", "missing"}},
    {"MaxPool",
     {"x"},
     "",
     {{"kernel_shape", OM_ATTR_INTS, .ints = two_one, .n_ints = 2}},
     -EOPNOTSUPP,
     {"MaxPool", "kernel_shape", "square"}},
    {"MaxPool",
     {"x"},
     "",
     {{"kernel_shape", OM_ATTR_INTS, .ints = three, .n_ints = 2}, {"ceil_mode", OM_ATTR_INT, .i = 1}},
     0,
     {"", "", ""}},
    {"Resize", {"x", "", "x"}, "", {{0}}, -EOPNOTSUPP, {"Resize", "scales", "constant"}},
    {"Resize", {"x"}, "", {{"mode", OM_ATTR_STRING, .s = "cubic"}}, -EOPNOTSUPP, {"Resize", "mode", "cubic"}},
    {"Softmax", {"x"}, "", {{"axis", OM_ATTR_INT, .i = 4}}, -EINVAL, {"Softmax", "axis", "4"}},
    {"Transpose",
     {"x"},
     "",
     {{"perm", OM_ATTR_INTS, .ints = three, .n_ints = 2}},
     -EOPNOTSUPP,
     {"Transpose", "perm", "4 numbers"}},
    {"Reshape", {"x", "x"}, "", {{0}}, -EOPNOTSUPP, {"Reshape", "\"x\"", "constant"}},
    {"Add", {"x", "nothing"}, "", {{0}}, -EINVAL, {"Add", "nothing", "no node before"}},
    {"Div", {"one", "x"}, "", {{0}}, -EOPNOTSUPP, {"Div", "\"n\"", "division"}},
    {"Pow", {"x", "x"}, "", {{0}}, -EOPNOTSUPP, {"Pow", "\"n\"", "exponents"}},
    {"Cast", {"x"}, "", {{"to", OM_ATTR_INT, .i = OM_INT64}}, -EOPNOTSUPP, {"Cast", "to = 7", "int64"}},
    {"MatMul", {"x", "w"}, "", {{0}}, -EINVAL, {"MatMul", "8 columns", "3 rows"}},
};

void refusals_name_what_and_where(void **state)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *c = &refusals[i];
        const char *in[3] = {c->in[0], c->in[1], c->in[2]}, *out[1] = {"y"};
        struct om_attr attr[2] = {c->attr[0], c->attr[1]};
        struct om_node n = {.op = c->op, .name = "n", .domain = c->domain, .in = in, .out = out, .attr = attr};
        char message[NPU_ONNX_MESSAGE] = "";
        int r;

        n.n_out = 1;
        while (n.n_in < 3 && in[n.n_in])
            n.n_in++;
        while (n.n_attr < 2 && attr[n.n_attr].name)
            n.n_attr++;
        r = import_one(&n, 17, NULL, message);
        if (r != c->expect || !strstr(message, c->text[0]) || !strstr(message, c->text[1]) ||
            !strstr(message, c->text[2]))
            fail_msg("case %zu: %d, not %d: %s", i, r, c->expect, message);
    }
}

void limits_hold(void **state)
{
    const char *in[1] = {"x"}, *out[1] = {"y"};
    const struct om_node n = {.op = "Relu", .name = "n", .domain = "", .in = in, .out = out, .n_in = 1, .n_out = 1};
    char message[NPU_ONNX_MESSAGE] = "";
    npu_onnx *m = NULL;

    assert_int_equal(import_one(&n, 17, NULL, message), 0);
    assert_int_equal(import_one(&n, 8, NULL, message), -EOPNOTSUPP);
    assert_non_null(strstr(message, "operator set 8"));
    assert_int_equal(import_one(&n, 99, NULL, message), -EOPNOTSUPP);
    assert_int_equal(import_one(&n, 17, &(struct npu_onnx_opts){.max_nodes = 1}, message), -E2BIG);
    assert_int_equal(import_one(&n, 17, &(struct npu_onnx_opts){.max_nodes = 2}, message), 0);
    for (size_t bytes = 100; bytes <= 20000; bytes += 100) {
        message[0] = '\0';
        const int r = import_one(&n, 17, &(struct npu_onnx_opts){.max_memory_bytes = bytes}, message);

        assert_true((r < 0) == (message[0] != '\0'));
        assert_true(bytes > 100 ? bytes < 20000 || r == 0 : r < 0);
    }
    assert_int_equal(npu_onnx_import("/nonexistent.onnx", NULL, &m, message), -ENOENT);
    assert_int_equal(npu_onnx_import("/tmp", NULL, &m, message), -EINVAL);
    assert_int_equal(npu_onnx_import("Makefile", &(struct npu_onnx_opts){.max_file_bytes = 10}, &m, message), -E2BIG);
    assert_int_equal(npu_onnx_import("Makefile", NULL, &m, message), -EBADMSG);
    assert_int_equal(npu_onnx_import_bytes("", 0, NULL, &m, message), -EBADMSG);
    assert_null(m);
}

/* A file with one of most things: pictures, attention, fused activations. */
static void *small_file(npu_dev *dev, size_t *ret_size)
{
    const struct npu_init init = {NPU_INIT_NORMAL, 1.0f};
    char message[NPU_ONNX_MESSAGE];
    npu_graph *g;
    npu_plan *p;
    npu_val x, w;
    void *bytes;

    assert_int_equal(npu_graph_new(0, &g), 0);
    x = npu_input(g, "image", NPU_F32, 4, (int64_t[]){1, 4, 4, 2});
    w = npu_param(g, "conv", 4, (int64_t[]){3, 3, 2, 6}, init);
    x = npu_conv2d(g, x, w,
                   &(struct npu_conv2d_opts){.pad_top = 1,
                                             .pad_left = 1,
                                             .pad_bottom = 1,
                                             .pad_right = 1,
                                             .act = NPU_ACT_RELU6,
                                             .bias = npu_param(g, "bias", 1, (int64_t[]){6}, init)});
    x = npu_resize(g, npu_max_pool(g, x, (struct npu_pool_opts){2, 2, 0}), 3, 3, NPU_RESIZE_BILINEAR);
    x = npu_attention(g, npu_reshape(g, x, 3, (int64_t[]){1, 9, 6}), 2);
    x = npu_layer_norm(g, x, npu_param(g, "gamma", 1, (int64_t[]){2}, init),
                       npu_param(g, "beta", 1, (int64_t[]){2}, init), 1e-5f);
    x = npu_matmul(g, x, npu_param(g, "line", 2, (int64_t[]){2, 3}, init),
                   &(struct npu_matmul_opts){.act = NPU_ACT_GELU, .scale = 0.5f});
    npu_output(g, "y", npu_softmax(g, npu_gelu_erf(g, npu_scale(g, x, 2, 1))));
    npu_output(g, "z", npu_reduce(g, npu_slice(g, x, 1, 1, 5), NPU_REDUCE_SUM, 2));
    assert_int_equal(npu_plan_new(dev, g, NULL, &p), 0);
    assert_int_equal(npu_plan_init(p, 1), 0);
    assert_int_equal(npu_onnx_export_bytes(p, "small", &bytes, ret_size, message), 0);
    npu_plan_free(p);
    npu_graph_free(g);
    return bytes;
}

void damaged_files_are_refused(void **state)
{
    npu_ctx *ctx = open_ctx();
    unsigned char *whole, *copy;
    size_t size, at = 0;
    npu_dev *dev;

    assert_int_equal(npu_dev_open(ctx, "ref", &dev), 0);
    whole = small_file(dev, &size);
    assert_true(size > 1000);
    for (size_t n = 0; n <= size; n += 1 + n % 3) { /* memory of exactly that size: a sanitizer sees a step beyond */
        copy = malloc(n + !n);
        memcpy(copy, whole, n);
        LLVMFuzzerTestOneInput(copy, n);
        free(copy);
    }
    copy = malloc(size);
    for (int round = 0; round < 4000; round++) {
        memcpy(copy, whole, size);
        for (int i = 0; i <= round % 3; i++) {
            const uint64_t u = npu_rng_u64(9, at++);

            // NOLINTNEXTLINE(clang-analyzer-core.DivideZero): the file has more than 1000 bytes
            copy[(u >> 8) % size] ^= (unsigned char)(round % 2 ? 1u << (u & 7) : u >> 48);
        }
        LLVMFuzzerTestOneInput(copy, size);
    }
    free(copy);
    free(whole);
    npu_dev_close(dev);
    npu_ctx_free(ctx);
}

void the_corpus_is_survived(void **state)
{
    assert_true(fuzz_replay("tests/fuzz/corpus/onnx", 6) >= 210);
}
