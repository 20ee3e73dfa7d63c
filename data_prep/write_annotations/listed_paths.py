"""Find the videos that lists name by their paths."""

import os
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath

from data_prep.write_annotations.layouts.listing import ListedVideo, Listing, stem_of
from videoctx.data.class_names import nfc
from videoctx.data.decoding.image_names import has_images
from videoctx.data.storage.locations import ARCHIVES_OF_IMAGES, VIDEO_SUFFIXES


class ListedPaths:
    """Files by the paths of a listing, which start from the root or from a folder above it, or are absolute.

    A path may have another video suffix than the file, or none. If nothing is found, folders that all paths share
    are left out from the front, as many as it takes until one is found.

    Args:
        root: The folder of the videos.
        frames: Folders and archives of images are videos too.
    """

    def __init__(self, root: Path, listing: Listing, *, frames: bool = False) -> None:
        self._root, self._frames = root, frames
        self._suffixes = (*VIDEO_SUFFIXES, *ARCHIVES_OF_IMAGES) if frames else VIDEO_SUFFIXES
        self._contents: dict[Path, list[str]] = {}
        paths = [PurePosixPath(video.stems[0]) for video in listing.videos]
        self.left_out: tuple[str, ...] = next(
            (front for front in _shared_fronts(paths) if any(self._find(_without(path, front))[0] for path in paths)),
            (),
        )

    def find(self, video: ListedVideo) -> tuple[list[Path], Path | None]:
        """Return the files that may be the video, and a folder of its name."""
        return self._find(_without(PurePosixPath(video.stems[0]), self.left_out))

    def _find(self, path: PurePosixPath) -> tuple[list[Path], Path | None]:
        folder = self._root / path.parent
        stem = nfc(stem_of(path.name, self._suffixes))
        files, folders = [], []
        for name in self._names(folder):
            whole = nfc(name)
            is_video = name.lower().endswith(self._suffixes)
            if whole == nfc(path.name) and is_video and os.path.isfile(folder / name):
                return [folder / name], None
            if whole in (stem, nfc(path.name)):
                folders.append(folder / name)
            elif is_video and stem_of(whole, self._suffixes) == stem:
                files.append(folder / name)
        folders = [path for path in folders if os.path.isdir(path)]
        if self._frames:
            files += [path for path in folders if has_images(path)]
        return files, next(iter(folders), None)

    def _names(self, folder: Path) -> list[str]:
        if folder not in self._contents:
            try:
                self._contents[folder] = sorted(os.listdir(folder))
            except OSError:
                self._contents[folder] = []
        return self._contents[folder]


def _shared_fronts(paths: Sequence[PurePosixPath]) -> list[tuple[str, ...]]:
    """Return the folders with which all paths start: none, the first, the first two, …"""
    parents = [path.parent.parts for path in paths]
    levels = takewhile(lambda names: len(set(names)) == 1, zip(*parents, strict=False))
    shared = tuple(names[0] for names in levels)
    return [shared[:count] for count in range(len(shared) + 1)]


def _without(path: PurePosixPath, front: Sequence[str]) -> PurePosixPath:
    return PurePosixPath(*path.parts[len(front) :])
