"""Every tool ends with one sentence that names the file when it cannot write it, and leaves no part of it behind.

A limit on the size of files stands for a full disk: the system refuses to write more, with EFBIG instead of ENOSPC.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from filelock import FileLock

from data_prep.inspect_videos.__main__ import main as inspect_videos
from data_prep.make_toy_dataset.__main__ import main as make_toy_dataset
from data_prep.summarize.__main__ import main as summarize
from data_prep.transcode.__main__ import main as transcode
from data_prep.write_annotations.__main__ import main as write_annotations
from data_prep.write_shards.__main__ import main as write_shards
from tests.file_limits import files_of_at_most, no_more_open_files
from tests.tiny_runs import Place
from videoctx.cli import main

REASON = "cannot be written (File too large)"
FEW_BYTES = 40
NAME = "written"


class Tool(NamedTuple):
    """A command that writes NAME.suffix to a folder."""

    suffix: str
    run: Callable[[Place, Path], object]

    def fails(self, place: Place, output: Path, capsys) -> str:
        """Return the last line of the error stream of the tool, which has to end with status 2."""
        capsys.readouterr()
        try:
            status = self.run(place, output)
        except SystemExit as stop:
            status = stop.code
        error = capsys.readouterr().err
        assert status == 2, error
        assert "Traceback" not in error
        return error.splitlines()[-1]


def videoctx(*arguments: object) -> None:
    main([*map(str, arguments)])


def evaluated_run(place: Place) -> Path:
    """Return the folder of a tested run, which the first process makes that asks for it."""
    folder, done = place.runs / "evaluated", place.runs.parent / "evaluated.done"
    if done.exists():  # without opening a file
        return folder
    with FileLock(place.runs.parent / "evaluated.lock"), pytest.MonkeyPatch.context() as patch:
        if not done.exists():
            patch.setattr("sys.argv", ["videoctx"])
            name = f"--trainer.logger.init_args.name={folder.name}"
            main(["test", "-c", str(place.config), "--ckpt_path", str(place.last), name])
            done.touch()
    return folder


def video(place: Place) -> Path:
    return place.videos / "test0.mp4"


def manifest(place: Place) -> str:
    return str(place.videos / "manifest.csv")


def classify(place: Place, *arguments: object) -> None:
    videoctx("classify", video(place), "--ckpt_path", place.last, *arguments)


def explain(place: Place, output: Path) -> None:
    arguments = ("--output", output, "--method=gradcam", "--layer=res5")
    videoctx("attention", video(place), "--ckpt_path", place.last, *arguments)


def from_table(place: Place, output: Path) -> int:
    arguments = ["csv", str(place.videos), manifest(place), "--split_column=split", f"--output={output}"]
    return write_annotations(arguments)


def make_videos(place: Place, output: Path) -> int:  # noqa: ARG001 - every tool has a place
    return make_toy_dataset([str(output), *(f"--{split}_per_class=1" for split in ("train", "val", "test"))])


TOOLS = {
    "convert": Tool(".pth", lambda place, to: videoctx("convert", place.last, "-o", to)),
    "report": Tool(".html", lambda place, to: videoctx("report", evaluated_run(place), "--output", to)),
    "seeds": Tool(".png", lambda place, to: videoctx("seeds", evaluated_run(place), "--plot", to)),
    "classify": Tool(".json", lambda place, to: classify(place, "--json", to)),
    "write_annotations": Tool(".csv", from_table),
}
TOOLS_WITH_PROCESSES = {
    "summarize": Tool(".html", lambda place, to: summarize([manifest(place), f"--output={to}", "--workers=1"])),
    "inspect": Tool(".csv", lambda place, to: inspect_videos([manifest(place), f"--output={to}", "--workers=1"])),
}
FOLDER_TOOLS = {
    "score": Tool("", lambda place, to: videoctx("score", evaluated_run(place), "--output", to)),
    "timeline": Tool("", lambda place, to: classify(place, "--timeline", to)),
    "attention": Tool("", explain),
    "write_shards": Tool("", lambda place, to: write_shards([manifest(place), str(to)])),
    "make_toy_dataset": Tool("", make_videos),
}


@pytest.fixture(autouse=True)
def command_line(monkeypatch):
    monkeypatch.setattr("sys.argv", ["videoctx"])


@pytest.mark.parametrize("tools", [TOOLS, pytest.param(TOOLS_WITH_PROCESSES, marks=pytest.mark.slow)])
def test_a_full_disk_is_one_sentence_and_the_old_file_stays(place, tmp_path, capsys, tools):
    evaluated_run(place)
    for name, tool in tools.items():
        output = tmp_path / name / f"{NAME}{tool.suffix}"
        output.parent.mkdir()
        output.write_text("old")
        with files_of_at_most(FEW_BYTES):
            line = tool.fails(place, output, capsys)
        assert REASON in line, line
        assert str(output.parent) in line, line
        assert output.read_text() == "old", name
        left = {path.name for path in output.parent.iterdir()} - {output.name, f".{output.name}.lock"}
        assert not any(path.startswith(".part") for path in left), (name, left)


def test_a_full_disk_leaves_nothing_in_a_folder_of_results(place, tmp_path, capsys):
    evaluated_run(place)
    for name, tool in FOLDER_TOOLS.items():
        output = tmp_path / name
        output.mkdir()
        with files_of_at_most(FEW_BYTES):
            line = tool.fails(place, output, capsys)
        assert str(output) in line, line
        assert REASON in line, line
        assert [path for path in output.rglob("*") if path.is_file() and not path.name.endswith(".lock")] == [], name


def test_an_output_that_cannot_be_is_one_sentence(place, tmp_path, capsys):
    evaluated_run(place)
    for name, tool in (TOOLS | TOOLS_WITH_PROCESSES).items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "file").write_text("old")
        is_folder = folder / f"folder{tool.suffix}"
        is_folder.mkdir()
        for output in (is_folder, folder / "file" / f"a{tool.suffix}", folder / f"{'a' * 300}{tool.suffix}"):
            line = tool.fails(place, output, capsys)
            assert str(folder) in line, (name, output, line)
        assert (folder / "file").read_text() == "old"
        assert list(is_folder.iterdir()) == []


def test_few_file_descriptors_are_one_sentence(place, tmp_path, capsys):
    evaluated_run(place)
    for name in ("report", "convert", "classify"):
        output = tmp_path / f"{NAME}{TOOLS[name].suffix}"
        TOOLS[name].run(place, output)  # imports what it needs
        with no_more_open_files():
            line = TOOLS[name].fails(place, output, capsys)
        assert "Too many open files" in line
        assert "expected a higher limit of open files (ulimit -n)" in line


def test_a_failed_transcoding_names_the_new_file(place, tmp_path, capsys):
    with files_of_at_most(FEW_BYTES), pytest.raises(SystemExit):
        sys.exit(transcode([manifest(place), str(tmp_path / "new"), "--workers=1"]))
    assert f"{tmp_path / 'new'}" in (error := capsys.readouterr().err)
    assert REASON in error


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch-export"])
def test_an_export_on_a_full_disk_is_one_sentence(place, tmp_path, format):
    output = tmp_path / f"a.{'onnx' if format == 'onnx' else 'pt2'}"
    output.write_text("old")
    code = f"""if True:
        from tests.file_limits import files_of_at_most
        from videoctx.cli import main
        with files_of_at_most(2000):
            main(["export", "--ckpt_path={place.last}", "--format={format}", "--output={output}", "--frame_size=32x40"])
    """
    root = Path(__file__).parents[1]
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr == f"videoctx: {output}: {REASON}\n"
    assert output.read_text() == "old"
    assert os.listdir(tmp_path) == [output.name]


@pytest.mark.slow
def test_training_on_a_full_disk_ends_in_one_sentence_and_keeps_the_checkpoint(place, run, capsys):
    good = place.last.read_bytes()
    for num_bytes in (2000, len(good) // 2, len(good) - 10):
        capsys.readouterr()
        with files_of_at_most(num_bytes), pytest.raises(SystemExit) as stop:
            run("fit", "--ckpt_path", place.last, "--trainer.max_epochs=5", name=f"-{num_bytes}")
        assert stop.value.code == 2
        assert str(place.runs) in (line := capsys.readouterr().err.splitlines()[-1])
        assert "File too large" in line
    assert place.last.read_bytes() == good
