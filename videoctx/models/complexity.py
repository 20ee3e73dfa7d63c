"""Parameters and multiply-adds of a network, of its stages and of its context blocks.

`torch.utils.flop_counter` counts the multiply-adds of convolutions, linear layers and matrix products for one clip, on
the meta device.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from videoctx.layers.context import ContextBlock
from videoctx.models.meta_device import on_meta


@dataclass(frozen=True, slots=True)
class Part:
    """A named part of a network."""

    name: str
    kind: str
    params: int
    macs: int


@dataclass(frozen=True, slots=True)
class Complexity:
    """Counts of parameters and multiply-adds. Those of a stage include its context blocks."""

    params: int
    macs: int
    stages: list[Part]
    context_blocks: list[Part]

    def as_dict(self) -> dict:
        return asdict(self)


def complexity(make_net: Callable[[], nn.Module], *, clip_len: int, size: int) -> Complexity:
    """Count a network on one clip, (1, 3, clip_len, size, size).

    Args:
        make_net: Makes the network. It is called under the meta device.
    """
    counter = FlopCounterMode(display=False)
    with on_meta():
        net = make_net().eval()
        clip = torch.empty(1, 3, clip_len, size, size)
        with counter, torch.no_grad():
            net(clip)
    flops_of = {name: sum(flops.values()) for name, flops in counter.get_flop_counts().items()}
    root = type(net).__name__

    def part(name: str, module: nn.Module) -> Part:
        return Part(name, type(module).__name__, _params(module), flops_of.get(f"{root}.{name}", 0) // 2)

    return Complexity(
        params=_params(net),
        macs=counter.get_total_flops() // 2,
        stages=[part(name, module) for name, module in net.named_children() if _params(module)],
        context_blocks=[part(name, module) for name, module in net.named_modules() if isinstance(module, ContextBlock)],
    )


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
