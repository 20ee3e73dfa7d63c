"""Residual blocks over video, with two slots for context blocks.

He, Zhang, Ren, Sun: "Deep Residual Learning" (CVPR 2016, arXiv 1512.03385), section 4.1 and figure 5.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor, nn

from videoctx.layers.conv import plain_conv3d
from videoctx.layers.pointwise import BatchNorm


class BlockShape(NamedTuple):
    """The shape of a residual block, beside its channels."""

    inner_channels: int  # of the 3×3 convolution
    stride: tuple[int, int, int]
    kernel_t: int  # over time, of the one inflated convolution
    inflate_3x3: bool  # that is the 3×3, not the first 1×1
    stride_at: Literal["3x3", "1x1"]
    groups: int
    conv: Callable[..., nn.Module]  # kind of the 3×3 convolutions, as Conv3dKind
    first_conv: Callable[..., nn.Module] | None = None  # likewise; None: a plain 1×1, or as the other 3×3 ones


class ResidualBlock(nn.Module):
    """z = after_add(ReLU(shortcut(x) + after_1x1(branch(x)))); the two context slots are empty unless filled."""

    def __init__(self, in_channels: int, out_channels: int, shape: BlockShape) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.shortcut: nn.Module = nn.Identity()
        if shape.stride != (1, 1, 1) or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                plain_conv3d(in_channels, out_channels, kernel_size=(1, 1, 1), stride=shape.stride),
                BatchNorm(out_channels),
            )
        self.relu = nn.ReLU(inplace=True)
        self.after_1x1: nn.Module = nn.Identity()
        self.after_add: nn.Module = nn.Identity()

    def branch(self, x: Tensor) -> Tensor:
        """Return the residual branch of x, up to and including its last norm."""
        raise NotImplementedError

    @property
    def last_norm(self) -> BatchNorm:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        z = self.relu(self.shortcut(x) + self.after_1x1(self.branch(x)))
        return self.after_add(z)


class BasicBlock3d(ResidualBlock):
    """Two 3×3 convolutions. I3D and Slow inflate the first; tables that inflate 3×3 convolutions, both."""

    def __init__(self, in_channels: int, out_channels: int, shape: BlockShape) -> None:
        if shape.stride_at != "3x3" or shape.groups != 1:
            raise ValueError(
                "depths 18 and 34 have no 1×1 convolutions and no groups: expected stride_at '3x3' and groups 1,"
                f" got {shape.stride_at!r} and {shape.groups}"
            )
        super().__init__(in_channels, out_channels, shape)
        inner = shape.inner_channels
        second_kernel_t = shape.kernel_t if shape.inflate_3x3 else 1
        first_conv = shape.first_conv or shape.conv
        self.conv1 = first_conv(in_channels, inner, kernel_size=(shape.kernel_t, 3, 3), stride=shape.stride)
        self.norm1 = BatchNorm(inner)
        self.conv2 = shape.conv(inner, out_channels, kernel_size=(second_kernel_t, 3, 3))
        self.norm2 = BatchNorm(out_channels)

    def branch(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(self.conv1(x)))
        return self.norm2(self.conv2(x))

    @property
    def last_norm(self) -> BatchNorm:
        return self.norm2


class Bottleneck3d(ResidualBlock):
    """1×1, 3×3, 1×1 convolutions. I3D and Slow inflate the first 1×1; tables that inflate the 3×3, that one."""

    def __init__(self, in_channels: int, out_channels: int, shape: BlockShape) -> None:
        super().__init__(in_channels, out_channels, shape)
        inner, plain = shape.inner_channels, (1, 1, 1)
        kernel_t_1x1, kernel_t_3x3 = (1, shape.kernel_t) if shape.inflate_3x3 else (shape.kernel_t, 1)
        stride_1x1, stride_3x3 = (plain, shape.stride) if shape.stride_at == "3x3" else (shape.stride, plain)
        first_conv = shape.first_conv or plain_conv3d
        self.conv1 = first_conv(in_channels, inner, kernel_size=(kernel_t_1x1, 1, 1), stride=stride_1x1)
        self.norm1 = BatchNorm(inner)
        self.conv2 = shape.conv(inner, inner, kernel_size=(kernel_t_3x3, 3, 3), stride=stride_3x3, groups=shape.groups)
        self.norm2 = BatchNorm(inner)
        self.conv3 = plain_conv3d(inner, out_channels, kernel_size=(1, 1, 1))
        self.norm3 = BatchNorm(out_channels)

    def branch(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(self.conv1(x)))
        x = self.relu(self.norm2(self.conv2(x)))
        return self.norm3(self.conv3(x))

    @property
    def last_norm(self) -> BatchNorm:
        return self.norm3


def own_norms(block: nn.Module) -> list[BatchNorm]:
    """Return the norms after the convolutions of a residual block. Empty for any other module."""
    if not isinstance(block, ResidualBlock):
        return []
    places = [child for name, child in block.named_children() if name.startswith("norm")]
    if isinstance(block.shortcut, nn.Sequential):
        places.append(block.shortcut[-1])
    return [norm for place in places for norm in place.modules() if isinstance(norm, BatchNorm)]
