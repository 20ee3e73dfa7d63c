"""Frames at indices, whatever library reads them.

A reader is opened in the process that uses it (decord's own threads do not survive a fork), asked once for the
sorted distinct frames of everything that is wanted from a video, and dropped at once (an idle decord reader
goes on decoding in the background).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol, get_args

import numpy as np

from videoctx.data.containers import VideoDecodeError, probe

Decoder = Literal["auto", "decord", "pyav"]


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
        decoder: `auto` looks into the container and takes decord where it is installed and exact, else PyAV.

    Raises:
        VideoDecodeError: the file is missing, empty, no video, or damaged; also from within the `with` block.
        ValueError: there is no such decoder.
    """
    if decoder not in get_args(Decoder):
        raise ValueError(f"decoder is {decoder!r}; expected one of {', '.join(get_args(Decoder))}")
    container = probe(path)
    if decoder == "auto":
        decoder = container.decoder
    if decoder == "decord":
        from videoctx.data.decode_decord import open_decord as open_reader
    else:
        from videoctx.data.decode_pyav import open_pyav as open_reader
    with open_reader(path) as reader:
        if reader.num_frames < 1:
            raise VideoDecodeError(path, "the video has no frames")
        yield reader
