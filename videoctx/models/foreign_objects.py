"""Weights from a checkpoint that also holds objects of a library that is not at hand, without running its code.

Training frameworks store their own objects beside the weights: message hubs, history buffers, configs, paths, enums. A
pickle makes such an object by importing its class and calling it, and so can run anything. Here only tensors and plain
containers are made, of names that `torch.load` accepts with `weights_only` too; each other object becomes an empty
placeholder.
"""

import importlib
import pickle
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

# Of numpy's arrays and scalars.
ARRAYS = {("numpy", "ndarray"), ("numpy", "dtype")} | {
    (f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")
}
# Of tensors in a file of torch.save, by module; beside them the storages and dtypes of `torch`. They are part of the
# format of the file, and so stay from version to version.
TENSORS = {
    "torch": ("Size", "Tensor", "device"),
    "torch.nn.parameter": ("Parameter",),
    "torch.serialization": ("_get_layout",),
    "torch.storage": ("TypedStorage", "UntypedStorage"),
    "torch._utils": (
        "_rebuild_tensor",
        "_rebuild_tensor_v2",
        "_rebuild_tensor_v3",
        "_rebuild_parameter",
        "_rebuild_sparse_tensor",
    ),
    "collections": ("Counter", "OrderedDict"),
    "_codecs": ("encode",),
}


class Placeholder:
    """Stands for an object of a foreign class. It takes whatever a pickle gives it, and keeps nothing."""

    def __new__(cls, *_: Any, **__: Any) -> "Placeholder":
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __call__(self, *_: Any, **__: Any) -> "Placeholder":
        return self

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, item: object) -> None: ...

    def extend(self, items: object) -> None: ...

    def add(self, item: object) -> None: ...


# What runs something: no training framework stores these, so a file that does is refused and named.
PLANTED_MODULES = {"os", "posix", "nt", "subprocess", "sys", "importlib", "runpy", "pty", "socket", "shutil", "ctypes"}
PLANTED = {f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("eval", "exec", "open", "compile")}
PLAIN = {kind.__name__: kind for kind in (list, dict, tuple, set, frozenset, int, float, complex, str, bytes, bool)}


def read_beside_foreign_objects(path: Path) -> tuple[Any, list[str]]:
    """Return what `torch.save` wrote to a file, with placeholders, and the names of the classes that they stand for.

    Raises:
        UnpicklingError: The file asks for something that runs code.
        Exception: The file is damaged; unpickling raises errors of many kinds.
    """
    found: dict[str, type] = {}

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return _known(module, name) or found.setdefault(f"{module}.{name}", type(name, (Placeholder,), {}))

    # What torch.load uses of a pickle module.
    module: Any = SimpleNamespace(
        __name__=__name__, Unpickler=Unpickler, load=lambda file, **options: Unpickler(file, **options).load()
    )
    stored = torch.load(path, map_location="cpu", weights_only=False, pickle_module=module)
    return stored, list(found)


def _known(module: str, name: str) -> Any:
    """Return what a name of a pickle stands for. None: a foreign class.

    Raises:
        UnpicklingError: It runs code.
    """
    full_name = f"{module}.{name}"
    if module.partition(".")[0] in PLANTED_MODULES or full_name in PLANTED:
        raise pickle.UnpicklingError(f"it asks for {full_name}")
    if (module, name) == ("collections", "defaultdict"):
        return defaultdict
    if module in ("builtins", "__builtin__"):
        return PLAIN.get(name)
    if (module, name) in ARRAYS:
        return getattr(importlib.import_module(module), name)
    if name in TENSORS.get(module, ()):
        return getattr(importlib.import_module(module), name)
    if module == "torch":
        found = getattr(torch, name, None)
        is_storage = isinstance(found, type) and issubclass(found, torch.storage.TypedStorage | torch.UntypedStorage)
        return found if is_storage or isinstance(found, torch.dtype) else None
    return None
