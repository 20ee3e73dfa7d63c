"""Reads a loader from end to end."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from videoctx.bench.bare_decoding import Clip
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo, SampleIndex
from videoctx.data.loading.loader import VideoLoader
from videoctx.data.sampling.clip_samplers import ClipShape


@dataclass(frozen=True, slots=True)
class InOrder:
    """A sampler of given samples, in their order."""

    samples: Sequence[SampleIndex]

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[SampleIndex]:
        return iter(self.samples)


def read_all(loader: VideoLoader) -> list[DecodedVideo]:
    """Return all videos, without their frames."""
    videos = []
    for batch in loader:
        check(batch)
        for video in batch.videos:
            video.frames = video.frames[:0]
            videos.append(video)
    return videos


def epoch_seconds(loader: VideoLoader) -> float:
    """Return the seconds that an epoch takes."""
    start = time.perf_counter()
    for batch in loader:
        check(batch)
    return time.perf_counter() - start


def check(batch: DecodedBatch) -> None:
    """Raise a VideoDecodeError if a video of the batch could not be read."""
    for video in batch.videos:
        if video.failure is not None:
            raise VideoDecodeError(video.failure.path, video.failure.reason)


def clip_of(video: DecodedVideo, shape: ClipShape, which: int = 0) -> Clip:
    """Return a clip that the loader has read, as a request for the other ways."""
    return Clip(video.path, tuple(range(video.starts[which], video.starts[which] + shape.span(), shape.frame_interval)))
