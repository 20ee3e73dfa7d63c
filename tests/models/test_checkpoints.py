"""Other projects' weights give the same logits in our networks as in theirs."""

import os
import pickle
import re
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorchvideo.models.hub
import torch
import torchvision
from torch import nn

from tests.reference.foreign_networks import (
    AFTER_ALL,
    AFTER_EVEN,
    AFTER_ODD,
    C2D,
    CAFFE2,
    GLUONCV_I3D,
    GLUONCV_SLOW,
    HEAVY,
    I3D,
    MMACTION2,
    MMACTION2_TSM,
    PLAIN,
    PYSLOWFAST,
    SLOW,
    TSM,
    ForeignNetwork,
)
from videoctx.cli import main
from videoctx.inference.conversion import convert_checkpoint
from videoctx.layers import (
    CBAM,
    AttentionAugmentedConv3d,
    CompactNonLocal,
    DisentangledNonLocal,
    GlobalContext,
    NonLocal,
    SimplifiedNonLocal,
    SqueezeExcitation,
)
from videoctx.layers.self_calibrated import SelfCalibratedConv3d
from videoctx.models import ResNet3D
from videoctx.models.checkpoints import read_checkpoint
from videoctx.models.load_weights import load_weights
from videoctx.models.network_config import build_network

CONFIGS = Path(__file__).parents[2] / "configs" / "model"
IMAGENET_WEIGHTS = Path(__file__).parents[3] / "shared" / "weights"


def small_net(num_classes=5, **arguments):
    torch.manual_seed(0)
    return randomize(ResNet3D(num_classes, **{"depth": 18, "width": 8, "pool2_t": (1, 1)} | arguments))


def randomize(net):
    """Fill norms and statistics at random, so that no zero hides a path."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.2, 0.8)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net.eval()


def a_clip(num_frames=8, size=32):
    return torch.randn(2, 3, num_frames, size, size, generator=torch.Generator().manual_seed(2))


def logits(net, clip):
    with torch.no_grad():
        return net.eval()(clip)


def saved(stored, folder, name="checkpoint.pth"):
    torch.save(stored, folder / name)
    return folder / name


def rebuilt(path):
    """Return the network that is inferred for a checkpoint, with its weights, and the checkpoint."""
    checkpoint = read_checkpoint(path, trust=True)
    assert checkpoint.net is not None, checkpoint.unknown_net
    net = build_network(checkpoint.net, checkpoint.num_classes)
    load_weights(net, checkpoint.state_dict)
    return net.eval(), checkpoint


# Against the projects' own networks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("c2d_r50", {"temporal_kernels": "c2d", "pool2_t": [2, 2]}),
        ("i3d_r50", {"temporal_kernels": "i3d", "pool2_t": [2, 2]}),
        ("slow_r50", {"temporal_kernels": "slow", "pool2_t": [1, 1]}),
    ],
)
def test_pytorchvideo(tmp_path, name, expected):
    # the hub's networks with an eighth of the channels, and a head that takes clips of any size
    make_net = getattr(pytorchvideo.models.hub, name)
    theirs = randomize(make_net(stem_dim_out=8, model_num_class=6, head_pool=nn.AdaptiveAvgPool3d))
    net, checkpoint = rebuilt(saved({"model_state": theirs.state_dict(), "epoch": 3}, tmp_path, "net.pyth"))
    assert checkpoint.format.name == "PyTorchVideo"
    assert checkpoint.net["init_args"] == {"depth": 50, "width": 8} | expected
    clip = a_clip(size=64)
    torch.testing.assert_close(logits(net, clip), logits(theirs, clip), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("r3d_18", {"temporal_kernels": "r3d", "stage_stride_t": [1, 2, 2, 2]}),
        ("mc3_18", {"temporal_kernels": "mc3"}),
        ("r2plus1d_18", {"temporal_kernels": "r3d", "stage_stride_t": [1, 2, 2, 2]}),
    ],
)
def test_torchvisions_video_networks(tmp_path, name, expected):
    theirs = randomize(getattr(torchvision.models.video, name)(num_classes=6))
    net, checkpoint = rebuilt(saved(theirs.state_dict(), tmp_path))
    assert checkpoint.net["init_args"].items() >= expected.items()
    clip = a_clip(num_frames=5, size=48)
    torch.testing.assert_close(logits(net, clip), logits(theirs, clip), rtol=1e-4, atol=1e-4)


def test_r2plus1d_34_of_ig65m(tmp_path):
    """It has the names of torchvision's network, and the middle channels and the ε of Caffe2's."""
    layers = torchvision.models.video.resnet
    arguments = {"block": layers.BasicBlock, "conv_makers": [layers.Conv2Plus1D] * 4, "stem": layers.R2Plus1dStem}
    theirs = layers.VideoResNet(**arguments, layers=[3, 4, 6, 3], num_classes=6)
    for stage, channels, middle in ((theirs.layer2, 128, 288), (theirs.layer3, 256, 576), (theirs.layer4, 512, 1152)):
        stage[0].conv2[0] = layers.Conv2Plus1D(channels, channels, middle)
    for layer in randomize(theirs).modules():
        if isinstance(layer, nn.BatchNorm3d):
            layer.eps = 1e-3
    net, checkpoint = rebuilt(saved(theirs.state_dict(), tmp_path, "r2plus1d_34_clip8_ft_kinetics_from_ig65m.pth"))
    assert checkpoint.format.name == "IG-65M"
    assert {layer.eps for layer in net.modules() if hasattr(layer, "eps")} == {1e-3}
    clip = a_clip(num_frames=4, size=32)
    torch.testing.assert_close(logits(net, clip), logits(theirs, clip), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d"])
def test_torchvisions_image_networks(tmp_path, name):
    theirs = randomize(getattr(torchvision.models, name)(num_classes=6))
    path = saved({"model": theirs.state_dict(), "epoch": 1}, tmp_path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.net["init_args"].items() >= {"temporal_kernels": "c2d", "pool2_t": [2, 2]}.items()
    assert any("stride_at 1x1" in note for note in checkpoint.notes)
    net = build_network(checkpoint.net, 6)
    load_weights(net, checkpoint.weights_for(net))
    clip = a_clip(num_frames=1).expand(-1, -1, 2, -1, -1)
    torch.testing.assert_close(logits(net, clip), logits(theirs, clip[:, :, 0]), rtol=1e-4, atol=1e-4)


# Against the projects' networks as functions ----------------------------------------------------------------------

FROM_32_FRAMES = {"conv1_stride_t": 2, "pool1_stride_t": 2, "pool2_t": 2}
MMACTION2_I3D = partial(ForeignNetwork, MMACTION2, I3D, **FROM_32_FRAMES, scale=False, pool="output", out_bias=False)
MMACTION2_SLOW = partial(ForeignNetwork, MMACTION2, SLOW, pool="output", out_bias=False)
GLUONCV = partial(ForeignNetwork, GLUONCV_I3D, I3D, **FROM_32_FRAMES, pool="none")

SHIFT = {"class_path": "videoctx.layers.TemporalShiftConv3d"}

# Network, the stored config without which its affinity could not be told, what is inferred of it.
FOREIGN = {
    "PySlowFast C2D": (ForeignNetwork(PYSLOWFAST, C2D, pool2_t=2), "", {"temporal_kernels": "c2d"}),
    "PySlowFast C2D without pooling": (
        ForeignNetwork(PYSLOWFAST, C2D),
        "MODEL:\n  ARCH: slow_c2d\n",
        {"temporal_kernels": "c2d", "pool2_t": [1, 1]},
    ),
    "PySlowFast I3D": (ForeignNetwork(PYSLOWFAST, I3D, pool2_t=2), "", {"temporal_kernels": "i3d"}),
    "PySlowFast I3D NLN": (
        ForeignNetwork(PYSLOWFAST, I3D, pool2_t=2, non_local=AFTER_ODD),
        "",
        {"context_at": {"res3": [1, 3], "res4": [1, 3, 5]}, "context_position": "after_add"},
    ),
    "PySlowFast I3D NLN, dot product": (
        ForeignNetwork(PYSLOWFAST, I3D, pool2_t=2, non_local=AFTER_ODD, affinity="dot_product"),
        "NONLOCAL:\n  INSTANTIATION: dot_product\nMODEL:\n  ARCH: i3d\n",
        {},
    ),
    "PySlowFast Slow": (ForeignNetwork(PYSLOWFAST, SLOW), "", {"temporal_kernels": "slow", "pool2_t": [1, 1]}),
    "PySlowFast Slow NLN": (
        ForeignNetwork(PYSLOWFAST, SLOW, non_local=AFTER_ODD, affinity="dot_product"),
        "",
        {"pool2_t": [1, 1]},
    ),
    "PySlowFast Slow NLN, softmax": (
        ForeignNetwork(PYSLOWFAST, SLOW, non_local=AFTER_ODD),
        "ARCH: slow\nINSTANTIATION: softmax",
        {},
    ),
    "Caffe2 C2D NLN": (ForeignNetwork(CAFFE2, C2D, pool2_t=2, non_local=AFTER_ODD), "", {"temporal_kernels": "c2d"}),
    "Caffe2 I3D NLN": (ForeignNetwork(CAFFE2, I3D, pool2_t=2, non_local=AFTER_ODD), "", {"temporal_kernels": "i3d"}),
    "Caffe2 Slow": (ForeignNetwork(CAFFE2, SLOW), "", {"temporal_kernels": "slow"}),
    "mmaction2 I3D": (MMACTION2_I3D(), "", {"conv1_stride_t": 2, "pool1_t": [1, 2], "pool2_t": [2, 2]}),
    "mmaction2 I3D, no stride in the stem": (
        MMACTION2_I3D(conv1_stride_t=1, pool1_stride_t=1),
        "backbone=dict(conv1_stride_t=1, pool1_stride_t=1, with_pool2=True)",
        {"conv1_stride_t": 1, "pool1_t": [1, 1], "pool2_t": [2, 2]},
    ),
    "mmaction2 I3D heavy": (
        ForeignNetwork(MMACTION2, HEAVY, pool2_t=2),
        "",
        {"temporal_kernels": "i3d_heavy", "pool2_t": [2, 2]},
    ),
    "mmaction2 I3D, no pool2": (MMACTION2_I3D(pool2_t=1), "dict(with_pool2=False)", {"pool2_t": [1, 1]}),
    "mmaction2 I3D NL": (MMACTION2_I3D(non_local=AFTER_ODD), "", {"context_at": {"res3": [1, 3], "res4": [1, 3, 5]}}),
    "mmaction2 I3D NL, scaled": (
        MMACTION2_I3D(non_local=AFTER_ODD, scale=True),
        "non_local_cfg=dict(use_scale=True, mode='embedded_gaussian')",
        {},
    ),
    "mmaction2 I3D NL, no pooling in it": (MMACTION2_I3D(non_local=AFTER_ODD, pool="none"), "", {}),
    "mmaction2 I3D NL, dot product": (
        MMACTION2_I3D(non_local=AFTER_ODD, affinity="dot_product"),
        "non_local_cfg=dict(use_scale=False, mode='dot_product')",
        {},
    ),
    "mmaction2 I3D NL, Gaussian": (MMACTION2_I3D(non_local=AFTER_ODD, affinity="gaussian"), "", {}),
    "mmaction2 I3D NL, concatenation": (MMACTION2_I3D(non_local=AFTER_ODD, affinity="concatenation"), "", {}),
    "mmaction2 SlowOnly": (MMACTION2_SLOW(), "", {"temporal_kernels": "slow", "pool2_t": [1, 1]}),
    "mmaction2 SlowOnly NL": (
        MMACTION2_SLOW(non_local=AFTER_EVEN),
        "",
        {"context_at": {"res3": [0, 2], "res4": [0, 2, 4]}},
    ),
    "mmaction2 SlowOnly NL, Gaussian": (MMACTION2_SLOW(non_local=AFTER_EVEN, affinity="gaussian", scale=False), "", {}),
    "mmaction2 C2D without pooling": (
        ForeignNetwork(MMACTION2, C2D, of_images=True),
        "model = dict(type='Recognizer2D')",
        {"temporal_kernels": "c2d", "pool2_t": [1, 1]},
    ),
    "mmaction2 C2D": (
        ForeignNetwork(MMACTION2, C2D, of_images=True, pool2_t=2, pool1_padding=0),
        "model = dict(backbone=dict(type='C2D', depth=50))",
        {"pool1_padded": False, "pool2_t": [2, 2]},
    ),
    "mmaction2 TSM": (ForeignNetwork(MMACTION2_TSM, C2D, of_images=True, shift_every=1), "", {"first_conv": SHIFT}),
    **{
        f"mmaction2 TSM NL, {affinity}": (
            ForeignNetwork(
                MMACTION2_TSM,
                C2D,
                of_images=True,
                shift_every=1,
                non_local=AFTER_EVEN,
                affinity=affinity,
                scale=False,
                pool="output",
                out_bias=False,
            ),
            f"model = dict(type='Recognizer2D', backbone=dict(type='ResNetTSM', non_local_cfg=dict(sub_sample=True,"
            f" use_scale=False, mode='{affinity}')))",
            {"context_at": {"res3": [0, 2], "res4": [0, 2, 4]}, "first_conv": SHIFT},
        )
        for affinity in ("embedded_gaussian", "gaussian", "dot_product")
    },
    "TSM": (ForeignNetwork(TSM, C2D, of_images=True, shift_every=1), "", {"pool2_t": [1, 1], "first_conv": SHIFT}),
    "TSM NL": (
        ForeignNetwork(TSM, C2D, of_images=True, shift_every=1, non_local=AFTER_EVEN, scale=False, pool="output"),
        "",
        {"first_conv": SHIFT},
    ),
    "TSM without a shift": (ForeignNetwork(TSM, C2D, of_images=True), "", {"pool2_t": [1, 1]}),
    "GluonCV I3D": (GLUONCV(), "", {"conv1_stride_t": 2, "pool1_t": [1, 2], "pool2_t": [2, 2]}),
    "GluonCV I3D NL5": (GLUONCV(non_local=AFTER_ODD), "", {}),
    "GluonCV I3D NL10": (GLUONCV(non_local=AFTER_ALL), "", {"context_at": {"res3": [*range(4)], "res4": [*range(6)]}}),
    "GluonCV Slow": (ForeignNetwork(GLUONCV_SLOW, SLOW), "", {"temporal_kernels": "slow", "pool2_t": [1, 1]}),
}


def write_foreign(network, weights, config, folder):
    """Write a checkpoint as the project does, with everything else that its files hold."""
    if network.names is CAFFE2:
        blobs = {name: tensor.numpy() for name, tensor in weights.items()}
        blobs["pred_w"] = blobs["pred_w"].reshape(*blobs["pred_w"].shape, 1, 1, 1)  # its tests convolve
        blobs |= {f"{name}_momentum": blob for name, blob in blobs.items()}
        blobs |= {"lr": blobs["pred_b"][:1], "model_iter": np.array("400000")}
        path = folder / "c2.pkl"
        path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
        return path
    if network.names is PYSLOWFAST:
        return saved({"epoch": 1, "model_state": weights, "optimizer_state": {}, "cfg": config}, folder, "net.pyth")
    if network.names in (MMACTION2, MMACTION2_TSM):
        weights = weights | {"data_preprocessor.mean": torch.ones(3, 1, 1)}
        return saved({"meta": {"epoch": 100, "cfg": config}, "state_dict": OrderedDict(weights)}, folder)
    if network.names is GLUONCV_I3D:  # layers with two names
        for old, new in (("fc.", "head.1."), ("block.W.", "block.W_bn.0."), ("block.bn.", "block.W_bn.1.")):
            weights = weights | {name.replace(old, new): tensor for name, tensor in weights.items()}
    return saved(weights, folder)


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_weights_give_their_logits(tmp_path, name):
    network, config, expected = FOREIGN[name]
    weights = network.weights()
    net, checkpoint = rebuilt(write_foreign(network, weights, config, tmp_path))
    assert name.startswith(checkpoint.format.name.partition(",")[0])
    assert checkpoint.net["init_args"].items() >= ({"depth": 50, "width": 8} | expected).items()
    clip = a_clip(num_frames=16, size=48)[:1]
    torch.testing.assert_close(logits(net.double(), clip.double()), network.logits(weights, clip), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("i3d_baseline_8x8_IN_pretrain_400k.pkl", {"pool1_padded": False, "pool2_t": [2, 2]}),
        ("i3d_baseline_32x2_IN_pretrain_400k.pkl", {"pool1_padded": False, "conv1_stride_t": 2, "pool1_t": [1, 2]}),
        ("I3D_8x8_R50.pkl", {"pool2_t": [2, 2]}),
        ("I3D_NOPOOL_8x8_R50.pkl", {"pool2_t": [1, 1]}),
    ],
)
def test_the_file_of_video_nonlocal_net_tells_its_poolings(tmp_path, name, expected):
    network = ForeignNetwork(CAFFE2, I3D, pool2_t=2, pool1_padding=int("pretrain" not in name))
    path = write_foreign(network, weights := network.weights(), "", tmp_path).rename(tmp_path / name)
    net, checkpoint = rebuilt(path)
    assert (
        checkpoint.net["init_args"]
        == {"depth": 50, "width": 8, "temporal_kernels": "i3d"} | {"pool2_t": [2, 2]} | expected
    )
    if "8x8" in name and "NOPOOL" not in name:
        clip = a_clip(num_frames=8, size=48)
        torch.testing.assert_close(
            logits(net.double(), clip.double()), network.logits(weights, clip), rtol=1e-6, atol=1e-6
        )


def test_every_other_block_of_a_deep_tsm_has_a_shift(tmp_path):
    torch.manual_seed(0)
    net = ResNet3D(5, depth=101, width=8, temporal_kernels="c2d", pool2_t=(1, 1))
    theirs = {}
    for name, tensor in net.state_dict().items():
        name = re.sub(r"^res(\d)", lambda match: f"base_model.layer{int(match[1]) - 1}", name)
        name = name.replace("stem.conv", "base_model.conv1").replace("stem.norm", "base_model.bn1")
        name = name.replace("shortcut", "downsample").replace("norm", "bn").replace("head", "new_fc")
        if re.search(r"\.\d*[02468]\.conv1\.", name):
            name = name.replace("conv1.", "conv1.net.")
        theirs[name] = tensor
    inferred = read_checkpoint(saved(theirs, tmp_path)).net["init_args"]
    assert inferred["first_conv_every"] == 2
    shifted = build_network({"class_path": "videoctx.models.ResNet3D", "init_args": inferred}, 5)
    kinds = [type(block.conv1).__name__ for block in shifted.res4]
    assert kinds == ["TemporalShiftConv3d", "Conv3d"] * 11 + ["TemporalShiftConv3d"]


def test_facts_that_weights_do_not_show_are_noted(tmp_path):
    network, config, _ = FOREIGN["mmaction2 I3D NL"]
    _, checkpoint = rebuilt(write_foreign(network, network.weights(), config, tmp_path))
    note, untold = checkpoint.notes
    assert note == "5 layers of Non-local blocks are without a bias there, and have one of zero here"
    assert "as in the published networks: conv1_stride_t 2, pool1_t [1, 2], pool2_t [2, 2]" in untold
    assert "affinity embedded_gaussian" in untold
    assert "softmax_scale False" in untold


@pytest.mark.parametrize(
    ("network", "config", "expected"),
    [
        (ForeignNetwork(PYSLOWFAST, C2D), "RESNET:\n  STRIDE_1X1: true\n", {"stride_at": "1x1"}),
        (ForeignNetwork(PYSLOWFAST, C2D), "RESNET:\n  STRIDE_1X1: false\n", {}),
        (ForeignNetwork(PYSLOWFAST, C2D), "MODEL:\n  ARCH: c2d_nopool\n", {"pool2_t": [1, 1]}),
        (ForeignNetwork(MMACTION2, I3D), "backbone=dict(style='caffe')", {"stride_at": "1x1"}),
        (
            ForeignNetwork(MMACTION2, SLOW),
            "conv1_stride_t=2, pool1_stride_t=2",
            {"conv1_stride_t": 2, "pool1_t": [1, 2]},
        ),
    ],
)
def test_a_stored_config_gives_facts_that_weights_do_not_show(tmp_path, network, config, expected):
    checkpoint = read_checkpoint(write_foreign(network, network.weights(), config, tmp_path))
    arguments = checkpoint.net["init_args"]
    assert arguments.items() >= expected.items()
    assert ("stride_at" in arguments) == ("stride_at" in expected)
    assert any("stored config" in note for note in checkpoint.notes)


@pytest.mark.parametrize(
    ("kernels", "name", "expected"),
    [
        (I3D, "i3d_imagenet-pretrained-r50-nl-dot-product_8xb8-32x2x1-100e_kinetics400-rgb.pth", "dot_product"),
        (I3D, "i3d_nl_dot_product_r50_32x2x1_100e_kinetics400_rgb.pth", "dot_product"),
        (I3D, "i3d_imagenet-pretrained-r50-nl-embedded-gaussian_8xb8-32x2x1.pth", "embedded_gaussian"),
        (C2D, "c2d_r50-in1k-pre_8xb32-8x8x1-100e_kinetics400-rgb.pth", (False, [2, 2])),
        (C2D, "c2d_r50-in1k-pre-nopool_8xb32-8x8x1-100e_kinetics400-rgb.pth", (True, [1, 1])),
        (C2D, "tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e_kinetics400-rgb.pth", (True, [1, 1])),
    ],
)
def test_a_file_name_of_mmaction2_gives_facts_that_weights_do_not_show(tmp_path, kernels, name, expected):
    network = ForeignNetwork(MMACTION2, kernels, non_local=AFTER_ODD if kernels is I3D else PLAIN)
    checkpoint = read_checkpoint(saved({"state_dict": network.weights()}, tmp_path, name))
    arguments = checkpoint.net["init_args"]
    if kernels is I3D:
        assert arguments["context"]["init_args"]["affinity"] == expected
    else:
        assert (arguments["pool1_padded"], arguments["pool2_t"]) == expected
        assert any("Recognizer2D" in note for note in checkpoint.notes) == ("c2d_r50-in1k-pre_" in name)
    stored = saved({"state_dict": network.weights(), "meta": {"cfg": "mode='embedded_gaussian'"}}, tmp_path, name)
    if kernels is I3D:  # the stored config has precedence
        assert read_checkpoint(stored).net["init_args"]["context"]["init_args"]["affinity"] == "embedded_gaussian"


def test_config_of_older_mmaction2(tmp_path):
    network = MMACTION2_I3D(non_local=AFTER_ODD, affinity="dot_product")
    path = saved({"meta": {"config": "mode='dot_product'"}, "state_dict": network.weights()}, tmp_path)
    assert read_checkpoint(path).net["init_args"]["context"]["init_args"]["affinity"] == "dot_product"


@pytest.mark.parametrize(
    ("network", "mean"),
    [
        (ForeignNetwork(PYSLOWFAST, C2D), 0.45),
        (ForeignNetwork(CAFFE2, C2D), 0.45),
        (ForeignNetwork(MMACTION2, I3D), 0.485),
        (ForeignNetwork(GLUONCV_I3D, I3D), 0.485),
    ],
)
def test_checkpoint_knows_the_input_of_its_weights(tmp_path, network, mean):
    checkpoint = read_checkpoint(write_foreign(network, network.weights(), "", tmp_path), trust=True)
    assert checkpoint.input.mean[0] == mean


@pytest.mark.parametrize("prefix", ["module.", "model.", "model.module.", "net._orig_mod."])
def test_prefixes_of_wrappers_are_ignored(tmp_path, prefix):
    network = ForeignNetwork(PYSLOWFAST, C2D)
    weights = {prefix + name: tensor for name, tensor in network.weights().items()}
    assert read_checkpoint(saved({"model_state": weights}, tmp_path)).format.name == "PySlowFast"


def test_legacy_torch_files_are_read(tmp_path):
    network = ForeignNetwork(PYSLOWFAST, C2D)
    path = tmp_path / "old.pyth"
    torch.save({"model_state": network.weights()}, path, _use_new_zipfile_serialization=False)
    assert read_checkpoint(path).format.name == "PySlowFast"


# Ours -------------------------------------------------------------------------------------------------------------

AT = {"res3": [1], "res4": [0, 1]}
OURS = {
    "plain": {},
    "resnext": {"depth": 50, "groups": 4, "width_per_group": 32},
    "wide": {"depth": 50, "width_per_group": 128},
    "r3d": {"temporal_kernels": "r3d"},
    "Non-local": {"context": NonLocal, "context_at": AT},
    "Non-local, narrow": {"context": partial(NonLocal, inner_ratio=0.25), "context_at": AT},
    "Non-local, Gaussian": {"context": partial(NonLocal, affinity="gaussian"), "context_at": AT},
    "Non-local, concatenation": {"context": partial(NonLocal, affinity="concatenation"), "context_at": AT},
    "simplified Non-local": {"context": SimplifiedNonLocal, "context_at": AT},
    "squeeze-excitation": {"context": SqueezeExcitation, "context_at": AT, "context_position": "after_1x1"},
    "global context": {
        "context": partial(GlobalContext, ratio=0.25),
        "context_at": AT,
        "context_position": "after_1x1",
    },
    "global context, average": {"context": partial(GlobalContext, pooling="average"), "context_at": AT},
    "global context, scale and add": {"context": partial(GlobalContext, fusion="scale_and_add"), "context_at": AT},
}


@pytest.mark.parametrize("name", OURS)
def test_our_networks_are_inferred_from_their_weights(tmp_path, name):
    ours = small_net(**{"width": 16, "pool2_t": (2, 2)} | OURS[name])
    with torch.no_grad():
        for parameter in ours.parameters():  # no context block that starts as the identity
            parameter += 0.05 * torch.randn(parameter.shape)
    net, checkpoint = rebuilt(saved(ours.state_dict(), tmp_path))
    assert checkpoint.format.name == "videoctx"
    assert any("leave no trace" in note for note in checkpoint.notes)
    torch.testing.assert_close(logits(net, a_clip()), logits(ours, a_clip()), rtol=1e-5, atol=1e-5)


def test_a_checkpoint_of_fit(tmp_path):
    ours = small_net()
    stored = {
        "state_dict": {f"net.{name}": tensor for name, tensor in ours.state_dict().items()},
        "pytorch-lightning_version": "2.6",
        "class_names": ["a", "b", "c", "d", "e"],
    }
    checkpoint = read_checkpoint(saved(stored, tmp_path, "best.ckpt"))
    assert checkpoint.format.name == "videoctx"
    assert checkpoint.class_names == ["a", "b", "c", "d", "e"]
    load_weights(small_net(), checkpoint.state_dict)


UNKNOWN = partial(AttentionAugmentedConv3d, num_heads=1, min_key_channels=2)


def test_weights_of_unknown_blocks_are_read_but_no_network_is_inferred(tmp_path):
    ours = small_net(depth=50, conv=UNKNOWN)
    path = saved(ours.state_dict(), tmp_path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.net is None
    assert "the weights are of no network known here" in checkpoint.unknown_net
    with pytest.raises(ValueError, match=r"checkpoint\.pth: the weights are of no network.*give the network with -c"):
        convert_checkpoint(path, tmp_path / "out.pt")
    convert_checkpoint(path, tmp_path / "out.pt", net=lambda _: small_net(depth=50, conv=UNKNOWN))


@pytest.mark.parametrize("context", [CBAM, CompactNonLocal, DisentangledNonLocal])
def test_a_context_block_is_not_mistaken_for_another(tmp_path, context):
    ours = small_net(width=16, context=context, context_at=AT)
    assert read_checkpoint(saved(ours.state_dict(), tmp_path)).net is None


# Loading ----------------------------------------------------------------------------------------------------------


def snapshot(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def without(weights, part):
    return {name: tensor for name, tensor in weights.items() if part not in name}


CONTEXT = {"context": GlobalContext, "context_at": {"res3": [1]}}


@pytest.mark.parametrize(
    ("weights", "arguments", "error"),
    [
        (
            lambda net: without(net, "res5.1.conv2"),
            {},
            r"1 missing \(res5\.1\.conv2\.weight\), 0 unexpected, 0 reshaped",
        ),
        (lambda net: net | {"extra": torch.ones(1)}, {}, r"0 missing, 1 unexpected \(extra\)"),
        (lambda net: net | {"stem.norm.bias": torch.ones(3)}, {}, r"1 reshaped \(stem\.norm\.bias \(3,\) → \(8,\)\)"),
        (lambda net: net | {"head.bias": torch.ones(3)}, {}, r"1 reshaped \(head\.bias \(3,\) → \(5,\)\)"),
        (lambda net: without(net, "head."), {"allow_new_blocks": True}, r"2 missing \(head\.weight, head\.bias\)"),
        (lambda net: net | {"stem.norm.bias": torch.ones(3)}, {"allow_new_head": True}, "1 reshaped"),
        (lambda net: without(net, "context"), {"allow_new_head": True}, r"\d missing \(res3\.1\.after_add\."),
        (lambda net: without(net, "res2"), {"allow_new_blocks": True, "allow_new_head": True}, r"missing .*, …"),
        (lambda _: small_net(depth=34).state_dict(), {"allow_new_blocks": True}, r"unexpected \(res2\.2\.conv1"),
    ],
)
def test_weights_of_other_shapes_are_an_error_and_nothing_is_loaded(weights, arguments, error):
    source, net = small_net(**CONTEXT), small_net(**CONTEXT)
    nn.init.ones_(net.stem.norm.weight)
    before = snapshot(net)
    with pytest.raises(ValueError, match=f"the weights do not fit the network: .*{error}"):
        load_weights(net, weights(source.state_dict()), **arguments)
    assert same(before, net.state_dict())


def test_all_weights_are_loaded():
    source, net = small_net(), ResNet3D(5, depth=18, width=8, pool2_t=(1, 1))
    report = load_weights(net, source.state_dict())
    assert same(source.state_dict(), net.state_dict())
    assert str(report) == "0 missing, 0 unexpected, 0 reshaped"


def test_batch_counters_may_be_missing():
    source, net = small_net(), ResNet3D(5, depth=18, width=8, pool2_t=(1, 1))
    load_weights(net, without(source.state_dict(), "num_batches_tracked"))
    assert torch.equal(logits(net, a_clip()), logits(source, a_clip()))


@pytest.mark.parametrize("weights", [small_net(num_classes=9).state_dict(), without(small_net().state_dict(), "head.")])
def test_a_new_head_keeps_its_values(weights):
    net = ResNet3D(5, depth=18, width=8, pool2_t=(1, 1))
    before = snapshot(net)
    report = load_weights(net, weights, allow_new_head=True)
    assert {*report.missing, *report.reshaped} == {"head.weight", "head.bias"}
    assert torch.equal(net.head.weight, before["head.weight"])
    assert torch.equal(net.stem.norm.bias, weights["stem.norm.bias"])


def test_context_blocks_without_weights_keep_their_values():
    source, net = small_net(), small_net(context=NonLocal, context_at=AT)
    before = snapshot(net)
    report = load_weights(net, source.state_dict(), allow_new_blocks=True)
    assert report.missing
    assert all(".after_add." in name and torch.equal(before[name], net.state_dict()[name]) for name in report.missing)


def test_blocks_that_replace_a_convolution_start_from_it():
    source, net = small_net(depth=50), small_net(depth=50, conv=SelfCalibratedConv3d)
    with pytest.raises(ValueError, match=r"16 unexpected \(res2\.0\.conv2\.weight"):
        load_weights(net, source.state_dict())
    report = load_weights(net, source.state_dict(), allow_new_blocks=True)
    after = net.state_dict()
    assert len(report.unexpected) == 16
    assert all(re.search(r"\.conv2\.k\d", name) for name in report.missing)
    kept = [name for name in source.state_dict() if name in after and ".norm2.running_" not in name]
    assert all(torch.equal(after[name], source.state_dict()[name]) for name in kept)
    assert torch.equal(after["res3.1.conv2.k1.weight"], source.res3[1].conv2.weight[:8, :8])
    assert torch.equal(after["res3.1.conv2.k4.weight"], source.res3[1].conv2.weight[8:, 8:])


def test_a_convolution_that_the_network_lacks_is_an_error():
    source, net = small_net(depth=50), small_net(depth=50, conv=SelfCalibratedConv3d)
    weights = source.state_dict() | {"res2.9.conv2.weight": torch.ones(8, 8, 1, 3, 3)}
    with pytest.raises(ValueError, match="the weights do not fit the network"):
        load_weights(net, weights, allow_new_blocks=True)


# Converting -------------------------------------------------------------------------------------------------------


def converted(output):
    return torch.load(output, weights_only=True)


def test_converting_and_reading_what_was_written(tmp_path):
    network, config, _ = FOREIGN["mmaction2 SlowOnly NL"]
    weights = network.weights()
    path, output = write_foreign(network, weights, config, tmp_path), tmp_path / "out.pt"
    report = convert_checkpoint(path, output)
    stored = converted(output)
    assert stored["format"] == "videoctx"
    assert stored["num_classes"] == 5
    assert stored["source"] == "checkpoint.pth, mmaction2"
    assert stored["class_names"] is None
    assert stored["input"] == {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    for line in (
        f"{path}: weights of mmaction2",
        "network: ResNet3D (depth 50, width 8, temporal_kernels slow, pool2_t [1, 1], context NonLocal (affinity ",
        "not loaded: 0 missing, 0 unexpected, 0 reshaped",
        "input: data.clips.mean [0.485, 0.456, 0.406], data.clips.std [0.229, 0.224, 0.225]",
        f"written: {output}",
    ):
        assert line in str(report)
    net, checkpoint = rebuilt(output)
    assert checkpoint.net == stored["net"]
    assert checkpoint.input == report.checkpoint.input
    clip = a_clip(num_frames=16, size=48).double()
    torch.testing.assert_close(logits(net.double(), clip), network.logits(weights, clip), rtol=1e-6, atol=1e-6)


def test_another_number_of_classes_gets_a_new_classifier(tmp_path):
    path = saved({"state_dict": small_net().state_dict(), "class_names": list("abcde")}, tmp_path)
    outputs = [tmp_path / "first.pt", tmp_path / "second.pt"]
    for seed, output in enumerate(outputs):
        torch.manual_seed(seed)
        report = convert_checkpoint(path, output, num_classes=3)
    assert "2 reshaped (head.weight (5, 64) → (3, 64), head.bias (5,) → (3,))" in str(report)
    first, second = map(converted, outputs)
    assert first["num_classes"] == 3
    assert first["class_names"] is None
    assert first["state_dict"]["head.weight"].shape == (3, 64)
    assert same(first["state_dict"], second["state_dict"])


def test_the_same_number_of_classes_keeps_classifier_and_names(tmp_path):
    source = small_net()
    path = saved({"state_dict": source.state_dict(), "class_names": list("abcde")}, tmp_path)
    convert_checkpoint(path, tmp_path / "out.pt", num_classes=5)
    stored = converted(tmp_path / "out.pt")
    assert stored["class_names"] == list("abcde")
    assert torch.equal(stored["state_dict"]["head.weight"], source.head.weight)


def test_a_given_network_gets_the_weights(tmp_path):
    source = small_net()
    report = convert_checkpoint(
        saved(source.state_dict(), tmp_path),
        tmp_path / "out.pt",
        net=lambda num_classes: small_net(num_classes, context=NonLocal, context_at={"res3": [1]}),
    )
    stored = converted(tmp_path / "out.pt")
    assert stored["net"] == report.net
    assert report.net["init_args"]["context"] == {"class_path": "videoctx.layers.NonLocal"}
    assert "missing (res3.1.after_add." in str(report)
    assert "res3.1.after_add.context.g.weight" in stored["state_dict"]


def test_weights_of_images_are_inflated_to_the_given_network(tmp_path):
    theirs = torchvision.models.resnet18(num_classes=5)
    report = convert_checkpoint(
        saved(theirs.state_dict(), tmp_path), tmp_path / "out.pt", net=lambda k: ResNet3D(k, depth=18)
    )
    stem = converted(tmp_path / "out.pt")["state_dict"]["stem.conv.weight"]
    torch.testing.assert_close(stem, theirs.conv1.weight.detach().unsqueeze(2).expand(-1, -1, 5, -1, -1) / 5)
    assert report.net == {"class_path": "videoctx.models.ResNet3D", "init_args": {"depth": 18}}


@pytest.mark.parametrize(
    ("name", "num_classes", "not_taken"),
    [
        ("resnet50_imagenet", None, "0 missing, 0 unexpected, 0 reshaped"),
        ("resnet18_imagenet_backbone", 4, "2 missing (head."),
    ],
)
def test_real_imagenet_weights(tmp_path, name, num_classes, not_taken):
    path = IMAGENET_WEIGHTS / f"{name}.pt"
    if not path.is_file():
        pytest.skip(f"needs the ImageNet weights in {IMAGENET_WEIGHTS}")
    report = convert_checkpoint(path, tmp_path / "out.pt", num_classes=num_classes)
    assert not_taken in str(report)
    assert report.num_classes == (num_classes or 1000)
    assert {tensor.dtype for tensor in converted(tmp_path / "out.pt")["state_dict"].values()} == {
        torch.float32,
        torch.int64,
    }


def test_a_converted_checkpoint_can_be_converted_again(tmp_path, capsys):
    path = saved(small_net().state_dict(), tmp_path)
    config = CONFIGS / "small_r18.yaml"
    arguments = ["--model.net.init_args.width", "8", "--num_classes", "3"]
    main(["convert", str(path), "-o", str(tmp_path / "first.pt"), "-c", str(config), *arguments])
    assert "network: ResNet3D (depth 18, " in capsys.readouterr().out
    main(["convert", str(tmp_path / "first.pt"), "-o", str(tmp_path / "second.pt")])
    first, second = converted(tmp_path / "first.pt"), converted(tmp_path / "second.pt")
    assert first["net"] == second["net"]
    assert same(first["state_dict"], second["state_dict"])
    assert second["source"] == "first.pt, videoctx"


# Errors -----------------------------------------------------------------------------------------------------------


class Planted:
    """An object that runs a command when it is unpickled."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return os.mkdir, (self.trace,)


def a_broken_file(kind, folder):
    path = folder / "broken.pth"
    whole = saved({"state_dict": small_net().state_dict()}, folder, "whole.pth").read_bytes()
    weights = ForeignNetwork(PYSLOWFAST, C2D).weights()
    pytorchvideo_stem = {"blocks.0.conv.weight": torch.ones(8, 3, 1, 7, 7)}
    contents = {
        "empty": b"",
        "text": b"no checkpoint\n" * 50,
        "truncated": whole[: len(whole) // 2],
        "an archive": b"PK\x05\x06" + bytes(18),
        "a pickle": pickle.dumps({"blobs": {}}, protocol=2),
        "a truncated pickle": pickle.dumps({"blobs": {"conv1_w": list(range(100))}}, protocol=2)[:50],
        "a planted pickle": pickle.dumps({"blobs": Planted(folder / "trace")}, protocol=2),
        "a planted checkpoint": {"state_dict": weights, "extra": Planted(folder / "trace")},
        "a list": [torch.ones(1)],
        "no weights": {"epoch": 3},
        "an unknown project": {"encoder.weight": torch.ones(3), "decoder.weight": torch.ones(3)},
        "one name of another": {"conv_proj.weight": torch.ones(3), "head.1.weight": torch.ones(3)},
        "a mixture": weights | pytorchvideo_stem,
        "two pathways": {"model_state": weights | {"s1.pathway1_stem.conv.weight": torch.ones(1, 3, 5, 7, 7)}},
        "other depth": without(weights, "s4.pathway0_res5"),
        "other kernels": weights | {"s3.pathway0_res1.branch2.b.weight": torch.ones(16, 16, 3, 3, 3)},
        "no classifier": without(weights, "head."),
        "a net from elsewhere": {
            "format": "videoctx",
            "class_names": None,
            "net": {"class_path": "torch.nn.Linear", "init_args": {"out_features": 5}},
            "state_dict": small_net().state_dict(),
        },
        "a net that is not there": {
            "class_names": None,
            "net": {"class_path": "videoctx.models.ResNet3D", "init_args": {"conv": "videoctx.layers.conv.nn.conv"}},
            "state_dict": small_net().state_dict(),
        },
        "a net of another time": {
            "class_names": None,
            "net": {"class_path": "videoctx.models.ResNet3D", "init_args": {"num_layers": 18}},
            "state_dict": small_net().state_dict(),
        },
        "a net that is none": {
            "class_names": None,
            "net": {"class_path": "videoctx.models.checkpoints.read_checkpoint"},
            "state_dict": small_net().state_dict(),
        },
    }
    content = contents[kind]
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("kind", "trust", "error"),
    [
        ("empty", True, "not a checkpoint; expected a file of torch.save or of Caffe2"),
        ("text", True, "not a checkpoint; expected a file of torch.save or of Caffe2"),
        ("truncated", False, "a truncated checkpoint"),
        ("an archive", False, r"not a checkpoint, or a damaged one \((?!\[enforce)"),
        ("a pickle", False, "a Python pickle.* can be made to run code .*convert --trust converts it"),
        ("a pickle", True, "the checkpoint holds no weights"),
        ("a truncated pickle", True, "not a Caffe2 checkpoint, or a damaged one"),
        ("a planted pickle", True, r"not a Caffe2 checkpoint.*it asks for posix.mkdir"),
        ("a planted checkpoint", True, r"holds a posix.mkdir beside the weights"),
        ("a list", False, "expected a checkpoint with named weights, got a list"),
        ("no weights", False, "the checkpoint holds no weights"),
        (
            "an unknown project",
            False,
            r"a project not known here \(encoder\.weight, decoder\.weight\); expected one of PyT",
        ),
        (
            "one name of another",
            False,
            r"a project not known here \(conv_proj.*of PyTorchVideo, PySlowFast, Caffe2, mmaction2, TSM, GluonCV, 3D",
        ),
        ("a mixture", False, r"most weights are of PySlowFast, but not 1: blocks\.0\.conv\.weight$"),
        ("two pathways", False, "0, 0, 0, 0 bottlenecks per stage of the fast pathway; expected depth 50, 101 or 152"),
        (
            "other depth",
            False,
            r"no network known here: 3, 4, 5, 3 bottlenecks in its stages; expected depth 18, 34, 50",
        ),
        (
            "other kernels",
            False,
            r"c2d, the closest of .*, differs in res3\.1\.conv2\.weight; give the network with -c",
        ),
        ("no classifier", False, "has no classifier; give the number of classes with --num_classes"),
        ("a net from elsewhere", False, r"torch\.nn\.Linear is no network or layer of videoctx"),
        ("a net that is not there", False, r"videoctx\.layers\.conv\.nn\.conv is no network or layer of videoctx"),
        ("a net of another time", False, "not one of this version: .*'num_layers'.*; give it with -c"),
        ("a net that is none", False, r"read_checkpoint is no network or layer of videoctx"),
    ],
)
def test_errors_are_one_line_that_names_the_file(tmp_path, kind, trust, error):
    path = a_broken_file(kind, tmp_path)
    with pytest.raises(ValueError, match=error) as caught:
        convert_checkpoint(path, tmp_path / "out.pt", trust=trust)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.pt").exists()
    assert not (tmp_path / "trace").exists()


def test_another_network_is_an_error_that_names_the_file(tmp_path):
    path = saved(small_net().state_dict(), tmp_path)
    with pytest.raises(
        ValueError, match=r"checkpoint\.pth: the weights do not fit the network: \d+ missing \(res2\.2\."
    ):
        convert_checkpoint(path, tmp_path / "out.pt", net=lambda k: small_net(k, depth=34))


def test_an_incomplete_classifier_is_an_error(tmp_path):
    path = saved(without(small_net().state_dict(), "head.weight"), tmp_path)
    with pytest.raises(ValueError, match=r"do not fit the network: 1 missing \(head\.weight\)"):
        convert_checkpoint(path, tmp_path / "out.pt", net=small_net)


def test_input_and_output_paths_are_checked(tmp_path):
    path = saved(small_net().state_dict(), tmp_path)
    with pytest.raises(ValueError, match=r"nothing\.pth: no such checkpoint"):
        convert_checkpoint(tmp_path / "nothing.pth", tmp_path / "out.pt")
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        convert_checkpoint(path, tmp_path / "nowhere" / "out.pt")
    with pytest.raises(ValueError, match="is the checkpoint itself"):
        convert_checkpoint(path, tmp_path / "checkpoint.pth")
