"""Writing CSV files."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from videoctx.atomic_write import atomic_write


def write_csv(path: Path, rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Write a CSV file atomically; values of other columns are left out, missing ones are empty.

    Characters that UTF-8 cannot encode, as file names may contain, become question marks.

    Raises:
        OSError: the file cannot be written; an earlier file of that name is still there.
    """
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
