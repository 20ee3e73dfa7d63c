"""A hash of a list of videos that does not depend on the folder they are in."""

import hashlib
import json
from collections.abc import Sequence

from videoctx.data.annotations import VideoRecord


def fingerprint(records: Sequence[VideoRecord], class_names: Sequence[str], *, root: str) -> str:
    """Return the SHA-256 of path, class and seconds of every row, in order.

    Args:
        root: Folder or URL that is removed from the start of every path.
    """
    digest = hashlib.sha256()
    prefix = f"{root.rstrip('/')}/"
    for record in records:
        label = _label_names(record.label, class_names)
        row = [record.path.replace(prefix, "", 1), label, record.start_seconds, record.end_seconds]
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()


def _label_names(label: int | tuple[bool, ...] | None, class_names: Sequence[str]) -> str | list[str] | None:
    if isinstance(label, tuple):
        return [name for name, shown in zip(class_names, label, strict=True) if shown]
    return None if label is None else class_names[label]
