"""The config of a network: plain values that a checkpoint stores, and from which the network is built again.

    {"class_path": "videoctx.models.ResNet3D",
     "init_args": {"depth": 18, "context": {"class_path": "videoctx.layers.GlobalContext"}, ...}}

A class or partial that the network takes as an argument, such as `context`, is nested in the same form. A function is
its import path. Arguments that have their default value are left out.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from torch import nn

# Packages whose layers and networks a config may name. A file must not choose what else is run.
PACKAGES = ("videoctx.layers", "videoctx.models")

Config = dict[str, Any]


def network_config(net: nn.Module) -> Config | None:
    """Return the config that `net` recorded when it was built, or None for a network of the user's own.

    A `ResNet3D` has one unless it was built with a lambda or with a layer from outside this package.

    >>> from videoctx.layers import GlobalContext
    >>> from videoctx.models import ResNet3D
    >>> net = ResNet3D(10, depth=18, width=8, context=GlobalContext, context_at={"res5": [1]})
    >>> network_config(net)["init_args"]["context"]
    {'class_path': 'videoctx.layers.GlobalContext'}
    """
    config: object = getattr(net, "config", None)
    if isinstance(config, Mapping) and isinstance(config.get("class_path"), str):
        return dict(config)
    return None


def build_network(config: Mapping[str, Any], num_classes: int) -> nn.Module:
    """Build the network of a config.

    Args:
        config: `class_path` and `init_args`. A nested mapping with `class_path` becomes a factory, and the import path
            of a layer or function of this package becomes that object.
        num_classes: number of outputs.

    Raises:
        ValueError: The config names something that is no layer or network of this package, or arguments that it does
            not have.

    >>> net = build_network({"class_path": "videoctx.models.ResNet3D", "init_args": {"depth": 18, "width": 8}}, 10)
    >>> net.head.out_features
    10
    """
    try:
        return _from_plain(config)(num_classes)
    except TypeError as error:
        raise ValueError(f"the stored network is not one of this version: {error}; give it with -c") from error


def record_config(factory: Callable[..., nn.Module], arguments: Mapping[str, Any]) -> Config | None:
    """Return the config of `factory` called with `arguments`, or None where it cannot be one of plain values."""
    try:
        return _factory(factory, arguments)
    except _NotPlainError:
        return None


def record_insertion(net: nn.Module, **arguments: Any) -> None:
    """Add the arguments of `insert_context` to the config of `net`.

    A network that has context blocks already, or gets ones that no config can name, becomes one without a config.
    """
    config = network_config(net)
    if config is None:
        return
    init_args = config.get("init_args", {})
    recorded = None if "context" in init_args else record_config(type(net), arguments)
    if recorded is not None:
        recorded["init_args"] = init_args | recorded.get("init_args", {})
    net.__dict__["config"] = recorded


# From objects to plain values --------------------------------------------------------------------------------------


class _NotPlainError(Exception):
    """The value is not one that a checkpoint can store."""


def _factory(factory: Callable[..., Any], arguments: Mapping[str, Any]) -> Config:
    config: Config = {"class_path": import_path(factory)}
    parameters = inspect.signature(factory).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    plain = {name: _to_plain(value) for name, value in arguments.items()}
    changed = {
        name: value for name, value in plain.items() if name not in defaults or not _is_default(value, defaults[name])
    }
    return config | ({"init_args": changed} if changed else {})


def _is_default(plain: Any, default: Any) -> bool:
    with suppress(_NotPlainError):
        default_plain = _to_plain(default)
        return type(default_plain) is type(plain) and default_plain == plain
    return False


def _to_plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    for number in (int, float):
        if isinstance(value, number):
            return number(value)  # jsonargparse's restricted numbers are subclasses, which torch.load refuses
    if isinstance(value, Mapping):
        return {str(name): _to_plain(item) for name, item in value.items()}
    if isinstance(value, Sequence):
        return [_to_plain(item) for item in value]
    if isinstance(value, partial):
        return _factory(_target(value), value.keywords)
    if isinstance(value, type):
        return _factory(value, {})
    if inspect.isfunction(value):
        return import_path(value)
    raise _NotPlainError


def _target(value: partial) -> Callable[..., Any]:
    """The class that a partial makes an instance of."""
    if not value.args:
        return value.func
    if str(getattr(value.func, "__module__", "")).partition(".")[0] == "jsonargparse":
        return value.args[-1]  # its factories are partial(instantiator, …, class, **arguments)
    raise _NotPlainError


def import_path(target: Any) -> str:
    """The shortest import path of a class or function of this package, such as `videoctx.layers.NonLocal`."""
    module, name = getattr(target, "__module__", ""), getattr(target, "__qualname__", "")
    parts = module.split(".")
    for length in range(2, len(parts) + 1):
        path = f"{'.'.join(parts[:length])}.{name}"
        with suppress(ValueError):
            if import_from_package(path) is target:
                return path
    raise _NotPlainError


# From plain values to objects --------------------------------------------------------------------------------------


def _from_plain(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("videoctx."):
        return import_from_package(value)
    if not isinstance(value, Mapping) or "class_path" not in value:
        return value
    arguments = {name: _from_plain(argument) for name, argument in value.get("init_args", {}).items()}
    return partial(import_from_package(value["class_path"]), **arguments)


def import_from_package(path: str) -> Callable[..., nn.Module]:
    """Import a layer or network of this package, or a function of `videoctx.layers` that makes one.

    Raises:
        ValueError: `path` names anything else.
    """
    module, _, name = path.rpartition(".")
    if module == "videoctx":  # jsonargparse shortens videoctx.models.ResNet3D to the public name
        module = "videoctx.models"
    found = None
    if module == "videoctx" or _is_inside(module):  # `videoctx.ResNet3D` is what jsonargparse writes
        with suppress(ImportError):
            found = getattr(importlib.import_module(module), name, None)
    if isinstance(found, type) and issubclass(found, nn.Module) and _is_inside(found.__module__):
        return found
    if inspect.isfunction(found) and _is_inside(found.__module__, PACKAGES[:1]):
        return found
    raise ValueError(f"{path} is no network or layer of videoctx; give the network with -c")


def _is_inside(module: str, packages: Sequence[str] = PACKAGES) -> bool:
    return any(f"{module}.".startswith(f"{package}.") for package in packages)
