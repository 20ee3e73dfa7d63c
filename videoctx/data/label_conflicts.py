"""Rows of a manifest that give one video, or one segment of it, two labels."""

import posixpath
from collections.abc import Iterable, Mapping
from pathlib import Path

from videoctx.data.storage.locations import is_url, local_path, resolve


def label_conflict(rows: Iterable[tuple[int, Mapping[str, str]]], root: str | Path) -> tuple[int, str] | None:
    """Return the line of the first row whose path has another label before, and a message. None: there is no such row.

    Rows without a label are ignored. Different segments of one path may have different labels.

    Args:
        rows: the line of each row, and its cells.
        root: where relative paths start from.
    """
    first_of: dict[tuple[str, str, str], tuple[str, int]] = {}
    for line, row in rows:
        label, path = row["label"], row["path"]
        if not (label and path):
            continue
        path = path if is_url(path) else posixpath.normpath(path)
        segment = (_plain_number(row.get("start_seconds") or "0"), _plain_number(row.get("end_seconds", "")))
        place = local_path(resolve(root, path))
        place = place if is_url(place) else posixpath.normpath(place)
        first_label, first_line = first_of.setdefault((place, *segment), (label, line))
        if first_label != label:
            return line, (
                f"{path!r} is {label!r}, and {first_label!r} in line {first_line}; expected one label for a path or a"
                " segment of it, or multi_label, with the labels in one row, separated by '|'"
            )
    return None


def _plain_number(text: str) -> str:
    """Return equal text for equal numbers, and other text as it is."""
    try:
        return repr(float(text))
    except ValueError:
        return text
