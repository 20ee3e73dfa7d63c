"""Weights of 3D-ResNets, CSN and R(2+1)D give the same logits in this package's networks as in the projects' own."""

import pytest
import torch

from tests.reference.foreign_r3d import ForeignR3D
from videoctx.models import ResNet3D
from videoctx.models.checkpoints import read_checkpoint
from videoctx.models.load_weights import load_weights
from videoctx.models.network_config import build_network
from videoctx.models.r2plus1d import FactorizedBlock2Plus1d

HALVED = {"pool2_t": [1, 1], "stage_stride_t": [1, 2, 2, 2]}
CSN = HALVED | {"temporal_kernels": "r3d", "pool1_t": [1, 1], "norm_eps": 1e-3}
R2PLUS1D = "backbone=dict(type='ResNet2Plus1d', conv_cfg=dict(type='Conv2plus1d'), inflate=(1, 1, 1, 1), norm_cfg=dict("
NETWORKS = {  # project, depth, stored config, expected format and arguments
    "3D-ResNets 18": ("3D-ResNets", 18, "", "3D-ResNets", HALVED | {"temporal_kernels": "r3d7", "pool1_t": [3, 2]}),
    "3D-ResNets 50": ("3D-ResNets", 50, "", "3D-ResNets", HALVED | {"temporal_kernels": "r3d7", "pool1_t": [3, 2]}),
    "ir-CSN": ("ir-CSN", 50, "", "mmaction2, CSN", CSN | {"conv": {"class_path": "videoctx.layers.DepthwiseConv3d"}}),
    "ip-CSN": (
        *("ip-CSN", 50, "model = dict(backbone=dict(type='ResNet3dCSN', bottleneck_mode='ip', with_pool2=False))"),
        "mmaction2, CSN",
        CSN | {"conv": {"class_path": "videoctx.layers.ChannelSeparatedConv3d"}},
    ),
    "R(2+1)D": (
        *("R(2+1)D", 34, f"{R2PLUS1D}type='SyncBN', requires_grad=True, eps=1e-3))", "mmaction2, R(2+1)D"),
        CSN | {"block": {"class_path": "videoctx.models.r2plus1d.FactorizedBlock2Plus1d"}},
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_foreign_weights_give_their_logits(tmp_path, name):
    project, depth, config, known, expected = NETWORKS[name]
    theirs = ForeignR3D(project, depth)
    clip = torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    logits = theirs(clip)
    path = tmp_path / "weights.pth"
    torch.save({"meta": {"cfg": config}, "state_dict": {k: v.float() for k, v in theirs.weights.items()}}, path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.net is not None, checkpoint.unknown_net
    assert checkpoint.format.name == known
    assert checkpoint.net["init_args"].items() >= ({"depth": depth, "width": 8} | expected).items()
    assert not {"groups", "width_per_group"} & checkpoint.net["init_args"].keys()
    net = build_network(checkpoint.net, 5).double().eval()
    load_weights(net, {name: tensor.double() for name, tensor in checkpoint.state_dict.items()})
    theirs.weights = {name: tensor.float().double() for name, tensor in theirs.weights.items()}
    with torch.no_grad():
        torch.testing.assert_close(net(clip), theirs(clip), rtol=1e-9, atol=1e-9)
    assert logits.std() > 1e-3


def test_the_file_of_a_csn_tells_its_input(tmp_path):
    """mmaction2 has ImageNet's mean where it starts from IG-65M, and 3D-ResNets' elsewhere."""
    theirs = ForeignR3D("ir-CSN", 50)
    theirs(torch.zeros(1, 3, 8, 16, 16))
    found = {}
    for name in (
        "ircsn_ig65m-pretrained-r152-bnfrozen_8xb12",
        "ircsn_sports1m-pretrained-r152",
        "ircsn_r152_32x2",
        "a",
    ):
        torch.save({"state_dict": theirs.weights}, tmp_path / f"{name}.pth")
        checkpoint = read_checkpoint(tmp_path / f"{name}.pth")
        found[name.split("_")[1][:8] if "_" in name else name] = checkpoint.input.mean[0], len(checkpoint.notes)
    assert found == {"ig65m-pr": (0.485, 1), "sports1m": (0.43216, 1), "r152": (0.43216, 1), "a": (0.485, 2)}


def test_the_epsilon_is_that_of_the_norms_after_convolutions():
    net = ResNet3D(5, depth=18, width=8, norm_eps=1e-3, block=FactorizedBlock2Plus1d)
    eps = {name: layer.eps for name, layer in net.named_modules() if hasattr(layer, "eps")}
    assert eps["stem.norm"] == eps["res3.0.norm2"] == eps["res3.0.shortcut.1"] == 1e-3
    assert eps["res3.0.conv1.norm"] == eps["res3.0.shortcut.0.norm"] == 1e-5
    with pytest.raises(ValueError, match="norm_eps is 0; expected more than 0"):
        ResNet3D(5, norm_eps=0)


def test_a_shortcut_without_weights_is_of_no_network_here(tmp_path):
    """That of 3D-ResNets' first models, type A, pads with zeros."""
    theirs = ForeignR3D("3D-ResNets", 18)
    theirs(torch.zeros(1, 3, 8, 16, 16))
    weights = {name: tensor for name, tensor in theirs.weights.items() if "downsample" not in name}
    torch.save({"state_dict": weights}, tmp_path / "resnet-18-kinetics.pth")
    checkpoint = read_checkpoint(tmp_path / "resnet-18-kinetics.pth")
    assert checkpoint.net is None
    assert "differs in res3.0.shortcut" in checkpoint.unknown_net
