"""Videos that are not files of their own on this computer, made such for as long as they are needed.

A path is a file, an fsspec URL or a member of a tar shard (`videoctx.data.locations`). Decoders want a file:
`LocalFiles.lease` gives one. What a URL leads to is downloaded into a bounded cache (`videoctx.data.file_cache`);
a member is copied out of its shard, which is itself downloaded first, whole, where it is not here.

What a server needs to know (credentials, endpoints, proxies) comes from fsspec's own configuration:
https://filesystem-spec.readthedocs.io/en/latest/features.html#configuration. A file that changes behind its URL
is not noticed while it is in the cache.
"""

import getpass
import hashlib
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from textwrap import shorten
from typing import Any, TypeVar
from urllib.parse import urlsplit

from videoctx.data.containers import VideoDecodeError
from videoctx.data.file_cache import FileCache
from videoctx.data.locations import INSIDE, is_url, split_member

PIECE_BYTES = 16 * 2**20  # asked of a server at once; what a dropped connection can cost
LOCAL = "file://"
COPY_BYTES = 4 * 2**20
LONGEST_WAIT_SECONDS = 30
LONGEST_REASON = 200  # characters; some libraries quote what they could not read
TRY_AGAIN = (408, 425, 429)  # of the HTTP answers 4xx, which else are final

Answer = TypeVar("Answer")


class StorageError(RuntimeError):
    """No video can be fetched from there, whichever it is; says what to change in one line."""


class LocalFiles:
    """Gives the file of a path; one instance serves any number of threads, and processes after a fork or pickle.

    Args:
        cache_dir: on a disk of this computer; by default a folder of this user below the system's temporary one.
        max_cache_bytes: of what has been downloaded. Files in use do not count where they no longer fit.
        num_attempts: after which a server's failure is final.
        first_wait_seconds: before the second attempt; twice as long, and a little at random, before each next.
        timeout_seconds: of an HTTP server's silence. Other backends of fsspec have their own.
    """

    def __init__(
        self,
        cache_dir: str | Path | None = None,
        *,
        max_cache_bytes: int = 50_000_000_000,
        num_attempts: int = 5,
        first_wait_seconds: float = 0.5,
        timeout_seconds: float = 60.0,
    ) -> None:
        if cache_dir is None:
            cache_dir = Path(tempfile.gettempdir(), f"videoctx-{getpass.getuser()}")
        for name, value in {"max_cache_bytes": max_cache_bytes, "first_wait_seconds": first_wait_seconds}.items():
            if value < 0:
                raise ValueError(f"{name} is {value}; expected zero or more")
        if num_attempts < 1:
            raise ValueError(f"num_attempts is {num_attempts}; expected at least 1")
        if timeout_seconds <= 0:
            raise ValueError(f"timeout_seconds is {timeout_seconds}; expected more than 0")
        self.cache_dir = Path(cache_dir)
        self.max_cache_bytes = max_cache_bytes
        self.num_attempts = num_attempts
        self.first_wait_seconds = first_wait_seconds
        self.timeout_seconds = timeout_seconds
        self._cache: FileCache | None = None

    @contextmanager
    def lease(self, path: str) -> Iterator[str]:
        """A local file with the video's bytes, valid inside the `with`.

        A local file is itself: it is not even looked at. A `VideoDecodeError` about the local file that is raised
        inside the `with` leaves it as one about `path`.

        Raises:
            VideoDecodeError: the video cannot be fetched.
            StorageError: a library that speaks the URL's protocol is missing; a shard is larger than the cache.
            OSError: the cache folder cannot be written.
        """
        with self._lease(path) as local:
            try:
                yield local
            except VideoDecodeError as error:
                if error.path != local or local == path:
                    raise
                raise VideoDecodeError(path, error.reason) from error

    def size(self, path: str) -> int:
        """Bytes of the video; its server is asked for no more than that, where it knows.

        Raises:
            VideoDecodeError: there is no such file, or it cannot be told.
            StorageError, OSError: as in `lease`.
        """
        location = split_member(path)
        if location is not None:
            member, tar = location
            with self._lease_tar(path, tar) as local_tar:
                return _find_member(path, local_tar, member)[1]
        if is_url(path) and not path.startswith(LOCAL):
            size = _Remote(self, path).size()
            if size is not None:
                return size
        with self.lease(path) as local:
            try:
                return Path(local).stat().st_size
            except OSError as error:
                raise VideoDecodeError(path, error.strerror or str(error)) from error

    @contextmanager
    def _lease(self, path: str) -> Iterator[str]:
        location = split_member(path)
        if location is not None:
            member, tar = location
            with self._opened_cache().lease_new(f"copy{_suffix(member)}") as copy:
                with self._lease_tar(path, tar) as local_tar:
                    _copy_member(path, local_tar, member, copy)
                yield str(copy)
        elif path.startswith(LOCAL) and INSIDE not in path:
            yield path.removeprefix(LOCAL)
        elif is_url(path):
            with self._opened_cache().lease(_entry_name(path), _Remote(self, path)) as file:
                yield str(file)
        else:
            yield path

    @contextmanager
    def _lease_tar(self, path: str, tar: str) -> Iterator[str]:
        tar = tar.removeprefix(LOCAL)
        if not is_url(tar):
            yield tar
            return
        # Each member of a shard for which there is never room would download it anew.
        source = _Remote(self, tar, max_bytes=self.max_cache_bytes)
        with ExitStack() as stack:
            try:
                file = stack.enter_context(self._opened_cache().lease(_entry_name(tar), source))
            except VideoDecodeError as error:
                raise VideoDecodeError(path, error.reason) from error
            yield str(file)

    def _opened_cache(self) -> FileCache:
        if self._cache is None:
            self._cache = FileCache(self.cache_dir, max_bytes=self.max_cache_bytes)
        return self._cache

    def file_system(self, url: str) -> tuple[Any, str]:
        """The fsspec file system of a URL, and the file's name in it.

        fsspec keeps the instances, for each process its own: a forked one cannot use its parent's.
        """
        import fsspec
        from fsspec.core import url_to_fs

        options = {}
        for protocol in {part.partition("://")[0] for part in url.split(INSIDE)} & {"http", "https"}:
            import aiohttp

            configured = fsspec.config.conf.get(protocol, {}).get("client_kwargs", {})
            # Silence ends a request, not its length in all, which is what ends it by default, after five minutes.
            timeout = aiohttp.ClientTimeout(
                total=None, sock_connect=self.timeout_seconds, sock_read=self.timeout_seconds
            )
            # Compressed on the way, a file would not have the size that was announced.
            headers = {"Accept-Encoding": "identity"} | dict(configured.get("headers", {}))
            options[protocol] = {"client_kwargs": {"timeout": timeout} | configured | {"headers": headers}}
        try:
            return url_to_fs(url, **options)
        except ImportError as error:
            raise StorageError(f"{url}: {error}") from error
        except ValueError as error:
            raise VideoDecodeError(url, f"cannot be fetched: {error}") from error

    def ask(self, url: str, function: Callable[..., Answer], *arguments: Any) -> Answer:
        """What the function returns, which is called again while it fails for a reason that may pass."""
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

        retrying = Retrying(
            stop=stop_after_attempt(self.num_attempts),
            wait=wait_exponential_jitter(
                multiplier=self.first_wait_seconds, max=LONGEST_WAIT_SECONDS, jitter=self.first_wait_seconds
            ),
            retry=retry_if_exception(_may_pass),
            reraise=True,
        )
        try:
            return retrying(function, *arguments)
        except Exception as error:  # every backend of fsspec has exceptions of its own
            raise VideoDecodeError(url, f"cannot be fetched: {self._reason(error)}") from error

    def _reason(self, error: Exception) -> str:
        cause = _cause(error)
        tried = f" ({self.num_attempts} attempts)" if _may_pass(error) else ""
        status = _http_status(cause)
        if status is not None:
            return (
                f"the server answers {status} {HTTPStatus(status).phrase if status in set(HTTPStatus) else ''}".rstrip()
                + tried
            )
        if isinstance(cause, FileNotFoundError):
            return "no such file"
        if isinstance(cause, TimeoutError):
            return f"no answer within {self.timeout_seconds:g} s{tried}"
        kind = "" if type(cause) is OSError else f"{type(cause).__name__}: "
        return shorten(f"{kind}{cause}", LONGEST_REASON) + tried


@dataclass(slots=True)
class _Remote:
    """What a URL leads to."""

    files: LocalFiles
    url: str
    max_bytes: int | None = None  # beyond which it is refused
    _info: dict[str, Any] | None = None

    def size(self) -> int | None:
        file_system, name = self.files.file_system(self.url)
        self._info = self.files.ask(self.url, file_system.info, name)
        if self._info.get("type") == "directory":
            raise VideoDecodeError(self.url, "cannot be fetched: it is a folder")
        size = self._info.get("size")
        if None not in (size, self.max_bytes) and size > self.max_bytes:
            raise StorageError(
                f"{self.url}: has {size} bytes, but max_cache_bytes is {self.max_bytes};"
                " expected room for a whole shard for each video in use"
            )
        return size

    def write(self, path: Path) -> None:
        file_system, name = self.files.file_system(self.url)
        size = self._info.get("size")
        with path.open("r+b") as target:
            if size is None or self._info.get("partial") is False:  # the server gives whole files only
                self.files.ask(self.url, _whole, file_system, name, target, size)
                return
            while target.tell() < size:
                target.write(self.files.ask(self.url, _piece, file_system, name, target.tell(), size))


def _piece(file_system: Any, name: str, start: int, size: int) -> bytes:
    """Up to `PIECE_BYTES` of a file from `start` on."""
    # Asking beyond the end shows whether it is the end.
    piece = file_system.cat_file(name, start=start, end=start + PIECE_BYTES)
    expected = min(PIECE_BYTES, size - start)
    if len(piece) != expected and not (start == 0 and len(piece) == size):  # some servers do not know of parts
        raise OSError(f"{len(piece)} bytes came from byte {start} on instead of {expected}")
    return piece


def _whole(file_system: Any, name: str, target: Any, size: int | None) -> None:
    target.seek(0)
    target.truncate(size or 0)
    file_system.get_file(name, target)
    if size is not None and target.tell() != size:
        raise OSError(f"{target.tell()} bytes came instead of {size}")


def _cause(error: Exception) -> BaseException:
    """What lies behind an error: fsspec says of all that HTTP answers to `info` that there is no such file."""
    http = type(error.__cause__).__module__.partition(".")[0] in ("aiohttp", "asyncio", "builtins")
    return error.__cause__ if isinstance(error, OSError) and error.__cause__ is not None and http else error


def _http_status(cause: BaseException) -> int | None:
    """What the server has answered; nothing for a garbled answer, which aiohttp calls 400."""
    return None if cause.__cause__ is not None else getattr(cause, "status", None)


def _may_pass(error: BaseException) -> bool:
    cause = _cause(error)
    status = _http_status(cause)
    if status is not None:
        return status >= 500 or status in TRY_AGAIN
    return not isinstance(cause, FileNotFoundError | PermissionError | IsADirectoryError | NotImplementedError)


def _entry_name(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:32] + _suffix(urlsplit(url).path)


def _suffix(name: str) -> str:
    """A plain suffix, as some decoders go by it; nothing where it is not plain."""
    found = re.search(r"\.[A-Za-z0-9]{1,8}$", name)
    return found.group().lower() if found else ""


def _copy_member(path: str, tar: str, member: str, copy: Path) -> None:
    start, size = _find_member(path, tar, member)
    with open(tar, "rb") as source, copy.open("r+b") as target:
        source.seek(start)
        while size > 0:
            piece = source.read(min(size, COPY_BYTES))
            if not piece:
                raise VideoDecodeError(path, "its tar file is cut short")
            target.write(piece)
            size -= len(piece)


def _find_member(path: str, tar: str, member: str) -> tuple[int, int]:
    """Where it starts in the tar file, and its size, in bytes; `path` is for the error."""
    try:
        status = Path(tar).stat()
        members = _members(tar, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise VideoDecodeError(path, f"its tar file cannot be read: {error.strerror or error}") from error
    except tarfile.TarError as error:
        raise VideoDecodeError(
            path, f"its tar file cannot be read: {error}; expected a whole one that is not compressed"
        ) from error
    if member not in members:
        raise VideoDecodeError(path, f"no such file among the {len(members)} in the tar file")
    return members[member]


@lru_cache(maxsize=1024)
def _members(tar: str, modified_ns: int, size: int) -> dict[str, tuple[int, int]]:  # noqa: ARG001 - part of the key
    """Where the plain files of a tar file start in it, and their sizes, in bytes; remembered until it changes."""
    with tarfile.open(tar, "r:") as archive:
        return {entry.name: (entry.offset_data, entry.size) for entry in archive if entry.isreg()}
