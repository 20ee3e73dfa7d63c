"""Manifests of one's own videos: what the readers find, how videos are split, how a failure is told."""

import csv
import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.write_annotations.__main__ import main
from data_prep.write_annotations.group_split import Row, assign_splits
from data_prep.write_annotations.own_videos import read_csv_rows, read_folders, read_pattern
from tests.each_case import each_case
from videoctx.data.annotations import CLASS_FILE, read_classes, read_manifest
from videoctx.data.storage.locations import VIDEO_SUFFIXES

SHARED = Path(__file__).parents[3].parent / "shared"


def place(root, *paths):
    """Empty files below the root."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def place_table(root, text, name="labels.csv"):
    """A CSV file and an empty file for each path in its first column."""
    place(root, *(line.split(",")[0] for line in text.splitlines()[1:] if line.strip()))
    (root / name).write_text(text, encoding="utf-8")


def cells(manifest):
    with Path(manifest).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def split_of(manifest):
    return {row["path"]: row["split"] for row in cells(manifest)}


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    return folder


@pytest.fixture
def run(capsys):
    """Runs the command and gives (exit status, standard output, error stream)."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def fails(run):
    """Runs the command, which must write nothing and say why in one line that holds every part."""

    def fails(*arguments, parts):
        status, output, errors = run(*arguments)
        assert (status, output) == (2, "")
        assert errors.startswith("write_annotations: ")
        assert errors.count("\n") == 1
        for part in parts:
            assert str(part) in errors

    return fails


# ---------------------------------------------------------------- folders


def test_folders_are_classes_and_each_file_name_a_recording(root, run):
    place(root, *(f"{name}/{index}.mp4" for name in ("walk", "run") for index in range(10)))
    status, output, errors = run("folders", root)
    assert (status, errors) == (0, "")
    assert read_classes(root / CLASS_FILE) == ["run", "walk"]
    rows = cells(root / "manifest.csv")
    assert [(row["path"], row["label"], row["group"]) for row in rows][9:11] == [
        ("run/9.mp4", "run", "9"),
        ("walk/0.mp4", "walk", "0"),
    ]
    assert Counter((row["label"], row["split"]) for row in rows) == {
        ("run", "train"): 8,
        ("run", "test"): 2,
        ("walk", "train"): 8,
        ("walk", "test"): 2,
    }
    assert "8 (8)" in output
    assert "16 (8)" in output  # run/3 and walk/3 have one name, so they count as one recording
    assert f"{root / 'manifest.csv'}: 20 rows, 2 classes" in output


def test_fractions_and_seed_change_the_split(root, run):
    place(root, *(f"{name}/{name}{index}.mp4" for name in ("walk", "run") for index in range(10)))
    splits = []
    for options in ([], ["--seed=1"], ["--val_fraction=0.3"], ["--test_fraction=0.5"], ["--test_fraction=0"]):
        assert run("folders", root, *options)[0] == 0
        splits.append(split_of(root / "manifest.csv"))
    assert len({str(split) for split in splits}) == len(splits)
    counts = [Counter(split.values()) for split in splits]
    assert counts == [
        {"train": 16, "test": 4},
        {"train": 16, "test": 4},
        {"train": 10, "val": 6, "test": 4},
        {"train": 10, "test": 10},
        {"train": 20},
    ]


def test_everything_may_be_test(root, run):
    place(root, "walk/a.mp4", "run/b.mp4")
    assert run("folders", root, "--test_fraction", 1)[0] == 0
    assert set(split_of(root / "manifest.csv").values()) == {"test"}


def test_group_pattern_joins_the_cuts_of_a_recording(root, run):
    place(root, *(f"walk/day {day}_{cut}.mp4" for day in range(5) for cut in range(4)))
    assert run("folders", root, "--group_pattern", r"(?P<group>.+)_\d+")[0] == 0
    sides = defaultdict(set)
    for row in cells(root / "manifest.csv"):
        sides[row["group"]].add(row["split"])
    assert sorted(sides) == [f"day {day}" for day in range(5)]
    assert sorted(map(sorted, sides.values())) == [["test"], *[["train"]] * 4]


def test_a_folder_inside_a_class_folder_is_a_recording(root):
    place(
        root, *(f"{label}/{take}/{name}.mp4" for label in ("walk", "run") for take in "ab" for name in ("1", "video"))
    )
    place(root, "run/alone.mp4")
    found = read_folders(root)
    groups = {row.path.as_posix(): row.group for row in found.rows}
    assert groups == {path: "alone" if path == "run/alone.mp4" else path.split("/")[1] for path in groups}
    assert len(groups) == 9
    assert found.decisions == ["2 folders inside class folders: the videos in each are one recording"]


def test_files_at_any_depth_with_any_video_suffix_and_nothing_else(root):
    place(root, *(f"walk/deep/er/clip{suffix}" for suffix in VIDEO_SUFFIXES), "walk/LOUD.MP4")
    place(root, "walk/notes.txt", "walk/mp4", "walk/._clip.mp4", "walk/.trash/old.mp4", ".git/x.mp4")
    found = read_folders(root)
    assert len(found.rows) == len(VIDEO_SUFFIXES) + 1
    assert {row.label for row in found.rows} == {"walk"}
    assert found.left_out == []
    assert found.decisions == [
        "2 files without a video suffix are passed over: 1 without suffix ('walk/mp4'), 1 .txt ('walk/notes.txt')"
    ]


def test_names_with_spaces_quotes_and_signs(root, run):
    names = ['say "hi"', "comma, and", " leading space", "[bold]red", "跑步", "tänzer's"]
    place(root, *(f"{name}/{name} {index}.mp4" for name in names for index in range(5)))
    status, output, errors = run("folders", root)
    assert (status, errors) == (0, "")
    assert "[bold]red" in output
    classes = read_classes(root / CLASS_FILE)
    assert sorted(classes) == sorted(name.strip() for name in names)
    records = [
        record for split in ("train", "test") for record in read_manifest(root / "manifest.csv", classes, split=split)
    ]
    assert len(records) == 30
    for record in records:
        assert Path(record.path).is_file()
        assert Path(record.path).parent.name.strip() == classes[record.label]


def test_numbers_are_classes_in_order_of_value(root, run):
    place(root, *(f"{number}/{index}.mp4" for number in range(12) for index in range(5)))
    assert run("folders", root)[0] == 0
    assert read_classes(root / CLASS_FILE) == [str(number) for number in range(12)]


def test_links_are_followed_but_not_in_circles(root, tmp_path):
    place(tmp_path, "store/a.mp4", "store/b.mp4")
    (root / "walk").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "again").symlink_to(root)
    (root / "self").symlink_to("self")
    rows = read_folders(root).rows
    assert [row.path.as_posix() for row in rows] == ["walk/a.mp4", "walk/b.mp4"]


def test_files_left_out_are_counted_and_the_first_are_listed(root, run):
    place(root, *(f"walk/{index}_0.mp4" for index in range(5)), *(f"{index}.mp4" for index in range(7)))
    status, _, errors = run("folders", root)
    assert status == 0
    assert errors.splitlines() == [
        "warning: 7 video files are left out",
        *(f"  '{index}.mp4': is in no class folder" for index in range(5)),
        "  and 2 more",
    ]


def test_file_names_that_no_manifest_can_hold_are_left_out(root):
    place(root, "walk/ok.mp4", "walk/line\nbreak.mp4")
    (root / "walk" / "gone.mp4").symlink_to("nowhere")
    expected = [
        "'walk/gone.mp4': is a broken link",
        "'walk/line\\nbreak.mp4': has a line break in its name",
    ]
    try:
        place(root, os.fsdecode(b"walk/z\xff.mp4"))
        expected.append("'walk/z\\udcff.mp4': 'utf-8' codec can't encode")
    except OSError:
        pass  # this file system has UTF-8 names only
    found = read_folders(root)
    left_out = found.left_out
    assert [row.path.as_posix() for row in found.rows] == ["walk/ok.mp4"]
    assert len(left_out) == len(expected)
    assert all(line.startswith(start) for line, start in zip(left_out, expected, strict=True))


def test_a_class_that_a_side_lacks_is_named(root, run):
    place(root, *(f"walk/w{index}.mp4" for index in range(5)), "jump/a.mp4", "jump/a.avi")
    status, _, errors = run("folders", root)
    assert status == 0
    assert errors == "warning: test has no row of 1 classes\n  'jump' (1 recordings in all)\n"


def test_changed_class_numbers_are_mentioned(root, run):
    place(root, *(f"walk/{index}.mp4" for index in range(5)))
    assert run("folders", root)[2] == ""
    assert run("folders", root, "--seed=1")[2] == ""
    place(root, *(f"jump/{index}.mp4" for index in range(5)))
    status, _, errors = run("folders", root)
    assert status == 0
    assert errors == f"warning: {root / CLASS_FILE} listed other classes before; class numbers have changed\n"


def test_nothing_to_find(root, fails):
    fails("folders", root / "missing", parts=[root / "missing", "no such folder"])
    place(root, "walk/notes.txt")
    fails("folders", root, parts=[root, "no video file", ".avi", ".mp4", ".webm"])
    fails("folders", root / "walk" / "notes.txt", parts=["no such folder"])
    place(root, "a.mp4")
    fails("folders", root, parts=["none of 1 video files can be used", "'a.mp4': is in no class folder"])


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(?P<group>", "is not a regular expression: missing )"),
        (r"(.+)_\d", "has no group 'group'; expected (?P<group>...) in it"),
        (r"(?P<group>x)?.*", "has no group by"),
        (r"(?P<group>\d+)", "has no group by"),
    ],
)
def test_group_pattern_that_cannot_be_used(root, fails, pattern, message):
    place(root, "walk/a_1.mp4")
    fails("folders", root, "--group_pattern", pattern, parts=[repr(pattern), message])


@pytest.mark.parametrize(("val", "test"), [("-0.1", "0.2"), ("0", "1.1"), ("0.6", "0.5")])
def test_fractions_that_cannot_be(root, fails, val, test):
    place(root, "walk/a.mp4")
    fails(
        "folders",
        root,
        f"--val_fraction={val}",
        f"--test_fraction={test}",
        parts=["val_fraction", "at most 1"],
    )


def test_too_few_recordings_for_a_side(root, fails):
    place(root, "walk/a.mp4", "walk/b.mp4", "run/c.mp4")
    fails("folders", root, parts=["test would be empty: 3 rows, 3 recordings, all in train"])
    assert not (root / "manifest.csv").exists()


# ---------------------------------------------------------------- folders of splits


def splits_and_labels(manifest):
    return [(row["path"], row["split"], row["label"]) for row in cells(manifest)]


@each_case(
    "train, val, test",
    [
        ("train", "val", "test"),
        ("Training", "validation", "TESTING"),
        ("train_set", "Val-Data", "test2017"),
        ("train", "valid", ""),
    ],
)
def test_split_folders_hold_class_folders(tmp_path_factory, run, train, val, test):
    root = tmp_path_factory.mktemp("videos")
    place(root, *(f"{split}/{name}/1.mp4" for split in (train, val, test) if split for name in ("run", "walk")))
    status, output, errors = run("folders", root)
    assert (status, errors) == (0, "")
    assert read_classes(root / CLASS_FILE) == ["run", "walk"]
    expected = {train: "train", val: "val", test: "test"}
    assert sorted(splits_and_labels(root / "manifest.csv")) == sorted(
        (f"{folder}/{name}/1.mp4", split, name)
        for folder, split in expected.items()
        if folder
        for name in ("run", "walk")
    )
    assert f"{train}/ is the split train" in output
    assert "nothing is split at random" in output


def test_class_folders_hold_split_folders(root, run):
    place(root, *(f"{name}/{split}/1.mp4" for split in ("train", "test") for name in ("run", "walk")))
    status, output, errors = run("folders", root)
    assert (status, errors) == (0, "")
    assert set(splits_and_labels(root / "manifest.csv")) == {
        (f"{name}/{split}/1.mp4", split, name) for split in ("train", "test") for name in ("run", "walk")
    }
    assert "in the class folders, test/ is the split test, train/ is the split train" in output


def test_a_class_may_be_named_train(root, run):
    place(root, *(f"{name}/{name}{index}.mp4" for name in ("bus", "car", "train") for index in range(5)))
    status, output, _ = run("folders", root)
    assert status == 0
    assert read_classes(root / CLASS_FILE) == ["bus", "car", "train"]
    assert "train/ is a class, as the folders beside it are" in output


@each_case(
    "paths, parts",
    [
        (["train/a.mp4", "test/b.mp4"], ["is named after a split and has no class folders", "CLASS/video.mp4"]),
        (["train/run/a.mp4", "walk/b.mp4"], ["'train' looks like a split, and 'walk'", "(?P<split>...)"]),
        (["test/a.mp4", "train/b.mp4", "walk/c.mp4"], ["'test' and 'train' looks like a split"]),
        (["val/run/a.mp4", "valid/run/b.mp4"], ["'val' and 'valid' both name the split val"]),
        (["run/train/a.mp4", "run/test/b.mp4", "walk/c.mp4"], ["'walk/c.mp4' is not; expected all"]),
        (["data/train/run/a.mp4", "data/test/run/b.mp4"], ["its only folder 'data' has split folders; expected"]),
    ],
)
def test_folders_that_could_be_splits_or_classes_are_refused(tmp_path_factory, fails, paths, parts):
    root = tmp_path_factory.mktemp("videos")
    place(root, *paths)
    fails("folders", root, parts=[root, *parts])


def test_split_folders_leave_out_what_is_in_no_class(root, run, fails):
    place(root, "train/run/a.mp4", "test/run/b.mp4", "test/c.mp4")
    assert "'test/c.mp4': is in no class folder of a split folder" in run("folders", root)[2]
    fails("folders", root, "--val_fraction=0.1", parts=["--val_fraction", "every video its split"])


def test_a_recording_in_two_split_folders_is_refused(root, fails):
    place(root, "train/run/day1_0.mp4", "test/run/day1_1.mp4")
    pattern = r"(?P<group>.+)_\d"
    fails("folders", root, "--group_pattern", pattern, parts=["recording 'day1' is in test", "and in train"])


def test_split_of_a_pattern(root, run):
    place(root, "p1/training/run.mp4", "p2/validation/run.mp4", "p3/extra/run.mp4")
    assert run("pattern", root, r"p\d/(?P<split>\w+)/(?P<label>[a-z]+)")[0] == 0
    assert list(split_of(root / "manifest.csv").values()) == ["train", "val", "extra"]


def test_splits_are_no_classes(root, fails):
    place(root, "train/run.mp4", "test/walk.mp4")
    fails("pattern", root, r"(?P<label>\w+)/", parts=["the classes would be test, train, which are splits"])
    place_table(root, "path,label\na.mp4,training\nb.mp4,val\n")
    fails("csv", root, "labels.csv", parts=["the classes would be training, val, which are splits"])


# ---------------------------------------------------------------- what is passed over


def test_a_class_folder_without_videos_is_named_with_what_it_holds(root, run):
    place(
        root, *(f"walk/{index}.mp4" for index in range(5)), "jump/a.jpg", "jump/deep/b.JPG", "jump/c.txt", "walk/n.txt"
    )
    (root / "swim").mkdir()
    status, output, errors = run("folders", root)
    assert status == 0
    assert (
        "4 files without a video suffix are passed over: 2 .jpg ('jump/a.jpg', …), 2 .txt ('jump/c.txt', …)" in output
    )
    assert errors.splitlines() == [
        "warning: 2 folders have no video and are no classes",
        "  'jump': 2 .jpg, 1 .txt",
        "  'swim': no files",
    ]


def test_a_class_that_one_split_folder_lacks_is_named(root, run):
    place(root, "train/run/a.mp4", "test/run/b.mp4", "train/walk/c.mp4", "test/walk/d.jpg")
    errors = run("folders", root)[2]
    assert "  'test/walk': 1 .jpg" in errors.splitlines()


@each_case("suffix", [".gif", ".asf", ".divx", ".ASF", ".m2v", ".ogm"])
def test_a_class_of_a_rare_container_is_a_class(tmp_path_factory, run, suffix):
    root = tmp_path_factory.mktemp("videos")
    place(root, *(f"walk/{index}.mp4" for index in range(5)), *(f"jump/j{index}{suffix}" for index in range(5)))
    assert run("folders", root)[::2] == (0, "")
    assert read_classes(root / CLASS_FILE) == ["jump", "walk"]


# ---------------------------------------------------------------- names of classes

COMPOSED, DECOMPOSED = "caf\xe9", "cafe\u0301"


def test_forms_of_unicode_are_one_class(root, run):
    place(root, *(f"{name}/{name}{index}.mp4" for name in (COMPOSED, DECOMPOSED) for index in range(5)))
    status, output, errors = run("folders", root)
    assert (status, errors) == (0, "")
    assert f"label {COMPOSED!r} is written in more than one form of Unicode; it is one class" in output
    assert (root / CLASS_FILE).read_text("utf-8") == f"{COMPOSED}\n"
    records = [r for split in ("train", "test") for r in read_manifest(root / "manifest.csv", [COMPOSED], split=split)]
    assert len(records) == 10
    assert all(Path(record.path).is_file() for record in records)


LOOK_ALIKES = [
    ("Run", "run", "in upper and lower case"),
    ("0", "00", "in leading zeros"),
    ("class_1", "class_01", "in leading zeros"),
    ("jump", "jump ", "in spaces around the name"),
    ("jump", "jump\u200b", "in invisible characters"),
    ("high jump", "high\xa0jump", "in spaces and underscores"),
    ("high jump", "high_jump", "in spaces and underscores"),
]


@each_case("first, second, difference", LOOK_ALIKES)
def test_labels_that_look_alike_are_refused(tmp_path_factory, fails, first, second, difference):
    root = tmp_path_factory.mktemp("videos")
    place(root, *(f"{name}/{name}{index}.mp4" for name in (first, second) for index in range(5)))
    parts = [root, repr(first), repr(second), difference, "rename one of them"]
    fails("folders", root, parts=parts)
    fails("pattern", root, "(?P<label>[^/]+)/", parts=parts)
    assert not (root / "manifest.csv").exists()
    if second == second.strip():
        (root / "labels.csv").write_text(f"path,label\n{first}/{first}0.mp4,{first}\n{second}/{second}0.mp4,{second}\n")
        fails("csv", root, "labels.csv", parts=parts)


def test_splits_that_look_alike_are_refused(root, fails):
    place_table(root, "path,label,part\na.mp4,run,train\nb.mp4,run,Train\n")
    fails("csv", root, "labels.csv", "--split_column=part", parts=["splits 'Train' and 'train' differ only"])


def test_a_video_with_two_labels_is_refused(root, fails, run):
    place(root, "run/a.mp4", "walk/b.mp4", "walk/c.mp4")
    (root / "walk" / "a.mp4").hardlink_to(root / "run" / "a.mp4")
    fails("folders", root, parts=["'run/a.mp4' is 'run' and 'walk/a.mp4' is 'walk'", "expected one label"])
    table = "path,label,from\na.mp4,run,1\n./a.mp4,walk,{}\nb.mp4,run,\n"
    place_table(root, table.format("1.0"))
    fails("csv", root, "labels.csv", "--start_column=from", parts=["'a.mp4' is 'run' and 'a.mp4' is 'walk'"])
    place_table(root, table.format(2))
    assert run("csv", root, "labels.csv", "--start_column=from", "--test_fraction=0")[0] == 0


def test_numbers_with_gaps_are_kept_as_names_and_mentioned(root, run):
    place_table(root, "path,label\n" + "".join(f"{number}.mp4,{number}\n" for number in (0, 2, 10)))
    output = run("csv", root, "labels.csv", "--test_fraction=0")[1]
    assert "labels are numbers, and not all of them are there (no 1, 3, 4, 5, 6, …)" in output
    assert "class '2' has index 1. With --class_file" in output
    assert read_classes(root / CLASS_FILE) == ["0", "2", "10"]


def test_numbers_are_lines_of_a_class_file(root, tmp_path, run, fails):
    names = ["run", "walk", "jump"]
    class_file = tmp_path / "names.txt"
    class_file.write_text("".join(f"{name}\n" for name in names))
    options = ("--test_fraction=0", "--class_file", class_file)
    place_table(root, "path,label\na.mp4,2\nb.mp4,0\n")
    output = run("csv", root, "labels.csv", *options)[1]
    assert f"labels are lines of {class_file}, from 0: 0 is 'run', 2 is 'jump'" in output
    assert read_classes(root / CLASS_FILE) == names
    assert [row["label"] for row in cells(root / "manifest.csv")] == ["jump", "run"]
    place_table(root, "path,label\na.mp4,1\nb.mp4,3\n")
    fails("csv", root, "labels.csv", *options, parts=[class_file, "label 3 is no line", "0 to 2", "subtract 1"])
    place_table(root, "path,label\na.mp4,swim\nb.mp4,run\n")
    fails("csv", root, "labels.csv", *options, parts=[class_file, "label 'swim' is not one of its 3 classes"])


# ---------------------------------------------------------------- where the manifest goes


def test_paths_are_relative_below_the_manifest_and_absolute_elsewhere(root, tmp_path, run, monkeypatch):
    place(root, *(f"walk/{index}.mp4" for index in range(5)))
    monkeypatch.chdir(tmp_path)
    for output, start in {
        "manifest.csv": "videos/walk/",
        "videos/manifest.csv": "walk/",
        "videos/walk/manifest.csv": "",
        "new/folder/manifest.csv": f"{root}/walk/",
    }.items():
        assert run("folders", "videos", "--output", output)[0] == 0
        classes = read_classes(Path(output).parent / CLASS_FILE)
        assert [row["path"] for row in cells(output)] == [f"{start}{index}.mp4" for index in range(5)]
        for split in ("train", "test"):
            assert all(Path(record.path).is_file() for record in read_manifest(output, classes, split=split))


def test_folders_above_the_current_one(root, tmp_path, run, monkeypatch):
    place(root, *(f"walk/{index}.mp4" for index in range(5)))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert run("folders", "../videos", "--output", "../manifest.csv")[0] == 0
    assert cells("../manifest.csv")[0]["path"] == "videos/walk/0.mp4"


def test_output_that_cannot_be_written(root, tmp_path, fails):
    place(root, *(f"walk/{index}.mp4" for index in range(5)))
    place(tmp_path, "file")
    fails(
        "folders",
        root,
        "--output",
        tmp_path / "file" / "m.csv",
        parts=["cannot write the manifest", "--output"],
    )


# ---------------------------------------------------------------- pattern


def test_label_and_group_from_the_path(root):
    place(root, "p1/walk_1.avi", "p1/run_2.avi", "p2/walk_1.avi", "p2/other.avi")
    found = read_pattern(root, r"(?P<group>p\d)/(?P<label>\w+)_\d")
    assert [(row.path.as_posix(), row.label, row.group) for row in found.rows] == [
        ("p1/run_2.avi", "run", "p1"),
        ("p1/walk_1.avi", "walk", "p1"),
        ("p2/walk_1.avi", "walk", "p2"),
    ]
    assert found.left_out == [r"'p2/other.avi': has no label by '(?P<group>p\\d)/(?P<label>\\w+)_\\d'"]


def test_without_a_group_each_path_is_a_recording(root):
    place(root, "p1/walk.avi", "p2/walk.avi")
    rows = read_pattern(root, r"p\d/(?P<label>[a-z]+)").rows
    assert [(row.label, row.group) for row in rows] == [("walk", "p1/walk"), ("walk", "p2/walk")]


def test_pattern_command(root, run):
    place(root, *(f"p{person}/walk_{cut}.avi" for person in range(5) for cut in range(3)), "readme.mp4")
    status, _, errors = run("pattern", root, r"(?P<group>p\d)/(?P<label>[a-z]+)", "--val_fraction", 0.2)
    assert status == 0
    assert errors.startswith("warning: 1 video files are left out\n  'readme.mp4'")
    sides = defaultdict(set)
    for row in cells(root / "manifest.csv"):
        sides[row["group"]].add(row["split"])
    assert sorted(map(sorted, sides.values())) == [["test"], ["train"], ["train"], ["train"], ["val"]]


def test_regex_that_cannot_be_used(root, fails):
    place(root, "walk/a.mp4")
    fails("pattern", root, "[", parts=["REGEX '['", "not a regular expression"])
    fails("pattern", root, ".*", parts=["has no group 'label'; expected (?P<label>...)"])
    fails("pattern", root, r"(?P<label>\d+)", parts=["none of 1 video files can be used; 'walk/a.mp4'"])


def test_one_file_under_two_names_is_one_recording(root, fails):
    place(root, *(f"walk/{index}.mp4" for index in range(5)))
    (root / "walk" / "copy.mp4").symlink_to("3.mp4")
    fails("pattern", root, r"(?P<label>\w+)/", parts=["'walk/3.mp4'", "'walk/copy.mp4'", "are one file"])


# ---------------------------------------------------------------- csv

ACTORS = "path,label,actor,day\n" + "".join(
    f"{actor}/{day}/{label}.mp4,{label},{actor},{day}\n"
    for actor in range(4)
    for day in "ab"
    for label in ("run", "walk")
)


def test_columns_by_other_names(root):
    table = "file,what,who,from,to\na.mp4,walk,Jo,1,2.5\na.mp4,run, Al ,,\n"
    place_table(root, table)
    rows, left_out = read_csv_rows(
        root,
        root / "labels.csv",
        path_column="file",
        label_column="what",
        group_columns=["who", "what"],
        start_column="from",
        end_column="to",
    )
    assert left_out == []
    assert rows == [
        Row(Path("a.mp4"), ("walk",), "who=Jo, what=walk", None, 1.0, 2.5),
        Row(Path("a.mp4"), ("run",), "who=Al, what=run", None, None, None),
    ]


def test_rows_of_one_file_are_one_recording_by_default(root):
    place_table(root, "path,label\nx/a.mp4,run\n./x/a.mp4,walk\ny/a.mp4,run\n")
    rows, _ = read_csv_rows(root, root / "labels.csv")
    assert [row.group for row in rows] == ["x/a", "x/a", "y/a"]


def test_csv_command_with_every_name_given(root, run):
    table = "file,what,who,from,to\n" + "".join(f"{i}.mp4,walk,{i // 2},{i},{i + 2}\n" for i in range(10))
    place_table(root, table)
    names = ["--path_column=file", "--label_column=what", "--start_column=from", "--end_column=to"]
    assert run("csv", root, "labels.csv", *names, "--group_columns=who")[0] == 0
    rows = cells(root / "manifest.csv")
    assert [row["group"] for row in rows] == [f"who={i // 2}" for i in range(10)]
    assert Counter(row["split"] for row in rows) == {"train": 8, "test": 2}
    assert rows[3]["start_seconds"] == "3.0"
    assert rows[3]["end_seconds"] == "5.0"


def test_csv_file_as_given_comes_before_the_one_in_the_root(root, tmp_path, run, monkeypatch):
    place_table(root, "path,label,part\na.mp4,run,test\n")
    monkeypatch.chdir(tmp_path)
    assert run("csv", "videos", "labels.csv", "--split_column=part")[0] == 0
    assert cells(root / "manifest.csv")[0]["label"] == "run"
    (tmp_path / "labels.csv").write_text("path,label,part\na.mp4,walk,test\n")
    assert run("csv", "videos", "labels.csv", "--split_column=part")[0] == 0
    assert cells(root / "manifest.csv")[0]["label"] == "walk"


def test_absolute_paths_byte_order_mark_and_quotes(root, tmp_path, run):
    place(tmp_path, 'elsewhere/a, "b".mp4')
    path = str(tmp_path / 'elsewhere/a, "b".mp4').replace('"', '""')
    (root / "labels.csv").write_text(f'\ufeffpath, label\n"{path}",walk\n', encoding="utf-8")
    assert run("csv", root, "labels.csv", "--test_fraction=0")[0] == 0
    assert cells(root / "manifest.csv")[0]["path"] == str(tmp_path / 'elsewhere/a, "b".mp4')


def test_split_column_is_taken_as_it_is(root, run):
    place_table(root, "path,label,part\na.mp4,run,test\nb.mp4,run,train\nc.mp4,walk,extra\nd.mp4,walk,train\n")
    status, output, errors = run("csv", root, "labels.csv", "--split_column", "part")
    assert status == 0
    assert list(split_of(root / "manifest.csv").values()) == ["test", "train", "extra", "train"]
    assert "extra" in output
    assert errors.splitlines() == [
        "warning: test has no row of 1 classes",
        "  'walk' (2 recordings in all)",
        "warning: extra has no row of 1 classes",
        "  'run' (2 recordings in all)",
    ]


def test_a_recording_on_two_sides_of_the_given_split_is_named(root, fails):
    place_table(root, "path,label,part,who\na.mp4,run,test,Jo\nb.mp4,run,train,Al\nc.mp4,run,train,Jo\n")
    fails(
        *("csv", root, "labels.csv", "--split_column=part", "--group_columns=who"),
        parts=["recording 'who=Jo' is in test ('a.mp4') and in train ('c.mp4')"],
    )
    place_table(root, "path,label,part\na.mp4,run,test\na.mp4,walk,train\n")
    fails("csv", root, "labels.csv", "--split_column=part", parts=["recording 'a' is in test"])


def test_a_file_of_two_recordings_is_named(root, fails):
    place_table(root, "path,label,take\na.mp4,run,1\na.mp4,walk,2\n")
    fails(
        *("csv", root, "labels.csv", "--group_columns=take"),
        parts=["'a.mp4' of recording 'take=1' and 'a.mp4' of recording 'take=2' are one file"],
    )


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ("actor=2", {"2/a", "2/b"}),
        ("actor=2,actor=0", {"0/a", "0/b", "2/a", "2/b"}),
        ("actor=2, day = b", {"2/b"}),
        ('"actor=1",actor=2,day=b', {"1/b", "2/b"}),
    ],
)
def test_conditions_choose_the_test_rows(root, run, where, chosen):
    place_table(root, ACTORS)
    status, _, errors = run("csv", root, "labels.csv", "--group_columns=actor,day", "--test_where", where)
    assert (status, errors) == (0, "")
    for path, split in split_of(root / "manifest.csv").items():
        assert split == ("test" if path.rpartition("/")[0] in chosen else "train")


def test_conditions_for_val_too(root, run):
    place_table(root, ACTORS)
    assert run("csv", root, "labels.csv", "--val_where=actor=0", "--test_where=actor=1")[0] == 0
    for path, split in split_of(root / "manifest.csv").items():
        assert split == {"0": "val", "1": "test"}.get(path[0], "train")


def test_what_no_condition_names_is_drawn(root, run):
    place_table(root, ACTORS)
    common = ("csv", root, "labels.csv", "--group_columns=actor,day")
    assert run(*common, "--test_where=actor=1", "--val_fraction=0.33")[0] == 0
    splits = split_of(root / "manifest.csv")
    assert Counter(splits.values()) == {"train": 8, "val": 4, "test": 4}
    assert {path[0] for path, split in splits.items() if split == "test"} == {"1"}
    assert run(*common, "--val_where=actor=1", "--test_fraction=0.33")[0] == 0
    splits = split_of(root / "manifest.csv")
    assert Counter(splits.values()) == {"train": 8, "val": 4, "test": 4}
    assert {path[0] for path, split in splits.items() if split == "val"} == {"1"}


CONDITION_ERRORS = {
    "a recording on both sides": (
        ["--group_columns=actor", "--test_where=day=a"],
        "recording 'actor=0' is in test ('0/a/run.mp4') and in train ('0/b/run.mp4')",
    ),
    "unknown column": (
        ["--test_where=room=1"],
        "the header lacks room; expected columns path, label, room; its columns are path, label, actor, day",
    ),
    "unknown value": (["--test_where=actor=1,actor=9"], "no row has actor=9; its values are 0, 1, 2, 3"),
    "nothing that meets all": (
        ["--test_where=actor=1,path=0/a/run.mp4"],
        "no row that can be used matches --test_where",
    ),
    "no equals sign": (["--val_where=actor"], "--val_where 'actor': expected a comma-separated list of COLUMN=VALUE"),
    "val and test": (["--val_where=actor=1", "--test_where=day=b"], "line 8: matches --val_where and --test_where"),
    "nothing left for train": (["--test_where=day=a,day=b"], "train would be empty: 16 rows"),
    "with a split column": (["--split_column=day", "--test_where=day=a"], "leave out --val_where"),
    "fraction with a split column": (["--split_column=day", "--val_fraction=0.1"], "leave out --val_where"),
}


@pytest.mark.parametrize(("options", "message"), CONDITION_ERRORS.values(), ids=CONDITION_ERRORS.keys())
def test_conditions_that_cannot_be(root, fails, options, message):
    place_table(root, ACTORS)
    fails("csv", root, "labels.csv", *options, parts=[message])
    assert not (root / "manifest.csv").exists()


def test_many_values_are_not_all_listed(root, fails):
    place_table(root, "path,label\n" + "".join(f"{index}.mp4,run\n" for index in range(10, 90)))
    fails("csv", root, "labels.csv", "--test_where=path=x", parts=["10.mp4, 11.mp4, 12.mp4, 13.mp4, 14.mp4, …"])


def test_rows_that_cannot_be_used_are_reported_and_the_rest_go_on(root, run):
    place_table(root, "path,label,from,to\n" + "".join(f"{index}.mp4,run,,\n" for index in range(5)))
    with (root / "labels.csv").open("a") as file:
        file.write("gone.mp4,run,,\n,run,,\n\n0.mp4,,,\n0.mp4,run,soon,\n0.mp4,run,2,1\n.,run,,\n")
        file.write(f"{'x' * 5000},run,,\n")
    status, _, errors = run("csv", root, "labels.csv", "--start_column=from", "--end_column=to")
    assert status == 1
    assert len(cells(root / "manifest.csv")) == 5
    where = root / "labels.csv"
    lines = errors.splitlines()
    assert lines[:-1] == [
        "warning: 7 rows are left out",
        f"  {where}, line 7: no file '{root / 'gone.mp4'}'",
        f"  {where}, line 8: path is empty",
        f"  {where}, line 10: label is empty",
        f"  {where}, line 11: from is 'soon'; expected seconds, zero or more, or nothing",
        f"  {where}, line 12: to 1 is not after from 2",
        f"  {where}, line 13: no file '{root}'",
    ]
    assert lines[-1].startswith(f"  {where}, line 14: no file '{root}/xxx")


def test_a_row_may_have_several_labels(root, run):
    lines = ["a.mp4,run|jump", "b.mp4,jump | run", "c.mp4,walk", "d.mp4,run|run", "e.mp4,run|", "b.mp4,run|jump"]
    place_table(root, "\n".join(["path,label", *lines]))
    status, output, errors = run("csv", root, "labels.csv", "--test_fraction=0.5")
    assert status == 1
    assert "label is 'run|'; expected a class, or several as run|jump" in errors
    assert "3 rows have several labels; to train with them: --data.multi_label true" in output
    names = read_classes(root / CLASS_FILE)
    assert names == ["jump", "run", "walk"]
    assert [row["label"] for row in cells(root / "manifest.csv")] == ["run|jump", "jump|run", "walk", "run", "run|jump"]
    records = [
        record
        for split in ("train", "test")
        for record in read_manifest(root / "manifest.csv", names, split=split, multi_label=True)
    ]
    assert {Path(record.path).name: record.label for record in records}["a.mp4"] == (True, True, False)


def test_several_labels_may_be_lines_of_a_class_file(root, tmp_path, run):
    place_table(root, "path,label\na.mp4,0|2\nb.mp4,1\n")
    (tmp_path / "names.txt").write_text("walk\nrun\njump\n")
    assert run("csv", root, "labels.csv", "--class_file", tmp_path / "names.txt", "--test_fraction=0")[::2] == (0, "")
    assert [row["label"] for row in cells(root / "manifest.csv")] == ["walk|jump", "run"]


def test_a_video_with_other_labels_in_another_row_is_refused(root, fails):
    place_table(root, "path,label\na.mp4,run|jump\na.mp4,run\n")
    fails("csv", root, "labels.csv", parts=["'a.mp4' is 'run|jump' and 'a.mp4' is 'run'", "one label for each video"])


def test_a_row_without_a_split_is_reported(root, run):
    place_table(root, "path,label,part\na.mp4,run,train\nb.mp4,run,\n")
    status, _, errors = run("csv", root, "labels.csv", "--split_column=part")
    assert status == 1
    assert "line 3: part is empty" in errors


TABLE_ERRORS = {
    "no rows": ("path,label\n", "the CSV file has no rows"),
    "empty": ("", "the header lacks path, label"),
    "missing columns": (
        "file;label\n",
        "the header lacks path, label; expected columns path, label; its columns are file;label",
    ),
    "ragged": ("path,label\na.mp4,run\nb.mp4,run,x\n", "line 3: expected 2 columns"),
    "all gone": ("path,label\ngone.mp4,run\n", "none of 1 rows can be used; "),
    "too long": (f"path,label\n{'x' * 200_000},run\n", "line 1: not a CSV row"),
}


@pytest.mark.parametrize(("text", "message"), TABLE_ERRORS.values(), ids=TABLE_ERRORS.keys())
def test_csv_files_that_cannot_be_used(root, fails, text, message):
    place(root, "a.mp4", "b.mp4")
    (root / "labels.csv").write_text(text)
    fails("csv", root, "labels.csv", parts=[root / "labels.csv", message])


def test_class_names_that_cannot_be_written(root, fails):
    place(root, "a.mp4")
    (root / "labels.csv").write_text('path,label\na.mp4,"ru\nn"\n')
    fails("csv", root, "labels.csv", "--test_fraction=0", parts=["class name 'ru\\nn' cannot be written"])
    assert not (root / CLASS_FILE).exists()


def test_csv_files_that_cannot_be_read(root, fails):
    fails("csv", root, "labels.csv", parts=[root / "labels.csv", "cannot read the CSV file", "No such file"])
    fails("csv", root / "missing", "labels.csv", parts=["no such folder"])
    (root / "labels.csv").write_bytes("path,label\nä.mp4,run\n".encode("latin-1"))
    fails("csv", root, "labels.csv", parts=["the CSV file is not UTF-8 text"])


def test_the_csv_file_is_not_overwritten(root, fails):
    place_table(root, "path,label\na.mp4,run\n", name="manifest.csv")
    fails("csv", root, "manifest.csv", parts=[root / "manifest.csv", "expected another --output"])
    place_table(root, "path,label\na.mp4,run\n")
    fails("csv", root, "labels.csv", "--output", root / "labels.csv", parts=["expected another --output"])


def test_run_as_a_module(root):
    command = [sys.executable, "-m", "data_prep.write_annotations", "folders", str(root)]
    run = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith(f"write_annotations: {root}: no video file; expected some of .mp4,")


# ---------------------------------------------------------------- how videos are split

SHARES = [
    {"train": 0.8, "test": 0.2},
    {"train": 0.7, "val": 0.1, "test": 0.2},
    {"train": 1.0},
    {"val": 0.5, "test": 0.5},
]
rows = st.lists(
    st.builds(Row, st.just(Path("a.mp4")), st.tuples(st.sampled_from("abcd")), st.sampled_from("0123456789")),
    max_size=60,
)


@settings(deadline=None)
@given(rows, st.sampled_from(SHARES), st.integers(0, 5), st.randoms(use_true_random=False))
def test_every_group_gets_one_side_whatever_the_order_of_the_rows(rows, shares, seed, order):
    side_of = assign_splits(rows, shares, seed)
    assert set(side_of) == {row.group for row in rows}
    assert set(side_of.values()) <= set(shares)
    order.shuffle(rows)
    assert assign_splits(rows, shares, seed) == side_of


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(1, 5), min_size=1, max_size=30), min_size=1),
    st.sampled_from(SHARES),
    st.integers(0, 5),
)
def test_fractions_are_met_to_the_size_of_a_group(sizes_of_class, shares, seed):
    rows = [
        Row(Path("a.mp4"), (label,), f"{label}{index}")
        for label, sizes in sizes_of_class.items()
        for index, size in enumerate(sizes)
        for _ in range(size)
    ]
    side_of = assign_splits(rows, shares, seed)
    counts = Counter((row.label, side_of[row.group]) for row in rows)
    for label, sizes in sizes_of_class.items():
        for side, share in shares.items():
            error = counts[label, side] - share * sum(sizes)
            # A side gets a group only while it lacks as much as any other: it exceeds its share by less.
            assert error < max(sizes) + 1e-9
            assert error > -(len(shares) - 1) * max(sizes) - 1e-9


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 4), st.integers(0, 5))
def test_shares_that_can_be_met_are_met_exactly(tens, num_classes, seed):
    rows = [
        Row(Path("a.mp4"), (str(label),), f"{label}/{index}")
        for label in range(num_classes)
        for index in range(10 * tens)
    ]
    side_of = assign_splits(rows, {"train": 0.7, "val": 0.1, "test": 0.2}, seed)
    counts = Counter((row.label, side_of[row.group]) for row in rows)
    for label in range(num_classes):
        assert [counts[str(label), side] for side in ("train", "val", "test")] == [7 * tens, tens, 2 * tens]


def test_recordings_that_hold_several_classes_are_divided_by_class():
    chance = random.Random(0)
    rows = [
        Row(Path("a.mp4"), (label,), str(recording))
        for recording in range(100)
        for label in chance.sample(["common"] * 6 + ["rare"], 4)
    ]
    side_of = assign_splits(rows, {"train": 0.8, "test": 0.2}, 0)
    counts = Counter((row.label, side_of[row.group]) for row in rows)
    for label in ("common", "rare"):
        test_fraction = counts[label, "test"] / (counts[label, "test"] + counts[label, "train"])
        assert test_fraction == pytest.approx(0.2, abs=0.02)


def test_seeds_draw_different_splits():
    rows = [Row(Path("a.mp4"), ("walk",), str(index)) for index in range(20)]
    splits = {str(sorted(assign_splits(rows, {"train": 0.5, "test": 0.5}, seed).items())) for seed in range(10)}
    assert len(splits) == 10


@pytest.mark.parametrize("backwards", [False, True])
def test_the_order_in_which_the_file_system_lists_does_not_matter(root, run, monkeypatch, backwards):
    place(root, *(f"{label}/{index}.mp4" for label in ("walk", "run") for index in range(10)))
    assert run("folders", root)[0] == 0
    before = (root / "manifest.csv").read_bytes()
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: sorted(listdir(folder), reverse=backwards))
    assert run("folders", root)[0] == 0
    assert (root / "manifest.csv").read_bytes() == before


# ---------------------------------------------------------------- real sets

needs_ut_interaction = pytest.mark.skipif(
    not (SHARED / "data/ut-interaction/labels.csv").exists(), reason="needs shared/data/ut-interaction"
)


@needs_ut_interaction
def test_ut_interaction_from_one_set_to_the_other(tmp_path, run):
    output = tmp_path / "manifest.csv"
    options = ["--group_columns", "set,sequence", "--test_where", "set=2", "--output", output]
    status, _, errors = run("csv", SHARED / "data/ut-interaction", "labels.csv", *options)
    assert (status, errors) == (0, "")
    classes = read_classes(tmp_path / CLASS_FILE)
    assert classes == ["handshaking", "hugging", "kicking", "pointing", "punching", "pushing"]
    for split, folder in (("train", "set1"), ("test", "set2")):
        records = read_manifest(output, classes, split=split)
        assert Counter(record.label for record in records) == dict.fromkeys(range(6), 10)
        assert {Path(record.path).parent.name for record in records} == {folder}
        assert all(Path(record.path).is_file() for record in records)


@needs_ut_interaction
def test_ut_interaction_by_sequence(tmp_path, run):
    output = tmp_path / "manifest.csv"
    options = ["--group_columns", "set,sequence", "--output", output]
    status, _, errors = run("csv", SHARED / "data/ut-interaction", "labels.csv", *options)
    assert (status, errors) == (0, "")
    rows = cells(output)
    assert len({(row["group"], row["split"]) for row in rows}) == len({row["group"] for row in rows}) == 20
    for label in {row["label"] for row in rows}:
        assert Counter(row["split"] for row in rows if row["label"] == label) == {"train": 16, "test": 4}


@pytest.mark.skipif(
    not (SHARED / "data/kinetics400-sample/arm_wrestling").is_dir(),
    reason="needs shared/data/kinetics400-sample",
)
def test_kinetics_sample_by_folder(tmp_path, run):
    status, _, errors = run("folders", SHARED / "data/kinetics400-sample", "--output", tmp_path / "manifest.csv")
    assert (status, errors) == (0, "")
    assert read_classes(tmp_path / CLASS_FILE) == ["arm_wrestling", "bungee_jumping"]
    rows = cells(tmp_path / "manifest.csv")
    assert Counter((row["label"], row["split"]) for row in rows) == {
        ("arm_wrestling", "train"): 3,
        ("arm_wrestling", "test"): 1,
        ("bungee_jumping", "train"): 3,
        ("bungee_jumping", "test"): 1,
    }
