"""Convolutional block attention module: a gate per channel, then a gate per position.

Woo, Park, Lee, Kweon: "CBAM: Convolutional Block Attention Module" (ECCV 2018, arXiv 1807.06521), section 3.

    x′ = x · sigmoid(MLP(mean(x)) + MLP(max(x)))                 over positions, one number per channel
    z  = x′ · sigmoid(BN(f([max(x′), mean(x′)])))                over channels, one number per position

Differs from the paper, as the authors' own code does: BatchNorm follows the convolution f, with γ = 0 at the start, so
that all positions have the same gate at first. Differs from both: over video, the mean and maximum over positions run
over time as well, and f has a temporal kernel size.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from videoctx.layers.context import BottleneckTransform, ContextBlock, Scale
from videoctx.layers.conv import half_kernel
from videoctx.layers.neighborhood import VideoConv
from videoctx.layers.pointwise import BatchNorm

BN_MOMENTUM = 0.01  # of the running statistics, in the authors' code


class AverageAndMaxPooling(nn.Module):
    """Mean and maximum over all positions, stacked as two positions: (B, C, *) → (B, C, 2, 1[, 1])."""

    def forward(self, x: Tensor) -> Tensor:
        positions = tuple(range(2, x.ndim))
        return torch.cat([x.mean(positions, keepdim=True), x.amax(positions, keepdim=True)], dim=2)


class SharedBottleneck(BottleneckTransform):
    """Bottleneck whose outputs at the two positions are summed: (B, C, 2, 1[, 1]) → (B, C, 1, 1[, 1])."""

    def __init__(self, channels: int, *, ratio: float) -> None:
        super().__init__(channels, ratio=ratio, layer_norm=False, zero_init=False)

    def forward(self, context: Tensor) -> Tensor:
        return super().forward(context).sum(2, keepdim=True)


class ChannelPooling(nn.Module):
    """Maximum and mean over the channels of each position: (B, C, *) → (B, 2, *)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], dim=1)


class CBAM(nn.Sequential):
    """Two context blocks in sequence: `channel` has the gate (B, C, 1, 1, 1), `spatial` the gate (B, 1, T, H, W).

    Args:
        ratio: width of the bottleneck relative to `channels`. The paper's r = 16 is 1/16.
        kernel_size: kernel size of f along time, height and width, odd numbers. The paper has 7 × 7. With 1 along time,
            the gates of a frame depend on that frame alone.

    Raises:
        ValueError: a `ratio` that leaves no channel, or an even `kernel_size`.

    >>> import torch
    >>> block, x = CBAM(64), torch.ones(2, 64, 4, 7, 7)
    >>> block(x).shape
    torch.Size([2, 64, 4, 7, 7])
    >>> block.spatial.context(x).shape
    torch.Size([2, 2, 4, 7, 7])
    """

    def __init__(self, channels: int, *, ratio: float = 1 / 16, kernel_size: tuple[int, int, int] = (3, 7, 7)) -> None:
        if any(size < 1 or size % 2 == 0 for size in kernel_size):
            raise ValueError(f"kernel_size is {tuple(kernel_size)}; expected odd numbers, which have a center")
        norm = BatchNorm(1, momentum=BN_MOMENTUM)
        nn.init.zeros_(norm.weight)
        channel = ContextBlock(
            context=AverageAndMaxPooling(), transform=SharedBottleneck(channels, ratio=ratio), fusion=Scale()
        )
        spatial = ContextBlock(
            context=ChannelPooling(),
            transform=nn.Sequential(VideoConv(2, 1, kernel_size, padding=half_kernel(kernel_size), bias=False), norm),
            fusion=Scale(),
        )
        super().__init__(OrderedDict(channel=channel, spatial=spatial))
