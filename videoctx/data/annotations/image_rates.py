"""The frame rates of videos that are stored as images, which a manifest gives in its column `fps`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from videoctx.data.annotations.manifest import read_table
from videoctx.data.annotations.row_check import number


def image_rate(row: Mapping[str, str], where: str) -> float | None:
    """Return the frames per second that a row gives. None: it gives none.

    Args:
        where: the place of the row, for errors.

    Raises:
        AnnotationError: it is no number, or below zero.
    """
    return number(row, "fps", where) or None


def image_rates(manifest: str | Path, paths: Sequence[str]) -> dict[str, float]:
    """Return the frames per second that a manifest gives to some videos; those without are left out.

    Args:
        paths: as in the manifest, or with the folder that its paths start from.

    Raises:
        AnnotationError: the manifest cannot be read, or the rate of such a video is no number.
    """
    table = read_table(manifest)
    found: dict[str, float] = {}
    for line, row in zip(table.lines, table.rows, strict=True):
        for path in paths:
            if path == row["path"] or path.endswith(f"/{row['path']}"):
                rate = image_rate(row, f"{manifest}, line {line}")
                if rate is not None:
                    found[path] = rate
    return found
