"""Which order training takes the videos in: shuffled, weighted or class-balanced."""

from collections.abc import Iterable, Sequence

import numpy as np

from videoctx.data.annotations import VideoRecord, VideoRecords
from videoctx.data.sampling.video_samplers import Order, OrderName, Shuffled, ShuffledShards, Weighted
from videoctx.data.storage.locations import split_member


def training_order(records: Sequence[VideoRecord], order: OrderName, *, shuffle_buffer: int) -> Order:
    """Return the order of the training videos.

    Args:
        records: The training videos.
        order: `weighted` uses the manifest's weights, and `class_balanced` takes every class equally often.
        shuffle_buffer: Number of videos among which the next one is sampled if the videos lie in shards, which are read
            one after the other.
    """
    columns = VideoRecords.of(records)
    if order == "class_balanced":
        return Weighted.by_class(columns.class_indices)
    if order == "weighted":
        return Weighted(columns.weights)
    shards = _shards(columns.paths())
    return Shuffled(len(columns)) if shards is None else ShuffledShards(shards, shuffle_buffer)


def _shards(paths: Iterable[str]) -> np.ndarray | None:
    """Return the shard of each video, (num_videos,) int64. None: not all of them lie in shards."""
    number_of: dict[str, int] = {}
    numbers = []
    for path in paths:
        member = split_member(path)
        if member is None:
            return None
        numbers.append(number_of.setdefault(member[1], len(number_of)))
    place_of = {shard: place for place, shard in enumerate(sorted(number_of))}  # the order of the names
    return np.array([place_of[shard] for shard in number_of], np.int64)[np.array(numbers, np.int64)]
