"""Reading a manifest (columns: `videoctx.data.annotations`)."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from videoctx.data.annotations.annotation_error import AnnotationError
from videoctx.data.annotations.class_file import refuse_look_alikes
from videoctx.data.annotations.columns import READ_COLUMNS, REQUIRED_COLUMNS
from videoctx.data.annotations.csv_table import CsvFile, CsvRows, CsvTable, read_csv, refuse_bad_row, refuse_doubled
from videoctx.data.annotations.label_conflicts import LabelsOfSegments, label_conflict
from videoctx.data.annotations.record_columns import RecordColumns
from videoctx.data.annotations.row_check import RowCheck
from videoctx.data.annotations.video_records import VideoRecords
from videoctx.data.class_names import look_alike_key, nfc
from videoctx.data.storage.locations import holds_images

FPS_EXPECTED = "expected frames per second in the column fps of each row of images"

# Manifests whose rows have been compared with each other, which takes longer than reading them
_without_conflicts: deque[tuple[str, ...]] = deque(maxlen=16)


def check_manifest(manifest: str | Path) -> None:
    """Raise an `AnnotationError` if there is no such file."""
    if Path(manifest).is_dir():
        raise AnnotationError(
            f"{manifest}: is a folder; expected a manifest, which `python -m data_prep.write_annotations folders"
            f" {manifest}` writes for ROOT/CLASS/video.mp4 and ROOT/CLASS/ID/video.mp4"
        )
    if not Path(manifest).is_file():
        raise AnnotationError(f"{manifest}: cannot read the manifest (No such file or directory)")


def read_table(manifest: str | Path, *, refuse_bad_rows: bool = True) -> CsvTable:
    """Read all rows of a manifest with all their columns.

    Args:
        refuse_bad_rows: Raise an error for a row without a usable path, or with more or fewer columns than the
            header. If False, such rows are in `rows` and in `bad_rows`.

    Raises:
        AnnotationError: See `read_csv`.
    """
    manifest = Path(manifest)
    table = read_csv(manifest, REQUIRED_COLUMNS, kind="manifest")
    refuse_doubled(manifest, table.columns)
    table = replace(table, rows=CsvRows(_with_composed_labels(table.rows.cells)))
    paths = table.rows.cells["path"]
    for reason, is_bad in {
        "the path is empty": pc.equal(paths, ""),
        "the path has a zero byte, which no file name can contain": pc.match_substring(paths, "\0"),
    }.items():
        for row in np.flatnonzero(is_bad.to_numpy()).tolist():
            table.bad_rows.setdefault(table.lines[row], reason)
    if refuse_bad_rows:
        table.refuse_bad_rows()
    return table


def read_manifest(
    manifest: str | Path,
    class_names: list[str],
    *,
    split: str,
    root: str | Path | None = None,
    labels_required: bool = True,
    multi_label: bool = False,
) -> VideoRecords:
    """Read the rows of one split, in file order.

    Args:
        class_names: Names of the classes, in the order of their indices.
        split: Value of the `split` column.
        root: Folder or URL that relative paths start from. By default the manifest's folder.
        labels_required: Refuse rows without a label.
        multi_label: A video may show several classes, or none.

    Raises:
        AnnotationError: A file or column is missing, a label is unknown, a number is out of range, no row has the
            split, the name of another split looks like it, a path has two labels and `multi_label` is False, or images
            have no frame rate.
    """
    manifest = Path(manifest)
    root = manifest.parent if root is None else root
    index_of = {nfc(name): index for index, name in enumerate(class_names)}
    check = RowCheck(class_names, index_of, labels_required=labels_required, multi_label=multi_label)
    opened = CsvFile(manifest, REQUIRED_COLUMNS, kind="manifest")
    columns, segments = RecordColumns(check, split=split), LabelsOfSegments(root)
    state = _state(manifest, root)
    is_known = multi_label or state in _without_conflicts  # another split of the file has been read
    splits: set[str] = set()
    bad_rows: dict[int, str] = {}
    bad_record: tuple[int, dict[str, str]] | None = None  # the first one
    for chunk in opened.chunks(READ_COLUMNS):
        bad_rows |= chunk.bad_rows
        cells = _with_composed_labels(chunk.cells)
        splits.update(cells["split"].unique().to_pylist())
        if not is_known:
            segments.add(cells, chunk.lines)
        in_split = np.flatnonzero(pc.equal(cells["split"], split).to_numpy(zero_copy_only=False))
        selected = cells if len(in_split) == len(cells) else cells.take(pa.array(in_split))
        is_bad = columns.add(selected)
        if bad_record is None and is_bad.any():
            first = int(is_bad.argmax())
            bad_record = chunk.lines[in_split[first]], selected.slice(first, 1).to_pylist()[0]
    refuse_doubled(manifest, opened.columns)
    refuse_bad_row(manifest, bad_rows)
    if suspicious := segments.suspicious_lines():
        rows = ((line, row) for line, row in _numbered_rows(opened) if line in suspicious)
        conflict = label_conflict(rows, root)
        if conflict is not None:
            raise AnnotationError(f"{manifest}, line {conflict[0]}: {conflict[1]}")
    if not is_known:
        _without_conflicts.append(state)
    if bad_record is not None:
        line, row = bad_record
        check.refuse(row, f"{manifest}, line {line}")
        raise AssertionError(f"{manifest}, line {line}: {row} breaks no rule")
    records = columns.records(root)
    if not len(records):
        raise AnnotationError(f"{manifest}: no row has split {split!r}; its splits are {', '.join(sorted(splits))}")
    alike = sorted(name for name in splits if look_alike_key(name) == look_alike_key(split))
    refuse_look_alikes(alike, manifest, "splits")
    _check_frame_rates(records, manifest)
    return records


def _state(manifest: Path, root: str | Path) -> tuple[str, ...]:
    """Return what identifies a manifest until it changes."""
    status = manifest.stat()
    return tuple(map(str, (manifest.absolute(), root, status.st_ino, status.st_mtime_ns, status.st_size)))


def _check_frame_rates(records: VideoRecords, manifest: Path) -> None:
    """Raise an AnnotationError if images have no frame rate, by the first row without one: looking at all is slow."""
    rows = records.rows
    in_doubt = np.isnan(rows["size_bytes"]) & (rows["fps"] == 0)
    if in_doubt.any():
        path = records[int(in_doubt.argmax())].path
        if holds_images(path):
            raise AnnotationError(f"{manifest}: {path} holds images, which state no frame rate; {FPS_EXPECTED}")


def _with_composed_labels(cells: Any) -> Any:
    """Return a table or record batch with labels in the form of `read_classes`."""
    if pc.all(pc.string_is_ascii(cells["label"])).as_py():
        return cells
    labels = [nfc(label) for label in cells["label"].to_pylist()]
    return cells.set_column(cells.schema.get_field_index("label"), "label", pa.array(labels, pa.string()))


def _numbered_rows(opened: CsvFile) -> Iterator[tuple[int, dict[str, str]]]:
    for chunk in opened.chunks(READ_COLUMNS):
        yield from zip(chunk.lines, _with_composed_labels(chunk.cells).to_pylist(), strict=True)
