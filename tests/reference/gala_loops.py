"""Slow truth for GALA: the paper's equations as loops over positions, on plain tensors.

Linsley, Shiebler, Eberhardt, Serre: "Learning what and where to attend" (ICLR 2019, arXiv 1805.08819). Nothing
here imports the package.
"""

from itertools import product

import torch
from torch import Tensor

from tests.reference.context_loops import FeatureMap, Linear, average, each_sample, linear, relu


def gala(
    x: Tensor,
    *,
    w_shrink: Linear,
    w_expand: Linear,
    v_shrink: Linear,
    v_collapse: Linear,
    a: Tensor,
    m: Tensor,
    between: Linear | None = None,
) -> Tensor:
    """x is (B, C, *); `between` is the convolution (C_out, C_in, k_t, k_h, k_w) and bias of the authors' code."""

    def block(x: FeatureMap) -> FeatureMap:
        g = linear(w_expand, relu(linear(w_shrink, average(x))))  # (C,)
        local = {i: relu(linear(v_shrink, x_i)) for i, x_i in x.items()}
        if between is not None:
            local = {i: relu(convolved(local, i, *between)) for i in local}
        z = {}
        for i, x_i in x.items():
            (s,) = linear(v_collapse, local[i])
            y = [a[c] * (g[c] + s) + m[c] * (g[c] * s) for c in range(len(x_i))]
            z[i] = torch.stack([x_i[c] * torch.tanh(y[c]) for c in range(len(x_i))])
        return z

    return each_sample(x, block)


def convolved(x: FeatureMap, i: tuple[int, ...], kernel: Tensor, bias: Tensor) -> Tensor:
    """One position of a convolution that is zero beyond the border."""
    y = bias
    for tap in product(*(range(size) for size in kernel.shape[2:])):
        offset = [place - size // 2 for place, size in zip(tap, kernel.shape[2:], strict=True)]
        if len(i) == 2:  # an image is a video of one frame
            if offset[0] != 0:
                continue
            offset = offset[1:]
        j = tuple(place + step for place, step in zip(i, offset, strict=True))
        if j in x:
            y = y + kernel[(slice(None), slice(None), *tap)] @ x[j]
    return y
