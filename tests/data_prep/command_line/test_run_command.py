"""What all commands have in common: help, exit statuses, and Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prep.command_line.run_command import run_command
from tests.numbered import write_video

ROOT = Path(__file__).parents[3]
COMMANDS = sorted(path.parent.name for path in (ROOT / "data_prep").glob("*/__main__.py"))
HEAVY = {"torch", "torchvision", "lightning", "numpy", "av", "rich", "jinja2", "fsspec", "pebble", "imagehash"}


def test_help_imports_nothing_heavy_and_has_an_example():
    script = (
        "import importlib, io, sys\nfrom contextlib import redirect_stdout, suppress\n"
        "for name in sys.argv[1:]:\n"
        "    text = io.StringIO()\n"
        "    with suppress(SystemExit), redirect_stdout(text):\n"
        "        importlib.import_module(f'data_prep.{name}.__main__').main(['--help'])\n"
        "    assert f'example: python -m data_prep.{name} ' in text.getvalue(), text.getvalue()\n"
        "print(*{module.partition('.')[0] for module in sys.modules})\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, *COMMANDS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert len(COMMANDS) == 8
    assert not set(run.stdout.split()) & HEAVY


def test_status_is_that_of_the_command_and_errors_are_one_line(capsys):
    def succeed() -> int:
        return 1

    def return_no_status() -> Path:
        return Path("manifest.csv")

    def fail() -> int:
        raise OSError("the disk is full")

    def interrupt() -> int:
        raise KeyboardInterrupt

    assert run_command("name", succeed, []) == 1
    assert run_command("name", return_no_status, []) == 0
    assert run_command("name", fail, []) == 2
    assert capsys.readouterr().err == "name: the disk is full\n"
    assert run_command("name", interrupt, [], when_interrupted="nothing was written") == 130
    assert capsys.readouterr().err == "name: interrupted; nothing was written\n"


def test_arguments_that_are_refused_are_one_line(capsys):
    def command(root: Path, *, folds: int | None = None) -> None:
        """Do something."""

    refused = {
        ("videos", "--folds=x"): "name: folds is x; expected a whole number or null\n",
        (
            "videos",
            "--nonsense",
        ): "name: unrecognized arguments: --nonsense; `python -m data_prep.name --help` lists the options\n",
        (): "name: the following arguments are required: root; `python -m data_prep.name --help` lists the options\n",
    }
    for arguments, line in refused.items():
        assert run_command("name", command, arguments) == 2
        assert capsys.readouterr().err == line


def test_errors_of_the_program_keep_their_traceback():
    def fail() -> int:
        raise KeyError("a mistake")

    with pytest.raises(KeyError):
        run_command("name", fail, [])


@pytest.mark.slow
def test_interrupt_at_any_moment_is_one_line_and_leaves_no_partial_file(tmp_path):
    """The signal goes to the whole process group, as from a terminal, also while workers start."""
    sources = tmp_path / "sources"
    sources.mkdir()
    video = write_video(sources / "0.mp4", num_frames=60).path.read_bytes()
    for number in range(1, 40):
        (sources / f"{number}.mp4").write_bytes(video)
    rows = "".join(f"{number}.mp4,clap,train\n" for number in range(40))
    (sources / "manifest.csv").write_text(f"path,label,split\n{rows}")
    (sources / "classes.txt").write_text("clap\n")
    manifest = str(sources / "manifest.csv")
    for seconds in (0.4, 0.8, 1.2, 1.8):
        output = tmp_path / f"output {seconds}"
        commands = {
            "inspect_videos": [manifest, "--output", str(output / "manifest.csv")],
            "transcode": [manifest, str(output)],
            "summarize": [manifest, "--output", str(output / "page.html"), "--videos_per_class", "40"],
            "write_shards": [manifest, str(output / "shards")],
            "make_toy_dataset": [str(output / "toy")],
            "make_relations_dataset": [str(output / "relations")],
        }
        for name, arguments in commands.items():
            process = subprocess.Popen(
                [sys.executable, "-m", f"data_prep.{name}", *arguments],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            time.sleep(seconds)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=120)
            assert process.returncode in (130, 0, 1), (name, seconds, errors)
            assert "Traceback" not in errors, (name, seconds)
            if process.returncode == 130:
                assert f"{name}: interrupted; " in errors.splitlines()[-1]
            left = [path for path in output.rglob(".*") if path.name.startswith((".part-", ".transcode-"))]
            assert not left, (name, seconds)
