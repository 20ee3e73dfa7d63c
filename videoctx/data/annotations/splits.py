"""The splits that a manifest has."""

from collections.abc import Mapping
from pathlib import Path

from videoctx.data.annotations.annotation_error import AnnotationError
from videoctx.data.annotations.columns import REQUIRED_COLUMNS
from videoctx.data.annotations.csv_table import CsvFile


def splits_of(manifest: str | Path) -> frozenset[str]:
    """Return the values of the `split` column.

    Raises:
        AnnotationError: The file is missing or no manifest.
    """
    opened = CsvFile(Path(manifest), REQUIRED_COLUMNS, kind="manifest")
    return frozenset(name for chunk in opened.chunks(("split",)) for name in chunk.cells["split"].unique().to_pylist())


def has_no_validation(manifest: str | Path, splits: Mapping[str, str]) -> bool:
    """Return whether a manifest has rows for training and perhaps for a test, and for nothing else.

    Then nobody has meant videos for validation. A split of an unknown name may be a misspelled one.

    Args:
        manifest: The file. One that cannot be read is reported where it is used.
        splits: The names of the splits `train`, `val` and `test`.
    """
    try:
        found = splits_of(manifest)
    except AnnotationError:
        return False
    return splits["train"] in found and splits["val"] not in found and found <= set(splits.values())
