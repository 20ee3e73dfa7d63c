"""Decoding and nothing else: what a loader is measured against.

Processes that hold nothing back: each takes the next request, opens the file with decord, reads, and throws the frames
away. No sampling, no batches, nothing comes back. A loader cannot be faster; how close it comes is what it costs.
"""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

try:
    import decord
except ImportError as error:
    raise ImportError("decord is not installed; `videoctx bench data` measures against it") from error

Request = TypeVar("Request")


class Clip(NamedTuple):
    """Frames of a video; those beyond its end are its first ones again."""

    path: str
    frames: tuple[int, ...]


class BareDecoding:
    """`num_workers` processes that stay until `close`."""

    def __init__(self, num_workers: int) -> None:
        self._pool = multiprocessing.get_context("forkserver").Pool(num_workers)

    def clips(self, clips: Sequence[Clip]) -> float:
        """Decode each clip once; seconds for all."""
        return self._run(decode, clips)

    def per_view(self, clips: Sequence[Clip], *, num_crops: int) -> float:
        """Open and decode once for every crop of every clip, as loaders do whose sample is a view; seconds for all."""
        return self._run(decode, [clip for clip in clips for _ in range(num_crops)])

    def close(self) -> None:
        self._pool.terminate()
        self._pool.join()

    def _run(self, function: Callable[[Request], None], requests: Sequence[Request]) -> float:
        start = time.perf_counter()
        self._pool.map(function, requests, chunksize=1)
        return time.perf_counter() - start


def decode(clip: Clip) -> None:
    read(clip)


def read(clip: Clip) -> np.ndarray:
    """(clip_len, H, W, 3) uint8 RGB: sorted distinct frames from the decoder, then the clip of them."""
    reader = decord.VideoReader(clip.path, num_threads=1)
    distinct, positions = np.unique(np.array(clip.frames) % len(reader), return_inverse=True)
    frames = reader.get_batch(distinct).asnumpy()
    del reader  # an idle one goes on decoding
    return frames[positions] if len(distinct) < len(positions) else frames
