"""Numbers in the cells of a manifest. A cell that is not a number counts as empty."""

from collections.abc import Mapping
from contextlib import suppress


def number(text: str) -> float | None:
    """Return the number in a cell, or None if it is not a finite number of zero or more."""
    with suppress(ValueError):
        value = float(text)
        return value if 0 <= value < float("inf") else None
    return None


def segment_seconds(row: Mapping[str, str]) -> tuple[float | None, float | None]:
    """Return the start and the end of the row's segment."""
    return number(row.get("start_seconds", "")), number(row.get("end_seconds", ""))


def duration_seconds(row: Mapping[str, str]) -> float | None:
    """Return the duration of the part of the row's segment that the file has."""
    start, end = segment_seconds(row)
    whole = None if row.get("problem") else number(row.get("duration_seconds", ""))
    if end is None or (whole is not None and end > whole):
        end = whole
    return None if end is None else max(0.0, end - (start or 0.0))
