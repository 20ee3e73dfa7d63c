"""Checkpoints of a training from Python hold everything, load again, and are refused in one line where they cannot."""

import json
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn

import videoctx
from tests.tasks.synthetic_runs import (
    CLASSES,
    PREPROCESSING,
    batch_of,
    classifier,
    small_resnet,
    synthetic_clips,
    trainer,
)
from videoctx.contract import TaskData
from videoctx.data.datamodule import VideoDataModule
from videoctx.layers import NonLocal
from videoctx.models import ResNet3D
from videoctx.models.network_config import network_config
from videoctx.tasks import EMA, VideoClassifier

CLIPS = batch_of(2, seed=9).clips


def context_resnet(num_classes: int) -> ResNet3D:
    return small_resnet(num_classes, context=NonLocal, context_at={"res3": [0]})


class OwnNet(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(3, num_classes)

    def forward(self, clips):
        return self.head(clips.mean(dim=(2, 3, 4)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with `last.ckpt`, `weights.ckpt` without the state of the run, and the task that wrote them."""
    folder = tmp_path_factory.mktemp("trained")
    task = classifier(context_resnet, lr=0.01)
    run = trainer(folder, EMA(decay=0.5))
    run.fit(task, synthetic_clips(2))
    run.save_checkpoint(folder / "weights.ckpt", weights_only=True)
    return folder, task.eval()


@pytest.mark.parametrize("name", ["last.ckpt", "weights.ckpt"])
def test_every_checkpoint_holds_classes_network_and_preprocessing(trained, name):
    folder, task = trained
    stored = torch.load(folder / name, weights_only=True)
    assert stored["class_names"] == CLASSES
    assert stored["net"] == network_config(task.net) is not None
    assert stored["preprocessing"] == PREPROCESSING
    assert stored["multi_label"] is False
    assert stored["clips_per_step"] == 4


@pytest.mark.parametrize("name", ["last.ckpt", "weights.ckpt"])
def test_load_from_checkpoint_returns_the_task(trained, name):
    folder, task = trained
    loaded = VideoClassifier.load_from_checkpoint(folder / name, "cpu", seed=3)
    assert (loaded.class_names, loaded.preprocessing, loaded.seed) == (CLASSES, PREPROCESSING, 3)
    assert loaded.training
    stored = torch.load(folder / name, weights_only=True)["state_dict"]
    assert all(torch.equal(tensor, stored[name]) for name, tensor in loaded.state_dict().items())
    with torch.no_grad():
        assert torch.equal(loaded.eval()(CLIPS), task(CLIPS))  # the average


def test_videoctx_load_reads_it(trained):
    folder, task = trained
    loaded = videoctx.load(folder / "last.ckpt")
    assert (loaded.class_names, loaded.multi_label) == (CLASSES, False)
    with torch.no_grad():
        torch.testing.assert_close(loaded.net(CLIPS), task(CLIPS))  # another memory layout


def test_the_data_module_is_a_task_data(tmp_path):
    (tmp_path / "manifest.csv").write_text("path,label,split\n")
    (tmp_path / "classes.txt").write_text("clap\nwave\n")
    data = VideoDataModule(str(tmp_path / "manifest.csv"), batch_size=3)
    assert isinstance(data, TaskData)
    assert (data.class_names, data.multi_label, data.clips_per_device) == (["clap", "wave"], False, 3)
    assert set(data.preprocessing_dict()) == set(PREPROCESSING)


def test_a_loaded_task_trains_and_saves_again(trained, tmp_path):
    folder, _ = trained
    loaded = VideoClassifier.load_from_checkpoint(folder / "last.ckpt", optimizer=classifier(lr=0.01).optimizer)
    run = trainer(tmp_path)
    run.fit(loaded, synthetic_clips(1, validates=False))
    again = VideoClassifier.load_from_checkpoint(tmp_path / "last.ckpt")
    with torch.no_grad():
        assert torch.equal(again.eval()(CLIPS), loaded.eval()(CLIPS))


def test_a_network_of_the_user_s_own_is_given(tmp_path):
    task = classifier(OwnNet)
    trainer(tmp_path).fit(task, synthetic_clips(1))
    with pytest.raises(ValueError, match=r"last\.ckpt: has no config of its network.* expected the network, as net="):
        VideoClassifier.load_from_checkpoint(tmp_path / "last.ckpt")
    for net in (OwnNet, OwnNet(3)):
        loaded = VideoClassifier.load_from_checkpoint(tmp_path / "last.ckpt", net=net)
        assert torch.equal(loaded(CLIPS), task(CLIPS))
    with pytest.raises(ValueError, match=r"last\.ckpt: its weights are those of another network: \d+ differ"):
        VideoClassifier.load_from_checkpoint(tmp_path / "last.ckpt", net=small_resnet)


def test_plain_loaders_train_without_preprocessing(tmp_path):
    task = classifier(OwnNet, multi_label=True)
    trainer(tmp_path).fit(task, synthetic_clips(1, multi_label=True).train_dataloader())
    stored = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert (stored["net"], stored["preprocessing"], stored["clips_per_step"]) == (None, None, None)
    assert VideoClassifier.load_from_checkpoint(tmp_path / "last.ckpt", net=OwnNet).multi_label


class Planted:
    """An object whose unpickling would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_unusable_files_are_refused_in_one_line(trained, tmp_path):
    content = (trained[0] / "last.ckpt").read_bytes()
    half = len(content) // 2
    files = {
        "truncated": content[:half],
        "damaged": content[:half] + bytes([content[half] ^ 255]) + content[half + 1 :],
        "text": b"no checkpoint\n" * 99,
        "empty": b"",
    }
    for name, data in files.items():
        (tmp_path / f"{name}.ckpt").write_bytes(data)
    torch.save({"state_dict": {"a": torch.ones(1)}}, tmp_path / "foreign.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    torch.save({"state_dict": Planted(tmp_path / "was_run")}, tmp_path / "code.ckpt")
    for name in (*files, "foreign", "list", "code", "missing"):
        path = tmp_path / f"{name}.ckpt"
        with pytest.raises(ValueError, match=name) as caught:
            VideoClassifier.load_from_checkpoint(path)
        assert str(caught.value).startswith(f"{path}: "), name
        assert "\n" not in str(caught.value), name
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("work", ["fit", "validate", "test", "predict"])
def test_a_trainer_refuses_the_same_files(trained, tmp_path, work):
    content = (trained[0] / "last.ckpt").read_bytes()
    (tmp_path / "truncated.ckpt").write_bytes(content[: len(content) // 2])
    torch.save({"state_dict": Planted(tmp_path / "was_run")}, tmp_path / "code.ckpt")
    for name in ("truncated", "code"):
        with pytest.raises(ValueError, match=f"{name}.ckpt: "):
            getattr(trainer(tmp_path), work)(
                classifier(context_resnet), datamodule=synthetic_clips(1), ckpt_path=tmp_path / f"{name}.ckpt"
            )
    assert not (tmp_path / "was_run").exists()


def test_ckpt_path_works_from_python(trained, tmp_path, capsys):
    """A test and a prediction write the files that the command line writes."""
    folder, _ = trained
    for work, files in {
        "test": {"scores.parquet", "results.json", "classes.csv", "confusion.csv", "card.json"},
        "predict": {"scores.parquet", "predictions.csv", "card.json"},
    }.items():
        run = trainer(tmp_path, logger=CSVLogger(tmp_path, name=work, version=""))
        result = getattr(run, work)(
            classifier(context_resnet), datamodule=synthetic_clips(), ckpt_path=folder / "last.ckpt"
        )
        assert {file.name for file in (tmp_path / work).iterdir()} >= files
        card = json.loads((tmp_path / work / "card.json").read_text())
        assert card["checkpoint"]["path"] == str(folder / "last.ckpt")
        assert card["data"]["split"] == "test"
        if work == "predict":
            assert [scores.shape for scores in result] == [(6, 3)]
    assert "6 videos, 6 views, 0 failed: clip top-1" in capsys.readouterr().out


def test_a_training_without_a_logger_writes_checkpoints_only(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    trainer(tmp_path / "checkpoints").fit(classifier(OwnNet), synthetic_clips(1))
    assert list((tmp_path / "here").iterdir()) == []


def test_a_training_with_a_logger_writes_its_card(tmp_path):
    run = trainer(tmp_path, logger=CSVLogger(tmp_path, name="run", version=""))
    run.fit(classifier(OwnNet), synthetic_clips(1))
    card = json.loads((tmp_path / "run" / "training_card.json").read_text())
    assert (card["data"]["split"], card["ranks"]) == ("train", {"all": 1, "nodes": 1})


def test_a_resumed_run_from_python_is_the_same(tmp_path):
    weights = []
    for epochs in ([2], [1, 2]):
        for max_epochs in epochs:
            task = classifier(context_resnet)
            start = tmp_path / "last.ckpt" if max_epochs > epochs[0] else None
            trainer(tmp_path, max_epochs=max_epochs).fit(task, synthetic_clips(2, validates=False), ckpt_path=start)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in task.parameters()]))
        (tmp_path / "last.ckpt").unlink()
    assert torch.equal(*weights)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"class_names": ["clap", "wave", "run"]},
            r"class_names of the task are not those of the data: the same classes in another order",
        ),
        ({"multi_label": True}, "multi_label of the task is False, and of the data True"),
    ],
)
def test_a_task_and_its_data_have_the_same_labels(tmp_path, arguments, message):
    for work in ("fit", "test"):
        with pytest.raises(ValueError, match=message):
            getattr(trainer(tmp_path), work)(classifier(OwnNet), datamodule=synthetic_clips(1, **arguments))


def test_plain_loaders_after_a_data_module_are_not_described_by_it(tmp_path):
    run = trainer(tmp_path, logger=CSVLogger(tmp_path, name="run", version=""))
    task = classifier(OwnNet)
    run.fit(task, synthetic_clips(1))
    run.test(task, synthetic_clips(1).test_dataloader())
    assert json.loads((tmp_path / "run" / "card.json").read_text())["data"] == {}


def test_multi_label_is_compared_with_the_checkpoint():
    task = classifier(OwnNet, multi_label=True)
    checkpoint = {"state_dict": task.state_dict()}
    task.on_save_checkpoint(checkpoint)
    with pytest.raises(ValueError, match="was trained with multi_label True, and the task has False"):
        classifier(OwnNet).on_load_checkpoint(checkpoint)
