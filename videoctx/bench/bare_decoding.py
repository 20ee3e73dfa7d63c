"""Decoding alone, against which a loader is measured.

Each process takes the next request, opens the file with one of the decoders, reads frames and drops them. It samples
and collates nothing, and returns nothing. A loader cannot be faster; the difference is what the loader costs. The
sparse decoder comes twice: with frames as RGB, and as YUV planes, which is how the loader reads in training.
"""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from videoctx.interrupts import without_interrupts

try:
    import decord
except ImportError as error:
    raise ImportError("decord is not installed; `videoctx bench data` measures against it") from error

from videoctx.data.decoding.sparse_reader import open_sparse
from videoctx.data.decoding.yuv_frames import DecodedFrames

Request = TypeVar("Request")
BareDecoder = Literal["decord", "sparse_rgb", "sparse_yuv", "torchcodec", "spdl"]


class Clip(NamedTuple):
    """Frames of a video. Indices beyond its end start again from its first frame."""

    path: str
    frames: tuple[int, ...]


class BareDecoding:
    """A pool of `num_workers` decoding processes, which `close` ends."""

    def __init__(self, num_workers: int) -> None:
        with without_interrupts():
            self._pool = multiprocessing.get_context("forkserver").Pool(num_workers)

    def clips(self, clips: Sequence[Clip], decoder: BareDecoder = "decord") -> float:
        """Decode each clip once, and return the seconds for all."""
        return self._run(partial(decode, decoder=decoder), clips)

    def per_view(self, clips: Sequence[Clip], *, num_crops: int) -> float:
        """Open and decode once per crop of each clip, as loaders with one view per sample do; return the seconds."""
        return self._run(decode, [clip for clip in clips for _ in range(num_crops)])

    def close(self) -> None:
        self._pool.terminate()
        self._pool.join()

    def _run(self, function: Callable[[Request], None], requests: Sequence[Request]) -> float:
        start = time.perf_counter()
        self._pool.map(function, requests, chunksize=1)
        return time.perf_counter() - start


def decode(clip: Clip, decoder: BareDecoder = "decord") -> None:
    """Decode one clip and drop its frames."""
    match decoder:
        case "decord":
            read(clip)
        case "sparse_rgb":
            read_sparsely(clip)
        case "sparse_yuv":
            read_planes(clip)
        case _:  # another project's decoder, which only the processes that use it import
            import_module(f"videoctx.bench.{decoder}_peer").read_clip(clip)


def read(clip: Clip) -> np.ndarray:
    """Return a clip, (clip_len, H, W, 3) uint8 RGB: decode the sorted distinct frames, then index them."""
    reader = decord.VideoReader(clip.path, num_threads=1)
    distinct, positions = np.unique(np.array(clip.frames) % len(reader), return_inverse=True)
    frames = reader.get_batch(distinct).asnumpy()
    del reader  # an idle reader keeps decoding
    return frames[positions] if len(distinct) < len(positions) else frames


def read_sparsely(clip: Clip) -> np.ndarray:
    """Return a clip as `read` does, by the sparse decoder."""
    with open_sparse(clip.path, num_frames=None, fps=0.0) as reader:
        distinct, positions = np.unique(np.array(clip.frames) % reader.num_frames, return_inverse=True)
        frames = reader.read(distinct)
    return frames[positions] if len(distinct) < len(positions) else frames


def read_planes(clip: Clip) -> DecodedFrames:
    """Return the distinct frames of a clip as planes, by the sparse decoder."""
    with open_sparse(clip.path, num_frames=None, fps=0.0) as reader:
        return reader.read_yuv(np.unique(np.array(clip.frames) % reader.num_frames))
