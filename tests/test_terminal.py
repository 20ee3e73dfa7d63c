"""What commands print: nothing that controls a terminal, in any encoding and width, quiet when nobody reads."""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.cells import cell_len

from data_prep.inspect_videos.__main__ import main as inspect_videos
from data_prep.summarize.__main__ import main as summarize
from data_prep.write_annotations.__main__ import main as write_annotations
from data_prep.write_shards.__main__ import main as write_shards
from tests.each_case import each_case
from tests.test_full_disk import evaluated_run
from videoctx.cli import main
from videoctx.evaluation.fitted_table import fitted_table
from videoctx.evaluation.tables import results_table
from videoctx.printed_tables import Console
from videoctx.terminal import printable, printable_output

ROOT = Path(__file__).parents[1]
HOSTILE = "\x1b[31mred\x1b]0;title\x07\u202egnp.\x9b2J\r"


@each_case(
    ("text", "expected"),
    [
        ("plain, größer, 動作, \N{VIDEO CAMERA}", "plain, größer, 動作, \N{VIDEO CAMERA}"),
        ("a\nb", r"a\nb"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\u202eabc", r"\u202eabc"),
        (os.fsdecode(b"a\xff"), r"a\udcff"),
        ("family \U0001f468\u200d\U0001f469", "family \U0001f468\u200d\U0001f469"),  # joined, as emojis and Persian are
    ],
)
def test_control_characters_are_printed_as_escapes(text, expected):
    assert printable(text) == expected


def test_nothing_printed_controls_the_terminal(capsys):
    with printable_output():
        print(HOSTILE)
        print(HOSTILE, file=sys.stderr)
        Console(width=40).print(HOSTILE, markup=False)
    out, err = capsys.readouterr()
    for text in (out, err):
        assert not set(text) & set("\x1b\x07\x9b\r\u202e")
        assert r"\x1b[31mred" in text


def test_classify_prints_every_row_whole(place, tmp_path, monkeypatch, capsys):
    names = [f"{'long' * 12}_{number}.mp4" for number in range(2)] + ["\x1b[31m.mp4", os.fsdecode(b"\xff.mp4")]
    for name in names:
        shutil.copy(place.videos / "test0.mp4", tmp_path / name)
    checkpoint = torch.load(place.last, weights_only=True)
    checkpoint["class_names"] = ["a\x1b[2J", "b\u202e", "c\n"]
    torch.save(checkpoint, tmp_path / "hostile.ckpt")
    monkeypatch.setattr("sys.argv", ["videoctx"])
    videos = [str(tmp_path / name) for name in names]
    for width in ("80", "40"):
        monkeypatch.setenv("COLUMNS", width)
        arguments = ("--ckpt_path", str(tmp_path / "hostile.ckpt"), "--json", str(tmp_path / "a.json"))
        main(["classify", *videos, videos[0], *arguments])
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert "…" not in out
        assert max(map(len, out.splitlines())) <= int(width)
        first = "".join(line[1:].partition("│")[0].strip() for line in out.splitlines())
        assert all(name in first for name in names[:2])
    found = json.loads((tmp_path / "a.json").read_bytes().decode())
    assert [video["video"] for video in found["videos"]] == videos
    assert all(os.path.exists(video["video"]) for video in found["videos"])


def test_names_of_runs_are_whole_and_a_row_has_its_numbers():
    result = {"num_parameters": 31_000_000, "num_videos": 19404, "num_views": 582120, "num_failed": 0}
    result |= {"clip_top1": 0.7, "video_top1": 0.75, "video_top5": 0.92}
    names = [f"runs/kinetics400/slow_r50_gc_seed{seed}_8x8_from_scratch" for seed in range(2)]
    last = [Path(name).name for name in names]
    for width, missing in (
        (200, ()),
        (80, ("views", "params")),
        (60, ("views", "params", "videos", "failed", "clip@1")),
    ):
        lines = printed(results_table({Path(name): result for name in names}, {}, width=width), width)
        assert all(sum(name in line and "75.0%" in line for line in lines) == 1 for name in last), width
        text = " ".join(" ".join(lines).split())
        assert "runs in runs/kinetics400; accuracy" in text
        assert ("not shown at this width" in text) == bool(missing)
        assert all(name in text.partition("not shown at this width")[2] for name in missing)
    lines = printed(results_table({Path(name): result for name in names}, {}, width=40), 40)
    assert sum("75.0%" in line for line in lines) == 2
    joined = "".join(line.split("│")[1].strip() for line in lines if line.startswith("│"))
    assert all(name in joined for name in last)
    failed = printed(results_table({Path("a"): result | {"num_failed": 3}}, {}, width=40), 40)
    assert any("failed" in line for line in failed)


def printed(table, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    lines = console.file.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= width
    return lines


def test_tables_of_intervals_have_no_cut_cell_at_any_width():
    rows = [
        [
            f"network {'long ' * 6}{number}",
            "55.00% (40.00 – 70.00)",
            "95.00% (87.50 – 100.00)",
            "-37.50% (-57.56 – -17.50)",
        ]
        for number in range(2)
    ]
    headings = ("network", "first, 10x3", "second, 10x3", "difference")
    for width in (200, 120, 80, 40, 38):
        lines = printed(fitted_table(headings, rows, width=width, caption="in brackets intervals"), width)
        text = "\n".join(lines)
        assert "…" not in text
        for part in ("55.00%", "(40.00 – 70.00)", "95.00%", "(87.50 – 100.00)", "-37.50%", "(-57.56 – -17.50)"):
            assert sum(part in line for line in lines) == 2, (width, part)
        assert all(heading in text for heading in headings[1:])


def test_a_folder_as_manifest_is_told_what_to_do(place, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["videoctx"])
    with pytest.raises(SystemExit):
        main(["fit", "-c", str(place.config), f"--data.manifest={place.videos}"])
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"{place.videos}: is a folder; expected a manifest, which `python -m data_prep.write_annotations" in line


@each_case("command", [("videoctx", "configs"), ("data_prep.write_annotations", "--help")])
def test_a_closed_pipe_is_quiet(command):
    reader, writer = os.pipe()
    os.close(reader)  # as if `head` had ended before the first line
    try:
        ended = subprocess.run(
            [sys.executable, "-m", *command], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writer)
    assert ended.stderr == ""
    assert ended.returncode in (0, 141)  # the text of a help is written at the end


def to_a_closed_pipe(command: Callable[[list[str]], object], arguments: list[str]) -> tuple[int, str]:
    """Run a command in a fork of this process, which has imported what it needs; return its status and errors."""
    reader, writer = os.pipe()
    os.close(reader)
    with tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            os.dup2(writer, 1)
            os.dup2(errors.fileno(), 2)
            status: object = 1
            try:
                for number, name in ((1, "stdout"), (2, "stderr")):
                    setattr(sys, name, io.TextIOWrapper(io.FileIO(number, "w", closefd=False), write_through=True))
                sys.argv = ["videoctx"]
                status = command(arguments)
                sys.stdout.flush()
            except SystemExit as stop:
                status = stop.code
            except BaseException:
                traceback.print_exc(file=sys.stderr)
            sys.stderr.flush()
            os._exit(status if isinstance(status, int) else 0)
        os.close(writer)
        _, status = os.waitpid(child, 0)
        errors.seek(0)
        return os.waitstatus_to_exitcode(status), errors.read().decode()


@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_closed_pipe_is_quiet_for_every_command(place, tmp_path, quick):
    """Every command that prints more than a line or two; those that train or measure print as they work."""
    run, manifest = evaluated_run(place), place.videos / "manifest.csv"
    checkpoint, video = ("--ckpt_path", place.last), place.videos / "test0.mp4"
    (tmp_path / "toy").mkdir()
    commands = [
        (main, "--help"),
        (main, "classify", "--help"),
        (main, "configs"),
        (main, "complexity", "-c", "slow_r50"),
        (main, "convert", place.last, "-o", tmp_path / "a.pt"),
        (main, "results", place.runs),
        (main, "score", run, "--output", tmp_path),
        (main, "compare", run, run),
        (main, "seeds", run),
        (main, "pool", "--help"),
        (main, "report", run, "--output", tmp_path / "a.html"),
        (main, "bench", "--help"),
        (main, "attention", "--help"),
        (main, "export", "--help"),
        (main, "classify", video, *checkpoint),
        (main, "classify", video, *checkpoint, "--timeline", tmp_path),
        (inspect_videos, "--help"),
        (summarize, "--help"),
        (write_annotations, "csv", place.videos, manifest, "--split_column=split", f"--output={tmp_path / 'a.csv'}"),
        (write_shards, manifest, tmp_path / "shards"),
    ]
    in_a_moment = ("--help", "configs", "complexity", "results", "compare", "seeds")
    for command, *arguments in commands:
        if quick != (arguments[0] in in_a_moment):
            continue
        status, errors = to_a_closed_pipe(command, [*map(str, arguments)])
        lines = [line for line in errors.splitlines() if "━" not in line and line.strip()]
        assert status in (0, 141), (arguments, status, errors)
        assert not lines or status == 0, (arguments, errors)
        assert "Broken pipe" not in errors, arguments
        assert "Traceback" not in errors, (arguments, errors)


def test_any_encoding_is_printed():
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LANG": "C", "TERM": "dumb", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "videoctx", "complexity", "-c", "slow_r50"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert b"32,454,096" in ended.stdout
    assert ended.stdout.isascii()
