"""Slow truth for disentangled Non-local: the paper's equation as loops over pairs of positions, on plain tensors.

Yin, Yao, Cao, Li, Zhang, Lin, Hu: "Disentangled Non-Local Neural Networks" (ECCV 2020, arXiv 2006.06668).
"""

import torch
from torch import Tensor

from tests.reference.context_loops import FeatureMap, Linear, each_sample, linear, max_pool, softmax


def disentangled_non_local(
    x: Tensor,
    *,
    theta: Tensor,
    phi: Tensor,
    mask: Tensor,
    g: Linear,
    w_z: Linear,
    temperature: float,
    subsample: str,
    batch_norm: tuple[Tensor, Tensor, Tensor, Tensor] | None,
) -> Tensor:
    """Σⱼ (softmaxⱼ((θᵢ - μ_θ)·(φⱼ - μ_φ) / (τ√d)) + softmaxⱼ(w·xⱼ)) g(xⱼ), expanded and added.

    Args:
        theta, phi: (d, C).
        mask: w, (C,), the key of the unary term.
        batch_norm: γ, β, mean and variance of the BatchNorm after W_z, as in evaluation.
    """

    def block(x: FeatureMap) -> FeatureMap:
        source = max_pool(x) if subsample == "input" else x
        queries = {i: theta @ x_i for i, x_i in x.items()}
        keys = {j: phi @ x_j for j, x_j in source.items()}
        values = [linear(g, x_j) for x_j in source.values()]
        mean_query, mean_key = sum(queries.values()) / len(queries), sum(keys.values()) / len(keys)
        saliency = softmax([mask @ x_j for x_j in source.values()])
        divisor = temperature * len(theta) ** 0.5
        z = {}
        for i, x_i in x.items():
            pairwise = softmax([(queries[i] - mean_query) @ (key - mean_key) / divisor for key in keys.values()])
            y = sum((pair + unary) * v for pair, unary, v in zip(pairwise, saliency, values, strict=True))
            y = linear(w_z, y)
            if batch_norm is not None:
                gamma, beta, mean, variance = batch_norm
                y = (y - mean) / torch.sqrt(variance + 1e-5) * gamma + beta
            z[i] = x_i + y
        return z

    return each_sample(x, block)
