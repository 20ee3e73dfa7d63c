"""Video files in a folder, and their paths in a manifest."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from videoctx.data.annotations import AnnotationError
from videoctx.data.storage.locations import VIDEO_SUFFIXES


def check_folder(root: Path) -> None:
    """Raise an AnnotationError if `root` is not a folder."""
    if not root.is_dir():
        raise AnnotationError(f"{root}: no such folder; expected the folder of the videos")


def walk(folder: Path, parents: tuple[str, ...] = ()) -> Iterator[tuple[Path, bool]]:
    """Yield everything in the folder at any depth, sorted by name within each folder, and whether it is a folder.

    Hidden files and folders are skipped. Links are followed, except those that lead back to a parent folder.
    """
    real = os.path.realpath(folder)
    if real in parents:
        return
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if name.startswith("."):
            continue
        is_folder = os.path.isdir(path)
        yield path, is_folder
        if is_folder:
            yield from walk(path, (*parents, real))


@dataclass(frozen=True, slots=True)
class FolderContents:
    """What is in a folder at any depth, relative to it; hidden files and folders are left out."""

    videos: list[Path]  # files with a video suffix, including broken links
    others: list[Path]  # all other files
    folders: list[Path]


def folder_contents(folder: Path) -> FolderContents:
    """Return the video files, the other files and the folders."""
    contents = FolderContents([], [], [])
    for path, is_folder in walk(folder):
        is_video = path.suffix.lower() in VIDEO_SUFFIXES
        kind = contents.folders if is_folder else contents.videos if is_video else contents.others
        kind.append(path.relative_to(folder))
    return contents


def manifest_path(video: Path, folder: Path) -> str:
    """Return the path of a video in a manifest of `folder`: relative if the video is in it, and absolute otherwise."""
    video, folder = video.absolute(), folder.absolute()
    text = (video.relative_to(folder) if video.is_relative_to(folder) else video).as_posix()
    return keep_leading_space(text)


def keep_leading_space(path: str) -> str:
    """Return a relative path such that it is still the same after a reader has removed outer spaces."""
    return f"./{path}" if path[0].isspace() else path
