#!/usr/bin/env python3
"""Makes what scripts/bench.py measures: networks as ONNX files, in f32 and quantised to int8 by onnxruntime, with inputs,
calibration inputs and onnxruntime's f32 outputs as the reference; and operands of matrix products.

usage: bench_networks.py --out DIR --bin DIR --weights DIR --clip FILE.mjpeg NAME...

A NAME is one of gazed's networks (gaze_vit, landmarks, face_finder; gaze_vit@4 with a batch), one of torchvision's with
random weights (vit_tiny, resnet34, mobilenet_v2, alexnet; mobilenet_v2@160 with another picture), or a product of
matrices (gemm:197x192x576*4). gazed's own see frames of the clip, as the product cuts them out; the others smooth random
pictures. Runs in the environment of bench_env.py. What is there already is kept."""
import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy

CALIBRATION = 8
COMPARED = 4  # random pictures whose outputs are compared; the first is timed
FRAMES = 40  # of the clip: half of them calibrate, the outputs of the others are compared
OURS = ("gaze_vit", "landmarks", "face_finder")
TRANSFORMERS = ("gaze_vit", "vit_tiny")
SIZES = {"vit_tiny": 224, "resnet34": 224, "mobilenet_v2": 224, "alexnet": 448}


def split(name):
    """'gaze_vit@4' -> ('gaze_vit', 4)"""
    base, _, number = name.partition("@")
    return base, int(number) if number else None


def torch_network(base):
    """The network with its random weights: the same on every call. Every layer matters and no batch norm is the identity."""
    import torch
    import torchvision

    torch.manual_seed(1)
    make = {
        "vit_tiny": lambda: torchvision.models.VisionTransformer(image_size=224, patch_size=16, num_layers=12, num_heads=3,
                                                                 hidden_dim=192, mlp_dim=768),
        "resnet34": lambda: torchvision.models.resnet34(weights=None),
        "mobilenet_v2": lambda: torchvision.models.mobilenet_v2(weights=None),
        "alexnet": lambda: torchvision.models.alexnet(weights=None),
    }
    net = make[base]()
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 1.5)
            m.weight.data.uniform_(0.5, 1.5)
            m.bias.data.normal_(0, 0.1)
    if base == "alexnet":
        net.avgpool = torch.nn.AvgPool2d(3, 2)  # the same for pictures of 448: 13 x 13 to 6 x 6; the other has no ONNX form
    if base == "vit_tiny":
        torch.nn.init.normal_(net.heads.head.weight, std=0.05)  # zeros by default
    return net.eval()


# ---- inputs ----
def picture(rng, n, h, w, c):
    """Smooth shapes with a little noise, mean 0 and deviation 1: [n, h, w, c]."""
    coarse = rng.standard_normal((n, h // 16 + 2, w // 16 + 2, c))
    y, x = numpy.linspace(0, coarse.shape[1] - 1.001, h), numpy.linspace(0, coarse.shape[2] - 1.001, w)
    iy, ix, fy, fx = y.astype(int), x.astype(int), (y % 1)[:, None, None], (x % 1)[None, :, None]
    rows = lambda i, j: coarse[:, i][:, :, j]
    smooth = (rows(iy, ix) * (1 - fx) + rows(iy, ix + 1) * fx) * (1 - fy) + (rows(iy + 1, ix) * (1 - fx) + rows(iy + 1, ix + 1) * fx) * fy
    p = smooth + 0.2 * rng.standard_normal(smooth.shape)
    return ((p - p.mean()) / p.std()).astype(numpy.float32)


def random_feeds(s):
    """Inputs to compare on and those that calibrate, for a network that takes pictures."""
    rng = numpy.random.default_rng(1)
    make = lambda n, c, h, w: numpy.ascontiguousarray(picture(rng, n, h, w, c).transpose(0, 3, 1, 2))
    feeds = [{i.name: make(*i.shape) for i in s.get_inputs()} for _ in range(COMPARED + CALIBRATION)]
    return feeds[:COMPARED], feeds[COMPARED:]


def frames_of(path, folder):
    """FRAMES frames, spread over an MJPEG file, as pictures."""
    with open(path, "rb") as f:
        parts = f.read().split(b"\xff\xd8\xff")[1:]
    for i in range(FRAMES):
        with open(os.path.join(folder, f"{i:03}.jpg"), "wb") as f:
            f.write(b"\xff\xd8\xff" + parts[i * len(parts) // FRAMES])


def clip_feeds(s, base, a):
    """What the product would give the network of the clip: each frame makes one input, or two (both looks of landmarks, the
    eyes and their mirror image)."""
    names = [(i.name, i.shape[0]) for i in s.get_inputs()]
    with tempfile.TemporaryDirectory() as d:
        frames, arrays = os.path.join(d, "frames"), os.path.join(d, "arrays")
        os.mkdir(frames)
        frames_of(a.clip, frames)
        tell([os.path.join(a.bin, "npu-quantize"), os.path.join(a.weights, base + ".safetensors"), "--calib", frames, "--write-inputs", arrays])
        count = len(os.listdir(arrays))
        samples = [{n: numpy.load(os.path.join(arrays, str(k), file_name(n) + ".npy")) for n, _ in names} for k in range(count)]
    of_frame = max(1, count // FRAMES)
    judge = [x for k, x in enumerate(samples) if k // of_frame % 2 == 0]
    calibrate = [x for k, x in enumerate(samples) if k // of_frame % 2]
    batches = [{n: numpy.concatenate([judge[(first + k) % len(judge)][n] for k in range(b)]) for n, b in names}
               for first in range(0, len(judge), names[0][1])]
    return batches, calibrate


def file_name(name):
    name = name.replace("/", "_")
    return "_" + name[1:] if name.startswith(".") else name


def write(folder, arrays):
    """DIR/NAME.npy, as npu-bench reads and writes them."""
    os.makedirs(folder, exist_ok=True)
    for name, a in arrays.items():
        numpy.save(os.path.join(folder, file_name(name) + ".npy"), a)


def tell(command):
    p = subprocess.run(command, capture_output=True, text=True)
    if p.returncode != 0:
        raise SystemExit(p.stderr.strip())


def session(path):
    import onnxruntime

    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, o, providers=["CPUExecutionProvider"])


# ---- quantised files ----
def dot_products():
    """Whether the processor multiplies u8 with s8 without saturating in between."""
    with open("/proc/cpuinfo") as f:
        text = f.read()
    return "vnni" in text or "asimddp" in text


def quantise(base, folder, samples):
    """Static int8 with calibration, and for transformers also with ranges found at run time."""
    from onnxruntime import quantization as q

    class Reader(q.CalibrationDataReader):
        def __init__(self):
            self.left = list(samples)

        def get_next(self):
            return self.left.pop(0) if self.left else None

    net, prepared, int8 = (os.path.join(folder, n) for n in ("net.onnx", "prepared.onnx", "int8.onnx"))
    q.shape_inference.quant_pre_process(net, prepared, skip_symbolic_shape=True)
    products = ["MatMul", "Gemm", "Conv"] if base in TRANSFORMERS else None
    options = {"per_channel": True, "reduce_range": not dot_products(), "weight_type": q.QuantType.QInt8}
    q.quantize_static(prepared, int8, Reader(), quant_format=q.QuantFormat.QDQ, activation_type=q.QuantType.QUInt8,
                      op_types_to_quantize=products, **options)
    if products:
        q.quantize_dynamic(prepared, os.path.join(folder, "int8-dynamic.onnx"), op_types_to_quantize=["MatMul", "Gemm"], **options)
    os.remove(prepared)


# ---- networks ----
def multiply_adds(path):
    """Of convolutions and products."""
    import onnx

    g = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    shape = {i.name: tuple(i.dims) for i in g.initializer}
    for v in list(g.value_info) + list(g.input) + list(g.output):
        shape[v.name] = tuple(d.dim_value for d in v.type.tensor_type.shape.dim)
    total = 0
    for n in g.node:
        out = numpy.prod(shape.get(n.output[0], (0,)), dtype=numpy.int64)
        if n.op_type == "Conv":
            total += out * numpy.prod(shape[n.input[1]][1:])
        elif n.op_type == "MatMul":
            total += out * shape.get(n.input[0], (0,))[-1]
        elif n.op_type == "Gemm":
            w, trans = shape[n.input[1]], any(a.name == "transB" and a.i for a in n.attribute)
            total += out * (w[1] if trans else w[0])
    return int(total)


def export(base, number, folder, a):
    path = os.path.join(folder, "net.onnx")
    if base in OURS:
        tell([os.path.join(a.bin, "npu-convert"), "--model", base, "--batch", str(number or 1), a.weights, path])
        return
    import torch

    size = number or SIZES[base]
    net = torch_network(base)
    torch.onnx.export(net, (torch.zeros(1, 3, size, size),), path, dynamo=False, opset_version=17, input_names=["x"], output_names=["y"])


def make_network(name, folder, a):
    base, number = split(name)
    export(base, number, folder, a)
    s = session(os.path.join(folder, "net.onnx"))
    feeds, calibrate = clip_feeds(s, base, a) if base in OURS else random_feeds(s)
    for k, feed in enumerate(feeds):
        further = str(k) if k else ""
        write(os.path.join(folder, "inputs", further), feed)
        write(os.path.join(folder, "reference", further), {o.name: y for o, y in zip(s.get_outputs(), s.run(None, feed))})
    for k, f in enumerate(calibrate):
        write(os.path.join(folder, "calib", str(k)), f)
    if number is None:
        quantise(base, folder, calibrate)
    return {"macs": multiply_adds(os.path.join(folder, "net.onnx")), "inputs": {i.name: i.shape for i in s.get_inputs()}}


# ---- products ----
def make_product(name, folder):
    """x [M, K], w [K, N] and b [N] in f32, bf16 (held as f32) and int8, with the results. int8: y = (x w + b) scale / 2^24."""
    size, _, count = name.partition(":")[2].partition("*")
    m, k, n = (int(t) for t in size.split("x"))
    count, weights = int(count or 1), name.startswith("gemm:")
    rng = numpy.random.default_rng(1)
    uniform = lambda *s: rng.uniform(-1, 1, s).astype(numpy.float32)
    x, ws, bs = uniform(m, k), [uniform(k, n) for _ in range(count)], [uniform(n) for _ in range(count)]
    halve = lambda a: ((a.view(numpy.uint32) + 0x8000) & 0xffff0000).astype(numpy.uint32).view(numpy.float32)
    for precision, f in (("f32", lambda a: a), ("bf16", halve)):
        arrays = {"x": f(x)}
        for i, (w, b) in enumerate(zip(ws, bs)):
            arrays[f"w{i}"] = f(w)
            if weights:
                arrays[f"b{i}"] = b
        write(os.path.join(folder, precision), arrays)
        product = lambda w, b: f(x).astype(numpy.float64) @ f(w) + (b if weights else 0)
        write(os.path.join(folder, precision, "reference"), {f"y{i}": product(w, b).astype(numpy.float32) for i, (w, b) in enumerate(zip(ws, bs))})
    if weights:
        make_int8_product(os.path.join(folder, "int8"), rng, m, k, n, count)
    return {"macs": m * k * n * count}


def make_int8_product(folder, rng, m, k, n, count):
    """Weights of 7 bits: with 8, oneDNN's sums saturate on processors without dot-product instructions."""
    scale = numpy.full(n, int(2 ** 24 * 40 / (k ** 0.5 * 73 * 37)), numpy.int32)
    arrays, reference = {"x": rng.integers(-127, 128, (m, k), dtype=numpy.int8)}, {}
    for i in range(count):
        w, b = rng.integers(-63, 64, (k, n), dtype=numpy.int8), rng.integers(-1000, 1000, n, dtype=numpy.int32)
        arrays.update({f"w{i}": w, f"b{i}": b, f"scale{i}": scale})
        total = (arrays["x"].astype(numpy.int64) @ w.astype(numpy.int64) + b) * scale
        reference[f"y{i}"] = numpy.clip((total + (1 << 23)) >> 24, -128, 127).astype(numpy.int8)
    write(folder, arrays)
    write(os.path.join(folder, "reference"), reference)


# ---- all of it ----
def stamp(name, a):
    """Changes with what the files are made from."""
    h = hashlib.sha256(name.encode())
    base = split(name)[0] if ":" not in name else ""
    for path in [__file__] + ([os.path.join(a.weights, base + ".safetensors"), a.clip] if base in OURS else []):
        with open(path, "rb") as f:
            h.update(f.read())
    return h.hexdigest()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--out", required=True)
    p.add_argument("--bin", required=True)
    p.add_argument("--weights", required=True)
    p.add_argument("--clip", required=True)
    p.add_argument("names", nargs="+")
    a = p.parse_args()
    for name in a.names:
        folder = os.path.join(a.out, name.replace(":", "_").replace("*", "_"))
        meta = os.path.join(folder, "meta.json")
        want = stamp(name, a)
        try:
            with open(meta) as f:
                if json.load(f)["stamp"] == want:
                    continue
        except (OSError, ValueError, KeyError):
            pass
        print(f"making {name}", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        made = make_product(name, folder) if ":" in name else make_network(name, folder, a)
        with open(meta, "w") as f:
            json.dump(dict(made, stamp=want), f)


if __name__ == "__main__":
    main()
