"""The videos that a path names: one file, folder of images or URL, or all videos of a folder."""

import os
from pathlib import Path

from videoctx.data.decoding.image_names import has_images
from videoctx.data.folder_walk import walk
from videoctx.data.storage.locations import VIDEO_SUFFIXES, is_url


def video_paths(path: str) -> list[str]:
    """Return the videos of a folder at any depth, sorted by name and without hidden ones; or else the path itself.

    A folder without files of video is one video if it has images itself. Otherwise the folders of images and the `.zip`
    and `.tar` files in it are the videos. Links to folders are followed.

    Raises:
        ValueError: There is no such file, or no video in the folder.
    """
    if is_url(path):
        return [path]
    if not os.path.exists(path):
        raise ValueError(f"{path}: no such file or folder; expected a video, a folder of videos or a URL")
    if not os.path.isdir(path):
        return [path]
    found = _videos(path, frames=False) or ([path] if has_images(path) else _videos(path, frames=True))
    if not found:
        expected = f"files such as *{', *'.join(VIDEO_SUFFIXES[:8])}, or folders of images"
        raise ValueError(f"{path}: no videos in the folder; expected {expected}")
    return found


def _videos(folder: str, *, frames: bool) -> list[str]:
    return [str(file) for file, kind in walk(Path(folder), frames=frames) if kind == "video"]
