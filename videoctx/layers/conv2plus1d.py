"""(2+1)D convolution: a convolution over space, then one over time, with a nonlinearity between them.

Tran, Wang, Torresani, Ray, LeCun, Paluri: "A Closer Look at Spatiotemporal Convolutions for Action
Recognition" (CVPR 2018, arXiv 1711.11248), section 3.5.

    z = conv_t(ReLU(BN(conv_s(x))))
"""

from torch import Tensor, nn

from videoctx.layers.conv import plain_conv3d
from videoctx.layers.pointwise import BatchNorm


class Conv2Plus1d(nn.Module):
    """1×k×k convolution, BatchNorm, ReLU, t×1×1 convolution: (B, C_in, T, H, W) → (B, C_out, T / stride, …).

    Args:
        mid_channels: number of channels M between the two convolutions. None: ⌊t·k²·C_in·C_out / (k²·C_in + t·C_out)⌋,
            which gives the pair as many parameters as the t×k×k convolution that it replaces.
        norm_eps: ε of the BatchNorm.

    >>> import torch
    >>> conv = Conv2Plus1d(64, 64)
    >>> conv.norm.num_features
    144
    >>> conv(torch.zeros(1, 64, 4, 7, 7)).shape
    torch.Size([1, 64, 4, 7, 7])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: tuple[int, int, int] = (3, 3, 3),
        stride: tuple[int, int, int] = (1, 1, 1),
        groups: int = 1,
        mid_channels: int | None = None,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        kernel_t, kernel_h, kernel_w = kernel_size
        area = kernel_h * kernel_w
        if mid_channels is None:
            mid_channels = (
                kernel_t * area * in_channels * out_channels // (area * in_channels + kernel_t * out_channels)
            )
            mid_channels = max(mid_channels // groups, 1) * groups
        self.spatial = plain_conv3d(
            in_channels, mid_channels, kernel_size=(1, kernel_h, kernel_w), stride=(1, *stride[1:]), groups=groups
        )
        self.norm = BatchNorm(mid_channels)
        self.norm.eps = norm_eps
        self.relu = nn.ReLU(inplace=True)
        self.temporal = plain_conv3d(
            mid_channels, out_channels, kernel_size=(kernel_t, 1, 1), stride=(stride[0], 1, 1), groups=groups
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.temporal(self.relu(self.norm(self.spatial(x))))
