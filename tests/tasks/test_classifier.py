"""The task on synthetic batches: loss, scores, unreadable videos, checkpoints, reproducible dropout."""

import csv
import json
import math
from functools import partial

import pyarrow.parquet as pq
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader

from videoctx.batch import ClipBatch, Failure, View
from videoctx.models import ResNet3D
from videoctx.tasks import VideoClassifier, WarmupSteps

CLASSES = ["clap", "run", "wave"]


class LinearNet(nn.Module):
    """Logits that are a linear function of the clip, so that a loss can be computed by hand."""

    def __init__(self, num_classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(3 * 2 * 4 * 4, num_classes)

    def forward(self, clips):
        return self.head(self.dropout(clips.flatten(1)))


def small_resnet(num_classes: int, *, dropout: float = 0.5) -> nn.Module:
    torch.manual_seed(0)
    net = ResNet3D(num_classes, depth=18, width=2, dropout=dropout, zero_init_residual=False)
    nn.init.normal_(net.head.weight)  # so that clips do get different scores
    return net


def batch_of(*videos: tuple[int, int], size: int = 4, num_frames: int = 2, views: int | None = None) -> ClipBatch:
    """Videos as (label, number of views); one without views could not be read."""
    owners = [position for position, (_, count) in enumerate(videos) for _ in range(count)]
    generator = torch.Generator().manual_seed(len(owners))
    clips = torch.randn(len(owners), 3, num_frames, size, size, generator=generator) if owners else torch.empty(0)
    return ClipBatch(
        clips=clips,
        video=torch.tensor(owners, dtype=torch.int64),
        labels=torch.tensor([label for label, _ in videos]),
        paths=[f"{position}.mp4" for position in range(len(videos))],
        rows=list(range(len(videos))),
        views=[View(index, 0) for index in range(len(owners))],
        views_expected=torch.full((len(videos),), views or max(count for _, count in videos) or 1),
        failures={i: Failure(f"{i}.mp4", "the file is empty") for i, (_, count) in enumerate(videos) if count == 0},
    )


@pytest.fixture
def logged(monkeypatch):
    """What a step logs outside of a trainer."""
    values = {}

    def log(_, name, value, **__):
        values[name] = value.item()

    monkeypatch.setattr(VideoClassifier, "log", log)
    return values


def loader(*batches: ClipBatch) -> DataLoader:
    return DataLoader(batches, batch_size=None)


def trainer(folder, **arguments) -> Trainer:
    return Trainer(
        accelerator="cpu",
        max_epochs=1,
        log_every_n_steps=1,
        logger=CSVLogger(folder, name="run", version=""),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **arguments,
    )


# Training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_loss_and_accuracy_equal_the_formula(logged, label_smoothing):
    classifier = VideoClassifier(CLASSES, LinearNet, label_smoothing=label_smoothing)
    videos = [(2, 1), (0, 0), (1, 1), (1, 1)]  # the second could not be read: the clips' labels are 2, 1, 1
    batch = batch_of(*videos)
    loss = classifier.training_step(batch, 0)
    weight, bias = classifier.net.head.weight.tolist(), classifier.net.head.bias.tolist()
    total, right = 0.0, 0
    for clip, label in zip(batch.clips.flatten(1).tolist(), [2, 1, 1], strict=True):
        logits = [sum(w * x for w, x in zip(row, clip, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
        log_sum = math.log(sum(map(math.exp, logits)))
        for index, logit in enumerate(logits):
            target = (1 - label_smoothing) * (index == label) + label_smoothing / len(CLASSES)
            total += target * (log_sum - logit)
        right += logits.index(max(logits)) == label
    assert loss.item() == pytest.approx(total / 3, rel=1e-5)
    assert logged == pytest.approx({"train/loss": total / 3, "train/clip_top1": right / 3}, rel=1e-5)


def test_nan_counts_as_incorrect_in_training(logged):
    classifier = VideoClassifier(CLASSES, LinearNet)
    torch.nn.init.constant_(classifier.net.head.weight, torch.nan)
    classifier.training_step(batch_of((0, 2)), 0)  # the first NaN is at class 0
    assert logged["train/clip_top1"] == 0


def test_a_batch_without_clips_gives_zero_gradients_to_every_parameter(logged):
    classifier = VideoClassifier(CLASSES, small_resnet)
    loss = classifier.training_step(batch_of((0, 0), (1, 0)), 0)
    loss.backward()
    assert loss.item() == 0
    assert logged == {}
    for name, parameter in classifier.net.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_training_on_unreadable_videos_only_decays_weights(tmp_path, weight_decay):
    def sgd(groups):
        return SGD(groups, lr=0.5, weight_decay=weight_decay)

    classifier = VideoClassifier(CLASSES, small_resnet, optimizer=sgd)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    trainer(tmp_path).fit(classifier, loader(batch_of((0, 0), (1, 0))))
    for name, after in classifier.state_dict().items():
        decays = ".conv" in name or ".shortcut.0" in name or ".head" in name
        expected = before[name] * (1 - 0.5 * weight_decay) if decays else before[name]
        torch.testing.assert_close(after, expected, msg=name)


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 1), (1, 3), (2, 1)])
def test_the_schedule_counts_steps_of_the_optimizer(tmp_path, accumulate, steps):
    """Four batches are an epoch, in which the rate falls to zero after so many steps."""

    def sgd(groups):
        return SGD(groups, lr=0.1)

    batch = batch_of((0, 1), (1, 1))
    schedule = WarmupSteps(milestone_epochs=[steps * accumulate / 4], gamma=0)
    classifier = VideoClassifier(CLASSES, LinearNet, optimizer=sgd, schedule=schedule)
    weight, bias = (parameter.detach().clone() for parameter in classifier.net.head.parameters())
    trainer(tmp_path, accumulate_grad_batches=accumulate).fit(classifier, loader(*[batch] * 4))
    clips = batch.clips.flatten(1)
    for _ in range(steps):
        error = (clips @ weight.T + bias).softmax(dim=1) - torch.eye(3)[batch.labels]  # gradient at the logits
        weight, bias = weight - 0.1 * error.T @ clips / 2, bias - 0.1 * error.mean(dim=0)
    torch.testing.assert_close(classifier.net.head.weight.detach(), weight)
    torch.testing.assert_close(classifier.net.head.bias.detach(), bias)


@pytest.mark.parametrize(
    ("change", "same"),
    [({}, True), ({"seed": 1}, False), ({"epoch": 1}, False), ({"batch": 1}, False), ({"rank": 1}, False)],
)
def test_dropout_follows_from_seed_rank_epoch_and_batch(monkeypatch, change, same):
    def logits(*, seed=0, epoch=0, batch=0, rank=0):
        monkeypatch.setattr(VideoClassifier, "current_epoch", epoch)
        monkeypatch.setattr(VideoClassifier, "global_rank", rank)
        torch.manual_seed(0)
        classifier = VideoClassifier(CLASSES, lambda num_classes: LinearNet(num_classes, dropout=0.5), seed=seed)
        torch.manual_seed(len(change))  # whatever ran before
        videos = batch_of((0, 1), (1, 1))
        classifier.on_train_batch_start(videos, batch)
        return classifier(videos.clips)

    assert torch.equal(logits(), logits(**change)) == same


# Evaluation ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("views_per_forward", [1, 3, 100])
def test_scores_do_not_depend_on_views_per_forward(views_per_forward):
    sizes = []
    scores = {}
    for most in (7, views_per_forward):
        classifier = VideoClassifier(CLASSES, small_resnet, views_per_forward=most).eval()
        classifier.net.register_forward_hook(lambda _, __, logits: sizes.append(len(logits)))
        with torch.no_grad():
            scores[most] = classifier.view_scores(batch_of((0, 4), (1, 3), size=16, num_frames=4))
    torch.testing.assert_close(scores[views_per_forward], scores[7])
    torch.testing.assert_close(scores[7].double().exp().sum(dim=1), torch.ones(7).double(), rtol=0, atol=2e-3)
    assert scores[7].std(dim=0).min() > 0.01
    assert max(sizes[1:]) == min(views_per_forward, 7)
    assert sum(sizes) == 14


def test_scores_of_no_views():
    scores = VideoClassifier(CLASSES, LinearNet).view_scores(batch_of((0, 0)))
    assert scores.shape == (0, 3)


def test_result_scores_and_log_agree(tmp_path, caplog):
    """Two batches; the classes are told by hand from the scores on disk."""
    classifier = VideoClassifier(CLASSES, LinearNet)
    first, second = batch_of((0, 2), (1, 0), (2, 2)), batch_of((1, 2), (1, 2))
    second.rows = [3, 4]
    evaluate = trainer(tmp_path)
    evaluate.test(classifier, loader(first, second), verbose=False)
    result = json.loads((tmp_path / "run" / "results.json").read_text())
    rows = pq.read_table(tmp_path / "run" / "scores.parquet").to_pylist()
    assert [row["row"] for row in rows] == [0, 0, 1, 2, 2, 3, 3, 4, 4]
    views = [row for row in rows if row["scores"]]
    right_clips = sum(row["scores"].index(max(row["scores"])) == row["label"] for row in views)
    right_videos = 0
    for number in (0, 2, 3, 4):
        of_video = [row for row in views if row["row"] == number]
        mean = [sum(map(math.exp, scores)) for scores in zip(*(row["scores"] for row in of_video), strict=True)]
        right_videos += mean.index(max(mean)) == of_video[0]["label"]
    expected = {
        "checkpoint": None,
        "num_parameters": 3 * 2 * 4 * 4 * 3 + 3,
        "clip_top1": right_clips / 10,
        "video_top1": right_videos / 5,
        "num_videos": 5,
        "num_views": 10,
        "num_failed": 1,
    }
    assert {name: result[name] for name in expected} == expected
    assert caplog.text.count("counted as incorrect: 1.mp4: the file is empty") == 1
    assert evaluate.callback_metrics["test/video_top1"].item() == pytest.approx(right_videos / 5)


def test_validation_is_reset_every_epoch(tmp_path):
    """One step makes all predictions correct; the sanity check and the previous epoch do not count."""
    classifier = VideoClassifier(CLASSES, LinearNet, optimizer=lambda groups: SGD(groups, lr=100.0))
    nn.init.zeros_(classifier.net.head.weight)
    classifier.net.head.bias.data = torch.tensor([5.0, 0.0, 0.0])
    run = trainer(tmp_path)
    run.fit_loop.max_epochs = 2
    run.fit(classifier, loader(batch_of((1, 1))), loader(batch_of((1, 1)), batch_of((1, 1), (1, 0))))
    with (tmp_path / "run" / "metrics.csv").open() as file:
        values = [row["val/video_top1"] for row in csv.DictReader(file) if row["val/video_top1"]]
    assert [float(value) for value in values] == [pytest.approx(2 / 3), pytest.approx(2 / 3)]


def test_a_network_with_another_number_of_logits_is_named():
    classifier = VideoClassifier(CLASSES, lambda num_classes: LinearNet(num_classes + 1))
    with pytest.raises(ValueError, match=r"returns \(2, 4\) for 2 clips; expected logits \(2, 3\)"):
        classifier(batch_of((0, 1), (1, 1)).clips)


# Layout and precision ---------------------------------------------------------------------------------------------


def test_channels_last_changes_the_layout_and_not_the_logits():
    clips = batch_of((0, 3), size=16, num_frames=4).clips
    logits = {}
    for channels_last in (False, True):
        classifier = VideoClassifier(CLASSES, small_resnet, channels_last=channels_last).eval()
        classifier.net.stem.register_forward_pre_hook(partial(check_layout, channels_last=channels_last))
        with torch.no_grad():
            logits[channels_last] = classifier(clips)
    torch.testing.assert_close(logits[True], logits[False], rtol=1e-4, atol=1e-5)


def check_layout(stem: nn.Module, clips: tuple[torch.Tensor], *, channels_last: bool) -> None:
    for tensor in (*clips, stem.conv.weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last_3d) == channels_last


def test_bf16_trains_and_evaluates(tmp_path):
    dtypes = set()
    classifier = VideoClassifier(CLASSES, small_resnet)
    classifier.net.head.register_forward_hook(lambda _, __, logits: dtypes.add(logits.dtype))
    run = trainer(tmp_path, precision="bf16-mixed")
    batch = batch_of((0, 1), (1, 1), (2, 1), size=32, num_frames=8)  # 4 frames in res5
    run.fit(classifier, loader(batch, batch), loader(batch))
    run.test(classifier, loader(batch), verbose=False)
    assert dtypes == {torch.bfloat16}
    assert {parameter.dtype for parameter in classifier.parameters()} == {torch.float32}
    scores = torch.tensor(pq.read_table(tmp_path / "run" / "scores.parquet")["scores"].to_pylist())
    torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(3), rtol=0, atol=2e-3)  # float16 on disk
    assert math.isfinite(run.callback_metrics["test/video_top1"])


# Checkpoints and arguments ----------------------------------------------------------------------------------------


def test_a_checkpoint_of_the_same_classes_loads():
    saved = VideoClassifier(CLASSES, LinearNet)
    checkpoint = {"state_dict": saved.state_dict()}
    saved.on_save_checkpoint(checkpoint)
    VideoClassifier(list(CLASSES), LinearNet).on_load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("checkpoint", "parts"),
    [
        ({"state_dict": {}}, ["not written by videoctx"]),
        ({"class_names": CLASSES[:2]}, ["1 of 3 classes only in the data (wave)"]),
        ({"class_names": CLASSES[::-1]}, ["the same classes in another order", "in the same order"]),
        (
            {"class_names": [str(i) for i in range(400)]},
            ["400 of 400 classes only in the checkpoint (0, 1, 2, …)"],
        ),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(checkpoint, parts):
    with pytest.raises(ValueError, match="the checkpoint") as caught:
        VideoClassifier(CLASSES, LinearNet).on_load_checkpoint(checkpoint)
    assert "\n" not in str(caught.value)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0; expected 0 to less than 1"),
        ({"label_smoothing": -0.1}, "label_smoothing is -0.1; expected"),
        ({"views_per_forward": 0}, "views_per_forward is 0; expected 1 or more"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        VideoClassifier(CLASSES, LinearNet, **arguments)
