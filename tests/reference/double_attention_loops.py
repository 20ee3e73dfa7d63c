"""Slow truth for double attention: the paper's equations as loops over positions and maps, on plain tensors.

Chen, Kalantidis, Li, Yan, Feng: "A²-Nets: Double Attention Networks" (NeurIPS 2018, arXiv 1810.11579), section 3.
"""

import torch
from torch import Tensor

from tests.reference.context_loops import FeatureMap, Linear, each_sample, linear, softmax


def double_attention(
    x: Tensor,
    *,
    phi: Linear,
    theta: Tensor,
    rho: Linear,
    expand: Linear,
    batch_norm: tuple[Tensor, Tensor, Tensor, Tensor] | None,
) -> Tensor:
    """Gather, distribute, expand, add.

    Args:
        theta: (n, C), one key for each of the n maps.
        batch_norm: γ, β, mean and variance of the BatchNorm at the end, as in evaluation.
    """

    def block(x: FeatureMap) -> FeatureMap:
        features = {j: linear(phi, x_j) for j, x_j in x.items()}
        descriptors = []  # n vectors (m,)
        for key in theta:
            weights = softmax([key @ x_j for x_j in x.values()])  # over the positions
            descriptors.append(sum(weight * features[j] for weight, j in zip(weights, x, strict=True)))
        z = {}
        for i, x_i in x.items():
            shares = softmax(list(linear(rho, x_i)))  # over the maps
            y = linear(expand, sum(share * g for share, g in zip(shares, descriptors, strict=True)))
            if batch_norm is not None:
                gamma, beta, mean, variance = batch_norm
                y = (y - mean) / torch.sqrt(variance + 1e-5) * gamma + beta
            z[i] = x_i + y
        return z

    return each_sample(x, block)
