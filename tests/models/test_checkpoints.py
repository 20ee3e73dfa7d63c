"""Other projects' weights give, in our networks, the logits that they give in theirs."""

import pickle
import zipfile
from collections import OrderedDict
from functools import partial
from pathlib import Path

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
    I3D,
    MMACTION2,
    PYSLOWFAST,
    SLOW,
    ForeignNetwork,
)
from videoctx.layers import GlobalContext, NonLocal, SimplifiedNonLocal, SqueezeExcitation
from videoctx.layers.self_calibrated import SelfCalibratedConv3d
from videoctx.models import ResNet3D
from videoctx.models.architecture import build_net
from videoctx.models.checkpoints import convert_checkpoint, load_weights, read_checkpoint

IMAGENET_WEIGHTS = Path(__file__).parents[3] / "shared" / "weights"


def small_net(num_classes=5, **arguments):
    torch.manual_seed(0)
    return randomise(ResNet3D(num_classes, **{"depth": 18, "width": 8, "pool2_t": (1, 1)} | arguments))


def randomise(net):
    """Random norms and statistics, no zero that hides a path."""
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
    """The network that is inferred for a checkpoint, with its weights, and the checkpoint."""
    checkpoint = read_checkpoint(path, trust=True)
    assert checkpoint.net is not None, checkpoint.unknown_net
    net = build_net(checkpoint.net, checkpoint.num_classes)
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
    theirs = randomise(make_net(stem_dim_out=8, model_num_class=6, head_pool=nn.AdaptiveAvgPool3d))
    net, checkpoint = rebuilt(saved({"model_state": theirs.state_dict(), "epoch": 3}, tmp_path, "net.pyth"))
    assert checkpoint.format == "PyTorchVideo"
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
    theirs = randomise(getattr(torchvision.models.video, name)(num_classes=6))
    net, checkpoint = rebuilt(saved(theirs.state_dict(), tmp_path))
    assert checkpoint.net["init_args"].items() >= expected.items()
    clip = a_clip(num_frames=5, size=48)
    torch.testing.assert_close(logits(net, clip), logits(theirs, clip), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d"])
def test_torchvisions_image_networks(tmp_path, name):
    theirs = randomise(getattr(torchvision.models, name)(num_classes=6))
    path = saved({"model": theirs.state_dict(), "epoch": 1}, tmp_path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.net["init_args"].items() >= {"temporal_kernels": "c2d", "pool2_t": [2, 2]}.items()
    assert any("stride_at 1x1" in note for note in checkpoint.notes)
    net = build_net(checkpoint.net, 6)
    load_weights(net, checkpoint.weights_for(net))
    clip = a_clip(num_frames=1).expand(-1, -1, 2, -1, -1)
    torch.testing.assert_close(logits(net, clip), logits(theirs, clip[:, :, 0]), rtol=1e-4, atol=1e-4)


# Against the projects' networks as functions ----------------------------------------------------------------------

FROM_32_FRAMES = {"conv1_stride_t": 2, "pool1_stride_t": 2, "pool2_t": 2}
MMACTION2_I3D = partial(
    ForeignNetwork, MMACTION2, I3D, **FROM_32_FRAMES, scale=False, pool="output", out_bias=False
)
MMACTION2_SLOW = partial(ForeignNetwork, MMACTION2, SLOW, pool="output", out_bias=False)
GLUONCV = partial(ForeignNetwork, GLUONCV_I3D, I3D, **FROM_32_FRAMES, pool="none")

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
    "GluonCV I3D": (GLUONCV(), "", {"conv1_stride_t": 2, "pool1_t": [1, 2], "pool2_t": [2, 2]}),
    "GluonCV I3D NL5": (GLUONCV(non_local=AFTER_ODD), "", {}),
    "GluonCV I3D NL10": (GLUONCV(non_local=AFTER_ALL), "", {"context_at": {"res3": [*range(4)], "res4": [*range(6)]}}),
    "GluonCV Slow": (ForeignNetwork(GLUONCV_SLOW, SLOW), "", {"temporal_kernels": "slow", "pool2_t": [1, 1]}),
}


def write_foreign(network, weights, config, folder):
    """As the project writes it, with what else is in its files."""
    if network.names is CAFFE2:
        blobs = {name: tensor.numpy() for name, tensor in weights.items()}
        blobs |= {f"{name}_momentum": blob for name, blob in blobs.items()}
        blobs |= {"lr": blobs["pred_b"][:1], "model_iter": 400000}
        path = folder / "c2.pkl"
        path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
        return path
    if network.names is PYSLOWFAST:
        return saved({"epoch": 1, "model_state": weights, "optimizer_state": {}, "cfg": config}, folder, "net.pyth")
    if network.names is MMACTION2:
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
    assert name.startswith(checkpoint.format.split(",")[0])
    assert checkpoint.net["init_args"].items() >= ({"depth": 50, "width": 8} | expected).items()
    clip = a_clip(num_frames=16, size=48)
    torch.testing.assert_close(logits(net.double(), clip.double()), network.logits(weights, clip), rtol=1e-6, atol=1e-6)
