"""Unpack a tar archive such that no incomplete, damaged or misplaced file gets into the output.

Members are written to a staging folder first. They are moved to their places only when the archive has been read to its
end and its checksum is correct.
"""

import gzip
import os
import shutil
import tarfile
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from data_prep.download_kinetics.resumable_download import Stopped

GZIP_MAGIC = b"\x1f\x8b"
MAX_NAME_BYTES = 255
READ_BYTES = 1 << 20


class DamagedArchiveError(RuntimeError):
    """An archive that cannot be read to its end; the message gives the reason in one line."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was extracted from an archive."""

    num_files: int
    refused: list[str]  # members that were not extracted, each with the reason


def extract(archive: Path, folder: Path, *, staging: Path, stop: threading.Event) -> Extraction:
    """Extract the archive's files into the folder; files of the same names are replaced.

    Members outside the folder are refused, and so are members that are neither files nor folders, because a link could
    lead outside.

    Args:
        archive: `.tar` or `.tar.gz`, whatever its name.
        staging: a folder on the same disk; it is emptied before and removed afterwards.
        stop: ends the extraction when it is set.

    Raises:
        DamagedArchiveError: the archive is damaged; nothing has been put into the folder.
        Stopped: `stop` was set.
        OSError: the disk is full or cannot be written.
    """
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        refused = _unpack(archive, staging, stop)
        num_files = 0
        for path in sorted(path for path in staging.rglob("*") if path.is_file()):
            target = folder / path.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
            num_files += 1
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    if not num_files and not refused:
        raise DamagedArchiveError("no files in it")
    return Extraction(num_files, refused)


def _unpack(archive: Path, staging: Path, stop: threading.Event) -> list[str]:
    refused = []
    with archive.open("rb") as raw:
        zipped = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        stream: IO[bytes] = gzip.GzipFile(fileobj=raw) if zipped else raw  # type: ignore[assignment]  # has all of IO
        try:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                for member in tar:
                    if stop.is_set():
                        raise Stopped
                    reason = _refusal(member)
                    if reason is None and not member.isdir():
                        reason = _extract_member(tar, member, staging)
                    if reason is not None:
                        refused.append(f"{member.name!r} {reason}")
            while rest := stream.read(READ_BYTES):  # to the end, where the checksum is
                if rest.strip(b"\0"):
                    raise DamagedArchiveError("damaged: more data where the archive should end")
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, UnicodeError) as error:
            raise DamagedArchiveError(f"damaged: {error}") from error
    return refused


def _refusal(member: tarfile.TarInfo) -> str | None:
    """Return why the member is refused, or None if it is not."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        return "lies outside the folder"
    if member.issym() or member.islnk():
        return f"is a link to {member.linkname!r}"
    if not (member.isreg() or member.isdir()):
        return "is neither a file nor a folder"
    if "\0" in member.name or any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in path.parts):
        return "has a name that no file can have"
    return None


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, staging: Path) -> str | None:
    """Extract a member; return why it was refused, or None if it was not."""
    try:
        tar.extract(member, staging, set_attrs=False, filter="data")
    except tarfile.FilterError as error:
        return f"is refused: {error}"
    except (FileExistsError, IsADirectoryError, NotADirectoryError):
        return "is a file where another member needs a folder"
    return None
