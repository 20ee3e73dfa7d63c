"""The Res2Net bottleneck: the 3×3 convolution in steps, each seeing the one before.

Gao, Cheng, Zhao, Zhang, Yang, Torr: "Res2Net: A New Multi-scale Backbone Architecture" (TPAMI 2021, arXiv
1904.01169), section 3.1; the first block of a stage as in the authors' code.

Differs from the paper: over video, with the temporal kernels of the network's table.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoctx.layers.conv import plain_conv3d
from videoctx.layers.pointwise import BatchNorm
from videoctx.models.residual_blocks import BlockShape, ResidualBlock


class Res2NetBottleneck3d(ResidualBlock):
    """1×1 convolution to `scale` parts x₁ … x_s; y_i = ReLU(BN(K_i(x_i + y_{i-1}))), y_s = x_s; 1×1 convolution.

    As in the authors' code the untouched part is the last, and a block that changes the resolution or the
    channels, the first of a stage, adds no y_{i-1} and average-pools its untouched part.

    Args:
        scale: s, number of parts.
        base_width: channels of a part in res2 of a network of width 64; Res2Net-50 26w×4s has 26.

    Raises:
        ValueError: `scale` below 2, a part without channels, or a stride in the first 1×1.

    >>> shape = BlockShape(64, (1, 1, 1), 1, False, "3x3", 1, plain_conv3d)
    >>> Res2NetBottleneck3d(64, 256, shape)(torch.zeros(1, 64, 2, 8, 8)).shape
    torch.Size([1, 256, 2, 8, 8])
    """

    def __init__(
        self, in_channels: int, out_channels: int, shape: BlockShape, *, scale: int = 4, base_width: int = 26
    ) -> None:
        if scale < 2:
            raise ValueError(f"scale is {scale}; expected 2 or more")
        if shape.stride_at != "3x3":
            raise ValueError(f"a Res2Net bottleneck has its stride in the 3×3; got stride_at {shape.stride_at!r}")
        part = shape.inner_channels * base_width // 64
        if part < 1 or part % shape.groups:
            raise ValueError(
                f"base_width {base_width} of {shape.inner_channels} channels leaves parts of {part};"
                f" expected 1 or more, divisible by {shape.groups} groups"
            )
        super().__init__(in_channels, out_channels, shape)
        kernel_t_1x1, kernel_t_3x3 = (1, shape.kernel_t) if shape.inflate_3x3 else (shape.kernel_t, 1)
        self.first_of_stage = not isinstance(self.shortcut, nn.Identity)
        self.stride = shape.stride
        self.scale = scale
        first_conv = shape.first_conv or plain_conv3d
        self.conv1 = first_conv(in_channels, part * scale, kernel_size=(kernel_t_1x1, 1, 1))
        self.norm1 = BatchNorm(part * scale)
        kernel = (kernel_t_3x3, 3, 3)
        self.convs = nn.ModuleList(
            shape.conv(part, part, kernel_size=kernel, stride=shape.stride, groups=shape.groups)
            for _ in range(scale - 1)
        )
        self.norms = nn.ModuleList(BatchNorm(part) for _ in range(scale - 1))
        self.conv3 = plain_conv3d(part * scale, out_channels, kernel_size=(1, 1, 1))
        self.norm3 = BatchNorm(out_channels)

    def branch(self, x: Tensor) -> Tensor:
        *parts, untouched = self.relu(self.norm1(self.conv1(x))).chunk(self.scale, dim=1)
        outputs: list[Tensor] = []
        for part, conv, norm in zip(parts, self.convs, self.norms, strict=True):
            seen = part if self.first_of_stage or not outputs else part + outputs[-1]
            outputs.append(self.relu(norm(conv(seen))))
        if self.first_of_stage:
            untouched = F.avg_pool3d(F.pad(untouched, (1, 1, 1, 1)), (1, 3, 3), self.stride)
        return self.norm3(self.conv3(torch.cat([*outputs, untouched], dim=1)))

    @property
    def last_norm(self) -> BatchNorm:
        return self.norm3
