#!/usr/bin/env python3
"""npu-info and npu-ops as a user meets them: JSON, exit codes, and drivers that are missing, crash, hang or lack what they need."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

O = os.environ.get("O", "build")
tests = []


def test(f):
    tests.append(f)
    return f


def run(tool, *args, env=None, timeout=120):
    e = dict(os.environ)
    for k, v in (env or {}).items():
        e.pop(k, None)
        if v is not None:
            e[k] = v
    return subprocess.run([os.path.join(O, "bin", tool), *args], capture_output=True, text=True, env=e, timeout=timeout)


def info(env=None):
    p = run("npu-info", "--json", env=env)
    assert p.returncode == 0, p.stderr
    return json.loads(p.stdout)


def without(what):
    """Why a test is skipped; it fails where a driver is installed, as `make check` says."""
    assert os.environ.get("GAZED_NEED_CL", "0") == "0", "a driver is installed, but there is no " + what
    return "no " + what


def has_opencl():
    return any(d["id"].startswith("cl") and d["usable"] for d in info()["devices"])


def build_driver(folder, body):
    """A fake OpenCL driver; None if there is no compiler."""
    cc = shutil.which("cc") or shutil.which("gcc")
    if not cc:
        return None
    with open(os.path.join(folder, "bad.c"), "w") as f:
        f.write("#include <stdlib.h>\n#include <unistd.h>\n__attribute__((constructor)) static void f(void) { %s }\n" % body)
    lib = os.path.join(folder, "libbad.so")
    subprocess.run([cc, "-shared", "-fPIC", "-o", lib, os.path.join(folder, "bad.c")], check=True)
    with open(os.path.join(folder, "bad.icd"), "w") as f:
        f.write(lib + "\n")
    return {"OCL_ICD_VENDORS": folder, "OPENCL_VENDOR_PATH": folder, "NPU_PROBE_MS": "2000"}


@test
def tiers_say_why_they_were_refused():
    for d in info({"NPU_SUBGROUP": "broken"})["devices"]:
        tiers = {t["name"]: t for t in d["tier_tests"]}
        assert d["tier_note"] == "", d
        assert not d["usable"] or any(t["passed"] for t in d["tier_tests"]), d
        assert all(t["passed"] or t["why"] for t in d["tier_tests"]), d
        if d["id"].startswith("cl") and d["usable"]:
            assert tiers["portable"]["passed"]
            assert not tiers["subgroup-arm-emulated"]["passed"]
            assert "self-test off by" in tiers["subgroup-arm-emulated"]["why"]
            assert tiers["int8-dot"]["passed"] or tiers["int8-dot"]["why"]
            assert ("builtin" in tiers) == (d["built_in_kernels"] != "" or d["kind"] == "npu"), d


@test
def ref_is_always_there():
    d = info()
    ref = [x for x in d["devices"] if x["id"] == "ref"]
    assert len(ref) == 1 and ref[0]["usable"] and ref[0]["kind"] == "ref"
    for x in d["devices"]:
        assert x["usable"] or x["why_not"], x
    kinds = ["ref", "cpu", "gpu", "npu"]
    best = max((x for x in d["devices"] if x["usable"]), key=lambda x: kinds.index(x["kind"]))
    assert d["auto"] == best["id"], d
    text = run("npu-info").stdout
    assert text.count("taken by default") == 1
    for x in d["devices"]:
        assert x["id"] + ": " in text and (not x["why_not"] or x["why_not"] in text), text


@test
def no_driver_is_said():
    d = info({"OCL_ICD_VENDORS": "/nonexistent", "OPENCL_VENDOR_PATH": "/nonexistent"})
    assert "install" in d["note"], d["note"]
    assert [x["id"] for x in d["devices"] if x["usable"]] == ["ref"]
    assert d["auto"] == "ref"
    text = run("npu-info", env={"OCL_ICD_VENDORS": "/nonexistent", "OPENCL_VENDOR_PATH": "/nonexistent"}).stdout
    assert "install" in text and "slow" in text, text
    p = run("npu-ops", "test", "--op", "scale", env={"OCL_ICD_VENDORS": "/nonexistent"})
    assert p.returncode == 0 and "on ref" in p.stdout, p.stdout + p.stderr


@test
def a_crashing_driver_is_reported():
    with tempfile.TemporaryDirectory() as folder:
        env = build_driver(folder, "abort();")
        if env is None:
            return "no compiler"
        d = info(env)
        assert "crashed" in d["note"] and "6" in d["note"], d["note"]
        assert [x["id"] for x in d["devices"] if x["usable"]] == ["ref"]


@test
def a_hanging_driver_is_reported():
    with tempfile.TemporaryDirectory() as folder:
        env = build_driver(folder, "for (;;) sleep(100);")
        if env is None:
            return "no compiler"
        d = info(env)
        assert "hung" in d["note"], d["note"]


@test
def a_home_is_not_needed():
    if not has_opencl():
        return without("OpenCL device")
    for env in ({"HOME": None, "XDG_CACHE_HOME": None}, {"POCL_CACHE_DIR": ""}, {"HOME": "/proc/nowhere", "POCL_CACHE_DIR": None}):
        p = run("npu-ops", "test", "--op", "scale", "--device", "cl", env=env)
        assert p.returncode == 0, (env, p.stdout, p.stderr)


@test
def a_missing_linker_is_said():
    d = [x for x in info({"PATH": "/nonexistent"})["devices"] if "Portable Computing" in x["driver"]]
    if not d:
        return without("PoCL")
    assert not d[0]["usable"] and "binutils" in d[0]["why_not"], d[0]


@test
def json_of_npu_ops():
    p = run("npu-ops", "test", "--op", "add", "--device", "ref", "--json")
    d = json.loads(p.stdout)
    assert p.returncode == 0 and d["failed"] == 0 and d["passed"] == len([r for r in d["results"] if r["verdict"] == "pass"]) > 0
    p = run("npu-ops", "support", "--device", "ref", "--json")
    ops = {r["op"] for r in json.loads(p.stdout)["results"]}
    assert {"matmul", "conv2d", "attention", "add", "scale"} <= ops, ops


@test
def wrong_arguments():
    assert run("npu-ops").returncode == 2
    assert run("npu-ops", "frobnicate").returncode == 2
    assert run("npu-ops", "test", "--op", "nothing", "--device", "ref").returncode == 2
    p = run("npu-ops", "test", "--device", "cl77")
    assert p.returncode == 1 and "cl77" in p.stderr, p.stderr
    assert run("npu-info", "--what").returncode == 2


def main():
    failed = 0
    print(f"1..{len(tests)}")
    for i, f in enumerate(tests, 1):
        try:
            skip = f()
            print(f"ok {i} - {f.__name__}" + (f" # SKIP {skip}" if skip else ""))
        except Exception as e:  # each failure is reported, the rest still runs
            failed += 1
            print(f"not ok {i} - {f.__name__}\n# " + repr(e).replace("\n", " ")[:600])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
