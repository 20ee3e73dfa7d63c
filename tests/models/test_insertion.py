"""Context blocks in other projects' networks and in ours."""

import re
from contextlib import contextmanager

import pytest
import torch
import torchvision.models
from pytorchvideo.models.resnet import create_resnet
from torch import nn

from tests.each_case import each_case
from videoctx.layers import GlobalContext, NonLocal, SimplifiedNonLocal
from videoctx.models import ResNet3D, insert_context

ALL = {"layer2": [0, 1, 2, 3], "layer3": [0, 1, 2, 3, 4, 5], "layer4": [0, 1, 2]}
OF_VIDEO = {"blocks.2.res_blocks": [1, 3], "blocks.3.res_blocks": [1, 3, 5]}


def count(net):
    return sum(parameter.numel() for parameter in net.parameters())


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@contextmanager
def unchanged(net):
    before = dict(net.named_modules())
    yield
    after = dict(net.named_modules())
    assert list(after) == list(before)
    assert all(after[name] is module for name, module in before.items())


# Other projects' networks -----------------------------------------------------------------------------------------


@each_case(
    ("context", "context_at", "millions"),
    [
        (NonLocal, {"layer3": [4]}, 27.66),
        (SimplifiedNonLocal, {"layer3": [4]}, 26.61),
        (GlobalContext, {"layer3": [4]}, 25.69),
        (GlobalContext, ALL, 28.08),
    ],
)
def test_torchvisions_resnet_gets_gcnets_counts(context, context_at, millions):
    """GCNet, table 4: ratio 1/16."""
    with torch.device("meta"):
        net = insert_context(torchvision.models.resnet50(), context_at, context)
    assert round(count(net) / 1e6, 2) == millions


@pytest.fixture(scope="module")
def image_net():
    torch.manual_seed(0)
    return torchvision.models.resnet50().eval()


@each_case("context", [NonLocal, SimplifiedNonLocal, GlobalContext])
def test_an_image_networks_logits_start_unchanged(image_net, context):
    images = normal(2, 3, 64, 64)
    with torch.inference_mode():
        expected = image_net(images)
        net = torchvision.models.resnet50().eval()
        net.load_state_dict(image_net.state_dict())
        returned = insert_context(net, ALL, context)
        assert returned is net
        assert torch.equal(net(images), expected)
        for module in net.modules():
            if isinstance(module, context):
                for parameter in module.parameters():
                    parameter.copy_(torch.randn(parameter.shape) * 0.1)
        assert not torch.allclose(net(images), expected)


def test_a_video_networks_logits_start_unchanged():
    torch.manual_seed(0)
    net = create_resnet(model_num_class=7, head_pool_kernel_size=(4, 2, 2)).eval()
    clips, parameters = normal(1, 3, 4, 64, 64), count(net)
    with torch.inference_mode():
        expected = net(clips)
        insert_context(net, OF_VIDEO, NonLocal)
        assert torch.equal(net(clips), expected)
    assert round((count(net) - parameters) / 1e6, 3) == 7.358


def test_another_networks_block_becomes_a_pair():
    with torch.device("meta"):
        net, plain = torchvision.models.resnet50(), torchvision.models.resnet50()
    blocks = list(net.layer3)
    insert_context(net, {"layer3": [4]}, GlobalContext)
    assert [net.layer3[i] is block for i, block in enumerate(blocks)] == [True] * 4 + [False, True]
    assert net.layer3[4][0] is blocks[4]
    assert isinstance(net.layer3[4][1], GlobalContext)
    moved = {name.replace("layer3.4.", "layer3.4.0.") for name in plain.state_dict()}
    added = set(net.state_dict()) - moved
    assert moved < set(net.state_dict())
    assert added
    assert all(name.startswith("layer3.4.1.") for name in added)


@each_case("name", ["resnet18", "resnext50_32x4d", "wide_resnet50_2", "video.r3d_18", "video.r2plus1d_18"])
def test_channels_are_told_from_the_block(name):
    make = torchvision.models
    for part in name.split("."):
        make = getattr(make, part)
    video, channels = name.startswith("video."), []

    def context(num_channels):
        channels.append(num_channels)
        return GlobalContext(num_channels)

    net = insert_context(make().eval(), {"layer1": [0], "layer2": [0, 1], "layer4": [1]}, context)
    wide = 1 if "18" in name else 4
    assert channels == [64 * wide, 128 * wide, 128 * wide, 512 * wide]
    with torch.inference_mode():
        assert net(normal(1, 3, *([4] if video else []), 32, 32)).isfinite().all()


# Ours -------------------------------------------------------------------------------------------------------------


@each_case("position", ["after_add", "after_1x1"])
def test_our_network_keeps_its_names(position):
    torch.manual_seed(0)
    net = ResNet3D(5, width=8).eval()
    before, clips = dict(net.state_dict()), normal(1, 3, 4, 32, 32)
    with torch.inference_mode():
        expected = net(clips)
        assert insert_context(net, {"res3": [1], "res4": [0, 5]}, GlobalContext, position=position) is net
        assert torch.equal(net(clips), expected)
    after = net.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    slots = {f"res3.1.{position}", f"res4.0.{position}", f"res4.5.{position}"}
    assert {name for name, module in net.named_modules() if isinstance(module, GlobalContext)} == slots
    assert {".".join(name.split(".")[:3]) for name in set(after) - set(before)} == slots


def test_a_network_gets_its_context_blocks_so():
    with torch.device("meta"):
        inserted = insert_context(ResNet3D(5, width=8), {"res3": [1, 3]}, NonLocal)
        built = ResNet3D(5, width=8, context=NonLocal, context_at={"res3": [1, 3]})
    assert str(inserted) == str(built)


# Errors -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def foreign():
    with torch.device("meta"):
        return torchvision.models.resnet50()


@each_case("stage", ["layer5", "res4", "", "conv1", "layer3.0", "layer2.0.downsample"])
def test_an_unknown_stage_lists_the_stages(foreign, stage):
    message = f"context_at names stage {stage!r}; expected one of layer1, layer2, layer3, layer4"
    with unchanged(foreign), pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        insert_context(foreign, {"layer2": [0], stage: [0]}, GlobalContext)


def test_stages_of_other_networks_are_listed():
    with torch.device("meta"):
        video, ours = create_resnet(), ResNet3D(5)
    with unchanged(video), pytest.raises(ValueError, match=r"expected one of [^\n]*blocks\.2\.res_blocks"):
        insert_context(video, {"layer3": [0]}, GlobalContext)
    with unchanged(ours), pytest.raises(ValueError, match=r"expected one of res2, res3, res4, res5$"):
        insert_context(ours, {"layer3": [0]}, GlobalContext)


@each_case("index", [6, -1, 100])
def test_an_index_out_of_range_is_named(foreign, index):
    message = f"context_at asks for block {index} of layer3, which has 6: expected 0 to 5"
    with unchanged(foreign), pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        insert_context(foreign, {"layer2": [0], "layer3": [1, index]}, GlobalContext)


def test_a_block_named_twice_is_named(foreign):
    message = "context_at names a block of layer3 twice: [1, 3, 1]"
    with unchanged(foreign), pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        insert_context(foreign, {"layer2": [0], "layer3": [1, 3, 1]}, GlobalContext)


def test_a_block_without_slots_has_no_branch_to_be_on(foreign):
    message = "layer3.1 is a Bottleneck; expected position after_add there"
    with unchanged(foreign), pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        insert_context(foreign, {"layer3": [1]}, GlobalContext, position="after_1x1")


@each_case("ours", [True, False])
def test_an_unknown_position_is_named(foreign, ours):
    with torch.device("meta"):
        net, stage = (ResNet3D(5), "res4") if ours else (foreign, "layer3")
    message = "position is 'before'; expected one of after_add, after_1x1"
    with unchanged(net), pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        insert_context(net, {stage: [1]}, GlobalContext, position="before")


def test_a_block_whose_channels_cannot_be_told_is_named():
    def block(norm):
        return nn.Sequential(nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1), norm)

    net = nn.Sequential(nn.Sequential(block(nn.BatchNorm2d(16)), block(nn.Identity())))
    with unchanged(net), pytest.raises(ValueError, match=r"^0\.1 is a Sequential without BatchNorm[^\n]*$"):
        insert_context(net, {"0": [0, 1]}, GlobalContext)


@each_case("make_net", [lambda: torchvision.models.resnet18(), lambda: ResNet3D(3, depth=18, width=8)])
def test_a_place_is_taken_once(make_net):
    net = make_net()
    stage = "layer3" if hasattr(net, "layer3") else "res4"
    insert_context(net, {stage: [1]}, GlobalContext)
    with pytest.raises(ValueError, match=rf"{stage}\.1 has a context block after_add already"):
        insert_context(net, {stage: [1]}, NonLocal)
