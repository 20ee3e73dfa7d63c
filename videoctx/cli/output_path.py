"""Checks of the file or folder that a tool will write to, before hours of work are lost."""

from pathlib import Path

from videoctx.atomic_write import check_writable


def writable_file(path: Path) -> Path:
    """Return the path, once a file can be written there.

    Raises:
        OSError: it is a folder, its folder does not exist or is not writable, or its name is too long.
    """
    check_writable(path)
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
