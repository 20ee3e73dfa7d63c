"""Layers that the starting weights lack have a learning rate of their own."""

from functools import partial

import pytest
import torch
from torch import nn

from tests.tasks.synthetic_runs import classifier, small_resnet, synthetic_clips, trainer
from videoctx.layers import NonLocal, SelfCalibratedConv3d
from videoctx.layers.conv import plain_conv3d
from videoctx.tasks.parameter_groups import parameter_groups, scale_layers


def with_block(num_classes: int) -> nn.Module:
    return small_resnet(num_classes, context=NonLocal, context_at={"res4": [1]})


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The weights of a network without blocks and without a classifier."""
    path = tmp_path_factory.mktemp("weights") / "backbone.pt"
    state = small_resnet(5).state_dict()
    torch.save({name: tensor for name, tensor in state.items() if not name.startswith("head.")}, path)
    return str(path)


def rates(task) -> dict[str, float]:
    """The learning rate of every parameter."""
    (optimizer,) = task.trainer.optimizers
    names = {id(parameter): name for name, parameter in task.net.named_parameters()}
    return {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}


def fitted(folder, weights, *, epochs=1, ckpt_path=None, **arguments):
    task = classifier(with_block, lr=0.001, weights=weights, **arguments)
    trainer(folder, max_epochs=epochs).fit(task, synthetic_clips(2, validates=False), ckpt_path=ckpt_path)
    return task


def test_only_what_the_weights_lack_has_the_higher_rate(tmp_path, weights):
    found = rates(fitted(tmp_path, weights, new_layers_lr_factor=10.0))
    for name, rate in found.items():
        is_new = name.startswith("head.") or ".after_add." in name
        assert rate == pytest.approx(0.01 if is_new else 0.001), name
    assert {name for name, _ in with_block(3).named_parameters()} == found.keys()


def test_a_kernel_that_starts_from_the_weights_is_not_new(tmp_path, weights):
    def self_calibrated(num_classes: int) -> nn.Module:
        conv = partial(SelfCalibratedConv3d, pooling=(1, 1, 1))
        return small_resnet(num_classes, first_conv=plain_conv3d, conv=conv)

    task = classifier(self_calibrated, lr=0.001, weights=weights, new_layers_lr_factor=10.0)
    trainer(tmp_path).fit(task, synthetic_clips(1, validates=False))
    assert {name for name, rate in rates(task).items() if rate > 0.005} == {"head.weight", "head.bias"}


def test_a_factor_of_one_is_as_none(tmp_path, weights):
    task = fitted(tmp_path, weights)
    assert set(rates(task).values()) == {0.001}
    assert len(task.trainer.optimizers[0].param_groups) == 2


def test_a_resumed_run_is_the_same_to_the_last_bit(tmp_path, weights):
    whole = fitted(tmp_path / "whole", weights, epochs=2, new_layers_lr_factor=10.0)
    fitted(tmp_path / "half", weights, new_layers_lr_factor=10.0)
    rest = fitted(
        tmp_path / "rest", weights, epochs=2, ckpt_path=tmp_path / "half/last.ckpt", new_layers_lr_factor=10.0
    )
    assert rates(rest) == rates(whole)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(rest.state_dict()[name], tensor), name


def test_without_weights_no_layer_is_new(tmp_path, caplog):
    assert set(rates(fitted(tmp_path, None, new_layers_lr_factor=10.0)).values()) == {0.001}
    assert "model.new_layers_lr_factor is 10" in caplog.text
    assert "model.weights" in caplog.text


def test_new_norms_do_not_decay():
    net = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2), nn.LayerNorm(2))
    new = ["2.weight", "2.bias", "3.weight", "3.bias"]
    optimizer = torch.optim.SGD(parameter_groups(net, new=new, new_lr_factor=4.0), lr=0.5, weight_decay=0.1)
    scale_layers(optimizer)
    assert [(g["lr"], g["weight_decay"], len(g["params"])) for g in optimizer.param_groups] == [
        (0.5, 0.1, 2),
        (0.5, 0.0, 2),
        (2.0, 0.1, 2),
        (2.0, 0.0, 2),
    ]


@pytest.mark.parametrize("factor", [0, -1, float("nan")])
def test_a_factor_out_of_range_is_refused(factor):
    with pytest.raises(ValueError, match=r"new_layers_lr_factor is .*expected more than 0"):
        classifier(new_layers_lr_factor=factor)
