"""Commands on the tiny set, and what they leave behind; the fixtures are a plugin of conftest.py."""

import csv
import json
import shutil
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

from tests.once_per_session import once_per_session
from tests.tiny_set import make_set, write_config
from videoctx.cli import main

VIDEOS = {"train": 6, "val": 3, "test": 5}


class Place(NamedTuple):
    """Where the runs of this file are."""

    videos: Path
    config: Path
    runs: Path

    @property
    def last(self) -> Path:
        return self.runs / "trained" / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with videos, a config, and one trained network, which all tests share."""

    def train(folder: Path) -> None:
        (folder / "videos").mkdir()
        manifest = make_set(folder / "videos", num_videos=VIDEOS)
        config = write_config(folder / "config.yaml", manifest=manifest, runs=folder / "runs")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["videoctx"])
            main(["fit", "-c", str(config), "--trainer.logger.init_args.name=trained", "--trainer.max_epochs=4"])

    folder = once_per_session(tmp_path_factory, "cli", train)
    return Place(folder / "videos", folder / "config.yaml", folder / "runs")


@pytest.fixture
def run(place, monkeypatch, request):
    """Runs a command with the config and more arguments; the run's folder, named after the test."""
    monkeypatch.setattr("sys.argv", ["videoctx"])

    def run(command: str, *arguments: object, name: str = "") -> Path:
        name = f"{request.path.stem}-{request.node.name}{name}".replace("/", "-")
        main([command, "-c", str(place.config), *map(str, arguments), f"--trainer.logger.init_args.name={name}"])
        return place.runs / name

    return run


@pytest.fixture
def refused(run, capsys):
    """The one line on stderr with which a command ends, without the program's name."""

    numbers = count()

    def refused(command: str, *arguments: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run(command, *arguments, name=f"-refused{next(numbers)}")  # some are refused once their folder exists
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("videoctx: ")
        return line.removeprefix("videoctx: ")

    return refused


@pytest.fixture
def copy(place, tmp_path):
    """A copy of the videos, to spoil; the option that names it."""
    shutil.copytree(place.videos, tmp_path / "copy")
    return tmp_path / "copy"


def manifest_of(folder: Path) -> str:
    return f"--data.manifest={folder / 'manifest.csv'}"


def column(run: Path, name: str) -> list[str]:
    with (run / "metrics.csv").open() as file:
        return [row[name] for row in csv.DictReader(file) if row.get(name)]


def scores_of(run: Path) -> list[dict]:
    return pq.read_table(run / "scores.parquet").to_pylist()


def result_of(run: Path) -> dict:
    return json.loads((run / "results.json").read_text())
