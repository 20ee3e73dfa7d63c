"""Folds: every recording is test once, and the classes are balanced."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from data_prep.write_annotations.__main__ import main
from data_prep.write_annotations.fold_manifests import divide_into_folds
from data_prep.write_annotations.group_split import Row
from tests.each_case import each_case


@pytest.fixture
def root(tmp_path):
    """Five recordings, of which each class has two cuts."""
    folder = tmp_path / "videos"
    for name in (f"{label}/day{day}_{cut}.mp4" for label in ("run", "walk") for day in range(5) for cut in range(2)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture
def run(root, capsys):
    def run(*options, command="folders"):
        status = main([command, str(root), *options])
        return status, *capsys.readouterr()

    return run


GROUPS = r"--group_pattern=(?P<group>day\d)"


def splits(root: Path, fold: int) -> dict[str, str]:
    with (root / f"manifest-fold{fold}.csv").open(newline="", encoding="utf-8") as file:
        return {row["path"]: row["split"] for row in csv.DictReader(file)}


def test_every_recording_is_test_once(root, run):
    status, output, errors = run(GROUPS, "--folds=5", "--val_fraction=0.2")
    assert (status, errors) == (0, "")
    assert f"{root / 'manifest-fold1.csv'} to 5: 20 rows, 2 classes" in output
    folds = [splits(root, fold) for fold in range(1, 6)]
    assert not (root / "manifest.csv").exists()
    tested = Counter(path for fold in folds for path, split in fold.items() if split == "test")
    assert tested == Counter(folds[0].keys())
    for fold in folds:
        assert Counter(fold.values()) == {"train": 12, "val": 4, "test": 4}
        assert len({Path(path).name[:4] for path, split in fold.items() if split == "test"}) == 1
        assert not any(fold[path] != fold[path.replace("run", "walk")] for path in fold if path.startswith("run"))


def test_folds_depend_on_the_seed_only(root, run):
    drawn = []
    for seed in (0, 0, 1):
        assert run(GROUPS, "--folds=2", f"--seed={seed}")[0] == 0
        drawn.append(splits(root, 1))
    assert drawn[0] == drawn[1] != drawn[2]


@each_case("num_groups", [5, 6, 8, 13])
def test_folds_are_balanced_in_classes_and_in_size(num_groups):
    rows = [Row(Path("a.mp4"), (label,), f"{label}{index}") for label in "abcdefg" for index in range(num_groups)]
    rows = [Row(Path(f"{row.group}.mp4"), row.labels, row.group) for row in rows]
    tests = [
        Counter(row.label for row in fold if row.split == "test")
        for fold in divide_into_folds(Path("none"), rows, {"train": 0.8}, 5, seed=0)
    ]
    for label in "abcdefg":
        assert {test[label] for test in tests} <= {num_groups // 5, -(-num_groups // 5)}
    sizes = [test.total() for test in tests]
    assert max(sizes) - min(sizes) <= 1


def test_a_class_with_few_recordings_is_one_line(root, run):
    (root / "swim").mkdir()
    (root / "swim/day0_0.mp4").touch()
    status, _, errors = run(GROUPS, "--folds=5")
    assert status == 0
    assert errors == "warning: 1 classes have fewer than 5 recordings, so some folds do not test them: 'swim' (1)\n"


REFUSED = {
    ("--folds=6",): "--folds 6: expected as many recordings; there are 5",
    ("--folds=1",): "--folds 1: expected at least 2",
    ("--folds=2", "--test_fraction=0.3"): "with --folds, each test split is a fold; leave it out",
    ("--folds=2", "--val_fraction=0.5"): "--val_fraction 0.5: expected less than 0.5, with 2 folds",
    ("--folds=5", "--val_fraction=0.01"): "val would be empty: 5 recordings in 5 folds",
}


@each_case("options", REFUSED)
def test_folds_that_cannot_be(root, run, options):
    status, output, errors = run(GROUPS, *options)
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert REFUSED[options] in errors
    assert not list(root.glob("*.csv"))


def test_given_splits_are_not_folded(root, run):
    status, _, errors = run(r"(?P<split>\w+)/day(?P<label>\d)", "--folds=2", command="pattern")
    assert (status, errors.count("\n")) == (2, 1)
    assert "has the split run already; expected no given splits" in errors
    (root / "labels.csv").write_text("path,label,part\nrun/day0_0.mp4,a,test\n")
    status, _, errors = run("labels.csv", "--folds=2", "--split_column=part", command="csv")
    assert status == 2
    assert "--folds divides all rows; leave out --split_column" in errors
