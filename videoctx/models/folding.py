"""BatchNorm folded into the convolution before it: the same function, without a pass over memory for each norm.

In evaluation a BatchNorm is y = x·s + (β - μ·s) with s = γ / √(σ² + ε), channel by channel, which the weights and the
bias of a convolution take up.
"""

import copy
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from videoctx.layers.channel_separated import ChannelSeparatedConv3d
from videoctx.layers.conv2plus1d import Conv2Plus1d
from videoctx.layers.feature_pyramid_transformer import RenderingTransformer
from videoctx.layers.neighborhood import VideoConv
from videoctx.layers.pointwise import Pointwise
from videoctx.layers.self_calibrated import SelfCalibratedConv3d
from videoctx.layers.temporal_shift import TemporalShiftConv3d
from videoctx.models.r2plus1d import BasicBlock2Plus1d, FactorizedBlock2Plus1d, OwnWidthsBlock2Plus1d
from videoctx.models.res2net import Res2NetBottleneck3d
from videoctx.models.residual_blocks import BasicBlock3d, Bottleneck3d
from videoctx.models.stem import Stem

# Names of a convolution and of the norm that its output goes to, and nothing else. A subclass may compute something
# else, so a type stands for itself alone.
NORMS_AFTER: dict[type[nn.Module], tuple[tuple[str, str], ...]] = {
    Stem: (("conv", "norm"),),
    BasicBlock3d: (("conv1", "norm1"), ("conv2", "norm2")),
    Bottleneck3d: (("conv1", "norm1"), ("conv2", "norm2"), ("conv3", "norm3")),
    BasicBlock2Plus1d: (("conv1", "norm1"), ("conv2", "norm2")),
    FactorizedBlock2Plus1d: (("conv1", "norm1"), ("conv2", "norm2")),
    OwnWidthsBlock2Plus1d: (("conv1", "norm1"), ("conv2", "norm2")),
    Conv2Plus1d: (("spatial", "norm"),),
    RenderingTransformer: (("refine", "refine_norm"), ("downsample", "downsample_norm")),
    ChannelSeparatedConv3d: (("pointwise", "norm"),),
    Res2NetBottleneck3d: (("conv1", "norm1"), ("convs", "norms"), ("conv3", "norm3")),
}

# Not every convolution reads its `bias`.
TAKES_A_BIAS = tuple(kind.forward for kind in (nn.Conv2d, nn.Conv3d, VideoConv, TemporalShiftConv3d, Pointwise))


def fold_batch_norms(net: nn.Module) -> nn.Module:
    """Return a copy of `net` in evaluation mode whose BatchNorms are folded into the convolutions before them.

    The BatchNorms of this package's stems and blocks are folded, and those of any `nn.Sequential`. A norm is left as it
    is if no linear layer is before it, if it follows an attention-augmented or a grouped pointwise convolution, or if
    it keeps no statistics.

        fold_batch_norms(net.eval())(clips)  # net(clips), up to rounding

    Raises:
        ValueError: A BatchNorm is in training mode, where its result depends on the batch.
    """
    training = [name for name, layer in net.named_modules() if isinstance(layer, _BatchNorm) and layer.training]
    if training:
        raise ValueError(
            f"{len(training)} BatchNorms are in training mode ({training[0]}, …), where they depend on the batch;"
            " expected a network in evaluation mode: net.eval()"
        )
    net = copy.deepcopy(net).eval()
    for module in list(net.modules()):
        for convolution, parent, name in _norms_after_convolutions(module):
            _fold(convolution, parent, name)
    return net


def _norms_after_convolutions(module: nn.Module) -> Iterator[tuple[nn.Module, nn.Module, str]]:
    """Yield each convolution directly in `module` with the place of the norm after it: a module and a name in it."""
    if _is_plain_sequence(module):
        children = list(module.named_children())
        for (_, convolution), (after, _) in pairwise(children):
            yield convolution, module, after
    for before, after in NORMS_AFTER.get(type(module), ()):
        convolution, norm = getattr(module, before), getattr(module, after)
        if isinstance(norm, nn.ModuleList):
            for index, one in enumerate(convolution):
                yield one, norm, str(index)
        else:
            yield convolution, module, after


def _linear_ends(convolution: nn.Module) -> list[nn.Module]:
    """Return the layers whose concatenated output channels are the output of `convolution`. Empty: not known."""
    if type(convolution).forward in TAKES_A_BIAS and "weight" in convolution._parameters:  # and is not computed
        return [convolution]
    if type(convolution) is Conv2Plus1d:
        return [convolution.temporal]
    if type(convolution) is ChannelSeparatedConv3d:
        return [convolution.depthwise]
    if type(convolution) is SelfCalibratedConv3d:
        return [convolution.k1, convolution.k4]
    if _is_plain_sequence(convolution) and (layers := list(convolution.children())):
        return _linear_ends(layers[-1])
    return []


def _is_plain_sequence(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


@torch.no_grad()
def _fold(convolution: nn.Module, parent: nn.Module, name: str) -> None:
    """Fold the BatchNorm at `name` of `parent` into the weights of `convolution` in place, computed in float64."""
    norm, ends = getattr(parent, name), _linear_ends(convolution)
    if not isinstance(norm, _BatchNorm) or norm.running_var is None or norm.running_mean is None or not ends:
        return
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    widths = [len(end.get_parameter("weight")) for end in ends]
    for end, s, b in zip(ends, scale.split(widths), shift.split(widths), strict=True):
        weight, bias = end.get_parameter("weight"), end._parameters.get("bias")
        if bias is not None:
            b = b + bias.double() * s
        folded = weight.double() * s.reshape(-1, *[1] * (weight.ndim - 1))  # (C_out, …)
        end.weight = nn.Parameter(folded.to(weight.dtype))  # another layer may have the old one, too
        end.bias = nn.Parameter(b.to(weight.dtype))
    setattr(parent, name, nn.Identity())
