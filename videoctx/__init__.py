"""Train, evaluate and explain video action recognition with spatiotemporal context blocks.

>>> import videoctx
>>> net = videoctx.create_model("demo_r18_gc", num_classes=10)
>>> videoctx.list_models("slow_r50_gc*")
['slow_r50_gc5', 'slow_r50_gc_all']

Nothing but the standard library is imported until a name is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videoctx.data.datamodule import VideoDataModule
    from videoctx.inference.classifier import Classifier, load
    from videoctx.inference.conversion import convert_checkpoint
    from videoctx.models import ResNet3D, create_model, insert_context, list_models
    from videoctx.tasks import VideoClassifier

    __version__: str

__all__ = [
    "Classifier",
    "ResNet3D",
    "VideoClassifier",
    "VideoDataModule",
    "__version__",
    "convert_checkpoint",
    "create_model",
    "insert_context",
    "list_models",
    "load",
]

_MODULES = {
    "Classifier": "videoctx.inference.classifier",
    "ResNet3D": "videoctx.models",
    "VideoClassifier": "videoctx.tasks",
    "VideoDataModule": "videoctx.data.datamodule",
    "convert_checkpoint": "videoctx.inference.conversion",
    "create_model": "videoctx.models",
    "insert_context": "videoctx.models",
    "list_models": "videoctx.models",
    "load": "videoctx.inference.classifier",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("videoctx")
    elif name in _MODULES:
        value = getattr(import_module(_MODULES[name]), name)
    else:
        raise AttributeError(f"module 'videoctx' has no attribute {name!r}")
    globals()[name] = value  # the next use is a plain look-up
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
