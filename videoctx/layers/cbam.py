"""Convolutional block attention: which channels matter, then where.

Woo, Park, Lee, Kweon: "CBAM: Convolutional Block Attention Module" (ECCV 2018, arXiv 1807.06521), section 3.

    x′ = x · sigmoid(MLP(mean(x)) + MLP(max(x)))                 over positions, one number per channel
    z  = x′ · sigmoid(BN(f([max(x′), mean(x′)])))                over channels, one number per position

Differs from the paper, as the authors' own code does: BatchNorm after the convolution f, with γ = 0 at the start, so
that every position first counts alike. Over video, mean and max of the channels run over time as well, and f reaches
over time.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from videoctx.layers.context import BottleneckTransform, ContextBlock, Scale
from videoctx.layers.neighborhood import VideoConv
from videoctx.layers.pointwise import BatchNorm

BN_MOMENTUM = 0.01  # of the running statistics, in the authors' code


class AverageAndMaxPooling(nn.Module):
    """Mean and maximum over all positions, as two positions: (B, C, *) → (B, C, 2, 1[, 1])."""

    def forward(self, x: Tensor) -> Tensor:
        positions = tuple(range(2, x.ndim))
        return torch.cat([x.mean(positions, keepdim=True), x.amax(positions, keepdim=True)], dim=2)


class SharedBottleneck(BottleneckTransform):
    """Sum of the bottleneck's outputs at both positions: (B, C, 2, 1[, 1]) → (B, C, 1, 1[, 1])."""

    def __init__(self, channels: int, *, ratio: float) -> None:
        super().__init__(channels, ratio=ratio, layer_norm=False, zero_init=False)

    def forward(self, context: Tensor) -> Tensor:
        return super().forward(context).sum(2, keepdim=True)


class ChannelPooling(nn.Module):
    """Maximum and mean over the channels of each position: (B, C, *) → (B, 2, *)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], dim=1)


class CBAM(nn.Sequential):
    """Two context blocks, one after the other: `channel`, x · (B, C, 1, 1, 1), and `spatial`, x · (B, 1, T, H, W).

    Args:
        ratio: width of the bottleneck relative to `channels`; the paper's r = 16 is 1/16.
        kernel_size: of f along time, height and width, odd. The paper has 7 × 7; our 3 over time lets a frame see its
            neighbors, and with 1 every frame has the map of an image.

    Raises:
        ValueError: a `ratio` that leaves no channel, or an even `kernel_size`.
    """

    def __init__(self, channels: int, *, ratio: float = 1 / 16, kernel_size: tuple[int, int, int] = (3, 7, 7)) -> None:
        if any(size < 1 or size % 2 == 0 for size in kernel_size):
            raise ValueError(f"kernel_size is {tuple(kernel_size)}; expected odd numbers, which have a center")
        padding = tuple(size // 2 for size in kernel_size)
        norm = BatchNorm(1, momentum=BN_MOMENTUM)
        nn.init.zeros_(norm.weight)
        channel = ContextBlock(
            context=AverageAndMaxPooling(), transform=SharedBottleneck(channels, ratio=ratio), fusion=Scale()
        )
        spatial = ContextBlock(
            context=ChannelPooling(),
            transform=nn.Sequential(VideoConv(2, 1, kernel_size, padding=padding, bias=False), norm),
            fusion=Scale(),
        )
        super().__init__(OrderedDict(channel=channel, spatial=spatial))
