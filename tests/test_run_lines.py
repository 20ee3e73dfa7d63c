"""What a training and a test print: a line per epoch, where the run is, and the next command, which works."""

import re
import shlex
import sys

import pytest

from tests.tiny_runs import column
from videoctx.cli import main
from videoctx.cli.lightning_messages import is_worth_reading
from videoctx.cli.progress_bar import is_shown


def last_line(printed: str, beginning: str) -> str:
    """Return the rest of the only line that begins so."""
    (line,) = [line for line in printed.splitlines() if line.startswith(beginning)]
    return line.removeprefix(beginning)


def test_a_training_and_the_commands_that_it_names(run, capsys, caplog, monkeypatch):
    capsys.readouterr()
    folder = run("fit")
    printed = capsys.readouterr().out
    first, *epochs = printed.splitlines()[:3]
    assert re.fullmatch(r"ResNet3D, 0\.02 M parameters; 2 epochs of 2 steps of 3 clips, 32-true on cpu", first), first
    number = r"\d+(?:\.\d+)?"
    for epoch, line in enumerate(epochs, start=1):
        assert re.fullmatch(
            rf"epoch {epoch}/2: train loss {number}, clip top-1 {number}%; val loss {number}, video top-1 {number}%;"
            rf" {number} clips/s; (?:0:\d\d:\d\d left|took 0:\d\d:\d\d)",
            line,
        ), line
    best = max(map(float, column(folder, "val/video_top1")))
    checkpoint = folder / "checkpoints" / "best.ckpt"
    assert last_line(printed, "run: ") == str(folder)
    assert last_line(printed, "best checkpoint: ") == f"{checkpoint} (val/video_top1 {best:.1%})"
    for message in ("Tip", "Seed set", "GPU available", "TPU", "stopped: `max_epochs", "FLOPs"):
        assert message not in caplog.text + printed

    command = shlex.split(last_line(printed, "next: "))
    assert command[:2] == ["videoctx", "test"]
    monkeypatch.setattr("sys.argv", ["videoctx"])
    main(command[1:])
    report = shlex.split(last_line(capsys.readouterr().out, "next: "))
    assert report == ["videoctx", "report", str(folder / "test")]
    main(report[1:])
    assert (folder / "test" / "report.html").is_file()


def test_without_test_videos_the_next_command_is_another_one(run, capsys, copy):
    manifest = copy / "manifest.csv"
    rows = [line for line in manifest.read_text().splitlines(keepends=True) if not line.strip().endswith("test")]
    manifest.write_text("".join(line for line in rows if ",test," not in line))
    folder = run("fit", f"--data.manifest={manifest}", "--trainer.max_epochs=1")
    command = shlex.split(last_line(capsys.readouterr().out, "next: "))
    assert command[:3] == ["videoctx", "classify", "VIDEO"]
    main(["classify", str(copy / "val0.mp4"), *command[3:]])
    assert str(folder) in command[-1]


def test_a_summary_is_lightnings_on_request(run, capsys):
    run("fit", "--trainer.max_epochs=1", "--trainer.enable_model_summary=true")
    assert "Trainable params" in capsys.readouterr().out


def test_a_bar_is_for_terminals(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert is_shown()
    monkeypatch.setenv("TERM", "dumb")
    assert not is_shown()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert not is_shown()


def test_short_epochs_are_logged(run):
    folder = run("fit", "--trainer.log_every_n_steps=50")
    assert len(column(folder, "train/loss")) == 2


def test_warnings_are_kept():
    import logging

    for level, expected in ((logging.INFO, False), (logging.WARNING, True)):
        record = logging.LogRecord("lightning", level, "", 0, "GPU available but not used", (), None)
        assert is_worth_reading(record) == expected


@pytest.mark.slow
def test_a_bar_in_a_terminal(place, tmp_path):
    """The bar takes one line of 80 columns, and the epochs' lines are above it."""
    import os
    import pty
    import subprocess

    config = tmp_path / "config.yaml"
    config.write_text(place.config.read_text().replace("  enable_progress_bar: false\n", ""))
    main_end, end = pty.openpty()
    options = [f"--trainer.logger.init_args.save_dir={tmp_path / 'runs'}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "videoctx", "fit", "-c", str(config), *options],
        stdout=end,
        stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    )
    os.close(end)
    written = b""
    while True:
        try:
            part = os.read(main_end, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        written += part
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written.decode())
    assert re.search(r"Epoch 2/2 +━+ 2/2 .*loss: \d\.\d+ val: \d\.\d+\r", text)
    assert "epoch 2/2: train loss" in text
    assert "v_num" not in text
