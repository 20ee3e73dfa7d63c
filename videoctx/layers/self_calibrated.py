"""Self-calibrated convolution: half of the channels is gated by features at a lower resolution.

Liu, Hou, Cheng, Wang, Feng: "Improving Convolutional Networks with Self-Calibrated Convolutions" (CVPR 2020),
section 3.

    x = [a, b];  z = [k1(a), k4(k3(b) · sigmoid(b + up(k2(pool(b)))))]

A `Bottleneck3d` with this convolution is SCNet's. Its first 1×1 convolution computes both halves at once, which is the
paper's pair of 1×1 convolutions. The BatchNorm after it is that of k1 and k4.

Differs from the paper: it runs over video. By default, time is not pooled, because clips are short.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoctx.layers.conv import plain_conv3d
from videoctx.layers.pointwise import BatchNorm


class SelfCalibratedConv3d(nn.Module):
    """Self-calibrated convolution, (B, C, T, H, W) → (B, C, T / stride, …).

    Args:
        in_channels: C, an even number.
        out_channels: C as well, because the gate multiplies the input.
        pooling: r along time, height and width.

    Raises:
        ValueError: an odd number of channels, or different numbers, or halves that `groups` does not divide. In
            `forward`, a clip smaller than `pooling`.

    >>> import torch
    >>> conv = SelfCalibratedConv3d(64, 64, stride=(1, 2, 2))
    >>> conv(torch.zeros(2, 64, 4, 8, 8)).shape
    torch.Size([2, 64, 4, 4, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: tuple[int, int, int] = (1, 3, 3),
        stride: tuple[int, int, int] = (1, 1, 1),
        groups: int = 1,
        pooling: tuple[int, int, int] = (1, 4, 4),
    ) -> None:
        if in_channels != out_channels or in_channels % (2 * groups):
            raise ValueError(
                f"a self-calibrated convolution has as many channels out as in, in halves that groups divide;"
                f" got {in_channels} in, {out_channels} out, {groups} groups"
            )
        if min(pooling) < 1:
            raise ValueError(f"pooling is {tuple(pooling)}; expected 1 or more along each axis")
        super().__init__()
        half = in_channels // 2

        def conv(stride: tuple[int, int, int]) -> nn.Conv3d:
            return plain_conv3d(half, half, kernel_size=kernel_size, stride=stride, groups=groups)

        self.pooling = tuple(pooling)
        self.k1 = conv(stride)
        self.k2 = nn.Sequential(conv((1, 1, 1)), BatchNorm(half))
        self.k3 = nn.Sequential(conv((1, 1, 1)), BatchNorm(half))
        self.k4 = conv(stride)

    def forward(self, x: Tensor) -> Tensor:
        if any(size < r for size, r in zip(x.shape[2:], self.pooling, strict=True)):
            raise ValueError(
                f"a self-calibrated convolution pools {self.pooling} of {tuple(x.shape[2:])} frames and pixels;"
                " expected a larger clip or a smaller pooling"
            )
        a, b = x.chunk(2, dim=1)
        coarse = F.interpolate(self.k2(F.avg_pool3d(b, self.pooling)), size=b.shape[2:])  # nearest
        b = self.k3(b) * (b + coarse).sigmoid()
        return torch.cat([self.k1(a), self.k4(b)], dim=1)

    def extra_repr(self) -> str:
        return f"pooling={self.pooling}"
