/* compile.c - which part of the compiler does which operation. */
#include "libnpu/sim/compile.h"

#include "libnpu/op/mat.h"
#include "libnpu/op/ops.h"
#include "libnpu/op/quant.h"

typedef int compile_fn(struct sim_compiler *c, const struct sim_node *n);

static int compile_view(struct sim_compiler *c, const struct sim_node *n)
{
    return 0; /* the same memory under another shape */
}

static const struct {
    const struct npu_op *op;
    compile_fn *compile;
} known[] = {
    {&npu_op_matmul, sim_compile_matmul},
    {&npu_op_conv2d, sim_compile_conv2d},
    {&npu_op_attention, sim_compile_attention},
    {&npu_op_layer_norm, sim_compile_layer_norm},
    {&npu_op_softmax, sim_compile_softmax},
    {&npu_op_reduce, sim_compile_reduce},
    {&npu_op_max_pool, sim_compile_pool},
    {&npu_op_mean_pool, sim_compile_pool},
    {&npu_op_resize, sim_compile_resize},
    {&npu_op_reshape, compile_view},
    {&npu_op_permute, sim_compile_copy},
    {&npu_op_slice, sim_compile_copy},
    {&npu_op_concat, sim_compile_copy},
    {&npu_op_relu, sim_compile_elementwise},
    {&npu_op_relu6, sim_compile_elementwise},
    {&npu_op_gelu, sim_compile_elementwise},
    {&npu_op_sigmoid, sim_compile_elementwise},
    {&npu_op_tanh, sim_compile_elementwise},
    {&npu_op_exp, sim_compile_elementwise},
    {&npu_op_abs, sim_compile_elementwise},
    {&npu_op_add, sim_compile_elementwise},
    {&npu_op_sub, sim_compile_elementwise},
    {&npu_op_mul, sim_compile_elementwise},
    {&npu_op_scale, sim_compile_elementwise},
    {&npu_op_expand, sim_compile_elementwise},
    {&npu_op_cast, sim_compile_elementwise},
    {&npu_op_prelu, sim_compile_elementwise},
    {&npu_op_batch_norm, sim_compile_elementwise},
    {&npu_op_qmatmul, sim_compile_qconv},
    {&npu_op_qconv2d, sim_compile_qconv},
    {&npu_op_quantise, sim_compile_quantise},
    {&npu_op_dequantise, sim_compile_quantise},
    {&npu_op_quantise_dynamic, sim_compile_quantise_dynamic},
};

static compile_fn *find(const struct npu_op *op)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].op == op)
            return known[i].compile;
    return NULL;
}

bool sim_compile_knows(const struct npu_op *op)
{
    return find(op) != NULL;
}

int sim_compile_node(struct sim_compiler *c, const struct sim_node *n)
{
    compile_fn *compile = find(n->node->op);
    int r;

    if (!compile)
        return sim_refuse(c, "the NPU has no instructions for operation %s", n->node->op->name);
    memset(c->used, 0, sizeof c->used);
    r = compile(c, n);
    return c->status < 0 ? c->status : r;
}
