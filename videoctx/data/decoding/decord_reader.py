"""Decoding with decord, which is fast, and exact on closed GOPs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import decord
import numpy as np

from videoctx.data.decoding.containers import VideoDecodeError, check_container, decoder_errors, probe
from videoctx.data.decoding.yuv_frames import DecodedFrames


class DecordReader:
    """Frames of a video, decoded by decord on one thread, as a loader has one process per core already.

    Args:
        path: Path of a local file.
        num_frames: Number of frames if it is known. Otherwise the library's own count is used.
        fps: Average number of frames per second.
    """

    def __init__(self, path: str, *, num_frames: int | None, fps: float) -> None:
        self._path = path
        check_container(path)
        with decoder_errors(path, _reason):
            # absolute, because FFmpeg takes what is before a colon for a protocol
            self._reader = decord.VideoReader(os.path.abspath(path), num_threads=1, fault_tol=1)
            promised = len(self._reader)
        if promised < (num_frames or 0):
            raise VideoDecodeError(path, f"decord finds {promised} frames; expected {num_frames}")
        self.num_frames = promised if num_frames is None else num_frames
        self.fps = fps

    @property
    def frame_seconds(self) -> np.ndarray:
        """(num_frames,) float64: time of each frame, relative to the first one."""
        return probe(self._path).frame_seconds

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Decode the frames at sorted, distinct indices. Returns (U, H, W, 3) uint8 RGB."""
        with decoder_errors(self._path, _reason):
            return self._reader.get_batch(indices).asnumpy()

    def read_yuv(self, indices: np.ndarray) -> DecodedFrames:
        """Decode the frames at sorted, distinct indices. They are RGB, as decord hands over no planes."""
        return DecodedFrames(self.read(indices))

    def close(self) -> None:
        """Stop decoding in the background."""
        del self._reader


@contextmanager
def open_decord(path: str, *, num_frames: int | None, fps: float) -> Iterator[DecordReader]:
    """Open a video with decord. See the reader for the arguments."""
    reader = DecordReader(path, num_frames=num_frames, fps=fps)
    try:
        yield reader
    finally:
        reader.close()


def _reason(error: Exception) -> str:
    """Return the informative line of decord's message."""
    if isinstance(error, UnicodeEncodeError):
        return "decord opens no file whose name is not UTF-8"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    return f"decord cannot read it: {first.split('] ', 1)[-1]}"
