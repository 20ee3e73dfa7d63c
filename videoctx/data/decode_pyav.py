"""Decoding with PyAV from the first frame on: never a wrong frame, whatever the container says of itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import av
import numpy as np

from videoctx.data.containers import VideoDecodeError, open_container, probe


class PyAVReader:
    """Counts the frames by decoding them; a second pass converts those that are asked for."""

    def __init__(self, path: str) -> None:
        self._path = path
        status = Path(path).stat()
        self.num_frames = _count_frames(path, status.st_mtime_ns, status.st_size)
        self.fps = probe(path).fps

    def read(self, indices: np.ndarray) -> np.ndarray:
        wanted = set(indices.tolist())
        last = int(indices[-1])
        frames: list[np.ndarray] = []
        for index, frame in enumerate(_decode(self._path)):
            if index in wanted:
                frames.append(_upright(frame))
                if frame.is_corrupt:
                    raise VideoDecodeError(self._path, f"frame {index} is damaged")
                if frames[-1].shape != frames[0].shape:
                    (height, width), (new_height, new_width) = frames[0].shape[:2], frames[-1].shape[:2]
                    raise VideoDecodeError(
                        self._path, f"its size changes from {width}×{height} to {new_width}×{new_height} pixels"
                    )
            if index == last:
                break
        if len(frames) != len(indices):
            raise VideoDecodeError(self._path, f"frame {last} cannot be decoded")
        return np.stack(frames)


@contextmanager
def open_pyav(path: str) -> Iterator[PyAVReader]:
    yield PyAVReader(path)


@lru_cache(maxsize=65536)
def _count_frames(path: str, modified_ns: int, size: int) -> int:  # noqa: ARG001 - part of the key
    """Decodable frames; remembered until the file changes."""
    return sum(1 for _ in _decode(path))


def _decode(path: str) -> Iterator[av.VideoFrame]:
    with open_container(path) as container:
        try:
            yield from container.decode(video=0)
        except av.FFmpegError as error:
            raise VideoDecodeError(path, f"damaged: {error.strerror}") from error


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned as the container's display matrix asks."""
    picture = frame.to_ndarray(format="rgb24")
    return np.rot90(picture, round(frame.rotation / 90))
