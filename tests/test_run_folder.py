"""The folder of a run: its card, and the same numbers as a table and for TensorBoard."""

import csv
import hashlib
import json
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.tiny_runs import VIDEOS, column
from videoctx.cli import main
from videoctx.cli.run_folder import with_tensorboard
from videoctx.data.annotations import read_manifest
from videoctx.data.fingerprint import fingerprint


def files_of(folder: Path) -> list[str]:
    return sorted(path.name.partition(".tfevents")[0] for path in folder.iterdir())


def card_of(folder: Path) -> dict:
    return json.loads((folder / "training_card.json").read_text())


def scalars_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder)).Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


@pytest.fixture
def trained(place):
    return place.runs / "trained"


def test_the_files_of_a_training_and_of_a_test(place, trained, run):
    assert files_of(trained) == ["checkpoints", "config.yaml", "events.out", "metrics.csv", "training_card.json"]
    tested = files_of(run("test", "--ckpt_path", place.last))
    assert "card.json" in tested
    assert {"training_card.json", "events.out"}.isdisjoint(tested)


def test_tensorboard_has_the_numbers_of_the_table(trained):
    scalars = scalars_of(trained)
    with (trained / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert set(scalars) == set(rows[0]) - {"step"}
    for name, points in scalars.items():
        assert points == [(int(row["step"]), pytest.approx(float(row[name]))) for row in rows if row[name]]


def test_speed_and_learning_rate_are_logged_with_the_loss(trained):
    num_logged = len(column(trained, "train/loss"))
    assert num_logged == 4 * VIDEOS["train"] // 3
    for name in ("train/clips_per_second", "train/data_wait_fraction"):
        assert len(column(trained, name)) == num_logged
    assert set(column(trained, "lr-SGD/weights")) == {"0.02"}
    assert all(float(value) > 0 for value in column(trained, "train/clips_per_second"))
    assert all(0 < float(value) < 1 for value in column(trained, "train/data_wait_fraction"))


def test_the_card_of_a_training(place, trained):
    card = card_of(trained)
    data = card["data"]
    names = (place.videos / "classes.txt").read_text().split()
    records = read_manifest(place.videos / "manifest.csv", names, split="train")
    assert data["manifest_sha256"] == fingerprint(records, names, root=str(place.videos))
    assert (data["manifest"], data["split"]) == (str(place.videos / "manifest.csv"), "train")
    assert (data["num_videos"], data["clip_len"], data["seed"]) == (VIDEOS["train"], 4, 0)
    assert (card["seed"], card["device"], card["ranks"]) == (0, "cpu", {"all": 1, "nodes": 1})
    assert card["checkpoint"] is None
    assert card["command"].startswith("videoctx fit ")
    assert {"git", "code", "versions", "folder", "time", "host"} <= card.keys()


def test_the_card_of_a_resumed_run(place, run, trained):
    before = (trained / "training_card.json").read_bytes()
    folder = run("fit", f"--ckpt_path={place.last}", "--trainer.max_epochs=5")
    last = {"path": str(place.last), "sha256": hashlib.sha256(place.last.read_bytes()).hexdigest()}
    assert card_of(folder)["checkpoint"] == last
    assert (trained / "training_card.json").read_bytes() == before


def test_the_initial_weights_are_on_the_card(place, run):
    folder = run("fit", f"--model.weights={place.last}", "--seed_everything=7")
    assert (card_of(folder)["checkpoint"]["path"], card_of(folder)["seed"]) == (str(place.last), 7)


@pytest.mark.slow
def test_folders_are_numbered_by_default(place, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["videoctx"])
    without = tmp_path / "config.yaml"
    without.write_text(place.config.read_text().partition("  logger:")[0])
    for name in ([], [], ["--trainer.logger.init_args.name=named"]):
        main(["fit", f"-c={without}", "--trainer.max_epochs=1", *name])
    folders = [f"runs/{name}" for name in ("named/version_0", "unnamed/version_0", "unnamed/version_1")]
    assert sorted(str(path.parent) for path in Path().rglob("training_card.json")) == folders
    assert all(len(scalars_of(tmp_path / folder)["train/loss"]) == 2 for folder in folders)


def test_loggers_of_the_user_stay_as_they_are(tmp_path):
    table, events = CSVLogger(tmp_path), TensorBoardLogger(tmp_path)
    for loggers in ([], [events], [table, events]):
        assert with_tensorboard(loggers) == loggers
