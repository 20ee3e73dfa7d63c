"""A hash that two results share when they are of the same videos, wherever those lie."""

import hashlib
import json
from collections.abc import Sequence

from videoctx.data.annotations import VideoRecord


def fingerprint(records: Sequence[VideoRecord], class_names: Sequence[str], *, root: str) -> str:
    """SHA-256 over path, class and seconds of every row, in order; paths without the `root` that they start from."""
    digest = hashlib.sha256()
    prefix = f"{root.rstrip('/')}/"
    for record in records:
        label = _named(record.label, class_names)
        row = [record.path.replace(prefix, "", 1), label, record.start_seconds, record.end_seconds]
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()


def _named(label: int | tuple[bool, ...] | None, class_names: Sequence[str]) -> str | list[str] | None:
    if isinstance(label, tuple):
        return [name for name, shown in zip(class_names, label, strict=True) if shown]
    return None if label is None else class_names[label]
