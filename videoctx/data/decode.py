"""Frames at indices, whatever library reads them.

A reader is opened in the process that uses it (decord's own threads do not survive a fork), asked once for the
sorted distinct frames of everything that is wanted from a video, and dropped at once (an idle decord reader
goes on decoding in the background).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

Decoder = Literal["auto", "decord", "pyav"]

# Containers in which decord counts key frames wrongly as soon as there are B-frames, or cannot seek.
NOT_FOR_DECORD = {".avi", ".wmv", ".mpg", ".mpeg", ".vob", ".ts", ".m2ts", ".mts"}


class VideoDecodeError(RuntimeError):
    """A video that cannot be read; says which and why in one line."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)  # both, so that it survives a pickle between processes
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class VideoReader(Protocol):
    """An open video."""

    @property
    def num_frames(self) -> int:
        """How many frames can be decoded."""
        ...

    @property
    def fps(self) -> float:
        """Frames per second, on average."""
        ...

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The frames at sorted, distinct `indices` (U,): (U, H, W, 3) uint8 RGB, upright."""
        ...


@contextmanager
def open_video(path: str, decoder: Decoder = "auto") -> Iterator[VideoReader]:
    """Open a video for reading.

    Args:
        decoder: `auto` takes decord where it is installed and exact (not in AVI, WMV, MPEG-PS and MPEG-TS), else PyAV.

    Raises:
        VideoDecodeError: the file is missing, empty, no video, or damaged; also from within the `with` block.
    """
    if decoder == "auto":
        exact = Path(path).suffix.lower() not in NOT_FOR_DECORD
        decoder = "decord" if exact and find_spec("decord") else "pyav"
    try:
        size = Path(path).stat().st_size
    except OSError as error:
        raise VideoDecodeError(path, error.strerror or str(error)) from error
    if not Path(path).is_file():
        raise VideoDecodeError(path, "not a file")
    if size == 0:
        raise VideoDecodeError(path, "the file is empty")
    if decoder == "decord":
        from videoctx.data.decode_decord import open_decord as open_reader
    else:
        from videoctx.data.decode_pyav import open_pyav as open_reader
    with open_reader(path) as reader:
        if reader.num_frames < 1:
            raise VideoDecodeError(path, "the video has no frames")
        yield reader
