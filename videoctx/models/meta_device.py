"""A network without memory, on the meta device: shapes go through it, and nothing is computed."""

from copy import deepcopy

import torch
from torch import nn


def meta_copy(net: nn.Module) -> nn.Module:
    """The same layers, to be looked at with hooks; `net` stays as it is."""
    return deepcopy(net).to("meta")


@torch.no_grad()
def run_on_meta(hollow: nn.Module, *, clip_size: tuple[int, int, int]) -> None:
    """Send one clip of (T, H, W) through it.

    Raises:
        RuntimeError: a layer cannot take what comes to it; those of other projects may not know the meta device.
    """
    hollow(torch.empty(1, 3, *clip_size, device="meta"))
