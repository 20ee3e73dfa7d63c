"""The rows of each class, and the videos of it that are shown."""

import base64
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data_prep.scheduling.run_each import Failure
from data_prep.summarize.contact_sheets import ContactSheet, Segment
from data_prep.summarize.row_values import number, segment_seconds
from videoctx.data.annotations import LABEL_SEPARATOR
from videoctx.data.storage.locations import is_url, resolve

UNLABELED = "(no label)"

Row = Mapping[str, str]


@dataclass(slots=True)
class Sheet:
    """A contact sheet in the page, or why there is none."""

    path: str
    split: str
    segment: str
    data: str = ""  # base64
    width: int = 0
    height: int = 0
    alt: str = ""
    reason: str = ""


def rows_by_class(rows: Sequence[Row], class_names: Sequence[str]) -> dict[str, list[Row]]:
    """Return the rows of each class, in the order of the class file, followed by other labels sorted by name."""
    rows_of: dict[str, list[Row]] = {name: [] for name in class_names}
    others: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        label = row["label"]
        labels = [label] if label in rows_of else map(str.strip, label.split(LABEL_SEPARATOR))
        for one in labels:
            (rows_of[one] if one in rows_of else others[one or UNLABELED]).append(row)
    return rows_of | dict(sorted(others.items()))


def choose_rows(rows: Sequence[Row], most: int) -> list[Row]:
    """Return at most `most` rows of different usable files, evenly spaced in the manifest."""
    usable = list({row["path"]: row for row in rows if not row.get("problem")}.values())
    num = min(most, len(usable))
    return [usable[int((place + 0.5) * len(usable) / num)] for place in range(num)]


def segment_of(row: Row, root: str) -> Segment:
    """Return the segment of a row; its source is absolute, as workers may have another working directory."""
    source = resolve(root if is_url(root) else os.path.abspath(root), row["path"])
    return Segment(source, *segment_seconds(row), number(row.get("fps", "")))


def sheet_of(row: Row, class_name: str, sheet: ContactSheet | Failure) -> Sheet:
    """Return the sheet as the page shows it."""
    start, end = segment_seconds(row)
    given = start is not None or end is not None
    segment = f", {start or 0:g} s to {'its end' if end is None else f'{end:g} s'}" if given else ""
    if isinstance(sheet, Failure):
        return Sheet(row["path"], row["split"], segment, reason=sheet.reason)
    seconds = ", ".join(f"{second:.1f}" for second in sheet.seconds)
    return Sheet(
        row["path"],
        row["split"],
        segment,
        data=base64.b64encode(sheet.jpeg).decode(),
        width=sheet.width,
        height=sheet.height,
        alt=f"{len(sheet.seconds)} frames of a video of class {class_name}, at {seconds} seconds",
    )
