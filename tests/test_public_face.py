"""`import videoctx`: lazy, complete, and equal to what it names."""

import subprocess
import sys

import pytest
import torch

import videoctx
from videoctx.models import ResNet3D
from videoctx.shipped_configs import configs_folder, find_config, list_configs, merge, read_config


def run_python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)


def test_import_needs_few_modules_of_the_standard_library():
    code = (
        "import sys; before = set(sys.modules); import videoctx;"
        " new = set(sys.modules) - before;"
        " print(sorted({name.partition('.')[0] for name in new} - sys.stdlib_module_names - {'videoctx'}), len(new))"
    )
    others, num_modules = run_python("-c", code).stdout.rsplit(maxsplit=1)
    assert others == "[]"
    assert int(num_modules) < 20  # as many take a few milliseconds


def test_layers_need_torch_alone():
    code = (
        "import sys, torch; before = set(sys.modules); import videoctx.layers;"
        " new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        " print(sorted(new - sys.stdlib_module_names - {'videoctx', 'torch'}))"
    )
    assert run_python("-c", code).stdout.strip() == "[]"


def test_every_public_name_is_there():
    assert set(videoctx.__all__) <= set(dir(videoctx))
    for name in videoctx.__all__:
        assert getattr(videoctx, name) is not None
    assert videoctx.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="has no attribute 'lead'"):
        _ = videoctx.lead


# Networks by name -------------------------------------------------------------------------------------------------


def test_list_models_has_every_file_of_configs_model():
    files = {path.stem for path in (configs_folder() / "model").glob("*.yaml")}
    assert set(videoctx.list_models()) == files
    assert videoctx.list_models("slow_r50_gc*") == ["slow_r50_gc5", "slow_r50_gc_all"]


def test_created_network_is_that_of_its_config():
    net = videoctx.create_model("small_r18", 5, dropout=0.25, width=8)
    assert isinstance(net, ResNet3D)
    assert net.config["init_args"] == {"depth": 18, "width": 8, "pool2_t": [1, 1], "dropout": 0.25}
    with pytest.raises(ValueError, match="ResNet3D has no argument 'dropot'; expected perhaps dropout"):
        videoctx.create_model("small_r18", 5, dropot=0.25)
    with pytest.raises(ValueError, match=r"no model is named 'slow_r50_gc'; expected perhaps .*slow_r50_gc5"):
        videoctx.create_model("slow_r50_gc", 5)


def test_created_network_takes_weights_and_logs_what_was_not_loaded(tmp_path, capsys, caplog):
    source = videoctx.create_model("small_r18", 7, width=8)
    torch.save(source.state_dict(), tmp_path / "seven.pth")
    caplog.set_level("INFO")
    net = videoctx.create_model("small_r18", 5, weights=tmp_path / "seven.pth", width=8)
    assert torch.equal(net.stem.conv.weight, source.stem.conv.weight)
    assert "2 reshaped (head.weight (7, 64) → (5, 64)" in caplog.text
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ValueError, match=r"seven.pth: the weights do not fit the network"):
        videoctx.create_model("small_r18", 5, weights=tmp_path / "seven.pth", width=16)


def test_created_network_takes_a_file(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text("model: {net: {class_path: videoctx.models.ResNet3D, init_args: {width: 8}}}")
    monkeypatch.chdir(tmp_path)
    with torch.device("meta"):
        assert videoctx.create_model("mine.yaml", 5).head.in_features == 256
        assert videoctx.create_model("mine", 5).head.in_features == 256
    (tmp_path / "mine.yaml").write_text("model: {net: {class_path: torch.nn.Linear}}")
    with pytest.raises(ValueError, match=r"torch.nn.Linear is no network or layer of videoctx"):
        videoctx.create_model("mine.yaml", 5)
    (tmp_path / "mine.yaml").write_text("trainer: {max_epochs: 1}")
    with pytest.raises(ValueError, match=r"mine.yaml: has no model.net with class_path"):
        videoctx.create_model("mine.yaml", 5)


# Configs by name --------------------------------------------------------------------------------------------------


def test_every_config_has_a_description():
    assert [name for name, text in list_configs().items() if len(text) < 15] == []


def test_configs_are_found_by_name(tmp_path, monkeypatch):
    experiment = configs_folder() / "experiment" / "own_videos.yaml"
    assert find_config("own_videos") == find_config("experiment/own_videos") == experiment
    with pytest.raises(ValueError, match="own_vids: no such file, and no config of that name; expected perhaps exp"):
        find_config("own_vids")
    with pytest.raises(ValueError, match=r"several configs are named 'relations'; expected one of data/r.*, experim"):
        find_config("relations")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_videos.yaml").write_text("seed_everything: 1")
    assert find_config("own_videos").read_text() == "seed_everything: 1"


def test_a_config_is_merged_with_its_parts(tmp_path):
    (tmp_path / "part.yaml").write_text("model: {net: {class_path: a.B, init_args: {x: 1, y: 2}}, other: {z: 1}}")
    (tmp_path / "whole.yaml").write_text("parts: [part.yaml]\nmodel: {net: {init_args: {y: 3}}}")
    expected = {"net": {"class_path": "a.B", "init_args": {"x": 1, "y": 3}}, "other": {"z": 1}}
    assert read_config(tmp_path / "whole.yaml") == {"model": expected}
    assert merge(expected, {"net": {"class_path": "a.C"}}) == expected | {"net": {"class_path": "a.C"}}
    (tmp_path / "part.yaml").write_text("parts: [whole.yaml]")
    with pytest.raises(ValueError, match="the config is a part of itself"):
        read_config(tmp_path / "whole.yaml")
