"""Compiles the residual blocks of a network one by one.

A block is much smaller than a network, and blocks of the same shape share what is compiled, so this takes a fraction
of the time that `torch.compile` takes for a whole network. What is fused, norms with ReLU and sums, lies within the
blocks.
"""

from collections.abc import Sequence

import torch
from torch import nn

from videoctx.models.compilation import keep_compiled_code_private
from videoctx.models.resnet3d import ResidualBlock

MOST_SHAPES = 64  # of blocks that are compiled; torch's own limit of 8 is less than a ResNet-50 has


def compile_blocks(net: nn.Module) -> nn.Module:
    """Compile every residual block of `net` in place, or the whole network if it has none. Return the network.

    Nothing is compiled before the first forward pass. Parameters, their names and the numbers stay, and a copy of the
    network is not compiled.
    """
    keep_compiled_code_private()
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, MOST_SHAPES)
    blocks = [module for module in net.modules() if isinstance(module, ResidualBlock)]
    modules: Sequence[nn.Module] = blocks or [net]
    for module in modules:
        module.compile(dynamic=False)
    return net
