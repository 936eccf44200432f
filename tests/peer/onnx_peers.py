#!/usr/bin/env python3
"""ONNX import and export against onnxruntime and torch, for development: networks that torch exports with random weights
give onnxruntime's outputs here, and gazed's networks give ours there.

    python3 -m venv V && V/bin/pip install numpy onnx onnxscript onnxruntime torch torchvision
    O=build V/bin/python tests/peer/onnx_peers.py [network ...]

Says so and exits 0 where a package is missing."""
import os
import subprocess
import sys
import tempfile

O = os.environ.get("O", "build")
TOOL = os.path.join(O, "bin", "npu-convert")
BOUND = 1e-4  # of the largest output
DEVICES = os.environ.get("DEVICES", "ref cl").split()

try:
    import numpy
    import onnxruntime
    import torch
    import torchvision
except ImportError as missing:
    print(f"1..0 # SKIP {missing}: see the top of {sys.argv[0]}")
    sys.exit(0)

torch.manual_seed(1)
torch.set_num_threads(1)


def randomised(net):
    """Random weights and running statistics, so that no batch norm is the identity."""
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 1.5)
            m.weight.data.uniform_(0.5, 1.5)
            m.bias.data.normal_(0, 0.1)
    return net.eval()


class Odds(torch.nn.Module):
    """What the well-known networks leave out."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Conv2d(3, 8, 3, padding=2, dilation=2)
        self.prelu = torch.nn.PReLU(8)
        self.b = torch.nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False)
        self.norm = torch.nn.BatchNorm2d(8)
        self.c = torch.nn.Conv2d(8, 8, 1)
        self.line = torch.nn.Linear(8, 5)

    def forward(self, x):
        x = self.prelu(self.a(x))
        y = torch.nn.functional.hardswish(self.norm(self.b(x)))
        up = torch.nn.functional.interpolate(self.c(y), scale_factor=2, mode="nearest")
        wide = torch.nn.functional.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=False)
        z = torch.cat([x - up, wide * torch.sigmoid(up)], 1)
        first, second = torch.split(z, 8, 1)
        z = torch.nn.functional.leaky_relu(first, 0.1) + second.clamp(-0.3, 0.4) / 3
        z = torch.nn.functional.avg_pool2d(z, 3, 2, 1) + torch.nn.functional.max_pool2d(z, 3, 2, 1)
        z = torch.nn.functional.hardsigmoid(z) * torch.nn.functional.silu(z)
        t = self.line(z.flatten(2).transpose(1, 2)[:, 1:])
        return t.softmax(1).mean(1), torch.nn.functional.gelu(t, approximate="tanh"), z.mean((2, 3), keepdim=True)


def vit():
    net = torchvision.models.VisionTransformer(image_size=64, patch_size=16, num_layers=2, num_heads=4, hidden_dim=64,
                                               mlp_dim=128, num_classes=10)
    torch.nn.init.normal_(net.heads.head.weight)  # zeros by default
    return net


class FusedAttention(torch.nn.Module):
    """A block with packed q, k, v as many vision transformers have it."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.LayerNorm(48)
        self.qkv = torch.nn.Linear(48, 144)
        self.out = torch.nn.Linear(48, 48)
        self.mlp = torch.nn.Sequential(torch.nn.Linear(48, 96), torch.nn.GELU(), torch.nn.Linear(96, 48))

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, n, 3, 4, 12).permute(2, 0, 3, 1, 4).unbind(0)
        a = (q * 12 ** -0.5 @ k.transpose(-2, -1)).softmax(-1)
        x = x + self.out((a @ v).transpose(1, 2).reshape(b, n, c))
        return x + self.mlp(x)


NETWORKS = {
    "odds": (Odds, (2, 3, 20, 24)),
    "attention": (FusedAttention, (2, 17, 48)),
    "vit": (vit, (1, 3, 64, 64)),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(weights=None), (1, 3, 96, 96)),
    "mobilenet_v3": (lambda: torchvision.models.mobilenet_v3_small(weights=None), (1, 3, 96, 96)),
    "resnet18": (lambda: torchvision.models.resnet18(weights=None), (1, 3, 96, 96)),
    "resnet34": (lambda: torchvision.models.resnet34(weights=None), (1, 3, 96, 96)),
    "alexnet": (lambda: torchvision.models.alexnet(weights=None), (1, 3, 224, 224)),
}


def convert(*args):
    return subprocess.run([TOOL, *args], capture_output=True, text=True)


def compare(path, folder, device):
    """Worst difference between onnxruntime and npu-convert --run, relative to the largest output; with the last line."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    p = convert("--run", path, "--device", device, "--out", folder)
    if p.returncode != 0:
        raise RuntimeError(p.stderr.strip())
    file = lambda name: os.path.join(folder, name.replace("/", "_") + ".npy")
    feeds = {i.name: numpy.load(file(i.name)) for i in session.get_inputs()}
    worst = 0.0
    for out, want in zip(session.get_outputs(), session.run(None, feeds)):
        have = numpy.load(file(out.name))
        assert have.shape == want.shape, (have.shape, want.shape)
        worst = max(worst, float(numpy.abs(have - want).max() / max(numpy.abs(want).max(), 1e-6)))
    return worst, p.stdout.strip().splitlines()[-1]


def export(name, dynamo, path):
    make, shape = NETWORKS[name]
    torch.manual_seed(1)
    net, x = randomised(make()), torch.randn(*shape)
    if dynamo:
        torch.onnx.export(net, (x,), path, dynamo=True, external_data=False, verbose=False)
    else:
        torch.onnx.export(net, (x,), path, dynamo=False, opset_version=17)


def main():
    wanted = sys.argv[1:] or list(NETWORKS) + ["gaze_vit", "landmarks", "face_finder"]
    failed = count = 0
    for name in wanted:
        for dynamo in (False, True) if name in NETWORKS else (False,):
            for device in DEVICES:
                count += 1
                label = f"{name}{' (dynamo)' if dynamo else ''} on {device}"
                with tempfile.TemporaryDirectory() as folder:
                    path = os.path.join(folder, "net.onnx")
                    try:
                        if name in NETWORKS:
                            export(name, dynamo, path)
                        else:
                            p = convert("--model", name, "models/weights", path)
                            assert p.returncode == 0, p.stderr
                        worst, last = compare(path, folder, device)
                        good = worst <= BOUND
                        print(f"{'' if good else 'not '}ok {count} - {label}: {worst:.1e} ({last})", flush=True)
                    except Exception as e:  # each failure is reported, the rest still runs
                        good = False
                        print(f"not ok {count} - {label}\n# " + repr(e).replace("\n", " ")[:600], flush=True)
                    failed += not good
    print(f"1..{count}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
