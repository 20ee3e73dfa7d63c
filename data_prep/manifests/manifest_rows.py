"""All rows of a manifest with all their columns, for the tools that add columns to it."""

import csv
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from videoctx.data.annotations import REQUIRED_COLUMNS, AnnotationError


@dataclass(frozen=True, slots=True)
class ManifestRows:
    columns: tuple[str, ...]  # in file order
    rows: list[dict[str, str]]  # in file order, without outer spaces
    lines: list[int]  # of the file, on which the rows end


def read_rows(manifest: Path) -> ManifestRows:
    """
    Raises:
        AnnotationError: there is no such file, it is no manifest, or it has no rows.
    """
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            missing = [name for name in REQUIRED_COLUMNS if name not in columns]
            if missing:
                raise AnnotationError(f"{manifest}: the header lacks {', '.join(missing)}")
            doubled = sorted({name for name in columns if columns.count(name) > 1})
            if doubled:
                raise AnnotationError(f"{manifest}: the header names a column twice: {', '.join(map(repr, doubled))}")
            rows, lines = [], []
            for row in reader:
                where = f"{manifest}, line {reader.line_num}"
                if None in row or None in row.values():
                    raise AnnotationError(f"{where}: expected {len(columns)} columns as in the header")
                rows.append({name: value.strip() for name, value in row.items()})
                if not rows[-1]["path"]:
                    raise AnnotationError(f"{where}: the path is empty")
                if "\0" in rows[-1]["path"]:
                    raise AnnotationError(f"{where}: the path has a zero byte, which no file's name can have")
                lines.append(reader.line_num)
    except OSError as error:
        raise AnnotationError(f"{manifest}: cannot read the manifest ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{manifest}: the manifest is not UTF-8 text ({error})") from error
    except csv.Error as error:
        raise AnnotationError(f"{manifest}, line {reader.line_num}: not a CSV row ({error})") from error
    if not rows:
        raise AnnotationError(f"{manifest}: the manifest has no rows")
    return ManifestRows(tuple(columns), rows, lines)


def write_csv(path: Path, rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Write a CSV file, which takes its name once it is whole and on the disk; a link stays one.

    Raises:
        OSError: it cannot be written; what was there is still there.
    """
    path = Path(os.path.realpath(path))
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".partial")
    try:
        with open(descriptor, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            file.flush()
            os.fsync(descriptor)
        if path.exists():
            shutil.copymode(path, temporary)
        else:
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)  # else it would be this user's alone
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
