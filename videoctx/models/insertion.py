"""Context blocks put into a network, ours or another's, for video or images."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from torch import nn

from videoctx.models.network_config import record_insertion

POSITIONS = ("after_add", "after_1x1")


class WithContext(nn.Sequential):
    """Another project's block and the context block after it."""


def insert_context(
    net: nn.Module,
    context_at: Mapping[str, Sequence[int]],
    context: Callable[[int], nn.Module],
    *,
    position: Literal["after_add", "after_1x1"] = "after_add",
) -> nn.Module:
    """`insert_context(torchvision.models.resnet50(), {"layer3": [1, 3, 5]}, GlobalContext)`.

    A block with slots of that name (`ResidualBlock`) gets its slot filled, and no parameter changes its name. Another's
    becomes a pair, the block and its context block, which changes the names: load its weights first.

    Args:
        net: changed in place, and returned.
        context_at: dotted names of stages (sequences of residual blocks), and the indices, from 0, of the blocks that
            get a context block.
        context: makes a context block for a number of channels.
        position: after the block, or on its residual branch before the sum; the latter needs a slot.

    Raises:
        ValueError: an unknown position, stage or index; a place that is taken; a block without slots for `after_1x1`,
            or whose channels cannot be told. The network is then unchanged.
    """
    if position not in POSITIONS:
        raise ValueError(f"position is {position!r}; expected one of {', '.join(POSITIONS)}")
    stages = {stage: _stage(net, stage) for stage in context_at}
    made = []
    for stage, indices in context_at.items():
        if len(set(indices)) < len(indices):
            raise ValueError(f"context_at names a block of {stage} twice: {list(indices)}")
        for index in indices:
            if not 0 <= index < len(stages[stage]):
                raise ValueError(
                    f"context_at asks for block {index} of {stage}, which has {len(stages[stage])}:"
                    f" expected 0 to {len(stages[stage]) - 1}"
                )
            block = stages[stage][index]
            if isinstance(block, WithContext) or not isinstance(getattr(block, position, nn.Identity()), nn.Identity):
                raise ValueError(f"{stage}.{index} has a context block {position} already")
            if position == "after_1x1" and not hasattr(block, position):
                raise ValueError(f"{stage}.{index} is a {type(block).__name__}; expected position after_add there")
            made.append((stages[stage], index, context(_out_channels(block, f"{stage}.{index}"))))
    for blocks, index, context_block in made:
        if hasattr(blocks[index], position):
            setattr(blocks[index], position, context_block)
        else:
            blocks[index] = WithContext(blocks[index], context_block)
    if made:
        record_insertion(net, context=context, context_at=context_at, context_position=position)
    return net


def _stage(net: nn.Module, name: str) -> nn.Sequential | nn.ModuleList:
    stages = {path: module for path, module in net.named_modules() if path and _is_stage(module)}
    if name not in stages:
        raise ValueError(f"context_at names stage {name!r}; expected one of {', '.join(stages)}")
    return stages[name]


def _is_stage(module: nn.Module) -> bool:
    """A sequence of blocks, each with several convolutions of its own."""
    return isinstance(module, nn.Sequential | nn.ModuleList) and all(
        sum(isinstance(layer, nn.Conv2d | nn.Conv3d) for layer in block.modules()) > 1 for block in module
    )


def _out_channels(block: nn.Module, name: str) -> int:
    """Channels of the last BatchNorm: in a ResNet that of the branch or of the shortcut, which are equal."""
    if isinstance(channels := getattr(block, "out_channels", None), int):
        return channels
    norms = [layer for layer in block.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        raise ValueError(f"{name} is a {type(block).__name__} without BatchNorm: its channels cannot be told")
    return norms[-1].num_features
