"""ResNet3D against published counts, against torchvision's and pytorchvideo's networks, and where its blocks sit."""

import inspect
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest
import pytorchvideo.models.hub
import torch
import torchvision.models
from jsonargparse import ActionConfigFile, ArgumentParser
from torch import nn

from tests.each_case import each_case
from tests.reference.comparison import TOLERANCE, random_input, randomized
from videoctx.cli.parts import with_parts
from videoctx.layers import (
    ContextBlock,
    FeaturePyramidTransformer,
    GlobalContext,
    NonLocal,
    SimplifiedNonLocal,
    SqueezeExcitation,
)
from videoctx.layers.conv import plain_conv3d
from videoctx.models import Res2NetBottleneck3d, ResNet3D
from videoctx.models.complexity import complexity
from videoctx.models.residual_blocks import BasicBlock3d, Bottleneck3d

CONFIGS = Path(__file__).parents[2] / "configs" / "model"
STAGES = ("res2", "res3", "res4", "res5")

# Strides over time for 32 frames, one in two.
FRAMES_32 = ("conv1_stride_t=2", "pool1_t=[3, 2]")
# Non-local, table 1: the same, and the overlapping pooling after res2.
TABLE_1 = (*FRAMES_32, "pool2_t=[3, 2]")
NON_LOCAL_R101 = ("context=videoctx.layers.NonLocal", "context_at={res3: [1, 3], res4: [6, 13, 20]}")


def from_config(config, *overrides):
    """The network factory of configs/model/`config`.yaml; an override is `argument=value`."""
    arguments = ["--config", str(CONFIGS / f"{config}.yaml")]
    arguments += [f"--model.net.init_args.{override}" for override in overrides]
    parser = ArgumentParser()
    parser.add_argument("--config", action=ActionConfigFile)
    parser.add_argument("--model.net", type=Callable[[int], nn.Module])
    return parser.instantiate(parser.parse_args(with_parts(arguments))).model.net


@cache
def counts(config, *overrides, clip_len=8, size=224):
    make_net = from_config(config, *overrides)
    return complexity(lambda: make_net(400), clip_len=clip_len, size=size)


def millions(count):
    return round(count / 1e6, 2)


def ready(net, seed=0):
    """`net` in float64 and evaluation mode; its norms, their statistics and its head are random."""
    generator = torch.Generator().manual_seed(seed)
    net.double().eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                for tensor in (module.weight, module.running_var):
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
                for tensor in (module.bias, module.running_mean):
                    tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
            elif isinstance(module, nn.Linear):
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * 0.1)
                module.bias.copy_(torch.randn(module.bias.shape, generator=generator))
    return net


def small(**arguments):
    """A network for tests that is quick, and whose every part has something to do."""
    torch.manual_seed(0)
    return ResNet3D(5, **{"depth": 18, "width": 8, "dropout": 0.0, "zero_init_residual": False} | arguments).double()


def clip(*shape, seed=1):
    return random_input(*shape, seed=seed).detach()


# Published counts -------------------------------------------------------------------------------------------------


@each_case(
    ("config", "published"),
    [
        ("c2d_r50", 24.33),
        ("i3d_r50", 28.04),
        ("slow_r50", 32.45),
        ("c2d_r50_nl5", 31.69),
        ("i3d_r50_nl5", 35.40),
        ("slow_r50_nl5", 39.81),
        ("slow_r50_snl5", 36.13),
        ("slow_r50_gc5", 34.30),
        ("slow_r50_gc_all", 42.45),
    ],
)
def test_parameters_are_the_published_ones(config, published):
    assert millions(counts(config).params) == published


@each_case(
    ("config", "plain", "published"),
    [
        ("i3d_r50_nl10", "i3d_r50", 14.72),
        *((f"{plain}_nl5", plain, 7.36) for plain in ("c2d_r50", "i3d_r50", "i3d333_r50", "slow_r50")),
        *((f"{plain}_se", plain, 2.53) for plain in ("c2d_r50", "i3d_r50", "i3d333_r50", "slow_r50")),
    ],
)
def test_blocks_add_the_published_parameters(config, plain, published):
    assert millions(counts(config).params - counts(plain).params) == published


@each_case(
    ("config", "overrides", "clip_len", "at_224", "at_256"),
    [
        pytest.param("c2d_r50", (), 8, 19.49, 25.46, id="C2D 8x8"),
        pytest.param("c2d_r50", TABLE_1, 32, 20.44, 26.69, id="C2D 32x2"),
        pytest.param("i3d_r50", (), 8, 28.41, 37.10, id="I3D 8x8"),
        pytest.param("i3d_r50", FRAMES_32, 32, 33.13, 43.27, id="I3D 32x2"),
        pytest.param("slow_r50", (), 8, 41.74, 54.52, id="Slow 8x8"),
        pytest.param("slow_r50", (), 4, 20.87, 27.26, id="Slow 4x16"),
    ],
)
def test_multiply_adds_are_the_published_ones(config, overrides, clip_len, at_224, at_256):
    giga = [counts(config, *overrides, clip_len=clip_len, size=size).macs / 1e9 for size in (224, 256)]
    assert giga == pytest.approx([at_224, at_256], rel=0.001)


@each_case(
    ("plain", "subsample", "size", "published"),
    [
        ("i3d_r50", "input", 224, 8.13),
        ("c2d_r50", "input", 224, 8.13),
        ("i3d_r50", "input", 256, 11.81),
        ("i3d_r50", "keys", 256, 15.84),
        ("slow_r50", "input", 224, 22.2),
        ("slow_r50", "input", 256, 33.8),
        ("slow_r50", "keys", 256, 41.9),
    ],
)
def test_five_non_local_blocks_add_the_published_multiply_adds(plain, subsample, size, published):
    blocks = counts(f"{plain}_nl5", f"context.init_args.subsample={subsample}", size=size)
    assert (blocks.macs - counts(plain, size=size).macs) / 1e9 == pytest.approx(published, rel=0.005)


@each_case(
    ("change", "params_ratio", "macs_ratio"),
    [
        pytest.param(("temporal_kernels=i3d333",), 1.5, 1.8, id="I3D 3x3x3"),
        pytest.param(("temporal_kernels=i3d",), 1.2, 1.5, id="I3D 3x1x1"),
        pytest.param(NON_LOCAL_R101, 1.2, 1.2, id="5 Non-local blocks"),
    ],
)
def test_resnet_101_is_as_in_table_2e_of_non_local(change, params_ratio, macs_ratio):
    plain = counts("c2d_r101", *TABLE_1, clip_len=32)
    assert plain.params / 1e6 == pytest.approx(43.2, rel=0.005)
    assert plain.macs / 1e9 == pytest.approx(34.2, rel=0.05)
    changed = counts("c2d_r101", *TABLE_1, *change, clip_len=32)
    assert round(changed.params / plain.params, 1) == params_ratio
    assert round(changed.macs / plain.macs, 1) == macs_ratio


# Shapes -----------------------------------------------------------------------------------------------------------


def shapes(net, *size):
    """(T, H, W) after conv1, each stage, and the pooling after res2."""
    seen = {}
    for name in ("stem.conv", "stem", "res2", "pool2", "res3", "res4", "res5"):
        net.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.update({name: tuple(output.shape[2:])})  # noqa: ARG005
        )
    with torch.no_grad():
        logits = net(torch.empty(2, 3, *size, device="meta"))
    assert logits.shape == (2, 5)
    return seen


@each_case("depth", [18, 50])
@each_case(
    ("arguments", "clip_len", "frames"),
    [
        # after conv1, pool1 and from pool2 on
        pytest.param({"temporal_kernels": "c2d"}, 8, (8, 8, 4), id="C2D 8x8"),
        pytest.param({"temporal_kernels": "i3d"}, 8, (8, 8, 4), id="I3D 8x8"),
        pytest.param({"temporal_kernels": "i3d333"}, 8, (8, 8, 4), id="I3D 3x3x3 8x8"),
        pytest.param({"temporal_kernels": "slow", "pool2_t": (1, 1)}, 8, (8, 8, 8), id="Slow 8x8"),
        pytest.param({"temporal_kernels": "slow", "pool2_t": (1, 1)}, 4, (4, 4, 4), id="Slow 4x16"),
        pytest.param({"conv1_stride_t": 2, "pool1_t": (3, 2)}, 32, (16, 8, 4), id="32x2"),
        pytest.param({"conv1_stride_t": 2, "pool1_t": (3, 2), "pool2_t": (3, 2)}, 32, (16, 8, 4), id="table 1"),
    ],
)
def test_sizes_are_those_of_table_1(arguments, clip_len, frames, depth):
    with torch.device("meta"):
        net = ResNet3D(5, depth=depth, width=8, **arguments)
    conv1, pool1, pool2 = frames
    assert shapes(net, clip_len, 224, 224) == {
        "stem.conv": (conv1, 112, 112),
        "stem": (pool1, 56, 56),
        "res2": (pool1, 56, 56),
        "pool2": (pool2, 56, 56),
        "res3": (pool2, 28, 28),
        "res4": (pool2, 14, 14),
        "res5": (pool2, 7, 7),
    }


@each_case("size", [(2, 1, 1), (2, 7, 5), (3, 31, 64), (5, 33, 17)])
@each_case("arguments", [{}, {"temporal_kernels": "slow", "pool2_t": (3, 2)}])
@each_case("depth", [18, 50])
def test_takes_any_size(depth, arguments, size):
    net = small(depth=depth, width=4, **arguments).eval()
    assert net(clip(2, 3, *size)).isfinite().all()


@each_case("temporal_kernels", ["c2d", "i3d", "i3d333", "slow"])
def test_takes_a_single_frame(temporal_kernels):
    assert small(temporal_kernels=temporal_kernels, pool2_t=(1, 1)).eval()(clip(1, 3, 1, 32, 32)).isfinite().all()


@each_case(
    ("depth", "kind", "blocks"),
    [
        (18, BasicBlock3d, (2, 2, 2, 2)),
        (34, BasicBlock3d, (3, 4, 6, 3)),
        (50, Bottleneck3d, (3, 4, 6, 3)),
        (101, Bottleneck3d, (3, 4, 23, 3)),
        (152, Bottleneck3d, (3, 8, 36, 3)),
    ],
)
def test_depth_is_the_number_of_layers(depth, kind, blocks):
    with torch.device("meta"):
        net = ResNet3D(5, depth=depth, width=8)
    assert tuple(len(net.get_submodule(stage)) for stage in STAGES) == blocks
    assert {type(block) for stage in STAGES for block in net.get_submodule(stage)} == {kind}
    assert sum(blocks) * (2 if kind is BasicBlock3d else 3) + 2 == depth


# Which convolutions reach over time -------------------------------------------------------------------------------


def temporal_kernel_sizes(net, stage, convolution):
    return [block.get_submodule(convolution).kernel_size[0] for block in net.get_submodule(stage)]


@each_case(
    ("temporal_kernels", "inflated", "conv1", "reach"),
    [
        ("c2d", "conv1", 1, ((1, 1, 1), (1, 1, 1, 1), (1,) * 6, (1, 1, 1))),
        ("i3d", "conv1", 5, ((3, 3, 3), (3, 1, 3, 1), (3, 1, 3, 1, 3, 1), (1, 3, 1))),
        ("i3d333", "conv2", 5, ((3, 3, 3), (3, 1, 3, 1), (3, 1, 3, 1, 3, 1), (1, 3, 1))),
        ("slow", "conv1", 1, ((1, 1, 1), (1, 1, 1, 1), (3,) * 6, (3, 3, 3))),
    ],
)
def test_bottlenecks_are_inflated_as_published(temporal_kernels, inflated, conv1, reach):
    with torch.device("meta"):
        net = ResNet3D(5, depth=50, temporal_kernels=temporal_kernels, width=8)
    assert net.stem.conv.kernel_size == (conv1, 7, 7)
    for stage, expected in zip(STAGES, reach, strict=True):
        assert temporal_kernel_sizes(net, stage, inflated) == list(expected)
        for other in {"conv1", "conv2", "conv3"} - {inflated}:
            assert set(temporal_kernel_sizes(net, stage, other)) == {1}


def test_resnet_101_is_inflated_in_every_other_block():
    with torch.device("meta"):
        net = ResNet3D(5, depth=101, width=8)
    assert temporal_kernel_sizes(net, "res4", "conv1") == [3, 1] * 11 + [3]


@each_case(
    ("temporal_kernels", "first", "second"),
    [
        ("c2d", ((1, 1),) * 4, ((1, 1),) * 4),
        ("i3d", ((3, 3), (3, 1), (3, 1), (1, 3)), ((1, 1),) * 4),
        ("i3d333", ((3, 3), (3, 1), (3, 1), (1, 3)), ((3, 3), (3, 1), (3, 1), (1, 3))),
        ("slow", ((1, 1), (1, 1), (3, 3), (3, 3)), ((1, 1),) * 4),
        ("r3d", ((3, 3),) * 4, ((3, 3),) * 4),
        ("mc3", ((3, 3), (1, 1), (1, 1), (1, 1)), ((3, 3), (1, 1), (1, 1), (1, 1))),
    ],
)
def test_basic_blocks_are_inflated_alike(temporal_kernels, first, second):
    net = small(temporal_kernels=temporal_kernels)
    for convolution, expected in (("conv1", first), ("conv2", second)):
        assert tuple(tuple(temporal_kernel_sizes(net, stage, convolution)) for stage in STAGES) == expected


def test_without_temporal_kernels_the_order_of_frames_is_nothing():
    """C2D is an image network whose features are averaged over time."""
    frames, shuffled = clip(2, 3, 4, 32, 32), [2, 0, 3, 1]
    for kernels, same in (("c2d", True), ("i3d", False), ("i3d333", False), ("slow", False)):
        net = small(temporal_kernels=kernels, pool2_t=(1, 1)).eval()
        assert torch.allclose(net(frames), net(frames[:, :, shuffled])) == same


# Against torchvision ----------------------------------------------------------------------------------------------


def from_torchvision(state, *, frames=1):
    """A 2D ResNet's weights under our names, each kernel repeated over `frames` and divided by them."""
    renamed = {}
    for name, value in state.items():
        for old, new in (
            ("layer1.", "res2."),
            ("layer2.", "res3."),
            ("layer3.", "res4."),
            ("layer4.", "res5."),
            ("downsample", "shortcut"),
            ("bn", "norm"),
            ("fc.", "head."),
        ):
            name = name.replace(old, new)
        name = f"stem.{name.replace('1.', '.', 1)}" if name.startswith(("conv1.", "norm1.")) else name
        renamed[name] = value.unsqueeze(2).repeat(1, 1, frames, 1, 1) / frames if value.ndim == 4 else value
    return renamed


TORCHVISION = {
    "resnet18": (torchvision.models.resnet18, {"depth": 18}),
    "resnet34": (torchvision.models.resnet34, {"depth": 34}),
    "resnet50": (torchvision.models.resnet50, {"depth": 50}),
    "resnext50_32x4d": (torchvision.models.resnext50_32x4d, {"depth": 50, "groups": 32, "width_per_group": 4}),
}


@torch.no_grad()
@each_case("name", TORCHVISION)
def test_gives_torchvisions_logits_for_a_still_video(name):
    make, arguments = TORCHVISION[name]
    torch.manual_seed(0)
    peer = ready(make(num_classes=7))
    with torch.device("meta"):
        net = ResNet3D(7, temporal_kernels="c2d", **arguments).double().eval()
    net.load_state_dict(from_torchvision(peer.state_dict()), assign=True)
    image = clip(2, 3, 45, 64)
    expected = peer(image)
    assert expected.std() > 0.1
    still = image.unsqueeze(2).repeat(1, 1, 2, 1, 1)
    torch.testing.assert_close(net(still), expected, rtol=1e-8, atol=1e-8)


@torch.no_grad()
def test_stride_at_1x1_is_caffes_resnet():
    """torchvision's ResNet with the strides moved from the 3×3 to the first 1×1."""
    torch.manual_seed(0)
    peer = ready(torchvision.models.resnet50(num_classes=7))
    with torch.device("meta"):
        net = ResNet3D(7, temporal_kernels="c2d", pool2_t=(1, 1), stride_at="1x1").double().eval()
    net.load_state_dict(from_torchvision(peer.state_dict()), assign=True)
    image = clip(1, 3, 45, 64)
    logits = net(image.unsqueeze(2))
    assert not torch.allclose(logits, peer(image), rtol=1e-2)
    for layer in (peer.layer2, peer.layer3, peer.layer4):
        layer[0].conv1.stride, layer[0].conv2.stride = (2, 2), (1, 1)
    torch.testing.assert_close(logits, peer(image), rtol=1e-8, atol=1e-8)


def test_stride_at_leaves_the_sizes():
    with torch.device("meta"):
        nets = [ResNet3D(5, width=8, stride_at=stride_at) for stride_at in ("3x3", "1x1")]
    ours, caffes = (shapes(net, 8, 225, 190) for net in nets)
    assert ours == caffes


def from_torchvision_video(state):
    """The weights of a video network, whose convolutions are sequences with their norms, under our names."""
    renamed = {}
    for name, value in from_torchvision(state).items():
        for old, new in (
            *((f"conv{i}.0.{j}.", f"conv{i}.{new}.") for i in (1, 2) for j, new in FACTORIZED.items()),
            *((f"conv{i}.{j}.", f"{new}{i}.") for i in (1, 2) for j, new in ((0, "conv"), (1, "norm"))),
        ):
            name = name.replace(old, new)
        renamed[name] = value
    return renamed


FACTORIZED = {0: "spatial", 1: "norm", 3: "temporal"}
PLAIN_STEM = {"stem.0.": "stem.conv.", "stem.1.": "stem.norm."}
FACTORIZED_STEM = {f"stem.{i}.": f"stem.conv.{new}." for i, new in FACTORIZED.items()} | {"stem.4.": "stem.norm."}


@torch.no_grad()
@each_case(("name", "stem"), [("r3d_18", PLAIN_STEM), ("mc3_18", PLAIN_STEM), ("r2plus1d_18", FACTORIZED_STEM)])
def test_gives_the_logits_of_torchvisions_video_networks(name, stem):
    torch.manual_seed(0)
    peer = ready(getattr(torchvision.models.video, name)(num_classes=7))
    weights = from_torchvision_video(peer.state_dict())
    for old, new in stem.items():
        weights = {key.replace(old, new) if key.startswith(old) else key: value for key, value in weights.items()}
    with torch.device("meta"):
        net = from_config(name)(7).double().eval()
    net.load_state_dict(weights, assign=True)
    frames = clip(1, 3, 7, 24, 33)
    assert peer(frames).std() > 0.1
    torch.testing.assert_close(net(frames), peer(frames), rtol=1e-8, atol=1e-8)


# Against pytorchvideo ---------------------------------------------------------------------------------------------


def from_pytorchvideo(state, *, pooled):
    """pytorchvideo's weights under our names; `pooled` where a pooling without weights is block 2."""
    first = 3 if pooled else 2
    stages = {"0": "stem", "1": "res2", str(first): "res3", str(first + 1): "res4", str(first + 2): "res5"}
    layers = {"conv_a": "conv1", "norm_a": "norm1", "conv_b": "conv2", "norm_b": "norm2", "conv_c": "conv3"}
    layers |= {"norm_c": "norm3", "branch1_conv": "shortcut.0", "branch1_norm": "shortcut.1"}
    renamed = {}
    for name, value in state.items():
        _, number, *path = name.split(".")
        if path[0] == "proj":
            renamed[f"head.{path[1]}"] = value
            continue
        path = [layers.get(part, part) for part in path if part not in ("res_blocks", "branch2")]
        renamed[".".join([stages[number], *path])] = value
    return renamed


@torch.no_grad()
@each_case("name", ["slow_r50", "c2d_r50", "i3d_r50"])
def test_gives_pytorchvideos_logits(name):
    torch.manual_seed(0)
    # slow_r50 fixes the size of its head's pooling, which a pooling to one vector ignores.
    peer = getattr(pytorchvideo.models.hub, name)(stem_dim_out=8, model_num_class=7, head_pool=nn.AdaptiveAvgPool3d)
    ready(peer)
    net = from_config(name, "width=8")(7).double().eval()
    net.load_state_dict(from_pytorchvideo(peer.state_dict(), pooled=name != "slow_r50"))
    frames = clip(2, 3, 6, 64, 45)
    assert peer(frames).std() > 0.1
    torch.testing.assert_close(net(frames), peer(frames), rtol=1e-8, atol=1e-8)


@each_case("name", ["slow_r50", "c2d_r50", "i3d_r50"])
def test_has_as_many_parameters_as_pytorchvideos(name):
    with torch.device("meta"):
        peer = getattr(pytorchvideo.models.hub, name)()
    assert counts(name).params == sum(parameter.numel() for parameter in peer.parameters())


# Context blocks ---------------------------------------------------------------------------------------------------


class Mark(nn.Module):
    """3x - 1, a context block that can be told from any other place; remembers for how many channels it was made."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        assert x.shape[1] == self.channels
        return 3 * x - 1


AT = {"res2": [0], "res3": [0, 1], "res5": [1]}


@each_case("depth", [18, 50])
@each_case("position", ["after_add", "after_1x1"])
def test_context_sits_where_it_is_asked_for(position, depth):
    net = small(depth=depth, context=Mark, context_at=AT, context_position=position).eval()
    for stage in STAGES:
        for index, block in enumerate(net.get_submodule(stage)):
            x = clip(2, next(block.parameters()).shape[1], 2, 6, 5)
            marked = index in AT.get(stage, ())
            assert isinstance(getattr(block, position), Mark if marked else nn.Identity)
            branch, shortcut = block.branch(x), block.shortcut(x)
            if marked and position == "after_add":
                expected = 3 * (shortcut + branch).relu() - 1
            elif marked:
                expected = (shortcut + 3 * branch - 1).relu()
            else:
                expected = (shortcut + branch).relu()
            torch.testing.assert_close(block(x), expected, **TOLERANCE)
    assert sum(isinstance(module, Mark) for module in net.modules()) == 4


@each_case(
    ("position", "order"),
    [
        ("after_1x1", ["branch", "context", "sum", "next"]),
        ("after_add", ["branch", "sum", "context", "next"]),
    ],
)
def test_the_order_of_context_and_sum(position, order):
    net = small(context=Mark, context_at={"res3": [0]}, context_position=position).eval()
    log, block = [], net.res3[0]
    block.norm2.register_forward_hook(lambda *_: log.append("branch"))
    getattr(block, position).register_forward_hook(lambda *_: log.append("context"))
    # The ReLU also runs inside the branch; the sum is its last call.
    block.relu.register_forward_hook(lambda *_: log.append("sum") if "branch" in log else None)
    net.res3[1].register_forward_pre_hook(lambda *_: log.append("next"))
    net(clip(1, 3, 2, 32, 32))
    assert log == order


CONTEXTS = {
    "nl": NonLocal,
    "nl without batch norm": lambda channels: NonLocal(channels, batch_norm=False),
    "snl": SimplifiedNonLocal,
    "gc": lambda channels: GlobalContext(channels, ratio=0.25),
}
each_position = each_case("position", ["after_add", "after_1x1"])


@torch.no_grad()
@each_case("training", [True, False])
@each_position
@each_case("context", CONTEXTS)
def test_blocks_that_start_as_the_identity_leave_the_logits(context, position, training):
    plain = ready(small())
    net = small(context=CONTEXTS[context], context_at={"res3": [1], "res4": [0, 1]}, context_position=position)
    missing, unexpected = net.load_state_dict(plain.state_dict(), strict=False)
    assert missing
    assert all(f".{position}." in name for name in missing)
    assert not unexpected
    frames = clip(2, 3, 4, 32, 32)
    assert torch.equal(net.train(training)(frames), plain.train(training)(frames))
    for module in net.modules():
        if isinstance(module, ContextBlock):
            randomized(module)
    assert not torch.allclose(net.train(training)(frames), plain.train(training)(frames))


@each_position
@each_case("context", [*CONTEXTS, "se"])
def test_a_gradient_reaches_every_parameter(context, position):
    make = {**CONTEXTS, "se": lambda channels: SqueezeExcitation(channels, ratio=0.5)}[context]
    net = ready(small(context=make, context_at={"res3": [1], "res4": [0]}, context_position=position))
    blocks = [randomized(module) for module in net.modules() if isinstance(module, ContextBlock)]
    assert len(blocks) == 2
    with torch.no_grad():
        for parameter in (parameter for block in blocks for parameter in block.parameters()):
            parameter.mul_(0.1)  # no softmax is one position only
    net(clip(2, 3, 4, 64, 64)).square().sum().backward()
    without = {name for name, parameter in net.named_parameters() if parameter.grad.abs().max() < 1e-10}
    # A constant added to every key cancels in the softmax.
    places = [f"res3.1.{position}", f"res4.0.{position}"]
    assert without == ({f"{place}.context.phi.bias" for place in places} if "nl" in context.split() else set())


def test_a_context_keeps_its_own_start():
    """The network's initialization is of its own convolutions only."""

    def zero_convolution(channels):
        layer = nn.Conv3d(channels, channels, 1)
        nn.init.zeros_(layer.weight)
        return layer

    net = small(context=zero_convolution, context_at={"res3": [0]})
    assert not net.res3[0].after_add.weight.any()


@each_case("position", ["after_add", "after_1x1"])
def test_channels_last_gives_the_same(position):
    context_at = {"res3": [1], "res4": [1]}
    net = ready(small(context=NonLocal, context_at=context_at, context_position=position))
    frames = clip(2, 3, 4, 32, 32)
    expected = net(frames)
    actual = net.to(memory_format=torch.channels_last_3d)(frames.to(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


# Arguments --------------------------------------------------------------------------------------------------------


def squared_conv3d(*args, **kwargs):
    layer = plain_conv3d(*args, **kwargs)
    layer.register_forward_hook(lambda module, inputs, output: output.square())  # noqa: ARG005
    return layer


# (what it is made with, and what is changed)
CHANGES = [
    ({}, {"num_classes": 6}),
    *(({}, {"depth": depth}) for depth in (34, 50)),
    *(({}, {"temporal_kernels": kernels}) for kernels in ("c2d", "i3d333", "i3d_heavy", "slow", "r3d", "r3d7", "mc3")),
    ({}, {"conv1_stride_t": 2}),
    ({}, {"pool1_t": None}),
    ({}, {"pool1_t": (3, 2)}),
    ({"pool1_t": (3, 2)}, {"pool1_t": (2, 2)}),
    ({}, {"pool2_t": (1, 1)}),
    ({}, {"pool2_t": (3, 2)}),
    ({"depth": 50}, {"stride_at": "1x1"}),
    ({}, {"width": 4}),
    ({"depth": 50}, {"groups": 2}),
    ({"depth": 50}, {"width_per_group": 32}),
    *(({}, {"stage_stride_t": strides}) for strides in ((2, 1, 1, 1), (1, 2, 1, 1), (1, 1, 2, 1), (1, 1, 1, 2))),
    ({}, {"conv": squared_conv3d}),
    ({}, {"pool1_padded": False}),
    ({}, {"first_conv": squared_conv3d}),
    ({"first_conv": squared_conv3d}, {"first_conv_every": 2}),
    ({}, {"norm_eps": 0.1}),
    ({}, {"stem_conv": squared_conv3d}),
    ({"depth": 50}, {"block": Res2NetBottleneck3d}),
    ({"context_at": {"res4": [0]}, "context": Mark}, {"context": SqueezeExcitation}),
    ({"context_at": {"res4": [0]}, "context": Mark}, {"context_at": {"res4": [1]}}),
    ({"context_at": {"res4": [0]}, "context": Mark}, {"context_position": "after_1x1"}),
    ({}, {"neck": partial(FeaturePyramidTransformer, width=8)}),
    ({}, {"dropout": 0.5}),
    ({}, {"zero_init_residual": True}),
]


@torch.no_grad()
@each_case(("given", "change"), CHANGES)
def test_every_argument_changes_something(given, change):
    """In training, where dropout acts."""

    plain = {"num_classes": 5, "depth": 18, "width": 8, "zero_init_residual": False, "dropout": 0.0}

    def logits(arguments):
        torch.manual_seed(0)
        net = ResNet3D(**plain | arguments).double()
        torch.manual_seed(0)
        return net.train()(clip(2, 3, 8, 48, 48))

    before, after = logits(given), logits(given | change)
    assert before.shape != after.shape or not torch.allclose(before, after, rtol=1e-3)


def test_every_argument_is_among_the_changes():
    changed = set().union(*(change for _, change in CHANGES)) | {
        "activation_checkpointing"
    }  # no number: test_activation_checkpointing.py
    assert changed == set(inspect.signature(ResNet3D).parameters)


def test_the_defaults_are_those_of_i3d_resnet_50():
    with torch.device("meta"):
        net, explicit = ResNet3D(400), from_config("i3d_r50")(400)
    assert repr(net) == repr(explicit)
    assert net.dropout.p == 0.5
    residual_branch = ResNet3D(5, width=8).res2[1].last_norm
    assert not residual_branch.weight.any()


def test_dropout_acts_before_the_head_and_in_training_only():
    net, frames = small(dropout=0.9), clip(2, 3, 4, 64, 64)
    assert not torch.allclose(net.train()(frames), net(frames))
    assert torch.equal(net.eval()(frames), net(frames))
    seen = []
    net.head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))  # noqa: ARG005
    net.train()(frames)
    assert (seen[0] == 0).float().mean() == pytest.approx(0.9, abs=0.1)


@each_case("zero", [True, False])
@each_case(("depth", "last"), [(18, "norm2"), (50, "norm3")])
def test_zero_init_residual_is_the_last_norm_of_every_branch(depth, last, zero):
    net = small(depth=depth, zero_init_residual=zero)
    for name, module in net.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert torch.all(module.weight == (0 if zero and name.endswith(last) else 1)), name
            assert not module.bias.any(), name
    block, x = net.res2[1].eval(), clip(1, net.res2[1].last_norm.num_features, 2, 4, 4)
    assert torch.equal(block(x), x.relu()) == zero


def test_starts_as_he_et_al_do():
    """Convolutions with standard deviation √(2 / fan out), the classifier with 0.01."""
    torch.manual_seed(0)
    net = ResNet3D(100, depth=18)
    for convolution, fan_out in ((net.stem.conv, 64 * 5 * 49), (net.res5[1].conv1, 512 * 3 * 9)):
        assert convolution.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)
        assert convolution.bias is None
    assert net.head.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not net.head.bias.any()


@each_case("depth", [18, 50])
def test_the_kind_of_convolution_is_that_of_the_3x3(depth):
    made = []

    def conv(in_channels, out_channels, **arguments):
        made.append(arguments["kernel_size"])
        return plain_conv3d(in_channels, out_channels, **arguments)

    ResNet3D(5, depth=depth, width=8, conv=conv)
    assert len(made) == 16
    assert {kernel[1:] for kernel in made} == {(3, 3)}


@each_case("groups", [2, 4])
def test_groups_are_of_the_3x3_convolutions(groups):
    net = small(depth=50, width=64, groups=groups, width_per_group=8)
    for number, stage in enumerate(STAGES):
        for block in net.get_submodule(stage):
            assert (block.conv1.groups, block.conv2.groups, block.conv3.groups) == (1, groups, 1)
            assert block.conv2.out_channels == groups * 8 * 2**number


# Errors -----------------------------------------------------------------------------------------------------------


@each_case(
    ("arguments", "message"),
    [
        ({"depth": 49}, r"depth is 49; expected one of 18, 34, 50, 101, 152, 200"),
        (
            {"temporal_kernels": "p3d"},
            r"temporal_kernels is 'p3d'; expected one of c2d, i3d, i3d333, i3d_heavy, slow, r3d, r3d7, mc3",
        ),
        ({"stride_at": "5x5"}, r"stride_at is '5x5'; expected one of 3x3, 1x1"),
        ({"context_position": "before"}, r"context_position is 'before'; expected one of after_add, after_1x1"),
        ({"width": 0}, r"width is 0; expected 1 or more"),
        ({"depth": 50, "groups": 0}, r"groups is 0; expected 1 or more"),
        ({"depth": 50, "width_per_group": 0}, r"width_per_group is 0; expected 1 or more"),
        ({"conv1_stride_t": 0}, r"conv1_stride_t is 0; expected 1 or more"),
        ({"stage_stride_t": (1, 1, 0, 1)}, r"stage_stride_t is 0; expected 1 or more"),
        ({"norm_eps": 0}, r"norm_eps is 0; expected more than 0"),
        ({"first_conv_every": 0}, r"first_conv_every is 0; expected 1 or more"),
        ({"dropout": 3}, r"dropout is 3; expected 0 to 1"),
        ({"context": Mark}, r"context and context_at belong together"),
        ({"context_at": {"res3": [0]}}, r"context and context_at belong together"),
        ({"context": Mark, "context_at": {}}, r"context and context_at belong together"),
        (
            {"context": Mark, "context_at": {"layer3": [0]}},
            r"context_at names stage 'layer3'; expected one of res2, res3, res4, res5",
        ),
        ({"context": Mark, "context_at": {"stem": [0]}}, r"context_at names stage 'stem'"),
        (
            {"context": Mark, "context_at": {"res2": [0], "res3": [1, 2]}},
            r"context_at asks for block 2 of res3, which has 2: expected 0 to 1",
        ),
        ({"context": Mark, "context_at": {"res3": [-1]}}, r"context_at asks for block -1 of res3"),
        ({"depth": 50, "context": Mark, "context_at": {"res4": [6]}}, r"block 6 of res4, which has 6: expected 0 to 5"),
        ({"stride_at": "1x1"}, r"depths 18 and 34 have no 1×1 .* got '1x1' and 1"),
        ({"groups": 2}, r"depths 18 and 34 have .* no groups: .* got '3x3' and 2"),
        ({"depth": 34, "stride_at": "1x1"}, r"depths 18 and 34 have no 1×1"),
    ],
)
def test_what_cannot_be_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResNet3D(5, **{"depth": 18, "width": 8} | arguments)


def test_only_the_number_of_classes_is_positional():
    with pytest.raises(TypeError):
        ResNet3D(5, 50)


def test_a_clip_that_is_too_short_for_the_pooling_is_named():
    with pytest.raises(ValueError, match="1 frame of a clip is left where 2 are pooled; expected longer"):
        ResNet3D(2, depth=18, width=4)(torch.zeros(1, 3, 1, 32, 32))
