"""Which rank reads which video, and in which order.

The order of an epoch depends on (seed, epoch) alone. So every rank knows the whole order and takes its own part, and a
run that is resumed in the middle of an epoch continues there without reading any video again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from videoctx.data.loading.dataset import SampleIndex

OrderName = Literal["shuffled", "class_balanced", "weighted"]


class Order(Protocol):
    """An order of the videos of an epoch."""

    def __len__(self) -> int: ...

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Return the videos of one epoch, (len,) int64."""
        ...


@dataclass(frozen=True, slots=True)
class Shuffled:
    """Every video once."""

    num_videos: int

    def __len__(self) -> int:
        return self.num_videos

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Return the videos of one epoch, (len,) int64."""
        return rng.permutation(self.num_videos)


@dataclass(frozen=True, slots=True)
class Weighted:
    """As many samples as there are videos, with replacement. A video's probability is proportional to its weight."""

    weights: np.ndarray  # (num_videos,) zero or more

    def __post_init__(self) -> None:
        if not self.weights.sum() > 0:
            raise ValueError("all weights are zero; expected one above zero at least")

    @classmethod
    def by_class(cls, labels: np.ndarray) -> "Weighted":
        """Give every class that has videos the same probability. `labels` are class indices (num_videos,)."""
        counts = np.bincount(labels)
        return cls(1 / counts[labels])

    def __len__(self) -> int:
        return len(self.weights)

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Return the videos of one epoch, (len,) int64."""
        return rng.choice(len(self.weights), size=len(self.weights), p=self.probabilities())

    def probabilities(self) -> np.ndarray:
        """Return the probability of each video at each sample, (num_videos,)."""
        return self.weights / self.weights.sum()


@dataclass(frozen=True, slots=True)
class ShuffledShards:
    """Every video once, shard after shard, so that few shards are needed at a time.

    Shards come in random order, and the next video is sampled among about `buffer` videos.
    """

    shards: np.ndarray  # (num_videos,) shard of each video
    buffer: int

    def __len__(self) -> int:
        return len(self.shards)

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Return the videos of one epoch, (len,) int64."""
        order = np.argsort(rng.permutation(self.shards.max() + 1)[self.shards], kind="stable")
        keys = np.arange(len(order)) + rng.uniform(0, self.buffer, len(order))
        return order[np.argsort(keys)]


class TrainSampler:
    """An equal, contiguous part of each epoch's order for every rank.

    If the number of videos is not divisible by the number of ranks, the parts are filled up from the start of the
    order, so that all ranks have the same number of steps. A video that comes again in an epoch has another `repeat`,
    so that its clips differ.
    """

    def __init__(self, order: Order, *, num_ranks: int, rank: int, seed: int) -> None:
        self.order = order
        self.num_ranks = num_ranks
        self.rank = rank
        self.seed = seed
        self.epoch = 0
        self._resumed = (0, 0)  # an epoch, and the number of its samples that this rank has had

    def __len__(self) -> int:
        return -(-len(self.order) // self.num_ranks)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self.epoch = epoch

    def resume(self, *, epoch: int, num_taken: int) -> None:
        """Leave out the first `num_taken` samples of `epoch`."""
        self._resumed = (epoch, num_taken)

    def __iter__(self) -> Iterator[SampleIndex]:
        order = self.order.sample(np.random.default_rng((self.seed, self.epoch)))
        order = np.resize(order, len(self) * self.num_ranks)  # filled up from the start
        epoch, start, stop = self.epoch, self.rank * len(self), (self.rank + 1) * len(self)
        repeats = _repeats(order)
        resumed_epoch, num_taken = self._resumed
        start += num_taken if epoch == resumed_epoch else 0
        return (SampleIndex(int(order[i]), epoch, int(repeats[i])) for i in range(start, stop))


class EvaluationSampler:
    """Every video exactly once over all ranks.

    The part of a rank with one video less is filled with None, so that all ranks have the same number of steps.
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
    """Return how often each entry has come before."""
    by_video = np.argsort(order, kind="stable")
    changes = np.flatnonzero(np.diff(order[by_video], prepend=-1))  # where the next video begins
    lengths = np.diff([*changes, len(order)])
    repeats = np.empty_like(order)
    repeats[by_video] = np.arange(len(order)) - np.repeat(changes, lengths)
    return repeats
