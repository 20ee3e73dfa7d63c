"""A network's config: recorded when it is built, and enough to build it again. Shipped configs: test_configs.py."""

import pickle
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import nn

from videoctx.cli.parts import with_parts
from videoctx.layers import GlobalContext, NonLocal, SelfCalibratedConv3d, SqueezeExcitation
from videoctx.models import Res2NetBottleneck3d, ResNet3D, insert_context
from videoctx.models.meta_device import meta_copy
from videoctx.models.network_config import build_network, import_path, network_config

CONFIGS = Path(__file__).parents[2] / "configs" / "model"
SMALL = {"depth": 18, "width": 8}


@pytest.fixture(scope="module")
def parser():
    def model(net: Callable[[int], nn.Module]) -> None: ...

    parser = ArgumentParser()
    parser.add_argument("-c", "--config", action="config")
    parser.add_function_arguments(model, "model")
    return parser


@torch.no_grad()
def logits(net):
    """Logits of one clip, with weights that depend on the parameters' names and shapes alone."""
    for number, parameter in enumerate(net.parameters()):
        generator = torch.Generator().manual_seed(number)
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return net.eval()(torch.randn(1, 3, 8, 64, 64, generator=torch.Generator().manual_seed(0)))


def assert_same_network(net, other):
    assert network_config(net) == network_config(other) is not None
    assert {name: p.shape for name, p in net.state_dict().items()} == {
        name: p.shape for name, p in other.state_dict().items()
    }


@pytest.mark.parametrize(
    "name", ["relations_gc", "relations_nl_gaussian", "relations_a2", "relations_sc", "demo_r18_nl"]
)
def test_logits_of_a_rebuilt_network_are_the_same(name, parser):
    parsed = parser.parse_args(with_parts(["-c", str(CONFIGS / f"{name}.yaml")]))
    net = parser.instantiate_classes(parsed).model.net(10)
    torch.testing.assert_close(logits(build_network(net.config, 10)), logits(net), rtol=0, atol=0)


AT = {"res4": [1], "res5": (0, 1)}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"context": GlobalContext, "context_at": AT, "pool1_t": None},
        {"context": partial(GlobalContext, ratio=0.25, fusion="add"), "context_at": AT, "dropout": 0},
        {"context": partial(NonLocal, affinity="gaussian"), "context_at": AT, "context_position": "after_1x1"},
        {"conv": partial(SelfCalibratedConv3d, pooling=(1, 2, 2)), "pool1_t": (3, 2), "depth": 50},
        {"block": partial(Res2NetBottleneck3d, scale=2), "depth": 50},
    ],
    ids=lambda arguments: "-".join(arguments) or "plain",
)
def test_a_network_made_in_python_is_rebuilt_with_the_same_logits(arguments):
    net = ResNet3D(5, **(SMALL | arguments))
    rebuilt = build_network(network_config(net), 5)
    assert_same_network(net, rebuilt)
    torch.testing.assert_close(logits(rebuilt), logits(net), rtol=0, atol=0)


def test_config_holds_only_what_differs_from_the_defaults():
    context = partial(GlobalContext, ratio=0.25, fusion="add")
    net = ResNet3D(5, depth=18, width=8, context=context, context_at=AT, pool2_t=(2, 2))
    assert net.config == {
        "class_path": "videoctx.models.ResNet3D",
        "init_args": {
            "depth": 18,
            "width": 8,
            "context": {"class_path": "videoctx.layers.GlobalContext", "init_args": {"ratio": 0.25}},
            "context_at": {"res4": [1], "res5": [0, 1]},
        },
    }


class OwnContext(nn.Identity):  # takes any arguments
    pass


class OwnResNet(ResNet3D):
    pass


@pytest.mark.parametrize(
    "make_net",
    [
        lambda: ResNet3D(5, **SMALL, context=lambda channels: GlobalContext(channels), context_at=AT),
        lambda: ResNet3D(5, **SMALL, context=OwnContext, context_at=AT),
        lambda: ResNet3D(5, **SMALL, context=partial(OwnContext), context_at=AT),
        lambda: OwnResNet(5, **SMALL),
        lambda: nn.Linear(2, 5),
    ],
    ids=["lambda", "own layer", "partial of own layer", "subclass", "own network"],
)
def test_a_network_of_the_user_s_own_has_no_config(make_net):
    assert network_config(make_net()) is None


def test_config_is_kept_by_copies():
    net = ResNet3D(5, **SMALL, context=SqueezeExcitation, context_at=AT)
    for copied in (deepcopy(net), meta_copy(net), pickle.loads(pickle.dumps(net))):
        assert network_config(copied) == net.config


def test_inserted_blocks_are_in_the_config():
    net = insert_context(ResNet3D(5, **SMALL), AT, GlobalContext, position="after_1x1")
    built = ResNet3D(5, **SMALL, context=GlobalContext, context_at=AT, context_position="after_1x1")
    assert_same_network(net, built)


@pytest.mark.parametrize("context", [lambda channels: GlobalContext(channels), OwnContext], ids=["lambda", "own"])
def test_inserted_blocks_that_no_config_can_name_leave_none(context):
    assert network_config(insert_context(ResNet3D(5, **SMALL), AT, context)) is None


def test_blocks_inserted_twice_leave_no_config():
    net = insert_context(ResNet3D(5, **SMALL), {"res4": [1]}, GlobalContext)
    assert network_config(insert_context(net, {"res5": [1]}, GlobalContext)) is None


@pytest.mark.parametrize(
    "path", ["os.system", "videoctx.models.network_config.build_network", "videoctx.data.x", "torch.nn.Linear"]
)
def test_a_config_can_name_only_layers_and_networks_of_this_package(path):
    with pytest.raises(ValueError, match="no network or layer of videoctx"):
        build_network({"class_path": path}, 5)


def test_import_path_is_the_shortest_inside_layers_and_models():
    assert import_path(GlobalContext) == "videoctx.layers.GlobalContext"
