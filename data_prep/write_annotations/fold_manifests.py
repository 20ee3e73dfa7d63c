"""Folds for cross-validation: each recording is test in one manifest, and train or val in the others.

Recordings are never divided, and every fold gets nearly the same part of every class.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data_prep.command_line.setting_error import SettingError
from data_prep.command_line.warning import warn
from data_prep.write_annotations.group_split import Row, assign_splits, check_splits
from videoctx.data.annotations import AnnotationError
from videoctx.first_few import first_few

MOST_LISTED = 5  # class names, of which there may be hundreds


def fold_manifest(output: Path, fold: int) -> Path:
    """Return the manifest of a fold, from 1.

    >>> fold_manifest(Path("manifest.csv"), 2).name
    'manifest-fold2.csv'
    """
    return output.with_name(f"{output.stem}-fold{fold}{output.suffix}")


def divide_into_folds(
    root: Path, rows: Sequence[Row], shares: Mapping[str, float], folds: int, seed: int
) -> list[list[Row]]:
    """Return all rows with their splits, once per fold.

    Args:
        shares: of train and val in all rows.

    Raises:
        SettingError: a row has a split already.
        AnnotationError: fewer recordings than folds, or a file of two recordings.
    """
    given = next((row for row in rows if row.split), None)
    if given is not None:
        raise SettingError(
            f"--folds: {str(given.path)!r} has the split {given.split} already; expected no given splits"
        )
    groups = {row.group for row in rows}
    if len(groups) < folds:
        raise AnnotationError(f"--folds {folds}: expected as many recordings; there are {len(groups)}")
    check_splits(root, rows)
    fold_of = assign_splits(rows, {str(fold): 1 / folds for fold in range(folds)}, seed)
    rest = sum(share for split, share in shares.items() if split != "test")
    rest_shares = {split: share / rest for split, share in shares.items() if split != "test"}
    divided = []
    for fold in map(str, range(folds)):
        split_of = assign_splits([row for row in rows if fold_of[row.group] != fold], rest_shares, seed)
        lacking = set(rest_shares) - set(split_of.values())
        if lacking:
            raise AnnotationError(
                f"{min(lacking)} would be empty: {len(groups)} recordings in {folds} folds; expected more recordings or"
                " another fraction"
            )
        divided.append([replace(row, split=split_of.get(row.group, "test")) for row in rows])
    return divided


def warn_of_few_groups(rows: Sequence[Row], folds: int) -> list[str]:
    """Return the classes with fewer recordings than folds, and print one line about them."""
    groups = defaultdict(set)
    for row in rows:
        for label in row.labels:
            groups[label].add(row.group)
    few = sorted(label for label, found in groups.items() if len(found) < folds)
    if few:
        counted = first_few([f"{label!r} ({len(groups[label])})" for label in few], MOST_LISTED)
        warn(f"{len(few)} classes have fewer than {folds} recordings, so some folds do not test them: {counted}")
    return few
