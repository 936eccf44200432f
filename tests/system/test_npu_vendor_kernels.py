#!/usr/bin/env python3
"""Kernels for vendors' extensions, which nothing here can run, are compiled by clang's OpenCL front end with the extensions'
functions declared (tests/cl/vendor_builtins.h)."""
import shutil
import subprocess

import tap

FLOATS = ["-DDT0=1", "-DDT1=0", "-DDT2=0", "-DDT3=0", "-DDT4=0"]
INT8 = ["-DDT0=5", "-DDT2=0", "-DDT3=0", "-DDT4=0"]


def front_end(source, entry, *options):
    clang = next((c for c in ["clang", "clang-17", "clang-16", "clang-15", "clang-14"] if shutil.which(c)), None)
    if not clang:
        raise tap.Skip("no clang")
    command = [clang, "-x", "cl", "-cl-std=CL3.0", "-target", "spir64", "-Xclang", "-finclude-default-header", "-Xclang", "-cl-ext=+all",
               "-fsyntax-only", "-w", "-include", "kernels/lib.clh", "-include", "tests/cl/vendor_builtins.h", "-Ikernels",
               f"-DK_{entry}", *options, f"kernels/{source}.cl"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stderr


def compiles(source, entry, *options):
    code, log = front_end(source, entry, *options)
    assert code == 0, log


def intel_products():
    for lanes in 16, 8:
        for extra in [], ["-DSUBGROUP_F16", "-DDT0=2"]:
            compiles("subgroup_gemm", "subgroup_pack", f"-DSUBGROUP={lanes}", *FLOATS, *extra)
            compiles("subgroup_gemm", "subgroup_gemm", f"-DSUBGROUP={lanes}", *FLOATS, *extra)


def intel_int8():
    for lanes in 16, 8:
        for result in ["-DDT5=5", "-DDT1=3"], ["-DDT5=0", "-DDT1=0"]:
            compiles("qconv2d", "qconv_subgroup", f"-DSUBGROUP={lanes}", *INT8, *result)


def arm_products():
    compiles("subgroup_gemm", "subgroup_gemm4", "-DSUBGROUP=4", *FLOATS)


def integer_dot_products():
    compiles("qconv2d", "qconv_dot", *INT8, "-DDT1=3", "-DDT5=5")


def an_unknown_type_is_seen():
    code, log = front_end("subgroup_gemm", "subgroup_gemm", "-DSUBGROUP=16", *FLOATS[1:])
    assert code != 0 and "error" in log


tap.run([intel_products, intel_int8, arm_products, integer_dot_products, an_unknown_type_is_seen])
