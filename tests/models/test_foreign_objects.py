"""Checkpoints that other libraries have written with objects of their own beside the weights."""

import argparse
import collections
import enum
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from tests.each_case import each_case
from videoctx.models.checkpoint_file import read_stored
from videoctx.models.checkpoints import read_checkpoint
from videoctx.models.resnet3d import ResNet3D

THEIRS = "a_training_framework"


def small_net():
    return ResNet3D(num_classes=3, depth=18, width=2)


class HistoryBuffer:
    """As mmengine's: arrays in attributes, and a method that unpickling calls."""

    def __init__(self) -> None:
        self.history = np.arange(3.0)

    def __setstate__(self, state: dict) -> None:
        raise AssertionError("code of a checkpoint was run")


class CfgNode(dict):
    """As fvcore's and mmengine's configs: a dict with attributes."""


class Names(list):
    """A list of a class of its own."""


class Mode(enum.Enum):
    """An enum."""

    TRAIN = 1


@pytest.fixture
def their_library(monkeypatch):
    """A library that is there when the checkpoint is written, and gone when it is read."""
    module = ModuleType(THEIRS)
    for kind in (HistoryBuffer, CfgNode, Names, Mode):
        monkeypatch.setattr(kind, "__module__", THEIRS)
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, THEIRS, module)
    return monkeypatch


def with_objects(weights: dict) -> dict:
    config = CfgNode(lr=0.1)
    config.frozen = True
    return {
        "state_dict": weights,
        "message_hub": {"loss": HistoryBuffer(), "nested": [CfgNode(a=HistoryBuffer())]},
        "cfg": config,
        "names": Names(["a", "b"]),
        "mode": Mode.TRAIN,
        "args": argparse.Namespace(lr=0.1),
        "path": Path("/somewhere"),
        "lr": np.float64(0.1),
        "counts": collections.defaultdict(list, {1: [2]}),
        "seen": {1, 2},
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "ema_state_dict": {"steps": 3},
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}},
    }


@each_case("zipped", [True, False])
def test_weights_are_read_and_other_objects_left_out(tmp_path_factory, their_library, caplog, zipped):
    path = tmp_path_factory.mktemp("checkpoint") / "theirs.pth"
    weights = small_net().state_dict()
    module = sys.modules[THEIRS]
    torch.save(with_objects(weights), path, _use_new_zipfile_serialization=zipped)
    their_library.delitem(sys.modules, THEIRS)
    with caplog.at_level("WARNING"):
        read = read_checkpoint(path).state_dict
    their_library.setitem(sys.modules, THEIRS, module)
    assert all(torch.equal(read[name], tensor) for name, tensor in weights.items() if "num_batches" not in name)
    left_out = f"the objects of other libraries beside the weights are not read: {THEIRS}.HistoryBuffer"
    assert f"{path}: {left_out}" in caplog.text


def test_a_whole_network_of_another_library_is_refused_with_its_name(tmp_path, their_library):
    path = tmp_path / "theirs.pth"
    torch.save(HistoryBuffer(), path)
    torch.save({"state_dict": HistoryBuffer()}, tmp_path / "nested.pth")
    their_library.delitem(sys.modules, THEIRS)
    with pytest.raises(ValueError, match=f"holds a {THEIRS}.HistoryBuffer beside the weights"):
        read_checkpoint(path)
    with pytest.raises(ValueError, match=f"holds no weights; the objects of other .* not read: {THEIRS}.HistoryBuffer"):
        read_checkpoint(tmp_path / "nested.pth")


class Planted:
    """Runs a function when it is unpickled."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@each_case("function", [os.mkdir, eval, exec, os.system])
def test_a_planted_function_is_refused_and_not_run(tmp_path_factory, function):
    folder = tmp_path_factory.mktemp("planted")
    path, trace = folder / "planted.pth", folder / "trace"
    arguments = {os.mkdir: (str(trace),), os.system: (f"mkdir {trace}",)}.get(function, (f"open({str(trace)!r}, 'w')",))
    torch.save({"state_dict": small_net().state_dict(), "planted": Planted(function, *arguments)}, path)
    with pytest.raises(ValueError, match=r"holds a \S+ beside the weights, and reading that can run code"):
        read_checkpoint(path)
    assert not trace.exists()


def test_own_checkpoints_have_no_foreign_objects(tmp_path, their_library):
    torch.save(with_objects({}), tmp_path / "a.ckpt")
    their_library.delitem(sys.modules, THEIRS)
    with pytest.raises(ValueError, match="beside the weights"):
        read_stored(tmp_path / "a.ckpt")


def test_a_sharded_checkpoint_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=f"^{tmp_path}: is a folder; expected one file .* DeepSpeed's zero_to_fp32.py"):
        read_checkpoint(tmp_path)
