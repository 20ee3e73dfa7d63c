"""Slow truth for channel-separated convolutions: every output by itself, on plain tensors.

Tran, Wang, Torresani, Feiszli: "Video Classification with Channel-Separated Convolutional Networks" (ICCV 2019, arXiv
1904.02811), section 3.3 and figure 2.

Nothing here imports the package. x is (B, C, T, H, W).
"""

from collections.abc import Mapping
from itertools import product

import torch
from torch import Tensor

Triple = tuple[int, int, int]


def depthwise(x: Tensor, weight: Tensor, stride: Triple) -> Tensor:
    """weight is (C, 1, t, h, w): channel c sees channel c alone. Positions outside the clip are zero."""
    kernel = weight.shape[2:]
    sizes = [(n - 1) // s + 1 for n, s in zip(x.shape[2:], stride, strict=True)]
    y = x.new_zeros(*x.shape[:2], *sizes)
    for out in product(*map(range, sizes)):
        for tap in product(*map(range, kernel)):
            seen = [o * s + k - size // 2 for o, s, k, size in zip(out, stride, tap, kernel, strict=True)]
            if all(0 <= i < n for i, n in zip(seen, x.shape[2:], strict=True)):
                for c in range(x.shape[1]):
                    y[:, c, out[0], out[1], out[2]] += weight[c, 0, tap[0], tap[1], tap[2]] * x[:, c, *seen]
    return y


def preserved(x: Tensor, tensors: Mapping[str, Tensor], stride: Triple, eps: float) -> Tensor:
    """A 1×1×1 convolution over the channels, its norm, and the depthwise convolution. No ReLU between."""
    mixed = torch.zeros_like(x)
    weight = tensors["pointwise.weight"]
    for c in range(x.shape[1]):
        for other in range(x.shape[1]):
            mixed[:, c] += weight[c, other, 0, 0, 0] * x[:, other]
    gamma, beta, mean, variance = (
        tensors[f"norm.{part}"].reshape(-1, 1, 1, 1) for part in ("weight", "bias", "running_mean", "running_var")
    )
    return depthwise((mixed - mean) / torch.sqrt(variance + eps) * gamma + beta, tensors["depthwise.weight"], stride)
