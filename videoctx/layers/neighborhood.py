"""Layers that act on a neighborhood: the same weights serve video (B, C, T, H, W) and images (B, C, H, W)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class VideoConv(nn.Conv3d):
    """`nn.Conv3d` that takes an image for a video of one frame, and not for a video without batch."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.ndim == 5 else super().forward(x.unsqueeze(2)).squeeze(2)


def neighborhood_average(x: Tensor, extents: Sequence[int]) -> Tensor:
    """Mean of the places less than e away along each axis, at every e-th: (B, C, n, …) → (B, C, ⌈n / e⌉, …).

    Average pooling, kernel 2e - 1, stride e, where a place beyond the border does not count; x may be smaller than the
    kernel, which torch's pooling refuses.
    """
    for axis, extent in enumerate(extents, start=2):
        if extent > 1:
            place = torch.arange(x.shape[axis], device=x.device)
            near = ((place.unsqueeze(1) - place[::extent]).abs() < extent).to(x.dtype)  # (n, ⌈n / e⌉)
            x = (x.movedim(axis, -1) @ (near / near.sum(0))).movedim(-1, axis)
    return x
