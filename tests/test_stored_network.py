"""An evaluation takes the network and the clips from its checkpoint, where the command line names no network."""

import pytest
import torch
import yaml

from tests.small_preprocessing import small_preprocessing
from tests.tiny_set import CLASSES, make_set
from videoctx.cli import main
from videoctx.cli.stored_network import with_stored_network
from videoctx.models import create_model
from videoctx.models.network_config import network_config


@pytest.fixture
def converted(tmp_path):
    """A file as `videoctx convert` writes it."""
    torch.manual_seed(0)
    net = create_model("demo_r18", len(CLASSES))
    stored = {
        "format": "videoctx",
        "state_dict": net.state_dict(),
        "class_names": CLASSES,
        "net": network_config(net),
        "preprocessing": small_preprocessing(protocol="pyslowfast").as_dict(),
        "multi_label": False,
    }
    torch.save(stored, tmp_path / "net.pt")
    return tmp_path / "net.pt"


def test_network_and_clips_of_the_file_come_first(converted):
    command, option, text, *rest = with_stored_network(["test", f"--ckpt_path={converted}", "--data.batch_size", "2"])
    assert (command, option, rest) == ("test", "-c", [f"--model.weights={converted}", "--data.batch_size", "2"])
    config = yaml.safe_load(text)
    assert config["model"]["net"] == network_config(create_model("demo_r18", 2))
    assert config["data"]["clips"] | config["data"]["test"] == {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in small_preprocessing(protocol="pyslowfast").as_dict().items()
        if name in config["data"]["clips"] | config["data"]["test"]
    }
    assert config["data"]["test"]["protocol"] == "pyslowfast"


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "--model.weights", "FILE"],
        ["test"],
        ["test", "--ckpt_path", "nowhere.pt"],
        ["test", "--ckpt_path", "FILE", "-c", "model: {net: {class_path: videoctx.models.ResNet3D}}"],
        ["test", "--ckpt_path", "FILE", "--model.net=videoctx.models.ResNet3D"],
        ["test", "--ckpt_path", "FILE", "--help"],
        [],
    ],
)
def test_other_arguments_stay_as_they_are(arguments, converted):
    arguments = [str(converted) if argument == "FILE" else argument for argument in arguments]
    assert with_stored_network(arguments) == arguments


@pytest.mark.slow
def test_a_converted_file_is_tested_without_a_config(converted, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["videoctx"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    manifest = make_set(tmp_path / "set", num_videos={"train": 0, "val": 0, "test": 4})
    options = ["--trainer.accelerator=cpu", "--data.loading.num_workers=0", "--trainer.enable_progress_bar=false"]
    main(["test", f"--ckpt_path={converted}", f"--data.manifest={manifest}", *options])
    (results,) = tmp_path.glob("runs/unnamed/version_0/**/scores.parquet")
    assert results.stat().st_size
