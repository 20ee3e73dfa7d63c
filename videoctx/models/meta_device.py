"""Networks on the meta device: shapes go through them without memory and arithmetic."""

from copy import deepcopy

import torch
from torch import nn


def meta_copy(net: nn.Module) -> nn.Module:
    """Return a copy of `net` on the meta device."""
    return deepcopy(net).to("meta")


@torch.no_grad()
def run_on_meta(net: nn.Module, *, clip_size: tuple[int, int, int]) -> None:
    """Send one clip of (T, H, W) through a network on the meta device.

    Raises:
        RuntimeError: A layer does not take its input, or does not support the meta device.
    """
    net(torch.empty(1, 3, *clip_size, device="meta"))
