"""Which rank reads which video, and in which order."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import DistributedSampler

from videoctx.data.clips import Draw


class TrainSampler(DistributedSampler):
    """Every video once an epoch in an order that follows from (seed, epoch), an equal share for every rank.

    Where the videos do not divide, the ranks' shares are filled up from the start of the order: no rank may
    run out of steps before another.
    """

    def __init__(self, num_videos: int, *, num_ranks: int, rank: int, seed: int) -> None:
        super().__init__(range(num_videos), num_replicas=num_ranks, rank=rank, seed=seed)

    def __iter__(self) -> Iterator[Draw]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.dataset))
        order = np.resize(order, self.total_size)  # filled up from the start
        return iter([Draw(int(video), self.epoch) for video in order[self.rank :: self.num_replicas]])


class EvaluationSampler(DistributedSampler):
    """Every video exactly once over all ranks.

    A `DistributedSampler` by type alone, so that Lightning leaves it in place of its own, which repeats videos
    until the shares are equal. Here a short share is filled with nothing (None), which makes all ranks take
    the same number of steps.
    """

    def __init__(self, num_videos: int, *, num_ranks: int, rank: int) -> None:
        super().__init__(range(num_videos), num_replicas=num_ranks, rank=rank, shuffle=False)

    def __iter__(self) -> Iterator[Draw | None]:
        share = [Draw(video) for video in range(self.rank, len(self.dataset), self.num_replicas)]
        return iter(share + [None] * (self.num_samples - len(share)))
