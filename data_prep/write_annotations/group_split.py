"""A split that keeps every recording on one side.

Clips cut from one recording share people, clothes and background: a model that trained on some of them knows
the others already. Such clips form a group, and a group goes to train, val or test as a whole.
"""

import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from videoctx.data.annotations import AnnotationError


@dataclass(frozen=True, slots=True)
class Row:
    """A video, or a stretch of one, as a reader found it."""

    path: Path  # from the root on, or absolute
    label: str
    group: str  # the recording
    split: str | None = None  # None: to be drawn
    start_seconds: float | None = None
    end_seconds: float | None = None


def divide(rows: Iterable[Row], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """A side for each group, such that the sides get nearly their shares of every class.

    Greedy: the largest groups first, equal ones in random order, each to the side that needs it most. The
    order of the rows does not matter.

    Args:
        shares: part of every class that a side should get; together 1.
    """
    sizes, class_sizes = Counter(), Counter()
    counts = Counter((row.group, row.label) for row in rows)
    for (group, label), count in counts.items():
        sizes[group] += count
        class_sizes[label] += count
    portions = defaultdict(dict)  # group -> class -> the part of that class which the group holds
    for group, label in sorted(counts):
        portions[group][label] = counts[group, label] / class_sizes[label]

    groups = sorted(sizes)
    random.Random(seed).shuffle(groups)
    groups.sort(key=sizes.get, reverse=True)
    lacking = {side: dict.fromkeys(class_sizes, share) for side, share in shares.items()}
    side_of = {}
    for group in groups:
        # A portion p where m is lacking takes m² - (m - p)² = 2mp - p² off the squared error; p² is common.
        relief = {
            side: sum(missing[label] * portion for label, portion in portions[group].items())
            for side, missing in lacking.items()
        }
        side = max(relief, key=relief.get)
        side_of[group] = side
        for label, portion in portions[group].items():
            lacking[side][label] -= portion
    return side_of


def check_sides(root: Path, rows: Iterable[Row]) -> None:
    """Refuse a recording that is on two sides, and a file that is of two recordings.

    Raises:
        AnnotationError: naming the recording or the file.
    """
    first_of_group, first_of_file = {}, {}
    for row in rows:
        first = first_of_group.setdefault(row.group, row)
        if row.split != first.split:
            raise AnnotationError(
                f"recording {row.group!r} is in {first.split} ({str(first.path)!r}) and in {row.split}"
                f" ({str(row.path)!r}); expected each on one side"
            )
        first = first_of_file.setdefault(os.path.realpath(root / row.path), row)
        if row.group != first.group:
            raise AnnotationError(
                f"{str(first.path)!r} of recording {first.group!r} and {str(row.path)!r} of recording"
                f" {row.group!r} are one file; expected one recording for each file"
            )
