"""The segments of videos that a manifest gives."""

from collections.abc import Mapping
from pathlib import Path

from videoctx.data.annotations.manifest import read_table
from videoctx.data.annotations.row_check import number
from videoctx.data.loading.segment import WHOLE, Segment


def segment_of(row: Mapping[str, str], where: str) -> Segment:
    """Return the segment of a row.

    Args:
        where: the place of the row, for errors.

    Raises:
        AnnotationError: a time is no number, or below zero.
    """
    return Segment(number(row, "start_seconds", where), number(row, "end_seconds", where))


def segments_of_split(manifest: Path, split: str) -> list[tuple[str, Segment]]:
    """Return path and segment of each row of a split, in the order of the file.

    Raises:
        AnnotationError: the manifest cannot be read, or a time is no number.
    """
    table = read_table(manifest)
    if "start_seconds" not in table.columns and "end_seconds" not in table.columns:
        return [(row["path"], WHOLE) for row in table.rows if row["split"] == split]
    return [
        (row["path"], segment_of(row, f"{manifest}, line {line}"))
        for line, row in zip(table.lines, table.rows, strict=True)
        if row["split"] == split
    ]
