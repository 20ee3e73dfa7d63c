"""Slow truth for the three transformers of the Feature Pyramid Transformer: every pair of positions by itself.

Zhang, Zhang, Tang, Wang, Hua, Sun: "Feature Pyramid Transformer" (ECCV 2020, arXiv 2007.09451), equations 1 to 5 and
section 3.3, "Locality-constrained Grounding Transformer".

Nothing here imports the package. Maps are (B, C, T, H, W); the names in `tensors` are those of the module's parameters.
"""

import math
from collections.abc import Mapping
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

Tensors = Mapping[str, Tensor]
Place = tuple[int, int, int]


def projected(x: Tensor, tensors: Tensors, name: str) -> Tensor:
    return torch.einsum("oc,bcthw->bothw", tensors[f"{name}.weight"], x) + tensors[f"{name}.bias"].reshape(-1, 1, 1, 1)


def places(x: Tensor) -> list[Place]:
    return list(product(*map(range, x.shape[2:])))


def mixture(query: Tensor, keys: list[Tensor], values: list[Tensor], shares: Tensor, distance: bool) -> Tensor:
    """One query (d); each part of the channels has a softmax over the keys, and the shares mix them."""
    parts, width = len(shares), len(query)
    size = width // parts
    weights = torch.zeros(len(keys), dtype=query.dtype)
    for n in range(parts):
        part = slice(n * size, (n + 1) * size)
        logits = []
        for key in keys:
            similarity = -((query[part] - key[part]) ** 2).sum() if distance else (query[part] * key[part]).sum()
            logits.append(similarity / math.sqrt(width))
        exponentials = torch.stack(logits).exp()
        weights = weights + shares[n] * exponentials / exponentials.sum()
    return sum(weight * value for weight, value in zip(weights, values, strict=True))


def shares_of(keys: Tensor, w: Tensor) -> Tensor:
    """πₙ from the mean of all keys, (d, T, H, W)."""
    logits = torch.stack([(row * keys.mean(dim=(1, 2, 3))).sum() for row in w])
    return logits.exp() / logits.exp().sum()


def averaged(x: Tensor) -> Tensor:
    """The mean of the 3×3 positions around every other one that lie inside the frame."""
    height, width = x.shape[3:]
    y = x.new_zeros(*x.shape[:3], (height + 1) // 2, (width + 1) // 2)
    for row, column in product(range(y.shape[3]), range(y.shape[4])):
        rows = [i for i in range(2 * row - 1, 2 * row + 2) if 0 <= i < height]
        columns = [j for j in range(2 * column - 1, 2 * column + 2) if 0 <= j < width]
        y[..., row, column] = sum(x[..., i, j] for i in rows for j in columns) / (len(rows) * len(columns))
    return y


def self_transformer(x: Tensor, tensors: Tensors, *, subsample: bool) -> Tensor:
    source = averaged(x) if subsample else x
    query, key, value = (
        projected(x, tensors, "query"),
        projected(source, tensors, "key"),
        projected(source, tensors, "value"),
    )
    y = torch.zeros_like(x)
    for b in range(len(x)):
        shares = shares_of(key[b], tensors["attention.mixture"])
        keys, values = ([part[b, :, *place] for place in places(source)] for part in (key, value))
        for t, i, j in places(x):
            y[b, :, t, i, j] = mixture(query[b, :, t, i, j], keys, values, shares, distance=False)
    return y


def grounding_transformer(low: Tensor, high: Tensor, tensors: Tensors, *, window: Place | None) -> Tensor:
    query, key, value = (
        projected(low, tensors, "query"),
        projected(high, tensors, "key"),
        projected(high, tensors, "value"),
    )
    y, sizes = torch.zeros_like(low), high.shape[2:]
    for b in range(len(low)):
        shares = shares_of(key[b], tensors["attention.mixture"])
        for place in places(low):
            seen = places(high)
            if window is not None:
                center = [math.floor(p * m / n) for p, n, m in zip(place, low.shape[2:], sizes, strict=True)]
                offsets = product(*(range(-(size // 2), size // 2 + 1) for size in window))
                seen = [tuple(c + o for c, o in zip(center, offset, strict=True)) for offset in offsets]
            keys, values = [], []
            for one in seen:
                inside = all(0 <= p < m for p, m in zip(one, sizes, strict=True))
                keys.append(key[b, :, *one] if inside else torch.zeros_like(key[b, :, 0, 0, 0]))
                values.append(value[b, :, *one] if inside else torch.zeros_like(value[b, :, 0, 0, 0]))
            t, i, j = place
            y[b, :, t, i, j] = mixture(query[b, :, t, i, j], keys, values, shares, distance=True)
    return y


def rendering_transformer(high: Tensor, low: Tensor, tensors: Tensors) -> Tensor:
    def convolved(x: Tensor, name: str, stride: list[int]) -> Tensor:
        return F.conv3d(x, tensors[f"{name}.weight"], None, stride, (0, 1, 1))

    def norm(x: Tensor, name: str) -> Tensor:
        gamma, beta, mean, variance = (
            tensors[f"{name}.{part}"].reshape(-1, 1, 1, 1) for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / torch.sqrt(variance + 1e-5) * gamma + beta

    query, key, value = (
        projected(high, tensors, "query"),
        projected(low, tensors, "key"),
        projected(low, tensors, "value"),
    )
    attended = torch.zeros_like(query)
    for b, c in product(range(len(high)), range(high.shape[1])):
        attended[b, c] = query[b, c] * key[b, c].mean()
    stride = [math.ceil(n / m) for n, m in zip(low.shape[2:], high.shape[2:], strict=True)]
    refined = norm(convolved(attended, "refine", [1, 1, 1]), "refine_norm")
    rendered = refined + norm(convolved(value, "downsample", stride), "downsample_norm")
    return convolved(torch.where(rendered > 0, rendered, torch.zeros_like(rendered)), "sum", [1, 1, 1])
