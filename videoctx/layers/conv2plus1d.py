"""(2+1)D convolution: space first, then time, with a nonlinearity between.

Tran, Wang, Torresani, Ray, LeCun, Paluri: "A Closer Look at Spatiotemporal Convolutions for Action
Recognition" (CVPR 2018, arXiv 1711.11248), section 3.5.
"""

from torch import Tensor, nn

from videoctx.layers.conv import plain_conv3d
from videoctx.layers.pointwise import BatchNorm


class Conv2Plus1d(nn.Module):
    """1×k×k convolution, BatchNorm, ReLU, t×1×1 convolution: (B, C_in, T, H, W) → (B, C_out, T / stride, …).

    Args:
        mid_channels: M between the two; by default ⌊t·k²·C_in·C_out / (k²·C_in + t·C_out)⌋, which gives the
            pair as many parameters as the t×k×k convolution that it stands for.
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
    ) -> None:
        super().__init__()
        extent, *space = kernel_size
        area = space[0] * space[1]
        if mid_channels is None:
            mid_channels = extent * area * in_channels * out_channels // (area * in_channels + extent * out_channels)
            mid_channels = max(mid_channels // groups, 1) * groups
        self.spatial = plain_conv3d(
            in_channels, mid_channels, kernel_size=(1, *space), stride=(1, *stride[1:]), groups=groups
        )
        self.norm = BatchNorm(mid_channels)
        self.relu = nn.ReLU(inplace=True)
        self.temporal = plain_conv3d(
            mid_channels, out_channels, kernel_size=(extent, 1, 1), stride=(stride[0], 1, 1), groups=groups
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.temporal(self.relu(self.norm(self.spatial(x))))
