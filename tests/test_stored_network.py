"""An evaluation takes the network and the clips from its checkpoint, where the command line names no network."""

from dataclasses import replace

import pytest
import torch
import yaml

from tests.each_case import each_case
from tests.small_preprocessing import small_preprocessing
from tests.tiny_set import CLASSES, make_set
from videoctx.cli import main
from videoctx.cli.stored_network import with_stored_network
from videoctx.data.preprocessing import Preprocessing
from videoctx.data.settings import ClipSettings, TestSettings
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
    assert config["data"]["test"]["protocol"] == "pyslowfast"


def test_the_file_may_be_named_in_a_config(converted):
    for key in ("{model: {weights: FILE}}", "ckpt_path: FILE"):
        text = key.replace("FILE", str(converted))
        command, _, stored, *rest = with_stored_network(["test", "-c", text])
        assert (command, rest) == ("test", ["-c", text])
        assert yaml.safe_load(stored)["model"]["net"] == network_config(create_model("demo_r18", 2))


@each_case(
    "options",
    [
        {"protocol": "pyslowfast"},
        {"grid": "mmaction2_dense", "target_fps": 15.0},
        {"sampling": "segments", "grid": "tsm", "target_fps": None, "views": (1, 1)},
        {"fixed_size_px": (128, 171), "long_side": "nearest", "antialias": False, "arithmetic": "float"},
        {"crops": "quarters", "head_pooling": "whole_map", "short_videos": "refuse"},
    ],
)
def test_clips_are_those_of_the_file(converted, options):
    stored = torch.load(converted)
    made = replace(small_preprocessing(protocol="pyslowfast"), **options)
    torch.save(stored | {"preprocessing": made.as_dict()}, converted)
    groups = yaml.safe_load(with_stored_network(["test", f"--ckpt_path={converted}"])[2])["data"]
    clips, test = (
        kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in groups[group].items()})
        for group, kind in (("clips", ClipSettings), ("test", TestSettings))
    )
    assert replace(Preprocessing.from_settings(clips, test), train_crop_size_px=made.train_crop_size_px) == made


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "--model.weights", "FILE"],
        ["test"],
        ["test", "--ckpt_path", "nowhere.pt", "--model.net=videoctx.models.ResNet3D"],
        ["test", "--ckpt_path", "FILE", "--help"],
        [],
    ],
)
def test_other_arguments_stay_as_they_are(arguments, converted):
    arguments = [str(converted) if argument == "FILE" else argument for argument in arguments]
    assert with_stored_network(arguments) == arguments


@each_case(
    "named",
    [
        ["-c", "model: {net: {class_path: videoctx.models.ResNet3D}}"],
        ["--model.net=videoctx.models.ResNet3D"],
    ],
)
def test_weights_alone_are_those_of_the_named_network(converted, named):
    kept = with_stored_network(["test", "--ckpt_path", str(converted), *named])
    assert kept == ["test", "--model.weights", str(converted), *named]


def test_classes_are_those_of_the_file_where_the_manifest_has_none(converted, tmp_path):
    torch.save(torch.load(converted) | {"multi_label": True}, converted)
    options = ["test", f"--ckpt_path={converted}", f"--data.manifest={tmp_path / 'manifest.csv'}"]
    for named in ([], ["--model.net=videoctx.models.ResNet3D"]):
        data = yaml.safe_load(with_stored_network([*options, *named])[2])["data"]
        assert (data["class_file"], data["multi_label"]) == (CLASSES, True)
    (tmp_path / "classes.txt").write_text("a\nb\n")
    assert "class_file" not in yaml.safe_load(with_stored_network(options)[2])["data"]


@each_case(
    "content, message",
    [
        (None, "net.pt: no such checkpoint"),
        (b"", "net.pt: not a checkpoint; expected"),
        ({"fc.weight": torch.zeros(2, 2)}, "net.pt: does not state its network; expected -c or --model.net, or what"),
    ],
)
def test_a_file_that_cannot_tell_its_network_is_named(content, message, tmp_path):
    if isinstance(content, dict):
        torch.save(content, tmp_path / "net.pt")
    elif content is not None:
        (tmp_path / "net.pt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        with_stored_network(["test", f"--ckpt_path={tmp_path / 'net.pt'}"])


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
