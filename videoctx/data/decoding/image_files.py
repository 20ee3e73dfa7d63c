"""The images of one video in a folder, a zip file or a tar file: their order, and the bytes of each.

Nothing is unpacked to the disk: the members of an archive are read into memory, one at a time, and no member's name is
used as a path. An archive is untrusted. It is refused if it is encrypted, compressed as a whole, or compressed by
another method than deflate; if it contains archives, links or sparse files; and an image is read up to `MOST_BYTES`,
whatever size the archive states.
"""

import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from posixpath import basename, dirname
from typing import IO, NamedTuple, Protocol, TypeVar

from videoctx.data.decoding.containers import LONGEST_REASON, VideoDecodeError, decoder_errors, file_status
from videoctx.data.decoding.image_names import EXPECTED, ImageNamesError, is_image, ordered_frames
from videoctx.data.decoding.image_pixels import ImageError
from videoctx.data.storage.locations import ARCHIVES_OF_IMAGES, OTHER_ARCHIVES
from videoctx.first_few import first_few

MOST_BYTES = 2**28  # of one image file
MOST_MEMBERS = 1_000_000  # of an archive
Member = TypeVar("Member", zipfile.ZipInfo, tarfile.TarInfo)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class ImageFiles(Protocol):
    """The images of one video."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the frames' files, in order."""
        ...

    def read(self, index: int) -> bytes:
        """Return the bytes of an image."""
        ...


class ImagesStatus(NamedTuple):
    """What changes when the images do."""

    num_images: int | None  # None: of an archive, which is not opened
    size_bytes: int  # of the archive, or of all images of the folder
    modified_ns: int  # of the archive, or of the newest image


def images_status(path: str) -> ImagesStatus:
    """Return the status of a folder or an archive of images.

    Raises:
        VideoDecodeError: It cannot be read, or a folder does not hold the frames of one video.
    """
    if not os.path.isdir(path):
        status = file_status(path)
        return ImagesStatus(None, status.st_size, status.st_mtime_ns)
    statuses = ImageFolder(path).statuses()
    newest = max(status.st_mtime_ns for status in statuses)
    return ImagesStatus(len(statuses), sum(status.st_size for status in statuses), newest)


@contextmanager
def open_images(path: str) -> Iterator[ImageFiles]:
    """Open a folder or an archive of images.

    Raises:
        VideoDecodeError: It cannot be read, or does not hold the frames of one video.
    """
    with ExitStack() as stack:
        with decoder_errors(path, reason_of):
            images = _open(path, stack)
        yield images


def _open(path: str, stack: ExitStack) -> ImageFiles:
    if os.path.isdir(path):
        return ImageFolder(path)
    if path.lower().endswith(OTHER_ARCHIVES):
        raise VideoDecodeError(path, "an archive of another kind; expected .zip, .tar or a folder of images")
    file_status(path)
    if path.lower().endswith(".zip"):
        return ZipImages(path, stack.enter_context(zipfile.ZipFile(path)))
    try:
        return TarImages(path, stack.enter_context(tarfile.open(path, "r:")))
    except tarfile.ReadError as error:
        raise VideoDecodeError(path, f"{error}; expected a complete tar file that is not compressed") from error


def reason_of(error: Exception) -> str:
    """Word an error of reading images."""
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"damaged: {type(error).__name__}: {' '.join(str(error).split())[:LONGEST_REASON]}"


class ImageFolder:
    """The images in a folder. Other files and folders in it are left out."""

    def __init__(self, path: str) -> None:
        self._path = path
        with decoder_errors(path, reason_of), os.scandir(path) as entries:
            is_file = {entry.name: entry.is_file() for entry in entries if is_image(entry.name)}
        if not is_file:
            raise VideoDecodeError(path, f"not a file, and a folder without images; {EXPECTED}")
        self.names = _ordered(path, is_file)
        for name in self.names:
            if not is_file[name]:
                raise VideoDecodeError(path, f"{name} is not a file")

    def statuses(self) -> list[os.stat_result]:
        """Return the status of each image."""
        with decoder_errors(self._path, reason_of):
            return [os.stat(os.path.join(self._path, name)) for name in self.names]

    def read(self, index: int) -> bytes:
        """Return the bytes of an image."""
        with open(os.path.join(self._path, self.names[index]), "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ImageError("not a file")
            return _bounded(file)


class ZipImages:
    """The images in a zip file."""

    def __init__(self, path: str, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        members = [member for member in archive.infolist() if not member.is_dir()]
        self._members = _frames_of(path, members, lambda member: member.filename)
        self.names = [basename(member.filename) for member in self._members]
        for member in self._members:
            if member.flag_bits & 0x1:
                raise VideoDecodeError(path, f"{member.filename} is encrypted; expected an archive without a password")
            if member.compress_type not in METHODS:
                raise VideoDecodeError(
                    path, f"{member.filename} is not compressed by deflate; expected .zip files of it"
                )
            if stat.S_ISLNK(member.external_attr >> 16):
                raise VideoDecodeError(path, f"{member.filename} is a link; expected the images themselves")

    def read(self, index: int) -> bytes:
        """Return the bytes of an image."""
        with self._archive.open(self._members[index]) as file:
            return _bounded(file)


class TarImages:
    """The images in a tar file."""

    def __init__(self, path: str, archive: tarfile.TarFile) -> None:
        self._archive = archive
        members = []
        for member in archive:
            members.append(member)
            if len(members) > MOST_MEMBERS:
                break
        # `tarfile` ends at a damaged header as it does at the end, which is an empty block.
        assert archive.fileobj is not None
        archive.fileobj.seek(archive.offset)
        if len(members) <= MOST_MEMBERS and archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise VideoDecodeError(
                path, f"damaged or truncated after {len(members)} files; expected a complete tar file"
            )
        members = [member for member in members if not member.isdir()]
        self._members = _frames_of(path, members, lambda member: member.name)
        self.names = [basename(member.name) for member in self._members]
        for member in self._members:
            if not member.isreg() or member.issparse():
                raise VideoDecodeError(
                    path, f"{member.name} is a link or no plain file; expected the images themselves"
                )

    def read(self, index: int) -> bytes:
        """Return the bytes of an image."""
        file = self._archive.extractfile(self._members[index])
        assert file is not None, "it is a plain file"
        with file:
            content = _bounded(file)
        if len(content) != self._members[index].size:
            raise ImageError("its archive is truncated")
        return content


def _frames_of(path: str, members: Sequence[Member], name_of: Callable[[Member], str]) -> list[Member]:
    """Return the members of an archive that are the frames, in order."""
    if len(members) > MOST_MEMBERS:
        raise VideoDecodeError(path, f"more than {MOST_MEMBERS} files in the archive")
    archives = [
        name_of(member)
        for member in members
        if name_of(member).lower().endswith((*ARCHIVES_OF_IMAGES, *OTHER_ARCHIVES))
    ]
    if archives:
        raise VideoDecodeError(path, f"archives in the archive ({first_few(archives)}); {EXPECTED}")
    images = [member for member in members if is_image(basename(name_of(member)))]
    folders = sorted({dirname(name_of(member)) for member in images})
    if len(folders) > 1:
        listed = first_few([folder or "." for folder in folders])
        raise VideoDecodeError(path, f"images in {len(folders)} folders ({listed}); expected one archive per video")
    by_name = {basename(name_of(member)): member for member in images}
    names = _ordered(path, [basename(name_of(member)) for member in images])  # a name may come twice
    return [by_name[name] for name in names]


def _ordered(path: str, names: "Sequence[str] | dict[str, bool]") -> list[str]:
    try:
        return ordered_frames(names)
    except ImageNamesError as error:
        raise VideoDecodeError(path, str(error)) from error


def _bounded(file: IO[bytes]) -> bytes:
    content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ImageError(f"more than {MOST_BYTES} bytes, which no frame has")
    return content


def _without_waiting(path: str, flags: int) -> int:
    """Open a file. A pipe would be waited for without O_NONBLOCK."""
    return os.open(path, flags | os.O_NONBLOCK)
