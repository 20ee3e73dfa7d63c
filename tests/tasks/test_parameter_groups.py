"""Which parameters decay: everything but the norms."""

import pytest
import torch
from torch import nn
from torch.optim import SGD

from videoctx.layers import GlobalContext, NonLocal, SqueezeExcitation
from videoctx.layers.pointwise import BatchNorm, ChannelLayerNorm
from videoctx.models import ResNet3D
from videoctx.tasks.layer_rates import LayerRates
from videoctx.tasks.parameter_groups import parameter_groups, scale_layers


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


def rates_of(net: nn.Module, rates: LayerRates, **arguments: object) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each parameter, with 0.01 and 1e-4 of the optimizer."""
    optimizer = SGD(parameter_groups(net, rates=rates, **arguments), lr=0.01, weight_decay=1e-4)
    scale_layers(optimizer)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    groups = [(group, parameter) for group in optimizer.param_groups for parameter in group["params"]]
    return {names[id(parameter)]: (round(group["lr"], 6), group["weight_decay"]) for group, parameter in groups}


def test_the_rates_of_tsm():
    """As `get_optim_policies` of TSM and mmaction2's constructor: convolutions 1, biases 2, norms 1, fc 5 and 10."""
    net = ResNet3D(3, depth=18, width=8, context=NonLocal, context_at={"res3": [1]})
    found = rates_of(net, LayerRates(head_lr_factor=5.0, bias_lr_factor=2.0, decay_biases=False))
    assert found.keys() == {name for name, _ in net.named_parameters()}
    block = "res3.1.after_add"
    for name, expected in {
        "head.weight": (0.05, 1e-4),
        "head.bias": (0.1, 0.0),
        "stem.conv.weight": (0.01, 1e-4),
        "stem.norm.weight": (0.01, 0.0),
        "stem.norm.bias": (0.01, 0.0),
        f"{block}.context.theta.weight": (0.01, 1e-4),
        f"{block}.context.theta.bias": (0.02, 0.0),
        f"{block}.transform.0.bias": (0.02, 0.0),
        f"{block}.transform.1.bias": (0.01, 0.0),
    }.items():
        assert found[name] == expected, name


def test_each_rate_changes_its_layers_alone():
    net = nn.Sequential()
    net.conv, net.norm, net.head = nn.Conv3d(1, 1, 1), nn.BatchNorm3d(1), nn.Linear(1, 2)
    usual = rates_of(net, LayerRates())
    assert set(usual.values()) == {(0.01, 1e-4), (0.01, 0.0)}
    for rates, changed in (
        (LayerRates(head_lr_factor=3.0), {"head.weight": (0.03, 1e-4), "head.bias": (0.03, 1e-4)}),
        (LayerRates(bias_lr_factor=3.0), {"conv.bias": (0.03, 1e-4), "head.bias": (0.03, 1e-4)}),
        (LayerRates(decay_biases=False), {"conv.bias": (0.01, 0.0), "head.bias": (0.01, 0.0)}),
    ):
        assert rates_of(net, rates) == usual | changed
    new = {"new": ["head.weight", "head.bias"], "new_lr_factor": 10.0}
    assert rates_of(net, LayerRates(bias_lr_factor=2.0), **new)["head.bias"] == (0.2, 1e-4)
    decaying = rates_of(net, LayerRates(bias_lr_factor=2.0), decay_norms=True)
    assert decaying["norm.bias"] == (0.01, 1e-4)


def test_rates_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"layer_rates.bias_lr_factor is 0; expected more than 0"):
        LayerRates(bias_lr_factor=0)
    with pytest.raises(ValueError, match=r"head_lr_factor is 5, and Sequential has no layer named head; expected 1"):
        parameter_groups(nn.Sequential(nn.Linear(1, 1)), rates=LayerRates(head_lr_factor=5.0))
