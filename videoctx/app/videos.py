"""The videos of the open pages: uploads, examples and URLs, and how much room on the disk they may take.

A page names a video by its identifier alone, and never by a path. What was uploaded or downloaded is deleted when its
page is closed, when the page has been silent for half an hour, when newer videos need the room, and when the server
ends.
"""

import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.loading.segment import WHOLE, Segment
from videoctx.data.storage.local_files import LocalFiles
from videoctx.data.storage.locations import holds_images, is_url
from videoctx.user_error import UserError

SILENT_SECONDS = 1800.0  # after which a page counts as closed
MAX_UPLOAD_BYTES = 4_000_000_000
MAX_DISK_BYTES = 10_000_000_000
SPARE_DISK_BYTES = 500_000_000  # that stay free for others
MAX_NAME_LETTERS = 200
MAX_VIDEOS = 1000  # per server; most are examples, which take no room


class VideoError(UserError):
    """A video that the server does not take, or does not have any more.

    Args:
        status: of the response (RFC 9110, section 15): 413 for one that is too large, 507 (RFC 4918) for a full disk.
    """

    def __init__(self, message: str, *, status: int = 404) -> None:
        super().__init__(message)
        self.status = status


@dataclass(eq=False)
class Video:
    """A video that a page may use.

    Attributes:
        id: its name in requests.
        name: what the page calls it.
        page: the page that it belongs to.
        path: a local file. None: it has not been fetched yet.
        source: where it is fetched from: a path, a URL, or a member of a tar file.
        fps: frames per second of images, which state none. None: not known, or no images.
        segment: the part of the video that is used, of a row of a manifest.
        num_bytes: what it takes of the server's own folder.
    """

    name: str
    page: str
    path: str | None = None
    source: str | None = None
    public_only: bool = False
    fps: float | None = None
    segment: Segment = WHOLE
    num_bytes: int = 0
    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    used: float = field(default_factory=time.monotonic)
    num_users: int = 0
    dropped: bool = False
    held: ExitStack = field(default_factory=ExitStack)
    fetching: threading.Lock = field(default_factory=threading.Lock)


class VideoStore:
    """The videos of all pages, in a folder of its own that `close` deletes.

    Args:
        max_upload_bytes: of one video.
        max_disk_bytes: of all together.
    """

    def __init__(self, *, max_upload_bytes: int = MAX_UPLOAD_BYTES, max_disk_bytes: int = MAX_DISK_BYTES) -> None:
        self.max_upload_bytes, self.max_disk_bytes = max_upload_bytes, max_disk_bytes
        self.folder = Path(tempfile.mkdtemp(prefix="videoctx-app-"))
        self._videos: dict[str, Video] = {}
        self._pages: dict[str, float] = {}  # when each was last heard of
        self._lock = threading.RLock()
        self._own_files, self._public_files = (
            LocalFiles(
                self.folder / "downloads",
                max_cache_bytes=0,  # a download is deleted when its video is dropped
                num_attempts=2,
                timeout_seconds=20.0,
                public_only=public_only,
                max_file_bytes=max_upload_bytes,
            )
            for public_only in (False, True)
        )

    def close(self) -> None:
        """Delete all that was uploaded or downloaded."""
        with self._lock:
            for video in list(self._videos.values()):
                self._drop(video)
        shutil.rmtree(self.folder, ignore_errors=True)

    # Pages ------------------------------------------------------------------------------------------------------------

    def heard_of(self, page: str) -> None:
        """Note that a page is open."""
        with self._lock:
            self._pages[page] = time.monotonic()

    def close_page(self, page: str) -> None:
        """Delete the videos of a page."""
        with self._lock:
            self._pages.pop(page, None)
            for video in [video for video in self._videos.values() if video.page == page]:
                self._drop(video)

    def close_silent_pages(self) -> None:
        """Close the pages that have not been heard of for a while."""
        now = time.monotonic()
        with self._lock:
            for page in [page for page, heard in self._pages.items() if now - heard > SILENT_SECONDS]:
                self.close_page(page)

    # Videos -----------------------------------------------------------------------------------------------------------

    def add_source(
        self,
        source: str,
        name: str,
        page: str,
        *,
        public_only: bool = False,
        fps: float | None = None,
        segment: Segment = WHOLE,
    ) -> Video:
        """Add an example or a URL, or a segment of one. It is fetched when it is used first."""
        with self._lock:
            key = page, source, segment
            known = (video for video in self._videos.values() if (video.page, video.source, video.segment) == key)
            video = next(known, None) or Video(
                name=shown_name(name), page=page, source=source, public_only=public_only, segment=segment
            )
            video.fps = fps
            if not is_url(source):
                video.path = source
            return self._add(video)

    @contextmanager
    def upload(self, name: str, page: str, num_bytes: int | None) -> Iterator[Video]:
        """Yield a video with an empty file, which `grow` lets take more room. It is dropped if the block raises.

        Raises:
            VideoError: it is too large, or the disk is full.
        """
        if num_bytes is not None and num_bytes > self.max_upload_bytes:
            raise VideoError(
                f"the file has {num_bytes / 1e9:.1f} GB; expected at most {self.max_upload_bytes / 1e9:g} GB",
                status=413,
            )

        def start() -> Video:
            video = Video(name=shown_name(name), page=page)
            video.path = str(self.folder / f"{video.id}{_suffix(name)}")
            self._make_room(num_bytes or 0)
            Path(video.path).touch(mode=0o600)
            return self._add(video)

        with self._in_use(start) as video:
            try:
                yield video
            except BaseException:  # also when the browser was closed
                with self._lock:
                    self._drop(video)
                raise

    def grow(self, video: Video, num_bytes: int) -> None:
        """Let a video take more room.

        Raises:
            VideoError: it is too large, the disk is full, or its page was closed.
        """
        with self._lock:
            if video.dropped:
                raise VideoError("the page was closed during the upload")
            if video.num_bytes + num_bytes > self.max_upload_bytes:
                raise VideoError(
                    f"the file is too large; expected at most {self.max_upload_bytes / 1e9:g} GB", status=413
                )
            self._make_room(num_bytes, keep=video)
            video.num_bytes += num_bytes

    def find(self, id: str) -> Video:
        """Return a video.

        Raises:
            VideoError: there is none of this name, any more.
        """
        with self._lock:
            video = self._videos.get(id)
            if video is None:
                raise VideoError("the video is not on the server any more; expected it to be chosen again")
            video.used = time.monotonic()
            return video

    def is_of_images(self, video: Video) -> bool:
        """Return whether a video is an archive or a folder of images, which state no frame rate."""
        return holds_images(video.path or video.source or "")

    @contextmanager
    def local_file(self, id: str, *, check: Callable[[], None] | None = None) -> Iterator[str]:
        """Yield the local file of a video, which is fetched if need be and stays until the block ends.

        Args:
            check: called before each part of a download, which ends if it raises.

        Raises:
            VideoError: there is no such video.
            VideoDecodeError: it cannot be fetched. The message names the video as the page does.
        """
        with self._in_use(lambda: self.find(id)) as video:
            try:
                with video.fetching:
                    if video.path is None:
                        self._fetch(video, check)
                assert video.path is not None
                yield video.path
            except VideoDecodeError as error:
                raise VideoDecodeError(video.name, error.reason) from error

    @contextmanager
    def _in_use(self, find: Callable[[], Video]) -> Iterator[Video]:
        """Yield the video that `find` returns, and keep its file until the block ends."""
        with self._lock:
            video = find()
            video.num_users += 1
        try:
            yield video
        finally:
            with self._lock:
                video.num_users -= 1
                if video.dropped:
                    self._drop(video)

    def _fetch(self, video: Video, check: Callable[[], None] | None) -> None:
        assert video.source is not None
        files = self._public_files if video.public_only else self._own_files
        path = video.held.enter_context(files.local_copy(video.source, check=check))
        self.grow(video, Path(path).stat().st_size)
        video.path = path

    def _add(self, video: Video) -> Video:
        self.heard_of(video.page)
        while len(self._videos) >= MAX_VIDEOS and video.id not in self._videos:
            self._drop(self._oldest(list(self._videos.values())))
        self._videos[video.id] = video
        return video

    def _make_room(self, num_bytes: int, keep: Video | None = None) -> None:
        """Drop the oldest videos until there is room for some more bytes."""
        while True:
            stored = [video for video in self._videos.values() if video.num_bytes and video is not keep]
            used = sum(video.num_bytes for video in self._videos.values())
            is_free = shutil.disk_usage(self.folder).free - num_bytes > SPARE_DISK_BYTES
            if used + num_bytes <= self.max_disk_bytes and is_free:
                return
            unused = [video for video in stored if not video.num_users]
            if not unused:
                raise VideoError("the disk of the server has no room for the video; expected a smaller one", status=507)
            self._drop(self._oldest(unused))

    def _oldest(self, videos: list[Video]) -> Video:
        return min(videos, key=lambda video: video.used)

    def _drop(self, video: Video) -> None:
        """Delete a video, as soon as nobody uses it."""
        self._videos.pop(video.id, None)
        video.dropped = True
        if video.num_users:
            return
        video.held.close()
        if video.source is None and video.path is not None:
            Path(video.path).unlink(missing_ok=True)


def shown_name(name: str) -> str:
    """Return the last part of a file's name, cut to a sensible length.

    >>> shown_name("C:\\\\videos\\\\clip.mp4"), shown_name("")
    ('clip.mp4', 'video')
    """
    return re.split(r"[/\\]", name)[-1][-MAX_NAME_LETTERS:] or "video"


def segment_name(name: str, segment: Segment) -> str:
    """Return the last part of a file's name, with the times of a segment."""
    return shown_name(name) if segment == WHOLE else f"{shown_name(name)}, {segment}"


def _suffix(name: str) -> str:
    found = re.search(r"(\.tar)?\.[A-Za-z0-9]{1,8}$", name, re.IGNORECASE)
    return found.group().lower() if found else ""
