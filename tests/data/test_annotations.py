"""Tests of reading and writing manifests and class files."""

import csv
import posixpath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.each_case import each_case
from videoctx.data.annotations import (
    CLASS_FILE,
    AnnotationError,
    VideoRecord,
    read_classes,
    read_manifest,
    write_manifest,
)
from videoctx.data.class_names import look_alike_key, look_alikes, nfc

HEADER = "path,label,split,start_seconds,end_seconds\n"
CLASSES = ["run", "walk"]


@pytest.fixture
def manifest(tmp_path):
    """A function that writes the text or bytes of a manifest and returns its path."""

    def write(text):
        path = tmp_path / "manifest.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def class_file(tmp_path):
    def write(data):
        path = tmp_path / CLASS_FILE
        path.write_bytes(data)
        return path

    return write


def refused(read, *parts):
    """Check that `read` raises an AnnotationError of one line that contains every part."""
    with pytest.raises(AnnotationError) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


# ---------------------------------------------------------------- classes


def test_classes_are_numbered_by_line(class_file):
    assert read_classes(class_file(b"walk\nrun\n")) == ["walk", "run"]


def test_classes_may_be_given_themselves():
    assert read_classes(["walk", "run"]) == ["walk", "run"]
    refused(lambda: read_classes(["walk", "walk"]), "class_file: classes named more than once: walk")


def test_class_file_with_byte_order_mark_windows_line_ends_and_blank_lines(class_file):
    assert read_classes(class_file("\ufeffwalk\r\n laufen, schnell \r\n\r\n跑\r\n".encode())) == [
        "walk",
        "laufen, schnell",
        "跑",
    ]


def test_missing_class_file(tmp_path):
    path = tmp_path / CLASS_FILE
    refused(lambda: read_classes(path), path, "No such file", "one name per line")


@each_case("data", [b"", b"\n \n"])
def test_empty_class_file(class_file, data):
    path = class_file(data)
    refused(lambda: read_classes(path), path, "no class names", "one per line")


def test_classes_named_twice(class_file):
    path = class_file(b"walk\nrun\nwalk\nrun \nsit\n")
    refused(lambda: read_classes(path), path, "more than once: run, walk")


def test_class_file_in_another_encoding(class_file):
    path = class_file("Tänzer\n".encode("latin-1"))
    refused(lambda: read_classes(path), path, "not UTF-8")


# ---------------------------------------------------------------- reading


def test_rows_of_one_split_in_file_order(manifest, tmp_path):
    path = manifest(HEADER + "b.mp4,walk,train,,\na.mp4,run,test,,\na.mp4,run,train,1.5,2\nc.mp4,,train,,3\n")
    assert read_manifest(path, CLASSES, split="train", labels_required=False) == [
        VideoRecord(str(tmp_path / "b.mp4"), 1, "train", None, None),
        VideoRecord(str(tmp_path / "a.mp4"), 0, "train", 1.5, 2.0),
        VideoRecord(str(tmp_path / "c.mp4"), None, "train", None, 3.0),
    ]


def test_three_columns_are_required_in_any_order_and_others_are_ignored(manifest):
    path = manifest("split,fps,label,path\ntrain,30,walk,a.mp4\n")
    (record,) = read_manifest(path, CLASSES, split="train")
    assert (record.label, record.start_seconds, record.end_seconds) == (1, None, None)


def test_byte_order_mark_windows_line_ends_and_spaces_around_cells(manifest, tmp_path):
    path = manifest("\ufeffpath, label, split\r\na b.mp4 , walk,\ttrain\r\n\r\n")
    (record,) = read_manifest(path, CLASSES, split="train")
    assert record == VideoRecord(str(tmp_path / "a b.mp4"), 1, "train")


def test_relative_paths_start_from_the_manifest_or_the_root(manifest, tmp_path):
    path = manifest(HEADER + "x/a.mp4,run,train,,\n/videos/b.mp4,run,train,,\n")
    paths = [record.path for record in read_manifest(path, CLASSES, split="train")]
    assert paths == [str(tmp_path / "x/a.mp4"), "/videos/b.mp4"]
    paths = [record.path for record in read_manifest(path, CLASSES, split="train", root="/elsewhere")]
    assert paths == ["/elsewhere/x/a.mp4", "/videos/b.mp4"]


def test_missing_manifest(tmp_path):
    path = tmp_path / "manifest.csv"
    refused(lambda: read_manifest(path, CLASSES, split="train"), path, "cannot read the manifest", "No such file")


def test_manifest_is_a_folder(tmp_path):
    refused(lambda: read_manifest(tmp_path, CLASSES, split="train"), tmp_path, "cannot read the manifest")


@each_case(
    ("header", "missing"),
    [("", "path, label, split"), ("path,split\n", "label"), ("path;label;split\n", "path, label, split")],
)
def test_missing_columns(manifest, header, missing):
    path = manifest(header)
    refused(
        lambda: read_manifest(path, CLASSES, split="train"),
        f"{path}: the header lacks {missing};",
        "expected columns path, label, split",
    )


BAD_ROWS = {
    "too few cells": ("a.mp4,walk", "expected 5 columns"),
    "too many cells": ("a.mp4,walk,train,,,x", "expected 5 columns"),
    "comma without quotes": ("a, b.mp4,walk,train,,", "expected 5 columns"),
    "empty path": (" ,walk,train,,", "the path is empty"),
    "unknown label": (
        "a.mp4,Walk,train,,",
        "label 'Walk' is not one of the 2 classes in the class file (run, walk)",
    ),
    "empty label": ("a.mp4,,train,,", "the label is empty; expected a class (run, walk)"),
    "seconds in words": ("a.mp4,walk,train,soon,", "start_seconds is 'soon'; expected a number, zero or more"),
    "negative seconds": ("a.mp4,walk,train,,-1", "end_seconds is '-1'"),
    "infinite seconds": ("a.mp4,walk,train,,inf", "end_seconds is 'inf'"),
    "no number": ("a.mp4,walk,train,nan,", "start_seconds is 'nan'"),
    "end at start": ("a.mp4,walk,train,2,2.0", "end_seconds 2 is not after start_seconds 2"),
    "end before start": ("a.mp4,walk,train,2,1.5", "end_seconds 1.5 is not after start_seconds 2"),
}


@each_case(("row", "message"), BAD_ROWS.values())
def test_bad_row_is_reported_with_its_line(manifest, row, message):
    path = manifest(f"{HEADER}ok.mp4,run,train,,\n{row}\nok.mp4,run,train,,\n")
    refused(lambda: read_manifest(path, CLASSES, split="train"), f"{path}, line 3: {message}")


def test_lines_are_counted_as_an_editor_does(manifest):
    path = manifest(f'{HEADER}"line\nbreak.mp4",run,train,,\n\na.mp4,sit,train,,\n')
    refused(lambda: read_manifest(path, CLASSES, split="train"), f"{path}, line 5: label 'sit'")


def test_labels_and_seconds_of_other_splits_are_not_checked(manifest):
    path = manifest(HEADER + "a.mp4,run,train,,\nb.mp4,sit,test,9,1\n,,test,,\n")
    assert len(read_manifest(path, CLASSES, split="train")) == 1


def test_unknown_label_is_refused_even_if_labels_are_optional(manifest):
    path = manifest(HEADER + "a.mp4,sit,test,,\n")
    refused(lambda: read_manifest(path, CLASSES, split="test", labels_required=False), "label 'sit'")


def test_many_classes_are_not_all_listed(manifest):
    path = manifest(HEADER + "a.mp4,sit,train,,\n")
    classes = [f"class{index}" for index in range(400)]
    refused(
        lambda: read_manifest(path, classes, split="train"),
        "400 classes in the class file (class0, class1, class2, class3, class4, class5, …)",
    )


def test_no_rows(manifest):
    path = manifest(HEADER)
    refused(lambda: read_manifest(path, CLASSES, split="train"), f"{path}: the manifest has no rows")


def test_no_row_in_the_split(manifest):
    path = manifest(HEADER + "a.mp4,run,train,,\nb.mp4,run,test,,\n")
    refused(lambda: read_manifest(path, CLASSES, split="val"), "no row has split 'val'", "test, train")


def test_manifest_in_another_encoding(manifest):
    path = manifest((HEADER + "ä.mp4,run,train,,\n").encode("latin-1"))
    refused(lambda: read_manifest(path, CLASSES, split="train"), path, "not UTF-8")


def test_not_a_csv_file(manifest):
    path = manifest(HEADER + f'"{"x" * (csv.field_size_limit() + 1)}",run,train,,\n')
    refused(lambda: read_manifest(path, CLASSES, split="train"), f"{path}, line", "not a CSV row")


# ---------------------------------------------------------------- names that look alike, paths with two labels

LOOK_ALIKES = [
    ("Run", "run", "in upper and lower case"),
    ("0", "00", "in leading zeros"),
    ("class 7", "class 007", "in leading zeros"),
    ("jump", "ju\u200bmp", "in invisible characters"),
    ("jump", "jump.", "in dots around the name"),
    ("high jump", "high\xa0jump", "in spaces and underscores"),
    ("run", "ｒｕｎ", "in characters that look alike"),
]


@each_case("first, second, difference", LOOK_ALIKES)
def test_classes_that_look_alike_are_refused(tmp_path_factory, first, second, difference):
    folder = tmp_path_factory.mktemp("alike")
    (folder / CLASS_FILE).write_text(f"{first}\nwalk\n{second}\n", encoding="utf-8")
    parts = (folder / CLASS_FILE, repr(first), repr(second), difference, "rename one of them")
    refused(lambda: read_classes(folder / CLASS_FILE), *parts)
    refused(lambda: write_manifest(folder / "manifest.csv", [], [first, "walk", second]), *parts)
    assert not (folder / "manifest.csv").exists()


def test_decimal_numbers_and_other_words_do_not_look_alike():
    assert look_alikes(["1.5", "1.05", "10", "1", "0", "walk", "walks", "caf\xe9", "cafe", "a-b", "ab"]) is None


def test_classes_in_two_forms_of_unicode_are_one(class_file, manifest):
    refused(lambda: read_classes(class_file("caf\xe9\ncafe\u0301\n".encode())), "named more than once: caf\xe9")
    path = manifest("path,label,split\na.mp4,cafe\u0301,train\n")
    assert read_manifest(path, ["caf\xe9"], split="train")[0].label == 0
    assert read_manifest(path, ["cafe\u0301"], split="train")[0].label == 0


def test_a_label_that_looks_like_a_class_is_named_with_it(manifest):
    path = manifest("path,label,split\na.mp4,Run,train\n")
    refused(
        lambda: read_manifest(path, ["run", "walk"], split="train"), "'run' and 'Run' differ only in upper and lower"
    )


def test_a_split_that_looks_like_another_is_refused(manifest):
    path = manifest("path,label,split\na.mp4,run,train\nb.mp4,run,Train\nc.mp4,run,test\n")
    refused(lambda: read_manifest(path, CLASSES, split="train"), "splits 'Train' and 'train' differ only")
    assert len(read_manifest(path, CLASSES, split="test")) == 1


@each_case(
    "second",
    ["a.mp4,walk,train,,", "./a.mp4,walk,train,,", "x/../a.mp4,walk,test,0,", "a.mp4,walk,extra,0.0,"],
)
def test_a_path_with_two_labels_is_refused(manifest, second):
    path = manifest(f"path,label,split,start_seconds,end_seconds\na.mp4,run,train,,\n{second}\n")
    parts = (path, "line 3", "'a.mp4' is 'walk', and 'run' in line 2", "multi_label")
    refused(lambda: read_manifest(path, CLASSES, split="train"), *parts)
    assert read_manifest(path, CLASSES, split="train", multi_label=True)


@each_case("prefix", ["", "file://", "file://localhost"])
def test_a_path_with_two_labels_is_refused_however_it_is_written(manifest, prefix):
    path = manifest("path,label,split\na.mp4,run,train\n")
    with path.open("a") as file:
        file.write(f"{prefix}{path.parent.absolute()}/a.mp4,walk,train\n")
    refused(lambda: read_manifest(path, CLASSES, split="train"), str(path), "line 3", "'walk', and 'run' in line 2")


@each_case("second", ["a.mp4,walk,train,1,2", "a.mp4,,train,,", "a.mp4,run,test,,", "A.mp4,walk,train,,"])
def test_a_path_may_have_segments_of_other_labels(manifest, second):
    path = manifest(f"path,label,split,start_seconds,end_seconds\na.mp4,run,train,,\n{second}\n")
    assert read_manifest(path, CLASSES, split="train", labels_required=False)


# ---------------------------------------------------------------- writing, and both

NAMES = [
    "plain",
    "with space",
    "comma, and",
    'say "hello"',
    "it's",
    "跑步",
    "tänzer",
    "\xe9",
    "🏃",
    "#1;2/3",
]


def test_names_survive_writing_and_reading(tmp_path):
    path = tmp_path / "not yet" / "there" / "manifest.csv"
    rows = [{"path": f"{name}/{name}.mp4", "label": name, "split": "train"} for name in NAMES]
    write_manifest(path, rows, NAMES)
    classes = read_classes(path.parent / CLASS_FILE)
    assert classes == NAMES
    assert read_manifest(path, classes, split="train") == [
        VideoRecord(str(path.parent / name / f"{name}.mp4"), index, "train") for index, name in enumerate(NAMES)
    ]


def test_files_are_utf8_without_mark_and_unix_line_ends(tmp_path):
    write_manifest(tmp_path / "manifest.csv", [{"path": "ä.mp4", "label": "ä", "split": "test"}], ["ä"])
    assert (tmp_path / "manifest.csv").read_bytes() == f"{HEADER}ä.mp4,ä,test,,\n".encode()
    assert (tmp_path / CLASS_FILE).read_bytes() == "ä\n".encode()


def test_additional_columns_are_written_last(tmp_path):
    path = tmp_path / "manifest.csv"
    row = {"path": "a.mp4", "label": "run", "split": "train"}
    write_manifest(path, [{"take": 2, **row}, {**row, "actor": "Jo, the 1st"}], CLASSES)
    assert path.read_text().splitlines() == [
        HEADER.strip() + ",actor,take",
        "a.mp4,run,train,,,,2",
        'a.mp4,run,train,,,"Jo, the 1st",',
    ]
    assert len(read_manifest(path, CLASSES, split="train")) == 2


def test_rows_and_classes_may_be_generators(tmp_path):
    path = tmp_path / "manifest.csv"
    rows = ({"path": f"{name}.mp4", "label": name, "split": "train"} for name in CLASSES)
    write_manifest(path, rows, (name for name in CLASSES))
    assert read_classes(tmp_path / CLASS_FILE) == CLASSES
    assert [record.label for record in read_manifest(path, CLASSES, split="train")] == [0, 1]


@each_case("value", [" a", "a ", "a\nb", "a\r", "a\rb", "a\u2028b", "a\udcff"])
def test_value_that_cannot_be_read_back_is_refused_before_writing(tmp_path, value):
    path, row = tmp_path / "new" / "manifest.csv", {"path": "a.mp4", "label": "run", "split": "train"}
    refused(
        lambda: write_manifest(path, [row], ["run", value]),
        path.parent / CLASS_FILE,
        "class name",
        repr(value),
    )
    for column in ("path", "label", "split", "actor"):
        bad = {**row, column: value}
        refused(lambda bad=bad: write_manifest(path, [row, bad], CLASSES), path, column, repr(value))
    assert not path.parent.exists()


words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="\ufeff|"), min_size=1)
words = words.map(str.strip).filter(bool)
seconds = st.none() | st.floats(0, 1e6)


@settings(max_examples=50, deadline=None)
@given(
    names=st.lists(words.map(nfc).map(str.strip).filter(bool), min_size=1, unique_by=look_alike_key),
    paths=st.lists(words.filter(lambda path: path.strip("./")), min_size=1, unique_by=posixpath.normpath),
    start=seconds,
    length=seconds,
    data=st.data(),
)
def test_manifest_is_read_as_written(tmp_path_factory, names, paths, start, length, data):
    folder = tmp_path_factory.mktemp("written")
    end = None if length is None else (start or 0) + length + 1
    labels = [data.draw(st.sampled_from(names)) for _ in paths]
    rows = [
        {"path": path, "label": label, "split": "train", "start_seconds": start, "end_seconds": end}
        for path, label in zip(paths, labels, strict=True)
    ]
    write_manifest(folder / "manifest.csv", rows, names)
    assert read_classes(folder / CLASS_FILE) == names
    assert read_manifest(folder / "manifest.csv", names, split="train") == [
        VideoRecord(str(folder / path), names.index(label), "train", start, end)
        for path, label in zip(paths, labels, strict=True)
    ]
