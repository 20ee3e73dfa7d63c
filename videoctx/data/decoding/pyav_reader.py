"""Decoding with PyAV from the first frame on: never a wrong frame, whatever the container says of itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import av
import numpy as np

from videoctx.data.decoding.containers import VideoDecodeError, display_matrix, open_container


class PyAVReader:
    """Converts the frames that are asked for, and stops at the last; damage on the way there is an error."""

    def __init__(self, path: str, *, num_frames: int | None, fps: float) -> None:
        self._path = path
        self.num_frames = count_frames(path) if num_frames is None else num_frames
        self.fps = fps

    def read(self, indices: np.ndarray) -> np.ndarray:
        wanted = set(indices.tolist())
        last = int(indices[-1])
        frames: list[np.ndarray] = []
        for index, frame in enumerate(decode(self._path)):
            if index in wanted:
                frames.append(upright(frame))
            if index == last:
                break
        if len(frames) != len(indices):
            raise VideoDecodeError(self._path, f"frame {last} of {self.num_frames} cannot be decoded")
        return np.stack(frames)


@contextmanager
def open_pyav(path: str, *, num_frames: int | None, fps: float) -> Iterator[PyAVReader]:
    """
    Args:
        num_frames: how many there are, where that is known; else they are counted by decoding all of them.
    """
    yield PyAVReader(path, num_frames=num_frames, fps=fps)


def decode(path: str) -> Iterator[av.VideoFrame]:
    """All frames, as stored.

    Raises:
        VideoDecodeError: a frame is damaged, or of another size than the first.
    """
    size = None
    with open_container(path) as container:
        try:
            for index, frame in enumerate(container.decode(video=0)):
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
    """Frames that can be decoded; remembered until the file changes.

    Raises:
        VideoDecodeError: as `decode`.
    """
    status = Path(path).stat()
    return _count_frames(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=65536)
def _count_frames(path: str, modified_ns: int, size: int) -> int:  # noqa: ARG001 - part of the key
    return sum(1 for _ in decode(path))


def upright(frame: av.VideoFrame) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned and mirrored as the container's display matrix asks."""
    picture = frame.to_ndarray(format="rgb24")
    (row_right, row_down), (column_right, column_down) = display_matrix(frame)
    if row_right == 0:  # stored rows are shown as columns
        picture = picture.swapaxes(0, 1)
    return picture[:: row_down + column_down, :: row_right + column_right]
