"""Videos in a folder, which are files or folders of images, and their paths in a manifest."""

from dataclasses import dataclass
from pathlib import Path

from data_prep.command_line.setting_error import SettingError
from videoctx.data.annotations import AnnotationError
from videoctx.data.folder_walk import walk
from videoctx.data.storage.locations import holds_images


def check_folder(root: Path) -> None:
    """Raise an AnnotationError if `root` is not a folder."""
    if not root.is_dir():
        raise AnnotationError(f"{root}: no such folder; expected the folder of the videos")


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
    if not (frames_fps and holds_images(str(path))):
        return row
    return row | {"fps": repr(frames_fps).removesuffix(".0")}  # all digits: seconds and frames are computed with it


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
