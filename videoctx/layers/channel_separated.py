"""Channel-separated convolutions: neighbors in space and time within a channel, channels in 1×1×1 convolutions.

Tran, Wang, Torresani, Feiszli: "Video Classification with Channel-Separated Convolutional Networks" (ICCV 2019, arXiv
1904.02811), section 3.3. In a bottleneck, whose other two convolutions are 1×1×1,

    interaction-reduced (ir):    y = depthwise(x)
    interaction-preserved (ip):  y = depthwise(BN(W x))

take the place of the 3×3×3 convolution.
"""

from torch import Tensor, nn

from videoctx.layers.conv import half_kernel, plain_conv3d
from videoctx.layers.pointwise import BatchNorm


class DepthwiseConv3d(nn.Conv3d):
    """A convolution of each channel by itself, ir-CSN's: (B, C, T, H, W) → (B, C, T / stride, …).

    Raises:
        ValueError: Other channels out than in, or groups, which it has of its own: one per channel.

    >>> import torch
    >>> conv = DepthwiseConv3d(64, 64, stride=(1, 2, 2))
    >>> conv(torch.zeros(1, 64, 4, 8, 8)).shape, conv.weight.shape
    (torch.Size([1, 64, 4, 4, 4]), torch.Size([64, 1, 3, 3, 3]))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: tuple[int, int, int] = (3, 3, 3),
        stride: tuple[int, int, int] = (1, 1, 1),
        groups: int = 1,
    ) -> None:
        if in_channels != out_channels or groups != 1:
            raise ValueError(
                "a depthwise convolution has as many channels out as in and a group for each; got"
                f" {in_channels} in, {out_channels} out, groups {groups}"
            )
        padding = half_kernel(kernel_size)
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups=in_channels, bias=False)


class ChannelSeparatedConv3d(nn.Module):
    """1×1×1 convolution, BatchNorm, depthwise convolution, ip-CSN's: (B, C, T, H, W) → (B, C, T / stride, …).

    Args:
        norm_eps: ε of the BatchNorm; 1e-3 in the published networks.

    Raises:
        ValueError: As for `DepthwiseConv3d`.

    >>> import torch
    >>> ChannelSeparatedConv3d(64, 64, stride=(1, 2, 2))(torch.zeros(1, 64, 4, 8, 8)).shape
    torch.Size([1, 64, 4, 4, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: tuple[int, int, int] = (3, 3, 3),
        stride: tuple[int, int, int] = (1, 1, 1),
        groups: int = 1,
        norm_eps: float = 1e-3,
    ) -> None:
        super().__init__()
        self.pointwise = plain_conv3d(in_channels, in_channels, kernel_size=(1, 1, 1))
        self.norm = BatchNorm(in_channels, eps=norm_eps)
        self.depthwise = DepthwiseConv3d(
            in_channels, out_channels, kernel_size=kernel_size, stride=stride, groups=groups
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.depthwise(self.norm(self.pointwise(x)))
