"""Frames as they happen: of a camera, of a stream, or of a file at its own pace."""

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np

from videoctx.data.decoding.pyav_reader import upright
from videoctx.data.storage.locations import is_url

CAMERA_FORMATS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}")}
STREAM_OPTIONS = {"analyzeduration": "1000000"}  # µs that are looked into before the first frame


class SourceError(RuntimeError):
    """A camera, stream or file that gives no frames, or no more; one line."""


@dataclass(frozen=True, slots=True)
class LiveSource:
    """
    Args:
        address: number of a camera, URL of a stream, or path of a file.
        speed: of a file, relative to its own pace.
        patience_seconds: with a stream that is silent.
    """

    address: str
    speed: float = 1.0
    patience_seconds: float = 10.0

    @property
    def is_file(self) -> bool:
        """Whether it has an end that is no failure."""
        return not self.address.isdigit() and (not is_url(self.address) or self.address.startswith("file://"))

    def frames(self) -> Iterator["LiveFrame"]:
        """Until a file is at its end; other sources have none.

        Raises:
            SourceError: it cannot be opened, has died, or has been silent for too long.
        """
        try:
            with self._open() as container:
                if not container.streams.video:
                    raise SourceError(f"{self.address}: no video stream in it")
                stream = container.streams.video[0]
                stream.thread_type = "SLICE"  # threads for whole frames would keep some back
                yield from self._paced(container, float(stream.average_rate or 0))
        except av.error.ExitError as error:  # what a timeout is called
            raise SourceError(f"{self.address}: silent for {self.patience_seconds:g} s") from error
        except av.FFmpegError as error:
            name = f"camera {self.address}" if self.address.isdigit() else self.address
            raise SourceError(f"{name}: {error.strerror}") from error
        if not self.is_file:
            raise SourceError(f"{self.address}: the stream has ended")

    def _paced(self, container: av.container.InputContainer, fps: float) -> Iterator["LiveFrame"]:
        begun, first_seconds = time.monotonic(), None
        for index, frame in enumerate(self._decoded(container)):
            if self.is_file and frame is not None:
                seconds = frame.time if frame.time is not None else index / (fps or 30.0)
                first_seconds = seconds if first_seconds is None else first_seconds
                wait = begun + (seconds - first_seconds) / self.speed - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
            yield LiveFrame(frame, time.monotonic(), fps)

    def _decoded(self, container: av.container.InputContainer) -> Iterator[av.VideoFrame | None]:
        """None where something cannot be decoded, as at the start of a stream that is joined between two key frames."""
        for packet in container.demux(video=0):
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
            return av.open(path.format(self.address), format=name)
        if self.is_file:
            return av.open(f"file:{re.sub('^file://', '', self.address)}")
        options = STREAM_OPTIONS | ({"rtsp_transport": "tcp"} if self.address.startswith("rtsp") else {})
        return av.open(self.address, options=options, timeout=self.patience_seconds)


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """A frame, when it came, by `time.monotonic`, and the frame rate that its source says; 0: it does not."""

    frame: av.VideoFrame | None  # none: damaged
    captured: float
    fps: float

    def picture(self) -> np.ndarray:
        """Return the frame, upright: (H, W, 3) uint8 RGB. A damaged frame has none."""
        assert self.frame is not None
        return upright(self.frame)
