"""Class weights in the loss: by hand, with smoothing and mixing, in runs, on several ranks, and refused in one line."""

import math

import pytest
import torch

from tests.each_case import each_case
from tests.tasks.synthetic_runs import CLASSES, batch_of, classifier, synthetic_clips, trainer
from videoctx.data import ClipMixing
from videoctx.data.annotations import VideoRecord, VideoRecords
from videoctx.data.settings import TrainSettings
from videoctx.data.training_class_counts import expected_class_counts
from videoctx.tasks.class_weights import balanced_weights, describe_weights
from videoctx.tasks.losses import classification_loss

WEIGHTS = [0.5, 2.0, 1.25]
LOGITS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 1, 2, 0])


def by_hand(logits, targets, weights):
    """Mean over clips of - Σ weight · target · log probability."""
    total = 0.0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(x) for x in row))
        total -= sum(w * t * (x - log_sum) for w, t, x in zip(weights, target, row, strict=True))
    return total / len(logits)


@each_case("smoothing", [0.0, 0.3])
def test_the_loss_by_hand(smoothing):
    one_hot = torch.eye(3)[LABELS]
    mixed = 0.6 * one_hot + 0.4 * one_hot.flip(0)
    for targets, probabilities in ((LABELS, one_hot), (mixed, mixed)):
        expected = by_hand(LOGITS, probabilities * (1 - smoothing) + smoothing / 3, WEIGHTS)
        arguments = {"multi_label": False, "label_smoothing": smoothing, "class_weights": torch.tensor(WEIGHTS)}
        assert classification_loss(LOGITS, targets, **arguments).item() == pytest.approx(expected, rel=1e-5)
        ones = {**arguments, "class_weights": torch.ones(3)}
        plain = {**arguments, "class_weights": None}
        torch.testing.assert_close(
            classification_loss(LOGITS, targets, **ones), classification_loss(LOGITS, targets, **plain)
        )
        parts = [classification_loss(LOGITS[part], targets[part], **arguments) for part in (slice(0, 1), slice(1, 5))]
        assert (parts[0] + 4 * parts[1]).item() / 5 == pytest.approx(expected, rel=1e-5), "the mean over ranks"


def test_of_several_labels_the_weight_is_that_of_the_yes():
    targets = torch.eye(3)[LABELS]
    expected = 0.0
    for row, target in zip(LOGITS.tolist(), targets.tolist(), strict=True):
        for x, yes, weight in zip(row, target, WEIGHTS, strict=True):
            probability = 1 / (1 + math.exp(-x))
            expected -= (weight * math.log(probability) if yes else math.log(1 - probability)) / 15
    found = classification_loss(LOGITS, targets, multi_label=True, class_weights=torch.tensor(WEIGHTS))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_balanced_weights_are_those_of_the_training_videos():
    assert balanced_weights([6, 3, 1], CLASSES).tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    labels = [0, 0, 2, None, 1, 0]
    records = VideoRecords.of([VideoRecord("a.mp4", label, "train") for label in labels])
    assert records.class_counts(3) == [3, 1, 1]
    several = [(True, False, True), (True, False, False), (False, False, False)]
    assert VideoRecords.of([VideoRecord("a.mp4", label, "train") for label in several]).class_counts(3) == [2, 0, 1]


@each_case(
    ("train", "labels", "expected"),
    [
        ({}, [0, 0, 0, 2], [3, 0, 1]),
        ({"order": "class_balanced"}, [0, 0, 0, 2], [2, 0, 2]),
        ({"order": "weighted"}, [0, 0, 0, 2], [4 * 3.0 / 5, 0, 4 * 2.0 / 5]),
        ({"order": "weighted"}, [(True, False, True), (True, False, False)], [2, 0, 1]),
        ({"flip_labels": "swap", "flip_probability": 0.25}, [0, 0, 0, 2], [2.25, 0.75, 1]),
    ],
)
def test_videos_are_counted_as_often_as_an_epoch_takes_them(train, labels, expected):
    names = ["turn left", "turn right", "clap"]
    records = [VideoRecord("a.mp4", label, "train", weight=2.0 if label == 2 else 1.0) for label in labels]
    assert expected_class_counts(records, names, TrainSettings(**train)) == pytest.approx(expected)


@each_case(
    ("weights", "counts", "line"),
    [
        ("balanced", [4, 2, 2], "class_weights balanced: from 0.667 (clap) to 1.33 (run), by how often an epoch takes"),
        ("balanced", [2, 2, 2], "class_weights balanced: all are 1, as an epoch takes each class equally often"),
        ([1.0, 2.0, 1.0], [2, 2, 2], "class_weights: from 1 (clap) to 2 (run), although an epoch takes each class"),
        ([1.0, 2.0, 1.0], [4, 2, 2], ""),
        ([1.0, 1.0, 1.0], [2, 2, 2], ""),
        ([1.0, 2.0, 1.0], None, ""),
    ],
)
def test_a_line_tells_when_classes_are_weighed_twice(weights, counts, line):
    balanced = weights == "balanced"
    tensor = balanced_weights(counts, CLASSES) if balanced else torch.tensor(weights)
    found = describe_weights(tensor, counts, CLASSES, balanced=balanced)
    assert found.startswith(line)
    assert bool(found) == bool(line)


def trained(folder, weights, *, ckpt_path=None, run=None, **arguments):
    data = synthetic_clips(2)
    data.train_class_counts = [4, 2, 2]
    task = classifier(class_weights=weights, **arguments)
    trainer(folder, **(run or {})).fit(task, data, ckpt_path=ckpt_path, weights_only=True)
    return task


def test_a_run_uses_them_and_checkpoints_do_not_hold_them(tmp_path):
    numbers = [8 / (3 * count) for count in (4, 2, 2)]
    balanced, given, plain = (trained(tmp_path, weights) for weights in ("balanced", numbers, None))
    for name, tensor in given.state_dict().items():
        torch.testing.assert_close(balanced.state_dict()[name], tensor, msg=name)
    assert list(plain.state_dict()) == list(given.state_dict())
    assert not torch.equal(plain.net.head.weight, given.net.head.weight)
    mixed = trained(tmp_path, "balanced", mixing=ClipMixing(mixup_alpha=0.4), label_smoothing=0.1)
    assert mixed.net.head.weight.isfinite().all()


def test_a_resumed_run_is_the_same(tmp_path):
    whole = trained(tmp_path / "whole", "balanced", run={"max_epochs": 2})
    trained(tmp_path / "part", "balanced")
    rest = trained(tmp_path / "part", "balanced", run={"max_epochs": 2}, ckpt_path=tmp_path / "part" / "last.ckpt")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(rest.state_dict()[name], tensor), name


def test_validation_has_no_weights(tmp_path):
    losses = []
    for weights in (None, [5.0, 5.0, 5.0]):
        fit = trainer(tmp_path, logger=False)
        losses.append(fit.validate(classifier(class_weights=weights), synthetic_clips(1))[0]["val/loss"])
    assert losses[0] == losses[1]
    assert len(batch_of(3, seed=0)) == 3


@each_case(
    ("weights", "line"),
    [
        ([1.0, 2.0], "class_weights has 2 numbers for 3 classes; expected one per class"),
        ([1.0, -2.0, 1.0], "class_weights has -2; expected more than 0"),
        ([1.0, 0.0, 1.0], "class_weights has 0; expected more than 0"),
        ([1.0, math.inf, 1.0], "class_weights has inf; expected more than 0"),
        ("balance", "class_weights is 'balance'; expected balanced, or one number per class"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights, line):
    with pytest.raises(ValueError, match=line):
        classifier(class_weights=weights)


def test_balanced_needs_videos_of_each_class(tmp_path):
    data = synthetic_clips(1)
    with pytest.raises(ValueError, match="the data module has no train_class_counts"):
        trainer(tmp_path).fit(classifier(class_weights="balanced"), data)
    data.train_class_counts = [4, 0, 2]
    with pytest.raises(ValueError, match=r"1 classes have no training video \(run\); expected numbers"):
        trainer(tmp_path).fit(classifier(class_weights="balanced"), data)
