"""ResNets for video: C2D, I3D, Slow-only and R3D, with optional context blocks.

He, Zhang, Ren, Sun: "Deep Residual Learning" (CVPR 2016, arXiv 1512.03385): depths, widths, blocks.
Wang et al.: "Non-local Neural Networks" (CVPR 2018, arXiv 1711.07971): C2D, I3D 3×1×1 and 3×3×3, table 1, section 4.
Feichtenhofer et al.: "SlowFast Networks" (ICCV 2019, arXiv 1812.03982): Slow-only, table 1.
Tran et al.: "A Closer Look at Spatiotemporal Convolutions" (CVPR 2018, arXiv 1711.11248): R3D, MC3.

Differs from Non-local's released code: pool1 is padded as in ResNet, so res2 is 56 wide at 224, as table 1
prints, not 55.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from videoctx.layers.conv import plain_conv3d
from videoctx.layers.pointwise import BatchNorm
from videoctx.models.activation_checkpointing import checkpointed
from videoctx.models.insertion import insert_context
from videoctx.models.network_config import record_config
from videoctx.models.test_head import WindowedHead

Depth = Literal[18, 34, 50, 101, 152]
TemporalKernels = Literal["c2d", "i3d", "i3d333", "slow", "r3d", "mc3"]

STAGES = ("res2", "res3", "res4", "res5")
BLOCKS_PER_STAGE: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


class TemporalTable(NamedTuple):
    """The temporal kernel sizes of a network."""

    stem: int  # temporal kernel size of conv1
    blocks: dict[str, tuple[int, ...]]  # temporal kernel size of each block of a stage, repeated along it
    inflate_3x3: bool  # the 3×3 convolutions have the temporal kernel, not the first 1×1


TEMPORAL_TABLES: dict[str, TemporalTable] = {
    "c2d": TemporalTable(1, {"res2": (1,), "res3": (1,), "res4": (1,), "res5": (1,)}, False),
    "i3d": TemporalTable(5, {"res2": (3,), "res3": (3, 1), "res4": (3, 1), "res5": (1, 3)}, False),
    "i3d333": TemporalTable(5, {"res2": (3,), "res3": (3, 1), "res4": (3, 1), "res5": (1, 3)}, True),
    "slow": TemporalTable(1, {"res2": (1,), "res3": (1,), "res4": (3,), "res5": (3,)}, False),
    "r3d": TemporalTable(3, {"res2": (3,), "res3": (3,), "res4": (3,), "res5": (3,)}, True),
    "mc3": TemporalTable(3, {"res2": (3,), "res3": (1,), "res4": (1,), "res5": (1,)}, True),
}


class BlockShape(NamedTuple):
    """The shape of a residual block, beside its channels."""

    inner_channels: int  # of the 3×3 convolution
    stride: tuple[int, int, int]
    kernel_t: int  # over time, of the one inflated convolution
    inflate_3x3: bool  # that is the 3×3, not the first 1×1
    stride_at: Literal["3x3", "1x1"]
    groups: int
    conv: Callable[..., nn.Module]  # as Conv3dKind


class Stem(nn.Module):
    """conv1 and pool1: (B, 3, T, H, W) → (B, channels, T / strides, H / 4, W / 4); H / 2 and W / 2 without pool1."""

    def __init__(
        self,
        channels: int,
        *,
        kernel_t: int,
        stride_t: int,
        pool_t: tuple[int, int] | None,
        conv: Callable[..., nn.Module],
    ) -> None:
        super().__init__()
        self.conv = conv(3, channels, kernel_size=(kernel_t, 7, 7), stride=(stride_t, 2, 2))
        self.norm = BatchNorm(channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool = _max_pool((pool_t[0], 3, 3), (pool_t[1], 2, 2)) if pool_t else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.relu(self.norm(self.conv(x))))


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
        self.conv1 = shape.conv(in_channels, inner, kernel_size=(shape.kernel_t, 3, 3), stride=shape.stride)
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
        self.conv1 = plain_conv3d(in_channels, inner, kernel_size=(kernel_t_1x1, 1, 1), stride=stride_1x1)
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


class ResNet3D(WindowedHead):
    """A ResNet from (B, 3, T, H, W) to logits (B, num_classes), for any H, W and a T that allows the pooling.

    The published 8×8 networks (8 frames, one in 8) have the default strides over time; for 32×2 input set
    `conv1_stride_t=2` and `pool1_t=(3, 2)`, and `pool2_t=(3, 2)` for the kernels of Non-local's table 1; Slow-only has
    `pool2_t=(1, 1)`.

    Args:
        num_classes: K.
        depth: number of layers; 18 and 34 have basic blocks, the others bottlenecks.
        temporal_kernels: convolutions with a temporal kernel: none (`c2d`), the first 1×1 or the 3×3 of every other
            block (`i3d`, `i3d333`), the first 1×1 of every block of res4 and res5 (`slow`), every 3×3 (`r3d`), or every
            3×3 of res2 (`mc3`).
        conv1_stride_t: stride of conv1 over time.
        pool1_t: kernel and stride over time of the max pooling before res2. None: no such pooling (R3D).
        pool2_t: kernel and stride over time of the max pooling after res2.
        stage_stride_t: strides over time of res2 … res5.
        stride_at: which convolution of a stage's first bottleneck halves the resolution; weights come in both styles.
        width: channels of conv1; 64 in every published network.
        groups: cardinality of the 3×3 convolutions (ResNeXt).
        width_per_group: channels of each group in res2 (ResNeXt-50 32×4d: groups 32, width_per_group 4).
        block: kind of the residual blocks; by default basic blocks for depths 18 and 34, bottlenecks for the others.
        conv: kind of the 3×3 convolutions.
        stem_conv: kind of conv1.
        context: makes a context block for a number of channels. YAML chooses it by `class_path`.
        context_at: indices, from 0, of the blocks of each stage that get one, e.g.
            `{"res3": [1, 3], "res4": [1, 3, 5]}`.
        context_position: `after_add`, on the block's output (Non-local's code), or `after_1x1`, on the residual branch
            before the sum (GCNet's code).
        dropout: probability, before the classifier.
        zero_init_residual: start every residual branch at zero (the last γ of the branch).
        activation_checkpointing: stages, e.g. `[res2, res3]`, whose activations are computed again in the backward pass
            instead of being kept: less memory, more time, the same numbers.

    Attributes:
        config: builds this network again (`videoctx.models.network_config`). None: it cannot be stored.
        windows: the windows of the last feature map that are classified in evaluation mode, as the protocol of a test
            has them (`videoctx.models.test_head`). None: the whole map.

    Raises:
        ValueError: A choice, stage or block index is unknown; a number is out of range; or `context` is given without
            `context_at`, or the reverse.

    >>> import torch
    >>> net = ResNet3D(10, depth=18, width=8)
    >>> net(torch.zeros(1, 3, 4, 32, 32)).shape
    torch.Size([1, 10])
    """

    config: dict[str, Any] | None

    def __init__(
        self,
        num_classes: int,
        *,
        depth: Depth = 50,
        temporal_kernels: TemporalKernels = "i3d",
        conv1_stride_t: int = 1,
        pool1_t: tuple[int, int] | None = (1, 1),
        pool2_t: tuple[int, int] = (2, 2),
        stage_stride_t: tuple[int, int, int, int] = (1, 1, 1, 1),
        stride_at: Literal["3x3", "1x1"] = "3x3",
        width: int = 64,
        groups: int = 1,
        width_per_group: int = 64,
        block: Callable[[int, int, BlockShape], ResidualBlock] | None = None,
        conv: Callable[[int, int], nn.Module] = plain_conv3d,  # type: ignore[assignment] # as YAML needs it
        stem_conv: Callable[[int, int], nn.Module] = plain_conv3d,  # type: ignore[assignment] # likewise
        context: Callable[[int], nn.Module] | None = None,
        context_at: Mapping[str, Sequence[int]] | None = None,
        context_position: Literal["after_add", "after_1x1"] = "after_add",
        dropout: float = 0.5,
        zero_init_residual: bool = True,
        activation_checkpointing: Sequence[str] = (),
    ) -> None:
        arguments = dict(locals())  # of the call, before anything else is assigned
        for name, value, choices in (
            ("depth", depth, BLOCKS_PER_STAGE),
            ("temporal_kernels", temporal_kernels, TEMPORAL_TABLES),
            ("stride_at", stride_at, ("3x3", "1x1")),
            ("context_position", context_position, ("after_add", "after_1x1")),
        ):
            if value not in choices:
                raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(str, choices))}")
        for name, least in (
            ("width", width),
            ("groups", groups),
            ("width_per_group", width_per_group),
            ("conv1_stride_t", conv1_stride_t),
            ("stage_stride_t", min(stage_stride_t)),
        ):
            if least < 1:
                raise ValueError(f"{name} is {least}; expected 1 or more")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout is {dropout}; expected 0 to 1")
        if (context is None) != (not context_at):
            raise ValueError("context and context_at belong together: expected both or neither")
        if not set(activation_checkpointing) <= set(STAGES):
            raise ValueError(
                f"activation_checkpointing is {list(activation_checkpointing)}; expected stages of {', '.join(STAGES)}"
            )
        super().__init__()
        deep = depth >= 50
        make_block = block or (Bottleneck3d if deep else BasicBlock3d)
        table = TEMPORAL_TABLES[temporal_kernels]
        self.stem = Stem(width, kernel_t=table.stem, stride_t=conv1_stride_t, pool_t=pool1_t, conv=stem_conv)
        in_channels = width
        for number, (stage, num_blocks) in enumerate(zip(STAGES, BLOCKS_PER_STAGE[depth], strict=True)):
            planes = width * 2**number
            out_channels = planes * 4 if deep else planes
            first_stride = (stage_stride_t[number], *((1, 1) if stage == "res2" else (2, 2)))
            blocks = []
            for index in range(num_blocks):
                shape = BlockShape(
                    inner_channels=planes * groups * width_per_group // 64,
                    stride=first_stride if index == 0 else (1, 1, 1),
                    kernel_t=table.blocks[stage][index % len(table.blocks[stage])],
                    inflate_3x3=table.inflate_3x3,
                    stride_at=stride_at,
                    groups=groups,
                    conv=conv,
                )
                blocks.append(make_block(in_channels, out_channels, shape))
                in_channels = out_channels
            self.add_module(stage, nn.Sequential(*blocks))
            if stage == "res2":
                self.pool2 = _max_pool((pool2_t[0], 1, 1), (pool2_t[1], 1, 1))
        self.activation_checkpointing = frozenset(activation_checkpointing)
        self.average = nn.AdaptiveAvgPool3d(1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(in_channels, num_classes)
        self._initialize(zero_init_residual)
        if context and context_at:
            insert_context(self, context_at, context, position=context_position)
        for name in ("self", "num_classes", "__class__"):
            del arguments[name]
        self.config = record_config(type(self), arguments)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in STAGES:
            blocks = getattr(self, stage)
            x = checkpointed(blocks, x) if stage in self.activation_checkpointing else blocks(x)
            if stage == "res2":
                x = self.pool2(x)
        return self.classify(x)

    def _initialize(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, ResidualBlock) and zero_init_residual:
                nn.init.zeros_(module.last_norm.weight)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)


class MaxPool3d(nn.MaxPool3d):
    """Max pooling in the type of its input. Autocast on a CPU would use float32, which only costs time."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return super().forward(x)


def _max_pool(kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> nn.Module:
    """Odd kernels are centered (padded by half), even ones are not, as in the papers' released networks."""
    if kernel == stride == (1, 1, 1):
        return nn.Identity()
    return MaxPool3d(kernel, stride, padding=tuple(size // 2 if size % 2 else 0 for size in kernel))
