"""The splits that a manifest has."""

from pathlib import Path

from videoctx.data.annotations.columns import READ_COLUMNS, REQUIRED_COLUMNS
from videoctx.data.annotations.csv_table import CsvFile


def splits_of(manifest: str | Path) -> frozenset[str]:
    """Return the values of the `split` column.

    Raises:
        AnnotationError: The file is missing or no manifest.
    """
    opened = CsvFile(Path(manifest), REQUIRED_COLUMNS, kind="manifest")
    return frozenset(
        name for chunk in opened.chunks(READ_COLUMNS) for name in chunk.cells["split"].unique().to_pylist()
    )
