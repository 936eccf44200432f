#!/usr/bin/env python3
"""npu-convert as a user meets it: gazed's networks out and back, --info, --run with arrays, exit codes, texts."""
import json
import os
import struct
import subprocess
import sys
import tempfile

O = os.environ.get("O", "build")
WEIGHTS = "models/weights"
tests = []


def test(f):
    tests.append(f)
    return f


def run(*args, timeout=120):
    return subprocess.run([os.path.join(O, "bin", "npu-convert"), *args], capture_output=True, text=True, timeout=timeout)


def good(*args):
    p = run(*args)
    assert p.returncode == 0, (args, p.stdout, p.stderr)
    return p.stdout


def read_npy(path):
    """Shape and floats."""
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<H", data[8:10])[0]
    head = eval(data[10 : 10 + n], {})  # as the format has it; written by the tool under test
    assert data[:8] == b"\x93NUMPY\x01\x00" and head["descr"] == "<f4" and not head["fortran_order"], head
    return head["shape"], list(struct.unpack(f"<{(len(data) - 10 - n) // 4}f", data[10 + n :]))


def write_npy(path, shape, values, descr="<f4"):
    head = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    head += b" " * (63 - (10 + len(head)) % 64) + b"\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + struct.pack(f"<{len(values)}f", *values))


def has_weights(name):
    return os.path.exists(os.path.join(WEIGHTS, name + ".safetensors"))


@test
def networks_there_and_back(folder):
    if not has_weights("gaze_vit"):
        return "no weights"
    first, second = os.path.join(folder, "a.onnx"), os.path.join(folder, "b.onnx")
    for name in ("gaze_vit", "landmarks", "face_finder"):
        good("--model", name, WEIGHTS, first)
        good(first, second)
        with open(first, "rb") as f, open(second, "rb") as g:
            assert f.read() == g.read(), name
    good(first, os.path.join(folder, "w.safetensors"))
    assert os.path.getsize(os.path.join(folder, "w.safetensors")) > 1e6


@test
def info_tells_what_is_there(folder):
    path = "tests/fuzz/corpus/onnx/pictures"
    text = good("--info", path)
    for line in ("input   x float [1, 2, 6, 6]", "output  y", "opset 17", "Conv(x, w, b)", 'auto_pad="SAME_UPPER"', "tensor  w float [4, 2, 3, 3]"):
        assert line in text, (line, text)
    d = json.loads(good("--info", path, "--json"))
    assert [i["name"] for i in d["inputs"]] == ["x"] and d["inputs"][0]["shape"] == [1, 2, 6, 6], d
    assert d["nodes"][0]["op"] == "Conv" and d["nodes"][0]["attributes"]["dilations"] == [2, 2], d["nodes"][0]
    assert {"name": "w", "type": "float", "shape": [4, 2, 3, 3]} in d["initialisers"]


@test
def runs_take_and_give_arrays(folder):
    path, x = "tests/fuzz/corpus/onnx/pictures", os.path.join(folder, "x.npy")
    out = [os.path.join(folder, k) for k in "ab"]
    for k in out:
        os.mkdir(k)
    text = good("--run", path, "--device", "ref", "--out", out[0], "--seed", "5")
    assert "y [1,3] f32" in text and "on ref" in text, text
    shape, values = read_npy(os.path.join(out[0], "x.npy"))
    assert shape == (1, 2, 6, 6) and all(-1 <= v < 1 for v in values) and len(set(values)) > 60
    write_npy(x, shape, values)
    good("--run", path, "--device", "ref", "--out", out[1], "--input", "x=" + x)
    assert read_npy(os.path.join(out[0], "y.npy")) == read_npy(os.path.join(out[1], "y.npy"))
    good("--run", path, "--device", "ref", "--out", out[1], "--input", "x=random", "--seed", "6")
    assert read_npy(os.path.join(out[0], "y.npy")) != read_npy(os.path.join(out[1], "y.npy"))


@test
def arrays_that_do_not_fit(folder):
    x = os.path.join(folder, "x.npy")
    args = ("--run", "tests/fuzz/corpus/onnx/pictures", "--device", "ref", "--input", "x=" + x)
    for shape, count, descr, word in (((1, 2, 6), 12, "<f4", "(1, 2, 6, 6)"), ((1, 2, 6, 6), 72, "<f8", "<f4"), ((1, 2, 6, 6), 5, "<f4", "cut short")):
        write_npy(x, shape, [0.0] * count, descr)
        p = run(*args)
        assert p.returncode == 1 and word in p.stderr and '"x"' in p.stderr, p.stderr
    with open(x, "wb") as f:
        f.write(b"not an array")
    assert "not an .npy file" in run(*args).stderr
    p = run(*args[:-1], "z=random")
    assert p.returncode == 1 and 'no input "z"' in p.stderr, p.stderr


@test
def symbolic_dimensions(folder):
    path = "tests/fuzz/corpus/onnx/folding"
    p = run("--run", path, "--device", "ref")
    assert p.returncode == 1 and '"batch"' in p.stderr, p.stderr
    for dim in ("batch=2", "2"):
        assert "h [1,2] f32" in good("--run", path, "--device", "ref", "--dim", dim)


@test
def failures_are_told(folder):
    out = os.path.join(folder, "o.onnx")
    for args, word in (
        (("--info", "/nonexistent.onnx"), "No such file"),
        (("--info", "Makefile"), "not an ONNX file"),
        (("--run", "tests/fuzz/corpus/onnx/cut-short", "--device", "ref"), "not an ONNX file"),
        (("--run", "tests/fuzz/corpus/onnx/pictures", "--device", "cl77"), "cl77"),
        (("--model", "gaze_vit", "/nonexistent", out), "/nonexistent"),
        (("/nonexistent.onnx", out), "No such file"),
    ):
        p = run(*args)
        assert p.returncode == 1 and word in p.stderr and p.stderr.startswith("npu-convert: "), (args, p.returncode, p.stderr)
    assert not os.path.exists(out)


@test
def wrong_arguments(folder):
    for args in ((), ("a.onnx",), ("a.txt", "b.onnx"), ("a.onnx", "b.txt"), ("--what",), ("--batch", "0", "--model", "gaze_vit", "a", "b.onnx"),
                 ("--info", "a", "--run", "b"), ("--run", "a", "b"), ("--dim", "x=y", "--run", "a"), ("--model", "nothing", "a", "b.onnx"), ("--input", "x", "--run", "a")):
        assert run(*args).returncode == 2, args
    assert "usage: npu-convert" in good("--help")
    assert good("--version").startswith("npu-convert ")


def main():
    failed = 0
    print(f"1..{len(tests)}")
    for i, f in enumerate(tests, 1):
        try:
            with tempfile.TemporaryDirectory() as folder:
                skip = f(folder)
            print(f"ok {i} - {f.__name__}" + (f" # SKIP {skip}" if skip else ""))
        except Exception as e:  # each failure is reported, the rest still runs
            failed += 1
            print(f"not ok {i} - {f.__name__}\n# " + repr(e).replace("\n", " ")[:600])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
