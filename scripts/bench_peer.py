#!/usr/bin/env python3
"""One other runtime with one network, measured at the word of scripts/bench.py: speaks as npu-bench --serve does.

usage: bench_peer.py RUNTIME PRECISION FOLDER --threads N [--outputs DIR] [--batch N]
       bench_peer.py products any none --threads N

RUNTIME: onnxruntime, openvino, torch (networks); train (gaze_vit's step in torch). FOLDER is one of bench_networks.py's.
Prints {"ready": ...} or {"unavailable": why} and then answers "run N WARM-UP". `products` answers "open RUNTIME PRECISION
FOLDER OUTPUTS", with RUNTIME onednn, mkl or openblas, by {"case": K}, then "run N WARM-UP K" and "close K".
Runs in the environment of bench_env.py."""
import argparse
import glob
import json
import os
import shlex
import sys
import time


class Unavailable(Exception):
    pass


def arrays(folder):
    """The arrays of a folder by the names of their files."""
    import numpy

    return {os.path.basename(p)[:-4]: numpy.load(p) for p in sorted(glob.glob(os.path.join(folder, "*.npy")))}


def file_name(name):
    name = name.replace("/", "_")
    return "_" + name[1:] if name.startswith(".") else name


# ---- networks: each returns a function that runs once, one that gives its outputs by name, and one that takes other inputs
# from a folder ----
def onnxruntime_network(a):
    import onnxruntime

    if a.precision == "bf16":
        raise Unavailable("onnxruntime has no bf16 on x86 processors")
    path = {"f32": "net.onnx", "int8": "int8.onnx", "int8-dynamic": "int8-dynamic.onnx"}[a.precision]
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = a.threads
    o.inter_op_num_threads = 1
    s = onnxruntime.InferenceSession(os.path.join(a.folder, path), o, providers=["CPUExecutionProvider"])
    feeds = {}

    def feed(folder):
        found = arrays(folder)
        feeds.update({i.name: found[file_name(i.name)] for i in s.get_inputs()})
    names = [x.name for x in s.get_outputs()]
    return lambda: s.run(None, feeds), lambda y: dict(zip(names, y)), feed


def openvino_network(a):
    import openvino

    core = openvino.Core()
    if a.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Unavailable("the processor has no bf16 instructions")
    model = core.read_model(os.path.join(a.folder, "int8.onnx" if a.precision == "int8" else "net.onnx"))
    compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": a.threads, "NUM_STREAMS": 1,
                                                 "INFERENCE_PRECISION_HINT": "bf16" if a.precision == "bf16" else "f32"})
    feeds = {}

    def feed(folder):
        found = arrays(folder)
        feeds.update({p.get_any_name(): found[file_name(p.get_any_name())] for p in model.inputs})
    names = [p.get_any_name() for p in model.outputs]
    request = compiled.create_infer_request()
    return (lambda: request.infer(feeds, share_inputs=True, share_outputs=True),
            lambda y: {name: y[compiled.output(i)] for i, name in enumerate(names)}, feed)


def bf16_in_torch():
    import torch

    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def torch_network(a):
    import torch

    import bench_networks

    if a.precision == "bf16" and not bf16_in_torch():
        raise Unavailable("the processor has no bf16 instructions")
    torch.set_num_threads(a.threads)
    net = bench_networks.torch_network(bench_networks.split(os.path.basename(a.folder))[0])
    dtype = torch.bfloat16 if a.precision == "bf16" else torch.float32
    net = net.to(dtype=dtype, memory_format=torch.channels_last)
    feeds = {}

    def feed(folder):
        feeds["x"] = torch.from_numpy(arrays(folder)["x"]).to(dtype=dtype, memory_format=torch.channels_last)

    def run():
        with torch.inference_mode():
            return net(feeds["x"])
    return run, lambda y: {"y": y.float().numpy()}, feed


# ---- products ----
def operands(a):
    found = arrays(os.path.join(a.folder, a.precision))
    return found, sum(name[0] == "w" for name in found)


def onednn_product(a):
    """oneDNN through torch, weights packed beforehand."""
    import torch

    torch.set_num_threads(a.threads)
    found, count = operands(a)
    t = {k: torch.from_numpy(v) for k, v in found.items()}
    if a.precision == "int8":
        return onednn_int8(t, count)
    if a.precision == "bf16" and not bf16_in_torch():
        raise Unavailable("oneDNN has no bf16 for processors without AVX-512")
    dtype = torch.bfloat16 if a.precision == "bf16" else torch.float32
    x = t["x"].to(dtype)
    w = [torch.ops.mkldnn._reorder_linear_weight(t[f"w{i}"].T.contiguous().to(dtype), x.shape[0]) for i in range(count)]
    b = [t[f"b{i}"].to(dtype) for i in range(count)]
    run = lambda: [torch.ops.mkldnn._linear_pointwise(x, w[i], b[i], "none", [], "") for i in range(count)]
    return run, lambda y: {f"y{i}": v.float().numpy() for i, v in enumerate(y)}


def onednn_int8(t, count):
    import torch

    x = (t["x"].to(torch.int16) + 128).to(torch.uint8)
    w = [torch.ops.onednn.qlinear_prepack(t[f"w{i}"].T.contiguous(), list(x.shape)) for i in range(count)]
    n = t["b0"].shape[0]
    ones, zeros = torch.ones(n), torch.zeros(n, dtype=torch.int64)
    b = [t[f"b{i}"].float() for i in range(count)]
    scale = 2.0 ** 24 / float(t["scale0"][0])
    run = lambda: [torch.ops.onednn.qlinear_pointwise(x, 1.0, 128, w[i], ones, zeros, b[i], scale, 128, torch.uint8, "none", [], "")
                   for i in range(count)]
    return run, lambda y: {f"y{i}": (v.to(torch.int16) - 128).to(torch.int8).numpy() for i, v in enumerate(y)}


def mkl_product(a):
    """torch's own way for f32 on x86: Intel's MKL."""
    import torch

    torch.set_num_threads(a.threads)
    found, count = operands(a)
    t = {k: torch.from_numpy(v) for k, v in found.items()}
    x, w = t["x"], [t[f"w{i}"] for i in range(count)]
    b = [t.get(f"b{i}") for i in range(count)]

    def run():
        with torch.inference_mode():
            return [x @ w[i] if b[i] is None else torch.addmm(b[i], x, w[i]) for i in range(count)]
    return run, lambda y: {f"y{i}": v.numpy() for i, v in enumerate(y)}


def openblas_product(a):
    """NumPy's OpenBLAS; OPENBLAS_NUM_THREADS must be set before."""
    import numpy

    found, count = operands(a)
    x, w = found["x"], [found[f"w{i}"] for i in range(count)]
    y = [numpy.empty((x.shape[0], w[0].shape[1]), numpy.float32) for _ in range(count)]
    return lambda: [numpy.matmul(x, w[i], out=y[i]) for i in range(count)], lambda y: {f"y{i}": v for i, v in enumerate(y)}


# ---- training ----
def train(a):
    import bench_train

    if a.precision == "bf16" and not bf16_in_torch():
        raise Unavailable("the processor has no bf16 instructions")
    return bench_train.step(a.batch, a.threads, a.precision == "bf16", a.compiled)


NETWORKS = {"onnxruntime": onnxruntime_network, "openvino": openvino_network, "torch": torch_network}
PRODUCTS = {"onednn": onednn_product, "mkl": mkl_product, "openblas": openblas_product}


def say(what):
    print(json.dumps(what), flush=True)


def save(folder, result):
    """The outputs as npu-bench writes them."""
    import numpy

    os.makedirs(folder, exist_ok=True)
    for name, y in result.items():
        numpy.save(os.path.join(folder, file_name(name) + ".npy"), numpy.ascontiguousarray(y))


def measure(run, count, warm):
    for _ in range(warm):
        run()
    ms, cpu = [], time.process_time()
    for _ in range(count):
        start = time.perf_counter()
        run()
        ms.append(round(1e3 * (time.perf_counter() - start), 5))
    say({"cpu_ms": 1e3 * (time.process_time() - cpu) / count, "ms": ms})


def network(a):
    """Runs all inputs once, the further ones in the folders 1, 2, ... first; writes what comes out where --outputs says."""
    run, outputs, feed = NETWORKS[a.runtime](a)
    inputs = os.path.join(a.folder, "inputs")
    result = {}
    for k in sorted(n for n in os.listdir(inputs) if n.isdigit()) + [""]:
        feed(os.path.join(inputs, k))
        result = outputs(run())
        if a.outputs:
            save(os.path.join(a.outputs, k), result)
    return run, result


def train_step(a):
    run, outputs = train(a)
    return run, outputs(run())


def serve(run):
    for line in sys.stdin:
        words = line.split()
        measure(run, int(words[1]), int(words[2]) if len(words) > 2 else 0)


def serve_products(a):
    """Many products in one process, as loading torch takes longer than they do."""
    say({"ready": True})
    cases, opened = {}, 0
    for line in sys.stdin:
        command, *words = shlex.split(line)
        if command == "run":
            measure(cases[words[2]], int(words[0]), int(words[1]))
        elif command == "close":
            del cases[words[0]]
            say({})
        else:
            runtime, a.precision, a.folder, folder = words
            try:
                run, outputs = PRODUCTS[runtime](a)
                save(folder, outputs(run()))
            except Unavailable as e:
                say({"unavailable": str(e)})
                continue
            opened += 1
            cases[str(opened)] = run
            say({"case": str(opened)})


def main():
    p = argparse.ArgumentParser()
    p.add_argument("runtime", choices=[*NETWORKS, "train", "products"])
    p.add_argument("precision")
    p.add_argument("folder")
    p.add_argument("--threads", type=int, required=True)
    p.add_argument("--outputs")
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--compiled", action="store_true")
    a = p.parse_args()
    a.folder = a.folder.rstrip("/")
    if a.runtime == "products":
        serve_products(a)
        return
    try:
        run, result = train_step(a) if a.runtime == "train" else network(a)
    except Unavailable as e:
        say({"unavailable": str(e)})
        return
    say({"ready": True, **({k: v for k, v in result.items() if isinstance(v, int)} if a.runtime == "train" else {})})
    serve(run)


if __name__ == "__main__":
    main()
