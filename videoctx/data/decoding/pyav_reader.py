"""Decoding with PyAV from the first frame on, which is exact whatever the container's metadata."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import av
import numpy as np

from videoctx.data.decoding.containers import VideoDecodeError, decoder_errors, file_status, open_container, probe
from videoctx.data.decoding.frame_collector import FrameCollector
from videoctx.data.decoding.video_stream import decode_stream, video_stream
from videoctx.data.decoding.yuv_frames import DecodedFrames, FrameFormat


class PyAVReader:
    """Frames of a video, decoded by PyAV from the first frame to the last requested one.

    Damage before that is an error.

    Args:
        path: Path of a local file.
        num_frames: Number of frames if it is known. Otherwise they are counted by decoding all of them.
        fps: Average number of frames per second.
        short_side_px: Scale larger frames to this short side. None: not.
    """

    def __init__(self, path: str, *, num_frames: int | None, fps: float, short_side_px: int | None = None) -> None:
        self._path, self._short_side_px = path, short_side_px
        self.num_frames = count_frames(path) if num_frames is None else num_frames
        self.fps = fps

    @property
    def frame_seconds(self) -> np.ndarray:
        """(num_frames,) float64: time of each frame, relative to the first one."""
        return probe(self._path).frame_seconds

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Decode the frames at sorted, distinct indices. Returns (U, H, W, 3) uint8 RGB."""
        return self._read(indices, "rgb").pixels

    def read_yuv(self, indices: np.ndarray) -> DecodedFrames:
        """Decode the frames at sorted, distinct indices, as planes if they can be converted on the device."""
        return self._read(indices, "yuv")

    def _read(self, indices: np.ndarray, frames: FrameFormat) -> DecodedFrames:
        rows = {index: row for row, index in enumerate(indices.tolist())}
        last = int(indices[-1])
        collector, num_found = FrameCollector(len(rows), frames, self._short_side_px), 0
        with decoder_errors(self._path):
            for index, frame in enumerate(decode(self._path)):
                if (row := rows.get(index)) is not None:
                    collector.add(row, frame)
                    num_found += 1
                if index == last:
                    break
        if num_found != len(rows):
            raise VideoDecodeError(self._path, f"frame {last} of {self.num_frames} cannot be decoded")
        return collector.result()


@contextmanager
def open_pyav(
    path: str, *, num_frames: int | None, fps: float, short_side_px: int | None = None
) -> Iterator[PyAVReader]:
    """Open a video with PyAV. See the reader for the arguments."""
    yield PyAVReader(path, num_frames=num_frames, fps=fps, short_side_px=short_side_px)


def decode(path: str) -> Iterator[av.VideoFrame]:
    """Yield all frames of the video stream, as stored.

    Raises:
        VideoDecodeError: A frame is damaged, or its size differs from the first frame's.
    """
    size = None
    with open_container(path) as container:
        stream = video_stream(container)
        assert stream is not None
        try:
            for index, frame in enumerate(decode_stream(container, stream)):
                if frame.is_corrupt:
                    raise VideoDecodeError(path, f"frame {index} is damaged")
                size = size or (frame.width, frame.height)
                if (frame.width, frame.height) != size:
                    (width, height), new = size, f"{frame.width}×{frame.height}"
                    raise VideoDecodeError(path, f"its size changes from {width}×{height} to {new} pixels")
                yield frame
        except av.FFmpegError as error:
            raise VideoDecodeError(path, f"damaged: {error.strerror}") from error


def count_frames(path: str) -> int:
    """Return the number of frames that can be decoded. It is cached until the file changes.

    Raises:
        VideoDecodeError: See `decode`.
    """
    status = file_status(path)
    return _count_frames(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=65536)
def _count_frames(path: str, modified_ns: int, size: int) -> int:  # noqa: ARG001 - part of the key
    return sum(1 for _ in decode(path))
