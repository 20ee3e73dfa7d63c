"""Split videos at random such that every recording is in one split only.

Clips that were cut from one recording share people, clothes and background. A network that was trained on some of them
has seen parts of the others. Such clips form a group, and a group is assigned to train, val or test as a whole.
"""

import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from videoctx.data.annotations import LABEL_SEPARATOR, AnnotationError


@dataclass(frozen=True, slots=True)
class Row:
    """A video, or a segment of one, as it was read."""

    path: Path  # relative to the root, or absolute
    labels: tuple[str, ...]
    group: str  # the recording
    split: str | None = None  # None: to be assigned at random
    start_seconds: float | None = None
    end_seconds: float | None = None

    @property
    def label(self) -> str:
        """The labels as in a manifest: `run|jump`."""
        return LABEL_SEPARATOR.join(self.labels)


def assign_splits(rows: Iterable[Row], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Return the split of each group, such that every split gets nearly its share of every class.

    The assignment is greedy: the largest groups first, equal ones in random order, each to the split that needs it
    most, or, where several need it equally, to the one with the fewest rows for its share. The order
    of the rows does not matter.

    Args:
        shares: the fraction of every class that a split should get; the sum is 1.
    """
    sizes: Counter[str] = Counter()
    class_sizes: Counter[str] = Counter()
    rows = list(rows)
    counts = Counter((row.group, label) for row in rows for label in row.labels)
    sizes.update(row.group for row in rows)
    for (_, label), count in counts.items():
        class_sizes[label] += count
    portions: defaultdict[str, dict[str, float]] = defaultdict(dict)  # group -> class -> the group's fraction of it
    for group, label in sorted(counts):
        portions[group][label] = counts[group, label] / class_sizes[label]

    groups = sorted(sizes)
    random.Random(seed).shuffle(groups)
    groups.sort(key=lambda group: sizes[group], reverse=True)
    lacking = {split: dict.fromkeys(class_sizes, share) for split, share in shares.items()}
    lacking_rows = {split: share * len(rows) for split, share in shares.items()}
    split_of = {}
    for group in groups:
        # Adding a portion p where m is lacking reduces the squared error by m² - (m - p)² = 2mp - p². p² is the same
        # for all splits.
        relief = {
            split: round(sum(missing[label] * portion for label, portion in portions[group].items()), 12)
            for split, missing in lacking.items()
        }
        split = max(relief, key=lambda split: (relief[split], lacking_rows[split]))
        split_of[group] = split
        lacking_rows[split] -= sizes[group]
        for label, portion in portions[group].items():
            lacking[split][label] -= portion
    return split_of


def check_splits(root: Path, rows: Iterable[Row]) -> None:
    """Refuse a recording that is in two splits, and a file that belongs to two recordings.

    Raises:
        AnnotationError: about the recording or the file.
    """
    first_of_group: dict[str, Row] = {}
    first_of_file: dict[str, Row] = {}
    for row in rows:
        first = first_of_group.setdefault(row.group, row)
        if row.split != first.split:
            raise AnnotationError(
                f"recording {row.group!r} is in {first.split} ({str(first.path)!r}) and in {row.split}"
                f" ({str(row.path)!r}); expected each in one split"
            )
        first = first_of_file.setdefault(os.path.realpath(root / row.path), row)
        if row.group != first.group:
            raise AnnotationError(
                f"{str(first.path)!r} of recording {first.group!r} and {str(row.path)!r} of recording"
                f" {row.group!r} are one file; expected one recording for each file"
            )


def check_labels(root: Path, rows: Iterable[Row]) -> None:
    """Refuse a file, or a segment of it, that has two labels. Hard and symbolic links to a file are that file.

    Raises:
        AnnotationError: about the file.
    """
    first_of: dict[tuple[object, ...], Row] = {}
    for row in rows:
        path = root / row.path
        try:
            status = os.stat(path)
            file: tuple[object, ...] = (status.st_dev, status.st_ino)
        except OSError:
            file = (os.path.realpath(path),)
        first = first_of.setdefault((*file, row.start_seconds or 0.0, row.end_seconds), row)
        if set(row.labels) != set(first.labels):
            raise AnnotationError(
                f"{str(first.path)!r} is {first.label!r} and {str(row.path)!r} is {row.label!r}, and both are one"
                " file; expected one label for each video or segment"
            )
