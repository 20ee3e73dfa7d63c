"""A loss that stays above chance level is reported once, with what to try."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.each_case import each_case
from tests.tasks.synthetic_runs import SyntheticClips, batch_of, classifier, small_resnet, synthetic_clips, trainer
from videoctx.data import ClipMixing
from videoctx.tasks import WarmupCosine
from videoctx.tasks.chance_level import chance_loss

WORDS = "has not been below chance level"


def worse_than_chance(num_classes: int) -> nn.Module:
    """A network that always prefers the last class, of which there are no clips here."""
    net = small_resnet(num_classes)
    nn.init.zeros_(net.head.weight)
    net.head.bias.data = torch.tensor([0.0, 0.0, 2.0])
    return net


def reported(tmp_path, caplog, net, *, epochs: int = 4, lr: float = 0.0, accumulate: int = 1, **arguments) -> list[str]:
    caplog.clear()
    batches = [batch_of(2, seed=seed) for seed in range(4)]
    task = classifier(net, lr=lr, **arguments)
    settings = {"max_epochs": epochs, "accumulate_grad_batches": accumulate}
    trainer(tmp_path, **settings).fit(task, SyntheticClips(batches, validates=False, clips_per_device=2))
    return [message for message in caplog.messages if WORDS in message]


def test_it_is_reported_once(tmp_path, caplog):
    (line,) = reported(tmp_path, caplog, worse_than_chance, epochs=6)
    assert f"chance level, {math.log(3):.3f}, in 3 epochs: the network learns nothing" in line
    assert "\n" not in line


@each_case("accumulate", [1, 2, 3])
@each_case("epochs", [1, 2])
def test_a_short_training_is_reported_at_its_end(tmp_path, caplog, accumulate, epochs):
    lines = reported(tmp_path, caplog, worse_than_chance, epochs=epochs, accumulate=accumulate)
    assert len(lines) == epochs - 1


def test_the_warm_up_is_left_out(tmp_path, caplog):
    for warmup, epochs, expected in ((2, 4, 1), (3, 4, 0)):
        schedule = WarmupCosine(warmup_epochs=warmup)
        lines = reported(tmp_path, caplog, worse_than_chance, epochs=epochs, schedule=schedule)
        assert len(lines) == expected, (warmup, epochs)
        assert all("in 2 epochs after the warm-up" in line for line in lines)


def test_a_network_below_chance_level_by_little_is_not_reported(tmp_path, caplog):
    def better(num_classes: int) -> nn.Module:
        net = worse_than_chance(num_classes)
        net.head.bias.data = torch.tensor([0.0, 0.0, -0.1])
        return net

    for mixing, smoothing, accumulate in ((None, 0.0, 1), (None, 0.3, 3), (ClipMixing(mixup_alpha=0.8), 0.1, 1)):
        arguments = {"mixing": mixing, "label_smoothing": smoothing, "accumulate": accumulate}
        assert reported(tmp_path, caplog, better, **arguments) == []
        assert len(reported(tmp_path, caplog, worse_than_chance, **arguments)) == 1


@each_case("label_smoothing", [0.0, 0.3])
def test_the_level_is_the_loss_of_equal_probabilities(label_smoothing):
    labels = torch.tensor([0, 2, 2, 1])
    weights = torch.tensor([0.5, 1.0, 3.0])
    expected = F.cross_entropy(torch.zeros(4, 3), labels, label_smoothing=label_smoothing)
    assert float(chance_loss(labels, 3, label_smoothing=label_smoothing)) == pytest.approx(float(expected))
    assert float(expected) == pytest.approx(math.log(3))
    level = 0.0
    for label in labels.tolist():
        for index, weight in enumerate(weights.tolist()):
            target = (1 - label_smoothing) * (index == label) + label_smoothing / 3
            level += weight * target * math.log(3) / len(labels)
    found = chance_loss(labels, 3, label_smoothing=label_smoothing, class_weights=weights)
    assert float(found) == pytest.approx(level)


def test_the_level_of_several_labels_per_video(tmp_path, caplog):
    labels = torch.tensor([[True, False], [True, True]])
    assert float(chance_loss(labels, 2)) == pytest.approx(math.log(2))
    assert float(chance_loss(labels, 2, class_weights=torch.tensor([3.0, 1.0]))) == pytest.approx(math.log(2) * 8 / 4)
    task = classifier(worse_than_chance, lr=0.0, multi_label=True)
    trainer(tmp_path, max_epochs=3).fit(task, synthetic_clips(2, validates=False, multi_label=True))
    (line,) = [message for message in caplog.messages if WORDS in message]
    assert f"{math.log(2):.3f}" in line
