"""A training batch that is small for BatchNorm causes a warning, and one without a variance an error."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from tests.tasks.synthetic_runs import classifier, small_resnet, synthetic_clips, trainer
from videoctx.tasks import FrozenBatchNorm
from videoctx.tasks.batch_norm_size import check_single_clip, warn_of_few_clips


@pytest.mark.parametrize(
    ("clips", "message"),
    [(1, "20 BatchNorm layers get a single clip"), (3, "20 BatchNorm layers get only 3 clips"), (4, None)],
)
def test_few_clips(clips, message, caplog):
    warn_of_few_clips(small_resnet(3), clips_per_device=clips, num_devices=8)
    assert [message in logged for logged in caplog.messages] == ([True] if message else [])


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.requires_grad_(False),
        lambda net: nn.Sequential(net.stem.conv, nn.GroupNorm(1, 4)),
    ],
    ids=["frozen", "none"],
)
def test_frozen_and_other_norms_are_not_counted(change, caplog):
    warn_of_few_clips(change(small_resnet(3)), clips_per_device=1, num_devices=1)
    check_single_clip(change(small_resnet(3)), clip_size=(2, 1, 1))
    assert caplog.messages == []


@pytest.mark.parametrize(("devices", "message"), [(3, "20 BatchNorm layers get only 3 clips"), (4, None)])
def test_synchronized_layers_get_the_clips_of_all_devices(devices, message, caplog):
    net = nn.SyncBatchNorm.convert_sync_batchnorm(small_resnet(3))
    warn_of_few_clips(net, clips_per_device=1, num_devices=devices)
    check_single_clip(net, clip_size=(2, 1, 1))
    assert [message in logged for logged in caplog.messages] == ([True] if message else [])


def test_layers_without_scale_and_shift_are_counted(caplog):
    warn_of_few_clips(nn.BatchNorm3d(4, affine=False), clips_per_device=1, num_devices=1)
    assert "1 BatchNorm layers get a single clip" in caplog.text


@pytest.mark.parametrize(
    ("clip_size", "works"),
    [((2, 32, 32), False), ((1, 1, 1), False), ((2, 33, 32), True), ((2, 32, 33), True), ((4, 32, 32), True)],
)
def test_a_single_clip_is_refused_where_torch_refuses_it(clip_size, works):
    """The network is unchanged."""

    def expectation(words):
        return nullcontext() if works else pytest.raises(ValueError, match=words)

    net = small_resnet(3)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with expectation("a single clip, of which BatchNorm .* gets one value"):
        check_single_clip(net, clip_size=clip_size)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with expectation("more than 1 value per channel"):
        net.train()(torch.zeros(1, 3, *clip_size))


def test_layers_of_other_projects_are_not_checked():
    class Theirs(nn.Module):
        def forward(self, clips):
            return clips.cpu()

    check_single_clip(Theirs(), clip_size=(1, 1, 1))


@pytest.mark.parametrize("callbacks", [[], [FrozenBatchNorm()]], ids=["trained", "frozen"])
def test_a_run_warns(callbacks, tmp_path, caplog):
    run = trainer(tmp_path, *callbacks)
    run.fit(classifier(lr=0.01), datamodule=synthetic_clips(1, validates=False, clips_per_device=2))
    assert any("BatchNorm layers" in message for message in caplog.messages) == (not callbacks)
