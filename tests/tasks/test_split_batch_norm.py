"""SplitNorm against one BatchNorm per group, and its running statistics against those of the whole batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.tasks.synthetic_runs import classifier, small_resnet, synthetic_clips, trainer, trainer_with
from videoctx.tasks import SplitBatchNorm
from videoctx.tasks.precise_batch_norm import set_population_statistics
from videoctx.tasks.split_batch_norm import SplitNorm


def batch_norm(num_features: int = 3, **arguments) -> nn.BatchNorm3d:
    torch.manual_seed(0)
    norm = nn.BatchNorm3d(num_features, momentum=0.3, **arguments).double()
    for tensor in (*norm.parameters(), norm.running_mean):
        nn.init.normal_(tensor)
    return norm


def split_net(num_clips: int | None = None, clips_per_device: int | None = 4) -> nn.Module:
    model = classifier()
    data = synthetic_clips(clips_per_device=clips_per_device) if clips_per_device else None
    SplitBatchNorm(num_clips=num_clips).setup(trainer_with(data), model, "fit")
    return model.net


@pytest.mark.parametrize("momentum", [0.3, None])
def test_running_statistics_over_several_batches(momentum):
    plain, split = batch_norm(), SplitNorm(batch_norm(), 2)
    plain.momentum = split.momentum = momentum
    for _ in range(3):
        clips = torch.randn(6, 3, 2, 4, 4, dtype=torch.float64)
        plain(clips)
        split(clips)
    torch.testing.assert_close(split.state_dict(), plain.state_dict())


def test_features_without_positions():
    torch.manual_seed(0)
    norm, features = nn.BatchNorm1d(3), torch.randn(4, 3)
    split = SplitNorm(norm, 2)
    expected = torch.cat([nn.BatchNorm1d(3)(part) for part in features.split(2)])
    torch.testing.assert_close(split(features), expected)
    torch.testing.assert_close(split.eval()(features), norm.eval()(features))


@settings(max_examples=25, deadline=None)
@given(num_clips=st.integers(2, 5), num_groups=st.integers(1, 4), rest=st.integers(0, 4), affine=st.booleans())
def test_a_group_is_normalized_by_itself_and_the_batch_is_counted(num_clips, num_groups, rest, affine):
    clips = torch.randn(num_clips * num_groups + rest % num_clips, 3, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    plain, split = batch_norm(affine=affine), SplitNorm(batch_norm(affine=affine), num_clips)
    parts = torch.tensor_split(torch.arange(len(clips)), num_groups)
    expected = torch.cat([batch_norm(affine=affine)(clips[part]) for part in parts])
    weight = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad((expected * weight).sum(), clips)
    got = split(clips)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(torch.autograd.grad((got * weight).sum(), clips)[0], wanted)
    plain(clips)
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(split.state_dict()[name], tensor)


def test_evaluation_and_checkpoints_are_those_of_the_layer_in_whose_place_it_is():
    net, split = small_resnet(3), split_net()
    assert sum(isinstance(layer, SplitNorm) for layer in split.modules()) == 20
    assert not any(type(layer).__name__ == "BatchNorm" for layer in split.modules())
    assert list(split.state_dict()) == list(net.state_dict())
    assert [name for name, _ in split.named_parameters()] == [name for name, _ in net.named_parameters()]
    clips = torch.randn(4, 3, 4, 32, 32)
    torch.testing.assert_close(split.eval()(clips), net.eval()(clips), rtol=1e-3, atol=1e-4)


def test_a_batch_of_one_group_is_plain_batch_norm():
    clips = torch.randn(7, 3, 4, 32, 32)
    net, alike, other = small_resnet(3), split_net(), split_net(3)
    expected = net(clips)
    torch.testing.assert_close(alike(clips), expected, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(other(clips), expected, atol=1e-3)


def test_precise_statistics_are_those_of_all_values():
    norm = SplitNorm(batch_norm(), 2)
    clips = torch.randn(6, 3, 2, 4, 4, dtype=torch.float64)
    set_population_statistics(nn.Sequential(norm), [clips], over_ranks=lambda values: values)
    torch.testing.assert_close(norm.running_mean, clips.mean(dim=(0, 2, 3, 4)))
    torch.testing.assert_close(norm.running_var, clips.var(dim=(0, 2, 3, 4), correction=0))


def test_a_run_is_trained_with_it(tmp_path):
    weights = []
    for callbacks in ([], [SplitBatchNorm(num_clips=2)]):
        model = classifier()
        trainer(tmp_path, *callbacks).fit(model, datamodule=synthetic_clips())
        weights.append(model.net.head.weight.detach().clone())
    assert not torch.allclose(*weights)


def test_a_group_size_needs_no_data_module():
    sizes = {layer.num_clips for layer in split_net(3, None).modules() if isinstance(layer, SplitNorm)}
    assert sizes == {3}


@pytest.mark.parametrize(
    ("num_clips", "of_batch", "text"),
    [
        (5, 4, "is 5 with 4 clips per batch"),
        (None, None, "SplitBatchNorm without num_clips needs a data module"),
        (0, 4, "is 0; expected 1 or more"),
    ],
)
def test_more_clips_than_a_batch_are_refused(num_clips, of_batch, text):
    with pytest.raises(ValueError, match=text):
        split_net(num_clips, of_batch)


def test_sync_batch_norm_is_refused(tmp_path):
    model = classifier(lambda num_classes: nn.SyncBatchNorm.convert_sync_batchnorm(small_resnet(num_classes)))
    with pytest.raises(ValueError, match="sync_batchnorm"):
        trainer(tmp_path, SplitBatchNorm()).fit(model, datamodule=synthetic_clips())
