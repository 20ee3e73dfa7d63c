"""The videos that a path names: one file, folder of images or URL, or all videos of a folder."""

import os
from pathlib import Path

from videoctx.data.decoding.image_names import has_images
from videoctx.data.storage.locations import ARCHIVES_OF_IMAGES, VIDEO_SUFFIXES, is_url


def video_paths(path: str) -> list[str]:
    """Return the videos of a folder at any depth, sorted by name and without hidden ones; or else the path itself.

    A folder without files of video is one video if it has images itself. Otherwise the folders of images and the `.zip`
    and `.tar` files in it are the videos.

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
    found = found or ([path] if has_images(path) else _stored_as_images(path))
    if not found:
        expected = f"files such as *{', *'.join(VIDEO_SUFFIXES[:8])}, or folders of images"
        raise ValueError(f"{path}: no videos in the folder; expected {expected}")
    return found


def _stored_as_images(path: str) -> list[str]:
    """Return the folders of images and the archives in a folder."""
    found = []
    for folder, names, files in os.walk(path):
        names[:] = sorted(name for name in names if not name.startswith("."))
        held = [os.path.join(folder, name) for name in names if has_images(os.path.join(folder, name))]
        names[:] = [name for name in names if os.path.join(folder, name) not in held]
        archives = [name for name in files if name.lower().endswith(ARCHIVES_OF_IMAGES) and not name.startswith(".")]
        found += [*held, *(os.path.join(folder, name) for name in archives)]
    return sorted(found)
