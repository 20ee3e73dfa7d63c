"""Writing a manifest and its class file."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from videoctx.atomic_write import atomic_write_together
from videoctx.data.annotations.annotation_error import AnnotationError
from videoctx.data.annotations.class_file import CLASS_FILE, check_class_names
from videoctx.data.annotations.columns import COLUMNS, LABEL_SEPARATOR
from videoctx.data.class_names import nfc


def write_manifest(manifest: str | Path, rows: Iterable[Mapping[str, object]], class_names: Iterable[str]) -> None:
    """Write a manifest, and the class file beside it. If a value is refused, nothing is written.

    Class names and labels are written in Unicode's composed form (NFC).

    Raises:
        AnnotationError: Two classes look alike, or a value would not be read back unchanged: it has line breaks or
            surrounding spaces, or is not UTF-8.
    """
    manifest, class_names = Path(manifest), [nfc(name) for name in class_names]
    rows = [{**row, "label": nfc(str(row["label"]))} if row.get("label") else row for row in rows]
    check_class_names(class_names, manifest.parent / CLASS_FILE)
    for name in class_names:
        _check_text("class name", name, manifest.parent / CLASS_FILE)
        if LABEL_SEPARATOR in name:
            raise AnnotationError(
                f"class name {name!r} has a {LABEL_SEPARATOR!r}, which separates the classes of a video in a manifest;"
                " expected another name"
            )
    for row in rows:
        for column, value in row.items():
            _check_text(column, value, manifest)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    extra = sorted({column for row in rows for column in row} - set(COLUMNS))
    with atomic_write_together(manifest.parent / CLASS_FILE, manifest) as (class_part, manifest_part):
        class_part.write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
        with manifest_part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*COLUMNS, *extra], restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def _check_text(what: str, value: object, where: Path) -> None:
    text = "" if value is None else str(value)
    try:
        text.encode()
        kept = text == text.strip() and text.splitlines() in ([], [text])
    except UnicodeEncodeError:
        kept = False
    if not kept:
        raise AnnotationError(
            f"{where}: the {what} {text!r} cannot be written; expected one line of UTF-8 text without spaces around it"
        )
