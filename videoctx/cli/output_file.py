"""The file that a tool writes to."""

import os
from pathlib import Path


def writable_file(path: Path) -> Path:
    """The path, once it is sure that a file can be written there, before hours of work are lost.

    Raises:
        ValueError: it cannot.
    """
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; expected the name of a file")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: cannot be written, there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path}: cannot be written, the folder {path.parent} does not allow it")
    return path
