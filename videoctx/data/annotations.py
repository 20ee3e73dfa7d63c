"""The manifest: a CSV file with one row per video or segment of a video, and a file of class names beside it.

`path` is a file, a URL or a member of a tar file (`videoctx.data.storage.locations`).

| column          | needed | meaning |
|-----------------|--------|---------|
| `path`          | yes    | absolute, a URL, or relative to the manifest's folder or `root` |
| `label`         | yes    | class name, exactly as in the class file; empty if it is to be predicted |
| `split`         | yes    | `train`, `val`, `test`, or any other name |
| `start_seconds` | no     | the action starts here; empty: at the first frame |
| `end_seconds`   | no     | the action ends here; empty: at the last frame |
| `weight`        | no     | relative frequency in training, if its order is `weighted`; empty: 1 |

If a video may show several classes (Charades), `label` holds their names separated by `|`. It is empty if the video
shows none of them.

`data_prep.inspect_videos` adds its results, so that files need not be probed again. If `size_bytes` is empty, the file
has not been inspected.

| column                | meaning |
|-----------------------|---------|
| `size_bytes`          | size of the file; a file of another size is refused |
| `decoders`            | decoders whose frames are exact, the fastest first: `sparse decord pyav` |
| `num_frames`          | number of frames that can be decoded |
| `fps`                 | frames per second, on average |
| `variable_frame_rate` | `yes`, or empty |
| `problem`             | why the file cannot be used; empty if it can |
| `video_stream`        | which of the file's streams is the video, from 0; may be missing |

Other columns are kept for the tools that wrote them and are ignored here. The class file, `classes.txt`, has one name
per line. The line number, from 0, is the class index.

Class names are compared and written in Unicode's composed form (NFC). Names that look alike, as `Run` and `run`, and
one path with two labels are refused.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from videoctx.atomic_write import atomic_write_together
from videoctx.data.class_names import look_alike_key, look_alikes, nfc, why_alike
from videoctx.data.label_conflicts import label_conflict
from videoctx.data.storage.locations import resolve
from videoctx.first_few import first_few

CLASS_FILE = "classes.txt"
COLUMNS = ("path", "label", "split", "start_seconds", "end_seconds")
REQUIRED_COLUMNS = COLUMNS[:3]
LABEL_SEPARATOR = "|"  # between the class names of a video that has several
PROBE_COLUMNS = ("size_bytes", "decoders", "num_frames", "fps", "variable_frame_rate", "problem", "video_stream")


class AnnotationError(ValueError):
    """A manifest or class file cannot be used. The message names the file, the line and what is expected."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What `data_prep.inspect_videos` found about a file."""

    size_bytes: int
    decoders: tuple[str, ...]  # exact on this file, the fastest first
    num_frames: int  # that can be decoded
    fps: float  # average
    variable_frame_rate: bool = False
    problem: str | None = None  # why the file cannot be used
    video_stream: int | None = None  # index among all streams of the file; None: not stated

    def as_row(self) -> dict[str, str]:
        """Return the columns of the manifest."""
        return {
            "size_bytes": str(self.size_bytes),
            "decoders": " ".join(self.decoders),
            "num_frames": str(self.num_frames),
            "fps": repr(self.fps),
            "variable_frame_rate": "yes" if self.variable_frame_rate else "",
            "problem": self.problem or "",
            "video_stream": "" if self.video_stream is None else str(self.video_stream),
        }


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """One row of the manifest."""

    path: str  # resolved path or URL of the file
    label: int | tuple[bool, ...] | None  # class index, or whether each class is shown; None: not given
    split: str
    start_seconds: float | None = None
    end_seconds: float | None = None
    weight: float = 1.0
    probe_result: ProbeResult | None = None  # None: not inspected

    @property
    def class_index(self) -> int | tuple[bool, ...]:
        """The label for tensors: -1 if it is not given."""
        return -1 if self.label is None else self.label


def read_classes(path: str | Path) -> list[str]:
    """Read the class names, in the order of their indices.

    Raises:
        AnnotationError: The file is missing, empty or not UTF-8, or names a class twice, or two that look alike.
    """
    try:
        names = [nfc(line).strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise AnnotationError(
            f"{path}: cannot read the class names ({error.strerror}); expected a text file with one name per line"
        ) from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: the class names are not UTF-8 text ({error})") from error
    names = [name for name in names if name]
    if not names:
        raise AnnotationError(f"{path}: no class names; expected one per line")
    check_class_names(names, path)
    return names


def check_class_names(names: Sequence[str], where: str | Path) -> None:
    """Raise an AnnotationError if a class is named twice, or if two names look alike."""
    doubled = sorted(name for name, count in Counter(names).items() if count > 1)
    if doubled:
        raise AnnotationError(f"{where}: classes named more than once: {', '.join(doubled)}")
    refuse_look_alikes(names, where)


def refuse_look_alikes(names: Iterable[str], where: str | Path, what: str = "classes") -> None:
    """Raise an AnnotationError if two different names look alike."""
    pair = look_alikes(names)
    if pair is not None:
        raise AnnotationError(f"{where}: the {what} {why_alike(*pair)}")


@dataclass(frozen=True, slots=True)
class CsvTable:
    """All rows of a CSV file with a header, in file order. Cells are text without surrounding spaces."""

    file: Path
    columns: tuple[str, ...]
    rows: list[dict[str, str]]
    lines: list[int]  # last line of each row in the file
    bad_rows: dict[int, str]  # why a row cannot be used, by line

    def refuse_bad_rows(self) -> None:
        """Raise an AnnotationError for the first bad row, if there is one."""
        for line, reason in sorted(self.bad_rows.items()):
            raise AnnotationError(f"{self.file}, line {line}: {reason}")


def read_table(manifest: str | Path, *, refuse_bad_rows: bool = True) -> CsvTable:
    """Read all rows of a manifest with all their columns.

    Args:
        refuse_bad_rows: Raise an error for a row without a usable path, or with more or fewer columns than the
            header. If False, such rows are in `rows` and in `bad_rows`.

    Raises:
        AnnotationError: See `read_csv`.
    """
    table = _manifest_table(Path(manifest))
    for line, row in zip(table.lines, table.rows, strict=True):
        if not row["path"]:
            table.bad_rows.setdefault(line, "the path is empty")
        elif "\0" in row["path"]:
            table.bad_rows.setdefault(line, "the path has a zero byte, which no file name can contain")
    if refuse_bad_rows:
        table.refuse_bad_rows()
    return table


def read_csv(file: Path, required_columns: Sequence[str], *, kind: str, may_be_empty: bool = False) -> CsvTable:
    """Read a CSV file with a header.

    Rows with more or fewer columns than the header are listed in `bad_rows`.

    Args:
        required_columns: Columns that the header must have.
        kind: What error messages call the file.
        may_be_empty: Accept a file without rows.

    Raises:
        AnnotationError: The file cannot be read, is not CSV in UTF-8, has no rows, or lacks a required column or has it
            twice.
    """
    rows, lines, bad_rows = [], [], {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            _refuse_doubled(file, [name for name in columns if name in required_columns])
            missing = [name for name in required_columns if name not in columns]
            if missing:
                raise AnnotationError(
                    f"{file}: the header lacks {', '.join(missing)}; expected columns {', '.join(required_columns)};"
                    f" its columns are {', '.join(columns) or 'none'}"
                )
            for cells in reader:
                rows.append({name: (cells[name] or "").strip() for name in columns})
                lines.append(reader.line_num)
                if None in cells or None in cells.values():
                    bad_rows[reader.line_num] = f"expected {len(columns)} columns as in the header"
    except OSError as error:
        raise AnnotationError(f"{file}: cannot read the {kind} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{file}: the {kind} is not UTF-8 text ({error})") from error
    except csv.Error as error:
        raise AnnotationError(f"{file}, line {reader.line_num}: not a CSV row ({error})") from error
    if not rows and not may_be_empty:
        raise AnnotationError(f"{file}: the {kind} has no rows")
    return CsvTable(file, tuple(columns), rows, lines, bad_rows)


def check_manifest(manifest: str | Path) -> None:
    """Raise an `AnnotationError` if there is no such file."""
    if Path(manifest).is_dir():
        raise AnnotationError(
            f"{manifest}: is a folder; expected a manifest, which `python -m data_prep.write_annotations folders"
            f" {manifest}` writes for ROOT/CLASS/video.mp4 and ROOT/CLASS/ID/video.mp4"
        )
    if not Path(manifest).is_file():
        raise AnnotationError(f"{manifest}: cannot read the manifest (No such file or directory)")


def read_manifest(
    manifest: str | Path,
    class_names: list[str],
    *,
    split: str,
    root: str | Path | None = None,
    labels_required: bool = True,
    multi_label: bool = False,
) -> list[VideoRecord]:
    """Read the rows of one split, in file order.

    Args:
        class_names: Names of the classes, in the order of their indices.
        split: Value of the `split` column.
        root: Folder or URL that relative paths start from. By default the manifest's folder.
        labels_required: Refuse rows without a label.
        multi_label: A video may show several classes, or none.

    Raises:
        AnnotationError: A file or column is missing, a label is unknown, a number is out of range, no row has the
            split, the name of another split looks like it, or a path has two labels and `multi_label` is False.
    """
    manifest = Path(manifest)
    root = manifest.parent if root is None else root
    index_of = {nfc(name): index for index, name in enumerate(class_names)}
    records, splits = [], set()
    table = _manifest_table(manifest)
    table.refuse_bad_rows()  # but an empty path only in this split
    if not multi_label:
        conflict = label_conflict(zip(table.lines, table.rows, strict=True), root)
        if conflict is not None:
            raise AnnotationError(f"{manifest}, line {conflict[0]}: {conflict[1]}")
    for line, row in zip(table.lines, table.rows, strict=True):
        splits.add(row["split"])
        if row["split"] != split:
            continue
        where = f"{manifest}, line {line}"
        if not row["path"]:
            raise AnnotationError(f"{where}: the path is empty")
        shown = _class_indices(row["label"], index_of, where, multi_label=multi_label)
        label: int | tuple[bool, ...] | None
        if multi_label:
            label = tuple(index in shown for index in range(len(class_names)))
        elif shown or not labels_required:
            label = min(shown, default=None)
        else:
            raise AnnotationError(f"{where}: the label is empty; expected a class ({first_few(class_names, most=6)})")
        start, end = (_number(row, column, where) for column in ("start_seconds", "end_seconds"))
        if start is not None and end is not None and end <= start:
            raise AnnotationError(f"{where}: end_seconds {end:g} is not after start_seconds {start:g}")
        weight = _number(row, "weight", where)
        weight = 1.0 if weight is None else weight
        records.append(
            VideoRecord(resolve(root, row["path"]), label, split, start, end, weight, _probe_result(row, where))
        )
    if not records:
        raise AnnotationError(f"{manifest}: no row has split {split!r}; its splits are {', '.join(sorted(splits))}")
    alike = sorted(name for name in splits if look_alike_key(name) == look_alike_key(split))
    refuse_look_alikes(alike, manifest, "splits")
    return records


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


def _class_indices(cell: str, index_of: Mapping[str, int], where: str, *, multi_label: bool) -> set[int]:
    """Return the indices of the classes that a row's `label` names."""
    if not cell:
        return set()
    names = [name.strip() for name in cell.split(LABEL_SEPARATOR)] if multi_label else [cell]
    for name in names:
        if name not in index_of:
            several = not multi_label and set(cell.split(LABEL_SEPARATOR)) <= index_of.keys()
            hint = "; multi_label reads several" if several else ""
            alike = None if several else look_alikes([*index_of, name])
            if alike is not None and alike[1] == name:
                hint = f": {why_alike(*alike)}"
            raise AnnotationError(
                f"{where}: label {name!r} is not one of the {len(index_of)} classes"
                f" in the class file ({first_few(list(index_of), most=6)}){hint}"
            )
    return {index_of[name] for name in names}


def _manifest_table(manifest: Path) -> CsvTable:
    """Return the rows of a manifest, with labels in the form of `read_classes`."""
    table = read_csv(manifest, REQUIRED_COLUMNS, kind="manifest")
    _refuse_doubled(manifest, table.columns)
    for row in table.rows:
        row["label"] = nfc(row["label"])
    return table


def _refuse_doubled(file: Path, columns: Sequence[str]) -> None:
    doubled = sorted({name for name in columns if columns.count(name) > 1})
    if doubled:
        raise AnnotationError(f"{file}: the header names a column twice: {', '.join(map(repr, doubled))}")


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


def _number(row: Mapping[str, str], column: str, where: str) -> float | None:
    text = row.get(column, "")
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise AnnotationError(f"{where}: {column} is {text!r}; expected a number, zero or more, or nothing")
    return number


def _probe_result(row: Mapping[str, str], where: str) -> ProbeResult | None:
    if not row.get("size_bytes"):
        return None
    size, num_frames, fps = (_number(row, column, where) or 0.0 for column in ("size_bytes", "num_frames", "fps"))
    problem = row.get("problem") or None
    decoders = tuple(row.get("decoders", "").split())
    if problem is None and not (decoders and num_frames):
        raise AnnotationError(f"{where}: size_bytes is given, but not decoders and num_frames; expected all or none")
    varies = bool(row.get("variable_frame_rate"))
    stream = _number(row, "video_stream", where)
    return ProbeResult(
        int(size), decoders, int(num_frames), fps, varies, problem, None if stream is None else int(stream)
    )
