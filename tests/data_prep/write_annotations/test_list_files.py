"""List files of other projects: how a line is read, which video is meant, how a fault is told."""

import csv
from pathlib import Path

import pytest

from data_prep.write_annotations.__main__ import main
from data_prep.write_annotations.layouts.list_files import read_lists
from data_prep.write_annotations.layouts.list_lines import read_list_file
from data_prep.write_annotations.layouts.something_something import read_something_something
from tests.each_case import each_case
from videoctx.data.annotations import CLASS_FILE, AnnotationError, read_classes, read_manifest


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "videos"
    for name in ("x/a b.mp4", "x/c.avi", "y/d,e.webm"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"V")
    return folder


@pytest.fixture
def run(capsys):
    def run(*arguments):
        status = main(["lists", *(str(argument) for argument in arguments)])
        return status, *capsys.readouterr()

    return run


def listed(folder: Path, text: str, name: str = "train.txt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def rows(manifest: Path) -> list[tuple[str, str, str]]:
    with manifest.open(newline="", encoding="utf-8") as file:
        return [(row["path"], row["label"], row["split"]) for row in csv.DictReader(file)]


LINES = {
    "space": ("a/b.mp4 3\nc.mp4 0\n", [("a/b.mp4", "3"), ("c.mp4", "0")]),
    "comma": ("a/b.mp4,3\nc.mp4, 0\n", [("a/b.mp4", "3"), ("c.mp4", "0")]),
    "tab": ("a/b.mp4\t3\nc.mp4\t0\n", [("a/b.mp4", "3"), ("c.mp4", "0")]),
    "semicolons": (
        "74225;Holding a, b and c\n9;Moving [x] up\n",
        [("74225", "Holding a, b and c"), ("9", "Moving [x] up")],
    ),
    "spaces in paths": ("a b/c  d.mp4 3\ne.mp4 4\n", [("a b/c  d.mp4", "3"), ("e.mp4", "4")]),
    "commas in paths": ("a,b.mp4 3\nc.mp4 4\n", [("a,b.mp4", "3"), ("c.mp4", "4")]),
    "spaces before commas": ("a b.mp4,3\nc.mp4,4\n", [("a b.mp4", "3"), ("c.mp4", "4")]),
    "names of classes": ("a.mp4 riding a bike\nb.mp4 run\n", [("a.mp4", "riding a bike"), ("b.mp4", "run")]),
    "several labels": ("a.mp4 3 5 5\nb.mp4 1\n", [("a.mp4", "3", "5"), ("b.mp4", "1")]),
    "several in a cell": ("a.mp4,3|5\nb.mp4,1\n", [("a.mp4", "3", "5"), ("b.mp4", "1")]),
    "frames": ("a/74225 120 3\n9 40 0\n", [("a/74225", "3"), ("9", "0")]),
    "frames and commas": ("a/b,120,3\nc,40,0\n", [("a/b", "3"), ("c", "0")]),
    "frames of videos": ("a.mp4 120 3\nb.mp4 2 4\n", [("a.mp4", "3"), ("b.mp4", "4")]),
    "frames, several labels": ("a 120 3 5\nc 40 1\n", [("a", "3", "5"), ("c", "1")]),
    "no labels": ("a.mp4\nb c.mp4\n", [("a.mp4",), ("b c.mp4",)]),
    "quoted": ('"a,b",3\nc,4\n', [("a,b", "3"), ("c", "4")]),
    "no label": ("a.mp4 -1\nb c.mp4 4\n", [("a.mp4",), ("b c.mp4", "4")]),
    "frames, no label": ("a 120 -1\nb 40 4\n", [("a",), ("b", "4")]),
    "a byte order mark and blank lines": ("\ufeffa.mp4 3\r\n\r\nb.mp4 4 \r\n", [("a.mp4", "3"), ("b.mp4", "4")]),
}


@each_case("kind", LINES)
def test_lines_are_understood_without_options(tmp_path_factory, kind):
    text, expected = LINES[kind]
    read = read_list_file(listed(tmp_path_factory.mktemp("lists"), text), num_classes=10)
    assert [(line.path, *line.labels) for line in read.lines] == expected
    assert not any(line.problem for line in read.lines)


def test_columns_with_two_meanings_are_refused_and_told_by_an_option(tmp_path):
    file = listed(tmp_path, "a.mp4 3 5\nb.mp4 4 1\n")
    with pytest.raises(AnnotationError, match=r"\(3 5\), which may be labels, or a number of frames"):
        read_list_file(file, num_classes=10)
    labels = [
        read_list_file(file, num_classes=10, columns=columns) for columns in ("path,labels", "path,frames,labels")
    ]
    assert [read.lines[0].labels for read in labels] == [("3", "5"), ("5",)]
    read = read_list_file(file, num_classes=10, columns="path,labels", delimiter="comma")
    assert [line.path for line in read.lines] == ["a.mp4 3 5", "b.mp4 4 1"]


def test_a_manifest_of_two_lists(root, tmp_path, run):
    train = listed(tmp_path, "data/set/x/a b.mp4 2\ndata/set/x/c.mp4 0\n", "k400_train_list.txt")
    val = listed(tmp_path, "data/set/y/d,e 1\n", "k400_val_list.txt")
    classes = listed(tmp_path, "jump\nrun\nwalk\n", "names.txt")
    status, output, errors = run(root, f"{train},{val}", "--class_file", classes)
    assert (status, errors) == (0, "")
    assert f"{train}: train, 2 lines of path,labels, separated by space" in output
    assert f"{root} is read as the folder 'data/set' of the lists" in output
    assert read_classes(root / CLASS_FILE) == ["jump", "run", "walk"]
    assert rows(root / "manifest.csv") == [
        ("x/a b.mp4", "walk", "train"),
        ("x/c.avi", "jump", "train"),
        ("y/d,e.webm", "run", "val"),
    ]


def test_absolute_paths_of_another_machine(root, tmp_path, run):
    assert run(root, listed(tmp_path, "/data/set/x/c.mp4 0\n/data/set/x/a b.mp4 1\n"))[::2] == (0, "")
    assert [row[0] for row in rows(root / "manifest.csv")] == ["x/c.avi", "x/a b.mp4"]


def test_names_without_folders_are_found_at_any_depth(root, tmp_path, run):
    test = listed(tmp_path, "c;Holding something\na b;Moving something up\n", "test-answers.csv")
    assert run(root, test)[::2] == (0, "")
    assert rows(root / "manifest.csv") == [
        ("x/c.avi", "Holding something", "test"),
        ("x/a b.mp4", "Moving something up", "test"),
    ]


def test_numbers_without_a_class_file_keep_their_indices(root, tmp_path, run):
    assert run(root, f"dev={listed(tmp_path, 'x/a b.mp4 3|0')}")[::2] == (0, "")
    names = read_classes(root / CLASS_FILE)
    assert names == ["0", "1", "2", "3"]
    (record,) = read_manifest(root / "manifest.csv", names, split="dev", multi_label=True)
    assert record.label == (True, False, False, True)


def test_lines_that_cannot_be_used_are_named_and_the_rest_go_on(root, tmp_path, run):
    text = "x/c.avi,0\nx/a b.mp4,7\n,1\nx/c.avi,1\ny/d,e.webm,1\nx/.h.mp4,1\nx/no.mp4,1\nx/a b.mp4\nx/b.mp4,0|\n"
    classes = listed(tmp_path, "jump\nrun\n", "names.txt")
    status, _, errors = run(root, listed(tmp_path, text), "--class_file", classes)
    assert status == 1
    assert rows(root / "manifest.csv") == [("x/c.avi", "jump", "train")]
    for part in (
        "line 2: label '7' is not one of the 2 classes",
        "line 3: ', 1'; expected a path and labels",
        "line 4: 'x/c.avi' is listed twice, first in",
        "line 5: label 'e.webm' is not one",
        "line 6: 'x/.h.mp4' cannot be the name of a video",
        "line 8: 'x/a b.mp4'; expected a path and labels",
        "line 9: 'x/b.mp4, 0|'; expected a path and labels",
        "1 videos are missing",
    ):
        assert part in errors


REFUSED = {
    "": "no lines; expected 'path label'",
    "path,label\nx/c.avi,0\n": "line 1 is a header; expected lines 'path label', or the command csv",
    "video_path,class\nx/c.avi,0\n": "line 1 is a header; expected lines 'path label', or the command csv",
    "x/c.avi 1\nx/a b.mp4 2\n": "the labels seem to start from 1",
    "x/lost.avi 1\n": "none of the 1 listed videos was found; expected for example",
    "x 30 1\n": "x/: a folder, as of extracted frames",
}


@each_case("text", REFUSED)
def test_lists_that_cannot_be_used(tmp_path_factory, root, run, text):
    folder = tmp_path_factory.mktemp("lists")
    classes = listed(folder, "jump\nrun\n", "names.txt")
    status, output, errors = run(root, listed(folder, text), "--class_file", classes)
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert REFUSED[text] in errors


def test_a_file_that_does_not_say_its_split_is_refused(root, tmp_path, run):
    for name, found in (("list.txt", "none of train, val and test"), ("train_val.txt", "train and val")):
        file = listed(tmp_path, "x/c.avi 0", name)
        assert f"{file}: its name has {found}; expected SPLIT=FILE, as train={file}" in run(root, file)[2]


def test_numbers_that_are_no_classes_are_refused(tmp_path):
    with pytest.raises(AnnotationError, match="label 200000 would be one of 200001 classes"):
        read_lists([("train", listed(tmp_path, "a.mp4 200000"))])
    with pytest.raises(AnnotationError, match="the lists have no labels; expected --class_file"):
        read_lists([("test", listed(tmp_path, "a.mp4"))])


@each_case("prefix", ["something-something-v2-", ""])
def test_a_file_of_its_own_labels_the_test_list(tmp_path_factory, prefix):
    folder = tmp_path_factory.mktemp("official")
    listed(folder, '{"Pushing something": "0", "Moving something up": "1"}', f"{prefix}labels.json")
    listed(folder, '[{"id": "7"}, {"id": "8"}, {"id": "9"}]', f"{prefix}test.json")
    listed(folder, "7;Moving something up\n8;Eating something\n8\n", f"{prefix}test-answers.csv")
    listing = read_something_something(folder)
    assert [(video.stems, video.labels) for video in listing.videos] == [
        (("7",), ("Moving something up",)),
        (("9",), ()),
    ]
    assert [problem.split(", ")[-1] for problem in listing.problems] == [
        ["line 3: '8'; expected 'ID;class name'", "once for each ID"][-1],
        "entry 2: label 'Eating something' is not one of the 2 classes",
    ]
