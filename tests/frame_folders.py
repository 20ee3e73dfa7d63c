"""Numbered videos as folders, zip files and tar files of JPEG or PNG images."""

import tarfile
import zipfile
from pathlib import Path

from PIL import Image

from tests.numbered import paint


def write_images(
    folder: Path,
    num_frames: int,
    *,
    name: str = "img_{:05}.jpg",
    first: int = 1,
    width: int = 64,
    height: int = 48,
) -> Path:
    """Write frames 0, 1, 2, … as images that are numbered from `first` on, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(num_frames):
        Image.fromarray(paint(number, width=width, height=height)).save(folder / name.format(number + first))
    return folder


def zip_of(folder: Path, *, inside: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write the files of a folder to a zip file beside it."""
    path = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in folder.iterdir():  # in no order
            archive.write(file, f"{inside}{file.name}")
    return path


def tar_of(folder: Path, *, inside: str = "") -> Path:
    """Write the files of a folder to a tar file beside it."""
    path = folder.with_name(f"{folder.name}.tar")
    with tarfile.open(path, "w") as archive:
        for file in folder.iterdir():
            archive.add(file, f"{inside}{file.name}")
    return path
