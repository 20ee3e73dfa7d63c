"""Sets of folders of images: each command finds them, and training reads their manifests with the frame rate."""

import csv
import json
from pathlib import Path

import pytest

from data_prep.write_annotations.__main__ import main
from data_prep.write_annotations.layouts.class_names_file import read_class_names
from data_prep.write_annotations.layouts.list_lines import read_list_file
from tests.each_case import each_case
from videoctx.data.annotations import CLASS_FILE, AnnotationError, read_classes, read_manifest


@pytest.fixture
def run(capsys):
    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


def place(root: Path, name: str, num_images: int = 3, image: str = "img_{:05}.jpg") -> None:
    (root / name).mkdir(parents=True)
    for number in range(1, num_images + 1):
        (root / name / image.format(number)).write_bytes(b"J")


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def rows(manifest: Path, *columns: str) -> list[tuple[str, ...]]:
    with manifest.open(newline="") as file:
        return [tuple(row[column] for column in ("path", "label", *columns)) for row in csv.DictReader(file)]


@pytest.fixture
def root(tmp_path):
    """Folders of images of two classes, one of them with optical flow, an archive of images and a video."""
    folder = tmp_path / "set"
    for name in ("run/v_1.5", "run/v_1.6", "jump/a", "jump/b"):
        place(folder, name)
    for axis in "xy":
        (folder / f"run/v_1.5/flow_{axis}_00001.jpg").write_bytes(b"J")
    written(folder / "jump/c.zip", "Z")
    written(folder / "run/d.mp4", "V")
    return folder


FOUND = [("jump/a", "jump", "12.5"), ("jump/b", "jump", "12.5"), ("jump/c.zip", "jump", "12.5")]
FOUND += [("run/d.mp4", "run", ""), ("run/v_1.5", "run", "12.5"), ("run/v_1.6", "run", "12.5")]


def test_own_folders(root, run):
    assert run("folders", root, "--frames_fps=12.5")[0] == 0
    assert sorted(rows(root / "manifest.csv", "fps")) == FOUND
    assert sorted(group for *_, group in rows(root / "manifest.csv", "group")) == ["a", "b", "c", "d", "v_1.5", "v_1.6"]
    record = read_manifest(root / "manifest.csv", ["jump", "run"], split="test")[0]
    assert record.fps == (None if record.path.endswith("mp4") else 12.5)
    assert run("pattern", root, "(?P<label>[a-z]+)/", "--frames_fps=12.5")[0] == 0
    assert sorted(rows(root / "manifest.csv", "fps")) == FOUND
    table = "path,label\n" + "".join(f"{path},{label}\n" for path, label, _ in FOUND) + "jump,jump\n"
    status, _, errors = run("csv", root, written(root / "labels.csv", table), "--frames_fps=12.5")
    assert sorted(rows(root / "manifest.csv", "fps")) == FOUND
    assert (status, "no file" in errors) == (1, True)  # jump has no images itself


def test_images_beside_videos_are_no_frames(root, run):
    written(root / "run" / "poster1.jpg", "J")
    assert run("folders", root, "--frames_fps=12.5")[0] == 0
    assert sorted(rows(root / "manifest.csv", "fps")) == FOUND


def test_without_the_option_the_message_names_it(root, run):
    (root / "run/d.mp4").unlink()
    assert "--frames_fps FPS reads folders of images" in run("folders", root)[2]
    lines = "path,label\njump/a,jump\n"
    assert "folder of images, which --frames_fps FPS reads" in run("csv", root, written(root / "l.csv", lines))[2]
    assert "or --frames_fps FPS" in run("lists", root, written(root / "train.txt", "jump/a 3 0\n"))[2]
    for fps in ("0", "-1"):
        for command in (["folders", root], ["lists", root, root / "train.txt"]):
            assert f"--frames_fps is {fps}; expected more than 0" in run(*command, f"--frames_fps={fps}")[2]


def test_a_csv_file_that_names_images(root, run):
    """Without their frame rate the manifest could not be read; with it, all digits are kept."""
    table = written(root / "labels.csv", f"path,label\njump/c.zip,jump\n{root}/jump/c.zip,jump\nrun/d.mp4,run\n")
    status, _, errors = run("csv", root, table, "--test_fraction=0")
    assert status == 1
    assert "c.zip' is an archive of images, which --frames_fps FPS reads" in errors
    assert rows(root / "manifest.csv") == [("run/d.mp4", "run")]
    assert run("csv", root, table, "--test_fraction=0", f"--frames_fps={30000 / 1001}")[0] == 0
    rate = repr(30000 / 1001)
    assert rows(root / "manifest.csv", "fps", "group") == [
        *[("jump/c.zip", "jump", rate, "jump/c")] * 2,
        ("run/d.mp4", "run", "", "run/d"),
    ]


def test_folders_of_one_recording(tmp_path, run):
    for name in ("run/p1/left", "run/p1/right", "run/p2/left", "jump/p1/left", "jump/p3/left"):
        place(tmp_path, name, image="{}.png")
    assert run("folders", tmp_path, "--frames_fps=25")[0] == 0
    assert {group for *_, group in rows(tmp_path / "manifest.csv", "group")} == {"p1", "p2", "p3"}


TWENTY_BN = {"labels.csv": "Push\nPull\n", "train.csv": "1;Pull\n2;Push\n", "validation.csv": "3;Push\n"}


@each_case(("command", "prefix"), [("jester", "jester-v1-"), ("something_something", "something-something-v1-")])
def test_jester_and_something_something_v1(tmp_path_factory, run, command, prefix):
    folder = tmp_path_factory.mktemp(command)
    for number in (1, 2, 3):
        place(folder / "20bn", str(number), image="{:05}.jpg")
    for name, content in TWENTY_BN.items():
        written(folder / "lists" / f"{prefix}{name}", content)
    assert run(command, folder / "20bn", folder / "lists", "--frames_fps=12")[::2] == (0, "")
    manifest = folder / "20bn" / "manifest.csv"
    assert rows(manifest, "split", "fps") == [
        *[("1", "Pull", "train", "12"), ("2", "Push", "train", "12"), ("3", "Push", "val", "12")]
    ]
    assert read_classes(manifest.with_name(CLASS_FILE)) == ["Push", "Pull"]


def test_lists_with_numbers_of_frames(root, tmp_path, run):
    lines = "data/run/v_1.5 3 1\ndata/jump/a 2 0\ndata/jump/b 4 0\ndata/run/v_1.6 3 1\n"
    classes = written(tmp_path / "classes.json", json.dumps({"run": 1, "jump": 0}))
    command = ("lists", root, written(tmp_path / "train.txt", lines), "--frames_fps=10", "--class_file", classes)
    status, _, errors = run(*command)
    assert rows(root / "manifest.csv", "fps", "start_seconds", "end_seconds") == [
        ("run/v_1.5", "run", "10", "", ""),
        ("jump/a", "jump", "10", "", "0.2"),
        ("run/v_1.6", "run", "10", "", ""),
    ]
    assert status == 1
    assert "line 3: " in errors
    assert "has 3 images, but the list needs 4" in errors


def test_lists_with_offsets_name_several_segments_of_a_folder(root, tmp_path, run):
    lines = "run/v_1.5 0 2 1\nrun/v_1.5 2 1 0\njump/a 1 2 0\nrun/d.mp4 1 2 0\n"
    status, _, errors = run(
        "lists", root, written(tmp_path / "train.txt", lines), "--frames_fps=10", "--columns=path,offset,frames,labels"
    )
    assert rows(root / "manifest.csv", "start_seconds", "end_seconds") == [
        ("run/v_1.5", "1", "", "0.2"),
        ("run/v_1.5", "0", "0.2", ""),
        ("jump/a", "0", "0.1", ""),
    ]
    assert (status, "starts at frame 1, which only images have" in errors) == (1, True)
    assert len(read_manifest(root / "manifest.csv", ["0", "1"], split="train")) == 3


@each_case(
    ("text", "columns"),
    [
        ("a 0 30 5\nb 12 30 7\n", "path,offset,frames,labels"),
        ("a 12 30 5\nb 12 40 7\n", "path,offset,frames,labels"),  # there are ten classes
        ("a 12 3 5\nb 12 4 7\n", "path,frames,labels"),
        ("a 12 3 5 6\nb 12 4 7 8\n", "path,frames,labels"),
    ],
)
def test_offsets_are_seen_from_the_lines(tmp_path_factory, text, columns):
    file = written(tmp_path_factory.mktemp("lists") / "train.txt", text)
    assert read_list_file(file, num_classes=10).columns == columns


@each_case(
    "content",
    [
        ["walk", "run"],
        {"walk": 0, "run": 1},
        {"run": "1", "walk": "0"},
        {"1": "run", "0": "walk"},
        {'"walk"': 0, "run": 1},
    ],
)
def test_class_names_of_json(tmp_path_factory, content):
    file = written(tmp_path_factory.mktemp("classes") / "classes.json", json.dumps(content))
    assert read_class_names(file) == ["walk", "run"]


@each_case(
    "text",
    ["[]", "{}", "3", '["run", 1]', '{"walk": 1, "run": 2}', '{"a": 0, "a": 1}', '{"a": true}', '["a", ""]', "{"],
)
def test_json_that_has_no_class_names_is_refused(tmp_path_factory, text):
    file = written(tmp_path_factory.mktemp("classes") / "classes.json", text)
    with pytest.raises(AnnotationError, match=r"classes\.json: "):
        read_class_names(file)


def test_public_sets_as_raw_frames(tmp_path, run):
    for name in ("v_Push_g01_c01", "v_Push_g02_c01"):
        place(tmp_path / "frames", f"Push/{name}")
    lists = {"classInd.txt": "1 Push\n", "trainlist01.txt": "Push/v_Push_g01_c01.avi 1\n"}
    for name, content in (lists | {"testlist01.txt": "Push/v_Push_g02_c01.avi\n"}).items():
        written(tmp_path / "lists" / name, content)
    assert run("ucf101", tmp_path / "frames", tmp_path / "lists", "--frames_fps=25")[0] == 0
    assert rows(tmp_path / "frames" / "manifest.csv", "split", "fps") == [
        ("Push/v_Push_g01_c01", "Push", "train", "25"),
        ("Push/v_Push_g02_c01", "Push", "test", "25"),
    ]
