"""Slow truth for Gather-Excite: the paper's operators as loops over positions, on plain tensors.

Hu, Shen, Albanie, Sun, Vedaldi: "Gather-Excite" (NeurIPS 2018, arXiv 1810.12348). Nothing here imports the package.
"""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from tests.reference.context_loops import FeatureMap, Linear, each_sample, linear, relu, sigmoid


def gather_excite(
    x: Tensor,
    *,
    extents: Sequence[int] | None,
    gathers: Sequence[dict] | None = None,
    excite: tuple[Linear, Linear] | None = None,
) -> Tensor:
    """x is (B, C, *).

    Args:
        extents: e along each axis, of a gather without weights.
        gathers: or the depthwise convolutions of a gather with weights, in turn: `kernel` (C, k_t, k_h, k_w), `stride`
            and `padding` along the three axes, and `norm` (γ, β, mean, variance).
        excite: the two layers of the bottleneck, or None.
    """
    shape = x.shape
    if len(shape) == 4:  # an image is a video of one frame
        x, extents = x.unsqueeze(2), extents and (1, *extents)
    sizes = x.shape[2:]

    def block(x: FeatureMap) -> FeatureMap:
        if gathers is None:
            cells, grid = averages(x, extents), tuple(-(-size // e) for size, e in zip(sizes, extents, strict=True))
        else:
            cells, grid = x, sizes
            for number, gather in enumerate(gathers):
                if number > 0:
                    cells = {i: relu(cell) for i, cell in cells.items()}
                cells, grid = depthwise(cells, grid, **gather)
        if excite is not None:
            reduce, expand = excite
            cells = {i: linear(expand, relu(linear(reduce, relu(cell)))) for i, cell in cells.items()}
        return {
            i: x_i * sigmoid(cells[tuple(place * n // size for place, n, size in zip(i, grid, sizes, strict=True))])
            for i, x_i in x.items()
        }

    return each_sample(x, block).reshape(shape)


def averages(x: FeatureMap, extents: Sequence[int]) -> FeatureMap:
    """ξ_G without weights: the mean of the neighborhood of every e-th position, as far as there is one."""
    cells = {}
    for i in x:
        if all(place % e == 0 for place, e in zip(i, extents, strict=True)):
            near = [x_j for j, x_j in x.items() if all(abs(a - b) < e for a, b, e in zip(i, j, extents, strict=True))]
            cells[tuple(place // e for place, e in zip(i, extents, strict=True))] = sum(near) / len(near)
    return cells


def depthwise(
    x: FeatureMap, sizes: Sequence[int], *, kernel: Tensor, stride: Sequence[int], padding: Sequence[int], norm: tuple
) -> tuple[FeatureMap, tuple[int, ...]]:
    """A depthwise convolution, zero beyond the border, and its BatchNorm; and how many cells it leaves."""
    gamma, beta, mean, variance = norm
    extents = kernel.shape[1:]
    grid = tuple((n + 2 * p - k) // s + 1 for n, p, k, s in zip(sizes, padding, extents, stride, strict=True))
    cells = {}
    for i in product(*(range(n) for n in grid)):
        y = torch.zeros_like(mean)
        for tap in product(*(range(k) for k in extents)):
            j = tuple(a * s + b - p for a, s, b, p in zip(i, stride, tap, padding, strict=True))
            if j in x:
                y = y + kernel[(slice(None), *tap)] * x[j]
        cells[i] = (y - mean) / torch.sqrt(variance + 1e-5) * gamma + beta
    return cells, grid
