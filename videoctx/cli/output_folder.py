"""The folder that a tool writes to."""

from pathlib import Path


def made_folder(path: Path) -> Path:
    """The folder, made where it is not there yet.

    Raises:
        ValueError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written to ({error.strerror}); expected a folder") from error
    return path
