"""Layers that act on each position by itself. The same weights serve video (B, C, T, H, W) and images (B, C, H, W)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Pointwise(nn.Module):
    """1×1 convolution of the rank of its input: (B, C_in, *) → (B, C_out, *).

    `weight` is (C_out, C_in). The weight of a 1×1 or 1×1×1 convolution loads into it after flattening.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.kaiming_normal_(self.weight, mode="fan_in", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        convolution = F.conv3d if x.ndim == 5 else F.conv2d
        kernel = self.weight.reshape(*self.weight.shape, *[1] * (x.ndim - 2))  # (C_out, C_in, 1, 1[, 1])
        return convolution(x, kernel, self.bias)

    def extra_repr(self) -> str:
        out_channels, in_channels = self.weight.shape
        return f"{in_channels}, {out_channels}, bias={self.bias is not None}"


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm over all axes but the channels, for any rank. `SyncBatchNorm.convert_sync_batchnorm` converts it."""

    def _check_input_dim(self, input: Tensor) -> None:
        assert input.ndim >= 3, f"expected (B, C, *), got {tuple(input.shape)}"


class ChannelLayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of each position: (B, C, *) → (B, C, *)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)
