"""Fetch a file over HTTP without fetching anything twice: it resumes after a dropped connection or a killed run.

Bytes are written to `NAME.part`; `NAME.part.json` records the version of the file that they belong to (its size, and
ETag or Last-Modified, RFC 9110). The rest is requested by byte range, on condition that the version is still the same.
If it is not, or if the server does not serve ranges, the file is fetched from its start. A complete file is renamed to
NAME.
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

from videoctx.atomic_write import atomic_write

CHUNK_BYTES = 1 << 18
MOST_PAUSE_SECONDS = 60.0
RETRIED_STATUS = (408, 425, 429)  # and all from 500 on


class DownloadError(RuntimeError):
    """A file that cannot be fetched; the message gives the reason in one line."""


class Dropped(DownloadError):
    """A failure that another attempt may not have."""


class Stopped(Exception):
    """The run is being ended; fetched bytes are kept."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a failed request is repeated."""

    attempts: int = 6  # consecutive ones that fetch no byte
    pause_seconds: float = 1.0  # before the second attempt; it doubles with each further one
    timeout_seconds: float = 60.0  # without a byte


@dataclass(frozen=True, slots=True)
class _Version:
    """The version of a file that a `.part` belongs to."""

    url: str
    size: int | None
    etag: str | None
    modified: str | None

    @property
    def validator(self) -> str | None:
        """The value of If-Range: a strong ETag, or otherwise the date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


def download(
    url: str,
    target: Path,
    *,
    retries: RetryPolicy,
    stop: threading.Event,
    on_start: Callable[[int | None], None] = lambda remaining: None,  # noqa: ARG005
    on_bytes: Callable[[int], None] = lambda count: None,  # noqa: ARG005
) -> None:
    """Fetch the file, resuming after an earlier call.

    Args:
        stop: ends the download when it is set.
        on_start: called at each attempt with the number of bytes that remain. None: unknown.
        on_bytes: called with the number of bytes of each piece that has been written.

    Raises:
        DownloadError: the server refuses, or fails too often in a row.
        Stopped: `stop` was set.
        OSError: the target cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    failures = _FailureCount(part, retries)
    try:
        for attempt in Retrying(
            retry=retry_if_exception_type(Dropped),
            after=failures.count,
            stop=failures.too_many,
            wait=failures.pause_seconds,
            sleep=sleep_using_event(stop),
            reraise=True,
        ):
            with attempt:
                _transfer(url, part, retries.timeout_seconds, stop, on_start, on_bytes)
    except Dropped as error:
        raise DownloadError(f"{url}: {error}, {retries.attempts} times in a row") from error
    os.replace(part, target)
    _version_file(part).unlink(missing_ok=True)


class _FailureCount:
    """Counts the consecutive attempts that fetched nothing; any byte resets the count."""

    def __init__(self, part: Path, retries: RetryPolicy) -> None:
        self.part, self.retries = part, retries
        self.size, self.idle = _size(part), 0

    def count(self, _: RetryCallState) -> None:
        size = _size(self.part)
        self.idle = 0 if size > self.size else self.idle + 1
        self.size = size

    def too_many(self, _: RetryCallState) -> bool:
        return self.idle >= self.retries.attempts

    def pause_seconds(self, _: RetryCallState) -> float:
        # Up to a half more, so that parallel downloads do not all return at the same time.
        return min(MOST_PAUSE_SECONDS, self.retries.pause_seconds * 2**self.idle) * random.uniform(1, 1.5)


def _transfer(
    url: str,
    part: Path,
    timeout_seconds: float,
    stop: threading.Event,
    on_start: Callable[[int | None], None],
    on_bytes: Callable[[int], None],
) -> None:
    """Make one attempt; after it the part is complete.

    Raises:
        Dropped: another attempt may succeed.
        DownloadError: the server refuses.
        Stopped: `stop` was set.
    """
    if stop.is_set():
        raise Stopped
    known = _known_version(part, url)
    if known is None:
        part.unlink(missing_ok=True)
    have = _size(part)
    if known and have and have == known.size:
        return
    with _open(url, part, have, known, timeout_seconds) as response:
        version = _version(response, url)
        resumed = response.status == 206 and _continues(response, have, version, known)
        if response.status == 206 and not resumed:
            part.unlink(missing_ok=True)
            raise Dropped("the file on the server has changed")
        if not resumed:
            part.unlink(missing_ok=True)  # first, because a killed run must not mix two versions
            with atomic_write(_version_file(part)) as version_part:
                version_part.write_text(json.dumps(asdict(version)), encoding="utf-8")
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


def _open(url: str, part: Path, have: int, known: _Version | None, timeout_seconds: float) -> http.client.HTTPResponse:
    """Request the file, or the rest of it.

    Args:
        have: the number of bytes in the part.
        known: the version that they belong to.
    """
    headers = {"User-Agent": "videoctx", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if known and known.validator:
            headers["If-Range"] = known.validator
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout_seconds)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # shorter than what is here: another file
            part.unlink(missing_ok=True)
            raise Dropped("the file on the server has become shorter") from error
        failure = Dropped if error.code >= 500 or error.code in RETRIED_STATUS else DownloadError
        raise failure(f"{'' if failure is Dropped else f'{url}: '}HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise Dropped(_reason(error)) from error


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise Dropped(_reason(error)) from error


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", error)  # of a URLError
    if isinstance(inner, TimeoutError):
        return "no response in time"
    return " ".join((str(inner) or type(inner).__name__).split())


def _version(response: http.client.HTTPResponse, url: str) -> _Version:
    if response.status == 206:
        match = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", ""))
        size = match and match[1]
    else:
        size = response.headers.get("Content-Length")
    etag, modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
    return _Version(url, int(size) if size else None, etag, modified)


def _continues(response: http.client.HTTPResponse, have: int, version: _Version, known: _Version | None) -> bool:
    """Return whether the response is the rest of the same version. Some servers ignore If-Range."""
    starts = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    return (
        starts
        and known is not None
        and (version.size, version.etag, version.modified) == (known.size, known.etag, known.modified)
    )


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
