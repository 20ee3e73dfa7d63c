"""Manifests of public datasets: what the official files say, which video is whose, how a fault is told."""

import csv
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from data_prep.write_annotations.__main__ import main
from data_prep.write_annotations.layouts.charades import read_charades
from data_prep.write_annotations.layouts.diving48 import read_diving48
from data_prep.write_annotations.layouts.hmdb51 import read_hmdb51
from data_prep.write_annotations.layouts.jester import read_jester
from data_prep.write_annotations.layouts.kinetics import annotation_files, read_kinetics
from data_prep.write_annotations.layouts.something_something import read_something_something
from data_prep.write_annotations.layouts.ucf101 import read_ucf101
from videoctx.data.annotations import CLASS_FILE, AnnotationError, read_classes, read_manifest

SHARED = Path(__file__).parents[3].parent / "shared"
OFFICIAL = SHARED / "annotations"
SAMPLE = SHARED / "data/kinetics400-sample"


def needs(path: Path):
    return pytest.mark.skipif(not path.exists(), reason=f"needs {path.relative_to(SHARED.parent)}")


def place(root: Path, *paths: str) -> None:
    """Files of one byte below the root."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"V")


def write(folder: Path, **texts: object) -> Path:
    """Files of these texts, or of these values as JSON; `__` in a name stands for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        content = text if isinstance(text, str) else json.dumps(text)
        (folder / name.replace("__", ".")).write_bytes(content.encode())
    return folder


def cells(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def rows(manifest: Path) -> list[tuple[str, str, str]]:
    return [(row["path"], row["label"], row["split"]) for row in cells(manifest)]


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


# ---------------------------------------------------------------- names of classes


def test_public_classes_that_look_alike_are_refused(root, tmp_path, run):
    place(root, "a.mp4", "b.mp4")
    file = tmp_path / "train.csv"
    file.write_text("label,youtube_id,time_start,time_end\nyoga,a,0,10\nYoga,b,0,10\n")
    status, output, errors = run("kinetics", root, file)
    assert (status, output) == (2, "")
    assert "'Yoga' and 'yoga' differ only in upper and lower case" in errors
    assert not (root / "manifest.csv").exists()


def test_public_names_in_two_forms_of_unicode_are_one(root, tmp_path, run):
    place(root, "cafe\u0301/cafe\u0301_000000_000010.mp4", "b.mp4")
    file = tmp_path / "train.csv"
    file.write_text("label,youtube_id,time_start,time_end\ncaf\xe9,caf\xe9,0,10\ncafe\u0301,b,0,10\n", encoding="utf-8")
    assert run("kinetics", root, file)[::2] == (0, "")
    assert read_classes(root / CLASS_FILE) == ["caf\xe9"]
    assert len(cells(root / "manifest.csv")) == 2


def test_a_gif_beside_a_video_is_its_preview(root, tmp_path, run):
    place(root, "a.mp4", "a.gif", "b.gif")
    assert run("kinetics", root, kinetics_of(tmp_path, yoga="ab"))[::2] == (0, "")
    assert [row[0] for row in rows(root / "manifest.csv")] == ["a.mp4", "b.gif"]


# ---------------------------------------------------------------- Kinetics

KINETICS = "label,youtube_id,time_start,time_end,split,is_cc\n"


def test_kinetics_csv(root, tmp_path, run):
    place(
        root,
        "zumba/aaa_000001_000011.mp4",
        "air_drumming/-bbb_000100_000110.mkv",
        "_c-c.mp4",
        "more/deep/d_000000_000010.mp4",
    )
    file = tmp_path / "list.csv"
    file.write_bytes(
        b"\xef\xbb\xbf"
        + KINETICS.encode()
        + b'zumba,aaa,1,11,train,0\r\n"air drumming",-bbb,100.0,110.0,validate,0\r\n'
        b"zumba,_c-c,5,15,val,1\r\n,d,0,10,test,0\r\n"
    )
    assert run("kinetics", root, file)[::2] == (0, "")
    assert read_classes(root / CLASS_FILE) == ["air drumming", "zumba"]
    assert rows(root / "manifest.csv") == [
        ("zumba/aaa_000001_000011.mp4", "zumba", "train"),
        ("air_drumming/-bbb_000100_000110.mkv", "air drumming", "val"),
        ("_c-c.mp4", "zumba", "val"),
        ("more/deep/d_000000_000010.mp4", "", "test"),
    ]
    assert not any(row["start_seconds"] + row["end_seconds"] for row in cells(root / "manifest.csv"))
    records = read_manifest(root / "manifest.csv", ["air drumming", "zumba"], split="val")
    assert [(Path(record.path).is_file(), record.label) for record in records] == [(True, 0), (True, 1)]


def test_kinetics_untrimmed_videos_keep_their_seconds(root, tmp_path, run):
    place(root, "aaa.mp4")
    (tmp_path / "train.csv").write_text("label,youtube_id,time_start,time_end\nzumba,aaa,3.5,13.5\n")
    assert run("kinetics", root, tmp_path / "train.csv", "--untrimmed", "true")[0] == 0
    (row,) = cells(root / "manifest.csv")
    assert (row["split"], row["start_seconds"], row["end_seconds"]) == ("train", "3.5", "13.5")


def test_kinetics_json(root, tmp_path, run):
    def entry(subset, **annotations):
        return {"annotations": annotations, "duration": 10.0, "subset": subset, "url": "https://www.youtube.com/"}

    annotations = {
        "aaa": entry("training", label="zumba", segment=[1.0, 11.0]),
        "bbb": entry("validation", label="yoga", segment=[2.0, 12.0]),
        "ccc": entry("testing", segment=[3.0, 13.0]),
    }
    place(root, *(f"{name}_{index:06d}_{index + 10:06d}.mp4" for index, name in enumerate(annotations, 1)))
    folder = write(tmp_path / "lists", train__json=annotations)
    assert run("kinetics", root, folder)[::2] == (0, "")
    assert [row[1:] for row in rows(root / "manifest.csv")] == [("zumba", "train"), ("yoga", "val"), ("", "test")]


def test_kinetics_json_faults(tmp_path):
    good = {"annotations": {"label": "zumba", "segment": [1, 11]}, "subset": "training"}
    text = json.dumps(
        {"aaa": good, "bbb": {"subset": "training"}, "ccc": 3, "../d": good, "eee": {**good, "subset": 1}}
    )
    file = tmp_path / "train.json"
    file.write_text(text[:-1] + ', "aaa": ' + json.dumps(good) + "}")
    listing = read_kinetics([file])
    assert [video.stems[1] for video in listing.videos] == ["aaa"]
    assert [problem.partition("entry ")[2][:6] for problem in listing.problems] == [
        *("'aaa':", "'bbb':", "'ccc':", "'eee':", "'../d'")
    ]


BAD_ROWS = {
    "zumba,,1,11,train,0": "youtube_id is empty",
    ",aab,1,11,train,0": "label is empty",
    "zumba,aac,11,1,train,0": "time_end 1 is not after time_start 11",
    "zumba,aad,one,11,train,0": "time_start is 'one'; expected seconds",
    "zumba,aae,1,nan,train,0": "time_end is 'nan'",
    "zumba,good,1,11,train,0": "is listed twice, first in ",
    "zumba,aaf,1,11,train": "5 columns; expected 6",
    "zumba,aag,1,11,train,0,0": "7 columns; expected 6",
    '"zumba,aah,1,11,train,0': "not a CSV row",
    "zumba,../aai,1,11,train,0": "cannot be the name of a video",
    "zumba,/etc/passwd,1,11,train,0": "cannot be the name of a video",
    "zumba,a\x07j,1,11,train,0": "cannot be the name of a video",
    "zumba,.aak,1,11,train,0": "cannot be the name of a video",
    "zumba,aal,1,11,,0": "split is empty",
    "Zumba ,aam,1,11,train,0": "label 'Zumba' is not one of the 1 classes",
}


def test_kinetics_bad_rows_are_named_and_the_rest_resumes(root, tmp_path, run):
    place(root, "good_000001_000011.mp4", "last_000001_000011.mp4", "aai_000001_000011.mp4")
    file, classes = tmp_path / "list.csv", tmp_path / "all.txt"
    lines = ["zumba,good,1,11,train,0", *BAD_ROWS, "", "zumba,last,1,11,train,0"]
    file.write_text(KINETICS + "\n".join(lines), newline="")
    classes.write_text("zumba\n")
    status, _, errors = run("kinetics", root, file, "--class_file", classes)
    assert status == 1
    assert f"{len(BAD_ROWS)} rows cannot be used" in errors
    for number, (row, problem) in enumerate(BAD_ROWS.items(), 3):
        (line,) = [line for line in errors.splitlines() if f"{file}, line {number}: " in line]
        assert problem in line, row
    assert [path for path, *_ in rows(root / "manifest.csv")] == ["good_000001_000011.mp4", "last_000001_000011.mp4"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the first line is empty"),
        ("label,id\n", "the header lacks youtube_id, time_start, time_end"),
        ("label,youtube_id,time_start,time_end\nzumba,a,1,2\n", "no column 'split'"),
        (KINETICS, "no rows"),
        (KINETICS + "zumba,,1,11,train,0\n", "line 2: youtube_id is empty"),
        ("\xff", "not UTF-8"),
    ],
)
def test_kinetics_files_that_cannot_be(root, tmp_path, run, text, problem):
    (tmp_path / "list.csv").write_bytes(text.encode("latin-1"))
    status, output, errors = run("kinetics", root, tmp_path / "list.csv")
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert problem in errors
    assert not list(root.iterdir())


def test_kinetics_annotation_files_of_a_folder(tmp_path):
    write(tmp_path, train__txt="", validate__csv="", val__json="", test__csv="", kinetics600_holdout_test__csv="")
    assert [file.name for file in annotation_files(tmp_path)] == ["train.txt", "validate.csv", "test.csv"]
    with pytest.raises(AnnotationError, match="no annotation files"):
        annotation_files(tmp_path / "none")


# ---------------------------------------------------------------- which file is whose


def test_a_file_in_another_classs_folder_is_not_the_video(root, tmp_path, run):
    """`ID.mp4` of two classes: each takes the one in its own folder, written with spaces or underscores."""
    place(root, "air_drumming/aaa.mp4", "Playing Harp/aaa.mp4", "zumba/bbb.mp4")
    lines = ["air drumming,aaa,1,11", "playing harp,aaa,20,30", "air drumming,bbb,1,11", "zumba,ccc,1,11"]
    (tmp_path / "train.csv").write_text("\n".join(["label,youtube_id,time_start,time_end", *lines]))
    assert run("kinetics", root, tmp_path / "train.csv")[0] == 1
    assert [row[:2] for row in rows(root / "manifest.csv")] == [
        ("air_drumming/aaa.mp4", "air drumming"),
        ("Playing Harp/aaa.mp4", "playing harp"),
    ]
    assert [row["row"] for row in cells(root / "missing.csv")] == ["line 4", "line 5"]


def test_a_replacement_comes_first(root, tmp_path, run):
    place(root, "train/aaa_000001_000011.mp4", "replacement/replacement_for_corrupted_k400/aaa_000001_000011.mp4")
    (tmp_path / "train.csv").write_text("label,youtube_id,time_start,time_end\nzumba,aaa,1,11\n")
    assert run("kinetics", root, tmp_path / "train.csv")[0] == 0
    assert rows(root / "manifest.csv")[0][0].startswith("replacement/")


def test_two_files_that_fit_equally_well_are_refused_unless_they_are_one(root, tmp_path, run):
    place(root, "aaa.mp4", "aaa.webm", "bbb.mp4")
    (root / "bbb.mkv").symlink_to("bbb.mp4")
    (tmp_path / "train.csv").write_text("label,youtube_id,time_start,time_end\nzumba,aaa,1,11\nzumba,bbb,1,11\n")
    status, _, errors = run("kinetics", root, tmp_path / "train.csv", "--allow_missing", "true")
    assert status == 1
    assert f"line 2: {str(root / 'aaa.mp4')!r} and {str(root / 'aaa.webm')!r} could both be its video" in errors
    assert len(rows(root / "manifest.csv")) == 1


def test_one_file_for_two_rows_is_refused(root, tmp_path, run):
    place(root, "aaa.mp4")
    (tmp_path / "train.csv").write_text("label,youtube_id,time_start,time_end\nzumba,aaa,1,11\nzumba,aaa,21,31\n")
    status, _, errors = run("kinetics", root, tmp_path / "train.csv")
    assert status == 1
    assert f"line 3: its video {str(root / 'aaa.mp4')!r} is also that of {tmp_path / 'train.csv'}, line 2" in errors


# ---------------------------------------------------------------- what is missing


def kinetics_of(tmp_path: Path, **ids: str) -> Path:
    """A list of training videos: class name -> IDs, a letter each."""
    lines = [f"{label},{name},0,10" for label, names in ids.items() for name in names]
    (tmp_path / "train.csv").write_text("\n".join(["label,youtube_id,time_start,time_end", *lines]))
    return tmp_path / "train.csv"


def test_missing_and_unreadable_videos_are_counted_by_class_the_worst_first(root, tmp_path, run):
    file = kinetics_of(tmp_path, yoga="abcd", zumba="efgh", archery="ij")
    place(root, *(f"{name}.mp4" for name in "abcehij"))
    (root / "f.mp4").touch()
    (root / "loop.mp4").symlink_to("loop.mp4")
    (root / "g.mp4").symlink_to("loop.mp4")
    status, output, errors = run("kinetics", root, file)
    assert status == 1
    table = [line.strip("│ ").split("│") for line in output.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in line] for line in table] == [
        ["zumba", "4", "2", "0", "2"],
        ["yoga", "4", "3", "1", "0"],
        ["1 more classes", "2", "2", "0", "0"],
        ["all", "10", "7", "1", "2"],
    ]
    assert f"{root / 'manifest.csv'}: 7 rows (7 train), 3 classes" in output
    assert f"1 videos are missing and 2 unreadable, and left out; all of them are in {root / 'missing.csv'}" in errors
    assert sorted(row[0] for row in rows(root / "manifest.csv")) == [f"{name}.mp4" for name in "abcehij"]
    assert [
        (row["row"], Path(row["path"]).name, row["label"], row["problem"]) for row in cells(root / "missing.csv")
    ] == [
        ("line 5", "d_000000_000010", "yoga", "missing"),
        ("line 7", "f.mp4", "zumba", "the file is empty"),
        ("line 8", "g.mp4", "zumba", "Too many levels of symbolic links"),
    ]
    assert {row["file"] for row in cells(root / "missing.csv")} == {str(file)}


def test_missing_videos_can_be_allowed(root, tmp_path, run):
    place(root, "a.mp4")
    status, _, errors = run("kinetics", root, kinetics_of(tmp_path, yoga="ab"), "--allow_missing", "true")
    assert status == 0
    assert "1 videos are missing" in errors
    place(root, "b.mp4")  # missing.csv must not continue saying what is no longer so
    assert run("kinetics", root, kinetics_of(tmp_path, yoga="ab"))[0] == 0
    assert cells(root / "missing.csv") == []


def test_no_video_at_all_writes_nothing(root, tmp_path, run):
    status, output, errors = run("kinetics", root, kinetics_of(tmp_path, yoga="ab"))
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert f"{root}: none of the 2 listed videos was found; expected for example a_000000_000010.mp4 or a.mp4" in errors
    assert not list(root.iterdir())


def test_probing_finds_what_is_no_video(root, tmp_path, run, closed_gop_mp4):
    (root / "a.mp4").write_bytes(closed_gop_mp4.path.read_bytes())
    place(root, "b.mp4")
    file = kinetics_of(tmp_path, yoga="ab")
    assert run("kinetics", root, file)[0] == 0
    status, _, errors = run("kinetics", root, file, "--probe", "true")
    assert status == 1
    assert "expected a video" in errors
    assert [row[0] for row in rows(root / "manifest.csv")] == ["a.mp4"]


def test_the_table_shows_at_most_thirty_classes(root, tmp_path, run):
    names = {f"class{index:02d}": f"{chr(97 + index // 10)}{index}" for index in range(40)}
    lines = [f"{label},{name},0,10" for label, name in names.items()]
    (tmp_path / "train.csv").write_text("\n".join(["label,youtube_id,time_start,time_end", *lines]))
    place(root, "a0.mp4")
    _, output, _ = run("kinetics", root, tmp_path / "train.csv")
    assert output.count("│ class") == 30
    assert "10 more classes" in output


def test_a_class_name_with_the_separator_is_refused(root, tmp_path, run):
    place(root, "a.mp4")
    (tmp_path / "train.csv").write_text("label,youtube_id,time_start,time_end\nyoga|zumba,a,0,10\n")
    status, _, errors = run("kinetics", root, tmp_path / "train.csv")
    assert status == 2
    assert "class name 'yoga|zumba' has a '|'" in errors


# ---------------------------------------------------------------- UCF101


def test_ucf101(root, tmp_path, run):
    folder = write(
        tmp_path / "lists",
        classInd__txt="1 Walk\r\n2 Apply\r\n",
        trainlist02__txt="Walk/v_Walk_g01_c01.avi 1\r\nApply/v_ApplY_g01_c01.avi 2\r\n",
        testlist02__txt="Walk/v_Walk_g02_c01.avi\r\n",
    )
    place(root, "Walk/v_Walk_g01_c01.avi", "Apply/v_Apply_g01_c01.avi", "Walk/v_Walk_g02_c01.mp4")
    assert run("ucf101", root, folder, "--fold", 2)[::2] == (0, "")
    assert read_classes(root / CLASS_FILE) == ["Walk", "Apply"]
    assert rows(root / "manifest.csv") == [
        ("Walk/v_Walk_g01_c01.avi", "Walk", "train"),
        ("Apply/v_Apply_g01_c01.avi", "Apply", "train"),  # capitals do not count
        ("Walk/v_Walk_g02_c01.mp4", "Walk", "test"),
    ]
    status, _, errors = run("ucf101", root, folder)
    assert status == 2
    assert "no file trainlist01.txt" in errors


def test_ucf101_faults(tmp_path):
    folder = write(
        tmp_path,
        classInd__txt="1 Walk\n2 Apply\n",
        trainlist01__txt="Walk/a.avi 2\nRun/b.avi 1\nWalk/c.avi\nWalk/../../d.avi 1\ne.avi 1\n" + "Walk/f.avi 1\n" * 2,
        testlist01__txt="Walk/f.avi\nWalk/g.avi\nWalk/h.avi 1\n",
    )
    listing = read_ucf101(folder, fold=1)
    assert [video.stems for video in listing.videos] == [("f",), ("g",)]
    named = [problem.removeprefix(str(folder) + "/") for problem in listing.problems]
    assert [problem.partition(": ")[0] for problem in named] == [
        *(f"trainlist01.txt, line {number}" for number in (1, 2, 3, 4, 5, 7)),
        *("testlist01.txt, line 1", "testlist01.txt, line 3"),
    ]
    assert "class 'Walk' is 1 in classInd.txt, not 2" in named[0]
    assert "listed twice" in named[6]  # in train and in test


@pytest.mark.parametrize("text", ["", "1 Walk\n3 Run\n", "1 Walk\n2 Walk\n", "Walk\n"])
def test_ucf101_class_files_that_cannot_be(tmp_path, text):
    with pytest.raises(AnnotationError):
        read_ucf101(write(tmp_path, classInd__txt=text, trainlist01__txt="Walk/a.avi 1", testlist01__txt=""), fold=1)


# ---------------------------------------------------------------- HMDB51


def test_hmdb51(root, tmp_path, run):
    folder = write(
        tmp_path / "lists",
        wave_test_split1__txt="#7_a(1)!.avi 1 \nb.avi 0 \nc d.avi 2 \n",
        brush_hair_test_split1__txt="e.avi 1 \nf.avi 3 \ng.avi\n",
        wave_test_split2__txt="b.avi 1\n",
    )
    place(root, "wave/#7_a(1)!.avi", "wave/b.avi", "wave/c d.avi", "brush_hair/e.avi")
    status, _, errors = run("hmdb51", root, folder)
    assert status == 1
    assert "2 rows cannot be used" in errors
    assert "'f.avi 3'; expected 'video.avi 0', 1 or 2" in errors
    assert read_classes(root / CLASS_FILE) == ["brush_hair", "wave"]
    assert rows(root / "manifest.csv") == [
        ("brush_hair/e.avi", "brush_hair", "train"),
        ("wave/#7_a(1)!.avi", "wave", "train"),
        ("wave/c d.avi", "wave", "test"),
    ]
    with pytest.raises(AnnotationError, match=r"no file CLASS_test_split3\.txt"):
        read_hmdb51(folder, fold=3)


# ---------------------------------------------------------------- Something-Something, Jester, Diving48


@pytest.mark.parametrize("prefix", ["something-something-v2-", ""])
def test_something_something(root, tmp_path, run, prefix):
    files = {
        "labels__json": {"Pushing something": "1", "Moving something up": "0"},
        "train__json": [
            {"id": "7", "label": "pushing a cup", "template": "Pushing [something]", "placeholders": ["a cup"]},
            {"id": "8", "template": "Eating [something]"},
            {"id": 9, "template": "Pushing [something]"},
            {"template": "Pushing [something]"},
            {"id": "10"},
            "text",
        ],
        "validation__json": [{"id": "11", "template": "Moving [something] up"}],
        "test__json": [{"id": "12"}],
    }
    folder = write(tmp_path / "lists", **{prefix + name: value for name, value in files.items()})
    place(root, *(f"{number}.webm" for number in range(7, 13)))
    status, _, errors = run("something_something", root, folder)
    assert status == 1
    assert errors.count(", entry ") == 5
    assert "entry 2: label 'Eating something' is not one of the 2 classes" in errors
    assert read_classes(root / CLASS_FILE) == ["Moving something up", "Pushing something"]
    assert rows(root / "manifest.csv") == [
        ("7.webm", "Pushing something", "train"),
        ("11.webm", "Moving something up", "val"),
        ("12.webm", "", "test"),
    ]


@pytest.mark.parametrize("labels", [{}, [], {"A": "1"}, {"A": "0", "B": "0"}, {"A": "x"}, {"A": None}])
def test_something_something_labels_that_cannot_be(tmp_path, labels):
    with pytest.raises(AnnotationError):
        read_something_something(write(tmp_path, labels__json=labels, train__json=[]))


JESTER = {
    "jester-v1-labels__csv": "Swiping Left\nNo gesture\n",
    "jester-v1-train__csv": "1;No gesture\n2;Waving\n3\n4;No gesture;5\n;No gesture\n7;\n",
    "jester-v1-validation__csv": "5;Swiping Left\n",
    "jester-v1-test__csv": "6\n",
}


def test_jester(root, tmp_path, run):
    place(root, *(f"{number}.mp4" for number in range(1, 7)))
    status, _, errors = run("jester", root, write(tmp_path / "lists", **JESTER))
    assert status == 1
    assert [line.partition("train.csv, ")[2][:6] for line in errors.splitlines()[1:]] == [
        *(f"line {number}" for number in range(2, 7))
    ]
    assert read_classes(root / CLASS_FILE) == ["Swiping Left", "No gesture"]
    assert rows(root / "manifest.csv") == [
        ("1.mp4", "No gesture", "train"),
        ("5.mp4", "Swiping Left", "val"),
        ("6.mp4", "", "test"),
    ]


def test_folders_of_frames_are_refused_in_one_line(root, tmp_path, run):
    place(root, *(f"{number}/{frame:05d}.jpg" for number in range(1, 7) for frame in range(1, 3)))
    folder = write(tmp_path / "lists", **JESTER)
    status, output, errors = run("jester", root, folder)
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert f"{root}/1/: a folder, as of extracted frames; expected a video file" in errors
    assert "--frames_fps FPS" in errors
    place(root, "5.mp4")
    assert run("jester", root, folder)[0] == 1
    assert {row["problem"] for row in cells(root / "missing.csv")} == {"a folder, as of frames"}


def test_diving48(root, tmp_path, run):
    def entry(name, label, start=0, end=100):
        return {"vid_name": name, "label": label, "start_frame": start, "end_frame": end}

    bad = [entry("b", 2), entry("c", -1), entry("d", "0"), entry("e", 0, 9, 3), entry("", 0), entry("f", True), 7]
    folder = write(
        tmp_path / "lists",
        Diving48_vocab__json=[["Back", "15som", "05Twis", "FREE"], ["Forward", "15som", "NoTwis", "PIKE"]],
        Diving48_V2_train__json=[entry("_8Vy3dlHg2w_00000", 1), *bad],
        Diving48_V2_test__json=[entry("a", 0)],
    )
    place(root, "_8Vy3dlHg2w_00000.mp4", *(f"{name}.mp4" for name in "abcdef"))
    status, _, errors = run("diving48", root, folder)
    assert status == 1
    assert errors.count("Diving48_V2_train.json, entry ") == len(bad)
    assert "entry 5: frames 9 to 3 of 'e'" in errors
    assert read_classes(root / CLASS_FILE) == ["Back+15som+05Twis+FREE", "Forward+15som+NoTwis+PIKE"]
    assert rows(root / "manifest.csv") == [
        ("_8Vy3dlHg2w_00000.mp4", "Forward+15som+NoTwis+PIKE", "train"),
        ("a.mp4", "Back+15som+05Twis+FREE", "test"),
    ]


# ---------------------------------------------------------------- Charades

CHARADES = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"


def charades_row(name: str, actions: str, script: str = "A person, in a room") -> str:
    return f'{name},HR43,Kitchen,6,7,Yes,"{script}",cup;table,"Someone sits.;Someone eats.",{actions},30.58\n'


def test_charades(root, tmp_path, run):
    folder = write(
        tmp_path / "lists",
        Charades_v1_classes__txt="c000 Holding some clothes\nc001 Holding a cup/glass\nc002 Sitting\n",
        Charades_v1_train__csv=CHARADES
        + charades_row("46GP8", "c002 24.80 30.40;c001 0.00 12.60;c002 1.00 2.00")
        + charades_row("N11GT", "", script="Two\nlines")
        + charades_row("AAAAA", "c003 1 2")
        + charades_row("BBBBB", "c000 9.0 3.0")
        + charades_row("CCCCC", "c000 9.0")
        + charades_row("", "c000 1 2")
        + "DDDDD,short\n",
        Charades_v1_test__csv=CHARADES + charades_row("EEEEE", "c000 0.00 5.00"),
    )
    place(root, *(f"{name}.mp4" for name in ("46GP8", "N11GT", "AAAAA", "BBBBB", "CCCCC", "DDDDD", "EEEEE")))
    status, output, errors = run("charades", root, folder)
    assert status == 1
    for line, problem in {
        5: "action 'c003 1 2': 'c003' is not one of the 3 classes",
        6: "action 'c000 9.0 3.0' ends before it starts",
        7: "action 'c000 9.0'; expected 'c092 11.90 21.20'",
        8: "id is empty",
        9: "2 columns; expected 11",
    }.items():
        assert f"Charades_v1_train.csv, line {line}: {problem}" in errors
    assert read_classes(root / CLASS_FILE) == ["Holding some clothes", "Holding a cup/glass", "Sitting"]
    assert rows(root / "manifest.csv") == [
        ("46GP8.mp4", "Holding a cup/glass|Sitting", "train"),
        ("N11GT.mp4", "", "train"),
        ("EEEEE.mp4", "Holding some clothes", "test"),
    ]
    counts = {line.strip("│ ").split("│")[0].strip(): line for line in output.splitlines() if line.startswith("│")}
    assert counts["all"].split("│")[2].strip() == "3"  # videos, not labels


# ---------------------------------------------------------------- the official files


def label_map(name: str) -> list[str]:
    return (OFFICIAL / f"labels/{name}_label_map.txt").read_text().splitlines()


def splits(listing) -> dict[str, int]:
    assert listing.problems == []
    return Counter(video.split for video in listing.videos)


def num_lines(file: Path) -> int:
    """As `grep -c .` counts."""
    return sum(1 for line in file.read_bytes().split(b"\n") if line.strip())


@needs(OFFICIAL / "kinetics400")
@pytest.mark.parametrize(("name", "count"), [("val_official.csv", 19906), ("validate_crawl.csv", 18009)])
def test_official_kinetics400(name, count):
    listing = read_kinetics([OFFICIAL / "kinetics400" / name])
    assert splits(listing) == {"val": count} == {"val": num_lines(OFFICIAL / "kinetics400" / name) - 1}
    assert listing.class_names == (OFFICIAL / "labels/kinetics_label_map_k400.txt").read_text().splitlines()


@needs(OFFICIAL / "labels")
@pytest.mark.parametrize(("release", "count"), [("k400", 400), ("k600", 600), ("k700", 700)])
def test_official_kinetics_classes_are_in_order_of_name(tmp_path, release, count):
    names = (OFFICIAL / f"labels/kinetics_label_map_{release}.txt").read_text().splitlines()
    lines = [f'"{name}",{index},0,10' for index, name in reversed(list(enumerate(names)))]
    (tmp_path / "train.csv").write_text("\n".join(["label,youtube_id,time_start,time_end", *lines]))
    assert read_kinetics([tmp_path / "train.csv"]).class_names == names
    assert len(names) == count


@needs(OFFICIAL / "ucf101")
@pytest.mark.parametrize(("fold", "train", "test"), [(1, 9537, 3783), (2, 9586, 3734), (3, 9624, 3696)])
def test_official_ucf101(fold, train, test):
    listing = read_ucf101(OFFICIAL / "ucf101", fold=fold)
    assert splits(listing) == {"train": train, "test": test}
    assert train == num_lines(OFFICIAL / f"ucf101/trainlist0{fold}.txt")
    assert test == num_lines(OFFICIAL / f"ucf101/testlist0{fold}.txt")
    assert listing.class_names == label_map("ucf101")


@needs(OFFICIAL / "hmdb51")
@pytest.mark.parametrize("fold", [1, 2, 3])
def test_official_hmdb51(fold):
    listing = read_hmdb51(OFFICIAL / "hmdb51", fold=fold)
    assert splits(listing) == {"train": 3570, "test": 1530}
    assert listing.class_names == label_map("hmdb51")
    assert set(Counter((video.labels, video.split) for video in listing.videos).values()) == {70, 30}


@needs(OFFICIAL / "something-something-v2")
def test_official_something_something():
    listing = read_something_something(OFFICIAL / "something-something-v2")
    file = OFFICIAL / "something-something-v2/something-something-v2-validation.json"
    assert splits(listing) == {"val": 24777} == {"val": file.read_text().count('"template":')}
    assert listing.class_names == label_map("sthv2")


@needs(OFFICIAL / "labels")
def test_official_class_names_of_jester_and_diving48(tmp_path):
    jester, diving = label_map("jester"), label_map("diving48")
    write(tmp_path, labels__csv="\n".join(jester), train__csv=f"1;{jester[0]}")
    assert read_jester(tmp_path).class_names == jester
    entries = [{"vid_name": "a", "label": 0, "start_frame": 0, "end_frame": 1}]
    vocabulary = [name.split("+") for name in diving]
    write(tmp_path, Diving48_vocab__json=vocabulary, Diving48_V2_train__json=entries, Diving48_V2_test__json=[])
    assert read_diving48(tmp_path).class_names == diving


@needs(SAMPLE)
def test_the_kinetics_sample(tmp_path, run):
    output = tmp_path / "manifest.csv"
    status, _, errors = run("kinetics", SAMPLE, SAMPLE / "annotations.csv", "--output", output, "--probe", "true")
    assert status == 0, errors
    records = read_manifest(output, ["arm wrestling", "bungee jumping"], split="val")
    assert [record.label for record in records] == [0] * 4 + [1] * 4
    assert {Path(record.path) for record in records} == set(SAMPLE.glob("*/*.mp4"))


@needs(SAMPLE)
@needs(OFFICIAL / "kinetics400")
def test_the_kinetics_sample_in_the_official_list(tmp_path, run):
    output = tmp_path / "manifest.csv"
    status, printed, _ = run("kinetics", SAMPLE, OFFICIAL / "kinetics400/val_official.csv", "--output", output)
    assert status == 1
    assert "8 rows (8 val), 400 classes" in printed
    assert len(cells(tmp_path / "missing.csv")) == 19906 - 8
    assert len(read_classes(tmp_path / CLASS_FILE)) == 400


def test_a_root_that_is_no_folder(tmp_path, run):
    status, _, errors = run("charades", tmp_path / "none", tmp_path)
    assert status == 2
    assert "no such folder" in errors


def test_a_folder_without_the_official_files(root, tmp_path, run):
    for command in ("ucf101", "hmdb51", "something_something", "jester", "diving48", "charades"):
        status, _, errors = run(command, root, tmp_path)
        assert (status, errors.count("\n")) == (2, 1), command
        assert f"{tmp_path}: no file " in errors, command
    with pytest.raises(AnnotationError, match="no rows"):
        read_charades(write(tmp_path, Charades_v1_classes__txt="c000 Sitting"))


def test_videos_may_lie_behind_a_link_that_leads_back(root, tmp_path, run):
    place(tmp_path, "elsewhere/a.mp4")
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(root)
    assert run("kinetics", root, kinetics_of(tmp_path, yoga="a"))[0] == 0
    assert os.path.isfile(root / rows(root / "manifest.csv")[0][0])
