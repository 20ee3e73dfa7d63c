r"""Turn one's own videos into a manifest, with a split that keeps every recording on one side.

    python -m data_prep.write_annotations folders videos
    python -m data_prep.write_annotations folders videos --group_pattern '(?P<group>.+)_\d+'
    python -m data_prep.write_annotations pattern videos '(?P<label>\w+)/(?P<group>person\d+)_'
    python -m data_prep.write_annotations csv videos labels.csv --group_columns actor,day --test_where actor=7

Clips cut from one recording share people, clothes and background: a model that trained on some of them knows
the others already. Such clips form a group here, and a group goes to train, val or test as a whole.

For each layout a reader (`read_folders`, `read_pattern`, `read_csv`) turns what it finds into rows; all that
follows is common. The manifest is that of `videoctx.data.annotations` with one more column, `group`. A path
is relative where the video lies below the manifest's folder, so that both can be moved together, and absolute
elsewhere. Classes are numbered in the order of their names, or by value if all are numbers.

Exit status: 0; 1 if the manifest was written without some rows of the CSV file; 2 if nothing was written.
"""

import csv
import os
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from rich.text import Text

from videoctx.data.annotations import CLASS_FILE, AnnotationError, write_manifest

SIDES = ("train", "val", "test")
VIDEO_SUFFIXES = (  # in lower or upper case
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)
MOST_LISTED = 5  # files or values, where there may be thousands


@dataclass(frozen=True, slots=True)
class Row:
    """A video, or a stretch of one, as a reader found it."""

    path: Path  # from the root on, or absolute
    label: str
    group: str  # the recording
    split: str | None = None  # None: to be drawn
    start_seconds: float | None = None
    end_seconds: float | None = None


def from_folders(
    root: Path,
    *,
    group_pattern: str | None = None,
    output: Path | None = None,
    val_fraction: float = 0.0,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> int:
    """One folder per class: ROOT/CLASS/video.mp4, or deeper.

    Args:
        root: The folder of the class folders. Hidden files and folders are passed over.
        group_pattern: Regular expression with a group (?P<group>...), matched from the start of a file name;
            files in which that part is equal are one recording. By default it is the name without its suffix.
        output: The manifest to write, by default ROOT/manifest.csv. Class names go to classes.txt beside it.
        val_fraction: Part of each class that goes to val.
        test_fraction: Part of each class that goes to test. What remains goes to train.
        seed: Another seed draws another split.
    """
    rows, left_out = read_folders(root, group_pattern)
    if left_out:
        _warn(f"{len(left_out)} video files are left out", left_out, most=MOST_LISTED)
    _write(root, rows, output, _shares(val_fraction, test_fraction), seed)
    return 0


def from_pattern(
    root: Path,
    regex: str,
    *,
    output: Path | None = None,
    val_fraction: float = 0.0,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> int:
    """The class of a video, and perhaps its recording, can be read in its path.

    Args:
        root: The folder of the videos, at any depth. Hidden files and folders are passed over.
        regex: Regular expression with a group (?P<label>...), matched from the start of a file's path below
            ROOT (folders end with /). Files in which a group (?P<group>...) is equal are one recording;
            without that group each file is one.
        output: The manifest to write, by default ROOT/manifest.csv. Class names go to classes.txt beside it.
        val_fraction: Part of each class that goes to val.
        test_fraction: Part of each class that goes to test. What remains goes to train.
        seed: Another seed draws another split.
    """
    rows, left_out = read_pattern(root, regex)
    if left_out:
        _warn(f"{len(left_out)} video files are left out", left_out, most=MOST_LISTED)
    _write(root, rows, output, _shares(val_fraction, test_fraction), seed)
    return 0


def from_csv(
    root: Path,
    csv_file: Path,
    *,
    path_column: str = "path",
    label_column: str = "label",
    group_columns: str = "",
    start_column: str | None = None,
    end_column: str | None = None,
    split_column: str | None = None,
    val_where: str = "",
    test_where: str = "",
    output: Path | None = None,
    val_fraction: float = 0.0,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> int:
    """A CSV file with a header has a row for each video, or for each stretch of one.

    Args:
        root: What the paths in the CSV file start from.
        csv_file: The CSV file; if there is none of that name, the one in ROOT.
        path_column: Column of the video's path.
        label_column: Column of the class name.
        group_columns: Comma list of columns; rows that agree in all of them are one recording. By default the
            rows of one file are.
        start_column: Column of the second at which the action starts; empty cell: with the video.
        end_column: Column of the second at which the action ends; empty cell: with the video.
        split_column: Column of the split, taken as it is. Nothing is drawn then.
        val_where: Comma list of COLUMN=VALUE: these rows are val, and val_fraction does not count. Values of
            one column are alternatives, and all columns must agree: actor=3,actor=5,room=a is actor 3 or 5,
            in room a.
        test_where: The same for test.
        output: The manifest to write, by default ROOT/manifest.csv. Class names go to classes.txt beside it.
        val_fraction: Part of each class that goes to val, of the rows for which no split is given.
        test_fraction: Part of each class that goes to test, of the same rows. What remains goes to train.
        seed: Another seed draws another split.
    """
    if split_column and (val_where or test_where or val_fraction):
        raise AnnotationError(
            "--split_column gives every row its split; leave out --val_where, --test_where and --val_fraction"
        )
    shares = _shares(0.0 if val_where else val_fraction, 0.0 if test_where else test_fraction)
    csv_file = csv_file if csv_file.exists() else root / csv_file
    output = root / "manifest.csv" if output is None else output
    if csv_file.exists() and output.exists() and output.samefile(csv_file):
        raise AnnotationError(f"{output}: this is the CSV file that is read; expected another --output")
    rows, left_out = read_csv(
        root,
        csv_file,
        path_column=path_column,
        label_column=label_column,
        group_columns=_listed(group_columns),
        start_column=start_column,
        end_column=end_column,
        split_column=split_column,
        conditions={
            side: _condition(f"--{side}_where", text)
            for side, text in {"val": val_where, "test": test_where}.items()
            if text
        },
    )
    if left_out:
        _warn(f"{len(left_out)} rows are left out", left_out)
    _write(root, rows, output, {} if split_column else shares, seed)
    return 1 if left_out else 0


def read_folders(root: Path, group_pattern: str | None = None) -> tuple[list[Row], list[str]]:
    """Rows of ROOT/CLASS/…/video in order of path, and a line on each video file that cannot be used.

    Raises:
        AnnotationError: no root, no video file, none that can be used, or a pattern that cannot be.
    """
    pattern = None if group_pattern is None else _compiled("--group_pattern", group_pattern, "group")

    def label_and_group(path: Path) -> tuple[str, str]:
        if len(path.parts) == 1:
            raise ValueError("is in no class folder")
        group = path.stem if pattern is None else _parts(pattern, path.name, "group")["group"]
        return path.parts[0].strip(), group

    return _read_files(root, label_and_group)


def read_pattern(root: Path, regex: str) -> tuple[list[Row], list[str]]:
    """Rows of the files whose path below ROOT matches, in order of path, and a line on each other video file.

    Raises:
        AnnotationError: no root, no video file, none that can be used, or a regex that cannot be.
    """
    pattern = _compiled("REGEX", regex, "label")

    def label_and_group(path: Path) -> tuple[str, str]:
        parts = _parts(pattern, path.as_posix(), "label")
        return parts["label"], parts.get("group", path.with_suffix("").as_posix())

    return _read_files(root, label_and_group)


def read_csv(
    root: Path,
    csv_file: Path,
    *,
    path_column: str = "path",
    label_column: str = "label",
    group_columns: Sequence[str] = (),
    start_column: str | None = None,
    end_column: str | None = None,
    split_column: str | None = None,
    conditions: Mapping[str, Mapping[str, set[str]]] | None = None,
) -> tuple[list[Row], list[str]]:
    """Rows of the CSV file in its order, and a line on each one that cannot be used.

    Args:
        conditions: split -> column -> values: rows with one of the values in each column are of that split.

    Raises:
        AnnotationError: no root, an unreadable file, a missing column, a condition that no row meets, a row
            that meets two, or no row that can be used.
    """
    _check_folder(root)
    conditions = conditions or {}
    optional = [column for column in (start_column, end_column, split_column) if column]
    asked = [column for condition in conditions.values() for column in condition]
    table = _table(csv_file, [path_column, label_column, *group_columns, *optional, *asked])
    rows, left_out = [], []
    for line, cells in table.items():
        where = f"{csv_file}, line {line}"
        splits = [split for split, condition in conditions.items() if _meets(cells, condition)]
        if len(splits) > 1:
            raise AnnotationError(f"{where}: asked for in {' and in '.join(splits)}; expected one split")
        try:
            for column in (path_column, label_column, *([split_column] if split_column else [])):
                if not cells[column]:
                    raise ValueError(f"{column} is empty")
            path = Path(cells[path_column])
            if not os.path.isfile(root / path):
                raise ValueError(f"no file {str(root / path)!r}")
            start, end = _seconds(cells, start_column), _seconds(cells, end_column)
            if start is not None and end is not None and end <= start:
                raise ValueError(f"{end_column} {end:g} is not after {start_column} {start:g}")
        except ValueError as error:
            left_out.append(f"{where}: {error}")
            continue
        if group_columns:
            group = ", ".join(f"{column}={cells[column]}" for column in group_columns)
        else:
            group = Path(os.path.normpath(path)).with_suffix("").as_posix()
        split = cells[split_column] if split_column else next(iter(splits), None)
        rows.append(Row(path, cells[label_column], group, split, start, end))
    if not rows:
        raise AnnotationError(f"{csv_file}: none of {len(table)} rows can be used; {left_out[0]}")
    for split, condition in conditions.items():
        for column, values in condition.items():
            present = sorted({cells[column] for cells in table.values()})
            unknown = sorted(values.difference(present))
            if unknown:
                shown = ", ".join(present[:MOST_LISTED]) + (", …" if len(present) > MOST_LISTED else "")
                raise AnnotationError(f"{csv_file}: no row has {column}={unknown[0]}; its values are {shown}")
        if not any(row.split == split for row in rows):
            raise AnnotationError(f"{csv_file}: no row that can be used meets --{split}_where")
    return rows, left_out


def divide(rows: Iterable[Row], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """A side for each group, such that the sides get nearly their shares of every class.

    Greedy: the largest groups first, equal ones in random order, each to the side that needs it most. The
    order of the rows does not matter.

    Args:
        shares: part of every class that a side should get; together 1.
    """
    sizes, class_sizes = Counter(), Counter()
    counts = Counter((row.group, row.label) for row in rows)
    for (group, label), count in counts.items():
        sizes[group] += count
        class_sizes[label] += count
    portions = defaultdict(dict)  # group -> class -> the part of that class which the group holds
    for group, label in sorted(counts):
        portions[group][label] = counts[group, label] / class_sizes[label]

    groups = sorted(sizes)
    random.Random(seed).shuffle(groups)
    groups.sort(key=sizes.get, reverse=True)
    lacking = {side: dict.fromkeys(class_sizes, share) for side, share in shares.items()}
    side_of = {}
    for group in groups:
        # A portion p where m is lacking takes m² - (m - p)² = 2mp - p² off the squared error; p² is common.
        relief = {
            side: sum(missing[label] * portion for label, portion in portions[group].items())
            for side, missing in lacking.items()
        }
        side = max(relief, key=relief.get)
        side_of[group] = side
        for label, portion in portions[group].items():
            lacking[side][label] -= portion
    return side_of


def check_sides(root: Path, rows: Iterable[Row]) -> None:
    """Refuse a recording that is on two sides, and a file that is of two recordings.

    Raises:
        AnnotationError: naming the recording or the file.
    """
    first_of_group, first_of_file = {}, {}
    for row in rows:
        first = first_of_group.setdefault(row.group, row)
        if row.split != first.split:
            raise AnnotationError(
                f"recording {row.group!r} is in {first.split} ({str(first.path)!r}) and in {row.split}"
                f" ({str(row.path)!r}); expected each on one side"
            )
        first = first_of_file.setdefault(os.path.realpath(root / row.path), row)
        if row.group != first.group:
            raise AnnotationError(
                f"{str(first.path)!r} of recording {first.group!r} and {str(row.path)!r} of recording"
                f" {row.group!r} are one file; expected one recording for each file"
            )


def _write(root: Path, rows: Sequence[Row], output: Path | None, shares: Mapping[str, float], seed: int) -> None:
    """Draw the splits that are not given, check all of them, write the manifest and show it."""
    output = root / "manifest.csv" if output is None else output
    side_of = divide([row for row in rows if row.split is None], shares, seed)
    rows = [row if row.split else replace(row, split=side_of[row.group]) for row in rows]
    check_sides(root, rows)
    splits = {row.split for row in rows}
    for side in shares:
        if side not in splits:
            raise AnnotationError(
                f"{side} would be empty: {len(rows)} rows, {len({row.group for row in rows})} recordings,"
                f" all in {' and '.join(sorted(splits))}; expected more recordings or another fraction"
            )
    class_names = sorted({row.label for row in rows})
    if all(name.isdecimal() for name in class_names):
        class_names.sort(key=int)
    class_file = output.parent / CLASS_FILE
    before = class_file.read_text("utf-8", "replace").splitlines() if class_file.exists() else class_names
    manifest_rows = [
        {
            "path": _manifest_path(root / row.path, output.parent),
            "label": row.label,
            "split": row.split,
            "start_seconds": row.start_seconds,
            "end_seconds": row.end_seconds,
            "group": row.group.strip(),
        }
        for row in rows
    ]
    try:
        write_manifest(output, manifest_rows, class_names)
    except OSError as error:
        raise AnnotationError(
            f"{output}: cannot write the manifest ({error.strerror}); expected an --output that can be"
        ) from error
    _show(rows, class_names, [*SIDES, *sorted(splits - set(SIDES))])
    print(f"{output}: {len(rows)} rows, {len(class_names)} classes")
    if before != class_names:
        _warn(f"{class_file} held other names before; class numbers have changed")


def _show(rows: Sequence[Row], class_names: Sequence[str], sides: Sequence[str]) -> None:
    """A table of rows and recordings by class and side, and a warning on each side that lacks a class."""
    groups = defaultdict(list)  # class, side -> the group of each row; None: of any class, on any side
    for row in rows:
        for key in product((row.label, None), (row.split, None)):
            groups[key].append(row.group)
    table = Table("class", *sides, "all", title="rows (recordings)")
    for name in (*class_names, None):
        cells = [groups[name, side] for side in (*sides, None)]
        table.add_row(Text(name or "all"), *(f"{len(cell)} ({len(set(cell))})" for cell in cells))
    Console().print(table)
    for side in sides:
        lacking = [name for name in class_names if not groups[name, side]]
        if lacking and groups[None, side]:
            counted = [f"{name!r} ({len(set(groups[name, None]))} recordings in all)" for name in lacking]
            _warn(f"{side} has no row of {len(lacking)} classes", counted)


def _manifest_path(video: Path, folder: Path) -> str:
    video, folder = video.absolute(), folder.absolute()
    text = (video.relative_to(folder) if video.is_relative_to(folder) else video).as_posix()
    return f"./{text}" if text[0].isspace() else text  # cells of a manifest are read without outer spaces


def _check_folder(root: Path) -> None:
    if not root.is_dir():
        raise AnnotationError(f"{root}: no such folder; expected the folder of the videos")


def _read_files(root: Path, label_and_group: Callable[[Path], tuple[str, str]]) -> tuple[list[Row], list[str]]:
    _check_folder(root)
    paths = [path.relative_to(root) for path in _videos(root)]
    if not paths:
        raise AnnotationError(f"{root}: no video file; expected some of {', '.join(VIDEO_SUFFIXES)}")
    rows, left_out = [], []
    for path in paths:
        try:
            if not os.path.isfile(root / path):
                raise ValueError("is a link to nowhere")
            if len(str(path).splitlines()) > 1:
                raise ValueError("has a line break in its name")
            str(path).encode()  # a name that is not UTF-8 raises a ValueError too
            rows.append(Row(path, *label_and_group(path)))
        except ValueError as error:
            left_out.append(f"{str(path)!r}: {error}")
    if not rows:
        raise AnnotationError(f"{root}: none of {len(paths)} video files can be used; {left_out[0]}")
    return rows, left_out


def _videos(folder: Path, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """Video files at any depth, in order of name. Links are followed, except back to a folder above."""
    here = os.path.realpath(folder)
    if here in above:
        return
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if name.startswith("."):
            continue
        if os.path.isdir(path):
            yield from _videos(path, (*above, here))
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            yield path


def _compiled(option: str, regex: str, needed: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise AnnotationError(f"{option} {regex!r} is not a regular expression: {error}") from error
    if needed not in pattern.groupindex:
        raise AnnotationError(f"{option} {regex!r} has no group {needed!r}; expected (?P<{needed}>...) in it")
    return pattern


def _parts(pattern: re.Pattern[str], text: str, needed: str) -> dict[str, str]:
    """What the named groups matched, without those that matched nothing; `needed` must be there."""
    match = pattern.match(text)
    parts = {name: (part or "").strip() for name, part in match.groupdict().items()} if match else {}
    if not parts.get(needed):
        raise ValueError(f"has no {needed} by {pattern.pattern!r}")
    return {name: part for name, part in parts.items() if part}


def _table(csv_file: Path, columns: Iterable[str]) -> dict[int, dict[str, str]]:
    """Line number -> column -> cell, without outer spaces."""
    try:
        with csv_file.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            missing = [column for column in columns if column not in reader.fieldnames]
            if missing:
                raise AnnotationError(
                    f"{csv_file}: the header lacks {', '.join(missing)}; its columns are {', '.join(reader.fieldnames)}"
                )
            table = {}
            for cells in reader:
                if None in cells or None in cells.values():
                    raise AnnotationError(
                        f"{csv_file}, line {reader.line_num}:"
                        f" expected {len(reader.fieldnames)} columns as in the header"
                    )
                table[reader.line_num] = {name: cell.strip() for name, cell in cells.items()}
    except OSError as error:
        raise AnnotationError(f"{csv_file}: cannot read the CSV file ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"{csv_file}: not a CSV file in UTF-8 ({error})") from error
    if not table:
        raise AnnotationError(f"{csv_file}: no rows below the header")
    return table


def _seconds(cells: Mapping[str, str], column: str | None) -> float | None:
    if column is None or not cells[column]:
        return None
    try:
        seconds = float(cells[column])
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{column} is {cells[column]!r}; expected seconds, zero or more, or nothing")
    return seconds


def _meets(cells: Mapping[str, str], condition: Mapping[str, set[str]]) -> bool:
    return all(cells[column] in values for column, values in condition.items())


def _condition(option: str, text: str) -> dict[str, set[str]]:
    """`a=1,a=2,b=3` -> {"a": {"1", "2"}, "b": {"3"}}."""
    condition = defaultdict(set)
    for term in _listed(text):
        column, equals, value = term.partition("=")
        if not equals:
            raise AnnotationError(f"{option} {text!r}: expected a comma list of COLUMN=VALUE")
        condition[column.strip()].add(value.strip())
    return condition


def _listed(text: str) -> list[str]:
    """Items of a comma list; one that has a comma itself stands in double quotes."""
    return [item.strip() for item in next(csv.reader([text]), [])]


def _shares(val_fraction: float, test_fraction: float) -> dict[str, float]:
    """The sides that get something, each with its part of the whole."""
    if not (val_fraction >= 0 and test_fraction >= 0 and val_fraction + test_fraction <= 1):
        raise AnnotationError(
            f"--val_fraction {val_fraction:g} and --test_fraction {test_fraction:g}:"
            " expected zero or more each, and at most 1 together"
        )
    shares = zip(SIDES, (1 - (val_fraction + test_fraction), val_fraction, test_fraction), strict=True)
    return {side: share for side, share in shares if share > 0}


def _warn(text: str, details: Sequence[str] = (), most: int | None = None) -> None:
    """Write the text on the error stream, and below it the details, or the first `most` of them."""
    lines = [f"warning: {text}", *details[:most]]
    if most is not None and len(details) > most:
        lines.append(f"and {len(details) - most} more")
    print("\n  ".join(lines), file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status; an error is one line on the error stream."""
    subcommands = {"folders": from_folders, "pattern": from_pattern, "csv": from_csv}
    try:
        return auto_cli(subcommands, args=arguments, prog="write_annotations")
    except (AnnotationError, OSError) as error:
        print(f"write_annotations: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
