"""Checks of the file or folder that a tool will write to, before hours of work are lost."""

import os
from pathlib import Path


def writable_file(path: Path) -> Path:
    """Return the path, once a file can be written there.

    Raises:
        ValueError: it is a folder, or its folder does not exist or is not writable.
    """
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; expected the name of a file")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: cannot be written, there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path}: cannot be written, the folder {path.parent} does not allow it")
    return path


def writable_folder(path: Path) -> Path:
    """Return the path of a folder, which is created if there is none.

    Raises:
        ValueError: it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written to ({error.strerror}); expected a folder") from error
    return path
