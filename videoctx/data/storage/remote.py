"""Files behind fsspec URLs, fetched from servers that may fail temporarily.

Credentials, endpoints and proxies come from fsspec's own configuration:
https://filesystem-spec.readthedocs.io/en/latest/features.html#configuration
"""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from io import BufferedRandom, FileIO
from pathlib import Path
from textwrap import shorten
from typing import Any, BinaryIO, TypeVar

from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.storage.public_addresses import PrivateAddressError, public_client
from videoctx.user_error import UserError, missing_library

PIECE_BYTES = 16 * 2**20  # per request, and thus the most that a dropped connection can cost
LONGEST_WAIT_SECONDS = 30
LONGEST_REASON = 200  # characters, as some libraries quote what they could not read
TRY_AGAIN = (408, 425, 429)  # HTTP status codes 4xx that may pass; the others are final

Result = TypeVar("Result")


class StorageError(UserError):
    """No video can be fetched from a place. The message is one line with what to change."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Number of attempts and time limits of requests to a server."""

    num_attempts: int  # a failure of the last one is final
    first_wait_seconds: float  # before the second attempt; doubled, with some jitter, before each further attempt
    timeout_seconds: float  # of an HTTP server without response; other backends of fsspec have their own


@dataclass(slots=True)
class Remote:
    """The file that a URL leads to.

    Both methods raise a VideoDecodeError if the file cannot be fetched, also if the library for the URL's protocol is
    missing.

    Attributes:
        public_only: connect over HTTP to addresses of the public internet alone, redirects included. The URL's scheme
            is not checked.
        max_file_bytes: a larger file is an error. None: any size.
        check: called before each part of a download, which ends if it raises. None: nothing is called.
    """

    url: str
    patience: Patience
    public_only: bool = False
    max_file_bytes: int | None = None
    check: Callable[[], None] | None = None
    _info: dict[str, Any] | None = None

    def size(self) -> int | None:
        """Return the size in bytes that the server reports. None if it reports none."""
        return self._server_info().get("size")

    def write(self, path: Path) -> None:
        """Write the file to `path`, which exists. Another size than the server reported is an error."""
        info = self._server_info() if self._info is None else self._info
        size = info.get("size")
        self._check_size(size or 0)
        file_system, name = self._file_system()
        with path.open("r+b") as target:
            if size is None or info.get("partial") is False:  # the server does not send parts of files
                bounded = _Bounded(target, self)
                self._request(_fetch_at_once, file_system, name, bounded, size)
                return
            while target.tell() < size:
                if self.check is not None:
                    self.check()
                target.write(self._request(_fetch_piece, file_system, name, target.tell(), size))

    def _check_size(self, num_bytes: int) -> None:
        if self.max_file_bytes is not None and num_bytes > self.max_file_bytes:
            raise VideoDecodeError(self.url, f"cannot be fetched: it has more than {self.max_file_bytes:,} bytes")

    def _server_info(self) -> dict[str, Any]:
        """Request what the server reports about the file."""
        file_system, name = self._file_system()
        info: dict[str, Any] = self._request(file_system.info, name)
        if info.get("type") == "directory":
            raise VideoDecodeError(
                self.url, "cannot be fetched: it is a folder; expected a file, such as a .zip of images"
            )
        self._info = info
        return info

    def _file_system(self) -> tuple[Any, str]:
        """Return fsspec's file system, and the file's name in it.

        fsspec caches the instances per process, because a forked process cannot use those of its parent.
        """
        scheme = self.url.partition("://")[0]
        try:
            import fsspec

            options = self._http_options(scheme) if scheme in ("http", "https") else {}
            # Not `url_to_fs`, which takes "::" for a chain of file systems: an IPv6 address or a name may contain it.
            backend = fsspec.get_filesystem_class(scheme)
            file_system = backend(**(backend._get_kwargs_from_urls(self.url) | options))
            return file_system, backend._strip_protocol(self.url)
        except ImportError as error:  # one such row among others does not end a run
            raise VideoDecodeError(self.url, f"cannot be fetched: {missing_library(error) or error}") from error
        except Exception as error:  # every backend of fsspec has its own exceptions
            raise VideoDecodeError(self.url, f"cannot be fetched: {_reason(error, self.patience)}") from error

    def _http_options(self, scheme: str) -> dict[str, Any]:
        import aiohttp
        import fsspec

        configured = fsspec.config.conf.get(scheme, {}).get("client_kwargs", {})
        # By default a request ends after five minutes, too soon for a large file. Here it ends without response.
        seconds = self.patience.timeout_seconds
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
        # A file that is compressed in transit would not have the reported size.
        headers = {"Accept-Encoding": "identity"} | dict(configured.get("headers", {}))
        client = {"get_client": public_client} if self.public_only else {}
        return {"client_kwargs": {"timeout": timeout} | configured | {"headers": headers}, **client}

    def _request(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function, and call it again while it fails for a temporary reason."""
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

        wait_seconds = self.patience.first_wait_seconds
        retrying = Retrying(
            stop=stop_after_attempt(self.patience.num_attempts),
            wait=wait_exponential(multiplier=wait_seconds, max=LONGEST_WAIT_SECONDS) + wait_random(0, wait_seconds),
            retry=retry_if_exception(_may_pass),
            reraise=True,
        )
        try:
            return retrying(function, *arguments)
        except VideoDecodeError:
            raise
        except Exception as error:  # every backend of fsspec has its own exceptions
            tried = f" ({self.patience.num_attempts} attempts)" if _may_pass(error) else ""
            reason = f"cannot be fetched: {_reason(error, self.patience)}{tried}"
            raise VideoDecodeError(self.url, reason) from error


def _fetch_piece(file_system: Any, name: str, start: int, size: int) -> bytes:
    """Return up to `PIECE_BYTES` of a file, from byte `start`."""
    # A request beyond the end shows whether it is the end.
    piece = file_system.cat_file(name, start=start, end=start + PIECE_BYTES)
    expected = min(PIECE_BYTES, size - start)
    if len(piece) != expected and not (start == 0 and len(piece) == size):  # some servers ignore ranges
        raise OSError(f"{len(piece)} bytes came from byte {start} instead of {expected}")
    return piece


class _Bounded(BufferedRandom):
    """The file of a download whose size the server may not report."""

    def __init__(self, target: BinaryIO, remote: Remote) -> None:
        super().__init__(FileIO(target.fileno(), "r+", closefd=False))
        self._remote = remote

    def write(self, content: Any) -> int:
        self._remote._check_size(self.tell() + len(content))
        return super().write(content)


def _fetch_at_once(file_system: Any, name: str, target: BinaryIO, size: int | None) -> None:
    target.seek(0)
    target.truncate(size or 0)  # the size keeps the room that is reserved in the cache
    file_system.get_file(name, target)
    if size is not None and target.tell() != size:
        raise OSError(f"{target.tell()} bytes came instead of {size}")


def _may_pass(error: BaseException) -> bool:
    cause = _cause(error)
    status = _http_status(cause)
    if status is not None:
        return status >= 500 or status in TRY_AGAIN
    final = (VideoDecodeError, FileNotFoundError, PermissionError, IsADirectoryError, NotImplementedError)
    return not isinstance(cause, final)


def _reason(error: Exception, patience: Patience) -> str:
    cause = _cause(error)
    status = _http_status(cause)
    if status is not None:
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
        return f"the server responded {status} {phrase}".rstrip()
    if isinstance(cause, FileNotFoundError):
        return "no such file"
    if isinstance(cause, TimeoutError):
        return f"no response within {patience.timeout_seconds:g} s"
    kind = "" if type(cause) in (OSError, PrivateAddressError) else f"{type(cause).__name__}: "
    return shorten(f"{kind}{cause}", LONGEST_REASON)


def _cause(error: BaseException) -> BaseException:
    """Return the cause of an error. fsspec's HTTP raises FileNotFoundError for every failure of `info`."""
    refused = _private_address(error)
    if refused is not None:
        return refused
    cause = error.__cause__
    if cause is None or not isinstance(error, FileNotFoundError):
        return error
    of_http = isinstance(cause, OSError) or type(cause).__module__.startswith("aiohttp")
    return cause if of_http else error


def _private_address(error: BaseException | None) -> PrivateAddressError | None:
    """Return the refusal of an address that made a request fail. aiohttp makes a connection error of it."""
    while error is not None and not isinstance(error, PrivateAddressError):
        error = error.__cause__
    return error


def _http_status(cause: BaseException) -> int | None:
    """Return the HTTP status of the response. None for a malformed response, which aiohttp reports as 400."""
    return None if cause.__cause__ is not None else getattr(cause, "status", None)
