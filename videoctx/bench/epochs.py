"""A loader read from end to end."""

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
    """A sampler of given draws."""

    draws: Sequence[SampleIndex]

    def __len__(self) -> int:
        return len(self.draws)

    def __iter__(self) -> Iterator[SampleIndex]:
        return iter(self.draws)


def read_all(loader: VideoLoader) -> list[DecodedVideo]:
    """All videos, without their frames."""
    videos = []
    for batch in loader:
        check(batch)
        for video in batch.videos:
            video.frames = video.frames[:0]
            videos.append(video)
    return videos


def epoch_seconds(loader: VideoLoader) -> float:
    start = time.perf_counter()
    for batch in loader:
        check(batch)
    return time.perf_counter() - start


def check(batch: DecodedBatch) -> None:
    """Raise what kept a video from being read."""
    for video in batch.videos:
        if video.failure is not None:
            raise VideoDecodeError(video.failure.path, video.failure.reason)


def clip_of(video: DecodedVideo, shape: ClipShape, which: int = 0) -> Clip:
    """What was read, as a request for others."""
    return Clip(video.path, tuple(range(video.starts[which], video.starts[which] + shape.span, shape.frame_interval)))
