"""A manifest read row by row with `csv.DictReader`, to compare with the reader of columns.

One dictionary per row, one row after the other. Of the package, it uses the check of a single row, which has tests of
its own, and the names of the columns.
"""

import csv
from pathlib import Path

from videoctx.data.annotations.annotation_error import AnnotationError
from videoctx.data.annotations.columns import REQUIRED_COLUMNS
from videoctx.data.annotations.label_conflicts import label_conflict
from videoctx.data.annotations.row_check import RowCheck
from videoctx.data.annotations.video_record import ProbeResult, VideoRecord
from videoctx.data.class_names import nfc
from videoctx.data.storage.locations import resolve


def rows_of(file):
    """Return columns, rows, their last lines, and why a row is bad by line."""
    rows, lines, bad_rows = [], [], {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            for column in REQUIRED_COLUMNS:
                if columns.count(column) != 1:
                    raise AnnotationError(f"the header has {columns.count(column)} times {column}")
            for cells in reader:
                rows.append({name: (cells[name] or "").strip() for name in columns})
                lines.append(reader.line_num)
                if None in cells or None in cells.values():
                    bad_rows[reader.line_num] = f"expected {len(columns)} columns as in the header"
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{file}: the manifest is not UTF-8 text ({error})") from error
    except csv.Error as error:
        raise AnnotationError(f"{file}, line {reader.line_num}: not a CSV row ({error})") from error
    if not rows:
        raise AnnotationError(f"{file}: the manifest has no rows")
    for row in rows:
        row["label"] = nfc(row["label"])
    return columns, rows, lines, bad_rows


def records_of(file, class_names, *, split, root, labels_required, multi_label):
    """Return the records of a split, or raise an AnnotationError for the first row that breaks a rule."""
    root = Path(file).parent if root is None else root
    _, rows, lines, bad_rows = rows_of(file)
    for line, reason in sorted(bad_rows.items()):
        raise AnnotationError(f"{file}, line {line}: {reason}")
    conflict = None if multi_label else label_conflict(zip(lines, rows, strict=True), root)
    if conflict is not None:
        raise AnnotationError(f"{file}, line {conflict[0]}: {conflict[1]}")
    index_of = {nfc(name): index for index, name in enumerate(class_names)}
    check = RowCheck(class_names, index_of, labels_required=labels_required, multi_label=multi_label)
    records = []
    for line, row in zip(lines, rows, strict=True):
        if row["split"] == split:
            check.refuse(row, f"{file}, line {line}")
            records.append(record_of(row, root, class_names, index_of, multi_label=multi_label))
    if not records:
        splits = ", ".join(sorted({row["split"] for row in rows}))
        raise AnnotationError(f"{file}: no row has split {split!r}; its splits are {splits}")
    return records


def record_of(row, root, class_names, index_of, *, multi_label):
    """Return the record of a row that breaks no rule."""
    if multi_label:
        shown = {index_of[name.strip()] for name in row["label"].split("|")} if row["label"] else set()
        label = tuple(index in shown for index in range(len(class_names)))
    else:
        label = index_of[row["label"]] if row["label"] else None

    def number(column):
        return float(row[column]) if row.get(column) else None

    found = None
    if row.get("size_bytes"):
        found = ProbeResult(
            int(number("size_bytes")),
            tuple(row.get("decoders", "").split()),
            int(number("num_frames") or 0),
            number("fps") or 0.0,
            bool(row.get("variable_frame_rate")),
            row.get("problem") or None,
            None if number("video_stream") is None else int(number("video_stream")),
        )
    weight = number("weight")
    return VideoRecord(
        resolve(root, row["path"]),
        label,
        row["split"],
        number("start_seconds"),
        number("end_seconds"),
        1.0 if weight is None else weight,
        found,
        (number("fps") or None) if found is None else None,
    )
