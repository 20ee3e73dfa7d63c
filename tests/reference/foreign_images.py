"""Networks of images with blocks, as plain functions written from their definitions. Weights are made when asked for.

Facts, with where they were read:
- SE: timm's models/resnet.py (`seresnet50`: attn_layer 'se') and layers/squeeze_excite.py.
- SC: SCNet's scnet.py (`scnet50`).
- Res2Net: Res2Net-PretrainedModels' res2net.py, and timm's models/res2net.py, which has the same names.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCKS = (3, 4, 6, 3)


@dataclass
class ForeignImages:
    """A network of 50 layers with a quarter of the published channels: (B, 3, H, W) → (B, 7), in float64."""

    kind: Literal["SE", "SC", "Res2Net", "Res2NeXt"]
    width: int = 16
    weights: dict[str, Tensor] = field(default_factory=dict)
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))

    def __call__(self, image: Tensor) -> Tensor:
        x = self.norm(self.conv(image, "conv1", self.width, 7, 2), "bn1").relu()
        x = F.max_pool2d(x, 3, 2, 1)
        for s, blocks in enumerate(BLOCKS):
            for b in range(blocks):
                x = self.block(x, f"layer{s + 1}.{b}", self.width * 2**s, 2 if s and not b else 1)
        return x.mean(dim=(2, 3)) @ self.get("fc.weight", 7, x.shape[1]).T + self.get("fc.bias", 7)

    def block(self, x: Tensor, key: str, inner: int, stride: int) -> Tensor:
        branch = {"SE": self.plain, "SC": self.self_calibrated}.get(self.kind, self.res2net)
        first = stride > 1 or x.shape[1] != 4 * inner
        y = self.norm(self.conv(branch(x, key, inner, stride, first), f"{key}.conv3", 4 * inner, 1), f"{key}.bn3")
        if self.kind == "SE":
            gate = self.conv(y.mean(dim=(2, 3), keepdim=True), f"{key}.se.fc1", inner // 4, 1, bias=True).relu()
            y = y * torch.sigmoid(self.conv(gate, f"{key}.se.fc2", 4 * inner, 1, bias=True))
        if first:
            x = self.norm(self.conv(x, f"{key}.downsample.0", 4 * inner, 1, stride), f"{key}.downsample.1")
        return (x + y).relu()

    def plain(self, x: Tensor, key: str, inner: int, stride: int, _: bool) -> Tensor:
        x = self.norm(self.conv(x, f"{key}.conv1", inner, 1), f"{key}.bn1").relu()
        return self.norm(self.conv(x, f"{key}.conv2", inner, 3, stride), f"{key}.bn2").relu()

    def self_calibrated(self, x: Tensor, key: str, inner: int, stride: int, _: bool) -> Tensor:
        half = inner // 2
        a, b = (self.norm(self.conv(x, f"{key}.conv1_{n}", half, 1), f"{key}.bn1_{n}").relu() for n in "ab")
        a = self.norm(self.conv(a, f"{key}.k1.0", half, 3, stride), f"{key}.k1.1").relu()
        sc = f"{key}.scconv"
        coarse = self.norm(self.conv(F.avg_pool2d(b, 4, 4), f"{sc}.k2.1", half, 3), f"{sc}.k2.2")
        gate = torch.sigmoid(b + F.interpolate(coarse, b.shape[2:]))
        b = self.norm(self.conv(b, f"{sc}.k3.0", half, 3), f"{sc}.k3.1") * gate
        b = self.norm(self.conv(b, f"{sc}.k4.0", half, 3, stride), f"{sc}.k4.1").relu()
        return torch.cat([a, b], dim=1)

    def res2net(self, x: Tensor, key: str, inner: int, stride: int, first: bool) -> Tensor:
        groups = 8 if self.kind == "Res2NeXt" else 1
        part = inner * 4 // 64 * groups if groups > 1 else inner * 26 // 64
        parts = self.norm(self.conv(x, f"{key}.conv1", 4 * part, 1), f"{key}.bn1").relu().split(part, dim=1)
        outputs: list[Tensor] = []
        for i in range(3):
            seen = parts[i] if first or i == 0 else parts[i] + outputs[-1]
            y = self.conv(seen, f"{key}.convs.{i}", part, 3, stride, groups)
            outputs.append(self.norm(y, f"{key}.bns.{i}").relu())
        outputs.append(F.avg_pool2d(parts[3], 3, stride, 1) if first else parts[3])
        return torch.cat(outputs, dim=1)

    def conv(self, x: Tensor, key: str, out: int, size: int, stride: int = 1, groups: int = 1, *, bias=False) -> Tensor:
        weight = self.get(f"{key}.weight", out, x.shape[1] // groups, size, size)
        return F.conv2d(x, weight, self.get(f"{key}.bias", out) if bias else None, stride, size // 2, groups=groups)

    def norm(self, x: Tensor, key: str) -> Tensor:
        mean, variance, gamma, beta = (
            self.get(f"{key}.{part}", x.shape[1], low=low)
            for part, low in (("running_mean", -0.5), ("running_var", 0.5), ("weight", 0.2), ("bias", -0.5))
        )
        self.weights.setdefault(f"{key}.num_batches_tracked", torch.tensor(7))
        return F.batch_norm(x, mean, variance, gamma, beta)

    def get(self, name: str, *shape: int, low: float | None = None) -> Tensor:
        if name not in self.weights:
            if low is None:
                scale = (2 / max(torch.Size(shape[1:]).numel(), 1)) ** 0.5
                made = torch.randn(shape, generator=self.generator, dtype=torch.float64) * scale
            else:
                made = torch.rand(shape, generator=self.generator, dtype=torch.float64) + low
            self.weights[name] = made.float().double()
        return self.weights[name]
