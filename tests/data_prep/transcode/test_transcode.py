"""Runs of transcode: what is made, what is made again, failures, and interrupted runs."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from data_prep.transcode.__main__ import main
from data_prep.transcode.jobs import Job
from data_prep.transcode.make_file import make_file
from data_prep.transcode.temporary_files import remove_stale, temporary_file
from tests.data_prep.transcode.read_back import SMALL, needs_ffmpeg, numbers
from tests.numbered import write_video
from videoctx.data.annotations import read_classes, read_manifest
from videoctx.data.decoding.containers import VideoDecodeError, probe

ROOT = Path(__file__).parents[3]

# --- runs ------------------------------------------------------------------------------------------------------------

FAST = ["--preset", "ultrafast", "--short_side_px", "64", "--workers", "1"]


@pytest.fixture
def sources(tmp_path):
    """A folder with a manifest of three videos, one of them in a folder below."""
    folder = tmp_path / "sources"
    (folder / "run").mkdir(parents=True)
    write_video(folder / "a.mp4", num_frames=40)
    write_video(folder / "run" / "b.mkv", num_frames=20)
    write_video(folder / "run" / "b.mp4", num_frames=30)
    write_sources(folder, "a.mp4,clap,train,,", "run/b.mkv,wave,train,,", "run/b.mp4,wave,val,0.2,0.5")
    return folder


def write_sources(folder, *rows, header="path,label,split,start_seconds,end_seconds"):
    (folder / "manifest.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    (folder / "classes.txt").write_text("clap\nwave\n")


def run(sources, output, *options):
    return main([str(sources / "manifest.csv"), str(output), *FAST, *options])


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files(output):
    """Name -> (inode, time of change) of every video, and of whatever else should not be there."""
    return {
        path.relative_to(output).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in output.rglob("*")
        if path.is_file() and path.name not in ("manifest.csv", "classes.txt", "failures.csv")
    }


def test_training_reads_the_result(sources, tmp_path, capsys):
    output = tmp_path / "out"
    header = "path,label,split,start_seconds,end_seconds,weight,size_bytes,decoders,num_frames,fps,problem,group"
    rows = (
        "a.mp4,clap,train,,,2,1,pyav,7,30.0,,g1",
        "run/b.mkv,wave,train,,,,,,,,,g2",
        "run/b.mp4,wave,val,0.2,0.5,,,,,,,g3",
    )
    write_sources(sources, *rows, header=header)
    assert run(sources, output) == 0
    assert capsys.readouterr().out.endswith("3 rows, 3 files, 3 of them made in this run\n")
    assert set(files(output)) == {"a.mp4", "run/b.mkv.mp4", "run/b@0.2-0.5s.mp4"}
    classes = read_classes(output / "classes.txt")
    first, second = read_manifest(output / "manifest.csv", classes, split="train")
    (third,) = read_manifest(output / "manifest.csv", classes, split="val")
    assert [numbers(record.path) for record in (first, second, third)] == [
        list(range(40)),
        list(range(20)),
        list(range(6, 15)),
    ]
    assert [record.label for record in (first, second, third)] == [0, 1, 1]
    assert (first.weight, first.probe_result, third.start_seconds, third.end_seconds) == (2.0, None, None, None)
    assert [row["group"] for row in table(output / "manifest.csv")] == ["g1", "g2", "g3"]
    assert "decoders" not in table(output / "manifest.csv")[0]


def test_further_run_makes_only_missing_files(sources, tmp_path, capsys):
    output = tmp_path / "out"
    assert run(sources, output) == 0
    before = files(output)
    (output / "run" / "b.mkv.mp4").unlink()
    write_video(sources / "a.mp4", num_frames=41)
    assert run(sources, output) == 0
    after = files(output)
    assert {name for name in after if after[name] != before[name]} == {"a.mp4", "run/b.mkv.mp4"}
    assert "2 of them made" in capsys.readouterr().out


def test_when_a_file_is_made_again(sources, tmp_path):
    source, target = sources / "a.mp4", tmp_path / "out" / "a.mp4"

    def made(encoding=SMALL, start=None):
        return make_file(Job(str(source), str(target), start), encoding=encoding, ffmpeg=False)

    assert made()
    assert not made()
    os.utime(source)
    assert made()  # the source may be another one
    assert made(start=0.5)
    os.truncate(target, target.stat().st_size - 1)
    assert made(start=0.5)
    source.unlink()
    assert not made(start=0.5)  # what was made of it is all that is left of it
    with pytest.raises(VideoDecodeError, match="No such file"):
        made()


def test_every_setting_changes_the_file(sources, tmp_path):
    job = Job(str(sources / "a.mp4"), str(tmp_path / "a.mp4"))
    results = set()
    for setting in ({}, {"short_side_px": 48}, {"fps": 15.0}, {"crf": 30}, {"preset": "superfast"}):
        assert make_file(job, encoding=replace(SMALL, **setting), ffmpeg=False)
        results.add((tmp_path / "a.mp4").read_bytes())
    assert len(results) == 5


def test_failures_are_listed_and_other_rows_are_done(sources, broken_files, tmp_path, capsys):
    rows = {
        "a.mp4,clap,train,0.5,0.2": "end_seconds 0.2 is not after start_seconds 0.5",
        "a.mp4,clap,train,5,9": "no frame from 5 s to 9 s: the video lasts 1.33 s",
        "a.mp4,clap,train,-1,": "start_seconds is '-1'",
        "a.mp4,clap,train": "expected 5 columns",
        ",clap,train,,": "the path is empty",
        "loop/a.mp4,clap,train,,": "Too many levels of symbolic links",
        '"new\nline.mp4",clap,train,,': "a value has a line break",
        "s3://bucket/a.mp4,clap,train,,": "a URL or a member of a shard; expected a file",
        "run,clap,train,,": "not a file",
    } | {f"{path},clap,train,,": "" for path in broken_files.values()}
    (sources / "loop").symlink_to("loop")
    write_sources(sources, "run/b.mp4,wave,val,,", *rows)
    output = tmp_path / "out"
    assert run(sources, output) == 1
    assert [row["path"] for row in table(output / "manifest.csv")] == ["run/b.mp4"]
    listed = table(output / "failures.csv")
    assert len(listed) == len(rows)
    for row, expected in zip(listed, rows.values(), strict=True):
        assert expected in row["reason"]
        assert row["reason"]
    errors = capsys.readouterr().err
    assert f"{len(rows)} of {len(rows) + 1} rows failed" in errors
    assert f"{sources / 'manifest.csv'}, line 3: end_seconds" in errors

    before = files(output)
    write_sources(sources, "run/b.mp4,wave,val,,", "a.mp4,clap,train,0.2,0.5")  # repaired
    assert run(sources, output) == 0
    assert {name for name, state in files(output).items() if before.get(name) != state} == {"a@0.2-0.5s.mp4"}
    assert not (output / "failures.csv").exists()


@pytest.mark.slow
def test_unusual_file_names(tmp_path):
    sources, outside, output = tmp_path / "sources", tmp_path / "else where", tmp_path / "-out put"
    sources.mkdir()
    outside.mkdir()
    names = [
        "-i.mp4",
        "sp ace.mp4",
        'it\'s "quoted".mp4',
        "ünï→动作.mp4",
        "a%03d.mp4",
        "c:d,[e];f.mp4",
        "x.AVI",
        " left",
    ]
    video = write_video(tmp_path / "a.mp4", num_frames=4).path.read_bytes()
    for name in names:
        (sources / name).write_bytes(video)
    (outside / "b.mp4").write_bytes(video)
    with (sources / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        writer.writerows([f"./{name}", "clap", "train"] for name in names)
        writer.writerow(["../else where/b.mp4", "clap", "train"])
        writer.writerow([str(outside / "b.mp4"), "clap", "train"])
    (sources / "classes.txt").write_text("clap\nwave\n")
    for encoder in ("false", *(["true"] if shutil.which("ffmpeg") else [])):
        shutil.rmtree(output, ignore_errors=True)
        assert run(sources, output, "--ffmpeg", encoder) == 0
        below = f"{outside / 'b.mp4'}".lstrip("/")
        expected = [*names[:6], "x.AVI.mp4", " left.mp4", below]
        assert set(files(output)) == set(expected)
        records = read_manifest(output / "manifest.csv", ["clap", "wave"], split="train")
        assert [Path(record.path).relative_to(output).as_posix() for record in records] == [*expected, below]
        assert all(numbers(record.path) == list(range(4)) for record in records)
    assert {path.name for path in tmp_path.iterdir()} == {"sources", "else where", "-out put", "a.mp4"}


def test_files_of_others_are_not_overwritten(sources, tmp_path, capsys):
    output = tmp_path / "out"
    output.mkdir()
    shutil.copy(sources / "run" / "b.mp4", output / "a.mp4")
    assert run(sources, output) == 1
    assert (output / "a.mp4").read_bytes() == (sources / "run" / "b.mp4").read_bytes()
    assert "was not made by transcode" in table(output / "failures.csv")[0]["reason"]
    assert run(sources, sources) == 2
    assert "this is the folder of the sources" in capsys.readouterr().err


def test_two_sources_do_not_share_a_result(sources, tmp_path):
    shutil.copy(sources / "a.mp4", sources / "a@0.2-0.5s.mp4")
    write_sources(sources, "a.mp4,clap,train,0.2,0.5", "a@0.2-0.5s.mp4,clap,train,,", "./a.mp4,wave,val,0.20,0.500")
    assert run(sources, tmp_path / "out") == 1
    (failure,) = table(tmp_path / "out" / "failures.csv")
    assert (failure["line"], "would have the name" in failure["reason"]) == ("3", True)
    assert [row["label"] for row in table(tmp_path / "out" / "manifest.csv")] == ["clap", "wave"]


def test_invalid_settings_are_refused(sources, tmp_path, capsys):
    messages = {
        "--short_side_px=255": "--short_side_px is 255; expected an even number",
        "--fps=0": "--fps is 0; expected more than 0",
        "--crf=52": "--crf is 52; expected 0 to 51",
        "--workers=0": "--workers is 0; expected at least 1",
    }
    for option, message in messages.items():
        assert run(sources, tmp_path / "out", option) == 2, option
        assert message in capsys.readouterr().err


def test_output_cannot_be_written(sources, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run(sources, tmp_path / "file" / "out") == 2
    assert capsys.readouterr().err.startswith("transcode: ")


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "example: python -m data_prep.transcode" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("ffmpeg", [False, pytest.param(True, marks=needs_ffmpeg)])
def test_full_disk_is_a_failure_and_leaves_nothing(closed_gop_mp4, tmp_path, ffmpeg):
    """The disk ends after 5 kB: as large as files may be here."""
    script = (
        "import resource, signal, sys\nfrom data_prep.transcode.jobs import Job\n"
        "from data_prep.transcode.make_file import make_file\n"
        "from tests.data_prep.transcode.test_transcode import SMALL\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        f"make_file(Job(*sys.argv[1:]), encoding=SMALL, ffmpeg={ffmpeg})\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(closed_gop_mp4.path), str(tmp_path / "a.mp4")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert ("ffmpeg" if ffmpeg else "File too large") in result.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sign", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_interrupted_run_leaves_only_complete_files(tmp_path, sign):
    sources, output = tmp_path / "sources", tmp_path / "out"
    sources.mkdir()
    first = write_video(sources / "0.mp4", num_frames=100, width=320, height=240).path
    for number in range(1, count := 200):  # the run is far from done when the first file is noticed
        os.link(first, sources / f"{number}.mp4")
    write_sources(sources, *(f"{number}.mp4,clap,train,," for number in range(count)))
    command = [
        sys.executable,
        "-m",
        "data_prep.transcode",
        str(sources / "manifest.csv"),
        str(output),
        "--workers",
        "2",
    ]
    command += ["--preset", "slow", "--short_side_px", "240"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    while not list(output.glob("*.mp4")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(sign)
    assert process.wait(60) == (130 if sign == signal.SIGINT else -signal.SIGKILL)
    whole = files(output)
    if sign == signal.SIGINT:
        assert b"Traceback" not in process.stderr.read()
        assert not list(output.glob(".*"))
    else:
        deadline = time.monotonic() + 60
        while list(output.glob(".*")) and time.monotonic() < deadline:  # its workers are ending
            remove_stale(output)
        assert not list(output.glob(".*"))
    done = {name: state for name, state in whole.items() if not name.startswith(".")}
    assert 1 <= len(done) < count
    for name in done:
        assert probe(str(output / name)).num_packets == 100


def test_temporary_file_is_removed_unless_it_is_being_written(tmp_path):
    with temporary_file(tmp_path) as (path, _):
        stale = tmp_path / ".transcode-0123.partial"
        stale.touch()
        remove_stale(tmp_path)
        assert path.exists()
        assert not stale.exists()
    assert not path.exists()


# --- clusters --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_cluster_with_a_killed_worker_and_a_second_run(sources, tmp_path):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    rows = [f"a.mp4,clap,train,{start / 10:g},{start / 10 + 0.3:g}" for start in range(8)]
    write_sources(sources, *rows, "run/b.mkv,wave,train,,", "run/b.mp4,wave,val,,")
    assert run(sources, tmp_path / "alone") == 0
    output = tmp_path / "together"
    command = [sys.executable, "-m", "data_prep.transcode", str(sources / "manifest.csv"), str(output), *FAST]
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, protocol="tcp", dashboard_address=None
    ) as cluster:
        address = ["--scheduler", cluster.scheduler_address]
        processes = [subprocess.Popen([*command, *address], cwd=ROOT, stderr=subprocess.PIPE) for _ in range(2)]
        with distributed.Client(cluster) as client:
            pids = client.run(os.getpid)
            while not list(output.rglob("*.mp4")):
                assert all(process.poll() is None for process in processes)
                time.sleep(0.005)
            os.kill(next(iter(pids.values())), signal.SIGKILL)
            assert [process.wait(60) for process in processes] == [0, 0]
    expected = {path.relative_to(tmp_path / "alone"): path.read_bytes() for path in (tmp_path / "alone").rglob("*.*")}
    assert {path.relative_to(output): path.read_bytes() for path in output.rglob("*.*")} == expected
