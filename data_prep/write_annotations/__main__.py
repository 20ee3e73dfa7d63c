r"""Turn one's own videos, or those of a public dataset, into a manifest.

    python -m data_prep.write_annotations folders videos
    python -m data_prep.write_annotations folders videos --group_pattern '(?P<group>.+)_\d+'
    python -m data_prep.write_annotations pattern videos '(?P<label>\w+)/(?P<group>person\d+)_'
    python -m data_prep.write_annotations csv videos labels.csv --group_columns actor,day --test_where actor=7
    python -m data_prep.write_annotations kinetics videos train.csv,val.csv
    python -m data_prep.write_annotations ucf101 UCF-101 ucfTrainTestlist --fold 1

The first three are for one's own videos, and draw a split that keeps every recording on one side
(`data_prep.write_annotations.group_split`): a reader (`data_prep.write_annotations.own_videos`) turns what it finds into rows; all that follows is
common. Their manifest has one more column, `group`. Classes are numbered in the order of their names, or by value if
all are numbers. The other commands, one a dataset, are in `data_prep.write_annotations.public_datasets`: `kinetics`, `ucf101`,
`hmdb51`, `something_something`, `jester`, `diving48`, `charades`.

The manifest is that of `videoctx.data.annotations`. A path is relative where the video lies below the manifest's
folder, so that both can be moved together, and absolute elsewhere.

Exit status: 0; 1 if the manifest was written without some rows of the annotations; 2 if nothing was written.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_prep.command_line.comma_list import items_of
from data_prep.command_line.flag_parser import FlagParser
from data_prep.manifests.manifest_output import warn, write
from data_prep.manifests.video_files import manifest_path
from data_prep.scheduling.run_each import SchedulerError
from data_prep.write_annotations.group_split import Row, check_sides, divide
from data_prep.write_annotations.own_videos import read_csv, read_folders, read_pattern
from data_prep.write_annotations.public_datasets import COMMANDS
from videoctx.data.annotations import AnnotationError

SIDES = ("train", "val", "test")
MOST_LISTED = 5  # files or values, where there may be thousands


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
        warn(f"{len(left_out)} video files are left out", left_out, most=MOST_LISTED)
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
        warn(f"{len(left_out)} video files are left out", left_out, most=MOST_LISTED)
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
        group_columns=items_of(group_columns),
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
        warn(f"{len(left_out)} rows are left out", left_out)
    _write(root, rows, output, {} if split_column else shares, seed)
    return 1 if left_out else 0


def _write(root: Path, rows: Sequence[Row], output: Path | None, shares: Mapping[str, float], seed: int) -> None:
    """SampleIndex the splits that are not given, check all of them, write the manifest and show it."""
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
    manifest_rows = [
        {
            "path": manifest_path(root / row.path, output.parent),
            "label": row.label,
            "split": row.split,
            "start_seconds": row.start_seconds,
            "end_seconds": row.end_seconds,
            "group": row.group.strip(),
        }
        for row in rows
    ]
    write(output, manifest_rows, class_names)
    _show(rows, class_names, [*SIDES, *sorted(splits - set(SIDES))])
    print(f"{output}: {len(rows)} rows, {len(class_names)} classes")


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
            warn(f"{side} has no row of {len(lacking)} classes", counted)


def _condition(option: str, text: str) -> dict[str, set[str]]:
    """`a=1,a=2,b=3` -> {"a": {"1", "2"}, "b": {"3"}}."""
    condition = defaultdict(set)
    for term in items_of(text):
        column, equals, value = term.partition("=")
        if not equals:
            raise AnnotationError(f"{option} {text!r}: expected a comma list of COLUMN=VALUE")
        condition[column.strip()].add(value.strip())
    return condition


def _shares(val_fraction: float, test_fraction: float) -> dict[str, float]:
    """The sides that get something, each with its part of the whole."""
    if not (val_fraction >= 0 and test_fraction >= 0 and val_fraction + test_fraction <= 1):
        raise AnnotationError(
            f"--val_fraction {val_fraction:g} and --test_fraction {test_fraction:g}:"
            " expected zero or more each, and at most 1 together"
        )
    shares = zip(SIDES, (1 - (val_fraction + test_fraction), val_fraction, test_fraction), strict=True)
    return {side: share for side, share in shares if share > 0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status; an error is one line on the error stream."""
    subcommands = {"folders": from_folders, "pattern": from_pattern, "csv": from_csv, **COMMANDS}
    try:
        return auto_cli(subcommands, args=arguments, parser_class=FlagParser, prog="write_annotations")
    except (AnnotationError, SchedulerError, OSError) as error:
        print(f"write_annotations: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
