"""Slow truth for the self-calibrated convolution: its sums written out, on plain tensors.

Liu, Hou, Cheng, Wang, Feng: "Improving Convolutional Networks with Self-Calibrated Convolutions" (CVPR 2020),
section 3.1, equations 2 to 6.

Nothing here imports the package. x is (B, C, T, H, W).
"""

from itertools import product

import torch
from torch import Tensor

Triple = tuple[int, int, int]
BatchNorm = tuple[Tensor, Tensor, Tensor, Tensor]  # γ, β, mean, variance


def convolution(x: Tensor, weight: Tensor, *, stride: Triple = (1, 1, 1), groups: int = 1) -> Tensor:
    """y[o, p] = Σ over taps k and channels c of o's group of weight[o, c, k] x[c, stride · p + k - size // 2]."""
    sizes = weight.shape[2:]
    outside = [size // 2 for size in sizes]
    outs = [(n + 2 * pad - size) // s + 1 for n, pad, size, s in zip(x.shape[2:], outside, sizes, stride, strict=True)]
    padded = x.new_zeros(*x.shape[:2], *(n + 2 * pad for n, pad in zip(x.shape[2:], outside, strict=True)))
    inside = [slice(pad, pad + n) for n, pad in zip(x.shape[2:], outside, strict=True)]
    padded[(..., *inside)] = x
    inputs, outputs = weight.shape[1], weight.shape[0] // groups  # channels of a group
    found = []
    for group in range(groups):
        kernel = weight[group * outputs : (group + 1) * outputs]
        y = x.new_zeros(x.shape[0], outputs, *outs)
        for tap in product(*(range(size) for size in sizes)):
            seen = [slice(k, k + s * (n - 1) + 1, s) for k, s, n in zip(tap, stride, outs, strict=True)]
            part = padded[(slice(None), slice(group * inputs, (group + 1) * inputs), *seen)]
            y = y + torch.einsum("oc,bcthw->bothw", kernel[(..., *tap)], part)
        found.append(y)
    return torch.cat(found, dim=1)


def batch_norm(x: Tensor, statistics: BatchNorm) -> Tensor:
    """With running statistics."""
    gamma, beta, mean, variance = (tensor.reshape(-1, 1, 1, 1) for tensor in statistics)
    return (x - mean) / torch.sqrt(variance + 1e-5) * gamma + beta


def average_pool(x: Tensor, pooling: Triple) -> Tensor:
    """Means of whole windows; what is left over at the far ends is seen by none."""
    pooled = x.new_zeros(*x.shape[:2], *(n // r for n, r in zip(x.shape[2:], pooling, strict=True)))
    for t, h, w in product(*(range(n) for n in pooled.shape[2:])):
        window = [slice(i * r, (i + 1) * r) for i, r in zip((t, h, w), pooling, strict=True)]
        pooled[:, :, t, h, w] = x[(..., *window)].mean((2, 3, 4))
    return pooled


def upsample(x: Tensor, sizes: Triple) -> Tensor:
    """Nearest: position i of n sees ⌊i · m / n⌋ of m."""
    y = x.new_zeros(*x.shape[:2], *sizes)
    for t, h, w in product(*(range(n) for n in sizes)):
        source = [i * m // n for i, m, n in zip((t, h, w), x.shape[2:], sizes, strict=True)]
        y[:, :, t, h, w] = x[(..., *source)]
    return y


def self_calibrated(
    x: Tensor,
    *,
    k1: Tensor,
    k2: Tensor,
    k3: Tensor,
    k4: Tensor,
    norm2: BatchNorm,
    norm3: BatchNorm,
    stride: Triple,
    groups: int,
    pooling: Triple,
) -> Tensor:
    half = x.shape[1] // 2
    a, b = x[:, :half], x[:, half:]
    coarse = batch_norm(convolution(average_pool(b, pooling), k2, groups=groups), norm2)
    gate = 1 / (1 + torch.exp(-(b + upsample(coarse, b.shape[2:]))))
    calibrated = batch_norm(convolution(b, k3, groups=groups), norm3) * gate
    return torch.cat(
        [
            convolution(a, k1, stride=stride, groups=groups),
            convolution(calibrated, k4, stride=stride, groups=groups),
        ],
        dim=1,
    )
