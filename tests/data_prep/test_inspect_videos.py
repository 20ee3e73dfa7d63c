"""Inspecting a manifest: what is found, what it takes to find it again, and which videos are there twice."""

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import av
import numpy as np
import pytest
from filelock import FileLock

from data_prep.inspect_videos import duplicates, frame_hashes, near_duplicates
from data_prep.inspect_videos.__main__ import main
from data_prep.inspect_videos.duplicates import find_duplicates
from data_prep.inspect_videos.inspection import inspect_file
from data_prep.make_toy_dataset.__main__ import make_toy_dataset
from data_prep.manifests.csv_output import write_csv
from data_prep.manifests.inspection_columns import INSPECTION_COLUMNS
from tests.corpus import flip_bits
from tests.http_server import FileServer
from tests.numbered import write_video
from videoctx.data.annotations import read_manifest
from videoctx.data.decoding.video_reader import open_video
from videoctx.data.storage.local_files import LocalFiles

SHARED = Path(__file__).parents[2].parent / "shared"
NUM_FRAMES = 48
QUIET = {"x264-params": "threads=1:log-level=none"}


def scene(seed: int) -> np.ndarray:
    """(48, 96, 128) of 40 to 215: waves of a few lengths and headings, all of them moving."""
    rng = np.random.default_rng(seed)
    down, right, time_ = np.mgrid[:96, :128, :NUM_FRAMES] / [[[[96]]], [[[128]]], [[[NUM_FRAMES]]]]
    image = np.zeros(down.shape)
    for _ in range(8):
        down_waves, right_waves, steps = rng.uniform(-4, 4, 3)
        image += np.cos(2 * np.pi * (down_waves * down + right_waves * right + steps / 4 * time_ + rng.random()))
    return (128 + 87 * image / np.abs(image).max()).transpose(2, 0, 1)


def encode(path: Path, images: np.ndarray, *, codec="libx264", size=(128, 96), options=QUIET) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        for image in images.round().astype(np.uint8):
            frame = av.VideoFrame.from_ndarray(image, format="gray").reformat(*size, format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write(manifest: Path, rows, *, header="path,label,split,start_seconds,end_seconds") -> Path:
    with manifest.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    (manifest.parent / "classes.txt").write_text("clap\nwave\n")
    return manifest


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def inspect(path: Path) -> dict[str, str]:
    return inspect_file(str(path), files=LocalFiles())


def groups_of(paths, splits=None):
    """Groups of files by name; every file is one row of split `train`, or of those given."""
    rows = [
        inspect(path) | {"path": path.name, "label": "clap", "split": split}
        for path, split in zip(paths, splits or ["train"] * len(paths), strict=True)
    ]
    return find_duplicates(rows, list(range(2, len(rows) + 2)), [str(path) for path in paths])[0]


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> dict[str, Path]:
    """Four scenes, and one of them encoded in other ways."""
    folder = tmp_path_factory.mktemp("videos")
    images = scene(0)
    return {f"scene{seed}": encode(folder / f"scene{seed}.mp4", scene(seed)) for seed in range(4)} | {
        "another codec": encode(folder / "mpeg4.avi", images, codec="mpeg4", options={"b": "300k", "threads": "1"}),
        "smaller": encode(folder / "smaller.mp4", images, size=(64, 48)),
        "another shape": encode(folder / "square.mp4", images, size=(112, 112)),
        "few bits": encode(folder / "few_bits.mp4", images, options=QUIET | {"crf": "40"}),
        "brighter": encode(folder / "brighter.mp4", 50 + 0.8 * images),
        "trimmed": encode(folder / "trimmed.mp4", images[1:-1]),
        "every second frame": encode(folder / "every_second.mp4", images[::2]),
    }


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inspected(tmp_path_factory, videos, broken_files):
    """A manifest with whole and broken files, inspected by two processes; what the command printed."""
    folder = tmp_path_factory.mktemp("inspected")
    odd = ["-dash.mp4", "two words.mp4", "naïve 動画 'quoted' \"so\".mp4", "[red]marked[bold].mp4"]
    for name in odd:
        shutil.copy(videos["scene1"], folder / name)
    (folder / "loop.mp4").symlink_to("loop.mp4")
    shutil.copy(videos["another codec"], folder / "avi.mp4")
    names = [
        *odd,
        *("loop.mp4", "avi.mp4"),
        *map(str, broken_files.values()),
        str(flip_bits(videos["scene3"], folder / "flipped.mp4", seed=1, num_bits=40)),
    ]
    rows = [[name, "clap", "train", "", "", f"note {index}"] for index, name in enumerate(names)]
    rows += [[str(videos["scene2"]), "wave", split, start, "", ""] for split, start in [("val", "0"), ("val", "1")]]
    manifest = write(folder / "manifest.csv", rows, header="path,label,split,start_seconds,end_seconds,note")
    command = [sys.executable, "-m", "data_prep.inspect_videos", str(manifest), "--workers", "2"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=120)
    return manifest, names, run


def test_manifest_has_everything_that_training_needs(inspected, videos):
    manifest, names, run = inspected
    assert run.returncode == 1, run.stderr
    rows = rows_of(manifest)
    assert [row["path"] for row in rows] == [*names, str(videos["scene2"]), str(videos["scene2"])]
    assert [row["note"] for row in rows[: len(names)]] == [f"note {index}" for index in range(len(names))]
    record, _ = read_manifest(manifest, ["clap", "wave"], split="val")
    with open_video(record.path, probe_result=record.probe_result) as reader:
        assert reader.num_frames == record.probe_result.num_frames == NUM_FRAMES
    whole = rows[-1]
    assert (whole["codec"], whole["width"], whole["height"], whole["gop"]) == ("h264", "128", "96", "48")
    assert float(whole["duration_seconds"]) == pytest.approx(NUM_FRAMES / 25)
    assert float(whole["fps"]) == 25
    assert whole["content_hash"] == hashlib.sha256(videos["scene2"].read_bytes()).hexdigest()


def test_unusable_files_are_listed_with_their_row(inspected, broken_files):
    manifest, names, run = inspected
    problems = {row["path"]: row["problem"] for row in rows_of(manifest)}
    for name, path in broken_files.items():
        assert problems[str(path)], name
    for name, reason in {"missing": "No such file", "empty": "empty", "directory": "not a file"}.items():
        assert reason in problems[str(broken_files[name])]
    assert "symbolic links" in problems["loop.mp4"]
    assert "damaged" in problems[names[-1]]
    assert not any(problems[name] for name in names[:4])
    assert f"line {2 + names.index('loop.mp4')}: loop.mp4: Too many levels" in run.stderr
    records = read_manifest(manifest, ["clap", "wave"], split="train")
    assert [record.probe_result.problem for record in records] == [problems[name] or None for name in names]


def test_suffix_is_ignored(inspected):
    row = next(row for row in rows_of(inspected[0]) if row["path"] == "avi.mp4")
    assert (row["container"], row["codec"], row["problem"]) == ("avi", "mpeg4", "")


def test_file_names_are_shown_as_they_are(inspected):
    _, names, run = inspected
    assert all(name in run.stderr for name in names[:3])
    assert "same bytes" in run.stderr


def test_segments_in_one_split_are_no_duplicates(inspected, videos):
    found = rows_of(inspected[0].with_name("duplicates.csv"))
    assert str(videos["scene2"]) not in {row["path"] for row in found}
    assert not any(row["leak"] for row in found)


def test_second_run_inspects_changed_files(inspected, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(inspected[0].parent, folder, symlinks=True, copy_function=shutil.copy2)
    manifest = folder / "manifest.csv"
    rows = [row for row in rows_of(manifest) if not row["path"].startswith("/") and row["path"] != "loop.mp4"]
    write_csv(manifest, rows, list(rows[0]))
    manifest.chmod(0o640)
    before = manifest.read_bytes()
    assert main([str(manifest), "--workers=1"]) == 0
    assert " 0 of them inspected" in capsys.readouterr().out
    assert manifest.read_bytes() == before
    assert manifest.stat().st_mode & 0o777 == 0o640

    write_video(folder / "avi.mp4", num_frames=9)
    assert main([str(manifest), "--workers=1"]) == 0
    assert " 1 of them inspected" in capsys.readouterr().out
    assert [row["num_frames"] for row in rows_of(manifest)] == ["48"] * 4 + ["9"]


def test_one_process_and_an_output_in_another_folder(inspected, tmp_path):
    manifest, names, _ = inspected
    keep = [row for row in rows_of(manifest) if row["path"] in names[:6]]
    bare = write(
        manifest.with_name("bare.csv"),
        [[row[column] for column in ("path", "label", "split", "note")] for row in keep],
        header="path,label,split,note",
    )
    output = tmp_path / "other folder" / "out.csv"
    assert main([str(bare), f"--output={output}", "--workers=1"]) == 1
    for row, expected in zip(rows_of(output), keep, strict=True):
        assert {column: row[column] for column in INSPECTION_COLUMNS} == {
            column: expected[column] for column in INSPECTION_COLUMNS
        }
        assert row["path"] == str(manifest.parent / expected["path"])
    assert read_manifest(output, ["clap", "wave"], split="train")[0].probe_result.num_frames == NUM_FRAMES


def test_cluster_finds_the_same(inspected, tmp_path, videos):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    manifest = write(tmp_path / "manifest.csv", [[str(videos["scene2"]), "wave", "val", "", ""]])
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp"
    ) as cluster:
        assert main([str(manifest), f"--scheduler={cluster.scheduler_address}"]) == 0
    expected = rows_of(inspected[0])[-1]
    (row,) = rows_of(manifest)
    assert [row[column] for column in INSPECTION_COLUMNS] == [expected[column] for column in INSPECTION_COLUMNS]


def test_killed_run_is_resumed(tmp_path, videos, capsys):
    """The first run is killed when its journal has something; the next one does the rest only."""
    names = []
    for index in range(60):
        names.append(f"{index}.mp4")
        os.link(videos["scene0"], tmp_path / names[-1])
    manifest = write(tmp_path / "manifest.csv", [[name, "clap", "train", "", ""] for name in names])
    before, journal = manifest.read_bytes(), tmp_path / "manifest.csv.part"
    command = [sys.executable, "-m", "data_prep.inspect_videos", str(manifest), "--workers", "1"]
    root = Path(__file__).parents[2]
    run = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not journal.exists() or journal.read_bytes().count(b"}\n") < 5:
        assert run.poll() is None
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert manifest.read_bytes() == before
    done = journal.read_bytes().count(b"}\n")
    assert done < 60
    with journal.open("ab") as file:
        file.write(b'{"source": "cut sho')
    assert main([str(manifest), "--workers=1"]) == 0
    assert f" {60 - done} of them inspected" in capsys.readouterr().out
    assert not journal.exists()
    assert {row["num_frames"] for row in rows_of(manifest)} == {"48"}


def test_urls_and_members_of_tar_files(tmp_path, videos, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with tarfile.open("train-000000.tar", "w") as tar:
        tar.add(videos["scene1"], "1.mp4")
    with FileServer({"a.mp4": videos["scene0"].read_bytes()}) as server:
        rows = [["tar://1.mp4::train-000000.tar", "clap", "train"]]
        rows += [[server.url(name), "clap", "train"] for name in ("a.mp4", "missing.mp4")]
        write(Path("manifest.csv"), rows, header="path,label,split")
        assert main(["manifest.csv", "--workers=1", "--cache_dir=cache"]) == 1
        assert [bool(row["problem"]) for row in rows_of(Path("manifest.csv"))] == [False, False, True]
        assert [row["num_frames"] for row in rows_of(Path("manifest.csv"))] == ["48", "48", "0"]
        assert "404 Not Found" in capsys.readouterr().err
        assert main(["manifest.csv", "--workers=1", "--cache_dir=cache"]) == 1
        assert " 1 of them inspected" in capsys.readouterr().out  # what was missing may be there now


@pytest.mark.parametrize(
    ("content", "reason"),
    {
        "path,label,split\n": "no rows",
        "": "header lacks path",
        "path,label,split\na,b\n": "line 2: expected 3 columns",
        "path,label,split\n,b,train\n": "line 2: the path is empty",
        "path,label,split,label\na,b,train,c\n": "twice: 'label'",
        "path,label,split\n\xff,b,train\n": "not UTF-8",
    }.items(),
)
def test_unusable_manifest_is_refused(tmp_path, capsys, content, reason):
    manifest = tmp_path / "manifest.csv"
    manifest.write_bytes(content.encode("latin-1"))
    assert main([str(manifest)]) == 2
    assert reason in capsys.readouterr().err
    assert manifest.read_bytes() == content.encode("latin-1")


def test_errors_of_the_command(tmp_path, capsys, videos):
    manifest = write(tmp_path / "manifest.csv", [[str(videos["scene0"]), "clap", "train", "", ""]])
    assert main([str(tmp_path / "none.csv")]) == 2
    assert "no such file; expected a manifest" in capsys.readouterr().err
    assert main([str(manifest), f"--output={tmp_path / 'classes.txt' / 'out.csv'}"]) == 2
    assert "classes.txt" in capsys.readouterr().err
    assert main([str(manifest), "--workers=0"]) == 2
    assert "workers is 0; expected at least 1" in capsys.readouterr().err
    assert main([str(manifest), "--show=-1"]) == 2
    assert "--show is -1" in capsys.readouterr().err
    with FileLock(tmp_path / ".manifest.csv.lock"):
        assert main([str(manifest)]) == 2
    assert "another run is writing it" in capsys.readouterr().err
    assert set(rows_of(manifest)[0]) == {"path", "label", "split", "start_seconds", "end_seconds"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_permissions(tmp_path, capsys, videos):
    secret = Path(shutil.copy(videos["scene0"], tmp_path / "secret.mp4"))
    secret.chmod(0)
    assert "Permission denied" in inspect(secret)["problem"]
    manifest = write(tmp_path / "manifest.csv", [["secret.mp4", "clap", "train", "", ""]])
    tmp_path.chmod(0o500)
    assert main([str(manifest)]) == 2
    assert "Permission denied" in capsys.readouterr().err
    tmp_path.chmod(0o700)


def test_manifest_that_was_changed_in_the_meantime_is_not_overwritten(tmp_path, capsys, videos, monkeypatch):
    manifest = write(tmp_path / "manifest.csv", [[str(videos["scene0"]), "clap", "train", "", ""]])
    changed = manifest.read_text() + "new.mp4,clap,train,,\n"

    def find_while_it_is_changed(*arguments):
        manifest.write_text(changed)
        return find_duplicates(*arguments)

    monkeypatch.setattr(duplicates, "find_duplicates", find_while_it_is_changed)
    assert main([str(manifest), "--workers=1"]) == 2
    assert "was changed while" in capsys.readouterr().err
    assert manifest.read_text() == changed
    assert json.loads((tmp_path / "manifest.csv.part").read_text())["found"]["num_frames"] == "48"


# --- duplicates -----------------------------------------------------------------------------------------------------


def test_re_encodings_are_found_and_other_scenes_are_not(videos):
    paths = list(videos.values())
    (group,) = groups_of(paths, ["train"] * (len(paths) - 1) + ["test"])
    assert {member.row["path"] for member in group.members} == {
        path.name for name, path in videos.items() if name not in ("scene1", "scene2", "scene3")
    }
    assert (group.how, group.is_leak, group.splits) == ("look alike", True, ("train", "test"))
    assert group.members[0].different_bits == 0
    assert all(member.different_bits <= near_duplicates.MAX_BITS for member in group.members)


def test_rotated_file_looks_like_the_upright_one(tmp_path):
    upright, turned = (
        write_video(tmp_path / f"{rotation}.mp4", num_frames=10, width=96, height=64, rotation=rotation).path
        for rotation in (0, 90)
    )
    assert inspect(turned)["width"] == "96"
    (group,) = groups_of([upright, turned])
    assert group.how == "look alike"


def test_videos_of_the_toy_dataset_are_distinguished(tmp_path):
    """Clips of one scene and different classes share a frame, and all of them their palette."""
    make_toy_dataset(tmp_path, train_per_class=2, val_per_class=1, test_per_class=1, num_frames=16, num_workers=1)
    assert groups_of(sorted(tmp_path.rglob("*.mp4"))) == []


def test_videos_that_show_nothing_are_not_compared(tmp_path):
    black, white = (
        encode(tmp_path / f"{level}.mp4", np.full((10, 96, 128), level) + noise)
        for level, noise in ((16, 0), (235, np.random.default_rng(0).integers(0, 2, (10, 96, 128))))
    )
    rows = [inspect(path) | {"path": path.name, "label": "", "split": "train"} for path in (black, white)]
    assert find_duplicates(rows, [2, 3], [str(black), str(white)]) == ([], 2)


def row(path, split, start="", label="clap", content_hash=""):
    return {"path": path, "label": label, "split": split, "start_seconds": start, "content_hash": content_hash}


def found_in(*rows):
    groups, _ = find_duplicates(rows, list(range(2, 2 + len(rows))), [row["path"] for row in rows])
    return [(group.how, group.is_leak, [member.line for member in group.members]) for group in groups]


def test_segments_of_one_file_in_two_splits_are_a_leak():
    assert found_in(row("a", "train", "1"), row("a", "train", "2")) == []
    assert found_in(row("a", "train", "1"), row("a", "test", "2")) == [("same file", True, [2, 3])]


def test_repeated_row_is_a_duplicate_and_two_classes_of_a_segment_are_not():
    assert found_in(row("a", "train"), row("a", "train")) == [("same file", False, [2, 3])]
    assert found_in(row("a", "train"), row("a", "train", label="wave")) == []


def test_leaks_come_first():
    rows = row("a", "train", content_hash="1"), row("b", "train", content_hash="1"), row("c", "train"), row("c", "val")
    assert found_in(*rows) == [("same file", True, [4, 5]), ("same bytes", False, [2, 3])]


def test_leak_is_an_error_unless_allowed(tmp_path, capsys, videos):
    shutil.copy(videos["scene0"], tmp_path / "\x1b[31mred.mp4")
    rows = [[str(videos["scene0"]), "clap", "train", "", ""], ["\x1b[31mred.mp4", "wave", "test", "", ""]]
    manifest = write(tmp_path / "manifest.csv", rows)
    assert main([str(manifest), "--workers=1"]) == 1
    printed = capsys.readouterr().err
    assert "LEAK between train and test: same bytes, with different labels" in printed
    assert "\\x1b[31mred.mp4" in printed
    assert "\x1b" not in printed.partition("LEAK")[2]
    assert [row["leak"] for row in rows_of(tmp_path / "duplicates.csv")] == ["yes", "yes"]
    assert main([str(manifest), "--allow_leaks=true"]) == 0


def test_search_equals_a_loop_over_all_pairs(monkeypatch):
    """With blocks that are smaller than the number of videos; a reference in plain Python."""
    monkeypatch.setattr(near_duplicates, "BLOCK", 16)
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, (60, 8), dtype=np.uint64)
    for copy, original in ((50, 3), (51, 50), (52, 7), (53, 8)):
        flips = np.zeros(8, np.uint64)
        for _ in range(copy - 44):
            flips |= np.uint64(1) << rng.integers(0, 63, 8).astype(np.uint64)
        hashes[copy] = hashes[original] ^ flips
    hashes[54, :6], hashes[55, :5], hashes[56] = hashes[1, :6], hashes[2, :5], hashes[20]
    groups = list(range(60))
    for one in range(60):
        for other in range(one):
            pairs = zip(hashes[one].tolist(), hashes[other].tolist(), strict=True)
            if sum((a ^ b).bit_count() <= near_duplicates.MAX_BITS for a, b in pairs) >= near_duplicates.MIN_ALIKE:
                low, high = sorted((groups[one], groups[other]))
                groups = [low if group == high else group for group in groups]
    assert near_duplicates.groups_of_alike(hashes).tolist() == groups
    assert groups[50] == groups[51] == 3
    assert (groups[54], groups[55], groups[56]) == (1, 55, 20)


def test_many_videos_are_compared_quickly():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, (8000, 8), dtype=np.uint64)
    hashes[1000:3000] = hashes[0] ^ (np.uint64(1) << rng.integers(0, 63, (2000, 8)).astype(np.uint64))  # a dense group
    start = time.process_time()
    groups = near_duplicates.groups_of_alike(hashes)
    assert time.process_time() - start < 5  # of a processor: it takes 0.2; a loop over 32 million pairs a minute
    assert (groups[1000:3000] == 0).all()
    assert len(np.unique(groups)) == 6000


def test_hashes_in_a_cell(videos):
    row = inspect(videos["scene0"])
    hashes = frame_hashes.from_text(row["frame_hashes"])
    assert len(hashes) == 8
    assert frame_hashes.to_text(hashes) == row["frame_hashes"]
    assert frame_hashes.from_text("") == frame_hashes.from_text("no hash") == ()


@pytest.mark.skipif(not (SHARED / "data/ut-interaction").exists(), reason="needs shared/data/ut-interaction")
def test_real_clips_with_one_background_are_distinguished():
    """One sequence: the same two people, one place, one after the other."""
    paths = sorted((SHARED / "data/ut-interaction/set1").glob("*_2_*.avi"))
    assert len(paths) == 6
    assert groups_of(paths) == []
