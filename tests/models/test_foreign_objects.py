"""Checkpoints that other libraries have written with objects of their own beside the weights."""

import argparse
import collections
import enum
import importlib
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
from videoctx.models.foreign_objects import TENSORS, read_beside_foreign_objects
from videoctx.models.resnet3d import ResNet3D

THEIRS = "a_training_framework"
MMENGINE = "mmengine.logging.history_buffer"
DEEPSPEED = "deepspeed.runtime.fp16.loss_scaler"


def small_net():
    return ResNet3D(num_classes=3, depth=18, width=2)


class HistoryBuffer:
    """As mmengine's: arrays in attributes, and a method that unpickling calls."""

    def __init__(self) -> None:
        self.history = np.arange(3.0)

    def __setstate__(self, state: dict) -> None:
        raise AssertionError("code of a checkpoint was run")


class MMEngineHistoryBuffer:
    """The attributes of mmengine's HistoryBuffer."""

    def __init__(self) -> None:
        self.max_length = 1_000_000
        self._log_history, self._count_history = np.array([0.5, 0.25]), np.array([1, 1])


class DynamicLossScaler:
    """Some attributes of DeepSpeed's."""

    def __init__(self) -> None:
        self.cur_scale, self.dynamic, self.dtype = 2.0**16, True, torch.float16


def mmengine_checkpoint(weights: dict) -> dict:
    """What `Runner.save_checkpoint` of mmengine 0.10 writes."""
    group = {"lr": 0.01, "momentum": 0.9, "nesterov": False, "params": [0, 1]}
    hub = {
        "log_scalars": collections.OrderedDict({"train/lr": MMEngineHistoryBuffer(), "loss": MMEngineHistoryBuffer()}),
        "runtime_info": collections.OrderedDict(
            epoch=2, max_epochs=100, loop_stage="train", best_score=np.float64(0.7)
        ),
        "resumed_keys": collections.OrderedDict({"train/lr": True, "loss": True}),
    }
    return {
        "meta": {
            "epoch": 3,
            "iter": 300,
            "cfg": "model = dict(type='Recognizer3D')",
            "seed": 0,
            "experiment_name": "slow",
            "time": "20230101_000000",
            "mmengine_version": "0.10.7",
            "dataset_meta": {"classes": ("a", "b", "c")},
        },
        "state_dict": collections.OrderedDict(weights),
        "message_hub": hub,
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [group]},
        "param_schedulers": [{"last_step": 3, "_global_step": 4, "verbose": False}],
    }


def deepspeed_checkpoint(weights: dict) -> dict:
    """What `DeepSpeedEngine.save_checkpoint` writes to mp_rank_00_model_states.pt, with a client state."""
    return {
        "module": collections.OrderedDict(weights),
        "buffer_names": [name for name in weights if "running" in name],
        "optimizer": {"loss_scaler": DynamicLossScaler(), "dynamic_loss_scale": True, "overflow": False},
        "param_shapes": [collections.OrderedDict((name, tensor.shape) for name, tensor in weights.items())],
        "frozen_param_shapes": None,
        "shared_params": {},
        "lr_scheduler": {"last_batch_iteration": 10},
        "sparse_tensor_module_names": set(),
        "skipped_steps": 0,
        "global_steps": 10,
        "dp_world_size": 2,
        "mp_world_size": 1,
        "ds_config": {"train_batch_size": 8, "zero_optimization": {"stage": 1}},
        "ds_version": "0.16.4",
        "args": argparse.Namespace(lr=0.1),
    }


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


@each_case("framework", [MMENGINE, DEEPSPEED])
def test_training_checkpoints_of_mmengine_and_deepspeed(tmp_path_factory, caplog, framework):
    kind, make = {
        MMENGINE: (MMEngineHistoryBuffer, mmengine_checkpoint),
        DEEPSPEED: (DynamicLossScaler, deepspeed_checkpoint),
    }[framework]
    path = tmp_path_factory.mktemp("checkpoint") / "theirs.pth"
    name = kind.__name__.removeprefix("MMEngine")
    weights = small_net().state_dict()
    with pytest.MonkeyPatch.context() as patch:
        for part in (framework.rsplit(".", number)[0] for number in range(framework.count(".") + 1)):
            patch.setitem(sys.modules, part, ModuleType(part))
        setattr(sys.modules[framework], name, kind)
        patch.setattr(kind, "__module__", framework)
        kind.__name__ = kind.__qualname__ = name
        torch.save(make(weights), path)
    caplog.clear()
    read = read_checkpoint(path).state_dict
    assert all(torch.equal(read[name], tensor) for name, tensor in weights.items() if "num_batches" not in name)
    assert f"{framework}.{name}" in caplog.text


def test_weights_that_ranks_share_are_refused(tmp_path):
    """With ZeRO stage 3 a rank's file has its buffers, and no parameters."""
    weights = small_net().state_dict()
    stored = {name: tensor if "running" in name else tensor.new_empty(0) for name, tensor in weights.items()}
    torch.save({"module": stored}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"weights are empty .*stem.conv.weight.*zero_to_fp32.py"):
        read_checkpoint(tmp_path / "a.pt")


def test_all_names_that_are_read_are_safe_for_torch(tmp_path):
    """The names make tensors and containers in each version of torch: the next test reads them all."""
    for module, names in TENSORS.items():
        for name in names:
            if not hasattr(importlib.import_module(module), name):
                assert name == "_rebuild_tensor_v3"  # since torch 2.6
                continue
            torch.save([getattr(importlib.import_module(module), name)], tmp_path / "a.pt")
            assert torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / "a.pt") == [], (module, name)


def test_tensors_of_all_kinds_are_read_beside_a_foreign_object(tmp_path, their_library):
    dtypes = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.int64, torch.bool)
    tensors = {str(dtype): torch.ones(2, 3).to(dtype) for dtype in dtypes}
    tensors |= {"complex": torch.ones(2, dtype=torch.complex64)}
    tensors |= {"part": torch.arange(12.0).reshape(3, 4)[:, 1:3], "sparse": torch.eye(3).to_sparse()}
    tensors |= {"parameter": torch.nn.Parameter(torch.ones(3)), "scalar": torch.tensor(2.0)}
    plain = {"size": torch.Size([1, 2]), "dtype": torch.float8_e4m3fn, "device": torch.device("cpu")}
    plain |= {"counter": collections.Counter("aab"), "ordered": collections.OrderedDict(a=1), "bytes": b"ab"}
    for zipped in (False, True):
        if zipped:  # the older format has no unsigned integers of more than a byte
            tensors["unsigned"] = torch.ones(2, dtype=torch.uint16)
        stored = {**tensors, **plain, "foreign": HistoryBuffer()}
        torch.save(stored, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
        module = sys.modules[THEIRS]
        their_library.delitem(sys.modules, THEIRS)
        read, names = read_beside_foreign_objects(tmp_path / "a.pt")
        their_library.setitem(sys.modules, THEIRS, module)
        assert names == [f"{THEIRS}.HistoryBuffer"]
        for name, tensor in tensors.items():
            assert type(read[name]) is type(tensor)
            assert read[name].dtype == tensor.dtype
            assert torch.equal(read[name].to_dense(), tensor.to_dense()), name
        assert {name: read[name] for name in plain} == plain


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
