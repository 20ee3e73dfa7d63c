"""Shards of a manifest: everything once, the same bytes, whatever happened on the way."""

import csv
import json
import multiprocessing
import os
import random
import signal
import tarfile
from pathlib import Path

import pytest

from data_prep.write_shards.__main__ import main
from tests.http_server import FileServer
from videoctx.data.annotations import read_classes, read_manifest, write_manifest
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.storage.local_files import LocalFiles
from videoctx.data.storage.locations import resolve

webdataset = pytest.importorskip("webdataset")

CLASSES = ("clap", "wave")
NUM_BYTES = 1000
SHARD_BYTES = 5 * NUM_BYTES
NUM_ROWS = {"train": 12, "val": 3}


def content(name: str) -> bytes:
    return random.Random(name).randbytes(NUM_BYTES)


def rows_of(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(newline="") as file:
        return list(csv.DictReader(file))


def pack(manifest: Path, output: Path, *options: str) -> int:
    return main([str(manifest), str(output), f"--shard_bytes={SHARD_BYTES}", f"--cache_dir={output}-cache", *options])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def samples(folder: Path, split: str) -> list[dict]:
    shards = sorted(map(str, folder.glob(f"{split}-*.tar")))
    return list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False))


@pytest.fixture
def manifest(tmp_path) -> Path:
    """Fifteen files that are no videos, which is nobody's business here; the first is used by two rows."""
    folder = tmp_path / "files"
    (folder / "deep").mkdir(parents=True)
    rows = []
    for split, count in NUM_ROWS.items():
        for index in range(count):
            name = f"deep/{split}{index}.MP4" if index % 2 else f"{split}{index}.webm"
            (folder / name).write_bytes(content(name))
            rows.append({"path": name, "label": CLASSES[index % 2], "split": split, "group": f"g{index}"})
    rows[1] |= {"path": rows[0]["path"], "start_seconds": "1.5", "end_seconds": "2.25"}
    write_manifest(folder / "manifest.csv", rows, CLASSES)
    return folder / "manifest.csv"


def test_webdataset_reads_every_row_once(manifest, tmp_path, capsys):
    assert pack(manifest, tmp_path / "out") == 0
    assert "15 videos in 4 shards" in capsys.readouterr().out
    rows = rows_of(manifest)
    found = {}
    for split, count in NUM_ROWS.items():
        of_split = samples(tmp_path / "out", split)
        assert len(of_split) == count
        for sample in of_split:
            number = int(sample["__key__"].removeprefix(f"{split}/"))
            row, described = rows[number], json.loads(sample["json"])
            assert sample["mp4" if row["path"].endswith("MP4") else "webm"] == content(row["path"])
            assert [described[key] for key in ("label", "path", "split")] == [row["label"], row["path"], split]
            assert described["start_seconds"] == (1.5 if number == 1 else None)
            assert described["end_seconds"] == (2.25 if number == 1 else None)
            found[number] = sample["__url__"]
    assert sorted(found) == list(range(15))
    for path in (tmp_path / "out").glob("[!.]*.tar"):
        with tarfile.open(path) as archive:
            assert sum(entry.size for entry in archive if "json" not in entry.name) <= SHARD_BYTES


def test_the_new_manifest_leads_to_the_same_bytes(manifest, tmp_path):
    pack(manifest, tmp_path / "out")
    packed, files = tmp_path / "out/manifest.csv", LocalFiles(tmp_path / "cache")
    assert read_classes(tmp_path / "out/classes.txt") == list(CLASSES)
    assert len(read_manifest(packed, list(CLASSES), split="train")) == NUM_ROWS["train"]
    for old, new in zip(rows_of(manifest), rows_of(packed), strict=True):
        assert {**new, "path": old["path"]} == old
        with files.local_copy(resolve(packed.parent, new["path"])) as local:
            assert Path(local).read_bytes() == content(old["path"])


def test_the_order_is_random_and_follows_from_the_seed(manifest, tmp_path):
    keys = {}
    for name, seed in {"a": 0, "b": 0, "c": 1}.items():
        assert pack(manifest, tmp_path / name, f"--seed={seed}") == 0
        keys[name] = [sample["__key__"] for sample in samples(tmp_path / name, "train")]
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert keys["a"] != sorted(keys["a"])
    assert keys["a"] != keys["c"]
    assert sorted(keys["a"]) == sorted(keys["c"])


def test_further_run_writes_only_missing_shards(manifest, tmp_path):
    output = tmp_path / "out"
    pack(manifest, output)
    before = contents(output)
    (output / "train-000001.tar").unlink()
    (output / ".part-0123-train-000001.tar").write_bytes(b"half a shard")
    times = {path.name: path.stat().st_mtime_ns for path in output.glob("[!.]*.tar")}
    assert pack(manifest, output) == 0
    assert contents(output) == before
    assert {name: (output / name).stat().st_mtime_ns for name in times} == times


def test_missing_video_is_listed_and_added_later(manifest, tmp_path, capsys):
    pack(manifest, tmp_path / "whole")
    rows = [row | {"size_bytes": str(NUM_BYTES), "decoders": "pyav", "num_frames": "1"} for row in rows_of(manifest)]
    write_manifest(manifest, rows, CLASSES)
    missing = manifest.parent / rows[4]["path"]
    missing.rename(tmp_path / "away")
    (manifest.parent / rows[13]["path"]).write_bytes(b"short")

    output = tmp_path / "out"
    assert pack(manifest, output) == 1
    printed = capsys.readouterr().err
    assert "2 of 15 videos could not be read" in printed
    assert f"{missing}: No such file or directory" in printed
    assert f"{manifest.parent / rows[13]['path']}: has 5 bytes, and {NUM_BYTES} in the manifest" in printed
    assert len(samples(output, "train")) + len(samples(output, "val")) == 13
    kept = rows_of(output / "manifest.csv")
    assert len(kept) == 15
    lost = resolve(output, kept[4]["path"])
    with pytest.raises(VideoDecodeError, match="no such file"), LocalFiles(tmp_path / "cache").local_copy(lost):
        pass

    (tmp_path / "away").rename(missing)
    (manifest.parent / rows[13]["path"]).write_bytes(content(rows[13]["path"]))
    (manifest.parent / rows[5]["path"]).unlink()  # it is packed already
    assert pack(manifest, output) == 0
    for path in output.glob("[!.]*.tar"):
        assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()


def test_shards_of_other_videos_are_not_written_over(manifest, tmp_path, capsys):
    output = tmp_path / "out"
    pack(manifest, output)
    before = contents(output)
    for option, message in {"--seed=1": "is not of this manifest", "--shard_bytes=1e6": "not of this manifest"}.items():
        assert pack(manifest, output, option) == 2
        assert message in capsys.readouterr().err
    assert contents(output) == before


def run_and_kill(manifest: Path, output: Path) -> None:
    """Die while the second shard is written."""
    replace = os.replace

    def replace_once(part: Path, target: Path) -> None:
        if any(output.glob("[!.]*.tar")):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(part, target)

    os.replace = replace_once
    pack(manifest, output)


def test_killed_run_leaves_no_partial_shard_and_is_resumed(manifest, tmp_path):
    output = tmp_path / "out"
    process = multiprocessing.get_context("fork").Process(target=run_and_kill, args=(manifest, output))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [path.name for path in output.glob("[!.]*.tar")] == ["train-000000.tar"]
    assert not (output / "manifest.csv").exists()
    pack(manifest, tmp_path / "whole")
    assert pack(manifest, output) == 0
    assert contents(output) == contents(tmp_path / "whole")


def test_concurrent_runs(manifest, tmp_path):
    pack(manifest, tmp_path / "whole")
    context = multiprocessing.get_context("fork")
    output = tmp_path / "out"
    processes = [context.Process(target=exit_with, args=(manifest, output)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert {process.exitcode for process in processes} <= {0, 2}
    assert 0 in {process.exitcode for process in processes}
    assert contents(output) == contents(tmp_path / "whole")


def exit_with(manifest: Path, output: Path) -> None:
    os._exit(pack(manifest, output))


def test_videos_from_a_server_and_from_shards(manifest, tmp_path, capsys):
    rows = rows_of(manifest)
    with FileServer({row["path"]: content(row["path"]) for row in rows}) as server:
        write_manifest(manifest, [row | {"path": server.url(row["path"])} for row in rows], CLASSES)
        assert pack(manifest, tmp_path / "out") == 0
        write_manifest(manifest, [*rows, {"path": server.url("no.mp4"), "label": "wave", "split": "val"}], CLASSES)
        assert pack(manifest, tmp_path / "more") == 1
        assert f"{server.url('no.mp4')}: cannot be fetched: the server responded 404" in capsys.readouterr().err
    assert pack(tmp_path / "out/manifest.csv", tmp_path / "again") == 0
    assert sorted(path.name for path in (tmp_path / "again").glob("[!.]*.tar")) == [
        f"train-{k:06d}.tar" for k in range(3)
    ] + ["val-000000.tar"]
    for number, sample in enumerate(sorted(samples(tmp_path / "again", "train"), key=lambda sample: sample["__key__"])):
        path = rows[number]["path"]
        assert sample["mp4" if path.endswith("MP4") else "webm"] == content(path)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "manifest.csv").unlink(), "cannot read the manifest"),
        (lambda folder: (folder / "classes.txt").write_text("clap\n"), "label 'wave' is not one of the 1 classes"),
        (
            lambda folder: write_manifest(
                folder / "manifest.csv", [{"path": "a", "label": "clap", "split": "a/b"}], CLASSES
            ),
            "split 'a/b' cannot be the name of a shard",
        ),
    ],
)
def test_unusable_manifest_is_refused(manifest, tmp_path, capsys, break_it, message):
    break_it(manifest.parent)
    assert pack(manifest, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("write_shards: ")
    assert not (tmp_path / "out").exists()


def test_invalid_options_are_refused(manifest, tmp_path, capsys):
    assert pack(manifest, tmp_path / "out", "--num_threads=0") == 2
    assert "--num_threads is 0; expected at least 1" in capsys.readouterr().err
    assert main([str(manifest), str(manifest.parent)]) == 2
    assert "expected another folder" in capsys.readouterr().err
