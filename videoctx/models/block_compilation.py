"""Compiles the residual blocks of a network one by one.

A block is much smaller than a network, and blocks of the same shape share what is compiled, so this takes a fraction
of the time that `torch.compile` takes for a whole network. What is fused, norms with ReLU and sums, lies within the
blocks.
"""

from collections.abc import Sequence

import torch
from torch import nn

from videoctx.models.assembled import AssembledBlock
from videoctx.models.compilation import keep_compiled_code_private
from videoctx.models.residual_blocks import ResidualBlock

MOST_SHAPES = 256  # of blocks that are compiled; torch's own limit of 8 is less than a ResNet-50 has


def compile_blocks(net: nn.Module) -> nn.Module:
    """Compile every residual block of `net` in place, or the whole network if it has none. Return the network.

    Nothing is compiled before the first forward pass. Parameters, their names and the numbers stay, and a copy of the
    network is not compiled.
    """
    keep_compiled_code_private()
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, MOST_SHAPES)
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, MOST_SHAPES)
    # DDP sends the gradients of a block as soon as its backward pass ends. torch would also split the blocks, and fuse
    # less.
    config.optimize_ddp = False
    blocks = [module for module in net.modules() if isinstance(module, ResidualBlock | AssembledBlock)]
    modules: Sequence[nn.Module] = blocks or [net]
    for module in modules:
        module.compile(dynamic=False)
    return net


def use_compiled_code(used: bool) -> None:
    """Run what is compiled, or run the Python code of all networks as it is."""
    torch.compiler.set_stance("default" if used else "force_eager")


def compiler_problem(device: torch.device) -> str | None:
    """Compile a small function for a device, and return in a line why that fails. None: it works.

    A C++ compiler may be missing, and Triton supports no old GPUs.
    """
    keep_compiled_code_private()
    try:
        torch.compile(_tiny, dynamic=False)(torch.zeros(8, device=device))
    except (RuntimeError, ImportError, OSError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[0] if lines else type(error).__name__
    return None


def _tiny(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x + 1)
