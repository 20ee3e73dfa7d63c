"""Weights that are NaN or infinite, as those of a training that has diverged."""

import logging

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from videoctx.first_few import first_few

logger = logging.getLogger(__name__)


def not_finite(net: nn.Module) -> list[str]:
    """Return the names of the parameters and of the statistics of BatchNorm that are not finite.

    Other buffers may hold infinity, such as masks.

    >>> net = nn.Linear(2, 1)
    >>> _ = nn.init.constant_(net.bias, torch.nan)
    >>> not_finite(net)
    ['bias']
    """
    tensors: dict[str, Tensor] = dict(net.named_parameters())
    for name, layer in net.named_modules():
        if isinstance(layer, _BatchNorm):
            tensors |= {f"{name}.{buffer}" if name else buffer: values for buffer, values in layer.named_buffers()}
    if not tensors:
        return []
    finite = torch.stack([tensor.detach().isfinite().all() for tensor in tensors.values()]).tolist()
    return [name for name, is_finite in zip(tensors, finite, strict=True) if not is_finite]


def warn_of_not_finite(net: nn.Module, source: str) -> None:
    """Log a warning that names weights that are not finite, if there are any.

    Args:
        source: Where they are from, for the message.
    """
    if names := not_finite(net):
        logger.warning(
            "%s: %d tensors have NaN or infinity (%s), as after a training that has diverged",
            source,
            len(names),
            first_few(names),
        )
