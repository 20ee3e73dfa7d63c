"""PyTorchVideo's network of the same architecture as one of ours, with the same weights."""

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from videoctx.models.checkpoints import read_checkpoint
from videoctx.models.load_weights import load_weights
from videoctx.models.resnet3d import ResNet3D
from videoctx.models.single_pathway import CSN, X3D, R2Plus1D
from videoctx.models.slowfast import SlowFast

Builder = Callable[..., nn.Module]

# Class of ours → builders of pytorchvideo.models.hub. X3D-XS, -S and -M are one network for clips of different size.
BUILDERS: dict[type[nn.Module], tuple[str, ...]] = {
    ResNet3D: ("i3d_r50", "c2d_r50", "slow_r50"),
    SlowFast: ("slowfast_r50", "slowfast_r101", "slowfast_16x8_r101_50_50"),
    X3D: ("x3d_m", "x3d_l"),
    CSN: ("csn_r101",),
    R2Plus1D: ("r2plus1d_r50",),
}


class PackedPathways(nn.Module):
    """PyTorchVideo's SlowFast with one clip as its input, of which its tutorial makes two (`PackPathway`)."""

    def __init__(self, net: nn.Module, alpha: int) -> None:
        super().__init__()
        self.net, self.alpha = net, alpha

    def forward(self, clips: Tensor) -> Tensor:  # (B, 3, T, H, W) → (B, K)
        num_frames = clips.shape[2]
        frames = torch.linspace(0, num_frames - 1, num_frames // self.alpha, device=clips.device).long()
        logits: Tensor = self.net([clips.index_select(2, frames), clips])
        return logits


def pytorchvideo_network(net: nn.Module, num_classes: int, clip: Tensor, *, tolerance: float = 1e-4) -> nn.Module:
    """Return PyTorchVideo's network, in evaluation mode, with random weights; `net` gets the same weights.

    Its head pools by `AdaptiveAvgPool3d`, because its own average pooling accepts clips of one size only, and no
    bfloat16 on a CPU.

    Args:
        net: a network in evaluation mode, in float32, on the CPU.
        clip: (B, 3, T, H, W), to compare the logits on.
        tolerance: largest difference of a logit, relative to the largest logit.

    Raises:
        ValueError: PyTorchVideo has no such network.
    """
    refusals = []
    for name, build in _builders(net).items():
        torch.manual_seed(0)
        peer = build(model_num_class=num_classes, head_activation=None).eval()  # logits, no probabilities
        _pool_any_size(peer)
        _randomize_norms(peer)
        try:
            _take_weights(net, peer)
        except ValueError:
            refusals.append(f"{name} has other weights")
            continue
        if isinstance(net, SlowFast):
            peer = PackedPathways(peer, net.alpha).eval()
        with torch.no_grad():
            ours, theirs = net(clip), peer(clip)
        difference = ((ours - theirs).abs().max() / theirs.abs().max()).item()
        if difference <= tolerance:
            return peer
        refusals.append(f"{name} has the same weights and other strides or pooling (logits differ by {difference:.1g})")
    raise ValueError(f"PyTorchVideo has no network of this architecture: {'; '.join(refusals)}")


def _builders(net: nn.Module) -> Mapping[str, Builder]:
    """Return PyTorchVideo's builders of networks that may be the same as `net`, by name.

    Raises:
        ValueError: There is none for networks of this class.
    """
    from pytorchvideo.models import hub
    from pytorchvideo.models.slowfast import create_slowfast

    kind = type(net)
    if kind not in BUILDERS:
        expected = ", ".join(known.__name__ for known in BUILDERS)
        raise ValueError(f"PyTorchVideo has no {kind.__name__} of ours; expected one of {expected}")
    if kind is X3D:
        return {name: getattr(hub, name) for name in BUILDERS[kind]}
    widths = [layer.out_channels for layer in net.get_submodule("stem").modules() if isinstance(layer, nn.Conv3d)]
    if kind is not SlowFast:
        arguments: dict[str, Any] = {"head_pool": nn.AdaptiveAvgPool3d} if kind is ResNet3D else {}
        return {
            name: partial(getattr(hub, name), stem_dim_out=widths[0] if widths else 64, **arguments)
            for name in BUILDERS[kind]
        }
    assert isinstance(net, SlowFast)
    by_alpha: dict[int, dict[str, Builder]] = {4: {name: getattr(hub, name) for name in BUILDERS[kind]}}
    by_alpha[8] = {
        "slowfast_4x16_r50": partial(  # of its model zoo, without a builder in the hub
            create_slowfast,
            slowfast_fusion_conv_kernel_size=(5, 1, 1),
            slowfast_fusion_conv_stride=(8, 1, 1),
            head_pool_kernel_sizes=((4, 7, 7), (32, 7, 7)),
        )
    }
    if net.alpha not in by_alpha:
        raise ValueError(f"PyTorchVideo has no SlowFast with alpha {net.alpha}; expected 4 or 8")
    return {name: partial(build, stem_dim_outs=tuple(widths[:2])) for name, build in by_alpha[net.alpha].items()}


def _pool_any_size(net: nn.Module) -> None:
    """Let a head average the whole map, whatever its size."""
    for parent in net.modules():
        for name, layer in parent.named_children():
            if isinstance(layer, nn.AvgPool3d):
                setattr(parent, name, nn.AdaptiveAvgPool3d(1))


@torch.no_grad()
def _randomize_norms(net: nn.Module) -> None:
    """Set the norms as after training: none is the identity, and the last of a branch is not zero."""
    for layer in net.modules():
        if isinstance(layer, _BatchNorm):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.5, 1.5)
            layer.weight.uniform_(0.2, 0.8)
            layer.bias.normal_(std=0.1)


def _take_weights(net: nn.Module, peer: nn.Module) -> None:
    """Load the peer's weights as a user would: save its checkpoint, and read it.

    Raises:
        ValueError: the weights do not fit.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "peer.pyth"
        torch.save({"model_state": peer.state_dict()}, path)
        load_weights(net, read_checkpoint(path).weights_for(net))
