"""ResNets for video: C2D, TSM, I3D, Slow-only, R3D and CSN, with optional context blocks.

He, Zhang, Ren, Sun: "Deep Residual Learning" (CVPR 2016, arXiv 1512.03385): depths, widths, blocks.
The sources of the kernels over time are in `temporal_tables`.

Differs from Non-local's released code: pool1 is padded as in ResNet by default, so res2 is 56 wide at 224, as the
paper's table 1 prints, not 55.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from videoctx.layers.conv import plain_conv3d
from videoctx.layers.neck import Neck
from videoctx.models.activation_checkpointing import checkpointed
from videoctx.models.insertion import insert_context
from videoctx.models.network_config import record_config
from videoctx.models.residual_blocks import BasicBlock3d, BlockShape, Bottleneck3d, ResidualBlock, own_norms
from videoctx.models.stem import Stem, max_pool
from videoctx.models.temporal_tables import BLOCKS_PER_STAGE, STAGES, TEMPORAL_TABLES, Depth, TemporalKernels
from videoctx.models.test_head import WindowedHead


class ResNet3D(WindowedHead):
    """A ResNet from (B, 3, T, H, W) to logits (B, num_classes), for any H, W and a T that allows the pooling.

    The published 8×8 networks (8 frames, one in 8) have the default strides over time; for 32×2 input set
    `conv1_stride_t=2` and `pool1_t=(3, 2)`, and `pool2_t=(3, 2)` for the kernels of Non-local's table 1; Slow-only has
    `pool2_t=(1, 1)`.

    Args:
        num_classes: K.
        depth: number of layers; 18 and 34 have basic blocks, the others bottlenecks.
        temporal_kernels: convolutions with a temporal kernel: none (`c2d`), the first 1×1 or the 3×3 of every other
            block (`i3d`, `i3d333`), the first 1×1 of every block (`i3d_heavy`) or of those of res4 and res5 (`slow`),
            every 3×3 (`r3d`; `r3d7` has a conv1 of 7×7×7 as well), or every 3×3 of res2 (`mc3`).
        conv1_stride_t: stride of conv1 over time.
        pool1_t: kernel and stride over time of the max pooling before res2. None: no such pooling (R3D).
        pool1_padded: pad that pooling in space, as in ResNet: res2 is 56 wide at 224. Otherwise it is 55 wide, as in
            video-nonlocal-net and mmaction2's C2D.
        pool2_t: kernel and stride over time of the max pooling after res2.
        stage_stride_t: strides over time of res2 … res5.
        stride_at: which convolution of a stage's first bottleneck halves the resolution; weights come in both styles.
        width: channels of conv1; 64 in every published network.
        groups: cardinality of the 3×3 convolutions (ResNeXt).
        width_per_group: channels of each group in res2 (ResNeXt-50 32×4d: groups 32, width_per_group 4).
        block: kind of the residual blocks; by default basic blocks for depths 18 and 34, bottlenecks for the others.
        conv: kind of the 3×3 convolutions.
        first_conv: kind of the first convolution of the blocks, such as `TemporalShiftConv3d`. None: an ordinary 1×1
            in bottlenecks, and `conv` in basic blocks.
        first_conv_every: every which block of a stage, from the first, has `first_conv`; TSM has 2 from depth 101 on.
        stem_conv: kind of conv1.
        norm_eps: ε of the BatchNorms after convolutions, but not of those inside of a convolution's kind or a context
            block. CSN and mmaction2's R(2+1)D have 1e-3.
        context: makes a context block for a number of channels. YAML chooses it by `class_path`.
        context_at: indices, from 0, of the blocks of each stage that get one, e.g.
            `{"res3": [1, 3], "res4": [1, 3, 5]}`.
        context_position: `after_add`, on the block's output (Non-local's code), or `after_1x1`, on the residual branch
            before the sum (GCNet's code).
        neck: makes the module between res3, res4 and res5 and the classifier, such as `FeaturePyramidTransformer`, for
            their numbers of channels. None: the classifier sees res5.
        dropout: probability, before the classifier.
        zero_init_residual: start every residual branch at zero (the last γ of the branch).
        activation_checkpointing: stages, e.g. `[res2, res3]`, whose activations are computed again in the backward pass
            instead of being kept: less memory, more time, the same numbers.

    Attributes:
        config: builds this network again (`videoctx.models.network_config`). None: it cannot be stored.
        windows: the windows of the last feature map that are classified in evaluation mode, as the head pooling of a
            test has them (`videoctx.models.test_head`). None: the whole map.

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
        pool1_padded: bool = True,
        pool2_t: tuple[int, int] = (2, 2),
        stage_stride_t: tuple[int, int, int, int] = (1, 1, 1, 1),
        stride_at: Literal["3x3", "1x1"] = "3x3",
        width: int = 64,
        groups: int = 1,
        width_per_group: int = 64,
        block: Callable[[int, int, BlockShape], ResidualBlock] | None = None,
        conv: Callable[[int, int], nn.Module] = plain_conv3d,  # type: ignore[assignment] # as YAML needs it
        first_conv: Callable[[int, int], nn.Module] | None = None,
        first_conv_every: int = 1,
        stem_conv: Callable[[int, int], nn.Module] = plain_conv3d,  # type: ignore[assignment] # as for conv
        norm_eps: float = 1e-5,
        context: Callable[[int], nn.Module] | None = None,
        context_at: Mapping[str, Sequence[int]] | None = None,
        context_position: Literal["after_add", "after_1x1"] = "after_add",
        neck: Callable[[Sequence[int]], Neck] | None = None,
        dropout: float = 0.5,
        zero_init_residual: bool = True,
        activation_checkpointing: Sequence[str] = (),
    ) -> None:
        arguments = dict(locals())  # of the call, before anything else is assigned
        for name in ("self", "num_classes", "__class__"):
            del arguments[name]
        _check(arguments)
        super().__init__()
        deep = depth >= 50
        make_block = block or (Bottleneck3d if deep else BasicBlock3d)
        table = TEMPORAL_TABLES[temporal_kernels]
        self.stem = Stem(
            width,
            kernel_t=table.stem,
            stride_t=conv1_stride_t,
            pool_t=pool1_t,
            pool_padded=pool1_padded,
            conv=stem_conv,
        )
        in_channels, channels = width, list[int]()
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
                    first_conv=first_conv if index % first_conv_every == 0 else None,
                )
                blocks.append(make_block(in_channels, out_channels, shape))
                in_channels = out_channels
            channels.append(out_channels)
            self.add_module(stage, nn.Sequential(*blocks))
            if stage == "res2":
                self.pool2 = max_pool((pool2_t[0], 1, 1), (pool2_t[1], 1, 1))
        self.activation_checkpointing = frozenset(activation_checkpointing)
        self.neck = neck(channels[1:]) if neck else None
        self.average = nn.AdaptiveAvgPool3d(1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.neck.out_channels if self.neck else in_channels, num_classes)
        self._initialize(zero_init_residual, norm_eps)
        if context and context_at:
            insert_context(self, context_at, context, position=context_position)
        self.config = record_config(type(self), arguments)

    def forward(self, x: Tensor) -> Tensor:
        x, maps = self.stem(x), list[Tensor]()
        for stage in STAGES:
            blocks = getattr(self, stage)
            x = checkpointed(blocks, x) if stage in self.activation_checkpointing else blocks(x)
            if stage == "res2":
                x = self.pool2(x)
            elif self.neck is not None:
                maps.append(x)
        return self.classify(x if self.neck is None else self.neck(maps))

    def _initialize(self, zero_init_residual: bool, norm_eps: float) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, ResidualBlock) and zero_init_residual:
                nn.init.zeros_(module.last_norm.weight)
        for norm in (self.stem.norm, *(norm for block in self.modules() for norm in own_norms(block))):
            norm.eps = norm_eps
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)


def _check(given: Mapping[str, Any]) -> None:
    """Check the arguments of a `ResNet3D` that the layers do not check themselves.

    Raises:
        ValueError: One is out of range or unknown.
    """
    for name, choices in (
        ("depth", BLOCKS_PER_STAGE),
        ("temporal_kernels", TEMPORAL_TABLES),
        ("stride_at", ("3x3", "1x1")),
        ("context_position", ("after_add", "after_1x1")),
    ):
        if given[name] not in choices:
            raise ValueError(f"{name} is {given[name]!r}; expected one of {', '.join(map(str, choices))}")
    counts = ("width", "groups", "width_per_group", "conv1_stride_t", "first_conv_every")
    for name, least in (*((name, given[name]) for name in counts), ("stage_stride_t", min(given["stage_stride_t"]))):
        if least < 1:
            raise ValueError(f"{name} is {least}; expected 1 or more")
    if not 0 <= given["dropout"] <= 1:
        raise ValueError(f"dropout is {given['dropout']}; expected 0 to 1")
    if not given["norm_eps"] > 0:
        raise ValueError(f"norm_eps is {given['norm_eps']}; expected more than 0")
    if given["first_conv_every"] > 1 and given["first_conv"] is None:
        raise ValueError("first_conv_every has no effect without first_conv; expected both or neither")
    if (given["context"] is None) != (not given["context_at"]):
        raise ValueError("context and context_at belong together: expected both or neither")
    checkpointed_stages = given["activation_checkpointing"]
    if not set(checkpointed_stages) <= set(STAGES):
        raise ValueError(
            f"activation_checkpointing is {list(checkpointed_stages)}; expected stages of {', '.join(STAGES)}"
        )
