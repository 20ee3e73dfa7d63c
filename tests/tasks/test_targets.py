"""What a clip is trained to be: mixed classes, several classes, and how validation evaluates several."""

import pytest
import torch
from torch import nn

from tests.tasks.synthetic_runs import CLASSES, batch_of, classifier, synthetic_clips, trainer
from videoctx.data.transforms.mixing import ClipMixing
from videoctx.evaluation.metrics import mean_average_precision


class Halves(nn.Module):
    """Every clip half of the next one."""

    def forward(self, clips, targets, video):
        assert video.tolist() == list(range(len(clips)))
        return (clips + clips.roll(1, 0)) / 2, (targets * 3 + targets.roll(1, 0)) / 4


@pytest.fixture
def step(monkeypatch):
    """A training step without a trainer: its loss, what it logs, and its logits."""

    def step(batch, **arguments):
        model, logged = classifier(**arguments), {}
        seen = []
        model.net.register_forward_hook(lambda _, clips, logits: seen.append((clips[0], logits)))
        monkeypatch.setattr(type(model), "log", lambda _, name, value, **__: logged.update({name: value.item()}))
        loss = model.training_step(batch, 0)
        return loss.item(), logged, *seen[0]

    return step


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_mixed_clips_have_mixed_targets(step, label_smoothing):
    batch = batch_of(4, seed=0)
    loss, logged, clips, logits = step(batch, mixing=Halves(), label_smoothing=label_smoothing)
    torch.testing.assert_close(clips, (batch.clips + batch.clips.roll(1, 0)) / 2)
    total, right = 0.0, 0
    for index, label in enumerate(batch.labels.tolist()):
        target = [label_smoothing / 3] * 3
        target[label] += 0.75 * (1 - label_smoothing)
        target[batch.labels[index - 1]] += 0.25 * (1 - label_smoothing)
        total -= sum(t * x for t, x in zip(target, logits[index].log_softmax(0).tolist(), strict=True))
        right += int(logits[index].argmax()) == label
    assert loss == pytest.approx(total / 4, rel=1e-5)
    assert logged == pytest.approx({"train/loss": total / 4, "train/clip_top1": right / 4}, rel=1e-5)


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_flipped_clip_is_trained_as_what_it_shows(step, multi_label):
    batch, other = (batch_of(4, seed=0, multi_label=multi_label) for _ in range(2))
    batch.swapped_labels = other.labels = batch.labels.flip(0)
    assert step(batch, multi_label=multi_label)[:2] == step(other, multi_label=multi_label)[:2]
    assert (
        step(batch, multi_label=multi_label)[0]
        != step(batch_of(4, seed=0, multi_label=multi_label), multi_label=multi_label)[0]
    )


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_several_classes_are_as_many_questions(step, label_smoothing):
    batch = batch_of(5, seed=1, multi_label=True)
    loss, logged, _, logits = step(batch, multi_label=True, label_smoothing=label_smoothing)
    total = 0.0
    for row, labels in zip(logits.sigmoid().tolist(), batch.labels.tolist(), strict=True):
        for probability, shown in zip(row, labels, strict=True):
            target = (1 - label_smoothing) * shown + label_smoothing / 2
            total -= target * torch.tensor(probability).log() + (1 - target) * torch.tensor(1 - probability).log()
    assert loss == pytest.approx(total.item() / 15, rel=1e-4)
    assert set(logged) == {"train/loss"}


def test_several_classes_can_be_mixed(step):
    batch = batch_of(4, seed=2, multi_label=True)
    loss, _, _, logits = step(batch, multi_label=True, mixing=Halves())
    targets = (batch.labels.float() * 3 + batch.labels.float().roll(1, 0)) / 4
    expected = -(targets * logits.sigmoid().log() + (1 - targets) * (1 - logits.sigmoid()).log()).mean()
    assert loss == pytest.approx(expected.item(), rel=1e-4)


def flat(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_a_run_mixes_the_same_whatever_ran_before(tmp_path):
    weights = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = classifier(mixing=ClipMixing())
        torch.manual_seed(seed)
        trainer(tmp_path).fit(model, datamodule=synthetic_clips())
        weights.append(flat(model))
    plain = classifier()
    trainer(tmp_path).fit(plain, datamodule=synthetic_clips())
    assert torch.equal(*weights)
    assert not torch.equal(weights[0], flat(plain))


def test_validation_logs_the_mean_average_precision(tmp_path):
    """Two batches; one video of them could not be read."""
    data, model = synthetic_clips(multi_label=True), classifier(multi_label=True)
    first, second = batch_of(5, seed=3, multi_label=True), batch_of(3, seed=4, multi_label=True)
    second.clips, second.video, second.views = second.clips[1:], second.video[1:], second.views[1:]
    first.labels[0] = True  # each class is shown
    data.val_dataloader = lambda: torch.utils.data.DataLoader([first, second], batch_size=None)
    run = trainer(tmp_path)
    run.validate(model, datamodule=data, verbose=False)
    with torch.no_grad():
        scores = [model.eval()(batch.clips).half().float().sigmoid().double() for batch in (first, second)]
    scores = torch.cat([scores[0], torch.full((1, 3), torch.nan), scores[1]])
    labels = torch.cat([first.labels, second.labels])
    (expected,) = mean_average_precision(scores.numpy(), labels.numpy(), torch.ones(1, 8).numpy())
    assert run.callback_metrics["val/video_map"].item() == pytest.approx(expected)
    assert 0 < expected < 1
    assert "val/video_top1" not in run.callback_metrics
    assert len(CLASSES) == 3
