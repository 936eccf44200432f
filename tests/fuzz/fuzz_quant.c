/* fuzz_quant.c - any bytes as the recipe of a quantised weight file: refused, or one that is printed and read again the
 * same, and that a small network is rewritten by, or refuses with a reason; what was rewritten becomes a plan and runs.
 */
#include <stdlib.h>
#include <string.h>

#include "libnpu/quant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition)
{
    if (!condition)
        abort();
}

static npu_dev *ref_device(void)
{
    static npu_ctx *ctx;
    static npu_dev *dev;

    if (!dev)
        must(npu_ctx_new("", &ctx) == 0 && npu_dev_open(ctx, "ref", &dev) == 0);
    return dev;
}

/* Convolutions a, b (with a residual) and c, a product d: every layer may become int8, a and b with int8 results. */
static npu_graph *network(npu_val *ret_in)
{
    const struct npu_init init = {NPU_INIT_CONST, 0.5f};
    const int64_t picture[] = {1, 3, 3, 2}, taps[] = {1, 1, 2, 2}, matrix[] = {2, 3}, channels = 2, columns = 3;
    npu_graph *g;
    npu_val v;

    must(npu_graph_new(0, &g) == 0);
    v = *ret_in = npu_input(g, "x", NPU_F32, 4, picture);
    v = npu_conv2d(g, v, npu_param(g, "a.weight", 4, taps, init),
                   &(struct npu_conv2d_opts){.bias = npu_param(g, "a.bias", 1, &channels, init), .act = NPU_ACT_RELU6});
    v = npu_conv2d(g, v, npu_param(g, "b.weight", 4, taps, init),
                   &(struct npu_conv2d_opts){.residual = v, .act = NPU_ACT_RELU});
    v = npu_conv2d(g, v, npu_param(g, "c.weight", 4, taps, init), NULL);
    v = npu_matmul(g, v, npu_param(g, "d.weight", 2, matrix, init),
                   &(struct npu_matmul_opts){.bias = npu_param(g, "d.bias", 1, &columns, init), .act = NPU_ACT_GELU});
    npu_output(g, "y", v);
    must(npu_graph_status(g) == 0);
    return g;
}

static void rewrite(const struct npu_quant_recipe *recipe)
{
    float x[18] = {1, -1, 2, -2, 1e30f}, y[27];
    npu_plan *p;
    npu_val in;
    npu_graph *g = network(&in);
    int r = npu_graph_quantise(g, recipe);

    if (r < 0) {
        must(npu_graph_error(g)[0] != '\0');
    } else {
        must(npu_plan_new(ref_device(), g, NULL, &p) == 0 && npu_plan_init(p, 1) == 0);
        must(npu_plan_write_val(p, in, x, sizeof x) == 0 && npu_plan_run(p) == 0);
        must(npu_plan_read(p, "y", y, sizeof y) == 0);
        npu_plan_free(p);
    }
    npu_graph_free(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct npu_quant_recipe *recipe, *other = NULL;
    char *text = malloc(size + 1), *printed = NULL, *again = NULL;

    must(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    if (npu_quant_parse(text, &recipe) == 0) {
        must(npu_quant_print(recipe, &printed) == 0);
        must(npu_quant_parse(printed, &other) == 0);
        must(npu_quant_print(other, &again) == 0 && strcmp(printed, again) == 0);
        rewrite(recipe);
        free(recipe);
        free(other);
        free(printed);
        free(again);
    }
    free(text);
    return 0;
}
