"""Insertion of context blocks into a network of this or another project, for video or images."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from torch import nn

from videoctx.models.network_config import record_insertion

POSITIONS = ("after_add", "after_1x1")


class WithContext(nn.Sequential):
    """A block of another project, followed by a context block."""


def insert_context(
    net: nn.Module,
    context_at: Mapping[str, Sequence[int]],
    context: Callable[[int], nn.Module],
    *,
    position: Literal["after_add", "after_1x1"] = "after_add",
) -> nn.Module:
    """Insert context blocks into a network, in place.

    A block of this package has a slot for a context block, so no parameter changes its name. A block of another project
    becomes a pair of the block and its context block, which changes the names: load its weights first.

    Args:
        net: The network. It is changed in place and returned.
        context_at: Dotted names of stages (sequences of residual blocks) → indices, from 0, of the blocks that get a
            context block.
        context: Makes a context block for a number of channels.
        position: `"after_add"`: after the block. `"after_1x1"`: on its residual branch before the sum, in blocks
            of this package only.

    Raises:
        ValueError: The position, a stage or an index is unknown; a place is taken; a block has no slot for
            `"after_1x1"`, or its number of channels cannot be inferred. The network is then unchanged.

    >>> from torchvision.models import resnet18
    >>> from videoctx.layers import GlobalContext
    >>> net = insert_context(resnet18(), {"layer4": [1]}, GlobalContext)
    >>> type(net.layer4[1]).__name__
    'WithContext'
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
    """Whether the module is a sequence of blocks with several convolutions each."""
    return isinstance(module, nn.Sequential | nn.ModuleList) and all(
        sum(isinstance(layer, nn.Conv2d | nn.Conv3d) for layer in block.modules()) > 1 for block in module
    )


def _out_channels(block: nn.Module, name: str) -> int:
    """Return the channels of the last BatchNorm: that of the branch or of the shortcut, which are equal."""
    if isinstance(channels := getattr(block, "out_channels", None), int):
        return channels
    norms = [layer for layer in block.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        raise ValueError(
            f"{name} is a {type(block).__name__} without BatchNorm: its number of channels cannot be inferred"
        )
    return norms[-1].num_features
