"""The basic blocks of R(2+1)D, of torchvision, IG-65M and mmaction2: both convolutions in space, then in time.

Tran, Wang, Torresani, Ray, LeCun, Paluri: "A Closer Look at Spatiotemporal Convolutions for Action Recognition"
(CVPR 2018, arXiv 1711.11248), section 3.5.

| block                    | middle channels of its convolutions        | shortcut                                   |
|--------------------------|--------------------------------------------|--------------------------------------------|
| `BasicBlock2Plus1d`      | those of the first, in both: torchvision's | a 1×1×1 convolution                        |
| `OwnWidthsBlock2Plus1d`  | of each by itself, as in the paper         | a 1×1×1 convolution, as in IG-65M's        |
| `FactorizedBlock2Plus1d` | of each by itself, as in the paper         | two 1×1×1 convolutions, as in mmaction2    |

Differs from the paper: torchvision's middle channels leave the first block of res3, res4 and res5 with fewer parameters
than its 3D counterpart. mmaction2's shortcuts have the middle channels of a convolution over three frames.
"""

from functools import partial

from torch import nn

from videoctx.layers.conv2plus1d import Conv2Plus1d
from videoctx.models.residual_blocks import BasicBlock3d, BlockShape


class BasicBlock2Plus1d(BasicBlock3d):
    """Two (2+1)D convolutions with the same number of middle channels; for depths 18 and 34.

    Raises:
        ValueError: `first_conv` is given.
    """

    def __init__(self, in_channels: int, out_channels: int, shape: BlockShape) -> None:
        _refuse_first_conv(shape)
        super().__init__(in_channels, out_channels, shape._replace(conv=Conv2Plus1d))
        middle: int = self.conv1.get_submodule("spatial").out_channels  # type: ignore[assignment] # of a convolution
        self.conv2 = Conv2Plus1d(out_channels, out_channels, kernel_size=(shape.kernel_t, 3, 3), mid_channels=middle)


class OwnWidthsBlock2Plus1d(BasicBlock3d):
    """Two (2+1)D convolutions, each with its own number of middle channels; for depths 18 and 34.

    Args:
        norm_eps: ε of the BatchNorms inside the convolutions.

    Raises:
        ValueError: `first_conv` is given.
    """

    def __init__(self, in_channels: int, out_channels: int, shape: BlockShape, *, norm_eps: float = 1e-5) -> None:
        _refuse_first_conv(shape)
        conv = partial(Conv2Plus1d, norm_eps=norm_eps)
        super().__init__(in_channels, out_channels, shape._replace(conv=conv))


class FactorizedBlock2Plus1d(BasicBlock3d):
    """Two (2+1)D convolutions, and a shortcut of two 1×1×1 convolutions; for depths 18 and 34.

    Raises:
        ValueError: `first_conv` is given.
    """

    def __init__(self, in_channels: int, out_channels: int, shape: BlockShape) -> None:
        _refuse_first_conv(shape)
        super().__init__(in_channels, out_channels, shape._replace(conv=Conv2Plus1d))
        if isinstance(self.shortcut, nn.Sequential):
            middle = 3 * in_channels * out_channels // (in_channels + 3 * out_channels)
            self.shortcut[0] = Conv2Plus1d(
                in_channels, out_channels, kernel_size=(1, 1, 1), stride=shape.stride, mid_channels=middle
            )


def _refuse_first_conv(shape: BlockShape) -> None:
    if shape.first_conv is not None:
        raise ValueError("both convolutions of an R(2+1)D block are (2+1)D ones; expected no first_conv")
