"""Layers that act on a neighborhood, with the same weights for video (B, C, T, H, W) and images (B, C, H, W)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class VideoConv(nn.Conv3d):
    """`nn.Conv3d` that takes an image as a video of one frame. `nn.Conv3d` itself takes it as a video without batch."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.ndim == 5 else super().forward(x.unsqueeze(2)).squeeze(2)


def neighborhood_average(x: Tensor, strides: Sequence[int]) -> Tensor:
    """Return averages over neighborhoods, one per s positions along each axis: (B, C, n, …) → (B, C, ⌈n / s⌉, …).

    This is average pooling with kernel 2s - 1 and stride s, where positions beyond the border do not count. Unlike
    torch's pooling it accepts an x that is smaller than the kernel.

    Args:
        strides: s along each axis. An axis with s = 1 is left as it is.
    """
    for axis, stride in enumerate(strides, start=2):
        if stride > 1:
            position = torch.arange(x.shape[axis], device=x.device)
            near = ((position.unsqueeze(1) - position[::stride]).abs() < stride).to(x.dtype)  # (n, ⌈n / s⌉)
            x = (x.movedim(axis, -1) @ (near / near.sum(0))).movedim(-1, axis)
    return x
