"""A file behind an fsspec URL, fetched from a server that may fail for a while.

What a server needs to know (credentials, endpoints, proxies) comes from fsspec's own configuration:
https://filesystem-spec.readthedocs.io/en/latest/features.html#configuration
"""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from textwrap import shorten
from typing import Any, BinaryIO, TypeVar

from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.storage.locations import INSIDE
from videoctx.user_error import UserError

PIECE_BYTES = 16 * 2**20  # asked of a server at once; what a dropped connection can cost
LONGEST_WAIT_SECONDS = 30
LONGEST_REASON = 200  # characters; some libraries quote what they could not read
TRY_AGAIN = (408, 425, 429)  # of the HTTP answers 4xx, which else are final

Answer = TypeVar("Answer")


class StorageError(UserError):
    """No video can be fetched from there, whichever it is; says what to change in one line."""


@dataclass(frozen=True, slots=True)
class Patience:
    """With a server."""

    num_attempts: int  # after which a failure is final
    first_wait_seconds: float  # before the second attempt; twice as long, and a little at random, before each next
    timeout_seconds: float  # of an HTTP server's silence; other backends of fsspec have their own


@dataclass(slots=True)
class Remote:
    """The file that a URL leads to.

    Raises, in both methods:
        VideoDecodeError: it cannot be fetched.
        StorageError: the library that speaks the URL's protocol is missing.
    """

    url: str
    patience: Patience
    _info: dict[str, Any] | None = None

    def size(self) -> int | None:
        """Bytes, as the server says; nothing where it does not."""
        file_system, name = self._file_system()
        self._info = self._ask(file_system.info, name)
        if self._info.get("type") == "directory":
            raise VideoDecodeError(self.url, "cannot be fetched: it is a folder")
        return self._info.get("size")

    def write(self, path: Path) -> None:
        """Write the file to `path`, which exists; it has the size that the server has said, or that is an error."""
        size = self.size() if self._info is None else self._info.get("size")
        file_system, name = self._file_system()
        with path.open("r+b") as target:
            if size is None or self._info.get("partial") is False:  # the server gives whole files only
                self._ask(_fetch_whole, file_system, name, target, size)
                return
            while target.tell() < size:
                target.write(self._ask(_fetch_piece, file_system, name, target.tell(), size))

    def _file_system(self) -> tuple[Any, str]:
        """fsspec's, and the file's name in it.

        fsspec keeps the instances, for each process its own, as a forked one cannot use its parent's.
        """
        import fsspec

        options = {}
        for protocol in {part.partition("://")[0] for part in self.url.split(INSIDE)} & {"http", "https"}:
            import aiohttp

            configured = fsspec.config.conf.get(protocol, {}).get("client_kwargs", {})
            # By default a request ends after five minutes, too soon for a large file. Here silence ends it.
            seconds = self.patience.timeout_seconds
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
            # Compressed on the way, a file would not have the size that was said.
            headers = {"Accept-Encoding": "identity"} | dict(configured.get("headers", {}))
            options[protocol] = {"client_kwargs": {"timeout": timeout} | configured | {"headers": headers}}
        try:
            return fsspec.url_to_fs(self.url, **options)
        except ImportError as error:
            raise StorageError(f"{self.url}: {error}") from error
        except ValueError as error:
            raise VideoDecodeError(self.url, f"cannot be fetched: {error}") from error

    def _ask(self, function: Callable[..., Answer], *arguments: Any) -> Answer:
        """What the function returns, which is called again while it fails for a reason that may pass."""
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

        wait_seconds = self.patience.first_wait_seconds
        retrying = Retrying(
            stop=stop_after_attempt(self.patience.num_attempts),
            wait=wait_exponential_jitter(multiplier=wait_seconds, jitter=wait_seconds, max=LONGEST_WAIT_SECONDS),
            retry=retry_if_exception(_may_pass),
            reraise=True,
        )
        try:
            return retrying(function, *arguments)
        except Exception as error:  # every backend of fsspec has exceptions of its own
            tried = f" ({self.patience.num_attempts} attempts)" if _may_pass(error) else ""
            reason = f"cannot be fetched: {_reason(error, self.patience)}{tried}"
            raise VideoDecodeError(self.url, reason) from error


def _fetch_piece(file_system: Any, name: str, start: int, size: int) -> bytes:
    """Up to `PIECE_BYTES` of a file from `start` on."""
    # Asking beyond the end shows whether it is the end.
    piece = file_system.cat_file(name, start=start, end=start + PIECE_BYTES)
    expected = min(PIECE_BYTES, size - start)
    if len(piece) != expected and not (start == 0 and len(piece) == size):  # some servers do not know of parts
        raise OSError(f"{len(piece)} bytes came from byte {start} on instead of {expected}")
    return piece


def _fetch_whole(file_system: Any, name: str, target: BinaryIO, size: int | None) -> None:
    target.seek(0)
    target.truncate(size or 0)  # the size keeps the room that was made in the cache
    file_system.get_file(name, target)
    if size is not None and target.tell() != size:
        raise OSError(f"{target.tell()} bytes came instead of {size}")


def _may_pass(error: BaseException) -> bool:
    cause = _cause(error)
    status = _http_status(cause)
    if status is not None:
        return status >= 500 or status in TRY_AGAIN
    return not isinstance(cause, FileNotFoundError | PermissionError | IsADirectoryError | NotImplementedError)


def _reason(error: Exception, patience: Patience) -> str:
    cause = _cause(error)
    status = _http_status(cause)
    if status is not None:
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
        return f"the server answers {status} {phrase}".rstrip()
    if isinstance(cause, FileNotFoundError):
        return "no such file"
    if isinstance(cause, TimeoutError):
        return f"no answer within {patience.timeout_seconds:g} s"
    kind = "" if type(cause) is OSError else f"{type(cause).__name__}: "
    return shorten(f"{kind}{cause}", LONGEST_REASON)


def _cause(error: BaseException) -> BaseException:
    """What lies behind an error: of all that goes wrong with `info`, fsspec's HTTP says that there is no such file."""
    cause = error.__cause__
    of_http = isinstance(cause, OSError) or type(cause).__module__.startswith("aiohttp")
    return cause if isinstance(error, FileNotFoundError) and of_http else error


def _http_status(cause: BaseException) -> int | None:
    """What the server has answered; nothing for a garbled answer, which aiohttp calls 400."""
    return None if cause.__cause__ is not None else getattr(cause, "status", None)
