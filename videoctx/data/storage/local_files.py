"""Local copies of videos that are remote or inside tar files, for as long as they are needed.

A path is a file, an fsspec URL or a member of a tar shard (`videoctx.data.storage.locations`). Decoders need a file,
which `LocalFiles.local_copy` provides. The file of a URL is downloaded (`videoctx.data.storage.remote`) into a bounded
cache (`videoctx.data.storage.file_cache`); a member is copied out of its shard, which is downloaded
first if it is remote. If a file changes behind its URL while it is in the cache, the change is not noticed.
"""

import hashlib
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.storage.file_cache import FileCache
from videoctx.data.storage.locations import LOCAL, is_url, local_path, split_member, why_refused
from videoctx.data.storage.remote import Patience, Remote, StorageError
from videoctx.private_folder import default_folder

COPY_BYTES = 4 * 2**20


class LocalFiles:
    """Provides local files for paths. An instance may be used by any number of threads and passed to other processes.

    Args:
        cache_dir: Folder on a local disk that only this user may write to. By default `videoctx-UID` in the system's
            folder for temporary files.
        max_cache_bytes: Maximum size of the downloaded files. Files in use that do not fit do not count.
        num_attempts: Number of attempts, after which a server's failure is final.
        first_wait_seconds: Time before the second attempt. It is doubled, with some jitter, before each further
            attempt.
        timeout_seconds: Time limit for an HTTP server's response. Other backends of fsspec have their own.
        public_only: Connect over HTTP to addresses of the public internet alone, and to none of this computer or of a
            private network, whatever redirects or names lead there.
        max_file_bytes: Maximum size of one downloaded file. None: any size.
    """

    def __init__(
        self,
        cache_dir: str | Path | None = None,
        *,
        max_cache_bytes: int = 50_000_000_000,
        num_attempts: int = 5,
        first_wait_seconds: float = 0.5,
        timeout_seconds: float = 60.0,
        public_only: bool = False,
        max_file_bytes: int | None = None,
    ) -> None:
        if cache_dir is None:
            cache_dir = default_folder()
        for name, value in {"max_cache_bytes": max_cache_bytes, "first_wait_seconds": first_wait_seconds}.items():
            if value < 0:
                raise ValueError(f"{name} is {value}; expected zero or more")
        if num_attempts < 1:
            raise ValueError(f"num_attempts is {num_attempts}; expected at least 1")
        if timeout_seconds <= 0:
            raise ValueError(f"timeout_seconds is {timeout_seconds}; expected more than 0")
        self.cache_dir = Path(cache_dir)
        self.max_cache_bytes = max_cache_bytes
        self.patience = Patience(num_attempts, first_wait_seconds, timeout_seconds)
        self.public_only = public_only
        self.max_file_bytes = max_file_bytes
        self._cache: FileCache | None = None

    @contextmanager
    def local_copy(self, path: str, *, check: Callable[[], None] | None = None) -> Iterator[str]:
        """Yield a local file with the video's bytes, valid inside the `with`.

        A local path is returned as it is, without a check. A `VideoDecodeError` for the local file that is raised
        inside the `with` becomes one for `path`.

        Args:
            path: A file, a URL or a member of a tar file.
            check: Called before each part of the download of a URL, which ends if it raises.

        Raises:
            VideoDecodeError: The video cannot be fetched.
            StorageError: A shard is larger than the cache.
            CacheFolderError: Another user could change what is in the cache folder.
            OSError: The cache folder cannot be written.
        """
        with self._local_file(path, check) as local:
            try:
                yield local
            except VideoDecodeError as error:
                if error.path != local or local == path:
                    raise
                raise VideoDecodeError(path, error.reason) from error

    def size(self, path: str) -> int:
        """Return the size of the video in bytes. The file is fetched only if its server does not report the size.

        Raises:
            VideoDecodeError: The file is missing, or its size is unknown.
            StorageError: See `local_copy`.
            CacheFolderError, OSError: See `local_copy`.
        """
        _check_accepted(path)
        location = split_member(path)
        if location is not None:
            member, tar = location
            with self._local_tar(path, tar) as local_tar:
                return _find_member(path, local_tar, member)[1]
        if is_url(path) and not path.startswith(LOCAL):
            size = self._remote(path).size()
            if size is not None:
                return size
        with self.local_copy(path) as local:
            try:
                return Path(local).stat().st_size
            except OSError as error:
                raise VideoDecodeError(path, error.strerror or str(error)) from error

    @contextmanager
    def _local_file(self, path: str, check: Callable[[], None] | None) -> Iterator[str]:
        _check_accepted(path)
        location = split_member(path)
        if location is not None:
            member, tar = location
            with self._opened_cache().temporary_file(f"copy{_suffix(member)}") as copy:
                with self._local_tar(path, tar) as local_tar:
                    _copy_member(path, local_tar, member, copy)
                yield str(copy)
        elif path.startswith(LOCAL):
            yield local_path(path)
        elif is_url(path):
            source = self._remote(path)
            source.check = check
            with self._opened_cache().local_copy(_entry_name(path), source) as file:
                yield str(file)
        else:
            yield path

    @contextmanager
    def _local_tar(self, path: str, tar: str) -> Iterator[str]:
        tar = local_path(tar)
        if not is_url(tar):
            yield tar
            return
        source = _RemoteShard(tar, self.patience, self.public_only, None, max_bytes=self.max_cache_bytes)
        with ExitStack() as stack:
            try:
                file = stack.enter_context(self._opened_cache().local_copy(_entry_name(tar), source))
            except VideoDecodeError as error:
                raise VideoDecodeError(path, error.reason) from error
            yield str(file)

    def _remote(self, url: str) -> Remote:
        return Remote(url, self.patience, self.public_only, self.max_file_bytes)

    def _opened_cache(self) -> FileCache:
        if self._cache is None:
            self._cache = FileCache(self.cache_dir, max_bytes=self.max_cache_bytes)
        return self._cache


@dataclass(slots=True)
class _RemoteShard(Remote):
    """A remote tar file. One that is larger than the cache is refused, as every member would download it again."""

    max_bytes: int = 0

    def size(self) -> int | None:
        size = Remote.size(self)
        if size is not None and size > self.max_bytes:
            raise StorageError(
                f"{self.url}: has {size} bytes, but max_cache_bytes is {self.max_bytes};"
                " expected room for one shard per video in use"
            )
        return size


def _check_accepted(path: str) -> None:
    if reason := why_refused(path):
        raise VideoDecodeError(path, reason)


def _entry_name(url: str) -> str:
    return hashlib.sha256(url.encode(errors="backslashreplace")).hexdigest()[:32] + _suffix(urlsplit(url).path)


def _suffix(name: str) -> str:
    """Return a plain suffix, which some decoders read, or nothing."""
    found = re.search(r"\.[A-Za-z0-9]{1,8}$", name)
    return found.group().lower() if found else ""


def _copy_member(path: str, tar: str, member: str, copy: Path) -> None:
    start, size = _find_member(path, tar, member)
    with open(tar, "rb") as source, copy.open("r+b") as target:
        source.seek(start)
        while size > 0:
            piece = source.read(min(size, COPY_BYTES))
            if not piece:
                raise VideoDecodeError(path, "its tar file is truncated")
            target.write(piece)
            size -= len(piece)


def _find_member(path: str, tar: str, member: str) -> tuple[int, int]:
    """Return start and size of a member in bytes. `path` is for the error."""
    try:
        status = Path(tar).stat()
        members = _members(tar, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise VideoDecodeError(path, f"its tar file cannot be read: {error.strerror or error}") from error
    except tarfile.TarError as error:
        raise VideoDecodeError(
            path, f"its tar file cannot be read: {error}; expected a complete one that is not compressed"
        ) from error
    except ValueError as error:  # numbers in a damaged header, or a name that no file can have
        raise VideoDecodeError(path, f"its tar file cannot be read: {error}") from error
    if member not in members:
        raise VideoDecodeError(path, f"no such file among the {len(members)} in the tar file")
    return members[member]


@lru_cache(maxsize=1024)
def _members(tar: str, modified_ns: int, size: int) -> dict[str, tuple[int, int]]:  # noqa: ARG001 - part of the key
    """Return start and size in bytes of the regular files of a tar file. The result is cached until it changes."""
    with tarfile.open(tar, "r:") as archive:
        return {entry.name: (entry.offset_data, entry.size) for entry in archive if entry.isreg()}
