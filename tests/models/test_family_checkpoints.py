"""Weights of SlowFast and X3D by other projects' names compute what the same layers do in PyTorchVideo.

PyTorchVideo's modules are the oracle. Their state dicts get the names that the other project has for the same layers.
"""

import re
from functools import partial

import pytest
import pytorchvideo.models.hub as hub
import torch
from pytorchvideo.models.slowfast import FastToSlowFusionBuilder, create_slowfast
from torch import nn

from tests.each_case import each_case
from tests.models.randomized_norms import randomize
from videoctx.inference.classifier import load
from videoctx.inference.conversion import convert_checkpoint
from videoctx.inference.published_preprocessing import published_preprocessing
from videoctx.layers import NonLocal
from videoctx.models import SlowFast
from videoctx.models.checkpoints import read_checkpoint
from videoctx.models.network_config import network_config

NARROW = {"stem_dim_outs": (8, 1), "model_num_class": 5, "head_pool": nn.AdaptiveAvgPool3d}

BLOCK_IN_PYSLOWFAST = [
    (r"\.res_blocks\.(\d+)\.branch1_conv\.", r"_res\1.branch1."),
    (r"\.res_blocks\.(\d+)\.branch1_norm\.", r"_res\1.branch1_bn."),
    (r"\.res_blocks\.(\d+)\.branch2\.norm_b\.0\.", r"_res\1.branch2.b_bn."),
    (r"\.res_blocks\.(\d+)\.branch2\.norm_b\.1\.block\.0\.", r"_res\1.branch2.se.fc1."),
    (r"\.res_blocks\.(\d+)\.branch2\.norm_b\.1\.block\.2\.", r"_res\1.branch2.se.fc2."),
    (r"\.res_blocks\.(\d+)\.branch2\.conv_([abc])\.", r"_res\1.branch2.\2."),
    (r"\.res_blocks\.(\d+)\.branch2\.norm_([abc])\.", r"_res\1.branch2.\2_bn."),
]
PYSLOWFAST_SLOWFAST = [
    (r"^blocks\.0\.multipathway_blocks\.(\d)\.conv\.", r"s1.pathway\1_stem.conv."),
    (r"^blocks\.0\.multipathway_blocks\.(\d)\.norm\.", r"s1.pathway\1_stem.bn."),
    *((rf"^blocks\.{n}\.multipathway_fusion\.conv_fast_to_slow\.", f"s{n + 1}_fuse.conv_f2s.") for n in range(4)),
    *((rf"^blocks\.{n}\.multipathway_fusion\.norm\.", f"s{n + 1}_fuse.bn.") for n in range(4)),
    *((rf"^blocks\.{n}\.multipathway_blocks\.(\d)", rf"s{n + 1}.pathway\1") for n in range(1, 5)),
    *BLOCK_IN_PYSLOWFAST,
    (r"^blocks\.6\.proj\.", "head.projection."),
]
PYSLOWFAST_X3D = [
    (r"^blocks\.0\.conv\.conv_t\.", "s1.pathway0_stem.conv_xy."),  # PyTorchVideo calls the one in space conv_t
    (r"^blocks\.0\.conv\.conv_xy\.", "s1.pathway0_stem.conv."),
    (r"^blocks\.0\.norm\.", "s1.pathway0_stem.bn."),
    (r"^blocks\.5\.pool\.pre_conv\.", "head.conv_5."),
    (r"^blocks\.5\.pool\.pre_norm\.", "head.conv_5_bn."),
    (r"^blocks\.5\.pool\.post_conv\.", "head.lin_5."),
    (r"^blocks\.5\.proj\.", "head.projection."),
    *((rf"^blocks\.{n}\.", f"s{n + 1}.pathway0.") for n in range(1, 5)),
    (r"pathway0\.res_blocks", "pathway0.res_blocks"),
    *BLOCK_IN_PYSLOWFAST,
    (r"pathway0\._res", "pathway0_res"),
]
BLOCK_IN_MMACTION2 = [
    (r"\.res_blocks\.(\d+)\.branch1_conv\.", r".\1.downsample.conv."),
    (r"\.res_blocks\.(\d+)\.branch1_norm\.", r".\1.downsample.bn."),
    *(
        (rf"\.res_blocks\.(\d+)\.branch2\.{theirs}_{letter}\.", rf".\1.conv{number}.{ours}.")
        for number, letter in enumerate("abc", start=1)
        for theirs, ours in (("conv", "conv"), ("norm", "bn"))
    ),
]
MMACTION2_SLOWFAST = [
    *(
        rule
        for number, path in enumerate(("slow_path", "fast_path"))
        for rule in (
            (rf"^blocks\.0\.multipathway_blocks\.{number}\.conv\.", f"backbone.{path}.conv1.conv."),
            (rf"^blocks\.0\.multipathway_blocks\.{number}\.norm\.", f"backbone.{path}.conv1.bn."),
            (rf"^blocks\.(\d)\.multipathway_blocks\.{number}", rf"backbone.{path}.layer\1"),
        )
    ),
    (r"^blocks\.0\.multipathway_fusion\.conv_fast_to_slow\.", "backbone.slow_path.conv1_lateral.conv."),
    (r"^blocks\.(\d)\.multipathway_fusion\.conv_fast_to_slow\.", r"backbone.slow_path.layer\1_lateral.conv."),
    *BLOCK_IN_MMACTION2,
    (r"^blocks\.6\.proj\.", "cls_head.fc_cls."),
]


def renamed(state_dict: dict, rules: list[tuple[str, str]]) -> dict:
    """Return the weights by the names that all rules, one after the other, make of theirs."""
    names = {}
    for name in state_dict:
        new = name
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, new)
        assert "blocks" not in new, new
        names[new] = state_dict[name]
    return names


def converted(folder, weights: dict, *, file_name: str = "weights.pth", **beside):
    """Return the classifier that a checkpoint with these weights becomes."""
    torch.save({"model_state": weights, **beside}, folder / file_name)
    convert_checkpoint(folder / file_name, folder / "net.pt", class_names=list("abcde"))
    return load(folder / "net.pt")


@torch.no_grad()
def assert_same(net: nn.Module, clips: torch.Tensor, expected: torch.Tensor) -> None:
    assert expected.std() > 0.01
    torch.testing.assert_close(net(clips), expected, rtol=1e-5, atol=1e-5)


def clips(num_frames: int, side: int = 64) -> torch.Tensor:
    return torch.rand(1, 3, num_frames, side, side, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def pathways(peer: nn.Module, fast: torch.Tensor, frames: list[int]) -> torch.Tensor:
    return peer([fast[:, :, frames].clone(), fast.clone()])


CONFIG_8X8 = """
DATA: {NUM_FRAMES: 32, SAMPLING_RATE: 2, TRAIN_CROP_SIZE: 224, TEST_CROP_SIZE: 256, INPUT_CHANNEL_NUM: [3, 3]}
SLOWFAST: {ALPHA: 4, BETA_INV: 8, FUSION_CONV_CHANNEL_RATIO: 2, FUSION_KERNEL_SZ: 7}
MODEL: {ARCH: slowfast, MODEL_NAME: SlowFast, NUM_CLASSES: 5}
RESNET: {DEPTH: 50, NUM_BLOCK_TEMP_KERNEL: [[3, 3], [4, 4], [6, 6], [3, 3]], STRIDE_1X1: false,
         SPATIAL_STRIDES: [[1, 1], [2, 2], [2, 2], [2, 2]], SPATIAL_DILATIONS: [[1, 1], [1, 1], [1, 1], [1, 1]]}
NONLOCAL: {LOCATION: [[[], []], [[], []], [[], []], [[], []]], GROUP: [[1, 1], [1, 1], [1, 1], [1, 1]]}
X3D: {WIDTH_FACTOR: 1.0, DEPTH_FACTOR: 1.0, BOTTLENECK_FACTOR: 1.0}
"""


def test_slowfast_of_pyslowfast(tmp_path):
    torch.manual_seed(0)
    peer = randomize(hub.slowfast_r50(**NARROW))
    weights = renamed(peer.state_dict(), PYSLOWFAST_SLOWFAST)
    assert {"s1_fuse.conv_f2s.weight", "s3.pathway1_res2.branch2.b_bn.running_var"} < weights.keys()
    expected = pathways(peer, clips(32), torch.linspace(0, 31, 8).long().tolist())
    for beside in ({"cfg": CONFIG_8X8}, {"file_name": "SLOWFAST_8x8_R50.pyth"}):
        trained = converted(tmp_path, weights, **beside)
        assert_same(trained.net, clips(32), expected)
        assert (trained.preprocessing.clip_len, trained.preprocessing.frame_interval) == (32, 2)
        assert trained.preprocessing.protocol == "pyslowfast"


@each_case("instantiation", ["dot_product", "softmax"])
def test_slowfast_with_non_local_blocks_of_pyslowfast(instantiation, tmp_path):
    torch.manual_seed(0)
    affinity = {"dot_product": "dot_product", "softmax": "embedded_gaussian"}[instantiation]
    net = randomize(
        SlowFast(
            5,
            width=8,
            fusion_kernel_t=5,
            context=partial(NonLocal, affinity=affinity),
            context_at={"res3": [1, 3], "res4": [1, 3, 5]},
        )
    )
    weights = as_pyslowfast(net)
    assert slowfast_weights().keys() < weights.keys()
    assert sum("nonlocal" in name for name in weights) == 5 * 13
    config = CONFIG_8X8.replace(
        "LOCATION: [[[], []], [[], []], [[], []]", "LOCATION: [[[], []], [[1, 3], []], [[1, 3, 5], []]"
    )
    config = config.replace("GROUP", f"INSTANTIATION: {instantiation}, GROUP")
    trained = converted(tmp_path, weights, cfg=config)
    assert network_config(trained.net) == network_config(net)
    with torch.no_grad():
        assert_same(trained.net, clips(8), net(clips(8)))


def as_pyslowfast(net: SlowFast) -> dict:
    """Return the weights of a SlowFast by PySlowFast's names."""
    rules = [
        (r"^stem\.fuse\.conv", "s1_fuse.conv_f2s"),
        (r"^stem\.fuse\.norm", "s1_fuse.bn"),
        (r"^res(\d)\.fuse\.conv", r"s\1_fuse.conv_f2s"),
        (r"^res(\d)\.fuse\.norm", r"s\1_fuse.bn"),
        (r"^stem\.(slow|fast)\.conv", r"s1.\1_stem.conv"),
        (r"^stem\.(slow|fast)\.norm", r"s1.\1_stem.bn"),
        (r"^res(\d)\.(slow|fast)\.(\d+)\.after_add\.context\.(theta|phi|g)", r"s\1.\2_nonlocal\3.conv_\4"),
        (r"^res(\d)\.(slow|fast)\.(\d+)\.after_add\.transform\.0", r"s\1.\2_nonlocal\3.conv_out"),
        (r"^res(\d)\.(slow|fast)\.(\d+)\.after_add\.transform\.1", r"s\1.\2_nonlocal\3.bn"),
        (r"^res(\d)\.(slow|fast)\.(\d+)\.shortcut\.0", r"s\1.\2_res\3.branch1"),
        (r"^res(\d)\.(slow|fast)\.(\d+)\.shortcut\.1", r"s\1.\2_res\3.branch1_bn"),
        *(
            rule
            for number, letter in enumerate("abc", start=1)
            for rule in (
                (rf"^res(\d)\.(slow|fast)\.(\d+)\.branch\.conv{number}", rf"s\1.\2_res\3.branch2.{letter}"),
                (rf"^res(\d)\.(slow|fast)\.(\d+)\.branch\.norm{number}", rf"s\1.\2_res\3.branch2.{letter}_bn"),
            )
        ),
        (r"\.slow_", ".pathway0_"),
        (r"\.fast_", ".pathway1_"),
        (r"^head\.", "head.projection."),
    ]
    weights = renamed(net.state_dict(), rules)
    return {
        name: tensor.reshape(*tensor.shape, 1, 1, 1) if re.search(r"nonlocal\d+\.conv_\w+\.weight", name) else tensor
        for name, tensor in weights.items()
    }


def test_x3d_of_pyslowfast_has_a_norm_in_the_shortcut_of_res2(tmp_path):
    torch.manual_seed(0)
    peer = hub.x3d_xs(model_num_class=5, head_activation=None)
    peer.blocks[1].res_blocks[0].branch1_norm = nn.BatchNorm3d(24)
    randomize(peer)
    weights = renamed(peer.state_dict(), PYSLOWFAST_X3D)
    assert {"s2.pathway0_res0.branch1_bn.weight", "s2.pathway0_res0.branch2.se.fc1.weight"} < weights.keys()
    trained = converted(tmp_path, weights, file_name="X3D_XS.pyth")
    with torch.no_grad():
        assert_same(trained.net, clips(4, 160), peer(clips(4, 160)))
    assert network_config(trained.net)["init_args"] == {"window_size": 5, "res2_shortcut_norm": True}
    made = trained.preprocessing
    assert (made.clip_len, made.frame_interval, made.short_side_px, made.crop_size_px) == (4, 12, 182, 182)
    config = """
DATA: {NUM_FRAMES: 16, SAMPLING_RATE: 5, TRAIN_CROP_SIZE: 312, TEST_CROP_SIZE: 356}
MODEL: {ARCH: x3d, MODEL_NAME: X3D}
RESNET: {TRANS_FUNC: x3d_transform, STRIDE_1X1: false}
X3D: {WIDTH_FACTOR: 2.0, DEPTH_FACTOR: 2.2, BOTTLENECK_FACTOR: 2.25, DIM_C5: 2048, DIM_C1: 12}
SLOWFAST: {ALPHA: 8}
"""
    trained = converted(tmp_path, weights, cfg=config)
    assert trained.net.window_size == 10
    made = trained.preprocessing
    assert (made.clip_len, made.frame_interval, made.short_side_px, made.crop_size_px) == (16, 5, 356, 356)


def mmaction2_slowfast(alpha: int, kernel: int) -> tuple[nn.Module, dict]:
    """Return a SlowFast without norms after the lateral convolutions, and its weights by mmaction2's names."""
    torch.manual_seed(0)
    fusion = FastToSlowFusionBuilder(8, 2, (kernel, 1, 1), (alpha, 1, 1), norm=None, activation=None)
    peer = randomize(create_slowfast(**NARROW, fusion_builder=fusion.create_module))
    weights = renamed(peer.state_dict(), MMACTION2_SLOWFAST)
    slow, fast = weights["cls_head.fc_cls.weight"].split([256, 32], dim=1)
    return peer, weights | {"cls_head.fc_cls.weight": torch.cat([fast, slow], dim=1)}


MMACTION2_CONFIG = """
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='ResNet3dSlowFast', pretrained=None, resample_rate=4, speed_ratio=4, channel_ratio=8,
        slow_pathway=dict(
            type='resnet3d', depth=50, pretrained=None, lateral=True, fusion_kernel=7, conv1_kernel=(1, 7, 7),
            dilations=(1, 1, 1, 1), conv1_stride_t=1, pool1_stride_t=1, inflate=(0, 0, 1, 1), norm_eval=False),
        fast_pathway=dict(
            type='resnet3d', depth=50, pretrained=None, lateral=False, base_channels=8, conv1_kernel=(5, 7, 7),
            conv1_stride_t=1, pool1_stride_t=1, norm_eval=False)),
    cls_head=dict(type='SlowFastHead', in_channels=2304, num_classes=400))
train_pipeline = [dict(type='SampleFrames', clip_len=32, frame_interval=2, num_clips=1)]
"""


@each_case(
    "alpha, kernel, file_name, config",
    [
        (8, 5, "slowfast_r50_8xb8-4x16x1-256e_kinetics400-rgb.pth", ""),
        (4, 7, "slowfast_r50_8xb8-8x8x1-256e_kinetics400-rgb.pth", ""),
        (4, 7, "epoch_256.pth", MMACTION2_CONFIG),
    ],
)
def test_slowfast_of_mmaction2(alpha, kernel, file_name, config, tmp_path):
    peer, weights = mmaction2_slowfast(alpha, kernel)
    trained = converted(tmp_path, weights, file_name=file_name, meta={"cfg": config})
    assert_same(trained.net, clips(32), pathways(peer, clips(32), list(range(0, 32, alpha))))
    made = trained.preprocessing
    assert (made.clip_len, made.frame_interval, made.protocol) == (32, 2, "mmaction2")


def test_slowfast_of_mmaction2_with_a_shallower_fast_pathway(tmp_path):
    """As R101 + R50: both pathways are those of a network of the one or the other depth."""
    torch.manual_seed(0)
    fusion = FastToSlowFusionBuilder(8, 2, (5, 1, 1), (8, 1, 1), norm=None, activation=None)
    peer = create_slowfast(**NARROW, model_depth=101, fusion_builder=fusion.create_module)
    other = create_slowfast(**NARROW, fusion_builder=fusion.create_module)
    for stage, shallow in zip(peer.blocks[1:5], other.blocks[1:5], strict=True):
        stage.multipathway_blocks[1] = shallow.multipathway_blocks[1]
    weights = renamed(randomize(peer).state_dict(), MMACTION2_SLOWFAST)
    slow, fast = weights["cls_head.fc_cls.weight"].split([256, 32], dim=1)
    weights["cls_head.fc_cls.weight"] = torch.cat([fast, slow], dim=1)
    trained = converted(tmp_path, weights, file_name="slowfast_r101-r50_32xb8-4x16x1-256e_kinetics400-rgb.pth")
    assert network_config(trained.net)["init_args"]["fast_depth"] == 50
    expected = pathways(peer, clips(8), [0])
    torch.testing.assert_close(trained.net(clips(8)), expected, rtol=1e-4, atol=1e-4)


MMACTION2_X3D = [
    (r"^blocks\.0\.conv\.conv_t\.", "backbone.conv1_s.conv."),  # PyTorchVideo calls the one in space conv_t
    (r"^blocks\.0\.conv\.conv_xy\.", "backbone.conv1_t.conv."),
    (r"^blocks\.0\.norm\.", "backbone.conv1_t.bn."),
    (r"^blocks\.5\.pool\.pre_conv\.", "backbone.conv5.conv."),
    (r"^blocks\.5\.pool\.pre_norm\.", "backbone.conv5.bn."),
    (r"^blocks\.5\.pool\.post_conv\.", "cls_head.fc1."),
    (r"^blocks\.5\.proj\.", "cls_head.fc2."),
    *((rf"^blocks\.{n}\.", f"backbone.layer{n}.") for n in range(1, 5)),
    (r"\.res_blocks\.(\d+)\.branch2\.norm_b\.1\.block\.0\.", r".\1.se_module.fc1."),
    (r"\.res_blocks\.(\d+)\.branch2\.norm_b\.1\.block\.2\.", r".\1.se_module.fc2."),
    (r"\.norm_b\.0\.", ".norm_b."),
    (r"(layer\d)\.res_blocks", r"\1.res_blocks"),
    *BLOCK_IN_MMACTION2,
]


def test_x3d_of_mmaction2(tmp_path):
    torch.manual_seed(0)
    peer = hub.x3d_xs(model_num_class=5, head_activation=None)
    peer.blocks[1].res_blocks[0].branch1_norm = nn.BatchNorm3d(24)
    randomize(peer)
    weights = renamed(peer.state_dict(), MMACTION2_X3D)
    weights["cls_head.fc1.weight"] = weights["cls_head.fc1.weight"].flatten(1)  # a linear layer there
    assert {"backbone.layer1.0.se_module.fc1.bias", "backbone.layer1.0.downsample.bn.weight"} < weights.keys()
    trained = converted(tmp_path, weights, file_name="x3d_s_facebook_13x6x1_kinetics400_rgb_20201027-623825a0.pth")
    assert_same(trained.net, clips(4, 160), peer(clips(4, 160)).detach())
    made = trained.preprocessing
    assert (made.clip_len, made.frame_interval, made.crop_size_px, made.protocol) == (13, 6, 182, "mmaction2")


@each_case(
    "weights, file_name, expected, notes",
    [
        (
            lambda: x3d_weights(),
            "x3d.pyth",
            {"window_size": 7},
            "that of X3D-M, as are the clips (16x5) and the test (256 pixels). XS and S have the same weights with"
            " window_size 5, clips of 4x12 and 13x6 and 182 pixels: rename the file to X3D_XS.pyth or X3D_S.pyth",
        ),
        (
            lambda: x3d_weights(),
            "x3d_s.pyth",
            {"window_size": 5},
            "window_size 5 leaves no trace in weights, and is by",
        ),
        (lambda: slowfast_weights(), "a.pyth", {"alpha": 4}, "that of SlowFast 8x8 (4x16 has 8), as neither a stored"),
        (lambda: slowfast_weights(5), "a.pyth", {"alpha": 8}, "that of SlowFast 4x16 (8x8 has 4), as neither"),
        (lambda: slowfast_weights(5), "SLOWFAST_8x8_R101.pyth", {"alpha": 4}, "by the file's name"),
    ],
)
def test_what_only_a_name_tells_is_reported(weights, file_name, expected, notes, tmp_path):
    torch.save({"model_state": weights()}, tmp_path / file_name)
    checkpoint = read_checkpoint(tmp_path / file_name)
    assert checkpoint.net["init_args"].items() >= expected.items()
    assert notes in " ".join(checkpoint.notes)


@each_case(
    "file_name, deep, clip, crops, is_named",
    [
        ("net.pyth", True, (16, 5), (356, 312), False),
        ("X3D_M.pyth", True, (16, 5), (356, 312), False),  # the weights are deeper
        ("X3D_L.pyth", True, (16, 5), (356, 312), True),
        ("net.pyth", False, (16, 5), (256, 224), False),
        ("X3D_L.pyth", False, (16, 5), (256, 224), False),
        ("X3D_XS.pyth", False, (4, 12), (182, 160), True),
        ("X3D_S.pyth", False, (13, 6), (182, 160), True),
    ],
)
def test_the_depth_tells_x3d_l_and_the_name_the_others(file_name, deep, clip, crops, is_named, tmp_path):
    torch.save({"model_state": x3d_weights(hub.x3d_l if deep else hub.x3d_xs)}, tmp_path / file_name)
    checkpoint = read_checkpoint(tmp_path / file_name)
    made = published_preprocessing(checkpoint, file_name)
    assert (made.clip_len, made.frame_interval) == clip
    assert (made.crop_size_px, made.train_crop_size_px) == crops
    assert made.short_side_px == made.crop_size_px
    assert checkpoint.net["init_args"]["window_size"] == -(-crops[1] // 32)
    assert ("by the file's name" in " ".join(checkpoint.notes)) == is_named


def slowfast_weights(fusion_kernel: int = 7) -> dict:
    with torch.device("meta"):
        peer = create_slowfast(**NARROW, slowfast_fusion_conv_kernel_size=(fusion_kernel, 1, 1))
    return renamed({name: torch.zeros(p.shape) for name, p in peer.state_dict().items()}, PYSLOWFAST_SLOWFAST)


def x3d_weights(build=hub.x3d_xs) -> dict:
    with torch.device("meta"):
        peer = build(model_num_class=5)
    return renamed({name: torch.zeros(p.shape) for name, p in peer.state_dict().items()}, PYSLOWFAST_X3D)


def without(weights: dict, pattern: str) -> dict:
    return {name: tensor for name, tensor in weights.items() if not re.search(pattern, name)}


@each_case(
    "weights, beside, message",
    [
        (lambda: x3d_weights() | {"head.lin_5_bn.weight": torch.zeros(2048)}, {}, "an X3D with a BatchNorm before"),
        (
            lambda: {
                "model.blocks.0.multipathway_blocks.0.conv.weight": torch.zeros(1),
                "detection_head.proj.weight": torch.zeros(1),
            },
            {},
            "a detector of actions in boxes",
        ),
        (
            lambda: {"patch_embed.proj.weight": torch.zeros(1), "blocks.0.attn.qkv.weight": torch.zeros(1)},
            {},
            "a transformer",
        ),
        (
            lambda: without(slowfast_weights(), r"s4\.pathway1_res5"),
            {},
            "3, 4, 5, 3 bottlenecks per stage of the fast pathway",
        ),
        (
            lambda: slowfast_weights() | {"s2.pathway0_res0.branch2.a.weight": torch.zeros(8, 10, 3, 1, 1)},
            {},
            "of no SlowFast known here; the closest differs in 1: res2.slow.0.branch.conv1.weight",
        ),
        (slowfast_weights, {"cfg": "DETECTION: {ENABLE: true}"}, "DETECTION.ENABLE True"),
        (slowfast_weights, {"cfg": "SLOWFAST: {FUSION_CONV_CHANNEL_RATIO: 3}"}, "SLOWFAST.FUSION_CONV_CHANNEL_RATIO 3"),
        (slowfast_weights, {"cfg": "RESNET: {STRIDE_1X1: true}"}, "RESNET.STRIDE_1X1 True"),
        (x3d_weights, {"cfg": "X3D: {BOTTLENECK_FACTOR: 1.0}"}, "X3D.BOTTLENECK_FACTOR 1.0"),
    ],
)
def test_a_cousin_is_refused_in_one_line(weights, beside, message, tmp_path):
    torch.save({"state_dict": weights(), **beside}, tmp_path / "cousin.pth")
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        convert_checkpoint(tmp_path / "cousin.pth", tmp_path / "net.pt", class_names=list("abcde"))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "net.pt").exists()
