"""The moving average of the weights: its formula, evaluation, saving, and resumed runs."""

from copy import deepcopy
from functools import partial
from threading import Lock

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim import SGD

from tests.tasks.synthetic_runs import CLASSES, classifier, small_resnet, synthetic_clips, trainer
from videoctx.tasks import EMA, VideoClassifier


class Weights(Callback):
    """Keeps what is trained after every step, and what is evaluated in every validation."""

    def __init__(self):
        self.trained, self.evaluated = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):  # noqa: ARG002
        self.trained.append({name: tensor.clone() for name, tensor in pl_module.state_dict().items()})

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):  # noqa: ARG002
        self.evaluated.append({name: tensor.clone() for name, tensor in pl_module.state_dict().items()})


def run(folder, *, decay=0.7, every_n_steps=1, ckpt_path=None, **arguments):
    seen, model = Weights(), classifier()
    evaluate = trainer(folder, EMA(decay=decay, every_n_steps=every_n_steps), seen, **arguments)
    evaluate.fit(model, datamodule=synthetic_clips(), ckpt_path=ckpt_path, weights_only=True)
    return seen, model


def averaged(states, decay):
    average = {name: tensor.clone() for name, tensor in states[0].items()}
    for state in states[1:]:
        for name, tensor in state.items():
            if tensor.is_floating_point():
                average[name] = decay * average[name] + (1 - decay) * tensor
    return average


@pytest.mark.parametrize(("decay", "every"), [(0.7, 1), (0.2, 2)])
def test_the_average_is_what_is_evaluated_saved_and_left(tmp_path, decay, every):
    seen, model = run(tmp_path, decay=decay, every_n_steps=every, max_epochs=2)
    updates = seen.trained[every - 1 :: every]
    expected = averaged(updates, decay)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    for name, tensor in expected.items():
        if tensor.is_floating_point():
            for what in (seen.evaluated[-1], saved, model.state_dict()):
                torch.testing.assert_close(what[name], tensor, msg=name)
    mean = "net.stem.norm.running_mean"
    assert not torch.allclose(expected[mean], seen.trained[-1][mean])


def test_training_is_what_it_would_be_without(tmp_path):
    seen, _ = run(tmp_path, max_epochs=2)
    alone, model = Weights(), classifier()
    trainer(tmp_path, alone, max_epochs=2).fit(model, datamodule=synthetic_clips())
    for name, tensor in alone.trained[-1].items():
        assert torch.equal(tensor, seen.trained[-1][name]), name


def test_a_resumed_run_is_the_same_to_the_last_digit(tmp_path):
    whole, model = run(tmp_path / "whole", every_n_steps=2, max_epochs=2)
    run(tmp_path / "part", every_n_steps=2, max_steps=3)
    rest, resumed = run(
        tmp_path / "part", every_n_steps=2, max_epochs=2, ckpt_path=str(tmp_path / "part" / "last.ckpt")
    )
    for name, tensor in whole.trained[-1].items():
        assert torch.equal(tensor, rest.trained[-1][name]), name
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_the_factory_of_the_optimizer_is_not_copied():
    """One from a config may hold objects that cannot be copied, such as a Trainer of several ranks."""
    model = VideoClassifier(CLASSES, small_resnet, optimizer=partial(SGD, lr=Lock()))
    copied = deepcopy(model)
    assert copied.optimizer is model.optimizer
    assert copied.net is not model.net
    assert copied.class_names == CLASSES
    for name, tensor in model.state_dict().items():
        assert torch.equal(copied.state_dict()[name], tensor), name


@pytest.mark.parametrize(("arguments", "words"), [({"decay": 1.0}, "decay is 1.0"), ({"every_n_steps": 0}, "is 0")])
def test_values_that_cannot_be_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        EMA(**arguments)


def test_a_checkpoint_of_weights_alone_is_refused(tmp_path):
    saves = ModelCheckpoint(tmp_path, save_weights_only=True)
    with pytest.raises(ValueError, match="save_weights_only is true"):
        trainer(tmp_path, callbacks=[EMA(), saves]).fit(classifier(), datamodule=synthetic_clips())


def test_before_its_first_update_the_average_is_the_starting_weights(tmp_path):
    first = classifier()
    trainer(tmp_path / "first").fit(first, synthetic_clips())
    torch.manual_seed(1)
    weights = str(tmp_path / "first" / "last.ckpt")
    model = VideoClassifier(CLASSES, small_resnet, weights=weights)
    torch.nn.init.ones_(model.net.head.weight)
    trainer(tmp_path / "second", EMA(every_n_steps=100)).fit(model, synthetic_clips())
    saved = torch.load(tmp_path / "second" / "last.ckpt", weights_only=True)["state_dict"]
    for name, tensor in first.state_dict().items():
        assert torch.equal(saved[name], tensor), name
