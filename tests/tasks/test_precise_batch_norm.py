"""Measured statistics against sums over all values, written as loops; in a run, and on two ranks."""

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn

from tests.tasks.synthetic_runs import classifier, small_resnet, synthetic_clips, trainer
from videoctx.layers.pointwise import BatchNorm
from videoctx.tasks import EMA, FrozenBatchNorm, PreciseBatchNorm
from videoctx.tasks.precise_batch_norm import set_population_statistics


def alone(values):
    return values


def batches_of(seed, sizes=(4, 2, 3)):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, 2, 2, 3, 3, generator=generator) * (1 + index) for index, size in enumerate(sizes)]


def two_layers():
    torch.manual_seed(0)
    return nn.Sequential(BatchNorm(2), nn.Conv3d(2, 3, 1), BatchNorm(3))


def by_hand(net, batches):
    """[(mean, variance)] of what each BatchNorm gets, each batch normalized by itself, value by value."""
    first, convolution, second = net
    seen = [[[] for _ in range(2)], [[] for _ in range(3)]]
    for batch in batches:
        mean = batch.mean(dim=(0, 2, 3, 4), keepdim=True)
        variance = batch.var(dim=(0, 2, 3, 4), keepdim=True, unbiased=False)
        weight, bias = (p.view(1, -1, 1, 1, 1) for p in (first.weight, first.bias))
        inner = convolution((batch - mean) / (variance + first.eps).sqrt() * weight + bias)
        for values, x in zip(seen, (batch, inner), strict=True):
            for channel, of_channel in enumerate(values):
                of_channel += x[:, channel].flatten().tolist()
    statistics = []
    for values in seen:
        means = [sum(v) / len(v) for v in values]
        variances = [sum((x - m) ** 2 for x in v) / len(v) for v, m in zip(values, means, strict=True)]
        statistics.append((means, variances))
    assert second.num_features == 3
    return statistics


def check(net, statistics):
    for norm, (means, variances) in zip((net[0], net[2]), statistics, strict=True):
        torch.testing.assert_close(norm.running_mean, torch.tensor(means), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(norm.running_var, torch.tensor(variances), rtol=1e-5, atol=1e-5)


def test_mean_and_variance_of_all_values():
    net, batches = two_layers().eval(), batches_of(1)
    momentum, tracked = net[0].momentum, net[0].num_batches_tracked.clone()
    set_population_statistics(net, batches, over_ranks=alone)
    check(net, by_hand(net, batches))
    assert not any(module.training for module in net.modules())
    assert net[0].momentum == momentum
    assert torch.equal(net[0].num_batches_tracked, tracked)


def test_layers_that_are_not_trained_and_nothing_to_look_at_change_nothing():
    net = two_layers()
    net[2].requires_grad_(False)
    set_population_statistics(net, batches_of(1), over_ranks=alone)
    assert not torch.equal(net[0].running_mean, torch.zeros(2))
    assert torch.equal(net[2].running_mean, torch.zeros(3))
    before = net[0].running_mean.clone()
    set_population_statistics(net, [], over_ranks=alone)
    assert torch.equal(net[0].running_mean, before)


def on_a_rank(rank, store):
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)

    def summed(values):
        torch.distributed.all_reduce(values)
        return values

    net = two_layers()
    ours = [batches_of(1), batches_of(2, sizes=(5,))]  # one rank has three batches, the other one
    set_population_statistics(net, ours[rank], over_ranks=summed)
    check(net, by_hand(net, ours[0] + ours[1]))
    torch.distributed.destroy_process_group()


def test_two_ranks_measure_all_their_values(tmp_path):
    torch.multiprocessing.start_processes(on_a_rank, args=(tmp_path / "store",), nprocs=2, start_method="fork")


# In a run ---------------------------------------------------------------------------------------------------------


class Evaluated(Callback):
    """The state that is validated."""

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):  # noqa: ARG002
        self.state = {name: tensor.clone() for name, tensor in pl_module.state_dict().items()}


def measured(state, num_batches, data):
    """The statistics that a network of these weights should have."""
    model = classifier()
    model.load_state_dict(state)
    clips = [batch.clips for batch in data.clips_beside_training(num_batches)]
    set_population_statistics(model, clips, over_ranks=alone)
    return {name: tensor for name, tensor in model.state_dict().items() if "running" in name}


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("num_batches", [1, 200])
def test_validation_and_checkpoint_have_measured_statistics(tmp_path, num_batches, averaged):
    evaluated, model, data = Evaluated(), classifier(), synthetic_clips()
    average = [EMA(decay=0.5)] if averaged else []
    callbacks = [*average, PreciseBatchNorm(num_batches=num_batches), evaluated]
    trainer(tmp_path, *callbacks).fit(model, datamodule=data)
    expected = measured(evaluated.state, num_batches, data)
    for name, tensor in expected.items():
        torch.testing.assert_close(evaluated.state[name], tensor, msg=name)
        torch.testing.assert_close(model.state_dict()[name], tensor, msg=name)
    assert len(expected) > 20


def test_without_validation_they_are_measured_at_the_end_of_an_epoch(tmp_path):
    model, data = classifier(), synthetic_clips(validates=False)
    trainer(tmp_path, PreciseBatchNorm()).fit(model, datamodule=data)
    for name, tensor in measured(model.state_dict(), 200, data).items():
        torch.testing.assert_close(model.state_dict()[name], tensor, msg=name)


def test_training_is_what_it_would_be_without(tmp_path):
    models = []
    for callbacks in ([], [PreciseBatchNorm()]):
        models.append(classifier(lambda num_classes: small_resnet(num_classes, dropout=0.5)))
        trainer(tmp_path, *callbacks, max_epochs=2).fit(models[-1], datamodule=synthetic_clips())
    for (name, one), other in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other), name


def test_frozen_layers_keep_their_statistics(tmp_path):
    model = classifier()
    trainer(tmp_path, FrozenBatchNorm(), PreciseBatchNorm()).fit(model, datamodule=synthetic_clips())
    assert not model.net.stem.norm.running_mean.any()


def test_it_must_come_after_an_average(tmp_path):
    with pytest.raises(ValueError, match="PreciseBatchNorm precedes EMA"):
        trainer(tmp_path, PreciseBatchNorm(), EMA()).fit(classifier(), datamodule=synthetic_clips())


def test_a_number_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="num_batches is 0"):
        PreciseBatchNorm(num_batches=0)
