"""Fetches a file over HTTP so that nothing is fetched twice: after a drop, a retry or a killed run it goes on.

Bytes go to `NAME.part`; `NAME.part.json` says which version of the file they are of (its size, and ETag or
Last-Modified, RFC 9110). The rest is asked for by byte range, on condition that the version is still the same;
where it is not, or the server does not serve ranges, the file starts anew. A whole file is renamed to NAME.
"""

import http.client
import json
import os
import random
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from tenacity import RetryCallState, Retrying, retry_if_exception_type, sleep_using_event

CHUNK_BYTES = 1 << 18
MOST_PAUSE_SECONDS = 60.0
RETRIED_STATUS = (408, 425, 429)  # and all from 500 on


class DownloadError(RuntimeError):
    """A file that cannot be had; the message says why in one line."""


class Dropped(DownloadError):
    """A failure that may not be there the next time."""


class Stopped(Exception):
    """The run is being ended; what is there is kept."""


@dataclass(frozen=True, slots=True)
class Persistence:
    """How long a server's failures are borne."""

    attempts: int = 6  # in a row that bring no byte
    pause_seconds: float = 1.0  # before the second attempt; it doubles from one to the next
    timeout_seconds: float = 60.0  # without a byte


@dataclass(frozen=True, slots=True)
class _Version:
    """Which version of a file a `.part` is of."""

    url: str
    size: int | None
    etag: str | None
    modified: str | None

    @property
    def validator(self) -> str | None:
        """What If-Range takes: a strong ETag, or else the date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


def download(
    url: str,
    target: Path,
    *,
    persistence: Persistence,
    stop: threading.Event,
    on_start: Callable[[int | None], None] = lambda remaining: None,  # noqa: ARG005
    on_bytes: Callable[[int], None] = lambda count: None,  # noqa: ARG005
) -> None:
    """Fetch the file, going on with what an earlier call left.

    Args:
        on_start: Called at each attempt with the bytes that remain; None: the server does not say.
        on_bytes: Called with the number of bytes of each piece that has been written.

    Raises:
        DownloadError: the server refuses, or fails too often in a row.
        Stopped: `stop` was set.
        OSError: the target cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    patience = _Patience(part, persistence)
    try:
        for attempt in Retrying(
            retry=retry_if_exception_type(Dropped),
            after=patience.note,
            stop=patience.is_over,
            wait=patience.pause_seconds,
            sleep=sleep_using_event(stop),
            reraise=True,
        ):
            with attempt:
                _transfer(url, part, persistence.timeout_seconds, stop, on_start, on_bytes)
    except Dropped as error:
        raise DownloadError(f"{url}: {error}, {persistence.attempts} times in a row") from error
    os.replace(part, target)
    _version_file(part).unlink(missing_ok=True)


class _Patience:
    """Counts the attempts in a row that left the file as long as it was; any byte that came starts the count anew."""

    def __init__(self, part: Path, persistence: Persistence) -> None:
        self.part, self.persistence = part, persistence
        self.size, self.idle = _size(part), 0

    def note(self, _: RetryCallState) -> None:
        size = _size(self.part)
        self.idle = 0 if size > self.size else self.idle + 1
        self.size = size

    def is_over(self, _: RetryCallState) -> bool:
        return self.idle >= self.persistence.attempts

    def pause_seconds(self, _: RetryCallState) -> float:
        # Up to a half more, so that parallel downloads do not all come back at once.
        return min(MOST_PAUSE_SECONDS, self.persistence.pause_seconds * 2**self.idle) * random.uniform(1, 1.5)


def _transfer(
    url: str,
    part: Path,
    timeout_seconds: float,
    stop: threading.Event,
    on_start: Callable[[int | None], None],
    on_bytes: Callable[[int], None],
) -> None:
    """One attempt; afterwards the part is whole."""
    if stop.is_set():
        raise Stopped
    known = _known_version(part, url)
    if known is None:
        part.unlink(missing_ok=True)
    have = _size(part)
    if have and have == known.size:
        return
    headers = {"User-Agent": "videoctx", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if known.validator:
            headers["If-Range"] = known.validator
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout_seconds)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # shorter than what is here: another file
            part.unlink(missing_ok=True)
            raise Dropped("the file on the server has become shorter") from error
        failure = Dropped if error.code >= 500 or error.code in RETRIED_STATUS else DownloadError
        raise failure(f"{'' if failure is Dropped else f'{url}: '}HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise Dropped(_reason(error)) from error
    with response:
        version = _version(response, url)
        resumed = response.status == 206 and _continues(response, have, version, known)
        if response.status == 206 and not resumed:
            part.unlink(missing_ok=True)
            raise Dropped("the file on the server has changed")
        if not resumed:
            part.unlink(missing_ok=True)  # before the new version is noted: a killed run must not mix two versions
            write_whole(_version_file(part), json.dumps(asdict(version)))
            have = 0
        on_start(None if version.size is None else version.size - have)
        with part.open("ab") as file:
            while chunk := _read(response):
                file.write(chunk)
                file.flush()
                on_bytes(len(chunk))
                if stop.is_set():
                    raise Stopped
    if version.size is not None and _size(part) != version.size:
        raise Dropped(f"the connection ended after {_size(part)} of {version.size} bytes")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a small file so that a killed run leaves the old one or the new one."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise Dropped(_reason(error)) from error


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", error)  # of a URLError
    if isinstance(inner, TimeoutError):
        return "no answer in time"
    return " ".join((str(inner) or type(inner).__name__).split())


def _version(response: http.client.HTTPResponse, url: str) -> _Version:
    if response.status == 206:
        match = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", ""))
        size = match and match[1]
    else:
        size = response.headers.get("Content-Length")
    etag, modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
    return _Version(url, int(size) if size else None, etag, modified)


def _continues(response: http.client.HTTPResponse, have: int, version: _Version, known: _Version) -> bool:
    """Whether the answer is the rest of the same version; servers that do not know If-Range are caught here."""
    starts = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    return starts and (version.size, version.etag, version.modified) == (known.size, known.etag, known.modified)


def _known_version(part: Path, url: str) -> _Version | None:
    try:
        version = _Version(**json.loads(_version_file(part).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return version if version.url == url else None


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
