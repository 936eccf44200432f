#!/usr/bin/env python3
"""npu-asm as a user meets it: the example of docs/NPU-ISA.md runs, binaries come back as the same text, errors have exit codes."""
import os
import re
import subprocess
import tempfile

import tap

NPU_ASM = os.path.join(os.environ.get("O", "build"), "bin", "npu-asm")


def run(*args, text=None):
    return subprocess.run([NPU_ASM, *args], input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)


def example():
    with open("docs/NPU-ISA.md") as f:
        return re.search(r"```\n(\.xm.*?)```", f.read(), re.S).group(1)


def the_example_runs():
    for seed in range(20):
        p = run("run", "--seed", str(seed), "-", text=example())
        assert p.returncode == 0 and "1 expectations met" in p.stdout, p.stdout + p.stderr
    assert run("check", "-", text=example()).returncode == 0


def what_is_wrong_is_said():
    p = run("run", "-", text=example().replace("22 13", "22 14"))
    assert p.returncode == 1 and "element 2 is 13, expected 14" in p.stdout, p.stdout + p.stderr
    p = run("check", "-", text=example().replace("store wait=vector", "store").replace("signal=store ", ""))
    assert p.returncode == 1 and "instruction 4 (store, unit store) and instruction 3 (add, unit vector)" in p.stderr, p.stderr
    p = run("run", "-", text=example().replace("um.f32@128 n=4", "um.f32@524288 n=4"))
    assert p.returncode == 1 and "instruction 4 (store, unit store): reads 16 bytes at 524288 of um, which has 524288" in p.stderr, p.stderr
    assert run("run", "-", text="jump").returncode == 1
    assert run("run", "/nonexistent").returncode == 1
    for args in ([], ["run"], ["frobnicate", "x"], ["run", "--npu", "0x0", "x"], ["asm", "x"]):
        assert run(*args).returncode == 2, args


def binaries_come_back():
    with tempfile.TemporaryDirectory() as d:
        a, b = os.path.join(d, "a"), os.path.join(d, "b")
        assert run("asm", "-", a, text=example()).returncode == 0
        text = run("dis", a).stdout
        assert text.count("\n") == 5
        assert run("asm", "-", b, text=text).returncode == 0
        with open(a, "rb") as f, open(b, "rb") as g:
            assert f.read() == g.read()
        assert run("check", b).returncode == 0


tap.run([the_example_runs, what_is_wrong_is_said, binaries_come_back])
