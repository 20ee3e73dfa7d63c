"""Videos in a folder, which are files or folders of images, and their paths in a manifest."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_prep.command_line.setting_error import SettingError
from videoctx.data.annotations import AnnotationError
from videoctx.data.decoding.image_names import has_images
from videoctx.data.storage.locations import ARCHIVES_OF_IMAGES, VIDEO_SUFFIXES, holds_images


def check_folder(root: Path) -> None:
    """Raise an AnnotationError if `root` is not a folder."""
    if not root.is_dir():
        raise AnnotationError(f"{root}: no such folder; expected the folder of the videos")


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


@dataclass(frozen=True, slots=True)
class FolderContents:
    """What is in a folder at any depth, relative to it; hidden files and folders are left out."""

    videos: list[Path]  # as of `walk`
    others: list[Path]  # all other files
    folders: list[Path]


def folder_contents(folder: Path, *, frames: bool = False) -> FolderContents:
    """Return the videos, the other files and the folders. `frames` is that of `walk`."""
    contents = FolderContents([], [], [])
    lists = {"video": contents.videos, "other": contents.others, "folder": contents.folders}
    for path, kind in walk(folder, frames=frames):
        lists[kind].append(path.relative_to(folder))
    return contents


def with_rate(row: dict[str, object], path: Path, frames_fps: float | None) -> dict[str, object]:
    """Return the row of a manifest, with its frame rate if the video at `path` is stored as images."""
    return row | {"fps": f"{frames_fps:g}"} if frames_fps and holds_images(str(path)) else row


def check_frames_fps(frames_fps: float | None) -> None:
    """Raise a SettingError if frames per second are no number above zero."""
    if frames_fps is not None and not 0 < frames_fps < float("inf"):
        raise SettingError(f"--frames_fps is {frames_fps:g}; expected more than 0")


def manifest_path(video: Path, folder: Path) -> str:
    """Return the path of a video in a manifest of `folder`: relative if the video is in it, and absolute otherwise."""
    video, folder = video.absolute(), folder.absolute()
    text = (video.relative_to(folder) if video.is_relative_to(folder) else video).as_posix()
    return keep_leading_space(text)


def keep_leading_space(path: str) -> str:
    """Return a relative path such that it is still the same after a reader has removed outer spaces."""
    return f"./{path}" if path[0].isspace() else path
