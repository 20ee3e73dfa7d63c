"""What is in a folder at any depth, and what of it is a video: a file, or a folder or an archive of images."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from videoctx.data.decoding.image_names import has_images
from videoctx.data.storage.locations import ARCHIVES_OF_IMAGES, VIDEO_SUFFIXES

Kind = Literal["video", "folder", "other"]


def walk(folder: Path, parents: tuple[str, ...] = (), *, frames: bool = False) -> Iterator[tuple[Path, Kind]]:
    """Yield everything in the folder at any depth, sorted by name within each folder, and what it is.

    Hidden files and folders are skipped. Links are followed, except those that lead back to a parent folder. A video is
    a file with a video suffix, also a broken link.

    Args:
        frames: A folder of images and an archive of them are videos too. What is in such a folder is left out. Images
            beside files of video are not frames.
    """
    real = os.path.realpath(folder)
    if real in parents:
        return
    suffixes = (*VIDEO_SUFFIXES, *ARCHIVES_OF_IMAGES) if frames else VIDEO_SUFFIXES
    with os.scandir(folder) as entries:
        found = sorted((entry.name, _is_folder(entry)) for entry in entries if not entry.name.startswith("."))
    for name, is_folder in found:
        path = folder / name
        if not is_folder:
            yield path, "video" if path.suffix.lower() in suffixes else "other"
        elif frames and is_frame_folder(path):
            yield path, "video"
        else:
            yield path, "folder"
            yield from walk(path, (*parents, real), frames=frames)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def is_frame_folder(folder: Path) -> bool:
    """Return whether a folder itself holds images, and no files of video."""
    return has_images(folder) and not any(name.lower().endswith(VIDEO_SUFFIXES) for name in os.listdir(folder))
