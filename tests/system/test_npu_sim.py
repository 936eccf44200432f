#!/usr/bin/env python3
"""The simulated NPU as a user meets it: operations and the product's networks against the reference, npu-explain's table and picture."""
import json
import math
import os
import subprocess
import tempfile
import xml.etree.ElementTree

import tap
from npu_ops_fixture import O, run

# Cases of operations that it has instructions for, when this was written: fewer means that it refuses more.
AT_LEAST = 570


def tool(name, *args):
    return subprocess.run([os.path.join(O, "bin", name), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)


def operations_agree_with_the_reference():
    for device in ("sim", "sim:16x16,wm=64K,im=64K,acc=32K,um=256K", "sim:8x8,wm=4K,im=4K,acc=4K,um=16K,ib=4,seed=5"):
        out = run("test", "--device", device)
        assert out["passed"] >= AT_LEAST, "%s: %d cases" % (device, out["passed"])
        refused = {r["op"] for r in out["results"] if "no instructions for operation" in r["text"]}
        assert not refused & {"matmul", "conv2d", "attention", "layer_norm", "softmax", "add", "max_pool", "resize", "reduce", "qconv2d"}, refused


def gazes(device):
    p = tool("gaze-analyze", "--device", device, "--model-dir", "models/weights", "--frames", "4", "--json", "samples/clip.mjpeg")
    assert p.returncode == 0, p.stderr
    return [json.loads(line)["gaze"]["vector"] for line in p.stdout.splitlines()]


def faces_look_the_same_way():
    """Finder, landmarks and gaze_vit in bf16 products: within 0.3 degrees of f32, as the mean over some frames (the
    committed weights: 0.13; one face's answer, not the mean error, which hardly moves)."""
    pairs = list(zip(gazes("ref"), gazes("sim:seed=3")))
    assert len(pairs) >= 4
    angles = [math.degrees(math.acos(min(1, sum(x * y for x, y in zip(a, b))))) for a, b in pairs]
    print("# mean angle between sim and ref: %.3f degrees" % (sum(angles) / len(angles)))
    assert sum(angles) / len(angles) <= 0.3, angles


def explain(model, device, *more):
    p = tool("npu-explain", model, "--device", device, "--json", *more)
    assert p.returncode == 0, p.stderr
    return json.loads(p.stdout)


def weights_of(model, folder, kind, *options):
    """A weight file that npu-quantize makes, with ranges from one picture of the clip: counts of cycles ask for no good ones."""
    picture, out = os.path.join(folder, "picture.jpg"), os.path.join(folder, kind + ".safetensors")
    with open("samples/clip.mjpeg", "rb") as f:
        jpeg = b"\xff\xd8\xff" + f.read().split(b"\xff\xd8\xff")[150]
    with open(picture, "wb") as f:
        f.write(jpeg)
    with open(os.path.join(folder, "list.txt"), "w") as f:
        f.write(picture + "\n")
    p = tool("npu-quantize", "models/weights/%s.safetensors" % model, "--calib", os.path.join(folder, "list.txt"), "--out", out, *options)
    assert p.returncode == 0, p.stderr
    return out


def layers_add_up():
    for model in ("gaze_vit", "landmarks", "face_finder"):
        n = explain(model, "sim")["npu"]
        layers = n["layers"]
        assert sum(l["taken"] for l in layers) == n["cycles"] == max(l["end"] for l in layers), model
        for key in ("read", "written", "products", "instructions"):
            assert sum(l[key] for l in layers) == n[key], (model, key)
        for unit, busy in n["busy"].items():
            assert sum(l["busy"][unit] for l in layers) == busy <= n["cycles"], (model, unit)
        assert 0.02 < n["utilisation"] <= 1 and all(0 <= l["utilisation"] <= 1 for l in layers)
        print("# %s: %.3f ms, array %.1f %% used" % (model, n["ms"], 100 * n["utilisation"]))


def measures_matter():
    base = explain("gaze_vit", "sim")["npu"]
    assert explain("gaze_vit", "sim:bw=51.2G")["npu"]["cycles"] < 0.8 * base["cycles"]
    assert explain("gaze_vit", "sim:8x8")["npu"]["cycles"] > base["cycles"]
    out = explain("gaze_vit", "sim:stay=0")["npu"]
    assert out["resident"]["values"] == 0 and base["resident"]["spilled_values"] == 0 and base["resident"]["values"] >= 30
    assert base["cycles"] < 0.7 * out["cycles"] and base["read"] + base["written"] < 0.4 * (out["read"] + out["written"])
    eight = explain("gaze_vit", "sim", "--batch", "8")["npu"]
    assert eight["products"] == 8 * base["products"] and eight["utilisation"] > base["utilisation"]


def weights_of_any_precision_count():
    base, given = (explain("gaze_vit", "sim", *more)["npu"] for more in ([], ["--weights", "models/weights/gaze_vit.safetensors"]))
    assert given == base
    with tempfile.TemporaryDirectory() as d:
        e = {kind: explain("gaze_vit", "sim", "--runs", "1", "--weights", weights_of("gaze_vit", d, kind, *options))
             for kind, options in (("static", []), ("dynamic", ["--dynamic"]), ("bf16", ["--bf16"]))}
    for kind, x in e.items():
        n = x["npu"]
        print("# %s: %d cycles, %.1f MiB read" % (kind, n["cycles"], n["read"] / 1048576))
        ops = {l["op"] for l in n["layers"]}
        assert ("qmatmul" in ops) == ("quantise" in ops or "quantise_dynamic" in ops) == (kind != "bf16"), (kind, ops)
    assert all(e[kind]["npu"]["read"] < 0.7 * base["read"] for kind in ("static", "dynamic"))
    assert e["bf16"]["npu"]["cycles"] < base["cycles"] < e["dynamic"]["npu"]["cycles"]
    for weights in ("models/weights/landmarks.safetensors", "/nonexistent"):
        p = tool("npu-explain", "gaze_vit", "--device", "sim", "--weights", weights)
        assert p.returncode == 1 and weights in p.stderr, p.stderr


def onnx_files_are_networks_too():
    with tempfile.TemporaryDirectory() as d:
        onnx, weights = os.path.join(d, "landmarks.onnx"), os.path.join(d, "w.safetensors")
        assert tool("npu-convert", "--model", "landmarks", "models/weights/landmarks.safetensors", onnx).returncode == 0
        assert tool("npu-convert", onnx, weights).returncode == 0
        of_file, named = explain(onnx, "sim")["npu"], explain("landmarks", "sim")["npu"]
        assert of_file["products"] == named["products"] and of_file["cycles"] < 1.05 * named["cycles"]
        assert explain(onnx, "sim", "--weights", weights)["npu"] == of_file
        with open(onnx, "r+b") as f:
            f.truncate(1000)
        for path in (onnx, os.path.join(d, "none.onnx")):
            p = tool("npu-explain", path, "--device", "sim")
            assert p.returncode == 1 and path in p.stderr, p.stderr


def the_picture_is_one():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "t.svg")
        p = tool("npu-explain", "gaze_vit", "--device", "sim", "--timeline", path)
        assert p.returncode == 0 and "cycles, " in p.stdout, p.stderr
        root = xml.etree.ElementTree.parse(path).getroot()
        texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
        assert {"load", "matrix", "vector", "store"} <= set(texts)
        assert "conv2d tokens.stem2.weight" in texts and any(t.startswith("gaze_vit, batch 1: ") for t in texts), texts[:10]
        assert len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) > 100
        assert tool("npu-explain", "gaze_vit", "--device", "ref", "--timeline", path).returncode == 1
    assert explain("gaze_vit", "ref")["npu"] is None
    assert tool("npu-explain").returncode == 2
    assert tool("npu-explain", "nothing").returncode == 2
    assert tool("npu-explain", "gaze_vit", "--device", "sim:1").returncode == 1


def the_program_is_one():
    """Both parts: text and binary are the same instructions, in order."""
    with tempfile.TemporaryDirectory() as d:
        for name in ("g.s", "g.npu"):
            p = tool("npu-explain", "gaze_vit", "--device", "sim", "--program", os.path.join(d, name))
            assert p.returncode == 0, p.stderr
        for part in ("g", "g.setup"):
            text, binary, back = (os.path.join(d, part + end) for end in (".s", ".npu", ".back"))
            assert tool("npu-asm", "asm", text, back).returncode == 0
            with open(binary, "rb") as f, open(back, "rb") as g:
                assert f.read() == g.read(), part
            assert tool("npu-asm", "check", text).returncode == 0
            with open(text) as f:
                lines = f.read().splitlines()
            assert any(" input " in l and l.endswith(" image") for l in lines) and any(" output " in l and l.endswith(" angles") for l in lines)
            assert tool("npu-asm", "dis", binary).stdout.splitlines() == [l for l in lines if l and l[0] not in "#."]
        assert tool("npu-explain", "gaze_vit", "--device", "ref", "--program", os.path.join(d, "r.s")).returncode == 1
        assert tool("npu-explain", "gaze_vit", "--device", "sim", "--program", "/nonexistent/r.s").returncode == 1
        assert tool("npu-explain", "gaze_vit", "--device", "sim", "--program", os.path.join(d, "r.txt")).returncode == 2


tap.run([operations_agree_with_the_reference, faces_look_the_same_way, layers_add_up, measures_matter, weights_of_any_precision_count, onnx_files_are_networks_too,
         the_picture_is_one, the_program_is_one])
