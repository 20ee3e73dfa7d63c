"""From video files to batches of clips.

The names below are imported when they are first used, so that importing a part of this package loads no Lightning.

>>> from videoctx.data import ClipSettings
>>> ClipSettings(clip_len=16).frame_interval
8
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from videoctx.data.datamodule import VideoDataModule
    from videoctx.data.preprocessing import Preprocessing
    from videoctx.data.settings import ClipSettings, LoadingSettings, StorageSettings, TestSettings, TrainSettings
    from videoctx.data.transforms.mixing import ClipMixing

_MODULES = {
    "ClipMixing": "transforms.mixing",
    "ClipSettings": "settings",
    "LoadingSettings": "settings",
    "Preprocessing": "preprocessing",
    "StorageSettings": "settings",
    "TestSettings": "settings",
    "TrainSettings": "settings",
    "VideoDataModule": "datamodule",
}

__all__ = [
    "ClipMixing",
    "ClipSettings",
    "LoadingSettings",
    "Preprocessing",
    "StorageSettings",
    "TestSettings",
    "TrainSettings",
    "VideoDataModule",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value  # the next use is a plain look-up
    return value
