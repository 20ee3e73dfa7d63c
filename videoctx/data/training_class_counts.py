"""How often a training epoch takes each class: by the order of the videos, and after flips that exchange classes."""

from collections.abc import Sequence

from videoctx.data.annotations import VideoRecord, VideoRecords
from videoctx.data.sampling.training_order import training_order
from videoctx.data.sampling.video_samplers import Weighted
from videoctx.data.settings import TrainSettings
from videoctx.data.training_labels import flipped_classes


def expected_class_counts(
    records: Sequence[VideoRecord], class_names: Sequence[str], train: TrainSettings
) -> list[float]:
    """Return how many videos of each class a training epoch takes, on average.

    >>> records = [VideoRecord("a.mp4", 0, "train"), VideoRecord("b.mp4", 0, "train"), VideoRecord("c.mp4", 1, "train")]
    >>> expected_class_counts(records, ["walk", "run"], TrainSettings())
    [2.0, 1.0]
    >>> expected_class_counts(records, ["walk", "run"], TrainSettings(order="class_balanced"))
    [1.5, 1.5]
    """
    columns = VideoRecords.of(records)
    order = training_order(columns, train.order, shuffle_buffer=1) if train.order != "shuffled" else None
    shares = order.probabilities() if isinstance(order, Weighted) else None
    counts = columns.class_counts(len(class_names), None if shares is None else shares * len(columns))
    if train.flip_labels != "swap":
        return counts
    becomes = flipped_classes(class_names)  # each other's partner
    return [count + train.flip_probability * (counts[becomes[index]] - count) for index, count in enumerate(counts)]
