"""Activation checkpointing: a module keeps only its input, and computes the rest again in the backward pass.

Chen et al.: "Training Deep Nets with Sublinear Memory Cost" (arXiv 1604.06174).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def checkpointed(module: nn.Module, x: Tensor) -> Tensor:
    """Return `module(x)`, with the same gradients to the last digit. BatchNorm counts the batch once."""
    if not torch.is_grad_enabled():
        return module(x)

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), _statistics_kept(module)  # of the first and of the second time

    return checkpoint(module, x, use_reentrant=False, context_fn=contexts)


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Let BatchNorm update copies of its statistics inside the `with`."""
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    kept = [(norm, name, buffer) for norm in norms for name, buffer in norm.named_buffers()]
    for norm, name, buffer in kept:
        setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, name, buffer in kept:
            setattr(norm, name, buffer)
