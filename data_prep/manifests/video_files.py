"""Video files below a folder, and how a manifest names them."""

import os
from collections.abc import Iterator
from pathlib import Path

from videoctx.data.annotations import AnnotationError
from videoctx.data.storage.locations import VIDEO_SUFFIXES


def check_folder(root: Path) -> None:
    """Raises AnnotationError where the root is no folder."""
    if not root.is_dir():
        raise AnnotationError(f"{root}: no such folder; expected the folder of the videos")


def walk(folder: Path, above: tuple[str, ...] = ()) -> Iterator[tuple[Path, bool]]:
    """Everything at any depth, each folder in order of name, with True for a folder.

    Hidden files and folders are passed over. Links are followed, except back to a folder above.
    """
    here = os.path.realpath(folder)
    if here in above:
        return
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if name.startswith("."):
            continue
        is_folder = os.path.isdir(path)
        yield path, is_folder
        if is_folder:
            yield from walk(path, (*above, here))


def videos(folder: Path) -> Iterator[Path]:
    """Video files at any depth, by their suffix; links to nowhere too."""
    for path, is_folder in walk(folder):
        if not is_folder and path.suffix.lower() in VIDEO_SUFFIXES:
            yield path


def manifest_path(video: Path, folder: Path) -> str:
    """The video's path for a manifest in that folder: relative below it, absolute elsewhere."""
    video, folder = video.absolute(), folder.absolute()
    text = (video.relative_to(folder) if video.is_relative_to(folder) else video).as_posix()
    return f"./{text}" if text[0].isspace() else text  # cells of a manifest are read without outer spaces
