"""Slow truth for the Res2Net bottleneck's branch: every step by itself, on plain tensors.

Gao, Cheng, Zhao, Zhang, Yang, Torr: "Res2Net: A New Multi-scale Backbone Architecture" (TPAMI 2021, arXiv
1904.01169), section 3.1, equation 1. The first block of a stage: res2net.py of the authors' Res2Net-PretrainedModels.

Nothing here imports the package. x is (B, C, T, H, W).
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

Triple = tuple[int, int, int]


def branch(x: Tensor, tensors: Mapping[str, Tensor], *, scale: int, first: bool, stride: Triple, groups: int) -> Tensor:
    """The names in `tensors` are conv1, norm1, convs.0 …, norms.0 …, conv3, norm3."""

    def conv(x: Tensor, name: str, stride: Triple = (1, 1, 1), groups: int = 1) -> Tensor:
        weight = tensors[f"{name}.weight"]
        return F.conv3d(x, weight, None, stride, [size // 2 for size in weight.shape[2:]], groups=groups)

    def norm(x: Tensor, name: str) -> Tensor:
        gamma, beta, mean, variance = (
            tensors[f"{name}.{part}"].reshape(-1, 1, 1, 1) for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / torch.sqrt(variance + 1e-5) * gamma + beta

    def relu(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, torch.zeros_like(x))

    x = relu(norm(conv(x, "conv1"), "norm1"))
    width = x.shape[1] // scale
    parts = {i: x[:, (i - 1) * width : i * width] for i in range(1, scale + 1)}  # x₁ … x_s
    y: dict[int, Tensor] = {}
    for i in range(1, scale):
        seen = parts[i]
        if i > 1 and not first:
            seen = parts[i] + y[i - 1]
        y[i] = relu(norm(conv(seen, f"convs.{i - 1}", stride, groups), f"norms.{i - 1}"))
    y[scale] = average_3x3(parts[scale], stride) if first else parts[scale]
    joined = x.new_zeros(x.shape[0], scale * width, *y[1].shape[2:])
    for i in range(1, scale + 1):
        joined[:, (i - 1) * width : i * width] = y[i]
    return norm(conv(joined, "conv3"), "norm3")


def average_3x3(x: Tensor, stride: Triple) -> Tensor:
    """A ninth of the sum everywhere: positions outside the frame count, as zeros."""
    frames, height, width = ((n - 1) // s + 1 for n, s in zip(x.shape[2:], stride, strict=True))
    y = x.new_zeros(*x.shape[:2], frames, height, width)
    for t in range(frames):
        for h in range(height):
            for w in range(width):
                for down in (-1, 0, 1):
                    for right in (-1, 0, 1):
                        row, column = h * stride[1] + down, w * stride[2] + right
                        if 0 <= row < x.shape[3] and 0 <= column < x.shape[4]:
                            y[:, :, t, h, w] += x[:, :, t * stride[0], row, column] / 9
    return y
