"""ContextOff: the blocks of a trained network return their input, and the network is as before afterwards."""

import json

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.models import resnet18

from tests.each_case import each_case
from tests.tasks.synthetic_runs import batch_of, classifier, small_resnet, synthetic_clips, trainer
from videoctx.evaluation.scores import read_scores
from videoctx.layers import (
    CBAM,
    CompactNonLocal,
    DisentangledNonLocal,
    DoubleAttention,
    GlobalContext,
    NonLocal,
    SelfCalibratedConv3d,
    SimplifiedNonLocal,
    SqueezeExcitation,
    TemporalShiftConv3d,
)
from videoctx.layers.conv import plain_conv3d
from videoctx.models import insert_context
from videoctx.models.switchable_blocks import Unchanged, switchable_blocks
from videoctx.tasks import ContextOff

PLACES = {"res3": [0], "res4": [1]}


def random_blocks(net: nn.Module) -> nn.Module:
    """Let every block change its input: blocks that add start as the identity."""
    torch.manual_seed(1)
    for name, parameter in net.named_parameters():
        if ".after_" in name:
            nn.init.normal_(parameter, std=0.5)
    return net.eval()


def scores_of(folder, net, *callbacks) -> torch.Tensor:
    run = trainer(folder, *callbacks)
    run.test(classifier(net), datamodule=synthetic_clips(), verbose=False)
    return torch.from_numpy(read_scores(folder / "scores.parquet").scores)


@each_case("position", ["after_add", "after_1x1"])
def test_the_network_is_the_one_without_blocks_and_is_restored(tmp_path_factory, position):
    folder = tmp_path_factory.mktemp("off")
    net = random_blocks(small_resnet(3, context=NonLocal, context_at=PLACES, context_position=position))
    plain = small_resnet(3)
    plain.load_state_dict(net.state_dict(), strict=False)
    expected, on = scores_of(folder, plain), scores_of(folder, net)
    assert torch.equal(scores_of(folder, net, ContextOff()), expected)
    assert not torch.equal(on, expected)
    card = json.loads((folder / "card.json").read_text())
    assert card["context_off"] == [f"res3.0.{position}", f"res4.1.{position}"]
    result = json.loads((folder / "results.json").read_text())
    assert result["num_parameters"] == sum(parameter.numel() for parameter in net.parameters())
    assert torch.equal(scores_of(folder, net), on)  # the same network, afterwards
    assert json.loads((folder / "card.json").read_text())["context_off"] == []


@each_case(
    "block", [NonLocal, SimplifiedNonLocal, GlobalContext, DoubleAttention, CompactNonLocal, DisentangledNonLocal]
)
def test_a_block_that_adds_returns_exactly_its_input(block):
    torch.manual_seed(0)
    made = block(32)
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 32, 2, 4, 4)
    made.fusion = Unchanged()
    assert torch.equal(made(x.clone()), x)


def test_the_network_is_restored_after_an_error(tmp_path):
    net = random_blocks(small_resnet(3, context=SimplifiedNonLocal, context_at=PLACES))
    clips = synthetic_clips()
    broken = DataLoader([batch_of(2, seed=0, num_frames=0)], batch_size=None)
    clips.test_dataloader = lambda: broken
    with pytest.raises(RuntimeError):
        trainer(tmp_path, ContextOff()).test(classifier(net), datamodule=clips, verbose=False)
    assert not any(isinstance(module, Unchanged) for module in net.modules())


def test_networks_and_runs_without_such_a_state_are_refused(tmp_path):
    none = "has no context blocks; expected a network with blocks that add to their input"
    for net, line in (
        (small_resnet(3), none),
        (small_resnet(3, first_conv=plain_conv3d, conv=SelfCalibratedConv3d), none),
        (small_resnet(3, width=8, first_conv=TemporalShiftConv3d), none),
        (small_resnet(3, context=lambda c: SqueezeExcitation(c, ratio=0.5), context_at=PLACES), "SqueezeExcitation at"),
        (
            small_resnet(3, context=lambda c: CBAM(c, ratio=0.5), context_at=PLACES),
            "ContextBlock at res3.0.after_add.ch",
        ),
        (small_resnet(3, context=lambda _: nn.Tanh(), context_at=PLACES), "Tanh at res3.0.after_add, Tanh at res4.1"),
        (insert_context(resnet18(), {"layer4": [1]}, lambda _: nn.Tanh()), "cannot switch off Tanh at layer4.1.1"),
    ):
        with pytest.raises(ValueError, match=line):
            switchable_blocks(net)
    both = small_resnet(3, width=8, context=NonLocal, context_at=PLACES, first_conv=TemporalShiftConv3d)
    assert list(switchable_blocks(both)) == ["res3.0.after_add", "res4.1.after_add"]
    foreign = insert_context(resnet18(), {"layer4": [1]}, GlobalContext)
    assert list(switchable_blocks(foreign)) == ["layer4.1.1"]
    with pytest.raises(ValueError, match="ContextOff is in the callbacks of a training; expected `videoctx test`"):
        trainer(tmp_path, ContextOff()).fit(classifier(both), datamodule=synthetic_clips())
