"""The videos that a path names: one file or URL, or all videos of a folder."""

import os
from pathlib import Path

from videoctx.data.storage.locations import VIDEO_SUFFIXES, is_url


def video_paths(path: str) -> list[str]:
    """Return the videos of a folder at any depth, sorted by name and without hidden ones; or else the path itself.

    Raises:
        ValueError: There is no such file, or no video in the folder.
    """
    if is_url(path):
        return [path]
    if not os.path.exists(path):
        raise ValueError(f"{path}: no such file or folder; expected a video, a folder of videos or a URL")
    if not os.path.isdir(path):
        return [path]
    found = [
        str(file)
        for file in sorted(Path(path).rglob("*"))
        if file.suffix.lower() in VIDEO_SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
        and not file.is_dir()
    ]
    if not found:
        raise ValueError(f"{path}: no videos in the folder; expected files such as *{', *'.join(VIDEO_SUFFIXES[:8])}")
    return found
