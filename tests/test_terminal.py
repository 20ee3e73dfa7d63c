"""What commands print: nothing that controls a terminal, in any encoding and width, quiet when nobody reads."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.each_case import each_case
from videoctx.cli import main
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


def test_names_of_runs_are_whole_at_any_width():
    result = {"num_parameters": 31_000_000, "num_videos": 19404, "num_views": 582120, "num_failed": 0}
    result |= {"clip_top1": 0.7, "video_top1": 0.75, "video_top5": 0.92}
    names = [f"runs/kinetics400/slow_r50_gc_seed{seed}_8x8_from_scratch" for seed in range(2)]
    for width in (200, 80, 40):
        printed = Console(width=width, file=io.StringIO())
        printed.print(results_table({Path(name): result for name in names}, width=width))
        lines = printed.file.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        if width >= 80:
            assert all(sum(name in line for line in lines) == 1 for name in names), width
        assert "31.00M" in "".join(lines)


def test_a_folder_as_manifest_is_told_what_to_do(place, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["videoctx"])
    with pytest.raises(SystemExit):
        main(["fit", "-c", str(place.config), f"--data.manifest={place.videos}"])
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"{place.videos}: is a folder; expected a manifest, which `python -m data_prep.write_annotations" in line


@each_case(
    "command",
    [("videoctx", "complexity", "-c", "slow_r50"), ("videoctx", "configs"), ("data_prep.write_annotations", "--help")],
)
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
    assert ended.returncode in (0, 141)


def test_any_encoding_is_printed():
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LANG": "C", "TERM": "dumb", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "videoctx", "complexity", "-c", "slow_r50"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert b"32,454,096" in ended.stdout
    assert ended.stdout.isascii()
