#!/usr/bin/env python3
"""npu-bench as a user and as a driver meet it: figures that hang together, agreement of precisions, --serve, exit codes."""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tap  # noqa: E402

BIN = os.path.join(os.environ.get("O", "build"), "bin")
tests = []


def test(f):
    tests.append(f)
    return f


def run(*args, **more):
    return subprocess.run([os.path.join(BIN, "npu-bench"), *args], capture_output=True, text=True, timeout=120, **more)


def measured(*args):
    p = run(*args, "--json", "--seconds", "0.01")
    tap.equal((p.returncode, p.stderr), (0, ""))
    return json.loads(p.stdout)


def read_floats(path):
    with open(path, "rb") as f:
        data = f.read()
    n = 10 + struct.unpack("<H", data[8:10])[0]
    assert b"'<f4'" in data[:n], data[:n]
    return struct.unpack(f"<{(len(data) - n) // 4}f", data[n:])


def outputs(*args):
    folder = tempfile.mkdtemp(prefix="gazed-test-")
    try:
        measured(*args, "--outputs", folder)
        return {name: read_floats(os.path.join(folder, name)) for name in os.listdir(folder)}
    finally:
        shutil.rmtree(folder)


def distance(a, b):
    """Root of the mean square difference over that of a."""
    return (sum((x - y) ** 2 for x, y in zip(a, b)) / sum(x * x for x in a)) ** 0.5


@test
def figures_hang_together():
    r = measured("gaze_vit", "--device", "ref", "--batches", "1,2")
    tap.equal([r["network"], r["device"], r["precision"], r["batch"], r["train"]], ["gaze_vit", "ref", "f32", 1, False])
    assert r["runs"] >= 3 and 0 < r["min_ms"] <= r["p50_ms"] <= r["p90_ms"], r
    assert abs(r["per_s"] * r["mean_ms"] - 1000) < 1, r
    memory = r["memory"]
    assert 0 < memory["arena_bytes"] < memory["sum_of_values_bytes"], memory
    assert 1e6 < memory["sum_of_params_bytes"] <= memory["persistent_bytes"] and memory["sum_of_params_bytes"] < memory["sum_of_values_bytes"], memory
    tap.equal([p["batch"] for p in r["batches"]], [1, 2])
    slope = r["batches"][1]["p50_ms"] - r["batches"][0]["p50_ms"]
    assert abs(r["extra_ms"] - slope) < 1e-3, r
    tap.equal([r["start"], r["plan"], r["sizes"]], [None, None, []])


@test
def start_plan_and_text():
    r = measured("gaze_vit", "--device", "ref", "--start", "--profile")
    for which in ("empty", "warm"):
        s = r["start"][which]
        parts = s["context_ms"] + s["plan_ms"] + s["first_ms"]
        assert min(s.values()) > 0 and s["process_ms"] >= parts, s
    nodes = r["plan"]["nodes"]
    assert len(nodes) == r["memory"]["nodes"] and sum(n["ms"] for n in nodes) > 0, r["plan"]
    p = run("face_finder", "--device", "ref", "--size", "64x32", "--sizes", "32x32,64x64", "--seconds", "0")
    tap.equal(p.returncode, 0)
    for word in ("face_finder, f32, batch 1, on ref", "p50", "MiB", "nodes", "  32x32", "  64x64"):
        assert word in p.stdout, (word, p.stdout)


@test
def precisions_agree():
    exact = outputs("gaze_vit", "--device", "ref")
    for precision, bound in (("bf16", 0.05), ("int8", 0.2), ("int8-dynamic", 0.2)):
        rough = outputs("gaze_vit", "--device", "ref", "--precision", precision)
        tap.equal(sorted(rough), ["angles.npy", "feature.npy", "log_sigma.npy"])
        d = distance(exact["feature.npy"], rough["feature.npy"])
        assert 0 < d < bound, (precision, d)


@test
def onnx_files_and_arrays():
    folder = tempfile.mkdtemp(prefix="gazed-test-")
    try:
        path, calib = os.path.join(folder, "g.onnx"), os.path.join(folder, "calib", "0")
        convert = os.path.join(BIN, "npu-convert")
        os.makedirs(calib)
        weights = os.path.join("models", "weights")
        if not os.path.exists(os.path.join(weights, "gaze_vit.safetensors")):
            raise tap.Skip("no weights")
        subprocess.run([convert, "--model", "gaze_vit", weights, path], check=True, timeout=60)
        subprocess.run([convert, "--run", path, "--device", "ref", "--out", calib], check=True, timeout=60, stdout=subprocess.DEVNULL)
        want = read_floats(os.path.join(calib, "feature.npy"))
        args = (path, "--device", "ref", "--inputs", calib)
        assert distance(want, outputs(*args)["feature.npy"]) < 1e-5
        assert distance(want, outputs("gaze_vit", "--weights", weights, *args[1:])["feature.npy"]) < 1e-5
        rough = outputs(*args, "--precision", "int8", "--calib", os.path.dirname(calib))["feature.npy"]
        assert 0 < distance(want, rough) < 0.2, distance(want, rough)
        p = run(path, "--device", "ref", "--batch", "2")
        assert p.returncode == 1 and "symbolic" in p.stderr, p.stderr
        p = run(path, "--device", "ref", "--precision", "int8", "--calib", folder)
        assert p.returncode == 1 and "no folder 0" in p.stderr, p.stderr
    finally:
        shutil.rmtree(folder)


@test
def more_inputs():
    """What comes out for the inputs in the folders 1, 2 is what comes out for each of them alone."""
    folder = tempfile.mkdtemp(prefix="gazed-test-")
    try:
        inputs, here = os.path.join(folder, "inputs"), os.path.join(folder, "outputs")
        for k, value in (("", 0.5), ("1", -0.25), ("2", 0.75)):
            os.makedirs(os.path.join(inputs, k))
            for name, shape in (("image", (1, 128, 96, 1)), ("pose", (1, 3))):
                head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
                n = shape[1] * (shape[2] * shape[3] if len(shape) == 4 else 1)
                with open(os.path.join(inputs, k, name + ".npy"), "wb") as f:
                    f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + struct.pack(f"<{n}f", *(value * (i % 7) for i in range(n))))
        os.mkdir(here)
        measured("gaze_vit", "--device", "ref", "--inputs", inputs, "--outputs", here)
        alone = {k: outputs("gaze_vit", "--device", "ref", "--inputs", os.path.join(inputs, k))["feature.npy"] for k in ("1", "2")}
        for k in alone:
            tap.equal(read_floats(os.path.join(here, k, "feature.npy")), alone[k])
        assert alone["1"] != alone["2"] != read_floats(os.path.join(here, "feature.npy"))
        tap.equal(sorted(os.listdir(here)), ["1", "2", "angles.npy", "feature.npy", "log_sigma.npy"])
    finally:
        shutil.rmtree(folder)


@test
def products():
    for precision in ("f32", "bf16", "int8"):
        r = measured("gemm:5x64x32*3", "--device", "ref", "--precision", precision)
        assert r["precision"] == precision and r["memory"]["nodes"] >= 3, r
    y = outputs("matmul:3x4x5*2", "--device", "ref")
    assert sorted(y) == ["y0.npy", "y1.npy"] and y["y0.npy"] != y["y1.npy"] and len(y["y0.npy"]) == 15, y


@test
def training():
    r = measured("gaze_vit", "--device", "ref", "--train")
    assert r["train"] and r["parameters"] == 1091123 and r["memory"]["nodes"] > 200 and r["min_ms"] > 0, r


@test
def served_runs():
    p = run("gemm:8x8x8", "--device", "ref", "--serve", input="run 3 1\nrun 0\nhello\nrun 2\nquit\nrun 9\n")
    tap.equal(p.returncode, 0)
    head, first, bad, worse, second = (json.loads(line) for line in p.stdout.splitlines())
    tap.equal(head["network"], "gemm:8x8x8")
    assert len(first["ms"]) == 3 and min(first["ms"]) >= 0 and first["cpu_ms"] >= 0, first
    assert len(second["ms"]) == 2 and "error" in bad and "error" in worse, p.stdout


@test
def the_processor_itself():
    p = run("--peak", "--threads", "1", "--seconds", "0.05", "--json")
    tap.equal(p.returncode, 0)
    r = json.loads(p.stdout)
    assert r["f32_gflops"] > 0.5 and r["int8_gops"] > 0.5 and r["read_gbps"] > 0.1, r


@test
def wrong_arguments():
    for args, word in ((("nonsense",), "no such network"), (("gaze_vit", "--batch", "0"), "--batch"), (("gaze_vit", "--size", "64x64"), "face_finder"),
                       (("landmarks", "--train"), "--train"), (("gemm:0x1x1",), "gemm:MxKxN"), (("gaze_vit", "--precision", "f8"), "--precision"),
                       (("gaze_vit", "--batches", "1,x"), "--batches"), ((), "usage"), (("--peak", "gaze_vit"), "usage"), (("gemm:8x8x8", "--precision", "int8-dynamic"), "run time")):
        p = run(*args)
        tap.equal((args, p.returncode), (args, 2))
        assert word in p.stderr and p.stdout == "", (args, p.stderr)
    for args, word in ((("none.onnx",), "none.onnx"), (("gaze_vit", "--device", "cl99"), "cl99"), (("gaze_vit", "--device", "ref", "--weights", "none"), "none"),
                       (("gaze_vit", "--threads", "1000"), "processors"), (("face_finder", "--device", "ref", "--size", "65x64"), "multiples of 32"),
                       (("gemm:8x8x8", "--device", "ref", "--inputs", "none"), '"x"')):
        p = run(*args)
        tap.equal((args, p.returncode), (args, 1))
        assert word in p.stderr, (args, p.stderr)
    assert "usage" in run("--help").stdout and run("--version").stdout.startswith("npu-bench ")


tap.run(tests)
