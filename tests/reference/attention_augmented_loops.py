"""Slow truth for attention-augmented convolution: the paper's equations as loops over pairs of positions.

Bello, Zoph, Vaswani, Shlens, Le: "Attention Augmented Convolutional Networks" (ICCV 2019, arXiv 1904.09925), section 3.
Nothing here imports the package.
"""

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from tests.reference.context_loops import FeatureMap, positions, softmax


def attention_augmented(
    x: Tensor,
    *,
    kernel: Tensor,
    stride: Sequence[int],
    groups: int,
    w_q: Tensor,
    w_k: Tensor,
    w_v: Tensor,
    w_o: Tensor,
    num_heads: int,
    embeddings: Sequence[Tensor] | None,
    max_size: Sequence[int],
) -> Tensor:
    """x is (B, C, T, H, W).

    Args:
        kernel: of the convolution, (C_out, C_in / groups, k_t, k_h, k_w).
        w_q, w_k, w_v, w_o: matrices, (out, in); the channels of a head are side by side.
        embeddings: r^T, r^H, r^W, each (2 · longest - 1, d), the middle row for a distance of zero; or None.
        max_size: the largest grid that attention runs on.
    """
    grid = [-(-size // s) for size, s in zip(x.shape[2:], stride, strict=True)]
    samples = []
    for sample in x:
        places = {i: sample[(slice(None), *i)] for i in positions(sample.shape[1:])}
        strided = {i: places[tuple(place * s for place, s in zip(i, stride, strict=True))] for i in positions(grid)}
        attended = attention(halved(strided, max_size), w_q, w_k, w_v, num_heads, embeddings)
        attended = resized({i: w_o @ o for i, o in attended.items()}, grid)
        z = [torch.cat([convolution(places, i, kernel, stride, groups), attended[i]]) for i in positions(grid)]
        samples.append(torch.stack(z, dim=1).reshape(-1, *grid))
    return torch.stack(samples)


def convolution(x: FeatureMap, i: tuple[int, ...], kernel: Tensor, stride: Sequence[int], groups: int) -> Tensor:
    """One position of a convolution that is zero beyond the border."""
    c_out, c_in = kernel.shape[0] // groups, kernel.shape[1]
    y = [torch.zeros(c_out, dtype=kernel.dtype)] * groups
    for tap in product(*(range(size) for size in kernel.shape[2:])):
        j = tuple(a * s + b - k // 2 for a, s, b, k in zip(i, stride, tap, kernel.shape[2:], strict=True))
        if j not in x:
            continue
        for group in range(groups):
            weight = kernel[(slice(group * c_out, (group + 1) * c_out), slice(None), *tap)]
            y[group] = y[group] + weight @ x[j][group * c_in : (group + 1) * c_in]
    return torch.cat(y)


def attention(
    x: FeatureMap, w_q: Tensor, w_k: Tensor, w_v: Tensor, num_heads: int, embeddings: Sequence[Tensor] | None
) -> FeatureMap:
    """For every head, a softmax over all positions; the heads side by side."""
    d, d_v = len(w_q) // num_heads, len(w_v) // num_heads
    heads: dict[tuple[int, ...], list[Tensor]] = {i: [] for i in x}
    for head in range(num_heads):
        of_keys, of_values = slice(head * d, (head + 1) * d), slice(head * d_v, (head + 1) * d_v)
        query = {i: w_q[of_keys] @ x_i for i, x_i in x.items()}
        key = {i: w_k[of_keys] @ x_i for i, x_i in x.items()}
        value = {i: w_v[of_values] @ x_i for i, x_i in x.items()}
        for i in x:
            logits = []
            for j in x:
                logit = query[i] @ key[j]
                for axis, r in enumerate(embeddings or ()):
                    logit = logit + query[i] @ r[len(r) // 2 + j[axis] - i[axis]]
                logits.append(logit / d**0.5)
            weights = softmax(logits)
            heads[i].append(sum(weight * value[j] for weight, j in zip(weights, x, strict=True)))
    return {i: torch.cat(of_heads) for i, of_heads in heads.items()}


def size_of(x: FeatureMap) -> tuple[int, ...]:
    return tuple(1 + max(i[axis] for i in x) for axis in range(3))


def halved(x: FeatureMap, max_size: Sequence[int]) -> FeatureMap:
    """The mean of three neighbors, at every second place, along each axis that is too long; again until none is."""
    while any(size > limit for size, limit in zip(size_of(x), max_size, strict=True)):
        for axis, (size, limit) in enumerate(zip(size_of(x), max_size, strict=True)):
            if size <= limit:
                continue
            coarse = {}
            for i in x:
                if i[axis] % 2 == 0:
                    near = [(*i[:axis], i[axis] + step, *i[axis + 1 :]) for step in (-1, 0, 1)]
                    near = [x[j] for j in near if j in x]
                    coarse[(*i[:axis], i[axis] // 2, *i[axis + 1 :])] = sum(near) / len(near)
            x = coarse
    return x


def resized(x: FeatureMap, sizes: Sequence[int]) -> FeatureMap:
    """Linear interpolation along each axis, between the centers of cells."""
    for axis, size in enumerate(sizes):
        given = size_of(x)
        fine = {}
        for i in positions([size if other == axis else n for other, n in enumerate(given)]):
            center = max((i[axis] + 0.5) * given[axis] / size - 0.5, 0)
            low = math.floor(center)
            high = min(low + 1, given[axis] - 1)
            share = center - low
            below, above = (x[(*i[:axis], place, *i[axis + 1 :])] for place in (low, high))
            fine[i] = (1 - share) * below + share * above
        x = fine
    return x
