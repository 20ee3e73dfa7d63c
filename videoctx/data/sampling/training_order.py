"""Which order training takes the videos in: shuffled, weighted or class-balanced."""

from collections.abc import Sequence

import numpy as np

from videoctx.data.annotations import VideoRecord
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
    if order == "class_balanced":
        return Weighted.by_class(np.array([record.class_index for record in records]))
    if order == "weighted":
        return Weighted(np.array([record.weight for record in records]))
    members = [member for record in records if (member := split_member(record.path))]
    if len(members) == len(records):
        _, shards = np.unique(np.array([tar for _, tar in members]), return_inverse=True)
        return ShuffledShards(shards, shuffle_buffer)
    return Shuffled(len(records))
