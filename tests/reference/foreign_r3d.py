"""Other projects' 3D ResNets as plain functions, written from their definitions. Weights are made when first asked for.

Facts, with where they were read:
- 3D-ResNets: 3D-ResNets-PyTorch's models/resnet.py, shortcuts of type B.
- CSN: mmaction2's backbones/resnet3d_csn.py, configs/_base_/models/ircsn_r152.py.
- R(2+1)D: mmaction2's models/common/conv2plus1d.py, backbones/resnet3d.py, configs/_base_/models/r2plus1d_r34.py.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Triple = tuple[int, int, int]
ONE: Triple = (1, 1, 1)
NUM_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 200: (3, 24, 36, 3)}


@dataclass
class ForeignR3D:
    """A network with an eighth of the published channels; (B, 3, T, H, W) → (B, 5), in float64."""

    project: Literal["3D-ResNets", "ir-CSN", "ip-CSN", "R(2+1)D"]
    depth: int
    weights: dict[str, Tensor] = field(default_factory=dict)
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))

    def __call__(self, clip: Tensor) -> Tensor:
        ours = self.project == "3D-ResNets"
        stem, inside = ("conv1", "bn1") if ours else ("backbone.conv1.conv", "backbone.conv1.bn"), not ours
        x = self.conv(clip.double(), stem[0], 8, (7, 7, 7) if ours else (3, 7, 7), (1, 2, 2))
        x = self.norm(x, stem[1]).relu()
        x = F.max_pool3d(x, 3, 2, 1) if ours else F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        for s, blocks in enumerate(NUM_BLOCKS[self.depth]):
            for b in range(blocks):
                block = f"layer{s + 1}.{b}" if ours else f"backbone.layer{s + 1}.{b}"
                x = self.block(x, block, 8 * 2**s, 2 if s and not b else 1, inside=inside)
        x = x.mean(dim=(2, 3, 4))
        head = "fc" if ours else "cls_head.fc_cls"
        weight, bias = self.get(f"{head}.weight", 5, x.shape[1]), self.get(f"{head}.bias", 5)
        return x @ weight.T + bias

    def block(self, x: Tensor, block: str, inner: int, stride: int, *, inside: bool) -> Tensor:
        deep = self.depth >= 50
        outer = inner * 4 if deep else inner

        def step(y: Tensor, n: int, channels: int, size: int, stride: int = 1) -> Tensor:
            if self.project.endswith("CSN") and n == 2:
                key = f"{block}.conv2.0"
                if self.project == "ip-CSN":
                    y = self.norm(self.conv(y, f"{key}.conv", channels, ONE), f"{key}.bn")
                    key = f"{block}.conv2.1"
                return self.norm(self.conv(y, f"{key}.conv", channels, (3, 3, 3), (stride,) * 3, channels), f"{key}.bn")
            conv, norm = (f"conv{n}.conv", f"conv{n}.bn") if inside else (f"conv{n}", f"bn{n}")
            return self.norm(self.conv(y, f"{block}.{conv}", channels, (size,) * 3, (stride,) * 3), f"{block}.{norm}")

        if deep:
            y = step(x, 1, inner, 1).relu()
            y = step(step(y, 2, inner, 3, stride).relu(), 3, outer, 1)
        else:
            y = step(step(x, 1, inner, 3, stride).relu(), 2, inner, 3)
        if stride > 1 or x.shape[1] != outer:
            names = ("downsample.conv", "downsample.bn") if inside else ("downsample.0", "downsample.1")
            x = self.norm(self.conv(x, f"{block}.{names[0]}", outer, ONE, (stride,) * 3), f"{block}.{names[1]}")
        return (x + y).relu()

    def conv(self, x: Tensor, key: str, out: int, kernel: Triple, stride: Triple = ONE, groups: int = 1) -> Tensor:
        if self.project != "R(2+1)D":
            weight = self.get(f"{key}.weight", out, x.shape[1] // groups, *kernel)
            return F.conv3d(x, weight, None, stride, [size // 2 for size in kernel], groups=groups)
        t, h, w = kernel
        middle = int(3 * (x.shape[1] * out * h * w) / (x.shape[1] * h * w + 3 * out))
        spatial = self.get(f"{key}.conv_s.weight", middle, x.shape[1], 1, h, w)
        temporal = self.get(f"{key}.conv_t.weight", out, middle, t, 1, 1)
        x = F.conv3d(x, spatial, None, (1, *stride[1:]), (0, h // 2, w // 2))
        x = self.norm(x, f"{key}.bn_s", eps=1e-5).relu()  # the config's ε is not for this one
        return F.conv3d(x, temporal, None, (stride[0], 1, 1), (t // 2, 0, 0))

    def norm(self, x: Tensor, key: str, eps: float | None = None) -> Tensor:
        eps = eps or (1e-5 if self.project == "3D-ResNets" else 1e-3)
        mean, variance, gamma, beta = (
            self.get(f"{key}.{part}", x.shape[1], low=low).reshape(-1, 1, 1, 1)
            for part, low in (("running_mean", -0.5), ("running_var", 0.05), ("weight", 0.1), ("bias", -0.5))
        )
        return (x - mean) / torch.sqrt(variance + eps) * gamma + beta

    def get(self, name: str, *shape: int, low: float | None = None) -> Tensor:
        if name not in self.weights:
            if low is None:
                scale = (2 / max(torch.Size(shape[1:]).numel(), 1)) ** 0.5
                made = torch.randn(shape, generator=self.generator, dtype=torch.float64) * scale
            else:
                made = torch.rand(shape, generator=self.generator, dtype=torch.float64) + low
            self.weights[name] = made
        return self.weights[name]
