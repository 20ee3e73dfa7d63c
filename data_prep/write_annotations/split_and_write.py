"""Split your own videos, check the splits, write the manifest and print a table of it."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from rich.table import Table
from rich.text import Text

from data_prep.command_line.comma_list import split_comma_list
from data_prep.command_line.setting_error import SettingError
from data_prep.command_line.warning import warn
from data_prep.manifests.manifest_output import write_manifest_and_warn
from data_prep.manifests.video_files import check_frames_fps, manifest_path, with_rate
from data_prep.write_annotations.class_labels import named_classes
from data_prep.write_annotations.fold_manifests import divide_into_folds, fold_manifest, warn_of_few_groups
from data_prep.write_annotations.group_split import Row, assign_splits, check_labels, check_splits
from videoctx.data.annotations import AnnotationError, refuse_look_alikes
from videoctx.printed_tables import Console

SPLITS = ("train", "val", "test")


TEST_FRACTION = 0.2


def split_shares(val_fraction: float, test_fraction: float, folds: int | None = None) -> dict[str, float]:
    """Return the share of each split that is not empty. With folds, one of them is for test.

    >>> split_shares(0.0, 0.25)
    {'train': 0.75, 'test': 0.25}
    """
    if not (val_fraction >= 0 and test_fraction >= 0 and val_fraction + test_fraction <= 1):
        raise SettingError(
            f"--val_fraction {val_fraction:g} and --test_fraction {test_fraction:g}:"
            " expected zero or more each, and at most 1 together"
        )
    if folds is not None:
        if folds < 2:
            raise SettingError(f"--folds {folds}: expected at least 2")
        if test_fraction != TEST_FRACTION:
            raise SettingError(
                f"--test_fraction {test_fraction:g}: with --folds, each test split is a fold; leave it out"
            )
        test_fraction = 1 / folds
        if val_fraction + test_fraction >= 1:
            raise SettingError(
                f"--val_fraction {val_fraction:g}: expected less than {1 - test_fraction:g}, with {folds} folds"
            )
    shares = zip(SPLITS, (1 - (val_fraction + test_fraction), val_fraction, test_fraction), strict=True)
    return {split: share for split, share in shares if share > 0}


def column_condition(option: str, text: str) -> dict[str, set[str]]:
    """Return the accepted values of each column.

    >>> column_condition("--test_where", "room=a")
    {'room': {'a'}}
    """
    condition = defaultdict(set)
    for term in split_comma_list(text):
        column, equals, value = term.partition("=")
        if not equals:
            raise SettingError(f"{option} {text!r}: expected a comma-separated list of COLUMN=VALUE")
        condition[column.strip()].add(value.strip())
    return dict(condition)


def split_and_write(
    root: Path,
    rows: Sequence[Row],
    output: Path | None,
    shares: Mapping[str, float],
    seed: int,
    *,
    class_file: Path | None = None,
    decisions: Sequence[str] = (),
    folds: int | None = None,
    frames_fps: float | None = None,
) -> None:
    """Name the classes, assign the missing splits, check all, write the manifest and print a table.

    Args:
        root: folder that the paths of the rows start from.
        output: the manifest. None: manifest.csv in `root`.
        shares: of each split, for the rows that have no split yet.
        class_file: the class names in class order. None: those of the rows, sorted.
        decisions: of the reader; they are printed with those of this function.
        frames_fps: frame rate of the videos that are stored as images.
        folds: write this many manifests; each recording is test in one (`data_prep.write_annotations.fold_manifests`).

    Raises:
        AnnotationError: a split would be empty, a recording is in two splits, a video has two labels, labels or splits
            look alike, or the manifest cannot be written.
    """
    check_frames_fps(frames_fps)
    output = root / "manifest.csv" if output is None else output
    rows, class_names, more = named_classes(root, rows, class_file)
    if folds is not None:
        fold_rows = divide_into_folds(root, rows, shares, folds, seed)
        check_labels(root, rows)
        for fold, split_rows in enumerate(fold_rows, 1):
            manifest = fold_manifest(output, fold)
            write_manifest_and_warn(manifest, _manifest_rows(root, manifest, split_rows, frames_fps), class_names)
        for decision in (*decisions, *more):
            print(decision)
        tests = [
            replace(row, split=f"fold {n}")
            for n, part in enumerate(fold_rows, 1)
            for row in part
            if row.split == "test"
        ]
        _print_table(
            tests, class_names, [f"fold {n}" for n in range(1, folds + 1)], rare=warn_of_few_groups(rows, folds)
        )
        print(
            f"{fold_manifest(output, 1)} to {folds}: {len(rows)} rows, {len(class_names)} classes; each tests one fold"
        )
        return
    split_of = assign_splits([row for row in rows if row.split is None], shares, seed)
    rows = [row if row.split else replace(row, split=split_of[row.group]) for row in rows]
    check_splits(root, rows)
    check_labels(root, rows)
    splits = {row.split for row in rows if row.split}
    refuse_look_alikes(sorted(splits), root, "splits")
    for split in shares:
        if split not in splits:
            raise AnnotationError(
                f"{split} would be empty: {len(rows)} rows, {len({row.group for row in rows})} recordings,"
                f" all in {' and '.join(sorted(splits))}; expected more recordings or another fraction"
            )
    write_manifest_and_warn(output, _manifest_rows(root, output, rows, frames_fps), class_names)
    for decision in (*decisions, *more):
        print(decision)
    _print_table(rows, class_names, [*SPLITS, *sorted(splits - set(SPLITS))])
    print(f"{output}: {len(rows)} rows, {len(class_names)} classes")


def _manifest_rows(root: Path, output: Path, rows: Sequence[Row], frames_fps: float | None) -> list[dict[str, object]]:
    return [
        with_rate(
            {
                "path": manifest_path(root / row.path, output.parent),
                "label": row.label,
                "split": row.split,
                "start_seconds": row.start_seconds,
                "end_seconds": row.end_seconds,
                "group": row.group.strip(),
            },
            root / row.path,
            frames_fps,
        )
        for row in rows
    ]


def _print_table(
    rows: Sequence[Row], class_names: Sequence[str], splits: Sequence[str], rare: Collection[str] = ()
) -> None:
    """Print the rows and recordings per class and split, and warn about splits that lack a class that is not rare."""
    groups = defaultdict(list)  # class, split -> the group of each row; None: of any class, of any split
    for row in rows:
        for key in product((*row.labels, None), (row.split, None)):
            groups[key].append(row.group)
    table = Table("class", *splits, "all", title="rows (recordings)")
    for name in (*class_names, None):
        cells = [groups[name, split] for split in (*splits, None)]
        table.add_row(Text(name or "all"), *(f"{len(cell)} ({len(set(cell))})" for cell in cells))
    Console().print(table)
    for split in splits:
        lacking = [name for name in class_names if not groups[name, split] and name not in rare]
        if lacking and groups[None, split]:
            counted = [f"{name!r} ({len(set(groups[name, None]))} recordings in all)" for name in lacking]
            warn(f"{split} has no row of {len(lacking)} classes", counted)
