"""Slow truths for the context blocks: the papers' equations as loops over positions, on plain tensors.

Hu, Shen, Sun: "Squeeze-and-Excitation Networks" (CVPR 2018, arXiv 1709.01507), section 3.
Wang, Girshick, Gupta, He: "Non-local Neural Networks" (CVPR 2018, arXiv 1711.07971), equations 1 to 6.
Cao, Xu, Lin, Wei, Hu: "GCNet" (ICCVW 2019, arXiv 1904.11492), equations 3 and 4.

Nothing here imports the package. x is (B, C, *); a feature map is a dict from position, e.g. (t, h, w), to a vector
(C,). A linear map is (weight, bias), with weight (C_out, C_in).
"""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product

import torch
from torch import Tensor

Position = tuple[int, ...]
FeatureMap = dict[Position, Tensor]
Linear = tuple[Tensor, Tensor]


def positions(sizes: Sequence[int]) -> list[Position]:
    return list(product(*(range(size) for size in sizes)))


def each_sample(x: Tensor, block: Callable[[FeatureMap], FeatureMap]) -> Tensor:
    """Applies `block` to the feature map of every sample, by itself."""
    samples = []
    for sample in x:  # (C, *)
        z = block({position: sample[(slice(None), *position)] for position in positions(sample.shape[1:])})
        samples.append(torch.stack([z[position] for position in positions(sample.shape[1:])], dim=1))  # (C, N)
    return torch.stack(samples).reshape(x.shape)


def linear(layer: Linear, vector: Tensor) -> Tensor:
    weight, bias = layer
    return weight @ vector + bias


def sigmoid(y: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-y))


def relu(y: Tensor) -> Tensor:
    return torch.where(y > 0, y, torch.zeros_like(y))


def layer_norm(y: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    mean = sum(y) / len(y)
    variance = sum((value - mean) ** 2 for value in y) / len(y)
    return (y - mean) / torch.sqrt(variance + 1e-5) * gamma + beta


def softmax(logits: Sequence[Tensor]) -> list[Tensor]:
    powers = [torch.exp(logit) for logit in logits]
    return [power / sum(powers) for power in powers]


# One context for all positions ------------------------------------------------------------------------------------


def average(x: FeatureMap) -> Tensor:
    """SE, equation 2: (1 / N) Σⱼ xⱼ."""
    return sum(x.values()) / len(x)


def attention(x: FeatureMap, key: Tensor) -> Tensor:
    """GCNet, equation 3: Σⱼ exp(W_k xⱼ) / Σₘ exp(W_k xₘ) xⱼ; `key` is W_k as a vector (C,)."""
    weights = softmax([key @ x_j for x_j in x.values()])
    return sum(weight * x_j for weight, x_j in zip(weights, x.values(), strict=True))


def squeeze_excitation(x: Tensor, *, reduce: Linear, expand: Linear) -> Tensor:
    """SE, equations 2 to 4."""

    def block(x: FeatureMap) -> FeatureMap:
        s = sigmoid(linear(expand, relu(linear(reduce, average(x)))))
        return {i: x_i * s for i, x_i in x.items()}

    return each_sample(x, block)


def simplified_non_local(x: Tensor, *, key: Tensor, value: Linear) -> Tensor:
    """GCNet, equation 3, with W_v moved out of the sum."""

    def block(x: FeatureMap) -> FeatureMap:
        y = linear(value, attention(x, key))
        return {i: x_i + y for i, x_i in x.items()}

    return each_sample(x, block)


def global_context(
    x: Tensor, *, key: Tensor | None, scale: dict[str, Linear] | None, add: dict[str, Linear] | None
) -> Tensor:
    """GCNet, equation 4, and the other fusions of its section 3.3.

    Args:
        key: W_k of attention pooling, or None for average pooling.
        scale: `reduce`, `norm` (γ, β; absent without LayerNorm) and `expand` of the branch whose sigmoid multiplies x,
            or None.
        add: the same for the branch that is added to x.
    """

    def bottleneck(branch: dict[str, Linear], context: Tensor) -> Tensor:
        narrow = linear(branch["reduce"], context)
        if "norm" in branch:
            narrow = layer_norm(narrow, *branch["norm"])
        return linear(branch["expand"], relu(narrow))

    def block(x: FeatureMap) -> FeatureMap:
        context = average(x) if key is None else attention(x, key)
        z = dict(x)
        for i, x_i in x.items():
            if scale is not None:
                z[i] = x_i * sigmoid(bottleneck(scale, context))
            if add is not None:
                z[i] = z[i] + bottleneck(add, context)
        return z

    return each_sample(x, block)


# A context for each position --------------------------------------------------------------------------------------


def max_pool(x: FeatureMap) -> FeatureMap:
    """2 × 2 in space, none in time; a last row or column that is left over is dropped, an axis of one stays."""
    height, width = (1 + max(position[axis] for position in x) for axis in (-2, -1))
    step_h, step_w = min(2, height), min(2, width)
    pooled = {}
    for frame in sorted({position[:-2] for position in x}):
        for h, w in product(range(height // step_h), range(width // step_w)):
            window = [(step_h * h + dh, step_w * w + dw) for dh, dw in product(range(step_h), range(step_w))]
            pooled[(*frame, h, w)] = reduce(torch.maximum, [x[(*frame, *place)] for place in window])
    return pooled


def non_local(
    x: Tensor,
    *,
    affinity: str,
    scaled: bool,
    subsample: str,
    attend_over: str,
    theta: Linear | None,
    phi: Linear | None,
    g: Linear,
    w_f: Tensor | None,
    w_z: Linear,
    batch_norm: tuple[Tensor, Tensor, Tensor, Tensor] | None,
) -> Tensor:
    """Non-local, equations 1 to 6.

    Args:
        theta, phi: None where the affinity compares the inputs themselves.
        w_f: the vector (2d,) that meets [θ(xᵢ), φ(xⱼ)] in equation 5.
        batch_norm: γ, β, mean and variance of the BatchNorm after W_z, as in evaluation.
    """

    def sees(i: Position, j: Position) -> bool:
        if len(i) == 2:  # an image is one frame
            return attend_over in ("spacetime", "space")
        return {"spacetime": True, "space": i[0] == j[0], "time": i[1:] == j[1:]}[attend_over]

    def each(layer: Linear | None, x: FeatureMap) -> FeatureMap:
        return x if layer is None else {j: linear(layer, x_j) for j, x_j in x.items()}

    def weigh(query: Tensor, keys: list[Tensor]) -> list[Tensor]:
        """f(xᵢ, xⱼ) / C(x) for every j."""
        if affinity in ("gaussian", "embedded_gaussian"):
            root = len(query) ** 0.5 if scaled else 1.0
            return softmax([query @ key / root for key in keys])
        if affinity == "dot_product":
            return [query @ key / len(keys) for key in keys]
        if affinity == "concatenation":
            return [relu(w_f @ torch.cat([query, key])) / len(keys) for key in keys]
        raise ValueError(affinity)

    def block(x: FeatureMap) -> FeatureMap:
        source = max_pool(x) if subsample == "input" else x
        queries, keys, values = each(theta, x), each(phi, source), each(g, source)
        if subsample == "keys":
            keys, values = max_pool(keys), max_pool(values)
        z = {}
        for i, x_i in x.items():
            seen = [j for j in keys if sees(i, j)]
            weights = weigh(queries[i], [keys[j] for j in seen])
            y = linear(w_z, sum(weight * values[j] for weight, j in zip(weights, seen, strict=True)))
            if batch_norm is not None:
                gamma, beta, mean, variance = batch_norm
                y = (y - mean) / torch.sqrt(variance + 1e-5) * gamma + beta
            z[i] = x_i + y
        return z

    return each_sample(x, block)
