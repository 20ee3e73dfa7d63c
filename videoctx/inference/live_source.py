"""Live frames of a camera, of a stream, or of a file that is played at its own speed."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np

from videoctx.data.decoding.accepted_formats import OPEN_OPTIONS
from videoctx.data.decoding.frame_collector import upright
from videoctx.data.decoding.pyav_versions import open_input
from videoctx.data.decoding.video_stream import demux, video_stream
from videoctx.data.storage.locations import is_url, local_path

CAMERA_FORMATS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}")}
STREAM_OPTIONS = {"analyzeduration": "1000000"}  # µs that are analyzed before the first frame


class SourceError(RuntimeError):
    """A camera, stream or file gives no frames, or no more. The message is one line."""


@dataclass(frozen=True, slots=True)
class LiveSource:
    """A source of live frames.

    Args:
        address: Number of a camera, URL of a stream, or path of a file.
        speed: Speed of a file, relative to its own.
        patience_seconds: Seconds without data after which a stream is lost.
    """

    address: str
    speed: float = 1.0
    patience_seconds: float = 10.0

    @property
    def is_file(self) -> bool:
        """Whether the source is a file, whose end is no failure."""
        return not self.address.isdigit() and (not is_url(self.address) or self.address.startswith("file://"))

    def frames(self) -> Iterator["LiveFrame"]:
        """Yield frames until the end of a file. Other sources have no end.

        Raises:
            SourceError: The source cannot be opened, is lost, or has been silent for too long.
        """
        try:
            with self._open() as container:
                stream = video_stream(container)
                if stream is None:
                    raise SourceError(f"{self.address}: no video stream in it")
                stream.thread_type = "SLICE"  # threads for whole frames would keep some back
                yield from self._paced(container, float(stream.average_rate or 0))
        except av.error.ExitError as error:  # what a timeout is called
            raise SourceError(f"{self.address}: silent for {self.patience_seconds:g} s") from error
        except av.FFmpegError as error:
            name = f"camera {self.address}" if self.address.isdigit() else self.address
            raise SourceError(f"{name}: {error.strerror}") from error
        except (SourceError, MemoryError):
            raise
        except Exception as error:  # PyAV makes many kinds of damage
            raise SourceError(f"{self.address}: damaged: {type(error).__name__}: {error}") from error
        if not self.is_file:
            raise SourceError(f"{self.address}: the stream has ended")

    def _paced(self, container: av.container.InputContainer, fps: float) -> Iterator["LiveFrame"]:
        begun, first_seconds, index = time.monotonic(), None, -1
        for index, frame in enumerate(self._decoded(container)):
            if self.is_file and frame is not None:
                seconds = frame.time if frame.time is not None else index / (fps or 30.0)
                first_seconds = seconds if first_seconds is None else first_seconds
                wait = begun + (seconds - first_seconds) / self.speed - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
            yield LiveFrame(frame, time.monotonic(), fps)
        if index < 0:
            raise SourceError(f"{self.address}: no frame in it")

    def _decoded(self, container: av.container.InputContainer) -> Iterator[av.VideoFrame | None]:
        """Yield frames, and None for a damaged one, as where a stream is joined between two key frames."""
        stream = video_stream(container)
        assert stream is not None
        for packet in demux(container, stream):
            try:
                yield from packet.decode()
            except av.InvalidDataError:
                if self.is_file:
                    raise
                yield None

    def _open(self) -> av.container.InputContainer:
        if self.address.isdigit():
            if sys.platform not in CAMERA_FORMATS:
                raise SourceError(f"camera {self.address}: it is not known how to open one on {sys.platform}")
            name, path = CAMERA_FORMATS[sys.platform]
            return open_input(path.format(self.address), options={}, format=name)
        if self.is_file:
            return open_input(f"file:{local_path(self.address)}", options=OPEN_OPTIONS)
        options = STREAM_OPTIONS | ({"rtsp_transport": "tcp"} if self.address.startswith("rtsp") else {})
        return open_input(self.address, options=options, timeout_seconds=self.patience_seconds)


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """A frame of a live source.

    Attributes:
        frame: None: damaged.
        captured: `time.monotonic` of its arrival.
        fps: frame rate that the source states; 0: it states none.
    """

    frame: av.VideoFrame | None
    captured: float
    fps: float

    def image(self) -> np.ndarray:
        """Return the frame, upright: (H, W, 3) uint8 RGB. A damaged frame has none."""
        assert self.frame is not None
        return upright(self.frame)
