"""The tools construct networks and layers only, whatever a config names."""

import pytest
import yaml
from jsonargparse import Namespace
from torch import nn

from videoctx.cli import main
from videoctx.cli.network_check import check_network
from videoctx.models import ResNet3D

COMMANDS = {
    "classify": ["clip.mp4", "--ckpt_path", "a.ckpt"],
    "features": ["clip.mp4", "--ckpt_path", "a.ckpt", "-o", "features.npz"],
    "attention": ["clip.mp4", "--ckpt_path", "a.ckpt"],
    "export": ["--ckpt_path", "a.ckpt", "--format", "onnx", "--output", "net.onnx"],
    "convert": ["a.pyth", "-o", "b.pt"],
    "complexity": [],
    "bench": ["model"],
}


def config_of(file, net):
    file.write_text(yaml.safe_dump({"model": {"net": net}}))
    return str(file)


def call(ran):
    return {"class_path": "os.system", "init_args": {"command": f"touch {ran}"}}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_tool_does_not_call_a_function_of_a_config(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config, ran = config_of(tmp_path / "config.yaml", call(tmp_path / "ran")), tmp_path / "ran"
    tool, *_ = words = [command, *COMMANDS[command]]
    with pytest.raises(SystemExit) as stop:
        main([*words, "-c", config])
    (line,) = capsys.readouterr().err.splitlines()
    assert (stop.value.code, ran.exists()) == (2, False)
    assert "model.net.class_path is os.system, which is neither a class of layers or networks" in line, tool


def test_nested_functions_are_refused(tmp_path, capsys):
    net = {"class_path": "videoctx.models.ResNet3D", "init_args": {"context": call(tmp_path / "ran")}}
    with pytest.raises(SystemExit):
        main(["complexity", "-c", config_of(tmp_path / "config.yaml", net)])
    assert "model.net.init_args.context.class_path is os.system" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", ["subprocess.run", print, ["os.system"], Namespace(class_path="builtins.eval")])
def test_a_function_of_elsewhere_is_refused_in_any_place(value):
    with pytest.raises(ValueError, match=r"model.net.init_args.conv.* it was not called"):
        check_network(Namespace(class_path="torch.nn.Conv3d", init_args=Namespace(conv=value)))


@pytest.mark.parametrize(
    "value", [None, 3, "same", "a.b", ResNet3D, "torch.nn.BatchNorm3d", nn.functional.relu, nn.functional.gelu]
)
def test_networks_layers_and_plain_values_are_accepted(value):
    check_network(Namespace(class_path="videoctx.models.ResNet3D", init_args={"norm": value}))
