"""Frozen BatchNorm: fixed statistics, scale and shift, from the first step to the last, but in context blocks."""

import pytest
import torch
from lightning.pytorch import Callback
from torch.nn.modules.batchnorm import _BatchNorm

from tests.tasks.synthetic_runs import classifier, small_resnet, synthetic_clips, trainer
from videoctx.layers import NonLocal
from videoctx.tasks import FrozenBatchNorm


def with_block(num_classes):
    return small_resnet(num_classes, context=NonLocal, context_at={"res4": [0]})


class Modes(Callback):
    """Which BatchNorm layers train in each step."""

    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):  # noqa: ARG002
        norms = {name: layer for name, layer in pl_module.named_modules() if isinstance(layer, _BatchNorm)}
        self.steps.append({name for name, layer in norms.items() if layer.training})


def norms_of(model):
    return {
        f"{name}.{key}": value.clone()
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm)
        for key, value in layer.state_dict().items()
    }


@pytest.mark.parametrize(
    ("arguments", "trained"), [({}, ".after_add."), ({"except_in": ["res5", "stem"]}, "res5|stem")]
)
def test_every_layer_but_the_excepted_stays_as_it_was(tmp_path, arguments, trained):
    model, modes = classifier(with_block), Modes()
    before = norms_of(model)
    trainer(tmp_path, FrozenBatchNorm(**arguments), modes, max_epochs=2).fit(model, datamodule=synthetic_clips())
    words = trained.split("|")
    for name, after in norms_of(model).items():
        assert torch.equal(after, before[name]) != any(word in name for word in words), name
    assert len(modes.steps) == 6
    assert all(step == modes.steps[0] and all(any(w in n for w in words) for n in step) for step in modes.steps)


def test_the_rest_is_trained(tmp_path):
    model = classifier()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    trainer(tmp_path, FrozenBatchNorm()).fit(model, datamodule=synthetic_clips())
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == {name for name in before if "norm" not in name and "shortcut.1" not in name}


def test_they_stay_frozen_in_a_run_that_resumes_inside_an_epoch(tmp_path):
    trainer(tmp_path, FrozenBatchNorm(), max_steps=1).fit(classifier(), datamodule=synthetic_clips())
    model, modes = classifier(), Modes()
    before, run = norms_of(model), trainer(tmp_path, FrozenBatchNorm(), modes)
    run.fit(model, datamodule=synthetic_clips(), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert modes.steps == [set(), set()]
    for name, after in norms_of(model).items():
        assert torch.equal(after, before[name]), name
