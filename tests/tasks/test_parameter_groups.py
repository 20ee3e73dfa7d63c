"""Which parameters decay: everything but the norms."""

import pytest
import torch
from torch import nn
from torch.optim import SGD

from videoctx.layers import GlobalContext, NonLocal, SqueezeExcitation
from videoctx.layers.pointwise import BatchNorm, ChannelLayerNorm
from videoctx.models import ResNet3D
from videoctx.tasks.parameter_groups import parameter_groups


def names_by_group(module: nn.Module) -> list[set[str]]:
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return [{names[id(parameter)] for parameter in group["params"]} for group in parameter_groups(module)]


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm1d(4),
        nn.BatchNorm2d(4),
        nn.BatchNorm3d(4),
        nn.SyncBatchNorm(4),
        nn.InstanceNorm3d(4, affine=True),
        nn.LayerNorm(4),
        nn.GroupNorm(2, 4),
        BatchNorm(4),
        ChannelLayerNorm(4),
    ],
    ids=lambda norm: type(norm).__name__,
)
def test_norms_do_not_decay_and_the_rest_does(norm):
    net = nn.Sequential(nn.Conv3d(4, 4, 1), norm, nn.Sequential(nn.Linear(4, 2)))
    assert names_by_group(net) == [{"0.weight", "0.bias", "2.0.weight", "2.0.bias"}, {"1.weight", "1.bias"}]


@pytest.mark.parametrize("context", [GlobalContext, NonLocal, SqueezeExcitation])
def test_every_parameter_of_a_network_is_in_one_group(context):
    with torch.device("meta"):
        net = ResNet3D(3, depth=18, width=16, context=context, context_at={"res3": [1]})
    decaying, norms = names_by_group(net)
    assert decaying | norms == {name for name, _ in net.named_parameters()}
    assert not decaying & norms
    # every norm of this network has "norm" in its name, but NonLocal's, the second part of its transform
    assert norms == {
        name
        for name in decaying | norms
        if "norm" in name or ".shortcut.1." in name or (context is NonLocal and ".transform.1." in name)
    }


def test_the_optimizer_decays_one_group_only():
    net = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    before = [parameter.detach().clone() for parameter in net.parameters()]
    optimizer = SGD(parameter_groups(net), lr=0.5, weight_decay=0.1)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for factor, old, new in zip([0.95, 0.95, 1, 1], before, net.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), factor * old)


def test_frozen_parameters_are_left_out_and_so_are_empty_groups():
    net = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    net[0].bias.requires_grad_(False)
    assert names_by_group(net) == [{"0.weight"}, {"1.weight", "1.bias"}]
    net[1].requires_grad_(False)
    assert names_by_group(net) == [{"0.weight"}]


def test_a_shared_parameter_is_there_once():
    layer = nn.Linear(2, 2)
    assert [len(group["params"]) for group in parameter_groups(nn.Sequential(layer, nn.ReLU(), layer))] == [2]
