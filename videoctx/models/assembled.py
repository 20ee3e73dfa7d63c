"""Parts of the networks that PyTorchVideo's builders make: residual blocks of plain sequences, and pairs of pathways.

A block is the equation of `resnet3d.ResidualBlock`, with the same two slots for context blocks. Its layers lie in an
`nn.Sequential` by the names of this package, so that folding, export and compilation need to know no other project.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from videoctx.models.activation_checkpointing import checkpointed


def named_sequence(**layers: nn.Module | None) -> nn.Sequential:
    """Return the layers in their order, without those that are None."""
    return nn.Sequential(OrderedDict((name, layer) for name, layer in layers.items() if layer is not None))


@dataclass(frozen=True, slots=True)
class Layers:
    """The parts of a network: the stem, the stages from res2 to res5, and the classifier."""

    stem: nn.Module
    stages: list[nn.Module]
    head: nn.Linear


class AssembledBlock(nn.Module):
    """z = after_add(ReLU(shortcut(x) + after_1x1(branch(x)))); the two context slots are empty unless filled."""

    def __init__(self, branch: nn.Sequential, shortcut: nn.Module, *, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.branch = branch
        self.shortcut = shortcut
        self.relu = nn.ReLU(inplace=True)
        self.after_1x1: nn.Module = nn.Identity()
        self.after_add: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        z = self.relu(self.shortcut(x) + self.after_1x1(self.branch(x)))
        return self.after_add(z)


class ChannelGate(nn.Module):
    """x · sigmoid(expand(ReLU(reduce(mean of x)))): the squeeze-and-excitation inside a block of X3D."""

    def __init__(self, reduce: nn.Module, expand: nn.Module) -> None:
        super().__init__()
        self.reduce = reduce
        self.relu = nn.ReLU(inplace=True)
        self.expand = expand

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(2, 3, 4), keepdim=True)  # (B, C, 1, 1, 1)
        return x * self.expand(self.relu(self.reduce(mean))).sigmoid()


class TwoPathways(nn.Module):
    """A stage of SlowFast: both pathways, and the convolution from the fast one to the slow one after it.

    (B, C, T / α, H, W) and (B, C / β, T, H, W) → the same with other channels, and 2·C / β more of the slow one.
    """

    def __init__(self, slow: nn.Sequential, fast: nn.Sequential, fuse: nn.Sequential | None = None) -> None:
        super().__init__()
        self.activation_checkpointing = False
        self.slow = slow
        self.fast = fast
        self.fuse = fuse

    def forward(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        if self.activation_checkpointing:
            slow, fast = checkpointed(self.slow, slow), checkpointed(self.fast, fast)
        else:
            slow, fast = self.slow(slow), self.fast(fast)
        return (slow if self.fuse is None else torch.cat([slow, self.fuse(fast)], dim=1)), fast
