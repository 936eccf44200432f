/* test_onnx_refusals.c - what is not supported is refused with the operation, the node and the attribute: every
 * attribute of every operation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "libnpu/onnx/import.h"
#include "tests/unit/npu_helpers.h"
#include "tests/unit/test_onnx.h"

static const float ones[64] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/* A network of one node "n" on x [1, 3, 8, 8], with initialisers to choose from. */
int onnx_import_one(const struct om_node *node, int64_t opset, const struct npu_onnx_opts *opts, char *message)
{
    static const float scales[4] = {1.0f, 1.0f, 0.5f, 0.5f};
    static const int64_t index = 1, zeros[4] = {0};
    static float w[108];
    struct om_value in = {.name = "x", .type = OM_FLOAT, .rank = 4, .dim = {1, 3, 8, 8}};
    struct om_value out = {.name = "y", .type = OM_FLOAT, .rank = 0};
    struct om_tensor tensor[] = {
        {"w", OM_FLOAT, {4, {4, 3, 3, 3}}, w, sizeof w},         {"one", OM_FLOAT, {0}, ones, sizeof ones[0]},
        {"c", OM_FLOAT, {1, {3}}, ones, 3 * sizeof ones[0]},     {"m", OM_FLOAT, {2, {3, 3}}, ones, 9 * sizeof ones[0]},
        {"k", OM_FLOAT, {2, {4, 3}}, ones, 12 * sizeof ones[0]}, {"scales", OM_FLOAT, {1, {4}}, scales, sizeof scales},
        {"index", OM_INT64, {0}, &index, sizeof index},          {"zeros", OM_INT64, {1, {4}}, zeros, sizeof zeros}};
    struct om_node copy = *node;
    struct om_model model = {.ir_version = 8, .opset = opset, .producer = "test", .name = "one"};
    npu_onnx *m = NULL;
    void *bytes;
    size_t size;
    int r;

    model.n_inputs = model.n_outputs = model.n_nodes = 1;
    model.n_tensors = sizeof tensor / sizeof tensor[0];
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
static const int64_t edge[4] = {1, 0, 0, 0}, nine[1] = {9};

static const struct refusal {
    const char *op, *in[5], *domain;
    struct om_attr attr[3];
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
    {"Conv",
     {"x", "w"},
     "",
     {{"dilations", OM_ATTR_INTS, .ints = minus, .n_ints = 2}},
     -EOPNOTSUPP,
     {"Conv", "dilations", "-1"}},
    {"Conv",
     {"x", "w"},
     "",
     {{"kernel_shape", OM_ATTR_INTS, .ints = two_one, .n_ints = 2}},
     -EOPNOTSUPP,
     {"Conv", "kernel_shape", "weights"}},
    {"MaxPool",
     {"x"},
     "",
     {{"dilations", OM_ATTR_INTS, .ints = three, .n_ints = 2},
      {"kernel_shape", OM_ATTR_INTS, .ints = three, .n_ints = 2}},
     -EOPNOTSUPP,
     {"MaxPool", "dilations", "3"}},
    {"MaxPool",
     {"x"},
     "",
     {{"strides", OM_ATTR_INTS, .ints = two_one, .n_ints = 2},
      {"kernel_shape", OM_ATTR_INTS, .ints = three, .n_ints = 2}},
     -EOPNOTSUPP,
     {"MaxPool", "strides", "[2, 1]"}},
    {"MaxPool",
     {"x"},
     "",
     {{"pads", OM_ATTR_INTS, .ints = minus, .n_ints = 4}, {"kernel_shape", OM_ATTR_INTS, .ints = three, .n_ints = 2}},
     -EOPNOTSUPP,
     {"MaxPool", "pads", "-1"}},
    {"MaxPool",
     {"x"},
     "",
     {{"auto_pad", OM_ATTR_STRING, .s = "SOMEHOW"}, {"kernel_shape", OM_ATTR_INTS, .ints = three, .n_ints = 2}},
     -EOPNOTSUPP,
     {"MaxPool", "auto_pad", "SOMEHOW"}},
    {"MaxPool",
     {"x"},
     "",
     {{"ceil_mode", OM_ATTR_INT, .i = 1},
      {"kernel_shape", OM_ATTR_INTS, .ints = three, .n_ints = 2},
      {"strides", OM_ATTR_INTS, .ints = three, .n_ints = 2}},
     -EOPNOTSUPP,
     {"MaxPool", "ceil_mode", "adds"}},
    {"AveragePool",
     {"x"},
     "",
     {{"dilations", OM_ATTR_INTS, .ints = three, .n_ints = 2},
      {"kernel_shape", OM_ATTR_INTS, .ints = three, .n_ints = 2}},
     -EOPNOTSUPP,
     {"AveragePool", "dilations", "3"}},
    {"AveragePool",
     {"x"},
     "",
     {{"strides", OM_ATTR_INTS, .ints = two_one, .n_ints = 2},
      {"kernel_shape", OM_ATTR_INTS, .ints = three, .n_ints = 2}},
     -EOPNOTSUPP,
     {"AveragePool", "strides", "[2, 1]"}},
    {"AveragePool",
     {"x"},
     "",
     {{"pads", OM_ATTR_INTS, .ints = minus, .n_ints = 4}, {"kernel_shape", OM_ATTR_INTS, .ints = three, .n_ints = 2}},
     -EOPNOTSUPP,
     {"AveragePool", "pads", "-1"}},
    {"AveragePool",
     {"x"},
     "",
     {{"auto_pad", OM_ATTR_STRING, .s = "SOMEHOW"}, {"kernel_shape", OM_ATTR_INTS, .ints = three, .n_ints = 2}},
     -EOPNOTSUPP,
     {"AveragePool", "auto_pad", "SOMEHOW"}},
    {"AveragePool",
     {"x"},
     "",
     {{"ceil_mode", OM_ATTR_INT, .i = 1},
      {"kernel_shape", OM_ATTR_INTS, .ints = three, .n_ints = 2},
      {"strides", OM_ATTR_INTS, .ints = three, .n_ints = 2}},
     -EOPNOTSUPP,
     {"AveragePool", "ceil_mode", "adds"}},
    {"AveragePool",
     {"x"},
     "",
     {{"kernel_shape", OM_ATTR_INTS, .ints = two_one, .n_ints = 2}},
     -EOPNOTSUPP,
     {"AveragePool", "kernel_shape", "square"}},
    {"AveragePool",
     {"x"},
     "",
     {{"pads", OM_ATTR_INTS, .ints = edge, .n_ints = 4}, {"kernel_shape", OM_ATTR_INTS, .ints = three, .n_ints = 2}},
     -EOPNOTSUPP,
     {"AveragePool", "pads", "equal"}},
    {"Resize", {"x"}, "", {{"antialias", OM_ATTR_INT, .i = 1}}, -EOPNOTSUPP, {"Resize", "antialias", "1"}},
    {"Resize", {"x"}, "", {{"exclude_outside", OM_ATTR_INT, .i = 1}}, -EOPNOTSUPP, {"Resize", "exclude_outside", "1"}},
    {"Resize",
     {"x"},
     "",
     {{"keep_aspect_ratio_policy", OM_ATTR_STRING, .s = "not_larger"}},
     -EOPNOTSUPP,
     {"Resize", "keep_aspect_ratio_policy", "not_larger"}},
    {"Resize",
     {"x", "", "scales"},
     "",
     {{"coordinate_transformation_mode", OM_ATTR_STRING, .s = "tf_crop_and_resize"}},
     -EOPNOTSUPP,
     {"Resize", "coordinate_transformation_mode", "tf_crop"}},
    {"Resize",
     {"x", "", "scales"},
     "",
     {{"nearest_mode", OM_ATTR_STRING, .s = "floor"}},
     -EOPNOTSUPP,
     {"Resize", "nearest_mode", "floor"}},
    {"Gelu",
     {"x"},
     "",
     {{"approximate", OM_ATTR_STRING, .s = "roughly"}},
     -EOPNOTSUPP,
     {"Gelu", "approximate", "roughly"}},
    {"Clip",
     {"x"},
     "",
     {{"min", OM_ATTR_FLOAT, .f = 7.0f}, {"max", OM_ATTR_FLOAT, .f = 6.0f}},
     -EOPNOTSUPP,
     {"Clip", "min 7", "max 6"}},
    {"Clip",
     {"x"},
     "",
     {{"max", OM_ATTR_FLOAT, .f = -1.0f}, {"min", OM_ATTR_FLOAT, .f = 0.0f}},
     -EOPNOTSUPP,
     {"Clip", "max -1", "min 0"}},
    {"LayerNormalization",
     {"x", "one"},
     "",
     {{"axis", OM_ATTR_INT, .i = 1}},
     -EOPNOTSUPP,
     {"LayerNormalization", "axis", "1"}},
    {"LayerNormalization",
     {"x", "one"},
     "",
     {{"stash_type", OM_ATTR_INT, .i = 10}},
     -EOPNOTSUPP,
     {"LayerNormalization", "stash_type", "10"}},
    {"BatchNormalization",
     {"x", "c", "c", "c", "c"},
     "",
     {{"training_mode", OM_ATTR_INT, .i = 1}},
     -EOPNOTSUPP,
     {"BatchNormalization", "training_mode", "1"}},
    {"BatchNormalization",
     {"x", "c", "c", "c", "c"},
     "",
     {{"spatial", OM_ATTR_INT, .i = 0}},
     -EOPNOTSUPP,
     {"BatchNormalization", "spatial", "0"}},
    {"Gemm", {"m", "m"}, "", {{"alpha", OM_ATTR_FLOAT, .f = 0.0f}}, -EINVAL, {"Gemm", "\"n\"", "alpha"}},
    {"Gemm", {"m", "m", "one"}, "", {{"beta", OM_ATTR_FLOAT, .f = 2.0f}}, -EOPNOTSUPP, {"Gemm", "\"n\"", "beta"}},
    {"Gemm", {"m", "k"}, "", {{"transA", OM_ATTR_INT, .i = 1}}, -EINVAL, {"Gemm", "\"n\"", "fit"}},
    {"Gemm", {"m", "k"}, "", {{"transB", OM_ATTR_INT, .i = 0}}, -EINVAL, {"Gemm", "\"n\"", "fit"}},
    {"Reshape", {"x", "zeros"}, "", {{"allowzero", OM_ATTR_INT, .i = 1}}, -EINVAL, {"Reshape", "\"n\"", "reshape"}},
    {"Squeeze", {"x"}, "", {{"axes", OM_ATTR_INTS, .ints = five, .n_ints = 2}}, -EINVAL, {"Squeeze", "\"n\"", "ax"}},
    {"Unsqueeze",
     {"x"},
     "",
     {{"axes", OM_ATTR_INTS, .ints = nine, .n_ints = 1}},
     -EINVAL,
     {"Unsqueeze", "\"n\"", "axis 9"}},
    {"Flatten", {"x"}, "", {{"axis", OM_ATTR_INT, .i = 5}}, -EINVAL, {"Flatten", "axis", "5"}},
    {"Slice",
     {"x"},
     "",
     {{"starts", OM_ATTR_INTS, .ints = five, .n_ints = 5}, {"ends", OM_ATTR_INTS, .ints = five, .n_ints = 5}},
     -EINVAL,
     {"Slice", "\"n\"", "5 starts"}},
    {"Slice", {"x"}, "", {{"ends", OM_ATTR_INTS, .ints = five, .n_ints = 2}}, -EINVAL, {"Slice", "\"n\"", "2 ends"}},
    {"Slice",
     {"x"},
     "",
     {{"axes", OM_ATTR_INTS, .ints = nine, .n_ints = 1},
      {"starts", OM_ATTR_INTS, .ints = five, .n_ints = 1},
      {"ends", OM_ATTR_INTS, .ints = three, .n_ints = 1}},
     -EINVAL,
     {"Slice", "\"n\"", "axis 9"}},
    {"Split", {"x"}, "", {{"axis", OM_ATTR_INT, .i = 4}}, -EINVAL, {"Split", "axis", "4"}},
    {"Split", {"x"}, "", {{"split", OM_ATTR_INTS, .ints = nine, .n_ints = 1}}, -EINVAL, {"Split", "sizes", "\"n\""}},
    {"Split", {"x"}, "", {{"num_outputs", OM_ATTR_INT, .i = 2}}, -EINVAL, {"Split", "num_outputs", "2"}},
    {"Concat", {"x"}, "", {{"axis", OM_ATTR_INT, .i = -5}}, -EINVAL, {"Concat", "axis", "-5"}},
    {"Gather", {"x", "index"}, "", {{"axis", OM_ATTR_INT, .i = 4}}, -EINVAL, {"Gather", "axis", "4"}},
    {"GatherND", {"x", "x"}, "", {{"batch_dims", OM_ATTR_INT, .i = 0}}, -EOPNOTSUPP, {"GatherND", "batch_dims", "1"}},
    {"Pad", {"x"}, "", {{"mode", OM_ATTR_STRING, .s = "reflect"}}, -EOPNOTSUPP, {"Pad", "mode", "reflect"}},
    {"Pad", {"x"}, "", {{"value", OM_ATTR_FLOAT, .f = 0.5f}}, -EOPNOTSUPP, {"Pad", "0.5", "\"n\""}},
    {"Pad", {"x"}, "", {{"pads", OM_ATTR_INTS, .ints = two_one, .n_ints = 2}}, -EINVAL, {"Pad", "2 pads", "\"n\""}},
    {"ReduceMean",
     {"x"},
     "",
     {{"axes", OM_ATTR_INTS, .ints = nine, .n_ints = 1}},
     -EINVAL,
     {"ReduceMean", "axis 9", "\"n\""}},
    {"ReduceSum",
     {"x"},
     "",
     {{"axes", OM_ATTR_INTS, .ints = nine, .n_ints = 1}},
     -EINVAL,
     {"ReduceSum", "axis 9", "\"n\""}},
    {"ConvInteger",
     {"x", "w"},
     "",
     {{"dilations", OM_ATTR_INTS, .ints = three, .n_ints = 2}, {"pads", OM_ATTR_INTS, .ints = five, .n_ints = 4}},
     -EOPNOTSUPP,
     {"ConvInteger", "dilations", "[3, 3]"}},
    {"ConvInteger",
     {"x", "w"},
     "",
     {{"strides", OM_ATTR_INTS, .ints = two_one, .n_ints = 2}},
     -EOPNOTSUPP,
     {"ConvInteger", "strides", "[2, 1]"}},
    {"ConvInteger",
     {"x", "w"},
     "",
     {{"pads", OM_ATTR_INTS, .ints = minus, .n_ints = 4}},
     -EOPNOTSUPP,
     {"ConvInteger", "pads", "-1"}},
    {"ConvInteger",
     {"x", "w"},
     "",
     {{"kernel_shape", OM_ATTR_INTS, .ints = two_one, .n_ints = 2}},
     -EOPNOTSUPP,
     {"ConvInteger", "kernel_shape", "weights"}},
    {"ConvInteger",
     {"x", "w"},
     "",
     {{"auto_pad", OM_ATTR_STRING, .s = "SOMEHOW"}},
     -EOPNOTSUPP,
     {"ConvInteger", "auto_pad", "SOMEHOW"}},
    {"ConvInteger", {"x", "w"}, "", {{"group", OM_ATTR_INT, .i = 0}}, -EINVAL, {"ConvInteger", "group 0", "\"n\""}},
    {"ConvInteger", {"x", "w"}, "", {{0}}, -EOPNOTSUPP, {"ConvInteger", "int8", "\"n\""}},
    {"MatMulInteger", {"x", "m"}, "", {{0}}, -EINVAL, {"MatMulInteger", "[K, N]", "\"n\""}},
    {"QuantizeLinear", {"x", "c"}, "", {{0}}, -EOPNOTSUPP, {"QuantizeLinear", "y_scale", "\"n\""}},
    {"QuantizeLinear", {"x", "one", "index"}, "", {{0}}, -EOPNOTSUPP, {"QuantizeLinear", "y_zero_point", "int8"}},
    {"QuantizeLinear", {"x", "one"}, "", {{0}}, -EOPNOTSUPP, {"output \"y\"", "uint8", ""}},
    {"DynamicQuantizeLinear", {"x"}, "", {{0}}, -EOPNOTSUPP, {"output \"y\"", "uint8", ""}},
    {"DequantizeLinear", {"x", "one"}, "", {{0}}, -EOPNOTSUPP, {"DequantizeLinear", "int8", "\"n\""}},
    {"DequantizeLinear",
     {"zeros", "c"},
     "",
     {{"axis", OM_ATTR_INT, .i = 7}},
     -EINVAL,
     {"DequantizeLinear", "axis", "7"}},
    {"DequantizeLinear",
     {"zeros", "c"},
     "",
     {{"axis", OM_ATTR_INT, .i = 0}},
     -EINVAL,
     {"DequantizeLinear", "x_scale", "3 numbers"}},
    {"Sqrt", {"x"}, "", {{0}}, -EOPNOTSUPP, {"Sqrt", "\"n\"", "computed"}},
    {"Mod", {"x", "x"}, "", {{"fmod", OM_ATTR_INT, .i = 1}}, -EOPNOTSUPP, {"Mod", "\"n\"", "computed"}},
};

void refusals_name_what_and_where(void **state)
{
    int wrong = 0;

    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *c = &refusals[i];
        const char *in[5] = {c->in[0], c->in[1], c->in[2], c->in[3], c->in[4]}, *out[1] = {"y"};
        struct om_attr attr[3] = {c->attr[0], c->attr[1], c->attr[2]};
        struct om_node n = {.op = c->op, .name = "n", .domain = c->domain, .in = in, .out = out, .attr = attr};
        char message[NPU_ONNX_MESSAGE] = "";
        int r;

        n.n_out = 1;
        while (n.n_in < 5 && in[n.n_in])
            n.n_in++;
        while (n.n_attr < 3 && attr[n.n_attr].name)
            n.n_attr++;
        r = onnx_import_one(&n, 17, NULL, message);
        if (r != c->expect || !strstr(message, c->text[0]) || !strstr(message, c->text[1]) ||
            !strstr(message, c->text[2]))
            print_error("case %zu: %d, not %d: %s\n", i, r, c->expect, message), wrong++;
    }
    assert_int_equal(wrong, 0);
}

/* ---- every operation ---- */
static const struct oi_op *const tables[] = {oi_mat_ops,  oi_picture_ops, oi_element_ops,
                                             oi_move_ops, oi_quant_ops,   oi_fold_ops};

/* The import of op with one attribute of its own must fail and name all three. */
static void refused(const struct oi_op *op, const struct om_attr *a, int expect)
{
    const char *in[3] = {"x", "x", "x"}, *out[1] = {"y"};
    struct om_attr attr = *a;
    const struct om_node n = {.op = op->name,
                              .name = "n",
                              .domain = "",
                              .in = in,
                              .out = out,
                              .attr = &attr,
                              .n_in = op->min_in < 3 ? op->min_in : 3,
                              .n_out = 1,
                              .n_attr = 1};
    char message[NPU_ONNX_MESSAGE] = "";
    const int r = onnx_import_one(&n, 17, NULL, message);

    if (r != expect || !strstr(message, op->name) || !strstr(message, "\"n\"") || !strstr(message, a->name))
        fail_msg("%s with %s of kind %d: %d: %s", op->name, a->name, a->kind, r, message);
}

void unknown_attributes_are_named(void **state)
{
    int seen = 0;

    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const struct oi_op *op = tables[t]; op->name; op++, seen++) {
            refused(op, &(struct om_attr){"zzz", OM_ATTR_INT, .i = 1}, -EOPNOTSUPP);
            refused(op, &(struct om_attr){"a", OM_ATTR_FLOAT, .f = 1}, -EOPNOTSUPP); /* begins some that there are */
            if (!strstr(op->attrs, "axis"))
                refused(op, &(struct om_attr){"axis", OM_ATTR_INT, .i = 1}, -EOPNOTSUPP);
        }
    assert_true(seen >= 63);
}

/* Attributes any value of which will do, of the right kind. */
static bool takes_all(const char *op, const char *name)
{
    static const char *const free_ones[][2] = {
        {"Conv", "strides"},
        {"HardSigmoid", "alpha"},
        {"HardSigmoid", "beta"},
        {"LeakyRelu", "alpha"},
        {"QuantizeLinear", "axis"},
        {"QuantizeLinear", "saturate"},
        {"Cast", "saturate"},
        {"LayerNormalization", "epsilon"},
        {"Dropout", "ratio"},
        {"Dropout", "seed"},
        {"MaxPool", "storage_order"},
        {"AveragePool", "count_include_pad"},
        {"Resize", "cubic_coeff_a"},
        {"Resize", "extrapolation_value"},
        {"ReduceMean", "keepdims"},
        {"ReduceMean", "noop_with_empty_axes"},
        {"ReduceSum", "keepdims"},
        {"ReduceSum", "noop_with_empty_axes"},
        {"BatchNormalization", "epsilon"},
        {"BatchNormalization", "momentum"},
        {"ConstantOfShape", "value"},
        {"Shape", "start"},
        {"Shape", "end"},
        {"Constant", "value"},
        {"Constant", "value_int"},
        {"Constant", "value_ints"},
        {"Constant", "value_float"},
    };

    for (size_t i = 0; i < sizeof free_ones / sizeof free_ones[0]; i++)
        if (strcmp(free_ones[i][0], op) == 0 && strcmp(free_ones[i][1], name) == 0)
            return true;
    return false;
}

static bool has_refusal(const char *op, const char *name)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        for (int k = 0; k < 3 && refusals[i].attr[k].name; k++)
            if (refusals[i].expect < 0 && strcmp(refusals[i].op, op) == 0 &&
                strcmp(refusals[i].attr[k].name, name) == 0)
                return true;
    return false;
}

static bool kind_is_refused(const struct oi_op *op, const struct om_attr *a)
{
    const char *in[3] = {"x", "x", "x"}, *out[1] = {"y"};
    struct om_attr attr = *a;
    struct om_node n = {.op = op->name, .name = "n", .domain = "", .in = in, .out = out, .attr = &attr};
    char message[NPU_ONNX_MESSAGE] = "";

    n.n_in = op->min_in < 3 ? op->min_in : 3;
    n.n_out = n.n_attr = 1;
    return onnx_import_one(&n, 17, NULL, message) == -EINVAL && strstr(message, op->name) && strstr(message, "\"n\"") &&
           strstr(message, a->name) && strstr(message, "another kind");
}

/* Of the four kinds, each attribute has one at most; and its unsupported values stand in the table above, unless it has
 * none. */
void values_of_attributes_are_checked(void **state)
{
    static const int64_t one = 1;
    int seen = 0;

    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const struct oi_op *op = tables[t]; op->name; op++) {
            char words[256], *rest = words;

            snprintf(words, sizeof words, "%s", op->attrs);
            for (const char *name; (name = strsep(&rest, " ")) && *name; seen++) {
                const struct om_attr kinds[] = {{name, OM_ATTR_INT, .i = 1},
                                                {name, OM_ATTR_FLOAT, .f = 1},
                                                {name, OM_ATTR_STRING, .s = "zzz"},
                                                {name, OM_ATTR_INTS, .ints = &one, .n_ints = 1}};
                int wrong = 0;

                for (int k = 0; k < 4; k++)
                    wrong += kind_is_refused(op, &kinds[k]);
                assert_in_range(wrong, 3, strcmp(name, "value") == 0 ? 4 : 3); /* a tensor is none of the four */
                if (!takes_all(op->name, name) && !has_refusal(op->name, name))
                    fail_msg("%s: no test has an unsupported value of %s", op->name, name);
            }
        }
    assert_true(seen >= 70);
}
