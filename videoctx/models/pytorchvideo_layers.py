"""The layers of PyTorchVideo's networks, made and initialized by its own builders, by the names of this package.

Fan et al.: "PyTorchVideo: A Deep Learning Library for Video Understanding" (ACM Multimedia 2021, arXiv 2111.09887),
models/slowfast.py, models/x3d.py, models/csn.py, models/r2plus1d.py.

Differs from PyTorchVideo in what leaves the numbers as they are: ReLUs work in place, SiLU is torch's, squeeze-and-
excitation is a layer of its own, and no head applies a softmax.
"""

import warnings
from collections.abc import Callable
from typing import Any

from torch import nn

from videoctx.models.assembled import AssembledBlock, ChannelGate, Layers, TwoPathways, named_sequence
from videoctx.models.stem import MaxPool3d


def slowfast_layers(
    num_classes: int,
    *,
    depth: int,
    fast_depth: int,
    width: int,
    alpha: int,
    beta: int,
    fusion_kernel_t: int,
    fusion_norm: bool,
    res4_temporal_blocks: int | None,
) -> Layers:
    """Return the layers of `create_slowfast`; every stage is a `TwoPathways`."""
    builder = _import("slowfast")
    norm, activation = (nn.BatchNorm3d, nn.ReLU) if fusion_norm else (None, None)
    fusion = builder.FastToSlowFusionBuilder(
        slowfast_channel_reduction_ratio=beta,
        conv_fusion_channel_ratio=2,
        conv_kernel_size=(fusion_kernel_t, 1, 1),
        conv_stride=(alpha, 1, 1),
        norm=norm,
        activation=activation,
    )

    def blocks_of(depth: int) -> Any:
        return builder.create_slowfast(
            slowfast_channel_reduction_ratio=(beta,),
            fusion_builder=fusion.create_module,
            model_depth=depth,
            model_num_class=num_classes,
            stem_dim_outs=(width, width // beta),
            stem_pool=MaxPool3d,
            stage_conv_a_kernel_sizes=_kernels(builder._MODEL_STAGE_DEPTH[depth][2], res4_temporal_blocks),
            head_pool=nn.AdaptiveAvgPool3d,
        ).blocks

    blocks = blocks_of(depth)
    stem, *stages = blocks[:5]
    layers = Layers(_pathways(stem, _stem), [_pathways(stage, _stage) for stage in stages], blocks[-1].proj)
    if fast_depth != depth:  # the builder has one depth for both
        for stage, other in zip(layers.stages, blocks_of(fast_depth)[1:5], strict=True):
            stage.fast = _stage(other.multipathway_blocks[1])
    return layers


def _kernels(blocks_of_res4: int, temporal_blocks: int | None) -> tuple[tuple[Any, ...], ...]:
    """Return the kernels of the first convolution of blocks, per pathway and stage."""
    kernels: list[tuple[Any, ...]] = [((1, 1, 1), (1, 1, 1), (3, 1, 1), (3, 1, 1)), ((3, 1, 1),) * 4]
    if temporal_blocks is not None:
        inflated = min(temporal_blocks, blocks_of_res4)
        res4 = ((3, 1, 1),) * inflated + ((1, 1, 1),) * (blocks_of_res4 - inflated)
        kernels = [(*pathway[:2], res4, pathway[3]) for pathway in kernels]
    return tuple(kernels)


def x3d_layers(
    num_classes: int, *, depth_factor: float, width_factor: float, res2_shortcut_norm: bool
) -> tuple[Layers, nn.Sequential, nn.Sequential]:
    """Return the layers of `create_x3d`; and those between the last stage and the pooling, and after the pooling."""
    net = _import("x3d").create_x3d(
        model_num_class=num_classes, depth_factor=depth_factor, width_factor=width_factor, inner_act=nn.SiLU
    )
    first = net.blocks[1].res_blocks[0]
    if res2_shortcut_norm:
        first.branch1_norm = nn.BatchNorm3d(first.branch1_conv.out_channels)
    pool = net.blocks[-1].pool
    before = named_sequence(conv=pool.pre_conv, norm=pool.pre_norm, act=_in_place(pool.pre_act))
    # Of one position, the 1×1×1 convolution is a linear layer with the same weights.
    linear = nn.Linear(pool.post_conv.in_channels, pool.post_conv.out_channels, bias=False)
    linear.weight = nn.Parameter(pool.post_conv.weight.detach().flatten(1))
    return _layers(net), before, named_sequence(linear=linear, act=_in_place(pool.post_act))


def csn_layers(num_classes: int, *, depth: int, width: int) -> Layers:
    """Return the layers of `create_csn` with the pooling of the stem, as in its hub."""
    net = _import("csn").create_csn(
        model_depth=depth, model_num_class=num_classes, stem_dim_out=width, stem_pool=MaxPool3d
    )
    return _layers(net)


def r2plus1d_layers(num_classes: int, *, depth: int, width: int) -> Layers:
    """Return the layers of `create_r2plus1d`."""
    create = _import("r2plus1d").create_r2plus1d
    return _layers(create(model_depth=depth, model_num_class=num_classes, stem_dim_out=width, head_activation=None))


def _import(name: str) -> Any:
    """Import one of PyTorchVideo's modules, when a network is built: it takes as long as the rest of this package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torchvision's layers, about torch.jit
        from pytorchvideo.models import csn, r2plus1d, slowfast, x3d

    return {"slowfast": slowfast, "x3d": x3d, "csn": csn, "r2plus1d": r2plus1d}[name]


def _layers(net: Any) -> Layers:
    stem, *stages, head = net.blocks
    return Layers(_stem(stem), list(map(_stage, stages)), head.proj)


def _pathways(stage: Any, layers: Callable[[Any], nn.Sequential]) -> TwoPathways:
    slow, fast = map(layers, stage.multipathway_blocks)
    return TwoPathways(slow, fast, _fusion(stage.multipathway_fusion))


def _stem(stem: Any) -> nn.Sequential:
    return named_sequence(conv=_convolution(stem.conv), norm=stem.norm, act=_in_place(stem.activation), pool=stem.pool)


def _fusion(fusion: Any) -> nn.Sequential | None:
    if isinstance(fusion, nn.Identity):  # after the last stage
        return None
    return named_sequence(conv=fusion.conv_fast_to_slow, norm=fusion.norm, act=_in_place(fusion.activation))


def _stage(stage: Any) -> nn.Sequential:
    return nn.Sequential(*map(_block, stage.res_blocks))


def _block(block: Any) -> AssembledBlock:
    branch = block.branch2
    norm2, gate = branch.norm_b, None
    if isinstance(norm2, nn.Sequential):  # X3D's: the norm, and squeeze-and-excitation in every other block
        norm2, squeeze = norm2
        gate = None if isinstance(squeeze, nn.Identity) else _gate(squeeze)
    shortcut = [layer for layer in (_plain(block.branch1_conv), block.branch1_norm) if layer is not None]
    return AssembledBlock(
        named_sequence(
            conv1=branch.conv_a,
            norm1=branch.norm_a,
            act1=_in_place(branch.act_a),
            conv2=_convolution(branch.conv_b),
            norm2=norm2,
            gate=gate,
            act2=_in_place(branch.act_b),
            conv3=branch.conv_c,
            norm3=branch.norm_c,
        ),
        nn.Sequential(*shortcut) if shortcut else nn.Identity(),
        out_channels=branch.conv_c.out_channels,
    )


def _gate(squeeze_and_excitation: Any) -> ChannelGate:
    reduce, _, expand, _ = squeeze_and_excitation.block  # convolution, ReLU, convolution, sigmoid
    return ChannelGate(reduce, expand)


def _convolution(convolution: Any) -> nn.Module:
    """Return a convolution as it is, and one in two steps as a sequence in the order in which these run."""
    if isinstance(convolution, nn.Conv3d):
        _plain(convolution)
        return convolution
    steps = [convolution.conv_t, convolution.conv_xy]
    first, second = reversed(steps) if convolution.conv_xy_first else steps
    return named_sequence(
        first=_plain(first), norm=convolution.norm, act=_in_place(convolution.activation), second=_plain(second)
    )


def _plain(convolution: nn.Module | None) -> nn.Module | None:
    """Return the convolution, whose stride may be of numpy's integers, with a stride of Python's."""
    if isinstance(convolution, nn.Conv3d):
        convolution.stride = tuple(map(int, convolution.stride))
    return convolution


def _in_place(activation: nn.Module | None) -> nn.Module | None:
    return nn.ReLU(inplace=True) if isinstance(activation, nn.ReLU) else activation
