"""Slow truth for compact generalized Non-local: loops over all pairs of channels and positions, on plain tensors.

Yue, Sun, Yuan, Zhou, Ding, Xu: "Compact Generalized Non-local Network" (NeurIPS 2018, arXiv 1810.13125), section 3.
"""

import math

import torch
from torch import Tensor

from tests.reference.context_loops import Position, each_sample

Number = tuple[int, Position]  # a channel at a position


def dot(a: Tensor, b: Tensor) -> Tensor:
    return a * b


def gaussian_rbf(a: Tensor, b: Tensor, *, order: int, gamma: float) -> Tensor:
    """exp(-2γ) exp(2γab), its exponential as a Taylor series that ends with (2γab)^order / order!."""
    terms = [(2 * gamma * a * b) ** power / math.factorial(power) for power in range(order + 1)]
    return math.exp(-2 * gamma) * sum(terms)


def group_norm(y: dict[Number, Tensor], gamma: Tensor, beta: Tensor, num_groups: int) -> dict[Number, Tensor]:
    num_channels = len(gamma)
    normed = {}
    for group in range(num_groups):
        members = [number for number in y if number[0] * num_groups // num_channels == group]
        mean = sum(y[number] for number in members) / len(members)
        variance = sum((y[number] - mean) ** 2 for number in members) / len(members)
        for channel, i in members:
            normed[channel, i] = (y[channel, i] - mean) / torch.sqrt(variance + 1e-5) * gamma[channel] + beta[channel]
    return normed


def compact_non_local(
    x: Tensor,
    *,
    theta: Tensor,
    phi: Tensor,
    g: Tensor,
    w_z: Tensor,
    num_groups: int,
    kernel: str,
    order: int,
    group_norm_affine: tuple[Tensor, Tensor] | None,
    batch_norm: tuple[Tensor, Tensor, Tensor, Tensor] | None,
) -> Tensor:
    """Every number of a group attends to every other.

    Args:
        theta, phi, g: (C_inner, C).
        w_z: (C, C_inner / num_groups): a row meets the inner channels of its own group.
        group_norm_affine: γ and β, or None for `batch_norm`: γ, β, mean and variance, as in evaluation.
    """
    num_inner = len(theta)
    per_group, out_per_group = num_inner // num_groups, x.shape[1] // num_groups

    def weigh(a: Tensor, b: Tensor) -> Tensor:
        return dot(a, b) if kernel == "dot" else gaussian_rbf(a, b, order=order, gamma=1e-4)

    def block(x: dict[Position, Tensor]) -> dict[Position, Tensor]:
        projected = {}
        for name, weight in (("theta", theta), ("phi", phi), ("g", g)):
            projected[name] = {(c, i): weight[c] @ x_i for c in range(num_inner) for i, x_i in x.items()}
        y = {}
        for group in range(num_groups):
            channels = range(group * per_group, (group + 1) * per_group)
            members = [(c, i) for c in channels for i in x]
            for one in members:
                query = projected["theta"][one]
                y[one] = sum(weigh(query, projected["phi"][other]) * projected["g"][other] for other in members)
        expanded = {}
        for channel in range(len(w_z)):
            first = channel // out_per_group * per_group
            for i in x:
                expanded[channel, i] = sum(w_z[channel, c] * y[first + c, i] for c in range(per_group))
        if batch_norm is None:
            expanded = group_norm(expanded, *group_norm_affine, num_groups)
        else:
            gamma, beta, mean, variance = batch_norm
            for (c, i), value in expanded.items():
                expanded[c, i] = (value - mean[c]) / torch.sqrt(variance[c] + 1e-5) * gamma[c] + beta[c]
        return {i: x_i + torch.stack([expanded[c, i] for c in range(len(w_z))]) for i, x_i in x.items()}

    return each_sample(x, block)
