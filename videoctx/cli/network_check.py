"""Checks what a config's network would call, before anything is called.

A config may come from someone else, and a class path in it may name any function, such as `os.system`. The tools read a
config only for its network, so they accept only what makes networks and layers.
"""

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jsonargparse import Namespace
from torch import nn

# Functions are accepted if they are defined in one of these.
FUNCTION_MODULES = (
    *("videoctx.layers", "videoctx.models", "torch.nn", "torch._C._nn"),
    *("torchvision.models", "torchvision.ops", "pytorchvideo.models", "pytorchvideo.layers"),
)


def check_network(config: Any, key: str = "model.net") -> None:
    """Check a network as jsonargparse parsed it, before it is instantiated.

    Args:
        config: A namespace or a mapping with `class_path` and `init_args`, at any depth; or None.
        key: Its name in the config, for the message.

    Raises:
        ValueError: A class is not an `nn.Module`, or a function is not of this package, torch.nn, torchvision or
            pytorchvideo.
    """
    if isinstance(config, str):  # perhaps the import path of a function, which has been imported to be parsed
        module, _, attribute = config.rpartition(".")
        found = getattr(sys.modules.get(module), attribute, None)
        if callable(found):
            _check(found, key, config)
        return
    if callable(config):
        _check(config, key, f"{getattr(config, '__module__', '')}.{getattr(config, '__qualname__', config)}")
        return
    for name, value in _items(config):
        place = f"{key}.{name}"
        if name == "class_path" and isinstance(value, str):
            module, _, attribute = value.rpartition(".")
            _check(getattr(importlib.import_module(module), attribute, None), place, value)
        else:
            check_network(value, place)


def _items(config: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(config, Namespace):
        config = vars(config)
    if isinstance(config, Mapping):
        yield from ((str(name), value) for name, value in config.items())
    elif isinstance(config, Sequence):
        yield from ((str(index), value) for index, value in enumerate(config))


def _check(found: Any, key: str, path: str) -> None:
    if isinstance(found, type) and issubclass(found, nn.Module):
        return
    module = f"{getattr(found, '__module__', '')}."
    if callable(found) and not isinstance(found, type) and module.startswith(tuple(f"{m}." for m in FUNCTION_MODULES)):
        return
    raise ValueError(
        f"{key} is {path}, which is neither a class of layers or networks (torch.nn.Module) nor a function of"
        " videoctx, torch.nn, torchvision.models or pytorchvideo; it was not called"
    )
