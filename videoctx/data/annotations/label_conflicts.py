"""Rows of a manifest that give one video, or one segment of it, two labels."""

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from videoctx.data.annotations.record_columns import coded, is_given, parsed_numbers
from videoctx.data.storage.locations import LOCAL, are_plain, is_url, join_plain, local_path, resolve, resolve_all

SEGMENT = (  # column, what an empty cell is equal to, and an odd number that spreads the bits
    ("start_seconds", 0.0, 0x9E3779B97F4A7C15),
    ("end_seconds", -1.0, 0xC2B2AE3D27D4EB4F),
)


def label_conflict(rows: Iterable[tuple[int, Mapping[str, str]]], root: str | Path) -> tuple[int, str] | None:
    """Return the line of the first row whose path has another label before, and a message. None: there is no such row.

    Rows without a label are ignored. Different segments of one path may have different labels.

    Args:
        rows: The line of each row, and its cells.
        root: Where relative paths start from.
    """
    first_of: dict[tuple[str, str, str], tuple[str, int]] = {}
    for line, row in rows:
        label, path = row["label"], row["path"]
        if not (label and path):
            continue
        path = path if is_url(path) else posixpath.normpath(path)
        segment = (_plain_number(row.get("start_seconds") or "0"), _plain_number(row.get("end_seconds", "")))
        first_label, first_line = first_of.setdefault((_normal(resolve(root, path)), *segment), (label, line))
        if first_label != label:
            return line, (
                f"{path!r} is {label!r}, and {first_label!r} in line {first_line}; expected one label for a path or a"
                " segment of it, or multi_label, with the labels in one row, separated by '|'"
            )
    return None


class LabelsOfSegments:
    """Finds the few rows among which `label_conflict` has to look, in 20 bytes per row.

    Args:
        root: Where relative paths start from.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = root
        self._codes: dict[str, int] = {}  # of the labels
        self._keys: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        self._lines: list[np.ndarray] = []

    def add(self, cells: pa.RecordBatch, lines: Sequence[int]) -> None:
        """Add rows. Rows without a label or path are left out."""
        column = dict(zip(cells.schema.names, cells.columns, strict=True))
        used = np.flatnonzero(is_given(column["label"]) & is_given(column["path"]))
        paths = column["path"].take(pa.array(used)).to_pylist()
        keys = np.array([hash(place) for place in self._places(paths)], np.int64).view(np.uint64)
        for name, missing, mixer in SEGMENT:
            if name in column:
                values, _ = parsed_numbers(column[name].take(pa.array(used)))
                keys ^= np.nan_to_num(values, nan=missing).view(np.uint64) * np.uint64(mixer)
        self._keys.append(keys)
        labels = coded(column["label"], lambda text: self._codes.setdefault(text, len(self._codes)))
        self._labels.append(labels[used].astype(np.int32))
        self._lines.append(np.asarray(lines, np.int64)[used])

    def suspicious_lines(self) -> set[int]:
        """Return the lines of the rows whose segment, or one with the same key, has several labels."""
        keys = np.concatenate([np.empty(0, np.uint64), *self._keys])
        keys.sort()
        repeated = np.unique(keys[1:][keys[1:] == keys[:-1]])
        if not len(repeated):
            return set()
        # Of the rows with a key that comes more than once: the key, the label and the line.
        is_repeated = [np.isin(part, repeated) for part in self._keys]
        keys, labels, lines = (
            np.concatenate([part[used] for part, used in zip(parts, is_repeated, strict=True)])
            for parts in (self._keys, self._labels, self._lines)
        )
        order = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[order], repeated)
        labels = labels[order]
        several = np.minimum.reduceat(labels, starts) != np.maximum.reduceat(labels, starts)
        of_row = np.repeat(several, np.diff([*starts, len(order)]))
        return set(lines[order][of_row].tolist())

    def _places(self, paths: Sequence[str]) -> list[str]:
        root = str(self.root)
        if are_plain(paths) and not root.startswith(LOCAL):
            return join_plain(_normal(root), paths)
        paths = [path if is_url(path) else posixpath.normpath(path) for path in paths]
        return [_normal(place) for place in resolve_all(root, paths)]


def _normal(place: str) -> str:
    """Return equal text for resolved paths of one file."""
    place = local_path(place)
    return place if is_url(place) else posixpath.normpath(place)


def _plain_number(text: str) -> str:
    """Return equal text for equal numbers, and other text as it is."""
    try:
        return repr(float(text))
    except ValueError:
        return text
