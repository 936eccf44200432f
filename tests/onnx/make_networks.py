#!/usr/bin/env python3
"""Makes the files of this folder: small networks of public kinds with random weights, exported by torch, and what
onnxruntime computes of them.

    python3 -m venv V && V/bin/pip install numpy onnx onnxruntime torch torchvision
    V/bin/python tests/onnx/make_networks.py
"""
import os

import numpy
import onnxruntime
import torch
import torchvision
from torchvision.models.resnet import BasicBlock, ResNet

FOLDER = os.path.dirname(os.path.abspath(__file__))


class NarrowResNet(ResNet):
    """ResNet with a sixteenth of the channels, and one block less at the end."""

    def __init__(self):
        super().__init__(BasicBlock, [2, 2, 2, 1], num_classes=10)
        self.conv1 = torch.nn.Conv2d(3, 4, 7, 2, 3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(32, 10)

    def _make_layer(self, block, planes, *args, **options):
        if planes == 64:
            self.inplanes = 4
        return super()._make_layer(block, planes // 16, *args, **options)


def mobilenet():
    net = torchvision.models.MobileNetV2(num_classes=10, width_mult=0.0625, round_nearest=4)
    last = net.features[-1][0]
    net.features[-1] = torchvision.ops.Conv2dNormActivation(last.in_channels, 64, 1, activation_layer=torch.nn.ReLU6)
    net.classifier[1] = torch.nn.Linear(64, 10)
    return net


def vit():
    net = torchvision.models.VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=32,
                                               mlp_dim=64, num_classes=10)
    torch.nn.init.normal_(net.heads.head.weight)  # zeros by default
    return net


def randomised(net):
    """Random statistics, so that no batch norm is the identity."""
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 1.5)
            m.weight.data.uniform_(0.5, 1.5)
            m.bias.data.normal_(0, 0.1)
    return net.eval()


def picture(size):
    """What tests/unit/test_onnx_public.c makes too, bit by bit."""
    i = numpy.arange(3 * size * size)
    return ((i * 37 + i // size * 11) % 101).astype(numpy.float32).reshape(1, 3, size, size) / 64 - numpy.float32(0.75)


def main():
    for name, make, size in (("resnet", NarrowResNet, 32), ("mobilenet_v2", mobilenet, 64), ("vit", vit, 32)):
        torch.manual_seed(1)
        net, path = randomised(make()), os.path.join(FOLDER, name + ".onnx")
        torch.onnx.export(net, (torch.zeros(1, 3, size, size),), path, input_names=["x"], output_names=["y"],
                          dynamo=False, opset_version=17)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        y = session.run(None, {session.get_inputs()[0].name: picture(size)})[0]
        with open(os.path.join(FOLDER, name + ".txt"), "w") as out:
            out.writelines("%.9g\n" % v for v in y.flatten())
        print(name, os.path.getsize(path), y.shape)


if __name__ == "__main__":
    main()
