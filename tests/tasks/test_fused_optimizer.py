"""The fused step of an optimizer: the same weights, also after a checkpoint."""

import logging
from functools import partial

import pytest
import torch
from torch.optim import SGD, Adam, AdamW, RMSprop

from tests.each_case import each_case
from tests.tasks.synthetic_runs import CLASSES, small_resnet, synthetic_clips, trainer
from videoctx.tasks import VideoClassifier

OPTIMIZERS = {
    "SGD": partial(SGD, lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "Adam": partial(Adam, lr=1e-3),
    "AdamW": partial(AdamW, lr=1e-3),
}


def train(folder, optimizer, *, fused, ckpt_path=None, **arguments):
    """Return the run's optimizer and its checkpoint."""
    model = VideoClassifier(CLASSES, small_resnet, optimizer=optimizer, fused_optimizer=fused)
    run = trainer(folder, **arguments)
    run.fit(model, datamodule=synthetic_clips(), ckpt_path=ckpt_path, weights_only=True)
    return run.optimizers[0], torch.load(folder / "last.ckpt", weights_only=True)


def test_weights_are_those_of_the_plain_step_also_in_a_resumed_run(tmp_path):
    plain = {name: train(tmp_path, OPTIMIZERS[name], fused=False, max_epochs=2)[1] for name in ("SGD", "AdamW")}
    for name, before, after in (("SGD", False, True), ("SGD", True, False), ("AdamW", True, True)):
        expected = plain[name]
        train(tmp_path, OPTIMIZERS[name], fused=before, max_steps=3)
        last = tmp_path / "last.ckpt"
        optimizer, found = train(tmp_path, OPTIMIZERS[name], fused=after, ckpt_path=last, max_epochs=2)
        assert {bool(group["fused"]) for group in optimizer.param_groups} == {after}, (before, after)
        for key, tensor in expected["state_dict"].items():
            torch.testing.assert_close(found["state_dict"][key], tensor, rtol=1e-2, atol=1e-4, msg=key)


def test_an_optimizer_without_a_fused_step_is_used_as_it_is(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        _, found = train(tmp_path, partial(RMSprop, lr=1e-3), fused=True)
    assert [record.message for record in caplog.records if "fused" in record.message] == [
        "model.fused_optimizer: RMSprop has no fused step and uses its own; torch's SGD, Adam and AdamW have one"
    ]
    _, expected = train(tmp_path, partial(RMSprop, lr=1e-3), fused=False)
    for key, tensor in expected["state_dict"].items():
        assert torch.equal(found["state_dict"][key], tensor), key


@pytest.mark.cuda
@each_case("name", OPTIMIZERS)
def test_a_gpu_takes_the_fused_step(tmp_path, name):
    if not torch.cuda.is_available():
        pytest.skip("a CPU does not have it")
    _, expected = train(tmp_path, OPTIMIZERS[name], fused=False, accelerator="gpu", devices=1)
    optimizer, found = train(tmp_path, OPTIMIZERS[name], fused=True, accelerator="gpu", devices=1)
    assert all(group["fused"] for group in optimizer.param_groups)
    for key, tensor in expected["state_dict"].items():
        torch.testing.assert_close(found["state_dict"][key], tensor, rtol=1e-2, atol=1e-3, msg=key)
