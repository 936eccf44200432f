#!/usr/bin/env python3
"""Every way in which the matrix operations can run on an OpenCL device, each against the C reference: the portable kernels of
GPUs, the register-blocked kernels, the AMX, AVX-512 BF16, VNNI and AVX2 tiers over their emulated units, sub-group products and integer dot
products over plain code in their place, and native code for everything that has it."""
import tap
from npu_ops_fixture import need_opencl, run, side_by_side

PRODUCTS = ["matmul", "conv2d", "conv2d_grad_x", "conv2d_grad_w"]
PLAIN = ["add", "sub", "mul", "expand", "relu", "relu6", "gelu", "sigmoid", "tanh", "exp", "abs", "erf", "gelu_erf", "scale",
         "slice", "concat", "pad", "permute", "reduce", "max_pool", "mean_pool", "resize", "softmax", "prelu"]
TRAINING = ["batch_norm", "batch_norm_train", "batch_norm_grad", "layer_norm_grad", "unary_grad", "softmax_grad", "mse", "l1",
            "bce_logits", "loss_grad", "adamw", "sgd", "moving_average", "sum_squares", "clip_scale"]
QUANTISED = ["qmatmul", "qconv2d"]
BETWEEN = ["layer_norm", "quantise", "dequantise", "quantise_dynamic"]


def tier(ops, *args, env):
    need_opencl()

    def one(op):
        assert run("test", "--device", "cl", "--op", op, *args, env=env)["passed"] > 0

    side_by_side(one, [(op,) for op in ops])


def portable_kernels():
    tier(PRODUCTS + ["attention", "attention_grad"], "--f32", env={"NPU_MAT_PORTABLE": "1"})


def register_tiles():
    tier(PRODUCTS + ["attention"] + QUANTISED, "--f32", env={"NPU_MAT_NATIVE": "0"})


def native_code():
    tier(PLAIN + BETWEEN, "--f32", env={"NPU_MAT_NATIVE": "all"})


def emulated_amx():
    tier(PRODUCTS, env={"NPU_AMX_EMULATE": "1"})


def emulated_avx512_bf16():
    tier(PRODUCTS, env={"NPU_BF16_EMULATE": "1"})


def emulated_int8_amx():
    tier(QUANTISED, "--f32", env={"NPU_AMX_EMULATE": "1"})


def emulated_vnni512():
    tier(QUANTISED, "--f32", env={"NPU_VNNI_EMULATE": "1"})


def emulated_vnni256():
    tier(QUANTISED, "--f32", env={"NPU_VNNI_EMULATE": "1", "NPU_TIER": "vnni256-emulated"})


def emulated_int8_avx2():
    tier(QUANTISED, "--f32", env={"NPU_VNNI_EMULATE": "1", "NPU_TIER": "avx2-int8-emulated"})


def emulated_subgroups():
    for unit, ops in ("intel16", PRODUCTS[:1] + QUANTISED), ("intel8", PRODUCTS[:1] + QUANTISED), ("arm", PRODUCTS[:1]):
        tier(ops, env={"NPU_SUBGROUP": "emulate", "NPU_TIER": f"subgroup-{unit}-emulated"})


def wrong_subgroups_are_refused():
    tier(PRODUCTS[:1] + QUANTISED[:1], env={"NPU_SUBGROUP": "broken"})


def emulated_built_in_product():
    tier(PRODUCTS[:1], env={"NPU_BUILTIN": "emulate"})


def wrong_built_in_product_is_refused():
    tier(PRODUCTS[:1], "--f32", env={"NPU_BUILTIN": "broken"})


def int8_portable():
    tier(QUANTISED, "--f32", env={"NPU_MAT_PORTABLE": "1"})


def int8_dot_products():
    tier(QUANTISED, "--f32", env={"NPU_INT8_DOT": "emulate", "NPU_MAT_NATIVE": "0"})


def wrong_dot_products_are_refused():
    tier(QUANTISED[:1], "--f32", env={"NPU_INT8_DOT": "broken", "NPU_MAT_NATIVE": "0"})


tap.run([portable_kernels, register_tiles, native_code, emulated_amx, emulated_avx512_bf16, emulated_int8_amx, emulated_vnni512, emulated_vnni256, emulated_int8_avx2,
         emulated_subgroups, wrong_subgroups_are_refused, emulated_built_in_product, wrong_built_in_product_is_refused, int8_portable, int8_dot_products, wrong_dot_products_are_refused])
