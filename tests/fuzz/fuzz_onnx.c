/* fuzz_onnx.c - any bytes as an ONNX file: refused with a reason, or a good graph whose inputs and outputs are there; a
 * small one also takes its parameters and is exported again. */
#include <stdlib.h>

#include "libnpu/graph.h"
#include "libnpu/npu_onnx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static npu_dev *ref_device(void)
{
    static npu_ctx *ctx;
    static npu_dev *dev;

    if (!dev && (npu_ctx_new("", &ctx) < 0 || npu_dev_open(ctx, "ref", &dev) < 0))
        abort();
    return dev;
}

static void export_again(const npu_onnx *m)
{
    char message[NPU_ONNX_MESSAGE] = "";
    npu_graph *g = npu_onnx_graph(m);
    int64_t elements = 0;
    npu_plan *plan;
    void *bytes;
    size_t size;

    for (npu_val v = 1; v <= g->n_values && elements < 65536; v++)
        elements += npu_shape_elements(npu_val_shape(g, v));
    if (elements >= 65536 || npu_plan_new(ref_device(), g, NULL, &plan) < 0)
        return;
    if (npu_onnx_load(m, plan) < 0)
        abort();
    if (npu_onnx_export_bytes(plan, npu_onnx_name(m), &bytes, &size, message) == 0)
        free(bytes);
    else if (!message[0])
        abort();
    npu_plan_free(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct npu_onnx_dim any = {NULL, 2};
    const struct npu_onnx_opts opts = {.dims = &any, .n_dims = 1, .max_memory_bytes = 32u << 20, .max_nodes = 1024};
    char message[NPU_ONNX_MESSAGE] = "";
    const char *name;
    npu_onnx *m;

    if (npu_onnx_import_bytes(data, size, &opts, &m, message) < 0)
        return message[0] ? 0 : (abort(), 0);
    if (npu_graph_status(npu_onnx_graph(m)) != 0 || !npu_onnx_output(m, 0))
        abort();
    for (int i = 0; (name = npu_onnx_input(m, i)); i++)
        if (npu_graph_find(npu_onnx_graph(m), name) <= 0)
            abort();
    for (int i = 0; (name = npu_onnx_output(m, i)); i++)
        if (npu_graph_find(npu_onnx_graph(m), name) <= 0)
            abort();
    export_again(m);
    npu_onnx_free(m);
    return 0;
}
