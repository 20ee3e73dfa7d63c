"""Slow truth for CBAM: the paper's equations as loops over positions, on plain tensors.

Woo, Park, Lee, Kweon: "CBAM" (ECCV 2018, arXiv 1807.06521), equations 1 to 3. Nothing here imports the package.
"""

from functools import reduce as fold
from itertools import product

import torch
from torch import Tensor

from tests.reference.context_loops import FeatureMap, Linear, average, each_sample, linear, relu, sigmoid


def cbam(x: Tensor, *, reduce: Linear, expand: Linear, kernel: Tensor, batch_norm: tuple[Tensor, ...]) -> Tensor:
    """x is (B, C, *).

    Args:
        kernel: f (2, k_t, k_h, k_w), first for the maximum over the channels, then for their mean.
        batch_norm: γ, β, mean and variance of the BatchNorm after f, one number each.
    """
    gamma, beta, mean, variance = batch_norm
    half = [size // 2 for size in kernel.shape[1:]]

    def mlp(vector: Tensor) -> Tensor:
        return linear(expand, relu(linear(reduce, vector)))

    def block(x: FeatureMap) -> FeatureMap:
        maximum = fold(torch.maximum, x.values())
        channel = sigmoid(mlp(average(x)) + mlp(maximum))
        x = {i: x_i * channel for i, x_i in x.items()}
        pooled = {i: (max(x_i), sum(x_i) / len(x_i)) for i, x_i in x.items()}
        z = {}
        for i, x_i in x.items():
            y = 0
            for tap in product(*(range(size) for size in kernel.shape[1:])):
                offset = [place - center for place, center in zip(tap, half, strict=True)]
                if len(i) == 2:  # an image is a video of one frame
                    if offset[0] != 0:
                        continue
                    offset = offset[1:]
                j = tuple(place + step for place, step in zip(i, offset, strict=True))
                if j in pooled:  # zero beyond the border
                    y = y + kernel[(0, *tap)] * pooled[j][0] + kernel[(1, *tap)] * pooled[j][1]
            z[i] = x_i * sigmoid((y - mean) / torch.sqrt(variance + 1e-5) * gamma + beta)
        return z

    return each_sample(x, block)
