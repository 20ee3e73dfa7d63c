"""Lightning's accumulation and clipping of gradients, as our configs use them."""

import pytest
import torch
from torch import nn
from torch.optim import SGD

from tests.tasks.synthetic_runs import CLASSES, SyntheticClips, batch_of, classifier, small_resnet, trainer
from videoctx.tasks import FrozenBatchNorm, VideoClassifier


def part(batch, which):
    """Some of a batch's clips as a batch of their own."""
    positions = list(range(len(batch)))[which]
    half = batch_of(len(positions), seed=0)
    half.clips, half.labels = batch.clips[which], batch.labels[which]
    return half


def test_two_batches_of_two_are_one_of_four(tmp_path):
    """Where no BatchNorm looks at the batch."""
    whole = [batch_of(4, seed=seed) for seed in range(2)]
    halves = [part(batch, which) for batch in whole for which in (slice(0, 2), slice(2, 4))]
    models = []
    for batches, accumulate in ((whole, 1), (halves, 2)):
        models.append(classifier(lr=0.01))
        run = trainer(tmp_path, FrozenBatchNorm(), accumulate_grad_batches=accumulate)
        run.fit(models[-1], datamodule=SyntheticClips(batches, validates=False))
        assert run.global_step == 2
    start = dict(small_resnet(3).named_parameters())
    for (name, one), other in zip(models[0].net.named_parameters(), models[1].net.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6, msg=name)
        assert "norm" in name or "shortcut.1" in name or not torch.equal(one, start[name])


@pytest.mark.parametrize(("limit", "algorithm"), [(0.01, "norm"), (0.001, "value")])
def test_clipping_bounds_a_step(tmp_path, limit, algorithm):
    def sgd(groups):
        return SGD(groups, lr=1.0)

    model = VideoClassifier(CLASSES, small_resnet, optimizer=sgd, channels_last=False)  # for parameters_to_vector
    before = nn.utils.parameters_to_vector(model.net.parameters()).clone()
    run = trainer(tmp_path, gradient_clip_val=limit, gradient_clip_algorithm=algorithm)
    run.fit(model, datamodule=SyntheticClips([batch_of(4, seed=0)], validates=False))
    step = nn.utils.parameters_to_vector(model.net.parameters()) - before
    reached = step.norm() if algorithm == "norm" else step.abs().max()
    assert reached.item() == pytest.approx(limit, rel=1e-3)
