"""Inspecting a manifest: what is found, and what a further run inspects again."""

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

import pytest
from filelock import FileLock

from data_prep.inspect_videos import duplicates
from data_prep.inspect_videos.__main__ import main
from data_prep.inspect_videos.duplicates import find_duplicates
from data_prep.inspect_videos.inspection import inspect_file
from data_prep.manifests.csv_output import write_csv
from data_prep.manifests.inspection_columns import INSPECTION_COLUMNS
from tests.corpus import flip_bits
from tests.data_prep.inspect_videos.scenes import NUM_FRAMES, rows_of, write
from tests.http_server import FileServer
from tests.numbered import write_video
from videoctx.data.annotations import read_manifest
from videoctx.data.decoding.video_reader import open_video
from videoctx.data.storage.local_files import LocalFiles


def inspect(path: Path) -> dict[str, str]:
    return inspect_file(str(path), files=LocalFiles())


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
    run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3], timeout=120)
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


@pytest.mark.slow
def test_killed_run_is_resumed(tmp_path, videos, capsys):
    """The first run is killed when its journal has something; the next one does the rest only."""
    names = []
    for index in range(60):
        names.append(f"{index}.mp4")
        os.link(videos["scene0"], tmp_path / names[-1])
    manifest = write(tmp_path / "manifest.csv", [[name, "clap", "train", "", ""] for name in names])
    before, journal = manifest.read_bytes(), tmp_path / "manifest.csv.part"
    command = [sys.executable, "-m", "data_prep.inspect_videos", str(manifest), "--workers", "1"]
    root = Path(__file__).parents[3]
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
