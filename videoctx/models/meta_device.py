"""Networks on the meta device: shapes go through them without memory and arithmetic."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.overrides import TorchFunctionMode

# What fills a tensor in place. On the meta device it does nothing, which takes torch about a millisecond per call.
FILLS = frozenset({Tensor.normal_, Tensor.uniform_, Tensor.fill_, Tensor.zero_})


@contextmanager
def on_meta() -> Iterator[None]:
    """Make all that is made inside the `with` on the meta device, and skip the initialization of parameters."""
    with torch.device("meta"), _ShapesOnly():
        yield


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


class _ShapesOnly(TorchFunctionMode):
    """Skips what changes values alone: filling tensors, and BatchNorm in evaluation, which torch takes apart there."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], Tensor) and args[0].is_meta:
            if func in FILLS:
                return args[0]
            if func is batch_norm and not kwargs["training"] and len(args[1]) == args[0].shape[1]:
                return args[0].clone()
        return func(*args, **kwargs)
