"""The line of an epoch: its loss is the mean over clips, whatever is accumulated, and the time left ends at the end."""

import re

import pytest
import torch

from tests.each_case import each_case
from tests.tasks.synthetic_runs import CLASSES, SyntheticClips, batch_of, classifier, small_resnet, trainer
from videoctx.tasks.epoch_lines import EpochLines, describe_network
from videoctx.tasks.losses import classification_loss

BATCHES = [batch_of(4, seed=0), batch_of(2, seed=1), batch_of(4, seed=2), batch_of(3, seed=3)]


def lines(capsys, tmp_path, *, data=None, **arguments) -> list[str]:
    """Return what a training with a learning rate of zero prints."""
    capsys.readouterr()
    data = data or SyntheticClips(BATCHES)
    trainer(tmp_path, EpochLines(), **arguments).fit(classifier(lr=0.0), data)
    return capsys.readouterr().out.splitlines()


def expected_loss() -> float:
    """Return the mean over clips, each batch normalized by its own statistics as in training."""
    net = small_resnet(len(CLASSES)).train()
    with torch.no_grad():
        losses = [float(classification_loss(net(b.clips), b.labels, multi_label=False)) * len(b.clips) for b in BATCHES]
    return sum(losses) / sum(len(batch.clips) for batch in BATCHES)


@each_case("accumulated", [1, 2, 3])
def test_the_loss_is_the_mean_over_clips(capsys, tmp_path, accumulated):
    _, line = lines(capsys, tmp_path, accumulate_grad_batches=accumulated)
    found = float(re.search(r"train loss ([\d.]+)", line)[1])
    assert found == pytest.approx(expected_loss(), abs=2e-3)


def test_each_epoch_has_its_own_loss(capsys, tmp_path):
    _, first, second = lines(capsys, tmp_path, max_epochs=2)
    assert first.startswith("epoch 1/2: ")
    assert second.startswith("epoch 2/2: ")
    assert first.split(";")[0].partition(": ")[2] == second.split(";")[0].partition(": ")[2]


def test_the_size_of_the_training(capsys, tmp_path):
    first, *_ = lines(capsys, tmp_path, accumulate_grad_batches=3)
    assert first.endswith(
        "; 1 epoch of 2 steps of 12 clips (1 device × 4 clips × 3 accumulated batches), 32-true on cpu"
    )


def test_steps_may_end_a_training(capsys, tmp_path):
    first, *epochs = lines(capsys, tmp_path, max_epochs=-1, max_steps=6)
    assert "; 6 steps" in first
    assert [line.partition(":")[0] for line in epochs] == ["epoch 1", "epoch 2"]
    assert "left" in epochs[0]
    assert "took" in epochs[1]


def test_without_validation_the_line_has_none(capsys, tmp_path):
    _, line = lines(capsys, tmp_path, data=SyntheticClips(BATCHES, validates=False))
    assert "val" not in line


def test_frozen_parameters_are_counted():
    net = torch.nn.Linear(1000, 1000)
    net.bias.requires_grad_(False)
    assert describe_network(net) == "Linear, 1.00 M parameters, 1.00 M of them trained"
