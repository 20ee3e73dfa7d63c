"""Which rank reads which video, and in which order.

An epoch's order follows from (seed, epoch) alone, so every rank knows it whole and takes its own part, and a run
that is resumed in the middle of an epoch goes on where it stopped without reading anything again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from videoctx.data.loading.dataset import SampleIndex

OrderName = Literal["shuffled", "class_balanced", "weighted"]


class Order(Protocol):
    """The videos of an epoch, one after the other."""

    def __len__(self) -> int: ...

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """(len,) int64 videos."""
        ...


@dataclass(frozen=True, slots=True)
class Shuffled:
    """Every video once."""

    num_videos: int

    def __len__(self) -> int:
        return self.num_videos

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(self.num_videos)


@dataclass(frozen=True, slots=True)
class Weighted:
    """As many videos as there are, each drawn with a probability proportional to its weight, with replacement."""

    weights: np.ndarray  # (num_videos,) zero or more

    def __post_init__(self) -> None:
        if not self.weights.sum() > 0:
            raise ValueError("all weights are zero; expected one above zero at least")

    @classmethod
    def by_class(cls, labels: Sequence[int]) -> "Weighted":
        """Every class that has videos is drawn equally often."""
        counts = np.bincount(labels)
        return cls(1 / counts[labels])

    def __len__(self) -> int:
        return len(self.weights)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        return rng.choice(len(self.weights), size=len(self.weights), p=self.weights / self.weights.sum())


@dataclass(frozen=True, slots=True)
class ShuffledShards:
    """Every video once, shard after shard, so that few shards are needed at a time.

    Shards come in random order, and a video is drawn at random among the `buffer` next ones.
    """

    shards: np.ndarray  # (num_videos,) which shard each video is in
    buffer: int

    def __len__(self) -> int:
        return len(self.shards)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        order = np.argsort(rng.permutation(self.shards.max() + 1)[self.shards], kind="stable")
        keys = np.arange(len(order)) + rng.uniform(0, self.buffer, len(order))
        return order[np.argsort(keys)]


class TrainSampler:
    """An equal, contiguous part of each epoch's order for every rank.

    Where the videos do not divide, the parts are filled up from the start of the order: no rank may run out of
    steps before another. A video that comes again in an epoch is drawn with another `repeat`, so its clips differ.
    """

    def __init__(self, order: Order, *, num_ranks: int, rank: int, seed: int) -> None:
        self.order = order
        self.num_ranks = num_ranks
        self.rank = rank
        self.seed = seed
        self.epoch = 0
        self._resumed = (0, 0)  # an epoch, and how many of its draws this rank has had

    def __len__(self) -> int:
        return -(-len(self.order) // self.num_ranks)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def resume(self, *, epoch: int, num_taken: int) -> None:
        """Leave out the first `num_taken` draws of `epoch`."""
        self._resumed = (epoch, num_taken)

    def __iter__(self) -> Iterator[SampleIndex]:
        order = self.order.draw(np.random.default_rng((self.seed, self.epoch)))
        order = np.resize(order, len(self) * self.num_ranks)  # filled up from the start
        epoch, start, stop = self.epoch, self.rank * len(self), (self.rank + 1) * len(self)
        repeats = _repeats(order)
        resumed_epoch, num_taken = self._resumed
        start += num_taken if epoch == resumed_epoch else 0
        return (SampleIndex(int(order[i]), epoch, int(repeats[i])) for i in range(start, stop))


class EvaluationSampler:
    """Every video exactly once over all ranks.

    A short share is filled with nothing (None), which makes all ranks take the same number of steps.
    """

    def __init__(self, num_videos: int, *, num_ranks: int, rank: int) -> None:
        self.num_videos = num_videos
        self.num_ranks = num_ranks
        self.rank = rank

    def __len__(self) -> int:
        return -(-self.num_videos // self.num_ranks)

    def __iter__(self) -> Iterator[SampleIndex | None]:
        share = [SampleIndex(video) for video in range(self.rank, self.num_videos, self.num_ranks)]
        return iter(share + [None] * (len(self) - len(share)))


def _repeats(order: np.ndarray) -> np.ndarray:
    """How often each entry has come before."""
    by_video = np.argsort(order, kind="stable")
    changes = np.flatnonzero(np.diff(order[by_video], prepend=-1))  # where the next video begins
    lengths = np.diff([*changes, len(order)])
    repeats = np.empty_like(order)
    repeats[by_video] = np.arange(len(order)) - np.repeat(changes, lengths)
    return repeats
