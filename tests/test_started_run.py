"""A run that fails before its first step leaves no folder, and one that fails later keeps it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from tests.each_case import each_case
from videoctx.cli import main
from videoctx.cli.started_run import StartedRun
from videoctx.tasks import VideoClassifier


class FailsOnRankOne(Callback):
    """Fails on one rank, while the other one is in the same step."""

    def on_before_backward(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_rank == 1:
            raise ValueError("rank 1 fails")


@pytest.fixture
def fails(place, tmp_path, monkeypatch):
    """Starts a command that fails, and returns the paths in the folder that its runs are in."""
    monkeypatch.setattr("sys.argv", ["videoctx"])

    def fails(command: str, *arguments: object) -> list[Path]:
        logger = "--trainer.logger.init_args"
        folder = tmp_path / "new" / "runs"
        where = [f"{logger}.save_dir={folder}", f"{logger}.name=deep/run", f"{logger}.version=null"]
        with pytest.raises((SystemExit, Failed)):
            main([command, "-c", str(place.config), *where, *map(str, arguments)])
        return sorted((tmp_path / "new").rglob("*")) if (tmp_path / "new").exists() else []

    return fails


class Failed(RuntimeError):
    """An error that is no user's."""


@each_case(
    "arguments",
    [
        ["--model.weights=gone.pt"],
        ["--data.manifest=gone.csv"],
        ["--trainer.accelerator=gpu"],
        ["--trainer.no_such_option=1"],
        ["--data.val_split=gone"],
        ["--data.train_split=gone"],
        ["--data.train.crop_size_px=100000", "--data.train.short_side_px=[100000,100001]"],
    ],
)
def test_a_training_that_cannot_begin(fails, arguments):
    assert fails("fit", *arguments) == []


@each_case(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory."), KeyboardInterrupt(), Failed("no user's")]
)
def test_a_training_that_fails_in_its_first_step(fails, monkeypatch, error):
    def step(*_: object) -> None:
        raise error

    monkeypatch.setattr(VideoClassifier, "training_step", step)
    assert fails("fit") == []


def test_a_training_that_fails_in_its_sanity_check(fails, monkeypatch):
    def step(*_: object) -> None:
        raise Failed

    monkeypatch.setattr(VideoClassifier, "validation_step", step)
    assert fails("fit") == []


def test_a_training_that_fails_in_its_second_step_keeps_its_folder(fails, monkeypatch):
    whole = VideoClassifier.training_step

    def step(task: VideoClassifier, batch: object, batch_idx: int) -> torch.Tensor:
        if batch_idx == 1:
            raise Failed
        return whole(task, batch, batch_idx)

    monkeypatch.setattr(VideoClassifier, "training_step", step)
    names = {path.name.partition(".tfevents")[0] for path in fails("fit")}
    assert {"config.yaml", "training_card.json", "version_0"} <= names


def test_an_evaluation_that_fails(fails, place):
    checkpoint = f"--ckpt_path={place.last}"
    assert fails("test", checkpoint, "--model.net.init_args.width=3") == []
    assert fails("test", checkpoint, "--data.test_split=gone") == []
    assert fails("validate", checkpoint, "--data.val_split=gone") == []
    assert fails("predict", checkpoint, "--data.test_split=gone") == []


def test_what_was_there_before_stays(tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("notes.txt", "hparams.yaml"):
        (tmp_path / "run" / name).write_text("mine")
    started = StartedRun()
    started.note(tmp_path / "run")
    (tmp_path / "run" / "config.yaml").touch()
    started.remove_unless_kept()
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["hparams.yaml", "notes.txt"]


@each_case("name", ["checkpoints/last.ckpt", "scores.parquet", "metrics.csv"])
def test_results_stay_whoever_has_written_them(tmp_path_factory, name):
    """Processes that were started with `spawn` do not return that they have trained."""
    run = tmp_path_factory.mktemp("runs") / "run"
    started = StartedRun()
    started.note(run)
    (run / name).parent.mkdir(parents=True)
    (run / name).write_text("step,train/loss\n")
    started.remove_unless_kept()
    assert (run / name).exists()


def test_folders_of_other_runs_stay(tmp_path):
    started = StartedRun()
    started.note(tmp_path / "runs" / "own" / "version_0")
    for number in (0, 1):
        (tmp_path / "runs" / "own" / f"version_{number}").mkdir(parents=True)
    started.remove_unless_kept()
    assert [path.name for path in (tmp_path / "runs" / "own").iterdir()] == ["version_1"]


def test_the_folder_of_another_run_is_not_removed(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["videoctx"])
    shutil.copytree(place.runs / "trained", tmp_path / "trained")
    before = sorted((tmp_path / "trained").iterdir())
    logger = "--trainer.logger.init_args"
    with pytest.raises(SystemExit):
        main(["fit", "-c", str(place.config), f"{logger}.save_dir={tmp_path}", f"{logger}.name=trained"])
    assert "holds the config of another run" in capsys.readouterr().err
    assert sorted((tmp_path / "trained").iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [["--model.weights=gone.pt"], ["--trainer.callbacks+=tests.test_started_run.FailsOnRankOne"]]
)
def test_two_ranks(place, tmp_path, arguments):
    options = [
        "--trainer.devices=2",
        "--trainer.strategy=ddp",
        f"--trainer.logger.init_args.save_dir={tmp_path / 'runs'}",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "videoctx", "fit", "-c", str(place.config), *options, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert done.returncode != 0
    assert not (tmp_path / "runs").exists(), done.stderr[-2000:]
