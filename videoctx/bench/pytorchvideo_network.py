"""PyTorchVideo's network of the same architecture as one of ours, with the same weights."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from videoctx.models.checkpoints import read_checkpoint
from videoctx.models.load_weights import load_weights
from videoctx.models.resnet3d import ResNet3D

BUILDERS = ("i3d_r50", "c2d_r50", "slow_r50")  # of pytorchvideo.models.hub


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
    import pytorchvideo.models.hub

    kind = type(net).__name__
    if not isinstance(net, ResNet3D):
        raise ValueError(f"PyTorchVideo has no {kind} of ours; expected a ResNet3D")
    refusals = []
    for name in BUILDERS:
        torch.manual_seed(0)
        peer = getattr(pytorchvideo.models.hub, name)(
            stem_dim_out=net.stem.conv.out_channels if isinstance(net.stem.conv, nn.Conv3d) else 64,
            model_num_class=num_classes,
            head_pool=nn.AdaptiveAvgPool3d,
        ).eval()
        _randomize_norms(peer)
        try:
            _take_weights(net, peer)
        except ValueError:
            refusals.append(f"{name} has other weights")
            continue
        with torch.no_grad():
            ours, theirs = net(clip), peer(clip)
        difference = ((ours - theirs).abs().max() / theirs.abs().max()).item()
        if difference <= tolerance:
            return peer
        refusals.append(f"{name} has the same weights and other strides or pooling (logits differ by {difference:.1g})")
    raise ValueError(f"PyTorchVideo has no network of this architecture: {'; '.join(refusals)}")


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
