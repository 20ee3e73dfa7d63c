"""Weights that are not finite are named where they are loaded."""

import torch

from videoctx.inference.classifier import load
from videoctx.inference.conversion import convert_checkpoint
from videoctx.models import ResNet3D


def test_tensors_with_nan_or_infinity_are_named(tmp_path, caplog):
    net = ResNet3D(2, depth=18, width=4)
    net.stem.norm.running_var[0] = torch.inf
    net.head.bias.data[1] = torch.nan
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    line = "2 tensors have NaN or infinity (head.bias, stem.norm.running_var), as after a training that has diverged"
    convert_checkpoint(tmp_path / "weights.pth", tmp_path / "net.pt", class_names=["left", "right"])
    assert caplog.messages == [f"the weights that were loaded: {line}"]
    caplog.clear()
    load(tmp_path / "net.pt")
    assert caplog.messages == [f"{tmp_path / 'net.pt'}: {line}"]
