"""A fraction of the training videos, with the same share of every class: how much data a network needs."""

from collections.abc import Sequence

import numpy as np

from videoctx.data.annotations.video_records import VideoRecords
from videoctx.first_few import first_few


def fraction_of_videos(
    records: VideoRecords, fraction: float, *, class_names: Sequence[str], multi_label: bool, seed: int
) -> VideoRecords:
    """Return a random fraction of the videos, in their order.

    Of n videos of a class, `fraction` · n are taken, rounded to the nearest number and half up. Fractions are nested:
    with one seed, the videos of a smaller one are among those of a larger one. If a video may show several classes, the
    fraction is that of all videos.

    Args:
        records: Of the training split.
        fraction: More than 0, up to 1.
        class_names: Of the classes.
        multi_label: Whether a video may show several classes, or none.
        seed: Of the choice.

    Raises:
        ValueError: A class that has videos would have none. It and the least fraction that keeps one are named.

    >>> from videoctx.data.annotations import VideoRecord
    >>> records = VideoRecords.of([VideoRecord(f"{index}.mp4", index % 2, "train") for index in range(8)])
    >>> half = fraction_of_videos(records, 0.5, class_names=["run", "walk"], multi_label=False, seed=0)
    >>> half.class_counts(2)
    [2.0, 2.0]
    """
    if fraction == 1:
        return records
    strata = np.zeros(len(records), np.int64) if multi_label else records.class_indices
    kept = [_part(strata, stratum, fraction, seed) for stratum in np.unique(strata).tolist()]
    taken = records.take(np.sort(np.concatenate([*kept, np.zeros(0, np.int64)])))
    before, after = (one.class_counts(len(class_names)) for one in (records, taken))
    lost = [index for index, count in enumerate(before) if count and not after[index]]
    if lost:
        named = first_few([f"{class_names[index]!r} ({before[index]:g} videos)" for index in lost], most=3)
        least = 0.5 / min(before[index] for index in lost)
        wanted = "a larger one" if multi_label else f"{np.ceil(1000 * least) / 1000:g} or more"
        raise ValueError(
            f"train.video_fraction {fraction:g} leaves no training video of {len(lost)} of {len(class_names)} classes,"
            f" {named}; expected {wanted}"
        )
    return taken


def _part(strata: np.ndarray, stratum: int, fraction: float, seed: int) -> np.ndarray:
    """Return the rows that are taken of one stratum: the first ones of an order that is that of every fraction."""
    rows = np.flatnonzero(strata == stratum)
    order = np.random.default_rng((seed, stratum)).permutation(rows)
    return order[: int(fraction * len(rows) + 0.5)]
