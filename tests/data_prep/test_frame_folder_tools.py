"""Tests that the commands that prepare data treat folders and archives of images as videos."""

import csv
import json
import shutil
import tarfile
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_prep.inspect_videos.__main__ import main as inspect
from data_prep.summarize.__main__ import main as summarize
from data_prep.transcode.__main__ import main as transcode
from data_prep.write_shards.__main__ import main as pack
from tests.frame_folders import tar_of, write_images, zip_of
from tests.numbered import read_number
from videoctx.data.annotations import read_manifest
from videoctx.data.decoding.video_reader import open_video
from videoctx.data.storage.local_files import LocalFiles

RATE = {"a": "10", "a.zip": "10", "b.tar": "12.5", "b": "12.5"}


class InThisProcess:
    """Workers as of `run_each` without the seconds that processes take to start."""

    max_in_flight, worker_deaths = 1, ()

    def submit(self, function):
        future = Future()
        future.set_result(function())
        return future


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr("data_prep.scheduling.run_each._workers", lambda *_: nullcontext(InThisProcess()))


@pytest.fixture
def folder(tmp_path):
    """Folders and archives of images of two videos, and their manifest."""
    for name, num_frames, first in (("a", 20, 1), ("b", 30, 0)):
        write_images(tmp_path / name, num_frames, first=first, name="{}.jpg")
    zip_of(tmp_path / "a")
    tar_of(tmp_path / "b")
    (tmp_path / "classes.txt").write_text("run\n")
    write(tmp_path / "manifest.csv", [{"path": path, "label": "run", "fps": rate} for path, rate in RATE.items()])
    return tmp_path


def write(manifest: Path, rows) -> None:
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label", "split", "fps"], restval="train")
        writer.writeheader()
        writer.writerows(rows)


def rows(manifest: Path) -> dict[str, dict[str, str]]:
    with manifest.open(newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def numbers_of(record) -> list[int]:
    with open_video(record.path, "auto", record.probe_result, fps=record.fps) as reader:
        return [read_number(frame) for frame in reader.read(np.arange(reader.num_frames))]


def test_inspection_decodes_all_images_and_keeps_the_rate(folder, capsys):
    manifest = folder / "manifest.csv"
    assert inspect([str(manifest), "--workers=1"]) == 0
    found = rows(manifest)
    assert {path: row["fps"] for path, row in found.items()} == RATE
    assert [row["num_frames"] for row in found.values()] == ["20", "20", "30", "30"]
    assert [row["duration_seconds"] for row in found.values()] == ["2.0", "2.0", "2.4", "2.4"]
    assert {row["decoders"] for row in found.values()} == {"frames"}
    assert {(row["container"], row["codec"], row["width"], row["height"]) for row in found.values()} == {
        *(("folder", "mjpeg", "64", "48"), ("zip", "mjpeg", "64", "48"), ("tar", "mjpeg", "64", "48"))
    }
    assert found["a"]["content_hash"] == found["a.zip"]["content_hash"] != found["b"]["content_hash"]
    assert "2 videos occur more than once" in capsys.readouterr().err
    records = read_manifest(manifest, ["run"], split="train")
    assert [len(numbers_of(record)) for record in records] == [20, 20, 30, 30]
    assert inspect([str(manifest), "--workers=1"]) == 0
    assert "0 of them inspected in this run" in capsys.readouterr().out
    (folder / "a" / "20.jpg").unlink()  # the others of its folder are the same
    table = manifest.read_text()
    manifest.write_text(table.replace(",12.5,", ",25,"))
    assert inspect([str(manifest), "--workers=1"]) == 0
    assert "1 of them inspected in this run" in capsys.readouterr().out
    assert [rows(manifest)[path]["num_frames"] for path in ("a", "b")] == ["19", "30"]
    assert rows(manifest)["b"]["duration_seconds"] == "1.2"


def test_problems_of_images_are_found_and_the_rate_is_kept(folder, capsys):
    manifest = folder / "manifest.csv"
    (folder / "a" / "7.jpg").write_bytes((folder / "a" / "7.jpg").read_bytes()[:-30])
    (folder / "b" / "5.jpg").unlink()
    write(manifest, [{"path": path, "label": "run", "fps": "" if path == "a.zip" else "9"} for path in ("gone", *RATE)])
    assert inspect([str(manifest), "--workers=1"]) == 1
    found = rows(manifest)
    assert [row["fps"] for row in found.values()] == ["9", "9", "", "9", "9"]
    assert found["gone"]["problem"] == "No such file or directory"
    assert found["a"]["problem"].startswith("7.jpg: damaged: image file is truncated")
    assert found["b"]["problem"] == "the images from 0 to 29 lack 1 (5); expected consecutive numbers"
    assert found["a.zip"]["problem"].startswith("images state no frame rate")
    assert "images state no frame rate" in capsys.readouterr().err
    manifest.write_text(manifest.read_text().replace("a.zip,run,train,,", "a.zip,run,train,10,"))
    shutil.copytree(folder / "b", folder / "gone", dirs_exist_ok=True)
    shutil.copy(folder / "b" / "4.jpg", folder / "gone" / "5.jpg")
    assert inspect([str(manifest), "--workers=1"]) == 1
    found = rows(manifest)
    assert (found["a.zip"]["problem"], found["a.zip"]["fps"], found["a.zip"]["duration_seconds"]) == ("", "10", "2.0")
    assert (found["gone"]["problem"], found["gone"]["num_frames"]) == ("", "30")


def test_the_summary_shows_frames_of_images(folder, capsys):
    assert summarize([str(folder / "manifest.csv"), "--workers=1", "--videos_per_class=4"]) == 0
    assert "4 videos of 1 classes" in capsys.readouterr().out
    page = (folder / "summary.html").read_text()
    assert "4 frames of a video of class run, at 0.2, 0.7, 1.2, 1.7 seconds" in page


def test_shards_hold_the_images_of_a_folder(folder, capsys):
    pytest.importorskip("webdataset")
    for name in ("manifest.csv", "inspected.csv"):
        if name == "inspected.csv":
            assert inspect([str(folder / "manifest.csv"), "--workers=1", f"--output={folder / name}"]) == 0
        out = folder / f"shards-{name}"
        assert pack([str(folder / name), str(out), "--shard_bytes=100000"]) == 0
        before = {path.name: path.read_bytes() for path in out.glob("*.tar")}
        files = LocalFiles(folder / "cache")
        found = []
        for record in read_manifest(out / "manifest.csv", ["run"], split="train"):
            assert Path(record.path.partition("::")[0]).suffix in (".tar", ".zip")
            with files.local_copy(record.path) as local:
                found.append(numbers_of(replace(record, path=local)))
        assert found == [list(range(20)), list(range(20)), list(range(30)), list(range(30))]
        with tarfile.open(out / min(before)) as shard:
            described = [json.load(shard.extractfile(name)) for name in shard.getnames() if name.endswith(".json")]
        assert all(str(one["fps"]) == f"{float(RATE[one['path']])}" for one in described)
        first = out / min(before)
        first.unlink()
        assert pack([str(folder / name), str(out), "--shard_bytes=100000"]) == 0
        assert {path.name: path.read_bytes() for path in out.glob("*.tar")} == before
    (folder / "a" / "3.jpg").write_bytes(b"changed")
    capsys.readouterr()
    assert pack([str(folder / "inspected.csv"), str(folder / "changed")]) == 1
    assert "in the manifest" in capsys.readouterr().err


def test_transcode_makes_videos_of_images(folder, capsys):
    out = folder / "out"
    options = [str(folder / "manifest.csv"), str(out), "--preset=ultrafast", "--workers=1", "--short_side_px=48"]
    assert transcode(options) == 0
    records = read_manifest(out / "manifest.csv", ["run"], split="train")
    assert [Path(record.path).name for record in records] == ["a.mp4", "a.zip.mp4", "b.tar.mp4", "b.mp4"]
    assert [numbers_of(record) for record in records] == [list(range(count)) for count in (20, 20, 30, 30)]
    with open_video(records[2].path) as reader:
        assert reader.fps == 12.5
    assert transcode(options) == 0
    assert "0 of them made in this run" in capsys.readouterr().out
    (folder / "a" / "20.jpg").unlink()
    table = (
        "path,label,split,fps,start_seconds,end_seconds\na,run,train,10,,\nb,run,train,12.5,0.4,1.2\na.zip,run,val,,,\n"
    )
    (folder / "manifest.csv").write_text(table)
    assert transcode(options) == 1
    assert "images state no frame rate" in capsys.readouterr().err
    trimmed = read_manifest(out / "manifest.csv", ["run"], split="train")
    assert [numbers_of(record) for record in trimmed] == [list(range(19)), list(range(5, 15))]
    assert transcode([*options[:1], str(folder / "fast"), *options[2:], "--fps=25", "--ffmpeg"]) == 1
    doubled = read_manifest(folder / "fast" / "manifest.csv", ["run"], split="train")[1]
    assert numbers_of(doubled)[:6] == [5, 5, 6, 6, 7, 7]
