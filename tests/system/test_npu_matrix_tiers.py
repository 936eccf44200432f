#!/usr/bin/env python3
"""Every way in which the matrix operations can run on an OpenCL device, each against the C reference: the portable kernels of
GPUs, the register-blocked kernels, the AMX, AVX-512 BF16, VNNI and AVX2 tiers over their emulated units, sub-group products and integer dot
products over plain code in their place, and native code for everything that has it."""
import functools
import re

import tap
from npu_ops_fixture import cl_tiers, need_opencl, run, side_by_side

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


def register_tiles_of_other_widths():
    for width in ("4", "16"):
        tier(["matmul"], "--f32", env={"NPU_MAT_NATIVE": "0", "NPU_MAT_VEC": width})


def native_code():
    """Where the native code serves, every case has nothing but it; what has types that it does not take may have other kernels."""
    env = {"NPU_MAT_NATIVE": "all"}
    need_opencl()
    why_not = cl_tiers(env).get("avx2", "not for this device")
    assert not why_not.startswith("self-test"), why_not
    side_by_side(functools.partial(all_native, env=env, expected=not why_not), [(op,) for op in PLAIN + BETWEEN + TRAINING])


def all_native(op, env, expected):
    cases = 0
    for r in run("test", "--device", "cl", "--op", op, "--f32", env=env)["results"]:
        said = re.search(r"; (\d+) of (\d+) launches native, types:(.*)", r["text"])
        if not said or {"bf16", "f16", "u8"} & set(said.group(3).split()):
            continue  # nothing to do, or another type
        if expected:
            assert said.group(1) == said.group(2), r
        cases += 1
    assert cases, op


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


tap.run([portable_kernels, register_tiles, register_tiles_of_other_widths, native_code, emulated_amx, emulated_avx512_bf16, emulated_int8_amx, emulated_vnni512, emulated_vnni256, emulated_int8_avx2,
         emulated_subgroups, wrong_subgroups_are_refused, emulated_built_in_product, wrong_built_in_product_is_refused, int8_portable, int8_dot_products, wrong_dot_products_are_refused])
