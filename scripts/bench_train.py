"""gaze_vit as torch would have it, and a step of its training: the architecture of models/gaze_vit_net.c, the loss and the
AdamW of npu-bench --train. Runs in the environment of bench_env.py."""
import math

import torch
from torch import nn
from torch.nn import functional

WIDTH, HEADS, BLOCKS, MLP_RATIO, TOKENS, FEATURES = 128, 4, 3, 2, 48, 16
ROWS, COLUMNS, EYE_SEEN = 128, 96, 128  # two windows of 64 x 96, one above the other


class Conv(nn.Module):
    """Convolution, batch norm, and ReLU after what is added."""

    def __init__(self, channels_in, channels, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.02)

    def forward(self, x, residual=None):
        x = self.norm(self.conv(x))
        return functional.relu(x if residual is None else x + residual)


class Stem(nn.Module):
    """Two eyes, each a picture of its own, to 24 tokens each: stride 16."""

    def __init__(self):
        super().__init__()
        self.stem2, self.stem4, self.stem8, self.stem16 = Conv(1, 16, 2), Conv(16, 32, 2), Conv(32, 64, 2), Conv(64, WIDTH, 2)
        self.stem4_a, self.stem4_b = Conv(32, 32), Conv(32, 32)
        self.stem8_a, self.stem8_b = Conv(64, 64), Conv(64, 64)

    def forward(self, image):
        n = image.shape[0]
        x = self.stem4(self.stem2(image.reshape(2 * n, 1, ROWS // 2, COLUMNS).contiguous(memory_format=torch.channels_last)))
        x = self.stem4_b(self.stem4_a(x), x)
        x = self.stem8(x)
        x = self.stem16(self.stem8_b(self.stem8_a(x), x))
        return x.permute(0, 2, 3, 1).reshape(n, TOKENS, WIDTH)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp1, self.mlp2 = nn.Linear(WIDTH, MLP_RATIO * WIDTH), nn.Linear(MLP_RATIO * WIDTH, WIDTH)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, n, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        h = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c)
        x = x + self.out(h)
        return x + self.mlp2(functional.gelu(self.mlp1(self.norm2(x)), approximate="tanh"))


class GazeVit(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = Stem()
        self.pose1, self.pose2 = nn.Linear(3, 64), nn.Linear(64, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(WIDTH)
        self.eye, self.hidden1 = nn.Linear(TOKENS // 2 * WIDTH, EYE_SEEN), nn.Linear(2 * EYE_SEEN + 3, 256)
        self.hidden2, self.feature = nn.Linear(256, 128), nn.Linear(128, FEATURES)
        self.head, self.sigma = nn.Linear(FEATURES, 2), nn.Linear(FEATURES, 1)
        angle = torch.arange(TOKENS)[:, None] / 10000 ** (torch.arange(WIDTH) // 2 * 2 / WIDTH)
        even = torch.arange(WIDTH) % 2 == 0
        self.register_buffer("position", torch.where(even, torch.sin(angle), torch.cos(angle)))
        nn.init.constant_(self.sigma.bias, -2)

    def forward(self, image, pose):
        x = self.tokens(image) + self.position
        x = x + self.pose2(functional.gelu(self.pose1(pose), approximate="tanh"))[:, None]
        for block in self.blocks:
            x = block(x)
        n = image.shape[0]
        x = functional.gelu(self.eye(self.norm(x).reshape(2 * n, -1)), approximate="tanh").reshape(n, -1)
        x = functional.gelu(self.hidden1(torch.cat([x, pose], 1)), approximate="tanh")
        feature = self.feature(functional.gelu(self.hidden2(x), approximate="tanh"))
        return self.head(feature), self.sigma(feature)


def loss_of(angles, log_sigma, target):
    """L1 of the angles and the likelihood of Laplace's distribution, as models/tool/bench_train.c has them."""
    error = (angles - target).abs()
    return 5.73 * error.mean() + 0.1 * (error * torch.exp(-log_sigma) + log_sigma).mean()


def step(batch, threads, bf16, compiled):
    """(run, outputs) of scripts/bench_peer.py: a run is a whole step of training."""
    torch.manual_seed(1)
    torch.set_num_threads(threads)
    net = GazeVit().to(memory_format=torch.channels_last).train()
    decayed = [p for p in net.parameters() if p.ndim >= 2]
    plain = [p for p in net.parameters() if p.ndim < 2]
    optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0}],
                                  lr=1e-4, betas=(0.9, 0.99), eps=1e-8, fused=True)
    image = torch.randn(batch, 1, ROWS, COLUMNS).to(memory_format=torch.channels_last)
    pose, target = 0.2 * torch.randn(batch, 3), 0.2 * torch.randn(batch, 2)
    called = torch.compile(net) if compiled else net

    def run():
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            angles, log_sigma = called(image, pose)
        loss = loss_of(angles.float(), log_sigma.float(), target)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2)
        optimiser.step()
        return loss

    def outputs(loss):
        first = float(loss.detach())
        for _ in range(10):
            last = float(run().detach())
        if not (math.isfinite(last) and last < first):
            raise RuntimeError(f"the loss went from {first} to {last} in 10 steps")
        return {"parameters": sum(p.numel() for p in net.parameters())}
    return run, outputs
