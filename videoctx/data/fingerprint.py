"""A hash of a list of videos that does not depend on the folder they are in."""

import hashlib
from collections.abc import Sequence
from json import JSONEncoder

import numpy as np

from videoctx.data.annotations import VideoRecord, VideoRecords

to_json = JSONEncoder().encode  # without the settings that `json.dumps` looks at for every value


def fingerprint(records: Sequence[VideoRecord], class_names: Sequence[str], *, root: str) -> str:
    """Return the SHA-256 of path, class and seconds of every row, in order, and of the frame rate of images.

    Args:
        root: Folder or URL that is removed from the start of every path.
    """
    digest = hashlib.sha256()
    prefix = f"{root.rstrip('/')}/"
    columns = VideoRecords.of(records)
    labels = columns.rows["label"]
    label_of = {code: to_json(_label_names(columns.label(code), class_names)) for code in np.unique(labels).tolist()}
    starts, ends = (map(float, columns.rows[name]) for name in ("start_seconds", "end_seconds"))
    rates = (f", {float(rate)!r}" if rate else "" for rate in columns.given_rates)
    for path, label, start, end, rate in zip(columns.paths(), map(int, labels), starts, ends, rates, strict=True):
        relative = to_json(path.replace(prefix, "", 1))
        digest.update(f"[{relative}, {label_of[label]}, {_seconds(start)}, {_seconds(end)}{rate}]\n".encode())
    return digest.hexdigest()


def _seconds(value: float) -> str:
    return repr(value) if value == value else "null"  # NaN: not given


def _label_names(label: int | tuple[bool, ...] | None, class_names: Sequence[str]) -> str | list[str] | None:
    if isinstance(label, tuple):
        return [name for name, shown in zip(class_names, label, strict=True) if shown]
    return None if label is None else class_names[label]
