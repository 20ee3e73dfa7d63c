"""A batch that BatchNorm cannot measure well is warned of."""

import pytest
from torch import nn

from tests.tasks.made_runs import classifier, made_clips, small_resnet, trainer
from videoctx.tasks import FrozenBatchNorm
from videoctx.tasks.batch_norm_size import warn_of_few_clips


@pytest.mark.parametrize(
    ("clips", "said"),
    [(1, "20 BatchNorm layers measure a single clip"), (3, "20 BatchNorm layers measure only 3 clips"), (4, None)],
)
def test_few_clips(clips, said, caplog):
    warn_of_few_clips(small_resnet(3), clips_per_device=clips)
    assert [said in message for message in caplog.messages] == ([True] if said else [])


@pytest.mark.parametrize(
    "change",
    [
        nn.SyncBatchNorm.convert_sync_batchnorm,
        lambda net: net.requires_grad_(False),
        lambda net: nn.Sequential(net.stem.conv, nn.GroupNorm(1, 4)),
    ],
    ids=["over all devices", "frozen", "none"],
)
def test_what_does_not_measure_a_device_is_fine(change, caplog):
    warn_of_few_clips(change(small_resnet(3)), clips_per_device=1)
    assert caplog.messages == []


@pytest.mark.parametrize("callbacks", [[], [FrozenBatchNorm()]], ids=["trained", "frozen"])
def test_a_run_says_it(callbacks, tmp_path, caplog):
    run = trainer(tmp_path, *callbacks)
    run.fit(classifier(lr=0.01, clips_per_device=2), datamodule=made_clips(1, validates=False))
    assert any("BatchNorm layers" in message for message in caplog.messages) == (not callbacks)
