/* test_onnx_hostile.c - limits of the import, and damaged ONNX files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "libnpu/onnx/model.h"
#include "libnpu/rng.h"
#include "tests/fuzz/replay.h"
#include "tests/unit/npu_helpers.h"
#include "tests/unit/test_onnx.h"

void limits_hold(void **state)
{
    const char *in[1] = {"x"}, *out[1] = {"y"};
    const struct om_node n = {.op = "Relu", .name = "n", .domain = "", .in = in, .out = out, .n_in = 1, .n_out = 1};
    char message[NPU_ONNX_MESSAGE] = "";
    npu_onnx *m = NULL;

    assert_int_equal(onnx_import_one(&n, 17, NULL, message), 0);
    assert_int_equal(onnx_import_one(&n, 8, NULL, message), -EOPNOTSUPP);
    assert_non_null(strstr(message, "operator set 8"));
    assert_int_equal(onnx_import_one(&n, 99, NULL, message), -EOPNOTSUPP);
    assert_int_equal(onnx_import_one(&n, 17, &(struct npu_onnx_opts){.max_nodes = 7}, message), -E2BIG);
    assert_int_equal(onnx_import_one(&n, 17, &(struct npu_onnx_opts){.max_nodes = 8}, message), 0);
    for (size_t bytes = 100; bytes <= 20000; bytes += 100) {
        message[0] = '\0';
        const int r = onnx_import_one(&n, 17, &(struct npu_onnx_opts){.max_memory_bytes = bytes}, message);

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
    assert_true(fuzz_replay("tests/fuzz/corpus/onnx", 6) >= 1000);
}
