"""The basic block of torchvision's R(2+1)D: both convolutions in space, then in time.

Tran, Wang, Torresani, Ray, LeCun, Paluri: "A Closer Look at Spatiotemporal Convolutions for Action Recognition"
(CVPR 2018, arXiv 1711.11248), section 3.5.

Differs from the paper, as torchvision's code does: both convolutions of a block have the middle channels of the first,
which leaves the first block of res3, res4 and res5 with fewer parameters than its 3D counterpart.
"""

from videoctx.layers.conv2plus1d import Conv2Plus1d
from videoctx.models.resnet3d import BasicBlock3d, BlockShape


class BasicBlock2Plus1d(BasicBlock3d):
    """Two (2+1)D convolutions with the same number of middle channels; for depths 18 and 34."""

    def __init__(self, in_channels: int, out_channels: int, shape: BlockShape) -> None:
        super().__init__(in_channels, out_channels, shape._replace(conv=Conv2Plus1d))
        middle: int = self.conv1.get_submodule("spatial").out_channels  # type: ignore[assignment] # of a convolution
        self.conv2 = Conv2Plus1d(out_channels, out_channels, kernel_size=(shape.kernel_t, 3, 3), mid_channels=middle)
