"""The folder of the new videos, its manifest, and its list of failures."""

import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from data_prep.manifests.csv_output import write_csv
from data_prep.manifests.inspection_columns import INSPECTION_COLUMNS
from data_prep.manifests.video_files import keep_leading_space
from videoctx.data.annotations import AnnotationError, CsvTable, write_manifest

MANIFEST, FAILURES = "manifest.csv", "failures.csv"
FAILURE_COLUMNS = ("line", "path", "label", "split", "start_seconds", "end_seconds", "reason")


def prepare_output(output: Path, *, sources: Iterable[Path]) -> None:
    """Create the folder, and refuse one that contains the sources or cannot be written to."""
    for folder in sources:
        if os.path.realpath(output) == os.path.realpath(folder):
            raise AnnotationError(f"{output}: this is the folder of the sources; expected another one for the results")
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=output):
        pass


def print_failures(table: CsvTable, failures: Mapping[int, str], output: Path, most: int) -> None:
    """Print the first `most` failures, and where all of them are."""
    print(f"{len(failures)} of {len(table.rows)} rows failed and are not in the manifest:", file=sys.stderr)
    for line, reason in sorted(failures.items())[:most]:
        print(f"  {table.file}, line {line}: {reason}", file=sys.stderr)
    print(f"  all of them: {output / FAILURES}", file=sys.stderr)


def write_tables(
    output: Path,
    table: CsvTable,
    targets: Mapping[int, str],
    class_names: Sequence[str],
    failures: Mapping[int, str],
) -> None:
    """Write the manifest, its class file and the list of failures.

    Args:
        table: the manifest of the sources.
        targets: line -> the new file, for the rows that did not fail.
        failures: line -> the reason.
    """
    row_of = dict(zip(table.lines, table.rows, strict=True))
    if failures:
        rows = [row_of[line] | {"line": str(line), "reason": reason} for line, reason in sorted(failures.items())]
        write_csv(output / FAILURES, rows, FAILURE_COLUMNS)
    kept = [
        _new_row(row, os.path.relpath(targets[line], os.path.abspath(output)))
        for line, row in row_of.items()
        if line in targets
    ]
    write_manifest(output / MANIFEST, kept, class_names)
    if not failures:
        (output / FAILURES).unlink(missing_ok=True)


def _new_row(row: Mapping[str, str], path: str) -> dict[str, str]:
    """Return the row for the new manifest: without seconds, and without the inspection of the source."""
    kept = {column: value for column, value in row.items() if column not in INSPECTION_COLUMNS}
    return kept | {"path": keep_leading_space(path), "start_seconds": "", "end_seconds": ""}
