"""Which videos a person means: one, by its path or URL, or all of a folder."""

import os
from pathlib import Path

from videoctx.data.storage.locations import VIDEO_SUFFIXES, is_url


def video_paths(path: str) -> list[str]:
    """The videos at any depth of a folder, in order of name, hidden ones passed over; or the path itself.

    Raises:
        ValueError: there is no such file, or no video in the folder.
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
